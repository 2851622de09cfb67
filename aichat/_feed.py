"""
Tasks that make things, and the one consumer who takes them: none is left when it leaves.

A generator must not yield inside a task group, whose cancellation would hit whoever has
pulled it (PEP 789). So these tasks never touch their consumer: what they make, and the
error of the one that fails first, is put down here and picked up with `take`. Whoever makes
a feed closes it; that cancels the tasks and waits until they are over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine
from typing import Any, Generic, Protocol, TypeVar, cast, final, runtime_checkable

from attrs import define, field

from ._closing import AsyncClosing
from .errors import ClosedError, StreamClosedError

__all__ = ["Drained", "Feed", "Flow", "Quiet", "close"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Drained(Exception):
    """Nothing more will come."""


class Quiet(Exception):
    """Nothing has come for some time."""


@final
@define(eq=False)
class Feed(Generic[T]):
    """
    What some tasks make for one consumer, at most *room* things ahead of it.

    A task calls `reserve` before it begins something and `add` when it is there, or `put`
    for both. When a task fails the others are cancelled. Made in the loop that it is used in.
    """

    room: int
    _items: deque[T] = field(factory=deque, init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)
    _places: asyncio.Semaphore = field(init=False)
    _error: BaseException | None = field(default=None, init=False)
    #: What the consumer waits for.
    _news: asyncio.Future[None] | None = field(default=None, init=False)
    _closing: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        # First come, first served.
        self._places = asyncio.Semaphore(self.room)

    # -- for those who make ------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let *work* make things, in a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    async def reserve(self) -> None:
        """Wait until there is a place for one more."""
        await self._places.acquire()

    def add(self, item: T) -> None:
        """Put *item* in a place that was reserved."""
        self._items.append(item)
        self._wake()

    async def put(self, item: T) -> None:
        """Wait for a place, and put *item* there."""
        await self._places.acquire()
        self.add(item)

    @property
    def workers(self) -> int:
        """How many tasks there are."""
        return len(self._tasks)

    def fail(self, error: BaseException) -> None:
        """End it: what is there can be taken, and then *error* is raised."""
        if self._error is None and not self._closing:
            self._error = error
            for task in self._tasks:
                task.cancel()
            self._wake()

    # -- for the one who takes ---------------------------------------------------------

    async def wait(self, timeout: float | None = None) -> None:
        """
        Wait until there is something to take.

        Raises `Quiet` after *timeout* seconds without it, which changes nothing; at the end
        `Drained`, or what the first task failed with.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            if not self._tasks:
                raise Drained
            self._news = asyncio.get_running_loop().create_future()
            if timeout is None:
                await self._news
                continue
            done, _ = await asyncio.wait([self._news], timeout=timeout)
            if not done:
                raise Quiet

    async def take(self, timeout: float | None = None) -> T:
        """Take the next thing, when there is one; raises as `wait` does."""
        if not self._items:
            await self.wait(timeout)
        self._places.release()
        return self._items.popleft()

    def take_all(self) -> list[T]:
        """Take everything that is there already."""
        items = list(self._items)
        self._items.clear()
        for _ in items:
            self._places.release()
        return items

    async def aclose(self) -> None:
        """
        Cancel the tasks and wait until they are over. Harmless when done twice.

        A cancellation that comes meanwhile goes on to them, and comes out when they are over.
        """
        self._closing = True
        stopped: asyncio.CancelledError | None = None
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError as error:
                stopped = error
                for task in self._tasks:
                    task.cancel()
        # What it failed with holds the frames that hold us.
        self._error = None
        self._items.clear()
        if stopped is not None:
            raise stopped

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            # By us, or by somebody who had no business to.
            self.fail(ClosedError("Somebody else cancelled a part of this."))
        elif (error := task.exception()) is not None:
            self.fail(error)
        if not self._tasks:
            self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


@final
class Flow(AsyncClosing, AsyncIterator[T_co]):
    """
    Things that some tasks make, one after the other; an iterator and a context manager.

    The tasks start with the first pull. Leaving the ``async with``, or closing it, cancels
    them and waits until they are over; so does a ``break`` out of a plain ``async for`` when
    nothing else refers to it, a moment later. It can be read once.
    """

    __slots__ = ("__weakref__", "_feed", "_items", "_read")

    def __init__(self, feed: Feed[T_co], items: AsyncGenerator[T_co, None]) -> None:
        """Hand out *items*, which come from *feed* and close it when they end."""
        self._feed = feed
        self._items = items
        self._read = False

    def __aiter__(self) -> AsyncIterator[T_co]:
        if self._read:
            raise StreamClosedError("This is being read already, or was closed.")
        self._read = True
        # The generator itself: when it is dropped asyncio closes it.
        return self._items

    def __anext__(self) -> Coroutine[Any, Any, T_co]:
        return self._items.__anext__()

    async def aclose(self) -> None:
        """
        End it, and wait until no task is left. Harmless when done twice or after the end.

        Another task that waits for the next thing gets a `StreamClosedError`.
        """
        self._read = True
        if cast("Any", self._items).ag_running:
            self._feed.fail(StreamClosedError("This was closed by another task."))
            await self._feed.aclose()
        else:
            await self._items.aclose()


@runtime_checkable
class _Closable(Protocol):
    def aclose(self) -> Awaitable[object]: ...


async def close(source: object) -> None:
    """Close *source* if it is something that is closed, such as a generator."""
    if isinstance(source, _Closable):
        await source.aclose()
