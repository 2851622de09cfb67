"""
Anthropic's Messages, from the server's side.

See: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..types import dumps, loads
from ._sim_anthropic_input import read
from ._sim_brain import Answer, pieces
from ._sim_dialect import (
    Endpoint,
    Event,
    Exchange,
    Manners,
    Refused,
    Reply,
    Speech,
    Visit,
)
from ._sim_seal import seal

__all__ = ["ANTHROPIC", "ENDPOINTS", "MANNERS"]

_FINISH: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "stop_sequence": "stop_sequence",
}


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
                content.append({**block, "thinking": shown, "signature": seal(said)})
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
            yield {"type": "signature_delta", "signature": seal(said)}, False
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


def _error_event(refused: Refused, request_id: str, said: int) -> bytes:
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


def _count(visit: Visit) -> Reply:
    """Count as the answer will: what an answer needs besides may not be there."""
    body = visit.object()
    for name in ("max_tokens", "stream"):
        if name in body:
            raise Refused(f"{name}: Extra inputs are not permitted")
    question = read({**body, "max_tokens": 1_000_000}, visit.headers)
    return {"input_tokens": question.tokens}


MANNERS: Final = Manners(
    error=_error,
    error_event=_error_event,
    headers=_headers,
    key=_key,
    unauthorized=_unauthorized,
)
ANTHROPIC: Final = Speech(read=read, stream=_stream, document=_document)
ENDPOINTS: Final = (
    Endpoint("POST", "/messages", ANTHROPIC.answer),
    Endpoint("POST", "/messages/count_tokens", _count),
)
