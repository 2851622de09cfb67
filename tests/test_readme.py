"""
The README is a test: each of its programs runs as it stands, in a process of its own.

``Client.from_env()`` finds the simulator in the environment. A block marked ``no-run``
is a fragment; it must at least compile. A ``text`` block after a program is its output.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

import aichat
import aichat.web
from aichat.testing import Simulator

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(
    r"```python( no-run)?\n(.*?)```\n(?:\n```text\n(.*?)```)?", README, re.DOTALL
)
PROGRAMS = [(code, output) for no_run, code, output in BLOCKS if not no_run]
FRAGMENTS = [code for no_run, code, _ in BLOCKS if no_run]


def test_there_is_something_to_run() -> None:
    """Guards the expression above against a README that is written differently."""
    assert len(PROGRAMS) >= 6
    assert len(FRAGMENTS) >= 2


@pytest.mark.parametrize(("code", "output"), PROGRAMS)
async def test_programs_run(code: str, output: str) -> None:
    """They end well, say nothing on stderr, and print what the README says."""
    async with Simulator() as simulator:
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("AI_")},
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "sk-readme",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
            "AI_MODEL": "simulated",
            "PYTHONWARNINGS": "error",
            "PYTHONUTF8": "1",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert err.decode() == ""
    assert process.returncode == 0
    assert out.decode().strip()
    if output:
        assert out.decode() == output


@pytest.mark.parametrize("code", FRAGMENTS)
def test_fragments_compile(code: str) -> None:
    """Every name in them that is ours exists."""
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    tree = ast.parse(f"async def main():\n{lines}")
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    ours = {*aichat.__all__, *aichat.web.__all__, "EventResponse"}
    assert {name for name in names if name[0].isupper()} <= ours
