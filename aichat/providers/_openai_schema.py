"""
JSON Schema, as far as OpenAI enforces it.

With ``strict`` every object is closed and every property required; one that may be left
out becomes one that may be null. A constraint that has to go is put into words, in the
description next to it, where the model reads it.

See: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from ..errors import InvalidRequestError
from ..types import dumps

__all__ = ["enforceable"]

_KNOWN: Final = {
    "$defs",
    "$ref",
    "anyOf",
    "const",
    "definitions",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "properties",
    "type",
}
_FORMATS: Final = {
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
}
#: What only tools for schemas read, and what is written anew.
_REMARKS: Final = {
    "$comment",
    "$id",
    "$schema",
    "additionalProperties",
    "deprecated",
    "discriminator",
    "readOnly",
    "required",
    "title",
    "writeOnly",
}
_NAMED: Final = ("properties", "$defs", "definitions")
_LOOK_AROUND: Final = re.compile(r"\(\?<?[=!]")
_NULL: Final = {"type": "null"}


def enforceable(schema: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """
    Return *schema* in the form that is enforced.

    Raises `InvalidRequestError` for what cannot be said there without meaning something
    else: objects with free keys, lists of anything, ``allOf``. *where* says in which schema.

    >>> enforceable(
    ...     {"type": "object", "properties": {"n": {"type": "integer"}}}, where="it"
    ... )["properties"]
    {'n': {'type': ['integer', 'null']}}
    """
    strict = _enforce(schema, where)
    if strict.get("type") != "object":
        _refuse(where, 'must be a plain object ({"type": "object"}) as a whole')
    return strict


def _enforce(schema: Any, where: str) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not schema.keys() - _REMARKS:
        _refuse(where, "says nothing about its type")
    schema = _flat(schema, where)
    known: dict[str, Any] = {}
    words: list[str] = []
    for key, value in schema.items():
        here = f"{where}.{key}"
        match key, value:
            case (("anyOf" | "oneOf"), [*options]):
                known["anyOf"] = [
                    _enforce(option, f"{here}[{n}]") for n, option in enumerate(options)
                ]
            case "items", _:
                known[key] = _enforce(value, here)
            case _ if key in _NAMED and isinstance(value, Mapping):
                known[key] = {k: _enforce(v, f"{here}.{k}") for k, v in value.items()}
            case _ if _accepted(key, value):
                known[key] = value
            case "prefixItems" | "patternProperties", _:
                _refuse(where, f"uses {key}")
            case _ if key not in _REMARKS:
                words.append(f"{key}: {dumps(value).decode()}")
            case _:
                pass
    if _is("object", schema):
        _close(known, schema, where)
    if _is("array", schema) and "items" not in known:
        _refuse(where, "is a list of anything: say of what, with items")
    if words:
        note = f"({', '.join(words)})"
        known["description"] = " ".join(filter(None, (known.get("description"), note)))
    if "$ref" in known and len(known) > 1:
        # Nothing may stand beside a reference.
        known = {"anyOf": [{"$ref": known.pop("$ref")}], **known}
    return known


def _close(known: dict[str, Any], schema: Mapping[str, Any], where: str) -> None:
    """Allow no other properties, and require all of them."""
    free = isinstance(schema.get("additionalProperties"), Mapping)
    if free or ("properties" not in schema and schema.get("additionalProperties", 1)):
        _refuse(
            where,
            "is an object with free keys; ask for a list of key and value instead",
        )
    required = schema.get("required") or ()
    known["properties"] = {
        name: value if name in required else _or_null(value)
        for name, value in known.get("properties", {}).items()
    }
    known["required"] = list(known["properties"])
    known["additionalProperties"] = False


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """*schema*, or null."""
    kind, options = schema.get("type"), schema.get("anyOf")
    if isinstance(options, list):
        if _NULL in options:
            return schema
        return {**schema, "anyOf": [*options, _NULL]}
    if kind is None or "const" in schema:
        outer = {k: schema[k] for k in ("description",) if k in schema}
        inner = {k: v for k, v in schema.items() if k not in outer}
        return {"anyOf": [inner, _NULL], **outer}
    kinds = kind if isinstance(kind, list) else [kind]
    if "null" in kinds:
        return schema
    wider = {**schema, "type": [*kinds, "null"]}
    if "enum" in wider:
        wider["enum"] = [*wider["enum"], None]
    return wider


def _flat(schema: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """*schema* without an ``allOf`` of one, which is what older tools put around a $ref."""
    match schema:
        case {"allOf": [dict(only)], **others}:
            return {**only, **others}
        case {"allOf": _}:
            _refuse(where, "uses allOf: put its schemas into one")
        case _:
            return schema


def _is(kind: str, schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type")
    if kinds is None:
        return kind == "object" and "properties" in schema
    return kind == kinds or (isinstance(kinds, (list, tuple)) and kind in kinds)


def _accepted(key: str, value: Any) -> bool:
    match key:
        case "format":
            return value in _FORMATS
        case "pattern":
            return not _LOOK_AROUND.search(str(value))
        case _:
            return key in _KNOWN


def _refuse(where: str, what: str) -> NoReturn:
    raise InvalidRequestError(
        f"{where} {what}: OpenAI cannot enforce that. Pass strict=False, or change the "
        "schema.",
        operation="chat",
    )
