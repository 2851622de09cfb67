"""
Fields of Anthropic's events, in whatever shape they come.

What is missing or null says nothing; what has another type than promised is a
`ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ProtocolError

__all__ = ["given", "object_in", "text_in", "text_or_none", "wrong"]


def given(value: Mapping[str, Any]) -> dict[str, Any]:
    """Without the fields that are null: they say nothing, and take nothing back."""
    return {key: item for key, item in value.items() if item is not None}


def text_or_none(value: object) -> str | None:
    """*value*, if it is text."""
    return value if isinstance(value, str) else None


def text_in(holder: Mapping[str, Any], name: str) -> str:
    """The text of a field, which is empty if there is none."""
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(f"{name} is no text")
    return value


def object_in(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of a field that has to be there."""
    value = event.get(name)
    if not isinstance(value, dict):
        raise wrong(f"{event.get('type')} has no {name}")
    return value


def wrong(what: str) -> ProtocolError:
    """Make the error for something that the dialect does not promise."""
    return ProtocolError(f"Not the Messages API: {what}.")
