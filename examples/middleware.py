"""
Behaviour around every call: ready-made, and of your own.

Run ``python examples/middleware.py``. A provider with a script stands in for a model: its
first answer is an error. In an application it is ``Client.from_env(middleware=[…])``.
"""

from __future__ import annotations

import asyncio
import logging as standard
import sys
from collections.abc import AsyncGenerator

from attrs import evolve

from aichat import (
    ChatRequest,
    Client,
    Handler,
    Middleware,
    RateLimitError,
    ResponseEnd,
    StreamChunk,
    TextDelta,
    system,
)
from aichat.middleware import cache, logging, retry
from aichat.testing import FakeProvider


async def polite(
    request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    """Change the request: everybody shall be answered kindly."""
    kind = evolve(request, messages=(system("Be kind."), *request.messages))
    async for chunk in call_next(kind):
        yield chunk


def signed(name: str) -> Middleware:
    """Change the answer. What has settings is a function that makes a middleware."""

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        async for chunk in call_next(request):
            if isinstance(chunk, ResponseEnd):
                yield TextDelta(f" -- {name}")
            yield chunk

    return middleware


async def main() -> None:
    """Ask the same thing twice: once through all the layers, once from the cache."""
    standard.basicConfig(
        level="INFO", stream=sys.stdout, format="%(levelname)s %(message)s"
    )
    provider = FakeProvider([RateLimitError("Slow down.", retry_after=0.1), "Paris."])
    client = Client(
        {"fake": provider},
        model="fake:any",
        # The first is the outermost: what the cache answers is logged, and asks nobody.
        middleware=[logging(), cache(), signed("your model"), polite, retry()],
    )
    async with client:
        for _ in range(2):
            response = await client.complete("What is the capital of France?")
            where = "cache" if response.from_cache else "model"
            print(f"{response.text} [from the {where}]")
    print(f"[the provider was asked {len(provider.requests)} times]")


if __name__ == "__main__":
    asyncio.run(main())
