"""What answers cost, in spans and in a metric."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from decimal import Decimal
from typing import Any, Final

import pytest

from aichat import (
    Client,
    EmbeddingRequest,
    ServerError,
    TextDelta,
    Usage,
    UsageUpdate,
)
from aichat.costs import FREE, Price, PriceBook
from aichat.middleware._cache import cache
from aichat.middleware._cost_tracker import CostTracker
from aichat.middleware._fallback import fallback
from aichat.testing import FakeProvider, reply
from aichat.testing._fake import Reply
from aichat.types import EmbeddingResponse

from .watching import SDK

PROMPT: Final = "How much?"
USAGE: Final = Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=400)
#: 600 * 2 + 400 * 1 + 100 * 10 millionths.
WHOLE: Final = 0.0026
BOOK: Final = PriceBook(
    {"fake:m": Price(2, 10, cache_read=1), "other:*": Price(20, 100), "free:*": FREE},
    table=None,
)
NAME: Final = "aichat.client.cost"


@pytest.fixture
def sdk() -> SDK:
    return SDK()


def client_of(sdk: SDK, *replies: Reply, prices: Any = BOOK) -> Client:
    return Client(
        {"fake": FakeProvider(replies)},
        model="fake:m",
        middleware=[sdk.telemetry(prices=prices)],
    )


async def test_what_an_answer_costs(sdk: SDK) -> None:
    """In the span and in the metric, by who was asked; tokens from a cache at their price."""  # O6
    client = client_of(sdk, *[reply("Two.", usage=USAGE)] * 2)
    for _ in range(2):
        await client.complete(PROMPT)
    for span in sdk.spans:
        about = dict(span.attributes or {})
        assert about["aichat.cost.usd"] == pytest.approx(WHOLE)
        assert about["aichat.cost.estimated"] is False
    ((labels, value),) = sdk.measured()[NAME]
    assert value == pytest.approx(2 * WHOLE)
    assert labels == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "m",
        "aichat.cost.estimated": False,
    }


async def test_nobody_who_did_not_ask_is_told(sdk: SDK) -> None:
    """Without prices nothing is looked up, not even in a table that is there."""
    await client_of(sdk, reply("Two.", usage=USAGE), prices=None).complete(PROMPT)
    assert "aichat.cost.usd" not in sdk.attributes
    assert NAME not in sdk.measured()


async def test_an_answer_that_was_cut_is_estimated(sdk: SDK) -> None:
    """And marked so, in its span and by a label; the same as a tracker says."""  # O6
    half: Reply = [
        UsageUpdate(Usage(input_tokens=1000, complete=False)),
        TextDelta("One, "),
        TextDelta("two, three, four"),
        ServerError("Gone."),
    ]
    tracker = CostTracker(BOOK)
    client = client_of(sdk, half).use(tracker)
    with pytest.raises(ServerError):
        await client.complete(PROMPT)
    assert sdk.attributes["aichat.cost.estimated"] is True
    assert tracker.spent.estimated > Decimal("0.002")
    assert sdk.attributes["aichat.cost.usd"] == pytest.approx(
        float(tracker.spent.total)
    )
    assert sdk.points(NAME, "aichat.cost.estimated").keys() == {("True",)}


async def test_a_failure_before_any_answer_costs_nothing(sdk: SDK) -> None:
    """Providers do not charge for it."""
    with pytest.raises(ServerError):
        await client_of(sdk, ServerError("Down.")).complete(PROMPT)
    assert "aichat.cost.usd" not in sdk.attributes
    assert NAME not in sdk.measured()


async def test_what_comes_from_the_cache_costs_nothing(sdk: SDK) -> None:
    """It is not counted again."""
    client = Client(
        {"fake": FakeProvider([reply("Two.", usage=USAGE)])},
        model="fake:m",
        middleware=[sdk.telemetry(prices=BOOK), cache()],
    )
    for _ in range(2):
        await client.complete(PROMPT)
    paid, free = (dict(span.attributes or {}) for span in sdk.spans)
    assert "aichat.cost.usd" in paid
    assert "aichat.cost.usd" not in free
    assert sdk.points(NAME) == {(): pytest.approx(WHOLE)}


async def test_a_detour_costs_what_the_other_model_does(sdk: SDK) -> None:
    """Not what was asked for, but what answered."""
    client = Client(
        {
            "fake": FakeProvider([ServerError("Down.")]),
            "other": FakeProvider([reply("Two.", usage=USAGE)]),
        },
        model="fake:m",
        middleware=[sdk.telemetry(prices=BOOK), fallback("other:n")],
    )
    await client.complete(PROMPT)
    assert sdk.attributes["aichat.cost.usd"] == pytest.approx(0.03)
    assert sdk.points(NAME, "gen_ai.provider.name") == {("other",): pytest.approx(0.03)}


async def test_a_free_model_costs_nothing_and_says_so(sdk: SDK) -> None:
    """0 is known; what is not known is not there."""
    answer = reply("Two.", usage=USAGE)
    fakes = {"free": FakeProvider([answer]), "unknown": FakeProvider([answer])}
    client = Client(fakes, middleware=[sdk.telemetry(prices=BOOK)])
    await client.complete(PROMPT, model="free:m")
    await client.complete(PROMPT, model="unknown:m")
    free, unknown = (dict(span.attributes or {}) for span in sdk.spans)
    assert free["aichat.cost.usd"] == 0
    assert "aichat.cost.usd" not in unknown


async def test_a_table_that_raises_breaks_nothing(
    sdk: SDK, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer comes, and so do all other measurements."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    book = PriceBook(table=broken)
    client = client_of(sdk, reply("Two.", usage=USAGE), prices=book)
    assert (await client.complete(PROMPT)).text == "Two."
    assert sdk.attributes["aichat.outcome"] == "success"
    assert sdk.points("aichat.client.requests") == {(): 1}
    assert NAME not in sdk.measured()
    assert "Telemetry raised" in caplog.text


_LOADING: Final = """
import sys
from aichat.costs import PriceBook
from aichat.middleware import telemetry
book = PriceBook()
telemetry()
assert "genai_prices" not in sys.modules, "nobody asked for it"
telemetry(prices=book)
assert "genai_prices" in sys.modules, "it is left to the first call"
"""


def test_prices_are_loaded_when_the_layer_is_made() -> None:
    """Which takes its time, so it is not within a call; and by nobody who did not ask."""
    pytest.importorskip("genai_prices")
    done = subprocess.run(
        [sys.executable, "-c", _LOADING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("known", [True, False])
async def test_embeddings(sdk: SDK, known: bool) -> None:
    """They cost what they read, if it is told how much that was."""
    layer = sdk.telemetry(prices=BOOK)

    async def embed(_: EmbeddingRequest) -> EmbeddingResponse:
        await asyncio.sleep(0)
        return EmbeddingResponse(
            vectors=[[1.0]], usage=Usage(input_tokens=1000 if known else None)
        )

    await layer.embedding(EmbeddingRequest("Hi", "fake:m"), embed)
    cost = sdk.attributes.get("aichat.cost.usd")
    assert cost == (pytest.approx(0.002) if known else None)
