"""What goes over the connections of one loop."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import AsyncExitStack

import pytest

from aichat.errors import ConfigError
from aichat.redis import RedisState
from aichat.redis._link import Away, Late, Script
from aichat.redis._state import states_away

from ..redis_server import redis_server, redis_url
from ..transport.toys import virtual
from .toys import PASSWORD, Clock, fresh, run_elsewhere

__all__ = ["redis_url"]

COUNT = Script("return redis.call('INCR', KEYS[1])")


async def test_many_at_once(redis_url: str) -> None:
    """Take their turns on a few connections; none is refused for being one too many."""  # L5
    async with fresh(redis_url) as state:
        key = state.key("count", "a")
        counts = await asyncio.gather(
            *(state.run(COUNT, [key], []) for _ in range(500))
        )
        assert sorted(counts) == list(range(1, 501))
        assert len(await state.link()._redis.client_list()) <= 9
        assert not state.degraded


async def test_many_at_once_and_redis_does_not_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They do not wait one after the other, and count as one failure."""  # L5
    caplog.set_level(logging.INFO, "aichat")
    with redis_server() as server:
        clock = Clock()
        state = fresh(server.url, timeout=0.3, clock=clock)
        key = state.key("count", "a")
        await state.run(COUNT, [key], [])
        await state.link()._do("CLIENT", "PAUSE", 60_000, "ALL")
        begun = asyncio.get_running_loop().time()
        got = await asyncio.gather(
            *(state.run(COUNT, [key], []) for _ in range(200)), return_exceptions=True
        )
        assert all(isinstance(each, Away) for each in got)
        assert sum(isinstance(each, Late) for each in got) >= 190
        assert asyncio.get_running_loop().time() - begun < 3
        assert len(caplog.records) == 1
        # The first pause is a short one.
        clock.now += 0.26
        assert not state.away
        await state.aclose()


@virtual
async def test_redis_is_slow_and_not_away() -> None:
    """Nobody waits for a connection longer than for an answer: what is too much is left out."""  # L5
    async with fresh("redis://127.0.0.1:1", timeout=0.2) as state:
        link = state.link()

        async def slow() -> str:
            await asyncio.sleep(0.15)
            return "done"

        begun = link.loop.time()
        got = await asyncio.gather(
            *(link._within(slow) for _ in range(100)), return_exceptions=True
        )
        assert link.loop.time() - begun < 1
        assert got.count("done") >= 8
        assert all(each == "done" or isinstance(each, Late) for each in got)
        assert await link._within(slow) == "done"


async def test_whatever_goes_wrong_there_is_said_to_be_so(redis_url: str) -> None:
    """Nobody outside knows errors of the redis package, or of its bugs."""  # L5

    async def fail() -> None:
        raise RuntimeError(f"something with {PASSWORD}")

    async with fresh(redis_url) as state:
        with pytest.raises(Away, match=r"^RuntimeError$"):
            await state.link()._within(fail)


async def test_a_key_that_is_something_else(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what Redis says of it, by its code."""  # L5
    async with fresh(redis_url) as state:
        key = state.key("count", "a")
        await state.link()._do("RPUSH", key, "x")
        with pytest.raises(Away, match=r"ResponseError: WRONGTYPE$"):
            await state.run(COUNT, [key], [])
        assert states_away()[state.namespace] == 1
        assert "WRONGTYPE" in caplog.text
    # Whoever closes it waits for it no more.
    assert state.namespace not in states_away()


@pytest.mark.parametrize("option", ["what=1", "db=x", "protocol=9"])
async def test_an_address_with_something_that_is_no_option(option: str) -> None:
    """A mistake is no outage; what is in the address is not said."""  # G1, X1
    state = RedisState(f"redis://:{PASSWORD}@localhost/?{option}")
    with pytest.raises(ConfigError, match=r"after its \?") as caught:
        state.link()
    assert PASSWORD not in str(caught.value)
    assert caught.value.__context__ is None


async def test_the_package_is_there_when_a_state_is() -> None:
    """Importing it takes half a second, in which no stream would go on; or it fails."""  # L5, G1
    await run_elsewhere(
        "import sys, pytest\n"
        "from aichat.errors import ConfigError\n"
        "from aichat.redis import RedisState\n"
        "assert 'redis' not in sys.modules\n"
        "RedisState('redis://localhost')\n"
        "assert 'redis.asyncio' in sys.modules\n"
        "sys.modules['redis.asyncio'] = None\n"
        "with pytest.raises(ConfigError, match='aichat.redis'):\n"
        "    RedisState('redis://localhost')\n"
    )


async def test_what_is_cancelled_before_it_begins(redis_url: str) -> None:
    """As by the end of a loop: no warning says that nobody has awaited it."""  # C1, C5
    async with fresh(redis_url) as state:
        link = state.link()
        asking = asyncio.create_task(state.get(state.key("a", "b")))
        await asyncio.sleep(0)
        (command,) = link._tasks
        command.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        del command
        gc.collect()


async def test_options_that_are_ours(redis_url: str) -> None:
    """An address cannot make us read otherwise, or wait twice."""  # L5
    url = f"{redis_url}?decode_responses=1&socket_timeout=0.001&max_connections=1"
    async with fresh(url) as state:
        await state.set(state.key("a", "b"), b"\xff", 1e300)
        both = await asyncio.gather(*[state.get(state.key("a", "b"))] * 2)
        assert both == [b"\xff"] * 2


async def test_who_is_away_is_counted_apart_however_many_there_are() -> None:
    """The others share a name when there are too many; those in trouble come first."""  # O1
    async with AsyncExitStack() as closing:
        states = [fresh("redis://127.0.0.1:1") for _ in range(150)]
        for state in states:
            closing.push_async_callback(state.aclose)
            state.link()
        with pytest.raises(Away):
            await states[-1].get("a")
        away = states_away()
        assert away[states[-1].namespace] == 1
        assert len(away) <= 101
        # Who only stands there is not counted.
        idle = fresh("redis://127.0.0.1:1")
        assert idle.namespace not in states_away()
