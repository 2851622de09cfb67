"""
Behaviour around a call; each one a function of ``(request, call_next)``.

::

    Client.from_env(middleware=[logging(), cache(), fallback("anthropic:claude-opus-5")])

The first is the outermost. What each is for, and the usual order, is in the README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from ._compose import Handler, Middleware, compose

if TYPE_CHECKING:
    from ._balance import balance
    from ._cache import cache
    from ._circuit_breaker import circuit_breaker
    from ._disk_cache import DiskCache
    from ._fallback import fallback
    from ._hedge import hedge
    from ._logging import Logger, logging
    from ._rate_limit import rate_limit
    from ._retry import retry
    from ._split import split
    from ._stores import CacheStore, MemoryCache
else:
    # Nobody uses all of them, and everybody imports this module.
    __getattr__ = lazily(
        __name__,
        {
            "_balance": "balance",
            "_cache": "cache",
            "_circuit_breaker": "circuit_breaker",
            "_disk_cache": "DiskCache",
            "_fallback": "fallback",
            "_hedge": "hedge",
            "_logging": "Logger logging",
            "_rate_limit": "rate_limit",
            "_retry": "retry",
            "_split": "split",
            "_stores": "CacheStore MemoryCache",
        },
    )

__all__ = [
    "CacheStore",
    "DiskCache",
    "Handler",
    "Logger",
    "MemoryCache",
    "Middleware",
    "balance",
    "cache",
    "circuit_breaker",
    "compose",
    "fallback",
    "hedge",
    "logging",
    "rate_limit",
    "retry",
    "split",
]
