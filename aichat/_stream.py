"""What `Client.stream` returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from types import AsyncGeneratorType, TracebackType
from typing import Protocol, Self, cast, final
from weakref import ref

from attrs import define, field

from ._leaving import ClosedElsewhere, Reading, closed_elsewhere, task_inside
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
        self._record = _Record(under_way=set() if under_way is None else under_way)
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
        await self._record.close(self._chunks)


class UnderWay(Protocol):
    """A stream that is being read."""

    def end(self, error: AIChatError) -> None:
        """Make whoever waits for its next chunk raise *error*; callable from any thread."""
        ...


@define(eq=False)
class _Record(Reading):
    """What is known of a stream; shared by the `ChatStream` and its generator."""

    under_way: set[UnderWay] = field(factory=set)
    #: Weak, as a cycle would put off the generator's closing.
    generator: Callable[[], AsyncGeneratorType[StreamChunk, None] | None] = field(
        default=lambda: None
    )
    #: Those that have not been folded yet.
    chunks: list[StreamChunk] = field(factory=list)
    so_far: Accumulator = field(factory=Accumulator)
    #: It came to its proper end.
    complete: bool = False
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
        super().begin()
        self.under_way.add(self)

    def leave(self) -> None:
        self.under_way.discard(self)
        super().leave()

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
            self.cancel(reader, error)


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
    except ClosedElsewhere:
        record.error = closed_elsewhere()
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
