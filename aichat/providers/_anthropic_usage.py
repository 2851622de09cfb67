"""
Anthropic's count of tokens.

See: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..types import Usage

__all__ = ["count_tokens"]


def count_tokens(raw: Mapping[str, Any], *, final: bool) -> Usage:
    """
    Normalise the *raw* numbers, which stay beside ours.

    Before the *final* ones, output is a placeholder and not reported.
    """
    given = {key: value for key, value in raw.items() if _is_count(value)}
    read = given.get("cache_read_input_tokens")
    written = given.get("cache_creation_input_tokens")
    # What is read from the cache or written to it is not in input_tokens.
    fresh = given.get("input_tokens")
    total = None if fresh is None else fresh + (read or 0) + (written or 0)
    output = given.get("output_tokens") if final else None
    details = raw.get("output_tokens_details")
    thought = details.get("thinking_tokens") if isinstance(details, dict) else None
    if output is None or not _is_count(thought) or thought > output:
        thought = None
    return Usage(
        input_tokens=total,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=thought,
        complete=final,
        raw=raw,
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
