"""What has been measured, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from attrs import frozen

from .._version import __version__
from ..errors import AIChatError
from ._bench_run import Load
from ._bench_tally import Distribution, Tally
from ._console import one_line
from ._table import table

__all__ = ["Subject", "as_json", "as_text", "manner", "seconds"]

_PERCENTS: Final = (50, 90, 95, 99, 100)
#: A speed is bad where it is low.
_LOW_PERCENTS: Final = (50, 10, 5, 1, 0)
_ALL: Final = (0, 1, 5, 10, 50, 90, 95, 99, 100)
_LONGEST_MESSAGE: Final = 300


@frozen(kw_only=True)
class Subject:
    """What was asked of whom; neither the prompt nor a key."""

    model: str
    load: Load
    max_tokens: int
    warmup: int
    retries: int


def as_text(
    subject: Subject, tally: Tally, explain: Callable[[AIChatError], str]
) -> Iterator[str]:
    """Yield the report, in lines."""
    yield f"{subject.model}, {manner(subject.load)}"
    yield ""
    yield from _summary(tally)
    for code, failure in tally.failures.items():
        yield f"  {failure.count} x {code}: {_message(failure.first, explain)}"
    if not tally.ok:
        return
    yield ""
    yield from _times(subject.load, tally)
    yield from _speeds(tally)
    yield ""
    yield "Of the answers that came whole. Percentiles are nearest-rank, to three digits."
    if subject.load.rate is not None:
        yield "Times count from when a request was due, whenever it was sent."
    if tally.estimated:
        yield (
            f"Tokens are estimated for {tally.estimated} of {tally.ok} answers: "
            "the provider did not tell."
        )


def manner(load: Load) -> str:
    """How the requests were put, in words."""
    if load.rate is None:
        return f"{load.concurrency} at a time"
    spread = "at random" if load.at_random else "evenly"
    text = f"{load.rate:g} per second, {spread}"
    if load.concurrency < load.requests:
        text += f", {load.concurrency} at a time at most"
    return text


def _summary(tally: Tally) -> Iterator[str]:
    took = tally.seconds
    counts = f"{tally.ok} ok, {tally.failed} failed"
    if unfinished := tally.begun - tally.done:
        counts += f", {unfinished} not finished"
    yield f"requests  {counts}, in {seconds(took)}{_per_second(tally.ok, took)}"
    yield f"at once   {tally.most_active} at most"
    if not tally.ok:
        return
    cached = (
        f" ({tally.cache_read_tokens:,} from the provider's cache)"
        if tally.cache_read_tokens
        else ""
    )
    yield (
        f"tokens    {tally.input_tokens:,} in{cached}{_per_second(tally.input_tokens, took)}"
    )
    yield (
        f"          {tally.output_tokens:,} out{_per_second(tally.output_tokens, took)}"
    )
    endings = (f"{count} {reason}" for reason, count in tally.endings.most_common())
    yield f"ended by  {', '.join(endings)}"


def _times(load: Load, tally: Tally) -> Iterator[str]:
    measures = {
        "first chunk": tally.first_chunk,
        "first text": tally.first_text,
        "whole answer": tally.total,
        "gap between chunks": tally.gap,
    }
    if load.rate is not None:
        measures["sent late by"] = tally.delay
    head = ["TIME", "COUNT", "p50", "p90", "p95", "p99", "max"]
    yield _aligned([head, *_rows(measures, _PERCENTS, seconds)])


def _speeds(tally: Tally) -> Iterator[str]:
    measures = {
        "chunks/s of an answer": tally.chunk_rate,
        "tokens/s of an answer": tally.token_rate,
    }
    rows = list(_rows(measures, _LOW_PERCENTS, _number))
    if rows:
        yield ""
        head = ["SPEED", "COUNT", "p50", "p10", "p5", "p1", "min"]
        yield _aligned([head, *rows])


def _rows(
    measures: dict[str, Distribution],
    percents: Sequence[int],
    show: Callable[[float], str],
) -> Iterator[list[str]]:
    for name, measure in measures.items():
        if len(measure):
            values = map(show, measure.percentiles(*percents))
            yield [name, f"{len(measure):,}", *values]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table with the numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return table([
        [row[0], *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ])


def seconds(value: float) -> str:
    """
    Write a time with three digits.

    >>> seconds(0.0123), seconds(0.5), seconds(1.234), seconds(3600)
    ('12.3 ms', '500 ms', '1.23 s', '3,600 s')
    """
    return f"{_number(value * 1000)} ms" if value < 1 else f"{_number(value)} s"


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _per_second(amount: int, took: float) -> str:
    return f", {_number(amount / took)} per second" if took else ""


def _message(first: AIChatError | str, explain: Callable[[AIChatError], str]) -> str:
    text = one_line(first if isinstance(first, str) else explain(first))
    if len(text) > _LONGEST_MESSAGE:
        text = f"{text[:_LONGEST_MESSAGE]}…"
    return text


def as_json(
    subject: Subject, tally: Tally, explain: Callable[[AIChatError], str]
) -> dict[str, Any]:
    """Everything, for programs; times are seconds."""
    load, took = subject.load, tally.seconds
    return {
        "aichat": __version__,
        "model": subject.model,
        "max_tokens": subject.max_tokens,
        "warmup": subject.warmup,
        "retries": subject.retries,
        "load": {
            "requests": load.requests,
            "concurrency": load.concurrency,
            "duration": load.duration if load.duration < float("inf") else None,
            "rate": load.rate,
            "arrivals": _arrivals(load),
        },
        "requests": {
            "begun": tally.begun,
            "ok": tally.ok,
            "failed": tally.failed,
            "most_at_once": tally.most_active,
            "ok_per_second": _ratio(tally.ok, took),
        },
        "errors": {
            code: {
                "count": failure.count,
                "first": _message(failure.first, explain),
            }
            for code, failure in tally.failures.items()
        },
        "finish_reasons": dict(tally.endings),
        "seconds": took,
        "tokens": {
            "input": tally.input_tokens,
            "cache_read": tally.cache_read_tokens,
            "output": tally.output_tokens,
            "input_per_second": _ratio(tally.input_tokens, took),
            "output_per_second": _ratio(tally.output_tokens, took),
            "estimated_answers": tally.estimated,
        },
        "percentiles": "nearest-rank, of values kept to three digits",
        "counted_from": "sent" if load.rate is None else "due",
        "first_chunk": _measure(tally.first_chunk),
        "first_text": _measure(tally.first_text),
        "whole_answer": _measure(tally.total),
        "gap": _measure(tally.gap),
        "sent_late_by": None if load.rate is None else _measure(tally.delay),
        "chunks_per_second": _measure(tally.chunk_rate),
        "tokens_per_second": _measure(tally.token_rate),
    }


def _arrivals(load: Load) -> str | None:
    if load.rate is None:
        return None
    return "random" if load.at_random else "even"


def _ratio(amount: int, took: float) -> float | None:
    return amount / took if took else None


def _measure(measure: Distribution) -> dict[str, float] | None:
    """``None`` for what never came."""
    if not len(measure):
        return None
    names = ("min", *(f"p{percent}" for percent in _ALL[1:-1]), "max")
    values = dict(zip(names, measure.percentiles(*_ALL), strict=True))
    return {"count": len(measure), "mean": measure.mean, **values}
