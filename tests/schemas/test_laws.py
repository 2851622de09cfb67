"""What holds for all types: the schema and the checks say the same."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, time
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict, Union
from uuid import UUID

import annotated_types as at
import attrs
import jsonschema
from hypothesis import given, settings, strategies as st

from aichat.schemas import ConversionError, convert, plain, schema_of
from aichat.types import dumps, loads_exact


class Color(Enum):
    RED = "red"
    TWO = 2
    HALF = 0.5


@dataclasses.dataclass
class Leaf:
    number: int
    word: str = "x"


@attrs.frozen
class Tree:
    leaf: Leaf
    kids: list[Tree] = attrs.field(factory=list)
    note: str | None = None
    color: Color = Color.RED


class Entry(TypedDict, total=False):
    at: date
    tags: list[str]


BASES: list[Any] = [
    str,
    int,
    float,
    bool,
    None,
    date,
    UUID,
    Color,
    Literal["a", 1, True, None],
    Literal["b"],
    Leaf,
    Tree,
    Entry,
    Annotated[int, at.Ge(0), at.Lt(10)],
    Annotated[str, at.Len(1, 3), "short"],
]


def _wider(kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists: Any = list
    tuples: Any = tuple
    dicts: Any = dict
    return st.one_of(
        kinds.map(lambda k: lists[k]),
        kinds.map(lambda k: tuples[k, ...]),
        kinds.map(lambda k: dicts[str, k]),
        kinds.map(lambda k: _union([k, None])),
        st.tuples(kinds, kinds).map(lambda both: tuples[both]),
        st.lists(kinds, min_size=2, max_size=3).map(_union),
        st.lists(kinds, min_size=1, max_size=3).map(_record),
    )


def _union(kinds: list[Any]) -> Any:
    return Union[tuple(kinds)]  # noqa: UP007 -- None | None is no type


def _record(kinds: list[Any]) -> Any:
    return dataclasses.make_dataclass(
        "Made",
        [
            (
                f"f{n}",
                kind,
                dataclasses.field(default=None) if n else dataclasses.field(),
            )
            for n, kind in enumerate(kinds)
        ],
    )


KINDS = st.recursive(st.sampled_from(BASES), _wider, max_leaves=5)
TEXT = st.sampled_from(["", "x", "abcd", "a", "b", "red", "2026-11-21", "1"]) | st.text(max_size=4)  # fmt: skip
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([0.5, 1.0, 2.0, 1e300, -0.0]),
    TEXT,
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["number", "word", "leaf", "kids", "at", "f0", "f1"]), inner
        )
    ),
    max_leaves=6,
)


def valid(schema: dict[str, Any], value: Any) -> bool:
    checker = jsonschema.FormatChecker(["date", "uuid"])
    known = jsonschema.Draft202012Validator(schema, format_checker=checker)
    return known.is_valid(value)


def lenient(node: Any) -> Any:
    """*node*, where each property that may be left out may be null as well."""
    match node:
        case list():
            return [lenient(item) for item in node]
        case dict():
            wide = {key: lenient(item) for key, item in node.items()}
            for name, schema in wide.get("properties", {}).items():
                if name not in node.get("required", ()):
                    wide["properties"][name] = {"anyOf": [schema, {"type": "null"}]}
            return wide
        case _:
            return node


def changed(draw: Any, value: Any) -> Any:
    """*value* with something in it that is another."""
    match value:
        case list() if value and draw(st.booleans()):
            index = draw(st.integers(0, len(value) - 1))
            return [changed(draw, v) if n == index else v for n, v in enumerate(value)]
        case dict() if value and draw(st.booleans()):
            name = draw(st.sampled_from(sorted(value)))
            if draw(st.integers(0, 3)) == 0:
                return {k: v for k, v in value.items() if k != name}
            return {**value, name: changed(draw, value[name])}
        case dict() if draw(st.booleans()):
            return {**value, "f9": 1}
        case _:
            return draw(JSON)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    return st.from_type(type(None) if kind is None else kind)


def fits(kind: Any, value: Any) -> bool:
    try:
        convert(kind, value)
    except ConversionError:
        return False
    return True


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_valid_json_converts_and_invalid_json_does_not(data: st.DataObject) -> None:
    """
    Whatever the schema allows is read, and nothing else.

    Except that null may stand for what may be left out.
    """
    kind = data.draw(KINDS)
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    schema = lenient(schema)
    if data.draw(st.booleans()):
        value = data.draw(JSON)
    else:
        value = schemas_value(data, schema)
        if data.draw(st.booleans()):
            value = data.draw(st.composite(lambda draw: changed(draw, value))())
    assert fits(kind, value) == valid(schema, value)


def schemas_value(data: st.DataObject, schema: dict[str, Any]) -> Any:
    """A value after *schema*, nearly always."""
    return _make(data, schema, schema, 0)


def _make(data: st.DataObject, node: Any, root: Any, depth: int) -> Any:
    draw = data.draw
    match node:
        case {"$ref": str(name)}:
            return _make(data, root["$defs"][name.rpartition("/")[2]], root, depth)
        case {"anyOf": options}:
            return _make(data, draw(st.sampled_from(options)), root, depth)
        case {"enum": values}:
            return draw(st.sampled_from(values))
        case {"type": "object", "properties": properties}:
            required = node.get("required", ())
            return {
                name: _make(data, inner, root, depth + 1)
                for name, inner in properties.items()
                if name in required or (depth < 4 and draw(st.booleans()))
            }
        case {"type": "object"}:
            inner = node.get("additionalProperties", {"type": "string"})
            return {draw(TEXT): _make(data, inner, root, depth + 1)}
        case {"type": "array", "prefixItems": items}:
            return [_make(data, item, root, depth + 1) for item in items]
        case {"type": "array"}:
            size = node.get("minItems", 0 if depth > 3 else draw(st.integers(0, 2)))
            return [_make(data, node.get("items", {}), root, depth + 1) for _ in range(size)]  # fmt: skip
        case {"format": "date"}:
            return draw(st.dates()).isoformat()
        case {"format": "uuid"}:
            return str(draw(st.uuids()))
        case {"type": "string"}:
            return draw(TEXT)
        case {"type": "integer"}:
            return draw(st.integers(-3, 12) | st.just(1.0))
        case {"type": "number"}:
            return draw(st.floats(allow_nan=False, allow_infinity=False))
        case {"type": "boolean"}:
            return draw(st.booleans())
        case _:
            return None


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_values_come_back(data: st.DataObject) -> None:
    """``convert(kind, plain(value)) == value``, over the wire as well."""
    kind = data.draw(
        st.sampled_from([
            Leaf, Tree, Entry, Color, date, datetime, time, UUID, bytes,
            list[Tree], dict[str, Leaf], tuple[Color, int], set[UUID], frozenset[date],
        ])
    )  # fmt: skip
    value = data.draw(values_of(kind).filter(_sayable))
    said = plain(value)
    assert convert(kind, said) == value
    assert convert(kind, loads_exact(dumps(said))) == value
    assert valid(schema_of(kind), said)


def _sayable(value: Any) -> bool:
    """Not what no JSON text can hold; nor a whole zone of seconds, which RFC 3339 has not."""
    try:
        dumps(plain(value)).decode()
    except (ValueError, TypeError):
        return False
    offset = value.utcoffset() if isinstance(value, (datetime, time)) else None
    return offset is None or not offset.seconds % 60


@given(value=JSON)
def test_anything_is_any(value: Any) -> None:
    """`Any` takes all that JSON can say, as it is."""
    assert convert(Any, value) is value
