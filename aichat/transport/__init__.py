"""Everything that knows HTTP, and nothing that knows chat beyond its chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from ._events import (
    CallEvent as CallEvent,
    Listener as Listener,
    listening as listening,
    tell as tell,
)

if TYPE_CHECKING:
    from ._address import (
        check_base_url as check_base_url,
        check_headers as check_headers,
    )
    from ._breaker import (
        AnyBreaker as AnyBreaker,
        AnyPassage as AnyPassage,
        CircuitBreaker as CircuitBreaker,
        Passage as Passage,
    )
    from ._deadline import Watch as Watch
    from ._dialect import Dialect as Dialect, Pipeline as Pipeline
    from ._errors import provider_error as provider_error, redact as redact
    from ._limit import (
        AnyLimiter as AnyLimiter,
        Limiter as Limiter,
        Reservation as Reservation,
        TooLong as TooLong,
        admit as admit,
    )
    from ._meter import Meter as Meter
    from ._ndjson import NDJSONDecoder as NDJSONDecoder
    from ._observation import (
        Observation as Observation,
        observation as observation,
        observe as observe,
    )
    from ._pool import Pool as Pool, PoolConfig as PoolConfig
    from ._rates import Cost as Cost, Kind as Kind, RateLimit as RateLimit
    from ._retry import RetryBudget as RetryBudget, RetryPolicy as RetryPolicy
    from ._sse import ServerSentEvent as ServerSentEvent, SSEDecoder as SSEDecoder
    from ._transport import Transport as Transport
    from ._wire import (
        ChatDecoder as ChatDecoder,
        Decoder as Decoder,
        HTTPRequest as HTTPRequest,
        HTTPResponse as HTTPResponse,
        Phase as Phase,
        Send as Send,
    )
else:
    __getattr__ = lazily(
        __name__,
        {
            "_address": "check_base_url check_headers",
            "_breaker": "AnyBreaker AnyPassage CircuitBreaker Passage",
            "_deadline": "Watch",
            "_dialect": "Dialect Pipeline",
            "_errors": "provider_error redact",
            "_limit": "AnyLimiter Limiter Reservation TooLong admit",
            "_meter": "Meter",
            "_ndjson": "NDJSONDecoder",
            "_observation": "Observation observation observe",
            "_pool": "Pool PoolConfig",
            "_rates": "Cost Kind RateLimit",
            "_retry": "RetryBudget RetryPolicy",
            "_sse": "ServerSentEvent SSEDecoder",
            "_transport": "Transport",
            "_wire": "ChatDecoder Decoder HTTPRequest HTTPResponse Phase Send",
        },
    )
