"""Answers that all processes share, in Redis (L5)."""

from __future__ import annotations

from typing import Final, final

from ..redis._link import Away
from ..redis._state import RedisState
from ..types import ChatResponse, from_json, to_json
from ._stores import check_positive, check_ttl

__all__ = ["RedisCache"]

#: An answer of a hundred thousand words.
_MAX_BYTES: Final = 2**20


@final
class RedisCache:
    """
    Keep answers in Redis, for all processes that share a *state*.

    One that is larger than *max_bytes* as JSON is not kept; *ttl* is in seconds, ``None`` for
    no end. How much is kept in all is up to Redis: give it a ``maxmemory``, and the policy
    ``volatile-lru``, which forgets answers and not what is spent once and for all. While it
    is away there is nothing in here, and nobody waits.

    Looking is one round trip. Writing is done in the background, and closing the *state*,
    which is up to whoever made it, waits for it.
    """

    def __init__(
        self,
        state: RedisState,
        *,
        ttl: float | None = 3600.0,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        """Raises `ConfigError`."""
        check_ttl("RedisCache", ttl)
        check_positive("RedisCache", max_bytes=max_bytes)
        self._state = state
        self._ttl = ttl
        self._max_bytes = max_bytes
        #: What is on its way there.
        self._writing: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"<RedisCache in {self._state!r}>"

    async def get(self, key: str) -> ChatResponse | None:
        """Return what was kept under *key*, unless it is too old, or of another version."""
        body = self._writing.get(key)
        if body is None and not self._state.away:
            try:
                body = await self._state.get(self._name(key))
            except Away:
                return None
        if body is None:
            return None
        try:
            return from_json(ChatResponse, body)
        except (ValueError, TypeError):
            return None

    async def set(self, key: str, response: ChatResponse, ttl: float | None) -> None:
        """Keep *response*, unless it is too large. Raises `ClosedError`."""
        if self._state.away:
            return
        body = to_json(response)
        if len(body) > self._max_bytes:
            return
        link = self._state.link()
        self._writing[key] = body
        _ = link.spawn(self._write(key, body, self._ttl if ttl is None else ttl))

    async def _write(self, key: str, body: bytes, ttl: float | None) -> None:
        try:
            await self._state.set(self._name(key), body, ttl)
        finally:
            # Unless another one has come after this.
            if self._writing.get(key) is body:
                del self._writing[key]

    def _name(self, key: str) -> str:
        return self._state.key("answer", key)
