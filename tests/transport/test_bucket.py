"""A bucket that also takes back what was too much."""

from __future__ import annotations

import asyncio

import pytest
from attrs import define
from hypothesis import given, strategies as st

from aichat.transport._bucket import Bucket

from .toys import VirtualLoop, virtual


@virtual
async def test_aiolimiter_is_what_we_take_it_for() -> None:
    """Should it rename what we use, or count otherwise, this says so before anybody waits."""
    bucket = Bucket(10, 2)
    assert (bucket.max_rate, bucket.time_period, bucket.level) == (10, 5, 0)
    bucket.add(8)
    assert bucket._level == 8
    assert bucket.has_capacity(2)
    assert not bucket.has_capacity(2.001)
    await asyncio.sleep(1)
    assert bucket._level == 8
    bucket._leak()
    assert bucket._level == 6
    assert bucket.level == 6
    # Above the brim it leaks as well, and its own waiting agrees with ours.
    bucket.add(6)
    assert bucket.seconds_until(4) == 3
    start = asyncio.get_running_loop().time()
    await bucket.acquire(4)
    assert asyncio.get_running_loop().time() - start == pytest.approx(3)
    assert bucket.level == pytest.approx(10)


@virtual
async def test_what_is_left_of_it_is_given_back() -> None:
    """At once all of it, later what has not leaked out."""  # L2
    bucket = Bucket(10, 1)
    bucket.correct(bucket.take(8), -6)
    assert bucket.level == 2
    ticket = bucket.take(8)
    await asyncio.sleep(7)
    assert bucket.level == 3
    bucket.correct(ticket, -6)
    assert bucket.level == 0


@virtual
async def test_what_others_have_taken_meanwhile_is_not_given_back() -> None:
    """Or else they and the next one would have more than there is."""  # L1, L2
    bucket = Bucket(10, 1)
    ticket = bucket.take(10)
    await asyncio.sleep(9)
    bucket.take(9)  # only 1 of the first 10 is left
    bucket.correct(ticket, -10)
    assert bucket.level == 9


@virtual
async def test_a_debt() -> None:
    """More than was reserved makes it overflow, and later ones wait."""  # L2
    bucket = Bucket(10, 1)
    bucket.correct(bucket.take(10), +5)
    assert bucket.level == 15
    assert bucket.seconds_until(1) == 6


@virtual
async def test_less_room_than_was_thought() -> None:
    """Never more."""  # L4
    bucket = Bucket(10, 1)
    bucket.leave(12)
    assert bucket.level == 0
    bucket.leave(4)
    assert bucket.level == 6
    bucket.leave(9)
    assert bucket.level == 6


@define
class _Taken:
    at: float
    amount: float


def _filled(history: list[_Taken], now: float, rate: float) -> float:
    """The level that a bucket would have, had everybody taken that from the start."""
    level, then = 0.0, 0.0
    for taken in sorted(history, key=lambda taken: taken.at):
        level = max(0.0, level - rate * (taken.at - then)) + taken.amount
        then = taken.at
    return max(0.0, level - rate * (now - then))


#: Seconds to wait; what to do; how much; which of those under way.
STEPS = st.lists(
    st.tuples(
        st.floats(0, 8) | st.just(0.0),
        st.sampled_from(["take", "take", "less", "less", "more", "leave"]),
        st.floats(0, 12),
        st.integers(0, 99),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_level_is_as_if_all_had_been_right_from_the_start(
    steps: list[tuple[float, str, float, int]],
) -> None:
    """
    However takes, returns, debts and lessons are mixed.

    So a return never makes room that others have had, and never loses any that is left.
    """  # L1, L2

    async def play() -> None:
        bucket = Bucket(20, 1.5)
        clock = asyncio.get_running_loop().time
        history: list[_Taken] = []
        under_way: list[tuple[int, _Taken]] = []
        for seconds, what, amount, which in steps:
            await asyncio.sleep(seconds)
            taken = _Taken(clock(), amount)
            if what == "take":
                under_way.append((bucket.take(amount), taken))
                history.append(taken)
            elif what == "leave":
                taken.amount = max(0.0, 20 - amount - bucket.level)
                bucket.leave(amount)
                history.append(taken)
            elif under_way:
                ticket, reserved = under_way.pop(which % len(under_way))
                if what == "more":
                    bucket.correct(ticket, amount)
                    history.append(taken)
                else:
                    back = min(amount, reserved.amount)
                    bucket.correct(ticket, -back)
                    reserved.amount -= back
            assert bucket.level == pytest.approx(
                _filled(history, clock(), 1.5), abs=1e-6
            )
            assert len(bucket._lows) <= len(under_way)
            assert bucket._lows == sorted(bucket._lows)
        for ticket, _ in under_way:
            bucket.correct(ticket, 0)
        assert bucket._lows == bucket._since == bucket._open == []

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


@virtual
async def test_many_under_way_cost_little_memory() -> None:
    """Those between which nothing leaked out are one."""
    bucket = Bucket(1e6, 1e6)
    tickets = [bucket.take(100) for _ in range(1000)]
    await asyncio.sleep(0.1)
    assert bucket.level == 0
    assert len(bucket._lows) == 1
    for ticket in tickets:
        bucket.correct(ticket, -50)
    assert bucket.level == 0
    assert not bucket._lows
