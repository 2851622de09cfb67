"""What a call cost, and what many did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from decimal import Decimal
from threading import Thread
from typing import Any, Final

import pytest
from attrs import evolve

from aichat import (
    ChatRequest,
    ChatResponse,
    Handler,
    ServerError,
    StreamChunk,
    StreamInterruptedError,
    Usage,
    compose,
)
from aichat.middleware import _cost
from aichat.middleware._cost import CallCost, CostTracker, Spent, cost_of
from aichat.middleware._prices import FREE, Found, Price, PriceBook
from aichat.testing import FakeProvider, reply, tool_call
from aichat.types import (
    Message,
    OpaquePart,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    Role,
    TextDelta,
    TextPart,
    UsageUpdate,
    estimate_text_tokens,
    estimate_tokens,
    fold,
)

ASK: Final = ChatRequest("How much is it?", "fake:m")
#: A dollar for each token that is sent, and ten for each that comes back.
PRICE: Final = Price(1_000_000, 10_000_000, cache_read=100_000)
BOOK: Final = PriceBook({"fake:m": PRICE}, table=None)
USAGE: Final = Usage(input_tokens=5, output_tokens=2)


def response(usage: Usage = USAGE, text: str = "", **fields: Any) -> ChatResponse:
    message = Message(Role.ASSISTANT, (TextPart(text),) if text else ())
    return ChatResponse(
        message=message, usage=usage, **{"provider": "fake", "model": "m"} | fields
    )


async def read(chat: Handler, request: ChatRequest = ASK) -> list[StreamChunk]:
    async with aclosing(chat(request)) as chunks:
        return [chunk async for chunk in chunks]


def tracked(
    *replies: Any, prices: Any = BOOK, **options: Any
) -> tuple[Handler, CostTracker]:
    costs = CostTracker(prices, **options)
    return compose([costs], FakeProvider(replies).stream), costs


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


# -- many --------------------------------------------------------------------------------


async def test_calls_are_summed_up() -> None:
    """
    All together, and by who answered.
    """
    # O6
    answers = [reply("Hi", usage=USAGE, model=name) for name in ("m", "m", "n")]
    chat, costs = tracked(*answers, prices={"fake:m": PRICE, "fake:n": PRICE})
    for _ in answers:
        await read(chat)
    assert costs.spent == Spent(calls=3, total=Decimal(75))
    assert costs.by_model == {
        "fake:m": Spent(calls=2, total=Decimal(50)),
        "fake:n": Spent(calls=1, total=Decimal(25)),
    }
    assert repr(costs) == "<CostTracker: 75 USD, 3 calls>"


async def test_everybody_is_told() -> None:
    """
    The callback hears of each call when it has ended; and it may fail.
    """
    told: list[Any] = []

    def on_cost(request: ChatRequest, cost: CallCost | None) -> None:
        told.append((request, cost and cost.total))
        raise RuntimeError("Not today.")

    chat, costs = tracked(
        reply("Hi", usage=USAGE), reply("Hi", usage=USAGE), on_cost=on_cost
    )
    await read(chat)
    await read(chat, ChatRequest("Hi", "nobody:knows"))
    assert [(r.model, c) for r, c in told] == [("fake:m", 25), ("nobody:knows", None)]
    assert costs.spent == Spent(calls=2, total=Decimal(25), unpriced=1)


async def test_a_stream_that_is_left() -> None:
    """
    What had arrived by then is estimated, and marked.
    """
    # O6
    chat, costs = tracked(reply("one two three four five six", usage=USAGE))
    async with aclosing(chat(ASK)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, TextDelta) and "three" in chunk.text:
                break
    expected = estimate_tokens(ASK) + 10 * estimate_text_tokens("one two three")
    spent = Spent(calls=1, total=Decimal(expected), estimated=Decimal(expected))
    assert costs.spent == spent


async def test_a_stream_that_breaks() -> None:
    """
    The same; and the error is the caller's as it was.
    """
    # O6
    broken: Iterable[Any] = [
        ResponseStart(),
        UsageUpdate(Usage(input_tokens=5)),
        TextDelta("one two"),
        StreamInterruptedError("Gone."),
    ]
    chat, costs = tracked(broken)
    with pytest.raises(StreamInterruptedError):
        await read(chat)
    expected = Decimal(5 + 10 * estimate_text_tokens("one two"))
    assert costs.spent == Spent(calls=1, total=expected, estimated=expected)


async def test_a_stream_of_calls_that_is_left() -> None:
    """
    Calls are estimated like text.
    """
    call = tool_call("look", "1", where="here")
    chat, costs = tracked(reply("Hm.", tool_calls=[call], reasoning="So", words=False))
    async with aclosing(chat(ASK)) as chunks:
        for _ in range(4):
            await anext(chunks)
    output = estimate_text_tokens('SoHm.look{"where":"here"}')
    assert costs.spent.total == estimate_tokens(ASK) + 10 * output


async def test_who_leaves_after_the_end_has_the_whole() -> None:
    """
    The numbers were there, so nothing is estimated.
    """
    chat, costs = tracked(reply("Hi", usage=USAGE))
    chunks = chat(ASK)
    async for chunk in chunks:
        if isinstance(chunk, ResponseEnd):
            break
    await chunks.aclose()
    assert costs.spent == Spent(calls=1, total=Decimal(25))


async def test_numbers_without_an_end() -> None:
    """
    They may not be the last ones.
    """
    chunks = [TextDelta("one two"), UsageUpdate(USAGE), StreamInterruptedError("Gone.")]
    chat, costs = tracked(chunks)
    with pytest.raises(StreamInterruptedError):
        await read(chat)
    assert costs.spent.estimated == costs.spent.total == 25


async def test_a_call_that_fails_at_once() -> None:
    """
    Costs nothing, and does not count.
    """
    chat, costs = tracked(ServerError("Broken."))
    with pytest.raises(ServerError):
        await read(chat)
    assert costs.spent == Spent()
    assert costs.by_model == {}


async def test_answers_from_a_cache() -> None:
    """
    Count as calls, and cost nothing.
    """
    start = ResponseStart(from_cache=True, model="m", provider="fake")
    chat, costs = tracked([start, *reply("Hi", usage=USAGE)[1:]])
    await read(chat)
    assert costs.spent == Spent(calls=1)


async def test_a_part_of_the_program() -> None:
    """
    What is begun within counts within, also in tasks; nested, and by nobody else.
    """
    chat, costs = tracked(*[reply("Hi", usage=USAGE)] * 4)
    await read(chat)
    with costs.within() as outer, CostTracker(BOOK).within() as another:
        await asyncio.create_task(read(chat))
        with costs.within() as inner:
            await read(chat)
    await read(chat)
    assert (inner().calls, outer().calls, another().calls) == (1, 2, 0)
    totals = [spent.total for spent in (inner(), outer(), costs.spent)]
    assert totals == [25, 50, 100]


async def test_a_call_counts_where_it_began() -> None:
    """
    Even if it ends elsewhere.
    """
    chat, costs = tracked(reply("Hi there", usage=USAGE))
    chunks = chat(ASK)
    with costs.within() as spent:
        await anext(chunks)
    assert spent() == Spent()
    async for _ in chunks:
        pass
    assert spent() == costs.spent == Spent(calls=1, total=Decimal(25))


async def test_a_table_that_breaks(caplog: pytest.LogCaptureFixture) -> None:
    """
    Who only watches does not break the call; what it cost is not known.
    """

    def table(*_: Any, **__: Any) -> Found:
        raise RuntimeError("What?")

    chat, costs = tracked(reply("Hi", usage=USAGE), prices=PriceBook(table=table))
    assert len(await read(chat)) == 4
    assert costs.spent == Spent(calls=1, unpriced=1)
    assert caplog.records[0].levelno == logging.ERROR


async def test_more_models_than_one_can_have() -> None:
    """
    Who makes up names does not fill our memory.
    """
    most = _cost._MODELS
    replies = [reply("Hi", usage=USAGE, model=f"m{n}") for n in range(most + 5)]
    chat, costs = tracked(*replies, prices=PriceBook({"fake:*": FREE}, table=None))
    for _ in replies:
        await read(chat)
    assert len(costs.by_model) == most + 1
    assert costs.by_model["(others)"].calls == 5


def test_many_threads() -> None:
    """
    Each with a loop of its own: no call is lost.
    """
    # C5
    costs = CostTracker(BOOK)

    async def calls() -> None:
        provider = FakeProvider([reply("Hi", usage=USAGE)], repeat=True)
        chat = compose([costs], provider.stream)
        for _ in range(50):
            await read(chat)

    threads = [Thread(target=lambda: asyncio.run(calls())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert costs.spent == Spent(calls=200, total=Decimal(5000))
    assert costs.cost_of(response()) == cost_of(response(), prices=BOOK)


async def test_it_changes_nothing() -> None:
    """
    Chunks pass as they are.
    """
    chunks = reply("Hi", reasoning="Hm", tool_calls=[tool_call("f", "1")], usage=USAGE)
    chunks.insert(-1, PartEnd(0))

    async def answer(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        for chunk in chunks:
            yield chunk

    passed = await read(compose([CostTracker(BOOK)], answer))
    assert all(a is b for a, b in zip(passed, chunks, strict=True))
