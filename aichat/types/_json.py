"""
Our values to JSON and back, stable enough to store.

Fields that have their default are left out, so that a later version may add some. Unions are tagged with
``"type"`` (parts) and ``"chunk"`` (chunks). Bytes travel as base64.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_origin

from . import _chunks, _messages
from ._codec import dumps, loads_exact
from ._deadlines import Seconds
from ._values import UNSET, Unset

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["from_json", "json_converter", "to_json"]

T = TypeVar("T")

_UNSET = "unset"

_PARTS = {
    _messages.TextPart: "text",
    _messages.ReasoningPart: "reasoning",
    _messages.RefusalPart: "refusal",
    _messages.ImagePart: "image",
    _messages.AudioPart: "audio",
    _messages.DocumentPart: "document",
    _messages.ToolCallPart: "tool_call",
    _messages.ToolResultPart: "tool_result",
    _messages.OpaquePart: "opaque",
}
_CHUNKS = {
    _chunks.ResponseStart: "response_start",
    _chunks.TextDelta: "text_delta",
    _chunks.ReasoningDelta: "reasoning_delta",
    _chunks.RefusalDelta: "refusal_delta",
    _chunks.ToolCallDelta: "tool_call_delta",
    _chunks.CitationDelta: "citation_delta",
    _chunks.PartAdded: "part_added",
    _chunks.PartEnd: "part_end",
    _chunks.UsageUpdate: "usage_update",
    _chunks.ResponseEnd: "response_end",
}


def to_json(value: Any) -> bytes:
    """
    Write a message, request, response, chunk or any other of our values as JSON.

    >>> to_json(_messages.user("Hi"))
    b'{"role":"user","content":[{"text":"Hi","type":"text"}]}'
    """
    converter = json_converter()
    kind = _chunks.StreamChunk if type(value) in _CHUNKS else None
    kind = _messages.Part if type(value) in _PARTS else kind
    return dumps(converter.unstructure(value, unstructure_as=kind))


def from_json(cls: type[T], data: bytes | str) -> T:
    """
    Read what `to_json` wrote; for chunks and parts *cls* is `StreamChunk` or `Part`.

    Raises `ValueError` that lists everything that does not fit and where it is, the
    values' own objections included. Fields that we do not know are ignored: a newer
    aichat may have written them.
    """
    value = loads_exact(data)
    converter = json_converter()
    from cattrs import BaseValidationError, transform_error

    try:
        result: T = converter.structure(value, cls)
    except (BaseValidationError, LookupError, TypeError, ValueError) as error:
        what = getattr(cls, "__name__", str(cls))
        wrong = "; ".join(transform_error(error, format_exception=_explain))
        raise ValueError(f"This is no {what}: {wrong}") from None
    return result


@cache
def json_converter() -> Converter:
    """The one converter; made when first used, since cattrs takes its time to import."""
    from cattrs import Converter
    from cattrs.strategies import configure_tagged_union

    converter = Converter(omit_if_default=True)
    # Left to itself, cattrs makes 1 of 1.5, True of "no" and letters of a text.
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook(StrEnum, lambda value, kind: kind(value))
    converter.register_structure_hook_factory(
        _is_tuple, lambda kind: _tuple_hook(kind, converter)
    )
    converter.register_unstructure_hook(bytes, _encode_bytes)
    converter.register_structure_hook(bytes, _decode_bytes)
    converter.register_unstructure_hook(Unset, lambda _: _UNSET)
    converter.register_structure_hook_func(lambda kind: kind == Seconds, _to_seconds)
    for union, names, tag in (
        # A union stands before those whose members hold it.
        (_messages.ResultPart, _PARTS, "type"),
        (_messages.Part, _PARTS, "type"),
        (_chunks.Whole, _PARTS, "type"),
        (_chunks.StreamChunk, _CHUNKS, "chunk"),
    ):
        configure_tagged_union(
            union, converter, tag_name=tag, tag_generator=names.__getitem__
        )
    return converter


def _explain(error: BaseException, _: Any) -> str:
    match error:
        case KeyError(args=(key, *_)):
            return f"{key!r} is missing or unknown"
        case _:
            return str(error)


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")


def _is_tuple(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is tuple


def _tuple_hook(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    items = list[kind.__args__[0]]
    structure = converter.get_structure_hook(items)

    def to_tuple(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        return tuple(structure(value, items))

    return to_tuple


def _encode_bytes(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode_bytes(text: Any, _: Any) -> bytes:
    return base64.b64decode(text, validate=True)


def _to_seconds(value: Any, _: Any) -> Seconds:
    return UNSET if value == _UNSET else value
