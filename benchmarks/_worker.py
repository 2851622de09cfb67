"""
The process that a contestant runs in.

``python -m benchmarks._worker MODULE`` reads a job per line from its input, as JSON, and
writes a result per line. Needs nothing but the standard library and the contestant.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from statistics import median
from typing import Any, Final

from . import _machine
from ._answers import text_of
from ._server import prefix
from .contestants._base import Base

__all__ = ["main"]

Job = dict[str, Any]
Result = dict[str, float]

#: Seconds between two looks at how late the loop is.
_TICK: Final = 0.01


def main(module: str) -> None:
    """Work until there are no more jobs."""
    _machine.pin("contestant")
    _machine.allow_files()
    # What a contestant prints is not for whoever reads the results.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contestant: type[Base] = importlib.import_module(
        f"benchmarks.contestants.{module}"
    ).Contestant
    print(json.dumps(contestant.versions()), file=results, flush=True)
    # One loop for all: some keep their connections in a global, bound to the first.
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            result = _do(runner, contestant, json.loads(line))
            print(json.dumps(result), file=results, flush=True)


def _do(runner: asyncio.Runner, contestant: type[Base], job: Job) -> dict[str, Any]:
    gc.collect()
    try:
        return runner.run(_SCENARIOS[job["do"]](contestant, job))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


@asynccontextmanager
async def _made(contestant: type[Base], job: Job) -> AsyncGenerator[Base, None]:
    """One that talks to the server in the way that *job* asks for."""
    at = prefix(
        job["events"],
        per_chunk=job.get("per_chunk", 1),
        pause_ms=job.get("pause_ms", 0),
        close=job.get("close", False),
    )
    layers = job.get("layers", 0)
    made = contestant(job["url"] + at, job["dialect"], layers=layers)
    try:
        yield made
    finally:
        await made.aclose()


async def _stream(contestant: type[Base], job: Job) -> Result:
    """Microseconds per chunk, of this process and of the clock."""
    events, streams = job["events"], job.get("streams", 1)
    async with _made(contestant, job) as made:
        if not job.get("pause_ms"):
            await asyncio.gather(*(made.read() for _ in range(streams)))
        wall, cpu = time.perf_counter(), time.process_time()
        counts = await asyncio.gather(*(made.read() for _ in range(streams)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if min(counts) < events:
        raise RuntimeError(f"{min(counts)} chunks of {events}")
    chunks = events * streams
    return {"cpu_us": cpu / chunks * 1e6, "wall_us": wall / chunks * 1e6}


async def _complete(contestant: type[Base], job: Job) -> Result:
    """Answers per second, so many at once, and microseconds of CPU for each."""
    left, concurrency = job["requests"], job["concurrency"]
    text = text_of(job["events"])

    async def ask(made: Base) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if await made.complete() not in (text, ""):
                raise RuntimeError("not the answer that was sent")

    async with _made(contestant, job) as made:
        left = 2 * concurrency
        await asyncio.gather(*(ask(made) for _ in range(concurrency)))
        left = job["requests"]
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(ask(made) for _ in range(concurrency)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "per_second": job["requests"] / wall,
        "cpu_us": cpu / job["requests"] * 1e6,
    }


async def _first(contestant: type[Base], job: Job) -> Result:
    """Microseconds to the first chunk, and of CPU for the whole of such a call."""
    took = []
    async with _made(contestant, job) as made:
        for _ in range(5):
            await made.first()
        cpu = time.process_time()
        for _ in range(job["requests"]):
            began = time.perf_counter()
            took.append(await made.first() - began)
        cpu = time.process_time() - cpu
    return {"wall_us": median(took) * 1e6, "cpu_us": cpu / job["requests"] * 1e6}


async def _open(contestant: type[Base], job: Job) -> Result:
    """Bytes per open stream, how late the loop is, and how many streams are alive."""
    streams: int = job["streams"]
    counts = [0] * streams

    async def follow(made: Base, at: int) -> None:
        async with made.stream() as chunks:
            async for _ in chunks:
                counts[at] += 1

    async with _made(contestant, {**job, "pause_ms": 0, "events": 100}) as made:
        await made.read()
    async with _made(contestant, job) as made:
        before = _machine.resident_memory()
        tasks = []
        for at in range(streams):
            tasks.append(asyncio.create_task(follow(made, at)))
            if at % 20 == 0:
                await asyncio.sleep(_TICK)
        try:
            async with asyncio.timeout(job.get("patience", 60)):
                while 0 in counts and not any(t.done() for t in tasks):  # noqa: ASYNC110 -- counting must cost nothing
                    await asyncio.sleep(0.1)
        except TimeoutError:
            spoken = sum(map(bool, counts))
            for task in tasks:
                task.cancel()
            raise RuntimeError(f"only {spoken} of {streams} streams began") from None
        memory = _machine.resident_memory() - before
        seen = list(counts)
        cpu, wall = time.process_time(), time.perf_counter()
        late = await _lateness(job["seconds"])
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        alive = sum(
            not task.done() and now > then
            for task, now, then in zip(tasks, counts, seen, strict=True)
        )
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)
    return {
        "memory": memory / streams,
        "lag_p50_ms": late[len(late) // 2] * 1e3,
        "lag_p99_ms": late[len(late) * 99 // 100] * 1e3,
        "lag_max_ms": late[-1] * 1e3,
        "alive": alive,
        "chunks_per_second": (sum(counts) - sum(seen)) / wall,
        "busy": cpu / wall,
    }


async def _lateness(seconds: float) -> list[float]:
    """By how much the loop was late, again and again, sorted."""
    late, loop = [], asyncio.get_running_loop()
    # What was there before is not looked at again; this is what a server would do.
    gc.collect()
    gc.freeze()
    end = loop.time() + seconds
    while (now := loop.time()) < end:
        await asyncio.sleep(_TICK)
        late.append(loop.time() - now - _TICK)
    gc.unfreeze()
    return sorted(late)


async def _big(contestant: type[Base], job: Job) -> Result:
    """By how many bytes the process grows while it reads a long stream."""
    async with _made(contestant, {**job, "events": 100}) as made:
        await made.read()
    async with _made(contestant, job) as made:
        before = _machine.begin_peak()
        await made.read()
        return {"growth": _machine.peak_memory() - before}


_SCENARIOS: Final[dict[str, Callable[[type[Base], Job], Coroutine[Any, Any, Any]]]] = {
    "stream": _stream,
    "complete": _complete,
    "first": _first,
    "open": _open,
    "big": _big,
}


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1])
