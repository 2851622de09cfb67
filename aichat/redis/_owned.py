"""A `RedisState` that was passed in, or one of one's own."""

from __future__ import annotations

from typing import final

from ..errors import ConfigError
from ..types import Secret
from ._state import RedisState

__all__ = ["Owned"]


@final
class Owned:
    """
    What *redis* stands for: a `RedisState` of somebody else, or the address for one's own.

    A middleware that takes ``redis=…`` keeps one of these, and is made closable by
    `aichat.middleware._compose.owning`: a client closes its middleware. A middleware may
    serve several clients, so that an address can be used again after `aclose`. Raises
    `ConfigError`, which does not quote the address.
    """

    def __init__(self, redis: str | Secret | RedisState) -> None:
        if not isinstance(redis, (str, Secret, RedisState)):
            raise ConfigError(
                "redis must be an address, such as redis://localhost, or a RedisState; "
                f"got a {type(redis).__name__}."
            )
        #: The same one always.
        self.state = redis if isinstance(redis, RedisState) else RedisState(redis)
        self._ours = self.state is not redis

    def __repr__(self) -> str:
        return f"<Owned {self.state!r}>" if self._ours else repr(self.state)

    async def aclose(self) -> None:
        """Close the connections of this loop, if they are ours. Harmless when done twice."""
        if self._ours:
            await self.state.disconnect()
