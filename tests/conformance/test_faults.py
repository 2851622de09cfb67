"""
A server that misbehaves in every way that somebody could think of.

The harness beside the corpus runs in a process of its own and looks at the client from
outside: the text, the error, the requests and connections that the server counted, memory
and time. Here are the groups of its rows that concern one call; the rest is issue 4.
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
APIS = ("openai", "anthropic")
GROUPS = frozenset({"status", "framing", "timing", "content"})

#: What does not pass yet: for all dialects, or for ``(api, fault)``.
ISSUE_4: frozenset[str | tuple[str, str]] = frozenset()


def _faults() -> list[tuple[str, str]]:
    if not HARNESS.is_file():
        return []
    sys.path.append(str(HARNESS.parent))
    known = importlib.import_module("faultserver").FAULTS
    return [
        (api, name)
        for api in APIS
        for name, fault in known.items()
        if fault.group in GROUPS and api in fault.apis
    ]


FAULTS = _faults()


def _params() -> list[Any]:
    if not FAULTS:
        reason = f"{HARNESS} is not there; set AICHAT_CORPUS to the folder beside it"
        skip = pytest.mark.skip(reason=reason)
        return [pytest.param("", "", marks=skip, id="no-harness")]
    return [
        pytest.param(
            api,
            name,
            id=f"{api}-{name}",
            marks=pytest.mark.xfail(reason="issue 4")
            if {name, (api, name)} & ISSUE_4
            else (),
        )
        for api, name in FAULTS
    ]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """What the harness says of each fault; one process per dialect, side by side."""
    folder = tmp_path_factory.mktemp("faults")
    here = Path(__file__).parent
    roots = [str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
    running = {}
    for api in APIS:
        rows = ",".join(name for a, name in FAULTS if a == api)
        out = folder / f"{api}.jsonl"
        log = (folder / f"{api}.log").open("wb")
        with log:
            running[api] = subprocess.Popen(
                [
                    *(sys.executable, str(HARNESS), "adapter:AIChat"),
                    *("--api", api, "--rows", rows, "--out", str(out)),
                ],
                cwd=here,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
    found = {}
    for api, process in running.items():
        if process.wait():
            pytest.fail((folder / f"{api}.log").read_text())
        for line in (folder / f"{api}.jsonl").read_text().splitlines():
            verdict = json.loads(line)
            found[api, verdict["variant"]] = verdict
    return found


@pytest.mark.parametrize(("api", "fault"), _params())
def test_fault(api: str, fault: str, verdicts: dict[tuple[str, str], Any]) -> None:
    """
    The right text or the right error, the right number of requests, and nothing left.
    """
    # S4, S5, S6, D1, D2, D3, R1, R2, R3, C1, I1, I2, I3, X1
    verdict = verdicts[api, fault]
    wrong = "; ".join(what for _, what in verdict["wrong"])
    assert verdict["grade"] == "pass", f"{verdict['grade']}: {wrong} {verdict['notes']}"
