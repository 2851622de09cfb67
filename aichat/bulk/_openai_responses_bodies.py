"""Requests of OpenAI's Responses, as they stand in batch files, to ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..types import (
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
    system,
    tool_result,
    user,
)
from ._openai_chat_bodies import media, refuse

__all__ = ["responses_request"]

Body = Mapping[str, Any]

_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}
#: The same with us, or under another name.
_NAMES: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_logprobs": "top_logprobs",
    "max_output_tokens": "max_tokens",
    "parallel_tool_calls": "parallel_tool_calls",
    "user": "user",
    "metadata": "metadata",
    "service_tier": "service_tier",
    "store": "store",
    "truncation": "truncation",
    "prompt_cache_key": "cache_key",
}
_KNOWN: Final = frozenset({"model", "input", "instructions"})


def responses_request(body: Body, address: str) -> ChatRequest:
    """
    Read *body* as a request for *address*, ``"provider:model"``.

    What has no field with us goes to that provider as it is. Raises `InvalidRequestError`
    for what cannot be expressed; nothing is left out.
    """
    options: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in _KNOWN:
            continue
        match name, value:
            case "stream" | "stream_options", _:
                if name == "stream" and value is not False:
                    refuse("stream: the answers of a batch come whole; leave it out")
            case "tools", list() if (tools := _tools(value)) is not None:
                options["tools"] = tools
            case "tool_choice", _ if (choice := _choice(value)) is not None:
                options["tool_choice"] = choice
            case "text", Mapping() if value.keys() <= {"format", "verbosity"}:
                if value.get("format") is not None:
                    options["response_format"] = _format(value["format"])
                options["verbosity"] = value.get("verbosity")
            case "reasoning", {"effort": effort, **rest} if not rest:
                options["reasoning_effort"] = effort
            case _ if name in _NAMES:
                options[_NAMES[name]] = value
            case _:
                extras[name] = value
    if extras:
        options["provider_options"] = {address.partition(":")[0]: extras}
    return ChatRequest(list(_messages(body)), address, **options)


def _messages(body: Body) -> Iterator[Message]:
    if body.get("instructions"):
        yield system(body["instructions"])
    match body.get("input"):
        case str(text):
            yield user(text)
        case list(items):
            said: list[Part] = []
            for index, item in enumerate(items):
                where = f"input[{index}]"
                if (part := _of_assistant(item, where)) is not None:
                    # Its words and its calls are items of their own, and one turn.
                    said += part
                    continue
                if said:
                    yield Message(Role.ASSISTANT, said)
                    said = []
                yield _item(item, where)
            if said:
                yield Message(Role.ASSISTANT, said)
        case _:
            refuse("input must be a text or a list")


def _of_assistant(item: Any, where: str) -> list[Part] | None:
    match item:
        case {"type": "function_call", "call_id": str(id), "name": str(name)}:
            return [ToolCallPart(id, name, str(item.get("arguments") or "{}"))]
        case {"type": "custom_tool_call", "call_id": str(id), "name": str(name)}:
            text = str(item.get("input") or "")
            return [ToolCallPart(id, name, text, kind="custom")]
        case {"role": "assistant", "content": content}:
            return list(_parts(content, where))
        case _:
            return None


def _item(item: Any, where: str) -> Message:
    match item:
        case {"role": str(role), "content": content} if role in _ROLES:
            return Message(_ROLES[role], list(_parts(content, where)))
        case {
            "type": "function_call_output" | "custom_tool_call_output",
            "call_id": str(id),
            "output": str(output),
        }:
            return tool_result(id, output)
        case {"type": str(kind)}:
            refuse(f"{where}: aichat does not carry an item of the type {kind}")
        case _:
            refuse(f"{where} is no item")


def _parts(content: Any, where: str) -> Iterator[Part]:
    if isinstance(content, str):
        yield TextPart(content)
        return
    if not isinstance(content, list):
        refuse(f"{where}.content must be a text or a list")
    for index, part in enumerate(content):
        yield _part(part, f"{where}.content[{index}]")


def _part(part: Any, where: str) -> Part:
    match part:
        case {"type": "input_text" | "output_text", "text": str(text)}:
            return TextPart(text)
        case {"type": "refusal", "refusal": str(text)}:
            return RefusalPart(text)
        case {"type": "input_image", "image_url": str(url)}:
            return ImagePart(**media(url, where), detail=part.get("detail"))
        case {"type": "input_image", "file_id": str(file)}:
            return ImagePart(file_id=file, detail=part.get("detail"))
        case {"type": "input_file", "file_id": str(file)}:
            return DocumentPart(file_id=file)
        case {"type": "input_file", "file_url": str(url)}:
            return DocumentPart(url=url)
        case {"type": "input_file", "file_data": str(url)}:
            return DocumentPart(**media(url, where), name=part.get("filename"))
        case _:
            refuse(f"{where} is no part of a message that aichat knows")


def _tools(value: list[Any]) -> list[Tool] | None:
    """Our form of the tools; ``None`` if there are others than functions among them."""
    if not all(isinstance(t, Mapping) and t.get("type") == "function" for t in value):
        return None
    return [
        Tool(
            str(tool.get("name")),
            tool.get("description"),
            tool.get("parameters"),
            strict=tool.get("strict"),
        )
        for tool in value
    ]


def _choice(value: Any) -> ToolChoice | None:
    match value:
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case {"type": "function", "name": str(name)}:
            return ToolChoice("required", name)
        case _:
            return None


def _format(value: Any) -> ResponseFormat:
    match value:
        case {"type": "text"}:
            return ResponseFormat("text")
        case {"type": "json_object"}:
            return ResponseFormat("json")
        case {"type": "json_schema", "schema": dict(schema)}:
            return ResponseFormat(
                "json_schema",
                schema,
                name=value.get("name") or "response",
                description=value.get("description"),
                strict=value.get("strict"),
            )
        case _:
            refuse("text.format must have the type text, json_object or json_schema")
