"""
Chunks of ``streamGenerateContent`` to our own.

Each chunk is a whole response that holds the parts that are new. Text is cut anywhere, all
else comes whole. A part with a signature stays a part of its own, however short: it has to
go back as it came.

See: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, field

from ..errors import (
    AIChatError,
    AuthenticationError,
    ProtocolError,
    QuotaExceededError,
    StreamInterruptedError,
)
from ..transport import ServerSentEvent, provider_error
from ..types import (
    AudioPart,
    DocumentPart,
    FinishReason,
    ImagePart,
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
    UsageUpdate,
    Whole,
    dumps,
    loads,
    loads_exact,
)
from ._call_ids import new_call_id
from ._google_citations import citations
from ._google_partial_args import PartialArguments
from ._google_usage import usage_of

__all__ = ["ERROR_CODES", "PROVIDER", "GenerateContentDecoder"]

#: Whose `ProviderState` ours is, if nobody says otherwise.
PROVIDER: Final = "google"

_FINISH: Final[Mapping[str, FinishReason]] = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    # Of a long answer only so much comes at once; the token in the metadata goes on.
    "CONTINUATION": FinishReason.LENGTH,
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MODEL_ARMOR",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        FinishReason.CONTENT_FILTER,
    ),
    **dict.fromkeys(
        (
            "MALFORMED_FUNCTION_CALL",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MALFORMED_RESPONSE",
            "MISSING_THOUGHT_SIGNATURE",
        ),
        FinishReason.ERROR,
    ),
}
#: Words that say that there is nothing to say.
_UNSPECIFIED: Final = {"FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED", ""}
#: Reasons in the details of an error that say more than its status.
ERROR_CODES: Final[Mapping[str, type[AIChatError]]] = {
    "api_key_expired": AuthenticationError,
    "access_token_type_unsupported": AuthenticationError,
    "credentials_missing": AuthenticationError,
    "billing_disabled": QuotaExceededError,
}
#: What is known about a chunk elsewhere; all else goes into the metadata.
_KNOWN: Final = {
    "candidates",
    "createTime",
    "modelVersion",
    "promptFeedback",
    "responseId",
    "usageMetadata",
}
#: What is known about a candidate elsewhere.
_KNOWN_OF_CANDIDATE: Final = {"content", "finishReason", "index"}
#: What stands beside the data of a part, and is not it.
_MODIFIERS: Final = {
    "thought",
    "thoughtSignature",
    "partMetadata",
    "videoMetadata",
    "mediaResolution",
}
#: orjson makes a float of a whole number that does not fit into 64 bits.
_LONG_NUMBER: Final = re.compile(rb"\d{19}")


@define
class _Call:
    """A function call whose arguments come in pieces."""

    part: int
    state: dict[str, Any]
    arguments: PartialArguments = field(factory=PartialArguments)


@define
class GenerateContentDecoder:
    """
    Turns Gemini's chunks into ours. There is no last event: the answer ends with the body.

    *provider* owns the states that are to go back: Vertex AI does not take what the Gemini
    API has signed.
    """

    #: Never: text, usage and sources may follow the first reason for the end.
    finished: bool = field(default=False, init=False)

    _provider: str = field(default=PROVIDER, kw_only=True, alias="provider")
    _new_id: Callable[[], str] = field(default=new_call_id, kw_only=True)

    _begun: bool = field(default=False, init=False)
    _model: str | None = field(default=None, init=False)
    _parts: int = field(default=0, init=False)
    #: The text and the thought that go on, by their part; -1 if none does.
    _text_part: int = field(default=-1, init=False)
    _thought_part: int = field(default=-1, init=False)
    #: All text, for the citations, which count its bytes.
    _texts: dict[int, list[str]] = field(factory=dict, init=False)
    #: What goes back with a text. It waits, since citations come before the end of a part.
    _states: dict[int, ProviderState] = field(factory=dict, init=False)
    _call: _Call | None = field(default=None, init=False)
    _call_ids: set[str] = field(factory=set, init=False)
    _usage: dict[str, Any] = field(factory=dict, init=False)
    _counted: bool = field(default=False, init=False)
    _finish_reason: str | None = field(default=None, init=False)
    _block_reason: str | None = field(default=None, init=False)
    _metadata: dict[str, Any] = field(factory=dict, init=False)

    @property
    def complete(self) -> bool:
        """Whether the reason for the end, or for blocking the prompt, is known."""
        return self._finish_reason is not None or self._block_reason is not None

    def decode(self, event: ServerSentEvent, /) -> Iterable[StreamChunk]:
        """Everything that *event* says."""
        raw = event.raw
        try:
            value = loads(raw)
        except JSONError:
            return self._decode_odd(event)
        if _LONG_NUMBER.search(raw):
            value = loads_exact(raw)
        return self.document(value)

    def run(
        self, events: Sequence[ServerSentEvent], at: int, chunks: list[StreamChunk], /
    ) -> int:
        """Append what *events* from *at* on say, as long as it is more of the same text."""
        part, begin = self._text_part, at
        if part < 0:
            return 0
        say = self._texts[part].append
        for event in events[at:]:
            try:
                value = loads(event.raw)
                (candidate,) = value["candidates"]
                (new,) = candidate["content"]["parts"]
                text = new["text"]
                if (
                    text.__class__ is not str
                    or not text
                    or len(new) != 1
                    or not (
                        len(candidate) == 1
                        or (len(candidate) == 2 and candidate.get("index") == 0)
                    )
                    or "error" in value
                    or "promptFeedback" in value
                ):
                    break
            except (AttributeError, LookupError, TypeError, ValueError):
                break
            usage = value.get("usageMetadata")
            if usage.__class__ is dict:
                self._usage.update(usage)
            say(text)
            chunks.append(TextDelta(text, part))
            at += 1
        return at - begin

    def document(self, value: Any, /) -> Iterator[StreamChunk]:
        """
        The chunks of one response, or of a list of them.

        Without ``alt=sse`` a stream comes as a list. So do errors, at times.
        """
        for item in value if isinstance(value, list) else (value,):
            if not isinstance(item, dict):
                raise _wrong("a chunk is no object")
            yield from self._chunk(item)

    def flush(self) -> Iterator[StreamChunk]:
        """The end of the answer, if it has one."""
        if not self.complete:
            raise StreamInterruptedError(
                "The stream ended without a finishReason or blockReason."
            )
        raw = self._finish_reason or self._block_reason
        finish = _FINISH.get(self._finish_reason or "", FinishReason.OTHER)
        if self._finish_reason is None:
            finish = FinishReason.CONTENT_FILTER
        yield from self._end_call(whole=finish is FinishReason.STOP)
        if finish is FinishReason.STOP and self._call_ids:
            finish = FinishReason.TOOL_CALLS
        yield from citations(
            {part: "".join(said) for part, said in self._texts.items()},
            self._metadata,
            provider=self._provider,
            model=self._model,
        )
        for part, state in self._states.items():
            yield PartEnd(part, state)
        if self._usage:
            yield UsageUpdate(usage_of(self._usage, final=True))
        yield ResponseEnd(finish, raw, metadata=self._metadata)

    def _decode_odd(self, event: ServerSentEvent) -> Iterable[StreamChunk]:
        """Read what is no JSON in UTF-8."""
        if event.raw.strip() in (b"", b"[DONE]"):
            return ()  # another dialect's end, sent by a gateway that speaks several
        try:
            value = loads(event.data)
        except JSONError:
            raise _wrong("an event is no JSON") from None
        return self.document(value)

    # -- a chunk ---------------------------------------------------------------------

    def _chunk(self, value: dict[str, Any]) -> Iterator[StreamChunk]:
        if value.get("error"):
            raise provider_error(value, codes=ERROR_CODES)
        self._model = _text(value.get("modelVersion")) or self._model
        if not self._begun:
            self._begun = True
            yield ResponseStart(
                id=_text(value.get("responseId")),
                model=self._model,
                created_at=_seconds(value.get("createTime")),
            )
        self._metadata |= _without(value, _KNOWN)
        self._feedback(value.get("promptFeedback"))
        yield from self._count(value.get("usageMetadata"))
        for candidate in _list(value.get("candidates"), "candidates"):
            if not isinstance(candidate, dict):
                raise _wrong("a candidate is no object")
            # We never ask for more than one, but provider_options may.
            if not candidate.get("index"):
                yield from self._candidate(candidate)

    def _feedback(self, feedback: Any) -> None:
        if isinstance(feedback, dict) and feedback:
            self._metadata["promptFeedback"] = feedback
            self._block_reason = _reason(feedback, "blockReason") or self._block_reason

    def _count(self, usage: Any) -> Iterator[StreamChunk]:
        """
        Remember the latest snapshot, and tell of the first: it holds what the prompt cost.

        A field may be missing from a later one, and is then what it was.
        """
        if not isinstance(usage, dict):
            return
        self._usage.update(usage)
        if not self._counted and "promptTokenCount" in usage:
            self._counted = True
            yield UsageUpdate(usage_of(usage, final=False))

    def _candidate(self, candidate: dict[str, Any]) -> Iterator[StreamChunk]:
        content = candidate.get("content")
        if content is not None and not isinstance(content, dict):
            raise _wrong("the content is no object")
        for part in _list((content or {}).get("parts"), "parts"):
            if not isinstance(part, dict):
                raise _wrong("a part is no object")
            yield from self._part(part)
        for name, fact in _without(candidate, _KNOWN_OF_CANDIDATE).items():
            self._metadata[name] = _merged(self._metadata.get(name), fact)
        # A later chunk may bring another one, and text after it.
        self._finish_reason = _reason(candidate, "finishReason") or self._finish_reason

    # -- a part ----------------------------------------------------------------------

    def _part(self, part: dict[str, Any]) -> Iterator[StreamChunk]:
        # An empty text may be left out, and its signature comes alone.
        kinds = [name for name in part if name not in _MODIFIERS] or ["text"]
        thought = part.get("thought") is True
        state = {n: part[n] for n in _MODIFIERS if n in part and n != "thought"}
        for kind in kinds:  # one, by all rules
            match kind:
                case "text":
                    yield from self._say(part.get("text"), thought, state)
                case "functionCall":
                    yield from self._function_call(part[kind], state)
                case "inlineData" if not thought:
                    yield from self._media(part, state)
                case _:
                    # What the provider's own tools did, and whatever they invent next.
                    opaque = OpaquePart(kind, self._state(part))
                    yield PartAdded(opaque, self._next())
            state = {}

    def _say(
        self, text: Any, thought: bool, state: dict[str, Any]
    ) -> Iterator[StreamChunk]:
        if text is None:
            text = ""
        if not isinstance(text, str):
            raise _wrong("a text is no text")
        if not text and not state:
            return
        part = self._thought_part if thought else self._text_part
        if part < 0 or state:
            part = self._next()
            if not state:
                self._thought_part = part if thought else -1
                self._text_part = -1 if thought else part
        if thought:
            yield ReasoningDelta(text, part)
            if state:
                yield PartEnd(part, self._state(state))
            return
        yield TextDelta(text, part)
        self._texts.setdefault(part, []).append(text)
        if state:
            self._states[part] = self._state(state)

    def _function_call(self, call: Any, state: dict[str, Any]) -> Iterator[StreamChunk]:
        if not isinstance(call, dict):
            raise _wrong("a functionCall is no object")
        name, goes_on = call.get("name"), bool(call.get("willContinue"))
        args, pieces = call.get("args"), call.get("partialArgs")
        if name:
            if not isinstance(name, str):
                raise _wrong("the name of a functionCall is no text")
            yield from self._end_call()
            part, given = self._next(), _text(call.get("id"))
            state |= {"id": given} if given else {}
            call_id = self._call_id(given)
            if not goes_on and pieces is None:
                text = "{}" if args is None else dumps(args).decode()
                yield ToolCallDelta(part, call_id, name, text)
                if state:
                    yield PartEnd(part, self._state(state))
                return
            yield ToolCallDelta(part, call_id, name)
            self._call = _Call(part, state)
        elif self._call is None:
            if args or pieces:
                raise _wrong("a functionCall has no name")
            return  # the end of one that has ended already
        else:
            self._call.state |= state
        arguments = self._call.arguments
        if isinstance(args, dict):
            arguments.merge(args)
        for piece in _list(pieces, "partialArgs"):
            arguments.add(piece)
        if not goes_on:
            yield from self._end_call()

    def _end_call(self, *, whole: bool = True) -> Iterator[StreamChunk]:
        """End a call that came in pieces, if there is one."""
        call, self._call = self._call, None
        if call is not None:
            text = call.arguments.text(whole=whole)
            yield ToolCallDelta(call.part, arguments=text)
            if call.state:
                yield PartEnd(call.part, self._state(call.state))

    def _call_id(self, given: str | None) -> str:
        call_id = given
        while not call_id or call_id in self._call_ids:
            call_id = self._new_id()
        self._call_ids.add(call_id)
        return call_id

    def _media(
        self, part: dict[str, Any], state: dict[str, Any]
    ) -> Iterator[StreamChunk]:
        kind, data = _inline(part["inlineData"])
        kept = self._state(state) if state else None
        whole: Whole
        match kind.partition("/"):
            case ("image", _, _):
                whole = ImagePart(data=data, media_type=kind, provider_state=kept)
            case ("audio", _, _):
                whole = AudioPart(data=data, media_type=kind, provider_state=kept)
            case (_, _, "pdf"):
                whole = DocumentPart(data=data, media_type=kind, provider_state=kept)
            case _:
                whole = OpaquePart("inlineData", self._state(part))
        yield PartAdded(whole, self._next())

    def _next(self) -> int:
        """The number of a new part: no text goes on across it."""
        self._text_part = self._thought_part = -1
        self._parts += 1
        return self._parts - 1

    def _state(self, payload: dict[str, Any]) -> ProviderState:
        return ProviderState(self._provider, payload, self._model)


def _inline(value: Any) -> tuple[str, bytes]:
    match value:
        case {"mimeType": str(kind), "data": str(data)}:
            try:
                # It has been seen in both alphabets.
                return kind, base64.b64decode(data.translate(_STANDARD), validate=True)
            except (binascii.Error, ValueError):
                raise _wrong("inlineData is no base64") from None
        case _:
            raise _wrong("inlineData has no mimeType or no data")


_STANDARD: Final = str.maketrans("-_", "+/")


def _merged(before: Any, new: Any) -> Any:
    """A fact that comes again replaces the one before, but lists in it go on."""
    if not isinstance(before, dict) or not isinstance(new, dict):
        return new
    lists = ("topCandidates", "chosenCandidates")  # logprobs, token by token
    more = {
        n: [*before[n], *new[n]]
        for n in lists
        if isinstance(before.get(n), list) and isinstance(new.get(n), list)
    }
    return {**before, **new, **more}


def _without(value: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return {n: fact for n, fact in value.items() if n not in known and fact is not None}


def _reason(holder: Mapping[str, Any], name: str) -> str | None:
    reason = holder.get(name)
    return reason if isinstance(reason, str) and reason not in _UNSPECIFIED else None


def _seconds(value: Any) -> float | None:
    try:
        when = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(f"{name} is no list")
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(f"Not the Gemini API: {what}.")
