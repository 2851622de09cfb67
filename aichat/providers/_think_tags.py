"""``<think>…</think>`` at the start of a text, as models without an own field write it."""

from __future__ import annotations

from typing import Literal

from attrs import define

__all__ = ["ThinkTags"]

_OPEN, _CLOSE = "<think>", "</think>"
# Nobody begins with more blanks than that.
_PATIENCE = 100


@define
class ThinkTags:
    """
    Tells thoughts from text, however they are cut.

    What begins otherwise is all text; a tag that is never closed makes it all thought.
    """

    _state: Literal["start", "thinking", "after", "text"] = "start"
    #: What may still become a tag, or be dropped with one.
    _held: str = ""

    @property
    def decided(self) -> bool:
        """Whether everything from here on is text."""
        return self._state == "text"

    def split(self, text: str) -> tuple[str, str]:
        """The thought, and then the text, that *text* brings."""
        text = self._held + text
        self._held = ""
        if self._state == "start":
            begin = text.lstrip()
            hopeless = len(text) - len(begin) > _PATIENCE
            if hopeless or not (begin.startswith(_OPEN) or _OPEN.startswith(begin)):
                self._state = "text"
                return "", text
            if not begin.startswith(_OPEN):
                self._held = text
                return "", ""
            self._state, text = "thinking", begin.removeprefix(_OPEN)
        thought = ""
        if self._state == "thinking":
            thought, closed, text = text.partition(_CLOSE)
            if not closed:
                self._held = _beginning_of_close(thought)
                return thought.removesuffix(self._held), ""
            self._state = "after"
        if self._state == "after":
            # The line ends behind the tag belong to it.
            text = text.lstrip("\n")
            if text:
                self._state = "text"
        return thought, text

    def flush(self) -> tuple[str, str]:
        """The thought and the text that were held back."""
        held, self._held = self._held, ""
        return (held, "") if self._state == "thinking" else ("", held)


def _beginning_of_close(text: str) -> str:
    """The longest end of *text* that may be the beginning of a closing tag."""
    sizes = range(min(len(text), len(_CLOSE) - 1), 0, -1)
    return next((text[-n:] for n in sizes if _CLOSE.startswith(text[-n:])), "")
