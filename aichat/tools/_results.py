"""From what a function returned, or raised, to what the model reads."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from ..schemas import ConversionError, plain
from ..types import (
    DocumentPart,
    ImagePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    dumps,
)
from ._function import ToolError

__all__ = ["error_of", "failure", "result_of"]

#: An exception may hold a web page; this much of it is enough to act on.
_MOST_SAID = 2000


def result_of(call: ToolCallPart, value: Any) -> ToolResultPart:
    """
    Answer *call* with *value*: a text as it is, parts as they are, all else as JSON.

    Raises `TypeError` or `ValueError` for what JSON has no form for.
    """
    match value:
        case ToolResultPart():
            return evolve(value, call_id=call.id, name=call.name)
        case str() | TextPart() | ImagePart() | DocumentPart():
            return ToolResultPart(call.id, value, name=call.name)
        case list() | tuple() if _holds_parts(value):
            return ToolResultPart(call.id, value, name=call.name)
        case _:
            text = dumps(plain(value)).decode()
            return ToolResultPart(call.id, text, name=call.name)


def _holds_parts(values: list[Any] | tuple[Any, ...]) -> bool:
    parts = (TextPart, ImagePart, DocumentPart)
    return any(isinstance(v, parts) for v in values) and all(
        isinstance(v, (str, *parts)) for v in values
    )


def failure(call: ToolCallPart, why: str) -> ToolResultPart:
    """Answer *call* with what went wrong."""
    return ToolResultPart(call.id, why, name=call.name, is_error=True)


def error_of(call: ToolCallPart, error: Exception) -> ToolResultPart:
    """Answer *call* with *error*: its type and its text, and never a traceback."""
    match error:
        case ToolError():
            why = str(error) or "The tool failed."
        case ConversionError():
            why = f"Invalid arguments: {error}."
        case _:
            why = f"{type(error).__name__}: {error}".removesuffix(": ")
    if len(why) > _MOST_SAID:
        why = f"{why[:_MOST_SAID]}… ({len(why)} characters)"
    return failure(call, why)
