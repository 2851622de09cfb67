"""Keep to a limit, for whoever does not come through our transport, and across providers."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from threading import Lock
from typing import TYPE_CHECKING, Final, final

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
from ..types import (
    ChatRequest,
    Deadlines,
    ResponseStart,
    Secret,
    StreamChunk,
    UsageUpdate,
)
from ._compose import Handler, Middleware, owning
from ._remaining import Remaining

if TYPE_CHECKING:
    from ..redis import RedisState

__all__ = ["rate_limit"]

_NAME: Final = "rate_limit"
#: Whoever has not asked since so many others did begins afresh.
_MOST_KEYS: Final = 10_000


def rate_limit(
    limit: RateLimit | AnyLimiter,
    *,
    by: Callable[[ChatRequest], str] | None = None,
    redis: str | Secret | RedisState | None = None,
    name: str = _NAME,
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

    With *redis*, an address or a `RedisState`, all processes that use the same *name* and
    namespace share it: see `RedisLimiter`. What it opens itself for an address is closed by
    the client.

    >>> fair = rate_limit(RateLimit.per_minute(60), by=lambda request: request.model)
    """
    if not (isinstance(limit, RateLimit) or hasattr(limit, "reserve")):
        raise ConfigError(
            f"rate_limit takes a RateLimit, as in rate_limit(RateLimit.per_minute(60)), or "
            f"a Limiter; got {limit!r}."
        )
    if redis is None and name != _NAME:
        raise ConfigError("rate_limit: a name is for those that share redis.")
    if not isinstance(limit, RateLimit):
        if by is not None or redis is not None:
            raise ConfigError(
                "rate_limit(…, by=…) and rate_limit(…, redis=…) make limiters: they take a "
                "RateLimit."
            )
        one = limit
        return _limiting(lambda _: one)
    if redis is None:
        return _limiting(_each(lambda _: Limiter(limit), by))
    from ..redis import RedisLimiter
    from ..redis._owned import Owned
    from ..redis._state import check_name

    # With *by* there is none yet that would look at it.
    check_name("rate_limit", name)
    owned, terms = Owned(redis), limit

    def shared(key: str) -> AnyLimiter:
        return RedisLimiter(owned.state, terms, _shared_name(name, key))

    return owning(_limiting(_each(shared, by)), owned.aclose)


def _each(
    make: Callable[[str], AnyLimiter], by: Callable[[ChatRequest], str] | None
) -> Callable[[ChatRequest], AnyLimiter]:
    """Whose turn it is: the one limiter, or that of each key."""
    if by is None:
        one = make("")
        return lambda _: one
    keyed, key_of = _Keyed(make), by
    return lambda request: keyed[key_of(request)]


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


def _shared_name(name: str, key: str) -> str:
    # A key may be anything, and say who somebody is.
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name}:{digest[:32]}" if key else name


@final
class _Keyed:
    """A limiter per key, for the keys that were used last."""

    def __init__(self, make: Callable[[str], AnyLimiter]) -> None:
        self._make = make
        self._limiters: OrderedDict[str, AnyLimiter] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, key: str) -> AnyLimiter:
        with self._lock:
            limiter = self._limiters.get(key)
            if limiter is None:
                limiter = self._limiters[key] = self._make(key)
                if len(self._limiters) > _MOST_KEYS:
                    self._limiters.popitem(last=False)
            self._limiters.move_to_end(key)
            return limiter
