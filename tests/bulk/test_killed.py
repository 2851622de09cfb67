"""Processes that are killed, interrupted and started again, before a server that counts."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aichat.testing import Simulator
from tests.cli.conftest import Serve, serve as serve

from .makers import ids, prompts

_CONCURRENCY = 8
_RUN = [sys.executable, "-m", "aichat", "bulk", "run", f"--concurrency={_CONCURRENCY}"]


@contextmanager
def _started(
    source: Path, target: Path, environ: Mapping[str, str], *more: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*_RUN, str(source), "-o", str(target), *more],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A group of its own, as a shell gives it.
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for_lines(target: Path, count: int) -> None:
    """Until the output has so many."""
    for _ in range(3000):
        if target.exists() and target.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("It does not get on.")


def _asked(simulator: Simulator) -> Counter[str]:
    return Counter(
        found[0]
        for request in simulator.requests
        if (found := re.findall(r"\bq\d+\b", str(request.body)))
    )


def test_three_kills(serve: Serve, tmp_path: Path) -> None:
    """
    Nothing is lost, nothing is there twice, and nothing that was written is asked again.

    What was under way at a kill is asked once more: nobody knows what came of it.
    """
    served = serve(Simulator(pace=0.001))
    source, target = prompts(tmp_path / "in", 300), tmp_path / "out"
    done: list[set[str]] = []
    asked: list[Counter[str]] = []
    for count in (40, 120, 220):
        with _started(source, target, served.environ) as process:
            _wait_for_lines(target, count)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        whole = target.read_bytes().rpartition(b"\n")[0].splitlines()
        done.append({line.split(b'"')[3].decode() for line in whole})
        asked.append(_asked(served.simulator))
    with _started(source, target, served.environ) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"300 of 300 answered" in out
    assert Counter(ids(target)) == {f"q{i}": 1 for i in range(300)}
    total = _asked(served.simulator)
    assert set(total) == set(ids(target))
    assert sum(total.values()) <= 300 + 3 * _CONCURRENCY
    for known, before in zip(done, asked, strict=True):
        assert known
        assert all(total[each] == before[each] for each in known)


def test_ctrl_c_once_and_twice(serve: Serve, tmp_path: Path) -> None:
    """The first finishes what is under way, the second drops it; both leave it resumable."""
    served = serve(Simulator(pace=0.005))
    source, target = prompts(tmp_path / "in", 120), tmp_path / "out"
    with _started(source, target, served.environ) as process:
        _wait_for_lines(target, 20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Finishing what is under way" in err
    assert b"it was interrupted" in out
    assert b"Traceback" not in err
    assert set(_asked(served.simulator).values()) == {1}
    assert sorted(_asked(served.simulator)) == sorted(ids(target))
    with _started(source, target, served.environ) as process:
        _wait_for_lines(target, 60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in err
    with _started(source, target, served.environ) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert Counter(ids(target)) == {f"q{i}": 1 for i in range(120)}


def test_a_kill_while_a_batch_waits(serve: Serve, tmp_path: Path) -> None:
    """The job file knows the batch: it is collected, and not handed in again."""
    served = serve(Simulator())
    source, target = prompts(tmp_path / "in", 20), tmp_path / "out"
    job = tmp_path / "out.job.json"
    with _started(source, target, served.environ, "--provider-batch") as process:
        for _ in range(1000):
            if job.exists() and b'"complete":true' in job.read_bytes():
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    for _ in range(5):  # each look of ours is a step of the simulator's
        with _started(
            source, target, served.environ, "--provider-batch", "--no-wait"
        ) as process:
            out, _ = process.communicate(timeout=20)
        if process.returncode != 3:
            break
        assert b"the batch is not done" in out
    assert process.returncode == 0
    assert Counter(ids(target)) == {f"q{i}": 1 for i in range(20)}
    assert not job.exists()
    paths = [(r.method, r.path) for r in served.simulator.requests]
    assert sum(m == "POST" and p.endswith("/batches") for m, p in paths) == 1
