"""Why an answer ended, and what it cost in tokens."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from attrs import field, frozen

from ._values import JSONObject, frozen_mapping

__all__ = ["FinishReason", "Usage", "total_usage"]


class FinishReason(StrEnum):
    """Why the model stopped."""

    #: It had said everything, or met a stop sequence.
    STOP = "stop"
    #: It ran into a token limit.
    LENGTH = "length"
    #: It waits for the results of its tool calls.
    TOOL_CALLS = "tool_calls"
    #: A filter stopped it, or it refused.
    CONTENT_FILTER = "content_filter"
    #: It wants to be called again, with what it has said so far.
    PAUSED = "paused"
    #: The provider says that it failed.
    ERROR = "error"
    #: Something that has no name here yet; see the raw reason.
    OTHER = "other"


@frozen(kw_only=True)
class Usage:
    """
    Tokens. ``None`` means *not reported*, which is not 0.

    >>> Usage(input_tokens=10, output_tokens=5).total_tokens
    15
    """

    #: Everything that was sent, cache reads and writes included.
    input_tokens: int | None = None
    #: Everything that was generated, reasoning included.
    output_tokens: int | None = None
    #: Of the input: read from the provider's cache.
    cache_read_tokens: int | None = None
    #: Of the input: written to the provider's cache.
    cache_write_tokens: int | None = None
    #: Of the output: spent on thinking.
    reasoning_tokens: int | None = None
    #: False if the stream was cut before the provider gave its final numbers.
    complete: bool = True
    #: The provider's own numbers, untouched.
    raw: JSONObject = field(
        factory=dict, converter=frozen_mapping, repr=False, hash=False
    )

    @property
    def total_tokens(self) -> int | None:
        """Input and output together, if both are known."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens


def total_usage(usages: Iterable[Usage]) -> Usage:
    """
    Add up; what one of them does not report is not known of all.

    A single one stays as it is, and nothing at all takes no tokens. The raw numbers of several
    have no sum.

    >>> total_usage([Usage(input_tokens=3, output_tokens=1), Usage(input_tokens=5)]).input_tokens
    8
    """
    known = list(usages)
    if len(known) == 1:
        return known[0]

    def total(name: str) -> int | None:
        counts: list[int | None] = [getattr(usage, name) for usage in known]
        present = [count for count in counts if count is not None]
        return sum(present) if len(present) == len(counts) else None

    return Usage(
        input_tokens=total("input_tokens"),
        output_tokens=total("output_tokens"),
        cache_read_tokens=total("cache_read_tokens"),
        cache_write_tokens=total("cache_write_tokens"),
        reasoning_tokens=total("reasoning_tokens"),
        complete=all(usage.complete for usage in known),
    )
