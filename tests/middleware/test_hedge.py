"""`hedge`: when a second attempt begins, who wins, and what becomes of the loser."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from aichat import (
    ChatRequest,
    Client,
    ClosedError,
    ConfigError,
    DeadlineError,
    Deadlines,
    Handler,
    ProviderUnavailableError,
    RateLimitError,
    ResponseEnd,
    ServerError,
    StreamChunk,
    StreamInterruptedError,
    TextDelta,
    compose,
)
from aichat.middleware._hedge import hedge
from aichat.middleware._latency import Latencies
from aichat.testing import FakeProvider, Simulator, reply
from aichat.transport import RetryBudget
from aichat.types import FinishReason, fold

from ..simulated import TARGETS
from ..transport.toys import VirtualLoop, now, virtual
from .models import Call, Models, Script, saying, tasks

REQUEST = ChatRequest("Hi", "a:m")
PATIENCE = 5.0


def two(first: Script, second: Script) -> Models:
    """The model a:m, as it answers the first and the second time."""
    return Models({"a:m": [list(first), list(second)]})


# --- when ------------------------------------------------------------------------------


@virtual
async def test_an_answer_that_begins_in_time() -> None:
    """Nobody else is asked, and its chunks come as they are. (B4)"""
    models = two(saying("Hello you", after=0.9, pace=2.0), saying("Never."))
    call = Call(models, hedge(1.0))
    assert await call.read(REQUEST) == reply("Hello you")
    assert models.requests == [REQUEST]
    assert call.events == []
    assert now() == 0.9 + 2 * 2.0


@virtual
async def test_one_that_is_slow_to_begin() -> None:
    """The second attempt starts on the dot, and wins if it is sooner. (B4)"""
    models = two(saying("Slow", after=9.0), saying("Quick", after=0.5))
    call = Call(models, hedge(2.0))
    response = fold(await call.read(REQUEST))
    assert response.text == "Quick"
    assert response.warnings == ()
    assert models.at == [0.0, 2.0]
    assert now() == 2.5
    [event] = call.events
    assert (event.kind, event.model, event.attempt) == ("hedged", "a:m", 2)


@virtual
async def test_the_first_may_still_win() -> None:
    """Whoever begins first, the other one is left. (B4)"""
    models = two(saying("Slow", after=3.0), saying("Slower", after=9.0))
    response = fold(await Call(models, hedge(2.0)).read(REQUEST))
    assert response.text == "Slow"
    assert models.left == [("a:m", 3.0), ("a:m", 3.0)]


@virtual
async def test_the_loser_is_gone_before_the_winner_is_heard() -> None:
    """It is cancelled at once, and not when the answer ends. (B4, C1)"""
    models = two(saying("Slow", after=99.0), saying("One two", after=1.0, pace=5.0))
    async with aclosing(compose([hedge(2.0)], models)(REQUEST)) as stream:
        await anext(stream)
        assert (models.left, models.active, tasks()) == ([("a:m", 3.0)], 1, 0)
        rest = [chunk async for chunk in stream]
    assert len(rest) == len(reply("One two")) - 1


@virtual
async def test_both_begin_in_the_same_moment() -> None:
    """The first one is preferred; the other has its output, and is closed with it. (B4)"""
    models = two(
        saying("First", after=3.0, pace=1.0), saying("Second", after=1.0, pace=1.0)
    )
    async with aclosing(compose([hedge(2.0)], models)(REQUEST)) as stream:
        start = await anext(stream)
        assert (models.left, models.active) == ([("a:m", 3.0)], 1)
        chunks = [start, *[chunk async for chunk in stream]]
    assert fold(chunks).text == "First"


@virtual
async def test_a_start_is_no_output() -> None:
    """Who has only said that it will answer has not begun. (B4)"""
    start, *rest = reply("Slow")
    models = two([start, 9.0, *rest], saying("Quick"))
    assert fold(await Call(models, hedge(1.0)).read(REQUEST)).text == "Quick"


@virtual
async def test_an_empty_answer_is_an_answer() -> None:
    """Its end is its first output."""
    models = two([3.0, ResponseEnd(FinishReason.STOP)], saying("Slow", after=9.0))
    chunks = await Call(models, hedge(2.0)).read(REQUEST)
    assert chunks == [ResponseEnd(FinishReason.STOP)]


@virtual
async def test_to_another_model() -> None:
    """If that one wins, the answer says so. (B4)"""
    models = Models({"a:m": saying("Slow", after=9.0), "b:m": saying("Quick")})
    call = Call(models, hedge(2.0, to="b:m"))
    response = fold(await call.read(REQUEST))
    assert response.text == "Quick"
    assert response.warnings == ("Answered by b:m, since a:m was slow to begin.",)
    assert [(e.kind, e.model) for e in call.events] == [
        ("hedged", "b:m"),
        ("rerouted", "b:m"),
    ]
    # If it loses there is nothing to say.
    models = Models({"a:m": saying("Slow", after=3.0), "b:m": saying("No", after=9.0)})
    call = Call(models, hedge(2.0, to="b:m"))
    assert fold(await call.read(REQUEST)).warnings == ()
    assert [e.kind for e in call.events] == ["hedged"]


@virtual
async def test_what_the_second_attempt_is_asked() -> None:
    """The same, without retries and with what is left of the time. (B4, D3, R2)"""
    request = ChatRequest("Hi", "a:m", max_retries=5, deadlines=Deadlines(total=10))
    models = two(saying("Slow", after=9.0), saying("Quick"))
    await Call(models, hedge(4.0)).read(request)
    first, second = models.requests
    assert first is request
    assert second.messages is request.messages
    assert second.max_retries == 0
    assert second.deadlines is not None
    assert second.deadlines.limit("total") == 6.0


@virtual
async def test_no_time_is_left_for_a_second_attempt() -> None:
    """The first one is at its end as well, and says so itself. (D3)"""
    request = ChatRequest("Hi", "a:m", deadlines=Deadlines(total=2))
    late = DeadlineError("Late.", phase="total")
    models = two([2.5, late], saying("Never."))
    with pytest.raises(DeadlineError, match="Late"):
        await Call(models, hedge(2.0)).read(request)
    assert len(models.asked) == 1


# --- failures --------------------------------------------------------------------------


@virtual
async def test_a_failure_before_there_is_a_second() -> None:
    """It comes out at once: retries and fallback are other layers. (B4)"""
    models = two([1.0, ServerError("Oh.", attempts=3)], saying("Never."))
    with pytest.raises(ServerError) as caught:
        await Call(models, hedge(2.0)).read(REQUEST)
    assert (now(), len(models.asked), caught.value.attempts) == (1.0, 1, 3)
    assert "hedge" not in caught.value.context


@virtual
@pytest.mark.parametrize("fails", ["first", "second"])
async def test_one_of_two_fails(fails: str) -> None:
    """The other one is waited for. (B4)"""
    error: Script = [3.0, ServerError("Oh.")]
    fine = saying("Hello", after=5.0)
    models = two(error, fine) if fails == "first" else two(fine, [0.5, *error[1:]])
    assert fold(await Call(models, hedge(2.0)).read(REQUEST)).text == "Hello"
    assert now() == (7.0 if fails == "first" else 5.0)


@virtual
@pytest.mark.parametrize("slower", [4.0, 0.1])
async def test_both_fail(slower: float) -> None:
    """The error of the first comes out, and counts for both. (B4, R2)"""
    models = Models({
        "a:m": [3.0, ServerError("Oh.", attempts=3)],
        "b:m": [slower, RateLimitError("Later.", attempts=1)],
    })
    with pytest.raises(ServerError) as caught:
        await Call(models, hedge(2.0, to="b:m")).read(REQUEST)
    assert caught.value.attempts == 4
    assert caught.value.context["hedge"] == ("b:m", "rate_limit")
    assert (now(), tasks()) == (max(3.0, 2.0 + slower), 0)


@virtual
async def test_the_winner_breaks() -> None:
    """After output an error is the caller's, hedged or not. (R1)"""
    broken = [*reply("Hi")[:-1], StreamInterruptedError("Cut.")]
    models = two(saying("Slow", after=9.0), broken)
    call = Call(models, hedge(1.0))
    with pytest.raises(StreamInterruptedError):
        await call.read(REQUEST)
    assert TextDelta("Hi") in call.chunks
    assert len(models.asked) == 2


@virtual
async def test_a_model_that_is_not_there() -> None:
    """Nobody to hedge with: the first one answers."""
    slow = Models({"a:m": saying("Slow", after=3.0)})

    def dispatch(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        if request.model != "a:m":
            raise ClosedError("Nobody.")
        return slow(request)

    call = Call(dispatch, hedge(1.0, to="gone:m"))
    assert fold(await call.read(REQUEST)).text == "Slow"


@virtual
@pytest.mark.parametrize("breaks", ["first", "second"])
async def test_a_bug_is_not_waited_over(breaks: str) -> None:
    """What nobody raises on purpose comes out at once, and the other one is left."""
    bug: Script = [1.0, LookupError("bug")]
    slow = saying("Slow", after=9.0)
    models = two([1.5, *bug], slow) if breaks == "first" else two(slow, bug)
    with pytest.raises(LookupError):
        await Call(models, hedge(2.0)).read(REQUEST)
    assert (now(), models.active, tasks()) == (2.5 if breaks == "first" else 3.0, 0, 0)


@virtual
async def test_a_bug_in_the_cleaning_up_of_the_loser() -> None:
    """It is as loud as it would be without a hedge."""

    async def clumsy(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        try:
            await asyncio.sleep(9.0 if request.max_retries is None else 1.0)
        except asyncio.CancelledError:
            raise LookupError("bug") from None
        yield TextDelta("Hi")

    with pytest.raises(LookupError):
        await Call(clumsy, hedge(2.0)).read(REQUEST)
    assert tasks() == 0


@virtual
async def test_errors_do_not_wait_for_the_garbage_collector() -> None:
    """Nothing that a failed call was made of refers to itself. (C1)"""
    gone: list[weakref.ref[BaseException]] = []

    async def broken(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        await asyncio.sleep(3.0)
        error = ServerError("Oh.")
        gone.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error
        yield TextDelta("never")

    gc.collect()
    gc.disable()
    try:
        for after in (1.0, 9.0):  # both fail; one fails
            with pytest.raises(ServerError):
                async for _ in compose([hedge(after)], broken)(REQUEST):
                    pass
        await asyncio.sleep(0)
        assert len(gone) == 3
        assert [ref() for ref in gone] == [None] * 3
    finally:
        gc.enable()


# --- leaving ---------------------------------------------------------------------------


@virtual
@pytest.mark.parametrize("moment", [0.5, 1.0, 2.0, 2.5, 3.0, 3.5, 4.5])
async def test_being_cancelled_at_any_time(moment: float) -> None:
    """While one is asked, while both are, and afterwards: nobody is left. (C1, C2)"""
    models = two(saying("Slow", after=9.0), saying("One two", after=1.0, pace=1.0))
    reader = asyncio.create_task(Call(models, hedge(2.0)).read(REQUEST))
    await asyncio.sleep(moment)
    reader.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await reader
    assert now() == moment
    assert (models.active, tasks()) == (0, 0)


@virtual
async def test_a_timeout_of_the_consumer() -> None:
    """It is a `TimeoutError` where it was set, and nothing else. (C1)"""
    models = two(saying("Slow", after=9.0), saying("Slow, too", after=9.0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5.0):
            await Call(models, hedge(2.0)).read(REQUEST)
    assert (now(), models.active, tasks()) == (5.0, 0, 0)


@virtual
async def test_leaving_at_every_chunk() -> None:
    """After the win there is one stream to close, and it is closed. (C1)"""
    for index in range(1, len(reply("One two three")) + 1):
        models = two(saying("Slow", after=9.0), saying("One two three", pace=1.0))
        stream = compose([hedge(2.0)], models)(REQUEST)
        for _ in range(index):
            await anext(stream)
        await stream.aclose()
        assert (models.active, tasks()) == (0, 0)


@virtual
async def test_closing_from_another_task() -> None:
    """A stream that is closed while both attempts are under way ends both. (C1)"""
    slow = FakeProvider([reply("Hi")])
    models = two(saying("Slow", after=9.0), saying("Slow, too", after=9.0))

    async def instead(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        async for chunk in models(request):
            yield chunk

    client = Client({"a": slow}, model="a:m", middleware=[hedge(2.0), instead])
    stream = client.stream("Hi")
    reader = asyncio.create_task(stream.response())
    await asyncio.sleep(3.0)
    await stream.aclose()
    with pytest.raises(ClosedError):
        await reader
    assert (models.active, tasks()) == (0, 0)


class Reluctant:
    """Takes two seconds to go, and two more each time that it is told again."""

    def __init__(self) -> None:
        self.told = 0
        self.active = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        self.active += 1
        try:
            await asyncio.sleep(1.0 if request.max_retries == 0 else 99.0)
            yield TextDelta("Quick")
            yield ResponseEnd(FinishReason.STOP)
        finally:
            try:
                while self.told < 2:
                    try:
                        await asyncio.sleep(2.0)
                        break
                    except asyncio.CancelledError:
                        self.told += 1
            finally:
                self.active -= 1


@virtual
async def test_a_loser_that_takes_its_time() -> None:
    """It is waited for: nobody is left behind, and the first chunk comes after it. (C1)"""
    models = Reluctant()
    async with aclosing(compose([hedge(2.0)], models)(REQUEST)) as stream:
        assert await anext(stream) == TextDelta("Quick")
        assert (now(), models.active, tasks()) == (5.0, 1, 0)


@virtual
async def test_being_cancelled_while_the_loser_is_waited_for() -> None:
    """The cancellation goes on to the loser, and comes out when it is over. (C2)"""
    models = Reluctant()
    reader = asyncio.create_task(Call(models, hedge(2.0)).read(REQUEST))
    await asyncio.sleep(4.0)  # the second has won at 3.0, and the first is going
    reader.cancel("enough")
    await asyncio.sleep(1.0)
    assert not reader.done()
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await reader
    assert models.told == 1
    assert (models.active, tasks()) == (0, 0)


# --- the budget ------------------------------------------------------------------------


async def hedged(layer: Any, calls: int) -> list[int]:
    """Which of so many slow calls were hedged."""
    found: list[int] = []
    for number in range(calls):
        models = two(saying("Slow", after=2.0), saying("Slow, too", after=9.0))
        await Call(models, layer).read(REQUEST)
        if len(models.asked) == 2:
            found.append(number)
    return found


@virtual
async def test_the_budget_bounds_the_extra_calls() -> None:
    """Ten are saved up; from then on one call in ten is made twice. (B4)"""
    found = await hedged(hedge(1.0, budget=0.125), 50)
    # Each call earns an eighth, so the ten last for eleven.
    assert found == [*range(11), 16, 24, 32, 40, 48]


@virtual
async def test_a_budget_of_ones_own() -> None:
    """It can be shared, and hold less. (B4)"""
    budget = RetryBudget(ratio=0.25, reserve=0)
    one, other = hedge(1.0, budget=budget), hedge(1.0, budget=budget)
    assert await hedged(one, 3) == []
    assert await hedged(other, 5) == [0, 4]


@virtual
async def test_a_budget_of_nothing_switches_it_off() -> None:
    """There is no first one for free. (B4)"""
    assert await hedged(hedge(1.0, budget=0), 30) == []


# --- percentiles -----------------------------------------------------------------------


@virtual
async def test_the_usual_time_is_learnt() -> None:
    """Twenty answers make a p95, the second slowest of them; nobody is hedged before. (B4)"""
    layer = hedge("p95")
    for number in range(20):
        models = two(saying("Hi", after=0.25 * (number + 1)), saying("Never."))
        await Call(models, layer).read(REQUEST)
        assert len(models.asked) == 1
    began = now()
    models = two(saying("Slow", after=99.0), saying("Quick"))
    await Call(models, layer).read(REQUEST)
    assert models.at == [began, began + 0.25 * 19]


@virtual
async def test_each_model_has_its_own_usual_time() -> None:
    """What one is known for says nothing of another. (B4)"""
    layer = hedge("p50")
    for _ in range(20):
        await Call(Models({"b:m": saying("Hi", after=0.5)}), layer).read(
            ChatRequest("Hi", "b:m")
        )
    models = two(saying("Slow", after=99.0), saying("Never."))
    await Call(models, layer).read(REQUEST)
    assert len(models.asked) == 1


@virtual
async def test_a_loser_counts_with_the_time_that_it_had() -> None:
    """Else only quick ones would count, and the percentile would fall and fall. (B4)"""
    layer = hedge("p95", budget=1.0)
    for _ in range(20):
        await Call(two(saying("Hi", after=1.0), []), layer).read(REQUEST)
    # From now on one in ten is slow, which is more than p95 allows for: patience grows.
    for number in range(100):
        after = 60.0 if number % 10 == 0 else 1.0
        models = two(saying("Hi", after=after), saying("Hi", after=2.0))
        await Call(models, layer).read(REQUEST)
    began = now()
    models = two(saying("Slow", after=99.0), saying("Quick"))
    await Call(models, layer).read(REQUEST)
    assert models.at[1] - began == pytest.approx(5.0)


@virtual
async def test_a_failure_is_no_time() -> None:
    """An error that comes quickly does not make a model quick. (B4)"""
    layer = hedge("p95")
    for _ in range(30):
        with pytest.raises(ProviderUnavailableError):
            await Call(two([ProviderUnavailableError("Away.")], []), layer).read(
                REQUEST
            )
    models = two(saying("Slow", after=99.0), saying("Never."))
    await Call(models, layer).read(REQUEST)
    assert len(models.asked) == 1


def test_the_window_slides() -> None:
    """The latest 200 count, by nearest rank."""
    latencies = Latencies()
    for seconds in range(1, 101):
        latencies.add("a:m", seconds)
    assert latencies.percentile("a:m", 95) == 95
    assert latencies.percentile("a:m", 50) == 50
    for _ in range(190):
        latencies.add("a:m", 7.0)
    # Of the first hundred, ten are left: 91 to 100.
    assert latencies.percentile("a:m", 95) == 7.0
    assert latencies.percentile("a:m", 96) == 92
    assert latencies.percentile("b:m", 95) is None


def test_names_that_are_made_up_do_not_fill_the_memory() -> None:
    """A thousand models are remembered, the latest ones. (I1)"""
    latencies = Latencies()
    for _ in range(20):
        latencies.add("a:m", 1.0)
    for number in range(999):
        latencies.add(f"made-up:{number}", 1.0)
    assert latencies.percentile("a:m", 95) == 1.0
    latencies.add("a:m", 1.0)
    latencies.add("made-up:999", 1.0)
    assert latencies.percentile("a:m", 95) == 1.0
    for number in range(1000):
        latencies.add(f"more:{number}", 1.0)
    assert latencies.percentile("a:m", 95) is None


# --- loops, and the wire ---------------------------------------------------------------


def test_several_loops() -> None:
    """What was learnt in one loop holds in the next. (C5)"""
    layer = hedge("p50")

    async def usual() -> None:
        for _ in range(20):
            await Call(two(saying("Hi", after=0.5), []), layer).read(REQUEST)

    async def slow() -> list[float]:
        models = two(saying("Slow", after=9.0), saying("Quick"))
        await Call(models, layer).read(REQUEST)
        return models.at

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(usual())
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(slow()) == [0.0, 0.5]


@pytest.fixture(params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_over_the_wire(target: Any) -> None:
    """The server sees the loser go before the winner is heard; a pool of one does. (B4, C1)"""
    before = asyncio.all_tasks()
    async with Simulator() as sim:
        async with target.client(sim, max_connections=2) as plain:
            client = plain.use(hedge(0.05))
            sim.fail_next("stall", after=0)
            async with asyncio.timeout(PATIENCE), client.stream("Hi") as stream:
                await anext(stream)
                # Its handler hears of it as soon as it is the loop's turn.
                while not sim.disconnects:  # noqa: ASYNC110 -- it has no event
                    await asyncio.sleep(0)
                assert (await stream.response()).text
                assert sim.request_count == 2
            keys = {r.headers.get("idempotency-key") for r in sim.requests}
            assert len(keys) == 2 or keys == {None}
        sim.clear()
        async with target.client(sim, max_connections=1) as plain:
            # The second waits for the connection of the first, and both for nothing.
            client = plain.use(hedge(0.01))
            sim.fail_next("stall", after=0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.complete("Hi")
            async with asyncio.timeout(PATIENCE):
                await sim.idle()
                assert sim.disconnects == 1
                assert (await client.complete("Hi")).text
    assert asyncio.all_tasks() == before


async def test_leaving_over_the_wire_at_every_chunk() -> None:
    """After the win the consumer's task reads, and the real transport does not mind. (C1)"""
    [target] = [t for t in TARGETS if t.provider == "openai-compatible"]
    before = asyncio.all_tasks()
    async with Simulator() as sim, target.client(sim, max_connections=2) as plain:
        whole = len([c async for c in plain.stream("Hi")])
        client = plain.use(hedge(0.02, budget=1.0))
        for index in range(1, whole + 1):
            sim.clear()
            sim.fail_next("stall", after=0)
            async with asyncio.timeout(PATIENCE):
                async with client.stream("Hi") as stream:
                    for _ in range(index):
                        await anext(stream)
                await sim.idle()
            assert sim.request_count == 2
        assert sim.active == 0
        assert (await plain.complete("Hi")).text
    assert asyncio.all_tasks() == before


async def test_the_client_is_closed_while_both_are_under_way() -> None:
    """One clear error, and nothing is left. (C4)"""
    [target] = [t for t in TARGETS if t.provider == "openai-compatible"]
    before = asyncio.all_tasks()
    async with Simulator() as sim, target.client(sim) as plain:
        client = plain.use(hedge(0.01))
        sim.fail_next("stall", times=2)
        reader = asyncio.create_task(client.complete("Hi"))
        async with asyncio.timeout(PATIENCE):
            while sim.request_count < 2:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0)
            await client.aclose()
            with pytest.raises(ClosedError):
                await reader
    assert asyncio.all_tasks() == before


# --- settings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"after": "p49"}, "got 'p49'"),
        ({"after": "p100"}, "got 'p100'"),
        ({"after": "2s"}, "got '2s'"),
        ({"after": -1}, "got -1"),
        ({"after": float("inf")}, "got inf"),
        ({"after": True}, "got True"),
        ({"to": ""}, "got ''"),
        ({"budget": -0.1}, "budget must be a number"),
        ({"budget": "10%"}, "budget must be a number"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], why: str) -> None:
    """They are refused when it is made. (G4)"""
    with pytest.raises(ConfigError, match=why):
        hedge(**settings)
