"""
What a type looks like in JSON.

A shape tells its JSON Schema, and reads a JSON value into the type. Reading never raises: it
notes every `Problem` and returns `FAILED`, so that all of them are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol

from attrs import frozen

from ._definitions import Definitions
from ._problems import Problem, kind_of, said

__all__ = [
    "ANY_KIND",
    "FAILED",
    "Bounded",
    "Failed",
    "Noted",
    "Shape",
    "bare",
    "described",
    "refused",
    "unexpected",
]


class Failed(Enum):
    """The type of `FAILED`."""

    FAILED = "failed"


#: What could not be read.
FAILED: Final = Failed.FAILED
ANY_KIND: Final = frozenset({
    "null",
    "boolean",
    "integer",
    "number",
    "string",
    "array",
    "object",
})


class Shape(Protocol):
    """What a type looks like in JSON."""

    @property
    def name(self) -> str:
        """What is expected, in words."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """Which JSON types it may be; a ``number`` may be an ``integer``."""
        ...

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        """Its JSON Schema; what has a name goes into *definitions*."""
        ...

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        """Turn JSON into the type; or note why not, and return `FAILED`."""
        ...


def unexpected(
    shape: Shape, value: Any, path: str, problems: list[Problem], /
) -> Failed:
    """Note that *value* is something else."""
    got = said(kind_of(value))
    problems.append(Problem(path, f"expected {shape.name}, got {got}"))
    return FAILED


def refused(path: str, message: str, problems: list[Problem], /) -> Failed:
    """Note why not."""
    problems.append(Problem(path, message))
    return FAILED


@frozen
class Noted:
    """A shape with words about it."""

    shape: Shape
    description: str

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def kinds(self) -> frozenset[str]:
        return self.shape.kinds

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        return described(self.shape.schema(definitions), self.description)

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        return self.shape.read(value, path, problems)


def described(schema: dict[str, Any], description: str | None) -> dict[str, Any]:
    """*schema* with *description* right behind its type, where people look for it."""
    if not description:
        return schema
    head = {k: v for k, v in schema.items() if k in ("$ref", "type")}
    rest = {k: v for k, v in schema.items() if k not in head and k != "description"}
    return {**head, "description": description, **rest}


@frozen
class Bounded:
    """A shape whose values keep to bounds."""

    shape: Shape
    #: The bounds as JSON Schema says them.
    keywords: Mapping[str, Any]
    #: Each with what it asks for, in words.
    checks: Sequence[tuple[Callable[[Any], bool], str]]

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def kinds(self) -> frozenset[str]:
        return self.shape.kinds

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        return {**self.shape.schema(definitions), **self.keywords}

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        read = self.shape.read(value, path, problems)
        if read is FAILED:
            return FAILED
        wrong = [
            Problem(path, f"must be {words}")
            for fits, words in self.checks
            if not fits(read)
        ]
        problems += wrong
        return FAILED if wrong else read


def bare(shape: Shape) -> Shape:
    """*shape* without what is only said about it."""
    while True:
        match shape:
            case Noted(inner) | Bounded(inner):
                shape = inner
            case _:
                return shape
