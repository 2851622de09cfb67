"""`RedisLimiter`: who waits in a process, and what is said to Redis for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from aichat.errors import ClosedError, ConfigError, DeadlineError
from aichat.redis import RedisLimiter
from aichat.redis._limit_script import SCRIPT, Terms
from aichat.redis._link import Argument, Away
from aichat.redis._state import let_through_alone, round_trips, states_away
from aichat.transport import Cost, RateLimit, Reservation, TooLong, Watch, admit
from aichat.types import Deadlines, Usage

from ..redis_server import RedisServer, flush, redis_server, redis_url
from ..transport.toys import now, virtual
from .toys import FakeState, fresh

__all__ = ["redis_url"]

MINUTE = RateLimit.per_minute(60, burst=60)
PACED = RateLimit.per_minute(60, burst=1)
TOKENS = RateLimit.per_minute(None, tokens=6000, expected_output=100)
#: Of an even pace: the window has 122 steps of half a second.
GAP = 61 / 60
#: A trip to Redis takes so long.
TRIP = 0.001
START = 1_700_000_000.0


class Clocked(FakeState):
    """A state whose scripts a real Redis runs, in the time of the test's loop."""

    def __init__(self, client: Redis, *, worker: str = "me") -> None:
        super().__init__(self._eval)
        self._client = client
        self.worker = worker
        self.lost = 0

    async def _eval(self, arguments: Sequence[Argument]) -> Any:
        await asyncio.sleep(TRIP / 2)
        if self.away:
            raise Away("as the test wants it")
        keys = self.keys
        said = [repr(START + now()), *map(str, arguments[1:])]
        answer: Any = self._client.eval(SCRIPT.text, 2, *keys, *said)
        await asyncio.sleep(TRIP / 2)
        if self.lost:
            self.lost -= 1
            raise Away("the answer got lost")
        return answer

    def wishes(self, trip: int, limit: RateLimit) -> int:
        """How many were asked for in that trip."""
        each = len(limit.sizes) + 1
        return (len(self.asked[trip]) - self._before(trip, limit)) // each

    def _before(self, trip: int, limit: RateLimit) -> int:
        kinds = len(limit.sizes)
        head = len(
            Terms.of(limit).arguments(worker="", lease=0, known="", since=0, fresh="")
        )
        letters = int(self.asked[trip][head - kinds - 3])
        return head + letters * (kinds + 2)


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    flush(redis_url)
    with Redis.from_url(redis_url) as client:
        yield client


def limiter(state: FakeState, limit: RateLimit) -> RedisLimiter:
    return RedisLimiter(state.state, limit, "x")


def tokens(count: float) -> Cost:
    return Cost(input_tokens=count)


async def times(of: RedisLimiter, count: int, cost: Cost | None = None) -> list[float]:
    """When each of so many at once is let through."""

    async def one() -> float:
        await (of.reserve() if cost is None else of.reserve(cost))
        return now()

    return list(await asyncio.gather(*(one() for _ in range(count))))


# -- in one process --------------------------------------------------------------------


@virtual
async def test_all_who_ask_at_once_go_in_one_trip(client: Redis) -> None:
    """What fifty calls cost is one trip to Redis."""  # L5
    state = Clocked(client)
    assert await times(limiter(state, MINUTE), 50) == [TRIP] * 50
    assert len(state.asked) == 1
    assert state.wishes(0, MINUTE) == 50


@virtual
async def test_who_waits_comes_in_order_and_asks_once(client: Redis) -> None:
    """First come, first served, at an even pace; nobody asks again when its time has come."""  # L1, L5
    state = Clocked(client)
    assert await times(limiter(state, PACED), 5) == pytest.approx(
        [TRIP + GAP * n for n in range(5)], abs=0.01
    )
    # The first brought the time of the second.
    assert len(state.asked) == 4


@virtual
async def test_workers_take_turns_however_many_wait_in_each(client: Redis) -> None:
    """One with a hundred calls does not starve one with two."""  # L5
    many = limiter(Clocked(client, worker="many"), PACED)
    few = limiter(Clocked(client, worker="few"), PACED)
    rest = asyncio.ensure_future(times(many, 100))
    await asyncio.sleep(0.5)
    assert max(await times(few, 2)) < 5 * GAP
    rest.cancel()
    await asyncio.wait([rest])


@virtual
async def test_a_wait_is_told_and_a_hopeless_one_ends_at_once(client: Redis) -> None:
    """Whoever has no time for it does not stand in anybody's way."""  # L3, L5
    of = limiter(Clocked(client), MINUTE)
    await times(of, 60)
    told: list[float] = []
    with pytest.raises(TooLong) as caught:
        await of.reserve(within=30.0, waits=told.append)
    assert 60 < caught.value.seconds < 62
    assert now() < 1
    waiting = asyncio.ensure_future(of.reserve(waits=told.append))
    await asyncio.sleep(1)
    # There is somebody before it, so that Redis need not be asked.
    with pytest.raises(TooLong):
        await of.reserve(within=30.0, waits=told.append)
    assert now() < 2
    assert len(told) == 2
    assert all(58 < seconds < 62 for seconds in told)
    await waiting
    assert 60 < now() < 62


@virtual
async def test_a_deadline_is_kept_without_waiting_for_it(client: Redis) -> None:
    """As with a limiter of one's own: the error says how long it would have been."""  # T1, L5
    of = limiter(Clocked(client), MINUTE)
    await times(of, 60)
    watch = Watch(Deadlines(pool=5.0))
    with pytest.raises(DeadlineError) as caught:
        await admit(of, Cost(), watch, lambda _: None)
    assert caught.value.phase == "pool"
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 60
    assert now() < 1


@virtual
async def test_who_is_cancelled_has_taken_nothing(client: Redis) -> None:
    """Asked for or booked: the others get it."""  # A4, L5
    state = Clocked(client)
    of = limiter(state, PACED)
    await of.reserve()
    first, second, third = (asyncio.ensure_future(of.reserve()) for _ in range(3))
    await asyncio.sleep(0.1)
    first.cancel()  # it has a time already
    second.cancel()  # it waits for its turn here
    await asyncio.wait([first, second])
    await third
    # In the place of the first, or half a step behind.
    assert now() == pytest.approx(GAP, abs=0.6)
    leaving = asyncio.ensure_future(of.reserve())
    await asyncio.sleep(TRIP / 4)
    leaving.cancel()  # Redis is being asked
    await asyncio.wait([leaving])
    await of.reserve()
    assert now() == pytest.approx(2 * GAP, abs=1.2)


@virtual
async def test_tokens_that_were_not_used_go_to_the_next(client: Redis) -> None:
    """What the answer took takes the place of the estimate, for all processes."""  # L2, L5
    state, other = Clocked(client), Clocked(client, worker="other")
    of, elsewhere = limiter(state, TOKENS), limiter(other, TOKENS)
    held = await of.reserve(tokens(600))
    with pytest.raises(TooLong):
        await elsewhere.reserve(tokens(500), within=1.0)
    held.settle(Usage(input_tokens=50, output_tokens=50))
    held.settle(Usage(input_tokens=600, output_tokens=9999))  # only the first counts
    held.cancel()
    await asyncio.sleep(3)
    await elsewhere.reserve(tokens(500), within=0.1)


@virtual
async def test_what_a_failed_call_reserved_is_given_back(client: Redis) -> None:
    """All of its tokens; the request was sent."""  # L2, L5
    both = RateLimit.per_minute(60, burst=1, tokens=6000)
    of = limiter(Clocked(client), both)
    held = await of.reserve(tokens(600))
    held.cancel()
    with pytest.raises(TooLong) as caught:
        await of.reserve(tokens(600), within=0.5)
    assert caught.value.seconds < 11
    await asyncio.sleep(3)
    await of.reserve(tokens(600), within=0.1)


@virtual
async def test_letters_travel_with_those_who_ask(client: Redis) -> None:
    """What becomes of a call costs no trip of its own while others ask."""  # L5
    state = Clocked(client)
    of = limiter(state, TOKENS)
    for _ in range(40):
        held = await of.reserve(tokens(20))
        held.settle(Usage(input_tokens=10, output_tokens=0))
    assert len(state.asked) == 40
    await asyncio.sleep(10)
    # Of the last one.
    assert len(state.asked) == 41


@virtual
async def test_little_that_is_left_and_pauses_are_everybodys(client: Redis) -> None:
    """What one process hears from the provider, all keep to."""  # L4, L5
    one = limiter(Clocked(client), MINUTE)
    another = limiter(Clocked(client, worker="other"), MINUTE)
    one.learn({"requests": 3.0, "tokens": 1.0})
    one.learn({"requests": 5000.0})
    await asyncio.sleep(3)
    # Three when it was said, and another one in the second since then.
    assert len([t for t in await times(another, 6) if t < 3.1]) == 4
    one.pause(20.0)
    one.pause(10.0)  # the longer one counts
    await asyncio.sleep(3)
    with pytest.raises(TooLong) as caught:
        await another.reserve(within=1.0)
    assert caught.value.seconds > 15


@virtual
async def test_many_wait_and_all_get_through(client: Redis) -> None:
    """More than fit into one trip, of two workers, some of whom leave."""  # L1, L5
    of = limiter(Clocked(client), RateLimit.per_minute(6000, burst=500))
    all_of_them = [asyncio.ensure_future(of.reserve()) for _ in range(700)]
    await asyncio.sleep(0)
    for leaving in all_of_them[::7]:
        leaving.cancel()
    done, _ = await asyncio.wait(all_of_them)
    assert len([d for d in done if not d.cancelled()]) == 600
    assert now() < 3


# -- while Redis is away ---------------------------------------------------------------


@virtual
async def test_without_redis_everybody_goes_on_with_a_share(client: Redis) -> None:
    """An even part of what was agreed upon, without a burst; and it is told afterwards."""  # L5
    state, other = Clocked(client), Clocked(client, worker="other")
    of, elsewhere = limiter(state, MINUTE), limiter(other, MINUTE)
    await elsewhere.reserve()
    await of.reserve()  # two have been counted
    state.away = True
    begun = now()
    assert await times(of, 3) == pytest.approx(
        [begun + 2 * n for n in (1, 2, 3)], abs=0.01
    )
    assert state.alone == 3
    state.away = False
    await of.reserve()
    # 60, less the two at the beginning, the three of the share, and the last one.
    assert len([t for t in await times(elsewhere, 56) if t < now()]) >= 54


@virtual
async def test_what_was_used_alone_counts_when_redis_is_back(client: Redis) -> None:
    """Its tokens, too, at the time when they were used."""  # L5
    state = Clocked(client)
    state.workers = 1
    of = limiter(state, TOKENS)
    await of.reserve(tokens(10))
    state.away = True
    await asyncio.sleep(60)
    held = await of.reserve(tokens(3000))
    held.settle(Usage(input_tokens=5900, output_tokens=0))
    state.away = False
    await asyncio.sleep(5)
    with pytest.raises(TooLong) as caught:
        await of.reserve(tokens(600), within=1.0)
    assert caught.value.seconds > 30


@virtual
async def test_an_answer_that_gets_lost_is_no_answer(client: Redis) -> None:
    """The call goes on by the share; letters are sent again, and read once."""  # L5
    state = Clocked(client)
    of = limiter(state, TOKENS)
    held = await of.reserve(tokens(600))
    held.settle(Usage(input_tokens=300, output_tokens=0))
    state.lost = 2
    await asyncio.sleep(2.5)
    state.lost = 1
    await of.reserve(tokens(10))
    assert state.alone == 1
    with pytest.raises(TooLong):
        await of.reserve(tokens(600), within=0.01)
    # 300 came back, once; what was asked for and what was used alone is gone.
    assert len(state.asked) >= 3


@virtual
async def test_those_who_waited_when_it_went_away_go_on_by_the_share(
    client: Redis,
) -> None:
    """Nobody waits for a Redis that is not there."""  # L5
    state = Clocked(client)
    of = limiter(state, PACED)
    waiting = asyncio.ensure_future(times(of, 3))
    await asyncio.sleep(0.5)
    state.away = True
    # The first went, the second had its time already, the third has half of 60 a minute.
    assert (await waiting)[-1] < 6
    assert state.alone == 1


# -- its end ---------------------------------------------------------------------------


@asynccontextmanager
async def shared(server: RedisServer, limit: RateLimit) -> AsyncIterator[RedisLimiter]:
    async with fresh(server.url) as state:
        yield RedisLimiter(state, limit, "x")


async def test_a_state_that_closes_posts_what_is_left_and_ends_the_waiting() -> None:
    """Nobody hangs, and nothing that was given back is lost."""  # C3, L5
    with redis_server() as server:
        state = fresh(server.url)
        of = RedisLimiter(state, TOKENS, "x")
        held = await of.reserve(tokens(6000))
        told = asyncio.Event()
        booked = asyncio.ensure_future(
            of.reserve(tokens(500), waits=lambda _: told.set())
        )
        await told.wait()
        behind = asyncio.ensure_future(of.reserve(tokens(500)))
        await asyncio.sleep(0)
        held.cancel()
        await state.aclose()
        with pytest.raises(ClosedError):
            await behind
        booked.cancel()
        with Redis.from_url(server.url) as client:
            # What was booked, and no more.
            (key,) = client.keys("*:limit:*")
            assert client.hget(key, "sum:tokens") == b"500.000000"
        with pytest.raises(ClosedError):
            await of.reserve()
        await state.aclose()


def test_a_limiter_serves_several_loops_one_after_the_other() -> None:
    """Each has its own connections, closed with it; the limit is one."""  # C5, L5
    with redis_server() as server:
        state = fresh(server.url)
        of = RedisLimiter(state, MINUTE, "x")

        async def ask() -> Reservation:
            return await of.reserve(within=1.0)

        for _ in range(59):
            asyncio.run(ask())
        held = asyncio.run(ask())
        with pytest.raises(TooLong):
            asyncio.run(ask())
        held.settle(Usage())  # by a finaliser, after its loop


async def test_redis_dies_and_comes_back_with_nothing() -> None:
    """The calls go on, more slowly; a new Redis is used without being told."""  # L5
    with redis_server() as server:
        async with shared(server, RateLimit.per_minute(6000, burst=100)) as of:
            await of.reserve()
            server.kill()
            await of.reserve()
            assert let_through_alone()[of._state.namespace] == 1
            assert states_away()[of._state.namespace] == 1
            server.start()
            async with asyncio.timeout(30):
                while of._state.degraded:
                    await of.reserve()
            before = let_through_alone()[of._state.namespace], round_trips()["ok"]
            await of.reserve()
            after = let_through_alone()[of._state.namespace], round_trips()["ok"]
            assert after == (before[0], before[1] + 1)
            assert states_away()[of._state.namespace] == 0


async def test_a_wrong_password_is_said_before_anything_is_sent() -> None:
    """Not a warning and half of the limit: it will never come right by itself."""  # L5
    with redis_server() as server:
        with Redis.from_url(server.url) as client:
            client.config_set("requirepass", "another")
        async with fresh(server.url.replace("//", "//:wrong-one@")) as state:
            with pytest.raises(ConfigError, match="lets nobody in") as caught:
                await RedisLimiter(state, MINUTE, "x").reserve()
        assert "wrong-one" not in f"{caught.value!r} {state!r}"


@pytest.mark.parametrize("name", ["", "a{b}", "a\nb"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    """A key in Redis has to hold it."""
    with pytest.raises(ConfigError, match="name"):
        RedisLimiter(fresh("redis://localhost"), MINUTE, name)
