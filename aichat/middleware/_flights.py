"""
Several who ask the same at the same time, and one who asks for all of them.

Who comes first *leads*: it has a `Seat` and asks. The others follow: each waits for a future.
A seat is given back in one of three ways: it lands with an answer for everybody, it fails
with an error for everybody, or it is left, and then the follower who has waited longest gets
it. There is no task: whoever gives the seat back wakes the others.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable
from typing import Generic, Literal, TypeAlias, TypeVar, final

from attrs import define, field, frozen

from ..errors import AIChatError

__all__ = ["Failed", "Flight", "Flights", "Landed", "Seat"]

T = TypeVar("T")


@frozen
class Landed(Generic[T]):
    """There is an answer; *reason* says from where."""

    answer: T
    reason: Literal["hit", "shared"]


@frozen
class Failed:
    """There is none. Each follower raises a copy of its own."""

    error: AIChatError


Outcome: TypeAlias = Landed[T] | Failed


@final
@define(eq=False)
class Flights(Generic[T]):
    """
    The flights under way, by loop and key.

    One leader may be held up by a slow consumer of its own. So with every *patience* seconds
    that pass without an answer one more of those who wait asks for itself, and whoever is
    done first answers everybody. (If all who are out of patience asked at once, a model that
    takes its time would be asked by all of them.)
    """

    patience: float
    _lanes: dict[asyncio.AbstractEventLoop, dict[Hashable, Flight[T]]] = field(
        factory=dict, init=False, repr=False
    )

    def board(self, key: Hashable) -> Seat[T] | Flight[T] | Landed[T]:
        """
        Return a seat if nobody asks for *key* yet, or the flight to follow.

        An answer if there is one that is just being put away.
        """
        lane = self._lane()
        flight = lane.get(key)
        if flight is None:
            flight = lane[key] = Flight(self.patience, key, lane)
            return flight.lead()
        return flight if flight.landed is None else flight.landed

    def _lane(self) -> dict[Hashable, Flight[T]]:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            # A copy: another thread may come with its loop meanwhile.
            for other in tuple(self._lanes):
                if other.is_closed():
                    self._lanes.pop(other, None)
            lane = self._lanes[loop] = {}
        return lane


@final
@define(eq=False)
class Flight(Generic[T]):
    """One question, and everybody in this loop who asks it."""

    patience: float
    _key: Hashable
    _lane: dict[Hashable, Flight[T]] = field(repr=False)
    #: In the order in which they came; a dict, so that leaving is as quick as coming.
    _followers: dict[asyncio.Future[Seat[T] | Outcome[T]], None] = field(
        factory=dict, init=False, repr=False
    )
    _leaders: int = field(default=0, init=False)
    #: When one more may lead.
    _relief: float = field(default=math.inf, init=False)
    #: Set from landing until the seat is left: the answer is being put away meanwhile.
    landed: Landed[T] | None = field(default=None, init=False)

    def lead(self) -> Seat[T]:
        """Take a seat."""
        self._leaders += 1
        self._relief = asyncio.get_running_loop().time() + self.patience
        return Seat(self)

    async def follow(self, seconds: float) -> Seat[T] | Outcome[T]:
        """
        Wait for what comes of it, or for a seat.

        Raises `TimeoutError` after *seconds*. Being cancelled is nobody else's business.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        turn = loop.create_future()
        self._followers[turn] = None
        try:
            while not turn.done():
                left = min(until, self._relief) - loop.time()
                if left > 0:
                    timeout = None if left == math.inf else left
                    await asyncio.wait([turn], timeout=timeout)
                elif self._relief <= until:
                    return self.lead()
                else:
                    raise TimeoutError
            outcome: Seat[T] | Outcome[T] = turn.result()
            return outcome
        except BaseException:
            if turn.done() and isinstance(seat := turn.result(), Seat):
                # It was our turn, and we are gone.
                seat.leave()
            raise
        finally:
            self._followers.pop(turn, None)

    def land(self, landed: Landed[T]) -> None:
        """Answer everybody."""
        self.landed = landed
        self._wake(landed)

    def give_up(self, error: AIChatError | None) -> None:
        """A leader is gone; with *error*, which is everybody's, or without."""
        self._leaders -= 1
        if self.landed is None:
            if self._leaders:
                return
            if error is not None:
                self._wake(Failed(error))
            elif self._followers:
                turn = next(iter(self._followers))
                del self._followers[turn]
                turn.set_result(self.lead())
                return
        if self._lane.get(self._key) is self:
            del self._lane[self._key]

    def _wake(self, outcome: Outcome[T]) -> None:
        for turn in self._followers:
            turn.set_result(outcome)
        self._followers.clear()


@final
@define(eq=False)
class Seat(Generic[T]):
    """The right to ask for everybody, and the duty to give it back: see `leave`."""

    _flight: Flight[T]
    _left: bool = field(default=False, init=False)

    def land(self, landed: Landed[T]) -> None:
        """Answer everybody. Who comes before the seat is left is answered as well."""
        self._flight.land(landed)

    def fail(self, error: AIChatError) -> None:
        """Leave with an error that is everybody's, unless somebody else is still asking."""
        self._leave(error)

    def leave(self) -> None:
        """Give the seat back; without an answer the next one gets it. Harmless twice."""
        self._leave(None)

    def _leave(self, error: AIChatError | None) -> None:
        if not self._left:
            self._left = True
            self._flight.give_up(error)
