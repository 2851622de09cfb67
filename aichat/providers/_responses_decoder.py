"""
Events of the Responses API to chunks, from OpenAI and from those who imitate it.

An event says what it is in its ``type``; some servers leave out the name of the SSE event,
so that one is not looked at. There is one fast path, for one more piece of the text that
is being written; everything else goes by way of the items (`_responses_output`).

See: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field

from ..errors import AIChatError, ProtocolError, StreamInterruptedError
from ..transport import ServerSentEvent, provider_error
from ..types import (
    JSONError,
    ReasoningDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    UsageUpdate,
    loads,
)
from ._call_ids import new_call_id
from ._openai_chat_json import (
    gather,
    get_list,
    get_number,
    get_object,
    get_text,
    keep,
)
from ._responses_items import CallItem, MessageItem, ReasoningItem, Text
from ._responses_output import Output
from ._responses_usage import normal_finish, normal_usage

__all__ = ["ResponsesDecoder"]

#: The events that end an answer, and the status that each of them stands for.
_ENDS: Final = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
#: What a response may be before it has any output.
_WITHOUT_OUTPUT: Final = {"queued", "in_progress", "incomplete", "failed", "cancelled"}
#: Of a response: what is known elsewhere, or says again what was asked for.
_KNOWN: Final = frozenset(
    {"background", "completed_at", "created_at", "error", "frequency_penalty", "id"}
    | {"incomplete_details", "input", "instructions", "max_output_tokens", "metadata"}
    | {"max_tool_calls", "model", "object", "output", "output_text", "prompt", "user"}
    | {"parallel_tool_calls", "presence_penalty", "previous_response_id", "reasoning"}
    | {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "store"}
    | {"safety_identifier", "status", "temperature", "text", "tool_choice", "tools"}
    | {"top_logprobs", "top_p", "truncation", "usage", "max_completion_tokens"}
)
#: Of the last event.
_KNOWN_EVENT: Final = frozenset({"type", "response", "sequence_number", "obfuscation"})
_CHAT: Final = (
    "The server answers with Chat Completions where the Responses API was asked for. "
    "Use the provider 'openai-chat', or 'openai-compatible' for another server."
)


@define
class ResponsesDecoder:
    """Events of a Responses stream, or a whole response, to chunks."""

    #: Whose opaque state this is.
    provider: str = "openai"
    error_codes: Mapping[str, type[AIChatError]] = field(factory=dict, kw_only=True)
    #: Makes ids for tool calls that have none.
    make_id: Callable[[], str] = field(default=new_call_id, kw_only=True)
    #: How many parts an answer may have; beyond it, `ResponseTooLargeError`.
    max_parts: int = field(default=10_000, kw_only=True)

    #: The text that is being written; ``None`` while the next event has to be looked at
    #: closely. The next three say which events go on with it, and the last one what they
    #: make.
    _text: Text | None = field(default=None, init=False)
    _type: str = field(default="", init=False)
    _position: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _field: str = field(default="content_index", init=False)
    _more: Callable[[str, int], StreamChunk] = field(default=TextDelta, init=False)

    _output: Output = field(init=False)
    _started: bool = field(default=False, init=False)
    #: Why it ended, in the server's own word; ``None`` before the end.
    _end: str | None = field(default=None, init=False)
    #: The same: nothing follows, not even ``[DONE]`` from OpenAI.
    finished: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._output = Output(self.provider, self.make_id, self.max_parts)

    # -- the protocol ----------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether the response was completed, or said to be incomplete."""
        return self._end is not None

    def decode(self, event: ServerSentEvent, /) -> Iterable[StreamChunk]:
        """The chunks that *event* brings."""
        try:
            value = loads(event.raw)
        except JSONError:
            return self._no_json(event)
        return self._read(value, event.type)

    def run(
        self, events: Sequence[ServerSentEvent], at: int, chunks: list[StreamChunk], /
    ) -> int:
        """Append what *events* from *at* on say, as long as it is more of the same text."""
        text, begin = self._text, at
        if text is None:
            return 0
        kind, position, number = self._type, self._position, self._number
        field, make = self._field, self._more
        for event in events[at:]:
            try:
                value = loads(event.raw)
                more = value["delta"]
                if (
                    value["type"] != kind
                    or value["output_index"] != position
                    or value[field] != number
                    or more.__class__ is not str
                    or not more
                    or value.get("logprobs")
                ):
                    break
            except (AttributeError, LookupError, TypeError, ValueError):
                break
            text.fragments.append(more)
            chunks.append(make(more, text.place))
            at += 1
        return at - begin

    def document(self, value: Any, /) -> Iterable[StreamChunk]:
        """The chunks of a whole response."""
        if not isinstance(value, dict):
            raise ProtocolError(f"The answer is a {type(value).__name__}.")
        out: list[StreamChunk] = []
        status = get_text(value, "status")
        if not isinstance(value.get("output"), list):
            self._refuse(value)
            if status not in _WITHOUT_OUTPUT:
                raise ProtocolError("The answer has no output.")
        self._finish(value, status or "completed", out)
        return out

    def flush(self) -> Iterable[StreamChunk]:
        """The end, or `StreamInterruptedError` if it was not one."""
        if self._end is None:
            raise StreamInterruptedError(
                "The answer ended without the event that completes it."
            )
        output = self._output
        finish = normal_finish(self._end, called=output.called, refused=output.refused)
        return (ResponseEnd(finish, self._end, metadata=output.notes),)

    # -- events ----------------------------------------------------------------------

    def _no_json(self, event: ServerSentEvent) -> Iterable[StreamChunk]:
        data = event.raw.strip()
        if not data or data.startswith(b"[DONE]"):
            return ()  # it belongs to another dialect, and ends nothing here
        try:
            # Invalid UTF-8 is no JSON; with U+FFFD in its place it may be.
            value = loads(event.data)
        except JSONError as error:
            raise ProtocolError(
                f"An event of the stream is no JSON ({error}).",
                context={"bytes": len(event.raw)},
            ) from None
        return self._read(value, event.type)

    def _read(self, value: Any, name: str) -> Iterable[StreamChunk]:
        """Look closely at *value*; *name* is that of the event, if it has one."""
        self._text = None
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise ProtocolError(f"Where an object should be there is a {kind}.")
        if self._end is not None:
            return ()
        out: list[StreamChunk] = []
        kind = get_text(value, "type")
        if kind in _ENDS:
            self._finish(get_object(value, "response"), _ENDS[kind], out)
            for key in value.keys() - _KNOWN_EVENT:
                keep(self._output.notes, key, value[key])
        elif kind.startswith("response.") and kind != "response.error":
            self._read_output(kind, value, out)
        else:
            if "error" in (kind.removeprefix("response."), name):
                raise provider_error(value, codes=self.error_codes)
            self._refuse(value)
        if out and not self._started:
            self._started = True
            out.insert(0, ResponseStart())
        return out

    def _refuse(self, value: dict[str, Any]) -> None:
        """Raise for what says that it is something else."""
        if value.get("error"):
            raise provider_error(value, codes=self.error_codes)
        if isinstance(value.get("choices"), list):
            raise ProtocolError(_CHAT)
        if not value.get("type") and any(
            value.get(key) for key in ("detail", "errors", "message")
        ):
            raise provider_error(value, codes=self.error_codes)

    def _read_output(
        self, kind: str, value: dict[str, Any], out: list[StreamChunk]
    ) -> None:
        position = _whole(value.get("output_index"))
        output = self._output
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                self._write(kind, position, value, out)
            case "response.reasoning_summary_text.delta":
                self._think("summary", position, value, out)
            case "response.reasoning_text.delta":
                self._think("content", position, value, out)
            case (
                "response.function_call_arguments.delta"
                | "response.custom_tool_call_input.delta"
            ):
                if more := get_text(value, "delta"):
                    self._call(kind, position, out).add(more, out)
            case "response.output_item.added":
                if item := get_object(value, "item"):
                    output.added(position, item, out)
            case "response.output_item.done":
                if item := get_object(value, "item"):
                    output.done(position, item, out)
            case "response.created" | "response.in_progress" | "response.queued":
                self._start(get_object(value, "response"), out)
            case "response.output_text.annotation.added":
                message = output.find(position, "message", MessageItem, out)
                number = _whole(value.get("content_index")) or 0
                message.cite(number, value.get("annotation"), out)
            case _:
                self._take_whole(kind, position, value, out)

    def _take_whole(
        self,
        kind: str,
        position: int | None,
        value: dict[str, Any],
        out: list[StreamChunk],
    ) -> None:
        """Take the last word on a text, of which there may be more than was said."""
        output, number = self._output, _whole(value.get("content_index")) or 0
        section = _whole(value.get("summary_index")) or 0
        match kind:
            case "response.output_text.done":
                part = {**value, "type": "output_text"}
                message = output.find(position, "message", MessageItem, out)
                message.part_done(number, part, out)
            case "response.refusal.done":
                part = {**value, "type": "refusal"}
                message = output.find(position, "message", MessageItem, out)
                message.part_done(number, part, out)
            case "response.content_part.done":
                part = get_object(value, "part")
                if part.get("type") == "reasoning_text":
                    thought = output.find(position, "reasoning", ReasoningItem, out)
                    thought.part_done("content", number, part, out)
                elif part:
                    message = output.find(position, "message", MessageItem, out)
                    message.part_done(number, part, out)
            case "response.reasoning_text.done":
                thought = output.find(position, "reasoning", ReasoningItem, out)
                thought.part_done("content", number, value, out)
            case "response.reasoning_summary_text.done":
                thought = output.find(position, "reasoning", ReasoningItem, out)
                thought.part_done("summary", section, value, out)
            case "response.reasoning_summary_part.done":
                thought = output.find(position, "reasoning", ReasoningItem, out)
                thought.part_done("summary", section, get_object(value, "part"), out)
            case (
                "response.function_call_arguments.done"
                | "response.custom_tool_call_input.done"
            ):
                call = self._call(kind, position, out)
                call.learn({"name": value.get("name")}, out)
                call.complete(
                    get_text(value, "arguments") or get_text(value, "input"), out
                )
            case _:
                pass  # progress of the provider's own tools, whatever they invent next

    def _write(
        self,
        kind: str,
        position: int | None,
        value: dict[str, Any],
        out: list[StreamChunk],
    ) -> None:
        number = _whole(value.get("content_index")) or 0
        logprobs, more = get_list(value, "logprobs"), get_text(value, "delta")
        if not (more or logprobs):
            return
        message = self._output.find(position, "message", MessageItem, out)
        if kind == "response.refusal.delta":
            message.text("refusal", number, out).add(more, out)
            return
        text = message.text("output_text", number, out)
        if more:
            text.add(more, out)
        if logprobs:
            text.logprobs = True
            gather(self._output.notes, "logprobs", logprobs)
        self._expect(text, kind, position, number, "content_index", TextDelta)

    def _think(
        self,
        shown: Any,
        position: int | None,
        value: dict[str, Any],
        out: list[StreamChunk],
    ) -> None:
        name = "summary_index" if shown == "summary" else "content_index"
        number, more = _whole(value.get(name)) or 0, get_text(value, "delta")
        if not more:
            return
        thought = self._output.find(position, "reasoning", ReasoningItem, out)
        text = thought.text(shown, number, out)
        if text is not None:
            text.add(more, out)
            kind = value["type"]
            self._expect(text, kind, position, number, name, ReasoningDelta)

    def _expect(
        self,
        text: Text,
        kind: str,
        position: int | None,
        number: int,
        name: str,
        more: Callable[[str, int], StreamChunk],
    ) -> None:
        """Take the fast path for events like this one that go on with the same text."""
        if position is not None:
            self._text, self._type, self._position = text, kind, position
            self._number, self._field, self._more = number, name, more

    def _call(
        self, kind: str, position: int | None, out: list[StreamChunk]
    ) -> CallItem:
        custom = kind.startswith("response.custom")
        item = "custom_tool_call" if custom else "function_call"
        return self._output.find(position, item, CallItem, out)

    # -- the response ----------------------------------------------------------------

    def _start(self, response: dict[str, Any], out: list[StreamChunk]) -> None:
        name, model = get_text(response, "id"), get_text(response, "model")
        if self._started or not (name or model):
            return
        self._started = True
        out.append(
            ResponseStart(
                name or None,
                model or None,
                created_at=get_number(response, "created_at") or None,
            )
        )

    def _finish(
        self, response: dict[str, Any], end: str, out: list[StreamChunk]
    ) -> None:
        if end == "completed" and response.get("status") in _ENDS.values():
            # What was cancelled in the background is completed, as events go.
            end = response["status"]
        if end == "failed" or (end != "completed" and response.get("error")):
            error = response.get("error") or {
                "message": "The response failed, without saying why."
            }
            raise provider_error({"error": error}, codes=self.error_codes)
        self._start(response, out)
        self._output.end(get_list(response, "output"), out)
        usage = response.get("usage")
        if isinstance(usage, dict) and usage:
            out.append(UsageUpdate(normal_usage(usage)))
        for key in response.keys() - _KNOWN:
            keep(self._output.notes, key, response[key])
        if end == "incomplete":
            reason = get_text(get_object(response, "incomplete_details"), "reason")
            end = reason or end
        self._end = end
        self.finished = True


def _whole(value: Any) -> int | None:
    """*value*, if it is a whole number."""
    return value if type(value) is int else None
