"""Gemini: what is read out of a request, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..types import dumps
from ._sim_brain import OfferedTool, Question
from ._sim_dialect import Refused
from ._sim_google_signature import check_signature, signed_by_default
from ._sim_schema import instance

__all__ = ["camel", "read"]

_FIELDS: Final = frozenset({
    "cachedContent", "contents", "continuationToken", "generationConfig", "labels",
    "model", "safetySettings", "serviceTier", "store", "systemInstruction",
    "toolConfig", "tools",
})  # fmt: skip
_CONFIG: Final = frozenset({
    "audioTimestamp", "candidateCount", "enableEnhancedCivicAnswers",
    "frequencyPenalty", "imageConfig", "logprobs", "maxOutputTokens",
    "mediaResolution", "presencePenalty", "responseFormat", "responseJsonSchema",
    "responseLogprobs", "responseMimeType", "responseModalities", "responseSchema",
    "routingConfig", "seed", "speechConfig", "stopSequences", "temperature",
    "thinkingConfig", "topK", "topP",
})  # fmt: skip
#: A part has exactly one of these.
_DATA: Final = frozenset({
    "codeExecutionResult", "executableCode", "fileData", "functionCall",
    "functionResponse", "inlineData", "text", "toolCall", "toolResponse",
})  # fmt: skip
_BESIDE: Final = frozenset({
    "mediaResolution", "partMetadata", "thought", "thoughtSignature", "videoMetadata",
})  # fmt: skip
_DECLARED: Final = frozenset({
    "behavior", "description", "name", "parameters", "parametersJsonSchema", "response",
    "responseJsonSchema",
})  # fmt: skip
#: What is the user's, and not to be renamed.
_OPAQUE: Final = frozenset({
    "args", "labels", "parameters", "parametersJsonSchema", "partMetadata", "response",
    "responseJsonSchema", "responseSchema",
})  # fmt: skip

Part = Mapping[str, Any]
#: A role and its parts.
Turn = tuple[str, Sequence[Part]]


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
    """Understand a request. Raises `Refused` for what Google would not take."""
    body = camel(body)
    _check_names(body, _FIELDS, "")
    config = body.get("generationConfig") or {}
    _check_names(config, _CONFIG, " at 'generation_config'")
    turns = _turns(body.get("contents"))
    _check_calls(turns)
    _check_signatures(str(body["model"]), turns)
    _check_config(config, body)
    mode, names = _mode(body.get("toolConfig") or {})
    tools = list(_tools(body.get("tools") or ()))
    system = _text((body.get("systemInstruction") or {}).get("parts") or ())
    said = [_text(parts) for role, parts in turns if role == "user"]
    segments = (
        *(body.get("tools") or ()),
        system,
        *(part for _, parts in turns for part in parts),
    )
    texts = tuple(dumps(segment).decode() for segment in segments if segment)
    schema = _schema(config)
    return Question(
        model=str(body["model"]),
        prompt=next((text for text in reversed(said) if text), ""),
        system=system,
        segments=texts,
        cacheable=len(texts),
        results=_results(turns),
        tools=tuple(tool for tool in tools if not names or tool.name in names),
        choice=mode,
        json=config.get("responseMimeType") == "application/json",
        schema=schema,
        reason=_thinks(str(body["model"]), config),
        max_tokens=config.get("maxOutputTokens"),
        stop=tuple(config.get("stopSequences") or ()),
    )


def camel(value: Any) -> Any:
    """Google takes its names as ``snake_case``, too."""
    match value:
        case dict():
            named = ((re.sub(r"_([a-z])", _upper, k), v) for k, v in value.items())
            return {k: v if k in _OPAQUE else camel(v) for k, v in named}
        case list():
            return [camel(item) for item in value]
        case _:
            return value


def _upper(found: re.Match[str]) -> str:
    return found[1].upper()


def _check_names(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for name in value:
        if name not in known:
            raise Refused(
                f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot '
                "find field."
            )


# -- turns -----------------------------------------------------------------------------


def _turns(contents: Any) -> list[Turn]:
    if not contents:
        raise Refused("* GenerateContentRequest.contents: contents is not specified\n")
    turns: list[Turn] = []
    for index, content in enumerate(contents):
        role = content.get("role") or "user"
        if role not in ("user", "model"):
            raise Refused("Please use a valid role: user, model.")
        parts = content.get("parts") or ()
        if not parts:
            raise Refused(
                f"* GenerateContentRequest.contents[{index}].parts: contents.parts must "
                "not be empty.\n"
            )
        for number, part in enumerate(parts):
            _check_part(part, f"contents[{index}].parts[{number}]")
        turns.append((role, parts))
    return turns


def _check_part(part: Part, where: str) -> None:
    _check_names(part, _DATA | _BESIDE, f" at '{where}'")
    data = sorted(_DATA & {name for name, value in part.items() if value is not None})
    if not data:
        raise Refused(
            f"* GenerateContentRequest.{where}.data: required oneof field 'data' must "
            "have one initialized field\n"
        )
    if len(data) > 1:
        raise Refused(
            f"Invalid value at '{where}' (oneof), oneof field 'data' is already set. "
            f"Cannot set '{data[1]}'"
        )
    call = part.get("functionCall") or part.get("functionResponse")
    if call is None:
        return
    if not call.get("name"):
        raise Refused(f"* GenerateContentRequest.{where}.{data[0]}.name: Name is empty")
    for name in ("args", "response"):
        if not isinstance(call.get(name, {}), dict):
            raise Refused(
                f"Invalid value at '{where}.{data[0]}.{name}' "
                "(type.googleapis.com/google.protobuf.Struct)"
            )


def _check_calls(turns: Sequence[Turn]) -> None:
    """Calls follow the user, and their results follow them, all at once."""
    before: Turn = ("", ())
    for role, parts in turns:
        called = _of(before[1], "functionCall")
        answered = _of(parts, "functionResponse") if role == "user" else []
        if len(called) != len(answered):
            raise Refused(
                "Please ensure that the number of function response parts is equal to "
                "the number of function call parts of the function call turn."
            )
        for call, response in zip(called, answered, strict=True):
            if call.get("id") and response.get("id"):
                continue
            if call["name"] != response["name"]:
                raise Refused(
                    f"Function response {response['name']!r} does not answer the call "
                    f"of {call['name']!r}."
                )
        ids = sorted(call["id"] for call in called if call.get("id"))
        if ids != sorted(r["id"] for r in answered if r.get("id")) and ids:
            raise Refused("The ids of function responses are not those of the calls.")
        if _of(parts, "functionCall") and before[0] != "user":
            raise Refused(
                "Please ensure that function call turn comes immediately after a user "
                "turn or after a function response turn."
            )
        before = (role, parts)
    if _of(before[1], "functionCall"):
        raise Refused(
            "Please ensure that function call turn comes immediately before a function "
            "response turn."
        )


def _of(parts: Sequence[Part], name: str) -> list[Mapping[str, Any]]:
    return [part[name] for part in parts if part.get(name) is not None]


def _check_signatures(model: str, turns: Sequence[Turn]) -> None:
    for _, parts in turns:
        for part in parts:
            check_signature(part)
    if not signed_by_default(model):
        return
    open_turn = len(turns)
    for index, (role, parts) in enumerate(turns):
        if role == "user" and not _of(parts, "functionResponse"):
            open_turn = index
    for index, (_, parts) in enumerate(turns):
        calls = [part for part in parts if part.get("functionCall")]
        if index > open_turn and calls and not calls[0].get("thoughtSignature"):
            raise Refused(
                "Function call is missing a thought_signature in functionCall parts. "
                "This is required for tools to work correctly, and missing "
                "thought_signature may lead to degraded model performance. Additional "
                f"data, function call `{calls[0]['functionCall']['name']}` , position "
                f"{index + 1}."
            )


def _text(parts: Sequence[Part]) -> str:
    texts = []
    for part in parts:
        if part.get("text") and not part.get("thought"):
            texts.append(part["text"])
        elif media := part.get("inlineData") or part.get("fileData"):
            texts.append(f"[{media.get('mimeType', 'file').partition('/')[0]}]")
    return " ".join(texts)


def _results(turns: Sequence[Turn]) -> tuple[tuple[str, str], ...]:
    """What the tools said; ``output`` and ``error`` have a meaning of their own."""
    results = []
    for response in _of(turns[-1][1], "functionResponse"):
        value = response.get("response") or {}
        value = value.get("output", value.get("error", value))
        text = value if isinstance(value, str) else dumps(value).decode()
        results.append((response["name"], text))
    return tuple(results)


# -- options ---------------------------------------------------------------------------


def _check_config(config: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    if config.get("candidateCount") not in (None, 1):
        raise Refused("Multiple candidates is not enabled for this model")
    if not 0 <= config.get("temperature", 0) <= 2:
        raise Refused(
            "* GenerateContentRequest.generation_config.temperature: temperature must be "
            "in the range [0.0, 2.0]."
        )
    limit = config.get("maxOutputTokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise Refused("max_output_tokens must be positive.")
    if len(config.get("stopSequences") or ()) > 5:
        raise Refused("The number of stop sequences must be at most 5.")
    thinking = config.get("thinkingConfig") or {}
    if {"thinkingBudget", "thinkingLevel"} <= set(thinking):
        raise Refused(
            "You can only set only one of thinking budget and thinking level."
        )
    if body.get("cachedContent"):
        raise Refused(
            "CachedContent not found (or permission denied)",
            status=403,
        )


def _thinks(model: str, config: Mapping[str, Any]) -> bool:
    thinking = config.get("thinkingConfig") or {}
    if thinking.get("thinkingBudget") == 0:
        return False
    return bool(thinking) or signed_by_default(model)


def _schema(config: Mapping[str, Any]) -> Any:
    plain, own = config.get("responseJsonSchema"), config.get("responseSchema")
    if plain is not None and own is not None:
        raise Refused(
            "Only one of response_schema and response_json_schema can be set."
        )
    mime = config.get("responseMimeType")
    if mime not in (None, "text/plain", "application/json"):
        raise Refused(
            "* GenerateContentRequest.generation_config.response_mime_type: allowed "
            "mimetypes are `text/plain` and `application/json`."
        )
    if plain is None and own is None:
        return None
    if mime != "application/json":
        raise Refused(
            "* GenerateContentRequest.generation_config.response_schema: only allowed "
            "with the response_mime_type `application/json`."
        )
    schema = _plain(own) if plain is None else plain
    # To find out at once whether it is one.
    instance(schema, "")
    return schema


def _plain(schema: Any) -> Any:
    """Google's own kind of schema as JSON Schema: its types are in capitals."""
    match schema:
        case {"type": str(kind), **rest}:
            named = {"type": kind.lower(), **_plain(rest)}
            if named.pop("nullable", False):
                return {"anyOf": [named, {"type": "null"}]}
            return named
        case dict():
            return {name: _plain(value) for name, value in schema.items()}
        case list():
            return [_plain(item) for item in schema]
        case _:
            return schema


def _tools(tools: Sequence[Mapping[str, Any]]) -> Iterator[OfferedTool]:
    names = set()
    for tool in tools:
        for declared in tool.get("functionDeclarations") or ():
            _check_names(declared, _DECLARED, " at 'tools.function_declarations'")
            name = declared.get("name") or ""
            if not re.fullmatch(r"[A-Za-z_][\w.:-]{0,127}", name, re.ASCII):
                raise Refused(
                    "* GenerateContentRequest.tools[0].function_declarations: Invalid "
                    f"function name {name!r}. Must start with a letter or an underscore."
                )
            if name in names:
                raise Refused(f"Duplicate function declaration found: {name}")
            names.add(name)
            plain, own = (
                declared.get("parametersJsonSchema"),
                declared.get("parameters"),
            )
            if plain is not None and own is not None:
                raise Refused(
                    "Only one of parameters and parameters_json_schema can be set."
                )
            schema = _plain(own) if plain is None else plain
            text = declared.get("description") or ""
            yield OfferedTool(name, text, schema or {"type": "object"})


def _mode(config: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    calling = config.get("functionCallingConfig") or {}
    names = frozenset(calling.get("allowedFunctionNames") or ())
    mode = str(calling.get("mode") or "AUTO").upper()
    if names and mode not in ("ANY", "VALIDATED"):
        raise Refused(
            "Allowed function names should be set only when the function calling mode is "
            "ANY."
        )
    match mode:
        case "AUTO" | "VALIDATED":
            return "auto", names
        case "NONE":
            return "none", names
        case "ANY":
            return "required", names
        case _:
            raise Refused(
                "Invalid value at 'tool_config.function_calling_config.mode' "
                f'(type.googleapis.com/google.ai.generativelanguage.Mode), "{mode}"'
            )
