"""
Ollama's count of tokens and of time.

See: https://docs.ollama.com/api/usage
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..types import Usage

__all__ = ["FIGURES", "count_tokens", "durations"]

_COUNTS: Final = ("prompt_eval_count", "eval_count")
_DURATIONS: Final = (
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
)
#: All fields that are told about here.
FIGURES: Final = frozenset({*_COUNTS, *_DURATIONS})


def count_tokens(line: Mapping[str, Any]) -> Usage | None:
    """
    Normalise the numbers of the last *line*; they stay beside ours as they came.

    What is left out was not counted: an older server does not count a prompt that it has
    in its cache. Nobody says what came from the cache, or what was thought.
    """
    raw = {n: line[n] for n in (*_COUNTS, *_DURATIONS) if n in line}
    read, written = (_count(line.get(name)) for name in _COUNTS)
    if read is None and written is None:
        return None
    return Usage(input_tokens=read, output_tokens=written, raw=raw)


def durations(line: Mapping[str, Any]) -> dict[str, float]:
    """
    How long what took, in seconds; on the wire it is nanoseconds.

    >>> durations({"eval_duration": 1_500_000_000})
    {'eval': 1.5}
    """
    return {
        name.removesuffix("_duration"): count / 1e9
        for name in _DURATIONS
        if (count := _count(line.get(name))) is not None
    }


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
