"""JSON Schemas of the user's own: what is checked, and what is not."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, strategies as st

from aichat.errors import ConfigError
from aichat.schemas import ConversionError
from aichat.structured._json_schema import checked, follow

from .json_texts import values

_KEYS = st.sampled_from(["a", "b", "c"])
_LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(
                st.sampled_from([
                    "array",
                    "boolean",
                    "integer",
                    "null",
                    "number",
                    "object",
                    "string",
                ]),
                st.lists(st.sampled_from(["integer", "string", "null"]), min_size=1),
            ),
            "minimum": st.integers(-5, 5),
            "maximum": st.integers(-5, 5),
            "exclusiveMinimum": st.integers(-5, 5),
            "exclusiveMaximum": st.integers(-5, 5),
            "multipleOf": st.integers(1, 4),
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "minItems": st.integers(0, 3),
            "maxItems": st.integers(0, 3),
            "minProperties": st.integers(0, 3),
            "maxProperties": st.integers(0, 3),
            "pattern": st.sampled_from(["a", "^[0-9]*$", "b$"]),
            "uniqueItems": st.booleans(),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "format": st.just("date"),
            "description": st.text(max_size=3),
        },
    ),
)
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(_KEYS, inner, max_size=3),
                "patternProperties": st.dictionaries(
                    st.sampled_from(["a", "[bc]"]), inner, max_size=2
                ),
                "additionalProperties": inner,
                "required": st.lists(_KEYS, max_size=2, unique=True),
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "items": inner,
            },
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "anyOf": st.lists(inner, min_size=1, max_size=3),
                "oneOf": st.lists(inner, min_size=1, max_size=3),
                "allOf": st.lists(inner, min_size=1, max_size=3),
                "not": inner,
                "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
            },
        ),
    ),
    max_leaves=4,
)
#: No nulls: see `test_a_null_that_stands_for_nothing`.
SOLID = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-9, 9), st.sampled_from([0.5, 2.0]), st.text("ab1")
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)
    ),
    max_leaves=6,
)


@given(SCHEMAS, _LEAVES, _LEAVES, SOLID)
def test_the_verdict_is_that_of_jsonschema(
    schema: Any, one: Any, two: Any, value: Any
) -> None:
    """
    Where the reference implementation finds something wrong, so do we, and only there.
    """
    if isinstance(schema, bool):
        schema = {"allOf": [schema]}
    schema = {**schema, "$defs": {"one": one, "two": two}}
    valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    try:
        assert follow(checked(schema), value) == value
    except ConversionError:
        assert not valid
    else:
        assert valid


ITEM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "note": {"type": "string"},
        "size": {"type": ["integer", "null"]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def test_a_null_that_stands_for_nothing() -> None:
    """
    Strict modes demand every property: null is how a model leaves one out.
    """
    read = follow(ITEM, {"name": "x", "note": None, "size": None})
    assert read == {"name": "x", "size": None}
    with pytest.raises(ConversionError, match=r"\$\.name: string is expected"):
        follow(ITEM, {"name": None})


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        (ITEM, {}, "$.name: is missing"),
        (ITEM, [], "$: object is expected"),
        (ITEM, {"name": "x", "no": 1}, "$.no: there is no such key"),
        (ITEM, {"name": "x", "a b": 1}, '$["a b"]: there is no such key'),
        (
            {"items": ITEM},
            [{"name": ""}],
            "$[0].name: 1 characters or more is expected",
        ),
        ({"enum": [1, "a"]}, "b", '$: one of [1,"a"] is expected'),
        ({"const": 1}, True, "$: 1 is expected"),
        ({"type": ["string", "null"]}, 1, "$: string or null is expected"),
        ({"anyOf": [{"type": "string"}, ITEM]}, 1, "$: none of its alternatives fits"),
        (
            {"anyOf": [{"type": "string"}, ITEM]},
            {"name": 1},
            "$.name: string is expected",
        ),
        ({"oneOf": [True, True]}, 1, "$: several of its alternatives fit, not one"),
        ({"not": {"type": "integer"}}, 1, "$: what it must not be"),
        ({"items": False}, [1], "$[0]: nothing may stand here"),
        ({"uniqueItems": True}, [{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], "differ"),
        ({"multipleOf": 0.1}, 0.35, "a multiple of 0.1"),
    ],
)
def test_what_is_said(schema: Any, value: Any, told: str) -> None:
    """
    The place and what is expected there, and never the value.
    """
    with pytest.raises(ConversionError) as caught:
        follow(checked(schema), value)
    assert told in str(caught.value)


@pytest.mark.parametrize("value", [0.3, 0.7, 2, 1e300])
def test_tenths(value: float) -> None:
    """
    Decimal fractions are multiples as people write them, and not as floats round them.
    """
    assert follow({"multipleOf": 0.1}, value) == value


def test_one_and_true_differ() -> None:
    """
    In JSON they do; 1 and 1.0 do not.
    """
    assert follow({"uniqueItems": True}, [1, True, "1"]) == [1, True, "1"]
    assert follow({"const": 1}, 1.0) == 1.0
    assert follow({"type": "integer"}, 2.0) == 2.0
    with pytest.raises(ConversionError):
        follow({"type": "integer"}, 2.5)


def test_keys_by_pattern() -> None:
    """
    A key that fits one is no other key.
    """
    schema = {"patternProperties": {"^x": {"const": 1}}, "additionalProperties": False}
    assert follow(checked(schema), {"x1": 1}) == {"x1": 1}
    with pytest.raises(ConversionError, match=r"\$\.x1: 1 is expected; \$\.y"):
        follow(schema, {"x1": 2, "y": 1})


def test_a_schema_that_holds_itself() -> None:
    """
    It is followed as deep as the value goes.
    """
    tree = {
        "type": "object",
        "properties": {"in": {"type": "array", "items": {"$ref": "#"}}},
        "additionalProperties": False,
    }
    assert follow(checked(tree), {"in": [{"in": []}]}) == {"in": [{"in": []}]}
    with pytest.raises(ConversionError, match=r"\$\.in\[0\]\.out"):
        follow(tree, {"in": [{"out": 1}]})


def test_a_name_with_a_slash() -> None:
    """
    References escape it, as RFC 6901 says.
    """
    schema = {"$defs": {"a/b~": {"const": 1}}, "$ref": "#/$defs/a~1b~0"}
    assert follow(checked(schema), 1) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "int"},
        {"type": ["string", "float"]},
        {"properties": {"a": "string"}},
        {"items": [{"type": "string"}]},
        {"anyOf": [{"type": "string"}, 1]},
        {"$ref": "#/$defs/none"},
        {"$ref": "other.json#/a"},
        {"$defs": {"a": {"type": "x"}}},
        {"pattern": "("},
        {"patternProperties": {"[": True}},
        {"minimum": "1"},
        {"maxLength": True},
        {"multipleOf": 0},
        {"enum": "abc"},
        {"required": "name"},
        {"properties": ["name"]},
        {"anyOf": {"type": "string"}},
        {"type": [{"type": "string"}]},
    ],
)
def test_schemas_that_make_no_sense(schema: Any) -> None:
    """
    That is noticed before anybody is asked.
    """
    with pytest.raises(ConfigError, match="makes no sense"):
        checked(schema)


def test_a_schema_that_is_only_itself() -> None:
    """
    Going round in circles ends with an error.
    """
    with pytest.raises(ConfigError, match="never ends"):
        follow(checked({"$ref": "#"}), 1)
