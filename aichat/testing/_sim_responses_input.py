"""OpenAI's Responses: what is read out of a request, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from ..types import dumps, loads
from ._sim_brain import OfferedTool, Question
from ._sim_dialect import Refused
from ._sim_seal import unseal

__all__ = ["read", "text_of"]

_FIELDS: Final = frozenset({
    "background", "context_management", "conversation", "include", "input",
    "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model",
    "moderation", "parallel_tool_calls", "previous_response_id", "prompt",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
    "safety_identifier", "service_tier", "store", "stream", "stream_options",
    "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p",
    "truncation", "user",
})  # fmt: skip
#: What people bring along from Chat Completions, and where it is now.
_MOVED: Final[Mapping[str, str]] = {
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
}
_INCLUDE: Final = frozenset({
    "code_interpreter_call.outputs", "computer_call_output.output.image_url",
    "file_search_call.results", "message.input_image.image_url",
    "message.output_text.logprobs", "reasoning.encrypted_content",
    "web_search_call.action.sources", "web_search_call.results",
})  # fmt: skip
_ROLES: Final = ("assistant", "system", "developer", "user")
_SPOKEN: Final = ("output_text", "refusal")
_MEDIA: Final[Mapping[str, str]] = {"input_image": "[image]", "input_file": "[file]"}
_LEAST: Final = 16
#: An item that followed a thought says so in its id.
_THOUGHT: Final = re.compile(r"(?:fc|ctc|msg)_sim(\d{8})t\d+")
_CALLS: Final = ("function_call", "custom_tool_call")
_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")

Item = Mapping[str, Any]


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
    """
    Understand a request. Raises `Refused` for what OpenAI would not take.

    Whatever the server keeps has been put into the input before.
    """
    _check_fields(body)
    items = _items(body.get("input"))
    _check_answered(items)
    _check_reasoning(items)
    _check_options(body)
    choice, names = _choice(body)
    tools = [each for tool in body.get("tools") or () for each in _tools(tool)]
    told = [text_of(i) for i in items if i.get("role") in ("system", "developer")]
    instructions = body.get("instructions")
    said = [text_of(i) for i in items if i.get("role") == "user"]
    form = _format(body, items)
    reasoning = body.get("reasoning") or {}
    segments = (*(body.get("tools") or ()), instructions, *items)
    texts = tuple(dumps(segment).decode() for segment in segments if segment)
    return Question(
        model=str(body["model"]),
        prompt=said[-1] if said else "",
        system="\n".join([instructions, *told] if instructions else told),
        segments=texts,
        cacheable=len(texts),
        results=_results(items),
        tools=tuple(tool for tool in tools if not names or tool.name in names),
        choice=choice,
        parallel=body.get("parallel_tool_calls") is not False,
        json=form.get("type") in ("json_object", "json_schema"),
        schema=form.get("schema"),
        reason=bool(reasoning) and reasoning.get("effort") != "none",
        max_tokens=body.get("max_output_tokens"),
    )


def _check_fields(body: Mapping[str, Any]) -> None:
    if not body.get("model"):
        raise Refused(
            "Missing required parameter: 'model'.",
            code="missing_required_parameter",
            param="model",
        )
    for name in body:
        if name in _MOVED:
            raise Refused(
                f"Unsupported parameter: '{name}'. In the Responses API, this parameter "
                f"has moved to '{_MOVED[name]}'.",
                code="unsupported_parameter",
                param=name,
            )
        if name not in _FIELDS:
            raise Refused(
                f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name
            )
    for name in ("background", "conversation", "prompt"):
        if body.get(name):
            raise Refused(f"The simulator has no '{name}'.", param=name)


# -- items -----------------------------------------------------------------------------


def _items(value: Any) -> Sequence[Item]:
    if not isinstance(value, list) or not value:
        raise Refused(
            "One of 'input', 'previous_response_id', 'prompt' or 'conversation' must be "
            "provided.",
            code="missing_required_parameter",
            param="input",
        )
    for index, item in enumerate(value):
        _check_item(item, f"input[{index}]")
    return value


def _check_item(item: Item, where: str) -> None:
    match item:
        case {"role": role, "content": content}:
            if role not in _ROLES:
                raise _invalid(role, _ROLES, f"{where}.role")
            _check_content(role, content, where)
        case {"type": "function_call", "call_id": str(), "name": str()}:
            _check_arguments(item.get("arguments"), f"{where}.arguments")
        case {"type": "custom_tool_call", "call_id": str(), "input": str()}:
            pass
        case {"type": "function_call_output" | "custom_tool_call_output"}:
            if not isinstance(item.get("output"), (str, list)):
                raise _missing(f"{where}.output")
            if not item.get("call_id"):
                raise _missing(f"{where}.call_id")
        case {"type": "reasoning", "summary": [*_]}:
            pass
        case {"type": "function_call" | "custom_tool_call" | "reasoning" as kind}:
            needed = ("summary",) if kind == "reasoning" else ("call_id", "name")
            missing = next((n for n in needed if n not in item), "input")
            raise _missing(f"{where}.{missing}")
        case {"type": str()}:
            pass  # of the hosted tools, whose makers know what is in it
        case _:
            raise _missing(f"{where}.content")


def _check_content(role: str, content: Any, where: str) -> None:
    if isinstance(content, str):
        return
    known = _SPOKEN if role == "assistant" else ("input_text", *_MEDIA)
    for index, part in enumerate(content):
        if part["type"] not in known:
            raise _invalid(part["type"], known, f"{where}.content[{index}]")


def _check_arguments(arguments: Any, where: str) -> None:
    try:
        good = isinstance(arguments, str) and isinstance(loads(arguments), dict)
    except ValueError:
        good = False
    if not good:
        raise Refused(
            f"Invalid '{where}': expected a string that holds a JSON object.",
            code="invalid_value",
            param=where,
        )


def _check_answered(items: Sequence[Item]) -> None:
    """Each call has its output after it, and each output its call before it."""
    waiting: dict[str, str] = {}
    for item in items:
        kind = str(item.get("type"))
        if kind in _CALLS:
            waiting[item["call_id"]] = kind
        elif kind in _OUTPUTS:
            called = waiting.pop(item["call_id"], None)
            if called is None or not kind.startswith(called):
                raise Refused(
                    f"No tool call found for {_words(kind)} with call_id "
                    f"{item['call_id']}.",
                    param="input",
                )
    for call_id, kind in waiting.items():
        raise Refused(
            f"No tool output found for {_words(kind)} {call_id}.", param="input"
        )


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _check_reasoning(items: Sequence[Item]) -> None:
    """A thought comes back as it was, together with what it led to."""
    thoughts: set[str | None] = set()
    for index, item in enumerate(items):
        name = item.get("id")
        if item.get("type") == "reasoning":
            _check_sealed(item)
            thoughts.add(name)
            if not _is_output(items[index + 1 : index + 2]):
                raise Refused(
                    f"Item '{name}' of type 'reasoning' was provided without its required "
                    "following item.",
                    param="input",
                )
        elif found := _THOUGHT.fullmatch(name or ""):
            needed = f"rs_sim{found[1]}"
            # One without an id may be it.
            if not thoughts & {needed, None}:
                raise Refused(
                    f"Item '{name}' of type '{item.get('type')}' was provided without its "
                    f"required 'reasoning' item: '{needed}'.",
                    param="input",
                )


def _is_output(following: Iterable[Item]) -> bool:
    return any(
        item.get("role") == "assistant"
        or item.get("type") == "reasoning"
        or str(item.get("type")).endswith("_call")
        for item in following
    )


def _check_sealed(item: Item) -> None:
    token = item.get("encrypted_content")
    if token is None:
        raise Refused(
            f"Item with id '{item.get('id')}' not found. Items are not persisted when "
            "`store` is set to false. Try again with `store` set to true, or remove this "
            "item from your input.",
            status=404,
            code="item_not_found",
            param="input",
        )
    thought = unseal(str(token).removeprefix("gAAAA"))
    shown = [part["text"] for part in item["summary"]]
    if thought is None or (shown and shown != loads(thought)):
        raise Refused(
            f"The encrypted content {str(token)[:12]}... could not be verified. Reason: "
            "Encrypted content could not be decrypted or parsed.",
            code="invalid_encrypted_content",
        )


def text_of(item: Item) -> str:
    """What an item says, or what came out of a tool."""
    content = item.get("content") or item.get("output") or ""
    if isinstance(content, str):
        return content
    return " ".join(
        str(part.get("text") or part.get("refusal") or _MEDIA.get(part["type"], ""))
        for part in content
    )


def _results(items: Sequence[Item]) -> tuple[tuple[str, str], ...]:
    names = {i["call_id"]: i["name"] for i in items if i.get("type") in _CALLS}
    latest = takewhile(lambda i: i.get("type") in _OUTPUTS, reversed(items))
    results = [(names[item["call_id"]], text_of(item)) for item in latest]
    return tuple(reversed(results))


# -- options ---------------------------------------------------------------------------


def _check_options(body: Mapping[str, Any]) -> None:
    limit = body.get("max_output_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < _LEAST):
        raise Refused(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value "
            f">= {_LEAST}, but got {limit} instead.",
            code="integer_below_min_value",
            param="max_output_tokens",
        )
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        side = "above_max" if temperature > 2 else "below_min"
        raise Refused(
            "Invalid 'temperature': expected a value between 0 and 2, but got "
            f"{temperature} instead.",
            code=f"decimal_{side}_value",
            param="temperature",
        )
    for index, name in enumerate(body.get("include") or ()):
        if name not in _INCLUDE:
            raise _invalid(name, sorted(_INCLUDE), f"include[{index}]")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )


def _format(body: Mapping[str, Any], items: Sequence[Item]) -> Mapping[str, Any]:
    form: Mapping[str, Any] = (body.get("text") or {}).get("format") or {}
    match form.get("type"):
        case None | "text":
            pass
        case "json_schema":
            for name in ("name", "schema"):
                if form.get(name) is None:
                    raise _missing(f"text.format.{name}")
        case "json_object":
            # The instructions do not count.
            if not any("json" in text_of(item).lower() for item in items):
                raise Refused(
                    "Response input messages must contain the word 'json' in some form "
                    "to use 'text.format' of type 'json_object'.",
                    param="input",
                )
        case other:
            known = ("json_object", "json_schema", "text")
            raise _invalid(other, known, "text.format.type")
    return form


def _tools(tool: Mapping[str, Any]) -> Iterator[OfferedTool]:
    description = str(tool.get("description") or "")
    match tool:
        case {"type": "function", "name": str(name)}:
            schema = tool.get("parameters") or {"type": "object"}
            yield OfferedTool(name, description, schema)
        case {"type": "custom", "name": str(name)}:
            yield OfferedTool(name, description, None)
        case {"type": "function" | "custom"}:
            raise _missing("tools[].name")
        case {"type": str()}:
            pass  # the hosted ones are there, and nobody calls them
        case _:
            raise _missing("tools[].type")


def _choice(body: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    choice = body.get("tool_choice")
    if choice not in (None, "auto", "none") and not body.get("tools"):
        raise Refused(
            "Tool choice 'required' must be specified with 'tools' parameter.",
            param="tool_choice",
        )
    match choice:
        case None:
            return "auto", frozenset()
        case "auto" | "none" | "required":
            return choice, frozenset()
        case {"type": "function" | "custom", "name": str(name)}:
            return "required", frozenset({name})
        case {"type": "allowed_tools", "mode": mode, "tools": tools}:
            return mode, frozenset(str(tool.get("name")) for tool in tools)
        case _:
            known = ("none", "auto", "required")
            raise _invalid(choice, known, "tool_choice")


def _missing(where: str) -> Refused:
    return Refused(
        f"Missing required parameter: '{where}'.",
        code="missing_required_parameter",
        param=where,
    )


def _invalid(value: Any, known: Iterable[str], where: str) -> Refused:
    names = ", ".join(f"'{name}'" for name in known)
    return Refused(
        f"Invalid value: '{value}'. Supported values are: {names}.",
        code="invalid_value",
        param=where,
    )
