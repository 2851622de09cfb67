"""How many tokens an answer has taken, whether or not it came to its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from attrs import evolve

from ..types import (
    ReasoningDelta,
    RefusalDelta,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
)

__all__ = ["Meter"]

#: Roughly, of English; it is for answers that were cut before they told.
_CHARACTERS_PER_TOKEN = 4


@final
class Meter:
    """Counts what comes by. Costs something per chunk, so only who limits tokens has one."""

    __slots__ = ("_characters", "_usage")

    def __init__(self) -> None:
        self._characters = 0
        self._usage = Usage()

    def count(self, chunks: Iterable[StreamChunk]) -> None:
        """Count *chunks*."""
        for chunk in chunks:
            match chunk:
                case TextDelta() | ReasoningDelta() | RefusalDelta():
                    self._characters += len(chunk.text)
                case ToolCallDelta():
                    self._characters += len(chunk.arguments)
                case UsageUpdate():
                    self._usage = chunk.usage
                case _:
                    pass

    def usage(self, *, ended: bool) -> Usage:
        """
        What the provider has said, and for the output what has arrived if it has not.

        An answer that has not *ended* has taken at least that: what the provider says in
        its midst may be from its beginning.
        """
        usage = self._usage
        arrived = -(-self._characters // _CHARACTERS_PER_TOKEN)
        if usage.output_tokens is None:
            return evolve(usage, output_tokens=arrived)
        if ended or usage.output_tokens >= arrived:
            return usage
        return evolve(usage, output_tokens=arrived)
