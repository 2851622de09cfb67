"""The simulator's JSON follows the schema that it was given."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.testing._sim_schema import instance

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "last": {"type": ["object", "null"]},
            },
            "required": ["name", "next", "children", "last"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        # Types, and what stands in for them.
        ({"type": "string"}, "Paris"),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 3),
        ({"type": ["null"]}, None),
        ({}, "Paris"),
        (True, "Paris"),
        ({"const": {"x": 1}}, {"x": 1}),
        ({"minimum": 5}, 5),
        ({"items": {"type": "integer"}, "maxItems": 1}, [3]),
        ({"required": ["a"]}, {"a": "Paris"}),
        # Choices: what the prompt speaks of, else the first.
        ({"enum": ["celsius", "kelvin"]}, "kelvin"),
        ({"enum": [1, "other"]}, 1),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 3),
        ({"oneOf": [{"type": "null"}]}, None),
        ({"anyOf": [{"minimum": 7}, {"type": "null"}], "type": "integer"}, 7),
        # Numbers: from the prompt, if they fit.
        ({"type": "integer"}, 3),
        ({"type": "number", "minimum": 4}, 4),
        ({"type": "number", "maximum": 2}, 1),
        ({"type": "integer", "minimum": 3.5, "maximum": 10}, 4),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "exclusiveMaximum": 1}, 0),
        ({"type": "number", "exclusiveMinimum": 3}, 4),
        ({"type": "number", "exclusiveMaximum": 0}, -1),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "integer", "multipleOf": 5}, 5),
        ({"type": "number", "multipleOf": 0.5, "minimum": 0.2, "maximum": 0.9}, 0.5),
        # Strings.
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "string", "format": "unheard-of"}, "Paris"),
        ({"type": "string", "minLength": 8}, "Paris..."),
        ({"type": "string", "maxLength": 3}, "Par"),
        ({"type": "string", "pattern": "^[0-9]+$"}, "0"),
        ({"type": "string", "pattern": r"^\p{L}+$"}, "Paris"),
        # Arrays.
        ({"type": "array"}, ["Paris", "Paris"]),
        ({"type": "array", "minItems": 3, "items": {"type": "null"}}, [None] * 3),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, [1]),
        ({"type": "array", "prefixItems": [{"const": 1}]}, [1, "Paris"]),
        ({"type": "array", "maxItems": 0}, []),
        (
            {
                "type": "array",
                "uniqueItems": True,
                "minItems": 3,
                "items": {"enum": ["a", "b", "c"]},
            },
            ["a", "b", "c"],
        ),
        (
            {"type": "array", "uniqueItems": True, "items": {"type": "boolean"}},
            [True, False],
        ),
        ({"type": "array", "uniqueItems": True, "items": {"type": "integer"}}, [3, 4]),
        (
            {
                "type": "array",
                "uniqueItems": True,
                "items": {"type": "integer", "maximum": 3},
            },
            [3, 2],
        ),
        (
            {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
            ["Paris", "Paris 1"],
        ),
        # Nothing but null can be made: there is one null.
        ({"type": "array", "uniqueItems": True, "items": {"type": "null"}}, [None]),
        # Objects.
        ({"type": "object"}, {}),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a", "b"],
                "additionalProperties": {"type": "boolean"},
            },
            {"a": 3, "b": True},
        ),
        # Composition.
        (
            {
                "allOf": [
                    {"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ],
                "type": "object",
            },
            {"a": 1, "b": 2},
        ),
        ({"$defs": {"a/b": {"const": 4}}, "$ref": "#/$defs/a~1b"}, 4),
        ({"$ref": "#/$defs/nowhere"}, "Paris"),
        ({"$ref": "https://example.com/elsewhere"}, "Paris"),
        ({"$defs": {"x": 5}, "$ref": "#/$defs/x"}, "Paris"),
    ],
)
def test_a_schema_gets_a_value(schema: Any, expected: Any) -> None:
    """
    What is asked for comes out, with words and numbers of the prompt where they fit.
    """
    made = instance(schema, "Is it over 3 kelvin in Paris?")

    assert made == expected
    assert type(made) is type(expected) or isinstance(made, (int, float))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Fly from Rome to New York on Friday", ["Rome", "New York", "Friday"]),
        ('Search for "blue shoes"', ["blue shoes"] * 3),
        ("tell me something", ["tell me something"] * 3),
        ("", ["something"] * 3),
    ],
)
def test_strings_are_made_of_the_prompt(prompt: str, expected: list[str]) -> None:
    """
    Quotations first, then names, then all of it; several strings get different ones.
    """
    schema = {"properties": {name: {"type": "string"} for name in "abc"}}

    assert list(instance(schema, prompt).values()) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("007", 7), ("-2.50 or so", -2.5), ("v1.2.3", 1), ("a1", 1)],
)
def test_numbers_are_found_in_the_prompt(prompt: str, expected: float) -> None:
    """
    As people write them, and not out of the middle of something else.
    """
    assert instance({"type": "number"}, prompt) == expected


def test_a_recursive_schema_comes_to_an_end() -> None:
    """
    Deep down, only what must be there is made.
    """
    tree = instance(TREE, "x")

    depth = 0
    while tree is not None:
        assert set(tree) == {"name", "children", "next", "last"}
        tree, depth = tree["next"], depth + 1
    assert 2 <= depth <= 6


def test_an_endless_schema_is_given_up() -> None:
    """
    No value can follow it: it gets one that stops.
    """
    endless = {"properties": {"again": {"$ref": "#"}}, "required": ["again"]}
    round_and_round = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}

    assert instance(endless, "x")["again"]
    assert instance(round_and_round, "x") == "x"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": "low"},
        {"properties": [1, 2]},
        {"type": "integer", "multipleOf": 0},
        {"type": "array", "minItems": "many"},
    ],
)
def test_nonsense_is_refused(schema: Any) -> None:
    """
    What is no schema is one kind of error.
    """
    with pytest.raises(ValueError, match="makes no sense"):
        instance(schema, "x")
