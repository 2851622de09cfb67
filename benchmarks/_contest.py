"""
Who is measured when: all of them in turn, round by round.

A machine that is busier now than it was a minute ago then is so for everybody, and a ratio
within one round means something even if its two numbers do not.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from . import _machine
from ._environments import python_for
from ._processes import Server, Worker
from ._scenarios import Scenario
from .contestants import FLOOR, OURS, Entry

__all__ = ["Row", "hold"]

Row = dict[str, Any]

#: Seconds that a measurement should take, and what that may be in chunks.
_SECONDS: Final = 0.3
_EVENTS: Final = (300, 20_000)
#: What is imported beside the contestants: what ours cannot do without.
_BASELINE: Final = "asyncio, attrs"


class _Field:
    """The contestants, those of them that are running."""

    def __init__(
        self, stack: ExitStack, url: str, entries: Sequence[Entry], folder: Path
    ) -> None:
        self._stack, self._url = stack, url
        self.entries = list(entries)
        self.pythons: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self._workers: dict[str, Worker] = {}
        self._speeds: dict[tuple[str, str], float] = {}
        for entry in entries:
            try:
                self.pythons[entry.name] = python_for(entry, folder)
                worker = Worker(self.pythons[entry.name], entry.module)
            except (subprocess.CalledProcessError, RuntimeError) as error:
                print(f"{entry.name} does not take part: {error}", file=sys.stderr)
                self.entries.remove(entry)
                continue
            self._workers[entry.name] = stack.enter_context(worker)
            self.versions[entry.name] = worker.versions

    def measure(self, scenario: Scenario, entry: Entry, dialect: str) -> Row:
        """One measurement; it has an ``error`` if it could not be made."""
        try:
            return self._measure(scenario, entry, dialect)
        except (RuntimeError, BrokenPipeError) as error:
            return {"error": str(error)}

    def _measure(self, scenario: Scenario, entry: Entry, dialect: str) -> Row:
        job = {**scenario.job, "url": self._url, "dialect": dialect}
        if job["do"] == "import":
            return _import(self.pythons[entry.name], entry.imports)
        if scenario.fresh:
            with Worker(self.pythons[entry.name], entry.module) as worker:
                return worker.do(job)
        if job["do"] == "stream" and "events" not in job:
            events = self._events(entry, dialect)
            # Dealt out to the streams in periods of the packed chunks.
            job["events"] = max(20, events // job.get("streams", 1) // 20 * 20)
        if job["do"] in ("complete", "first"):
            # A call is about as long as this many chunks are.
            usual = self._events(entry, dialect) // 20
            job["requests"] = max(64, usual) if job["do"] == "complete" else 100
        return self._workers[entry.name].do(job)

    def _events(self, entry: Entry, dialect: str) -> int:
        key = entry.name, dialect
        if key not in self._speeds:
            job = {"do": "stream", "url": self._url, "dialect": dialect, "events": 300}
            self._speeds[key] = self._workers[entry.name].do(job).get("cpu_us", 100.0)
        least, most = _EVENTS
        return min(most, max(least, round(_SECONDS * 1e6 / self._speeds[key])))


def hold(
    scenarios: Iterable[Scenario], peers: Sequence[Entry], folder: Path
) -> dict[str, Any]:
    """Measure everything, and return what there is to know about it."""
    began = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        field = _Field(stack, server.url, (FLOOR, OURS, *peers), folder)
        rows: list[Row] = []
        # Ctrl-C gives up what has not been measured yet, and keeps the rest.
        with suppress(KeyboardInterrupt):
            for scenario in scenarios:
                seconds = time.monotonic() - began
                print(
                    f"{seconds:4.0f} s  {scenario.title}", file=sys.stderr, flush=True
                )
                rows += _measure(scenario, field)
            rows += _layers(field)
        return {
            "date": datetime.date.today().isoformat(),
            "machine": _machine.describe(),
            "versions": field.versions,
            "drain_us": _drain(server),
            "seconds": round(time.monotonic() - began),
            "rows": rows,
        }


def _measure(scenario: Scenario, field: _Field) -> list[Row]:
    lanes = [
        (entry, dialect)
        for entry in field.entries
        if scenario.who == "all" or entry in (FLOOR, OURS)
        for dialect in entry.dialects
        if scenario.dialects == "all" or dialect in _firsts(scenario, field, entry)
    ]
    results: dict[tuple[str, str], list[Row]] = {}
    for _ in range(scenario.rounds):
        for entry, dialect in lanes:
            runs = results.setdefault((entry.name, dialect), [])
            if not (runs and "error" in runs[-1]):
                runs.append(field.measure(scenario, entry, dialect))
    if scenario.job["do"] == "import":
        runs = [_import(sys.executable, _BASELINE) for _ in range(scenario.rounds)]
        results[_BASELINE, ""] = runs
    return [
        _row(scenario.name, contestant, dialect, scenario.value, runs)
        for (contestant, dialect), runs in results.items()
    ]


def _firsts(scenario: Scenario, field: _Field, entry: Entry) -> set[str]:
    """The dialect that *entry* is best at; ours and the floor meet everybody in theirs."""
    if entry in (FLOOR, OURS) and scenario.who == "all":
        return {other.dialects[0] for other in field.entries}
    return {entry.dialects[0]}


def _row(
    scenario: str, contestant: str, dialect: str, value: str, runs: list[Row]
) -> Row:
    row: Row = {"scenario": scenario, "contestant": contestant, "dialect": dialect}
    if "error" in runs[-1]:
        return {**row, "error": runs[-1]["error"]}
    row["runs"] = [_short(run[value]) for run in runs]
    if value != "cpu_us" and "cpu_us" in runs[-1]:
        # The clock is at the mercy of whoever else is busy; this is less so.
        row["cpu"] = [_short(run["cpu_us"]) for run in runs]
    # What else was seen, the last time.
    row |= {name: _short(seen) for name, seen in runs[-1].items() if name != value}
    return row


def _short(value: float) -> float:
    """Four digits are more than any of this is worth."""
    return float(f"{value:.4g}")


def _layers(field: _Field, rounds: int = 5, layers: int = 4) -> list[Row]:
    """What a middleware that does nothing costs, per chunk and layer."""
    plain = Scenario("", "", {"do": "stream"}, rounds, "cpu_us", "µs")
    wrapped = plain._replace(job={**plain.job, "layers": layers})
    dialect = OURS.dialects[0]
    costs = []
    for _ in range(rounds):
        without = field.measure(plain, OURS, dialect)["cpu_us"]
        within = field.measure(wrapped, OURS, dialect)["cpu_us"]
        costs.append({"cpu_us": (within - without) / layers})
    return [_row("layer", OURS.name, dialect, "cpu_us", costs)]


def _import(python: str, names: str) -> Row:
    """How long *names* take, beyond what Python itself does."""
    code = (
        "import time; wall, cpu = time.perf_counter(), time.process_time()\n"
        f"import {names}\n"
        "print(time.perf_counter() - wall, time.process_time() - cpu)"
    )
    root = Path(__file__).parent.parent
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": str(root)}
    seen = subprocess.run(
        [python, "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if seen.returncode:
        return {"error": seen.stderr.strip().rpartition("\n")[2][:300]}
    wall, cpu = map(float, seen.stdout.split()[-2:])
    return {"wall_ms": wall * 1e3, "cpu_ms": cpu * 1e3}


def _drain(server: Server) -> float:
    """Microseconds per chunk for somebody who reads and forgets, the best of three."""
    job = {"do": "stream", "url": server.url, "dialect": "openai-chat"}
    with Worker(sys.executable, "drain") as worker:
        return _short(
            min(worker.do({**job, "events": 200_000})["wall_us"] for _ in range(3))
        )
