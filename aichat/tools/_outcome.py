"""What came of a run."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import frozen

from ..types import ChatResponse, Message, Usage, total_usage

__all__ = ["RunResult", "StopReason"]

#: Why a run ended: the model wanted nothing more called (``done``); a `Deny` with *stop*
#: (``denied``); its provider wants to be asked again by itself (``paused``); a filter or an
#: error ended an answer that asked for calls, and none was made (``interrupted``); or
#: it had as many rounds as it may (``max_rounds``, only in a `ToolLoopError`).
StopReason: TypeAlias = Literal["done", "denied", "paused", "interrupted", "max_rounds"]


@frozen(kw_only=True)
class RunResult:
    """What came of a run: the last answer, and all that led to it."""

    #: The model's answers, one for each round; never empty.
    responses: tuple[ChatResponse, ...]
    #: What was added to the conversation: answers as they came, and tool results.
    messages: tuple[Message, ...]
    #: What was asked.
    prompt: tuple[Message, ...]
    stop_reason: StopReason

    @property
    def response(self) -> ChatResponse:
        """The last answer."""
        return self.responses[-1]

    @property
    def text(self) -> str:
        """The visible text of the last answer."""
        return self.response.text

    @property
    def conversation(self) -> tuple[Message, ...]:
        """All of it: add a message and go on."""
        return (*self.prompt, *self.messages)

    @property
    def rounds(self) -> int:
        """How often the model was asked."""
        return len(self.responses)

    @property
    def usage(self) -> Usage:
        """
        What all the rounds took together.

        What one round does not report is unknown of all. Answers from a cache cost nothing.
        """
        return total_usage(r.usage for r in self.responses if not r.from_cache)
