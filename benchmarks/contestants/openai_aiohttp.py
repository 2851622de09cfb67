"""OpenAI's SDK with its aiohttp transport."""

from __future__ import annotations

from typing import Any

import openai

from .openai import Contestant as _Usual

__all__ = ["Contestant"]


class Contestant(_Usual):
    """`AsyncOpenAI` on `DefaultAioHttpClient`."""

    packages = ("openai", "aiohttp")

    def http_client(self) -> Any:
        """The extra's one."""
        return openai.DefaultAioHttpClient()
