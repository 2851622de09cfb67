"""Columns of text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["table"]


def table(rows: Sequence[Sequence[str]], *, width: int | None = None) -> str:
    """
    Align *rows*, the first of which is the head; cut lines at *width* characters.

    >>> print(table([["name", "size"], ["one", "1"], ["three", "3"]]))
    name   size
    one    1
    three  3
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(_cut(line.rstrip(), width) for line in lines)


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else f"{line[: width - 1]}…"
