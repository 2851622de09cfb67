"""
Fields of Ollama's lines, in whatever shape they come.

What is missing or null says nothing; what has another type than promised is a
`ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import ProtocolError

__all__ = ["epoch", "list_in", "text_in", "text_or_none", "wrong"]


def text_or_none(value: object) -> str | None:
    """*value*, if it is text and not empty."""
    return value if isinstance(value, str) and value else None


def text_in(holder: Mapping[str, Any], name: str) -> str:
    """The text of a field, which is empty if there is none."""
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(f"{name} is no text")
    return value


def list_in(holder: Mapping[str, Any], name: str) -> list[Any]:
    """The list of a field, which is empty if there is none."""
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(f"{name} is no list")
    return value


def epoch(value: object) -> float | None:
    """
    Seconds since the epoch, of an RFC 3339 time with up to nine decimals.

    >>> epoch("1970-01-01T00:00:01.123456789Z")
    1.123456
    """
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    # The year 1 is Go's way to say nothing.
    return time.timestamp() if time.year > 1 else None


def wrong(what: str) -> ProtocolError:
    """Make the error for something that the dialect does not promise."""
    return ProtocolError(f"Not Ollama's API: {what}.")
