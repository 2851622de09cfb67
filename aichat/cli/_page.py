"""Where an answer is written: as it is, or as Markdown that takes shape while it comes."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, final

from attrs import define, field, frozen

from ._console import Console, printable

if TYPE_CHECKING:
    from ._markdown import Renderer

__all__ = ["MarkdownPage", "Page", "PlainPage", "page_for"]

#: Seconds between two drawings: more often than that nobody sees.
_BLINK: Final = 0.04
#: And no more than this part of the time goes into drawing.
_SHARE: Final = 0.2
#: Fewer columns or lines than these are no place for it.
_NARROWEST, _LOWEST = 20, 4

#: Columns and lines.
Size = Callable[[], tuple[int, int]]


class Page(Protocol):
    """Takes an answer as it comes."""

    def say(self, text: str) -> None:
        """Add a piece."""
        ...

    def settle(self) -> None:
        """Finish what there is: something else will be written below it."""
        ...


def page_for(console: Console, *, plain: bool = False) -> Page:
    """Markdown on a terminal that can show it, if rich is installed, unless *plain*."""
    if not plain and console.watched and _can_redraw(console.environ):
        try:
            from ._markdown import Renderer
        except ImportError:  # pragma: no cover -- in an environment without rich
            return PlainPage(console)
        return MarkdownPage(console, Renderer(console.environ))
    return PlainPage(console)


def _can_redraw(environ: Mapping[str, str]) -> bool:
    if os.name == "nt":  # pragma: no cover -- the old console of Windows cannot
        return "WT_SESSION" in environ or "TERM" in environ
    return environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


@final
@frozen
class PlainPage:
    """Writes the text as it is."""

    _console: Console

    def say(self, text: str) -> None:
        """Write it."""
        self._console.say(text)

    def settle(self) -> None:
        """Do nothing: it is on the screen."""


def _size() -> tuple[int, int]:
    columns, lines = shutil.get_terminal_size()
    return columns, lines


@final
@define
class MarkdownPage:
    """
    Draws the last block again and again while it grows; those above it are done.

    Of a block that is higher than the screen, one sees the end until all of it is there.
    Drawing fails where writing does, with the next call if it was put off.
    """

    _console: Console
    _renderer: Renderer
    _size: Size = _size
    _clock: Callable[[], float] = time.perf_counter
    #: The text from the first block that is not done, in pieces.
    _tail: list[str] = field(factory=list, init=False)
    #: How many lines of it are on the screen.
    _drawn: int = field(default=0, init=False)
    #: Whether there is something above it.
    _above: bool = field(default=False, init=False)
    _not_before: float = field(default=0.0, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _error: OSError | None = field(default=None, init=False)

    def say(self, text: str) -> None:
        """Add a piece, and draw it soon. Needs a running loop."""
        self._check()
        self._tail.append(printable(text))
        if self._timer is None:
            # Those that came with the same read are drawn at once.
            wait = max(0.0, self._not_before - self._clock())
            self._timer = asyncio.get_running_loop().call_later(wait, self._draw_later)

    def settle(self) -> None:
        """Draw all that there is, for good."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._check()
        columns, _ = self._room()
        self._draw("".join(self._tail), "", columns, 0)
        self._tail.clear()
        self._above = False

    def _draw_later(self) -> None:
        self._timer = None
        began = self._clock()
        try:
            self._draw_what_there_is()
        except OSError as error:
            self._error = error  # Nobody would hear of it here.
        ended = self._clock()
        self._not_before = ended + max(_BLINK, (ended - began) / _SHARE)

    def _draw_what_there_is(self) -> None:
        from ._markdown import settled

        text = "".join(self._tail)
        columns, lines = self._room()
        done = settled(text)
        self._tail[:] = [text[done:]]
        self._draw(text[:done], text[done:], columns, lines - 1)

    def _draw(self, done: str, growing: str, columns: int, most: int) -> None:
        lines = self._lines(done, columns)
        self._above = self._above or bool(lines)
        tail = self._lines(growing, columns)[-most:] if growing else []
        # One write for all: what is halfway is not seen.
        frame = f"\x1b[{self._drawn}A\r\x1b[J" if self._drawn else ""
        frame += "".join(f"{line}\n" for line in (*lines, *tail))
        self._drawn = len(tail)
        self._console.draw(frame)

    def _lines(self, text: str, columns: int) -> list[str]:
        lines = self._renderer.lines(text, width=columns)
        return ["", *lines] if lines and self._above else lines

    def _room(self) -> tuple[int, int]:
        columns, lines = self._size()
        # In the last column some terminals begin a new line, and some do not yet.
        return max(columns - 1, _NARROWEST), max(lines, _LOWEST)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
