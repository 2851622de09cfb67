"""What a command reads and writes: answers to stdout, everything about them to stderr."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TextIO

from attrs import field, frozen

from ..errors import ConfigError

__all__ = ["Console", "check_text", "one_line", "printable"]

#: What could move the cursor, retitle the window or worse: C0 without tab and line feed, and C1.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
#: Somebody who waits longer than this, in seconds, for a pipe wants to know what for.
_PATIENCE = 1.0
_STDIN = "Standard input"


@frozen(eq=False)
class Console:
    """
    Three streams and the environment; tests bring their own.

    Writing raises `BrokenPipeError` when nobody reads any more.
    """

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str] = field(repr=False)
    patience: float = _PATIENCE
    #: Those whose last line has been begun and not ended.
    _begun: list[TextIO] = field(factory=list, init=False, repr=False)

    @property
    def interactive(self) -> bool:
        """Whether somebody types."""
        return self.stdin.isatty()

    @property
    def watched(self) -> bool:
        """Whether somebody reads the answer as it comes."""
        return self.stdout.isatty()

    # -- reading -----------------------------------------------------------------------

    def piped(self) -> str:
        """Everything that was piped in; nothing if stdin is a terminal."""
        return "" if self.stdin.isatty() else self.everything()

    def everything(self) -> str:
        """Read stdin to its end; at a terminal somebody ends it with Ctrl-D."""
        waiting = threading.Timer(self.patience, self._explain_the_wait)
        waiting.daemon = True
        waiting.start()
        try:
            return _decoded(self.stdin.read)
        finally:
            waiting.cancel()

    def _explain_the_wait(self) -> None:
        # In a thread of its own, where nobody would catch that stderr is gone.
        with suppress(OSError):
            self.note("(Reading standard input to its end; `< /dev/null` gives none.)")

    def ask(self, prompt: str) -> str:
        """Let somebody type a line. Raises `EOFError` at the end."""
        self.fresh()
        if self.stdin is sys.stdin and self.stdout is sys.stdout and self.watched:
            line = self._type(prompt)  # pragma: no cover -- as it says
        else:
            self._write(self.stderr, prompt)
            line = _decoded(self.stdin.readline)
            if not line:
                raise EOFError
        self._begun.clear()  # by whoever pressed Enter
        return line.rstrip("\r\n")

    def _type(
        self, prompt: str
    ) -> str:  # pragma: no cover -- in a process with a terminal
        try:
            return _decoded(partial(input, prompt))
        except (EOFError, KeyboardInterrupt):
            self._begun.append(self.stdout)  # with the prompt
            raise

    # -- writing -----------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Write a piece of an answer, at once."""
        self._write(self.stdout, text)

    def draw(self, frame: str) -> None:
        """Write whole lines to stdout as they are, with escape sequences of our own."""
        if frame:
            if self._share_a_screen:
                self.fresh()
            self.stdout.write(frame)
            self.stdout.flush()

    def line(self, text: str) -> None:
        """Write a whole line to stdout, or several."""
        self.fresh()
        self._write(self.stdout, f"{text}\n")

    def remark(self, text: str) -> None:
        """Write one line that is less than a note to stderr; dim on a terminal."""
        self.fresh()
        self._write(self.stderr, one_line(text), dim=True)
        self.fresh()

    def aside(self, text: str) -> None:
        """Write a piece of something that is not the answer to stderr; dim on a terminal."""
        self._write(self.stderr, text, dim=True)

    def note(self, text: str) -> None:
        """Write one line about the answer to stderr, whatever *text* holds."""
        self.fresh()
        self._write(self.stderr, f"{one_line(text)}\n")

    def fresh(self) -> None:
        """End whatever line has been begun."""
        for stream in self._begun:
            stream.write("\n")
            stream.flush()
        self._begun.clear()

    def gap(self) -> None:
        """Leave a line blank, where somebody reads."""
        self.fresh()
        if self._share_a_screen:
            self.stderr.write("\n")
            self.stderr.flush()

    def _write(self, stream: TextIO, text: str, *, dim: bool = False) -> None:
        if not text:
            return
        if self._share_a_screen and stream not in self._begun:
            self.fresh()
        elif stream in self._begun:
            self._begun.remove(stream)
        if not text.endswith("\n"):
            self._begun.append(stream)
        if stream.isatty():
            # Nothing that a model or a server says may steer the terminal.
            text = printable(text)
            if dim and "NO_COLOR" not in self.environ:
                text = f"{_DIM}{text}{_PLAIN}"
        stream.write(text)
        stream.flush()

    @property
    def _share_a_screen(self) -> bool:
        return self.stdout.isatty() and self.stderr.isatty()


def printable(text: str) -> str:
    """*text* without what could steer a terminal."""
    return _CONTROL.sub("", text)


def one_line(text: str) -> str:
    """Make one line of *text* that shows no control characters."""
    return printable(" ".join(text.split()))


def check_text(text: str, what: str) -> str:
    """Return *text*, or raise `ConfigError` if it was made of bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # They have become lone surrogates, for which JSON has no form.
        raise _not_text(what) from None
    return text


def _decoded(read: Callable[[], str]) -> str:
    try:
        return check_text(read(), _STDIN)
    except UnicodeDecodeError:
        raise _not_text(_STDIN) from None


def _not_text(what: str) -> ConfigError:
    return ConfigError(f"{what} is not UTF-8 text: convert it first.")
