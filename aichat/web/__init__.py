"""
Answers for browsers and other programs, as server-sent events.

`to_sse` and `to_openai_sse` make the bytes of a stream. Who sends them: `sse_response` for
plain ASGI, `aichat.web.starlette` for Starlette and FastAPI, `aichat.web.aiohttp` for
aiohttp.web. Each ends the stream, and so the call upstream, as soon as the client is gone.
`from_sse` reads what `to_sse` wrote.
"""

from ._errors import error_body as error_body, http_status as http_status
from ._events import SSE_HEADERS as SSE_HEADERS, EventStream as EventStream
from ._openai import to_openai_sse as to_openai_sse
from ._ours import from_sse as from_sse, to_sse as to_sse
from .asgi import sse_response as sse_response

__all__ = [
    "SSE_HEADERS",
    "EventStream",
    "error_body",
    "from_sse",
    "http_status",
    "sse_response",
    "to_openai_sse",
    "to_sse",
]
