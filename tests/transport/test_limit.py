"""No more requests than were agreed upon, first come, first served."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from attrs import define
from hypothesis import given, strategies as st

from aichat.errors import ConfigError, DeadlineError
from aichat.transport import Cost, Limiter, Meter, RateLimit, Reservation, Watch, admit
from aichat.types import (
    ChatRequest,
    Deadlines,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    estimate_tokens,
)

from .toys import VirtualLoop, now, virtual


async def served(limiter: Limiter, *costs: float) -> list[tuple[int, float]]:
    """In which order and when callers of these *costs* get through, who came in this order."""
    order: list[tuple[int, float]] = []

    async def call(number: int, cost: float) -> None:
        await limiter.reserve(Cost(requests=cost))
        order.append((number, round(now(), 3)))

    async with asyncio.TaskGroup() as group:
        for number, cost in enumerate(costs):
            group.create_task(call(number, cost))
    return order


@virtual
async def test_a_burst_and_then_the_rate() -> None:
    """Five at once, then one every 0.2 s."""  # L1
    limiter = Limiter(RateLimit.per_second(5))
    order = await served(limiter, *[1.0] * 8)
    assert [at for _, at in order] == pytest.approx([0] * 5 + [0.2, 0.4, 0.6], abs=0.01)


@virtual
async def test_a_burst_is_what_is_said() -> None:
    """600 a minute may still mean one at a time."""  # L1
    limiter = Limiter(RateLimit.per_minute(600, burst=1))
    order = await served(limiter, *[1.0] * 4)
    assert [at for _, at in order] == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.01)


@virtual
async def test_large_requests_do_not_starve() -> None:
    """aiolimiter alone would serve the small ones first."""  # L1
    limiter = Limiter(RateLimit.per_second(10))
    order = await served(limiter, 10, 8, *[1.0] * 20)
    assert [number for number, _ in order] == list(range(22))


@virtual
async def test_more_than_a_burst_is_taken_for_a_burst() -> None:
    """Otherwise it would wait for ever."""  # L1
    limiter = Limiter(RateLimit.per_second(2))
    order = await served(limiter, 100, 1)
    assert [at for _, at in order] == pytest.approx([0, 0.5], abs=0.01)


@virtual
async def test_who_is_cancelled_while_waiting_has_taken_nothing() -> None:
    """The next one waits for its own permit only."""  # L3
    limiter = Limiter(RateLimit.per_second(2, burst=1))
    await limiter.reserve()
    waiting = [asyncio.create_task(limiter.reserve()) for _ in range(10)]
    await asyncio.sleep(0.1)
    assert limiter.wait_for() == pytest.approx(5.4, abs=0.01)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert limiter.wait_for() == pytest.approx(0.4, abs=0.01)
    await limiter.reserve()
    assert now() == pytest.approx(0.5, abs=0.01)


@virtual
async def test_the_wait_is_known_beforehand() -> None:
    """So that a call which cannot make it need not queue."""  # L3, D3
    limiter = Limiter(RateLimit.per_second(2))
    assert limiter.wait_for() == 0
    assert limiter.wait_for(Cost(requests=2)) == 0
    await limiter.reserve(Cost(requests=2))
    assert limiter.wait_for() == pytest.approx(0.5, abs=0.01)
    assert limiter.wait_for(Cost(requests=2)) == pytest.approx(1, abs=0.01)
    await asyncio.sleep(0.25)
    assert limiter.wait_for() == pytest.approx(0.25, abs=0.01)


@virtual
async def test_a_pause_holds_everybody() -> None:
    """The provider said that the allowance is used up, and then that it takes longer."""  # L4
    limiter = Limiter(RateLimit.per_second(1000))
    limiter.pause(2)
    limiter.pause(1)
    assert limiter.wait_for() == 2
    asyncio.get_running_loop().call_later(1, limiter.pause, 3)
    order = await served(limiter, 1, 1)
    assert [at for _, at in order] == [4, 4]
    assert limiter.wait_for() == 0


def test_every_loop_has_its_own_bucket() -> None:
    """aiolimiter's belongs to one; and a loop that is gone leaves nothing."""  # C5
    limiter = Limiter(RateLimit.per_second(1))
    for _ in range(3):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            assert runner.run(served(limiter, 1)) == [(0, 0)]
    assert len(limiter._lanes) == 1
    with asyncio.Runner() as other:
        other.run(limiter.reserve())
        with asyncio.Runner() as another:
            another.run(limiter.reserve())
        other.run(limiter.reserve(Cost(requests=0)))


def test_every_thread_has_its_own_queue() -> None:
    """A limiter may be used from all of them at once."""  # C5
    limiter = Limiter(RateLimit.per_second(1))
    outcomes: list[list[tuple[int, float]]] = []
    ready = threading.Barrier(8)

    def run() -> None:
        ready.wait()
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            outcomes.append(runner.run(served(limiter, 1, 1, 1)))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [[(0, 0), (1, 1), (2, 2)]] * 8


# --- tokens ----------------------------------------------------------------------------


def tokens(input: float = 0, output: float = 0) -> Cost:
    return Cost(input_tokens=input, output_tokens=output)


def used(input: int | None = None, output: int | None = None, **more: Any) -> Usage:
    return Usage(input_tokens=input, output_tokens=output, **more)


@define
class Arrivals:
    """Calls that queue up one after the other; when each was let through, and with what."""

    limiter: Limiter
    at: list[float]
    reservations: list[Reservation]

    @classmethod
    def at_once(
        cls, limiter: Limiter, *costs: Cost
    ) -> tuple[Arrivals, asyncio.Task[None]]:
        arrivals = cls(limiter, [0.0] * len(costs), [])

        async def one(number: int, cost: Cost) -> None:
            arrivals.reservations.append(await limiter.reserve(cost))
            arrivals.at[number] = now()

        async def all_of_them() -> None:
            async with asyncio.TaskGroup() as group:
                for number, cost in enumerate(costs):
                    group.create_task(one(number, cost))

        return arrivals, asyncio.create_task(all_of_them())


async def admitted(limiter: Limiter, *costs: Cost) -> list[float]:
    """When calls of *costs* that come at once are let through."""
    arrivals, done = Arrivals.at_once(limiter, *costs)
    await done
    return [round(at, 6) for at in arrivals.at]


@virtual
async def test_tokens_are_counted_together_or_apart() -> None:
    """By the exact second, as the provider counts."""  # L1
    together = Limiter(RateLimit.per_minute(tokens=6000))
    assert await admitted(
        together, tokens(2000, 1000), tokens(2500, 500), tokens(50, 50)
    ) == [0, 0, 1]
    apart = Limiter(RateLimit.per_minute(input_tokens=6000, output_tokens=600))
    start = now()
    waits = await admitted(
        apart, tokens(3000, 600), tokens(0, 10), tokens(3000, 0), tokens(600, 0)
    )
    assert [at - start for at in waits] == pytest.approx([0, 1, 1, 6])


@virtual
async def test_who_waits_for_one_thing_has_not_taken_another() -> None:
    """A permit taken now and used in a minute would be counted in the wrong minute."""  # L1
    limiter = Limiter(RateLimit.per_minute(60, burst=2, output_tokens=600))
    first = await limiter.reserve(tokens(0, 600))
    first.settle(used(0, 600))
    # One permit is left; the next call waits a minute for tokens, without it.
    assert await admitted(limiter, tokens(0, 600)) == [60]
    assert limiter.wait_for() == 0
    # Had it taken that at 0, there would be two now.
    assert limiter.wait_for(Cost(requests=2)) == 1


@virtual
async def test_a_large_call_is_not_overtaken() -> None:
    """Small ones that would fit wait behind it."""  # L1
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    await limiter.reserve(tokens(100))
    at = await admitted(limiter, tokens(600), *[tokens(1)] * 3)
    assert at == [10, 10.1, 10.2, 10.3]


@virtual
async def test_a_call_that_needs_no_tokens_does_not_wait_for_any() -> None:
    """Nor for the debts of others."""
    limiter = Limiter(RateLimit.per_minute(60, tokens=600))
    (await limiter.reserve(tokens(600))).settle(used(1200, 0))
    assert limiter.wait_for(tokens(1)) > 0
    assert limiter.wait_for() == 0
    await limiter.reserve()
    assert now() == 0


@virtual
async def test_more_tokens_than_a_burst_are_taken_for_a_burst() -> None:
    """Before and afterwards."""  # L1
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    large = await limiter.reserve(tokens(1e9))
    assert limiter.wait_for(tokens(60)) == 6
    large.settle(used(2_000_000_000, 10**400))
    assert limiter.wait_for(tokens(60)) == 6


@virtual
async def test_what_was_not_used_is_given_back() -> None:
    """And whoever waits goes at once, and not when it was thought to be."""  # L2
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    first = await limiter.reserve(tokens(100, 500))
    arrivals, done = Arrivals.at_once(limiter, tokens(300), tokens(100))
    await asyncio.sleep(2)
    assert arrivals.reservations == []
    assert limiter.wait_for(tokens(100)) == 48
    first.settle(used(150, 50))
    assert limiter.wait_for(tokens(100)) == 8
    await done
    assert arrivals.at == pytest.approx([2, 2])
    first.settle(used(0, 0))
    first.cancel()
    assert limiter.wait_for(tokens(100)) == 8


@virtual
async def test_what_was_used_beyond_makes_the_later_ones_wait() -> None:
    """A call costs a burst at most, but several together may owe more than one."""  # L2
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    first, second = [await limiter.reserve(tokens(100, 100)) for _ in range(2)]
    assert limiter.wait_for(tokens(200)) == 0
    first.settle(used(100, 400))
    second.settle(used(9999, 9999))
    # 500 and 600 are 500 above the brim, and there is to be room for 200.
    assert limiter.wait_for(tokens(200)) == 70


@virtual
async def test_a_failed_call_gives_its_tokens_back_and_not_its_permit() -> None:
    """It is the sending that counts."""  # L2
    limiter = Limiter(RateLimit.per_minute(1, tokens=600))
    (await limiter.reserve(tokens(600))).cancel()
    assert limiter.wait_for(Cost(requests=0, input_tokens=600)) == 0
    assert limiter.wait_for(Cost(requests=1)) == 60


@virtual
async def test_what_the_usage_does_not_say_stays_as_it_was_thought() -> None:
    """*Not reported* is not 0, and nonsense is nothing."""  # L2, S8
    for usage, left in [
        (used(), 300),
        (used(50), 350),
        (used(None, 10), 490),
        (used(-5, 10), 590),
    ]:
        limiter = Limiter(RateLimit.per_minute(tokens=600))
        (await limiter.reserve(tokens(100, 200))).settle(usage)
        assert limiter.wait_for(tokens(left)) == 0
        assert limiter.wait_for(tokens(left + 1)) > 0


@virtual
async def test_what_comes_out_of_a_cache_may_be_free() -> None:
    """Anthropic's limits do not count it, OpenAI's do."""  # L2
    usage = used(500, 0, cache_read_tokens=450)
    for counted, left in [(True, 100), (False, 550)]:
        limit = RateLimit.per_minute(input_tokens=600, count_cache_reads=counted)
        limiter = Limiter(limit)
        (await limiter.reserve(tokens(500))).settle(usage)
        assert limiter.wait_for(tokens(left)) == 0
        assert limiter.wait_for(tokens(left + 1)) > 0


@virtual
async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    """The head of the queue as well as its middle."""  # L3
    limiter = Limiter(RateLimit.per_minute(60, burst=1, tokens=600))
    await limiter.reserve(tokens(600))
    waiting = [asyncio.create_task(limiter.reserve(tokens(300))) for _ in range(3)]
    await asyncio.sleep(1)
    assert limiter.wait_for(tokens(60)) == 95
    for task, seconds in zip(waiting[:2], (65, 35), strict=True):
        task.cancel()
        await asyncio.wait([task])
        assert limiter.wait_for(tokens(60)) == seconds
    await waiting[2]
    assert now() == 30
    assert list(limiter._lane().queued.values()) == [0, 0]


@virtual
async def test_leaving_again_and_again_does_not_wear_the_counts_out() -> None:
    """Sums of fractions do not come back to where they began."""  # L3
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    await limiter.reserve(tokens(600))
    waiting = [asyncio.create_task(limiter.reserve(tokens(0.1 * n))) for n in range(99)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert limiter._lane().queued == {"tokens": 0}


@virtual
async def test_what_the_server_says_is_left() -> None:
    """Others use the same key. It never makes more of it, and what we do not count is not ours."""  # L4
    limiter = Limiter(RateLimit.per_minute(100, tokens=6000))
    limiter.learn({"requests": 3, "tokens": 1000, "input_tokens": 0})
    assert limiter.wait_for(Cost(requests=3, input_tokens=1000)) == 0
    assert limiter.wait_for(Cost(requests=4)) == pytest.approx(0.6)
    assert limiter.wait_for(tokens(2000)) == 10
    limiter.learn({"requests": 99, "tokens": 999_999})
    assert limiter.wait_for(tokens(2000)) == 10


@virtual
async def test_a_lesson_reaches_those_who_wait_already() -> None:
    """As a pause does."""  # L4
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    await limiter.reserve(tokens(600))
    asyncio.get_running_loop().call_later(5, lambda: limiter.learn({"tokens": 0}))
    assert await admitted(limiter, tokens(100)) == [15]


@virtual
async def test_settling_while_everybody_is_told_to_wait() -> None:
    """A return does not end a pause."""  # L4
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    first = await limiter.reserve(tokens(600))
    limiter.pause(30)
    arrivals, done = Arrivals.at_once(limiter, tokens(100))
    await asyncio.sleep(1)
    first.cancel()
    await done
    assert arrivals.at == [30]


def test_a_reservation_may_outlive_its_loop() -> None:
    """A finaliser that comes late does no harm."""  # C5
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        reservation = runner.run(limiter.reserve(tokens(600)))
    reservation.settle(used(1, 1))
    reservation.cancel()


@virtual
async def test_asking_with_a_deadline() -> None:
    """Hopeless at once, otherwise as long as there is time; and it is told."""  # L3, D3
    limiter = Limiter(RateLimit.per_minute(tokens=600))
    waits: list[float] = []
    ask = tokens(300)
    (await admit(limiter, tokens(600), Watch(Deadlines(pool=1)), waits.append)).settle(
        used()
    )
    for deadlines, phase in [
        (Deadlines(pool=29), "pool"),
        (Deadlines(total=29, pool=60), "total"),
    ]:
        with pytest.raises(DeadlineError) as caught:
            await admit(limiter, ask, Watch(deadlines), waits.append)
        assert (caught.value.phase, caught.value.retryable, now()) == (phase, False, 0)
        assert caught.value.retry_after == 30
    await admit(limiter, ask, Watch(Deadlines(pool=31)), waits.append)
    assert now() == 30
    assert waits == [30, 30, 30]


# --- the window ------------------------------------------------------------------------

#: Seconds until the call comes; what it reserves; how long it runs; what it then says.
CALLS = st.lists(
    st.tuples(
        st.floats(0, 5) | st.just(0.0),
        st.tuples(st.floats(0, 70), st.floats(0, 70)),
        st.floats(0, 40),
        st.tuples(st.integers(0, 90), st.integers(0, 90)) | st.none(),
    ),
    min_size=1,
    max_size=30,
)
BOUNDS = {"requests": (4, 0.2), "tokens": (100, 100 / 30), "output_tokens": (60, 2.0)}


@given(CALLS, st.sampled_from(["both", "tokens"]))
def test_no_window_holds_more_than_was_agreed_upon(
    calls: list[tuple[float, tuple[float, float], float, tuple[int, int] | None]],
    limited: str,
) -> None:
    """
    Up to each admission, back to any moment: a burst, and the rate times the window.

    Whatever is reserved, settled up or down, cancelled, and in which order. And first come is
    first served, nobody waits for ever, and what goes through is never more than a burst late.
    """  # L1, L2
    limit = RateLimit(
        6 if limited == "both" else None, 30, 4, tokens=100, output_tokens=60
    )
    limiter = Limiter(limit)
    #: Of each kind: when, how much, and whether that was an admission.
    history: dict[str, list[list[float]]] = {kind: [] for kind in limit.sizes}
    order: list[int] = []

    async def call(number: int, cost: Cost, seconds: float, usage: Any) -> None:
        reservation = await limiter.reserve(cost)
        order.append(number)
        taken = {
            kind: [now(), amount, 1.0] for kind, amount in limit.amounts(cost).items()
        }
        for kind, entry in taken.items():
            history[kind].append(entry)
        check(set(taken))
        await asyncio.sleep(seconds)
        if usage is None:
            reservation.cancel()
            actual = limit.amounts(Cost())
        else:
            reservation.settle(used(*usage))
            actual = limit.amounts(tokens(*usage))
        for kind, entry in taken.items():
            if kind == "requests":
                continue
            # What was not used was never taken; what was used beyond, is taken now.
            more = actual[kind] - entry[1]
            entry[1] += min(more, 0)
            if more > 0:
                history[kind].append([now(), more, 0.0])

    def check(kinds: set[str]) -> None:
        for kind in kinds:
            burst, rate = BOUNDS[kind]
            if history[kind][-1][1] == 0:
                continue  # who takes nothing does not wait
            total = 0.0
            for at, amount, _ in reversed(history[kind]):
                total += amount
                assert total <= burst + rate * (now() - at) + 1e-5

    async def play() -> None:
        async with asyncio.TaskGroup() as group:
            for number, (wait, cost, seconds, usage) in enumerate(calls):
                await asyncio.sleep(wait)
                group.create_task(call(number, tokens(*cost), seconds, usage))
        assert order == list(range(len(calls)))
        # All of it comes back in the end: no permit and no token is lost.
        await asyncio.sleep(3000)
        assert (
            limiter.wait_for(Cost(requests=4, input_tokens=40, output_tokens=60)) == 0
        )

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


@virtual
async def test_a_full_queue_uses_the_whole_limit() -> None:
    """A limiter that lets too little through keeps to every bound."""  # L1, L2
    limiter = Limiter(RateLimit.per_minute(tokens=6000))
    calls = 0

    async def client() -> None:
        nonlocal calls
        while now() < 600:
            reservation = await limiter.reserve(tokens(100, 300))
            calls += now() < 600
            await asyncio.sleep(5)
            reservation.settle(used(100, 100))

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(client())
    # 200 tokens each, ten minutes and the burst.
    assert calls * 200 / (6000 * 11) == pytest.approx(1, abs=0.05)


# --- what is agreed upon, and what a call costs ----------------------------------------


@pytest.mark.parametrize(
    "numbers", [(0,), (-1,), (1, 0), (1, 60, 0), (1, 60, 0.5), (float("nan"),), ("1",)]
)
def test_a_limit_that_lets_nothing_through_is_refused(numbers: tuple[float]) -> None:
    """Found when it is made."""  # G1
    with pytest.raises(ConfigError, match="RateLimit"):
        RateLimit(*numbers)


def test_a_slow_rate_still_has_a_burst_of_one() -> None:
    """Less than one request per period."""
    assert RateLimit(0.5, 1).burst == 1


@pytest.mark.parametrize(
    "options",
    [
        {"tokens": 0},
        {"input_tokens": -1},
        {"output_tokens": float("inf")},
        {"tokens": "many"},
        {"tokens": True},
        {"tokens": 1, "expected_output": -1},
        {"tokens": 1, "expected_output": None},
        {"tokens": 1, "per": 0},
    ],
)
def test_a_limit_of_tokens_is_checked_as_well(options: dict[str, Any]) -> None:
    """Found when it is made."""  # G1
    with pytest.raises(ConfigError, match="RateLimit"):
        RateLimit(**options)


def test_a_limit_of_nothing_is_none() -> None:
    """It says what could be set."""  # G1
    with pytest.raises(ConfigError, match=r"limits nothing: set requests, tokens"):
        RateLimit()
    with pytest.raises(ConfigError, match=r"Cost\.input_tokens"):
        Cost(input_tokens=-1)


def test_limits_per_second_and_per_minute() -> None:
    """Of requests, of tokens, of both."""
    assert RateLimit.per_second(2) == RateLimit(2, 1.0, 2)
    assert RateLimit.per_minute(2, burst=1, tokens=9) == RateLimit(2, 60, 1, tokens=9)
    assert RateLimit.per_second(tokens=9) == RateLimit(None, 1, tokens=9)
    assert RateLimit(tokens=9).rate == float("inf")
    assert not RateLimit(9).counts_tokens
    for kind in ("tokens", "input_tokens", "output_tokens"):
        limited: dict[str, Any] = {kind: 9}
        assert RateLimit(**limited).counts_tokens


def test_what_a_request_is_expected_to_cost() -> None:
    """Its text is looked at only if somebody wants to know."""  # L2
    request = ChatRequest("Hello there!", "a:b")
    read = estimate_tokens(request)
    assert RateLimit(1).expect(request) == Cost()
    limit = RateLimit(tokens=9, expected_output=500)
    assert limit.expect(request) == tokens(read, 500)
    for most, reserved in [(100, 100), (100_000, 500)]:
        long = ChatRequest("Hello there!", "a:b", max_tokens=most)
        assert limit.expect(long) == tokens(read, reserved)


def test_a_meter_counts_what_has_arrived() -> None:
    """What the provider said last, or four characters to a token if it said nothing."""  # L2
    meter = Meter()
    assert meter.usage(ended=False) == used(None, 0)
    meter.count([ResponseStart(), TextDelta("12345678"), ReasoningDelta("1234")])
    meter.count([RefusalDelta("1234"), ToolCallDelta(1, "id", "name", "12345")])
    assert meter.usage(ended=True) == used(None, 6)
    # What comes in the midst of an answer is of its beginning.
    meter.count([UsageUpdate(used(20, 1, raw={"a": 1}))])
    assert meter.usage(ended=False) == used(20, 6, raw={"a": 1})
    assert meter.usage(ended=True) == used(20, 1, raw={"a": 1})
    meter.count([UsageUpdate(used(20, 7)), ResponseEnd(FinishReason.STOP)])
    assert meter.usage(ended=False) == used(20, 7)
