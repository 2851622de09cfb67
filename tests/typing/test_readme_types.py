"""
What a user's type checkers say of the README's programs: nothing, without one ``ignore``.

The programs are read as a user's own files are, outside of this project, with the
strictest mypy there is and with pyright as it comes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

CHECKERS = {
    "mypy": ["mypy", "--strict", "--config-file=", "--no-error-summary"],
    "pyright": ["basedpyright", "--level=error", "--pythonpath", sys.executable],
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with each program in a file that is named for its line in the README."""
    for code in PROGRAMS:
        line = README[: README.index(code)].count("\n") + 1
        (tmp_path / f"line_{line}.py").write_text(code, encoding="utf-8")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    return tmp_path


@pytest.mark.parametrize("checker", CHECKERS)
def test_readme_programs_have_types(checker: str, programs: Path) -> None:
    """They are checked as they stand, and nothing is found."""
    pytest.importorskip(CHECKERS[checker][0])
    files = sorted(path.name for path in programs.glob("*.py"))
    assert len(files) == len(PROGRAMS) >= 6
    arguments = files if checker == "mypy" else ["-p", "."]
    process = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker], *arguments],
        cwd=programs,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_nothing_is_ignored() -> None:
    """There is no comment in the programs that tells a checker to look away."""
    assert not [code for code in PROGRAMS if re.search(r"type: *ignore|pyright:", code)]
