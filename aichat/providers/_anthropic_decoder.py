"""
Events of the Messages API to chunks.

A message is a list of blocks; each is started, filled by deltas and stopped. Blocks that
we have no part for are kept whole and given back untouched: the next request fails
without them.

See: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import define, field

from ..errors import (
    AIChatError,
    ProtocolError,
    QuotaExceededError,
    StreamInterruptedError,
)
from ..transport import ServerSentEvent, provider_error
from ..types import (
    Citation,
    CitationDelta,
    FinishReason,
    JSONError,
    OpaquePart,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    dumps,
    loads,
    loads_exact,
)

__all__ = ["ERROR_CODES", "PROVIDER", "MessagesDecoder", "new_call_id"]

#: Whose `ProviderState` ours is.
PROVIDER: Final = "anthropic"

_FINISH: Final[Mapping[str, FinishReason]] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
    # Not final: the answer goes on when the message is sent back as it is.
    "pause_turn": FinishReason.PAUSED,
    "compaction": FinishReason.PAUSED,
}
#: What is known about a message elsewhere; all else goes into the metadata.
_KNOWN: Final = {
    "content",
    "id",
    "model",
    "role",
    "stop_reason",
    "stop_sequence",
    "type",
    "usage",
}
#: What stands in ``error.details.error_code`` and says more than ``error.type``, which is
#: that of a rate limit: waiting does not cure it.
ERROR_CODES: Final[Mapping[str, type[AIChatError]]] = {
    "contract_spend_limit_reached": QuotaExceededError,
    "enforced_spend_limit_reached": QuotaExceededError,
    "linked_organization_spend_limit_reached": QuotaExceededError,
}
#: Facts in the usage that are no tokens.
_FACTS: Final = ("service_tier", "inference_geo", "speed")
#: The blocks that a delta may begin, where a server forgot to start one.
_BEGINS: Final = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
}


def new_call_id() -> str:
    """Make an id for a call that came without one."""
    return f"call_aichat_{secrets.token_hex(12)}"


@define
class _Block:
    """A block that has been started and not stopped."""

    kind: str
    #: As it was started, and what deltas have made of it.
    raw: dict[str, Any]
    #: Which part of our message it is, as soon as it has said something.
    part: int = -1
    #: The JSON of the input of a tool that the provider runs.
    input: list[str] = field(factory=list)
    #: Whether the input of a tool of ours has come in deltas.
    streamed: bool = False
    signature: str = ""


@define
class MessagesDecoder:
    """
    Turns Anthropic's events into chunks.

    The `ResponseStart` waits for the first block that says something: until then a
    gateway may start over with another message.
    """

    _new_id: Callable[[], str] = field(default=new_call_id, kw_only=True)

    #: Chunks that come out before the first one that says something.
    _preface: tuple[StreamChunk, ...] = field(default=(), init=False)
    _spoken: bool = field(default=False, init=False)
    _begun: bool = field(default=False, init=False)
    _id: str | None = field(default=None, init=False)
    _model: str | None = field(default=None, init=False)
    #: Open blocks by their index on the wire, in the order in which they were started.
    _blocks: dict[int, _Block] = field(factory=dict, init=False)
    _parts: int = field(default=0, init=False)
    _call_ids: set[str] = field(factory=set, init=False)
    #: The text block under way, for `decode`: its index on the wire and its part.
    _text_index: object = field(default=None, init=False)
    _text_part: int = field(default=-1, init=False)
    _usage: dict[str, Any] = field(factory=dict, init=False)
    _stop_reason: str | None = field(default=None, init=False)
    _stop_sequence: str | None = field(default=None, init=False)
    _metadata: dict[str, Any] = field(factory=dict, init=False)
    _complete: bool = field(default=False, init=False)
    _finished: bool = field(default=False, init=False)

    @property
    def complete(self) -> bool:
        """Whether the reason for stopping is known, or the last event has come."""
        return self._complete

    @property
    def finished(self) -> bool:
        """Whether ``message_stop`` has come."""
        return self._finished

    def decode(self, event: ServerSentEvent, /) -> Iterable[StreamChunk]:
        """Everything that *event* says."""
        try:
            value = loads(event.raw)
        except JSONError:
            return self._decode_odd(event)
        # Most events are these. All of it is also in `_handle`, more slowly.
        if type(value) is dict and self._text_index is not None:
            delta = value.get("delta")
            if (
                type(delta) is dict
                and delta.get("type") == "text_delta"
                and value.get("index") == self._text_index
                and value.get("type") == "content_block_delta"
            ):
                text = delta.get("text")
                if type(text) is str and text:
                    return (TextDelta(text, self._text_part),)
        return self._handle(value)

    def document(self, value: Any, /) -> Iterable[StreamChunk]:
        """The chunks of a whole message."""
        if not isinstance(value, dict):
            raise _wrong("the answer is no object")
        if value.get("error") or value.get("type") == "error":
            raise provider_error(value, codes=ERROR_CODES)
        content = value.get("content")
        if not isinstance(content, list):
            raise _wrong("the answer has no list of content")
        start = {**value, "content": [], "stop_reason": None}
        chunks = [*self._handle({"type": "message_start", "message": start})]
        for index, block in enumerate(content):
            of = {"index": index, "content_block": block}
            chunks += self._handle({"type": "content_block_start", **of})
            chunks += self._handle({"type": "content_block_stop", **of})
        delta = {key: value.get(key) for key in ("stop_reason", "stop_sequence")}
        end = {"delta": delta, "usage": value.get("usage")}
        chunks += self._handle({"type": "message_delta", **end})
        chunks += self._handle({"type": "message_stop"})
        return chunks

    def flush(self) -> Iterable[StreamChunk]:
        """The end of the answer, if it has one."""
        if not self._complete:
            raise StreamInterruptedError(
                "The stream ended without a stop_reason or message_stop."
            )
        chunks = [
            chunk for block in self._blocks.values() for chunk in self._end(block)
        ]
        self._blocks.clear()
        finish = _FINISH.get(self._stop_reason or "", FinishReason.OTHER)
        calls = bool(self._call_ids)
        if calls and (finish is FinishReason.STOP or self._stop_reason is None):
            finish = FinishReason.TOOL_CALLS
        facts = {n: self._usage[n] for n in _FACTS if self._usage.get(n) is not None}
        end = ResponseEnd(
            finish,
            self._stop_reason,
            stop_sequence=self._stop_sequence,
            metadata={**facts, **self._metadata},
        )
        return self._after_preface((*chunks, end))

    def _decode_odd(self, event: ServerSentEvent) -> Iterable[StreamChunk]:
        """Read what is no JSON in UTF-8."""
        if event.raw.strip() in (b"", b"[DONE]"):
            return ()  # other dialects' ends, sent by servers that speak several
        try:
            value = loads(event.data)
        except JSONError:
            if event.type == "error":
                raise provider_error(event.data, codes=ERROR_CODES) from None
            raise _wrong(f"an event of type {event.type!r} is no JSON") from None
        return self._handle(value)

    def _handle(self, value: Any) -> Iterable[StreamChunk]:
        if not isinstance(value, dict):
            raise _wrong("an event is no object")
        match value.get("type"):
            case _ if self._finished:
                return ()
            case "content_block_delta":
                return self._after_preface(self._delta(value))
            case "content_block_start":
                return self._after_preface(self._start(value))
            case "content_block_stop":
                return self._after_preface(self._stop(value))
            case "message_start":
                self._message_start(_object(value, "message"))
                return ()
            case "message_delta":
                return self._after_preface(self._message_delta(value))
            case "message_stop":
                self._complete = self._finished = True
                return ()
            case "error":
                raise provider_error(value, codes=ERROR_CODES)
            case _ if value.get("error"):
                raise provider_error(value, codes=ERROR_CODES)
            case _:
                return ()  # ping, Bedrock's metrics, whatever they invent next

    def _after_preface(
        self, chunks: tuple[StreamChunk, ...]
    ) -> tuple[StreamChunk, ...]:
        if not chunks or self._spoken:
            return chunks
        self._spoken = True
        return (*self._preface, *chunks)

    # -- the message -----------------------------------------------------------------

    def _message_start(self, message: dict[str, Any]) -> None:
        name = _text(message.get("id"))
        if self._begun and name is not None and name == self._id:
            return  # said twice
        if self._spoken:
            # A gateway has asked again; what was said cannot be taken back.
            raise StreamInterruptedError(
                "Another answer began in the middle of this one."
            )
        self._begun, self._complete = True, False
        self._stop_reason = self._stop_sequence = None
        self._blocks.clear()
        self._id, self._model = name, _text(message.get("model"))
        usage = message.get("usage")
        self._usage = _given(usage) if isinstance(usage, dict) else {}
        self._metadata = {k: v for k, v in _given(message).items() if k not in _KNOWN}
        self._preface = (ResponseStart(id=self._id, model=self._model),)
        if self._usage:
            # Its output is a placeholder.
            self._preface += (UsageUpdate(_usage(self._usage, final=False)),)

    def _message_delta(self, event: dict[str, Any]) -> tuple[StreamChunk, ...]:
        delta = event.get("delta")
        if isinstance(delta, dict):
            reason = _text(delta.get("stop_reason"))
            if reason is not None:
                self._stop_reason, self._complete = reason, True
            self._stop_sequence = (
                _text(delta.get("stop_sequence")) or self._stop_sequence
            )
            self._metadata |= {
                k: v for k, v in _given(delta).items() if k not in _KNOWN
            }
        more = {k: v for k, v in _given(event).items() if k not in _KNOWN}
        more.pop("delta", None)
        self._metadata |= more
        usage = event.get("usage")
        if not isinstance(usage, dict):
            return ()
        # Cumulative, and with fields left out that have not changed.
        self._usage |= _given(usage)
        final = "output_tokens" in usage
        return (UsageUpdate(_usage(self._usage, final=final)),)

    # -- blocks ----------------------------------------------------------------------

    def _start(self, event: dict[str, Any]) -> tuple[StreamChunk, ...]:
        raw = _object(event, "content_block")
        kind = raw.get("type")
        if not isinstance(kind, str):
            raise _wrong("a content block has no type")
        index = event.get("index")
        if not isinstance(index, int):
            index = max(self._blocks, default=-1) + 1
        ended = self._end(self._blocks.pop(index)) if index in self._blocks else ()
        block = self._blocks[index] = _Block(kind, raw)
        self._text_index = None
        return (*ended, *self._begin(block))

    def _begin(self, block: _Block) -> tuple[StreamChunk, ...]:
        raw = block.raw
        match block.kind:
            case "text":
                chunks = self._text(block, raw.get("text"))
                citations = raw.get("citations")
                for citation in citations if isinstance(citations, list) else ():
                    chunks += self._cite(block, citation)
                return chunks
            case "thinking":
                block.signature = _text(raw.get("signature")) or ""
                return self._think(block, raw.get("thinking"))
            case "tool_use":
                name = raw.get("name")
                if not isinstance(name, str) or not name:
                    raise _wrong("a tool_use block has no name")
                call_id = _text(raw.get("id"))
                while not call_id or call_id in self._call_ids:
                    call_id = self._new_id()
                self._call_ids.add(call_id)
                return (ToolCallDelta(self._number(block), call_id, name),)
            case _:
                return ()

    def _delta(self, event: dict[str, Any]) -> tuple[StreamChunk, ...]:
        delta = _object(event, "delta")
        kind = delta.get("type")
        index = event.get("index")
        if not isinstance(index, int):
            index = next(reversed(self._blocks), 0)
        block = self._blocks.get(index)
        if block is None:
            if not isinstance(kind, str) or kind not in _BEGINS:
                return ()
            block = self._blocks[index] = _Block(_BEGINS[kind], {})
        match block.kind, kind:
            case "text", "text_delta":
                chunks = self._text(block, delta.get("text"))
                if chunks:
                    self._text_index, self._text_part = index, block.part
                return chunks
            case "text", "citations_delta":
                return self._cite(block, delta.get("citation"))
            case "thinking", "thinking_delta":
                return self._think(block, delta.get("thinking"))
            case "thinking", "signature_delta":
                block.signature = _optional(delta.get("signature"), "signature")
            case "tool_use", "input_json_delta":
                fragment = _optional(delta.get("partial_json"), "partial_json")
                if fragment:
                    block.streamed = True
                    return (ToolCallDelta(block.part, arguments=fragment),)
            case _, "input_json_delta":
                fragment = _optional(delta.get("partial_json"), "partial_json")
                block.input.append(fragment)
            case _, "compaction_delta":
                block.raw |= {k: v for k, v in delta.items() if k != "type"}
            case _:
                pass  # whatever they invent next
        return ()

    def _stop(self, event: dict[str, Any]) -> tuple[StreamChunk, ...]:
        index = event.get("index")
        if not isinstance(index, int):
            # Some servers do not say which.
            index = next(reversed(self._blocks), 0)
        self._text_index = None
        block = self._blocks.pop(index, None)
        return () if block is None else self._end(block)

    def _end(self, block: _Block) -> tuple[StreamChunk, ...]:
        raw = block.raw
        match block.kind:
            case "text":
                return ()
            case "thinking":
                if not block.signature:
                    return ()  # nobody wants it back
                begun = self._think(block, "", force=block.part < 0)
                known = {"thinking", "signature"}
                state = {k: v for k, v in raw.items() if k not in known}
                state |= {"type": "thinking", "signature": block.signature}
                return (*begun, PartEnd(block.part, self._state(state)))
            case "redacted_thinking":
                begun = self._think(block, "", force=True)
                return (*begun, PartEnd(block.part, self._state(raw)))
            case "tool_use":
                whole = raw.get("input")
                chunks: tuple[StreamChunk, ...] = ()
                if whole and not block.streamed:
                    # Compatible servers send it whole, where Anthropic has a placeholder.
                    text = whole if isinstance(whole, str) else dumps(whole).decode()
                    chunks = (ToolCallDelta(block.part, arguments=text),)
                known = {"type", "id", "name", "input"}
                state = {k: v for k, v in raw.items() if k not in known}
                if state:
                    chunks += (PartEnd(block.part, self._state(state)),)
                return chunks
            case kind:
                text = "".join(block.input)
                if text:
                    raw = {**raw, "input": _input(text)}
                part = OpaquePart(kind, self._state(raw))
                return (PartAdded(part, self._number(block)),)

    def _number(self, block: _Block) -> int:
        """Which part *block* is: parts are numbered as they appear."""
        if block.part < 0:
            block.part = self._parts
            self._parts += 1
        return block.part

    def _text(self, block: _Block, text: Any) -> tuple[StreamChunk, ...]:
        text = _optional(text, "text")
        return (TextDelta(text, self._number(block)),) if text else ()

    def _think(
        self, block: _Block, text: Any, *, force: bool = False
    ) -> tuple[StreamChunk, ...]:
        text = _optional(text, "thinking")
        if not text and not force:
            return ()
        return (ReasoningDelta(text, self._number(block)),)

    def _cite(self, block: _Block, raw: Any) -> tuple[StreamChunk, ...]:
        if not isinstance(raw, dict):
            raise _wrong("a citation is no object")
        return (
            CitationDelta(
                Citation(
                    url=_text(raw.get("url")),
                    title=_text(raw.get("title")) or _text(raw.get("document_title")),
                    cited_text=_text(raw.get("cited_text")),
                    provider_state=self._state(raw),
                ),
                self._number(block),
            ),
        )

    def _state(self, payload: dict[str, Any]) -> ProviderState:
        return ProviderState(PROVIDER, payload, self._model)


def _input(text: str) -> Any:
    """Read the input of a tool that the provider ran; not ours to judge."""
    try:
        return loads_exact(text)
    except JSONError:
        return {"INVALID_JSON": text}


def _usage(raw: Mapping[str, Any], *, final: bool) -> Usage:
    given = {key: value for key, value in raw.items() if _is_count(value)}
    read = given.get("cache_read_input_tokens")
    written = given.get("cache_creation_input_tokens")
    # What is read from the cache or written to it is not in input_tokens.
    fresh = given.get("input_tokens")
    total = None if fresh is None else fresh + (read or 0) + (written or 0)
    output = given.get("output_tokens") if final else None
    details = raw.get("output_tokens_details")
    thought = details.get("thinking_tokens") if isinstance(details, dict) else None
    if output is None or not _is_count(thought) or thought > output:
        thought = None
    return Usage(
        input_tokens=total,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=thought,
        complete=final,
        raw=raw,
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    """Without the fields that are null: they say nothing, and take nothing back."""
    return {key: item for key, item in value.items() if item is not None}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _optional(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(f"{name} is no text")
    return value


def _object(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = event.get(name)
    if not isinstance(value, dict):
        raise _wrong(f"{event.get('type')} has no {name}")
    return value


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(f"Not the Messages API: {what}.")
