"""What does not fit, and where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

__all__ = ["ConversionError", "Problem", "kind_of", "said"]


@frozen
class Problem:
    """One thing that does not fit."""

    #: As in ``$.items[0].name``; ``$`` is the whole value.
    path: str
    #: What was expected there, in words. It tells of the value only what a class's own
    #: validators say.
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


#: A list of ten thousand wrong items needs not be told to its end.
_MOST_TOLD = 20


class ConversionError(ValueError):
    """A value is not of the type asked for. *problems* are all of them, in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        told = [str(problem) for problem in self.problems[:_MOST_TOLD]]
        more = len(self.problems) - len(told)
        if more:
            told.append(f"and {more} more")
        return "; ".join(told)


def kind_of(value: Any) -> str:
    """The JSON Schema type of *value*: a whole number is an ``integer``, 1.0 too."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return type(value).__name__


_ARTICLES = {"null": "null", "integer": "an integer", "array": "an array", "object": "an object"}  # fmt: skip


def said(kind: str) -> str:
    """*kind* with its article."""
    return _ARTICLES.get(kind, f"a {kind}")
