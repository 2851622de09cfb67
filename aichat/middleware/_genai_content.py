"""
What was said, in the form that OpenTelemetry's conventions have for it.

Only for those who ask for it: with ``telemetry(content=True)``, or with the switch that all
instrumentations of generative AI share. Bytes of pictures and the like are left out.

See: https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from ..types import (
    AudioPart,
    ChatRequest,
    ChatResponse,
    DocumentPart,
    ImagePart,
    JSONError,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    dumps,
    loads,
)
from ._genai import Attributes

__all__ = [
    "Details",
    "Place",
    "as_text",
    "input_content",
    "output_content",
    "place_of",
]

_log = logging.getLogger("aichat")

SWITCH: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

#: Where what is said is recorded.
Place: TypeAlias = Literal["span", "event", "both"]
#: Attributes in their structure, as events have them.
Details: TypeAlias = dict[str, Any]

_SWITCHED: Final[Mapping[str, Place | None]] = {
    "": None,
    "no_content": None,
    "span_only": "span",
    "event_only": "event",
    "span_and_event": "both",
    # As the switch was set before it knew where to.
    "false": None,
    "true": "span",
}


def place_of(
    content: Place | bool | None, environ: Mapping[str, str] = os.environ
) -> Place | None:
    """Where *content* is to be recorded, or what the conventions' switch says of that."""
    if content is not None:
        return "span" if content is True else content or None
    mode = environ.get(SWITCH, "").strip().lower()
    if mode not in _SWITCHED:
        # Not quoted: whatever got in there, it is not what we know.
        _log.warning(
            "%s is neither SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT nor NO_CONTENT: no "
            "content is recorded",
            SWITCH,
        )
    return _SWITCHED.get(mode)


def input_content(request: ChatRequest) -> Details:
    """The messages and tools of *request*."""
    found: Details = {"gen_ai.input.messages": [_message(m) for m in request.messages]}
    if request.tools:
        found["gen_ai.tool.definitions"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            }
            for tool in request.tools
        ]
    return found


def output_content(response: ChatResponse, finish_reason: str) -> Details:
    """The message that *response* is, or has got to."""
    message = {**_message(response.message), "finish_reason": finish_reason}
    return {"gen_ai.output.messages": [message]}


def as_text(details: Details) -> Attributes:
    """In JSON, as spans have them: their attributes have no structure."""
    return {name: dumps(value).decode() for name, value in details.items()}


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {
        "role": str(message.role),
        "parts": [_part(part) for part in message.content],
    }
    return said if message.name is None else {**said, "name": message.name}


def _part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "content": part.text}
        case ReasoningPart():
            return {"type": "reasoning", "content": part.text}
        case RefusalPart():
            return {"type": "refusal", "content": part.text}
        case ToolCallPart():
            return {
                "type": "tool_call",
                "id": part.id,
                "name": part.name,
                "arguments": _arguments(part),
            }
        case ToolResultPart():
            return {
                "type": "tool_call_response",
                "id": part.call_id,
                "response": part.text,
            }
        case ImagePart() | AudioPart() | DocumentPart():
            return _media(part)
        case OpaquePart():
            return {"type": part.kind}


_MODALITIES: Final[Mapping[type, str]] = {
    ImagePart: "image",
    AudioPart: "audio",
    DocumentPart: "document",
}


def _media(part: ImagePart | AudioPart | DocumentPart) -> dict[str, Any]:
    about = {"modality": _MODALITIES[type(part)], "mime_type": part.media_type}
    if part.url is not None:
        return {"type": "uri", "uri": part.url, **about}
    if part.file_id is not None:
        return {"type": "file", "file_id": part.file_id, **about}
    return {"type": "blob", "bytes": len(part.data or b""), **about}


def _arguments(call: ToolCallPart) -> Any:
    try:
        return loads(call.arguments)
    except JSONError:
        return call.arguments  # it was cut off, or is no JSON by design
