"""OpenAI's form of server-sent events: ``chat.completion.chunk``."""

from __future__ import annotations

import time
import uuid
from base64 import b64encode
from collections.abc import AsyncIterable, Callable
from typing import Any, final

from attrs import define, field

from ..errors import InvalidRequestError
from ..types import (
    AudioPart,
    Citation,
    CitationDelta,
    ImagePart,
    PartAdded,
    PartEnd,
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    dumps,
)
from ._errors import facts
from ._events import EventStream

__all__ = ["to_openai_sse"]


def to_openai_sse(
    stream: AsyncIterable[Any],
    *,
    model: str | None = None,
    heartbeat: float | None = 15.0,
    include_usage: bool = False,
    details: bool = False,
    clock: Callable[[], float] = time.time,
) -> EventStream:
    """
    Write *stream* as OpenAI's chat completions do, for clients that speak that.

    *model* is what the chunks call the model; without it, what the provider calls it.
    Thoughts are ``reasoning_content``, pictures ``images``, and sources ``annotations``. The
    usage stands in the last chunk; with *include_usage*, which is what a client asks for by
    ``stream_options``, in a chunk of its own without choices. What this form has no words
    for stays behind: documents, opaque parts, and what the provider wants back. Neither can
    it tell the rounds of a `run_stream` apart, which is refused. *heartbeat* and *details*
    are as in `to_sse`.
    """
    form = _OpenAI(model, include_usage, details, clock)
    return EventStream(stream, form, heartbeat=heartbeat)


@final
@define
class _OpenAI:
    _model: str | None
    _include_usage: bool
    _details: bool
    _clock: Callable[[], float]
    _head: dict[str, Any] | None = field(default=None, init=False)
    #: Our index of a call to its number among the calls.
    _calls: dict[int, int] = field(factory=dict, init=False)
    _usage: Usage | None = field(default=None, init=False)

    def encode(self, event: Any, /) -> bytes:
        opening = self._open(event) if self._head is None else b""
        match event:
            case TextDelta(text):
                return opening + self._delta(content=text)
            case ReasoningDelta(text):
                return opening + self._delta(reasoning_content=text)
            case RefusalDelta(text):
                return opening + self._delta(refusal=text)
            case ToolCallDelta():
                return opening + self._delta(tool_calls=[self._call(event)])
            case CitationDelta(citation):
                if citation.url is None:
                    return opening
                return opening + self._delta(annotations=[_annotation(citation)])
            case PartAdded(part):
                return opening + self._part(part)
            case UsageUpdate(usage):
                self._usage = usage
                return opening
            case ResponseEnd():
                return opening + self._end(event)
            case ResponseStart() | PartEnd():
                return opening
            case _:
                raise InvalidRequestError(
                    f"OpenAI's form has no words for a {type(event).__name__}."
                )

    def error(self, error: BaseException, /) -> bytes:
        return b"data: %b\n\n" % dumps(self.error_body(error))

    def error_body(self, error: BaseException, /) -> dict[str, Any]:
        told = facts(error, self._details)
        message, code = told.pop("message"), told.pop("code")
        told = {"message": message, "type": code, "param": None, "code": code, **told}
        return {"error": told}

    def _open(self, event: Any) -> bytes:
        start = event if isinstance(event, ResponseStart) else ResponseStart()
        at = self._clock() if start.created_at is None else start.created_at
        self._head = {
            "id": start.id or f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(at),
            "model": self._model or start.model or "",
        }
        return self._delta(role="assistant", content="")

    def _delta(self, **delta: Any) -> bytes:
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: %b\n\n" % dumps({
            **(self._head or {}),
            "choices": choices,
            **more,
        })

    def _call(self, delta: ToolCallDelta) -> dict[str, Any]:
        first = delta.index not in self._calls
        number = self._calls.setdefault(delta.index, len(self._calls))
        custom = delta.kind == "custom"
        said = {"input" if custom else "arguments": delta.arguments}
        if delta.name is not None:
            said = {"name": delta.name, **said}
        call: dict[str, Any] = {"index": number}
        if delta.id is not None:
            call["id"] = delta.id
        if first or custom:
            call["type"] = delta.kind
        return {**call, delta.kind: said}

    def _part(self, part: object) -> bytes:
        match part:
            case ImagePart(data=bytes(data)):
                kind = part.media_type or "application/octet-stream"
                return self._image(f"data:{kind};base64,{b64encode(data).decode()}")
            case ImagePart(url=str(url)):
                return self._image(url)
            case AudioPart(data=bytes(data), transcript=words):
                audio = {"data": b64encode(data).decode(), "transcript": words}
                return self._delta(audio=audio)
            case _:
                return b""

    def _image(self, url: str) -> bytes:
        image = {"type": "image_url", "image_url": {"url": url}}
        return self._delta(images=[image])

    def _end(self, end: ResponseEnd) -> bytes:
        # A reason of a provider's own is told as it is: none of OpenAI's would be true.
        choice = {"index": 0, "delta": {}, "finish_reason": str(end.finish_reason)}
        usage = _usage(self._usage)
        if self._include_usage:
            last = self._chunk([choice]) + self._chunk([], usage=usage)
        elif usage is not None:
            last = self._chunk([choice], usage=usage)
        else:
            last = self._chunk([choice])
        return last + b"data: [DONE]\n\n"


def _annotation(citation: Citation) -> dict[str, Any]:
    told = {
        "url": citation.url,
        "title": citation.title,
        "content": citation.cited_text,
        "start_index": citation.start,
        "end_index": citation.end,
    }
    source = {name: fact for name, fact in told.items() if fact is not None}
    return {"type": "url_citation", "url_citation": source}


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        # Theirs has no word for what is not known.
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }
