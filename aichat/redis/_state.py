"""What processes share, and whether it can be reached."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Final, TypeVar, final
from urllib.parse import urlsplit
from uuid import uuid4
from weakref import WeakSet

from .._closing import AsyncClosing
from ..errors import ClosedError, ConfigError
from ..types import Secret
from ..types._values import is_number
from ._link import Argument, Away, Late, Link, Refused, Script, load

__all__ = [
    "RedisState",
    "check_name",
    "let_through_alone",
    "place_of",
    "round_trips",
    "states_away",
]

T = TypeVar("T")

_log = logging.getLogger("aichat")

#: Seconds until Redis is asked again after it did not answer: doubled each time, up to this.
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_SCHEMES: Final = ("redis", "rediss", "unix")


@final
class RedisState(AsyncClosing):
    """
    Limits, circuits, answers and spending that all processes share, in Redis (L5).

    *url* is ``redis://host:port/db``, ``rediss://…`` or ``unix://…``, with a password if
    there is one. Those with the same *namespace* share: give each API key, or each
    deployment, its own. While Redis does not answer within *timeout* seconds, everybody
    goes on with a share of what was agreed upon, and says so in the log; *workers* is how
    many share it, at least: those that have not asked lately could not be counted.

    May be made without a loop, and used by several loops and threads. Whoever makes one
    closes it::

        async with RedisState("redis://localhost") as shared:
            limiter = RedisLimiter(shared, RateLimit.per_minute(600), name="openai")

    A client makes its own from `ClientConfig.redis_url`. Raises `ConfigError`.
    """

    def __init__(
        self,
        url: str | Secret,
        *,
        namespace: str = "aichat",
        timeout: float = 1.0,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*clock* is for tests."""
        self._url = url if isinstance(url, Secret) else Secret(url)
        self._where = place_of(self._url.reveal())
        check_name("RedisState: namespace", namespace)
        if not (is_number(timeout) and 0 < timeout < 60):
            raise ConfigError(
                f"timeout must be a number of seconds below 60, got {timeout!r}."
            )
        if not (type(workers) is int and workers > 0):
            raise ConfigError(f"workers must be 1 or more, got {workers!r}.")
        load()
        self.namespace = namespace
        self.workers = workers
        self._timeout = timeout
        self._clock = clock
        self._links: dict[asyncio.AbstractEventLoop, Link] = {}
        self._lock = threading.Lock()
        self._closed = False
        #: When Redis may be asked again; 0 while it answers.
        self._away_until = 0.0
        self._pause = _FIRST_PAUSE
        #: When it was last found not to answer.
        self._went_at = -inf
        self._met = False
        self._worker = (0, "")
        with _all_lock:
            _all.add(self)

    def __repr__(self) -> str:
        return f"<RedisState: {self.namespace} at {self._where}>"

    @property
    def where(self) -> str:
        """The address, without a password."""
        return self._where

    @property
    def worker(self) -> str:
        """What this process is called there: a random word, another one after a fork."""
        process, name = self._worker
        if process != os.getpid():
            name = uuid4().hex[:16]
            self._worker = os.getpid(), name
        return name

    @property
    def away(self) -> bool:
        """
        Whether asking is no use now.

        After a while it is False again, for one who asks: then it is known.
        """
        return self._away_until > self._clock()

    @property
    def degraded(self) -> bool:
        """Whether the last time that Redis was asked it did not answer."""
        return self._away_until > 0

    @property
    def timeout(self) -> float:
        """Seconds for which an answer is waited for."""
        return self._timeout

    @property
    def again_in(self) -> float:
        """Seconds until it makes sense to ask again, after there was no answer."""
        return max(self._away_until - self._clock(), _FIRST_PAUSE)

    def note_alone(self) -> None:
        """Count one who was let through by this process's share."""
        _count(_alone, self.namespace)

    def key(self, kind: str, name: str) -> str:
        """What something is called in Redis: what has the same name is on the same node."""
        return f"{self.namespace}:{kind}:{{{name}}}"

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        """
        Run *script* there. Raises `Away`, at once while nobody expects an answer.

        Who is cancelled meanwhile does not know whether it has been run.
        """
        link = self._ready()
        return await self._heard(partial(link.run, script, keys, arguments), link)

    async def get(self, key: str) -> bytes | None:
        """Read *key*. Raises `Away`."""
        link = self._ready()
        found: bytes | None = await self._heard(partial(link.get, key), link)
        return found

    async def set(self, key: str, value: bytes, seconds: float | None) -> None:
        """Write *key*, for so many *seconds*. Raises `Away`."""
        link = self._ready()
        await self._heard(partial(link.set, key, value, seconds), link)

    def link(self) -> Link:
        """The connections of this loop. Raises `ClosedError`."""
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is not None and link.usable:
            return link
        with self._lock:
            if self._closed:
                raise ClosedError("This RedisState is closed.")
            for other, old in list(self._links.items()):
                if not old.usable:
                    del self._links[other]
            link = self._links[loop] = Link(self._url.reveal(), self._timeout)
        return link

    async def aclose(self) -> None:
        """Wait for what is under way, and close the connections; harmless when done twice."""
        await self.disconnect()
        with _all_lock:
            # Nobody who watches waits for it any more.
            _all.discard(self)
        with self._lock:
            self._closed = True
            # Another loop's connections are closed at that loop's end.
            self._links.clear()

    async def disconnect(self) -> None:
        """Wait for what is under way in this loop, and close its connections until needed."""
        here = asyncio.get_running_loop()
        link = self._links.get(here)
        if link is None:
            return
        # What is under way may need it in order to end.
        await link.idle()
        with self._lock:
            if self._links.get(here) is link:
                del self._links[here]
        await link.aclose()

    def _ready(self) -> Link:
        if self.away:
            raise Late("it did not answer a moment ago")
        if self._away_until:
            # One asks; the others wait for what comes out.
            self._away_until = self._clock() + self._timeout
        return self.link()

    async def _heard(self, command: Callable[[], Awaitable[T]], link: Link) -> T:
        return await link.ask(self._noting(command))

    async def _noting(self, command: Callable[[], Awaitable[T]]) -> T:
        """Note whether *command* is answered, also when nobody waits for it any more."""
        asked_at = self._clock()
        try:
            # Made here: a task that is cancelled before it begins awaits nothing.
            answer = await command()
        except Late:
            raise
        except Away as error:
            self._went(error, asked_at)
            raise
        self._came()
        return answer

    def _went(self, error: Away, asked_at: float) -> None:
        _count(_trips, "failed")
        if isinstance(error, Refused) and not self._met:
            raise ConfigError(
                f"Redis at {self._where} lets nobody in with this password, or not this "
                f"user ({error})."
            ) from None
        if self._away_until and asked_at <= self._went_at:
            # One of many that were under way then: no news.
            return
        if not self._away_until:
            _log.warning(
                "Redis at %s is away (%s): going on with this process's share",
                self._where,
                error,
                extra={"redis": self._where, "namespace": self.namespace},
            )
        self._went_at = self._clock()
        self._away_until = self._went_at + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _came(self) -> None:
        _count(_trips, "ok")
        self._met = True
        if self._away_until:
            self._away_until = 0.0
            self._pause = _FIRST_PAUSE
            _log.info(
                "Redis at %s is back",
                self._where,
                extra={"redis": self._where, "namespace": self.namespace},
            )


def check_name(owner: str, name: object) -> str:
    """Return *name*, which is to be part of a key. Raises `ConfigError`."""
    # Braces say to a cluster what belongs together.
    if isinstance(name, str) and name.isprintable() and re.fullmatch(r"[^\s{}]+", name):
        return name
    raise ConfigError(
        f"{owner}: a name is a text without blanks and braces, got {name!r}."
    )


def place_of(url: str) -> str:
    """Where *url* points to, without user and password. Raises `ConfigError`."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        parts, port = None, ""
    if parts is None or parts.scheme not in _SCHEMES:
        # It is not quoted: there may be a password in it.
        raise ConfigError(
            "The address of Redis must be redis://host:port/db, rediss://… or unix://…."
        )
    host = parts.hostname or ""
    if parts.scheme != "unix" and not host:
        raise ConfigError("The address of Redis has no host: redis://host:port/db.")
    return f"{parts.scheme}://{host}{port}{parts.path}"


# -- for those who watch ---------------------------------------------------------------

_all: Final = WeakSet[RedisState]()
_trips: Final[dict[str, int]] = {}
_alone: Final[dict[str, int]] = {}
_all_lock: Final = threading.Lock()
#: Namespaces that are counted apart; the others are counted together, under ``other``.
_MOST_COUNTED: Final = 100


def _count(counts: dict[str, int], what: str) -> None:
    with _all_lock:
        if what not in counts and len(counts) >= _MOST_COUNTED:
            what = "other"
        counts[what] = counts.get(what, 0) + 1


def round_trips() -> dict[str, int]:
    """How often Redis was asked by this process, ``ok``, or did not answer, ``failed``."""
    with _all_lock:
        return dict(_trips)


def let_through_alone() -> dict[str, int]:
    """How many were let through by this process's share while Redis was away, by namespace."""
    with _all_lock:
        return dict(_alone)


def states_away() -> dict[str, int]:
    """How many of those in use cannot reach Redis, by namespace: 0 where all is well."""
    found: dict[str, int] = {}
    with _all_lock:
        states = [state for state in _all if state._links]
    # Those that are away are counted apart, whatever becomes of the others.
    for state in sorted(states, key=lambda state: not state.degraded):
        name = state.namespace
        name = name if name in found or len(found) < _MOST_COUNTED else "other"
        found[name] = found.get(name, 0) + state.degraded
    return found
