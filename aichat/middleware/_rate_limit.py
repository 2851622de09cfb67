"""Keep to a limit, for whoever does not come through our transport, and across providers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from threading import Lock
from typing import Final, final

from ..errors import AIChatError, ConfigError
from ..transport import (
    AnyLimiter,
    CallEvent,
    Limiter,
    Meter,
    RateLimit,
    Reservation,
    Watch,
    admit,
    tell,
)
from ..types import ChatRequest, Deadlines, ResponseStart, StreamChunk, UsageUpdate
from ._compose import Handler, Middleware
from ._remaining import Remaining

__all__ = ["rate_limit"]

#: Whoever has not asked since so many others did begins afresh.
_MOST_KEYS: Final = 10_000


def rate_limit(
    limit: RateLimit | AnyLimiter,
    *,
    by: Callable[[ChatRequest], str] | None = None,
) -> Middleware:
    """
    Let calls through at the rate of *limit*, first come, first served.

    A provider of ours keeps to its own limits (`ClientConfig.tokens_per_minute` and the
    others), which see each attempt and hear from the server: this is for those that have
    none, for several providers together, and, with *by*, for each user or model apart. All
    calls through one `Limiter` share it, wherever it is used.

    Tokens are reserved from an estimate, and settled by what the answer says; a call that
    fails before it has said anything gives them back. The wait counts for the request's
    *pool* and *total* deadlines: `DeadlineError`, at once if it is hopeless.

    >>> fair = rate_limit(RateLimit.per_minute(60), by=lambda request: request.model)
    """
    if not (isinstance(limit, RateLimit) or hasattr(limit, "reserve")):
        raise ConfigError(
            f"rate_limit takes a RateLimit, as in rate_limit(RateLimit.per_minute(60)), or "
            f"a Limiter; got {limit!r}."
        )
    if by is None:
        one = Limiter(limit) if isinstance(limit, RateLimit) else limit
        return _limiting(lambda _: one)
    if not isinstance(limit, RateLimit):
        raise ConfigError(
            "rate_limit(…, by=…) makes a limiter for each key: it takes a RateLimit."
        )
    keyed, key_of = _Keyed(limit), by
    return _limiting(lambda request: keyed[key_of(request)])


def _limiting(limiter_for: Callable[[ChatRequest], AnyLimiter]) -> Middleware:
    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        limiter = limiter_for(request)
        remaining = Remaining(request)
        reservation = await _admitted(limiter, request)
        meter = Meter() if limiter.limit.counts_tokens else None
        spoken = ended = failed = False
        try:
            async for chunk in call_next(remaining.of(request)):
                if meter is not None:
                    meter.count((chunk,))
                if not spoken:
                    spoken = not isinstance(chunk, (ResponseStart, UsageUpdate))
                yield chunk
            ended = True
        except AIChatError:
            failed = True
            raise
        finally:
            if failed and not spoken:
                reservation.cancel()
            elif meter is not None:
                reservation.settle(meter.usage(ended=ended))

    return middleware


async def _admitted(limiter: AnyLimiter, request: ChatRequest) -> Reservation:
    def waits(seconds: float) -> None:
        tell(
            CallEvent(
                kind="waiting",
                provider=request.provider_name or "",
                model=request.model_name,
                reason="limiter",
                seconds=seconds,
            )
        )

    watch = Watch(request.deadlines or Deadlines())
    try:
        return await admit(limiter, limiter.limit.expect(request), watch, waits)
    except AIChatError as error:
        error.note(operation="chat", attempts=0)
        raise


@final
class _Keyed:
    """A `Limiter` per key, for the keys that were used last."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._limiters: OrderedDict[str, Limiter] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, key: str) -> Limiter:
        with self._lock:
            limiter = self._limiters.get(key)
            if limiter is None:
                limiter = self._limiters[key] = Limiter(self._limit)
                if len(self._limiters) > _MOST_KEYS:
                    self._limiters.popitem(last=False)
            self._limiters.move_to_end(key)
            return limiter
