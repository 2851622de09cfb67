"""
Eight processes with one quota in Redis: is it kept, is it used, and what do deaths change?

A server in a process of its own notes when each request arrives and what it takes. Each worker
is a client as anybody has one, with ``redis_url`` and a limit of requests and tokens per minute,
and as many calls under way as it is let. After somewhat more than a window comes a calm stretch, which is
what "used" is measured over; then two workers are killed with SIGKILL, and later Redis, which
comes back after five seconds with nothing in its memory.

::

    python -m benchmarks.fleet                      # five minutes; tokens are scarce
    python -m benchmarks.fleet --scarce requests

Windows are by the server's clock at arrival, and tokens are those that were really used. A
real Redis is needed: ``redis-server`` on the path.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiohttp import web

_WORKERS: Final = 8
_WINDOW: Final = 60.0
#: Seconds until the calm: what goes at once at the beginning is missing at the window's end.
_WARM: Final = 80.0
#: Calls under way in each.
_CALLS: Final = 30
_REQUESTS: Final = 3000
_TOKENS: Final = {"tokens": 300_000, "requests": 3_000_000}
_MAX_TOKENS: Final = 100
_AWAY: Final = 5.0


class Arrival(NamedTuple):
    """One request, as the server saw it."""

    at: float
    worker: str
    tokens: int


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scarce", choices=list(_TOKENS), default="tokens")
    parser.add_argument("--calm", type=float, default=120.0, help="seconds to measure")
    parser.add_argument("--serve", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(_serve(Path(args.serve)))
    elif args.work:
        asyncio.run(_work(*args.work))
    else:
        with tempfile.TemporaryDirectory() as place:
            _measure(Path(place), args.scarce, args.calm)


def _measure(place: Path, scarce: str, calm: float) -> None:
    limits, per = (_REQUESTS, _TOKENS[scarce]), _WINDOW
    redis = _redis(place, port := _free_port())
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fleet", "--serve", str(place / "log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    workers: list[subprocess.Popen[bytes]] = []
    try:
        assert server.stdout is not None
        base_url = server.stdout.readline().strip()
        for number in range(_WORKERS):
            command = ["--work", base_url, f"redis://127.0.0.1:{port}/0", str(number)]
            command.append(json.dumps(limits))
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.fleet", *command],
                    # Each says that Redis is away, as it should.
                    stderr=subprocess.DEVNULL,
                )
            )
        time.sleep(_WARM)
        begun = time.time()
        time.sleep(calm)
        ended = time.time()
        for worker in workers[:2]:
            worker.kill()
        time.sleep(per / 2)
        redis.kill()
        redis.wait()
        gone = time.time()
        time.sleep(_AWAY)
        redis = _redis(place, port)
        back = time.time()
        time.sleep(per * 1.5)
        for worker in workers[2:]:
            worker.send_signal(signal.SIGTERM)
        over = time.time()
        trips = _trips(port)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        for process in (server, redis):
            process.kill()
            process.wait()
    lines = (place / "log").read_text().splitlines()
    arrivals = sorted(Arrival(*json.loads(line)) for line in lines)
    _report(arrivals, limits, per, (begun, ended, gone, back, over))
    print(f"Script calls since Redis is back: {trips}")


def _report(
    arrivals: Sequence[Arrival],
    limits: tuple[int, int],
    per: float,
    times: tuple[float, float, float, float, float],
) -> None:
    begun, ended, gone, back, over = times
    calm = [a for a in arrivals if begun <= a.at < ended]
    parts = (ended - begun) / per
    for name, limit, weights in (
        ("requests", limits[0], [1] * len(arrivals)),
        ("tokens", limits[1], [a.tokens for a in arrivals]),
    ):
        weighed = list(zip((a.at for a in arrivals), weights, strict=True))
        quiet = [w for w in weighed if w[0] < gone]
        used = sum(w for at, w in weighed if begun <= at < ended) / (parts * limit)
        after = sum(w for at, w in weighed if back <= at < over) / (
            (over - back) / per * limit
        )
        away = sum(w for at, w in weighed if gone <= at < back) / (
            (back - gone) / per * limit
        )
        print(
            f"{name}: limit {limit} a minute; most in any window "
            f"{_most(quiet, per) / limit:.1%} until Redis died, "
            f"{_most(weighed, per) / limit:.1%} in all; used {used:.1%} in the calm, "
            f"{away:.1%} while Redis was away, {after:.1%} afterwards"
        )
    each = Counter(a.worker for a in calm)
    print(
        f"calls of each worker in the calm: {min(each.values())} to {max(each.values())}, "
        f"{len(each)} workers"
    )
    longest = max(
        later.at - earlier.at
        for mine in ([a for a in calm if a.worker == w] for w in each)
        for earlier, later in itertools.pairwise(mine)
    )
    print(f"the longest that any of them got nothing: {longest:.2f} s")


def _most(weighed: Sequence[tuple[float, int]], per: float) -> float:
    """The most in any window of *per* seconds."""
    first = 0
    total = most = 0.0
    for at, weight in weighed:
        total += weight
        while weighed[first][0] <= at - per:
            total -= weighed[first][1]
            first += 1
        most = max(most, total)
    return most


# -- the processes ---------------------------------------------------------------------


def _redis(place: Path, port: int) -> subprocess.Popen[bytes]:
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("This needs redis-server on the path.")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(
        [program, *options, "--appendonly", "no", "--dir", str(place)],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(500):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process
        time.sleep(0.01)
    raise SystemExit("Redis does not start.")


def _trips(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), 5) as link:
        link.sendall(b"INFO commandstats\r\n")
        answer = link.recv(65536).decode()
    found = [line for line in answer.splitlines() if line.startswith("cmdstat_evalsha")]
    return found[0] if found else "none"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def _serve(log: Path) -> None:
    """Answer each request after a while, and note it."""
    with log.open("w", buffering=1) as file:

        async def answer(request: web.Request) -> web.StreamResponse:
            at = time.time()
            body = await request.json()
            text = body["messages"][0]["content"]
            # No more than was estimated: a quota cannot be kept on wrong estimates.
            read, written = len(text) // 6, random.randint(10, _MAX_TOKENS)
            worker = request.headers["x-worker"]
            file.write(json.dumps([at, worker, read + written]) + "\n")
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await asyncio.sleep(random.uniform(0.05, 0.5))
            # Whoever asked may be dead by now.
            with suppress(ConnectionError):
                for event in _events(read, written):
                    await response.write(b"data: %b\n\n" % event)
            return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port := _free_port())
        await site.start()
        print(f"http://127.0.0.1:{port}/v1", flush=True)
        await asyncio.Event().wait()


def _events(read: int, written: int) -> Sequence[bytes]:
    def chunk(**facts: Any) -> bytes:
        return json.dumps({"id": "1", "model": "m", **facts}).encode()

    return (
        chunk(choices=[{"index": 0, "delta": {"content": "Fine."}}]),
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
        chunk(
            choices=[],
            usage={
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
            },
        ),
        b"[DONE]",
    )


async def _work(base_url: str, redis: str, number: str, limits: str) -> None:
    from aichat import AIChatError, Client, ClientConfig

    requests, tokens = json.loads(limits)
    config = ClientConfig(
        provider="openai-chat",
        api_key="none",
        base_url=base_url,
        model="m",
        headers={"x-worker": number},
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        redis_url=redis,
        redis_workers=_WORKERS,
        rate_burst=max(1, int(requests / 20)),
    )
    rng = random.Random(f"{number} {os.getpid()}")
    async with Client.from_config(config) as client:

        async def call() -> None:
            while True:
                with suppress(AIChatError):
                    words = "word " * rng.randint(20, 150)
                    await client.complete(words, max_tokens=_MAX_TOKENS)

        await asyncio.gather(*(call() for _ in range(_CALLS)))


if __name__ == "__main__":
    main()
