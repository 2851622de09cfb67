"""
The items of a response, each turning what is said about it into chunks.

An item is added, gets deltas, and is done. Any of the three may be missing: whatever the
last word on a text has beyond what was said before is said then. What was said differently
stays as it was, since it cannot be taken back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from attrs import define, field

from ..types import (
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
    ToolCallDelta,
    Whole,
    dumps,
)
from ._openai_chat_json import gather, get_list, get_text, get_whole

__all__ = [
    "CallItem",
    "Context",
    "Item",
    "MessageItem",
    "OtherItem",
    "ReasoningItem",
    "Text",
]

Out = list[StreamChunk]


class Context(Protocol):
    """What the items of one answer have in common."""

    #: Whose opaque state this is.
    provider: str
    #: Where to note what has no place in a message.
    notes: dict[str, Any]
    refused: bool

    def take_place(self, out: Out) -> int:
        """The place of a new part in the message."""
        ...

    def free_call_id(self, wanted: str) -> str:
        """*wanted*, or another id if it is empty or taken."""
        ...


@define
class Text:
    """A text that is being written."""

    _make: Callable[[str, int], StreamChunk]
    place: int
    #: What was said so far: once it is done, the whole text is held against it.
    fragments: list[str] = field(factory=list, init=False)
    #: Of the text of a message: how many citations it had.
    citations: int = field(default=0, init=False)
    logprobs: bool = field(default=False, init=False)

    def add(self, text: str, out: Out) -> None:
        """Say some more."""
        self.fragments.append(text)
        out.append(self._make(text, self.place))

    def complete(self, whole: str, out: Out) -> None:
        """Say what *whole* has beyond what was said."""
        said = "".join(self.fragments)
        if whole != said and whole.startswith(said):
            self.add(whole[len(said) :], out)


@define
class Item(ABC):
    """One item of the output."""

    #: Its ``type``.
    kind: str
    context: Context
    #: As it was added, perhaps only in part.
    raw: dict[str, Any] = field(factory=dict)
    done: bool = field(default=False, init=False)

    def end(self, raw: dict[str, Any] | None, out: Out) -> None:
        """
        Say the rest: *raw* is the whole item.

        Without one it broke off, and what is known has to do.
        """
        self.done = True
        self._end(raw, out)

    @abstractmethod
    def _end(self, raw: dict[str, Any] | None, out: Out) -> None:
        """Say the rest; see `end`."""

    def _state(self, payload: Any) -> ProviderState:
        return ProviderState(self.context.provider, payload)


_Said = Literal["output_text", "refusal"]


@define
class MessageItem(Item):
    """Text for the user. Each of its parts is one of ours."""

    _texts: dict[tuple[_Said, int], Text] = field(factory=dict, init=False)

    def text(self, said: _Said, number: int, out: Out) -> Text:
        """The part *number*, begun if it is new."""
        key = (said, number)
        text = self._texts.get(key)
        if text is None:
            if said == "refusal":
                self.context.refused = True
            make = TextDelta if said == "output_text" else RefusalDelta
            text = self._texts[key] = Text(make, self.context.take_place(out))
        return text

    def part_done(self, number: int, part: dict[str, Any], out: Out) -> None:
        """Take the whole part *number*."""
        match part:
            case {"type": "output_text" | "text", "text": str(whole)}:
                annotations = get_list(part, "annotations")
                logprobs = get_list(part, "logprobs")
                known = ("output_text", number) in self._texts
                if not (whole or annotations or known):
                    return
                text = self.text("output_text", number, out)
                text.complete(whole, out)
                for annotation in annotations[text.citations :]:
                    self.cite(number, annotation, out)
                if logprobs and not text.logprobs:
                    text.logprobs = True
                    gather(self.context.notes, "logprobs", logprobs)
            case {"type": "refusal", "refusal": str(whole)} if whole:
                self.text("refusal", number, out).complete(whole, out)
            case _:
                pass

    def cite(self, number: int, annotation: Any, out: Out) -> None:
        """Take a source of the part *number*."""
        text = self.text("output_text", number, out)
        text.citations += 1
        if isinstance(annotation, dict):
            citation = _citation(annotation, self._state(annotation))
            out.append(CitationDelta(citation, text.place))

    def _end(self, raw: dict[str, Any] | None, out: Out) -> None:
        parts = get_list(raw or {}, "content")
        for number, part in enumerate(parts):
            if isinstance(part, dict):
                self.part_done(number, part, out)
        if raw is not None and not self._texts:
            # A message of no words still has its place: the reasoning before it would be
            # refused if nothing followed.
            self.text("output_text", 0, out).add("", out)
        # The latest id counts: some servers change it with every event.
        known = {**self.raw, **(raw or {})}
        state = {k: known[k] for k in ("id", "phase") if known.get(k)}
        for text in self._texts.values():
            out.append(PartEnd(text.place, self._state(state) if state else None))


_Shown = Literal["summary", "content"]
_THOUGHTS: Final[tuple[_Shown, ...]] = ("summary", "content")


@define
class ReasoningItem(Item):
    """
    What the model thought, a summary of it, or only an encrypted form of it.

    It becomes one part. Where there are both thoughts and summary, the one that comes
    first is shown; the other one stays in the state.
    """

    place: int | None = field(default=None, init=False)
    _shown: _Shown | None = field(default=None, init=False)
    _sections: dict[int, Text] = field(factory=dict, init=False)

    def begin(self, out: Out) -> int:
        """Take a place, so that nothing that comes later stands before it."""
        if self.place is None:
            self.place = self.context.take_place(out)
            out.append(ReasoningDelta("", self.place))
        return self.place

    def text(self, shown: _Shown, number: int, out: Out) -> Text | None:
        """The section *number*, begun if it is new; ``None`` if it is not shown."""
        self._shown = self._shown or shown
        if shown != self._shown:
            return None
        text = self._sections.get(number)
        if text is None:
            if self.place is None:
                self.place = self.context.take_place(out)
            if any(section.fragments for section in self._sections.values()):
                out.append(ReasoningDelta("\n\n", self.place))
            text = self._sections[number] = Text(ReasoningDelta, self.place)
        return text

    def part_done(
        self, shown: _Shown, number: int, part: dict[str, Any], out: Out
    ) -> None:
        """Take the whole section *number*."""
        match part:
            case {"text": str(whole)} if whole:
                if (text := self.text(shown, number, out)) is not None:
                    text.complete(whole, out)
            case _:
                pass

    def _end(self, raw: dict[str, Any] | None, out: Out) -> None:
        for shown in _THOUGHTS:
            for number, part in enumerate(get_list(raw or {}, shown)):
                if isinstance(part, dict):
                    self.part_done(shown, number, part, out)
        if raw is not None:
            self.begin(out)
        if self.place is not None:
            # As it was added it may be only half encrypted.
            out.append(PartEnd(self.place, self._state(raw) if raw else None))


@define
class CallItem(Item):
    """A call of a function of the user's, or of a tool that takes free text."""

    #: ``None`` until it has a name, and nobody has heard of it.
    _place: int | None = field(default=None, init=False)
    _fragments: list[str] = field(factory=list, init=False)

    @property
    def call_id(self) -> str:
        """The id that the result refers to, which is not the item's; ``""`` if unknown."""
        return get_text(self.raw, "call_id")

    def learn(self, raw: dict[str, Any], out: Out) -> None:
        """Take what is known of the item; announce the call as soon as it has a name."""
        self.raw = self.raw | {k: v for k, v in raw.items() if v is not None}
        if self._place is None and get_text(self.raw, "name"):
            self._announce(out)

    def add(self, text: str, out: Out) -> None:
        """Say some more of the arguments."""
        self._fragments.append(text)
        if self._place is not None:
            out.append(ToolCallDelta(self._place, None, None, text, self._form))

    def complete(self, whole: str, out: Out) -> None:
        """Say what *whole* has beyond the arguments so far."""
        said = "".join(self._fragments)
        if whole != said and whole.startswith(said):
            self.add(whole[len(said) :], out)

    @property
    def _form(self) -> Literal["function", "custom"]:
        return "custom" if self.kind == "custom_tool_call" else "function"

    def _announce(self, out: Out) -> int:
        self._place = self.context.take_place(out)
        call_id = self.context.free_call_id(self.call_id or get_text(self.raw, "id"))
        name = get_text(self.raw, "name") or None
        said = "".join(self._fragments)
        out.append(ToolCallDelta(self._place, call_id, name, said, self._form))
        return self._place

    def _end(self, raw: dict[str, Any] | None, out: Out) -> None:
        self.learn(raw or {}, out)
        # Without a name it is an invalid call, but not a lost one.
        place = self._announce(out) if self._place is None else self._place
        arguments = self.raw.get(_ARGUMENTS[self._form])
        if arguments is not None and not isinstance(arguments, str):
            arguments = dumps(arguments).decode()
        self.complete(arguments or "", out)
        state = {k: v for k, v in self.raw.items() if v and k not in _CALL}
        out.append(PartEnd(place, self._state(state) if state else None))


_ARGUMENTS: Final = {"function": "arguments", "custom": "input"}
#: Of a call: what our own part has a place for, and what says nothing.
_CALL: Final = {"type", "call_id", "name", "arguments", "input", "status"} | {
    "item_id",
    "output_index",
}


@define
class OtherItem(Item):
    """An item that only its provider understands: the trace of a tool of its own."""

    def _end(self, raw: dict[str, Any] | None, out: Out) -> None:
        if raw is not None:
            out.append(PartAdded(self._part(raw), self.context.take_place(out)))

    def _part(self, raw: dict[str, Any]) -> Whole:
        if self.kind == "image_generation_call" and get_text(raw, "result"):
            return self._picture(raw) or OpaquePart(self.kind, self._state(raw))
        return OpaquePart(self.kind, self._state(raw))

    def _picture(self, raw: dict[str, Any]) -> ImagePart | None:
        try:
            data = b64decode(raw["result"], validate=True)
        except ValueError:
            return None
        kind = get_text(raw, "output_format")
        # The picture is in the part: no need to hold it twice.
        rest = {key: value for key, value in raw.items() if key != "result"}
        return ImagePart(
            data=data,
            media_type=f"image/{kind}" if kind else None,
            provider_state=self._state(rest),
        )


def _citation(source: dict[str, Any], state: ProviderState) -> Citation:
    return Citation(
        get_text(source, "url") or None,
        get_text(source, "title") or get_text(source, "filename") or None,
        start=get_whole(source, "start_index"),
        end=get_whole(source, "end_index"),
        provider_state=state,
    )
