"""What a call cost, and what several did together."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve, frozen

from aichat import (
    ChatRequest,
    Client,
    ServerError,
    StreamChunk,
    ToolLoopError,
    Usage,
)
from aichat.costs import (
    FREE,
    CallCost,
    Found,
    Price,
    PriceBook,
    _cost,
    cost_of,
    total_cost,
)
from aichat.errors import ConfigError
from aichat.middleware import fallback
from aichat.testing import FakeProvider, reply, tool_call
from aichat.tools import RunResult
from aichat.types import (
    OpaquePart,
    PartAdded,
    ProviderState,
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    Role,
    TextDelta,
    estimate_text_tokens,
    estimate_tokens,
    fold,
)

from .books import ASK, BOOK, PRICE, USAGE, response

# -- one call ----------------------------------------------------------------------------


def test_what_a_call_cost() -> None:
    """
    Tokens times prices, by kind and together, in exact decimals.
    """
    # O6
    usage = Usage(input_tokens=5, cache_read_tokens=4, output_tokens=2)
    cost = cost_of(response(usage), prices=BOOK)
    assert cost == CallCost(
        by_kind={
            "input": Decimal(1),
            "cache_read": Decimal("0.4"),
            "output": Decimal(20),
        },
        priced_as="fake:m",
    )
    assert (cost.input, cost.output, cost.total) == (
        Decimal("1.4"),
        Decimal(20),
        Decimal("21.4"),
    )
    assert (cost.currency, cost.estimated) == ("USD", False)


def test_the_table_is_the_default() -> None:
    """
    Without prices of your own the package's table is asked.
    """
    answer = response(
        provider="openai", model="gpt-5-mini-2025-08-07", created_at=1.78e9
    )
    cost = cost_of(answer)
    assert cost is not None
    assert cost.priced_as == "openai:gpt-5-mini"
    assert cost.total == Decimal("0.00000525")
    assert cost_of(answer, prices={"openai:*": FREE}) == CallCost(
        by_kind={"input": Decimal(0), "output": Decimal(0)}, priced_as="openai:*"
    )


def test_a_cached_answer_cost_nothing() -> None:
    """
    Its usage is what it cost then.
    """
    # O6
    cost = cost_of(response(from_cache=True), prices=BOOK)
    assert cost is not None
    assert cost.total == 0
    assert not cost.estimated


def test_what_is_not_known_is_none() -> None:
    """
    No price, or no tokens: never 0.
    """
    # O6
    assert cost_of(response(model="other"), prices=BOOK) is None
    assert cost_of(response(Usage()), prices=BOOK) is None
    assert cost_of(response(Usage(output_tokens=3)), prices=BOOK) is None
    assert cost_of(response(provider=None, model=None), prices=BOOK) is None


def test_an_answer_without_numbers() -> None:
    """
    The prompt is estimated from the request, the output from the text; and it is marked.
    """
    # O6
    text = "It is rather expensive, I am afraid."
    answer = response(Usage(), text)
    cost = cost_of(answer, request=ASK, prices=BOOK)
    assert cost is not None
    assert cost.estimated
    assert cost.input == estimate_tokens(ASK)
    assert cost.output == 10 * estimate_text_tokens(text)


def test_a_cut_answer_with_a_number_from_its_beginning() -> None:
    """
    It has taken at least what arrived, and at least what was told.
    """
    # O6
    text = "word " * 50
    cut = Usage(input_tokens=5, output_tokens=1, complete=False)
    cost = cost_of(response(cut, text), prices=BOOK)
    assert cost is not None
    assert cost.estimated
    assert cost.output == 10 * estimate_text_tokens(text)
    told = Usage(input_tokens=5, output_tokens=500, complete=False)
    cost = cost_of(response(told, text), prices=BOOK)
    assert cost is not None
    assert cost.estimated
    assert cost.output == 5000


def test_every_kind_of_output_counts() -> None:
    """
    Reasoning, refusals and calls are estimated like text; what nobody can read is not.
    """
    part = OpaquePart("secret", ProviderState("fake", {"secret": "x" * 1000}))
    chunks = [
        ReasoningDelta("Let me think. " * 5, 0),
        *reply(tool_calls=[tool_call("look", "1", where="here")])[1:-1],
        PartAdded(part, 7),
        RefusalDelta("I would rather not.", 8),
        ResponseEnd(reply()[-1].finish_reason),  # type: ignore[union-attr]
    ]
    answer = evolve(fold(chunks), provider="fake", model="m")
    cost = cost_of(answer, request=ASK, prices=BOOK)
    assert cost is not None
    texts = "Let me think. " * 5, 'look{"where":"here"}', "I would rather not."
    assert cost.output == 10 * sum(map(estimate_text_tokens, texts))


def test_a_client_may_know_a_provider_by_another_name() -> None:
    """
    The price goes by the name that was asked for, or by the provider's own.
    """
    request = ChatRequest("Hi", "eu:m-large")
    answer = response(provider="fake", model="m-large-2026")
    for name in ("eu:m-large", "fake:m-large", "fake:m-large-2026", "fake:*", "eu:*"):
        book = PriceBook({name: PRICE}, table=None)
        cost = cost_of(answer, request=request, prices=book)
        assert cost is not None
        assert cost.priced_as == name


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({}, {}),
        ({"metadata": {"service_tier": "flex"}}, {"service_tier": "flex"}),
        (
            {"usage": evolve(USAGE, raw={"serviceTier": "FLEX"})},
            {"service_tier": "flex"},
        ),
        (
            {"usage": evolve(USAGE, raw={"service_tier": "batch"})},
            {"processing": "batch"},
        ),
        ({"metadata": {"speed": "fast", "service_tier": 3}}, {"speed": "fast"}),
        ({"batch": True}, {"processing": "batch"}),
    ],
)
def test_how_it_was_asked_for(fields: dict[str, Any], context: dict[str, str]) -> None:
    """
    Tier, speed and batches reach the table, from wherever the provider says so.
    """
    # O6
    asked: list[Any] = []

    def table(provider: str, model: str, **how: Any) -> Found:
        asked.append(how)
        return Found(PRICE, "x", exact=False)

    batch = fields.pop("batch", False)
    answer = response(**fields, created_at=1_750_000_000.0)
    cost = cost_of(answer, prices=PriceBook(table=table), batch=batch)
    assert asked == [{"at": 1_750_000_000.0, "context": context}]
    assert cost is not None
    assert cost.estimated


def test_a_time_that_is_none() -> None:
    """
    Who says milliseconds gets the price of today.
    """
    asked: list[float] = []

    def table(provider: str, model: str, *, at: float, context: Any) -> Found:
        asked.append(at)
        return Found(PRICE, "x")

    book = PriceBook(table=table, clock=lambda: 7.0)
    for odd in (1.7e12, -1.0, None):
        cost_of(response(created_at=odd), prices=book)
    assert asked == [7.0, 7.0, 7.0]


def test_searches_and_calls_have_prices_too() -> None:
    """
    By the thousand; they are neither input nor output.
    """
    book = PriceBook({"fake:m": Price(0, 0, web_searches=10, requests=5)}, table=None)
    raw = {"server_tool_use": {"web_search_requests": 3}}
    cost = cost_of(response(evolve(USAGE, raw=raw)), prices=book)
    assert cost is not None
    assert cost.by_kind["web_searches"] == Decimal("0.03")
    assert cost.total == Decimal("0.035")
    assert cost.input == cost.output == 0


# -- several -----------------------------------------------------------------------------


def test_a_sum() -> None:
    """
    By kind; of one that nobody knows, nobody knows it; and of none it is nothing.
    """
    first = CallCost(by_kind={"input": Decimal(1)}, priced_as="a:m")
    second = CallCost(
        by_kind={"input": Decimal(2), "output": Decimal(3)},
        priced_as="b:m",
        estimated=True,
    )
    assert total_cost([first, second, first]) == CallCost(
        by_kind={"input": Decimal(4), "output": Decimal(3)},
        priced_as="a:m, b:m",
        estimated=True,
    )
    assert total_cost([first]) == first
    assert total_cost([first, None]) is None
    nothing = total_cost([])
    assert nothing is not None
    assert nothing.total == 0


def test_a_sum_of_several_currencies() -> None:
    """
    There is none.
    """
    with pytest.raises(ValueError, match="EUR"):
        total_cost([
            CallCost(priced_as="a"),
            CallCost(priced_as="b", currency="EUR"),
        ])


def client(*replies: Any) -> Client:
    return Client({"fake": FakeProvider(replies)}, model="fake:m")


async def it() -> str:
    """Do it."""
    return "done"


def asking(**options: Any) -> list[StreamChunk]:
    return reply("One moment.", tool_calls=[tool_call("it")], **options)


async def test_what_a_run_cost() -> None:
    """
    All rounds; what came out of a cache was for nothing.
    """
    # O6
    async with client(asking(usage=USAGE), reply("Done.", usage=USAGE)) as asked:
        result = await asked.run("Do it!", tools=[it])
    cost = cost_of(result, prices=BOOK)
    assert cost is not None
    assert cost.input == 10
    assert cost.output == 40
    assert not cost.estimated
    assert cost.priced_as == "fake:m"
    cached = evolve(result.responses[0], from_cache=True)
    result = evolve(result, responses=(cached, result.response))
    cost = cost_of(result, prices=BOOK)
    assert cost is not None
    assert cost.total == 25
    assert cost.priced_as == "cache, fake:m"


async def test_a_run_in_which_another_model_answered() -> None:
    """
    Each round at the price of who answered it.
    """
    # O6
    named = FakeProvider([asking(usage=USAGE), ServerError("Down.")])
    other = FakeProvider([reply("Done.", usage=USAGE)], name="other")
    asked = Client(
        {"fake": named, "other": other},
        model="fake:m",
        middleware=[fallback("other:n")],
    )
    run = await asked.run("Do it!", tools=[it])
    cost = cost_of(
        run, prices=PriceBook({"fake:m": PRICE, "other:n": FREE}, table=None)
    )
    assert cost is not None
    assert cost.total == 25
    assert cost.priced_as == "fake:m, other:n"


async def test_a_run_whose_provider_does_not_count() -> None:
    """
    Each prompt is estimated from what was sent in its round, and the sum is marked.
    """
    # O6
    unknown = Usage()
    async with client(asking(usage=unknown), reply("Done.", usage=unknown)) as asked:
        result = await asked.run("Do it!", tools=[it])
    cost = cost_of(result, prices=BOOK)
    assert cost is not None
    assert cost.estimated
    first, second = result.requests
    assert second.messages[-1].role is Role.TOOL
    assert cost.input == estimate_tokens(first) + estimate_tokens(second)


async def test_a_run_that_came_to_no_end() -> None:
    """
    What the rounds cost that there were is in the error's result, or in what there is so far.
    """
    # O6
    asked = client(asking(usage=USAGE), asking(usage=USAGE))
    with pytest.raises(ToolLoopError) as caught:
        await asked.run("Do it!", tools=[it], max_rounds=2)
    assert caught.value.result is not None
    cost = cost_of(caught.value.result, prices=BOOK)
    assert cost is not None
    assert cost.total == 50

    broken: list[Any] = [TextDelta("It is"), ServerError("Oh!")]
    stream = client(asking(usage=USAGE), broken).run_stream("Do it!", tools=[it])
    assert stream.partial() is None
    with pytest.raises(ServerError):
        await stream.result()
    partial = stream.partial()
    assert partial is not None
    assert (partial.stop_reason, partial.rounds) == ("unfinished", 2)
    assert partial.text == "It is"
    cost = cost_of(partial, prices=BOOK)
    assert cost is not None
    assert cost.estimated
    sent = estimate_tokens(partial.requests[1])
    assert cost.input == 5 + sent
    assert cost.output == 20 + 10 * estimate_text_tokens("It is")


def ran(**fields: Any) -> RunResult:
    return RunResult(
        responses=(response(**fields),), messages=(), prompt=(), stop_reason="done"
    )


def test_a_run_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Asked for when somebody looks; without a price, or without the table, it is not known.
    """
    # O6
    known = ran(provider="openai", model="gpt-5-mini", created_at=1.78e9)
    assert known.cost is not None
    assert known.cost.total == Decimal("0.00000525")
    assert ran().cost is None

    def nowhere() -> PriceBook:
        raise ConfigError("pip install 'aichat[cost]'")

    monkeypatch.setattr(_cost, "_usual_book", nowhere)
    assert known.cost is None


@frozen
class Answer:
    value: int


async def test_an_answer_that_was_repaired() -> None:
    """
    Both answers are paid for, each at its own price.
    """
    # O6
    tiered = Price(1_000_000, 0, above={8: Price(100_000_000, 0)})
    asked = client(
        reply('{"value": "x"}', usage=USAGE), reply('{"value": 1}', usage=USAGE)
    )
    answer = await asked.complete("?", response_type=Answer, repair=1)
    assert answer.usage.input_tokens == 10
    cost = cost_of(answer, request=ASK, prices={"fake:m": tiered})
    assert cost is not None
    assert cost.total == 10
    # One that nobody has kept the rounds of is a round.
    alone = cost_of(evolve(answer, rounds=()), request=ASK, prices=BOOK)
    assert alone is not None
    assert alone.total == 50


async def test_a_repaired_answer_without_numbers() -> None:
    """
    Its prompts are estimated from the request that is given.
    """
    asked = client(*[reply('{"value": 1}', usage=Usage())] * 2)
    answer = await asked.complete("?", response_type=Answer)
    assert cost_of(answer, prices=BOOK) is None
    cost = cost_of(answer, request=ASK, prices=BOOK)
    assert cost is not None
    assert cost.input == estimate_tokens(ASK)
