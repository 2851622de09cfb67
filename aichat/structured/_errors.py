"""Why an answer is not the value that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import ProtocolError

if TYPE_CHECKING:
    from ..schemas import Problem
    from ..types import ChatResponse, Usage

__all__ = ["Shortfall", "StructuredOutputError"]

#: What went wrong: it declined, a filter stopped it, it hit a token limit, called tools
#: instead, ended in another way before its end, is no JSON, or is JSON of another shape.
Shortfall: TypeAlias = Literal[
    "refused", "filtered", "cut_off", "tool_calls", "unfinished", "not_json", "mismatch"
]


class StructuredOutputError(ProtocolError):
    """
    The answer came, but is not what *response_type* asked for; `reason` says in which way.

    `partial` is the answer itself, with its text, refusal and usage.
    """

    def __init__(
        self,
        message: str = "",
        *,
        reason: Shortfall = "mismatch",
        problems: tuple[Problem, ...] = (),
        **facts: Any,
    ) -> None:
        super().__init__(message, operation="chat", **facts)
        self.reason: Shortfall = reason
        #: Everything that does not fit, of a ``"mismatch"``.
        self.problems = problems
        #: Every answer to the call, the last one being `partial`.
        self.rounds: tuple[ChatResponse, ...] = (self.partial,) if self.partial else ()

    @property
    def usage(self) -> Usage:
        """The tokens of all `rounds`; unknown without any."""
        from ..types import Usage, total_usage

        # Without an answer nobody knows.
        rounds = self.rounds
        return total_usage(r.usage for r in rounds) if rounds else Usage()
