"""The connections that everybody shares; the socket behind it is imported when first used."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import Attribute, define, field, frozen

from ..errors import ClosedError, ConfigError
from ._retry import check_number
from ._wire import HTTPRequest, HTTPResponse, Phase

if TYPE_CHECKING:
    from ._aiohttp import Session

__all__ = ["Pool", "PoolConfig"]


def _check_file(_: Any, attribute: Attribute[Any], value: str | None) -> None:
    if value is not None and not os.path.isfile(value):
        raise ConfigError(f"PoolConfig.{attribute.name}: there is no file {value!r}.")


@frozen(kw_only=True)
class PoolConfig:
    """How connections are made and kept."""

    #: How many at once, and how many to one host; 0 for as many as there are calls. A
    #: stream needs one for as long as it lasts, so a cap is also a cap on streams.
    max_connections: int = field(default=0, validator=check_number)
    max_per_host: int = field(default=0, validator=check_number)
    #: How many idle ones are kept, and for how many seconds.
    max_idle: int = field(default=100, validator=check_number)
    keepalive: float = field(default=90.0, validator=check_number)
    #: Certificates to trust instead of the system's, as a PEM file.
    ca_file: str | None = field(default=None, validator=_check_file)
    #: Everything about TLS, for those who need a client certificate.
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    #: Whether to use the environment's proxies and CA files (``HTTPS_PROXY``, ``SSL_CERT_FILE``).
    trust_env: bool = False


@define(eq=False)
class Pool:
    """
    Connections for any number of transports: one session per event loop, opened when needed.

    May be made without a loop, and used in several loops, threads and after a fork. It is
    to be closed with `aclose`; the end of a loop also closes that loop's connections.
    """

    config: PoolConfig = field(factory=PoolConfig)
    # A loop stays as long as its session is not known to be closed.
    _sessions: dict[asyncio.AbstractEventLoop, Session] = field(
        factory=dict, init=False, repr=False
    )
    _closed: bool = field(default=False, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    async def send(
        self, request: HTTPRequest, enter: Callable[[Phase], None]
    ) -> HTTPResponse:
        """Send *request*; a `Send`."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or not session.usable:
            session = await self._open(loop)
        return await session.send(request, enter)

    @property
    def closed(self) -> bool:
        """Whether `aclose` has been called."""
        return self._closed

    async def aclose(self) -> None:
        """Close every connection; harmless when done twice."""
        self._closed = True
        with self._lock:
            sessions = list(self._sessions.values())
            self._sessions.clear()
        for session in sessions:
            await session.aclose()

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Session:
        # Two thirds of the time that `import aichat` would take.
        from ._aiohttp import Session

        with self._lock:
            if self._closed:
                raise ClosedError("The client is closed.")
            spent = [o for o, s in self._sessions.items() if not s.usable]
            old = [self._sessions.pop(o) for o in spent]
            if (session := self._sessions.get(loop)) is None:
                session = self._sessions[loop] = Session(self.config)
        for other in old:
            await other.aclose()
        return session

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if getattr(self, "_sessions", None) and not self._closed:
            for session in self._sessions.values():
                session.forget()
            _warn(
                "A client was not closed. Use `async with client:`, or await "
                "`client.aclose()`.",
                ResourceWarning,
                source=self,
            )
