"""
What it costs to have the growing value of a streamed object, with every piece of it.

Run ``python -m benchmarks.partial_json``. `PartialJSON` against parsing what has arrived
anew with each piece, which is what one does with a parser that takes incomplete texts:
jiter, written in Rust, by way of pydantic_core's ``from_json`` with ``allow_partial``. Both
are asked for the value after every piece. The pieces are as long as tokens are.

Two shapes: records, which is what structured answers are, and one long text in an object.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

from aichat.structured import PartialJSON

PIECE = 4
KIB = 1024
#: Beyond that, parsing anew takes minutes.
MOST_ANEW = 128 * KIB


def records(size: int) -> str:
    """An array of small objects."""
    one = {"id": 12345, "name": "Ada Lovelace", "score": 0.25, "tags": ["a", "b"]}
    return json.dumps({"items": [one] * (size // len(json.dumps(one)))})


def long_text(size: int) -> str:
    """One text in an object."""
    return json.dumps({"text": "lorem ipsum\n" * (size // 13)})


def pieces(text: str) -> Iterator[str]:
    """Cut *text* into tokens, roughly."""
    return (text[at : at + PIECE] for at in range(0, len(text), PIECE))


def incrementally(text: str) -> Any:
    """Read *text* as it arrives."""
    partial = PartialJSON()
    for piece in pieces(text):
        partial.feed(piece)
        _ = partial.value
    return partial.finish()


def anew(text: str) -> Any:
    """Parse what there is with every piece."""
    from pydantic_core import from_json

    value, so_far = None, ""
    for piece in pieces(text):
        so_far += piece
        value = from_json(so_far, allow_partial="trailing-strings")
    return value


def seconds(read: Callable[[str], Any], text: str) -> float:
    """Time *read* once: what is quadratic shows in one run."""
    began = time.perf_counter()
    value = read(text)
    took = time.perf_counter() - began
    assert value == json.loads(text)
    return took


def main() -> None:
    """Print the seconds for each size, shape and way."""
    print(f"Python {platform.python_version()}, pieces of {PIECE} characters")
    print(f"{'shape':>10} {'KiB':>5} {'incrementally':>14} {'anew':>9}")
    for shape in (records, long_text):
        for size in (64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, 1024 * KIB):
            text = shape(size)
            ours = f"{seconds(incrementally, text):.3f} s"
            theirs = f"{seconds(anew, text):.2f} s" if size <= MOST_ANEW else "…"
            print(f"{shape.__name__:>10} {size // KIB:>5} {ours:>14} {theirs:>9}")


if __name__ == "__main__":
    main()
