"""The tokens of several answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..types import Usage

__all__ = ["total"]

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


def total(usages: Iterable[Usage]) -> Usage:
    """
    Add up; what one of them does not report is not known of all.

    >>> total([Usage(input_tokens=3, output_tokens=1), Usage(input_tokens=5)]).input_tokens
    8
    """
    usages = list(usages)
    if len(usages) < 2:
        return usages[0] if usages else Usage()
    sums: dict[str, Any] = {}
    for name in _COUNTS:
        counts: list[int | None] = [getattr(usage, name) for usage in usages]
        known = [count for count in counts if count is not None]
        sums[name] = sum(known) if len(known) == len(counts) else None
    return Usage(**sums, complete=all(usage.complete for usage in usages))
