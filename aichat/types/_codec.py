"""
JSON text, in the one place that knows which library reads and writes it.

orjson is several times faster than the standard library, refuses NaN, and stops at a depth
of 1,024. It turns whole numbers beyond 64 bits into floats, so `loads_exact` is there for
what must not change.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

__all__ = ["JSONError", "dumps", "loads", "loads_exact"]

#: What `loads` and `loads_exact` raise for text that is not JSON.
JSONError = ValueError


def dumps(value: Any) -> bytes:
    """
    Write *value* as JSON.

    Falls back to the standard library for whole numbers beyond 64 bits. Raises `TypeError`
    or `ValueError` for what JSON has no form for.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()


def loads(data: bytes | str) -> Any:
    """Read JSON. Raises `JSONError`."""
    return orjson.loads(data)


def loads_exact(data: bytes | str) -> Any:
    """Read JSON, slower, keeping whole numbers of any size. Raises `JSONError`."""
    try:
        return json.loads(data, parse_constant=_no_constant)
    except RecursionError:
        raise JSONError("nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    raise JSONError(f"{name} is not JSON")
