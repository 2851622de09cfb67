"""Numbers on the command line, and what is said about those that are none."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable

from .._config_values import Duration, structure

__all__ = ["above", "at_least", "between", "duration"]


def at_least(least: int, /) -> Callable[[str], int]:
    """Read a whole number from *least* on."""

    def read(text: str) -> int:
        if text.isascii() and text.isdecimal() and int(text) >= least:
            return int(text)
        raise ArgumentTypeError(f"{text!r} is no whole number from {least} on")

    return read


def between(low: float, high: float, what: str = "number") -> Callable[[str], float]:
    """Read a number from *low* to *high*, which may be infinite."""

    def read(text: str) -> float:
        number = _number(text)
        if low <= number <= high and number < math.inf:
            return number
        limits = f"from {low:g} on" if high == math.inf else f"{low:g} to {high:g}"
        raise ArgumentTypeError(f"{text!r} is no {what}, {limits}")

    return read


def above(low: float, what: str = "number") -> Callable[[str], float]:
    """Read a number above *low*."""

    def read(text: str) -> float:
        if low < (number := _number(text)) < math.inf:
            return number
        raise ArgumentTypeError(f"{text!r} is no {what} above {low:g}")

    return read


def duration(text: str) -> float:
    """Read seconds, as ``30``, ``90s`` or ``1m30s``."""
    try:
        seconds: float = structure(text, Duration)
    except ValueError:
        seconds = math.nan
    if 0 < seconds < math.inf:
        return seconds
    raise ArgumentTypeError(f"{text!r} is no duration, such as 30s or 5m")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
