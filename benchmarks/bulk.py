"""
100,000 lines through three kill -9s: what is lost, what is there twice, and the memory.

A server in a process of its own answers at once and counts how often each line was asked.
``aichat bulk run`` is started, killed with SIGKILL when a quarter, a half and three quarters
of the lines are answered, and started again; the last one ends by itself. Memory is the peak
of the resident set of the last process, against what it was at its first answer.

::

    python -m benchmarks.bulk                    # all of it, some minutes
    python -m benchmarks.bulk --lines 2000       # a taste of it
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from aiohttp import web

_KILLS: Final = 3
_CONCURRENCY: Final = 64
#: As long as a usual prompt with some context in it.
_PROMPT: Final = "Classify this review. " + "It was good, but not that good. " * 20
_ANSWER: Final = "Mixed: the author liked some of it, and would not buy it again. " * 4


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--serve", metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(_serve(Path(args.serve)))
        return
    with tempfile.TemporaryDirectory() as place:
        _measure(Path(place), args.lines)


def _measure(place: Path, lines: int) -> None:
    source, target, port = place / "in.jsonl", place / "out.jsonl", place / "port"
    with source.open("w") as file:
        for number in range(lines):
            file.write(
                json.dumps({"id": f"q{number}", "prompt": f"q{number} {_PROMPT}"})
            )
            file.write("\n")
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bulk", "--serve", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        _until(port.exists)
        began = time.perf_counter()
        answers = _Answers(target)
        memory: list[tuple[float, float]] = []
        for kill in range(1, _KILLS + 1):
            process = _started(source, target, port.read_text())
            memory.append(_watch(process, answers, lines * kill // (_KILLS + 1)))
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"kill {kill}: {answers.count():,} answers in the output")
        process = _started(source, target, port.read_text())
        memory.append(_watch(process, answers, lines + 1))
        took = time.perf_counter() - began
        asked = _asked(server)
    finally:
        server.kill()
        server.wait()
    found = Counter(json.loads(line)["id"] for line in target.open("rb"))
    wanted = {f"q{number}" for number in range(lines)}
    again = sum(asked.values()) - len(asked)
    print(f"exit status       {process.returncode}")
    print(f"lines             {lines:,}")
    print(f"lost              {len(wanted - found.keys()):,}")
    print(f"twice             {sum(found.values()) - len(found):,}")
    print(f"never asked       {len(wanted - asked.keys()):,}")
    print(
        f"asked again       {again:,} (at most {_KILLS * _CONCURRENCY}: under way at a kill)"
    )
    print(
        f"time              {took:.0f} s, {lines / took:.0f} lines/s with the restarts"
    )
    for number, (first, peak) in enumerate(memory, 1):
        print(
            f"memory, process {number} {first:.1f} MB at its first answer, {peak:.1f} MB at "
            f"most: {peak - first:+.1f} MB"
        )


def _started(source: Path, target: Path, port: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*(sys.executable, "-m", "aichat", "bulk", "run", str(source)),
         *("-o", str(target), f"--concurrency={_CONCURRENCY}")],
        env={
            "AI_PROVIDER": "openai-compatible",
            "AI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "AI_API_KEY": "any",
            "AI_MODEL": "any",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _watch(
    process: subprocess.Popen[bytes], answers: _Answers, enough: int
) -> tuple[float, float]:
    """Wait for so many answers, or the end; megabytes at its first answer, and at most."""
    first = peak = 0.0
    before = answers.count()
    while process.poll() is None:
        now, most = _memory(process.pid)
        peak = max(peak, most)
        count = answers.count()
        if not first and now and count > before:
            first = now
        if count >= enough:
            break
        time.sleep(0.02 if not first else 0.2)
    return first, peak


class _Answers:
    """Counts the lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = self._count = 0

    def count(self) -> int:
        """How many there are."""
        if self._path.exists():
            with self._path.open("rb") as file:
                # What a run takes away is torn, and has no end.
                self._offset = min(self._offset, self._path.stat().st_size)
                file.seek(self._offset)
                while piece := file.read(2**20):
                    self._count += piece.count(b"\n")
                    self._offset += len(piece)
        return self._count


def _memory(pid: int) -> tuple[float, float]:
    """The resident set, now and at most; Linux only."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0.0
    found = {k: int(v) / 1024 for k, v in re.findall(r"(Vm\w+):\s+(\d+) kB", status)}
    return found.get("VmRSS", 0.0), found.get("VmHWM", 0.0)


def _until(true: Any) -> None:
    while not true():
        time.sleep(0.1)


def _asked(server: subprocess.Popen[bytes]) -> Counter[str]:
    """How often each line was asked, by those who were asked."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.close()
    return Counter(json.loads(server.stdout.read()))


# -- the server ------------------------------------------------------------------------


def answer_body() -> bytes:
    """What a server says to each line, in events of Chat Completions."""
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "any"}
    delta = {"index": 0, "delta": {"content": _ANSWER}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 130, "completion_tokens": 60, "total_tokens": 190}
    events: list[Any] = [
        {**head, "choices": [delta]},
        {**head, "choices": [end]},
        {**head, "choices": [], "usage": usage},
    ]
    body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    return body + b"data: [DONE]\n\n"


async def _serve(port: Path) -> None:
    """Answer at once, until stdin ends; then print what was asked."""
    asked: Counter[str] = Counter()
    body = answer_body()

    async def answer(request: web.Request) -> web.Response:
        value = json.loads(await request.read())
        asked[value["messages"][0]["content"].partition(" ")[0]] += 1
        return web.Response(body=body, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    new = port.with_suffix(".new")
    new.write_text(str(runner.addresses[0][1]))
    new.replace(port)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    print(json.dumps(asked))


if __name__ == "__main__":
    main()
