"""
Following an answer from beside it (O3).

Who only watches need not have every chunk pass through its hands: another generator on the way
costs more than all that it would do with most of them. So whoever keeps the chunks anyway,
which is the stream that the application reads, tells those who watch of them, many at a time;
at once only of what opens an answer, and of its end, for their times matter.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, contextmanager
from typing import Final, Protocol, final

from ..types import ChatRequest, ResponseEnd, ResponseStart, StreamChunk, UsageUpdate
from ._compose import Handler, Middleware

__all__ = ["Watch", "Watcher", "Watching", "harmless", "outermost_watchers"]

_log = logging.getLogger("aichat")

#: Chunks that are told of at once, where nobody keeps them anyway.
_MOST_KEPT: Final = 200
#: What may come before there is output.
_NO_OUTPUT: Final = frozenset[type]({ResponseStart, UsageUpdate})


@contextmanager
def harmless() -> Generator[None, None, None]:
    """Log what goes wrong within: whoever only watches must not be what breaks the call."""
    try:
        yield
    except Exception:
        _log.exception("Telemetry raised")


class Watch(Protocol):
    """Follows one answer. What it raises is logged."""

    def around(self) -> AbstractContextManager[object]:
        """
        Return what to be in during each pull until there is output.

        Until then things may happen beneath a pull; afterwards nothing does.
        """
        ...

    def note(self, chunks: Sequence[StreamChunk]) -> None:
        """Take those that have come since the last time; they are not yours to keep."""
        ...

    def ended(self, error: BaseException | None) -> None:
        """Nothing more will come; *error* is `GeneratorExit` if the answer was left."""
        ...


class Watcher(ABC):
    """A middleware that changes nothing and only watches."""

    @abstractmethod
    def watch(self, request: ChatRequest) -> Watch | None:
        """Begin to follow the answer to *request*; ``None`` if nobody wants to know."""

    def __call__(
        self, request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        """Answer with *call_next*, and watch from where this stands among the middleware."""
        return _watched(self, request, call_next)


def outermost_watchers(
    layers: Sequence[Middleware],
) -> tuple[tuple[Watcher, ...], Sequence[Middleware]]:
    """Part those that stand around all of *layers*, and only watch, from the rest."""
    watchers: list[Watcher] = []
    for layer in layers:
        if not isinstance(layer, Watcher):
            break
        watchers.append(layer)
    return tuple(watchers), layers[len(watchers) :]


@final
class Watching:
    """
    One answer, and all who watch it.

    Whoever reads it does so `within`, `pull`s until something is `spoken`, and then appends
    to `chunks` by itself, says `tell` at the end of the answer, and now and then `forget`.
    """

    __slots__ = ("_request", "_told", "_watchers", "_watches", "chunks", "spoken")

    def __init__(self, watchers: Sequence[Watcher], request: ChatRequest) -> None:
        #: The answer, as far as it has not been forgotten.
        self.chunks: list[StreamChunk] = []
        #: Whether there is output, or nobody who waits for it.
        self.spoken = not watchers
        self._request = request
        #: The outermost first, and what they have begun.
        self._watchers = watchers
        self._watches: list[Watch] = []
        self._told = 0

    @contextmanager
    def within(
        self, left: type[BaseException] = GeneratorExit
    ) -> Generator[None, None, None]:
        """Begin, and end as it ends; *left* says that the reader has gone."""
        self._begin()
        try:
            yield
        except left:
            self._end(GeneratorExit())
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    async def pull(
        self, chunks: AsyncGenerator[StreamChunk, None]
    ) -> StreamChunk | None:
        """Take the next one; ``None`` at the end."""
        with ExitStack() as around:
            for watch in self._watches:
                around.enter_context(watch.around())
            chunk = await anext(chunks, None)
        if chunk is not None:
            self.spoken = type(chunk) not in _NO_OUTPUT
            self.chunks.append(chunk)
            self.tell()
        return chunk

    def tell(self) -> None:
        """Tell of what has come since the last time."""
        if not self._watches:
            return
        chunks = self.chunks[self._told :] if self._told else self.chunks
        self._told = len(self.chunks)
        if chunks:
            for watch in self._watches:
                with harmless():
                    watch.note(chunks)

    def forget(self) -> None:
        """Let go of what has come, when everybody has been told."""
        self.tell()
        self.chunks.clear()
        self._told = 0

    def _begin(self) -> None:
        watch: Watch | None = None
        with ExitStack() as around:
            for watcher in self._watchers:
                if watch is not None:
                    around.enter_context(watch.around())
                    watch = None
                with harmless():
                    watch = watcher.watch(self._request)
                if watch is not None:
                    self._watches.append(watch)
        self.spoken = not self._watches

    def _end(self, error: BaseException | None) -> None:
        self.tell()
        # They know the prompt, and the stream may be kept for long.
        watches, self._watches = self._watches, []
        _ended(watches, error)


def _ended(watches: Sequence[Watch], error: BaseException | None) -> None:
    """Tell the innermost first; what it has to say belongs to those around it."""
    if not watches:
        return
    outer, *inner = watches
    if inner:
        with outer.around():
            _ended(inner, error)
    with harmless():
        outer.ended(error)


async def _watched(
    watcher: Watcher, request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    """Watch from the midst of other layers, where nobody else keeps what passes."""
    watching = Watching((watcher,), request)
    kept = watching.chunks
    keep = kept.append
    with watching.within():
        async with aclosing(call_next(request)) as chunks:
            while not watching.spoken:
                chunk = await watching.pull(chunks)
                if chunk is None:
                    break
                watching.forget()
                yield chunk  # noqa: ASYNC119 -- nothing is held; closed by the chain
            async for chunk in chunks:
                keep(chunk)
                if type(chunk) is ResponseEnd or len(kept) >= _MOST_KEPT:
                    watching.forget()
                yield chunk  # noqa: ASYNC119 -- nothing is held; closed by the chain
