"""litellm."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

# Otherwise it asks GitHub for prices, for six seconds where there is no network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """`litellm.acompletion`."""

    packages = ("litellm",)

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url, dialect)
        # Names that it knows: it prints a page about others, with every call.
        litellm.suppress_debug_info = True
        anthropic = dialect == "anthropic"
        name = "anthropic/claude-sonnet-4-5" if anthropic else "openai/gpt-4.1-mini"
        self._options: dict[str, Any] = {
            "model": name,
            "api_base": f"{url}/v1/messages" if anthropic else url,
            "api_key": KEY,
            "messages": [{"role": "user", "content": PROMPT}],
        }

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncIterator[Any], None]:
        """With ``stream=True``."""
        yield await litellm.acompletion(**self._options, stream=True)

    async def complete(self) -> str:
        """Without."""
        whole: Any = await litellm.acompletion(**self._options)
        return str(whole.choices[0].message.content)
