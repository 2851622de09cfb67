"""
What `Annotated` says of a type: words and bounds.

Bounds are recognised by their attributes, as PEP 593 has it: those of annotated-types
(``Ge``, ``Len``, …), of ``pydantic.Field`` and of ``msgspec.Meta`` are alike, and none of
them has to be installed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from ._scalars import Text
from ._shape import Bounded, Noted, Shape, bare
from ._union import Union

__all__ = ["described_in", "noted"]


@frozen
class _Bound:
    #: What the bound is called on a string, an array and an object; or on a number.
    keywords: Mapping[str, str]
    words: str
    fits: Callable[[Any, Any], bool]


def _number(keyword: str) -> Mapping[str, str]:
    return {"number": keyword, "integer": keyword}


def _size(which: str) -> Mapping[str, str]:
    return {
        "string": f"{which}Length",
        "array": f"{which}Items",
        "object": f"{which}Properties",
    }


def _divides(value: Any, step: Any) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    rest, step = abs(math.fmod(value, step)), abs(step)
    # 0.3 is a multiple of 0.1, as far as floats can tell.
    return bool(min(rest, step - rest) <= step * 1e-9)


_BOUNDS: Final[Mapping[str, _Bound]] = {
    "ge": _Bound(_number("minimum"), "{} or more", lambda v, b: v >= b),
    "gt": _Bound(_number("exclusiveMinimum"), "more than {}", lambda v, b: v > b),
    "le": _Bound(_number("maximum"), "{} or less", lambda v, b: v <= b),
    "lt": _Bound(_number("exclusiveMaximum"), "less than {}", lambda v, b: v < b),
    "multiple_of": _Bound(_number("multipleOf"), "a multiple of {}", _divides),
    "min_length": _Bound(_size("min"), "{} or longer", lambda v, b: len(v) >= b),
    "max_length": _Bound(_size("max"), "{} or shorter", lambda v, b: len(v) <= b),
    "pattern": _Bound(
        {"string": "pattern"},
        "a match of {}",
        lambda v, b: re.search(b, v) is not None,
    ),
}


def noted(shape: Shape, notes: Iterable[Any]) -> Shape:
    """*shape* with what the *notes* of an `Annotated` add to it; others are ignored."""
    notes = list(_all(notes))
    bounds = {
        name: limit
        for note in notes
        for name in _BOUNDS
        if (limit := _limit(note, name)) is not None
    }
    if bounds:
        shape = _bounded(shape, bounds)
    words = described_in(notes)
    return Noted(shape, words) if words else shape


def described_in(notes: Iterable[Any]) -> str | None:
    """The words among *notes*: a text, a ``Doc``, or something with a description."""
    for note in _all(notes):
        for words in (
            note,
            getattr(note, "description", None),
            getattr(note, "documentation", None),
        ):
            if isinstance(words, str) and words:
                return words
    return None


def _all(notes: Iterable[Any]) -> Iterator[Any]:
    for note in notes:
        yield note
        # pydantic's Field keeps its bounds in there.
        inner = getattr(note, "metadata", None)
        if isinstance(inner, (list, tuple)):
            yield from inner


def _limit(note: Any, name: str) -> Any:
    if isinstance(note, (str, type)):
        return None
    limit = getattr(note, name, None)
    if callable(limit):  # a method of that name, of something else
        return None
    if name == "min_length" and limit == 0:
        return None
    return getattr(limit, "pattern", limit) if name == "pattern" else limit


def _bounded(shape: Shape, bounds: Mapping[str, Any]) -> Shape:
    if isinstance(shape, Union):
        # What is said of an optional number is said of the number.
        return Union([
            m if m.kinds == {"null"} else _bounded(m, bounds) for m in shape.members
        ])
    kinds = shape.kinds
    keywords: dict[str, Any] = {}
    checks: list[tuple[Callable[[Any], bool], str]] = []
    for name, limit in bounds.items():
        bound = _BOUNDS[name]
        said = {bound.keywords[kind] for kind in kinds if kind in bound.keywords}
        if len(said) == 1 and _sayable(shape, limit):
            keywords[said.pop()] = limit
        checks.append((_check(bound, limit), bound.words.format(limit)))
    return Bounded(shape, keywords, checks)


def _sayable(shape: Shape, limit: Any) -> bool:
    """Whether a *limit* of the value is one of its JSON form, too: not of a Decimal's."""
    return not isinstance(bare(shape), Text) and isinstance(limit, (int, float, str))


def _check(bound: _Bound, limit: Any) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            return bound.fits(value, limit)
        except (TypeError, OverflowError):
            return False  # a bound that says nothing about such a value

    return fits
