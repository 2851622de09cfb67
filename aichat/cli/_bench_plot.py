"""
What has been measured, as a picture: four panels, drawn by matplotlib.

The paper is transparent and the ink of a medium shade, so that it reads on a light page and
on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import ConfigError
from ._bench_report import Subject, manner, seconds
from ._bench_tally import Distribution, Tally, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check", "columns", "draw", "ranked"]

_KINDS: Final = (".svg", ".png", ".pdf")
#: Each has a contrast of 3 or more with white and with nearly black.
_INK, _GRID = "#7a818c", "#7a818c55"
_BLUE, _ORANGE, _GREEN, _RED = "#3b82d6", "#d9730d", "#2f9e6e", "#e0484d"
_BARS, _COLUMNS = 40, 80
#: Beyond this ratio a straight scale shows nothing of the smaller.
_WIDE: Final = 20


def check(file: Path, *, find: Callable[[str], object] = find_spec) -> None:
    """Raise `ConfigError` if *file* could not be drawn."""
    if file.suffix.lower() not in _KINDS:
        raise ConfigError(f"{file}: the name must end in {', '.join(_KINDS)}.")
    if find("matplotlib") is None:
        raise ConfigError("--plot needs the extra plot: pip install 'aichat[plot]'.")


def draw(file: Path, subject: Subject, tally: Tally) -> None:
    """Draw *tally* into *file*, whose name says in which format."""
    # Postponed: it takes longer to import than all of aichat.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({
        "font.size": 9,
        "axes.titlesize": 10,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "grid.color": _GRID,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        # The same measurement makes the same file.
        "svg.hashsalt": "aichat",
    }):
        figure = Figure(figsize=(10, 6.6), layout="constrained")
        _draw_all(figure, subject, tally)
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        suffix = file.suffix.lower()
        figure.savefig(
            file, transparent=True, dpi=150, metadata=metadata.get(suffix, {})
        )


def _draw_all(figure: Figure, subject: Subject, tally: Tally) -> None:
    ((first, ranks), (active, speed)) = figure.subplots(2, 2)
    # `$` would begin a formula.
    name = subject.model.replace("$", r"\$")
    figure.suptitle(
        f"{name}, {manner(subject.load)}\n{tally.ok} ok, {tally.failed} failed, "
        f"in {seconds(tally.seconds)}",
        fontsize=11,
    )
    _draw_histogram(first, tally.first_chunk)
    _draw_ranks(ranks, tally)
    _draw_active(active, tally)
    _draw_speed(speed, tally)
    for axes in (first, ranks, active, speed):
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)


def _draw_histogram(axes: Axes, times: Distribution) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title("Time to the first chunk")
    axes.set_ylabel("answers")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if not len(times):
        _say_nothing(axes)
        return
    values, counts = zip(*times, strict=True)
    bars = min(_BARS, max(8, 2 * math.isqrt(len(times))))
    # Equal values are one bar, not a wall.
    spread = values[-1] - values[0] or values[0] or 1.0
    edges = values[0], values[0] + spread
    axes.hist(values, bins=bars, range=edges, weights=counts, color=_BLUE, alpha=0.85)
    for percent, style in ((50, "-"), (99, "--")):
        (value,) = times.percentiles(percent)
        label = f"p{percent} {seconds(value)}"
        axes.axvline(value, linestyle=style, color=_ORANGE, label=label)
    axes.legend(loc="best")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: seconds(value) if value else "0")


def _draw_ranks(axes: Axes, tally: Tally) -> None:
    axes.set_title("Percentiles")
    axes.set_xlabel("so many % of the answers took no longer")
    lines = (
        ("whole answer", tally.total, _GREEN, "-", 1.5),
        # Often the same: then one shows through the dashes of the other.
        ("first chunk", tally.first_chunk, _BLUE, "-", 2.5),
        ("first text", tally.first_text, _ORANGE, "--", 1.2),
    )
    least, greatest, deepest = math.inf, 0.0, 1.0
    for name, times, color, style, width in lines:
        if not len(times):
            continue
        depths, values = ranked(times)
        axes.plot(depths, values, style, color=color, label=name, linewidth=width)
        # What took no time at all has no place on a logarithmic scale.
        least = min([least, *(v for v in values if v)])
        greatest, deepest = max(greatest, values[-1]), max(deepest, depths[-1])
    if not greatest:
        _say_nothing(axes)
        return
    if greatest > _WIDE * least:
        axes.set_yscale("log")
        # The lesser ticks have no names: those of a decade would collide.
        axes.yaxis.set_minor_formatter(lambda value, _: "")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: seconds(value) if value else "0")
    marks = [p for p in (0, 50, 90, 99, 99.9, 99.99) if _depth(p / 100) <= deepest]
    axes.set_xticks([_depth(p / 100) for p in marks], [f"{p:g}" for p in marks])
    axes.legend(loc="best")


def _draw_active(axes: Axes, tally: Tally) -> None:
    from matplotlib.ticker import MaxNLocator

    failures = f"; x: {tally.failed} failed" if tally.failed else ""
    axes.set_title(f"Requests under way{failures}")
    axes.set_xlabel("seconds from the start")
    line = tally.under_way
    starts = [index * line.step for index in range(len(line.amounts) + 1)]
    levels = [0.0, *accumulate(line.amounts)]
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.step(starts, levels, where="post", color=_BLUE, linewidth=1.2)
    axes.fill_between(starts, levels, step="post", color=_BLUE, alpha=0.2)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, tally.seconds or None)
    failed = [
        (index + 0.5) * tally.broken.step
        for index, amount in enumerate(tally.broken.amounts)
        if amount
    ]
    if failed:
        axes.plot(
            failed,
            [0.0] * len(failed),
            "x",
            color=_RED,
            clip_on=False,
            zorder=5,
        )


def _draw_speed(axes: Axes, tally: Tally) -> None:
    axes.set_title("Chunks per second, all answers together")
    axes.set_xlabel("seconds from the start")
    if not tally.chunks.amounts:
        _say_nothing(axes)
        return
    edges, rates = columns(tally.chunks, tally.seconds)
    axes.stairs(rates, edges, fill=True, color=_GREEN, alpha=0.35)
    axes.stairs(rates, edges, color=_GREEN, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, tally.seconds or None)


def _say_nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "nothing came", ha="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def ranked(times: Distribution) -> tuple[list[float], list[float]]:
    """
    Each value, and how deep in the tail it is: 1 at 90 %, 2 at 99 %, 3 at 99.9 %.

    A value has the ranks of all that are equal to it, the first and the last of them.
    """
    depths: list[float] = []
    values: list[float] = []
    count, before = len(times), 0
    for value, equal in times:
        for rank in sorted({before + 1, before + equal}):
            # In the middle of its rank, so that the last is not infinitely deep.
            depths.append(_depth((rank - 0.5) / count))
            values.append(value)
        before += equal
    return depths, values


def _depth(part: float) -> float:
    return -math.log10(1 - part)


def columns(line: Timeline, end: float) -> tuple[Sequence[float], Sequence[float]]:
    """The edges of some columns, and how much came per second in each."""
    together = math.ceil(len(line.amounts) / _COLUMNS)
    width = together * line.step
    sums = [
        sum(line.amounts[index : index + together])
        for index in range(0, len(line.amounts), together)
    ]
    edges = [index * width for index in range(len(sums) + 1)]
    # The run has not ended with the step.
    if edges[-2] < end < edges[-1]:
        edges[-1] = end
    return edges, [
        amount / (right - left)
        for amount, (left, right) in zip(sums, pairwise(edges), strict=True)
    ]
