"""
What a provider is, and may be: a name and a `stream`, and whatever else it can do.

Nothing is imported here but what they are made of: everybody asks whether somebody is one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..types import ChatRequest, StreamChunk

if TYPE_CHECKING:
    from ._profiles import ModelProfile

__all__ = ["Closable", "HealthChecker", "ModelDescriber", "Provider"]


@runtime_checkable
class Provider(Protocol):
    """Whoever answers. Anything with a name and a `stream` is one."""

    @property
    def name(self) -> str: ...

    def stream(self, request: ChatRequest, /) -> AsyncGenerator[StreamChunk, None]:
        """
        Answer *request* in the grammar of `StreamChunk`.

        The caller closes it. Raises `AIChatError` and nothing else.
        """
        ...


@runtime_checkable
class HealthChecker(Protocol):
    """A provider that can tell cheaply whether it is there and the key is good."""

    async def health(self) -> bool:
        """
        Return True if all is well, False if there is no way to tell.

        Raises `AIChatError` for whatever is wrong.
        """
        ...


@runtime_checkable
class Closable(Protocol):
    """A provider that holds something open."""

    async def aclose(self) -> None:
        """Give it back; harmless when done twice."""
        ...


@runtime_checkable
class ModelDescriber(Protocol):
    """A provider that knows what its models accept."""

    def profile(self, model: str, /) -> ModelProfile:
        """Tell what *model*, a name without a provider, accepts. Asks nobody."""
        ...
