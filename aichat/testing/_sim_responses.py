"""
OpenAI's Responses, from the server's side.

An answer is a list of items. As a document they stand there; in a stream each of them is
opened, filled and closed, and the whole response comes at the beginning and at the end.

See: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from ..types import dumps
from ._sim_brain import Answer, Call, pieces
from ._sim_dialect import Event, Exchange, Refused, Speech
from ._sim_openai import OPENAI
from ._sim_responses_input import read
from ._sim_seal import seal

__all__ = ["RESPONSES", "error_event"]

#: OpenAI blurs the length of its deltas with a pad of letters.
_PAD: Final = "x8fQ2mZr0LkTb5Ny"
#: What a response repeats of its request, and what it says if nobody asked.
_ECHOED: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}

Item = dict[str, Any]


# -- as a document ---------------------------------------------------------------------


def _document(exchange: Exchange) -> dict[str, Any]:
    return _response(exchange, done=True)


def _response(exchange: Exchange, *, done: bool) -> dict[str, Any]:
    body, answer = exchange.body, exchange.answer
    short = answer.finish == "length"
    status = "incomplete" if short else "completed"
    echoed = {
        k: usual if body.get(k) is None else body[k] for k, usual in _ECHOED.items()
    }
    reasoning = body.get("reasoning") or {}
    return {
        "id": f"resp_sim{exchange.number:08d}",
        "object": "response",
        "created_at": exchange.created,
        "completed_at": exchange.created if done and not short else None,
        "status": status if done else "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if done and short else None,
        "model": exchange.model,
        "output": _items(exchange) if done else [],
        "usage": _usage(answer) if done else None,
        "service_tier": "default" if done else "auto",
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(body.get("text") or {})},
        **echoed,
    }  # fmt: skip


def _items(exchange: Exchange) -> list[Item]:
    answer = exchange.answer
    items: list[Item] = []
    if answer.reasoning:
        items.append(_thought(exchange))
    if answer.text or not (answer.calls or answer.reasoning):
        items.append(_message(exchange))
    items += (_call(exchange, n, call) for n, call in enumerate(answer.calls))
    if answer.finish == "length":
        # It is the last one that was cut.
        items[-1] = {**items[-1], "status": "incomplete"}
    return items


def _thought(exchange: Exchange) -> Item:
    asked = (exchange.body.get("reasoning") or {}).get("summary")
    parts = re.split(r"(?<=\.) ", exchange.answer.reasoning)
    shown = [{"type": "summary_text", "text": part} for part in parts]
    item: Item = {
        "id": f"rs_sim{exchange.number:08d}",
        "type": "reasoning",
        "summary": shown if asked else [],
    }
    if "reasoning.encrypted_content" in (exchange.body.get("include") or ()):
        # Valid even where the summary is not shown.
        item["encrypted_content"] = "gAAAA" + seal(dumps(parts).decode())
    return item


def _message(exchange: Exchange) -> Item:
    said = {
        "type": "output_text",
        "text": exchange.answer.text,
        "annotations": [],
        "logprobs": [],
    }
    item: Item = {
        "id": _id(exchange, "msg", 0),
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [said],
    }
    if exchange.answer.reasoning:
        item["phase"] = "commentary" if exchange.answer.calls else "final_answer"
    return item


def _call(exchange: Exchange, index: int, call: Call) -> Item:
    prefix, kind, arguments = _kind(call)
    return {
        "id": _id(exchange, prefix, index),
        "type": kind,
        "status": "completed",
        "call_id": f"call_sim{exchange.number:08d}x{index}",
        "name": call.name,
        arguments: call.arguments,
    }


def _kind(call: Call) -> tuple[str, str, str]:
    if call.custom:
        return "ctc", "custom_tool_call", "input"
    return "fc", "function_call", "arguments"


def _id(exchange: Exchange, prefix: str, index: int) -> str:
    """An id, which tells whether there was a thought before."""
    thought = "t" if exchange.answer.reasoning else "x"
    return f"{prefix}_sim{exchange.number:08d}{thought}{index}"


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {
            "cached_tokens": answer.cache_read_tokens,
            "cache_write_tokens": 0,
        },
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


# -- as a stream -----------------------------------------------------------------------


def _stream(exchange: Exchange) -> Iterator[Event]:
    options = exchange.body.get("stream_options") or {}
    padded = options.get("include_obfuscation") is not False
    for number, (kind, facts) in zip(count(), _events(exchange), strict=False):
        event = {"type": kind, "sequence_number": number, **facts}
        word = kind.endswith(".delta")
        if word and padded:
            event["obfuscation"] = _PAD[len(event["delta"]) % len(_PAD) :]
        yield Event(_event(kind, event), word=word)


def _event(kind: str, event: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: ".encode() + dumps(event) + b"\n\n"


#: The type of an event, and what else is in it.
_Facts = tuple[str, dict[str, Any]]


def _events(exchange: Exchange) -> Iterator[_Facts]:
    started = _response(exchange, done=False)
    yield "response.created", {"response": started}
    yield "response.in_progress", {"response": started}
    ended = _response(exchange, done=True)
    for index, item in enumerate(ended["output"]):
        yield from _filled(index, item)
    yield f"response.{ended['status']}", {"response": ended}


def _filled(index: int, item: Item) -> Iterator[_Facts]:
    where = {"item_id": item["id"], "output_index": index}
    opened = _opened(item)
    yield "response.output_item.added", {"output_index": index, "item": opened}
    match item["type"]:
        case "reasoning":
            yield from _summed_up(where, item)
        case "message":
            (part,) = item["content"]
            yield from _said(where, part)
        case "function_call":
            kind = "response.function_call_arguments"
            yield from _written(kind, "arguments", where, item["arguments"])
        case _:
            kind = "response.custom_tool_call_input"
            yield from _written(kind, "input", where, item["input"])
    yield "response.output_item.done", {"output_index": index, "item": item}


def _opened(item: Item) -> Item:
    """An item as it is at first."""
    match item["type"]:
        case "reasoning":
            opened = {**item, "summary": []}
            if "encrypted_content" in item:
                # There is less of it than at the end.
                opened["encrypted_content"] = item["encrypted_content"][:24]
            return opened
        case "message":
            opened = {**item, "content": []}
        case "function_call":
            opened = {**item, "arguments": ""}
        case _:
            opened = {**item, "input": ""}
    return opened | {"status": "in_progress"}


def _summed_up(where: dict[str, Any], item: Item) -> Iterator[_Facts]:
    part_kind = "response.reasoning_summary_part"
    for index, part in enumerate(item["summary"]):
        there = {**where, "summary_index": index}
        yield f"{part_kind}.added", {**there, "part": {**part, "text": ""}}
        kind = "response.reasoning_summary_text"
        yield from _written(kind, "text", there, part["text"])
        yield f"{part_kind}.done", {**there, "part": part}


def _said(where: dict[str, Any], part: dict[str, Any]) -> Iterator[_Facts]:
    there = {**where, "content_index": 0}
    yield "response.content_part.added", {**there, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield "response.output_text.delta", {**there, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**there, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", {**there, "part": part}


def _written(
    kind: str, name: str, where: dict[str, Any], text: str
) -> Iterator[_Facts]:
    for piece in pieces(text):
        yield f"{kind}.delta", {**where, "delta": piece}
    yield f"{kind}.done", {**where, name: text}


def error_event(refused: Refused, request_id: str, said: int) -> bytes:
    """As it was captured: what is documented has no object around it."""
    # The same word as with a status.
    code = OPENAI.error(refused, request_id)["error"]["code"] or "server_error"
    error = {
        "type": code,
        "code": code,
        "message": refused.message,
        "param": refused.param,
    }
    event = {"type": "error", "sequence_number": said, "error": error}
    return _event("error", event)


RESPONSES: Final = Speech(read=read, stream=_stream, document=_document)
