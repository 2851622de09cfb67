"""How far a bulk run is: a bar with rich, a line that changes, or lines now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ._console import Console

if TYPE_CHECKING:
    from ..bulk import Progress

__all__ = ["Display", "amount", "lasting", "words"]

#: Seconds between two looks, on a terminal and in a log.
_OFTEN: Final = 0.2
_RARELY: Final = 10.0


class Display:
    """Shows the latest `Progress` until it is closed."""

    def __init__(
        self,
        console: Console,
        *,
        bar: bool = True,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Without *bar* it is a line of words on a terminal as well."""
        self._console = console
        self._sleep = sleep
        self._changes = console.stderr.isatty()
        self._bar = _bar(console) if self._changes and bar else None
        self._latest: Progress | None = None
        self._shown: Progress | None = None

    def see(self, progress: Progress) -> None:
        """Take note."""
        self._latest = progress

    async def run(self) -> None:
        """Show it until cancelled."""
        while True:
            await self._sleep(_OFTEN if self._changes else _RARELY)
            if self._latest is not self._shown and self._latest is not None:
                self._shown = self._latest
                self._show(self._latest)

    def close(self) -> None:
        """Leave nothing that changes on the terminal."""
        if self._bar is not None:
            self._bar.close()
        elif self._changes and self._shown is not None:
            self._write("\r\x1b[K")

    def _show(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.show(progress)
        elif self._changes:
            # \x1b[K clears what an earlier, longer line has left.
            self._write(f"\r{words(progress)}\x1b[K")
        else:
            self._write(f"{words(progress)}\n")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # That nobody watches is no reason to stop.
            self._console.stderr.write(text)
            self._console.stderr.flush()


class _Bar:
    """A bar of rich's."""

    def __init__(self, rich: Any, console: Any) -> None:
        self._bar = rich.Progress(
            rich.BarColumn(),
            rich.TaskProgressColumn(),
            rich.TextColumn("{task.description}"),
            console=console,
            transient=True,
            auto_refresh=False,
        )
        self._task: Any = None

    def show(self, progress: Progress) -> None:
        """Draw it."""
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", total=progress.total)
        self._bar.update(
            self._task, completed=progress.done, description=words(progress)
        )
        self._bar.refresh()

    def close(self) -> None:
        """Take it away."""
        if self._task is not None:
            self._bar.stop()


def _bar(console: Console) -> _Bar | None:
    """A bar where rich is installed."""
    try:
        import rich.console
        import rich.progress
    except ImportError:
        return None
    terminal = rich.console.Console(file=console.stderr, markup=False, highlight=False)
    return _Bar(rich.progress, terminal)


def words(progress: Progress) -> str:
    """Say how far it is."""
    parts = [f"{progress.done:,} of {progress.total:,}"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.limit:
        parts.append(f"{progress.running} of {progress.limit} at once")
    parts.append(f"{progress.rate:.1f}/s")
    if progress.eta is not None:
        parts.append(f"{lasting(progress.eta)} left")
    parts.append(f"{progress.input_tokens + progress.output_tokens:,} tokens")
    if progress.cost:
        parts.append(f"${amount(progress.cost)}")
    return ", ".join(parts)


def amount(money: Decimal) -> str:
    """US dollars: cents, or what matters of less."""
    return f"{money:,.2f}" if money >= 1 or not money else f"{money:.2g}"


def lasting(seconds: float) -> str:
    """A time as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
