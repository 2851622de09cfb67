"""Anthropic's SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """`AsyncAnthropic`; `messages.create`, which is its cheaper way to stream."""

    packages = ("anthropic",)

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        self._client = anthropic.AsyncAnthropic(api_key=KEY, base_url=url)

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[Any], None]:
        """With ``stream=True``."""
        async with await self._client.messages.create(
            model="m",
            max_tokens=4096,
            messages=[{"role": "user", "content": PROMPT}],
            stream=True,
        ) as stream:
            yield aiter(stream)

    async def complete(self) -> str:
        """Without."""
        message: Any = await self._client.messages.create(
            model="m",
            max_tokens=4096,
            messages=[{"role": "user", "content": PROMPT}],
        )
        return str(message.content[0].text)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()
