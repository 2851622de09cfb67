"""From the results to Markdown: ratios first, then what they are ratios of."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any, NamedTuple

from ._scenarios import WHOLE, Scenario
from .contestants import FLOOR, OURS

__all__ = ["Ratio", "Results", "markdown"]

Row = dict[str, Any]


class Ratio(NamedTuple):
    """A median of ratios, each within one round, and its quartiles."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_number(self.middle)} ({_number(self.low)} to {_number(self.high)})"


class Results:
    """The rows of a result, by what they are about."""

    def __init__(self, result: dict[str, Any]) -> None:
        self._rows: dict[tuple[str, str, str], Row] = {
            (row["scenario"], row["contestant"], row["dialect"]): row
            for row in result["rows"]
        }

    def row(self, scenario: str, contestant: str, dialect: str) -> Row | None:
        """The row, if it was measured and worked."""
        row = self._rows.get((scenario, contestant, dialect))
        return row if row and "runs" in row else None

    def ratio(
        self, scenario: str, dialect: str, above: str, below: str, of: str = "runs"
    ) -> Ratio | None:
        """How many times *above* is what *below* is, round by round."""
        one = self.row(scenario, above, dialect)
        other = self.row(scenario, below, dialect)
        if one is None or other is None or not all(other.get(of, ())):
            return None
        pairs = list(zip(one.get(of, ()), other.get(of, ()), strict=True))
        return _spread([a / b for a, b in pairs]) if pairs else None

    def of(self, scenario: str) -> list[Row]:
        """All rows of *scenario*."""
        return [row for key, row in self._rows.items() if key[0] == scenario]


def markdown(result: dict[str, Any]) -> str:
    """The whole report."""
    results = Results(result)
    lines = [*_head(result), *_targets(results)]
    for scenario in WHOLE:
        lines += _table(scenario, results)
    return "\n".join(lines) + "\n"


# --- the tables ------------------------------------------------------------------------


def _head(result: dict[str, Any]) -> Iterator[str]:
    machine = result["machine"]
    yield f"Measured on {result['date']}: {machine['cpu']}, {machine['cores']} cores, "
    yield f"{machine['system']}, {machine['python']}; load {machine['load']} before."
    yield "Medians, with quartiles in brackets; all took turns, round by round."
    yield (
        f"The server alone needs {result['drain_us']:.2f} µs per chunk to a reader who "
        "forgets what it reads."
    )
    yield ""
    for name, versions in result["versions"].items():
        said = ", ".join(
            f"{package} {version}" for package, version in versions.items()
        )
        yield f"- {name}: {said}"
    yield ""


def _table(scenario: Scenario, results: Results) -> Iterator[str]:
    rows = results.of(scenario.name)
    if not rows:
        return
    yield f"### {scenario.title}"
    yield ""
    also = any("cpu" in row for row in rows)
    more = (" CPU × floor | CPU µs |", "---:|---:|") if also else ("", "")
    yield (
        f"| dialect | contestant | × {OURS.name} | × floor | {scenario.unit} |{more[0]}"
    )
    yield f"|---|---|---:|---:|---:|{more[1]}"
    for row in sorted(rows, key=lambda row: (row["dialect"], _cost(row, scenario))):
        name, dialect = row["contestant"], row["dialect"]
        if "error" in row:
            yield f"| {dialect} | {name} | | | {row['error'][:60]} |"
            continue
        ratios = (
            results.ratio(scenario.name, dialect, name, base) if name != base else None
            for base in (OURS.name, FLOOR.name)
        )
        ours, floor = (str(ratio) if ratio else "" for ratio in ratios)
        line = f"| {dialect} | {name} | {ours} | {floor} | {_spread(row['runs'])} |"
        if "cpu" in row:
            cpu = results.ratio(scenario.name, dialect, name, FLOOR.name, "cpu")
            line += f" {cpu or ''} | {_spread(row['cpu'])} |"
        yield line
    yield ""
    yield from _beside(rows)


def _beside(rows: list[Row]) -> Iterator[str]:
    """What `open` saw beside the memory."""
    for row in rows:
        if "alive" in row:
            yield (
                f"- {row['contestant']}: {row['alive']:.0f} streams alive, "
                f"{row['chunks_per_second']:.0f} chunks/s, {row['busy']:.0%} busy; the "
                f"loop was late by {row['lag_p50_ms']:.1f} ms (median), "
                f"{row['lag_p99_ms']:.1f} ms (p99), {row['lag_max_ms']:.0f} ms (most)"
            )
        if row is rows[-1] and "alive" in row:
            yield ""


def _cost(row: Row, scenario: Scenario) -> float:
    if "error" in row:
        return float("inf")
    middle: float = median(row["runs"])
    return -middle if scenario.more_is_better else middle


# --- the targets -------------------------------------------------------------------------


class _Target(NamedTuple):
    what: str
    #: What was seen, and what it should at most, or at least, be.
    seen: float | None
    limit: float
    at_least: bool = False
    unit: str = "×"


def _targets(results: Results) -> Iterator[str]:
    yield "| target | limit | seen | |"
    yield "|---|---:|---:|---|"
    for what, seen, limit, at_least, unit in _all_targets(results):
        if seen is None:
            continue
        met = seen >= limit if at_least else seen <= limit
        sign = "≥" if at_least else "≤"
        verdict = "met" if met else "**missed**"
        yield f"| {what} | {sign} {limit:g} {unit} | {_number(seen)} {unit} | {verdict} |"
    yield ""


def _all_targets(results: Results) -> Iterator[_Target]:
    def times(
        scenario: str, dialect: str, above: str, below: str, of: str = "runs"
    ) -> float | None:
        ratio = results.ratio(scenario, dialect, above, below, of)
        return ratio.middle if ratio else None

    def single(peer: str, dialect: str, limit: float) -> _Target:
        seen = times("single", dialect, peer, ours)
        return _Target(f"CPU per chunk, {peer} / aichat", seen, limit, at_least=True)

    ours, floor, chat = OURS.name, FLOOR.name, OURS.dialects[0]
    seen = times("single", chat, ours, floor)
    yield _Target("CPU per chunk, aichat / floor", seen, 1.2)
    yield single("openai", chat, 30)
    yield single("litellm", chat, 80)
    yield single("anthropic", "anthropic", 5)
    yield single("ollama", "ollama", 4)
    for dialect in OURS.dialects[1:]:
        seen = times("single", dialect, ours, floor)
        yield _Target(f"CPU per chunk, aichat / floor, {dialect}", seen, 1.5)
    for peer, limit in (("openai", 6.0), ("openai[aiohttp]", 4.0)):
        seen = times("complete", chat, ours, peer)
        yield _Target(f"complete() per second, aichat / {peer}", seen, limit, True)
    seen = times("first-warm", chat, ours, floor)
    yield _Target("first chunk, aichat / floor", seen, 1.4)
    seen = times("first-warm", chat, ours, floor, "cpu")
    yield _Target("the same, in CPU for the call", seen, 1.4)
    seen = times("first-warm", chat, "openai", ours)
    yield _Target("first chunk, openai / aichat", seen, 4, at_least=True)
    for scenario in ("open-1000", "open-10000"):
        seen = times(scenario, chat, ours, floor)
        yield _Target(f"memory per stream, aichat / floor, {scenario}", seen, 1.6)
    if (row := results.row("open-10000", ours, chat)) is not None:
        yield _Target("10,000 streams alive", row["alive"], 10_000, True, unit="")
        yield _Target("10,000 streams, loop late by", row["lag_p99_ms"], 50, unit="ms")
    if (row := results.row("big", ours, chat)) is not None:
        growth = median(row["runs"]) / 2**20
        yield _Target("growth over a stream of 100 MB", growth, 2, unit="MB")
    for below, limit in (("asyncio, attrs", 2.0), ("openai", 0.25)):
        yield _Target(f"import aichat / {below}", _imports(results, below), limit)
    if (row := results.row("layer", ours, chat)) is not None:
        yield _Target("a layer, per chunk", median(row["runs"]), 0.15, unit="µs")


def _imports(results: Results, below: str) -> float | None:
    """Imports have no dialect in common."""
    runs = {row["contestant"]: row.get("runs") for row in results.of("import")}
    ours, other = runs.get(OURS.name), runs.get(below)
    return float(median(ours) / median(other)) if ours and other else None


# --- numbers -----------------------------------------------------------------------------


def _spread(values: list[float]) -> Ratio:
    if len(values) < 2:
        return Ratio(values[0], values[0], values[0])
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return Ratio(middle, low, high)


def _number(value: float) -> str:
    """Three digits, and no more than there are before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
