"""Requests of Chat Completions, as they stand in OpenAI's batch files, to ours."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from ..errors import InvalidRequestError
from ..types import (
    AudioPart,
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

__all__ = ["chat_request", "media", "refuse"]

Body = Mapping[str, Any]

_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}
_FIELDS: Final = frozenset({
    "role", "content", "name", "tool_calls", "tool_call_id", "refusal", "annotations",
    "audio",
})  # fmt: skip
#: The same with us.
_SAME: Final = frozenset({
    "temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty",
    "logit_bias", "logprobs", "top_logprobs", "n", "parallel_tool_calls",
    "reasoning_effort", "verbosity", "user", "metadata", "service_tier", "store",
})  # fmt: skip
_RENAMED: Final[Mapping[str, str]] = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "prompt_cache_key": "cache_key",
}
_STREAMS: Final = frozenset({"stream", "stream_options"})


def chat_request(body: Body, address: str) -> ChatRequest:
    """
    Read *body* as a request for *address*, ``"provider:model"``.

    What has no field with us goes to that provider as it is. Raises `InvalidRequestError`
    for what cannot be expressed; nothing is left out.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        refuse("messages must be a list")
    options: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in ("model", "messages"):
            continue
        if name in _STREAMS:
            if name == "stream" and value is not False:
                refuse("stream: the answers of a batch come whole; leave it out")
        elif name in _SAME:
            options[name] = value
        elif name in _RENAMED:
            options[_RENAMED[name]] = value
        elif name == "tools" and (tools := _tools(value)) is not None:
            options["tools"] = tools
        elif name == "tool_choice" and (choice := _choice(value)) is not None:
            options["tool_choice"] = choice
        elif name == "response_format":
            options["response_format"] = _format(value)
        else:
            extras[name] = value
    if extras:
        options["provider_options"] = {address.partition(":")[0]: extras}
    last = messages[-1] if messages else None
    if isinstance(last, Mapping) and last.get("role") == "assistant":
        options["prefill"] = True
    return ChatRequest(
        [_message(m, f"messages[{i}]") for i, m in enumerate(messages)],
        address,
        **options,
    )


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, Mapping):
        refuse(f"{where} must be an object")
    role = _ROLES.get(str(value.get("role")))
    if role is None:
        refuse(f"{where}.role must be one of {', '.join(_ROLES)}")
    for name, found in value.items():
        if name not in _FIELDS and found is not None:
            refuse(f"{where}.{name}: aichat does not know this field of a message")
    if value.get("audio"):
        refuse(f"{where}.audio: what was spoken cannot be sent back from a file")
    parts = list(_parts(value.get("content"), f"{where}.content"))
    if value.get("refusal"):
        parts.append(RefusalPart(value["refusal"]))
    for index, call in enumerate(value.get("tool_calls") or ()):
        parts.append(_call(call, f"{where}.tool_calls[{index}]"))
    if role is Role.TOOL:
        results = [p for p in parts if isinstance(p, TextPart)]
        parts = [ToolResultPart(str(value.get("tool_call_id")), results)]
    return Message(role, parts, name=value.get("name"))


def _parts(content: Any, where: str) -> Iterator[Part]:
    match content:
        case None:
            return
        case str():
            if content:
                yield TextPart(content)
        case list():
            for index, item in enumerate(content):
                yield _part(item, f"{where}[{index}]")
        case _:
            refuse(f"{where} must be a text or a list")


def _part(item: Any, where: str) -> Part:
    match item:
        case {"type": "text", "text": str(text)}:
            return TextPart(text)
        case {"type": "refusal", "refusal": str(text)}:
            return RefusalPart(text)
        case {"type": "image_url", "image_url": {"url": str(url)} as image}:
            return ImagePart(**media(url, where), detail=image.get("detail"))
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": f}}:
            kind = {"mp3": "audio/mpeg"}.get(str(f), f"audio/{f}")
            return AudioPart(data=_decoded(data, where), media_type=kind)
        case {"type": "file", "file": {"file_id": str(file)}}:
            return DocumentPart(file_id=file)
        case {"type": "file", "file": {"file_data": str(url)} as file}:
            return DocumentPart(**media(url, where), name=file.get("filename"))
        case _:
            refuse(f"{where} is no part of a message that aichat knows")


def media(url: str, where: str) -> dict[str, Any]:
    """The address of a picture or a document, or what is in it."""
    if not url.startswith("data:"):
        return {"url": url}
    head, comma, data = url.removeprefix("data:").partition(",")
    if not comma or not head.endswith(";base64"):
        refuse(f"{where} holds a data: URL that is not in base64")
    kind = head.partition(";")[0]
    return {"data": _decoded(data, where), "media_type": kind or None}


def _decoded(data: str, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        refuse(f"{where} is not in base64")


def _call(call: Any, where: str) -> ToolCallPart:
    match call:
        case {"id": str(id), "function": {"name": str(name), "arguments": str(text)}}:
            return ToolCallPart(id, name, text)
        case {"id": str(id), "custom": {"name": str(name), "input": str(text)}}:
            return ToolCallPart(id, name, text, kind="custom")
        case _:
            refuse(f"{where} is no tool call")


def _tools(value: Any) -> list[Tool] | None:
    """Our form of the tools; ``None`` if there are others than functions among them."""
    if not isinstance(value, list):
        refuse("tools must be a list")
    tools = []
    for index, tool in enumerate(value):
        match tool:
            case {"type": "function", "function": {"name": str(name)} as facts}:
                tools.append(
                    Tool(
                        name,
                        facts.get("description"),
                        facts.get("parameters"),
                        strict=facts.get("strict"),
                    )
                )
            case {"type": str()}:
                return None
            case _:
                refuse(f"tools[{index}] is no tool")
    return tools


def _choice(value: Any) -> ToolChoice | None:
    match value:
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice("required", name)
        case _:
            return None


def _format(value: Any) -> ResponseFormat:
    match value:
        case {"type": "text"}:
            return ResponseFormat("text")
        case {"type": "json_object"}:
            return ResponseFormat("json")
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)} as form}:
            return ResponseFormat(
                "json_schema",
                schema,
                name=form.get("name") or "response",
                description=form.get("description"),
                strict=form.get("strict"),
            )
        case _:
            refuse(
                "response_format must have the type text, json_object or json_schema"
            )


def refuse(what: str) -> NoReturn:
    """Raise `InvalidRequestError`."""
    raise InvalidRequestError(f"{what}.", operation="bulk")
