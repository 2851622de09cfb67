"""What many calls cost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest

from aichat import (
    ChatRequest,
    Handler,
    ServerError,
    StreamChunk,
    StreamInterruptedError,
    Usage,
    compose,
)
from aichat.costs import FREE, CallCost, Found, PriceBook, cost_of
from aichat.middleware import (
    CostTracker,
    Middleware,
    Spent,
    _cost_tracker,
    balance,
    fallback,
    hedge,
    split,
)
from aichat.testing import FakeProvider, reply, tool_call
from aichat.types import (
    PartEnd,
    ResponseEnd,
    ResponseStart,
    TextDelta,
    UsageUpdate,
    estimate_text_tokens,
    estimate_tokens,
    fold,
)

from ..costs.books import ASK, BOOK, PRICE, USAGE, response
from ..transport.toys import virtual
from .models import Models


async def read(chat: Handler, request: ChatRequest = ASK) -> list[StreamChunk]:
    async with aclosing(chat(request)) as chunks:
        return [chunk async for chunk in chunks]


def tracked(
    *replies: Any, prices: Any = BOOK, **options: Any
) -> tuple[Handler, CostTracker]:
    costs = CostTracker(prices, **options)
    return compose([costs], FakeProvider(replies).stream), costs


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


@pytest.mark.parametrize("says_so", [True, False], ids=["named", "nameless"])
@pytest.mark.parametrize(
    ("layer", "seconds"),
    [
        (fallback("b:n"), 0),
        (balance(["b:n"]), 0),
        (split({"b:n": 1}), 0),
        (hedge(0.01, to="b:n"), 60),
    ],
    ids=["fallback", "balance", "split", "hedge"],
)
@virtual
async def test_another_model_answers_than_was_asked_for(
    layer: Middleware, seconds: float, says_so: bool
) -> None:
    """
    Around it all or within: what counts is the price of who answers, by whatever name.
    """
    # O6
    answer = reply("Hi", usage=USAGE, model="dated" if says_so else None)
    start = ResponseStart(provider="maker" if says_so else None, model="dated")
    answer[0] = start if says_so else ResponseStart()
    models = Models({"a:m": [seconds, ServerError("Down.")], "b:n": answer})
    book = PriceBook({"a:m": FREE, "b:n": PRICE}, table=None)
    around, within = CostTracker(book), CostTracker(book)
    request = ChatRequest("Hi", "a:m")
    chunks = await read(compose([around, layer, within], models), request)
    assert around.spent.total == within.spent.total == 25
    assert around.by_model["maker:dated" if says_so else "b:n"].total == 25
    response = fold(chunks)
    assert response.rerouted_to == "b:n"
    cost = cost_of(response, request=request, prices=book)
    assert cost is not None
    assert cost.total == 25
    assert cost.priced_as == "b:n"
    assert cost_of(response, prices=book) == cost


@virtual
async def test_those_further_in_know_better_who_was_asked() -> None:
    """
    A pool that was fallen back to is nobody who has a price.
    """
    models = Models({"a:m": [ServerError("Down.")], "b:n": reply("Hi", usage=USAGE)})
    costs = CostTracker(PriceBook({"a:m": FREE, "b:n": PRICE}, table=None))
    pool = balance(["b:n"], of="pool:fast")
    chat = compose([costs, fallback("pool:fast"), pool], models)
    chunks = await read(chat, ChatRequest("Hi", "a:m"))
    assert fold(chunks).rerouted_to == "b:n"
    assert costs.spent.total == 25


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
    most = _cost_tracker._MODELS
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
