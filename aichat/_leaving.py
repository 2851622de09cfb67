"""
How a generator is left when somebody else reads it.

Only the task that is suspended within a generator can make it leave, and closing one behind
its reader's back would look like the proper end of it. So the reader is interrupted, or told
when it comes back.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, ClassVar, Generic, TypeVar, cast
from weakref import ref

from attrs import define, field

from ._closing import AsyncClosing
from .errors import AIChatError, StreamClosedError

__all__ = ["ClosedElsewhere", "ReadOnce", "Reading", "closed_elsewhere", "task_inside"]

T_co = TypeVar("T_co", covariant=True)
Record = TypeVar("Record", bound="Reading")


class ClosedElsewhere(Exception):
    """Thrown into a generator whose reader is at work with what it has yielded last."""


def closed_elsewhere() -> StreamClosedError:
    """What the reader is told."""
    return StreamClosedError("The stream was closed by another task.")


@define(eq=False)
class Reading:
    """
    Who reads a generator, and how that ends.

    The generator has it, and says `begin` and `leave`. On a `ClosedElsewhere` it lets go of
    everything, keeps the error here, yields once more, and raises it. A cancellation that
    was `interrupted` it replaces by `reason`.
    """

    loop: asyncio.AbstractEventLoop | None = None
    #: The task that asked for the first item; weak, as it may be long-lived.
    first_reader: Callable[[], asyncio.Task[Any] | None] = field(default=lambda: None)
    #: Nothing more will come.
    done: bool = False
    error: Exception | None = None
    #: While another task closes it: who reads it, and how often it was cancelled before.
    reader: asyncio.Task[Any] | None = None
    cancelling: int = 0
    #: What the reader is to raise.
    reason: AIChatError | None = None
    #: Waited for by whoever closes it from elsewhere.
    _left: asyncio.Event | None = None

    def begin(self) -> None:
        """Somebody reads."""
        self.loop = asyncio.get_running_loop()
        if (reader := asyncio.current_task()) is not None:
            self.first_reader = ref(reader)

    def leave(self) -> None:
        """Nothing more will come."""
        self.done = True
        if self._left is not None:
            self._left.set()

    @property
    def is_read_elsewhere(self) -> bool:
        """Whether another task has been reading, and may want to go on."""
        if self.done or self.loop is None:
            return False
        reader = self.first_reader()
        if reader is None or reader.done():
            return False
        return reader is not asyncio.current_task()

    async def close(self, generator: AsyncGeneratorType[Any, None]) -> None:
        """
        Make *generator* leave, and wait until it has.

        Another task that reads it gets a `StreamClosedError`, at once if it waits within, and
        otherwise when it asks for the next item.
        """
        if self.done:
            return
        reader = task_inside(generator) if generator.ag_running else None
        if reader is not None:
            await self._interrupt(reader, closed_elsewhere())
        elif self.is_read_elsewhere:
            # Closing the generator would look like its proper end to its reader.
            with suppress(StopAsyncIteration, StreamClosedError):
                await generator.athrow(ClosedElsewhere())
        else:
            await generator.aclose()
            self.leave()

    async def _interrupt(self, reader: asyncio.Task[Any], reason: AIChatError) -> None:
        """Make *reader* leave the generator, which only it can do, and wait until it has."""
        self.cancel(reader, reason)
        if self._left is None:
            self._left = asyncio.Event()
        await self._left.wait()

    def cancel(self, reader: asyncio.Task[Any], reason: AIChatError) -> None:
        """Make *reader*, which waits within the generator, raise *reason*."""
        # It works like `asyncio.timeout`: a cancellation that is taken back where it arrives.
        if self.reader is None:
            self.reader, self.cancelling = reader, reader.cancelling()
            self.reason = reason
            reader.cancel()

    def interrupted(self) -> bool:
        """Whether a cancellation that arrives is ours, and ours alone; takes it back."""
        return self.reader is not None and self.reader.uncancel() <= self.cancelling


class ReadOnce(AsyncClosing, Generic[T_co, Record]):
    """
    The outside of a generator: an async iterator and a context manager, to be read once.

    The generator must not refer to it, only to the record that they share: a cycle would put
    off its closing until the garbage collector comes by.
    """

    __slots__ = ("__weakref__", "_items", "_record")

    #: What is told to whoever wants to read it twice.
    _read: ClassVar[str]

    def __init__(self, items: AsyncGenerator[T_co, None], record: Record) -> None:
        """Hand out *items*, whose generator says to *record* how it goes."""
        self._items = cast("AsyncGeneratorType[T_co, None]", items)
        self._record = record

    def __aiter__(self) -> AsyncIterator[T_co]:
        if self._record.done:
            raise StreamClosedError(self._read)
        # The generator itself: `async for` then pulls without coming by here.
        return self._items

    def __anext__(self) -> Awaitable[T_co]:
        return self._items.__anext__()

    async def aclose(self) -> None:
        """
        End it, release what it holds, and wait for that. Harmless after the end.

        Another task that reads it gets a `StreamClosedError`, at once if it is waiting within,
        and otherwise when it asks for the next item.
        """
        await self._record.close(self._items)

    async def _drain(self) -> None:
        """Read what is left. Raises the error that it ended with."""
        record = self._record
        if not record.done:
            async with self:
                async for _ in self:
                    pass
        if record.error is not None:
            raise record.error


_AWAITING = (CoroutineType, AsyncGeneratorType, GeneratorType, Awaitable)


def task_inside(generator: AsyncGenerator[Any, None]) -> asyncio.Task[Any] | None:
    """
    Find the task that is suspended within *generator*, if there is one in this loop.

    Asking for the current task with every chunk would cost as much as decoding one does,
    so we look for it when somebody really closes a stream from elsewhere.
    """
    tasks = asyncio.all_tasks()
    return next((t for t in tasks if generator in _awaited(t.get_coro())), None)


def _awaited(awaiting: object) -> list[object]:
    """Everything that *awaiting* stands on, down to what it waits for."""
    chain: list[object] = []
    while awaiting is not None and awaiting not in chain:
        chain.append(awaiting)
        match awaiting:
            case CoroutineType():
                awaiting = awaiting.cr_await
            case AsyncGeneratorType():
                awaiting = awaiting.ag_await
            case GeneratorType():
                awaiting = awaiting.gi_yieldfrom
            case asyncio.Future():
                awaiting = None
            case _:
                # What `__anext__` and `__await__` return holds its generator, but has no
                # name for it.
                held = gc.get_referents(awaiting)
                awaiting = next((h for h in held if isinstance(h, _AWAITING)), None)
    return chain
