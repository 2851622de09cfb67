"""Values of any such type as plain JSON again."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Set as AbstractSet
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

import attrs

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """
    Turn *value* into what JSON can say: the inverse of `convert`.

    Objects of attrs, dataclasses and pydantic, dates, UUIDs, decimals (as strings), bytes
    (as base64), enums, sets and tuples. Raises `TypeError` for
    anything else, and `ValueError` for NaN and infinity.

    >>> plain({"at": date(2026, 11, 21), "seen": (1, 2)})
    {'at': '2026-11-21', 'seen': [1, 2]}
    """
    match value:
        case Enum():
            return plain(value.value)
        case float() if not isfinite(value):
            raise ValueError(f"JSON has no form for {value}")
        case None | bool() | int() | float() | str():
            return value
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case UUID() | PurePath():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case Mapping():
            return {_key(key): plain(each) for key, each in value.items()}
        case tuple() if hasattr(value, "_fields"):
            names: tuple[str, ...] = getattr(value, "_fields")  # noqa: B009 -- no tuple, but a named one
            return {n: plain(v) for n, v in zip(names, value, strict=True)}
        case list() | tuple() | AbstractSet():
            return [plain(each) for each in value]
        case _:
            return _object(value)


def _key(key: Any) -> str:
    said = plain(key)
    if isinstance(said, str):
        return said
    raise TypeError(f"keys in JSON are strings, not {type(key).__name__}")


def _object(value: Any) -> Any:
    kind = type(value)
    if hasattr(kind, "__pydantic_serializer__"):
        return kind.__pydantic_serializer__.to_python(value, mode="json")
    if attrs.has(kind):
        given = (
            (f.alias or f.name, getattr(value, f.name)) for f in attrs.fields(kind)
        )
        return {name: plain(each) for name, each in given}
    if dataclasses.is_dataclass(kind):
        fields = dataclasses.fields(kind)
        return {f.name: plain(getattr(value, f.name)) for f in fields}
    raise TypeError(f"JSON has no form for {kind.__qualname__}")
