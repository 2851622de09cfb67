"""Server-sent events for aiohttp.web."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from typing import Any, Final

from aiohttp import web

from ..errors import AIChatError
from ..types import dumps
from ._errors import http_status
from ._events import SSE_HEADERS, EventStream
from ._ours import to_sse

__all__ = ["sse_response"]

#: Seconds between looks at the connection: aiohttp tells a handler that the client is gone
#: only when it writes, or with ``handler_cancellation=True``.
_LOOK: Final = 0.05


async def sse_response(
    request: web.Request,
    stream: AsyncIterable[Any] | EventStream,
    *,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """
    Answer *request* with *stream*, in our own form or that of an `EventStream`.

    A stream that fails before there is anything to send is answered with a status and a JSON
    body. The stream is closed as soon as the client is gone, and in any case at the end::

        async def chat(request: web.Request) -> web.StreamResponse:
            question = await request.text()
            return await sse_response(request, client.stream(question))
    """
    events = stream if isinstance(stream, EventStream) else to_sse(stream)

    async def gone() -> None:
        while (transport := request.transport) is not None:
            if transport.is_closing():
                return
            await asyncio.sleep(_LOOK)

    async with events:
        events.leave_when(gone)
        try:
            await events.begin()
        except AIChatError as error:
            return _refusal(events, error, headers or {})
        response = web.StreamResponse(headers={**SSE_HEADERS, **(headers or {})})
        await response.prepare(request)
        try:
            async for data in events:
                await response.write(data)
            await response.write_eof()
        except ConnectionError:
            # The client is gone.
            pass
        return response


def _refusal(
    events: EventStream, error: AIChatError, headers: Mapping[str, str]
) -> web.Response:
    more = dict(headers)
    if error.retry_after is not None:
        more["Retry-After"] = str(max(1, round(error.retry_after)))
    return web.Response(
        body=dumps(events.error_body(error)),
        status=http_status(error),
        headers=more,
        content_type="application/json",
    )
