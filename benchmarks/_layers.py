"""
Where the time of a chunk goes: the same bytes through more and more of aichat.

Each line does what the one above it does, and one thing more. With *per_read* chunks in a
read; a busy socket brings hundreds, and a slow model one. The last two need a server: the
bare reading of aiohttp, and the whole.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aichat import ChatRequest
from aichat.providers import HTTPProvider
from aichat.transport import HTTPRequest
from aichat.transport._dialect import Pipeline

from ._processes import Server, Worker
from ._scripted import Script, client_of, read, reads_of, spec_of

__all__ = ["report"]

_CHUNKS: Final = 20_000
_ROUNDS: Final = 9
_JOB: Final = {"do": "stream", "events": _CHUNKS}

Run = Callable[[], Awaitable[Any]]


def report(dialect: str, per_read: int) -> None:
    """Print microseconds per chunk, the best of some, and what each layer adds."""
    runs = _runs(dialect, per_read)
    costs: dict[str, list[float]] = {name: [] for name in runs}
    with (
        Server() as server,
        Worker(sys.executable, "floor") as floor,
        Worker(sys.executable, "ours") as ours,
    ):
        job = {**_JOB, "url": server.url, "dialect": dialect}
        sockets = {"the floor, over a socket": floor, "aichat, over a socket": ours}
        for _ in range(_ROUNDS):
            for name, run in runs.items():
                costs[name].append(asyncio.run(_cost(run)))
            for name, worker in sockets.items():
                costs.setdefault(name, []).append(worker.do(job)["cpu_us"])
    before = 0.0
    print(f"{dialect}, {per_read} chunks per read; µs per chunk, and what is new in it")
    for name, seen in costs.items():
        print(f"{min(seen):8.2f} {min(seen) - before:+7.2f}  {name}")
        before = min(seen) if name in runs else 0.0


async def _cost(run: Run) -> float:
    gc.collect()
    began = time.process_time()
    await run()
    return (time.process_time() - began) / _CHUNKS * 1e6


def _runs(dialect: str, per_read: int) -> dict[str, Run]:
    spec = spec_of(dialect)
    reads = list(reads_of(dialect, _CHUNKS, per_read))
    client = client_of(dialect, lambda: reads)
    provider: Any = client._providers[spec.name]
    assert isinstance(provider, HTTPProvider)
    request = ChatRequest("Hi", model=f"{spec.name}:m")

    async def script() -> None:
        # What the rest is measured on.
        response = Script(reads)
        while await response.read():
            pass

    async def framing() -> None:
        decode = spec.framing().decode
        response = Script(reads)
        while data := await response.read():
            for _ in decode(data):
                pass

    async def decoder() -> None:
        decode, understand = spec.framing().decode, spec.decoder().decode
        response = Script(reads)
        while data := await response.read():
            chunks: list[Any] = []
            for event in decode(data):
                chunks += understand(event)

    async def pipeline() -> None:
        feed = Pipeline(spec.dialect).feed
        response = Script(reads)
        while data := await response.read():
            feed(data)

    async def transport() -> None:
        wire = HTTPRequest("/", base_url=provider.base_url)
        async for _ in provider.transport.stream(wire, spec.dialect):
            pass

    async def flat() -> None:
        async for _ in provider.stream(request):
            pass

    async def whole() -> None:
        await read(client)

    return {
        "a script": script,
        "framing: bytes to events": framing,
        "decoder: events to chunks": decoder,
        "Pipeline": pipeline,
        "Transport.stream: retries, deadlines": transport,
        "HTTPProvider.stream: one by one": flat,
        "Client.stream: middleware, record": whole,
    }
