"""
Chunks of Chat Completions to ours, from OpenAI and from everybody who imitates it.

There is one fast path, for the event that comes once per token and is like the one before but
for its text, and one thorough path for everything else; a whole JSON answer takes the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from ..types._codec import loads_as_known
from ._call_ids import new_call_id
from ._openai_chat_json import (
    gather,
    get_list,
    get_number,
    get_object,
    get_text,
    keep,
)
from ._openai_chat_reader import REASONING_FIELDS, MessageReader
from ._openai_chat_usage import merge_usage, normal_finish, normal_usage
from ._think_tags import ThinkTags

__all__ = ["ChatCompletionsDecoder"]

# Of a chunk: read below, or padding.
_KNOWN: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error"}
    | {"obfuscation", "p"}
)
# Of a chunk: may change with every one, and means nothing after the first.
_NOISE: Final = ("id", "created", "obfuscation", "p")
# Of a choice: read below.
_KNOWN_CHOICE: Final = frozenset(
    {"index", "delta", "message", "finish_reason", "logprobs", "usage", "error"}
    | {"content_filter_results", "content_filter_offsets", "text", "stop_reason"}
)


@define
class ChatCompletionsDecoder:
    """Events of a Chat Completions stream, or a whole answer, to chunks."""

    #: Whose opaque state this is.
    provider: str = "openai-chat"
    #: Whether to look for ``<think>`` at the start of the text.
    think_tags: bool = field(default=False, kw_only=True)
    error_codes: Mapping[str, type[AIChatError]] = field(factory=dict, kw_only=True)
    #: Makes ids for tool calls that have none.
    make_id: Callable[[], str] = field(default=new_call_id, kw_only=True)
    #: How many parts an answer may have; beyond it, `ResponseTooLargeError`.
    max_parts: int = field(default=10_000, kw_only=True)

    #: The last chunk that brought just more of the part at `_place`, without its text: one
    #: that is equal to it brings just more as well. ``None`` while there is no such part.
    _like: dict[str, Any] | None = field(default=None, init=False)
    #: Its keys that are known to change, and are not in it.
    _noise: tuple[str, ...] = field(default=(), init=False)
    #: Where the text is in the delta.
    _field: str = field(default="content", init=False)
    #: What `_field` makes.
    _more: Callable[[str, int], StreamChunk] = field(default=TextDelta, init=False)
    #: Where the part is that goes on.
    _place: int = field(default=0, init=False)

    _message: MessageReader = field(init=False)
    _started: bool = field(default=False, init=False)
    _id: str | None = field(default=None, init=False)
    _model: str | None = field(default=None, init=False)
    _created: float | None = field(default=None, init=False)

    _usage: dict[str, Any] = field(factory=dict, init=False)
    _finish: str | None = field(default=None, init=False)
    _stop_sequence: str | None = field(default=None, init=False)
    #: Whether ``[DONE]`` was seen. Usage and more may follow a finish reason.
    finished: bool = field(default=False, init=False)
    #: Whether it was a JSON document, which needs no other end than its own.
    _whole: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        think = ThinkTags() if self.think_tags else None
        self._message = MessageReader(
            self.provider, self.make_id, think, self.max_parts
        )

    # -- the protocol ----------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether there was a finish reason, or ``[DONE]`` after something was said."""
        if self._finish or self._whole:
            return True
        return self.finished and not (self._message.empty and self._finish is None)

    def decode(self, event: ServerSentEvent, /) -> Iterable[StreamChunk]:
        """The chunks that *event* brings."""
        try:
            value = loads(event.raw)
        except JSONError:
            return self._no_json(event)
        return self._read(value, is_error=event.type == "error")

    def run(
        self, events: Sequence[ServerSentEvent], at: int, chunks: list[StreamChunk], /
    ) -> int:
        """Append what *events* from *at* on say, as long as they are like the one before."""
        like, begin = self._like, at
        if like is None:
            return 0
        field, noise, more, place = self._field, self._noise, self._more, self._place
        for event in events[at:]:
            try:
                value = loads_as_known(event.raw)
                (choice,) = value["choices"]
                text = choice["delta"].pop(field)
            except (AttributeError, LookupError, TypeError, ValueError):
                break
            for key in noise:
                value.pop(key, None)
            if value != like or not text or text.__class__ is not str:
                break
            chunks.append(more(text, place))
            at += 1
        return at - begin

    def document(self, value: Any, /) -> Iterable[StreamChunk]:
        """The chunks of an answer that came as one JSON document."""
        return self._read(value, whole=True)

    def flush(self) -> Iterable[StreamChunk]:
        """The end, or `StreamInterruptedError` if it was not one."""
        if not self.complete:
            end = "with [DONE] and nothing else" if self.finished else "without one"
            raise StreamInterruptedError(
                f"The answer needs a finish reason to be whole, and ended {end}."
            )
        out: list[StreamChunk] = []
        message = self._message
        message.flush(out)
        finish = normal_finish(
            self._finish, calls=bool(message.calls), refused=message.refused
        )
        out.append(
            ResponseEnd(
                finish,
                self._finish or None,
                self._stop_sequence,
                provider_state=message.state,
                metadata=message.notes,
            )
        )
        return self._introduce(out)

    # -- events ----------------------------------------------------------------------

    def _no_json(self, event: ServerSentEvent) -> Iterable[StreamChunk]:
        data = event.raw.strip()
        if data.startswith(b"[DONE]"):
            self.finished = True
            return ()
        if not data:
            return ()
        try:
            # Invalid UTF-8 is no JSON; with U+FFFD in its place it may be.
            value = loads(event.data)
        except JSONError as error:
            raise ProtocolError(
                f"An event of the stream is no JSON ({error}).",
                context={"bytes": len(event.raw)},
            ) from None
        return self._read(value, is_error=event.type == "error")

    def _read(
        self, value: Any, *, whole: bool = False, is_error: bool = False
    ) -> Iterable[StreamChunk]:
        """Look closely at *value*."""
        before, self._like = self._like, None
        if isinstance(value, list) and value and isinstance(value[0], dict):
            # Gemini wraps its errors in a list.
            value = value[0]
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise ProtocolError(f"Where an object should be there is a {kind}.")

        choice = _first_choice(value)
        self._read_head(value, spoken=choice is not None)
        out: list[StreamChunk] = []
        if choice is not None:
            self._whole = whole
            self._read_choice(choice, out, whole=whole)
        self._read_usage(value, choice or {}, out)

        if choice is not None and self._message.think is None:
            self._expect_more(value, choice, before or {})
        error = value.get("error") or (choice or {}).get("error")
        if error or is_error or (choice is None and _looks_like_error(value)):
            # OpenRouter's last chunk has both, the last words and the error.
            payload = {**value, "error": error} if error else {**value}
            payload.pop("choices", None)
            return self._break(self._introduce(out) if out else out, payload)
        if whole and choice is None:
            raise ProtocolError("The answer has no choices.")
        return self._introduce(out)

    def _expect_more(
        self, value: dict[str, Any], choice: dict[str, Any], before: dict[str, Any]
    ) -> None:
        """Take the fast path for chunks like this one, if it just goes on with its part."""
        message = self._message
        reasoning = message.reasoning_field
        if message.form == "text":
            field, self._more = "content", TextDelta
            idle = reasoning or REASONING_FIELDS[0]
        elif message.form == "reasoning" and reasoning:
            field, self._more = reasoning, ReasoningDelta
            idle = "content"
        else:
            return
        self._field = field
        self._place = message.place
        delta = get_object(choice, "delta")
        text = delta.get(field)
        plain = (
            isinstance(text, str)
            and len(value["choices"]) == 1
            and all(key == field or key == "role" or not delta[key] for key in delta)
            and delta.keys() <= {field, "role", idle}
            and value.get("usage") is None
            and value.get("error") is None
            and choice.get("error") is None
            and choice.get("usage") is None
            and choice.get("finish_reason") is None
            and choice.get("logprobs") is None
        )
        if not plain:
            return
        self._noise = tuple(
            key
            for key in _NOISE
            if key in self._noise or (before and before.get(key) != value.get(key))
        )
        like = {key: value[key] for key in value if key not in self._noise}
        kept = {key: delta[key] for key in delta if key != field}
        self._like = {**like, "choices": [{**choice, "delta": kept}]}

    def _break(
        self, chunks: list[StreamChunk], payload: dict[str, Any]
    ) -> Iterable[StreamChunk]:
        error = provider_error(payload, codes=self.error_codes)
        if not chunks:
            raise error
        return _then_raise(chunks, error)

    def _introduce(self, chunks: list[StreamChunk]) -> list[StreamChunk]:
        """Begin with a `ResponseStart`, as soon as there is a reason to."""
        if not self._started and (chunks or (self._id and self._model)):
            self._started = True
            start = ResponseStart(
                self._id, self._model, created_at=self._created or None
            )
            return [start, *chunks]
        return chunks

    def _read_head(self, value: dict[str, Any], *, spoken: bool) -> None:
        # Azure's first chunk, and many a last one, has these empty or zero.
        if not self._started:
            self._id = self._id or get_text(value, "id") or None
            self._model = self._model or get_text(value, "model") or None
            if spoken:
                self._created = self._created or get_number(value, "created")
        for key in value.keys() - _KNOWN:
            keep(self._message.notes, key, value[key])

    def _read_usage(
        self, value: dict[str, Any], choice: dict[str, Any], out: list[StreamChunk]
    ) -> None:
        """Groq says it in a place of its own, Moonshot used to in the choice."""
        x_groq = value.get("x_groq")
        groq = x_groq.get("usage") if isinstance(x_groq, dict) else None
        snapshots = [groq, choice.get("usage"), value.get("usage")]
        if any(isinstance(snapshot, dict) for snapshot in snapshots):
            self._usage = merge_usage(self._usage, *snapshots)
            out.append(UsageUpdate(normal_usage(self._usage)))

    def _read_choice(
        self, choice: dict[str, Any], out: list[StreamChunk], *, whole: bool
    ) -> None:
        delta, message = get_object(choice, "delta"), get_object(choice, "message")
        if whole or (not delta and "delta" not in choice and self._message.empty):
            # Perplexity has an empty delta beside the message of a whole answer, and a
            # message with everything so far beside the delta of a stream.
            delta = message or delta
        if delta:
            self._message.read(delta, out, whole=whole)
        reason = choice.get("finish_reason")
        if reason is not None and (reason or self._finish is None):
            # The last one counts; "" is none, and yet more than null.
            self._finish = str(reason)
        met = choice.get("stop_reason")
        if isinstance(met, str):
            self._stop_sequence = met  # vLLM
        for key in choice.keys() & {"content_filter_results", "content_filter_offsets"}:
            keep(self._message.notes, key, choice[key])
        if choice.get("logprobs"):
            gather(self._message.notes, "logprobs", choice["logprobs"])
        if reason:
            for key in choice.keys() - _KNOWN_CHOICE:
                keep(self._message.notes, key, choice[key])


def _then_raise(
    chunks: Iterable[StreamChunk], error: Exception
) -> Iterator[StreamChunk]:
    yield from chunks
    raise error


def _first_choice(value: dict[str, Any]) -> dict[str, Any] | None:
    """Choice 0: a stream is one answer."""
    for choice in get_list(value, "choices"):
        if not isinstance(choice, dict):
            raise ProtocolError(f"A choice is a {type(choice).__name__}.")
        if not choice.get("index"):
            return choice
    return None


def _looks_like_error(value: dict[str, Any]) -> bool:
    """An error that does not say so: vLLM's older ones, FastAPI's, gateways'."""
    if "choices" in value and value["choices"] is not None:
        return False
    said = value.get("object") == "error" or value.get("type") == "error"
    return said or any(value.get(key) for key in ("detail", "errors", "message"))
