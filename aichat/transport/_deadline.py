"""
Six phases of waiting, and one watchdog that looks after all of them.

Before the body a phase is a scope around one `await`. While the body is read there is no
scope and no timer per chunk: one ``call_at`` looks now and then how long the wait for the
network has lasted, and arms itself again. It knows from two assignments per read, `since`
and back; time that the consumer spends counts for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar, final

from ..errors import AIChatError, DeadlineError
from ..types import Deadlines
from ._wire import HTTPResponse, Phase

__all__ = ["Watch"]

T = TypeVar("T")

#: Seconds that a complete answer may take to end: late usage may follow, and nothing else.
TAIL = 5.0

_WHAT: dict[Phase, str] = {
    "pool": "No connection or permit became free within {} s.",
    "connect": "No connection was made within {} s.",
    "first_byte": "The answer did not begin within {} s.",
    "idle": "Nothing arrived for {} s.",
    "stall": "Nothing but keep-alives arrived for {} s.",
    "total": "The call was not done within {} s.",
}


@final
class Watch:
    """
    Looks after the waiting of one call, in the loop that it was made in.

    Nobody but the transport needs one; `end` may be called by whoever closes the client.
    """

    __slots__ = (
        "_body",
        "_deadlines",
        "_due",
        "_ended",
        "_idle",
        "_loop",
        "_scope",
        "_stall",
        "_tail",
        "_timer",
        "_waited",
        "ends_at",
        "phase",
        "since",
    )

    def __init__(self, deadlines: Deadlines) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadlines = deadlines
        #: When *total* passes, by the loop's clock.
        self.ends_at = self._loop.time() + self._limit("total")
        self.phase: Phase = "first_byte"
        self._due = inf  # when the phase passes
        self._scope: asyncio.Timeout | None = None
        self._ended: AIChatError | None = None  # by somebody else

        self._body: HTTPResponse | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = self._limit("idle")
        self._stall = self._limit("stall")
        self._waited = 0.0  # without progress
        self._tail = False
        #: When the wait for the network began; ``None`` while the consumer is at work.
        self.since: float | None = None

    @property
    def left(self) -> float:
        """Seconds until *total* passes; infinite without it."""
        return self.ends_at - self._loop.time()

    @property
    def until_due(self) -> float:
        """Seconds until the phase passes, or *total*."""
        return min(self._due, self.ends_at) - self._loop.time()

    # --- before the body -----------------------------------------------------------

    async def during(self, phase: Phase, work: Callable[[], Awaitable[T]]) -> T:
        """
        Await *work* as long as *phase* and *total* allow.

        Raises `DeadlineError`, or what `end` was given. *work* may `enter` further phases.
        """
        if self._ended is not None:
            raise self._ended
        scope = self._scope = asyncio.timeout(None)
        try:
            async with scope:
                self.enter(phase)
                return await work()
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._scope = None
        # Out here, so that the error has no context: it is not about a cancellation.
        raise self._reason()

    def _reason(self) -> AIChatError:
        return self.late() if self._ended is None else self._ended

    def enter(self, phase: Phase) -> None:
        """Say that *phase* begins; the one before is over."""
        self.phase = phase
        self._due = self._loop.time() + self._limit(phase)
        if self._scope is not None and not self._scope.expired():
            due = min(self._due, self.ends_at)
            self._scope.reschedule(None if due == inf else due)

    def late(self, phase: Phase | None = None) -> DeadlineError:
        """The error for the deadline of *phase*, or for the one that has passed first."""
        if phase is None:
            phase = "total" if self.ends_at <= self._due else self.phase
        limit = self._limit(phase)
        return DeadlineError(
            _WHAT[phase].format(f"{limit:g}"),
            phase=phase,
            # Another attempt has no more time than this one; and a queue of our own does
            # not become shorter by leaving it and coming back.
            retryable=False if phase in ("pool", "total") else None,
            context={"deadline": limit},
        )

    # --- while the body is read ----------------------------------------------------

    def reading(self, response: HTTPResponse) -> None:
        """Look after the reads of *response* from now on; *first_byte* still runs."""
        if self.phase != "first_byte":
            self.enter("first_byte")
        self._body = response
        self._waited = 0.0
        self._tail = False
        self.since = None
        if self._ended is None:
            self._arm()
        else:
            # The headers came in the very turn of the loop in which somebody ended it.
            self._end(self._ended)

    def wait(self) -> None:
        """Say that the network is waited for."""
        self.since = self._loop.time()

    def arrived(self, *, progress: bool, complete: bool) -> None:
        """
        Say that bytes have come, whether there was more than keep-alives in them, and
        whether the answer could end here.
        """
        if progress and not self._tail:
            self._waited = 0.0
        elif self.since is not None:
            self._waited += self._loop.time() - self.since
        self.since = None
        if self.phase == "first_byte":
            self.phase = "idle"
            self._arm()
        if complete and not self._tail:
            self._tail = True
            self._waited = 0.0
            self._stall = min(self._stall, TAIL)
            self._arm()

    def rest(self) -> None:
        """Say that there is nothing more to wait for."""
        self.since = None
        self._body = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due, _ = self._next()
        if due != inf:
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        due, phase = self._next()
        if self._loop.time() < due:
            self._arm()
        elif self._body is not None:
            self._body.abort(self.late(phase))

    def _next(self) -> tuple[float, Phase]:
        """The first deadline that can pass, counting from now if nobody waits."""
        since = self._loop.time() if self.since is None else self.since
        stalls = since + self._stall - self._waited
        first = self.phase == "first_byte"
        bytes_due: float
        if first:
            # The consumer has nothing to be slow with yet: this one is absolute.
            bytes_due, phase = self._due, self.phase
        else:
            bytes_due, phase = since + self._idle, "idle"
        due = min(bytes_due, stalls, self.ends_at)
        if due == self.ends_at:
            phase = "total"
        elif due != bytes_due:
            phase = "stall"
        return due, phase

    # --- from outside --------------------------------------------------------------

    def end(self, error: AIChatError) -> None:
        """Make whatever is waited for raise *error*; callable from any thread."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._end, error)

    def _end(self, error: AIChatError) -> None:
        self._ended = self._ended or error
        if self._body is not None:
            self._body.abort(self._ended)
            # Whoever has the stream may keep it as long as they like.
            self.rest()
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(self._loop.time())

    def _limit(self, phase: Phase) -> float:
        limit = self._deadlines.limit(phase)
        return inf if limit is None else limit
