"""
The bytes of an answer in each of the five dialects, as realistic as they are boring.

An event is as long as the vendors make them, 120 to 320 bytes: the text of a token, and what
they wrap it in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["DIALECTS", "PERIOD", "Answer", "text_of"]

#: What the events say, in turn: litellm takes the same word a hundred times for a fault.
_WORDS: Final = (" this", " goes", " word", " upon", " word", " till", " they", " stop")
#: After how many events they begin anew.
PERIOD: Final = len(_WORDS)

_MODEL: Final = "benchmark-model-2026-01-01"
_MESSAGE_ID: Final = "msg_68a1b2c3d4e5f60718293a4b5c6d7e8f9011223344556677"


class Answer(NamedTuple):
    """How a stream begins, what it repeats, how it ends; and the whole as one document."""

    begin: bytes
    events: tuple[bytes, ...]
    end: bytes
    document: bytes
    content_type: str = "text/event-stream"


def text_of(words: int) -> str:
    """What an answer of so many events says."""
    return "".join(_WORDS) * (words // PERIOD) + "".join(_WORDS[: words % PERIOD])


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _data(value: object) -> bytes:
    return b"data: %b\n\n" % _json(value)


def _named(kind: str, **fields: object) -> bytes:
    return b"event: %b\n%b" % (kind.encode(), _data({"type": kind, **fields}))


def openai_chat(words: int) -> Answer:
    """Chat Completions."""
    usage = {"prompt_tokens": 5, "completion_tokens": words, "total_tokens": words + 5}
    head = {"id": "chatcmpl-Cf0123456789abcdefghijklmnop", "created": 1790000000}

    def event(finish: str | None, **delta: str) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        kind = "chat.completion.chunk"
        extra = {"model": _MODEL, "system_fingerprint": "fp_0123456789"}
        return _data({
            **head,
            "object": kind,
            **extra,
            "choices": [choice],
            "usage": None,
        })

    message = {"role": "assistant", "content": text_of(words), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    document = {**head, "object": "chat.completion", "model": _MODEL}
    return Answer(
        begin=event(None, role="assistant", content=""),
        events=tuple(event(None, content=word) for word in _WORDS),
        end=event("stop") + b"data: [DONE]\n\n",
        document=_json({**document, "choices": [choice], "usage": usage}),
    )


def responses(words: int) -> Answer:
    """OpenAI's Responses; the end repeats the text four times, as OpenAI does."""
    text = {"type": "output_text", "text": text_of(words), "annotations": []}
    item = {"id": _MESSAGE_ID, "type": "message", "role": "assistant"}
    done = {**item, "status": "completed", "content": [text]}
    usage = {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": words,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": words + 5,
    }

    def response(status: str, **fields: object) -> dict[str, Any]:
        return {
            "id": "resp_68a1b2c3d4e5f60718293a4b5c6d7e8f",
            "object": "response",
            "created_at": 1790000000,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": _MODEL,
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
            "metadata": {},
        } | fields

    at = {"item_id": _MESSAGE_ID, "output_index": 0, "content_index": 0}
    opened = {**item, "status": "in_progress", "content": []}
    whole = response("completed", output=[done], usage=usage)
    number = "sequence_number"
    return Answer(
        begin=b"".join((
            _named("response.created", **{number: 0}, response=response("in_progress")),
            _named(
                "response.output_item.added",
                **{number: 1},
                output_index=0,
                item=opened,
            ),
            _named(
                "response.content_part.added",
                **{number: 2},
                **at,
                part={**text, "text": ""},
            ),
        )),
        events=tuple(
            _named(
                "response.output_text.delta",
                **{number: 3},
                **at,
                delta=word,
                logprobs=[],
                obfuscation="x8fQ2mZr0Lk",
            )
            for word in _WORDS
        ),
        end=b"".join((
            _named("response.output_text.done", **{number: 4}, **at, text=text["text"]),
            _named("response.content_part.done", **{number: 5}, **at, part=text),
            _named(
                "response.output_item.done", **{number: 6}, output_index=0, item=done
            ),
            _named("response.completed", **{number: 7}, response=whole),
        )),
        document=_json(whole),
    )


def anthropic(words: int) -> Answer:
    """Messages."""
    usage = {"input_tokens": 5, "output_tokens": 1}
    message = {"id": "msg_01AbCdEfGhIjKlMnOpQrStUv", "type": "message"}
    message |= {"role": "assistant", "model": _MODEL}
    start: dict[str, object] = {"content": [], "stop_reason": None}
    start |= {"stop_sequence": None, "usage": usage}
    stop: dict[str, object] = {"stop_reason": "end_turn", "stop_sequence": None}
    text = {"type": "text", "text": text_of(words)}
    return Answer(
        begin=_named("message_start", message={**message, **start})
        + _named("content_block_start", index=0, content_block={**text, "text": ""})
        + b'event: ping\ndata: {"type": "ping"}\n\n',
        events=tuple(
            _named(
                "content_block_delta",
                index=0,
                delta={"type": "text_delta", "text": word},
            )
            for word in _WORDS
        ),
        end=_named("content_block_stop", index=0)
        + _named("message_delta", delta=stop, usage={"output_tokens": words})
        + _named("message_stop"),
        document=_json({**message, "content": [text], **stop, "usage": usage}),
    )


def google(words: int) -> Answer:
    """Gemini: lines end in CR LF, and each event has the usage so far."""

    def event(text: str, **fields: str) -> dict[str, Any]:
        content = {"parts": [{"text": text}], "role": "model"}
        details = [{"modality": "TEXT", "tokenCount": 5}]
        usage = {
            "promptTokenCount": 5,
            "candidatesTokenCount": 7,
            "totalTokenCount": 12,
        }
        return {
            "candidates": [{"content": content, **fields, "index": 0}],
            "usageMetadata": {**usage, "promptTokensDetails": details},
            "modelVersion": _MODEL,
            "responseId": "AbCdEfGhIjKlMnOpQrSt",
        }

    def framed(value: object) -> bytes:
        return b"data: %b\r\n\r\n" % _json(value)

    return Answer(
        begin=b"",
        events=tuple(framed(event(word)) for word in _WORDS),
        end=framed(event("", finishReason="STOP")),
        document=_json(event(text_of(words), finishReason="STOP")),
    )


def ollama(words: int) -> Answer:
    """Ollama's own: a line of JSON per event."""

    def event(text: str, *, done: bool = False) -> dict[str, Any]:
        return {
            "model": _MODEL,
            "created_at": "2026-11-21T06:20:31.123456789Z",
            "message": {"role": "assistant", "content": text},
            "done": done,
        }

    end = {"done_reason": "stop", "total_duration": 4883583458}
    end |= {"load_duration": 1334875, "prompt_eval_count": 5}
    end |= {"prompt_eval_duration": 342546000, "eval_count": words}
    end |= {"eval_duration": 4535599000}
    return Answer(
        begin=b"",
        events=tuple(_json(event(word)) + b"\n" for word in _WORDS),
        end=_json({**event("", done=True), **end}) + b"\n",
        document=_json({**event(text_of(words), done=True), **end}),
        content_type="application/x-ndjson",
    )


#: By our names for them; each is a function of how many events the answer has.
DIALECTS: Final[Mapping[str, Callable[[int], Answer]]] = {
    "openai-chat": openai_chat,
    "openai": responses,
    "anthropic": anthropic,
    "google": google,
    "ollama": ollama,
}
