"""
CPU time per chunk, from the socket to the consumer, against the floor.

Run ``python benchmarks/chunk_cost.py``. The floor is what nobody can do without: aiohttp
reads, ``bytes.split`` finds the events, ``orjson.loads`` reads them. aichat is the default
client, chunks counted by ``async for``. Both take turns on the same server, which has a
core of its own where there is one; what counts is our process's CPU time.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import aiohttp
import orjson

from aichat import Client, ClientConfig, TextDelta

EVENTS, ROUNDS = 20_000, 9


async def floor(url: str) -> int:
    """Read, split, parse."""
    count, rest = 0, b""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"stream": True}) as response,
    ):
        while data := await response.content.readany():
            *events, rest = (rest + data).split(b"\n\n")
            for event in events:
                payload = event[event.index(b"data: ") + 6 :]
                if payload != b"[DONE]":
                    count += bool(orjson.loads(payload))
    return count


async def ours(client: Client) -> int:
    """What a user writes."""
    count = 0
    async for chunk in client.stream("Hi"):
        count += isinstance(chunk, TextDelta)
    return count


async def measure(run: Callable[[], Awaitable[int]]) -> float:
    """Microseconds of CPU per event."""
    began = time.process_time()
    count = await run()
    assert count >= EVENTS, count
    return (time.process_time() - began) / EVENTS * 1e6


async def compare(dialect: str, per_write: int) -> None:
    """Print one line."""
    command = [sys.executable, str(Path(__file__).with_name("_server.py"))]
    command += [dialect, str(EVENTS), str(per_write)]
    server = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    try:
        url = f"http://127.0.0.1:{int(await server.stdout.readline())}"
        config = ClientConfig(provider=dialect, api_key="x", base_url=url, model="m")
        results: dict[str, list[float]] = {"floor": [], "aichat": []}
        async with Client.from_config(config) as client:
            for _ in range(ROUNDS + 1):
                results["floor"].append(await measure(lambda: floor(url)))
                results["aichat"].append(await measure(lambda: ours(client)))
    finally:
        server.kill()
        await server.wait()
    texts = []
    for name, (_, *runs) in results.items():  # the first round warms up
        spread = f"{min(runs):.2f} to {max(runs):.2f}"
        texts.append(f"{name} {median(runs):.2f} us ({spread})")
    ratio = median(results["aichat"][1:]) / median(results["floor"][1:])
    print(f"{dialect}, {per_write} events a write: {ratio:.2f} x; {', '.join(texts)}")


async def main() -> None:
    """Both dialects, one event per HTTP chunk and many."""
    print(f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}")
    print(f"{os.cpu_count()} cores; median of {ROUNDS} runs of {EVENTS:,} events")
    for dialect in ("openai-chat", "anthropic"):
        for per_write in (1, 20):
            await compare(dialect, per_write)


if __name__ == "__main__":
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[:-1]))
    asyncio.run(main())
