"""What the chunks of an answer have said, as far as its span and its measurements need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, final

from attrs import define, field

from ..types import (
    Accumulator,
    ChatResponse,
    EmbeddingResponse,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    Usage,
    UsageUpdate,
)

if TYPE_CHECKING:
    from ..costs import Reading

__all__ = ["Answer"]


@final
@define(eq=False, repr=False, kw_only=True)
class Answer:
    """An answer so far."""

    clock: Callable[[], float]
    #: What knows what it costs, if that is wanted.
    reading: Reading | None = None
    #: The chunks, if what is said is wanted.
    said: list[StreamChunk] | None = None
    start: ResponseStart = field(factory=ResponseStart)
    usage: Usage = field(factory=Usage)
    end: ResponseEnd | None = None
    #: Chunks of output.
    output: int = 0
    #: When the first of them came, and when the answer ended.
    first: float | None = None
    last: float | None = None

    def note(self, chunks: Sequence[StreamChunk]) -> None:
        """Take some more."""
        if self.said is not None:
            self.said.extend(chunks)
        before = self.output
        # Nearly all of them are text, and counted without being looked at.
        texts = list(map(type, chunks)).count(TextDelta)
        self.output += texts
        if self.reading is not None:
            self.reading.texts += [c.text for c in chunks if type(c) is TextDelta]
        if texts < len(chunks):
            for chunk in chunks:
                if type(chunk) is not TextDelta:
                    self._note(chunk)
        if not before and self.output:
            self.first = self.clock()

    def _note(self, chunk: StreamChunk) -> None:
        if self.reading is not None:
            self.reading.note(chunk)
        match chunk:
            case ResponseStart():
                self.start = chunk
            case UsageUpdate(usage=usage):
                self.usage = usage
            case ResponseEnd():
                self.end = chunk
                self.last = self.clock()
            case _:
                self.output += 1

    def returned(self, response: EmbeddingResponse) -> None:
        """Take one that has come whole."""
        self.start = ResponseStart(model=response.model, provider=response.provider)
        self.usage = response.usage

    def folded(self) -> ChatResponse:
        """What was said."""
        so_far = Accumulator()
        for chunk in self.said or ():
            so_far.add(chunk)
        return so_far.response()
