"""
Pieces of Ollama's message to parts of ours.

Thoughts and text come in pieces, tool calls whole, on any line. Whatever is said after
something else is a part of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any, Literal

from attrs import define, field

from ..types import (
    ImagePart,
    PartAdded,
    ReasoningDelta,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    dumps,
)
from ._ollama_fields import list_in, text_in, text_or_none, wrong
from ._think_tags import ThinkTags

__all__ = ["Parts"]


@define
class Parts:
    """The parts of one answer, in the order in which they appear."""

    _new_id: Callable[[], str]
    #: The text part that more text simply goes on with; -1 if there is none.
    text_part: int = field(default=-1, init=False)
    #: What the latest part is, if it can go on.
    _form: Literal["text", "reasoning"] | None = field(default=None, init=False)
    _part: int = field(default=-1, init=False)
    _call_ids: set[str] = field(factory=set, init=False)
    # Servers before 0.9, and models that they do not know to think, leave thoughts in the
    # text. ``None`` as soon as it is clear that these do not.
    _tags: ThinkTags | None = field(factory=ThinkTags, init=False)

    @property
    def called(self) -> bool:
        """Whether a tool is to be called."""
        return bool(self._call_ids)

    def add(self, message: dict[str, Any]) -> Iterator[StreamChunk]:
        """Take the ``message`` of a line."""
        self.text_part = -1
        if thought := text_in(message, "thinking"):
            yield from self.end()
            yield self._think(thought)
        if text := text_in(message, "content"):
            yield from self._content(text)
        for image in list_in(message, "images"):
            yield from self.end()
            yield PartAdded(_picture(image), self._next(None))
        for call in list_in(message, "tool_calls"):
            yield from self.end()
            yield self._call(call)
        if self._form == "text" and self._tags is None:
            self.text_part = self._part

    def end(self) -> Iterator[StreamChunk]:
        """Give out text that was held back; from here on tags are text."""
        if self._tags is not None:
            split, self._tags = self._tags.flush(), None
            yield from self._say(*split)

    def _content(self, text: str) -> Iterator[StreamChunk]:
        tags = self._tags
        if tags is None:
            yield from self._say("", text)
            return
        yield from self._say(*tags.split(text))
        if tags.decided:
            self._tags = None

    def _say(self, thought: str, text: str) -> Iterator[StreamChunk]:
        if thought:
            yield self._think(thought)
        if text:
            yield TextDelta(text, self._next("text"))

    def _think(self, thought: str) -> StreamChunk:
        return ReasoningDelta(thought, self._next("reasoning"))

    def _next(self, form: Literal["text", "reasoning"] | None) -> int:
        """Which part something of this *form* belongs to; ``None`` is always a new one."""
        if form is None or form != self._form:
            self._form = form
            self._part += 1
        return self._part

    def _call(self, call: Any) -> ToolCallDelta:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise wrong("a tool call has no function")
        # Its index is no use: it may be 0 for all of them.
        call_id = text_or_none(call.get("id"))
        while not call_id or call_id in self._call_ids:
            call_id = self._new_id()
        self._call_ids.add(call_id)
        name = text_or_none(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        return ToolCallDelta(self._next(None), call_id, name, arguments)


def _arguments(value: Any) -> str:
    """The JSON text of an object; a text, which some proxies send, is it already."""
    if value is None:
        return "{}"
    if isinstance(value, str):
        return value
    try:
        return dumps(value).decode()
    except RecursionError:
        raise wrong("arguments are nested too deeply") from None


def _picture(image: Any) -> ImagePart:
    if not isinstance(image, str):
        raise wrong("an image is no text")
    try:
        return ImagePart(data=base64.b64decode(image, validate=True))
    except ValueError:
        raise wrong("an image is no base64") from None
