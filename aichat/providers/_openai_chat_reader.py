"""
What a delta, or a whole message, adds to the parts of the answer.

Parts are numbered as they appear. Another kind of part ends the one that is being
written; a tool call keeps its number, since its fragments may come in between.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final, Literal

from attrs import define, field

from ..errors import ProtocolError, ResponseTooLargeError
from ..types import (
    AudioPart,
    Citation,
    CitationDelta,
    ImagePart,
    OpaquePart,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    RefusalDelta,
    StreamChunk,
    TextDelta,
    Whole,
)
from ._openai_chat_calls import ToolCallTable
from ._openai_chat_details import ReasoningDetails
from ._openai_chat_json import gather, get_list, get_object, get_text, get_whole
from ._think_tags import ThinkTags

__all__ = ["REASONING_FIELDS", "MessageReader"]

#: In the order in which they are looked up; several may hold the same text.
REASONING_FIELDS: Final = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "think",
    "chain_of_thought",
)
# Of a delta: read below. Padding and single words, such as a channel, are not kept.
_KNOWN: Final = frozenset(
    {"role", "content", "refusal", "tool_calls", "function_call", "audio", "images"}
    | {"annotations", "reasoning_details", *REASONING_FIELDS}
)

# Most deltas have nothing else.
_PLAIN: Final = frozenset({"role", "content"})

_Form = Literal["text", "reasoning", "refusal"]


@define
class MessageReader:
    """Turns deltas into chunks, and remembers what has to wait for the end."""

    #: Whose opaque state this is.
    _provider: str
    _make_id: Callable[[], str]
    #: Takes the tags off the start of the text; ``None`` once that is done.
    think: ThinkTags | None
    _max_parts: int

    #: What kind of part is being written, and where; ``None`` after a whole one.
    form: _Form | None = field(default=None, init=False)
    place: int = field(default=0, init=False)
    #: How many parts there are.
    parts: int = field(default=0, init=False)
    refused: bool = field(default=False, init=False)
    #: Where the latest reasoning stood in its delta; ``None``: in the details only.
    reasoning_field: str | None = field(default=None, init=False)
    #: What has no place in the message.
    notes: dict[str, Any] = field(factory=dict, init=False)
    #: Where citations go: the latest text part.
    _text_place: int | None = field(default=None, init=False)
    calls: ToolCallTable = field(init=False)
    _details: ReasoningDetails = field(factory=ReasoningDetails, init=False)
    _audio: dict[str, Any] = field(factory=dict, init=False)
    #: In base64.
    _audio_data: list[str] = field(factory=list, init=False)
    _states: dict[int, dict[str, Any]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.calls = ToolCallTable(self._take_place, self._make_id)

    def read(
        self, delta: dict[str, Any], out: list[StreamChunk], *, whole: bool
    ) -> None:
        """Append to *out* what *delta* brings; *whole* if it is a whole message."""
        if delta.keys() <= _PLAIN:
            self._read_content(delta.get("content"), out)
            return
        self._read_reasoning(delta, out)
        self._read_content(delta.get("content"), out)
        if refusal := get_text(delta, "refusal"):
            self.refused = True
            out.append(RefusalDelta(refusal, self._at("refusal")))
        for annotation in get_list(delta, "annotations"):
            self._annotate(annotation, out)
        for fragment in get_list(delta, "tool_calls"):
            out += self.calls.add(fragment, whole=whole)
        legacy = delta.get("function_call")
        if isinstance(legacy, dict) and any(legacy.values()):
            out += self.calls.add({"index": 0, "function": legacy})
        if audio := get_object(delta, "audio"):
            self._hear(audio)
        for image in get_list(delta, "images"):
            self._see(image, out)
        for key in delta.keys() - _KNOWN:
            if isinstance(delta[key], (dict, list)):
                gather(self.notes, key, delta[key])

    def flush(self, out: list[StreamChunk]) -> None:
        """Append to *out* what waited for the end of the answer."""
        if self.think is not None:
            self._write_split(self.think.flush(), out)
        out += self.calls.flush()
        self._end_audio(out)
        self._end_citations(out)
        for place, extra in self.calls.extras():
            self._states[place] = {"extra_content": extra}
        out += (
            PartEnd(place, ProviderState(self._provider, payload))
            for place, payload in self._states.items()
        )

    @property
    def empty(self) -> bool:
        """Whether nothing was said so far."""
        return not (self.parts or self._audio or self._audio_data)

    @property
    def state(self) -> ProviderState | None:
        """What goes back with the whole message."""
        details = self._details.all()
        if not details:
            return None
        return ProviderState(self._provider, {"reasoning_details": details})

    def _take_place(self) -> int:
        """The place of a new part; what was being written is over."""
        if self.parts >= self._max_parts:
            raise ResponseTooLargeError(
                f"The answer has more than {self._max_parts} parts (max_parts).",
                context={"limit": "max_parts", "parts": self._max_parts},
            )
        self.form = None
        self.parts += 1
        return self.parts - 1

    def _at(self, form: _Form) -> int:
        """The place of the part of this *form* that is being written, or of a new one."""
        if self.form != form:
            self.place = self._take_place()
            self.form = form
            if form == "text":
                self._text_place = self.place
        return self.place

    def _add_part(self, part: Whole, out: list[StreamChunk]) -> None:
        out.append(PartAdded(part, self._take_place()))

    def _read_reasoning(self, delta: dict[str, Any], out: list[StreamChunk]) -> None:
        key = next((key for key in REASONING_FIELDS if get_text(delta, key)), None)
        self.reasoning_field = key or self.reasoning_field
        detailed = [self._details.add(d) for d in get_list(delta, "reasoning_details")]
        text = delta[key] if key else ""
        if self.reasoning_field is None:
            # Otherwise they say the same once more.
            text = "".join(detailed)
        if text:
            out.append(ReasoningDelta(text, self._at("reasoning")))

    def _read_content(self, content: Any, out: list[StreamChunk]) -> None:
        if content is None:
            return
        if isinstance(content, str):
            self._write(content, out)
            return
        if not isinstance(content, list):
            raise ProtocolError(f"The content is a {type(content).__name__}.")
        for item in content:  # Mistral
            match item:
                case str():
                    self._write(item, out)
                case {"type": "text", "text": str(text)}:
                    self._write(text, out)
                case {"type": "text"} if item.get("text") is None:
                    pass
                case {"type": "text"}:
                    kind = type(item["text"]).__name__
                    raise ProtocolError(f"A text of the content is a {kind}.")
                case {"type": "thinking", "thinking": thinking}:
                    self._write_thinking(thinking, item, out)
                case dict():
                    state = ProviderState(self._provider, item)
                    kind = get_text(item, "type") or "unknown"
                    self._add_part(OpaquePart(kind, state), out)
                case _:
                    raise ProtocolError(
                        f"A part of the content is a {type(item).__name__}."
                    )

    def _write(self, text: str, out: list[StreamChunk]) -> None:
        if self.think is not None:
            self._write_split(self.think.split(text), out)
        elif text:
            out.append(TextDelta(text, self._at("text")))

    def _write_split(self, split: tuple[str, str], out: list[StreamChunk]) -> None:
        thought, text = split
        if thought:
            out.append(ReasoningDelta(thought, self._at("reasoning")))
        if text:
            out.append(TextDelta(text, self._at("text")))
        if self.think is not None and self.think.decided:
            self.think = None

    def _write_thinking(
        self, thinking: Any, item: dict[str, Any], out: list[StreamChunk]
    ) -> None:
        items = thinking if isinstance(thinking, list) else [thinking]
        texts = (i.get("text") if isinstance(i, dict) else i for i in items)
        text = "".join(t for t in texts if isinstance(t, str))
        extra = {k: v for k, v in item.items() if v and k not in ("type", "thinking")}
        if not (text or extra):
            return
        place = self._at("reasoning")
        # Without words it is a part as well: something wants to go back.
        out.append(ReasoningDelta(text, place))
        if extra:
            self._states.setdefault(place, {}).update(extra)

    def _annotate(self, annotation: Any, out: list[StreamChunk]) -> None:
        match annotation:
            case {"type": "url_citation", "url_citation": dict(source)}:
                self._cite(_citation(source), out)
            case _:
                gather(self.notes, "annotations", [annotation])

    def _cite(self, citation: Citation, out: list[StreamChunk]) -> None:
        if self._text_place is None:
            self._at("text")
        out.append(CitationDelta(citation, self._text_place or 0))

    def _end_citations(self, out: list[StreamChunk]) -> None:
        """Perplexity and xAI list their sources beside the answer."""
        sources = self.notes.get("search_results") or self.notes.get("citations")
        if self._text_place is None or not isinstance(sources, list):
            return
        for source in sources:
            match source:
                case str():
                    self._cite(Citation(source), out)
                case dict():
                    self._cite(_citation(source), out)
                case _:
                    pass  # it stays in the notes

    def _hear(self, audio: dict[str, Any]) -> None:
        if data := get_text(audio, "data"):
            self._audio_data.append(data)
        for key, value in audio.items():
            if key == "transcript":
                self._audio[key] = self._audio.get(key, "") + get_text(audio, key)
            elif value and key != "data":
                self._audio[key] = value

    def _end_audio(self, out: list[StreamChunk]) -> None:
        transcript = self._audio.pop("transcript", "") or None
        if not (self._audio_data or self._audio or transcript):
            return
        state = ProviderState(self._provider, {"audio": self._audio})
        audio_id = get_text(self._audio, "id")
        data = None
        if self._audio_data or not audio_id:
            data = _join_base64(self._audio_data, "audio")
        part = AudioPart(
            data=data,
            file_id=audio_id if data is None else None,
            transcript=transcript,
            provider_state=state if self._audio else None,
        )
        self._add_part(part, out)

    def _see(self, image: Any, out: list[StreamChunk]) -> None:
        """A picture from OpenRouter: an ``image_url`` part, usually with a data URL."""
        match image:
            case {"image_url": {"url": str(url)}} if url.startswith("data:"):
                head, _, data = url.removeprefix("data:").partition(",")
                media_type = head.partition(";")[0] or None
                picture = _join_base64([data], "image")
                self._add_part(ImagePart(data=picture, media_type=media_type), out)
            case {"image_url": {"url": str(url)}}:
                self._add_part(ImagePart(url=url), out)
            case _:
                gather(self.notes, "images", [image])


def _citation(source: dict[str, Any]) -> Citation:
    return Citation(
        get_text(source, "url") or None,
        get_text(source, "title") or None,
        get_text(source, "content") or get_text(source, "snippet") or None,
        get_whole(source, "start_index"),
        get_whole(source, "end_index"),
    )


def _join_base64(pieces: list[str], what: str) -> bytes:
    try:
        # Each piece is padded by itself, unless one text was cut anywhere.
        whole = any(len(piece) % 4 for piece in pieces)
        pieces = ["".join(pieces)] if whole else pieces
        return b"".join(b64decode(piece, validate=True) for piece in pieces)
    except ValueError:
        raise ProtocolError(f"The {what} is no base64.") from None
