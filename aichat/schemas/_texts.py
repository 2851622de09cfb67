"""Types that travel as strings."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any, Final
from uuid import UUID

from ._scalars import Text

__all__ = ["TEXTS"]

_DECIMAL: Final = r"^-?[0-9]+(\.[0-9]+)?$"
#: RFC 3339, except that it may leave the offset out: models do, and then it stays naive.
#: `fromisoformat` takes many more forms.
_DATE: Final = r"\d{4}-\d\d-\d\d"
_TIME: Final = r"\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"
_UUID: Final = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _matching(pattern: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    known = re.compile(pattern, re.ASCII | re.IGNORECASE)

    def read(text: str) -> Any:
        if not known.fullmatch(text):
            raise ValueError(text)
        return parse(text)

    return read


def _text(
    kind: type[Any], name: str, keywords: Mapping[str, Any], parse: Callable[[str], Any]
) -> Text:
    return Text(kind, name, keywords, parse)


TEXTS: Final[Mapping[type[Any], Text]] = {
    text.type: text
    for text in (
        _text(
            datetime,
            "a date and time (RFC 3339)",
            {"format": "date-time"},
            _matching(
                f"{_DATE}[T ]{_TIME}", lambda t: datetime.fromisoformat(t.upper())
            ),
        ),
        _text(
            date,
            "a date (YYYY-MM-DD)",
            {"format": "date"},
            _matching(_DATE, date.fromisoformat),
        ),
        _text(
            time,
            "a time of day (HH:MM:SS)",
            {"format": "time"},
            _matching(_TIME, lambda t: time.fromisoformat(t.upper())),
        ),
        _text(UUID, "a UUID", {"format": "uuid"}, _matching(_UUID, UUID)),
        # As text, for a number may have lost digits before we see it.
        _text(
            Decimal,
            "a decimal number, as a string",
            {"pattern": _DECIMAL},
            _matching(_DECIMAL.strip("^$"), Decimal),
        ),
        _text(
            bytes,
            "base64",
            {"contentEncoding": "base64"},
            lambda t: base64.b64decode(t, validate=True),
        ),
        _text(Path, "a path", {}, Path),
        _text(PurePath, "a path", {}, PurePath),
    )
}
