"""What goes over the connections of one loop."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aichat.redis._link import Away, Late, Script

from ..redis_server import redis_server, redis_url
from .toys import Clock, fresh

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
