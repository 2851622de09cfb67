"""
``python -m benchmarks quick|peers|report|chart|layers|watching|instructions``

``quick`` compares aichat with the floor in less than a minute. ``peers`` measures everything
and everybody, in a quarter of an hour, installing the peers first; it writes the result, the
report and the chart. Both print the report. ``layers`` says where aichat's time goes, and
``watching`` what telemetry and logging add to it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from . import (
    _chart,
    _contest,
    _environments,
    _instructions,
    _layers,
    _report,
    _watching,
)
from ._answers import DIALECTS
from ._scenarios import QUICK, WHOLE
from .contestants import PEERS

_RESULTS: Final = Path(__file__).with_name("results")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    quick = commands.add_parser("quick", help="aichat and the floor")
    quick.add_argument("--to", type=Path, help="write the result, as JSON")
    peers = commands.add_parser("peers", help="everything and everybody")
    peers.add_argument("--only", nargs="*", help="these peers")
    peers.add_argument("--scenario", nargs="*", help="these scenarios")
    peers.add_argument("--rounds", type=int, default=99, help="at most so many")
    peers.add_argument("--renew", action="store_true", help="install newest releases")
    peers.add_argument("--cache", type=Path, default=_environments.CACHE)
    peers.add_argument("--to", type=Path, default=_RESULTS / "peers.json")
    for name, what in (("report", "Markdown"), ("chart", "an SVG")):
        made = commands.add_parser(name, help=f"{what} of a result")
        made.add_argument(
            "result", type=Path, nargs="?", default=_RESULTS / "peers.json"
        )
    counted = commands.add_parser("instructions", help="counted by callgrind")
    counted.add_argument("dialects", nargs="*")
    layers = commands.add_parser("layers", help="where the time of a chunk goes")
    layers.add_argument("dialect", nargs="?", default="openai-chat", choices=DIALECTS)
    layers.add_argument("per_read", nargs="?", type=int, default=400)
    watching = commands.add_parser("watching", help="what telemetry and logging cost")
    watching.add_argument("dialect", nargs="?", default="openai-chat", choices=DIALECTS)
    watching.add_argument("--rounds", type=int, default=101)
    watching.add_argument(
        "--instructions", action="store_true", help="count them, by callgrind"
    )
    return parser


def main() -> int:
    """Do what the arguments say."""
    asked = _parser().parse_args()
    match asked.command:
        case "quick":
            _finish(_contest.hold(QUICK, (), _environments.CACHE), asked.to)
        case "peers":
            _peers(asked)
        case "report":
            print(_report.markdown(json.loads(asked.result.read_text())))
        case "chart":
            target = asked.result.with_suffix(".svg")
            target.write_text(_chart.svg(json.loads(asked.result.read_text())))
        case "layers":
            _layers.report(asked.dialect, asked.per_read)
        case "watching" if asked.instructions:
            _watching.report_instructions(asked.dialect)
        case "watching":
            _watching.report(asked.dialect, asked.rounds)
        case _:
            return _instructions.report(asked.dialects)
    return 0


def _peers(asked: argparse.Namespace) -> None:
    peers = [p for p in PEERS if not asked.only or p.name in asked.only]
    chosen = [s for s in WHOLE if not asked.scenario or s.name in asked.scenario]
    chosen = [s._replace(rounds=min(s.rounds, asked.rounds)) for s in chosen]
    if asked.renew:
        for peer in peers:
            _environments.python_for(peer, asked.cache, renew=True)
    result = _contest.hold(chosen, peers, asked.cache)
    _finish(result, asked.to)
    if any(row["scenario"] == "single" for row in result["rows"]):
        asked.to.with_suffix(".svg").write_text(_chart.svg(result))


def _finish(result: dict[str, Any], target: Path | None) -> None:
    print(_report.markdown(result))
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_lines(result))


def _lines(result: dict[str, Any]) -> str:
    """JSON with a row per line, so that a difference can be read."""
    rows = ",\n  ".join(json.dumps(row) for row in result["rows"])
    head = json.dumps({**result, "rows": []}, indent=1)
    return head.replace('"rows": []', f'"rows": [\n  {rows}\n ]') + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
