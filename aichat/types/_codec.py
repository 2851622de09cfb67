"""
JSON text, in the one place that knows which library reads and writes it.

orjson is several times faster than the standard library, and refuses what is not JSON or
cannot be said again: NaN, numbers beyond all floats, halves of a surrogate pair. It turns
whole numbers beyond 64 bits into floats, so `loads_exact` is there for what must not change.

What is nested deeper than `MAX_DEPTH` is refused, by both: values come apart elsewhere when
they are, in ``repr``, ``==``, ``pickle`` and every other place that calls itself.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

import orjson

__all__ = ["MAX_DEPTH", "JSONError", "dumps", "loads", "loads_as_known", "loads_exact"]

#: orjson reads 1,024 levels, and writes 254.
MAX_DEPTH: Final = 250

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
    value = orjson.loads(data)
    # Each level takes two characters, so nearly every event is too short to ask.
    if len(data) > 2 * MAX_DEPTH:
        _check_depth(data, value)
    return value


#: For those who know how deep it is, as they compare it with what they know.
loads_as_known: Final = orjson.loads


def loads_exact(data: bytes | str) -> Any:
    """Read JSON, slower, keeping whole numbers of any size. Raises `JSONError`."""
    # Not left to `json`, which takes UTF-16 too, and lets halves of pairs pass.
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    if _HALF.search(text):
        orjson.loads(text)  # it tells halves from pairs, and refuses them
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise JSONError("nested too deeply") from None
    if len(text) > 2 * MAX_DEPTH:
        _check_depth(text, value)
    return value


#: What may be half of a surrogate pair.
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def _check_depth(data: bytes | str, value: Any) -> None:
    """Raise `JSONError` if *value*, which was read from *data*, is nested too deeply."""
    if isinstance(data, str):
        opened = data.count("{") + data.count("[")
    else:
        opened = data.count(b"{") + data.count(b"[")
    if opened <= MAX_DEPTH:
        return
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in (dict, list)
        ]
        if not level:
            return
    raise JSONError("nested too deeply")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JSONError("a number is beyond all floats")
    return number


def _no_constant(name: str) -> NoReturn:
    raise JSONError(f"{name} is not JSON")
