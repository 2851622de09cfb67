"""What is measured: the jobs, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

__all__ = ["QUICK", "WHOLE", "Scenario"]

Who = Literal["all", "ours"]


class Scenario(NamedTuple):
    """One table of the result."""

    name: str
    title: str
    #: For `benchmarks._worker`. Events are chosen by speed where it names none.
    job: Mapping[str, Any]
    rounds: int
    #: What is compared, and what it is counted in.
    value: str
    unit: str
    #: Whether all the dialects of a contestant take part, or only its first.
    dialects: Literal["all", "first"] = "first"
    who: Who = "all"
    #: Whether each round needs a process that has done nothing before.
    fresh: bool = False
    more_is_better: bool = False


def _stream(name: str, title: str, rounds: int, **job: Any) -> Scenario:
    return Scenario(
        name, title, {"do": "stream", **job}, rounds, "cpu_us", "µs", dialects="all"
    )


def _set(rounds: int, calls: int) -> tuple[Scenario, ...]:
    """What both the quick and the whole run have; *calls* are the rounds of what is slow."""
    return (
        _stream(
            "single",
            "CPU per chunk; one stream, one event per HTTP chunk",
            rounds,
            per_chunk=1,
        ),
        _stream(
            "packed",
            "CPU per chunk; one stream, 20 events per HTTP chunk",
            rounds,
            per_chunk=20,
        ),
        Scenario(
            "complete",
            "Whole answers of 20 chunks per second, 64 at once",
            {"do": "complete", "events": 20, "concurrency": 64},
            calls,
            "per_second",
            "/s",
            more_is_better=True,
        ),
        Scenario(
            "first-warm",
            "Time to the first chunk, on a connection that is there",
            {"do": "first", "events": 1},
            calls,
            "wall_us",
            "µs",
        ),
        Scenario(
            "first-cold",
            "Time to the first chunk, on a new connection",
            {"do": "first", "events": 1, "close": True},
            calls,
            "wall_us",
            "µs",
        ),
        Scenario(
            "import",
            "CPU for the import, in a new process",
            {"do": "import"},
            calls,
            "cpu_ms",
            "ms",
        ),
    )


QUICK: Final = _set(5, 3)

WHOLE: Final = (
    *_set(7, 5),
    _stream(
        "many",
        "CPU per chunk; 32 streams, one event per HTTP chunk",
        5,
        per_chunk=1,
        streams=32,
    ),
    Scenario(
        "paced",
        "CPU per chunk; 32 streams of 100 chunks per second, each in a packet of its own",
        {"do": "stream", "events": 100, "streams": 32, "pause_ms": 10},
        3,
        "cpu_us",
        "µs",
    ),
    Scenario(
        "open-1000",
        "Memory per open stream; 1,000 streams, a chunk per second each",
        {"do": "open", "events": 1000, "streams": 1000, "pause_ms": 1000, "seconds": 2},
        1,  # some need a minute to open that many
        "memory",
        "bytes",
        fresh=True,
    ),
    Scenario(
        "open-10000",
        "Memory per open stream; 10,000 streams, a chunk in 4 seconds each",
        {
            "do": "open",
            "events": 1000,
            "streams": 10_000,
            "pause_ms": 4000,
            "seconds": 8,
            "patience": 120,
        },
        1,
        "memory",
        "bytes",
        who="ours",
        fresh=True,
    ),
    Scenario(
        "big",
        "Growth of the process while it reads 100 MB",
        {"do": "big", "events": 370_000},
        3,
        "growth",
        "bytes",
        who="ours",
        fresh=True,
    ),
)
