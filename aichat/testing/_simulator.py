"""
A server that answers like a provider, without a model.

It listens on a real socket, so that a client, its transport and its deadlines can be tested
as they are. What it says is in `_sim_brain`, how it says it in a file for each dialect; this
one owns the server, the records, and everything that goes wrong on purpose.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NoReturn, Self, Unpack

from aiohttp import web
from attrs import evolve, frozen

from .._closing import AsyncClosing
from ..errors import ConfigError
from ..types import dumps, loads
from ._sim_dialect import (
    Endpoint,
    Event,
    Raw,
    Refused,
    Reply,
    Shelf,
    SimDialect,
    Streamed,
    Visit,
)
from ._sim_faults import FAULT_HEADER, Fault, FaultFacts, FaultKind
from ._sim_plan import Plan, When
from ._sim_received import ReceivedRequest
from ._sim_table import DIALECTS

__all__ = ["Simulator"]

_CREDENTIALS: Final = frozenset({
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "cookie",
})
#: As Anthropic has it.
_MAX_BODY: Final = 32 * 1024 * 1024
_JSON: Final = "application/json"
#: Bytes that are written at once.
_BREATH: Final = 64 * 1024
_PAGE: Final = b"<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>\n"


class _HungUp(ConnectionError):
    """We closed the connection ourselves: nothing more can be said."""


class Simulator(AsyncClosing):
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
        self._shelves: defaultdict[str, Shelf] = defaultdict(Shelf)
        self._faults = Plan()
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
        if dialect not in DIALECTS:
            raise ConfigError(
                f"The simulator does not speak {dialect!r}, but {', '.join(DIALECTS)}."
            )
        return self.url + DIALECTS[dialect].base_path

    @property
    def base_urls(self) -> dict[str, str]:
        """The base URL of every dialect that it speaks."""
        return {name: self.base_url(name) for name in DIALECTS}

    # -- watching ----------------------------------------------------------------------

    @property
    def active(self) -> int:
        """How many answers are under way."""
        return len(self._answering)

    async def idle(self) -> None:
        """Wait until no answer is under way: the time to look at `disconnects`."""
        await self._idle.wait()

    def clear(self) -> None:
        """Forget the requests, the counts, whatever is kept, and the faults to come."""
        self.requests.clear()
        self._faults.clear()
        self._shelves.clear()
        self.request_count = self.disconnects = 0

    # -- misfortune --------------------------------------------------------------------

    def fail_next(
        self,
        kind: FaultKind | Fault = "status",
        *,
        times: int = 1,
        **facts: Unpack[FaultFacts],
    ) -> None:
        """
        Let something go wrong with the next requests, *times* of them.

        *facts* are the fields of `Fault`. A single request can ask for it with a header:
        ``x-aichat-fault: hang_up; after=3``; one that is part of a batch with the same words
        in what it says.
        """
        self._faults.queue(_fault(kind, facts), times)

    def fail(
        self,
        kind: FaultKind | Fault = "status",
        *,
        on: int | Iterable[int] | None = None,
        when: When | None = None,
        rate: float = 1.0,
        rand: Callable[[], float] = random.random,
        **facts: Unpack[FaultFacts],
    ) -> None:
        """
        Let something go wrong with requests, from now on until `heal`.

        With all of them; or with the one that *on* says, 1 being the next, or several; with
        those that *when* is true for, which are then the ones that *on* counts; with a part
        of them, a *rate* of 0 to 1. *facts* are the fields of `Fault`::

            sim.fail("hang_up", on=3, after=5)  # the third call fails mid-stream
            sim.fail("rate_limit", on=(1, 2), seconds=0.1)
            sim.fail("stall", when=lambda request: request.dialect == "anthropic")
            sim.fail("overloaded", rate=0.2, rand=random.Random(7).random)

        Where several apply, the first one does; those of `fail_next` wait for a request that
        is spared. `ReceivedRequest.fault` says what became of it. Raises `ConfigError`.
        """
        self._faults.add(_fault(kind, facts), on, when, rate, rand)

    def heal(self) -> None:
        """Let nothing more go wrong; what has been recorded stays."""
        self._faults.clear()

    # -- answering ---------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.match_info["path"]
        found = _find(request.method, path)
        if found is None:
            return web.json_response({"base_urls": self.base_urls}, status=404)
        self._number += 1
        guest = _Guest(found, request, path, self._number)
        try:
            async with self._under_way(guest):
                return await self._answer(guest)
        except Refused as refused:
            manners = guest.dialect.manners
            return web.Response(
                body=dumps(manners.error(refused, guest.request_id)),
                status=refused.status,
                headers={**guest.answer_headers(), **refused.headers},
                content_type=_JSON,
            )
        except ConnectionError:
            # Nobody reads it; aiohttp would log anything else as our failure.
            return web.Response()

    @asynccontextmanager
    async def _under_way(self, guest: _Guest) -> AsyncGenerator[None, None]:
        self._answering[guest.number] = guest.request
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
            del self._answering[guest.number]
            if not self._answering:
                self._idle.set()

    async def _answer(self, guest: _Guest) -> web.StreamResponse:
        data = await guest.data()
        body = _parse(data)
        manners = guest.dialect.manners
        key = manners.key(guest.headers)
        fault = self._record(guest, key, body)
        if fault is not None:
            await self._forestall(guest, fault)
        if self._keys is not None and key not in self._keys:
            raise manners.unauthorized(key)
        endpoint = guest.found.endpoint
        if endpoint is None:
            raise Refused(
                f"Invalid URL ({guest.request.method} {guest.path})",
                status=404,
                code="unknown_url",
            )
        visit = Visit(
            body=body,
            data=data,
            headers=guest.headers,
            query=dict(guest.request.query),
            root=str(guest.request.url.origin()) + guest.dialect.prefix,
            number=guest.number,
            created=int(time.time()),
            shelf=self._shelves[guest.dialect.prefix],
        )
        if fault is not None:
            visit = evolve(visit, twist=fault.twist)
        perform = partial(self._perform, guest.dialect, visit)
        visit = evolve(visit, perform=perform, params=guest.found.params)
        return await self._send(guest, _reply(endpoint, visit), fault)

    def _perform(
        self, dialect: SimDialect, visit: Visit, path: str, body: Any
    ) -> dict[str, Any]:
        """Answer another request at the same place, as if it had come by itself."""
        found = _find("POST", dialect.prefix + dialect.api + path)
        # A batch asks for nothing else than what is beside it.
        assert found is not None
        assert found.endpoint is not None
        self._number += 1
        reply = _reply(
            found.endpoint,
            evolve(visit, body=body, params=found.params, number=self._number),
        )
        assert isinstance(reply, dict)
        return reply

    async def _send(
        self, guest: _Guest, reply: Reply, fault: Fault | None
    ) -> web.StreamResponse:
        headers = guest.answer_headers()
        stream = isinstance(reply, Streamed)
        if fault is not None:
            headers |= fault.headers
            if fault.kind == "html":
                return web.Response(
                    body=_PAGE, headers=headers, content_type="text/html"
                )
            if fault.kind == "empty":
                return web.Response(headers=headers)
            if fault.kind == "error_event" and not stream:
                raise fault.refused(guest.dialect.name)
        response = web.StreamResponse(headers=headers)
        match reply:
            case Streamed():
                events = reply.events
                response.content_type = reply.content_type
                response.headers["cache-control"] = "no-cache"
            case Raw():
                events = _halves(reply.data)
                response.content_type = reply.content_type
            case _:
                events = _halves(dumps(reply))
                response.content_type = _JSON
        if fault is None and not stream:
            events = tuple(events)
            response.content_length = sum(len(event.data) for event in events)
        await response.prepare(guest.request)
        await self._speak(_Mouth(guest, reply, response), events, fault)
        await response.write_eof()
        return response

    async def _speak(
        self, mouth: _Mouth, events: Iterable[Event], fault: Fault | None
    ) -> None:
        said, pace = 0, self._pace
        for count, event in enumerate(events):
            if fault is not None and said >= fault.after:
                if not await mouth.misbehave(fault, count):
                    return
                if fault.kind == "slow":
                    pace = fault.seconds
                fault = None
            await mouth.response.write(event.data)
            if event.word:
                said += 1
                await self._sleep(pace)

    async def _forestall(self, guest: _Guest, fault: Fault) -> None:
        """Do what *fault* does before there is an answer."""
        if fault.refuses:
            raise fault.refused(guest.dialect.name)
        match fault.kind:
            case "drop":
                guest.hang_up()
            case "slow_start":
                await self._sleep(fault.seconds)
            case _:
                pass

    def _record(self, guest: _Guest, key: str | None, body: Any) -> Fault | None:
        """Remember a request, and find out what goes wrong with it. Raises `Refused`."""
        self.request_count += 1
        received = ReceivedRequest(
            dialect=guest.dialect.name,
            method=guest.request.method,
            path=guest.path,
            query={k: v for k, v in guest.request.query.items() if k != "key"},
            headers={k: v for k, v in guest.headers.items() if k not in _CREDENTIALS},
            has_key=key is not None,
            body=body,
        )
        self.requests.append(received)
        del self.requests[: -self._keep]
        fault = self._faults.next(received, _wished(guest.headers))
        self.requests[-1] = evolve(received, fault=fault)
        return fault


def _fault(kind: FaultKind | Fault, facts: FaultFacts) -> Fault:
    return evolve(kind, **facts) if isinstance(kind, Fault) else Fault(kind, **facts)


def _wished(headers: Mapping[str, str]) -> Fault | None:
    """The fault that a request asks for itself."""
    text = headers.get(FAULT_HEADER)
    if text is None:
        return None
    try:
        return Fault.parse(text)
    except ConfigError as error:
        raise Refused(f"{FAULT_HEADER}: {error}") from None


@frozen
class _Found:
    """Who is asked for what."""

    dialect: SimDialect
    #: ``None`` if there is no such thing.
    endpoint: Endpoint | None
    params: Mapping[str, str]


def _find(method: str, path: str) -> _Found | None:
    """Who answers at *path*; ``None`` if there is nobody."""
    here = [d for d in DIALECTS.values() if path.startswith(d.prefix + "/")]
    for dialect in here:
        for endpoint in dialect.endpoints:
            params = endpoint.match(method, path.removeprefix(dialect.prefix))
            if params is not None:
                return _Found(dialect, endpoint, params)
    return _Found(here[0], None, {}) if here else None


def _reply(endpoint: Endpoint, visit: Visit) -> Reply:
    try:
        return endpoint.answer(visit)
    except (AttributeError, LookupError, TypeError) as error:
        raise Refused(f"The request has an impossible shape: {error!r}") from None
    except ValueError as error:
        raise Refused(f"Invalid request: {error}") from None


@frozen
class _Guest:
    """One request, as the parts of an answer want to know it."""

    found: _Found
    request: web.Request
    path: str
    number: int

    @property
    def dialect(self) -> SimDialect:
        return self.found.dialect

    @property
    def headers(self) -> dict[str, str]:
        """Its headers, in lower case."""
        return {name.lower(): value for name, value in self.request.headers.items()}

    @property
    def request_id(self) -> str:
        return f"req_sim{self.number:08d}"

    def answer_headers(self) -> dict[str, str]:
        return self.dialect.manners.headers(self.number, self.request_id)

    def hang_up(self) -> NoReturn:
        """Close the connection."""
        if self.request.transport is not None:
            self.request.transport.close()
        raise _HungUp

    async def data(self) -> bytes:
        """The body. Raises `Refused` for one that is too large."""
        try:
            return await self.request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Refused("Request exceeds the maximum size", status=413) from None


def _parse(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return None


@frozen
class _Mouth:
    """An answer that is being given."""

    guest: _Guest
    reply: Reply
    response: web.StreamResponse

    async def misbehave(self, fault: Fault, count: int) -> bool:
        """Do what *fault* says after *count* events, and say whether to go on after it."""
        match fault.kind:
            case "error_event":
                refused = fault.refused(self.guest.dialect.name)
                await self.response.write(self._error(refused, count))
            case "hang_up":
                self.guest.hang_up()
            case "stall":
                # Until the client has enough, and this is cancelled.
                await asyncio.get_running_loop().create_future()
            case "garbage":
                await self.response.write(b'data: {"oops": \n\n')
                return True
            case "huge_line":
                await self._drone(fault.size)
                return True
            case "truncate":
                return False
            case _:
                return True  # it has been done, or is done elsewhere
        return False

    async def _drone(self, size: int) -> None:
        """Say one line of *size* bytes; a client that has enough may leave before its end."""
        sse = self.response.content_type == "text/event-stream"
        await self.response.write(b'data: {"oops":"' if sse else b'{"oops":"')
        for at in range(0, size, _BREATH):
            await self.response.write(b"x" * min(_BREATH, size - at))
        await self.response.write(b'"}\n\n' if sse else b'"}\n')

    def _error(self, refused: Refused, count: int) -> bytes:
        say = self.guest.dialect.manners.error_event
        if isinstance(self.reply, Streamed) and self.reply.error_event is not None:
            say = self.reply.error_event
        return say(refused, self.guest.request_id, count)


def _halves(data: bytes) -> Iterable[Event]:
    """A document in two events, so that there is a middle for things to go wrong in."""
    middle = len(data) // 2
    return Event(data[:middle], word=True), Event(data[middle:])
