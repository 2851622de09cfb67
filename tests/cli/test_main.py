"""`main`: help, usage, and everything that can go wrong around a command."""

from __future__ import annotations

import errno
import io
import subprocess
import sys

import pytest

from aichat import __version__
from aichat.cli import main

from .conftest import Terminal, run


def test_version() -> None:
    """It says who it is."""
    outcome = run("--version")
    assert (outcome.status, outcome.out) == (0, f"aichat {__version__}\n")


@pytest.mark.parametrize(
    "command",
    ["chat", "complete", "bulk", "providers", "health", "bench", "serve-fake"],
)
def test_every_command_explains_itself(command: str) -> None:
    """`--help` lists it, and it has a help of its own."""
    assert command in run("--help").out
    outcome = run(command, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith(f"usage: aichat {command}")


def test_help_does_not_wait_for_aiohttp() -> None:
    """Whoever asks for help is not made to wait for a server to be imported."""
    code = (
        "import sys; from aichat.cli import main; main(['--help']);"
        "sys.exit('aiohttp' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        ([], "aichat --help"),
        (["chta"], "did you mean 'chat'?"),
        (["zzz"], "there are: chat, complete, "),
        (["chat", "--temprature", "1", "Hi"], "Try: aichat chat --help"),
        (["chat", "Hi", "--temprature=1"], "did you mean --temperature? Try"),
        (["chat", "--temperature", "warm", "Hi"], "'warm' is no number, 0 to 2. Try"),
        (["chat", "--zzz"], "aichat chat: there is no option --zzz. Try"),
        (
            ["--stats", "chat", "Hi"],
            "--stats comes behind the command: aichat chat --st",
        ),
        (["--temperature", "1", "complete", "Hi"], "command: aichat complete --temp"),
        (["--plot", "a.svg"], "--plot comes behind the command: aichat bench --plot"),
        (
            ["--config", "x", "--stats", "chat"],
            "behind the command: aichat chat --stats",
        ),
        (["--zzz", "chat", "Hi"], "there is no option --zzz."),
        (
            ["bulk", "run", "a", "b", "-o", "c"],
            "bulk run: there is no place for 'b'. Try",
        ),
        (["bulk", "run", "a", "-o", "c", "--concurency=3"], "mean --concurrency? Try"),
        (["chat", "--effort", "hihg", "Hi"], "did you mean 'high'?"),
        (["chat", "--max", "9", "Hi"], "no option --max; did you mean --max-tokens?"),
        (["serve-fake", "--port", "80000"], "'80000' is no port"),
        (["serve-fake", "--pace", "-1"], "no number of seconds"),
        (["serve-fake", "--pace", "slow"], "no number of seconds"),
        (["serve-fake", "--fault", "hangup"], "no fault 'hangup'. There are: status"),
        (["serve-fake", "--fault-rate", "2"], "'2' is no rate"),
        (["serve-fake", "--fault-rate", "often"], "'often' is no rate"),
    ],
)
def test_wrong_usage_is_one_line(argv: list[str], hint: str) -> None:
    """Exit status 2, and one line that says what to do instead."""
    outcome = run(*argv)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert hint in outcome.err
    assert not {"?.", ".."} & {outcome.err[i : i + 2] for i in range(len(outcome.err))}


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_nobody_reads_any_more() -> None:
    """`aichat chat … | head` ends as any program does there: without a word."""
    outcome = run("chat", "Hi", stdout=Gone())
    assert outcome.status == 141
    assert "Error" not in outcome.err


def test_nobody_reads_any_more_for_real() -> None:
    """Not even the interpreter complains at its exit."""
    command = f"{sys.executable} -m aichat chat 'Count to 20000' | head -c 30"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.stdout == b"This is aichat's built-in simu"
    assert done.returncode == 141
    assert b"No provider is configured" in done.stderr
    assert done.stderr.count(b"\n") == 1


class Full(io.StringIO):
    """A disk without space."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_the_disk_is_full() -> None:
    """It says so, without a traceback."""
    outcome = run("providers", stdout=Full())
    assert outcome.status == 1
    assert outcome.err == "Error: No space left on device\n"


class Interrupted(io.StringIO):
    """Somebody presses Ctrl-C instead of typing."""

    def read(self, size: int | None = -1, /) -> str:
        raise KeyboardInterrupt


def test_ctrl_c_while_reading_stdin() -> None:
    """Nothing has begun, and nothing is said."""
    outcome = run("chat", "Hi", stdin=Interrupted())
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "")


def test_a_process_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons are started so; the exit status is still right."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["providers"], environ={}) == 0
    assert main(["chat"], environ={}) == 2


def test_a_letter_that_the_terminal_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question mark, and no traceback."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    assert main(["complete", "--simulator", "naïve"], environ={}, stdin=Terminal()) == 0
    assert b"You said: ?na?ve?" in raw.getvalue()


def test_a_config_file_that_is_missing() -> None:
    """`--config` is understood before the command and behind it."""
    for argv in (
        ["--config", "missing.toml", "complete", "Hi"],
        ["complete", "--config", "missing.toml", "Hi"],
        ["--config", "missing.toml", "health"],
    ):
        outcome = run(*argv, stdin=Terminal())
        assert outcome.status == 2
        assert outcome.err == (
            "Error: missing.toml cannot be read: No such file or directory.\n"
        )
