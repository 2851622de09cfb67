"""JSON texts to test with, and slow, obvious answers to compare with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from hypothesis import strategies as st

from aichat.types import UNSET, JSONError
from aichat.types._codec import loads_exact

__all__ = [
    "as_far_as_certain",
    "cut",
    "mutants",
    "texts",
    "values",
    "verdict",
    "viable",
]

_NUMBERS: Final = st.one_of(
    st.integers(),
    st.integers(-9, 9),
    st.floats(allow_nan=False, allow_infinity=False),
)
_STRINGS: Final = st.text(st.characters(codec="utf-8"), max_size=6)
values: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _STRINGS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_STRINGS, inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def texts(draw: st.DrawFn, of: st.SearchStrategy[Any] = values) -> str:
    """A value as JSON, in one of many ways to write it."""
    return json.dumps(
        draw(of),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
        separators=draw(st.sampled_from([(",", ":"), (" , ", "\t: ")])),
    )


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Something that is no JSON any more, most of the time."""
    text = draw(texts())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        gone = draw(st.integers(0, 2))
        more = draw(
            st.text('{}[]",:\\u/ \n01.-+eEtrufalsn\ud83d\udc00dDcCx', max_size=3)
        )
        text = text[:at] + more + text[at + gone :]
    return text


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Cut *text* into pieces, empty ones among them."""
    places = draw(st.lists(st.integers(0, len(text)), max_size=8))
    return [text[a:b] for a, b in pairwise([0, *sorted(places), len(text)])]


def verdict(text: str) -> Any:
    """What a full parse says: a value, or `JSONError`."""
    try:
        return loads_exact(text)
    except JSONError:
        return JSONError


def as_far_as_certain(text: str) -> Any:
    """
    The value of *text*, which goes on, by brute force.

    The longest beginning of it that becomes JSON by closing what is open.
    """
    if not _in_string(text):
        # More digits may come.
        text = text.rstrip("0123456789+-.eE") if not _ends_in_word(text) else text
    for end in range(len(text), 0, -1):
        value = verdict(text[:end] + _closers(text[:end]))
        if value is not JSONError:
            return value
    return UNSET


def viable(text: str) -> bool:
    """Whether *text* can become JSON, by trying."""
    if text.strip(" \t\n\r") == "":
        return True
    return any(
        verdict(text + more + _closers(text + more)) is not JSONError
        for more in _continuations()
    )


def _continuations() -> Iterator[str]:
    yield from ("", "0", "e0", ":0", '"":0', '"')
    for word in ("true", "false", "null"):
        yield from (word[n:] for n in range(1, 4 + (word == "false")))
    for escape in ("\\udc00", "\\u0000", "u0000", "/", "udc00", "dc00"):
        for n in range(len(escape)):
            # After the escape it is one in a key or in a value; halves find each other.
            for half in ("", "\\udc00"):
                yield from (f'{escape[n:]}{half}"{tail}' for tail in ("", ":0"))


def _ends_in_word(text: str) -> bool:
    return text.endswith(("true", "false"))


def _in_string(text: str) -> bool:
    return _closers(text).startswith('"')


def _closers(text: str) -> str:
    """What closes everything that is open at the end of *text*."""
    closers: list[str] = []
    quoted = escaped = False
    for character in text:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in "{[":
            closers.append("}" if character == "{" else "]")
        elif character in "}]" and closers:
            closers.pop()
    return '"' * quoted + "".join(reversed(closers))
