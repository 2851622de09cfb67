"""Those who wait in one process: when they leave, when Redis comes and goes, and at the end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis import Redis

from aichat.errors import ClosedError, ConfigError
from aichat.redis import RedisLimiter
from aichat.redis._lane import Lane
from aichat.redis._link import Argument, Link, Script
from aichat.transport import Cost, RateLimit

from ..redis_server import flush, redis_server, redis_url
from ..transport.toys import now, virtual
from .test_limiter import GAP, MINUTE, PACED, TRIP, Clocked, limiter, times
from .toys import fresh

__all__ = ["redis_url"]


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    flush(redis_url)
    with Redis.from_url(redis_url) as client:
        yield client


class Ending(Clocked):
    """A state that is of no use from some time on."""

    error: Exception | None = None

    def link(self) -> Link:
        if isinstance(self.error, ClosedError):
            raise self.error
        return super().link()

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        if self.error is not None:
            raise self.error
        return await super().run(script, keys, arguments)


def lane_of(of: RedisLimiter) -> Lane:
    (shared,) = of._lanes.values()
    return shared.lane


async def ended(waiting: asyncio.Future[list[float]]) -> None:
    waiting.cancel()
    await asyncio.wait([waiting])


# -- windows and kinds -----------------------------------------------------------------


@virtual
async def test_windows_of_another_length_are_another_quota(client: Redis) -> None:
    """Their steps have other numbers: Redis would be busy for hours with the difference."""  # L5
    minutes = limiter(Clocked(client), MINUTE)
    seconds = limiter(Clocked(client), RateLimit.per_second(5))
    await times(minutes, 2)
    await times(seconds, 2)
    assert not set(lane_of(minutes).keys) & set(lane_of(seconds).keys)
    # As a number that is written otherwise is not.
    whole = limiter(Clocked(client), RateLimit(60, 60))
    await whole.reserve()
    assert lane_of(whole).keys == lane_of(minutes).keys


# -- who leaves, and who is told what --------------------------------------------------


@virtual
async def test_those_who_have_left_take_no_room(client: Redis) -> None:
    """The first may wait for long, and nobody looks at the others meanwhile."""  # L3, L5
    of = limiter(Clocked(client), PACED)
    waiting = asyncio.ensure_future(times(of, 2))
    await asyncio.sleep(0.1)
    staying = asyncio.ensure_future(times(of, 1))
    for _ in range(2000):
        leaving = asyncio.ensure_future(of.reserve())
        await asyncio.sleep(0)
        leaving.cancel()
    await asyncio.sleep(0)
    assert len(lane_of(of)._queue) < 200
    await waiting
    assert await staying == pytest.approx([TRIP + 2 * GAP], abs=0.1)


@virtual
async def test_after_a_pause_a_burst_may_go(client: Redis) -> None:
    """Whoever has time for the pause is not told that it is hopeless."""  # L4, D3
    of = limiter(Clocked(client), MINUTE)
    of.pause(5.0)
    waiting = asyncio.ensure_future(times(of, 30))
    await asyncio.sleep(0.1)
    await of.reserve(within=10.0)
    assert now() < 6
    await waiting


# -- while Redis is away ---------------------------------------------------------------


@virtual
async def test_those_who_wait_for_a_share_go_back_when_redis_is(client: Redis) -> None:
    """A moment's outage does not cost one of many workers the minutes of its share."""  # L1, L5
    state = Clocked(client)
    state.workers = 100
    of = limiter(state, MINUTE)
    state.away = True
    told: list[float] = []
    order: list[int] = []

    async def one(n: int) -> None:
        await of.reserve(waits=told.append)
        order.append(n)

    waiting = [asyncio.ensure_future(one(n)) for n in range(10)]
    await asyncio.sleep(3)
    assert not order
    state.away = False
    await asyncio.wait(waiting)
    assert now() < 4
    assert order == list(range(10))
    assert len(told) == 10
    assert state.alone == 0
    # Only those who look asked, and nobody for anything.
    assert state.wishes(0, MINUTE) == 0


@virtual
async def test_looking_for_redis_ends_with_those_who_wait(client: Redis) -> None:
    """Nobody looks for nobody."""  # L5
    state = Clocked(client)
    state.workers = 100
    of = limiter(state, MINUTE)
    state.away = True
    waiting = asyncio.ensure_future(times(of, 3))
    await asyncio.sleep(3)
    await ended(waiting)
    await asyncio.sleep(3)
    assert lane_of(of)._looker is None
    state.away = False
    await asyncio.sleep(60)
    assert not state.asked


@virtual
async def test_looking_goes_on_while_answers_get_lost(client: Redis) -> None:
    """One that fails is not the last."""  # L5
    state = Clocked(client)
    state.workers = 100
    of = limiter(state, MINUTE)
    state.lost = 4
    assert await times(of, 2) == pytest.approx([1.0, 1.0], abs=0.1)


@virtual
async def test_a_share_keeps_to_a_pause_from_before(client: Redis) -> None:
    """The provider does not care where we count."""  # L4, L5
    state = Clocked(client)
    state.workers = 1
    of = limiter(state, MINUTE)
    await of.reserve()
    of.pause(20.0)
    state.away = True
    assert min(await times(of, 1)) > 20


@virtual
async def test_of_those_who_are_known_to_share_none_is_left_out(client: Redis) -> None:
    """One that was the first to ask has not heard of the others yet."""  # L5
    state = Clocked(client)
    state.workers = 4
    of = limiter(state, MINUTE)
    await of.reserve()
    assert lane_of(of).workers == 1
    state.away = True
    assert await times(of, 2) == pytest.approx([4, 8], abs=0.1)


@virtual
@pytest.mark.parametrize("closed", [True, False])
async def test_those_who_wait_for_a_share_hear_that_it_is_no_use(
    client: Redis, closed: bool
) -> None:
    """A wrong password, or a state that is closed elsewhere, does not end by waiting."""  # C4, L5
    error = ClosedError("closed") if closed else ConfigError("wrong")
    state = Ending(client)
    state.workers = 100
    of = limiter(state, MINUTE)
    state.away = True
    waiting = [asyncio.ensure_future(of.reserve()) for _ in range(3)]
    await asyncio.sleep(1)
    state.away, state.error = False, error
    for each in waiting:
        with pytest.raises(type(error)):
            await each
    assert now() < 2


@virtual
async def test_what_was_used_alone_is_said_though_nobody_asks(client: Redis) -> None:
    """Others have to know what was used while Redis was away."""  # L5
    state = Clocked(client)
    state.workers = 1
    of = limiter(state, MINUTE)
    await of.reserve()
    state.away = True
    await times(of, 5)
    await asyncio.sleep(5)
    state.away = False
    state.lost = 1
    await asyncio.sleep(6)
    assert client.hget(lane_of(of).keys[0], "sum:requests") == b"6.000000"
    asked = len(state.asked)
    await asyncio.sleep(60)
    assert len(state.asked) == asked


@virtual
async def test_what_is_too_old_to_be_said_is_let_go(client: Redis) -> None:
    """It counts no more, and nobody need try for ever."""  # L5
    state = Clocked(client)
    of = limiter(state, MINUTE)
    state.away = True
    await times(of, 3)
    await asyncio.sleep(150)
    lane = lane_of(of)
    assert (len(lane._letters), lane._sent, lane._timer) == (0, [], None)


@virtual
async def test_a_clock_that_has_jumped(client: Redis) -> None:
    """What is asked is not taken for old for more than a trip."""  # L5
    state = Clocked(client)
    of = limiter(state, MINUTE)
    await of.reserve()
    lane = lane_of(of)
    assert lane._offset is not None
    lane._offset -= 30
    await of.reserve(within=1.0)
    assert len(state.asked) == 3


# -- the end ---------------------------------------------------------------------------


@virtual
async def test_closing_while_redis_is_being_asked(client: Redis) -> None:
    """Nobody waits for what is booked just then, and it is given back."""  # C4, L5
    state = Clocked(client)
    of = limiter(state, PACED)
    await of.reserve()
    waiting = [asyncio.ensure_future(of.reserve()) for _ in range(3)]
    await asyncio.sleep(TRIP / 4)
    lane = lane_of(of)
    closing = asyncio.ensure_future(lane.end())
    await asyncio.sleep(TRIP / 4)
    with pytest.raises(ClosedError):
        await of.reserve()
    await closing
    for each in waiting:
        with pytest.raises(ClosedError):
            await each
    assert now() < 1
    assert client.hget(lane.keys[0], "sum:requests") == b"1.000000"


@virtual
async def test_closing_while_all_wait_for_their_shares(client: Redis) -> None:
    """They are told at once."""  # C4, L5
    state = Clocked(client)
    of = limiter(state, MINUTE)
    state.away = True
    waiting = asyncio.ensure_future(of.reserve())
    await asyncio.sleep(1)
    await lane_of(of).end()
    with pytest.raises(ClosedError):
        await waiting
    assert now() < 2


async def test_closing_does_not_wait_for_what_is_booked_meanwhile() -> None:
    """Redis answers late, and what it says is far away."""  # C4, L5
    with redis_server() as server, Redis.from_url(server.url) as client:
        state = fresh(server.url, timeout=5.0)
        of = RedisLimiter(state, RateLimit.per_minute(2), "x")
        await times(of, 2)
        client.client_pause(1000)
        waiting = [asyncio.ensure_future(of.reserve()) for _ in range(3)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            await state.aclose()
        for each in waiting:
            with pytest.raises(ClosedError):
                await each


def test_closed_in_another_loop() -> None:
    """What was to be said later is not, and nobody hears of that."""  # C5, L5
    complaints: list[object] = []
    with redis_server() as server:
        state = fresh(server.url)
        of = RedisLimiter(state, RateLimit.per_second(1, tokens=9), "x")

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, what: complaints.append(what))
            held = await of.reserve(Cost(input_tokens=5))
            await asyncio.to_thread(asyncio.run, state.aclose())
            held.cancel()
            await asyncio.sleep(0.2)
            with pytest.raises(ClosedError):
                await of.reserve()

        asyncio.run(main())
    assert not complaints


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_tasks_that_begin_at_once(redis_url: str) -> None:
    """A pump that begins before anybody is in the queue must not be the last."""  # C5, L5
    loop = asyncio.get_running_loop()
    factory = getattr(asyncio, "eager_task_factory")  # noqa: B009 -- 3.11 has none
    loop.set_task_factory(factory)
    try:
        async with asyncio.timeout(10), fresh(redis_url) as state:
            of = RedisLimiter(state, RateLimit.per_minute(600, burst=2), "x")
            await of.reserve()
            await times(of, 3)
    finally:
        loop.set_task_factory(None)
