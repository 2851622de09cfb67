"""
Behaviour around a call, as functions.

::

    async def polite(request, call_next):
        async for chunk in call_next(request):
            yield chunk
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

from ..types import ChatRequest, StreamChunk

__all__ = ["ClosableMiddleware", "Handler", "Middleware", "compose", "owning"]

#: Answers a request.
Handler: TypeAlias = Callable[[ChatRequest], AsyncGenerator[StreamChunk, None]]
#: Answers a request with the help of the next handler.
Middleware: TypeAlias = Callable[
    [ChatRequest, Handler], AsyncGenerator[StreamChunk, None]
]


@runtime_checkable
class ClosableMiddleware(Protocol):
    """
    A `Middleware` that owns something, such as connections.

    `Client.aclose` closes those that the client was made with, after its calls have ended.
    One that serves several clients is closed by each, so it must be usable afterwards.
    """

    def __call__(
        self, request: ChatRequest, call_next: Handler, /
    ) -> AsyncGenerator[StreamChunk, None]: ...

    async def aclose(self) -> None:
        """Let go of what it owns. Harmless when done twice."""
        ...


def compose(middleware: Sequence[Middleware], handler: Handler) -> Handler:
    """
    Wrap *handler* in *middleware*, the first one outermost, and own the closing.

    A middleware may forget to close what it got from ``call_next``: closing a stream closes
    everything that was opened beneath it, innermost first, and the outermost one is closed
    when it ends or is left.
    """
    if not middleware:
        return handler
    chain = handler
    for layer in reversed(middleware):
        chain = _around(layer, chain)

    async def stream(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        async with aclosing(chain(request)) as chunks:
            async for chunk in chunks:
                yield chunk  # noqa: ASYNC119 -- this is where everything gets closed

    return stream


def owning(layer: Middleware, aclose: Callable[[], Awaitable[None]]) -> Middleware:
    """Return *layer* as a `ClosableMiddleware`, which *aclose* closes."""
    return _Owning(layer, aclose)


@final
class _Owning:
    __slots__ = ("_aclose", "_layer")

    def __init__(
        self, layer: Middleware, aclose: Callable[[], Awaitable[None]]
    ) -> None:
        self._layer = layer
        self._aclose = aclose

    def __call__(
        self, request: ChatRequest, call_next: Handler, /
    ) -> AsyncGenerator[StreamChunk, None]:
        return self._layer(request, call_next)

    async def aclose(self) -> None:
        await self._aclose()


def _around(layer: Middleware, handler: Handler) -> Handler:
    def call(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        opened: list[AsyncGenerator[StreamChunk, None]] = []

        def call_next(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
            chunks = handler(request)
            opened.append(chunks)
            return chunks

        return _Stream(layer(request, call_next), opened)

    return call


class _Stream(AsyncGenerator[StreamChunk, None]):
    """What a layer yields, together with what it has opened for that."""

    __slots__ = ("_chunks", "_opened")

    def __init__(
        self,
        chunks: AsyncGenerator[StreamChunk, None],
        opened: list[AsyncGenerator[StreamChunk, None]],
    ) -> None:
        self._chunks = chunks
        self._opened = opened

    def __aiter__(self) -> AsyncGenerator[StreamChunk, None]:
        # The generator itself: `async for` then pulls without coming by here.
        return self._chunks

    def __anext__(self) -> Coroutine[Any, Any, StreamChunk]:
        return self._chunks.__anext__()

    def asend(self, value: None, /) -> Coroutine[Any, Any, StreamChunk]:
        return self._chunks.asend(value)

    def athrow(self, *error: Any) -> Coroutine[Any, Any, StreamChunk]:
        return self._chunks.athrow(*error)

    async def aclose(self) -> None:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._chunks.aclose)
            for chunks in self._opened:
                closing.push_async_callback(chunks.aclose)
