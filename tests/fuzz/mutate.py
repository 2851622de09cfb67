"""Ways to break a recording: as bytes, as events, and as the JSON inside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import orjson

from .seeds import Piece, Seed

__all__ = ["cut", "mutated", "scrambled"]

#: JSON, or what pretends to be, to put where something else was.
_RAW: Final = (
    *(b"null true false 0 1 -1 2 7 -0 -0.0 1.0 0.5 1e22 1e999 -1e999 NaN".split()),
    *(b"Infinity -Infinity 9999999999 4294967296 9223372036854775808".split()),
    *(b"18446744073709551616 -9223372036854775809 1e308 01 1. .5 +1".split()),
    *(b'"" "x" "0" "1" "-1" "null" "true" [] {} [[]] [{}] [null] [1]'.split()),
    *(b'{"a":1} {"type":"text"} {"":{}} {"type":[]} {"type":{}}'.split()),
    *(b'{"error":{"message":"no"}} {"error":"no"} {"error":[]}'.split()),
    b'"\\ud800"', b'"\\udfff\\ud800x"', b'"\\u0000"', b'"\xff"', b'"\xed\xa0\x80"',
    b'"\\ud83d\\ude00"', b'"\xf0\x9f\x98\x80"', b'"\xe2\x80\xa8"', b'"<think>"',
    b'"</think>"', b'"{"', b'"{}"', b'"}"', b'"[DONE]"', b'"data: {}\\n\\n"', b'"a b"',
    b'"2026-01-01T00:00:00Z"', b'"0001-01-01T00:00:00+23:59"', b'"$.a[0]"', b'"%s{0}"',
    b'"429"', b'"rate_limit_exceeded"', b'"tool_use"', b'"function_call"', b'"thinking"',
    b'"message"', b'"reasoning"', b'"text"', b'"stop"', b'"length"', b'"STOP"',
    b"9" * 400, b"9" * 5000, b"-" + b"9" * 25, b"0." + b"3" * 400,
    b'"' + b"a" * 300 + b'"', b'"' + b"A" * 5000 + b'"', b'"QUJD"', b'"QUJ"',
)  # fmt: skip
_DEPTHS: Final = (3, 50, 130, 260, 600, 1030, 3000)
_BYTES: Final = (
    *(bytes([n]) for n in range(256)),
    *(b"\r\n|\n\n|\r|data: |data:|event: |: |id: |retry: 1|\xef\xbb\xbf".split(b"|")),
    *(b"[DONE]|data: [DONE]\n\n|event: error\n|{|}|[|]|\"|,|\\|\\u|null".split(b"|")),
    *(b"\xc3|\xe2\x82|\xf0\x9f\x98|\xff\xfe|\xed\xa0\x80".split(b"|")),
    b": ping\n\n", b"\n{\"error\":{\"code\":429}}\n", b"<html>", b"data\n", b"\0",
)  # fmt: skip


def mutated(rand: Random, seeds: Sequence[Seed]) -> bytes:
    """One of *seeds*, with a few things wrong."""
    pieces: list[Piece | bytes] = [*rand.choice(seeds).pieces]
    for _ in range(1 + int(rand.expovariate(1.2))):
        kind = rand.random()
        if kind < 0.62:
            _change_json(rand, pieces, seeds)
        elif kind < 0.85:
            _change_order(rand, pieces, seeds)
        else:
            return scrambled(rand, _joined(pieces))
    return _joined(pieces)


def _joined(pieces: Sequence[Piece | bytes]) -> bytes:
    return b"".join([p if isinstance(p, bytes) else p.raw for p in pieces])


def cut(rand: Random, data: bytes) -> list[bytes]:
    """Cut *data* up, as the network may."""
    size = len(data)
    # A cut costs, so there are many only where there are few bytes, or now and then.
    most = size if rand.random() < 0.03 else 120
    if rand.random() < 0.5:
        step = max(
            rand.choice((1, 2, 3, 7, 16, 61, 256, 1460)), size // max(most, 1), 1
        )
        return [data[n : n + step] for n in range(0, size, step)]
    marks = sorted(rand.randrange(size + 1) for _ in range(rand.randrange(1, 6)))
    return [data[a:b] for a, b in zip((0, *marks), (*marks, size), strict=True)]


# --- bytes ---------------------------------------------------------------------------


def scrambled(rand: Random, data: bytes) -> bytes:
    """*data* with some bytes changed, gone, new, twice, or somewhere else."""
    for _ in range(1 + int(rand.expovariate(0.7))):
        size = len(data)
        at = rand.randrange(size + 1)
        end = min(size, at + int(rand.expovariate(0.05)))
        match rand.randrange(7):
            case 0 if at < size:
                flipped = data[at] ^ (1 << rand.randrange(8))
                data = data[:at] + bytes([flipped]) + data[at + 1 :]
            case 1 | 2:
                data = data[:at] + rand.choice(_BYTES) + data[at:]
            case 3:
                data = data[:at] + data[end:]
            case 4:
                data = data[:end] + data[at:end] + data[end:]
            case 5:
                other = rand.randrange(size + 1)
                data = data[:other] + data[at:end] + data[other:]
            case _:
                data = data[:at]  # what a broken connection leaves
    return data


# --- events --------------------------------------------------------------------------


def _change_order(
    rand: Random, pieces: list[Piece | bytes], seeds: Sequence[Seed]
) -> None:
    if not pieces:
        return
    at = rand.randrange(len(pieces))
    match rand.randrange(7):
        case 0:
            del pieces[at]
        case 1:
            pieces.insert(rand.randrange(len(pieces) + 1), pieces[at])
        case 2:
            other = rand.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        case 3:
            del pieces[at:]
        case 4:
            # The beginning of one answer, and the end of another.
            other_pieces = rand.choice(seeds).pieces
            pieces[at:] = other_pieces[rand.randrange(len(other_pieces)) :]
        case 5:
            pieces.insert(at, rand.choice(rand.choice(seeds).pieces))
        case _:
            pieces[at:at] = [pieces[at]] * rand.choice((2, 3, 40))


# --- JSON ----------------------------------------------------------------------------

_Place = tuple[Any, Any]  # a container, and the key or number of something in it


def _change_json(
    rand: Random, pieces: list[Piece | bytes], seeds: Sequence[Seed]
) -> None:
    numbers = [n for n, p in enumerate(pieces) if isinstance(p, Piece) and p.value]
    if not numbers:
        return
    number = rand.choice(numbers)
    piece = pieces[number]
    assert isinstance(piece, Piece)
    assert piece.value is not None
    value = orjson.loads(piece.value)
    raw: list[bytes] = []
    for _ in range(rand.choice((1, 1, 1, 2, 4))):
        places = _places(value)
        if not places:
            break
        rand.choice(_CHANGES)(rand, places, raw, seeds)
    data = orjson.dumps(value)
    for index, text in enumerate(raw):
        data = data.replace(b'"@%d@"' % index, text)
    pieces[number] = piece.before + data + piece.after


def _places(value: Any) -> list[_Place]:
    found: list[_Place] = []
    todo = [value]
    while todo:
        holder = todo.pop()
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, item in items:
            found.append((holder, key))
            if isinstance(item, (dict, list)):
                todo.append(item)
    return found


_Change = Callable[[Random, list[_Place], list[bytes], Sequence[Seed]], None]


def _mark(raw: list[bytes], text: bytes) -> str:
    """A text that stands for *text*, until the JSON is written."""
    raw.append(text)
    return f"@{len(raw) - 1}@"


def _replace(
    rand: Random, places: list[_Place], raw: list[bytes], _: Sequence[Seed]
) -> None:
    holder, key = rand.choice(places)
    holder[key] = _mark(raw, rand.choice(_RAW))


def _renumber(
    rand: Random, places: list[_Place], raw: list[bytes], _: Sequence[Seed]
) -> None:
    """Give a number, of which most are indices and counts, another value or type."""
    numbers = [(h, k) for h, k in places if type(h[k]) in (int, float, bool)]
    holder, key = rand.choice(numbers or places)
    holder[key] = _mark(raw, rand.choice(_RAW[:32]))


def _delete(
    rand: Random, places: list[_Place], raw: list[bytes], _: Sequence[Seed]
) -> None:
    holder, key = rand.choice(places)
    del holder[key]


def _copy(
    rand: Random, places: list[_Place], raw: list[bytes], seeds: Sequence[Seed]
) -> None:
    """Put something from elsewhere in its place, or beside it."""
    others = [p.value for p in rand.choice(seeds).pieces if p.value]
    theirs = _places(orjson.loads(rand.choice(others))) if others else places
    source, name = rand.choice(theirs or places)
    holder, key = rand.choice(places)
    text = source[name]
    if isinstance(holder, dict) and isinstance(name, str) and rand.random() < 0.6:
        key = name
    # Written down at once, since it may hold the very thing that it goes into.
    holder[key] = orjson.Fragment(orjson.dumps(text, default=lambda _: None))


def _nest(
    rand: Random, places: list[_Place], raw: list[bytes], _: Sequence[Seed]
) -> None:
    holder, key = rand.choice(places)
    depth = rand.choice(_DEPTHS)
    if rand.random() < 0.5:
        text = b"[" * depth + b"]" * depth
    else:
        name = orjson.dumps(key if isinstance(key, str) else "error")
        text = (b"{" + name + b":") * depth + b"1" + b"}" * depth
    holder[key] = _mark(raw, text)


def _wrap(
    rand: Random, places: list[_Place], raw: list[bytes], _: Sequence[Seed]
) -> None:
    holder, key = rand.choice(places)
    value = holder[key]
    wrapped: Sequence[Any] = ([value], {"value": value}, [value, value], str(value))
    holder[key] = rand.choice(wrapped)


def _rename(
    rand: Random, places: list[_Place], raw: list[bytes], _: Sequence[Seed]
) -> None:
    """Give a field the name of another; the value may then be there twice (`_double`)."""
    holder, key = rand.choice(places)
    _, name = rand.choice(places)
    if isinstance(holder, dict) and isinstance(name, str):
        holder[name] = holder.pop(key)


def _double(
    rand: Random, places: list[_Place], raw: list[bytes], _: Sequence[Seed]
) -> None:
    """Say a field twice, with different values: JSON does not say which one counts."""
    holder, key = rand.choice(places)
    if isinstance(holder, dict):
        said = orjson.dumps(holder[key], default=lambda _: None)
        again = orjson.dumps(key) + b":" + rand.choice(_RAW)
        holder[key] = _mark(raw, said + b"," + again)


_CHANGES: Final[Sequence[_Change]] = (
    _replace, _replace, _replace, _renumber, _renumber, _delete, _copy, _copy, _nest,
    _wrap, _rename, _double,
)  # fmt: skip
