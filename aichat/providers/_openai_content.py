"""Pieces of content in the form that both of OpenAI's APIs want."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..types import (
    AudioPart,
    CacheHint,
    DocumentPart,
    ImagePart,
    Message,
    TextPart,
    ToolResultPart,
    parse_arguments,
)

__all__ = [
    "all_texts",
    "as_object",
    "cache_breakpoint",
    "cache_lifetime",
    "data_url",
    "in_base64",
]

_TTL: Final = {"short": "30m", "long": "12h"}


def in_base64(data: bytes) -> str:
    """*data* as base64 text."""
    return b64encode(data).decode("ascii")


def data_url(part: ImagePart | AudioPart | DocumentPart) -> str:
    """The bytes of *part* as a ``data:`` URL."""
    assert part.data is not None
    return f"data:{part.require_media_type()};base64,{in_base64(part.data)}"


def as_object(arguments: str) -> str:
    """*arguments* if they are a JSON object, else an empty one."""
    try:
        parse_arguments(arguments)
    except ValueError:
        return "{}"
    return arguments if arguments.strip() else "{}"


def cache_lifetime(hint: CacheHint) -> dict[str, Any]:
    """How long to keep what is marked, as a field; nothing where it is left open."""
    return {"ttl": _TTL[hint.ttl]} if hint.ttl else {}


def cache_breakpoint(hint: CacheHint) -> dict[str, Any]:
    """The field that asks to keep everything up to here."""
    return {"prompt_cache_breakpoint": {"mode": "explicit", **cache_lifetime(hint)}}


def all_texts(messages: Iterable[Message]) -> Iterator[str]:
    """Every text that the model reads."""
    for message in messages:
        for part in message.content:
            if isinstance(part, (TextPart, ToolResultPart)):
                yield part.text
