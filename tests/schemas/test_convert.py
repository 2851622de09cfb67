"""Reading JSON into types: what is taken, and what is said of the rest."""

from __future__ import annotations

import dataclasses
import pathlib
import pickle
from collections import deque
from collections.abc import Mapping, Sequence, Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import annotated_types as at
import attrs
import pydantic
import pytest
import typing_extensions

from aichat import ConfigError
from aichat.schemas import ConversionError, convert, documentation, plain, schema_of

T = TypeVar("T")
N = TypeVar("N", int, str)
B = TypeVar("B", bound=int)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


@dataclasses.dataclass
class Cat:
    kind: Literal["cat"]
    lives: int


@dataclasses.dataclass
class Dog:
    kind: Literal["dog"]
    age: int


@dataclasses.dataclass
class Stone:
    weight: float = 1.0


def _upper(text: str) -> str:
    return text.upper()


@attrs.define
class Guarded:
    """It has rules of its own."""

    count: int = attrs.field(validator=attrs.validators.gt(3))
    word: str = attrs.field(default="x", converter=_upper)
    _secret: int = 7


@dataclasses.dataclass
class Silent:
    n: int
    #: Nobody sends it.
    seen: bool = dataclasses.field(default=False, init=False)

    def __post_init__(self) -> None:
        raise RuntimeError


class Point(NamedTuple):
    x: int
    y: int = 0


class Half(TypedDict):
    a: typing_extensions.ReadOnly[int]
    b: Annotated[typing_extensions.NotRequired[str], "words"]


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


class Inner(pydantic.BaseModel):
    n: int = 3
    at: date | None = None


class Model(pydantic.BaseModel):
    """A model."""

    title: str
    inner: Inner = Inner()
    more: list[Inner] = []


@pydantic.dataclasses.dataclass
class Checked:
    n: int


class Inner2(pydantic.BaseModel):
    other: Inner


UserId = NewType("UserId", int)
Alias = typing_extensions.TypeAliasType("Alias", list[int])
JSONish = typing_extensions.TypeAliasType(
    "JSONish",
    "str | list[JSONish] | dict[str, JSONish]",
)
ListOf = typing_extensions.TypeAliasType("ListOf", list[T], type_params=(T,))

ID = UUID("6f1c1c5e-7d5b-4d0c-9c3e-0123456789ab")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, 1.0, 1),
        (int, 2**70, 2**70),
        (float, 1, 1.0),
        (int | str, "1", "1"),
        (float | int, 1, 1),
        (str | date, "2026-11-21", "2026-11-21"),
        (date | str, "2026-11-21", date(2026, 11, 21)),
        (date | str, "soon", "soon"),
        (Color, "blue", Color.BLUE),
        (Level, 1.0, Level.LOW),
        (Literal[Color.RED], "red", Color.RED),
        (Literal[1, True], True, True),
        (datetime, "2026-11-21T12:00:00Z", NOON),
        (datetime, "2026-11-21t12:00:00.000z", NOON),
        (datetime, "2026-11-21 12:00:00", NOON.replace(tzinfo=None)),
        (time, "12:00:00", time(12)),
        (
            datetime,
            "2026-11-21T12:00:00+02:00",
            datetime(2026, 11, 21, 12, tzinfo=timezone(timedelta(hours=2))),
        ),
        (Decimal, "1.10", Decimal("1.10")),
        (bytes, "aGk=", b"hi"),
        (pathlib.Path, "a/b", pathlib.Path("a/b")),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple, [1, "a"], (1, "a")),
        (set[int], [1, 1, 2], {1, 2}),
        (AbstractSet[int], [1], frozenset({1})),
        (deque[int], [1], deque([1])),
        (Mapping[date, int], {"2026-11-21": 1}, {date(2026, 11, 21): 1}),
        (dict, {"a": [1]}, {"a": [1]}),
        (UserId, 5, 5),
        (Alias, [1], [1]),
        (ListOf[int], [1], [1]),
        (JSONish, ["a", {"b": ["c"]}], ["a", {"b": ["c"]}]),
        (Cat | Dog, {"kind": "dog", "age": 3}, Dog("dog", 3)),
        (Point, {"x": 1}, Point(1)),
        (Half, {"a": 1}, {"a": 1}),
        (Page[int], {"items": [1]}, Page([1])),
        (Box[Box[int]], {"item": {"item": 1}}, Box(Box(1))),
        (tuple[Alias, Alias], [[1], []], ([1], [])),
        (Page, {"items": ["a"]}, Page(["a"])),
        (Guarded, {"count": 4, "word": "a", "secret": 1}, Guarded(4, "A", 1)),
        (Checked, {"n": 1}, Checked(1)),
        (Model, {"title": "t"}, Model(title="t")),
        (list[Model], [{"title": "t", "inner": {"n": 4}}], [Model(title="t", inner=Inner(n=4))]),
        (N, 1, 1),
        (B, 1, 1),
        (object, [None], [None]),
        (None, None, None),
        (Annotated[int, "n", {"not": "known"}], 3, 3),
    ],
)  # fmt: skip
def test_what_fits(kind: Any, value: Any, expected: Any) -> None:
    """It becomes a value of its type."""
    found = convert(kind, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "problems"),
    [
        (int, "1", "$: expected an integer, got a string"),
        (int, 1.5, "$: expected an integer, got a number"),
        (int, True, "$: expected an integer, got a boolean"),
        (bool, 1, "$: expected a boolean, got an integer"),
        (str, None, "$: expected a string, got null"),
        (float, 10**400, "$: the number is beyond all floats"),
        (int, b"1", "$: expected an integer, got a bytes"),
        (list[int], [1, "2", None], "$[1]: expected an integer, got a string; $[2]: expected an integer, got null"),
        (list[int], {}, "$: expected an array, got an object"),
        (dict[str, int], [], "$: expected an object, got an array"),
        (dict[str, int], {"a": "b"}, "$['a']: expected an integer, got a string"),
        (dict[UUID, int], {str(ID): 1, str(ID).upper(): 2}, "$: two keys mean the same"),
        (Model, {"title": None, "inner": {"n": "x"}, "more": [None]}, "$.title: Field required; $.inner.n: Input should be a valid integer; $.more[0]: Input should be an object"),
        (JSONish, [3], "$[0]: expected a string or an array or an object, got an integer"),
        (dict[date, int], {"a": 1}, "$['a'] (the key): expected a date (YYYY-MM-DD)"),
        (tuple[int, str], [1], "$: expected an array of 2, got 1"),
        (tuple[int, str], "ab", "$: expected an array of 2, got a string"),
        (tuple[int, str], ["a", "b"], "$[0]: expected an integer, got a string"),
        (set[Any], [[1]], "$: refused: unhashable type: 'list'"),
        (Color, "green", '$: expected one of "red", "blue"'),
        (Literal["a"], [1], '$: expected "a"'),
        (Literal[1, None], True, "$: expected one of 1, null"),
        (date, "20261121", "$: expected a date (YYYY-MM-DD)"),
        (date, "2026-13-01", "$: expected a date (YYYY-MM-DD)"),
        (date, 5, "$: expected a date (YYYY-MM-DD), got an integer"),
        (Decimal, 1.5, "$: expected a decimal number, as a string, got a number"),
        (Decimal, "NaN", "$: expected a decimal number, as a string"),
        (bytes, "a b", "$: expected base64"),
        (Annotated[int, "a"] | Annotated[str, at.Len(1), "b"] | Alias, {}, "$: expected an integer or a string or an array, got an object"),
        (JSONish | int, None, "$: expected a JSONish or an integer, got null"),
        (int | str, [], "$: expected an integer or a string, got an array"),
        (Cat | None, {"kind": "cat"}, "$.lives: is missing: an integer"),
        (Cat | Dog, {"kind": "dog"}, "$.age: is missing: an integer"),
        (Cat | Dog, {"kind": "cow"}, '$: expected an object (Cat) or an object (Dog) (as an object (Cat): $.kind: expected "cat", $.lives: is missing: an integer; as an object (Dog): $.kind: expected "dog", $.age: is missing: an integer)'),
        (Cat | Stone, {"weight": "1"}, "$.weight: expected a number, got a string"),
        (Stone, {"height": 1}, "$.height: is not known; known are: weight"),
        (Stone, [], "$: expected an object (Stone), got an array"),
        (Guarded, {"count": 1}, "$: refused: 'count' must be > 3: 1"),
        (Silent, {"n": 1}, "$: refused: RuntimeError"),
        (Annotated[int, at.Ge(1)], 0, "$: must be 1 or more"),
        (Annotated[int, at.Ge(1)], "0", "$: expected an integer, got a string"),
        (Annotated[float, at.MultipleOf(0.5)], 0.7, "$: must be a multiple of 0.5"),
        (Annotated[float, at.MultipleOf(0.5)], 1e308, None),
        (Annotated[str, pydantic.Field(pattern="^a")], "b", "$: must be a match of ^a"),
        (Annotated[Decimal, at.Gt(Decimal(1))], "1", "$: must be more than 1"),
        (Annotated[str, at.Ge(1)], "b", "$: must be 1 or more"),
        (Annotated[int | None, at.Ge(1)], 0, "$: must be 1 or more"),
        (dict[str, Annotated[int, at.Ge(1)]], {"a b": 0}, "$['a b']: must be 1 or more"),
        (Model, {"inner": {"n": "x"}}, "$.title: Field required; $.inner.n: Input should be a valid integer"),
        (Model, {"title": "t", "more": [{"n": "x"}]}, "$.more[0].n: Input should be a valid integer"),
        (Model, {"title": None}, "$.title: Field required"),
        (Model, [], "$: Input should be an object"),
    ],
)  # fmt: skip
def test_what_does_not_fit(kind: Any, value: Any, problems: str | None) -> None:
    """All of it is told, with the way there, and never the value."""
    if problems is None:
        assert convert(kind, value) == value
        return
    with pytest.raises(ConversionError) as caught:
        convert(kind, value)
    assert str(caught.value) == problems


def test_a_long_list_of_problems() -> None:
    """The first twenty are told, and all are there."""
    with pytest.raises(ConversionError) as caught:
        convert(list[int], ["x"] * 25)
    assert len(caught.value.problems) == 25
    assert str(caught.value).endswith("; and 5 more")
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Stone, {"weight": None}, Stone()),
        (Point, {"x": 1, "y": None}, Point(1)),
        (list[Stone], [{"weight": None}], [Stone()]),
        (Half, {"a": 1, "b": None}, {"a": 1}),
        (
            Model,
            {"title": "t", "inner": None, "more": [{"n": None, "at": None}]},
            Model(title="t", more=[Inner()]),
        ),
    ],
)
def test_null_leaves_out(kind: Any, value: Any, expected: Any) -> None:
    """What may be left out, and cannot be null: strict modes have models say so."""
    assert convert(kind, value) == expected


def test_the_order_of_a_union_counts() -> None:
    """Although ``int | str == str | int``, which a cache must not fall for."""
    assert convert(date | str, "2026-11-21") == date(2026, 11, 21)
    assert convert(str | date, "2026-11-21") == "2026-11-21"
    assert schema_of(list[int | str])["items"]["anyOf"][0] == {"type": "integer"}
    assert schema_of(list[str | int])["items"]["anyOf"][0] == {"type": "string"}


# --- schemas ---------------------------------------------------------------------------


def test_two_classes_of_one_name() -> None:
    """Each has its own place in ``$defs``."""

    def made(kind: Any) -> Any:
        return dataclasses.make_dataclass("Twin", [("a", kind)])

    one, two = made(int), made(str)
    whole = dataclasses.make_dataclass("Whole", [("a", one), ("b", two), ("c", one), ("d", two)])  # fmt: skip
    schema = schema_of(whole)
    assert schema["properties"]["a"] == {"$ref": "#/$defs/Twin"}
    assert schema["properties"]["d"] == {"$ref": "#/$defs/Twin2"}
    assert schema["$defs"]["Twin2"]["properties"]["a"] == {"type": "string"}


def test_models_share_their_definitions() -> None:
    """What two models hold, pydantic says twice; we say it once."""

    @dataclasses.dataclass
    class Both:
        a: Model
        b: Inner2
        c: Model

    Both.__annotations__.update(a=Model, b=Inner2, c=Model)
    schema = schema_of(Both)
    assert sorted(schema["$defs"]) == ["Inner", "Model"]
    assert schema["properties"]["b"]["properties"]["other"] == {"$ref": "#/$defs/Inner"}


def test_a_model_that_holds_itself() -> None:
    """The whole is a plain object all the same, which is what OpenAI wants."""

    class Node(pydantic.BaseModel):
        kids: list[Node] = []

    Node.model_rebuild(_types_namespace={"Node": Node})
    schema = schema_of(Node)
    assert schema["type"] == "object"
    assert schema["properties"]["kids"]["items"] == {"$ref": "#/$defs/Node"}
    assert [*schema["$defs"]] == ["Node"]


def test_a_recursive_alias() -> None:
    """It has a name, so it stands in ``$defs``."""
    schema = schema_of(JSONish)
    assert schema["$defs"]["JSONish"]["anyOf"][0] == {"type": "string"}
    assert schema["anyOf"][1]["items"] == {"$ref": "#/$defs/JSONish"}


def test_a_property_called_ref() -> None:
    """It is a property, and no reference."""
    kind = TypedDict("kind", {"$ref": str})
    assert schema_of(kind)["properties"] == {"$ref": {"type": "string"}}  # type: ignore[arg-type, unused-ignore]


def test_unhashable_notes() -> None:
    """They are read each time anew."""
    assert schema_of(Annotated[int, ["x"], "words"]) == {
        "type": "integer",
        "description": "words",
    }


def test_a_bound_that_says_nothing() -> None:
    """Bounds that the JSON form does not have are checked, and not said."""
    assert schema_of(Annotated[Decimal, at.Gt(Decimal(1))])["pattern"]
    assert "exclusiveMinimum" not in schema_of(Annotated[Decimal, at.Gt(Decimal(1))])
    assert schema_of(Annotated[str, at.MinLen(0)]) == {"type": "string"}
    assert schema_of(Annotated[str, str]) == {"type": "string"}


def test_notes_of_other_libraries() -> None:
    """What only looks like a bound is none, and so is a bound without a number."""

    class Note:
        def ge(self) -> None: ...

    assert schema_of(Annotated[int, Note(), 5, int]) == {"type": "integer"}


def test_a_docstring_that_nobody_can_read() -> None:
    """It is told as it is."""
    text = "Example::\n.. deprecated:: 1\n\nParameters\n----------\n: :\n"
    assert documentation(text).text == text.strip()
    assert documentation("  ").text is None


def test_any_among_others_is_any() -> None:
    """There is nothing that it does not allow."""
    assert schema_of(int | Any) == {}
    assert schema_of(list[int] | Sequence[int]) == schema_of(list[int])
    assert schema_of(Annotated[int, "a"] | Annotated[int, "a"]) == {
        "type": "integer",
        "description": "a",
    }


class Odd(Enum):
    A = ("x",)


class Free:
    """A plain class."""


class Broken:
    pass


@dataclasses.dataclass
class Unresolved:
    a: Nowhere  # type: ignore[name-defined]  # noqa: F821


@dataclasses.dataclass
class Holder:
    inner: list[Free]


class Arbitrary(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    it: Free


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Free, "Free: Free has no form in JSON"),
        (Holder, "Holder.inner: Free has no form in JSON"),
        (complex, "complex has no form"),
        (dict[int, str], "keys in JSON are strings"),
        (Odd, "Odd.A has the value"),
        (Literal[b"x"], "no form for Literal"),
        (Unresolved, "name 'Nowhere' is not defined. Annotations have to be resolvable"),
        (Arbitrary, "Arbitrary: "),
        ("Free", "has no form"),
    ],
)  # fmt: skip
def test_what_has_no_form(kind: Any, message: str) -> None:
    """It is said when the type is looked at, with the way there."""
    with pytest.raises(ConfigError) as caught:
        schema_of(kind)
    assert message in str(caught.value)


# --- back again ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Color.RED, "red"),
        (Decimal("1E+3"), "1000"),
        (NOON, "2026-11-21T12:00:00+00:00"),
        (pathlib.PurePosixPath("a"), "a"),
        (b"hi", "aGk="),
        (Point(1, 2), {"x": 1, "y": 2}),
        ({Color.RED: {1}}, {"red": [1]}),
        (Guarded(4, "a", 1), {"count": 4, "word": "A", "secret": 1}),
        (Inner(at=date(2026, 1, 2)), {"n": 3, "at": "2026-01-02"}),
        (Checked(1), {"n": 1}),
        (Stone(2.0), {"weight": 2.0}),
    ],
)
def test_plain(value: Any, expected: Any) -> None:
    """Whatever can be read can be said."""
    assert plain(value) == expected


@pytest.mark.parametrize("value", [Free(), {1: 2}, Stone, float("nan"), [float("inf")]])
def test_what_cannot_be_said(value: Any) -> None:
    """It is refused: orjson would make null of NaN."""
    with pytest.raises((TypeError, ValueError), match="JSON"):
        plain(value)
