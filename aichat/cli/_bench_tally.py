"""
What a measurement keeps: numbers, as many after a million requests as after a hundred.

Values are kept to three digits and counted, so that percentiles are right to half a percent;
amounts over time are kept in steps that grow with the run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from attrs import define, field

from ..errors import AIChatError
from ..types import (
    ChatResponse,
    CitationDelta,
    FinishReason,
    PartEnd,
    ReasoningDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    Usage,
    UsageUpdate,
    estimate_text_tokens,
)

__all__ = ["Answer", "Distribution", "Failure", "Tally", "Timeline"]

#: More steps than a picture has columns, and a power of two.
_STEPS: Final = 1024
#: Seconds. A power of two again, so that a sum of steps is exact.
_SHORTEST: Final = 1 / 1024
#: An answer may be complete and say that it failed: it has no `ErrorCode`.
_SAYS_IT_FAILED: Final = "finish_reason_error"


@define(eq=False)
class Distribution:
    """
    How often each value came, to three digits.

    >>> times = Distribution()
    >>> for second in range(1, 101):
    ...     times.add(second)
    >>> times.percentiles(50, 99, 100)
    [50.0, 99.0, 100.0]
    """

    _counts: Counter[float] = field(factory=Counter)
    _sum: float = 0.0

    def add(self, value: float) -> None:
        """Count *value*."""
        self._counts[float(f"{value:.3g}")] += 1
        self._sum += value

    def __len__(self) -> int:
        """How many values there were."""
        return self._counts.total()

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """Yield each value and how often it came, the least first."""
        yield from sorted(self._counts.items())

    @property
    def mean(self) -> float:
        """The mean of what came; there must have been something."""
        return self._sum / len(self)

    def percentiles(self, *percents: float) -> list[float]:
        """
        Find the nearest-rank percentiles: values that came, and none in between.

        0 is the least, 100 the greatest; there must have been something.
        """
        ranks = [max(1, math.ceil(p * len(self) / 100)) for p in percents]
        found: dict[int, float] = {}
        seen = 0
        for value, times in self:
            found |= {rank: value for rank in ranks if seen < rank <= seen + times}
            seen += times
        return [found[rank] for rank in ranks]


@define(eq=False)
class Timeline:
    """Amounts by the time at which they came, in steps that double when they get too many."""

    step: float = _SHORTEST
    amounts: list[float] = field(factory=list)

    def add(self, at: float, amount: float = 1) -> None:
        """Add *amount* to what came *at* seconds."""
        while (index := int(at / self.step)) >= _STEPS:
            self._halve()
        missing = index + 1 - len(self.amounts)
        if missing > 0:
            self.amounts += [0.0] * missing
        self.amounts[index] += amount

    def _halve(self) -> None:
        pairs = [*self.amounts, 0.0]
        self.amounts = [sum(pairs[i : i + 2]) for i in range(0, len(pairs) - 1, 2)]
        self.step *= 2


@define(eq=False)
class Answer:
    """What is noted of an answer while it comes."""

    #: When it should have been asked for, and when it was.
    due: float
    began: float
    #: When each chunk that says something came.
    chunks: list[float] = field(factory=list)
    first_text: float | None = None
    #: The first that was no reasoning.
    first_said: float | None = None
    usage: Usage = field(factory=Usage)
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None

    def note(self, chunk: StreamChunk, at: float) -> None:
        """Note *chunk*, which came *at* that time."""
        match chunk:
            case TextDelta():
                if self.first_text is None:
                    self.first_text = at
            case ReasoningDelta():
                self.chunks.append(at)
                return
            case UsageUpdate(usage):
                self.usage = usage
                return
            case ResponseEnd(reason, raw):
                self.finish_reason, self.raw_finish_reason = reason, raw
                return
            case ResponseStart() | PartEnd() | CitationDelta():
                return
            case _:
                pass  # A call, a refusal or a whole part: said, as text is.
        self.chunks.append(at)
        if self.first_said is None:
            self.first_said = at


@define(eq=False)
class Failure:
    """One kind of failure."""

    first: AIChatError | str
    count: int = 0


@define(eq=False)
class Tally:
    """Everything that has been measured so far; times are seconds."""

    started: float = 0.0
    ended: float = 0.0
    begun: int = 0
    ok: int = 0
    #: By error code.
    failures: dict[str, Failure] = field(factory=dict)
    #: How the good answers ended.
    endings: Counter[str] = field(factory=Counter)
    active: int = 0
    most_active: int = 0

    # -- of the good answers -----------------------------------------------------------
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    #: For so many answers the provider has not told how many tokens went in, or came out.
    estimated: int = 0
    #: From when a request was due to when it was sent.
    delay: Distribution = field(factory=Distribution)
    first_chunk: Distribution = field(factory=Distribution)
    first_text: Distribution = field(factory=Distribution)
    total: Distribution = field(factory=Distribution)
    gap: Distribution = field(factory=Distribution)
    #: Per second, from the first chunk to the last.
    chunk_rate: Distribution = field(factory=Distribution)
    token_rate: Distribution = field(factory=Distribution)

    # -- of all, over time ---------------------------------------------------------------
    #: One up for each that begins, one down for each that ends.
    under_way: Timeline = field(factory=Timeline)
    chunks: Timeline = field(factory=Timeline)
    broken: Timeline = field(factory=Timeline)

    @property
    def failed(self) -> int:
        """How many requests have failed."""
        return sum(failure.count for failure in self.failures.values())

    @property
    def done(self) -> int:
        """How many requests have ended, well or not."""
        return self.ok + self.failed

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started

    def begin(self, answer: Answer) -> None:
        """A request is about to be sent."""
        self.begun += 1
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        self.under_way.add(answer.began - self.started)

    def leave(self, answer: Answer, at: float) -> None:
        """It is over, however it ended."""
        self.active -= 1
        self.under_way.add(at - self.started, -1)
        for came in answer.chunks:
            self.chunks.add(came - self.started)

    def fail(self, error: AIChatError, at: float) -> None:
        """It failed."""
        self._fail(str(error.code), error, at)

    def _fail(self, code: str, first: AIChatError | str, at: float) -> None:
        self.failures.setdefault(code, Failure(first)).count += 1
        self.broken.add(at - self.started)

    def finish(
        self,
        answer: Answer,
        at: float,
        *,
        prompt_tokens: int,
        response: Callable[[], ChatResponse],
    ) -> None:
        """It came whole. *prompt_tokens* and *response* count where no usage was told."""
        if answer.finish_reason is FinishReason.ERROR:
            raw = answer.raw_finish_reason
            self._fail(_SAYS_IT_FAILED, f"The provider says that it failed: {raw}", at)
            return
        self.ok += 1
        self.endings[str(answer.finish_reason)] += 1
        written = self._count_tokens(answer.usage, prompt_tokens, response)
        self.delay.add(answer.began - answer.due)
        self.total.add(at - answer.due)
        if answer.chunks:
            self.first_chunk.add(answer.chunks[0] - answer.due)
            self._add_speed(answer, written)
        if answer.first_text is not None:
            self.first_text.add(answer.first_text - answer.due)

    def _count_tokens(
        self, usage: Usage, prompt_tokens: int, response: Callable[[], ChatResponse]
    ) -> int:
        """Add them up, and return how many came out."""
        read, written = usage.input_tokens, usage.output_tokens
        self.estimated += read is None or written is None
        if read is None:
            read = prompt_tokens
        if written is None:
            written = _estimated(response())
        self.input_tokens += read
        self.output_tokens += written
        self.cache_read_tokens += usage.cache_read_tokens or 0
        return written

    def _add_speed(self, answer: Answer, written: int) -> None:
        """How fast it came once it did: after the first chunk, which had to be waited for."""
        times = answer.chunks
        for before, after in pairwise(times):
            self.gap.add(after - before)
        if span := times[-1] - times[0]:
            self.chunk_rate.add((len(times) - 1) / span)
        # Thinking is often not shown, or summed up: then its tokens did not come that way.
        thought = answer.usage.reasoning_tokens or 0
        began = answer.first_said if thought else times[0]
        if began is not None and (span := times[-1] - began) and written > thought + 1:
            self.token_rate.add((written - thought - 1) / span)


def _estimated(response: ChatResponse) -> int:
    texts: Sequence[str] = (
        response.text,
        response.reasoning,
        *(call.arguments for call in response.tool_calls),
    )
    return sum(map(estimate_text_tokens, texts))
