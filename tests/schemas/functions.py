"""
Fifty signatures, each with the schema that a person would write for it.

There is no ``from __future__ import annotations`` in here: annotations are what they are.
"""

import collections.abc
import dataclasses
import enum
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
    Union,
)

import annotated_types as at
import attrs
import msgspec
import pydantic
import typing_extensions

__all__ = ["ROWS", "Row"]

T = TypeVar("T")


@attrs.frozen
class Row:
    """A function, its properties as a person would write them, and which must be there."""

    function: Callable[..., Any]
    properties: dict[str, Any]
    required: list[str]
    defs: dict[str, Any] = attrs.field(factory=dict)
    #: Whose ``strict`` cannot enforce it.
    loose: str = ""
    #: What makes the simulator send something that fits, also where bounds are but words.
    prompt: str = 'Roll the dice 1 time: "1234"!'

    @property
    def schema(self) -> dict[str, Any]:
        whole: dict[str, Any] = {"type": "object", "properties": self.properties}
        if self.required:
            whole["required"] = self.required
        whole["additionalProperties"] = False
        return {**whole, "$defs": self.defs} if self.defs else whole

    def __str__(self) -> str:
        return self.function.__name__


ROWS: list[Row] = []


def row(
    *required: str,
    defs: dict[str, Any] | None = None,
    loose: str = "",
    prompt: str = 'Roll the dice 1 time: "1234"!',
    **properties: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        ROWS.append(Row(function, properties, [*required], defs or {}, loose, prompt))
        return function

    return add


def obj(*required: str, words: str = "", **properties: Any) -> dict[str, Any]:
    """An object of which no more is known than this."""
    whole: dict[str, Any] = {"type": "object", "properties": properties}
    if words:
        whole["description"] = words
    if required:
        whole["required"] = [*required]
    return {**whole, "additionalProperties": False}


STRING = {"type": "string"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
NULL = {"type": "null"}


# --- plain ones ------------------------------------------------------------------------


@row()
def nothing() -> None: ...


@row("a", a=STRING)
def text(a: str) -> None: ...


@row("a", "b", a=INTEGER, b=NUMBER)
def numbers(a: int, b: float) -> None: ...


@row("a", a=BOOLEAN)
def flag(a: bool) -> None: ...


@row("a", a=STRING, b={"type": "integer", "default": 10})
def default(a: str, b: int = 10) -> None: ...


@row("a", "b", a=STRING, b=STRING)
def keyword_only(*, a: str, b: str) -> None: ...


@row(a={"anyOf": [STRING, NULL]})
def optional(a: str | None = None) -> None: ...


@row("a", a={"anyOf": [STRING, NULL]})
def nullable(a: Optional[str]) -> None: ...  # noqa: UP045 -- people write it


@row("a", a={"anyOf": [INTEGER, STRING]})
def either(a: Union[int, str]) -> None: ...  # noqa: UP007 -- people write it


@row("a", a={}, loose="openai")
def anything(a: Any) -> None: ...


# --- choices ---------------------------------------------------------------------------


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """How much it matters."""

    LOW = 1
    HIGH = 2


class Unit(enum.StrEnum):
    C = enum.auto()
    F = enum.auto()


@row("a", a={"type": "string", "enum": ["x", "y"]})
def literal(a: Literal["x", "y"]) -> None: ...


@row("a", a={"type": "integer", "enum": [1]})
def one_literal(a: Literal[1]) -> None: ...


@row("a", a={"type": ["string", "integer", "null"], "enum": ["all", 1, None]})
def mixed_literal(a: Literal["all", 1, None]) -> None: ...


@row("a", a={"type": "string", "enum": ["red", "blue"]})
def an_enum(a: Color) -> None: ...


@row(
    a={
        "type": "integer",
        "description": "How much it matters.",
        "enum": [1, 2],
        "default": 1,
    }
)
def int_enum(a: Level = Level.LOW) -> None: ...


@row(a={"type": "string", "enum": ["c", "f"], "default": "c"})
def str_enum(a: Unit = Unit.C) -> None: ...


# --- collections -----------------------------------------------------------------------


@row("a", a={"type": "array", "items": STRING})
def a_list(a: list[str]) -> None: ...


@row("a", a={"type": "array"}, loose="openai")
def bare_list(a: list) -> None: ...  # type: ignore[type-arg]


@row("a", "b", a={"type": "array", "items": NUMBER}, b={"type": "array", "items": STRING})  # fmt: skip
def sequences(a: Sequence[float], b: Iterable[str]) -> None: ...


@row("a", a={"type": "array", "items": INTEGER})
def long_tuple(a: tuple[int, ...]) -> None: ...


@row("a", a={"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2})
def point(a: tuple[float, float]) -> None: ...


@row(
    "a",
    a={
        "type": "array",
        "prefixItems": [STRING, INTEGER],
        "minItems": 2,
        "maxItems": 2,
    },
    loose="openai",
)
def pair(a: tuple[str, int]) -> None: ...


@row("a", a={"type": "array", "items": STRING, "uniqueItems": True})
def a_set(a: set[str]) -> None: ...


@row(
    "a",
    a={
        "type": "array",
        "items": {"type": "string", "enum": ["red", "blue"]},
        "uniqueItems": True,
    },
)
def frozen_set(a: frozenset[Color]) -> None: ...


@row(
    "a", a={"type": "object", "additionalProperties": INTEGER}, loose="openai anthropic"
)
def a_dict(a: dict[str, int]) -> None: ...


@row("a", a={"type": "object"}, loose="openai anthropic")
def free_mapping(a: Mapping[str, Any]) -> None: ...


@row(
    "a",
    a={
        "type": "object",
        "propertyNames": {"type": "string", "enum": ["red", "blue"]},
        "additionalProperties": BOOLEAN,
    },
    loose="openai anthropic",
)
def keyed_by_enum(a: dict[Color, bool]) -> None: ...


@row("a", a={"type": "array", "items": {"type": "array", "items": NUMBER}})
def matrix(a: list[list[float]]) -> None: ...


@row("a", a={"anyOf": [{"type": "array", "items": STRING}, STRING, NULL]})
def list_or_one(a: list[str] | str | None) -> None: ...


@row("a", a={"type": "array", "items": STRING})
def abstract(a: collections.abc.MutableSequence[str]) -> None: ...


# --- texts -----------------------------------------------------------------------------


@row(
    "a",
    "b",
    "c",
    a={"type": "string", "format": "date"},
    b={"type": "string", "format": "date-time"},
    c={"type": "string", "format": "time"},
)
def dates(a: date, b: datetime, c: time) -> None: ...


@row("a", a={"type": "string", "format": "uuid"})
def an_id(a: uuid.UUID) -> None: ...


@row("a", a={"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"})
def money(a: Decimal) -> None: ...


@row("a", "b", a={"type": "string", "contentEncoding": "base64"}, b=STRING)
def a_file(a: bytes, b: pathlib.Path) -> None: ...


UserId = NewType("UserId", int)


@row("a", a=INTEGER)
def new_type(a: UserId) -> None: ...


# --- words and bounds ------------------------------------------------------------------


@row("a", a={"type": "string", "description": "a city"})
def annotated(a: Annotated[str, "a city"]) -> None: ...


@row("a", a={"type": "string", "description": "a city"})
def documented(a: Annotated[str, typing_extensions.Doc("a city")]) -> None: ...


@row(
    "a",
    "b",
    a={"type": "integer", "minimum": 1, "maximum": 10},
    b={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5},
)
def bounded(
    a: Annotated[int, at.Ge(1), at.Le(10)],
    b: Annotated[float, at.Interval(gt=0, lt=1.5)],
) -> None: ...


@row(
    "a",
    "b",
    a={"type": "string", "minLength": 1, "maxLength": 3},
    b={"type": "array", "items": INTEGER, "minItems": 1},
    prompt='Roll the dice "abc" 1 time!',
)
def sized(
    a: Annotated[str, at.Len(1, 3)], b: Annotated[list[int], at.MinLen(1)]
) -> None: ...


@row(
    a={"description": "how many", "anyOf": [{"type": "integer", "minimum": 1}, NULL]},
)
def bounded_or_none(a: Annotated[int | None, at.Ge(1), "how many"] = None) -> None: ...


@row(
    "a",
    "b",
    a={"type": "string", "description": "a code", "pattern": "^[A-Z]+$"},
    b={"type": "integer", "description": "a step", "multipleOf": 5, "minimum": 0},
    prompt='Roll the dice "ABC" 5 times!',
)
def others(
    a: Annotated[str, pydantic.Field(description="a code", pattern="^[A-Z]+$")],
    b: Annotated[int, msgspec.Meta(description="a step", multiple_of=5, ge=0)],
) -> None: ...


@row(
    "city",
    city={"type": "string", "description": "Where, with its country."},
    days={"type": "integer", "description": "How many.", "default": 1},
)
def google(city: str, days: int = 1) -> None:
    """Tell the weather.

    At noon, that is.

    Args:
        city: Where,
            with its country.
        days: How many.

    Returns:
        Nothing.
    """


@row("city", city={"type": "string", "description": "Where."})
def numpy(city: str) -> None:
    """
    Tell the weather.

    Parameters
    ----------
    city : str
        Where.
    """


@row("city", city={"type": "string", "description": "Where."})
def sphinx(city: str) -> None:
    """Tell the weather.

    :param city: Where.
    :returns: Nothing.
    """


# --- objects ---------------------------------------------------------------------------


@dataclasses.dataclass
class Place:
    """Somewhere."""

    name: str
    zoom: int = 3


PLACE = obj("name", words="Somewhere.", name=STRING, zoom={"type": "integer", "default": 3})  # fmt: skip


@attrs.define
class Person:
    """
    Somebody.

    Attributes:
        name: As they are called.
    """

    name: str
    _age: int = 0
    friends: list["Person"] = attrs.field(factory=list)
    seen: int = attrs.field(init=False, default=0)


PERSON = obj(
    "name",
    words="Somebody.",
    name={"type": "string", "description": "As they are called."},
    age={"type": "integer", "default": 0},
    friends={"type": "array", "items": {"$ref": "#/$defs/Person"}},
)


class Options(TypedDict, total=False):
    """How."""

    size: Required[Annotated[int, "in pixels"]]
    color: Color


class Strict(TypedDict):
    size: int
    note: NotRequired[str]


class Range(NamedTuple):
    low: int
    high: int = 9


class Item(pydantic.BaseModel):
    """A thing."""

    sku: str = pydantic.Field(description="Its number.", min_length=1)
    count: int = 1


@dataclasses.dataclass
class Cat:
    kind: Literal["cat"]
    lives: int


@dataclasses.dataclass
class Dog:
    kind: Literal["dog"]
    tricks: list[str] = dataclasses.field(
        default_factory=list, metadata={"description": "What it can do."}
    )


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]
    next: str | None = None


@row("a", a=PLACE)
def a_dataclass(a: Place) -> None: ...


@row("a", "b", a={"$ref": "#/$defs/Place"}, b={"$ref": "#/$defs/Place"}, defs={"Place": PLACE})  # fmt: skip
def used_twice(a: Place, b: Place) -> None: ...


@row(
    "a",
    a={"$ref": "#/$defs/Person", "description": "Whom to greet."},
    defs={"Person": PERSON},
)
def recursive(a: Annotated[Person, "Whom to greet."]) -> None: ...


@row(
    "a",
    "b",
    a=obj(
        "size",
        words="How.",
        size={"type": "integer", "description": "in pixels"},
        color={"type": "string", "enum": ["red", "blue"]},
    ),
    b=obj("size", size=INTEGER, note=STRING),
)
def typed_dicts(a: Options, b: Strict) -> None: ...


@row("a", a=obj("low", low=INTEGER, high={"type": "integer", "default": 9}))
def named_tuple(a: Range) -> None: ...


@row(
    "a",
    a={
        "type": "array",
        "items": {
            "type": "object",
            "description": "A thing.",
            "properties": {
                "sku": {"type": "string", "description": "Its number.", "minLength": 1},
                "count": {"type": "integer", "default": 1},
            },
            "required": ["sku"],
        },
    },
)
def a_model(a: list[Item]) -> None: ...


@row(
    "a",
    a={
        "anyOf": [
            obj(
                "kind", "lives", kind={"type": "string", "enum": ["cat"]}, lives=INTEGER
            ),
            obj(
                "kind",
                kind={"type": "string", "enum": ["dog"]},
                tricks={
                    "type": "array",
                    "description": "What it can do.",
                    "items": STRING,
                },
            ),
        ]
    },
)
def tagged_union(a: Cat | Dog) -> None: ...


@row("a", a=obj("items", items={"type": "array", "items": PLACE}, next={"anyOf": [STRING, NULL]}))  # fmt: skip
def generic(a: Page[Place]) -> None: ...
