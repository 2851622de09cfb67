"""One quota for all processes (L5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, final

from attrs import define, evolve, field

from ..transport import Cost, Limiter, RateLimit, Reservation
from ..transport._rates import ONE_REQUEST, Kind
from ..types import Usage
from ._lane import Lane
from ._state import RedisState, check_name

__all__ = ["RedisLimiter"]


@final
@define(eq=False)
class RedisLimiter:
    """
    Keeps to a `RateLimit` together with all who use the same *name* in the same namespace.

    Never more than *limit* says within any window of ``limit.per`` seconds, counted by the
    server's clock when it is let through, and by what it has really used as soon as that is
    known; with that between 98 and 99 percent of it can be used. Workers take turns, each
    with the first of those who wait in it; all who wait in a worker are asked for in one
    round trip, and whoever has to wait is told how long and does not ask again. Of the
    tokens a tenth may go at once, of the requests ``limit.burst``, the rest evenly.

    What a worker that dies has taken counts for one window. While Redis is away everybody
    has an even share of the limit, without a burst, and what was taken so is told to Redis
    afterwards; whoever still waits for it then waits with the others again. One that has lost its memory takes the window before for used, evenly. An
    answer that needs more tokens than were reserved counts when that is known: only
    estimates that are too low can lead to more than the limit.

    All who share a name should have the same limit. With other numbers each keeps to its
    own, as while a new version is rolled out; what another kind of tokens takes is counted
    by those who know it, and windows of another length are another quota. The state belongs
    to whoever made it.
    """

    _state: RedisState
    limit: RateLimit
    name: str
    _lanes: dict[asyncio.AbstractEventLoop, _Shared] = field(
        factory=dict, init=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        check_name("RedisLimiter", self.name)

    async def reserve(
        self,
        cost: Cost = ONE_REQUEST,
        *,
        within: float = inf,
        waits: Callable[[float], None] | None = None,
    ) -> Reservation:
        """
        Wait until there is room for *cost*; more than the limit is taken for the limit.

        *waits* is told for how many seconds. Raises `TooLong`, at once, if that is more than
        *within*, and `ConfigError` if Redis does not let us in.
        """
        shared = self._shared()
        lane = shared.lane
        amounts = tuple(self.limit.amounts(cost).values())
        due = lane.loop.time() + within
        waits = _once(waits)
        while True:
            if not self._state.away:
                left = due - lane.loop.time()
                time = await lane.ask(amounts, left, waits)
                if time is not None:
                    shared.back = True
                    return _Reservation(self.limit, cost, lane, time)
            reservation = await self._alone(shared, cost, due, waits)
            if reservation is not None:
                self._state.note_alone()
                time = lane.time
                lane.write(time, amounts)
                return _Reservation(self.limit, cost, lane, time, reservation)

    async def _alone(
        self,
        shared: _Shared,
        cost: Cost,
        due: float,
        waits: Callable[[float], None] | None,
    ) -> Reservation | None:
        """Wait for our share; ``None`` when Redis is back."""
        lane, share = shared.lane, shared.alone()
        left = due - lane.loop.time()
        until = asyncio.timeout(None)
        try:
            async with until:
                with lane.told_when_back(until):
                    return await share.reserve(cost, within=left, waits=waits)
        except TimeoutError:
            if not until.expired():
                raise
        return None

    def pause(self, seconds: float) -> None:
        """Let nobody through for *seconds*, in any process."""
        shared = self._shared()
        shared.lane.pause(seconds)
        if shared.share is not None:
            shared.share.pause(seconds)

    def learn(self, left: Mapping[Kind, float]) -> None:
        """Hear from the provider how much is *left*; less than a burst is passed on."""
        shared = self._shared()
        shared.lane.learn(left)
        if shared.share is not None:
            shared.share.learn(left)

    def _shared(self) -> _Shared:
        loop = asyncio.get_running_loop()
        shared = self._lanes.get(loop)
        if shared is None:
            for other in list(self._lanes):
                if other.is_closed():
                    self._lanes.pop(other, None)
            lane = Lane.of(self._state, self.limit, self.name)
            shared = self._lanes[loop] = _Shared(self._state, lane)
        return shared


def _once(
    waits: Callable[[float], None] | None,
) -> Callable[[float], None] | None:
    """Let *waits* be told the first time: whoever asks again has not begun to wait anew."""
    told = False

    def tell(seconds: float) -> None:
        nonlocal told
        if waits is not None and not told:
            told = True
            waits(seconds)

    return None if waits is None else tell


@final
@define(eq=False)
class _Shared:
    """What one loop has of a limit: its place in the queue, and its share for bad times."""

    state: RedisState
    lane: Lane
    share: Limiter | None = None
    #: Whether Redis has answered since our share was made use of.
    back: bool = True

    def alone(self) -> Limiter:
        """What is ours while Redis is away; nothing of it is there at the beginning."""
        if self.share is None or self.back:
            limit = self._shared_out()
            # Those who still wait for it and those who come must not have one each.
            if self.share is None or self.share.limit != limit:
                self.share = Limiter(limit)
            self.share.learn(dict.fromkeys(limit.sizes, 0.0))
            self.share.pause(self.lane.paused)
            self.back = False
        return self.share

    def _shared_out(self) -> RateLimit:
        limit = self.lane.limit
        # Those who have not asked lately will, when all go on alone.
        workers = max(self.lane.workers, self.state.workers)
        parts: dict[str, Any] = {
            kind: rate * limit.per / workers for kind, (_, rate) in limit.sizes.items()
        }
        return evolve(limit, burst=max(1.0, limit.burst / workers), **parts)


@final
@define(eq=False)
class _Reservation:
    """A `Reservation` in Redis."""

    _limit: RateLimit
    _cost: Cost
    _lane: Lane
    _time: float | None
    #: The one of our share, if Redis was away.
    _share: Reservation | None = None
    _over: bool = field(default=False, init=False)

    def settle(self, usage: Usage) -> None:
        if self._share is not None:
            self._share.settle(usage)
        if self._limit.counts_tokens:
            self._correct(self._limit.used(self._cost, usage))

    def cancel(self) -> None:
        if self._share is not None:
            self._share.cancel()
        if self._limit.counts_tokens:
            self._correct(Cost(requests=self._cost.requests))

    def _correct(self, used: Cost) -> None:
        over, self._over = self._over, True
        if over:
            return
        reserved, taken = self._limit.amounts(self._cost), self._limit.amounts(used)
        amounts = tuple(taken[kind] - reserved[kind] for kind in taken)
        if any(amounts):
            self._lane.write(self._time, amounts)
