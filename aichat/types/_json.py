"""
Our values to JSON and back, stable enough to store.

Unset fields are left out, so that a later version may add some. Unions are tagged with
``"type"`` (parts) and ``"chunk"`` (chunks). Bytes travel as base64.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

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
    b'{"role":"user","content":[{"type":"text","text":"Hi"}]}'
    """
    converter = json_converter()
    kind = _chunks.StreamChunk if type(value) in _CHUNKS else None
    kind = _messages.Part if type(value) in _PARTS else kind
    return dumps(converter.unstructure(value, unstructure_as=kind))


def from_json(cls: type[T], data: bytes | str) -> T:
    """
    Read what `to_json` wrote; for chunks and parts *cls* is `StreamChunk` or `Part`.

    Raises `ValueError` for what does not fit, and whatever the value itself objects to.
    """
    result: T = json_converter().structure(loads_exact(data), cls)
    return result


@cache
def json_converter() -> Converter:
    """The one converter; made when first used, since cattrs takes its time to import."""
    from cattrs import Converter
    from cattrs.strategies import configure_tagged_union

    converter = Converter(omit_if_default=True)
    converter.register_unstructure_hook(bytes, _encode_bytes)
    converter.register_structure_hook(bytes, _decode_bytes)
    converter.register_unstructure_hook(Unset, lambda _: _UNSET)
    converter.register_structure_hook_func(lambda kind: kind == Seconds, _to_seconds)
    for union, names, tag in (
        (_messages.Part, _PARTS, "type"),
        (_messages.ResultPart, _PARTS, "type"),
        (_chunks.Whole, _PARTS, "type"),
        (_chunks.StreamChunk, _CHUNKS, "chunk"),
    ):
        configure_tagged_union(
            union, converter, tag_name=tag, tag_generator=names.__getitem__
        )
    return converter


def _encode_bytes(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode_bytes(text: Any, _: Any) -> bytes:
    return base64.b64decode(text, validate=True)


def _to_seconds(value: Any, _: Any) -> Seconds:
    return UNSET if value == _UNSET else value
