"""How fast an answer came, how many tokens it took, and what it cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal

from attrs import define, field

from ..errors import ConfigError
from ..types import ChatRequest, ChatResponse, StreamChunk, Usage
from ._bench_tally import Answer

__all__ = ["Stopwatch"]

#: So many digits of an amount below a dollar say something.
_DIGITS = 2


@define
class Stopwatch:
    """Notes when the chunks of an answer come, or of several, with tools called between."""

    _clock: Callable[[], float] = time.perf_counter
    _rounds: list[Answer] = field(factory=list, init=False)
    _ended: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Begin a round: something is asked."""
        now = self._ended = self._clock()
        self._rounds.append(Answer(now, now))

    def note(self, chunk: StreamChunk) -> None:
        """Note that *chunk* has come."""
        self._ended = self._clock()
        self._rounds[-1].note(chunk, self._ended)

    def told(self, responses: Sequence[ChatResponse], request: ChatRequest) -> str:
        """Everything in one line; what is not known is called so."""
        return " · ".join([
            f"first chunk {_seconds(self.first_chunk)}",
            f"{_number(self.chunk_rate, '.1f')} chunks/s",
            f"{_seconds(self.seconds)} in all",
            _tokens([response.usage for response in responses]),
            f"cost {_cost(responses, request)}",
        ])

    @property
    def first_chunk(self) -> float | None:
        """Seconds until something was said, or thought."""
        said = [answer.chunks[0] for answer in self._rounds if answer.chunks]
        return said[0] - self._rounds[0].began if said else None

    @property
    def chunk_rate(self) -> float | None:
        """Per second, while they came."""
        spoken = [answer.chunks for answer in self._rounds if answer.chunks]
        time = sum(chunks[-1] - chunks[0] for chunks in spoken)
        after_the_first = sum(len(chunks) - 1 for chunks in spoken)
        return after_the_first / time if time else None

    @property
    def seconds(self) -> float:
        """From the first question to the last chunk."""
        return self._ended - self._rounds[0].began


def _tokens(usages: Sequence[Usage]) -> str:
    def total(name: str) -> str:
        counts = [getattr(usage, name) for usage in usages]
        return "unknown" if None in counts else f"{sum(counts)}"

    read, written = total("input_tokens"), total("output_tokens")
    cached, thought = total("cache_read_tokens"), total("reasoning_tokens")
    incomplete = "" if all(u.complete for u in usages) else ", incomplete"
    return (
        f"tokens: {read} in ({cached} cached), {written} out "
        f"({thought} reasoning){incomplete}"
    )


def _cost(responses: Sequence[ChatResponse], request: ChatRequest) -> str:
    # Postponed: it brings a table of prices.
    from ..costs import cost_of

    try:
        with _without_advice():
            costs = [cost_of(response, request=request) for response in responses]
    except ConfigError:
        return "unknown (pip install 'aichat[cost]' brings prices)"
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(responses):
        return "unknown"
    about = "about " if any(cost.estimated for cost in known) else ""
    return f"{about}${_money(sum((cost.total for cost in known), Decimal(0)))}"


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep logged advice to programmers, on how to set a price, off the screen."""
    logger, nowhere = logging.getLogger("aichat"), logging.NullHandler()
    logger.addHandler(nowhere)
    try:
        yield
    finally:
        logger.removeHandler(nowhere)


def _money(amount: Decimal) -> str:
    """
    Two digits that say something, and no fewer than cents.

    >>> _money(Decimal("0.000123456")), _money(Decimal("12.3456")), _money(Decimal(0))
    ('0.00012', '12.35', '0.00')
    """
    if not amount:
        return "0.00"
    places = max(2, _DIGITS - 1 - amount.adjusted())
    return f"{amount:.{places}f}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)
