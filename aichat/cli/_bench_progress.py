"""How far a measurement is, for who waits for it."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

from ._bench_run import Clock, Load, Sleep
from ._bench_tally import Tally
from ._console import Console

__all__ = ["Progress"]

#: Seconds between two signs of life, on a terminal and in a log.
_OFTEN: Final = 0.2
_RARELY: Final = 10.0


class Progress:
    """How far it is: a line that changes on a terminal, a line now and then elsewhere."""

    def __init__(
        self,
        console: Console,
        load: Load,
        tally: Tally,
        *,
        clock: Clock = time.perf_counter,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._console, self._load, self._tally = console, load, tally
        self._clock, self._sleep = clock, sleep
        self._changes = console.stderr.isatty()

    async def run(self) -> None:
        """Show it until cancelled."""
        while True:
            await self._sleep(_OFTEN if self._changes else _RARELY)
            self._show(self.line())

    def line(self) -> str:
        """Say how far it is."""
        tally = self._tally
        took = self._clock() - tally.started
        failed = f", {tally.failed} failed" if tally.failed else ""
        count, limit = f" of {self._load.requests:,}", ""
        if self._load.duration < math.inf:
            count, limit = "", f" of {self._load.duration:.0f}"
        return (
            f"{tally.done:,}{count} done{failed}, {tally.active} under way, "
            f"{took:.0f}{limit} s"
        )

    def clear(self) -> None:
        """Leave nothing on the terminal."""
        if self._changes:
            self._show("")

    def _show(self, line: str) -> None:
        stderr = self._console.stderr
        try:
            # \x1b[K clears what an earlier, longer line has left.
            stderr.write(f"\r{line}\x1b[K" if self._changes else f"{line}\n")
            stderr.flush()
        except OSError:
            pass  # That nobody watches is no reason to stop.
