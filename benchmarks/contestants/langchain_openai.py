"""LangChain on OpenAI's SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_openai import ChatOpenAI

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """`ChatOpenAI`."""

    packages = ("langchain-openai", "langchain-core", "openai")

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        self._model: Any = ChatOpenAI(
            model="m",
            api_key=KEY,
            base_url=url,
            use_responses_api=dialect == "openai",
        )

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[Any], None]:
        """`astream`."""
        yield self._model.astream(PROMPT)

    async def complete(self) -> str:
        """`ainvoke`."""
        return str((await self._model.ainvoke(PROMPT)).text)
