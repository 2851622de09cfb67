"""
No more requests than were agreed upon: first come, first served.

aiolimiter is the token bucket. It wakes the smallest request first and belongs to one loop,
so a queue stands before it, and every loop gets a bucket of its own.
"""

from __future__ import annotations

import asyncio
from typing import final

from aiolimiter import AsyncLimiter
from attrs import Factory, define, field, frozen

from ..errors import ConfigError
from ..types._values import is_number
from ._retry import check_number

__all__ = ["Limiter", "RateLimit"]


@frozen
class RateLimit:
    """
    So many *requests* per so many seconds, evenly, after a burst of *burst* at once.

    >>> RateLimit.per_minute(600)
    RateLimit(requests=600, per=60.0, burst=600)
    """

    requests: float = field(validator=check_number)
    per: float = field(default=60.0, validator=check_number)
    #: How many may go at once after a pause; as many as *requests* unless said otherwise.
    burst: float = field(
        default=Factory(lambda limit: _burst(limit.requests), takes_self=True),
        validator=check_number,
    )

    def __attrs_post_init__(self) -> None:
        if not (self.requests > 0 and self.per > 0 and self.burst >= 1):
            raise ConfigError(
                f"{self!r} would never let anything through: requests and per must be "
                "above 0, and burst at least 1."
            )

    @classmethod
    def per_second(cls, requests: float, *, burst: float | None = None) -> RateLimit:
        """So many requests a second."""
        return cls(requests, 1.0) if burst is None else cls(requests, 1.0, burst)

    @classmethod
    def per_minute(cls, requests: float, *, burst: float | None = None) -> RateLimit:
        """So many requests a minute."""
        return cls(requests, 60.0) if burst is None else cls(requests, 60.0, burst)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.per


def _burst(requests: float) -> float:
    # Validators come later; they will say what is wrong with it.
    return max(requests, 1) if is_number(requests) else 1


@final
@define(eq=False)
class Limiter:
    """
    Lets requests through at the rate of a `RateLimit`, in the order in which they came.

    A permit is not given back: it is the sending that counts. One who is cancelled while
    waiting has taken nothing.
    """

    limit: RateLimit
    _lanes: dict[asyncio.AbstractEventLoop, _Lane] = field(
        factory=dict, init=False, repr=False
    )

    async def acquire(self, cost: float = 1.0) -> None:
        """Wait for *cost* permits; more than a burst is taken for a burst."""
        lane = self._lane()
        cost = min(cost, self.limit.burst)
        lane.queued += cost
        try:
            async with lane.turn:
                await lane.bucket.acquire(cost)
                # Afterwards, and once more, for a pause that came or grew meanwhile.
                while (pause := lane.pause) > 0:  # noqa: ASYNC110 -- for a clock
                    await asyncio.sleep(pause)
        finally:
            lane.queued -= cost

    def wait_for(self, cost: float = 1.0) -> float:
        """Seconds that `acquire` would take by what is known now; 0 if it would not wait."""
        lane = self._lane()
        missing = lane.queued + min(cost, self.limit.burst) - lane.free()
        # A float's worth less than a permit is no wait.
        wait = missing / self.limit.rate if missing > 1e-9 else 0.0
        return max(wait, lane.pause, 0.0)

    def pause(self, seconds: float) -> None:
        """Let nobody through for *seconds*: the provider says that the allowance is used up."""
        lane = self._lane()
        lane.paused_until = max(lane.paused_until, lane.loop.time() + seconds)

    def _lane(self) -> _Lane:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            for other in [other for other in self._lanes if other.is_closed()]:
                self._lanes.pop(other, None)
            lane = self._lanes[loop] = _Lane(self.limit, loop)
        return lane


@define(eq=False)
class _Lane:
    """What one loop has of a `Limiter`."""

    limit: RateLimit
    loop: asyncio.AbstractEventLoop
    #: Wakes in the order of asking, and a cancelled waiter just leaves.
    turn: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    bucket: AsyncLimiter = field(init=False)
    #: What those who wait have asked for.
    queued: float = field(default=0.0, init=False)
    #: By the loop's clock.
    paused_until: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        # A bucket of *burst* that empties at *requests* per *per*.
        self.bucket = AsyncLimiter(self.limit.burst, self.limit.burst / self.limit.rate)

    @property
    def pause(self) -> float:
        """Seconds that are left of a pause."""
        return self.paused_until - self.loop.time()

    def free(self) -> float:
        """How many permits are there now. The bucket only tells whether so many are."""
        low, high = 0.0, self.limit.burst
        if self.bucket.has_capacity(high):
            return high
        while high - low > 1e-3:
            middle = (low + high) / 2
            if self.bucket.has_capacity(middle):
                low = middle
            else:
                high = middle
        return low
