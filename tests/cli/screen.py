"""A terminal as far as aichat uses one: what is written, as it is seen."""

from __future__ import annotations

import re

_CODE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\n\r])|([^\x1b\n\r])", re.DOTALL)


def shown(written: str, *, columns: int = 80, lines: int = 1000) -> list[str]:
    """What is on the screen, and above it, without blanks at the ends of lines."""
    rows: list[list[str]] = [[]]
    row = column = 0
    for found in _CODE.finditer(written):
        number, code, control, letter = found.groups()
        match code or control:
            case None:
                if column == columns:
                    row, column = row + 1, 0
                    rows += [[] for _ in range(row + 1 - len(rows))]
                line = rows[row]
                line += " " * (column + 1 - len(line))
                line[column] = letter
                column += 1
            case "\n":
                row += 1
                rows += [[] for _ in range(row + 1 - len(rows))]
                column = 0
            case "\r":
                column = 0
            case "A":
                # What has left the screen is out of reach.
                top = max(0, len(rows) - lines)
                row = max(top, row - int(number or 1))
            case "J":
                assert number in ("", "0")
                rows[row:] = [rows[row][:column]]
            case "m":
                pass
            case _:
                raise AssertionError(f"It does not know {found[0]!r}.")
    return ["".join(line).rstrip() for line in rows]
