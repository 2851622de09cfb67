"""What came of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

from attrs import field, frozen

from ..errors import ConfigError
from ..types import ChatRequest, ChatResponse, Message, Usage, total_usage

if TYPE_CHECKING:
    from ..costs import CallCost

__all__ = ["RunResult", "StopReason", "TypedRunResult"]

T = TypeVar("T")

#: Why a run ended: the model wanted nothing more called (``done``); a `Deny` with *stop*
#: (``denied``); it was to be asked again, and its provider does not take back what it had
#: said, or it had said nothing (``paused``); a filter or an error ended an answer that asked
#: for calls, and none was made (``interrupted``); or it had as many rounds as it may
#: (``max_rounds``, only in a `ToolLoopError`). ``unfinished`` is what `RunStream.partial`
#: returns before the end.
StopReason: TypeAlias = Literal[
    "done", "denied", "paused", "interrupted", "max_rounds", "unfinished"
]


@frozen(kw_only=True)
class RunResult:
    """What came of a run: the last answer, and all that led to it."""

    #: The model's answers, one for each round; never empty.
    responses: tuple[ChatResponse, ...]
    #: What was added to the conversation: answers as they came, tool results, and what was
    #: wrong with answers that had to be repaired.
    messages: tuple[Message, ...]
    #: What was asked.
    prompt: tuple[Message, ...]
    stop_reason: StopReason
    #: What was asked in each round, tools as the model sees them.
    requests: tuple[ChatRequest, ...] = field(default=(), repr=False)

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

    @property
    def exchanges(self) -> tuple[tuple[ChatRequest | None, ChatResponse], ...]:
        """Each request with its answer."""
        requests = self.requests or (None,) * self.rounds
        return tuple(zip(requests, self.responses, strict=True))

    @property
    def cost(self) -> CallCost | None:
        """
        What all the rounds cost together, by the price table.

        ``None`` if that is not known of one of them, or without the extra ``cost``. It is
        worked out when it is asked for; with prices of your own ask
        `aichat.costs.cost_of`, which also says how long the first look takes.
        """
        # Most are never asked.
        from ..costs import cost_of

        try:
            return cost_of(self)
        except ConfigError:
            return None


@frozen(kw_only=True)
class TypedRunResult(RunResult, Generic[T]):
    """A `RunResult` whose last answer was read into what *response_type* asked for."""

    #: The value: of the type asked for, or JSON that follows the schema asked for.
    parsed: T = field(hash=False)
