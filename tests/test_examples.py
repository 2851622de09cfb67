"""The examples run, without a key, and say something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(p.name for p in EXAMPLES.glob("[!_]*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_runs(script: str) -> None:
    """Each ends well within a minute, prints something, and warns about nothing."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("AI_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environ, "PYTHONUTF8": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


def test_there_are_some() -> None:
    """Guards against a glob that finds nothing."""
    assert {"basic.py", "streaming.py"} <= set(SCRIPTS)
