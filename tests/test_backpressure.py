"""A consumer that takes its time slows the server down; memory stays where it is."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from attrs import define

from aichat import Client, TextDelta

from .elsewhere import Elsewhere, acquired, cleared
from .test_more_faults import ALL, CHUNKED, LAST, OPENAI, Dialect, client_of
from .transport.servers import Server, Visit, chunk

MIB = 2**20
#: What the kernel's buffers hold on both sides, and aiohttp's; far less than is sent.
BUFFERS = 24 * MIB


@define
class Flood:
    """Sends *size* bytes of words, as fast as they are taken."""

    dialect: Dialect
    size: int
    sent: int = 0
    #: Whether the server is held up at the moment.
    held: bool = False

    async def __call__(self, visit: Visit) -> None:
        words = chunk(self.dialect.delta("x" * 1000) * 32)
        start = self.dialect.start
        await visit.send(CHUNKED + (chunk(start) if start else b""))
        while self.sent < self.size:
            self.held = True
            await visit.send(words)
            self.held = False
            self.sent += len(words)
        await visit.send(chunk(self.dialect.finish + self.dialect.end) + LAST)


@asynccontextmanager
async def flooded(dialect: Dialect, size: int) -> AsyncIterator[tuple[Flood, Client]]:
    flood = Flood(dialect, size)
    with Elsewhere(Server(flood)) as there:
        async with client_of(dialect, there.server.url) as client:
            yield flood, client


async def held_up(flood: Flood) -> int:
    """How much was sent, once no more gets through."""
    before = -1
    while flood.sent > before or not flood.held:
        before = flood.sent
        await asyncio.sleep(0.05)
    return flood.sent


@pytest.mark.parametrize("dialect", ALL, ids=str)
async def test_a_consumer_that_stops_stops_the_server(dialect: Dialect) -> None:
    """It cannot send on, and goes on when the consumer does."""
    # C6
    async with flooded(dialect, 200 * MIB) as (flood, client):
        async with asyncio.timeout(20), client.stream("Hi") as stream:
            await anext(stream)
            sent = await held_up(flood)
            assert sent < BUFFERS
            taken = 0
            async for chunk_ in stream:
                taken += len(chunk_.text) if isinstance(chunk_, TextDelta) else 0
                if taken > sent:
                    break
            assert flood.sent > sent
        # It was held up again as we left: that does not keep the connection.
        assert acquired(client) == 0
        await cleared()


async def test_a_hundred_megabytes_in_a_few() -> None:
    """What was handed up and let go of is not kept."""
    # C6, I1
    async with flooded(OPENAI, 100 * MIB) as (flood, client):
        provider = client._providers["openai-chat"]
        taken, peak = 0, 0
        tracemalloc.start()
        try:
            request = client.stream("Hi", model="openai-chat:m").request
            async for each in provider.stream(request):
                taken += len(each.text) if isinstance(each, TextDelta) else 0
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert flood.sent >= 100 * MIB
    assert taken > 80 * MIB
    assert peak < 8 * MIB
