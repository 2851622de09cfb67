"""
Ollama's chat API, from the server's side.

See: https://docs.ollama.com/api/chat
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ..types import dumps, loads
from ._sim_brain import Answer, OfferedTool, Question, pieces
from ._sim_dialect import Endpoint, Event, Exchange, Manners, Refused, Speech

__all__ = ["ENDPOINTS", "MANNERS", "OLLAMA"]

_ROLES: Final = ("system", "user", "assistant", "tool")
_NUMBERS: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_WHOLE: Final = ("num_ctx", "num_predict", "seed", "top_k")
_LEVELS: Final = ("low", "medium", "high", "max")
_FINISH: Final[Mapping[str, str]] = {
    "stop": "stop",
    "length": "length",
    # It does not say so.
    "tool_calls": "stop",
    "stop_sequence": "stop",
}
#: What one token takes, in nanoseconds: the same each time, so that answers are.
_NS: Final = 10_000_000

Message = Mapping[str, Any]


# -- reading a request -----------------------------------------------------------------


def _read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
    if not body.get("model"):
        raise Refused("model is required")
    messages = _messages(body.get("messages"))
    options = _options(body.get("options"))
    form = _format(body.get("format"))
    tools = body.get("tools") or ()
    said = [_text(m) for m in messages if m["role"] == "user"]
    limit = options.get("num_predict", -1)
    return Question(
        model=str(body["model"]),
        prompt=said[-1] if said else "",
        system=" ".join(m["content"] for m in messages if m["role"] == "system"),
        segments=tuple(dumps(part).decode() for part in (*tools, *messages)),
        results=_results(messages),
        tools=tuple(map(_tool, tools)),
        json=form is not None,
        schema=form if isinstance(form, dict) else None,
        reason=_thinks(body.get("think")),
        # Below 0 there is no limit.
        max_tokens=limit if limit >= 0 else None,
        stop=tuple(options.get("stop") or ()),
    )


def _unmarshal(kind: str, where: str, wanted: str) -> Refused:
    return Refused(
        f"json: cannot unmarshal {kind} into Go struct field ChatRequest.{where} of type "
        f"{wanted}"
    )


def _messages(value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        # The real one loads the model, and says that it has.
        raise Refused("the simulator has no model to load: messages is missing")
    for message in value:
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            raise Refused(
                f'invalid role: "{role}", role must be one of {list(_ROLES)!r}'
            )
        if not isinstance(content, str):
            raise _unmarshal("array", "messages.content", "string")
        for image in message.get("images") or ():
            _check_image(image)
        for call in message.get("tool_calls") or ():
            if not isinstance(call["function"]["arguments"], dict):
                where = "messages.tool_calls.function.arguments"
                raise _unmarshal("string", where, "map[string]interface {}")
    return value


def _check_image(image: Any) -> None:
    try:
        base64.b64decode(image, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refused("illegal base64 data at input byte 4") from None


def _options(value: Any) -> Mapping[str, Any]:
    options: Mapping[str, Any] = value or {}
    for name, one in options.items():
        number = isinstance(one, (int, float)) and not isinstance(one, bool)
        wanted = None
        if name in _NUMBERS and not number:
            wanted = "float32"
        elif name in _WHOLE and (not number or one != int(one)):
            wanted = "integer"
        elif name == "stop" and not isinstance(one, list):
            wanted = "array"
        if wanted is not None:
            raise Refused(f'option "{name}" must be of type {wanted}', status=500)
        # It says nothing about those that it does not know.
    return options


def _format(value: Any) -> Any:
    if value is None or value == "":
        return None
    if value != "json" and not isinstance(value, dict):
        raise Refused(
            f'invalid format: {dumps(value).decode()}; expected "json" or a valid JSON '
            "Schema object",
            status=500,
        )
    return value


def _thinks(value: Any) -> bool:
    if isinstance(value, str) and value not in _LEVELS:
        raise Refused(
            f'invalid think value: "{value}" (must be "high", "medium", "low", "max", '
            "true, or false)"
        )
    return bool(value)


def _tool(tool: Mapping[str, Any]) -> OfferedTool:
    function = tool["function"]
    schema = function.get("parameters") or {"type": "object"}
    return OfferedTool(function["name"], function.get("description") or "", schema)


def _text(message: Message) -> str:
    images = " [image]" * len(message.get("images") or ())
    return str(message["content"]) + images


def _results(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    """The results that came last, with the names of their tools."""
    count = 0
    while count < len(messages) and messages[-1 - count]["role"] == "tool":
        count += 1
    if not count:
        return ()
    asking = messages[-1 - count] if count < len(messages) else {}
    calls = [call["function"]["name"] for call in asking.get("tool_calls") or ()]
    # The oldest clients say no names, and go by the order.
    calls += ["tool"] * (count - len(calls))
    return tuple(
        (message.get("tool_name") or name, _text(message))
        for message, name in zip(messages[-count:], calls, strict=False)
    )


# -- writing an answer -----------------------------------------------------------------


def _calls(exchange: Exchange) -> Iterator[dict[str, Any]]:
    for index, call in enumerate(exchange.answer.calls):
        try:
            arguments = loads(call.arguments)
        except ValueError:
            continue  # cut off: it is never sent as a call
        function = {"index": index, "name": call.name, "arguments": arguments}
        yield {"id": f"call_sim{exchange.number:04d}{index}", "function": function}


def _stream(exchange: Exchange) -> Iterator[Event]:
    answer = exchange.answer
    for piece in pieces(answer.reasoning):
        yield Event(_line(exchange, thinking=piece), word=True)
    for piece in pieces(answer.text):
        yield Event(_line(exchange, content=piece), word=True)
    for call in _calls(exchange):
        yield Event(_line(exchange, tool_calls=[call]), word=True)
    yield Event(dumps(_whole(exchange, {"content": ""})) + b"\n")


def _document(exchange: Exchange) -> dict[str, Any]:
    answer = exchange.answer
    message: dict[str, Any] = {"content": answer.text}
    if answer.reasoning:
        message["thinking"] = answer.reasoning
    if calls := list(_calls(exchange)):
        message["tool_calls"] = calls
    return _whole(exchange, message)


def _line(exchange: Exchange, **message: Any) -> bytes:
    return dumps({**_piece(exchange, message), "done": False}) + b"\n"


def _piece(exchange: Exchange, message: Mapping[str, Any]) -> dict[str, Any]:
    time = datetime.fromtimestamp(exchange.created, UTC)
    return {
        "model": exchange.model,
        "created_at": f"{time:%Y-%m-%dT%H:%M:%S}.123456789Z",
        "message": {"role": "assistant", "content": "", **message},
    }


def _whole(exchange: Exchange, message: Mapping[str, Any]) -> dict[str, Any]:
    answer = exchange.answer
    return {
        **_piece(exchange, message),
        "done": True,
        "done_reason": _FINISH[answer.finish],
        **_figures(answer),
    }


def _figures(answer: Answer) -> dict[str, int]:
    read, written = answer.input_tokens, answer.output_tokens
    figures = {
        "total_duration": (read + written + 1) * _NS,
        "load_duration": _NS,
        "prompt_eval_count": read,
        "prompt_eval_duration": read * _NS,
        "eval_count": written,
        "eval_duration": written * _NS,
    }
    # What is 0 is left out.
    return {name: figure for name, figure in figures.items() if figure}


# -- errors and keys --------------------------------------------------------------------


def _error(refused: Refused, request_id: str) -> dict[str, Any]:
    return {"error": refused.message}


def _error_event(refused: Refused, request_id: str, said: int) -> bytes:
    return dumps(_error(refused, request_id)) + b"\n"


def _headers(number: int, request_id: str) -> dict[str, str]:
    return {}


def _key(headers: Mapping[str, str]) -> str | None:
    return headers.get("authorization", "").removeprefix("Bearer ") or None


def _unauthorized(key: str | None) -> Refused:
    return Refused("unauthorized", status=401)


MANNERS: Final = Manners(
    error=_error,
    error_event=_error_event,
    headers=_headers,
    key=_key,
    unauthorized=_unauthorized,
)
OLLAMA: Final = Speech(
    read=_read,
    stream=_stream,
    document=_document,
    stream_type="application/x-ndjson",
    streams=True,
)
ENDPOINTS: Final = (
    Endpoint("POST", "/api/chat", OLLAMA.answer),
    Endpoint("GET", "/api/version", lambda _: {"version": "0.32.15"}),
)
