"""
One quota, one circuit, one budget for many processes, in Redis: the extra ``redis``.

A client needs no more than an address: ``redis_url`` in its configuration, or
``AI_REDIS_URL``. The classes are for middleware, and for those who build their own::

    from aichat.redis import RedisState

    async with RedisState("redis://localhost", namespace="team-a") as shared:
        client = Client(…, middleware=[rate_limit(limit, redis=shared, name="all")])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

__all__ = ["RedisBreaker", "RedisLimiter", "RedisState"]

if TYPE_CHECKING:
    from ._breaker import RedisBreaker as RedisBreaker
    from ._limiter import RedisLimiter as RedisLimiter
    from ._state import RedisState as RedisState
else:
    __getattr__ = lazily(
        __name__,
        {
            "_breaker": "RedisBreaker",
            "_limiter": "RedisLimiter",
            "_state": "RedisState",
        },
    )
