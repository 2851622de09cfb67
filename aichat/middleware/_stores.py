"""Where answers are kept, and a place in memory for them."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol, final, runtime_checkable

from ..errors import ConfigError
from ..types import ChatResponse, from_json, to_json
from ..types._values import is_number

__all__ = ["CacheStore", "MemoryCache", "check_positive", "check_ttl"]


@runtime_checkable
class CacheStore(Protocol):
    """
    Keeps answers by key.

    It may raise whatever it likes, forget whenever it likes, and be slow: `cache` goes on
    without it. It is called from several loops and threads if its clients are.
    """

    async def get(self, key: str) -> ChatResponse | None:
        """Return what was kept under *key*, equal in every part, or ``None``."""
        ...

    async def set(self, key: str, response: ChatResponse, ttl: float | None) -> None:
        """Keep *response* for *ttl* seconds; ``None``: for as long as the store likes."""
        ...


class _Entry(NamedTuple):
    body: bytes
    #: By the cache's clock.
    expires: float


@final
class MemoryCache:
    """
    Keep answers in this process; the least recently used ones go first.

    *max_bytes* is counted as JSON, which is also how they are kept: what one caller does to
    an answer does not show in the next one's. *ttl* is in seconds, ``None`` for no end.
    May be used by several loops and threads.

    >>> MemoryCache(max_entries=100, ttl=60)
    <MemoryCache: 0 answers, 0 bytes>
    """

    def __init__(
        self,
        *,
        max_entries: int = 1000,
        max_bytes: int = 64 * 2**20,
        ttl: float | None = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises `ConfigError`. *clock* is for tests."""
        check_positive("MemoryCache", max_entries=max_entries, max_bytes=max_bytes)
        check_ttl("MemoryCache", ttl)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<MemoryCache: {len(self._entries)} answers, {self._bytes} bytes>"

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str) -> ChatResponse | None:
        """Return what was kept under *key*, unless it is too old."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.expires <= self._clock():
                self._drop(key)
                return None
            self._entries.move_to_end(key)
        return from_json(ChatResponse, entry.body)

    async def set(self, key: str, response: ChatResponse, ttl: float | None) -> None:
        """Keep *response*, unless it alone is larger than all that may be kept."""
        body = to_json(response)
        ttl = self._ttl if ttl is None else ttl
        with self._lock:
            self._drop(key)
            if len(body) > self._max_bytes:
                return
            expires = math.inf if ttl is None else self._clock() + ttl
            self._entries[key] = _Entry(body, expires)
            self._bytes += len(body)
            while (
                len(self._entries) > self._max_entries or self._bytes > self._max_bytes
            ):
                self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry.body)


def check_positive(owner: str, **numbers: int) -> None:
    """Raise `ConfigError` unless all *numbers* are whole and above 0."""
    for name, value in numbers.items():
        if not (type(value) is int and value > 0):
            raise ConfigError(
                f"{owner}: {name} must be a whole number above 0, got {value!r}."
            )


def check_ttl(owner: str, ttl: float | None) -> None:
    """Raise `ConfigError` unless *ttl* is ``None`` or a number of seconds above 0."""
    if ttl is not None and not (is_number(ttl) and 0 < ttl < math.inf):
        raise ConfigError(
            f"{owner}: ttl must be a number of seconds above 0, or None; got {ttl!r}."
        )
