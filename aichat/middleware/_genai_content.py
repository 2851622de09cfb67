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
from typing import Any, Final

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

__all__ = ["content_wanted", "input_content", "output_content"]

_log = logging.getLogger("aichat")

SWITCH: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
#: ``true`` is how the switch was set before it knew where to.
_ON: Final = frozenset({"span_only", "span_and_event", "true"})
_OFF: Final = frozenset({"", "no_content", "false"})


def content_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the conventions' switch asks for content in spans."""
    mode = environ.get(SWITCH, "").strip().lower()
    if mode not in _ON | _OFF:
        # Not quoted: whatever got in there, it is not what we know.
        _log.warning(
            "%s is neither SPAN_ONLY, SPAN_AND_EVENT nor NO_CONTENT: no content is recorded "
            "(aichat records it in spans, and not in events)",
            SWITCH,
        )
    return mode in _ON


def input_content(request: ChatRequest) -> Attributes:
    """The messages and tools of *request*."""
    found: Attributes = {
        "gen_ai.input.messages": _text([_message(m) for m in request.messages])
    }
    if request.tools:
        tools = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            }
            for tool in request.tools
        ]
        found["gen_ai.tool.definitions"] = _text(tools)
    return found


def output_content(response: ChatResponse, finish_reason: str) -> Attributes:
    """The message that *response* is, or has got to."""
    message = {**_message(response.message), "finish_reason": finish_reason}
    return {"gen_ai.output.messages": _text([message])}


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


def _text(value: Any) -> str:
    return dumps(value).decode()
