"""
JSON Schema, as far as Anthropic enforces it.

Every object has to be closed, and most constraints on values are refused. A constraint
that has to go is put into words, in the description next to it, where the model reads it.

See: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import InvalidRequestError
from ..types import dumps

__all__ = ["enforceable"]

_FORMATS: Final = {
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
}
_REFUSED: Final = {
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "uniqueItems",
}
_ONE: Final = ("items", "additionalItems", "contains", "not", "if", "then", "else")
_MANY: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED: Final = ("properties", "$defs", "definitions", "patternProperties")
_LOOK_AROUND: Final = re.compile(r"\(\?<?[=!]")


def enforceable(schema: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """
    Return *schema* in the form that is enforced.

    Raises `InvalidRequestError` for an object with free keys, which cannot be closed
    without changing what it means; *where* says in which schema.

    >>> enforceable({"type": "integer", "minimum": 1}, where="response_format")
    {'type': 'integer', 'description': '(minimum: 1)'}
    """
    closed: dict[str, Any] = {}
    words: list[str] = []
    for key, value in schema.items():
        here = f"{where}.{key}"
        if not _accepted(key, value):
            words.append(f"{key}: {dumps(value).decode()}")
        elif key in _ONE and isinstance(value, Mapping):
            closed[key] = enforceable(value, where=here)
        elif key in _MANY and isinstance(value, (list, tuple)):
            closed[key] = [_inner(v, where=f"{here}[{n}]") for n, v in enumerate(value)]
        elif key in _NAMED and isinstance(value, Mapping):
            closed[key] = {k: _inner(v, where=f"{here}.{k}") for k, v in value.items()}
        else:
            closed[key] = value
    if _is_object(schema):
        if _is_open(schema):
            raise InvalidRequestError(
                f"{where} is an object with free keys (additionalProperties), which "
                "Anthropic cannot enforce. Ask for a list of key and value instead.",
                operation="chat",
            )
        closed["additionalProperties"] = False
    if words:
        note = f"({', '.join(words)})"
        closed["description"] = " ".join(
            filter(None, (schema.get("description"), note))
        )
    return closed


def _inner(value: Any, *, where: str) -> Any:
    return enforceable(value, where=where) if isinstance(value, Mapping) else value


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return (
        kind == "object"
        or "properties" in schema
        or (isinstance(kind, (list, tuple)) and "object" in kind)
    )


def _is_open(schema: Mapping[str, Any]) -> bool:
    """Whether keys of any name are the point of it, and not only tolerated."""
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping):
        return True
    shaped = {"properties", "$ref", *_MANY} & schema.keys()
    return extra is not False and not shaped


def _accepted(key: str, value: Any) -> bool:
    match key:
        case "format":
            return value in _FORMATS
        case "minItems":
            return value in (0, 1)
        case "pattern":
            return not _LOOK_AROUND.search(str(value))
        case _:
            return key not in _REFUSED
