"""Those of one event loop who ask for room, and what is said to Redis for them."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from math import inf
from typing import Final, final
from uuid import uuid4

from attrs import define, field

from ..errors import AIChatError, ClosedError
from ..transport import RateLimit, TooLong
from ..transport._rates import Kind
from ._limit_script import SCRIPT, Letter, Reply, Terms, Wish
from ._link import Away, Link
from ._state import RedisState

__all__ = ["Lane"]

#: At most so many at once; the others with the next trip.
_MOST_WISHES: Final = 100
_MOST_LETTERS: Final = 500
#: Who has left is taken out of the queue when there are so many of them, and most of it.
_MANY_GONE: Final = 100
#: A letter waits so long for somebody who asks, so that they travel together: this part of a
#: window, but not longer and not shorter than so many seconds.
_POST: Final = 0.05
_LONGEST_POST: Final = 2.0
_SHORTEST_POST: Final = 0.05
#: Who has not asked for so many seconds does not count, or for a window, if that is longer.
_LEASE: Final = 60.0

_CLOSED: Final = "The client is closed."

_numbers: Final = itertools.count(1)


@final
@define(eq=False)
class _Ask:
    """Somebody who waits for a word from Redis."""

    amounts: tuple[float, ...]
    #: By the loop's clock.
    due: float
    #: What it is told: seconds to wait, and its time. ``None`` if Redis is away.
    word: asyncio.Future[tuple[float, float] | None]
    #: Done when it waits no more; of the one who waits for its time.
    gone: asyncio.Future[None]
    #: Whether it is among those who are queued.
    queued: bool = False


@final
@define(eq=False)
class Lane:
    """
    The queue of one loop before one limit in Redis.

    One trip is under way at a time, for all who wait: as many as there is room for are let
    through, and the next one is told when its time will be. Until then nobody else here
    asks, so that workers take turns, each with one in the common queue.
    """

    state: RedisState
    limit: RateLimit
    terms: Terms
    keys: tuple[str, str]
    loop: asyncio.AbstractEventLoop
    #: How many workers share the limit, when last heard; 0 if never.
    workers: int = field(default=0, init=False)
    _name: str = field(init=False)
    _queue: deque[_Ask] = field(factory=deque, init=False)
    #: By kind, what those who are queued have asked for, and how many they are.
    _sums: list[float] = field(init=False)
    _queued: int = field(default=0, init=False)
    #: How many of those in the queue have left it, about.
    _gone: int = field(default=0, init=False)
    #: Who waits for its time, when that is, and by kind how much may go together with it.
    _head: tuple[_Ask, float, tuple[float, ...]] | None = field(
        default=None, init=False
    )
    _pump: asyncio.Task[None] | None = field(default=None, init=False)
    _link: Link | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    _letters: deque[Letter] = field(factory=deque, init=False)
    #: Those that were sent, as number so-and-so, and may not have come.
    _sent: list[Letter] = field(factory=list, init=False)
    _number: int = field(default=0, init=False)
    _sending: bool = field(default=False, init=False)
    _left: dict[Kind, float] = field(factory=dict, init=False)
    #: By the loop's clock.
    _paused_until: float = field(default=0.0, init=False)
    _pause_told: bool = field(default=True, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    _epoch: str = field(default="", init=False)
    #: Those who wait for something else meanwhile, and are to stop when Redis is back.
    _alone: dict[asyncio.Timeout, None] = field(factory=dict, init=False)
    _looker: asyncio.TimerHandle | None = field(default=None, init=False)
    #: By the loop's clock: when Redis answered last.
    _heard: float = field(default=-inf, init=False)
    #: The server's clock, less the loop's.
    _offset: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._name = f"{self.state.worker}-{next(_numbers)}"
        self._sums = [0.0] * len(self.terms.kinds)

    # -- for those who ask -------------------------------------------------------------

    async def ask(
        self,
        amounts: tuple[float, ...],
        within: float,
        waits: Callable[[float], None] | None,
    ) -> float | None:
        """
        Wait for room for *amounts*; the server's time of it, ``None`` if Redis is away.

        *waits* may be told twice, the second time more exactly. Raises `TooLong`. Who is
        cancelled has taken nothing.
        """
        now = self.loop.time()
        if (least := self._least(amounts)) > 0:
            if waits is not None:
                waits(least)
            if least > within:
                raise TooLong(least)
        ask = _Ask(
            amounts, now + within, self.loop.create_future(), self.loop.create_future()
        )
        link = self._joined()
        if self._closed:
            raise ClosedError(_CLOSED)
        # Before it is pumped: the pump may begin at once, and end where there is nobody.
        self._queue.append(ask)
        self._count(ask, there=True)
        if self._pump is None or self._pump.done():
            self._pump = link.spawn(self._pumping())
        try:
            word = await ask.word
            if word is None:
                return None
            seconds, time = word
            if seconds > 0:
                if waits is not None:
                    waits(seconds)
                await asyncio.sleep(seconds)
        except BaseException:
            self._leave(ask)
            raise
        finally:
            self._count(ask, there=False)
            if not ask.gone.done():
                ask.gone.set_result(None)
        return time

    @contextmanager
    def told_when_back(self, until: asyncio.Timeout) -> Iterator[None]:
        """Let *until* expire when Redis answers. Raises `ClosedError`."""
        _ = self._joined()
        if self._closed:
            raise ClosedError(_CLOSED)
        self._alone[until] = None
        self._look_later()
        try:
            yield
        finally:
            self._alone.pop(until, None)

    def write(
        self, time: float | None, amounts: tuple[float, ...], *, whole: bool = False
    ) -> None:
        """Say what has become of something, with the next trip or a little later."""
        if self.loop.is_closed():
            # A finaliser, after all is over. The window forgets by itself.
            return
        now = self.loop.time()
        self._letters.append(Letter(time, amounts, whole, now))
        while self._letters[0].written < now - 2 * self.terms.per:
            # Redis is away, and what happened before its window is nobody's business.
            self._letters.popleft()
        self._post_later()

    def learn(self, left: Mapping[Kind, float]) -> None:
        """Pass on how much the provider says is left, where it is little."""
        for kind, room in left.items():
            if room < self.terms.bursts.get(kind, 0.0):
                self._left[kind] = min(room, self._left.get(kind, inf))
                self._post_later()

    def pause(self, seconds: float) -> None:
        """Pass on that nobody should ask for so many *seconds*."""
        until = self.loop.time() + seconds
        if until > self._paused_until:
            self._paused_until = until
            self._pause_told = False
            self._post_later()

    @property
    def paused(self) -> float:
        """Seconds for which nobody should ask, as far as was heard here."""
        return max(0.0, self._paused_until - self.loop.time())

    @property
    def time(self) -> float | None:
        """The server's clock, as far as it is known."""
        return None if self._offset is None else self.loop.time() + self._offset

    def _least(self, amounts: tuple[float, ...]) -> float:
        """Seconds that it will take at least: everybody before it has to be let through."""
        if self._head is None:
            return 0.0
        _, due, rooms = self._head
        head = due - self.loop.time()
        rates = (rate for _, rate in self.limit.sizes.values())
        before = zip(amounts, self._sums, rooms, rates, strict=True)
        return max(
            0.0,
            head,
            *(head + (sum_ + a - room) / rate for a, sum_, room, rate in before if a),
        )

    def _count(self, ask: _Ask, *, there: bool) -> None:
        """Say whether *ask* is queued."""
        if ask.queued is there:
            return
        ask.queued = there
        self._queued += 1 if there else -1
        for at, amount in enumerate(ask.amounts):
            # Sums of fractions do not come back to where they began.
            sum_ = self._sums[at] + (amount if there else -amount)
            self._sums[at] = sum_ if self._queued else 0.0

    def _leave(self, ask: _Ask) -> None:
        """Give back what *ask* was given, if it was."""
        self._gone += ask.queued
        if self._gone > max(_MANY_GONE, len(self._queue) // 2):
            self._queue = deque(a for a in self._queue if not a.word.done())
            self._gone = 0
        if ask.word.done() and not ask.word.cancelled() and not ask.word.exception():
            word = ask.word.result()
            if word is not None:
                self._give_back(ask, word[1])

    def _give_back(self, ask: _Ask, time: float) -> None:
        self.write(time, tuple(-amount for amount in ask.amounts), whole=True)

    # -- the trips ---------------------------------------------------------------------

    def _joined(self) -> Link:
        link = self.state.link()
        if link is not self._link:
            # A state that was closed has ended us as well.
            self._closed = False
            link.members.add(self)
            self._link = link
        return link

    async def _pumping(self) -> None:
        """Ask for those who wait, until nobody does."""
        try:
            while self._queue:
                await self._round()
                if self._closed:
                    self._dismiss(ClosedError(_CLOSED))
        except Away:
            self._dismiss(None)
        except AIChatError as error:
            self._dismiss(error)
        except BaseException:
            # Nobody must wait for a pump that has broken.
            self._dismiss(None)
            raise

    async def _round(self) -> None:
        """Ask for the first in the queue, and wait with the one that has to."""
        asks = self._first()
        now = self.loop.time()
        try:
            reply = await self._trip([Wish(a.amounts, a.due - now) for a in asks])
        except BaseException:
            self._queue.extendleft(reversed(asks))
            raise
        for time in reply.times:
            self._grant(asks.popleft(), 0.0, time)
        if not asks:
            return
        if not reply.wait:
            # Its clock is not what we thought, so that it took them for old. Now we know it.
            self._queue.extendleft(reversed(asks))
            return
        ask = asks.popleft()
        self._queue.extendleft(reversed(asks))
        if self._closed and not ask.word.done():
            ask.word.set_exception(ClosedError(_CLOSED))
        if reply.booked is None:
            if not ask.word.done():
                ask.word.set_exception(TooLong(reply.wait))
        elif self._grant(ask, reply.wait, reply.booked):
            self._head = ask, self.loop.time() + reply.wait, reply.rooms
            try:
                await asyncio.wait([ask.gone], timeout=reply.wait)
            finally:
                self._head = None

    def _first(self) -> deque[_Ask]:
        """Take the first out of the queue, without those who have gone."""
        asks = deque[_Ask]()
        # What is asked for and not answered is taken all the same, if Redis only sleeps.
        most = 1 if self.state.degraded else _MOST_WISHES
        while self._queue and len(asks) < most:
            ask = self._queue.popleft()
            if not ask.word.done():
                asks.append(ask)
        return asks

    def _grant(self, ask: _Ask, seconds: float, time: float) -> bool:
        """Let *ask* through at that time; false if it has gone meanwhile."""
        if ask.word.done():
            self._give_back(ask, time)
            return False
        ask.word.set_result((seconds, time))
        self._count(ask, there=False)
        return True

    async def _trip(self, wishes: list[Wish]) -> Reply:
        """Say and ask everything there is. Raises `Away`."""
        carries, letters, left = self._pack()
        now = self.loop.time()
        pause = None
        if not self._pause_told and self._paused_until > now:
            pause = self._paused_until - now
        told_until = self._paused_until
        arguments = self.terms.arguments(
            worker=self._name,
            lease=max(_LEASE, self.terms.per),
            known=self._epoch,
            since=now - self._heard,
            fresh=uuid4().hex[:16],
            letter=self._number if letters else None,
            letters=letters,
            left=left,
            pause=pause,
            wishes=wishes,
            due=None if (time := self.time) is None else time + 2 * self.state.timeout,
        )
        try:
            reply = Reply.of(await self.state.run(SCRIPT, self.keys, arguments))
        except BaseException:
            for kind, room in left.items():
                self._left[kind] = min(room, self._left.get(kind, inf))
            raise
        finally:
            if carries:
                self._sending = False
        if carries:
            self._sent = []
        if self._paused_until == told_until:
            self._pause_told = True
        self._heard = self.loop.time()
        self._offset = reply.now - self._heard
        self._epoch = reply.epoch
        self.workers = reply.workers
        self._call_back()
        return reply

    def _pack(self) -> tuple[bool, list[Letter], dict[Kind, float]]:
        """
        The letters to send, and what was learned.

        Letters are sent one bag after the other, and one that may not have come is sent
        once more under its old number, before any other.
        """
        left, self._left = self._left, {}
        if self._sending:
            return False, [], left
        if not self._sent:
            while self._letters and len(self._sent) < _MOST_LETTERS:
                self._sent.append(self._letters.popleft())
            if self._sent:
                self._number += 1
        # What happened before this window is nobody's business any more.
        oldest = self.loop.time() - 2 * self.terms.per
        letters = [letter for letter in self._sent if letter.written > oldest]
        self._sending = bool(self._sent)
        return self._sending, letters, left

    def _post_later(self) -> None:
        if self._timer is None and not self._closed:
            delay = min(max(_POST * self.terms.per, _SHORTEST_POST), _LONGEST_POST)
            if self.state.degraded:
                delay = max(delay, self.state.again_in)
            self._timer = self.loop.call_later(delay, self._post)

    def _post(self) -> None:
        self._timer = None
        oldest = self.loop.time() - 2 * self.terms.per
        if self._sent and not self._sending and self._sent[-1].written < oldest:
            self._sent = []
        while self._letters and self._letters[0].written < oldest:
            self._letters.popleft()
        if self.state.away:
            # Who asks next takes them along, if anybody does.
            if self._letters or self._sent:
                self._post_later()
            return
        if self._letters or self._sent or self._left or not self._pause_told:
            # Somebody in another loop may have closed the state meanwhile.
            with suppress(ClosedError):
                _ = self._joined().spawn(self._posting())

    async def _posting(self) -> None:
        try:
            await self._trip([])
        except AIChatError:
            return
        except Away:
            pass
        if self._letters or self._sent:
            self._post_later()

    def _look_later(self) -> None:
        if self._looker is None and self._alone and not self._closed:
            self._looker = self.loop.call_later(self.state.again_in, self._look)

    def _look(self) -> None:
        """See whether Redis is back: one asks, for all who wait."""
        self._looker = None
        if self.state.away:
            return self._look_later()
        try:
            _ = self._joined().spawn(self._looking())
        except ClosedError:
            self._call_back()

    async def _looking(self) -> None:
        try:
            await self._trip([])
        except Away:
            self._look_later()
        except AIChatError:
            self._call_back()

    def _call_back(self) -> None:
        """Let those go who wait for something else: in their order they ask themselves."""
        alone, self._alone = self._alone, {}
        for until in alone:
            until.reschedule(self.loop.time())

    def _dismiss(self, error: AIChatError | None) -> None:
        """Let nobody wait any longer: Redis is away, or there is an *error*."""
        while self._queue:
            ask = self._queue.popleft()
            if ask.word.done():
                continue
            if error is None:
                ask.word.set_result(None)
            else:
                ask.word.set_exception(copy(error))

    async def end(self) -> None:
        """End the waiting, and post what is left."""
        self._closed = True
        self._dismiss(ClosedError(_CLOSED))
        if self._head is not None and not self._head[0].gone.done():
            self._head[0].gone.set_result(None)
        if self._pump is not None and not self._pump.done():
            # What it is about to be granted is given back below.
            await asyncio.wait([self._pump])
        for timer in (self._timer, self._looker):
            if timer is not None:
                timer.cancel()
        self._timer = self._looker = None
        self._call_back()
        if (self._letters or self._sent) and not self.state.away:
            await self._posting()

    @classmethod
    def of(cls, state: RedisState, limit: RateLimit, name: str) -> Lane:
        """A lane of the running loop."""
        terms = Terms.of(limit)
        # Steps are parts of a window: those of another one cannot be compared with ours.
        kinds = f"limit:{terms.per!r}", f"workers:{terms.per!r}"
        keys = state.key(kinds[0], name), state.key(kinds[1], name)
        return cls(state, limit, terms, keys, asyncio.get_running_loop())
