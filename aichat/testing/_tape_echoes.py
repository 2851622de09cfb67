"""
Secrets that a model says token by token: a part of them in each event of a stream.

The events are lines of JSON, whatever stands around it. Strings at the same place of one
event after the other are what is said there.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from attrs import frozen

from ..types import JSONError, dumps, loads

__all__ = ["scattered"]


@frozen
class _Piece:
    """A string in a line of the body."""

    text: str
    #: The line, where it begins in the body, and where the string does in the line.
    line: bytes
    at: int
    found: int
    write: Callable[[str], bytes]

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Where the characters from *start* to *stop* are in the body."""
        if self.found < 0:
            # Spelled in a way that we do not know: better a tape that cannot be played.
            return self.at, self.at + len(self.line.rstrip())
        at = self.at + self.found - 1
        return at + len(self.write(self.text[:start])), at + len(
            self.write(self.text[:stop])
        )


def scattered(body: bytes, secrets: Iterable[str]) -> Iterator[list[tuple[int, int]]]:
    """Where *secrets* are said in more than one event: the parts of each of them."""
    said = _said(body)
    for secret in secrets:
        pattern = re.compile(re.escape(secret), re.IGNORECASE)
        for pieces in said:
            for found in pattern.finditer("".join(piece.text for piece in pieces)):
                parts = list(_parts(pieces, *found.span()))
                if len(parts) > 1:
                    yield parts


def _parts(
    pieces: Iterable[_Piece], start: int, stop: int
) -> Iterator[tuple[int, int]]:
    at = 0
    for piece in pieces:
        begin, end = max(start - at, 0), min(stop - at, len(piece.text))
        if begin < end:
            yield piece.span(begin, end)
        at += len(piece.text)


def _said(body: bytes) -> list[list[_Piece]]:
    """What is said at each place, over all events."""
    said: defaultdict[str, list[_Piece]] = defaultdict(list)
    at = 0
    for line in body.splitlines(keepends=True):
        begin, end = line.find(b"{"), line.rfind(b"}") + 1
        value = None
        with suppress(JSONError):
            value = loads(line[begin:end]) if 0 <= begin < end else None
        for path, text in _strings(value, ""):
            # They come in the order in which they are written, names and all.
            found, write = _find(line, text, begin)
            if found >= 0:
                begin = found + len(write(text))
            if path is not None:
                said[path].append(_Piece(text, line, at, found, write))
        at += len(line)
    return list(said.values())


def _strings(value: Any, path: str) -> Iterator[tuple[str | None, str]]:
    """Each string with its place; the names of fields without."""
    match value:
        case str():
            yield path, value
        case dict():
            for name, each in value.items():
                yield None, name
                yield from _strings(each, f"{path}.{name}")
        case list():
            for index, each in enumerate(value):
                yield from _strings(each, f"{path}.{index}")
        case _:
            pass


def _find(line: bytes, text: str, begin: int) -> tuple[int, Callable[[str], bytes]]:
    """Where *text* is, and how it is written."""
    for write in (dumps, _in_ascii):
        if (found := line.find(write(text), begin)) >= 0:
            return found, write
    return -1, dumps


def _in_ascii(text: str) -> bytes:
    return json.dumps(text).encode()
