"""
Instructions per chunk, counted by callgrind: the same today and tomorrow, on any machine
with the same Python.

Two runs, one with twice as many chunks; what the second has more is what chunks cost. What
is counted is the client with a scripted connection, so there is no socket in it. It takes a
minute or two, and is wrong if the sources change meanwhile: compiling counts as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ._answers import DIALECTS

__all__ = ["CEILINGS", "per_chunk", "report"]

#: So many that what importing costs, which is not always the same, does not show.
_CHUNKS: Final = 5000
#: Thousands of instructions per chunk at Python 3.11 on x86-64, one event per read, as they
#: were when somebody last looked, and a tenth on top.
CEILINGS: Final[dict[str, float]] = {
    "openai-chat": 56.0,
    "openai": 57.0,
    "anthropic": 53.0,
    "google": 85.0,
    "ollama": 48.0,
}


def report(dialects: Sequence[str] = ()) -> int:
    """Print them; return 1 if a ceiling has been passed."""
    if shutil.which("valgrind") is None:
        print("valgrind is not installed; tests/test_cost.py counts calls without it.")
        return 0
    passed = 0
    for dialect in dialects or DIALECTS:
        seen = per_chunk(dialect) / 1000
        ceiling = CEILINGS.get(dialect, float("inf"))
        comparable = sys.version_info[:2] == (3, 11)
        passed |= comparable and seen > ceiling
        print(f"{dialect}: {seen:.1f} thousand per chunk; ceiling {ceiling:.1f}")
    return int(passed)


def per_chunk(
    dialect: str, *arguments: str, module: str = "benchmarks._scripted"
) -> float:
    """Instructions for a chunk from a scripted connection to the reader of a stream."""

    def count(chunks: int) -> int:
        return _count(module, dialect, str(chunks), *arguments)

    return (count(2 * _CHUNKS) - count(_CHUNKS)) / _CHUNKS


def _count(*arguments: str) -> int:
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", *arguments]
    # Once without, so that there is nothing left to compile.
    subprocess.run(command, cwd=root, check=True)
    with tempfile.TemporaryDirectory() as folder:
        seen = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/out",
                *command,
            ],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
    collected = re.search(r"Collected : (\d+)", seen.stderr)
    assert collected is not None, seen.stderr[-500:]
    return int(collected[1])
