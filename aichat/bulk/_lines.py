"""
Lines of JSON that ask for something, and what stands in their place in the output.

Two forms go in, and may be mixed. Ours is a `ChatRequest` as `to_json` writes it with an
``id`` beside it; a message's ``content`` may be a text, and a ``prompt`` stands for one
message of the user's::

    {"id": "1", "prompt": "Name three rivers.", "model": "openai:gpt-4.1-mini"}

The other one is OpenAI's, for ``/v1/chat/completions`` and ``/v1/responses``::

    {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {…}}

What goes in with ``id`` comes out as ``{"id", "model", "response", "usage", "cost"}``, and what
goes in with ``custom_id`` as OpenAI would have put it out, with these beside it: the ``model``
that was asked, as ``provider:name``, and the cost. A line that
failed goes into the failures file as it was, with an ``error`` in it; such a line is a good
one to read again.
"""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, final

from attrs import fields, frozen

from ..errors import AIChatError, InvalidRequestError
from ..middleware import CallCost
from ..types import ChatRequest, ChatResponse, JSONError, Message, dumps, loads
from ..types._codec import loads_exact
from ..types._json import json_converter
from ._openai_answers import chat_completion, response_object
from ._openai_chat_bodies import chat_request
from ._openai_responses_bodies import responses_request

__all__ = [
    "BadLine",
    "Form",
    "Line",
    "as_failure",
    "as_output",
    "error_facts",
    "name_of",
    "raw_lines",
    "read_line",
]

#: A request with pictures in it may be large. What is larger is not a line.
_LONGEST: Final = 64 * 2**20
_NAMES: Final = frozenset({f.name for f in fields(ChatRequest)})
_MESSAGE_NAMES: Final = frozenset({f.name for f in fields(Message)})
#: What is in a line beside the request.
_OURS: Final = frozenset({"id", "prompt", "error"})
_BATCH: Final = frozenset({"custom_id", "method", "url", "body", "error"})
_LONGEST_MESSAGE: Final = 2000


class Form(Enum):
    """How a line is written, and its result."""

    OURS = 0
    CHAT = 1
    RESPONSES = 2


class Head(NamedTuple):
    """What is to be known of a line without a look at its request."""

    id: str
    form: Form
    #: As the line has it; empty if it names none.
    model: str


@final
@frozen
class Line:
    """A line that asks for something."""

    #: From 1.
    number: int
    id: str
    request: ChatRequest
    form: Form
    raw: bytes


@final
@frozen
class BadLine:
    """A line that does not."""

    number: int
    raw: bytes
    error: InvalidRequestError


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that hold something, with their numbers, one at a time."""
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(_LONGEST):
            number += 1
            if len(raw) == _LONGEST and not raw.endswith(b"\n"):
                # The rest is skipped; what there is says that it is too long.
                while (more := file.readline(_LONGEST)) and not more.endswith(b"\n"):
                    pass
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw := raw.strip():
                yield number, raw


def name_of(raw: bytes) -> Head | None:
    """The id in a line, its form and model, without the rest; ``None`` if it has no id."""
    try:
        value = loads(raw)
    except JSONError:
        return None
    if not isinstance(value, dict):
        return None
    form = Form.OURS
    if "custom_id" in value:
        chat = str(value.get("url")).rstrip("/").endswith("/chat/completions")
        form = Form.CHAT if chat else Form.RESPONSES
    found = value.get("id" if form is Form.OURS else "custom_id")
    if not (isinstance(found, str) and found):
        return None
    asked = value if form is Form.OURS else value.get("body")
    model = asked.get("model") if isinstance(asked, dict) else None
    return Head(found, form, model if isinstance(model, str) else "")


def read_line(number: int, raw: bytes, address: Callable[[str], str]) -> Line | BadLine:
    """Read a line; *address* completes the name of a model."""
    try:
        return _read(number, raw, address)
    except AIChatError as error:
        # Deadlines and the like raise a ConfigError.
        found = InvalidRequestError(
            f"Line {number}: {error.message}",
            operation="bulk",
            context={"line": number},
        )
        return BadLine(number, raw, found)


def _read(number: int, raw: bytes, address: Callable[[str], str]) -> Line:
    if len(raw) >= _LONGEST - 1:
        _refuse(f"the line is longer than {_LONGEST // 2**20} MiB.")
    try:
        value = loads_exact(raw)
    except JSONError as error:
        # What stands there is content, and errors hold none.
        where = getattr(error, "pos", None)
        _refuse(f"not JSON{'' if where is None else f', at character {where + 1}'}.")
    if not isinstance(value, dict):
        _refuse("a line must be a JSON object.")
    batch = "custom_id" in value
    key = "custom_id" if batch else "id"
    name = value.get(key)
    if not (isinstance(name, str) and name):
        _refuse(f"{key} must be a text that is not empty, so that a result has a name.")
    if batch:
        form, request = _batch(value, address)
        return Line(number, name, request, form, raw)
    return Line(number, name, _ours(value, address), Form.OURS, raw)


# -- ours ------------------------------------------------------------------------------


def _ours(value: dict[str, Any], address: Callable[[str], str]) -> ChatRequest:
    facts = {k: v for k, v in value.items() if k not in _OURS and v is not None}
    _check_names(facts, _NAMES | _OURS)
    if "prompt" in value:
        if "messages" in value:
            _refuse("prompt and messages: give one of them.")
        if not isinstance(value["prompt"], str):
            _refuse("prompt must be a text; for parts, use messages.")
        facts["messages"] = [{"role": "user", "content": value["prompt"]}]
    if not isinstance(facts.get("messages"), list):
        _refuse("there is no prompt, and messages is no list.")
    facts["messages"] = [_message(m) for m in facts["messages"]]
    if isinstance(facts.get("stop"), str):
        facts["stop"] = [facts["stop"]]
    if isinstance(facts.get("tool_choice"), str):
        facts["tool_choice"] = {"mode": facts["tool_choice"]}
    if isinstance(facts.get("response_format"), str):
        facts["response_format"] = {"type": facts["response_format"]}
    model = facts.get("model", "")
    # What is no text, the converter refuses.
    if isinstance(model, str) and ":" not in model:
        facts["model"] = address(model)
    return _structure(facts)


def _message(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    _check_names(value, _MESSAGE_NAMES)
    content = value.get("content")
    if isinstance(content, str):
        parts = [{"type": "text", "text": content}] if content else []
        return {**value, "content": parts}
    return value


def _check_names(value: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in value:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            _refuse(f"there is no field {name!r}.{hint}")


def _structure(facts: dict[str, Any]) -> ChatRequest:
    from cattrs import BaseValidationError, transform_error

    try:
        return json_converter().structure(facts, ChatRequest)
    except (BaseValidationError, LookupError, TypeError, ValueError) as error:
        wrong = transform_error(error, format_exception=_explain)
        _refuse(f"{'; '.join(wrong)}.")


def _explain(error: BaseException, _: Any) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing or unknown"
    return str(error)


# -- OpenAI's --------------------------------------------------------------------------


def _batch(
    value: dict[str, Any], address: Callable[[str], str]
) -> tuple[Form, ChatRequest]:
    _check_names(value, _BATCH)
    if str(value.get("method", "POST")).upper() != "POST":
        _refuse("method must be POST.")
    body = value.get("body")
    if not isinstance(body, dict):
        _refuse("body must be an object.")
    model = body.get("model")
    if not (isinstance(model, str | None)):
        _refuse("body.model must be a text.")
    whom = address(model or "")
    try:
        match str(value.get("url")).rstrip("/"):
            case "/v1/chat/completions" | "/chat/completions":
                return Form.CHAT, chat_request(body, whom)
            case "/v1/responses" | "/responses":
                return Form.RESPONSES, responses_request(body, whom)
            case _:
                _refuse("url must be /v1/chat/completions or /v1/responses.")
    except (AttributeError, TypeError, ValueError) as error:
        # A number where a text belongs, deep within.
        _refuse(f"the body is not well-formed ({type(error).__name__}).")


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="bulk")


# -- what comes out --------------------------------------------------------------------


def as_output(
    id: str,
    form: Form,
    response: ChatResponse,
    cost: CallCost | None,
    *,
    model: str | None = None,
) -> bytes:
    """The line of the output for an answer, with its end; *model* was asked."""
    price = None if cost is None else _cost(cost)
    asked = {} if model is None else {"model": model}
    if form is Form.OURS:
        usage = response.usage
        value: dict[str, Any] = {
            "id": id,
            **asked,
            "response": json_converter().unstructure(response),
            "usage": {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cache_read_tokens": usage.cache_read_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
            },
            "cost": price,
        }
        return dumps(value) + b"\n"
    name = uuid.uuid4().hex
    make = chat_completion if form is Form.CHAT else response_object
    value = {
        "id": f"batch_req_{name}",
        "custom_id": id,
        "response": {
            "status_code": 200,
            "request_id": response.request_id or name,
            "body": make(response, name),
        },
        "error": None,
        **asked,
    }
    if price is not None:
        value["cost"] = price
    return dumps(value) + b"\n"


def _cost(cost: CallCost) -> dict[str, Any]:
    facts: dict[str, Any] = {"total": f"{cost.total:f}", "currency": cost.currency}
    return facts | ({"estimated": True} if cost.estimated else {})


def as_failure(
    raw: bytes, error: Mapping[str, Any], number: int | None = None
) -> bytes:
    """The line of the failures file for a line that failed with `error_facts`."""
    try:
        value = loads_exact(raw)
    except JSONError:
        value = None
    if not isinstance(value, dict):
        value = {"line": number, "raw": raw.decode("utf-8", "replace")}
    return dumps({**value, "error": error}) + b"\n"


def error_facts(error: Exception) -> dict[str, Any]:
    """What a failures file says about *error*."""
    facts: dict[str, Any] = {"type": type(error).__name__}
    if not isinstance(error, AIChatError):
        return facts | {"message": str(error)[:_LONGEST_MESSAGE]}
    facts |= {"code": str(error.code), "message": str(error)}
    for name in ("status", "provider_code", "request_id", "attempts", "retry_after"):
        if (value := getattr(error, name)) is not None:
            facts[name] = value
    if error.partial is not None and error.partial.message.content:
        # It was paid for.
        facts["partial"] = json_converter().unstructure(error.partial)
    return facts
