"""Leave alone who keeps failing, for providers that do not come through our transport (B1)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from ..errors import CircuitOpenError, ConfigError
from ..transport import CircuitBreaker
from ..types import ChatRequest, ResponseStart, StreamChunk, UsageUpdate
from ._compose import Handler, Middleware

__all__ = ["circuit_breaker"]

_THRESHOLD = 5
_COOLDOWN = 30.0


def _provider_of(request: ChatRequest) -> str:
    return request.provider_name or ""


def circuit_breaker(
    breaker: CircuitBreaker | None = None,
    *,
    threshold: int = _THRESHOLD,
    cooldown: float = _COOLDOWN,
    key: Callable[[ChatRequest], str] = _provider_of,
) -> Middleware:
    """
    Refuse calls with `CircuitOpenError` after *threshold* failures of a provider in a row.

    After *cooldown* seconds one call may try; when its answer begins, all may. What is no
    fault of the provider's does not count, and neither does a call that was cancelled or
    left. *key* says what fails together, in a few words such as ``openai``; each has a
    circuit of its own. A *breaker* may be shared, with other clients and other threads.

    Within a `retry` every try counts, and an open circuit ends the trying; within a
    `fallback` it makes the next model answer at once.

    >>> careful = circuit_breaker(threshold=3, cooldown=10, key=lambda request: request.model)
    """
    if breaker is None:
        breaker = CircuitBreaker(threshold, cooldown)
    elif (threshold, cooldown) != (_THRESHOLD, _COOLDOWN):
        raise ConfigError(
            "circuit_breaker takes either a breaker, which has its own threshold and "
            "cooldown, or these two."
        )
    circuits = breaker

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        try:
            passage = circuits.enter(key(request))
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
