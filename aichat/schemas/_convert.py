"""The two things to do with a type: say it, and read it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, overload

from ._definitions import Definitions
from ._problems import ConversionError, Problem
from ._reading import Reader
from ._shape import FAILED, Shape

__all__ = ["convert", "schema_of", "shape_of"]

T = TypeVar("T")


def schema_of(kind: Any) -> dict[str, Any]:
    """
    Return the JSON Schema (2020-12) of a type.

    Classes of attrs, dataclasses, ``TypedDict``, ``NamedTuple`` and pydantic models are
    objects; ``Annotated[int, "how many", Ge(1)]`` adds words and bounds. What is used several
    times or holds itself stands in ``$defs``. Raises `ConfigError` for a type that JSON has
    no form for.

    >>> schema_of(list[int])
    {'type': 'array', 'items': {'type': 'integer'}}
    """
    definitions = Definitions()
    return definitions.assemble(shape_of(kind).schema(definitions))


@overload
def convert(kind: type[T], value: Any) -> T: ...
@overload
def convert(kind: Any, value: Any) -> Any: ...
def convert(kind: Any, value: Any) -> Any:
    """
    Read *value*, as JSON has it, into the type *kind*.

    It is strict: ``"1"`` is no int, and an unknown key is an error. Only what JSON cannot
    tell apart is taken for the other: 1.0 as an int, 1 as a float. Of a union the first member
    that fits is taken. A null for a property that may be left out, and cannot be null, counts
    as left out: where every property is required, that is how a model leaves one out.

    Raises `ConversionError`, with all that is wrong, and `ConfigError` as `schema_of` does.

    >>> from datetime import date
    >>> convert(dict[str, date], {"begin": "2026-11-21"})
    {'begin': datetime.date(2026, 11, 21)}
    """
    problems: list[Problem] = []
    found = shape_of(kind).read(value, "$", problems)
    if found is FAILED:
        raise ConversionError(problems)
    return found


def shape_of(kind: Any) -> Shape:
    """What *kind* looks like in JSON; remembered."""
    try:
        # By its text as well: int | str == str | int, but they read "1" otherwise.
        return _remembered(kind, repr(kind))
    except TypeError:
        return _shape(kind)  # an Annotated with a list in it


@lru_cache(maxsize=256)
def _remembered(kind: Any, _: str) -> Shape:
    return _shape(kind)


def _shape(kind: Any) -> Shape:
    return Reader(getattr(kind, "__qualname__", None) or repr(kind)).read(kind)
