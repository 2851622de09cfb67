"""Real processes with one quota in a real Redis (L5); at full size: ``python -m benchmarks.fleet``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from ..redis_server import flush, redis_url

__all__ = ["redis_url"]

REQUESTS, PER, TOKENS = 200, 1.0, 4500
ROOT = Path(__file__).parents[2]


@contextmanager
def fleet(url: str, size: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Workers that are gone afterwards."""
    workers: list[subprocess.Popen[str]] = []
    command = [sys.executable, "-m", "tests.redis.fleet_worker", url]
    command += [str(REQUESTS), str(PER), str(TOKENS)]
    try:
        workers += [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for _ in range(size)
        ]
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()


def until(output: IO[str] | None, time: float) -> list[tuple[float, int]]:
    """What a worker got until that time, by the server's clock."""
    assert output is not None
    got: list[tuple[float, int]] = []
    while line := output.readline():
        at, tokens = json.loads(line)
        got.append((at, tokens))
        if at >= time:
            break
    return got


def most(got: Sequence[tuple[float, int]]) -> tuple[int, int]:
    """The most requests and tokens in any window."""
    requests = tokens = 0
    for end, _ in got:
        window = [used for at, used in got if end - PER < at <= end]
        requests = max(requests, len(window))
        tokens = max(tokens, sum(window))
    return requests, tokens


@pytest.mark.parametrize("deaths", [0, 1])
def test_processes_share_a_quota_and_none_starves(redis_url: str, deaths: int) -> None:
    """
    Never more than the limit in any window, by the server's clock; and everybody gets some.

    Whoever is killed takes nothing with it for longer than a window.
    """  # L5
    flush(redis_url)
    with fleet(redis_url, 3) as workers:
        first = [until(worker.stdout, 0.0) for worker in workers]
        start = max(got[0][0] for got in first)
        early = [until(worker.stdout, start + PER) for worker in workers]
        for worker in workers[:deaths]:
            worker.kill()
        end = start + 4 * PER
        late = [until(worker.stdout, end) for worker in workers]
    got = sorted(
        (g for each in (*first, *early, *late) for g in each), key=lambda g: g[0]
    )
    requests, tokens = most(got)
    assert requests <= REQUESTS
    assert tokens <= TOKENS
    # By the queue's order; how much of it all they use is the benchmark's business.
    assert all(len(each) > 3 for each in late[deaths:])
