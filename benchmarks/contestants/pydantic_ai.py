"""pydantic-ai's models, without an agent around them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """`pydantic_ai.direct`, the thinnest way through it."""

    packages = ("pydantic-ai-slim", "openai", "anthropic")

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        self._model = _model(url, dialect)
        self._messages: list[Any] = [ModelRequest.user_text_prompt(PROMPT)]

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[Any], None]:
        """Its events."""
        async with model_request_stream(self._model, self._messages) as stream:
            yield aiter(stream)

    async def complete(self) -> str:
        """`model_request`."""
        whole: Any = await model_request(self._model, self._messages)
        return str(whole.parts[0].content)


def _model(url: str, dialect: str) -> Model[Any]:
    if dialect == "anthropic":
        return AnthropicModel(
            "m", provider=AnthropicProvider(api_key=KEY, base_url=url)
        )
    provider = OpenAIProvider(api_key=KEY, base_url=url)
    if dialect == "openai":
        return OpenAIResponsesModel("m", provider=provider)
    return OpenAIChatModel("m", provider=provider)
