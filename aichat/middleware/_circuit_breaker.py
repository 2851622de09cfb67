"""Leave alone who keeps failing, for providers that do not come through our transport (B1)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from ..errors import CircuitOpenError, ConfigError
from ..transport import AnyBreaker, CircuitBreaker
from ..types import ChatRequest, ResponseStart, Secret, StreamChunk, UsageUpdate
from ._compose import Handler, Middleware, owning

if TYPE_CHECKING:
    from ..redis import RedisState

__all__ = ["circuit_breaker"]

_THRESHOLD = 5
_COOLDOWN = 30.0
_NAME = "circuits"


def _provider_of(request: ChatRequest) -> str:
    return request.provider_name or ""


def circuit_breaker(
    breaker: AnyBreaker | None = None,
    *,
    threshold: int = _THRESHOLD,
    cooldown: float = _COOLDOWN,
    key: Callable[[ChatRequest], str] = _provider_of,
    redis: str | Secret | RedisState | None = None,
    name: str = _NAME,
) -> Middleware:
    """
    Refuse calls with `CircuitOpenError` after *threshold* failures of a provider in a row.

    After *cooldown* seconds one call may try; when its answer begins, all may. What is no
    fault of the provider's does not count, and neither does a call that was cancelled or
    left. *key* says what fails together, in a few words such as ``openai``; each has a
    circuit of its own. A *breaker* may be shared, with other clients and other threads.

    With *redis*, an address or a `RedisState`, the circuits are those of all processes that
    use the same *name* and namespace; see `RedisBreaker`. What it opens itself for an address
    is closed by the client.

    Within a `retry` every try counts, and an open circuit ends the trying; within a
    `fallback` it makes the next model answer at once.

    >>> careful = circuit_breaker(threshold=3, cooldown=10, key=lambda request: request.model)
    """
    if redis is None and name != _NAME:
        raise ConfigError("circuit_breaker: a name is for those that share redis.")
    if breaker is not None:
        if (threshold, cooldown, redis) != (_THRESHOLD, _COOLDOWN, None):
            raise ConfigError(
                "circuit_breaker takes either a breaker, which has its own threshold and "
                "cooldown, or these two, with or without redis."
            )
        return _breaking(breaker, key)
    if redis is None:
        return _breaking(CircuitBreaker(threshold, cooldown), key)
    from ..redis import RedisBreaker
    from ..redis._owned import Owned

    owned = Owned(redis)
    shared = RedisBreaker(owned.state, threshold, cooldown, name=name)
    return owning(_breaking(shared, key), owned.aclose)


def _breaking(circuits: AnyBreaker, key: Callable[[ChatRequest], str]) -> Middleware:

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        try:
            passage = await circuits.admit(key(request))
        except CircuitOpenError as error:
            error.note(
                operation="chat",
                provider=request.provider_name,
                model=request.model_name,
                attempts=0,
            )
            raise
        outcome: BaseException | None = None
        try:
            chunks = call_next(request)
            async for chunk in chunks:
                spoken = not isinstance(chunk, (ResponseStart, UsageUpdate))
                if spoken:
                    passage.began()
                yield chunk
                if spoken:
                    break
            async for chunk in chunks:
                yield chunk
        except BaseException as error:
            outcome = error
            raise
        finally:
            passage.ended(outcome)

    return middleware
