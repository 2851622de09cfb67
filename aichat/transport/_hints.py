"""
When to come back: what servers say about it, in headers and in error bodies.

Pure functions. *now* is the time of day in seconds since the epoch, for those who name a
moment rather than a duration. Nonsense is ignored: a hint is a courtesy, never an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any

from ._rates import Kind

__all__ = [
    "allowance_left",
    "allowance_reset",
    "reset_seconds",
    "retry_after",
    "should_retry",
]

# Go's time.Duration, as in "6m0s", "1h2m3.5s" and "120ms" (https://pkg.go.dev/time#ParseDuration).
_UNITS = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "\N{MICRO SIGN}s": 1e-6,
    "\N{GREEK SMALL LETTER MU}s": 1e-6,
    "ns": 1e-9,
}
_DURATION = re.compile(
    rf"(\d+(?:\.\d*)?|\.\d+)({'|'.join(sorted(_UNITS, key=len, reverse=True))})"
)
# "Please try again in 1m3.2s": OpenAI's wording where no header came along; "Please retry
# after 7 seconds" is Azure's.
_TRY_AGAIN = re.compile(
    r"(?:try again|retry) (?:in|after) (\d[\w.]*)(?: (s)econds?)?", re.I
)
#: What is left of what, by the ending of the header's name.
_LEFT: Mapping[str, Kind] = MappingProxyType({
    "": "requests",
    "-requests": "requests",
    "-tokens": "tokens",
    "-input-tokens": "input_tokens",
    "-output-tokens": "output_tokens",
    # Mistral's.
    "-req-minute": "requests",
    "-tokens-minute": "tokens",
})
#: Beyond these a plain number is a moment, not a duration: seconds, then milliseconds.
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12


def retry_after(
    headers: Mapping[str, str], *, status: int | None, body: Any = None, now: float
) -> float | None:
    """
    Seconds that the server asks us to wait, or ``None`` if it does not say.

    ``retry-after-ms`` before ``Retry-After`` before Google's RetryInfo before the reset
    headers, which tell only after a 429 why we were refused.
    """
    if (seconds := _number(headers.get("retry-after-ms"))) is not None:
        return _sane(seconds / 1000)
    value = headers.get("retry-after", "")
    if (seconds := _number(value)) is not None:
        return _sane(seconds)
    if value and (seconds := _until(_http_date(value), now)) is not None:
        return seconds
    for detail in _details(body):
        if (seconds := _duration(detail.get("retryDelay"))) is not None:
            return seconds
    return allowance_reset(headers, now=now) if status == 429 else None


def wording_hint(message: str) -> float | None:
    """Seconds that an error's *message* names: "Please try again in 6m0s."."""
    found = _TRY_AGAIN.search(message)
    return _duration(found[1].rstrip(".") + (found[2] or "")) if found else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What ``x-should-retry`` says; it overrides every rule of ours."""
    return {"true": True, "false": False}.get(
        headers.get("x-should-retry", "").strip().lower()
    )


def allowance_reset(headers: Mapping[str, str], *, now: float) -> float | None:
    """
    Seconds until everything that is used up has been filled again, by the reset headers.

    ``None`` if nothing is used up, or nobody says until when. Anthropic's headers and
    OpenAI's, and those of the many who imitate it.
    """
    waits = [
        seconds
        for remaining, reset in _allowances(headers)
        if _number(headers.get(remaining)) == 0
        and (seconds := reset_seconds(headers.get(reset), now=now)) is not None
    ]
    return max(waits, default=None)


def allowance_left(headers: Mapping[str, str]) -> dict[Kind, float]:
    """
    How many requests and tokens the server still allows, as far as it says.

    Other limits that it may have, of a project or of a day's images, are not ours to count.
    """
    left: dict[Kind, float] = {}
    for remaining, _ in _allowances(headers):
        name = remaining.removeprefix("x-ratelimit-remaining")
        name = name.removeprefix("anthropic-ratelimit").removesuffix("-remaining")
        number = _number(headers.get(remaining))
        if (kind := _LEFT.get(name)) and number is not None and number >= 0:
            left[kind] = min(number, left.get(kind, number))
    return left


def reset_seconds(value: str | None, *, now: float) -> float | None:
    """
    Read one reset header: seconds, a moment, a Go duration or an RFC 3339 date.

    A plain number above 10⁹ is a moment; above 10¹² it counts milliseconds (OpenRouter).
    """
    if value is None:
        return None
    number = _number(value)
    if number is None:
        seconds = _duration(value)
        return _until(_iso_date(value), now) if seconds is None else seconds
    if number > _EPOCH_MILLISECONDS:
        return _until(number / 1000, now)
    return _until(number, now) if number > _EPOCH_SECONDS else _sane(number)


def _allowances(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names of each pair of headers: what remains, and when it is filled again."""
    for name in headers:
        name = name.lower()
        if name.startswith("x-ratelimit-remaining"):
            yield name, name.replace("remaining", "reset", 1)
        elif name.startswith("anthropic-ratelimit-") and name.endswith("-remaining"):
            yield name, name.removesuffix("remaining") + "reset"


def _details(body: Any) -> Iterable[Mapping[str, Any]]:
    """The ``details`` of a Google error."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    if not isinstance(details, list):
        return ()
    return [detail for detail in details if isinstance(detail, dict)]


def _number(value: str | None) -> float | None:
    # `float` also reads "nan", "1_0" and "infinity": only what RFC 9110 or a vendor sends.
    if value is None or not re.fullmatch(r"\s*-?\d+(\.\d*)?\s*", value, re.ASCII):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _sane(seconds: float) -> float | None:
    return seconds if 0 <= seconds < math.inf else None


def _duration(value: Any) -> float | None:
    if not isinstance(value, str) or not value:
        return None
    seconds, at = 0.0, 0
    while found := _DURATION.match(value, at):
        seconds += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    return _sane(seconds) if at == len(value) else None


def _until(moment: float | None, now: float) -> float | None:
    # What is over by now is nothing to wait for.
    return None if moment is None else max(0.0, moment - now)


def _http_date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _iso_date(value: str) -> float | None:
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
