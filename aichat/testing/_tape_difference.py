"""Where two requests differ first, in few words: a prompt is nobody's error message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set as AbstractSet
from itertools import zip_longest
from typing import Any, Final

from ._tape import Asked

__all__ = ["first_difference"]

#: Characters of a text that are shown around the place where it differs.
_SHOWN: Final = 40
_NOTHING: Final = object()


def first_difference(
    recorded: Asked, asked: Asked, ignored: AbstractSet[str] = frozenset()
) -> str | None:
    """
    Say where *asked* is not what was *recorded*, or ``None``.

    *ignored* are paths as they are said here; ``[*]`` stands for any index.

    >>> first_difference(Asked("POST", "/chat", body={"n": [1]}), Asked("POST", "/chat", body={"n": [2]}))
    'body.n[0]: recorded 1, asked 2'
    """
    for name in ("method", "path", "query", "body"):
        for said in _differences(
            getattr(recorded, name), getattr(asked, name), name, ignored
        ):
            return said
    return None


def _differences(
    recorded: Any, asked: Any, path: str, ignored: AbstractSet[str]
) -> Iterator[str]:
    if path in ignored or re.sub(r"\[\d+\]", "[*]", path) in ignored:
        return
    match recorded, asked:
        case dict(), dict():
            for name in {**recorded, **asked}:
                pair = recorded.get(name, _NOTHING), asked.get(name, _NOTHING)
                yield from _differences(*pair, f"{path}.{name}", ignored)
        case list(), list():
            pairs = zip_longest(recorded, asked, fillvalue=_NOTHING)
            for index, pair in enumerate(pairs):
                yield from _differences(*pair, f"{path}[{index}]", ignored)
        case (str(), str()) | (bytes(), bytes()) if recorded != asked:
            yield f"{path}: {_excerpts(recorded, asked)}"
        case _ if isinstance(recorded, bool) is not isinstance(asked, bool) or (
            recorded != asked
        ):
            yield f"{path}: recorded {_brief(recorded)}, asked {_brief(asked)}"
        case _:
            pass


def _excerpts(recorded: Any, asked: Any) -> str:
    """Both texts, from where they begin to differ."""
    pairs = enumerate(zip(recorded, asked, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(recorded), len(asked)))
    where = f" from character {at}" if at else ""
    return f"recorded {_brief(recorded[at:])}, asked {_brief(asked[at:])}{where}"


def _brief(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    match value:
        case dict():
            return f"an object of {len(value)}"
        case list():
            return f"a list of {len(value)}"
        case str() | bytes() if len(value) > _SHOWN:
            return f"{value[:_SHOWN]!r}…"
        case _:
            return repr(value)[: 2 * _SHOWN]
