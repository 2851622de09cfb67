"""A bucket that also takes back what was too much."""

from __future__ import annotations

from bisect import bisect_right
from typing import final

from aiolimiter import AsyncLimiter

__all__ = ["Bucket"]


@final
class Bucket(AsyncLimiter):
    """
    aiolimiter's leaky bucket, with its level to be read and corrected.

    aiolimiter cannot tell its level, nor take anything back, nor owe; so this is the one
    class that touches its private ``_leak`` and ``_level``. Waiting is the `Limiter`'s: here
    everything happens at once.

    What has leaked out cannot be given back: a call that reserved 1,000 and needed 100 has
    given others nothing if the bucket was empty meanwhile, since they had all of the room
    there was. So for each thing taken that may still be given back, the bucket knows the
    lowest level that it has had since: no more than that is left of it. With this the level
    is always what it would be if everybody had taken the right amount from the start.

    *_lows* rise, since a later moment has seen less; equal ones are one. Their number is
    that of the open tickets at most.
    """

    __slots__ = ("_lows", "_open", "_since", "_tickets", "rate")

    def __init__(self, burst: float, rate: float) -> None:
        super().__init__(burst, burst / rate)
        #: What leaks out per second.
        self.rate = rate
        self._tickets = 0
        #: First ticket, lowest level since, and number of open tickets.
        self._since: list[int] = []
        self._lows: list[float] = []
        self._open: list[int] = []

    @property
    def level(self) -> float:
        """How much is in it now; above *max_rate* if more was used than reserved."""
        self._leak()
        level = self._level
        lows = self._lows
        if lows and lows[-1] > level:
            while len(lows) > 1 and lows[-2] >= level:
                self._join(len(lows) - 1)
            lows[-1] = level
        return level

    def seconds_until(self, amount: float) -> float:
        """How long until there is room for *amount*; 0 if there is."""
        missing = self.level + amount - self.max_rate
        # What is lost in a float's last digits is not worth a wait.
        return missing / self.rate if missing > 1e-9 * self.max_rate else 0.0

    def add(self, amount: float) -> None:
        """Put *amount* in, whether there is room or not."""
        self._level = self.level + amount

    def take(self, amount: float) -> int:
        """Put in what may turn out to be less, or more; the ticket is for `correct`."""
        self.add(amount)
        self._tickets += 1
        self._since.append(self._tickets)
        self._lows.append(self._level)
        self._open.append(1)
        return self._tickets

    def correct(self, ticket: int, amount: float) -> None:
        """Say that it should have been *amount* more, or less; a ticket is good for once."""
        # Before the lows are looked at: this brings them up to date.
        self.add(max(amount, 0.0))
        lows = self._lows
        at = bisect_right(self._since, ticket) - 1
        if amount < 0:
            back = min(-amount, lows[at])
            self._level -= back
            lows[at:] = [low - back for low in lows[at:]]
            while at > 0 and lows[at - 1] >= lows[at]:
                lows[at - 1] = lows[at]
                self._join(at)
                at -= 1
        self._open[at] -= 1
        if not self._open[at]:
            del self._since[at], lows[at], self._open[at]

    def leave(self, room: float) -> None:
        """See to it that there is room for no more than *room*."""
        self._level = max(self.level, self.max_rate - room)

    def _join(self, at: int) -> None:
        """Make the moment *at* one with that before it, whose low is the one that counts."""
        self._open[at - 1] += self._open[at]
        del self._since[at], self._lows[at], self._open[at]
