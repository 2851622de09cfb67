"""Google's SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google import genai
from google.genai import types

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """`Client.aio.models`."""

    packages = ("google-genai",)

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        self._client = genai.Client(
            api_key=KEY, http_options=types.HttpOptions(base_url=url)
        )

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[Any], None]:
        """`generate_content_stream`."""
        yield await self._client.aio.models.generate_content_stream(
            model="m", contents=PROMPT
        )

    async def complete(self) -> str:
        """`generate_content`."""
        whole = await self._client.aio.models.generate_content(
            model="m", contents=PROMPT
        )
        return whole.text or ""

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aio.aclose()
