"""
How a fleet scales: answers per second against workers, quota and Redis, from 1 to 1,000 workers.

A discrete-event simulation, beside the limits that can be had on paper; no machine has to be
there for it. A worker has so many places. A call takes a place, asks Redis for its turn, waits
for it, is answered, costs its worker some CPU, and frees the place for the next call. What a
worker's calls ask for while it waits for Redis goes into the next round trip together, as
`aichat.redis` does it, and what became of them is told on the same occasion. Redis is one core,
first come, first served. Who has to wait is told until when, and its worker asks no more until
then. Answers take lognormal times. The same seed gives the same figures.

::

    python -m benchmarks.scaling            # the tables of SCALING.md, a minute or two
    python -m benchmarks.scaling --write    # and results/scaling.json and .svg
    python -m benchmarks.scaling --measure  # what a script costs a real Redis, here
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf, log, log10
from pathlib import Path
from typing import Any, Final

from attrs import asdict, evolve, frozen

_RESULTS: Final = Path(__file__).with_name("results")
_WORKERS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@frozen(kw_only=True)
class Fleet:
    """What there is. Times are seconds."""

    workers: int = 1
    #: Calls at a time in each worker.
    concurrency: int = 64
    #: The mean time of an answer, and how much answers differ: the sigma of a lognormal.
    answer: float = 6.0
    spread: float = 0.5
    #: What an answer costs its worker: for each chunk (results/peers.json), and for all the
    #: rest (`benchmarks.ray_bulk`).
    chunks: int = 300
    chunk_cpu: float = 5e-6
    call_cpu: float = 1e-3
    #: The quota: requests and tokens per minute, and the tokens of one call.
    requests: float = inf
    tokens: float = inf
    call_tokens: int = 1000
    #: To Redis and back.
    rtt: float = 0.5e-3
    #: What Redis takes for a script, and for each further wish or letter in it: --measure.
    script: float = 100e-6
    item: float = 2.2e-6
    #: Wishes that go together, at most.
    most: int = 100
    #: Whether the calls of a worker go to Redis together, or each in a script of its own.
    together: bool = True

    @property
    def work(self) -> float:
        """The CPU that a call takes."""
        return self.call_cpu + self.chunks * self.chunk_cpu

    @property
    def interval(self) -> float:
        """Seconds between two calls that the quota lets through."""
        return max(60 / self.requests, 60 * self.call_tokens / self.tokens)


@frozen(kw_only=True)
class Measured:
    """What came of it."""

    #: Calls per second that are let through: answers per second, as nothing piles up.
    rate: float
    #: Of the time: Redis at work, and the CPUs of the workers.
    redis: float
    cpu: float
    #: Seconds, in the mean: in the queue before Redis, and from asking to one's turn.
    queue: float
    turn: float
    #: Wishes in a script.
    wishes: float


def limits(fleet: Fleet) -> dict[str, float]:
    """Answers per second that each thing alone would allow, on paper."""
    work, trip = fleet.work, fleet.rtt + fleet.script
    if fleet.together:
        # Each answer is a wish, and a letter about it; scripts grow as they have to.
        fullest = fleet.script + (2 * fleet.most - 1) * fleet.item
        redis = fleet.most / fullest
    else:
        redis = 1 / (2 * fleet.script)
    return {
        "places": fleet.workers * fleet.concurrency / (trip + fleet.answer + work),
        "cpu": fleet.workers / work if work else inf,
        "quota": 1 / fleet.interval if fleet.interval else inf,
        "redis": redis,
    }


# -- the simulation --------------------------------------------------------------------


def simulate(
    fleet: Fleet, *, seed: int = 1, rounds: float = 3.0, before: float = 2.0
) -> Measured:
    """Let it run for the time of so many answers, and of some *before* that to settle."""
    begin = before * fleet.answer
    return _Run(fleet, seed).until(begin, begin + rounds * fleet.answer)


class _Run:
    """One simulation. Events are (time, number, what, worker, with)."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.random = random.Random(seed)
        self.mu = log(fleet.answer) - fleet.spread**2 / 2
        self.number = count()
        everybody = range(fleet.workers)
        self.queue = [deque[float]() for _ in everybody]
        self.busy = [False] * fleet.workers
        self.letters = [0] * fleet.workers
        self.cpu_free = [0.0] * fleet.workers
        self.redis_free = self.next_turn = 0.0
        self.window = (0.0, inf)
        self.scripts = self.wishes = self.turns = 0
        self.redis_work = self.cpu_work = self.queued = self.waited = 0.0
        # Nobody begins at the same moment.
        self.events: list[tuple[float, int, str, int, Any]] = [
            (self.random.random() * fleet.answer, next(self.number), "ask", w, None)
            for w in everybody
            for _ in range(fleet.concurrency)
        ]
        heapify(self.events)

    def until(self, begin: float, end: float) -> Measured:
        """Count what happens between these times."""
        self.window = (begin, end)
        handlers: dict[str, Callable[[float, int, Any], None]] = {
            "ask": self.ask,
            "redis": self.at_redis,
            "told": self.told,
            "turn": self.its_turn,
            "end": self.ended,
        }
        while self.events:
            now, _, what, worker, carried = heappop(self.events)
            if now >= end:
                break
            handlers[what](now, worker, carried)
        span = end - begin
        return Measured(
            rate=self.turns / span,
            redis=self.redis_work / span,
            cpu=self.cpu_work / span / self.fleet.workers,
            queue=self.queued / max(1, self.scripts),
            turn=self.waited / max(1, self.turns),
            wishes=self.wishes / max(1, self.scripts),
        )

    def counts(self, time: float) -> bool:
        return self.window[0] <= time < self.window[1]

    def at(self, time: float, what: str, worker: int, carried: Any = None) -> None:
        heappush(self.events, (time, next(self.number), what, worker, carried))

    # -- what happens ------------------------------------------------------------------

    def ask(self, now: float, worker: int, _: Any) -> None:
        self.queue[worker].append(now)
        if not self.busy[worker] or not self.fleet.together:
            self.go(now, worker)

    def go(self, now: float, worker: int) -> None:
        queue = self.queue[worker]
        wishes = [queue.popleft() for _ in range(min(len(queue), self.fleet.most))]
        letters, self.letters[worker] = self.letters[worker], 0
        self.busy[worker] = True
        self.at(now + self.fleet.rtt / 2, "redis", worker, (wishes, letters))

    def at_redis(
        self, now: float, worker: int, carried: tuple[list[float], int]
    ) -> None:
        fleet, (wishes, letters) = self.fleet, carried
        items = len(wishes) + letters
        takes = fleet.script + fleet.item * (items - 1)
        begin = max(now, self.redis_free)
        self.redis_free = end = begin + takes
        if self.counts(begin):
            self.scripts += 1
            self.wishes += len(wishes)
            self.redis_work += takes
            self.queued += begin - now
        if not wishes:
            return
        granted = 0
        while granted < len(wishes) and self.next_turn <= end:
            self.next_turn = max(self.next_turn, end - fleet.interval) + fleet.interval
            granted += 1
        booked = None
        if granted < len(wishes):
            booked = self.next_turn
            self.next_turn += fleet.interval
        self.at(end + fleet.rtt / 2, "told", worker, (wishes, granted, booked))

    def told(
        self, now: float, worker: int, carried: tuple[list[float], int, float | None]
    ) -> None:
        wishes, granted, booked = carried
        for asked in wishes[:granted]:
            self.begin(now, worker, asked)
        if booked is None:
            self.on(now, worker)
            return
        # The others stay here, and nobody asks for them until it is this one's turn.
        self.queue[worker].extendleft(reversed(wishes[granted + 1 :]))
        self.at(max(now, booked), "turn", worker, wishes[granted])

    def its_turn(self, now: float, worker: int, asked: float) -> None:
        self.begin(now, worker, asked)
        self.on(now, worker)

    def on(self, now: float, worker: int) -> None:
        self.busy[worker] = False
        if self.queue[worker]:
            self.go(now, worker)

    def begin(self, now: float, worker: int, asked: float) -> None:
        if self.counts(now):
            self.turns += 1
            self.waited += now - asked
        takes = self.random.lognormvariate(self.mu, self.fleet.spread)
        self.at(now + takes, "end", worker)

    def ended(self, now: float, worker: int, _: Any) -> None:
        # All the CPU of an answer at its end: hard on this one, and right for the sum.
        work = self.fleet.work
        free = max(now, self.cpu_free[worker]) + work
        self.cpu_free[worker] = free
        if self.counts(free):
            self.cpu_work += work
        if self.fleet.together:
            self.letters[worker] += 1
        else:
            self.at(free + self.fleet.rtt / 2, "redis", worker, ([], 1))
        self.at(free, "ask", worker)


# -- the tables ------------------------------------------------------------------------

_USUAL: Final = Fleet()
_QUOTA: Final = evolve(_USUAL, requests=30_000, tokens=60_000_000)
_SERIES: Final = {
    "no quota": _USUAL,
    "no quota, each call its own script": evolve(_USUAL, together=False),
    "30,000 requests, 60M tokens a minute": _QUOTA,
}


def _rows(series: dict[str, Fleet]) -> Iterator[dict[str, Any]]:
    for name, fleet in series.items():
        for workers in _WORKERS:
            each = evolve(fleet, workers=workers)
            paper = limits(each)
            least = min(paper, key=lambda key: paper[key])
            # Every place has had its turn by then. Few workers have few answers, which differ.
            turns = workers * each.concurrency / paper[least] / each.answer
            found = simulate(
                each, rounds=3 + 300 / workers, before=max(6.0, 1.5 * turns)
            )
            yield {
                "series": name,
                "workers": workers,
                "limit": least,
                "paper": paper[least],
                **asdict(found),
            }


def _print_series(rows: Sequence[dict[str, Any]]) -> None:
    for name in dict.fromkeys(row["series"] for row in rows):
        print(f"\n{name}\n")
        print("| workers | answers/s | on paper | what limits | Redis | CPU | waits |")
        print("|---:|---:|---:|---|---:|---:|---:|")
        for row in rows:
            if row["series"] == name:
                print(
                    f"| {row['workers']:,} | {row['rate']:,.1f} | {row['paper']:,.1f} | "
                    f"{row['limit']} | {row['redis']:.1%} | {row['cpu']:.1%} | "
                    f"{_short(row['turn'])} |"
                )


def _print_places() -> None:
    print("\none worker, no quota: calls at a time\n")
    print("| places | answers/s | on paper | CPU |")
    print("|---:|---:|---:|---:|")
    for places in (16, 64, 256, 1024, 4096):
        fleet = evolve(_USUAL, concurrency=places)
        found = simulate(fleet, rounds=3 + 3000 / places, before=6)
        paper = min(limits(fleet).values())
        print(f"| {places:,} | {found.rate:,.1f} | {paper:,.1f} | {found.cpu:.0%} |")


def _print_trips() -> None:
    print("\n500 workers, no quota: how far Redis is, and what a script takes\n")
    print(
        "| round trip | script | answers/s | Redis | to one's turn | wishes a script |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for rtt in (0.2e-3, 1e-3, 5e-3):
        for script in (30e-6, 100e-6, 300e-6):
            fleet = evolve(_USUAL, workers=500, rtt=rtt, script=script)
            found = simulate(fleet, before=6)
            print(
                f"| {_short(rtt)} | {_short(script)} | {found.rate:,.0f} | "
                f"{found.redis:.0%} | {_short(found.turn)} | {found.wishes:.1f} |"
            )


def _short(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e6:.0f} µs"


_WIDTH, _HEIGHT, _LEFT, _TOP = 760, 400, 70, 40
_COLOURS: Final = ("#2da44e", "#d29922", "#6e8fc9")


def svg(rows: Sequence[dict[str, Any]]) -> str:
    """Answers per second against workers, both logarithmic."""
    most = max(row["rate"] for row in rows)
    least = min(row["rate"] for row in rows)

    def x(workers: float) -> float:
        return _LEFT + log10(workers) / 3 * (_WIDTH - _LEFT - 30)

    def y(rate: float) -> float:
        part = (log10(rate) - log10(least)) / (log10(most) - log10(least))
        return _HEIGHT - 50 - part * (_HEIGHT - _TOP - 70)

    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#7d8590">'
        "<title>Answers per second against workers, simulated</title>"
    )
    title = (
        '<text x="12" y="22" font-size="15" font-weight="600">Answers per second against '
        f"workers, simulated: {_USUAL.concurrency} calls each, answers of "
        f"{_USUAL.answer:g} s</text>"
    )
    across = [
        f'<text x="{x(n):.0f}" y="{_HEIGHT - 28}" text-anchor="middle">{n:,}</text>'
        for n in (1, 10, 100, 1000)
    ]
    up = [
        f'<text x="{_LEFT - 12}" y="{y(n) + 4:.0f}" text-anchor="end">{n:,}</text>'
        f'<line x1="{_LEFT}" x2="{_WIDTH - 30}" y1="{y(n):.1f}" y2="{y(n):.1f}" '
        'stroke="#7d8590" stroke-opacity="0.25"/>'
        for n in (10, 100, 1000, 10_000)
        if least <= n <= most
    ]
    drawn: list[str] = []
    for at, name in enumerate(dict.fromkeys(row["series"] for row in rows)):
        points = " ".join(
            f"{x(row['workers']):.1f},{y(row['rate']):.1f}"
            for row in rows
            if row["series"] == name
        )
        colour, dashes = _COLOURS[at % len(_COLOURS)], "6 4" if at else "none"
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" '
            f'stroke-width="2" stroke-dasharray="{dashes}"/><text x="{_LEFT + 14}" '
            f'y="{_TOP + 18 + 18 * at}" fill="{colour}">{name}</text>'
        )
    return "\n".join([head, title, *across, *up, *drawn, "</svg>"]) + "\n"


# -- a real Redis ----------------------------------------------------------------------


async def _measure(url: str) -> None:
    """What the limiter's script costs a Redis here, by its own count."""
    import redis.asyncio

    from aichat.redis import RedisLimiter, RedisState
    from aichat.transport import RateLimit
    from aichat.transport._rates import Cost

    client = redis.asyncio.from_url(url)
    for _ in range(100):
        try:
            await client.ping()
            break
        except redis.ConnectionError:
            await asyncio.sleep(0.05)
    for at_once in (1, 8, 64):
        state = RedisState(url)
        limit = RateLimit.per_minute(60e6, tokens=60e9, burst=10_000)
        limiter = RedisLimiter(state, limit, f"measured-{at_once}")
        await client.config_resetstat()
        rounds = 4000 // at_once
        began = time.perf_counter()
        for _ in range(rounds):
            took = await asyncio.gather(
                *(limiter.reserve(Cost(requests=1)) for _ in range(at_once))
            )
            for each in took:
                each.cancel()
        spent = time.perf_counter() - began
        stats = (await client.info("commandstats"))["cmdstat_evalsha"]
        print(
            f"{at_once} at once: {stats['usec_per_call']:.0f} µs a script, "
            f"{stats['calls'] / (rounds * at_once):.2f} scripts a call, "
            f"{stats['usec'] / (rounds * at_once):.0f} µs of Redis a call, "
            f"{spent / rounds * 1e6:.0f} µs from asking to the last one's turn"
        )
        await state.aclose()
    await client.aclose()


@contextmanager
def _redis() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*("redis-server", "--port", str(port), "--bind", "127.0.0.1"),
         *("--save", "", "--appendonly", "no")],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()
        server.wait()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="results/scaling.*")
    parser.add_argument("--measure", action="store_true", help="a real Redis instead")
    asked = parser.parse_args()
    if asked.measure:
        with _redis() as url:
            asyncio.run(_measure(url))
        return
    rows = list(_rows(_SERIES))
    print(f"A fleet: {_USUAL}")
    _print_series(rows)
    _print_places()
    _print_trips()
    if asked.write:
        head = json.dumps({"fleet": asdict(_USUAL), "rows": []}, default=str)
        body = ",\n  ".join(json.dumps(row) for row in rows)
        text = head.replace('"rows": []', f'"rows": [\n  {body}\n ]')
        (_RESULTS / "scaling.json").write_text(text + "\n")
        (_RESULTS / "scaling.svg").write_text(svg(rows))


if __name__ == "__main__":
    main()
