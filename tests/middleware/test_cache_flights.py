"""Several who ask the same at the same time."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest
from attrs import evolve

from aichat import ChatRequest, ChatResponse, Client, Deadlines, Handler, StreamChunk
from aichat.errors import (
    AIChatError,
    BadRequestError,
    ClosedError,
    ContentFilteredError,
    DeadlineError,
    ProviderUnavailableError,
    StreamClosedError,
    StreamInterruptedError,
)
from aichat.middleware._cache import cache
from aichat.middleware._flights import Flight, Flights, Landed, Seat
from aichat.middleware._stores import MemoryCache
from aichat.testing import reply
from aichat.types import FinishReason, fold

from ..transport.toys import now, virtual
from .cache_toys import ASK, Model, Step, answer, around, told

WORDS = reply("one two three")
Results = list[ChatResponse | BaseException]


def slowly(*steps: Step, gap: float = 1.0) -> list[Step]:
    """A second before each of *steps*."""
    return [each for step in steps for each in (gap, step)]


async def together(
    handler: Handler, count: int, request: ChatRequest = ASK
) -> list[asyncio.Task[ChatResponse]]:
    """*count* tasks that have asked, in their order."""
    tasks = [asyncio.create_task(answer(handler, request)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def results(tasks: list[asyncio.Task[ChatResponse]]) -> Results:
    return await asyncio.gather(*tasks, return_exceptions=True)


def texts(outcomes: Results) -> list[str]:
    """Texts, and the names of errors."""
    return [
        o.text if isinstance(o, ChatResponse) else type(o).__name__ for o in outcomes
    ]


@virtual
async def test_one_asks_for_all() -> None:
    """
    Who follows gets the whole answer when it is there, marked as one.  # X5
    """
    model = Model(slowly(*WORDS))
    tasks = await together(around(model, cache()), 100)
    done = await results(tasks)
    assert model.asked == 1
    first, *others = (o for o in done if isinstance(o, ChatResponse))
    assert len(others) == 99
    assert not first.from_cache
    assert all(other == evolve(first, from_cache=True) for other in others)
    assert now() == len(WORDS)


@virtual
async def test_the_leader_streams_as_usual() -> None:
    """Nobody waits behind it before it gets a chunk."""  # X5
    handler = around(Model(slowly(*WORDS)), cache())

    async def lead() -> list[float]:
        return [now() async for _ in handler(ASK)]

    leader = asyncio.create_task(lead())
    await asyncio.sleep(0)
    follower = asyncio.create_task(answer(handler))
    assert await leader == [1.0, 2.0, 3.0, 4.0, 5.0]
    await follower


@virtual
async def test_what_a_follower_says() -> None:
    """That it waits, and what it waited for."""  # O1, L3
    handler = around(Model(slowly(*WORDS)), cache())
    leader, follower = (asyncio.create_task(told(handler)) for _ in range(2))
    assert await leader == ["cache:miss"]
    assert await follower == ["waiting:flight", "cache:shared"]


@virtual
async def test_different_questions_do_not_wait_for_each_other() -> None:
    model = Model(slowly(*WORDS))
    handler = around(model, cache())
    tasks = await together(handler, 2)
    tasks += await together(handler, 2, evolve(ASK, temperature=1))
    await results(tasks)
    assert model.asked == 2
    assert now() == len(WORDS)


@virtual
async def test_who_tries_more_often_does_not_share_a_failure() -> None:
    """
    An answer would do for both, but an error after one attempt is not one after five.  # R2
    """
    model = Model(slowly(ProviderUnavailableError("away")), slowly(*WORDS))
    handler = around(model, cache())
    tasks = await together(handler, 1, evolve(ASK, max_retries=0))
    tasks += await together(handler, 1, evolve(ASK, max_retries=5))
    assert texts(await results(tasks)) == ["ProviderUnavailableError", "one two three"]


@virtual
async def test_a_hit_is_for_all_as_well() -> None:
    """Only one of them looks into the store."""

    class Slow(MemoryStore):
        async def get(self, key: str) -> ChatResponse | None:
            self.gets += 1
            await asyncio.sleep(1)
            return await self.inner.get(key)

    store, model = Slow(), Model()
    handler = around(model, cache(store, namespace="n"))
    await answer(handler)
    tasks = await together(handler, 5)
    assert [r.from_cache for r in await asyncio.gather(*tasks)] == [True] * 5
    assert (store.gets, model.asked) == (2, 1)


class MemoryStore:
    def __init__(self) -> None:
        self.inner = MemoryCache()
        self.gets = 0

    async def get(self, key: str) -> ChatResponse | None:
        self.gets += 1
        return await self.inner.get(key)

    async def set(self, key: str, response: ChatResponse, ttl: float | None) -> None:
        await self.inner.set(key, response, ttl)


@virtual
async def test_there_is_no_gap_between_the_flight_and_the_store() -> None:
    """
    Who comes while the answer is put away is answered at once.  # X5
    """

    class Slow(MemoryStore):
        async def set(
            self, key: str, response: ChatResponse, ttl: float | None
        ) -> None:
            await asyncio.sleep(2)
            await self.inner.set(key, response, ttl)

    model = Model(slowly(*WORDS))
    handler = around(model, cache(Slow(), namespace="n"))
    (leader,) = await together(handler, 1)
    await asyncio.sleep(len(WORDS) + 1)
    assert not leader.done()
    assert (await answer(handler)).from_cache
    assert now() == len(WORDS) + 1
    await leader
    assert (await answer(handler)).from_cache
    assert model.asked == 1


# -- leaders that do not arrive ------------------------------------------------------------


@virtual
async def test_a_cancelled_leader_takes_nobody_down() -> None:
    """
    Wherever it is: one follower asks next, the others wait on.  # X5, C2
    """
    for cut in range(len(WORDS)):
        model = Model(slowly(*WORDS))
        tasks = await together(around(model, cache()), 4)
        await asyncio.sleep(cut + 0.5)
        tasks[0].cancel()
        done = await results(tasks)
        assert texts(done) == ["CancelledError", *["one two three"] * 3], cut
        assert [r.from_cache for r in done[1:] if isinstance(r, ChatResponse)] == [
            False,
            True,
            True,
        ]
        assert (model.asked, model.active) == (2, 0)


@virtual
async def test_a_leader_that_leaves_takes_nobody_down() -> None:
    """
    Its consumer has seen enough, after any chunk.  # X5, C1
    """
    for cut in range(1, len(WORDS)):
        model = Model(slowly(*WORDS))
        handler = around(model, cache())
        chunks = handler(ASK)
        await anext(chunks)
        tasks = await together(handler, 2)
        for _ in range(1, cut):
            await anext(chunks)
        await chunks.aclose()
        assert texts(await results(tasks)) == ["one two three"] * 2
        assert (model.asked, model.active) == (2, 0)


@virtual
async def test_leaders_cancelled_one_after_the_other() -> None:
    """The seat goes from one to the next, in the order of their coming."""  # X5
    model = Model(slowly(*WORDS))
    tasks = await together(around(model, cache()), 5)
    for task in tasks[:-1]:
        await asyncio.sleep(1.5)
        task.cancel()
    assert texts(await results(tasks)) == ["CancelledError"] * 4 + ["one two three"]
    assert model.asked == 5


@virtual
async def test_all_are_cancelled_at_once() -> None:
    """
    The seat is passed on to those who are going as well; nothing is stuck.  # X5, C2
    """
    model = Model(slowly(*WORDS))
    handler = around(model, cache())
    tasks = await together(handler, 5)
    for task in tasks:
        task.cancel()
    assert texts(await results(tasks)) == ["CancelledError"] * 5
    assert model.active == 0
    assert (await answer(handler)).text == "one two three"


@virtual
async def test_a_follower_that_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    """
    The leader and the next one are cancelled in the same turn of the loop, in any
    order.  # X5, C2
    """
    for order in ((0, 1), (1, 0), (0, 1, 2), (2, 1, 0)):
        model = Model(slowly(*WORDS))
        tasks = await together(around(model, cache()), 4)
        await asyncio.sleep(1.5)
        for index in order:
            tasks[index].cancel()
        done = await results(tasks)
        assert texts(done)[-1] == "one two three"
        assert texts(done).count("CancelledError") == len(order)
        assert model.asked == 2


@virtual
async def test_a_follower_that_has_its_turn_and_is_cancelled_before_it_wakes() -> None:
    """The seat lies in its future: it must not be lost there."""  # X5, C2
    flights = Flights[str](30.0)
    first = flights.board("k")
    assert isinstance(first, Seat)

    async def follow() -> Any:
        flight = flights.board("k")
        assert isinstance(flight, Flight)
        return await flight.follow(float("inf"))

    second, third = (asyncio.create_task(follow()) for _ in range(2))
    await asyncio.sleep(0)
    first.leave()
    second.cancel()
    seat = await third
    assert isinstance(seat, Seat)
    assert second.cancelled()
    seat.leave()
    seat.leave()
    assert isinstance(flights.board("k"), Seat)


@virtual
async def test_a_cancelled_follower_is_nobodys_business() -> None:
    """Neither the leader's nor the others'."""  # X5, C2
    model = Model(slowly(*WORDS))
    tasks = await together(around(model, cache()), 4)
    await asyncio.sleep(1.5)
    tasks[2].cancel()
    assert texts(await results(tasks)) == [
        "one two three",
        "one two three",
        "CancelledError",
        "one two three",
    ]
    assert model.asked == 1


@pytest.mark.parametrize("error", [DeadlineError("late"), ClosedError("closed")])
def test_what_is_the_leaders_own_is_not_shared(error: AIChatError) -> None:
    """
    Its time was up, or its client was closed: the next one asks.  # X5
    """

    @virtual
    async def run() -> None:
        model = Model(slowly(error), slowly(*WORDS))
        tasks = await together(around(model, cache()), 3)
        name = type(error).__name__
        assert texts(await results(tasks)) == [name, *["one two three"] * 2]
        assert model.asked == 2

    run()


@virtual
async def test_the_leaders_deadline_is_its_own() -> None:
    """Others may have more time."""  # D3, X5
    model = Model([60.0, *WORDS])

    async def limited(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        limits = request.deadlines
        seconds = limits.limit("total") if limits is not None else None
        async with aclosing(call_next(request)) as chunks:
            try:
                async with asyncio.timeout(seconds):
                    came = [chunk async for chunk in chunks]
            except TimeoutError:
                raise DeadlineError("late", phase="total") from None
        for chunk in came:
            yield chunk

    handler = around(around(model, limited), cache(patience=1000))
    tasks = await together(handler, 1, evolve(ASK, deadlines=Deadlines(total=10)))
    tasks += await together(handler, 2)
    assert texts(await results(tasks)) == ["DeadlineError", *["one two three"] * 2]
    assert now() == 70


@virtual
async def test_an_error_is_everybodys() -> None:
    """
    Each gets a copy of its own, as final as the leader's. One request for all: a provider
    that is down is not asked by each of them.  # X5, R2
    """
    error = ProviderUnavailableError(
        "away", attempts=3, retryable=False, context={"a": 1}
    )
    model = Model(slowly(error), slowly(*WORDS))
    handler = around(model, cache())
    done = await results(await together(handler, 4))
    assert texts(done) == ["ProviderUnavailableError"] * 4
    errors = [e for e in done if isinstance(e, ProviderUnavailableError)]
    assert len({id(e) for e in errors}) == len({id(e.context) for e in errors}) == 4
    assert {(e.attempts, e.retryable, str(e)) for e in errors} == {(3, False, "away")}
    assert all(e.context == {"a": 1} for e in errors)
    assert model.asked == 1
    assert (await answer(handler)).text == "one two three"


@pytest.mark.parametrize(
    ("error", "shared"),
    [
        (StreamInterruptedError("cut"), False),
        (ContentFilteredError("no"), True),
        (BadRequestError("no"), True),
    ],
)
def test_an_error_after_output(error: AIChatError, shared: bool) -> None:
    """
    A connection that broke is the leader's misfortune: nothing has been said to the others,
    so one of them asks again. A refusal is everybody's.  # X5, R1
    """

    @virtual
    async def run() -> None:
        model = Model(slowly(*WORDS[:2], error), slowly(*WORDS))
        done = await results(await together(around(model, cache()), 3))
        name = type(error).__name__
        others = name if shared else "one two three"
        assert texts(done) == [name, others, others]
        assert model.asked == (1 if shared else 2)

    run()


@virtual
async def test_an_error_of_another_kind_is_not_shared() -> None:
    """A bug in a middleware below: each caller sees it where it happened."""
    model = Model(slowly(LookupError("bug")), slowly(*WORDS))
    done = await results(await together(around(model, cache()), 3))
    assert texts(done) == ["LookupError", *["one two three"] * 2]


@virtual
async def test_an_answer_that_is_not_kept_is_still_one() -> None:
    """
    To those who have asked by then; who comes later asks again.  # X5
    """
    model = Model(slowly(*reply("no", finish_reason=FinishReason.CONTENT_FILTER)))
    store = MemoryCache()
    handler = around(model, cache(store, namespace="n"))
    done = await results(await together(handler, 3))
    assert texts(done) == ["no"] * 3
    assert (model.asked, len(store)) == (1, 0)
    assert not (await answer(handler)).from_cache
    assert model.asked == 2


@virtual
async def test_a_failed_answer_is_not_shared() -> None:
    """The provider says that it failed: the next one tries."""  # X5
    bad = reply("no", finish_reason=FinishReason.ERROR)
    model = Model(slowly(*bad), slowly(*WORDS))
    done = await results(await together(around(model, cache()), 3))
    assert texts(done) == ["no", *["one two three"] * 2]


# -- patience ------------------------------------------------------------------------------


async def sit_on(handler: Handler, seconds: float) -> ChatResponse:
    """Read one chunk, and the others much later."""
    chunks = []
    async with aclosing(handler(ASK)) as stream:
        chunks.append(await anext(stream))
        await asyncio.sleep(seconds)
        chunks += [chunk async for chunk in stream]
    return fold(chunks)


@virtual
async def test_a_slow_consumer_is_not_waited_for_for_ever() -> None:
    """
    After *patience* one of those who wait asks, and answers the others.  # X5
    """
    model = Model(slowly(*WORDS))
    handler = around(model, cache(patience=30))
    leader = asyncio.create_task(sit_on(handler, 1000))
    await asyncio.sleep(2)
    done = await results(await together(handler, 50))
    assert texts(done) == ["one two three"] * 50
    assert sum(not r.from_cache for r in done if isinstance(r, ChatResponse)) == 1
    assert now() == pytest.approx(30 + len(WORDS))
    assert model.asked == 2
    assert (await leader).text == "one two three"
    assert model.active == 0


@virtual
async def test_one_more_asks_whenever_patience_ends() -> None:
    """Not all of them at once, and whoever is done first answers everybody."""  # X5
    model = Model([100.0, *WORDS], [100.0, *WORDS], [10.0, *WORDS])
    tasks = await together(around(model, cache(patience=30)), 20)
    follower = tasks[10]
    assert (await follower).text == "one two three"
    assert model.asked == 3
    assert now() == pytest.approx(70)
    assert texts(await results(tasks)) == ["one two three"] * 20
    assert now() == pytest.approx(130)


@virtual
async def test_an_error_is_not_everybodys_while_another_one_asks() -> None:
    """It may yet have an answer."""  # X5
    away = ProviderUnavailableError("away")
    model = Model([40.0, away], [20.0, *WORDS])
    done = await results(await together(around(model, cache(patience=30)), 4))
    assert texts(done) == ["ProviderUnavailableError", *["one two three"] * 3]
    assert model.asked == 2
    assert now() == pytest.approx(50)


@virtual
async def test_no_patience_is_no_flight() -> None:
    """Everybody asks."""
    model = Model(slowly(*WORDS))
    await results(await together(around(model, cache(patience=0)), 3))
    assert model.asked == 3


@virtual
async def test_endless_patience() -> None:
    model = Model([1e6, *WORDS])
    await results(await together(around(model, cache(patience=float("inf"))), 3))
    assert model.asked == 1


@pytest.mark.parametrize(
    ("limits", "phase", "at"),
    [
        (Deadlines(pool=3), "pool", 3),
        (Deadlines(total=4), "total", 4),
        (Deadlines(pool=3, total=4), "pool", 3),
        (Deadlines(pool=5, total=4), "total", 4),
        (Deadlines(pool=None, total=4), "total", 4),
    ],
)
def test_a_follower_has_deadlines_of_its_own(
    limits: Deadlines, phase: str, at: float
) -> None:
    """
    It says which, and that nothing was sent.  # D3, D4, L3
    """

    @virtual
    async def run() -> None:
        model = Model([20.0, *WORDS])
        handler = around(model, cache())
        (leader,) = await together(handler, 1)
        with pytest.raises(DeadlineError, match=f"within {at} s") as raised:
            await answer(handler, evolve(ASK, deadlines=limits))
        error = raised.value
        assert (error.phase, error.attempts, error.retryable) == (phase, 0, False)
        assert (error.provider, error.model) == ("fake", "m")
        assert now() == pytest.approx(at)
        assert (await leader).text == "one two three"
        assert model.asked == 1

    run()


@virtual
async def test_what_a_follower_waited_is_gone_when_it_asks() -> None:
    """Its total deadline covers both."""  # D3
    model = Model([10.0, ClosedError("closed")], WORDS)
    handler = around(model, cache())
    (leader,) = await together(handler, 1)
    await answer(handler, evolve(ASK, deadlines=Deadlines(total=15, idle=3)))
    with suppress(ClosedError):
        await leader
    limits = model.requests[1].deadlines
    assert limits is not None
    assert limits.limit("total") == pytest.approx(5)
    assert limits.limit("idle") == 3


# -- loops and what is left ----------------------------------------------------------------


def test_every_loop_flies_for_itself() -> None:
    """
    Two threads with a loop each ask the same: nobody waits in the wrong loop.  # C5
    """
    store = MemoryCache()
    both_ask = threading.Barrier(2, timeout=10)

    class Meeting(Model):
        async def __call__(
            self, request: ChatRequest
        ) -> AsyncGenerator[StreamChunk, None]:
            await asyncio.to_thread(both_ask.wait)
            async for chunk in super().__call__(request):
                yield chunk

    model = Meeting(WORDS)
    handler = around(model, cache(store, namespace="n"))
    got: list[list[ChatResponse]] = []

    async def main() -> None:
        got.append(await asyncio.gather(*[answer(handler) for _ in range(10)]))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(each) for each in got] == [10, 10]
    assert {r.text for each in got for r in each} == {"one two three"}
    assert model.asked == 2
    assert len(store) == 1


def test_one_loop_after_the_other() -> None:
    """What a loop that is gone has left is swept out by the next."""  # C5
    flights = Flights[str](30.0)

    async def leave_a_seat() -> Any:
        return flights.board("k")

    async def second() -> Any:
        return flights.board("k")

    assert isinstance(asyncio.run(leave_a_seat()), Seat)
    assert isinstance(asyncio.run(second()), Seat)
    assert len(flights._lanes) == 1


@virtual
async def test_nothing_is_left_of_a_flight() -> None:
    """However it ends."""  # C1
    scripts: list[Callable[[], list[Step]]] = [
        lambda: slowly(*WORDS),
        lambda: slowly(BadRequestError("no")),
        lambda: slowly(ClosedError("closed")),
        lambda: slowly(LookupError("bug")),
    ]
    for script in scripts:
        middleware = cache()
        tasks = await together(around(Model(script()), middleware), 3)
        await results(tasks)
        flights = middleware.__self__._flights  # type: ignore[attr-defined]
        assert [*flights._lanes.values()] == [{}]


@virtual
async def test_a_seat_that_was_landed_is_left_alone_by_the_next_flight() -> None:
    """A leader that comes late does not end the flight of those who came after it."""
    flights = Flights[str](30.0)
    early = flights.board("k")
    assert isinstance(early, Seat)
    early.leave()
    late = flights.board("k")
    assert isinstance(late, Seat)
    early.fail(BadRequestError("no"))
    early.land(Landed("answer", "shared"))
    assert isinstance(flights.board("k"), Flight)
    late.leave()
    assert isinstance(flights.board("k"), Seat)


@pytest.mark.parametrize("seed", range(20))
def test_a_storm(seed: int) -> None:
    """
    Callers come, leave and are cancelled at random, and some leaders fail by themselves:
    everybody else has the answer, nobody is stuck and nothing is left.  # X5, C1, C2
    """
    rand = random.Random(seed)

    @virtual
    async def run() -> None:
        lost = ClosedError("closed")
        scripts = [
            slowly(*WORDS[: rand.randrange(5)], lost, gap=rand.random())
            for _ in range(20)
        ]
        model = Model(*scripts, slowly(*WORDS))
        middleware = cache(patience=rand.choice([2.0, 30.0]))
        handler = around(model, middleware)
        tasks: list[asyncio.Task[ChatResponse]] = []
        gone = set()
        for _ in range(100):
            await asyncio.sleep(rand.choice([0, 0, 0.1, 1]))
            tasks.append(asyncio.create_task(answer(handler)))
            if rand.random() < 0.5:
                victim = rand.choice(tasks)
                if victim.cancel():
                    gone.add(victim)
        done = await results(tasks)
        for task, outcome in zip(tasks, done, strict=True):
            if task in gone:
                assert isinstance(outcome, asyncio.CancelledError)
            elif not isinstance(outcome, ClosedError):
                assert isinstance(outcome, ChatResponse)
                assert outcome.text == "one two three"
        assert sum(isinstance(o, ClosedError) for o in done) <= 20
        assert model.active == 0
        flights = middleware.__self__._flights  # type: ignore[attr-defined]
        assert [*flights._lanes.values()] == [{}]

    run()


@virtual
async def test_a_follower_can_be_closed_from_another_task() -> None:
    """
    As any other stream.  # C1
    """
    model = Model(slowly(*WORDS))

    class Provider:
        name = "fake"

        def stream(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
            return model(request)

    client = Client({"fake": Provider()}, model="fake:m", middleware=[cache()])
    leader = asyncio.create_task(client.complete("Hi"))
    await asyncio.sleep(0.5)
    stream = client.stream("Hi")
    reader = asyncio.create_task(stream.response())
    await asyncio.sleep(0.5)
    await stream.aclose()
    with pytest.raises(StreamClosedError):
        await reader
    assert (await leader).text == "one two three"
    assert model.asked == 1
