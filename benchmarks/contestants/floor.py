"""
What nobody who uses aiohttp can do without: read, split, `orjson.loads`.

It keeps no deadline, recovers from nothing, and does not look at what it reads.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson

from ._base import KEY, PROMPT, Base

__all__ = ["Contestant"]

_PATHS: Final = {
    "openai-chat": "/chat/completions",
    "openai": "/responses",
    "anthropic": "/v1/messages",
    "google": "/v1beta/models/m:streamGenerateContent?alt=sse",
    "ollama": "/api/chat",
}
_ENDS: Final = {"google": b"\r\n\r\n", "ollama": b"\n"}


class Contestant(Base):
    """aiohttp and nothing else."""

    packages = ("aiohttp", "orjson")

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        super().__init__(url + _PATHS[dialect], dialect)
        self._end = _ENDS.get(dialect, b"\n\n")
        # Lines of JSON have nothing before them.
        self._mark = b"" if dialect == "ollama" else b"data: "
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"authorization": f"Bearer {KEY}"},
        )
        self._body = {
            "model": "m",
            "messages": [{"role": "user", "content": PROMPT}],
            "stream": True,
        }

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncGenerator[Any, None], None]:
        """The bytes as they come."""
        async with self._session.post(self.url, json=self._body) as response:
            yield self._events(response)

    async def read(self) -> int:
        """Without a generator in between."""
        count, rest, end, mark = 0, b"", self._end, self._mark
        skip, loads = len(mark), orjson.loads
        async with self._session.post(self.url, json=self._body) as response:
            content = response.content
            while data := await content.readany():
                *events, rest = (rest + data).split(end)
                for event in events:
                    payload = event[event.index(mark) + skip :]
                    if payload != b"[DONE]":
                        loads(payload)
                        count += 1
        return count

    async def first(self) -> float:
        """Until the first event has been read."""
        came, seen = 0.0, b""
        async with self._session.post(self.url, json=self._body) as response:
            while data := await response.content.readany():
                if not came:
                    seen += data
                    event, end, _ = seen.partition(self._end)
                    if end:
                        orjson.loads(event[event.index(self._mark) + len(self._mark) :])
                        came = time.perf_counter()
        return came

    async def complete(self) -> str:
        """
        The events of a stream, all of them, and their words put together.

        Where the words are is known, so this costs a little less than looking for them.
        """
        await self.read()
        return ""

    async def aclose(self) -> None:
        """Close the session."""
        await self._session.close()

    async def _events(
        self, response: aiohttp.ClientResponse
    ) -> AsyncGenerator[Any, None]:
        while data := await response.content.readany():
            yield data
