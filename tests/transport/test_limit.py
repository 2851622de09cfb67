"""No more requests than were agreed upon, first come, first served."""

from __future__ import annotations

import asyncio

import pytest

from aichat.errors import ConfigError
from aichat.transport import Limiter, RateLimit

from .toys import VirtualLoop, now, virtual


async def served(limiter: Limiter, *costs: float) -> list[tuple[int, float]]:
    """In which order and when callers of these *costs* get through, who came in this order."""
    order: list[tuple[int, float]] = []

    async def call(number: int, cost: float) -> None:
        await limiter.acquire(cost)
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
    await limiter.acquire()
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(10)]
    await asyncio.sleep(0.1)
    assert limiter.wait_for() == pytest.approx(5.4, abs=0.01)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert limiter.wait_for() == pytest.approx(0.4, abs=0.01)
    await limiter.acquire()
    assert now() == pytest.approx(0.5, abs=0.01)


@virtual
async def test_the_wait_is_known_beforehand() -> None:
    """So that a call which cannot make it need not queue."""  # L3, D3
    limiter = Limiter(RateLimit.per_second(2))
    assert limiter.wait_for() == 0
    assert limiter.wait_for(2) == 0
    await limiter.acquire(2)
    assert limiter.wait_for() == pytest.approx(0.5, abs=0.01)
    assert limiter.wait_for(2) == pytest.approx(1, abs=0.01)
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
