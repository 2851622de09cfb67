"""Chat Completions: what is read out of a request, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from ..types import dumps, loads
from ._sim_brain import OfferedTool, Question
from ._sim_dialect import Refused

__all__ = ["read"]

_ROLES: Final = ("developer", "system", "user", "assistant", "tool", "function")
_MEDIA: Final[Mapping[str, str]] = {
    "image_url": "[image]",
    "input_audio": "[audio]",
    "file": "[file]",
}


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
    """Understand a request. Raises `Refused` for what OpenAI would not take."""
    if not body.get("model"):
        raise Refused("you must provide a model parameter")
    messages = _messages(body)
    _check_answered(messages)
    _check_options(body, messages)
    results = _results(messages)
    choice, names = _choice(body.get("tool_choice"))
    tools = tuple(map(_tool, body.get("tools") or ()))
    texts = [_text(m.get("content")) for m in messages]
    said = [t for m, t in zip(messages, texts, strict=True) if m["role"] == "user"]
    system = [
        t
        for m, t in zip(messages, texts, strict=True)
        if m["role"] in ("system", "developer")
    ]
    segments = [dumps(tool).decode() for tool in body.get("tools") or ()]
    segments += [
        m["role"] + text + _calls_text(m)
        for m, text in zip(messages, texts, strict=True)
    ]
    form = body.get("response_format") or {}
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Question(
        model=str(body["model"]),
        prompt=said[-1] if said else "",
        system="\n".join(system),
        segments=tuple(segments),
        cacheable=len(segments),
        results=results,
        tools=tuple(tool for tool in tools if not names or tool.name in names),
        choice=choice,
        parallel=body.get("parallel_tool_calls") is not False,
        json=form.get("type") in ("json_object", "json_schema"),
        schema=(form.get("json_schema") or {}).get("schema"),
        reason=body.get("reasoning_effort") not in (None, "none"),
        max_tokens=limit,
        stop=_stops(body.get("stop")),
    )


def _messages(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    messages = body.get("messages")
    if messages is None:
        raise Refused(
            "Missing required parameter: 'messages'.",
            code="missing_required_parameter",
            param="messages",
        )
    if not isinstance(messages, list) or not messages:
        raise Refused(
            "Invalid 'messages': expected an array with minimum length 1.",
            code="empty_array" if messages == [] else "invalid_type",
            param="messages",
        )
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    return messages


def _check_message(message: Any, where: str) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in _ROLES:
        raise Refused(
            f"Invalid value: {role!r}. Supported values are: {', '.join(_ROLES)}.",
            code="invalid_value",
            param=f"{where}.role",
        )
    content = message.get("content")
    if content is None and not (role == "assistant" and message.get("tool_calls")):
        raise Refused(
            "Invalid value for 'content': expected a string, got null.",
            param=f"{where}.content",
        )
    if content is not None and not isinstance(content, (str, list)):
        raise Refused(
            f"Invalid type for '{where}.content': expected one of a string or array of "
            "objects.",
            code="invalid_type",
            param=f"{where}.content",
        )
    for call in message.get("tool_calls") or ():
        _check_call(call, where)


def _check_call(call: Mapping[str, Any], where: str) -> None:
    if call.get("type") != "function":
        return
    arguments = call["function"].get("arguments")
    try:
        good = isinstance(arguments, str) and isinstance(loads(arguments), dict)
    except ValueError:
        good = False
    if not good:
        raise Refused(
            f"Invalid 'arguments' in '{where}.tool_calls': expected a string that holds "
            "a JSON object.",
            code="invalid_value",
            param=f"{where}.tool_calls",
        )


def _check_answered(messages: Sequence[Mapping[str, Any]]) -> None:
    """Each tool call has its answer in the messages right after it."""
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise Refused(
                    "Invalid parameter: messages with role 'tool' must be a response to "
                    "a preceeding message with 'tool_calls'.",
                    param=f"messages.[{index}].role",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _check_none_waits(waiting, index)
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    _check_none_waits(waiting, len(messages))


def _check_none_waits(waiting: Sequence[str], index: int) -> None:
    if waiting:
        raise Refused(
            "An assistant message with 'tool_calls' must be followed by tool messages "
            "responding to each 'tool_call_id'. The following tool_call_ids did not have "
            f"response messages: {', '.join(waiting)}",
            param=f"messages.[{index - 1}].role",
        )


def _check_options(
    body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]
) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        limit = body.get(name)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise Refused(
                f"Invalid '{name}': integer below minimum value. Expected a value >= 1, "
                f"but got {limit} instead.",
                code="integer_below_min_value",
                param=name,
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
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) is not None and not body.get("tools"):
            raise Refused(
                f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are "
                "specified.",
                param=name,
            )
    if len(_stops(body.get("stop"))) > 4:
        raise Refused(
            "Invalid 'stop': array too long. Expected an array with maximum length 4.",
            code="array_above_max_length",
            param="stop",
        )
    if body.get("n") not in (None, 1):
        raise Refused("The simulator has one choice to offer: n=1.", param="n")
    form = body.get("response_format") or {}
    if form.get("type") == "json_object" and "json" not in str(messages).lower():
        raise Refused(
            "'messages' must contain the word 'json' in some form, to use "
            "'response_format' of type 'json_object'.",
            param="messages",
        )


def _stops(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(
        str(part.get("text") or part.get("refusal") or _MEDIA.get(part["type"], ""))
        for part in content or ()
    )


def _calls_text(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    return dumps(calls).decode() if calls else ""


def _results(messages: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """What the tools said, if they spoke last, with the names of the functions."""
    names = {
        call["id"]: (call.get("function") or call.get("custom") or {}).get("name", "")
        for message in messages
        for call in message.get("tool_calls") or ()
    }
    latest = takewhile(lambda message: message["role"] == "tool", reversed(messages))
    results = [(names[m["tool_call_id"]], _text(m["content"])) for m in latest]
    return tuple(reversed(results))


def _tool(tool: Mapping[str, Any]) -> OfferedTool:
    match tool:
        case {"type": "function", "function": {"name": str(name)} as facts}:
            schema = facts.get("parameters") or {"type": "object"}
            return OfferedTool(name, str(facts.get("description") or ""), schema)
        case {"type": "custom", "custom": {"name": str(name)} as facts}:
            return OfferedTool(name, str(facts.get("description") or ""), None)
        case _:
            raise Refused(
                "Invalid value in 'tools': expected a function or a custom tool with a "
                "name.",
                code="invalid_value",
                param="tools",
            )


def _choice(choice: Any) -> tuple[Any, frozenset[str]]:
    match choice:
        case None:
            return "auto", frozenset()
        case "auto" | "none" | "required":
            return choice, frozenset()
        case {"type": "function", "function": {"name": str(name)}}:
            return "required", frozenset({name})
        case {"type": "custom", "custom": {"name": str(name)}}:
            return "required", frozenset({name})
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}:
            return mode, frozenset(t[t["type"]]["name"] for t in tools)
        case _:
            raise Refused(
                f"Invalid value for 'tool_choice': {choice!r}.",
                code="invalid_value",
                param="tool_choice",
            )
