"""From text to the values of a configuration, in one cattrs converter."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["Duration", "Limit", "structure"]

#: Seconds, or as text ``30s``, ``1m30s``, ``500ms``.
Duration: TypeAlias = Annotated[float, "duration"]
#: The same, or ``none``: no limit.
Limit: TypeAlias = Annotated[float | None, "limit"]


def structure(value: Any, kind: Any) -> Any:
    """
    Make a *kind* of what stands in a variable or a file.

    Raises `ValueError` whose text goes on after the name of what is wrong.
    """
    return _converter().structure(value, kind)


@cache
def _converter() -> Converter:
    # Made when first used, since cattrs takes its time to import.
    from cattrs import Converter

    converter = Converter()
    converter.register_structure_hook(str, _to_text)
    converter.register_structure_hook(bool, _to_bool)
    converter.register_structure_hook(int, _to_int)
    converter.register_structure_hook(float, _to_float)
    converter.register_structure_hook_func(lambda kind: kind == Duration, _to_seconds)
    converter.register_structure_hook_func(lambda kind: kind == Limit, _to_limit)
    return converter


def _to_text(value: Any, _: Any) -> str:
    # TOML and YAML read 2023-06-01, an API version, as a date.
    if isinstance(value, (bool, list, dict)):
        raise ValueError("must be text")
    return str(value)


def _to_bool(value: Any, _: Any) -> bool:
    match str(value).lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
        case _:
            raise ValueError(f"{value!r} is neither true nor false")


def _to_int(value: Any, _: Any) -> int:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return int(value)
        except ValueError:
            pass
    raise ValueError(f"{value!r} is not a whole number")


def _to_float(value: Any, _: Any) -> float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    raise ValueError(f"{value!r} is not a number")


_UNITS: Final = MappingProxyType({"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400})
_PIECE: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def _to_seconds(value: Any, _: Any) -> float:
    pieces = list(_pieces(value)) if isinstance(value, str) else []
    if pieces:
        return sum(pieces)
    try:
        return _to_float(value, float)
    except ValueError:
        raise ValueError(f"{value!r} is not a duration; write 30s or 30") from None


def _pieces(text: str) -> Iterator[float]:
    """The seconds of each piece of ``1m30s``; none if it is not made of such pieces."""
    if re.fullmatch(rf"(?:{_PIECE.pattern})+", text):
        for number, unit in _PIECE.findall(text):
            yield float(number) * _UNITS[unit]


def _to_limit(value: Any, _: Any) -> float | None:
    if value == "none":
        return None
    seconds = _to_seconds(value, float)
    if not 0 < seconds < math.inf:
        raise ValueError(f"must be above 0, or none for no limit; got {value!r}")
    return seconds
