"""What can be wrong with a value of a configuration, in words that go on after its name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from .errors import ConfigError
from .transport import check_base_url, check_headers
from .types import Deadlines, Secret

__all__ = ["bad_key", "complaints"]

_Check: TypeAlias = Callable[[Any], str | None]


def _number(low: float, what: str, *, above: bool = False) -> _Check:
    def check(value: Any) -> str | None:
        fits = (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and (low < value if above else low <= value)
            and value < math.inf
        )
        return None if fits else f"must be {what}, got {value!r}"

    return check


def _whole(low: int) -> _Check:
    def check(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= low
        return (
            None if fits else f"must be a whole number of {low} or more, got {value!r}"
        )

    return check


def _a(kind: type, what: str) -> _Check:
    # It does not show the value, which may belong elsewhere and be secret there.
    return lambda value: None if isinstance(value, kind) else f"must be {what}"


def _bad_provider(value: Any) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", value):
        return None
    return f"{value!r} is no name of a provider, such as openai or anthropic"


def bad_key(value: Any) -> str | None:
    if callable(value):
        return None
    if not isinstance(value, Secret):
        return "must be text, a Secret, or an async function"
    key = value.reveal()
    if key.startswith("<") or key.endswith(("…", "...")):
        return "looks like the placeholder of an example: put your key in its place"
    if not (key and key.isascii() and key.isprintable()):
        return "is empty, or holds a line end, a control character or a non-ASCII one"
    return None


def _bad_base_url(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be text"
    try:
        check_base_url(value)
    except ConfigError as error:
        return error.message
    return None


def _bad_redis(value: Any) -> str | None:
    from .redis._state import place_of

    if not isinstance(value, Secret):
        return "must be text or a Secret"
    try:
        place_of(value.reveal())
    except ConfigError as error:
        return error.message
    return None


def _bad_namespace(value: Any) -> str | None:
    from .redis._state import check_name

    try:
        check_name("It", value)
    except ConfigError:
        return f"must be a text without blanks and braces, got {value!r}"
    return None


def _bad_pairs(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a table of names and values"
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            return f"the value of {name!r} must be text"
    return None


def _bad_headers(value: Any) -> str | None:
    if what := _bad_pairs(value):
        return what
    try:
        check_headers(value)
    except ConfigError as error:
        return error.message
    return None


_seconds = _number(0, "a number of seconds above 0", above=True)
_per_minute = _number(0, "a number above 0", above=True)

_CHECKS: Final[Mapping[str, _Check]] = MappingProxyType({
    "provider": _bad_provider,
    "api_key": bad_key,
    "base_url": _bad_base_url,
    "model": _a(str, "text"),
    "timeout": _seconds,
    "deadlines": _a(Deadlines, "Deadlines"),
    "max_retries": _whole(0),
    "retry_backoff": _number(0, "a number of seconds, 0 or more"),
    "circuit_breaker": _a(bool, "true or false"),
    "circuit_breaker_threshold": _whole(1),
    "circuit_breaker_cooldown": _seconds,
    "rate_limit": _number(0, "a number of requests per second, or 0 for no limit"),
    "requests_per_minute": _per_minute,
    "rate_burst": _whole(1),
    "tokens_per_minute": _per_minute,
    "input_tokens_per_minute": _per_minute,
    "output_tokens_per_minute": _per_minute,
    "redis_url": _bad_redis,
    "redis_namespace": _bad_namespace,
    "redis_workers": _whole(1),
    "headers": _bad_headers,
    "settings": _bad_pairs,
    "allow_insecure_http": _a(bool, "true or false"),
    "trust_env": _a(bool, "true or false"),
    "ca_file": _a(str, "text"),
    "max_connections": _whole(1),
    "max_idle_connections": _whole(0),
    "keep_alive": _seconds,
})
_MAY_BE_NONE: Final = frozenset({
    "api_key",
    "base_url",
    "model",
    "timeout",
    "deadlines",
    "rate_limit",
    "requests_per_minute",
    "tokens_per_minute",
    "input_tokens_per_minute",
    "output_tokens_per_minute",
    "redis_url",
    "ca_file",
    "max_connections",
})


def complaints(values: Mapping[str, Any]) -> dict[str, str]:
    """Everything that is wrong with *values*, which need not be all of them, by name."""
    found: dict[str, str] = {}
    for name, check in _CHECKS.items():
        if name in values and not (values[name] is None and name in _MAY_BE_NONE):
            what = check(values[name])
            if what is not None:
                found[name] = what
    both = "rate_limit", "requests_per_minute"
    if not found.keys() & both and all(values.get(name) for name in both):
        found["requests_per_minute"] = (
            "says again what rate_limit says; set one of them"
        )
    return found
