"""The chart for the README, drawn by hand: an SVG of a dozen bars needs no library."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from statistics import median
from typing import Any, Final, NamedTuple

from ._report import Results
from .contestants import FLOOR, OURS, PEERS

__all__ = ["svg"]

_WIDTH: Final = 760
_ROW: Final = 26
_LEFT: Final = 230
_RIGHT: Final = 150
_TOP: Final = 62
#: Readable on white and on GitHub's dark.
_INK: Final = "#7d8590"
_COLOURS: Final = {FLOOR.name: "#9aa4af", OURS.name: "#2da44e"}
_PEER: Final = "#6e8fc9"


class _Bar(NamedTuple):
    label: str
    contestant: str
    value: float
    #: How often it is what aichat is, in the same dialect.
    times: float | None


def svg(result: dict[str, Any]) -> str:
    """Microseconds of CPU per chunk, everybody's in their first dialect."""
    bars = sorted(_bars(Results(result)), key=lambda bar: bar.value)
    most = max(bar.value for bar in bars)
    height = _TOP + _ROW * len(bars) + 30
    machine, date = result["machine"], result["date"]
    foot = f"{machine['cpu']}, {machine['python']}, {date}; medians, one run"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"',
        f'font-family="system-ui, sans-serif" font-size="13" fill="{_INK}">',
        "<title>CPU time per chunk</title>",
        '<text x="12" y="24" font-size="16" font-weight="600">CPU per chunk, in µs</text>',
        '<text x="12" y="44">One stream, one event per HTTP chunk; less is better.',
        "In brackets: times aichat in the same dialect.</text>",
    ]
    for at, bar in enumerate(bars):
        lines += _draw(bar, _TOP + at * _ROW, most)
    lines.append(
        f'<text x="12" y="{height - 10}" font-size="11">{escape(foot)}</text></svg>'
    )
    return "\n".join(lines) + "\n"


def _draw(bar: _Bar, top: int, most: float) -> Iterator[str]:
    width = max(1.0, bar.value / most * (_WIDTH - _LEFT - _RIGHT))
    colour = _COLOURS.get(bar.contestant, _PEER)
    weight = ' font-weight="600"' if bar.contestant == OURS.name else ""
    value = f"{bar.value:.0f}" if bar.value >= 20 else f"{bar.value:.1f}"
    if bar.times is not None:
        value += f" ({bar.times:.0f} ×)"
    line = top + 15
    yield (
        f'<text x="{_LEFT - 8}" y="{line}" text-anchor="end"{weight}>'
        f"{escape(bar.label)}</text>"
    )
    yield (
        f'<rect x="{_LEFT}" y="{top + 2}" width="{width:.1f}" height="{_ROW - 8}" '
        f'rx="2" fill="{colour}"/>'
    )
    yield f'<text x="{_LEFT + width + 6:.1f}" y="{line}"{weight}>{value}</text>'


def _bars(results: Results) -> Iterator[_Bar]:
    first = {entry.name: entry.dialects[0] for entry in (FLOOR, OURS, *PEERS)}
    for row in results.of("single"):
        name, dialect = row["contestant"], row["dialect"]
        if "runs" not in row or dialect != first[name]:
            continue
        ratio = results.ratio("single", dialect, name, OURS.name)
        times = (
            None if name in (FLOOR.name, OURS.name) or ratio is None else ratio.middle
        )
        yield _Bar(f"{name}, {dialect}", name, median(row["runs"]), times)
