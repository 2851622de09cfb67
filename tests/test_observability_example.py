"""The example that makes traffic to watch, and the dashboard that shows it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from aichat.middleware._instruments import INSTRUMENTS, Instrument

FOLDER: Final = Path(__file__).parent.parent / "examples/observability"
TRAFFIC: Final = FOLDER / "traffic.py"
BOARD: Final[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text())


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Make traffic, where whatever Python warns about is an error."""
    usual = {k: v for k, v in os.environ.items() if not k.startswith(("AI_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", str(TRAFFIC), *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**usual, "PYTHONUTF8": "1", **environ},
        check=False,
    )


# --- traffic -------------------------------------------------------------------------------


def test_spans_and_metrics_are_in_the_file(tmp_path: Path) -> None:
    """Every way for a call to end, and every instrument, as soon as one round is over."""  # O1
    file = tmp_path / "telemetry.jsonl"
    done = run("--seconds", "0", "--to", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert str(file) in done.stdout
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    spans = [line for line in lines if "trace_id" in line.get("context", {})]
    outcomes = {span["attributes"]["aichat.outcome"] for span in spans}
    assert outcomes == {"success", "error", "cancelled", "left"}
    assert {span["attributes"]["gen_ai.provider.name"] for span in spans} == {
        "openai", "anthropic", "gcp.gemini", "ollama",
    }  # fmt: skip
    events = {event["name"] for span in spans for event in span["events"]}
    assert events == {
        f"aichat.{n}" for n in ("cache", "hedge", "reroute", "retry", "wait")
    }
    assert any(span["attributes"].get("aichat.cost.usd") for span in spans)
    (last,) = (line for line in lines[-1:] if "resource_metrics" in line)
    # It does without Redis.
    assert measured(last) == {
        row.name for row in INSTRUMENTS if not row.key.startswith("redis_")
    }
    assert "none-needed" not in file.read_text()
    assert "story" not in file.read_text()


def measured(line: dict[str, Any]) -> set[str]:
    return {
        metric["name"]
        for resource in line["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }


@pytest.mark.skipif(
    find_spec("opentelemetry.exporter") is not None, reason="there may be an exporter"
)
def test_a_collector_needs_an_exporter() -> None:
    """Said at once, with what to install."""
    done = run(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert done.returncode == 1
    assert "pip install opentelemetry-exporter-otlp-proto-http" in done.stderr
    assert "Traceback" not in done.stderr


# --- the dashboard -------------------------------------------------------------------------


def exported(row: Instrument) -> set[str]:
    """What OpenTelemetry's exporter for Prometheus calls the series of *row*."""
    name = row.name.replace(".", "_")
    # A unit in braces is a remark, and is left out.
    name += {"s": "_seconds"}.get(row.unit, "")
    match row.kind:
        case "histogram":
            return {f"{name}_{part}" for part in ("bucket", "sum", "count")}
        case "counter" | "observable counter":
            return {f"{name}_total"}
        case "up-down counter" | "observable up-down counter":
            return {name}


SERIES: Final = {name: row for row in INSTRUMENTS for name in exported(row)}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    """Of the panels, and of the variables."""
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["definition"] == variable["query"]["query"]
            yield variable["definition"]


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:gen_ai_client|aichat_client)_\w+", query))


def test_only_the_known_units_are_used() -> None:
    """`exported` knows no other: an instrument in bytes has a suffix of its own."""
    units = {row.unit for row in INSTRUMENTS if not row.unit.startswith("{")}
    assert units == {"s"}


@pytest.mark.parametrize("query", list(queries()))
def test_a_query_asks_for_what_there_is(query: str) -> None:
    """Its series are instruments of ours, and its labels are theirs."""
    names = names_in(query)
    assert names
    assert names <= set(SERIES)
    known = {
        label.replace(".", "_") for name in names for label in SERIES[name].labels
    } | {"le"}
    by = [word for part in re.findall(r"by \(([^)]*)\)", query) for word in re.findall(r"\w+", part)]  # fmt: skip
    chosen = re.findall(r"(\w+)=~?\"", query)
    of = re.findall(r"label_values\(\w+, (\w+)\)", query)
    assert {*by, *chosen, *of} <= known
    assert query.count("(") == query.count(")")
    assert query.count("{") == query.count("}")


def test_legends_name_labels_that_are_left() -> None:
    """A label that the query has summed over would be empty."""
    for panel in panels():
        for target in panel["targets"]:
            wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            left = re.search(r"by \(([^)]*)\)", target["expr"])
            assert wanted <= set(re.findall(r"\w+", left[1] if left else ""))


def test_every_instrument_is_shown() -> None:
    """None is measured for nobody."""
    shown = {SERIES[name].key for query in queries() for name in names_in(query)}
    assert shown == {row.key for row in INSTRUMENTS}


def test_it_can_be_imported() -> None:
    """Ids of its own, no place taken twice, and a data source that is chosen on arrival."""
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    # An id of the dashboard itself would overwrite somebody else's.
    assert BOARD["id"] is None
    (source,) = (v for v in BOARD["templating"]["list"] if v["type"] == "datasource")
    assert source["query"] == "prometheus"
    chosen = {"type": "prometheus", "uid": f"${{{source['name']}}}"}
    for panel in panels():
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])
    for variable in BOARD["templating"]["list"]:
        assert variable["type"] == "datasource" or variable["datasource"] == chosen


def test_no_panel_lies_upon_another() -> None:
    """Each has its own place on a grid of 24 columns."""
    taken = set[tuple[int, int]]()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        place = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not place & taken, panel["title"]
        taken |= place


def test_the_variables_are_used() -> None:
    """One that is chosen and changes nothing would mislead."""
    everything = " ".join(target["expr"] for p in panels() for target in p["targets"])
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            assert f"${variable['name']}" in everything
