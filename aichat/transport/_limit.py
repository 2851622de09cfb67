"""
No more than was agreed upon: first come, first served.

A call is let through at the moment when everything that is limited has room for it, and not
before: whoever takes from one bucket and then waits for another has taken too early. What it
takes is an estimate; how much it was is said afterwards (`Reservation`).

aiolimiter is the bucket (`Bucket`). It wakes the smallest request first and belongs to one
loop, so a queue stands before it, and every loop has buckets of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Final, Protocol, final

from attrs import define, field

from ..types import Usage
from ._bucket import Bucket
from ._deadline import Watch
from ._rates import ONE_REQUEST, Cost, Kind, RateLimit

__all__ = ["AnyLimiter", "Limiter", "Reservation", "TooLong", "admit"]


class Reservation(Protocol):
    """
    What a call has been promised. One of the two has to be said at its end.

    Only the first counts, neither waits nor raises, and both are safe in a ``finally``. The
    *request* is not given back: it is the sending that counts.
    """

    def settle(self, usage: Usage, /) -> None:
        """
        Take what *usage* says instead of the estimate; where it says nothing that remains.

        More than was reserved makes those wait who come later.
        """
        ...

    def cancel(self) -> None:
        """Give the tokens back: the call has used none."""
        ...


class AnyLimiter(Protocol):
    """What the transport and the middleware want of a limiter, wherever its counts are kept."""

    @property
    def limit(self) -> RateLimit: ...

    async def reserve(
        self,
        cost: Cost = ONE_REQUEST,
        /,
        *,
        within: float = inf,
        waits: Callable[[float], None] | None = None,
    ) -> Reservation:
        """
        Wait until there is room for *cost*. Who is cancelled meanwhile has taken nothing.

        *waits* is told for how many seconds, as far as that is known, before any waiting.
        Raises `TooLong`, at once, if that is more than *within*.
        """
        ...

    def pause(self, seconds: float, /) -> None:
        """Let nobody through for *seconds*: the provider says that all is used up."""
        ...

    def learn(self, left: Mapping[Kind, float], /) -> None:
        """Hear from the provider how much is *left*. Only less than was thought counts."""
        ...


class TooLong(Exception):
    """There would be room after *seconds*, and that is too late."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"It would take {seconds:g} s.")
        self.seconds: Final = seconds


async def admit(
    limiter: AnyLimiter, cost: Cost, watch: Watch, waits: Callable[[float], None]
) -> Reservation:
    """
    Ask *limiter*, and wait for it as long as *watch* allows.

    *waits* is told how long that will take. Raises `DeadlineError`, at once if it is hopeless:
    its `retry_after` says how long the wait would have been.
    """

    def reserve() -> Awaitable[Reservation]:
        return limiter.reserve(cost, within=watch.until_due, waits=waits)

    try:
        return await watch.during("pool", reserve)
    except TooLong as error:
        seconds = error.seconds
    watch.enter("pool")
    raise watch.late().note(retry_after=seconds)


@final
@define(eq=False)
class Limiter:
    """
    Keeps to a `RateLimit`, in the order in which the calls came (L1).

    For one process: each event loop has the whole limit for itself.

    >>> limiter = Limiter(RateLimit.per_minute(600, tokens=200_000))
    >>> limiter.limit.tokens
    200000
    """

    limit: RateLimit
    _lanes: dict[asyncio.AbstractEventLoop, _Lane] = field(
        factory=dict, init=False, repr=False
    )

    async def reserve(
        self,
        cost: Cost = ONE_REQUEST,
        *,
        within: float = inf,
        waits: Callable[[float], None] | None = None,
    ) -> Reservation:
        """
        Wait until there is room for *cost*; more than a burst is taken for a burst.

        *waits* is told for how many seconds, as far as that is known. Raises `TooLong`, at
        once, if that is more than *within*.
        """
        lane = self._lane()
        amounts = self.limit.amounts(cost)
        if (seconds := lane.expect(amounts)) > 0:
            if waits is not None:
                waits(seconds)
            if seconds > within:
                raise TooLong(seconds)
        lane.join(amounts)
        try:
            async with lane.turn:
                while (seconds := lane.seconds_until(amounts)) > 0:
                    await lane.wait(seconds)
                # No `await` from here on: nobody can be cancelled with something in hand.
                return _Reservation(self.limit, cost, lane, lane.take(amounts))
        finally:
            lane.leave(amounts)

    def wait_for(self, cost: Cost = ONE_REQUEST) -> float:
        """
        Seconds that `reserve` would take by what is known now; 0 if it would not wait.

        It may turn out shorter or longer, as answers come out shorter or longer than was
        thought.
        """
        return self._lane().expect(self.limit.amounts(cost))

    def pause(self, seconds: float) -> None:
        """Let nobody through for *seconds*: the provider says that the allowance is used up."""
        lane = self._lane()
        lane.paused_until = max(lane.paused_until, lane.loop.time() + seconds)

    def learn(self, left: Mapping[Kind, float]) -> None:
        """
        Hear from the provider how much is *left*: other processes may use the same key (L4).

        Only less than was thought counts. The provider does not know yet of what we are
        about to send.
        """
        buckets = self._lane().buckets
        for kind, room in left.items():
            if kind in buckets:
                buckets[kind].leave(room)

    def _lane(self) -> _Lane:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            for other in list(self._lanes):
                if other.is_closed():
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
    buckets: dict[Kind, Bucket] = field(init=False)
    #: What those who wait have asked for, and how many they are.
    queued: dict[Kind, float] = field(init=False)
    waiting: int = field(default=0, init=False)
    #: By the loop's clock.
    paused_until: float = field(default=0.0, init=False)
    #: Of the one whose turn it is.
    _waker: asyncio.Future[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.buckets = {kind: Bucket(*size) for kind, size in self.limit.sizes.items()}
        self.queued = dict.fromkeys(self.buckets, 0.0)

    def join(self, amounts: Mapping[Kind, float]) -> None:
        """Count somebody who asks for *amounts*."""
        self.waiting += 1
        for kind, amount in amounts.items():
            self.queued[kind] += amount

    def leave(self, amounts: Mapping[Kind, float]) -> None:
        """Count somebody who has them, or has given up."""
        self.waiting -= 1
        for kind, amount in amounts.items():
            # Sums of fractions do not come back to where they began.
            self.queued[kind] = self.queued[kind] - amount if self.waiting else 0.0

    def seconds_until(self, amounts: Mapping[Kind, float]) -> float:
        """How long until there is room for all of *amounts*, and no pause."""
        return max(
            self.paused_until - self.loop.time(),
            0.0,
            # Who needs nothing of something does not wait for it.
            *(self.buckets[k].seconds_until(a) for k, a in amounts.items() if a),
        )

    def expect(self, amounts: Mapping[Kind, float]) -> float:
        """How long until it is the turn of *amounts*, by what is known now."""
        return self.seconds_until({k: a + self.queued[k] for k, a in amounts.items()})

    async def wait(self, seconds: float) -> None:
        """Wait for *seconds*, or until somebody has given something back."""
        self._waker = self.loop.create_future()
        await asyncio.wait([self._waker], timeout=seconds)

    def take(self, amounts: Mapping[Kind, float]) -> dict[Kind, int]:
        """Take all of *amounts*, and return a ticket for each that may be corrected."""
        tickets: dict[Kind, int] = {}
        for kind, amount in amounts.items():
            if kind == "requests":
                self.buckets[kind].add(amount)
            else:
                tickets[kind] = self.buckets[kind].take(amount)
        return tickets

    def wake(self) -> None:
        """Let the one whose turn it is look again."""
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)


@final
@define(eq=False)
class _Reservation:
    """A `Reservation` in one loop's buckets."""

    _limit: RateLimit
    _cost: Cost
    _lane: _Lane
    _tickets: dict[Kind, int]

    def settle(self, usage: Usage) -> None:
        if self._tickets:
            self._correct(self._limit.used(self._cost, usage))

    def cancel(self) -> None:
        if self._tickets:
            self._correct(Cost(requests=self._cost.requests))

    def _correct(self, used: Cost) -> None:
        tickets, self._tickets = self._tickets, {}
        # A finaliser may come after the loop's end. Nobody waits there any more.
        if self._lane.loop.is_closed():
            return
        reserved, taken = self._limit.amounts(self._cost), self._limit.amounts(used)
        for kind, ticket in tickets.items():
            amount = taken[kind] - reserved[kind]
            self._lane.buckets[kind].correct(ticket, amount)
        self._lane.wake()
