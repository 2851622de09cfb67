"""
Anthropic's Messages, from the server's side.

See: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..types import dumps, loads
from ._sim_brain import Answer, OfferedTool, Question, pieces
from ._sim_dialect import Event, Exchange, Refused, SimDialect

__all__ = ["ANTHROPIC"]

#: Anthropic takes no other fields than it knows.
_FIELDS: Final = frozenset({
    "model", "max_tokens", "messages", "system", "stop_sequences", "stream",
    "temperature", "top_p", "top_k", "tools", "tool_choice", "thinking",
    "output_config", "output_format", "cache_control", "metadata", "service_tier",
    "speed", "inference_geo", "container", "diagnostics", "context_management",
    "mcp_servers", "fallbacks", "compaction", "thread",
})  # fmt: skip
#: The version that has no sampling any more.
_STRICTER: Final = "2026-10-21"
_FINISH: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "stop_sequence": "stop_sequence",
}
_OPAQUE: Final[Mapping[str, str]] = {"image": "[image]", "document": "[document]"}

Block = Mapping[str, Any]
#: A turn: its role and its blocks. Messages of the same role in a row make one turn.
Turn = tuple[str, list[Block]]


# -- reading a request -----------------------------------------------------------------


def _read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
    _check_fields(body, headers)
    turns = _turns(body["messages"])
    _check_turns(turns)
    _check_thinking(body, turns)
    said = [text for role, blocks in turns if role == "user" if (text := _text(blocks))]
    system = _blocks(body.get("system") or [])
    choice, names = _choice(body)
    tools = [t for t in body.get("tools") or () if not names or t["name"] in names]
    segments, cacheable = _segments(body, system, turns)
    config = body.get("output_config") or {}
    form = config.get("format") or body.get("output_format") or {}
    thinking = (body.get("thinking") or {}).get("type")
    return Question(
        model=str(body["model"]),
        prompt=said[-1] if said else "",
        system=_text(system),
        segments=segments,
        cacheable=cacheable,
        results=_results(turns),
        tools=tuple(map(_tool, tools)),
        choice=choice,
        parallel=not (body.get("tool_choice") or {}).get("disable_parallel_tool_use"),
        json=bool(form),
        schema=form.get("schema"),
        reason=thinking in ("enabled", "adaptive")
        or (thinking is None and config.get("effort") is not None),
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
    )


def _check_fields(body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    version = headers.get("anthropic-version")
    if not version:
        raise Refused("anthropic-version: header is required")
    for name in ("model", "max_tokens", "messages"):
        if body.get(name) is None:
            raise Refused(f"{name}: Field required")
    sampling = {"temperature", "top_p", "top_k"} if version == _STRICTER else set()
    for name in body:
        if name not in _FIELDS or name in sampling:
            raise Refused(f"{name}: Extra inputs are not permitted")
    limit = body["max_tokens"]
    if not isinstance(limit, int) or limit < 1:
        raise Refused("max_tokens: Input should be greater than or equal to 1")
    if not 0 <= body.get("temperature", 0) <= 1:
        raise Refused("temperature: range: 0..1")
    if not all(stop.strip() for stop in body.get("stop_sequences") or ()):
        raise Refused("stop_sequences: each stop sequence must contain non-whitespace")
    if body.get("tool_choice") is not None and not body.get("tools"):
        raise Refused("tool_choice: may only be specified while providing tools")


def _blocks(content: Any) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content)


def _turns(messages: Any) -> list[Turn]:
    if not isinstance(messages, list) or not messages:
        raise Refused("messages: at least one message is required")
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        blocks = _blocks(() if content is None else content)
        if role not in ("user", "assistant", "system"):
            raise Refused(
                f"messages.{index}.role: Input should be 'user' or 'assistant'"
            )
        last = index == len(messages) - 1
        if not blocks and not (last and role == "assistant"):
            raise Refused(
                f"messages.{index}: all messages must have non-empty content except for "
                "the optional final assistant message"
            )
        for block in blocks:
            if block["type"] == "text" and not block["text"].strip():
                raise Refused("messages: text content blocks must be non-empty")
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if turns[0][0] != "user":
        raise Refused('messages: first message must use the "user" role')
    return turns


def _check_turns(turns: Sequence[Turn]) -> None:
    """Each tool use has its result in the turn right after it, before anything else."""
    waiting: list[str] = []
    for role, blocks in turns:
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        # Results come first; after other blocks they do not count.
        leading = 0
        for block in blocks:
            if block["type"] != "tool_result":
                break
            leading += 1
        missing = [each for each in waiting if each not in results[:leading]]
        if missing:
            raise Refused(
                "messages: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(missing)}. Each `tool_use` block must "
                "have a corresponding `tool_result` block in the next message."
            )
        strange = [each for each in results if each not in waiting]
        if strange or len(set(results)) < len(results):
            raise Refused(
                "messages: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(strange or results)}."
            )
        waiting = [b["id"] for b in blocks if b["type"] == "tool_use"]
        if len(set(waiting)) < len(waiting):
            raise Refused("messages: `tool_use` ids must be unique")
        if role == "assistant":
            _check_signatures(blocks)
    if waiting:
        raise Refused(
            "messages: `tool_use` ids were found without `tool_result` blocks "
            f"immediately after: {', '.join(waiting)}."
        )


def _check_thinking(body: Mapping[str, Any], turns: Sequence[Turn]) -> None:
    thinking = body.get("thinking") or {}
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens", 0)
    if budget < 1024:
        raise Refused(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        )
    if budget >= body["max_tokens"]:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if forced:
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")
    latest = next(
        (blocks for role, blocks in reversed(turns) if role == "assistant"), []
    )
    kinds = [block["type"] for block in latest]
    if "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
        raise Refused(
            f"messages: Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`."
            " When `thinking` is enabled, a final `assistant` message must start with a"
            " thinking block."
        )


def _choice(body: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    match body.get("tool_choice") or {"type": "auto"}:
        case {"type": "auto" | "none" as mode}:
            return mode, frozenset()
        case {"type": "any"}:
            return "required", frozenset()
        case {"type": "tool", "name": str(name)}:
            return "required", frozenset({name})
        case other:
            raise Refused(f"tool_choice: Input tag {other!r} is not one that is known")


def _tool(tool: Mapping[str, Any]) -> OfferedTool:
    schema = tool.get("input_schema") or {"type": "object"}
    return OfferedTool(tool["name"], tool.get("description") or "", schema)


def _text(blocks: Sequence[Block]) -> str:
    return " ".join(
        block["text"] if block["type"] == "text" else _OPAQUE[block["type"]]
        for block in blocks
        if block["type"] in ("text", *_OPAQUE)
    )


def _results(turns: Sequence[Turn]) -> tuple[tuple[str, str], ...]:
    names = {
        block["id"]: block["name"]
        for _, blocks in turns
        for block in blocks
        if block["type"] == "tool_use"
    }
    return tuple(
        (names[block["tool_use_id"]], _text(_blocks(block.get("content") or ())))
        for block in turns[-1][1]
        if block["type"] == "tool_result"
    )


def _segments(
    body: Mapping[str, Any], system: Sequence[Block], turns: Sequence[Turn]
) -> tuple[tuple[str, ...], int]:
    """The prompt in the order in which it is cached, and how far that has been asked for."""
    parts = [*(body.get("tools") or ()), *system, *(b for _, bs in turns for b in bs)]
    marked = [n for n, part in enumerate(parts, 1) if part.get("cache_control")]
    whole = body.get("cache_control") is not None
    cacheable = len(parts) if whole else max(marked, default=0)
    plain = ({k: v for k, v in p.items() if k != "cache_control"} for p in parts)
    return tuple(dumps(part).decode() for part in plain), cacheable


# -- thoughts that come back as they were ----------------------------------------------


def _sign(thinking: str) -> str:
    """A signature holds the thought: it is valid even where the text is not shown."""
    text = thinking.encode()
    return base64.b64encode(
        hashlib.sha256(b"simulator" + text).digest() + text
    ).decode()


def _check_signatures(blocks: Sequence[Block]) -> None:
    for block in blocks:
        if block["type"] != "thinking":
            continue
        try:
            signed = base64.b64decode(block["signature"], validate=True)[32:].decode()
        except ValueError:
            signed = ""
        if not signed or _sign(signed) != block["signature"]:
            raise Refused("messages: Invalid `signature` in `thinking` block")
        if block["thinking"] not in ("", signed):
            raise Refused(
                "messages: `thinking` or `redacted_thinking` blocks in the latest "
                "assistant message cannot be modified."
            )


# -- writing an answer -----------------------------------------------------------------


def _content(exchange: Exchange) -> list[tuple[dict[str, Any], str]]:
    """The blocks as they begin, and what then comes in deltas."""
    answer = exchange.answer
    blocks: list[tuple[dict[str, Any], str]] = []
    if answer.reasoning:
        start = {"type": "thinking", "thinking": "", "signature": ""}
        blocks.append((start, answer.reasoning))
    if answer.text:
        blocks.append(({"type": "text", "text": ""}, answer.text))
    for index, call in enumerate(answer.calls):
        use: dict[str, Any] = {
            "type": "tool_use",
            "id": f"toolu_sim{exchange.number:08d}x{index}",
            "name": call.name,
            "input": {},
        }
        blocks.append((use, call.arguments))
    return blocks


def _document(exchange: Exchange) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for block, said in _content(exchange):
        match block["type"]:
            case "thinking":
                shown = "" if _hidden(exchange) else said
                content.append({**block, "thinking": shown, "signature": _sign(said)})
            case "text":
                content.append({**block, "text": said})
            case _:
                content.append({**block, "input": _whole(said)})
    return {
        **_message(exchange),
        "content": content,
        "stop_reason": _FINISH[exchange.answer.finish],
        "stop_sequence": exchange.answer.stop_sequence,
        "usage": _usage(exchange.answer),
    }


def _whole(arguments: str) -> Any:
    try:
        return loads(arguments)
    except ValueError:
        return {}  # cut off, and a document has no place for half an object


def _stream(exchange: Exchange) -> Iterator[Event]:
    answer = exchange.answer
    started = {**_usage(answer), "output_tokens": 1}
    message = {**_message(exchange), "usage": started}
    yield Event(_event("message_start", message=message))
    for index, (block, said) in enumerate(_content(exchange)):
        yield Event(_event("content_block_start", index=index, content_block=block))
        if index == 0:
            yield Event(_event("ping"))
        for delta, word in _deltas(exchange, block["type"], said):
            event = _event("content_block_delta", index=index, delta=delta)
            yield Event(event, word=word)
        yield Event(_event("content_block_stop", index=index))
    delta = {
        "stop_reason": _FINISH[answer.finish],
        "stop_sequence": answer.stop_sequence,
    }
    yield Event(_event("message_delta", delta=delta, usage=_usage(answer)))
    yield Event(_event("message_stop"))


def _deltas(
    exchange: Exchange, kind: str, said: str
) -> Iterator[tuple[dict[str, Any], bool]]:
    match kind:
        case "thinking":
            for piece in () if _hidden(exchange) else pieces(said):
                yield {"type": "thinking_delta", "thinking": piece}, True
            yield {"type": "signature_delta", "signature": _sign(said)}, False
        case "text":
            for piece in pieces(said):
                yield {"type": "text_delta", "text": piece}, True
        case _:
            yield {"type": "input_json_delta", "partial_json": ""}, False
            # No arguments are no text at all.
            for piece in pieces(said) if said != "{}" else ():
                yield {"type": "input_json_delta", "partial_json": piece}, True


def _hidden(exchange: Exchange) -> bool:
    return (exchange.body.get("thinking") or {}).get("display") == "omitted"


def _event(kind: str, **facts: Any) -> bytes:
    data = dumps({"type": kind, **facts})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def _message(exchange: Exchange) -> dict[str, Any]:
    return {
        "id": f"msg_sim{exchange.number:08d}",
        "type": "message",
        "role": "assistant",
        "model": exchange.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    read, written = answer.cache_read_tokens, answer.cache_write_tokens
    return {
        # What was read from the cache or written to it does not count here.
        "input_tokens": answer.input_tokens - read - written,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"thinking_tokens": answer.reasoning_tokens},
        "service_tier": "standard",
    }


def _models() -> dict[str, Any]:
    model = {
        "type": "model",
        "id": "simulator",
        "display_name": "aichat's simulator",
        "created_at": "2026-01-31T00:00:00Z",
    }
    return {
        "data": [model],
        "has_more": False,
        "first_id": "simulator",
        "last_id": "simulator",
    }


# -- errors, headers, keys -------------------------------------------------------------

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _error(refused: Refused, request_id: str) -> dict[str, Any]:
    kind = _TYPES.get(
        refused.status,
        "api_error" if refused.status >= 500 else "invalid_request_error",
    )
    error: dict[str, Any] = {"type": kind, "message": refused.message}
    if refused.code and refused.code.endswith("_error"):
        error["type"] = refused.code
    elif refused.code:
        error["details"] = {"error_code": refused.code}
    return {"type": "error", "error": error, "request_id": request_id}


def _error_event(refused: Refused, request_id: str) -> bytes:
    return b"event: error\ndata: " + dumps(_error(refused, request_id)) + b"\n\n"


def _headers(number: int, request_id: str) -> dict[str, str]:
    prefix = "anthropic-ratelimit"
    # Far away, so that it is in the future whenever somebody looks.
    reset = "2099-01-31T12:00:00Z"
    return {
        "request-id": request_id,
        "anthropic-organization-id": "aichat-simulator",
        f"{prefix}-requests-limit": "4000",
        f"{prefix}-requests-remaining": str(3999 - number % 100),
        f"{prefix}-requests-reset": reset,
        f"{prefix}-input-tokens-limit": "2000000",
        f"{prefix}-input-tokens-remaining": "1999000",
        f"{prefix}-input-tokens-reset": reset,
        f"{prefix}-output-tokens-limit": "400000",
        f"{prefix}-output-tokens-remaining": "399000",
        f"{prefix}-output-tokens-reset": reset,
    }


def _key(headers: Mapping[str, str]) -> str | None:
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("x-api-key") or bearer or None


def _unauthorized(key: str | None) -> Refused:
    if key is None:
        return Refused("x-api-key header is required", status=401)
    return Refused("invalid x-api-key", status=401)


ANTHROPIC: Final = SimDialect(
    name="anthropic",
    prefix="/anthropic",
    base_path="/anthropic",
    chat_paths=("/v1/messages", "/messages"),
    models_paths=("/v1/models", "/models"),
    read=_read,
    stream=_stream,
    document=_document,
    models=_models,
    error=_error,
    error_event=_error_event,
    headers=_headers,
    key=_key,
    unauthorized=_unauthorized,
)
