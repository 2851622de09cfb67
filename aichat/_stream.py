"""What `Client.stream` returns."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Protocol, Self, cast, final
from weakref import ref

from attrs import define, field

from .errors import AIChatError, StreamClosedError
from .middleware import Handler
from .types import Accumulator, ChatRequest, ChatResponse, StreamChunk, TextDelta

__all__ = ["ChatStream", "UnderWay"]

#: Chunks that are kept as they are. A chunk is some 100 bytes, and the text in it a few.
_MOST_KEPT = 1000


@final
class ChatStream:
    """
    An answer that arrives chunk by chunk. Nothing is sent before the first one is asked for.

    It is an async iterator and a context manager. Leaving the ``async with``, or closing
    it, releases the connection at once; so does a ``break`` out of a plain ``async for``
    when nothing else refers to the stream. It can be read once::

        async with client.stream("Count to a million.") as stream:
            async for chunk in stream:
                if enough(chunk):
                    break
    """

    __slots__ = ("__weakref__", "_chunks", "_record", "request")

    def __init__(
        self,
        handler: Handler,
        request: ChatRequest,
        under_way: set[UnderWay] | None = None,
    ) -> None:
        """Ask *handler* for *request*, and be in *under_way* while it answers."""
        #: What was asked, as the middleware will see it.
        self.request = request
        self._record = _Record(set() if under_way is None else under_way)
        # The generator must not refer to us: a cycle would put off its closing until the
        # garbage collector comes by.
        self._chunks = cast(
            "AsyncGeneratorType[StreamChunk, None]",
            _recorded(handler, request, self._record),
        )
        self._record.generator = ref(self._chunks)

    def __aiter__(self) -> AsyncIterator[StreamChunk]:
        if self._record.done:
            raise StreamClosedError(
                "This stream has been read or closed. Its response() is still there; "
                "for another answer, call stream() again."
            )
        # The generator itself: `async for` then pulls without coming by here.
        return self._chunks

    def __anext__(self) -> Awaitable[StreamChunk]:
        return self._chunks.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def text(self) -> AsyncGenerator[str, None]:
        """Yield only the visible text, and close the stream at the end."""
        async with self:
            async for chunk in self:
                if isinstance(chunk, TextDelta):
                    yield chunk.text  # noqa: ASYNC119 -- holding the stream is the point

    async def response(self) -> ChatResponse:
        """
        Read what is left and return what the whole stream folds to.

        Raises the error that the stream ended with, and `StreamClosedError` with what had
        arrived if it was left early.
        """
        record = self._record
        if not record.done:
            async with self:
                async for _ in self:
                    pass
        if record.error is not None:
            raise record.error
        if not record.complete:
            raise StreamClosedError(
                "The stream was closed before its end.", partial=record.fold()
            )
        return record.fold()

    def partial(self) -> ChatResponse:
        """What has arrived so far; its `finish_reason` is ``None`` before the end."""
        return self._record.fold()

    async def aclose(self) -> None:
        """
        Release the connection. Harmless when done twice or after the end.

        Another task that reads it gets a `StreamClosedError`, at once if it is waiting for a
        chunk, and otherwise when it asks for the next one.
        """
        if self._record.done:
            return
        reader = task_inside(self._chunks) if self._chunks.ag_running else None
        if reader is not None:
            await self._record.interrupt(reader, _closed_elsewhere())
        elif self._record.is_read_elsewhere:
            # Closing the generator would look like the end of the answer to its reader.
            with suppress(StopAsyncIteration, StreamClosedError):
                await self._chunks.athrow(_ClosedElsewhere())
        else:
            await self._chunks.aclose()
            self._record.leave()


class UnderWay(Protocol):
    """A stream that is being read."""

    def end(self, error: AIChatError) -> None:
        """Make whoever waits for its next chunk raise *error*; callable from any thread."""
        ...


class _ClosedElsewhere(Exception):
    """Thrown into a stream whose reader is at work with a chunk."""


def _closed_elsewhere() -> StreamClosedError:
    return StreamClosedError("The stream was closed by another task.")


@define(eq=False)
class _Record:
    """What is known of a stream; shared by the `ChatStream` and its generator."""

    under_way: set[UnderWay]
    #: Weak, as a cycle would put off the generator's closing.
    generator: Callable[[], AsyncGeneratorType[StreamChunk, None] | None] = field(
        default=lambda: None
    )
    loop: asyncio.AbstractEventLoop | None = None
    #: The task that asked for the first chunk; weak, as it may be long-lived.
    first_reader: Callable[[], asyncio.Task[Any] | None] = field(default=lambda: None)
    #: Those that have not been folded yet.
    chunks: list[StreamChunk] = field(factory=list)
    so_far: Accumulator = field(factory=Accumulator)
    #: Nothing more will come.
    done: bool = False
    #: It came to its proper end.
    complete: bool = False
    error: Exception | None = None
    #: While another task closes the stream: who reads it, and how often it was cancelled
    #: before.
    reader: asyncio.Task[Any] | None = None
    cancelling: int = 0
    #: What the reader is to raise.
    reason: AIChatError | None = None
    #: Waited for by whoever closes the stream from elsewhere.
    _left: asyncio.Event | None = None
    _folded: ChatResponse | None = None

    def fold(self) -> ChatResponse:
        """Fold what there is."""
        if self._folded is None or not self.done:
            self.settle()
            self._folded = self.so_far.response()
        return self._folded

    def settle(self) -> None:
        """Fold the chunks into what came before them, and let go of them."""
        add = self.so_far.add
        for chunk in self.chunks:
            add(chunk)
        self.chunks.clear()

    def begin(self) -> None:
        """Somebody reads."""
        self.loop = asyncio.get_running_loop()
        if (reader := asyncio.current_task()) is not None:
            self.first_reader = ref(reader)
        self.under_way.add(self)

    @property
    def is_read_elsewhere(self) -> bool:
        """Whether another task has been reading, and may want to go on."""
        if self.done or self.loop is None:
            return False
        reader = self.first_reader()
        if reader is None or reader.done():
            return False
        return reader is not asyncio.current_task()

    def end(self, error: AIChatError) -> None:
        """Make whoever waits for a chunk raise *error*, in its own loop."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._end, error)

    def _end(self, error: AIChatError) -> None:
        generator = self.generator()
        if generator is None or not generator.ag_running:
            return
        reader = task_inside(generator)
        if reader is not None:
            self._cancel(reader, error)

    async def interrupt(self, reader: asyncio.Task[Any], reason: AIChatError) -> None:
        """Make *reader* leave the generator, which only it can do, and wait until it has."""
        self._cancel(reader, reason)
        if self._left is None:
            self._left = asyncio.Event()
        await self._left.wait()

    def _cancel(self, reader: asyncio.Task[Any], reason: AIChatError) -> None:
        # It works like `asyncio.timeout`: a cancellation that is taken back where it arrives.
        if self.reader is None:
            self.reader, self.cancelling = reader, reader.cancelling()
            self.reason = reason
            reader.cancel()

    def interrupted(self) -> bool:
        """Whether a cancellation that arrives is ours, and ours alone; takes it back."""
        return self.reader is not None and self.reader.uncancel() <= self.cancelling

    def leave(self) -> None:
        """Nothing more will come."""
        self.done = True
        self.under_way.discard(self)
        if self._left is not None:
            self._left.set()


async def _recorded(
    handler: Handler, request: ChatRequest, record: _Record
) -> AsyncGenerator[StreamChunk, None]:
    """Pass the chunks on, and keep them: folding each at once would take twice the time."""
    kept = record.chunks
    keep = kept.append
    record.begin()
    try:
        async with aclosing(handler(request)) as chunks:
            async for chunk in chunks:
                keep(chunk)
                yield chunk  # noqa: ASYNC119 -- closed by the chain
                if len(kept) >= _MOST_KEPT:
                    record.settle()
        record.complete = True
    except _ClosedElsewhere:
        record.error = _closed_elsewhere()
        record.error.partial = record.fold()
    except asyncio.CancelledError:
        reason = record.reason
        if reason is None or not record.interrupted():
            raise
        reason.partial = record.fold()
        record.error = reason
        raise reason from None
    except Exception as error:
        if isinstance(error, AIChatError) and error.partial is None:
            error.partial = record.fold()
        record.error = error
        raise
    finally:
        record.leave()
    if record.error is not None:
        # Nothing is held any more. This goes to whoever has closed us, and the error to the
        # reader, when it comes back for the next chunk.
        yield cast("StreamChunk", None)
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
