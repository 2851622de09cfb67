"""
Reading JSON that may have any shape, and taking notes of what has no place of its own.

Missing, ``null`` and empty are the same to almost every server. Another type than the
dialect has is a `ProtocolError`; where a text should be, it is no text.
"""

from __future__ import annotations

from typing import Any

from ..errors import ProtocolError

__all__ = [
    "gather",
    "get_list",
    "get_number",
    "get_object",
    "get_text",
    "get_whole",
    "keep",
]


def get_text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def get_number(holder: dict[str, Any], key: str) -> float | None:
    value = holder.get(key)
    return value if type(value) in (int, float) else None


def get_whole(holder: dict[str, Any], key: str) -> int | None:
    # `True` is an int to Python, and no number to JSON.
    value = holder.get(key)
    return value if type(value) is int else None


def get_object(holder: dict[str, Any], key: str) -> dict[str, Any]:
    value = holder.get(key)
    if value is not None and not isinstance(value, dict):
        raise ProtocolError(f"{key!r} is a {type(value).__name__}, not an object.")
    return value or {}


def get_list(holder: dict[str, Any], key: str) -> list[Any]:
    value = holder.get(key)
    if value is not None and not isinstance(value, list):
        raise ProtocolError(f"{key!r} is a {type(value).__name__}, not a list.")
    return value or []


def keep(notes: dict[str, Any], key: str, value: Any) -> None:
    """Note a fact: the last one that says something counts, field by field."""
    if value in (None, "", [], {}):
        return
    known = notes.get(key)
    if isinstance(value, dict) and isinstance(known, dict):
        value = known | value
    notes[key] = value


def gather(notes: dict[str, Any], key: str, value: Any) -> None:
    """Note what comes in pieces: a list, or an object of lists, grows."""
    if isinstance(value, dict):
        known = notes.get(key)
        grown = {**known} if isinstance(known, dict) else {}
        for inner, item in value.items():
            _grow(grown, inner, item)
        keep(notes, key, grown)
    else:
        _grow(notes, key, value)


def _grow(notes: dict[str, Any], key: str, value: Any) -> None:
    known = notes.get(key)
    if not isinstance(value, list):
        keep(notes, key, value)
    elif isinstance(known, list):
        known += value
    else:
        # A copy: it may be added to, and is not ours.
        keep(notes, key, [*value])
