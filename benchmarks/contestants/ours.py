"""aichat, as it comes: the default client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from aichat import ChatRequest, Client, ClientConfig, StreamChunk
from aichat.middleware import Handler

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]


async def _polite(
    request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    """A middleware that does nothing, as anybody would write it."""
    async for chunk in call_next(request):
        yield chunk


class Contestant(Base):
    """With *layers* of middleware that does nothing."""

    packages = ("aichat", "aiohttp", "orjson", "attrs")

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        config = ClientConfig(provider=dialect, api_key=KEY, base_url=url, model="m")
        self._client = Client.from_config(
            config, environ={}, middleware=(_polite,) * layers
        )

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[StreamChunk], None]:
        """What `Client.stream` returns."""
        async with self._client.stream(PROMPT) as chunks:
            yield aiter(chunks)

    async def complete(self) -> str:
        """What `Client.complete` returns."""
        return (await self._client.complete(PROMPT)).text

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()
