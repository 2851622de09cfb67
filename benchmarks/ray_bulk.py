"""
20,000 lines over two workers of Ray's, beside one process without Ray; and one worker killed.

A server in a process of its own waits some time, answers, and counts how often each line was
asked. Three runs over the same lines: `aichat.bulk.run` in this process; `ask_dataset` with
two workers; the same with one worker killed by SIGKILL after a quarter of the lines. All have
the same ceiling for each worker. ``lines/s`` is from the first request to the last;
``starting`` is what came before, which with Ray is mostly imports in new processes. A line has
some 600 characters there, and 260 back in a single event.

::

    python -m benchmarks.ray_bulk                         # some minutes
    python -m benchmarks.ray_bulk --lines 1000 --seconds 0.1
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from aiohttp import web

from aichat import Client, bulk
from aichat.bulk.ray import ask_dataset
from aichat.types import BatchRequest, ChatRequest, user

from ._machine import describe
from .bulk import answer_body

_PROMPT: Final = "Classify this review. " + "It was good, but not that good. " * 20


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=0.25, help="for an answer")
    parser.add_argument("--concurrency", type=int, default=64, help="of each worker")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(_serve(args.seconds))
        return
    with tempfile.TemporaryDirectory(prefix="ray") as place:
        _measure(Path(place), args)


def _measure(place: Path, args: argparse.Namespace) -> None:
    import ray
    import ray.data

    print(json.dumps({**describe(), "ray": ray.__version__}), flush=True)
    source = place / "in.jsonl"
    with source.open("w") as file:
        for number in range(args.lines):
            line = {"id": f"q{number}", "prompt": f"q{number} {_PROMPT}"}
            file.write(json.dumps(line) + "\n")
    os.environ |= {
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(place / "ray"),
    )
    ray.data.DataContext.get_current().enable_progress_bars = False

    def on_ray(url: str) -> list[str]:
        answers = ask_dataset(
            ray.data.read_text(str(source)),
            client=partial(_marked, url),
            workers=2,
            concurrency=args.concurrency,
        )
        rows = answers.iter_rows()
        return [row["id"] for row in rows if row["error"] is None]

    def alone(url: str) -> list[str]:
        return asyncio.run(_alone(url, args.lines, args.concurrency))

    print(
        f"{args.lines:,} lines, {args.seconds} s for an answer, at most "
        f"{args.concurrency} calls at a time for each worker"
    )
    _one("one process", alone, args)
    _handing_out()
    _one("two workers", on_ray, args)
    _one("two workers, one killed", on_ray, args, kill=args.lines // 4)
    ray.shutdown()


class _Nothing:
    """Does nothing with a batch, and says when."""

    async def __call__(self, batch: Any) -> dict[str, list[float]]:
        return {"time": [time.time()]}


def _handing_out(blocks: int = 500) -> None:
    """How many batches Ray hands out in a second, when nobody works."""
    import ray.data

    numbers = ray.data.range(blocks * 64, override_num_blocks=4)
    done = numbers.repartition(target_num_rows_per_block=64).map_batches(
        _Nothing,
        batch_format="pyarrow",
        batch_size=64,
        num_cpus=0.5,
        compute=ray.data.ActorPoolStrategy(size=2, max_concurrent_calls_per_actor=2),
    )
    times = sorted(row["time"] for row in done.iter_rows())
    rate = (len(times) - 1) / (times[-1] - times[0])
    load = os.getloadavg()[0]
    print(f"Ray hands out {rate:.0f} batches/s; load {load:.1f}", flush=True)


def _one(
    name: str,
    run: Callable[[str], list[str]],
    args: argparse.Namespace,
    *,
    kill: int | None = None,
) -> None:
    server = subprocess.Popen(
        [*(sys.executable, "-m", "benchmarks.ray_bulk", "--serve"),
         f"--seconds={args.seconds}"],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        killer = threading.Thread(target=_kill, args=(url, kill))
        began, cpu = time.time(), time.process_time()
        if kill is not None:
            killer.start()
        ids = run(url)
        took, cpu = time.time() - began, time.process_time() - cpu
        if kill is not None:
            killer.join()
        seen = _seen(url)
    finally:
        server.kill()
        server.wait()
    wanted = {f"q{number}" for number in range(args.lines)}
    asked = Counter(seen["asked"])
    spent = seen["last"] - seen["first"]
    print(
        f"{name}: {args.lines / spent:.0f} lines/s; starting {seen['first'] - began:.1f} s, "
        f"all of it {took:.1f} s; lost {len(wanted - set(ids))}, twice "
        f"{len(ids) - len(set(ids))}, asked again {sum(asked.values()) - len(asked)}; "
        f"requests of each worker {sorted(seen['workers'].values())}; CPU of this process "
        f"{cpu / args.lines * 1e3:.2f} ms a line; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def _seen(url: str) -> dict[str, Any]:
    with urlopen(f"{url}/seen") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def _kill(url: str, after: int) -> None:
    while (seen := _seen(url))["count"] < after:
        time.sleep(0.2)
    pid = int(next(iter(seen["workers"])))
    # What Ray calls its workers.
    assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    os.kill(pid, signal.SIGKILL)


def _marked(url: str) -> Client:
    return Client.from_env(
        {},
        provider="openai-compatible",
        base_url=f"{url}/v1",
        api_key="any",
        model="any",
        headers={"x-worker": str(os.getpid())},
    )


async def _alone(url: str, lines: int, concurrency: int) -> list[str]:
    requests = (
        BatchRequest(
            f"q{number}",
            ChatRequest(
                model="openai-compatible:any", messages=[user(f"q{number} {_PROMPT}")]
            ),
        )
        for number in range(lines)
    )
    async with (
        _marked(url) as client,
        bulk.run(client, requests, concurrency=concurrency) as results,
    ):
        return [each.id async for each in results if each.response is not None]


# -- the server ------------------------------------------------------------------------


async def _serve(seconds: float) -> None:
    """Answer after some time, and tell who has asked what."""
    asked: Counter[str] = Counter()
    workers: Counter[str] = Counter()
    times: list[float] = []
    body = answer_body()

    async def answer(request: web.Request) -> web.Response:
        value = json.loads(await request.read())
        times[1:] = [time.time()]  # the first one stays
        asked[value["messages"][0]["content"].partition(" ")[0]] += 1
        workers[request.headers["x-worker"]] += 1
        await asyncio.sleep(seconds)
        return web.Response(body=body, content_type="text/event-stream")

    async def seen(_: web.Request) -> web.Response:
        first, last = (times[0], times[-1]) if times else (0.0, 0.0)
        facts = {"first": first, "last": last, "workers": workers, "asked": asked}
        return web.json_response({**facts, "count": sum(asked.values())})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/seen", seen)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
