"""
What a chunk costs in calls and objects: the same number on every machine.

Calls are what `sys.setprofile` sees: functions of Python and of C, and each time that a
coroutine or generator goes on. They are no measure of time, but nothing that costs time
for every token comes without one.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Final

from aichat import Client

from ._scripted import client_of, read, reads_of

__all__ = ["calls_per_chunk", "kept_per_chunk"]

_CHUNKS: Final = 400
#: Enough for caches to be filled.
_WARM: Final = 50


def calls_per_chunk(dialect: str, per_read: int) -> float:
    """Calls from a scripted connection to the reader of `Client.stream`, for one chunk."""
    return _per_chunk(dialect, per_read, _calls)


def kept_per_chunk(dialect: str) -> float:
    """Objects that a stream that has been read, and is still there, holds of each chunk."""
    return _per_chunk(dialect, 20, _kept)


def _per_chunk(
    dialect: str, per_read: int, count: Callable[[Client], Awaitable[int]]
) -> float:
    """Count in a stream and in one that is twice as long: what the difference is."""

    async def counted(chunks: int) -> int:
        reads = list(reads_of(dialect, chunks, per_read))
        return await count(client_of(dialect, lambda: reads))

    async def all_of_it() -> float:
        await counted(_WARM)
        return (await counted(2 * _CHUNKS) - await counted(_CHUNKS)) / _CHUNKS

    return asyncio.run(all_of_it())


async def _calls(client: Client) -> int:
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    # What others have left behind shall not be cleared away, and counted, meanwhile.
    gc.collect()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        await read(client)
    finally:
        sys.setprofile(before)
    return calls


async def _kept(client: Client) -> int:
    stream = client.stream("Hi")
    gc.collect()
    before = sys.getallocatedblocks()
    async for _ in stream:
        pass
    gc.collect()
    kept = sys.getallocatedblocks() - before
    await stream.aclose()
    return kept
