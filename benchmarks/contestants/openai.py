"""OpenAI's SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import openai

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """`AsyncOpenAI`, on the HTTP client that it chooses."""

    packages: ClassVar[tuple[str, ...]] = ("openai",)

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        self._client = openai.AsyncOpenAI(
            api_key=KEY, base_url=url, http_client=self.http_client()
        )

    def http_client(self) -> Any:
        """Its own one."""
        return None

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[Any], None]:
        """With ``stream=True``."""
        stream: Any
        if self.dialect == "openai":
            stream = await self._client.responses.create(
                model="m", input=PROMPT, stream=True
            )
        else:
            stream = await self._client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": PROMPT}], stream=True
            )
        async with stream:
            yield aiter(stream)

    async def complete(self) -> str:
        """Without."""
        if self.dialect == "openai":
            return (
                await self._client.responses.create(model="m", input=PROMPT)
            ).output_text
        whole = await self._client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": PROMPT}]
        )
        return whole.choices[0].message.content or ""

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()
