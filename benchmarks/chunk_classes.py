"""
What it costs to build a chunk, by kind of class.

Run ``python benchmarks/chunk_classes.py``. It is why `aichat.types` has a `chunk` decorator
of its own.
"""

from __future__ import annotations

import platform
import timeit
from statistics import median

from attrs import define, frozen

from aichat import TextDelta

ROUNDS, NUMBER = 9, 200_000


@frozen
class Frozen:
    """As attrs freezes it."""

    text: str
    index: int = 0


@define
class Plain:
    """Slotted and mutable."""

    text: str
    index: int = 0


class Bare:
    """Written by hand."""

    __slots__ = ("index", "text")

    def __init__(self, text: str, index: int = 0) -> None:
        self.text = text
        self.index = index


def main() -> None:
    """Print the median nanoseconds per object, and their spread."""
    print(f"Python {platform.python_version()}, ns per object: median (min to max)")
    for cls in (Frozen, Plain, Bare, TextDelta):
        timer = timeit.Timer('cls("word", 1)', globals={"cls": cls})
        runs = timer.repeat(ROUNDS, NUMBER)
        ns = [run / NUMBER * 1e9 for run in runs]
        print(f"{cls.__name__:>10}: {median(ns):.0f} ({min(ns):.0f} to {max(ns):.0f})")


if __name__ == "__main__":
    main()
