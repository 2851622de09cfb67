"""
Chat Completions, from the server's side.

See: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..types import dumps
from ._sim_brain import Answer, pieces
from ._sim_dialect import Endpoint, Event, Exchange, Speech
from ._sim_openai_chat_input import read

__all__ = ["ENDPOINTS", "OPENAI_CHAT"]

_FINISH: Final[Mapping[str, str]] = {"stop_sequence": "stop"}
#: OpenAI blurs the length of its chunks with a pad of letters.
_PAD: Final = "x8fQ2mZr0LkTb5Ny"


def _document(exchange: Exchange) -> dict[str, Any]:
    answer = exchange.answer
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or (None if answer.calls else ""),
        "refusal": None,
        "annotations": [],
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [
            _call(call.name, call.arguments, call.custom, _call_id(exchange, index))
            for index, call in enumerate(answer.calls)
        ]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _finish(exchange),
    }
    head = _head(exchange, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(answer)}


def _stream(exchange: Exchange) -> Iterator[Event]:
    answer = exchange.answer
    options = exchange.body.get("stream_options") or {}
    head = _head(exchange, "chat.completion.chunk")
    if options.get("include_usage"):
        head["usage"] = None
    padded = options.get("include_obfuscation") is not False

    def say(delta: dict[str, Any], *, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**head, "choices": [choice]}
        if padded and not finish:
            chunk["obfuscation"] = _PAD[len(str(delta)) % len(_PAD) :]
        return _event(chunk)

    role: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    if answer.text or answer.reasoning or not answer.calls:
        yield Event(say(role))
        role = {}
    else:
        # The first call comes in the same chunk as the role.
        role["content"] = None
    for piece in pieces(answer.reasoning):
        yield Event(say({"reasoning_content": piece}), word=True)
    for piece in pieces(answer.text):
        yield Event(say({"content": piece}), word=True)
    for index, call in enumerate(answer.calls):
        first = _call(call.name, "", call.custom, _call_id(exchange, index))
        yield Event(say({**role, "tool_calls": [{"index": index, **first}]}))
        role = {}
        for piece in pieces(call.arguments):
            more = {"custom": {"input": piece}} if call.custom else {}
            more = more or {"function": {"arguments": piece}}
            yield Event(say({"tool_calls": [{"index": index, **more}]}), word=True)
    yield Event(say({}, finish=_finish(exchange)))
    if options.get("include_usage"):
        yield Event(_event({**head, "choices": [], "usage": _usage(answer)}))
    yield Event(b"data: [DONE]\n\n")


def _event(value: Any) -> bytes:
    return b"data: " + dumps(value) + b"\n\n"


def _head(exchange: Exchange, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sim{exchange.number:08d}",
        "object": kind,
        "created": exchange.created,
        "model": exchange.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }


def _call_id(exchange: Exchange, index: int) -> str:
    return f"call_sim{exchange.number:08d}x{index}"


def _call(name: str, arguments: str, custom: bool, id: str) -> dict[str, Any]:
    if custom:
        call = {"name": name, "input": arguments}
        return {"id": id, "type": "custom", "custom": call}
    call = {"name": name, "arguments": arguments}
    return {"id": id, "type": "function", "function": call}


def _finish(exchange: Exchange) -> str:
    finish = exchange.answer.finish
    named = isinstance(exchange.body.get("tool_choice"), dict)
    if finish == "tool_calls" and named:
        # So does OpenAI, for a choice of one function.
        return "stop"
    return _FINISH.get(finish, finish)


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": answer.cache_read_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


OPENAI_CHAT: Final = Speech(read=read, stream=_stream, document=_document)
ENDPOINTS: Final = (Endpoint("POST", "/chat/completions", OPENAI_CHAT.answer),)
