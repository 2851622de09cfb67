"""
Thousands of streams that are cancelled leave everything where it was.

Some dozens of each kind by default. For the whole promise::

    AICHAT_MANY=10000 pytest tests/test_many_cancelled.py -k openai-chat
"""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc

import pytest

from aichat import Client, TextDelta
from aichat.testing import Simulator

from .elsewhere import Elsewhere, acquired, cleared, sockets
from .simulated import KEY, Target
from .test_leaving import ONES

MANY = int(os.environ.get("AICHAT_MANY", "40"))
#: Bytes that may be in use afterwards and not before, whatever the number.
SLACK = 64 * 2**10


async def cancelled_waiting(client: Client, sim: Simulator) -> None:
    """Cancelled in the midst of the answer."""
    sim.fail_next("stall", after=2)
    begun = asyncio.Event()

    async def read() -> None:
        async for chunk in client.stream("Hi"):
            if isinstance(chunk, TextDelta):
                begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def cancelled_connecting(client: Client, sim: Simulator) -> None:
    """Cancelled before there was an answer, at one turn of the loop or another."""
    task = asyncio.create_task(client.complete("Hi"))
    for _ in range(cancelled_connecting.turns % 20):  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    cancelled_connecting.turns += 1  # type: ignore[attr-defined]
    task.cancel()
    await asyncio.wait([task])


cancelled_connecting.turns = 0  # type: ignore[attr-defined]


async def left_with_break(client: Client, sim: Simulator) -> None:
    """Left with a ``break``, in a plain loop."""
    sim.fail_next("stall", after=2)
    async for chunk in client.stream("Hi"):
        if isinstance(chunk, TextDelta):
            break
    await cleared()


@pytest.mark.parametrize(
    "way", [cancelled_waiting, cancelled_connecting, left_with_break]
)
@pytest.mark.parametrize("target", ONES, ids=lambda target: target.dialect)
async def test_many_cancelled_streams(target: Target, way: object) -> None:
    """Memory, sockets and tasks are where they were, and the next call is served."""
    # C1
    assert callable(way)
    with Elsewhere(Simulator(api_keys=[KEY], keep=1)) as there:
        async with target.client(there.server, max_connections=1) as client:

            async def some(number: int) -> None:
                for _ in range(number):
                    await way(client, there.server)

            async def settled() -> int | None:
                assert (await client.complete("Hi", max_tokens=16)).text
                await there.there(there.server.idle())
                await cleared()
                assert acquired(client) == 0
                return sockets()

            await some(15)
            before = await settled()
            gc.collect()
            tracemalloc.start()
            try:
                await some(15)
                await settled()
                gc.collect()
                memory, _ = tracemalloc.get_traced_memory()
                await some(MANY)
                assert await settled() == before
                gc.collect()
                grown = tracemalloc.get_traced_memory()[0] - memory
            finally:
                tracemalloc.stop()
    assert grown < SLACK
