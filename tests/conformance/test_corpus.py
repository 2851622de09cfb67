"""
What real providers really sent, played to the client.

Each recording comes with what the provider's own SDK makes of the very same bytes. Any
seed but 0 cuts them at random places, within characters and line ends: nobody may notice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from aichat.transport import Pool

from .corpus import MISSING, cases, kit
from .play import KEY, Player

#: The dialects that aichat speaks. One more is one more entry.
APIS = (
    "openai-responses",
    "openai-chat",
    "azure-chat",
    "openai-compatible",
    "anthropic-messages",
    "gemini-generate",
    "ollama-chat",
)
SEEDS = (0, 1, 2)

#: Cases that cannot pass, by id, each with the reason. One that passes is a failure.
EXPECTED_FAILURES: dict[str, str] = {}

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _params(found: list[Any]) -> list[Any]:
    if MISSING:
        skip = pytest.mark.skip(reason=MISSING)
        return [pytest.param(None, marks=skip, id="no-corpus")]
    return [
        pytest.param(
            case,
            id=case.id,
            marks=pytest.mark.xfail(reason=EXPECTED_FAILURES[case.id])
            if case.id in EXPECTED_FAILURES
            else (),
        )
        for case in found
    ]


_CASES = cases(*APIS)
_CUT_OFF = [cut for case in _CASES if (cut := kit().interrupted(case))]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncGenerator[Pool, None]:
    """Connections for all clients: one that was left in a mess spoils the next case."""
    pool = Pool()
    yield pool
    await pool.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SEEDS)
async def replay(request: pytest.FixtureRequest) -> AsyncGenerator[Any, None]:
    """A server that answers with the recordings."""
    async with kit().ReplayServer(_CASES, seed=request.param) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SEEDS)
async def replay_cut_off(request: pytest.FixtureRequest) -> AsyncGenerator[Any, None]:
    """The same, with streams that break off just before their end."""
    async with kit().ReplayServer(_CUT_OFF, seed=request.param) as server:
        yield server


@pytest.mark.parametrize("case", _params(_CASES))
async def test_recording(case: Any, replay: Any, pool: Pool) -> None:
    """
    Client and official SDK agree on what was said, however the network cuts it.
    """
    # S1, S2, S3, S5, S6, S7, S8, S10, X1
    await _hold(case, replay, pool)


@pytest.mark.parametrize("case", _params(_CUT_OFF))
async def test_cut_off_before_its_end(
    case: Any, replay_cut_off: Any, pool: Pool
) -> None:
    """
    The same stream without its end is an error, and never an answer.
    """
    # S4
    await _hold(case, replay_cut_off, pool)


async def _hold(case: Any, server: Any, pool: Pool) -> None:
    """Ask for *case* in both ways, and hold the outcomes against what it should be."""
    asked_before = len(server.requests(case))
    player = Player.of(case, server.base_url(case), pool)
    async with player.client:
        stream = await player.stream()
        whole = await player.complete()
    outcome = stream.neutral()

    differences = list(map(str, kit().compare(kit().expectation(case), outcome)))
    requests = server.requests(case)[asked_before:]
    if len(requests) != 2:
        differences.append(f"2 calls sent {len(requests)} requests")
    for request in requests:
        if not any(KEY in value for value in request.headers.values()):
            differences.append("the key is in no header")
        if KEY in request.path or KEY.encode() in request.body:
            differences.append("the key is in the path or the body")
    said = [f"{o!r} {o.error} {o.error and vars(o.error)}" for o in (stream, whole)]
    if any(KEY in text for text in said):
        differences.append("the key is in what came back")

    stream, whole = (o.without_made_up_ids(case.body) for o in (stream, whole))
    if stream.response != whole.response:
        differences.append(f"complete() differs from stream(): {whole.response!r:.500}")
    if whole.neutral()["error"] != outcome["error"]:
        differences.append(
            f"complete() ends with {whole.error!r}, not {stream.error!r}"
        )
    assert not differences, "\n  ".join([case.id, *differences])
