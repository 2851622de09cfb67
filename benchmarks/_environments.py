"""An environment for each contestant, so that none has to live with another's dependencies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from .contestants import Entry

__all__ = ["CACHE", "python_for"]

#: Where they are kept from one run to the next.
CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "aichat-bench"
)


def python_for(entry: Entry, folder: Path, *, renew: bool = False) -> str:
    """
    Return the interpreter of *entry*'s environment, making one if need be.

    With *renew* what is there is brought to the newest release. Whoever needs nothing lives
    in ours. Raises `subprocess.CalledProcessError`.
    """
    if not entry.requirements:
        return sys.executable
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = folder / f"{re.sub(r'[^a-z]+', '-', entry.name).strip('-')}-{version}"
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = home / "installed"
    if renew or not done.exists():
        print(f"installing {' '.join(entry.requirements)}", file=sys.stderr)
        _install(home, python, entry.requirements)
        done.touch()
    return str(python)


def _install(home: Path, python: Path, requirements: tuple[str, ...]) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = shutil.which("uv") or (str(beside) if beside.exists() else None)
    steps: list[list[str]] = []
    if uv is not None:
        if not python.exists():
            steps.append([uv, "venv", "-q", "--python", sys.executable, str(home)])
        steps.append([uv, "pip", "install", "-q", "-U", "--python", str(python)])
    else:
        if not python.exists():
            steps.append([sys.executable, "-m", "venv", str(home)])
        steps.append([str(python), "-m", "pip", "install", "-q", "-U"])
    steps[-1] += requirements
    for step in steps:
        subprocess.run(step, check=True, stdout=sys.stderr)
