"""
Events of the Messages API to chunks.

A message starts, its blocks come one by one (`Blocks`), and at its end stand the reason
for it and the tokens that it took.

See: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field

from ..errors import (
    AIChatError,
    QuotaExceededError,
    StreamInterruptedError,
)
from ..transport import ServerSentEvent, provider_error
from ..types import (
    FinishReason,
    JSONError,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    UsageUpdate,
    loads,
)
from ._anthropic_blocks import Blocks
from ._anthropic_fields import given, object_in, text_or_none, wrong
from ._anthropic_usage import count_tokens
from ._call_ids import new_call_id

__all__ = ["ERROR_CODES", "MessagesDecoder"]

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


@define
class MessagesDecoder:
    """
    Turns Anthropic's events into chunks.

    The `ResponseStart` waits for the first block that says something: until then a
    gateway may start over with another message.
    """

    _new_id: Callable[[], str] = field(default=new_call_id, kw_only=True)

    _blocks: Blocks = field(init=False)
    #: Chunks that come out before the first one that says something.
    _preface: tuple[StreamChunk, ...] = field(default=(), init=False)
    _spoken: bool = field(default=False, init=False)
    _begun: bool = field(default=False, init=False)
    _id: str | None = field(default=None, init=False)
    _usage: dict[str, Any] = field(factory=dict, init=False)
    _stop_reason: str | None = field(default=None, init=False)
    _stop_sequence: str | None = field(default=None, init=False)
    _metadata: dict[str, Any] = field(factory=dict, init=False)
    _complete: bool = field(default=False, init=False)
    #: Whether ``message_stop`` has come.
    finished: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._blocks = Blocks(self._new_id)

    @property
    def complete(self) -> bool:
        """Whether the reason for stopping is known, or the last event has come."""
        return self._complete

    def decode(self, event: ServerSentEvent, /) -> Iterable[StreamChunk]:
        """Everything that *event* says."""
        try:
            value = loads(event.raw)
        except JSONError:
            return self._decode_odd(event)
        return self._handle(value)

    def run(
        self, events: Sequence[ServerSentEvent], at: int, chunks: list[StreamChunk], /
    ) -> int:
        """Append what *events* from *at* on say, as long as it is more of the same text."""
        index, part, begin = self._blocks.text_index, self._blocks.text_part, at
        if index is None:
            return 0
        for event in events[at:]:
            try:
                value = loads(event.raw)
                delta = value["delta"]
                text = delta["text"]
                if (
                    delta["type"] != "text_delta"
                    or value["index"] != index
                    or value["type"] != "content_block_delta"
                    or text.__class__ is not str
                    or not text
                ):
                    break
            except (LookupError, TypeError, ValueError):
                break
            chunks.append(TextDelta(text, part))
            at += 1
        return at - begin

    def document(self, value: Any, /) -> Iterable[StreamChunk]:
        """The chunks of a whole message."""
        if not isinstance(value, dict):
            raise wrong("the answer is no object")
        if value.get("error") or value.get("type") == "error":
            raise provider_error(value, codes=ERROR_CODES)
        content = value.get("content")
        if not isinstance(content, list):
            raise wrong("the answer has no list of content")
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
        chunks = self._blocks.end()
        finish = _FINISH.get(self._stop_reason or "", FinishReason.OTHER)
        if self._blocks.called and (
            finish is FinishReason.STOP or self._stop_reason is None
        ):
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
            raise wrong(f"an event of type {event.type!r} is no JSON") from None
        return self._handle(value)

    def _handle(self, value: Any) -> Iterable[StreamChunk]:
        if not isinstance(value, dict):
            raise wrong("an event is no object")
        match value.get("type"):
            case _ if self.finished:
                return ()
            case "content_block_delta":
                return self._after_preface(self._blocks.delta(value))
            case "content_block_start":
                return self._after_preface(self._blocks.start(value))
            case "content_block_stop":
                return self._after_preface(self._blocks.stop(value))
            case "message_start":
                self._message_start(object_in(value, "message"))
                return ()
            case "message_delta":
                return self._after_preface(self._message_delta(value))
            case "message_stop":
                self._complete = self.finished = True
                self._blocks.text_index = None  # nothing goes on
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

    def _message_start(self, message: dict[str, Any]) -> None:
        name = text_or_none(message.get("id"))
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
        self._id = name
        model = self._blocks.model = text_or_none(message.get("model"))
        usage = message.get("usage")
        self._usage = given(usage) if isinstance(usage, dict) else {}
        self._metadata = {k: v for k, v in given(message).items() if k not in _KNOWN}
        self._preface = (ResponseStart(id=self._id, model=model),)
        if self._usage:
            # Its output is a placeholder.
            self._preface += (UsageUpdate(count_tokens(self._usage, final=False)),)

    def _message_delta(self, event: dict[str, Any]) -> tuple[StreamChunk, ...]:
        delta = event.get("delta")
        if isinstance(delta, dict):
            reason = text_or_none(delta.get("stop_reason"))
            if reason is not None:
                self._stop_reason, self._complete = reason, True
            self._stop_sequence = (
                text_or_none(delta.get("stop_sequence")) or self._stop_sequence
            )
            self._metadata |= {k: v for k, v in given(delta).items() if k not in _KNOWN}
        more = {k: v for k, v in given(event).items() if k not in _KNOWN}
        more.pop("delta", None)
        self._metadata |= more
        usage = event.get("usage")
        if not isinstance(usage, dict):
            return ()
        # Cumulative, and with fields left out that have not changed.
        self._usage |= given(usage)
        final = "output_tokens" in usage
        return (UsageUpdate(count_tokens(self._usage, final=final)),)
