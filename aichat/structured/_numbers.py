"""JSON's numbers, character by character: what may come next, and what they are."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["AFTER", "ENDED", "NUMBER", "START", "to_number"]

#: A whole number in a text; the group holds what makes a float of it.
NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")

_DIGITS: Final = "0123456789"


def _table(**rows: str) -> dict[str, str]:
    """Turn ``state=characters`` into what each character leads to."""
    return {character: state for state, row in rows.items() for character in row}


_SIGN: Final = _table(zero="0", whole=_DIGITS[1:])
#: What leads where, by state: RFC 8259, section 6.
AFTER: Final = {
    "sign": _SIGN,
    "zero": _table(point=".", e="eE"),
    "whole": _table(whole=_DIGITS, point=".", e="eE"),
    "point": _table(fraction=_DIGITS),
    "fraction": _table(fraction=_DIGITS, e="eE"),
    "e": _table(power=_DIGITS, e_sign="+-"),
    "e_sign": _table(power=_DIGITS),
    "power": _table(power=_DIGITS),
}
START: Final = _SIGN | _table(sign="-")
#: Where a number may end.
ENDED: Final = frozenset({"zero", "whole", "fraction", "power"})


def to_number(text: str) -> int | float:
    """
    Convert *text*, which is a JSON number.

    Raises `ValueError` for one beyond all floats, or of more digits than Python converts.
    """
    if text.lstrip("-").isdigit():
        return int(text)
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is beyond all floats")
    return number
