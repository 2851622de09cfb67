"""
Holds a request body against the types of Ollama's own SDK.

They are pydantic's, lenient, and let unknown keys pass: so the body is read into them,
written again, and compared with what it was. What the SDK has no place for would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ollama import Image, Message, Options, Tool
from ollama._types import ChatRequest
from pydantic import BaseModel, ValidationError

__all__ = ["complaints"]

#: What the server knows and SDK 0.6.3 does not: see the wire's own documentation.
_NEWER = {
    "body.truncate",
    "body.options.min_p",
    "message.tool_call_id",
    "message.tool_calls.id",
    "message.tool_calls.function.index",
}


def complaints(body: Mapping[str, Any]) -> list[str]:
    """Everything in *body* that the SDK has no place for, or would change."""
    return sorted(c for c in _all(body) if c.partition(" ")[0] not in _NEWER)


def _all(body: Mapping[str, Any]) -> Iterator[str]:
    apart = {"messages", "options", "tools"}
    rest = {key: value for key, value in body.items() if key not in apart}
    yield from _check(ChatRequest, rest, "body")
    yield from _check(Options, body.get("options", {}), "body.options")
    for message in body["messages"]:
        # Given as texts they would be taken for names of files.
        images = [Image(value=image) for image in message.get("images", ())]
        typed = {**message, "images": images} if images else message
        yield from _check(Message, typed, "message", message)
    for tool in body.get("tools", ()):
        # The rest of the schema is the server's business: it reads less than that.
        function = {k: v for k, v in tool["function"].items() if k != "parameters"}
        yield from _check(Tool, {**tool, "function": function}, "tool")
        parameters = Tool.Function.Parameters
        parameters.model_validate(tool["function"]["parameters"])


def _check(
    kind: type[BaseModel],
    value: Mapping[str, Any],
    where: str,
    wire: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    try:
        again = kind.model_validate(value, strict=True).model_dump(exclude_unset=True)
    except ValidationError as error:
        for each in error.errors():
            yield f"{where}.{'.'.join(map(str, each['loc']))} {each['msg']}"
        return
    yield from _lost(wire or value, again, where)


def _lost(value: Any, again: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping) and isinstance(again, Mapping):
        for key, item in value.items():
            if key not in again:
                yield f"{where}.{key} is not there"
            else:
                yield from _lost(item, again[key], f"{where}.{key}")
    elif isinstance(value, list) and isinstance(again, list):
        for one, other in zip(value, again, strict=True):
            yield from _lost(one, other, where)
    elif value != again:
        yield f"{where} is {value!r}, and becomes {again!r}"
