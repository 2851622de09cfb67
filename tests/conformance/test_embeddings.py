"""
Embeddings that real providers really made, played to the client.

Each recording comes with what the provider's own SDK makes of the very same bytes. Any seed
but 0 cuts them at random places: nobody may notice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from aichat import Client, ClientConfig, connect
from aichat.errors import AIChatError
from aichat.providers import azure, compatible, google, ollama, openai
from aichat.transport import Pool

from .corpus import MISSING, cases, kit
from .play import KEY

APIS = (
    "embeddings-openai",
    "embeddings-azure",
    "embeddings-openai-compatible",
    "embeddings-gemini",
    "embeddings-ollama",
)
SEEDS = (0, 1, 2)

_SPECS = {
    **compatible.SPECS,
    **{s.name: s for s in (azure.SPEC, google.SPEC, ollama.SPEC, openai.SPEC)},
}
_CASES = cases(*APIS)
_PARAMS = [pytest.param(case, id=case.id) for case in _CASES] or [
    pytest.param(None, id="no-corpus", marks=pytest.mark.skip(reason=str(MISSING)))
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SEEDS)
async def replay(request: pytest.FixtureRequest) -> AsyncGenerator[Any, None]:
    """A server that answers with the recordings."""
    async with kit().ReplayServer(_CASES, seed=request.param) as server:
        yield server


@pytest.mark.parametrize("case", _PARAMS)
async def test_recording(case: Any, replay: Any) -> None:
    """
    Client and official SDK agree on the vectors, and on what they cost.
    """
    # S3, S5, S8, X1
    asked_before = len(replay.requests(case))
    outcome = await _play(case, replay.base_url(case))

    differences = list(map(str, kit().compare(kit().expectation(case), outcome)))
    (request,) = replay.requests(case)[asked_before:]
    if not any(KEY in value for value in request.headers.values()):
        differences.append("the key is in no header")
    if KEY in request.path or KEY.encode() in request.body or KEY in repr(outcome):
        differences.append("the key is where it does not belong")
    assert not differences, "\n  ".join([case.id, *differences])


async def _play(case: Any, base_url: str) -> dict[str, Any]:
    """Ask for as many vectors as *case* has, and say what came in the kit's terms."""
    wanted = kit().target(case, known=set(_SPECS))
    spec = _SPECS[wanted.provider]
    config = ClientConfig(
        provider=wanted.provider,
        base_url=base_url,
        api_key=KEY,
        max_retries=0,
        settings=wanted.options,
    )
    vectors = kit().expectation(case)["embeddings"]
    texts = ["hi"] * (vectors["count"] if vectors else 1)
    pool = Pool()
    client = Client.with_provider(connect(config, spec, pool=pool, environ={}))
    async with client:
        try:
            answer = await client.embed(
                texts, model=f"{wanted.provider}:{wanted.model}"
            )
        except AIChatError as error:
            about = (error.operation, error.model) == ("embed", wanted.model)
            described = {
                "code": error.code,
                "status": error.status,
                "message": error.message if about else f"{error.operation}?",
                "retryable": error.retryable,
            }
            return {"text": "", "error": described}
        finally:
            await pool.aclose()
    usage = answer.usage
    return {
        "model": answer.model,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        },
        "embeddings": kit().describe_vectors(answer.vectors),
        "error": None,
    }
