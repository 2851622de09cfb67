"""The program as it is run: signals, a terminal, a server."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from aichat.testing import Simulator

from .conftest import Serve, press_ctrl_c, run
from .screen import shown

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


def _press_until(key: bytes, screen: IO[bytes], text: bytes) -> bytes:
    """Press *key*, again and again if it seems to have been overheard, until *text* shows."""
    got = b""
    # As below.
    for _ in range(10):
        screen.write(key)
        while select.select([screen], [], [], 1.0)[0]:
            got += os.read(screen.fileno(), 4096)
            if text in got:
                return got
    raise AssertionError(f"It does not show: {got!r}")


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


@contextmanager
def at_a_terminal(
    *argv: str, environ: Mapping[str, str], columns: int = 80
) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """Run the program in a terminal: its screen, and what waits for its end."""
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover -- another process
        size = {"COLUMNS": str(columns), "LINES": "24"}
        os.execve(sys.executable, [*_AICHAT, *argv], {**size, **environ})
    ended: list[int] = []

    def status() -> int:
        if not ended:
            ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return ended[0]

    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        try:
            yield screen, status
        finally:
            if not ended:
                os.kill(child, signal.SIGKILL)
                status()


def test_a_conversation_at_a_real_terminal() -> None:
    """Ctrl-C stops an answer, then at the prompt the conversation, at the second time."""
    with at_a_terminal("chat", environ={"TERM": "dumb"}) as (screen, status):
        shown = _read_until(screen, b"\n> ")
        assert b"No provider is configured" in shown
        screen.write(b"Count to 100000\n")
        _read_until(screen, b" 3,")
        screen.write(b"\x03")
        _read_until(screen, b"(stopped)\r\n\r\n> ")
        screen.write(b"Still there?\n")
        _read_until(screen, "said: “Still there?”".encode())
        _read_until(screen, b"\r\n> ")
        rest = _press_until_it_ends(b"\x03", screen)
        assert status() == 130
    assert b"so does Ctrl-C again" in rest
    assert b"Traceback" not in rest


def test_markdown_at_a_real_terminal() -> None:
    """It is drawn while it comes, and nothing of the drawing stays."""
    pytest.importorskip("rich")
    question = b"Write a python function\n"
    environ = {"TERM": "xterm-256color"}
    with at_a_terminal("chat", environ=environ, columns=60) as (screen, status):
        written = _read_until(screen, b"> ")
        screen.write(question)
        written += _read_until(screen, b"\r\n\r\n> ")
        screen.write(b"\x04")
        written += _press_until_it_ends(b"\x04", screen)
        assert status() == 0
    # Half of it had been there before.
    assert written.count(b"This is") > 1
    lines = shown(_drawn(written), columns=60, lines=24)
    at = lines.index("> Write a python function")
    assert lines[at + 1 : at + 14] == [
        "",
        "This is aichat's built-in simulator: no model was asked.",
        "",
        "You said: “Write a python function”",
        "",
        "What I can say about it:",
        "",
        " • It has 4 words and 23 characters.",
        " • Its longest word is function.",
        " • Read backwards it begins with “function python a”.",
        "",
        "  def answer() -> str:",
        '      return "function"',
    ]


def _drawn(written: bytes) -> str:
    """What aichat wrote, without what readline and the terminal add to it."""
    text = written.decode().replace("\r\n", "\n")
    return re.sub(r"\x1b\[\?2004[hl]|\x1b\[K|\x07", "", text)


def test_what_was_typed_comes_back(serve: Serve, tmp_path: Path) -> None:
    """With the arrow keys, in the next conversation too; unless one does not want that."""
    environ = {
        **serve().environ, "TERM": "xterm", "XDG_STATE_HOME": str(tmp_path)
    }  # fmt: skip
    with at_a_terminal("chat", "--plain", environ=environ) as (screen, status):
        _read_until(screen, b"> ")
        screen.write(b"First!\n")
        _read_until(screen, b"\r\n\r\n> ")
        screen.write(b"/exit\n")
        assert status() == 0
    assert (tmp_path / "aichat" / "history").read_text() == "First!\n/exit\n"
    up = b"\x1b[A"
    with at_a_terminal("chat", "--plain", environ=environ) as (screen, status):
        _read_until(screen, b"> ")
        screen.write(up + up + b"\x7f again\n")
        answer = _read_until(screen, b"\r\n\r\n> ")
        assert "“First again”".encode() in answer
        screen.write(b"/ex\t\n")
        assert status() == 0
    with at_a_terminal("chat", "--plain", "--no-history", environ=environ) as (
        screen,
        status,
    ):
        _read_until(screen, b"> ")
        screen.write(b"Private.\n")
        _read_until(screen, b"\r\n\r\n> ")
        screen.write(b"\x04")
        assert status() == 0
    kept = (tmp_path / "aichat" / "history").read_text()
    assert kept == "First!\n/exit\nFirst again\n/exit\n"


def test_being_asked_before_a_tool_is_called(serve: Serve, tmp_path: Path) -> None:
    """Yes makes the call, no tells the model, and Ctrl-C stops the answer."""
    (tmp_path / "tools_of_mine.py").write_text(
        "def get_weather(city: str) -> str:\n"
        "    'Tell the weather.'\n"
        "    return f'It is warm in {city}.'\n"
    )
    environ = {**serve().environ, "TERM": "dumb", "PYTHONPATH": str(tmp_path)}
    tools = ("--tools", "tools_of_mine:get_weather")
    question = b"[a]lways this one: "
    with at_a_terminal("chat", *tools, environ=environ) as (screen, status):
        _read_until(screen, b"> ")
        screen.write(b"The weather in Rome?\n")
        asked = _read_until(screen, question)
        assert '→ get_weather({"city":'.encode() in asked
        screen.write(b"perhaps\n")
        _read_until(screen, question)
        screen.write(b"y\n")
        assert b"It is warm in" in _read_until(screen, b"\r\n\r\n> ")
        screen.write(b"The weather in Paris?\n")
        _read_until(screen, question)
        screen.write(b"n\n")
        refused = _read_until(screen, b"\r\n\r\n> ")
        assert "← not called: The user does not allow it.".encode() in refused
        screen.write(b"The weather in Bonn?\n")
        _read_until(screen, question)
        stopped = _press_until(b"\x03", screen, b"(stopped)\r\n\r\n> ")
        assert b"Traceback" not in stopped
        screen.write(b"The weather in Oslo?\n")
        _read_until(screen, question)
        screen.write(b"a\n")
        _read_until(screen, b"\r\n\r\n> ")
        screen.write(b"The weather in Turin?\n")
        assert question not in _read_until(screen, b"\r\n\r\n> ")
        screen.write(b"\x04")
        assert status() == 0


def test_a_pipeline(serve: Serve) -> None:
    """`cat file | aichat complete … | head -1`: no traceback, and UTF-8 in and out."""
    served = serve()
    command = f"printf 'Grüße\\n' | {' '.join(_AICHAT)} complete --stats - | head -1"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**served.environ, "LC_ALL": "C"},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.decode().startswith("This is aichat's")
    assert b"Traceback" not in done.stderr
    assert served.simulator.requests[0].body["messages"] == [
        {"role": "user", "content": "Grüße\n"}
    ]
