"""The program as it is run: signals, a terminal, a server."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import pytest

from aichat.testing import Simulator

from .conftest import Serve, press_ctrl_c, run

_AICHAT = [sys.executable, "-m", "aichat"]


@contextmanager
def started(*argv: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program until the end of the test at the latest."""
    process = subprocess.Popen(
        [*_AICHAT, *argv],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # A handler of Python's is not inherited: the child has SIGINT as a program should.
    with process:
        try:
            yield process
        finally:
            # Within the `with`, whose end waits for the process.
            process.kill()


def _read_until(stream: IO[bytes], text: bytes) -> bytes:
    got = b""
    while text not in got:
        piece = os.read(stream.fileno(), 4096)
        assert piece, got
        got += piece
    return got


def _press_until_it_ends(key: bytes, screen: IO[bytes]) -> bytes:
    """Press *key*, as one does again if it seems to have been overheard, and read the rest."""
    got = b""
    # Between the prompt and readline's `select` is a moment in which Python takes note of a
    # signal but does not act before the next key.
    for _ in range(10):
        # Linux calls it an I/O error when the other side of a terminal is closed.
        with suppress(OSError):
            screen.write(key)
            while select.select([screen], [], [], 1.0)[0]:
                piece = os.read(screen.fileno(), 4096)
                if not piece:
                    return got
                got += piece
            continue
        return got
    raise AssertionError(f"It does not end: {got!r}")


@pytest.mark.parametrize("configured", [True, False])
def test_ctrl_c_in_the_middle_of_an_answer(serve: Serve, configured: bool) -> None:
    """130 at once, what was said stays, no traceback, and the server sees it. (C1)"""
    served = serve(Simulator(pace=0.02))
    environ = served.environ if configured else {}
    with started("chat", "Count to 100000", **environ) as process:
        assert process.stdout is not None
        _read_until(process.stdout, b" 3,")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=2)
    assert process.returncode == 130
    assert out.endswith(b"\n")
    assert b"Traceback" not in err
    assert err.count(b"\n") == (0 if configured else 1)
    assert not configured or served.left() == 1


def test_the_simulator_as_a_server() -> None:
    """It prints what to paste, answers who pastes it, and Ctrl-C ends it."""
    with started("serve-fake", "--port", "0", "--pace", "0") as process:
        assert process.stdout is not None
        # Once it answers, everything has been shown.
        shown = _read_until(process.stdout, b"AI_PROVIDER=anthropic ")
        while len(exports := _exports(shown)) < 2 or shown[-1:] != b"\n":
            shown += os.read(process.stdout.fileno(), 4096)
        for provider in ("openai-chat", "anthropic"):
            outcome = run("complete", "Hello, server!", environ=exports[provider])
            assert (outcome.status, outcome.err) == (0, "")
            assert "“Hello, server!”" in outcome.out
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert err == b""


def test_a_server_that_fails_on_request() -> None:
    """For those who develop against it: the same fault for each request, or for a part."""
    fault = ("--fault", "hang_up; after=3", "--fault-rate", "1")
    with started("serve-fake", "--port", "0", "--pace", "0", *fault) as process:
        assert process.stdout is not None
        shown = _read_until(process.stdout, b"AI_PROVIDER=anthropic ")
        while "anthropic" not in (exports := _exports(shown)) or shown[-1:] != b"\n":
            shown += os.read(process.stdout.fileno(), 4096)
        outcome = run("complete", "Hello, server!", environ=exports["anthropic"])
    assert outcome.status == 1
    assert "broke in the middle" in outcome.err


def _exports(shown: bytes) -> dict[str, dict[str, str]]:
    """The lines to paste, by provider."""
    lines = [li for li in shown.decode().splitlines() if li.startswith("  export ")]
    found = [dict(pair.split("=", 1) for pair in li.split()[1:]) for li in lines]
    return {one["AI_PROVIDER"]: one for one in found}


class Enough(io.StringIO):
    """Presses Ctrl-C when it has read what it wanted to know."""

    def write(self, text: str) -> int:
        if "AI_PROVIDER=anthropic" in text:
            press_ctrl_c()
        return super().write(text)


@pytest.mark.parametrize(
    "fault", [(), ("--fault", "overloaded", "--fault-rate", "0.5")]
)
def test_the_server_in_this_process(fault: tuple[str, ...]) -> None:
    """Everything is shown before it waits, and the socket is free again after it."""
    outcome = run(
        "serve-fake", "--port", "0", "--pace", "0.01", *fault, stdout=Enough()
    )
    assert outcome.status == 130
    assert outcome.err == ""
    assert outcome.out.count("http://127.0.0.1:") >= 4


def test_a_port_that_is_taken(serve: Serve) -> None:
    """One line, and status 1."""
    port = serve().simulator.url.rpartition(":")[2]
    outcome = run("serve-fake", "--port", port)
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    assert "address already in use" in outcome.err


def test_a_conversation_at_a_real_terminal() -> None:
    """Ctrl-C stops an answer, then ends the conversation at the prompt."""
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover -- another process
        os.execve(sys.executable, [*_AICHAT, "chat"], {"TERM": "dumb"})
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        shown = _read_until(screen, b"\n> ")
        assert b"No provider is configured" in shown
        screen.write(b"Count to 100000\n")
        _read_until(screen, b" 3,")
        screen.write(b"\x03")
        _read_until(screen, b"(stopped)\r\n> ")
        screen.write(b"Still there?\n")
        _read_until(screen, "said: “Still there?”".encode())
        _read_until(screen, b"\r\n> ")
        rest = _press_until_it_ends(b"\x03", screen)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert b"Traceback" not in rest
