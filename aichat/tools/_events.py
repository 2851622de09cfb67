"""What happens in a run, besides the chunks of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen

from ..types import ChatResponse, StreamChunk, ToolCallPart, ToolResultPart

if TYPE_CHECKING:
    from ..structured import StructuredOutputError

__all__ = ["RoundEnded", "RunEvent", "ToolFinished", "ToolStarted"]


@frozen
class ToolStarted:
    """A tool is being called."""

    call: ToolCallPart


@frozen
class ToolFinished:
    """A call has its result, or was never made: then *seconds* is ``None``."""

    call: ToolCallPart
    #: What the model will read.
    result: ToolResultPart
    #: How long it took.
    seconds: float | None = None
    #: What the tool raised, or why it was not called.
    error: Exception | None = field(default=None, eq=False)


@frozen
class RoundEnded:
    """The model has answered, and all that it wanted called was called."""

    #: Counts from 1.
    number: int
    response: ChatResponse
    #: In the order of the calls; none in the last round.
    results: tuple[ToolResultPart, ...] = ()
    #: Why this answer is asked for again, if it is no *response_type*.
    problem: StructuredOutputError | None = field(default=None, eq=False)


#: What a `RunStream` yields.
RunEvent: TypeAlias = StreamChunk | ToolStarted | ToolFinished | RoundEnded
