"""
Arguments of a function call that come in pieces.

Vertex AI sends them so when it is asked to (``streamFunctionCallArguments``): each piece is
a value and the place where it belongs, and only long texts are cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from attrs import define, field

from ..errors import ProtocolError
from ..types import dumps

__all__ = ["PartialArguments"]

_STEP: Final = re.compile(
    r"""\.(?P<name>[^.\[\]]+) | \[(?P<index>\d{1,9})\] | \[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]""",
    re.VERBOSE,
)
#: A place deeper than this is no place in the arguments of a function.
_DEEPEST: Final = 100


@define
class PartialArguments:
    """Puts the pieces of one call together."""

    _value: dict[str, Any] = field(factory=dict, init=False)
    #: A text that goes on: where it belongs, and what there is of it.
    _path: str | None = field(default=None, init=False)
    _fragments: list[str] = field(factory=list, init=False)

    def merge(self, args: Mapping[str, Any]) -> None:
        """Take arguments that came whole."""
        self._value |= args

    def add(self, piece: Any) -> None:
        """Take one of ``partialArgs``. Raises `ProtocolError` for a place that cannot be."""
        if not isinstance(piece, dict) or not isinstance(piece.get("jsonPath"), str):
            raise _wrong("a partialArg has no jsonPath")
        path = piece["jsonPath"]
        if path != self._path:
            self._close()
        text = piece.get("stringValue")
        if isinstance(text, str):
            self._path = path
            self._fragments.append(text)
            if not piece.get("willContinue"):
                self._close()
            return
        for kind in ("numberValue", "boolValue", "nullValue"):
            if kind in piece:
                value = None if kind == "nullValue" else piece[kind]
                self._put(path, value)
                return

    def text(self, *, whole: bool) -> str:
        """The JSON of it all; of a call that was cut off, as much as there is."""
        self._close()
        text = dumps(self._value).decode()
        return text if whole else text.removesuffix("}")

    def _close(self) -> None:
        if self._path is not None:
            path, text = self._path, "".join(self._fragments)
            self._path = None
            self._fragments.clear()
            self._put(path, text)

    def _put(self, path: str, value: Any) -> None:
        steps = _steps(path)
        holder: Any = self._value
        for step, after in pairwise(steps):
            empty: Any = [] if isinstance(after, int) else {}
            holder = _reach(holder, step, empty)
        _reach(holder, steps[-1], value, replace=True)


def _reach(holder: Any, step: str | int, value: Any, *, replace: bool = False) -> Any:
    """What is at *step* of *holder*; *value*, put there, if nothing is."""
    match holder, step:
        case dict(), str():
            if replace or step not in holder:
                holder[step] = value
            return holder[step]
        case list(), int() if step < len(holder):
            if replace:
                holder[step] = value
            return holder[step]
        case list(), int() if step == len(holder):
            holder.append(value)
            return value
        case _:
            raise _wrong("a jsonPath does not fit those before it")


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 1
    while path[:1] == "$" and len(steps) < _DEEPEST:
        step = _STEP.match(path, at)
        if step is None:
            break
        index = step["index"]
        steps.append(int(index) if index else step["name"] or step["key"])
        at = step.end()
    if not steps or at != len(path):
        raise _wrong("a jsonPath cannot be understood")
    return steps


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(f"Not the Gemini API: {what}.")
