"""
Behaviour around a call; each one a function of ``(request, call_next)``.

::

    Client.from_env(middleware=[logging(), cache(), fallback("anthropic:claude-opus-5")])

The first is the outermost. What each is for, and the usual order, is in the README.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

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

#: Where the others are. They are imported when they are first asked for: nobody uses all of
#: them, and everybody imports this module.
_ELSEWHERE: Final = {
    "CacheStore": "_stores",
    "DiskCache": "_disk_cache",
    "Logger": "_logging",
    "MemoryCache": "_stores",
    "balance": "_balance",
    "cache": "_cache",
    "circuit_breaker": "_circuit_breaker",
    "fallback": "_fallback",
    "hedge": "_hedge",
    "logging": "_logging",
    "rate_limit": "_rate_limit",
    "retry": "_retry",
    "split": "_split",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_ELSEWHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
