"""
Server-sent events for Starlette and FastAPI, which you install yourself.

::

    @app.post("/chat")
    async def chat(question: Question) -> EventResponse:
        return EventResponse(client.stream(question.text))
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import Any, final

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ._events import SSE_HEADERS, EventStream
from .asgi import sse_response

__all__ = ["EventResponse"]


@final
class EventResponse(Response):
    """
    A response that is a stream; see `aichat.web.sse_response`.

    Unlike Starlette's ``StreamingResponse`` it closes the stream as soon as the client is
    gone, also while the model thinks.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        stream: AsyncIterable[Any] | EventStream,
        *,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        """Answer with *stream*, in our own form or that of an `EventStream`."""
        # Not theirs, which would add a content-length.
        self.status_code = 200
        self.background = background
        self._stream = stream
        self._own = {name.lower() for name in SSE_HEADERS}
        self.init_headers({**SSE_HEADERS, **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        more = {k: v for k, v in self.headers.items() if k not in self._own}
        await sse_response(scope, receive, send, self._stream, headers=more)
        if self.background is not None:
            await self.background()
