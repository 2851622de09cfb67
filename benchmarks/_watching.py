"""
What watching costs: CPU per chunk and per call, with each kind of it beside none.

No socket, so that all there is to see is ours: over a real one a chunk costs more, and what
watching adds to it is a smaller part. Short and long answers
are read in turn, one kind after the other, so that a machine that slows down slows all of
them; a chunk's part is the difference of the two, and a call's is what is left of a short one.
"""

from __future__ import annotations

import asyncio
import gc
import logging as stdlib_logging
import time
from collections.abc import Callable
from statistics import median
from typing import Final

from aichat import Client
from aichat.middleware import Middleware, logging, telemetry

from ._scripted import client_of, read, reads_of

__all__ = ["report"]

_SHORT: Final = 20
_LONG: Final = 2020
_PER_READ: Final = (1, 20)


def report(dialect: str, rounds: int) -> None:
    """Print medians, and what they are more than those without anything."""
    kinds = _kinds()
    print(f"{dialect}; CPU, medians of {rounds}; without a socket")
    for per_read in _PER_READ:
        print(f"\n{per_read} chunk{'s' * (per_read > 1)} per read")
        costs = asyncio.run(_measured(dialect, kinds, per_read, rounds))
        bare_chunk, bare_call = costs["nothing"]
        for name, (chunk, call) in costs.items():
            more = chunk / bare_chunk - 1
            print(
                f"{chunk:8.2f} µs per chunk {more:+7.1%}   "
                f"{call:8.0f} µs per call {call - bare_call:+6.0f}   {name}"
            )


def _kinds() -> dict[str, tuple[Middleware, ...]]:
    lines = stdlib_logging.getLogger("benchmarks.watching")
    lines.addHandler(_Unwritten())
    lines.setLevel("INFO")
    lines.propagate = False
    off = telemetry(enabled=False)
    return {
        "nothing": (off,),
        # Nothing is set up: what everybody pays.
        "telemetry(), no SDK": (telemetry(),),
        "telemetry(), with the SDK": (_with_sdk(),),
        "logging()": (off, logging(lines)),
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
    kinds: dict[str, tuple[Middleware, ...]],
    per_read: int,
    rounds: int,
) -> dict[str, tuple[float, float]]:
    """Microseconds per chunk, and per call without its chunks."""
    seen: dict[tuple[str, int], list[float]] = {}
    runs: dict[tuple[str, int], Client] = {}
    for length in (_SHORT, _LONG):
        reads = list(reads_of(dialect, length, per_read))
        for name, layers in kinds.items():
            client = client_of(dialect, _again(reads)).use(*reversed(layers))
            runs[name, length] = client
    for _ in range(rounds):
        for key, client in runs.items():
            seen.setdefault(key, []).append(await _cost(client))
    found: dict[str, tuple[float, float]] = {}
    for name in kinds:
        short, long = (median(seen[name, length]) for length in (_SHORT, _LONG))
        chunk = (long - short) / (_LONG - _SHORT)
        found[name] = chunk, short - chunk * _SHORT
    return found


def _again(reads: list[bytes]) -> Callable[[], list[bytes]]:
    return lambda: reads


async def _cost(client: Client) -> float:
    """Microseconds of CPU for one answer."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        await read(client)
        return (time.process_time() - began) * 1e6
    finally:
        gc.enable()
