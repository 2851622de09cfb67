"""any-llm."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from any_llm import AnyLLM

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """`AnyLLM`, which keeps its client."""

    packages = ("any-llm-sdk", "openai")

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        self._llm: Any = AnyLLM.create("openai", api_key=KEY, api_base=url)

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[Any], None]:
        """With ``stream=True``."""
        messages = [{"role": "user", "content": PROMPT}]
        yield await self._llm.acompletion(model="m", messages=messages, stream=True)

    async def complete(self) -> str:
        """Without."""
        messages = [{"role": "user", "content": PROMPT}]
        whole = await self._llm.acompletion(model="m", messages=messages)
        return str(whole.choices[0].message.content)
