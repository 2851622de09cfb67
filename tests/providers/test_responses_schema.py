"""Schemas that OpenAI enforces: `aichat.providers._openai_schema`."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.errors import InvalidRequestError
from aichat.providers._openai_schema import enforceable


def shaped(**properties: Any) -> dict[str, Any]:
    """An object with all of *properties* required."""
    return {"type": "object", "properties": properties, "required": [*properties]}


def strict(schema: Any) -> Any:
    """What becomes of one required property."""
    return enforceable(shaped(it=schema), where="s")["properties"]["it"]


def optional(schema: Any) -> Any:
    """What becomes of one property that may be left out."""
    whole = {"type": "object", "properties": {"it": schema}}
    return enforceable(whole, where="s")["properties"]["it"]


def test_objects_are_closed() -> None:
    """
    On every floor; and what was given is not touched.
    """
    given = shaped(inner=shaped(n={"type": "integer"}))
    assert enforceable(given, where="s") == {
        "type": "object",
        "properties": {
            "inner": {
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "required": ["n"],
                "additionalProperties": False,
            }
        },
        "required": ["inner"],
        "additionalProperties": False,
    }
    assert given == shaped(inner=shaped(n={"type": "integer"}))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "string"}, {"type": ["string", "null"]}),
        ({"type": ["string", "integer"]}, {"type": ["string", "integer", "null"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        (
            {"type": "string", "enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"anyOf": [{"type": "string"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        ({"$ref": "#/$defs/A"}, {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}),
        (
            {"type": "string", "const": "a", "description": "d"},
            {
                "anyOf": [{"type": "string", "const": "a"}, {"type": "null"}],
                "description": "d",
            },
        ),
    ],
)
def test_what_may_be_left_out_may_be_null(given: Any, expected: Any) -> None:
    """
    Every property is required, so there must be a way to say nothing.
    """
    assert optional(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"type": "string", "minLength": 1, "description": "A name."},
            {"type": "string", "description": "A name. (minLength: 1)"},
        ),
        (
            {"type": "integer", "default": 3, "minimum": 1},
            {"type": "integer", "minimum": 1, "description": "(default: 3)"},
        ),
        (
            {"type": "string", "format": "uri"},
            {"type": "string", "description": '(format: "uri")'},
        ),
        (
            {"type": "string", "format": "date"},
            {"type": "string", "format": "date"},
        ),
        ({"type": "string", "pattern": "a+"}, {"type": "string", "pattern": "a+"}),
        (
            {"type": "string", "pattern": "(?=a)"},
            {"type": "string", "description": '(pattern: "(?=a)")'},
        ),
        (
            {"type": "string", "title": "T", "$comment": "c", "deprecated": True},
            {"type": "string"},
        ),
        (
            {"oneOf": [{"type": "string"}], "discriminator": {}},
            {"anyOf": [{"type": "string"}]},
        ),
        (
            {"$ref": "#/$defs/A", "description": "d"},
            {"anyOf": [{"$ref": "#/$defs/A"}], "description": "d"},
        ),
        ({"allOf": [{"$ref": "#/$defs/A"}]}, {"$ref": "#/$defs/A"}),
        (
            {"type": "array", "items": {"type": "string", "maxLength": 2}},
            {
                "type": "array",
                "items": {"type": "string", "description": "(maxLength: 2)"},
            },
        ),
        ({"enum": ["a"]}, {"enum": ["a"]}),
    ],
)
def test_constraints_become_words(given: Any, expected: Any) -> None:
    """
    What cannot be enforced is said in the description; remarks for tools just go.
    """
    assert strict(given) == expected


def test_definitions() -> None:
    """
    They are closed as well, and may refer to themselves.
    """
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/Node"}},
        "required": ["next"],
    }
    whole = {**shaped(first={"$ref": "#/$defs/Node"}), "$defs": {"Node": node}}
    found = enforceable(whole, where="s")
    assert found["$defs"]["Node"]["additionalProperties"] is False
    assert found["properties"]["first"] == {"$ref": "#/$defs/Node"}


def test_properties_with_the_names_of_keywords() -> None:
    """
    They are names there, and nothing else.
    """
    found = enforceable(shaped(default={"type": "string"}), where="s")
    assert found["properties"] == {"default": {"type": "string"}}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "says nothing"),
        ({"title": "Any"}, "says nothing"),
        (True, "says nothing"),
        ({"type": "object"}, "free keys"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "free keys"),
        ({"type": ["object", "null"]}, "free keys"),
        ({"type": "object", "properties": {}, "patternProperties": {}}, "pattern"),
        ({"type": "array"}, "items"),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, "prefixItems"),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, "allOf"),
        ({"type": "array", "items": {}}, "says nothing"),
    ],
)
def test_what_cannot_be_enforced(given: Any, what: str) -> None:
    """
    The error names the place; nothing is sent that means something else.
    """
    # G4
    with pytest.raises(InvalidRequestError, match=what) as caught:
        strict(given)
    assert "s.properties.it" in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"type": "array", "items": {"type": "string"}},
        {"anyOf": [{"type": "object", "properties": {}}]},
        {"type": "string"},
    ],
)
def test_the_whole_must_be_an_object(given: Any) -> None:
    """
    And not a choice of several.
    """
    with pytest.raises(InvalidRequestError, match="as a whole"):
        enforceable(given, where="s")


def test_an_object_without_properties_that_is_closed() -> None:
    """
    It has nothing in it, which can be enforced.
    """
    closed = {"type": "object", "additionalProperties": False}
    assert strict(closed) == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
