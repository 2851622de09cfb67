"""Server-sent events for plain ASGI, and so for whatever stands on it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from ..errors import AIChatError
from ..types import dumps
from ._errors import http_status
from ._events import SSE_HEADERS, EventStream
from ._ours import to_sse

__all__ = ["sse_response"]

#: As frameworks have them.
_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]


async def sse_response(
    scope: MutableMapping[str, Any],
    receive: _Receive,
    send: _Send,
    stream: AsyncIterable[Any] | EventStream,
    *,
    headers: Mapping[str, str] | None = None,
) -> None:
    """
    Answer an ASGI request with *stream*, in our own form or that of an `EventStream`.

    A stream that fails before there is anything to send is answered with a status and a JSON
    body. The stream is closed as soon as the client is gone, and in any case at the end. The
    body of the request must have been read before, or is lost::

        async def app(scope, receive, send):
            await sse_response(scope, receive, send, client.stream("Hi"))
    """
    events = stream if isinstance(stream, EventStream) else to_sse(stream)
    more = _encoded(headers or {})

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with events:
        events.leave_when(gone)
        try:
            try:
                await events.begin()
            except AIChatError as error:
                await _refuse(send, events, error, more)
            else:
                await _pass_on(send, events, more)
        except OSError:
            # Servers say so in `send`, too, when the client is gone (ASGI 2.4).
            return


async def _pass_on(
    send: _Send, events: EventStream, more: list[tuple[bytes, bytes]]
) -> None:
    await _head(send, 200, [*_encoded(SSE_HEADERS), *more])
    async for data in events:
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _refuse(
    send: _Send,
    events: EventStream,
    error: AIChatError,
    more: list[tuple[bytes, bytes]],
) -> None:
    headers = [(b"content-type", b"application/json"), *more]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
    await _head(send, http_status(error), headers)
    body = dumps(events.error_body(error))
    await send({"type": "http.response.body", "body": body})


async def _head(send: _Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    start = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]
