"""A body that is read piece by piece, however long it is."""

from __future__ import annotations

from typing import Generic, TypeVar, final

from ._deadline import Watch
from ._wire import Decoder, HTTPResponse

__all__ = ["Download"]

T = TypeVar("T")


@final
class Download(Generic[T]):
    """An answer whose pieces are handed up as they come, and never kept."""

    __slots__ = ("_framing", "_response", "_watch", "first", "over")

    def __init__(
        self, response: HTTPResponse, framing: Decoder[bytes, T], watch: Watch
    ) -> None:
        self._response = response
        self._framing = framing
        self._watch = watch
        #: What the first read with anything in it brought.
        self.first: list[T] = []
        #: Whether there is nothing more to read.
        self.over = False

    async def begin(self) -> None:
        """Read until there is a piece, or the end."""
        self._watch.reading(self._response)
        while not self.first and not self.over:
            self.first = await self.read()

    async def read(self) -> list[T]:
        """The pieces that one network read completes."""
        self._watch.wait()
        data = await self._response.read()
        if data:
            self._watch.arrived(progress=True, complete=False)
            return list(self._framing.decode(data))
        self.over = True
        self._watch.rest()
        return list(self._framing.flush())

    def close(self) -> None:
        """Give the connection up, unless it is back in the pool."""
        self._watch.rest()
        self._response.abort()
