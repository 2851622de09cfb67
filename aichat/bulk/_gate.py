"""
How many calls may be under way: as many as the provider bears, and no more than a ceiling.

Additive increase, multiplicative decrease, as TCP does it. The limit doubles per round until
the first trouble and then grows by one per round, a round being as many answers as the limit.
A rate limit halves it, at most once per round: the calls that were under way by then would all
say the same. Answers that begin much later than they used to take a fifth of it: a queue is
growing somewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, final

from attrs import define, field

__all__ = ["Gate"]

#: Where it begins. Doubling gets from here to hundreds within seconds.
_FIRST: Final = 4
_HALF: Final = 0.5
_FIFTH: Final = 0.8
#: Late is an answer that begins after so many times the usual, and that many seconds more.
_LATE_FACTOR: Final = 4.0
_LATE_SECONDS: Final = 1.0
#: How much of the latest answer goes into the mean, and how fast the usual forgets.
_RECENT: Final = 0.1
_DRIFT: Final = 1.002


@final
@define(eq=False)
class Gate:
    """First come, first served. Belongs to one loop."""

    ceiling: int
    clock: Callable[[], float]
    #: How many calls there may be.
    limit: float = field(init=False)
    #: How many there are.
    active: int = field(default=0, init=False)
    closed: bool = field(default=False, init=False)
    _waiting: deque[asyncio.Future[bool]] = field(factory=deque, init=False)
    #: Those who wait until a call of somebody else's is over.
    _watching: list[asyncio.Future[None]] = field(factory=list, init=False)
    _doubling: bool = field(default=True, init=False)
    #: What began before this has nothing new to say about the limit.
    _cut_at: float = field(default=-1.0, init=False)
    #: When somebody would have had to wait. Who has no use for the limit cannot raise it.
    _full_at: float = field(default=-1.0, init=False)
    _paused_until: float = field(default=0.0, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _usual: float | None = field(default=None, init=False)
    _recent: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.limit = float(min(_FIRST, self.ceiling))

    # -- coming and going --------------------------------------------------------------

    async def enter(self) -> bool:
        """Wait until there is room for one more call; false when there will be none."""
        if self.closed:
            return False
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        try:
            return bool(await place)
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.leave()
            raise

    def leave(self, *, idle: bool = False) -> None:
        """End a call; *idle*, if it was none and changes nothing for who watches."""
        self.active -= 1
        if not idle:
            self._tell_watchers()
        self._admit()

    async def another_ends(self) -> None:
        """Wait until a call is over, or the gate closed."""
        if not self.closed:
            over = asyncio.get_running_loop().create_future()
            self._watching.append(over)
            await over

    def close(self) -> None:
        """Let nobody in any more. Those who are inside may stay."""
        self.closed = True
        self._disarm()
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(False)
        self._tell_watchers()

    # -- what the calls say ------------------------------------------------------------

    def went_well(self, began: float, first: float | None, *, grow: bool) -> None:
        """
        Learn from an answer to a call that *began* then, whose first output took *first*.

        *first* is ``None`` where it says nothing about the provider, and *grow* false where
        more calls would only wait.
        """
        if first is not None and self._is_late(first):
            self._cut(began, _FIFTH)
        elif grow and began > self._cut_at and self._full_at >= began:
            step = 1.0 if self._doubling else 1.0 / self.limit
            self.limit = min(float(self.ceiling), self.limit + step)

    def crowded(self, began: float, pause: float | None = None) -> None:
        """The provider has too much to do: let fewer in, and none for *pause* seconds."""
        self._cut(began, _HALF)
        if pause is not None and pause > 0:
            self._paused_until = max(self._paused_until, self.clock() + pause)
            self._admit()

    # -- within ------------------------------------------------------------------------

    def _is_late(self, first: float) -> bool:
        if self._usual is None:
            self._usual = self._recent = first
        self._usual = min(first, self._usual * _DRIFT)
        self._recent += (first - self._recent) * _RECENT
        return self._recent > self._usual * _LATE_FACTOR + _LATE_SECONDS

    def _cut(self, began: float, factor: float) -> None:
        if began <= self._cut_at:
            return
        self._cut_at = self.clock()
        self._doubling = False
        self.limit = max(1.0, self.limit * factor)

    def _has_room(self) -> bool:
        return self.active < int(self.limit) and self.clock() >= self._paused_until

    def _admit(self) -> None:
        while self._waiting and self._has_room():
            place = self._waiting.popleft()
            if not place.done():
                self.active += 1
                place.set_result(True)
        if self.active >= int(self.limit):
            self._full_at = self.clock()
        self._disarm()
        wait = self._paused_until - self.clock()
        if self._waiting and wait > 0 and not self.closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait, self._admit)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell_watchers(self) -> None:
        for over in self._watching:
            if not over.done():
                over.set_result(None)
        self._watching.clear()
