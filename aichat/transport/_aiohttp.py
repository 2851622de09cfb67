"""
The socket: the only module that knows aiohttp.

aiohttp's exceptions stop here. They are looked at, dropped, and an error of ours is raised
after the `except` block: every frame of a failed aiohttp request holds the headers, and with
them the key, so neither its traceback nor the exception itself may travel on.

What aiohttp does by itself and must not, measured with 3.14:

- ends every request after five minutes (``total``), the body included;
- follows redirects, with ``x-api-key`` and the body, to any origin;
- keeps cookies, and reads proxies and passwords from the environment if told ``trust_env``;
- hands an answer that came unasked on an idle connection to the next request;
- never wakes the reader after a bad chunk size (the C parser): our *idle* deadline does.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, TypeVar, cast, final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.payload import Payload
from yarl import URL

from ..errors import (
    AIChatError,
    ConfigError,
    DeadlineError,
    InvalidRequestError,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    ResponseTooLargeError,
    StreamInterruptedError,
    TLSError,
)
from ..types import dumps
from ._address import url_of
from ._keeper import keeper_of
from ._lean import make_lean
from ._pool import PoolConfig
from ._wire import HTTPRequest, HTTPResponse, Phase

__all__ = ["Session"]

T = TypeVar("T")
Enter = Callable[[Phase], None]

#: A body up to this size is written in one go; aiohttp warns about more than a megabyte.
_WHOLE = 512 * 2**10
_PIECE = 64 * 2**10
#: One header line. Azure's and Cloudflare's come close to aiohttp's usual 8 KiB.
_HEADER_LINE = 32 * 2**10


@final
class Session:
    """One loop's connections. Made in that loop."""

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._session = _client_session(config)
        self._tls = config.ssl_context
        self._keeper: AsyncGenerator[None, None] | None = keeper_of(self._session.close)

    @property
    def usable(self) -> bool:
        """Whether this is still our process and our loop, and nobody has closed it."""
        return (
            self._keeper is not None
            and not self._session.closed
            and not self._loop.is_closed()
            and self._process == os.getpid()
        )

    async def send(self, request: HTTPRequest, enter: Enter) -> HTTPResponse:
        """Send *request* and wait for the headers of the answer."""
        outcome = await self._request(request, enter)
        if isinstance(outcome, AIChatError):
            # Raised here, where no local variable holds a header.
            raise outcome.with_traceback(None)
        return outcome

    def forget(self) -> None:
        """
        Leave the connections to be collected, without a word from aiohttp.

        For a pool that nobody closed: it has warned itself.
        """
        self._session.detach()

    async def aclose(self) -> None:
        """Close the connections, from whichever loop or process."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        if self._process != os.getpid():
            # They are the parent's, and so is its loop. A file descriptor leaks; closing
            # would write into the parent's connections.
            _ORPHANS.append((keeper, self._session))
        elif self._loop.is_closed():
            # Closed by hand, without `shutdown_asyncgens`: there is nobody left to close a
            # transport, so asyncio does when it is collected. aiohttp need not say so too.
            await self._session.close()
        elif self._loop is asyncio.get_running_loop():
            await keeper.aclose()
        else:
            # Another thread's. Its loop finalises the generator that nobody refers to.
            self._loop.call_soon_threadsafe(_forget, keeper)

    async def _request(
        self, request: HTTPRequest, enter: Enter
    ) -> HTTPResponse | AIChatError:
        try:
            response = await self._session.request(
                request.method,
                URL(url_of(request), encoded=True),
                data=_body(request.body),
                headers=_headers(request),
                ssl=self._trust(request),
                allow_redirects=False,
                trace_request_ctx=enter,
            )
        except Exception as error:
            return _before_answer(error)
        return _Response(response)

    def _trust(self, request: HTTPRequest) -> ssl.SSLContext | bool:
        """What to trust. Reading the certificates takes 30 ms, so only if there is TLS."""
        if not request.base_url.startswith("https:"):
            return True
        if self._tls is None:
            self._tls = _tls(self._config)
        return self._tls


#: Sessions of the process that we were forked from, kept so that nobody finalises them.
_ORPHANS: list[Any] = []


def _forget(_: AsyncGenerator[None, None]) -> None:
    """Refer to something for the last time."""


@final
class _Response:
    """An `HTTPResponse` over aiohttp's."""

    __slots__ = ("_error", "_read", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        # Who asks for no compression gets none; but if so, its buffer is a part of the limit.
        if "content-encoding" not in response.headers:
            make_lean(response.content)
        self._read = response.content.readany
        self._error: Exception | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        try:
            return await self._read()
        except Exception as error:
            failure = self._error or _in_body(error)
        arrived = b"" if self._error else self._rest()
        self.abort()
        if arrived:
            self._error = failure
            return arrived
        raise failure.with_traceback(None)

    def _rest(self) -> bytes:
        """
        What had arrived before the connection broke.

        aiohttp would rather raise than hand it out, and so lose the end of an answer whose
        reader was slow.
        """
        content = self._response.content
        content.set_exception(cast(BaseException, None))
        return b"".join(iter(content.read_nowait, b""))

    def abort(self, error: Exception | None = None) -> None:
        response = self._response
        connection = response.connection
        # Once the body has ended, the connection is somebody else's; unless the server has
        # answered before it had read our request, and we are still writing.
        if response.closed and connection is None:
            return
        if error is not None:
            self._error = error
            response.content.set_exception(error)
        if connection is not None and connection.transport is not None:
            # `close` would first write what is left of the request, and shake hands
            # with a TLS peer that is busy sending.
            connection.transport.abort()
        response.close()


# --- requests ------------------------------------------------------------------------


def _headers(request: HTTPRequest) -> dict[str, str]:
    headers = {"accept-encoding": "identity"}
    if request.body is not None:
        headers["content-type"] = "application/json"
    return headers | {name.lower(): value for name, value in request.headers.items()}


def _body(value: Any) -> bytes | _Pieces | None:
    if value is None:
        return None
    body = value if isinstance(value, bytes) else dumps(value)
    return body if len(body) <= _WHOLE else _Pieces(body)


class _Pieces(Payload):
    """A long body, written in pieces, so that the loop is not held up."""

    _value: bytes

    def __init__(self, value: bytes) -> None:
        super().__init__(value, content_type="application/json")
        self._size = len(value)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for at in range(0, len(view), _PIECE):
            await writer.write(view[at : at + _PIECE])

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        await self.write(writer)


# --- the session ---------------------------------------------------------------------


def _client_session(config: PoolConfig) -> aiohttp.ClientSession:
    connector = _Connector(
        limit=int(config.max_connections),
        limit_per_host=int(config.max_per_host),
        keepalive_timeout=config.keepalive,
    )
    connector.max_idle = int(config.max_idle)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None),
        trust_env=config.trust_env,
        trace_configs=[_phases()],
        max_line_size=_HEADER_LINE,
        max_field_size=_HEADER_LINE,
    )


class _Connector(aiohttp.TCPConnector):
    """
    A connector that does not reuse a connection on which something came unasked, and that
    keeps no more than *max_idle* idle ones.

    It overrides two private methods. Should aiohttp rename them, this does nothing.
    """

    max_idle = 100

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            if protocol is None or not (protocol.should_close or _waiting(protocol)):
                return connection
            connection.close()
        return None

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        full = sum(map(len, self._conns.values())) >= self.max_idle
        super()._release(key, protocol, should_close=should_close or full)

    def __del__(self, _warnings: Any = None) -> None:
        # Who forgot to close has been told so by the pool. aiohttp would warn once more,
        # and log an error, if this is collected before the session's keeper is finalised.
        for idle in getattr(self, "_conns", {}).values():
            for protocol, _ in idle:
                with suppress(RuntimeError):  # the loop is closed, and so is the socket
                    protocol.close()


def _waiting(protocol: asyncio.BaseProtocol) -> bool:
    """
    Whether there is something to read on an idle connection that the loop has not seen yet.

    That can only be its end, or something unasked. llama.cpp hangs up after each stream and
    promises the opposite.
    """
    transport = getattr(protocol, "transport", None)
    sock = transport and transport.get_extra_info("socket")
    if sock is None:
        return False
    # The usual selector opens a file descriptor of its own, for every request.
    with _Selector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


#: Windows has no ``poll``.
_Selector = getattr(selectors, "PollSelector", selectors.DefaultSelector)


def _tls(config: PoolConfig) -> ssl.SSLContext:
    """
    What to trust.

    OpenSSL reads ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` by itself, so without *trust_env*
    the system's own places are named instead, where those variables are set (X4).
    """
    paths = ssl.get_default_verify_paths()
    names = (paths.openssl_cafile_env, paths.openssl_capath_env)
    problem = None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if config.ca_file is not None:
            context.load_verify_locations(config.ca_file)
        elif config.trust_env or not any(map(os.environ.get, names)):
            context.load_default_certs()
        else:
            if os.path.isfile(paths.openssl_cafile):
                context.load_verify_locations(paths.openssl_cafile)
            if os.path.isdir(paths.openssl_capath):
                context.load_verify_locations(capath=paths.openssl_capath)
    except (OSError, ssl.SSLError) as error:
        problem = error
    if problem is not None:
        raise ConfigError(
            f"The CA file {config.ca_file!r} cannot be read: {_reason(problem)}."
        )
    context.set_alpn_protocols(["http/1.1"])
    return context


def _phases() -> aiohttp.TraceConfig:
    """Tell the request's `enter` which phase begins."""

    def entering(phase: Phase) -> Callable[..., Any]:
        async def tell(_: Any, context: SimpleNamespace, __: Any) -> None:
            cast(Enter, context.trace_request_ctx)(phase)

        return tell

    trace = aiohttp.TraceConfig()
    trace.on_connection_queued_start.append(entering("pool"))
    trace.on_connection_create_start.append(entering("connect"))
    trace.on_connection_create_end.append(entering("first_byte"))
    trace.on_connection_reuseconn.append(entering("first_byte"))
    return trace


# --- errors --------------------------------------------------------------------------


def _before_answer(error: Exception) -> AIChatError:
    """What went wrong before there was an answer. Nothing was said, so all may be retried."""
    facts = _facts(error)
    match error:
        case AIChatError():
            return error
        case aiohttp.ClientConnectorDNSError():
            return ProviderUnavailableError(
                f"The host name {error.host!r} cannot be resolved.", context=facts
            )
        case aiohttp.ClientSSLError() | ssl.SSLError() | ssl.CertificateError():
            return TLSError(f"No trusted connection: {_reason(error)}.", context=facts)
        case aiohttp.ClientConnectorError() | aiohttp.ClientProxyConnectionError():
            return ProviderUnavailableError(
                f"Cannot connect to {error.host}:{error.port}: {_reason(error.os_error)}.",
                context=facts,
            )
        case TimeoutError():
            return DeadlineError(
                "No connection in time.", phase="connect", context=facts
            )
        case aiohttp.ClientHttpProxyError():
            return ProviderUnavailableError(
                f"The proxy answered HTTP {error.status}.", context=facts
            )
        case aiohttp.ClientResponseError() if _is_too_long(error):
            return ResponseTooLargeError(
                f"A header of the answer is longer than {_HEADER_LINE} bytes.",
                context=facts,
            )
        case aiohttp.ClientResponseError() | HttpProcessingError():
            # Seen once at a restart; a captive port never gets better, and costs two tries.
            return ProtocolError(
                "The server did not answer in HTTP.", retryable=True, context=facts
            )
        case aiohttp.ClientConnectionError() | OSError() | aiohttp.ClientPayloadError():
            return ProviderUnavailableError(
                f"The connection broke before an answer: {_reason(error)}.",
                context=facts,
            )
        case aiohttp.InvalidURL():
            return ConfigError("The URL is not valid.", context=facts)
        case TypeError() | ValueError():
            return InvalidRequestError(
                f"The request cannot be sent: {_reason(error)}.", context=facts
            )
        case _:
            return ProviderError(
                f"The request failed: {_reason(error)}.", context=facts
            )


def _in_body(error: Exception) -> AIChatError:
    """What went wrong while the body was read."""
    if isinstance(error, AIChatError):
        return error
    facts = _facts(error)
    if isinstance(error, HttpProcessingError):
        return ProtocolError("The body of the answer is not HTTP.", context=facts)
    return StreamInterruptedError(
        f"The connection broke in the middle of the answer: {_reason(error)}.",
        context=facts,
    )


def _is_too_long(error: aiohttp.ClientResponseError) -> bool:
    return isinstance(error.__cause__, LineTooLong) or "more than" in error.message


def _facts(error: Exception) -> dict[str, Any]:
    facts: dict[str, Any] = {"cause": type(error).__name__}
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        facts["errno"] = number
    return facts


def _reason(error: BaseException) -> str:
    """The text of an error that holds neither a header nor a body."""
    match error:
        case OSError(strerror=str(text)) if text:
            return text
        case _:
            return str(error)[:200] or type(error).__name__
