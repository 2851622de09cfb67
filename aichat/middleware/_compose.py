"""
Behaviour around a call, as functions.

::

    async def polite(request, call_next):
        async for chunk in call_next(request):
            yield chunk
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TypeAlias

from ..types import ChatRequest, StreamChunk

__all__ = ["Handler", "Middleware", "compose"]

#: Answers a request.
Handler: TypeAlias = Callable[[ChatRequest], AsyncGenerator[StreamChunk, None]]
#: Answers a request with the help of the next handler.
Middleware: TypeAlias = Callable[
    [ChatRequest, Handler], AsyncGenerator[StreamChunk, None]
]


def compose(middleware: Sequence[Middleware], handler: Handler) -> Handler:
    """
    Wrap *handler* in *middleware*, the first one outermost, and own the closing.

    A middleware may forget to close what it got from ``call_next``: everything that was
    opened below is closed when the stream ends or is left, innermost first.
    """
    if not middleware:
        return handler

    async def stream(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        async with AsyncExitStack() as opened:

            def tracked(open_stream: Handler) -> Handler:
                def call(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
                    chunks = open_stream(request)
                    opened.push_async_callback(chunks.aclose)
                    return chunks

                return call

            chain = tracked(handler)
            for layer in reversed(middleware):
                chain = tracked(_link(layer, chain))
            async for chunk in chain(request):
                yield chunk  # noqa: ASYNC119 -- this is where everything gets closed

    return stream


def _link(layer: Middleware, call_next: Handler) -> Handler:
    return lambda request: layer(request, call_next)
