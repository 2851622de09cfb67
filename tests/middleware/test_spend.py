"""Stop before it becomes expensive."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal
from threading import Thread
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from aichat import (
    ChatRequest,
    ChatResponse,
    Client,
    ConfigError,
    Handler,
    ServerError,
    SpendLimitError,
    StreamChunk,
    Usage,
    compose,
)
from aichat.costs import FREE, Found, Price, PriceBook
from aichat.middleware._ledger import Budget, Hold, MemoryLedger, Refusal
from aichat.middleware._spend import spend_limit
from aichat.testing import FakeProvider, reply, tool_call
from aichat.types import (
    ReasoningDelta,
    ResponseEnd,
    ResponseStart,
    TextDelta,
    UsageUpdate,
    collect,
    estimate_text_tokens,
    estimate_tokens,
)

ASK: Final = ChatRequest("How much is it?", "fake:m")
PROMPT: Final = estimate_tokens(ASK)
#: A dollar for each token that is sent, and ten for each that comes back.
PRICE: Final = Price(1_000_000, 10_000_000)
BOOK: Final = PriceBook({"fake:m": PRICE}, table=None)
#: 25 dollars.
USAGE: Final = Usage(input_tokens=5, output_tokens=2)
WORDS: Final = "word " * 500


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(
    *replies: Any, prices: Any = BOOK, **options: Any
) -> tuple[Handler, FakeProvider]:
    """A provider that plays *replies* behind a `spend_limit`."""
    provider = FakeProvider(replies or [reply("Hi", usage=USAGE)], repeat=not replies)
    return compose([spend_limit(prices=prices, **options)], provider.stream), provider


async def ask(chat: Handler, request: ChatRequest = ASK) -> ChatResponse:
    async with aclosing(chat(request)) as chunks:
        return await collect(chunks)


async def refused(chat: Handler, request: ChatRequest = ASK) -> SpendLimitError:
    with pytest.raises(SpendLimitError) as caught:
        await ask(chat, request)
    return caught.value


# -- one call ----------------------------------------------------------------------------


async def test_a_prompt_that_costs_too_much() -> None:
    """
    Is not sent, and the error says by how much.
    """
    # O6
    chat, provider = limited(per_call=PROMPT - 1)
    error = await refused(chat)
    assert provider.requests == []
    assert (error.provider, error.model, error.attempts) == ("fake", "m", 0)
    assert not error.retryable
    assert error.context == {
        "scope": "call",
        "currency": "USD",
        "limit": str(PROMPT - 1),
        "estimate": str(PROMPT),
    }
    assert f"estimate {PROMPT}" in str(error)
    assert pickle.loads(pickle.dumps(error)).context == error.context


async def test_a_prompt_that_costs_just_enough() -> None:
    """
    Is sent; and an answer that costs little comes whole.
    """
    chat, _ = limited(reply("Hi", usage=USAGE), per_call=PROMPT + 20)
    assert (await ask(chat)).text == "Hi"


async def test_a_stream_that_becomes_expensive() -> None:
    """
    Is ended soon after it has passed its limit, with what had arrived; the connection is
    closed at once.
    """
    # O6
    chat, provider = limited(reply(WORDS), per_call=PROMPT + 500)
    error = await refused(chat)
    assert provider.active == 0
    assert error.partial is not None
    assert error.partial.finish_reason is None
    words = error.partial.text.split()
    assert 50 < len(words) <= 50 + 2 * 32
    assert error.context["scope"] == "call"
    cost = PROMPT + 10 * estimate_text_tokens(error.partial.text)
    assert error.context["estimate"] == str(cost)
    assert not error.retryable


async def test_the_connection_is_closed_before_anybody_hears() -> None:
    """
    Layers further out find it closed already.
    """
    active = []

    async def outer(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        try:
            async for chunk in call_next(request):
                yield chunk
        except SpendLimitError:
            active.append(provider.active)
            raise

    provider = FakeProvider([reply(WORDS)])
    limit = spend_limit(per_call=PROMPT + 100, prices=BOOK)
    await refused(compose([outer, limit], provider.stream))
    assert active == [0]


@pytest.mark.parametrize(
    "chunk",
    [
        ReasoningDelta("word " * 100),
        TextDelta("word " * 100),
        *reply(tool_calls=[tool_call("f", "1", x="word " * 100)], words=False)[1:2],
    ],
)
async def test_few_chunks_that_are_long(chunk: StreamChunk) -> None:
    """
    It looks when much has come, in however few pieces, and whatever it is.
    """
    chunks = [ResponseStart(), chunk, chunk, chunk]
    chat, _ = limited(chunks, per_call=PROMPT + 1500)
    error = await refused(chat)
    assert error.partial is not None
    assert error.partial.message.content


async def test_what_the_provider_counts() -> None:
    """
    Its numbers count for more than our guesses: of the prompt, and of what nobody shows.
    """
    long = Usage(input_tokens=PROMPT + 400, complete=False)
    hidden = Usage(output_tokens=80, complete=False)
    for told in (long, hidden):
        start = [ResponseStart(), UsageUpdate(told)]
        chat, _ = limited([*start, *reply("word " * 30)[1:]], per_call=PROMPT + 500)
        error = await refused(chat)
        assert error.partial is not None
        assert error.partial.text


async def test_an_answer_that_is_complete() -> None:
    """
    Is given, whatever it has cost in the end: it is paid for.
    """
    dear = Usage(input_tokens=5, output_tokens=1000)
    chat, _ = limited(reply("Hi there", usage=dear), per_call=PROMPT + 50)
    assert (await ask(chat)).usage == dear


async def test_an_answer_from_a_cache() -> None:
    """
    Is not stopped, as it costs nothing; and nothing is booked.
    """
    cached = [ResponseStart(from_cache=True), *reply(WORDS)[1:]]
    chat, _ = limited(cached, cached, per_call=PROMPT + 100, total=PROMPT)
    for _ in range(2):
        assert (await ask(chat)).from_cache


async def test_another_model_answers() -> None:
    """
    Its price counts, from when it is known.
    """

    def table(provider: str, model: str, **_: Any) -> Found:
        return Found(FREE if model == "cheap" else PRICE, model)

    answer = reply(WORDS)[1:]
    chat, _ = limited(
        [ResponseStart(model="cheap", provider="other"), *answer],
        [ResponseStart(model="dear", provider="other"), *answer],
        per_call=PROMPT + 100,
        prices=PriceBook(table=table),
    )
    assert (await ask(chat)).text == WORDS
    await refused(chat)


async def test_a_dear_tier() -> None:
    """
    What is asked for in a hurry is estimated at the price of that.
    """
    asked: list[Any] = []

    def table(*_: Any, context: Any, **__: Any) -> Found:
        asked.append(context)
        return Found(PRICE, "x")

    chat, _ = limited(per_call=1000, prices=PriceBook(table=table))
    await ask(chat, ChatRequest("Hi", "fake:m", service_tier="priority"))
    assert asked[0] == {"service_tier": "priority"}


async def test_a_free_model() -> None:
    """
    May say as much as it likes.
    """
    chat, _ = limited(reply(WORDS), prices={"fake:*": FREE}, per_call=0, total=0)
    assert (await ask(chat)).text == WORDS


async def test_a_model_without_a_price() -> None:
    """
    Is refused before it is sent; or let through, if that is wanted.
    """
    chat, provider = limited(per_call=1, total=1, prices=PriceBook(table=None))
    error = await refused(chat)
    assert provider.requests == []
    assert "No price is known" in str(error)
    assert error.context == {"scope": "unpriced", "currency": "USD", "limit": "1"}
    book = PriceBook(table=None)
    chat, _ = limited(per_call=1, total=1, prices=book, unpriced="allow")
    for _ in range(3):
        assert (await ask(chat)).text == "Hi"


# -- all of them -------------------------------------------------------------------------


async def test_a_total() -> None:
    """
    When it is used up nothing more is sent, and waiting does not help.
    """
    # O6
    chat, provider = limited(total=70)
    for _ in range(3):
        await ask(chat)
    error = await refused(chat)
    assert len(provider.requests) == 3
    assert error.retry_after is None
    assert error.context == {
        "scope": "total",
        "currency": "USD",
        "limit": "70",
        "spent": "75",
        "held": "0",
        "estimate": str(PROMPT),
        "per": None,
    }


async def test_a_window() -> None:
    """
    So much an hour: what was spent longer ago does not count, and the error says when.
    """
    # O6
    clock = Clock()
    hour = timedelta(hours=1)
    chat, _ = limited(total=40, per=hour, ledger=MemoryLedger(clock=clock))
    await ask(chat)
    clock.now += 600
    await ask(chat)
    error = await refused(chat)
    assert error.context["per"] == 3600
    assert error.retry_after is not None
    # To the minute, and never too early.
    assert 3000 < error.retry_after <= 3060
    clock.now += error.retry_after - 1
    await refused(chat)
    clock.now += 1
    await ask(chat)


async def test_waiting_for_more_than_one_call_to_be_forgotten() -> None:
    """
    The wait is until there is room, which may take several.
    """
    clock = Clock()
    ledger, budget = MemoryLedger(clock=clock), Budget(Decimal(10), 60.0)
    for amount in (2, 3, 5):
        held = await ledger.hold("", budget, least=Decimal(0), amount=Decimal(amount))
        assert not isinstance(held, Refusal)
        held.settle(Decimal(amount))
        clock.now += 10
    full = await ledger.hold("", budget, least=Decimal(4), amount=Decimal(4))
    assert isinstance(full, Refusal)
    assert full.retry_after == pytest.approx(41)
    more = await ledger.hold("", budget, least=Decimal(11), amount=Decimal(11))
    assert more == Refusal(Decimal(10), Decimal(0))


async def test_a_window_is_remembered_in_steps() -> None:
    """
    Thousands of calls are some sixty numbers.
    """
    clock, ledger = Clock(), None
    ledger = MemoryLedger(clock=clock)
    budget = Budget(Decimal(1000), 60.0)
    for _ in range(1000):
        held = await ledger.hold("", budget, least=Decimal(0), amount=Decimal(1))
        assert not isinstance(held, Refusal)
        held.settle(Decimal(1))
        clock.now += 0.05
    [account] = ledger._accounts.values()
    assert account.spent == 1000
    assert len(account._steps) <= 61
    clock.now += 61
    account.forget(clock.now)
    assert account.spent == 0
    assert not account._steps


async def test_everybody_has_a_total() -> None:
    """
    With *key* one's spending is not another's.
    """
    chat, provider = limited(total=20, key=lambda request: request.user or "")
    ann, bob = (ChatRequest("Hi", "fake:m", user=user) for user in ("ann", "bob"))
    await ask(chat, ann)
    await refused(chat, ann)
    await ask(chat, bob)
    assert [request.user for request in provider.requests] == ["ann", "bob"]


async def test_calls_at_the_same_time() -> None:
    """
    The estimates of those under way count: together they do not pass the limit.
    """
    # O6
    request = ChatRequest(ASK.messages, "fake:m", max_tokens=2)
    usage = Usage(input_tokens=PROMPT, output_tokens=2)
    estimate = PROMPT + 20
    chat, provider = limited(
        reply("Hi", usage=usage), *[reply("Hi", usage=usage)] * 9, total=3 * estimate
    )
    streams = [chat(request) for _ in range(10)]
    begun, refusals = [], []
    for stream in streams:
        try:
            await anext(stream)
        except SpendLimitError as error:
            refusals.append(error.context["held"])
        else:
            begun.append(stream)
    assert refusals == [str(3 * estimate)] * 7
    assert len(begun) == len(provider.requests) == 3
    for stream in begun:
        async for _ in stream:
            pass
    assert (await refused(chat, request)).context["spent"] == str(3 * estimate)


async def test_what_is_put_aside_and_not_spent() -> None:
    """
    Comes back: by default a thousand tokens are, and no more than one call may cost.
    """
    chat, _ = limited(total=9000)
    first = chat(ASK)
    await anext(first)
    error = await refused(chat)
    assert error.context["held"] == str(PROMPT + 10_000)
    await first.aclose()
    await ask(chat)
    chat, _ = limited(total=9000, per_call=100)
    first, second = chat(ASK), chat(ASK)
    await anext(first)
    await anext(second)
    await second.aclose()
    await first.aclose()


async def test_a_call_that_fails() -> None:
    """
    Costs nothing before it has said anything, and afterwards what arrived.
    """
    broken = [ResponseStart(), ServerError("Broken.")]
    later = [ResponseStart(), TextDelta("one two three"), ServerError("Broken.")]
    chat, _ = limited(
        ServerError("Broken."),
        broken,
        later,
        reply("Hi", usage=USAGE),
        total=PROMPT + 1,
    )
    for _ in range(3):
        with pytest.raises(ServerError):
            await ask(chat)
    spent = PROMPT + 10 * estimate_text_tokens("one two three")
    assert (await refused(chat)).context["spent"] == str(spent)


async def test_a_call_that_is_cancelled() -> None:
    """
    Before there is an answer it costs its prompt, as the provider may have read it.
    """

    async def never(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        await asyncio.sleep(3600)
        yield ResponseStart()  # pragma: no cover -- is never reached

    chat = compose([spend_limit(total=PROMPT, prices=BOOK)], never)
    task = asyncio.create_task(ask(chat))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await refused(chat)).context["spent"] == str(PROMPT)


async def test_a_call_that_cannot_begin() -> None:
    """
    A closed client raises before there is a stream: what was put aside comes back.
    """

    def closed(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        raise ServerError("Closed.")

    chat = compose([spend_limit(total=PROMPT, prices=BOOK)], closed)
    for _ in range(3):
        with pytest.raises(ServerError):
            await ask(chat)


async def test_an_answer_whose_cost_nobody_knows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Is given, and booked as estimated: a table that breaks loses no answer.
    """
    calls = 0

    def table(*_: Any, **__: Any) -> Found:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise RuntimeError("What?")
        return Found(PRICE, "x")

    answer = reply("Hi", usage=USAGE)[1:]
    ledger = MemoryLedger()
    chat, _ = limited(
        answer, total=50_000, prices=PriceBook(table=table), ledger=ledger
    )
    assert (await ask(chat)).text == "Hi"
    [account] = ledger._accounts.values()
    assert account.spent == PROMPT + 10_000
    assert caplog.records[-1].levelno == logging.ERROR


async def test_two_limits_with_one_ledger() -> None:
    """
    Share their books, if they are the same limit.
    """
    ledger = MemoryLedger()
    first, _ = limited(total=20, ledger=ledger)
    second, _ = limited(total="20.0", ledger=ledger)
    other, _ = limited(total=30, ledger=ledger)
    await ask(first)
    await refused(second)
    await ask(other)
    assert repr(ledger) == "<MemoryLedger: 2 accounts>"


async def test_a_ledger_of_your_own() -> None:
    """
    Is asked before, and told after; when it fails, nothing is sent.
    """
    told: list[Any] = []

    class Mine:
        async def hold(
            self, key: str, budget: Budget, *, least: Decimal, amount: Decimal
        ) -> Hold | Refusal:
            if len(told) > 1:
                raise ServerError("The database is down.")
            told.append((key, budget, least, amount))
            return self

        def settle(self, amount: Decimal) -> None:
            told.append(amount)

    chat, provider = limited(total=9, per=60, ledger=Mine(), expected_output=7)
    await ask(chat)
    budget = Budget(Decimal(9), 60)
    assert told == [("", budget, Decimal(PROMPT), Decimal(PROMPT + 70)), Decimal(25)]
    with pytest.raises(ServerError):
        await ask(chat)
    assert len(provider.requests) == 1


async def test_a_hold_is_settled_once() -> None:
    """
    The first time counts.
    """
    ledger, budget = MemoryLedger(), Budget(Decimal(10))
    held = await ledger.hold("", budget, least=Decimal(1), amount=Decimal(5))
    assert not isinstance(held, Refusal)
    held.settle(Decimal(2))
    held.settle(Decimal(3))
    full = await ledger.hold("", budget, least=Decimal(9), amount=Decimal(9))
    assert full == Refusal(Decimal(2), Decimal(0))


async def test_those_who_have_spent_nothing_lately_are_forgotten() -> None:
    """
    The books of a window do not grow with everybody who ever came by.
    """
    clock = Clock()
    ledger, budget = MemoryLedger(clock=clock), Budget(Decimal(10), 60.0)
    for number in range(10_001):
        held = await ledger.hold(
            f"{number}", budget, least=Decimal(0), amount=Decimal(1)
        )
        assert not isinstance(held, Refusal)
        if number != 7:
            held.settle(Decimal(1))
        if number == 9_998:
            clock.now += 100
    # One has a call under way, one has spent lately, one has just come.
    assert [key for key, _ in ledger._accounts] == ["7", "9999", "10000"]


def test_many_threads() -> None:
    """
    Each with a loop of its own share one limit, and no more than that is spent.
    """
    # C5
    limit = spend_limit(total=1000, prices=BOOK, expected_output=2)
    provider = FakeProvider([reply("Hi", usage=USAGE)], repeat=True)
    refusals: list[SpendLimitError] = []

    async def calls() -> None:
        chat = compose([limit], provider.stream)
        for _ in range(20):
            try:
                await ask(chat)
            except SpendLimitError as error:
                refusals.append(error)

    threads = [Thread(target=lambda: asyncio.run(calls())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(provider.requests) + len(refusals) == 80
    assert 1000 - PROMPT < 25 * len(provider.requests) <= 1000 + 25


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 30), st.booleans()), max_size=40
    ),
    st.integers(1, 60),
)
def test_never_more_than_one_estimate_too_much(
    calls: list[tuple[int, int, bool]], limit: int
) -> None:
    """
    Where estimates are right, no order of calls passes the limit by more than one of them.
    """
    # O6

    async def play() -> None:
        ledger, budget = MemoryLedger(), Budget(Decimal(limit))
        spent, open_calls = 0, []
        for least, more, now in calls:
            held = await ledger.hold(
                "", budget, least=Decimal(least), amount=Decimal(least + more)
            )
            if isinstance(held, Refusal):
                continue
            open_calls.append((held, least + more))
            if now:
                settled, amount = open_calls.pop(0)
                settled.settle(Decimal(amount))
                spent += amount
        spent += sum(amount for _, amount in open_calls)
        assert spent <= limit + 30

    asyncio.run(play())


async def test_through_a_client() -> None:
    """
    The partial response is the stream's own, and the total is that of its clients.
    """
    provider = FakeProvider([reply(WORDS)], repeat=True)
    limit = spend_limit(per_call=PROMPT + 500, total=PROMPT + 600, prices=BOOK)
    async with Client({"fake": provider}, model="fake:m").use(limit) as client:
        stream = client.stream("How much is it?")
        with pytest.raises(SpendLimitError) as caught:
            await stream.response()
        assert caught.value.partial is not None
        assert stream.partial().text.startswith(caught.value.partial.text[:100])
        with pytest.raises(SpendLimitError, match="used up"):
            await client.complete("How much is it?")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: spend_limit(), "limits nothing"),
        (lambda: spend_limit(per_call=1, per=60), "window of a total"),
        (lambda: spend_limit(per_call=1, key=str), "total for each key"),
        (lambda: spend_limit(total=1, per=0), "seconds above 0, got 0"),
        (lambda: spend_limit(total=1, per=float("inf")), "seconds above 0"),
        (lambda: spend_limit(total=1, per=timedelta(0)), "seconds above 0"),
        (lambda: spend_limit(total=-1), "0 or more"),
        (lambda: spend_limit(per_call="x"), "0 or more"),
        (lambda: spend_limit(total=1, expected_output=-1), "number of tokens"),
        (lambda: spend_limit(total=1, unpriced="no"), "'refuse' or 'allow'"),  # type: ignore[arg-type]
    ],
)
def test_limits_that_make_no_sense(make: Callable[[], Any], words: str) -> None:
    """
    Are refused when they are made.
    """
    with pytest.raises(ConfigError, match=words):
        make()


def test_the_end_of_a_stream_is_a_chunk() -> None:
    """
    The scripts above end as streams do.
    """
    assert isinstance(reply(WORDS)[-1], ResponseEnd)
