"""
A server that answers like a provider, without a model.

It listens on a real socket, so that a client, its transport and its deadlines can be tested
as they are. What it says is in `_sim_brain`, how it says it in a file for each dialect; this
one owns the server, the records, and everything that goes wrong on purpose.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web
from attrs import field, frozen

from ..errors import ConfigError
from ..types import dumps, loads
from ._sim_anthropic import ANTHROPIC
from ._sim_brain import Memory, think
from ._sim_dialect import Event, Exchange, Refused, SimDialect
from ._sim_faults import Fault, FaultKind
from ._sim_ollama import OLLAMA
from ._sim_openai_chat import OPENAI_CHAT

__all__ = ["ReceivedRequest", "Simulator"]

#: Another dialect is one more line.
_DIALECTS: Final[Mapping[str, SimDialect]] = {
    dialect.name: dialect for dialect in (OPENAI_CHAT, ANTHROPIC, OLLAMA)
}
_CREDENTIALS: Final = frozenset({
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "cookie",
})
_FAULT_HEADER: Final = "x-aichat-fault"
#: As Anthropic has it.
_MAX_BODY: Final = 32 * 1024 * 1024
_JSON: Final = "application/json"
_PAGE: Final = b"<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>\n"


@frozen(kw_only=True)
class ReceivedRequest:
    """What a client sent, without the key."""

    dialect: str
    method: str
    #: Without the query.
    path: str
    #: In lower case; those that carry credentials are left out.
    headers: Mapping[str, str] = field(hash=False)
    #: Whether there was a key.
    has_key: bool
    #: The JSON body; ``None`` if there was none, or no JSON.
    body: Any = field(hash=False, repr=False)


class _HungUp(ConnectionError):
    """We closed the connection ourselves: nothing more can be said."""


class Simulator:
    """
    A provider of several dialects on ``127.0.0.1``, for tests and for trying things out.

    ::

        async with Simulator() as sim:
            client = openai.AsyncOpenAI(base_url=sim.base_url("openai-chat"), api_key="any")

    It takes any key, or only *api_keys* if they are given, and waits *pace* seconds after
    each word, with *sleep*. It runs in the loop that it is started in.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        pace: float = 0.0,
        api_keys: Iterable[str] | None = None,
        keep: int = 1000,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._host = host
        self._port = port
        self._pace = pace
        self._keys = None if api_keys is None else frozenset(api_keys)
        self._keep = keep
        self._sleep = sleep
        self._runner: web.AppRunner | None = None
        self._memory = Memory()
        self._faults: deque[Fault] = deque()
        self._answering: dict[int, web.Request] = {}
        self._idle = asyncio.Event()
        self._number = 0
        #: The latest requests, *keep* at most.
        self.requests: list[ReceivedRequest] = []
        #: How many there were, since the beginning or `clear`.
        self.request_count = 0
        #: How many clients left before their answer was complete.
        self.disconnects = 0

    def __repr__(self) -> str:
        where = f"at {self.url}" if self._runner else "not started"
        return f"<Simulator {where}>"

    # -- running -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def start(self) -> Self:
        """Listen. Raises `ConfigError` if it does already, `OSError` if the port is taken."""
        if self._runner is not None:
            raise ConfigError("The simulator is running already.")
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Belongs to the loop that it is first waited in.
        self._idle = asyncio.Event()
        self._idle.set()
        # The handler is cancelled when its client goes: that is how we notice.
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        return self

    async def aclose(self) -> None:
        """Stop listening and hang up on everyone; harmless when done twice."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for request in self._answering.values():
            if request.transport is not None:
                request.transport.abort()
        await runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens: ``http://127.0.0.1:…``."""
        if self._runner is None:
            raise ConfigError(
                "The simulator is not running: use `async with Simulator()`."
            )
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def base_url(self, dialect: str) -> str:
        """What a client of *dialect* takes for its base URL: ``"openai-chat"``, ``"anthropic"``."""
        if dialect not in _DIALECTS:
            raise ConfigError(
                f"The simulator does not speak {dialect!r}, but {', '.join(_DIALECTS)}."
            )
        return self.url + _DIALECTS[dialect].base_path

    @property
    def base_urls(self) -> dict[str, str]:
        """The base URL of every dialect that it speaks."""
        return {name: self.base_url(name) for name in _DIALECTS}

    # -- watching ----------------------------------------------------------------------

    @property
    def active(self) -> int:
        """How many answers are under way."""
        return len(self._answering)

    async def idle(self) -> None:
        """Wait until no answer is under way: the time to look at `disconnects`."""
        await self._idle.wait()

    def clear(self) -> None:
        """Forget the requests, the counts, the cached prompts and the faults to come."""
        self.requests.clear()
        self._faults.clear()
        self._memory.clear()
        self.request_count = self.disconnects = 0

    # -- misfortune --------------------------------------------------------------------

    def fail_next(
        self,
        kind: FaultKind | Fault = "status",
        *,
        times: int = 1,
        after: int = 0,
        status: int = 503,
        code: str | None = None,
        message: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """
        Let something go wrong with the next requests, *times* of them; see `Fault`.

        A single request can ask for it with a header: ``x-aichat-fault: hang_up; after=3``.
        """
        fault = (
            kind
            if isinstance(kind, Fault)
            else Fault(
                kind,
                after=after,
                status=status,
                code=code,
                message=message,
                headers=headers,
            )
        )
        self._faults.extend([fault] * times)

    # -- answering ---------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.match_info["path"]
        for dialect in _DIALECTS.values():
            if path.startswith(dialect.prefix + "/"):
                break
        else:
            return web.json_response({"base_urls": self.base_urls}, status=404)
        self._number += 1
        visit = _Visit(dialect, request, path, self._number)
        try:
            async with self._under_way(visit):
                return await self._answer(visit)
        except Refused as refused:
            return web.Response(
                body=dumps(dialect.error(refused, visit.request_id)),
                status=refused.status,
                headers={**visit.answer_headers(), **refused.headers},
                content_type=_JSON,
            )
        except ConnectionError:
            # Nobody reads it; aiohttp would log anything else as our failure.
            return web.Response()

    @asynccontextmanager
    async def _under_way(self, visit: _Visit) -> AsyncGenerator[None, None]:
        self._answering[visit.number] = visit.request
        self._idle.clear()
        try:
            yield
        except _HungUp:
            raise
        except (asyncio.CancelledError, ConnectionError):
            # Unless it is us who leave.
            if self._runner is not None:
                self.disconnects += 1
            raise
        finally:
            del self._answering[visit.number]
            if not self._answering:
                self._idle.set()

    async def _answer(self, visit: _Visit) -> web.StreamResponse:
        body = await visit.body()
        key = visit.dialect.key(visit.headers)
        self._record(visit, key, body)
        fault = self._fault(visit.headers)
        if fault is not None and fault.kind == "status":
            raise fault.refused()
        if self._keys is not None and key not in self._keys:
            raise visit.dialect.unauthorized(key)
        match visit.method, visit.path.removeprefix(visit.dialect.prefix):
            case "GET", path if path in visit.dialect.models_paths:
                return await self._send(visit, _halves(visit.dialect.models()), fault)
            case "GET", path if path in visit.dialect.pages:
                return await self._send(
                    visit, _halves(visit.dialect.pages[path]), fault
                )
            case "POST", path if path in visit.dialect.chat_paths:
                return await self._chat(visit, body, fault)
            case _:
                raise Refused(
                    f"Invalid URL ({visit.method} {visit.path})",
                    status=404,
                    code="unknown_url",
                )

    async def _chat(
        self, visit: _Visit, body: Any, fault: Fault | None
    ) -> web.StreamResponse:
        dialect = visit.dialect
        exchange = self._think(visit, body)
        if body.get("stream", dialect.streams):
            return await self._send(visit, dialect.stream(exchange), fault, stream=True)
        return await self._send(visit, _halves(dialect.document(exchange)), fault)

    def _think(self, visit: _Visit, body: Any) -> Exchange:
        if not isinstance(body, dict):
            raise Refused(
                "We could not parse the body of your request as a JSON object."
            )
        try:
            question = visit.dialect.read(body, visit.headers)
            answer = think(question, self._memory)
        except (AttributeError, LookupError, TypeError) as error:
            raise Refused(f"The request has an impossible shape: {error!r}") from None
        except ValueError as error:
            raise Refused(f"Invalid request: {error}") from None
        return Exchange(
            body=body,
            question=question,
            answer=answer,
            number=visit.number,
            created=int(time.time()),
        )

    async def _send(
        self,
        visit: _Visit,
        events: Iterable[Event],
        fault: Fault | None,
        *,
        stream: bool = False,
    ) -> web.StreamResponse:
        headers = visit.answer_headers()
        if fault is not None:
            headers |= fault.headers
            if fault.kind == "html":
                return web.Response(
                    body=_PAGE, headers=headers, content_type="text/html"
                )
            if fault.kind == "empty":
                return web.Response(headers=headers)
            if fault.kind == "error_event" and not stream:
                raise fault.refused()
        response = web.StreamResponse(headers=headers)
        response.content_type = visit.dialect.stream_type if stream else _JSON
        if stream:
            response.headers["cache-control"] = "no-cache"
        elif fault is None:
            events = tuple(events)
            response.content_length = sum(len(event.data) for event in events)
        await response.prepare(visit.request)
        await self._speak(visit, response, events, fault)
        await response.write_eof()
        return response

    async def _speak(
        self,
        visit: _Visit,
        response: web.StreamResponse,
        events: Iterable[Event],
        fault: Fault | None,
    ) -> None:
        said = 0
        for event in events:
            if fault is not None and said >= fault.after:
                if not await _misbehave(visit, response, fault):
                    return
                fault = None
            await response.write(event.data)
            if event.word:
                said += 1
                await self._sleep(self._pace)

    def _record(self, visit: _Visit, key: str | None, body: Any) -> None:
        self.request_count += 1
        received = ReceivedRequest(
            dialect=visit.dialect.name,
            method=visit.method,
            path=visit.path,
            headers={k: v for k, v in visit.headers.items() if k not in _CREDENTIALS},
            has_key=key is not None,
            body=body,
        )
        self.requests.append(received)
        del self.requests[: -self._keep]

    def _fault(self, headers: Mapping[str, str]) -> Fault | None:
        text = headers.get(_FAULT_HEADER)
        if text is None:
            return self._faults.popleft() if self._faults else None
        try:
            return Fault.parse(text)
        except ConfigError as error:
            raise Refused(f"{_FAULT_HEADER}: {error}") from None


@frozen
class _Visit:
    """One request, as the parts of an answer want to know it."""

    dialect: SimDialect
    request: web.Request
    path: str
    number: int

    @property
    def headers(self) -> dict[str, str]:
        """Its headers, in lower case."""
        return {name.lower(): value for name, value in self.request.headers.items()}

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def request_id(self) -> str:
        return f"req_sim{self.number:08d}"

    def answer_headers(self) -> dict[str, str]:
        return self.dialect.headers(self.number, self.request_id)

    async def body(self) -> Any:
        """The JSON body, or ``None``. Raises `Refused` for one that is too large."""
        try:
            data = await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Refused("Request exceeds the maximum size", status=413) from None
        try:
            return loads(data)
        except ValueError:
            return None


async def _misbehave(visit: _Visit, response: web.StreamResponse, fault: Fault) -> bool:
    """Do what *fault* says in the middle of a body, and say whether to go on after it."""
    match fault.kind:
        case "error_event":
            event = visit.dialect.error_event(fault.refused(), visit.request_id)
            await response.write(event)
        case "hang_up":
            if visit.request.transport is not None:
                visit.request.transport.close()
            raise _HungUp
        case "stall":
            # Until the client has enough, and this is cancelled.
            await asyncio.get_running_loop().create_future()
        case "garbage":
            await response.write(b'data: {"oops": \n\n')
            return True
        case _:
            pass  # truncated: nothing more is said
    return False


def _halves(document: Mapping[str, Any]) -> tuple[Event, ...]:
    """A document in two events, so that there is a middle for things to go wrong in."""
    data = dumps(document)
    middle = len(data) // 2
    return Event(data[:middle], word=True), Event(data[middle:])
