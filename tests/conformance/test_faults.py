"""
A server that misbehaves in every way that somebody could think of.

The harness beside the corpus runs in processes of its own and looks at the client from
outside: the text, the error, the requests and connections that the server counted, memory
and time. `adapter` tells it how to drive an `aichat.Client`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .corpus import FOLDER

HARNESS = FOLDER.parent / "faults" / "harness.py"
APIS = ("openai", "anthropic", "gemini", "ollama")
#: Processes for each of them.
_SHARES = 2

#: Rows that do not pass yet, in any dialect, each with the reason. One that passes is a
#: failure.
EXPECTED_FAILURES: dict[str, str] = {}


def _rows() -> list[tuple[str, str]]:
    if not HARNESS.is_file():
        return []
    if str(HARNESS.parent) not in sys.path:
        sys.path.append(str(HARNESS.parent))
    rows_of = importlib.import_module("harness").rows_of
    return [(api, name) for api in APIS for _, _, name in rows_of(None, api)]


_ROWS = _rows()


def _params() -> list[Any]:
    if not _ROWS:
        reason = f"{HARNESS} is not there; set AICHAT_CORPUS to the folder beside its"
        skip = pytest.mark.skip(reason=reason)
        return [pytest.param("", "", marks=skip, id="no-harness")]
    return [
        pytest.param(
            api,
            row,
            id=f"{api}-{row}",
            marks=pytest.mark.xfail(reason=EXPECTED_FAILURES[row])
            if row in EXPECTED_FAILURES
            else (),
        )
        for api, row in _ROWS
    ]


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Any]:
    """What the harness says of the rows that are asked for."""
    asked: dict[tuple[str, str], None] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and "verdicts" in item.fixturenames:
            params: dict[str, Any] = item.callspec.params
            asked[params["api"], params["row"]] = None
    folder = tmp_path_factory.mktemp("faults")
    # Most of the time nothing happens, on purpose: that can be waited for side by side.
    shares = [
        (api, [row for a, row in asked if a == api][share::_SHARES])
        for api in APIS
        for share in range(_SHARES)
    ]
    running = [
        _start(api, rows, folder / f"{number}.jsonl")
        for number, (api, rows) in enumerate(shares)
        if rows
    ]
    found = {}
    for process, out in running:
        if process.wait():
            pytest.fail(out.with_suffix(".log").read_text())
        for verdict in map(json.loads, out.read_text().splitlines()):
            found[verdict["api"], verdict["variant"]] = verdict
    return found


def _start(
    api: str, rows: list[str], out: Path
) -> tuple[subprocess.Popen[bytes], Path]:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
    with out.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, str(HARNESS), "adapter:AIChat", "--api", api),
                *("--rows", ",".join(rows), "--out", str(out)),
            ],
            cwd=here,
            env={**os.environ, "PYTHONPATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return process, out


@pytest.mark.parametrize(("api", "row"), _params())
def test_fault(api: str, row: str, verdicts: dict[tuple[str, str], Any]) -> None:
    """
    The right text or the right error, the right number of requests, and nothing left.
    """
    # S4, S5, S6, D1, D2, D3, R1, R2, R3, R4, L3, L4, B1, C1, C4, C5, C6, I1, I2, I3, X1, X2, X5
    verdict = verdicts[api, row]
    wrong = "; ".join(what for _, what in verdict["wrong"])
    assert verdict["grade"] == "pass", f"{verdict['grade']}: {wrong} {verdict['notes']}"
