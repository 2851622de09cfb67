"""One input after the other, each a function of its seed and number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from attrs import frozen

from aichat.types import ChatRequest, ChatResponse, Message, StreamChunk

from .check import check_answer, check_error_body, check_stored
from .mutate import cut, mutated
from .seeds import errors, stored
from .targets import TARGETS

__all__ = ["Finding", "one_input", "run", "targets_for"]

_STATUSES: Final = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529, 599)
_HEADER_NAMES: Final = (
    *("retry-after", "retry-after-ms", "x-should-retry", "x-request-id"),
    *("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    *("x-ratelimit-remaining", "x-ratelimit-reset", "request-id"),
    *("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
)
_HEADER_VALUES: Final = (
    *[
        "0",
        "1",
        "-1",
        "1.5",
        "1e9",
        "1e400",
        "nan",
        "inf",
        "true",
        "false",
        "60s",
        "1m0s",
        "6ms",
        "0x10",
        "٣",
        "12_0",
        ".",
        "-",
        "+",
    ],
    *("9" * 400, "9" * 5000, "1.", "", " 7 ", "1h" * 500, "a" * 9000, "\xff", "1\t"),
    *("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 99 Oct 99999 07:28:00 GMT", "1, 2"),
    *("Mon, 01 Jan 0001 00:00:00 +2359", "2026-11-21T06:00:00Z", "9999-12-31T23:59:59"),
    *("0001-01-01T00:00:00+23:59", "1795240000", "1795240000000", "Wed, 21 Oct 2026"),
)
_KINDS: Final[dict[str, Any]] = {
    "response": ChatResponse,
    "request": ChatRequest,
    "message": Message,
    "chunk": StreamChunk,
}


@frozen
class Finding:
    """An input that broke a promise."""

    target: str
    seed: int
    number: int
    data: bytes
    error: Exception

    @property
    def kind(self) -> str:
        """The same for findings that are probably the same."""
        what = re.sub(r"[\d\"'].*", "", str(self.error).partition("\n")[0])[:160]
        if str(self.error).startswith("blunder"):
            what = str(self.error)[:90]
        return f"{type(self.error).__name__}: {what}"

    def __str__(self) -> str:
        shown = self.data if len(self.data) <= 600 else self.data[:600] + "…".encode()
        return (
            f"{self.target}: {type(self.error).__name__}: {str(self.error)[:800]}\n"
            f"    --target {self.target} --seed {self.seed} --start {self.number} "
            f"--count 1\n    {shown!r}"
        )


@frozen
class _Made:
    target: str
    data: bytes


def targets_for(names: Sequence[str]) -> list[str]:
    """*names*, checked."""
    return [TARGETS[name].name for name in names]


def run(names: Sequence[str], *, seed: int, count: int) -> list[Finding]:
    """Try *count* inputs, and return what broke."""
    found = (one_input(seed, number, names) for number in range(count))
    return [finding for finding in found if finding is not None]


def one_input(
    seed: int, number: int, names: Sequence[str], *, only_make: bool = False
) -> Any:
    """Make the input *number*, and try it. Returns a `Finding`, or ``None``."""
    rand = Random(seed << 40 | number)
    target = TARGETS[rand.choice(names)]
    kind = rand.random()
    data = b""
    try:
        if kind < 0.88:
            data = mutated(rand, target.seeds)
            if only_make:
                return _Made(target.name, data)
            pieces = cut(rand, data) if rand.random() < 0.25 else None
            check_answer(target, data, pieces, thorough=rand.random() < 0.12)
        elif kind < 0.97:
            data = mutated(rand, (*errors(), *target.seeds[:3]))
            if only_make:
                return _Made(target.name, data)
            check_error_body(target, data, rand.choice(_STATUSES), _headers(rand))
        else:
            name = rand.choice([*_KINDS])
            data = mutated(rand, stored(name))
            if only_make:
                return _Made(target.name, data)
            check_stored(_KINDS[name], data)
    except Exception as wrong:
        return Finding(target.name, seed, number, data, wrong)
    return None


def _headers(rand: Random) -> dict[str, str]:
    return {
        rand.choice(_HEADER_NAMES): rand.choice(_HEADER_VALUES)
        for _ in range(rand.randrange(5))
    }
