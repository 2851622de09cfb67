"""Ollama's client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ollama

from ._base import PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """`AsyncClient.chat`."""

    packages = ("ollama",)

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        self._client = ollama.AsyncClient(host=url)

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[Any], None]:
        """With ``stream=True``."""
        yield await self._client.chat(
            model="m", messages=[{"role": "user", "content": PROMPT}], stream=True
        )

    async def complete(self) -> str:
        """Without."""
        whole = await self._client.chat(
            model="m", messages=[{"role": "user", "content": PROMPT}]
        )
        return whole.message.content or ""

    async def aclose(self) -> None:
        """Close the HTTP client, which it has no public name for."""
        client: Any = self._client
        await client._client.aclose()
