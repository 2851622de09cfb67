"""
JSON Schema, as far as Gemini knows it.

It takes a subset, ignores some of the rest and refuses some. What can be said in the subset
is said there; a constraint that has to go is put into words, in the description next to it,
where the model reads it.

See: https://ai.google.dev/gemini-api/docs/structured-output
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..types import dumps

__all__ = ["understood"]

_KNOWN: Final = {
    "$anchor",
    "$defs",
    "$id",
    "$ref",
    "additionalProperties",
    "anyOf",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "oneOf",
    "prefixItems",
    "properties",
    "propertyOrdering",
    "required",
    "title",
    "type",
}
#: What only tools for schemas read.
_REMARKS: Final = {"$schema", "$comment", "deprecated", "readOnly", "writeOnly"}
_ONE: Final = ("items", "additionalProperties")
_MANY: Final = ("anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "$defs")


def understood(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return *schema* in the words that Gemini knows.

    >>> understood({"const": "yes", "minLength": 1})
    {'enum': ['yes'], 'description': '(minLength: 1)'}
    """
    schema = _flat(schema)
    known: dict[str, Any] = {}
    words: list[str] = []
    for key, value in schema.items():
        match key, value:
            case "const", str() | int() | float() if not isinstance(value, bool):
                known["enum"] = [value]
            case "$ref", str():
                known[key] = value.replace("#/definitions/", "#/$defs/", 1)
            case _ if key in _ONE and isinstance(value, Mapping):
                known[key] = understood(value)
            case _ if key in _MANY and isinstance(value, (list, tuple)):
                known[key] = [_inner(v) for v in value]
            case _ if key in _NAMED and isinstance(value, Mapping):
                known[key] = {k: _inner(v) for k, v in value.items()}
            case _ if key in _KNOWN:
                known[key] = value
            case _ if key not in _REMARKS:
                words.append(f"{key}: {dumps(value).decode()}")
            case _:
                pass
    if words:
        note = f"({', '.join(words)})"
        known["description"] = " ".join(filter(None, (schema.get("description"), note)))
    return known


def _flat(schema: Mapping[str, Any]) -> dict[str, Any]:
    """*schema* with what ``allOf`` adds to it, and older names renewed."""
    flat = dict(schema)
    if "definitions" in flat:
        flat["$defs"] = {**flat.pop("definitions"), **flat.get("$defs", {})}
    members = flat.get("allOf")
    if not isinstance(members, (list, tuple)):
        return flat
    merged = {key: value for key, value in flat.items() if key != "allOf"}
    for member in members:
        if not isinstance(member, Mapping) or not _add(merged, _flat(member)):
            return flat  # it says two things about one; as words it stays true
    return merged


def _add(whole: dict[str, Any], more: Mapping[str, Any]) -> bool:
    """Put *more* into *whole*; whether that can be done without changing either."""
    for key, value in more.items():
        there = whole.get(key, value)
        match key:
            case "required":
                whole[key] = list(dict.fromkeys([*there, *value]))
            case "properties" | "$defs" if _agree(there, value):
                whole[key] = {**there, **value}
            case "description":
                whole[key] = " ".join(dict.fromkeys((there, value)))
            case _ if there == value and key != "additionalProperties":
                whole[key] = value
            case _:
                return False
    return True


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[key] == other[key] for key in one.keys() & other.keys())


def _inner(value: Any) -> Any:
    return understood(value) if isinstance(value, Mapping) else value
