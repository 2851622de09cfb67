"""
What watching costs: CPU per chunk and per call, with each kind of it beside none.

Without a socket all there is to see is ours; over one a chunk costs more, and what watching
adds to it is a smaller part. In each round every kind reads a short and a long answer, one
right after the other, so that a machine that slows down slows all of them: a chunk's part is
the difference of the two, and a call's what is left of the short one. What a kind adds is the
median of what it adds within each round; the absolute figures are medians as well. The long
answers are very long: what is done once, at the end of one, is slower than at the end of a
short one, as the processor has forgotten more by then, and that is no part of a chunk's cost.

On a busy machine all this says little. What does not depend on it is how many instructions a
chunk takes: ``python -m benchmarks watching --instructions``. It runs this module by
``python -m benchmarks._watching DIALECT CHUNKS KIND``.
"""

from __future__ import annotations

import asyncio
import gc
import logging as stdlib_logging
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Final, NamedTuple

from aichat import Client, ClientConfig
from aichat.middleware import Middleware, logging, telemetry

from . import _machine
from ._instructions import per_chunk
from ._processes import Server
from ._scripted import client_of, read, reads_of
from ._server import prefix

__all__ = ["report", "report_instructions"]


class Road(NamedTuple):
    """How the bytes come."""

    name: str
    #: Chunks of the answers.
    short: int
    long: int
    per_read: int = 1
    socket: bool = False
    pause_ms: int = 0
    #: Answers at the same time.
    streams: int = 1
    #: One in so many rounds: a pause takes its time.
    seldom: int = 1


_ROADS: Final = (
    Road("no socket, 1 chunk per read", 20, 8020),
    Road("no socket, 20 chunks per read", 20, 8020, per_read=20),
    Road("socket, as fast as it goes", 100, 8100, socket=True),
    Road(
        "socket, 50 streams with a chunk every 5 ms", 20, 120,
        socket=True, pause_ms=5, streams=50, seldom=3,
    ),
)  # fmt: skip


class Cost(NamedTuple):
    """Microseconds of CPU."""

    chunk: float
    #: Without its chunks.
    call: float


def report(dialect: str, rounds: int) -> None:
    """Print what each kind takes, and what that is more than without anything."""
    _machine.pin("contestant")
    print(f"{dialect}; CPU, medians of {rounds} rounds, and a third of the last ones")
    kinds = _kinds()
    with Server() as server:
        for road in _ROADS:
            some = max(1, rounds // road.seldom)
            seen = asyncio.run(_measured(dialect, kinds, road, some, server.url))
            print(f"\n{road.name}")
            for name in kinds:
                print(_line(name, seen))


def report_instructions(dialect: str) -> None:
    """Print how many a chunk takes with each kind, without a socket, alone in its read."""
    counts = {
        name: per_chunk(dialect, name, module="benchmarks._watching")
        for name in _kinds()
    }
    print(f"{dialect}; instructions per chunk")
    for name, count in counts.items():
        print(f"{count:8.0f} {count / counts['nothing'] - 1:+7.2%}   {name}")


def _line(name: str, rounds: Sequence[Mapping[str, Cost]]) -> str:
    """Compared with nothing, round by round."""
    chunk = median(costs[name].chunk for costs in rounds)
    call = median(costs[name].call for costs in rounds)
    more = median(costs[name].chunk / costs["nothing"].chunk - 1 for costs in rounds)
    later = median(costs[name].call - costs["nothing"].call for costs in rounds)
    return (
        f"{chunk:8.2f} µs per chunk {more:+7.1%}   "
        f"{call:8.0f} µs per call {later:+6.0f}   {name}"
    )


def _kinds() -> Mapping[str, tuple[Middleware, ...]]:
    lines = stdlib_logging.getLogger("benchmarks.watching")
    lines.addHandler(_Unwritten())
    lines.setLevel("INFO")
    lines.propagate = False
    off, sdk = telemetry(enabled=False), _with_sdk()
    return {
        "nothing": (off,),
        # Nothing is set up: what everybody pays.
        "telemetry(), no SDK": (telemetry(),),
        "telemetry(), with the SDK": (sdk,),
        "logging()": (off, logging(lines)),
        "both": (sdk, logging(lines)),
    }


class _Unwritten(stdlib_logging.Handler):
    """Formats each line and drops it: writing is the disk's business."""

    def emit(self, record: stdlib_logging.LogRecord) -> None:
        self.format(record)


def _with_sdk() -> Middleware:
    """One that records all, and exports nothing."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    return telemetry(
        tracer_provider=TracerProvider(),
        meter_provider=MeterProvider([InMemoryMetricReader()]),
    )


async def _measured(
    dialect: str,
    kinds: Mapping[str, tuple[Middleware, ...]],
    road: Road,
    rounds: int,
    url: str,
) -> list[Mapping[str, Cost]]:
    """What each kind costs, round by round."""
    seen: list[Mapping[str, Cost]] = []
    async with AsyncExitStack() as open_clients:
        short, long = [
            await open_clients.enter_async_context(_client(dialect, road, length, url))
            for length in (road.short, road.long)
        ]
        runs = [
            (name, short.use(*reversed(layers)), long.use(*reversed(layers)))
            for name, layers in kinds.items()
        ]
        for _ in range(rounds + 1):
            costs: dict[str, Cost] = {}
            # Who comes first has no advantage in the end.
            runs.reverse()
            for name, one, other in runs:
                few = await _cost(one, road.streams)
                many = await _cost(other, road.streams)
                chunk = (many - few) / (road.long - road.short)
                costs[name] = Cost(chunk, few - chunk * road.short)
            seen.append(costs)
    # The first round opens connections, and lets the bytecode be specialised.
    return seen[1:]


@asynccontextmanager
async def _client(
    dialect: str, road: Road, length: int, url: str
) -> AsyncGenerator[Client, None]:
    if not road.socket:
        reads = list(reads_of(dialect, length, road.per_read))
        yield client_of(dialect, _again(reads))
        return
    at = url + prefix(length, per_chunk=road.per_read, pause_ms=road.pause_ms)
    config = ClientConfig(provider=dialect, api_key="none", base_url=at, model="m")
    async with Client.from_config(config, environ={}) as client:
        yield client


def _again(reads: list[bytes]) -> Callable[[], list[bytes]]:
    return lambda: reads


async def _cost(client: Client, streams: int) -> float:
    """Microseconds of CPU for one answer, of so many at the same time."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        await asyncio.gather(*(read(client) for _ in range(streams)))
        return (time.process_time() - began) / streams * 1e6
    finally:
        gc.enable()


def _main(dialect: str, chunks: int, kind: str) -> None:
    """Read one answer, for callgrind to count."""
    layers = tuple(reversed(_kinds()[kind]))
    clients = [
        client_of(dialect, _again(list(reads_of(dialect, count)))).use(*layers)
        for count in (200, chunks)
    ]

    async def read_both() -> None:
        # Bytecode is specialised after a few dozen times; this is the same in both runs.
        for client in clients:
            await read(client)

    asyncio.run(read_both())


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
