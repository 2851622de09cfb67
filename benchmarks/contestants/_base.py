"""What a contestant can do; the scenarios are made of it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, ClassVar

__all__ = ["KEY", "PROMPT", "Base"]

KEY = "sk-benchmark"
PROMPT = "Say something."


class Base(ABC):
    """Talks to one *url* in one *dialect*, as its documentation says."""

    #: Distributions whose versions belong into the result.
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, url: str, dialect: str, *, layers: int = 0) -> None:
        self.url = url
        self.dialect = dialect

    @classmethod
    def versions(cls) -> dict[str, str]:
        """What was measured."""
        return {name: version(name) for name in cls.packages}

    @abstractmethod
    def stream(self) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Ask; what comes is the contestant's own chunks."""

    @abstractmethod
    async def complete(self) -> str:
        """Ask for the whole answer, and return its text."""

    async def aclose(self) -> None:  # noqa: B027 -- some have none
        """Let go of the connections."""

    async def read(self) -> int:
        """Ask, and count the chunks of the answer."""
        count = 0
        async with self.stream() as chunks:
            async for _ in chunks:
                count += 1
        return count

    async def first(self) -> float:
        """Ask; return when the first chunk came, after reading the rest."""
        async with self.stream() as chunks:
            iterator = aiter(chunks)
            await anext(iterator)
            came = time.perf_counter()
            async for _ in iterator:
                pass
        return came
