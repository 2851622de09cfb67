"""What `Client.stream` returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from types import AsyncGeneratorType
from typing import Protocol, cast, final
from weakref import ref

from attrs import define, field

from ._leaving import (
    ClosedElsewhere,
    Reading,
    ReadOnce,
    closed_elsewhere,
    task_inside,
)
from .errors import AIChatError, StreamClosedError
from .middleware import Handler
from .middleware._watching import Watcher, Watching
from .types import (
    Accumulator,
    ChatRequest,
    ChatResponse,
    ResponseEnd,
    StreamChunk,
    TextDelta,
)

__all__ = ["ChatStream", "UnderWay"]

#: Chunks that are kept as they are. A chunk is some 100 bytes, and the text in it a few.
_MOST_KEPT = 1000


@final
class ChatStream(ReadOnce[StreamChunk, "_Record"]):
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

    __slots__ = ("request",)

    _read = (
        "This stream has been read or closed. Its response() is still there; for another "
        "answer, call stream() again."
    )

    def __init__(
        self,
        handler: Handler,
        request: ChatRequest,
        under_way: set[UnderWay] | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        """
        Ask *handler* for *request*, and be in *under_way* while it answers.

        *watchers* stand around the handler, the first outermost.
        """
        #: What was asked, as the middleware will see it.
        self.request = request
        record = _Record(
            under_way=set() if under_way is None else under_way,
            watching=Watching(watchers, request),
        )
        super().__init__(_recorded(handler, request, record), record)
        record.generator = ref(self._items)

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
        await self._drain()
        record = self._record
        if not record.complete:
            raise StreamClosedError(
                "The stream was closed before its end.", partial=record.fold()
            )
        return record.fold()

    def partial(self) -> ChatResponse:
        """What has arrived so far; its `finish_reason` is ``None`` before the end."""
        return self._record.fold()


class UnderWay(Protocol):
    """A stream that is being read."""

    def end(self, error: AIChatError) -> None:
        """Make whoever waits for its next chunk raise *error*; callable from any thread."""
        ...


@define(eq=False)
class _Record(Reading):
    """What is known of a stream; shared by the `ChatStream` and its generator."""

    #: Has the chunks.
    watching: Watching = field(kw_only=True)
    under_way: set[UnderWay] = field(factory=set)
    #: Weak, as a cycle would put off the generator's closing.
    generator: Callable[[], AsyncGeneratorType[StreamChunk, None] | None] = field(
        default=lambda: None
    )
    so_far: Accumulator = field(factory=Accumulator)
    #: It came to its proper end.
    complete: bool = False
    _folded: ChatResponse | None = None

    @property
    def chunks(self) -> list[StreamChunk]:
        """Those that have not been folded yet."""
        return self.watching.chunks

    def fold(self) -> ChatResponse:
        """Fold what there is."""
        if self._folded is not None:
            return self._folded
        self.settle()
        response = self.so_far.response()
        if self.done:  # else there is more to come
            self._folded = response
        return response

    def settle(self) -> None:
        """Fold the chunks into what came before them, and let go of them."""
        add = self.so_far.add
        for chunk in self.chunks:
            add(chunk)
        self.watching.forget()

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
    watching = record.watching
    kept = record.chunks
    keep = kept.append
    record.begin()
    try:
        with watching.within(left=ClosedElsewhere):
            async with aclosing(handler(request)) as chunks:
                while not watching.spoken:
                    chunk = await watching.pull(chunks)
                    if chunk is None:
                        break
                    yield chunk  # noqa: ASYNC119 -- nothing is held; closed by the chain
                    if len(kept) >= _MOST_KEPT:
                        record.settle()
                async for chunk in chunks:
                    keep(chunk)
                    if type(chunk) is ResponseEnd:
                        watching.tell()
                    yield chunk  # noqa: ASYNC119 -- nothing is held; closed by the chain
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
