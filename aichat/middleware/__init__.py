"""
Behaviour around a call; each one a function of ``(request, call_next)``.

::

    Client.from_env(middleware=[logging(), cache(), fallback("anthropic:claude-opus-5")])

The first is the outermost. What each is for, and the usual order, is in the README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from ._compose import ClosableMiddleware, Handler, Middleware, compose

if TYPE_CHECKING:
    from ..costs import (
        FREE,
        CallCost,
        Found,
        Price,
        PriceBook,
        PriceTable,
        cost_of,
    )
    from ._balance import balance
    from ._cache import cache
    from ._circuit_breaker import circuit_breaker
    from ._collector import ChunkCollector, MetricsCollector, metrics
    from ._cost_tracker import CostTracker, Spent
    from ._disk_cache import DiskCache
    from ._fallback import fallback
    from ._hedge import hedge
    from ._ledger import Budget, Hold, MemoryLedger, Refusal, SpendLedger
    from ._logging import Logger, logging
    from ._rate_limit import rate_limit
    from ._redis_cache import RedisCache
    from ._redis_ledger import RedisLedger
    from ._retry import retry
    from ._spend import spend_limit
    from ._split import split
    from ._stores import CacheStore, MemoryCache
    from ._telemetry import Telemetry, telemetry
else:
    # Nobody uses all of them, and everybody imports this module.
    __getattr__ = lazily(
        __name__,
        {
            ".costs": "FREE CallCost Found Price PriceBook PriceTable cost_of",
            "_balance": "balance",
            "_cache": "cache",
            "_circuit_breaker": "circuit_breaker",
            "_collector": "ChunkCollector MetricsCollector metrics",
            "_cost_tracker": "CostTracker Spent",
            "_disk_cache": "DiskCache",
            "_fallback": "fallback",
            "_hedge": "hedge",
            "_ledger": "Budget Hold MemoryLedger Refusal SpendLedger",
            "_logging": "Logger logging",
            "_rate_limit": "rate_limit",
            "_redis_cache": "RedisCache",
            "_redis_ledger": "RedisLedger",
            "_retry": "retry",
            "_spend": "spend_limit",
            "_split": "split",
            "_stores": "CacheStore MemoryCache",
            "_telemetry": "Telemetry telemetry",
        },
    )

__all__ = [
    "FREE",
    "Budget",
    "CacheStore",
    "CallCost",
    "ChunkCollector",
    "ClosableMiddleware",
    "CostTracker",
    "DiskCache",
    "Found",
    "Handler",
    "Hold",
    "Logger",
    "MemoryCache",
    "MemoryLedger",
    "MetricsCollector",
    "Middleware",
    "Price",
    "PriceBook",
    "PriceTable",
    "RedisCache",
    "RedisLedger",
    "Refusal",
    "SpendLedger",
    "Spent",
    "Telemetry",
    "balance",
    "cache",
    "circuit_breaker",
    "compose",
    "cost_of",
    "fallback",
    "hedge",
    "logging",
    "metrics",
    "rate_limit",
    "retry",
    "spend_limit",
    "split",
    "telemetry",
]
