"""
A process that shares a quota, for `test_fleet.py`: it takes what it gets until it is ended.

``python -m tests.redis.fleet_worker URL LIMITS``. Each line of its output is something that it
was let through for: when, by the server's clock, and how many tokens it used in the end.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aichat.redis import RedisLimiter, RedisState
from aichat.transport import Cost, RateLimit
from aichat.types import Usage

#: More than it will ever get: each worker is always in the queue.
_CALLS = 10
_RESERVED = 100
_USED = 60


async def _work(url: str, requests: float, per: float, tokens: float) -> None:
    limit = RateLimit(requests, per, tokens=tokens)
    async with RedisState(url, workers=3) as state:
        limiter = RedisLimiter(state, limit, "fleet")

        async def call() -> None:
            while True:
                held = await limiter.reserve(Cost(input_tokens=_RESERVED))
                time = getattr(held, "_time")  # noqa: B009 -- no business of anybody else's
                sys.stdout.write(json.dumps([time, _USED]) + "\n")
                sys.stdout.flush()
                held.settle(Usage(input_tokens=_USED, output_tokens=0))

        await asyncio.gather(*(call() for _ in range(_CALLS)))


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], *map(float, sys.argv[2:5])))
