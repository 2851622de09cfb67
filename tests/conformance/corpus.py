"""
Where the recorded answers of real providers are, and the kit that reads them.

``AICHAT_CORPUS`` names the folder with ``cases`` and ``kit``; else it is looked for in
``shared/corpus`` beside the repository. It holds other people's recordings and is no part
of aichat: where it is missing, the tests that need it are skipped.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

__all__ = ["FOLDER", "MISSING", "cases", "kit"]

FOLDER = Path(
    os.environ.get("AICHAT_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus"
)
#: Why there is nothing to play; ``None`` if there is.
MISSING = (
    None
    if (FOLDER / "kit").is_dir() and (FOLDER / "cases").is_dir()
    else f"{FOLDER} is not there, or has no cases and kit; set AICHAT_CORPUS"
)


def kit() -> Any:
    """Import the kit; skips where there is none."""
    if MISSING:
        pytest.skip(MISSING)
    if str(FOLDER) not in sys.path:
        # At the end: its name is a short one, and whoever is called so goes first.
        sys.path.append(str(FOLDER))
    import kit

    return kit


def cases(*apis: str) -> list[Any]:
    """Every recorded answer of *apis*; none at all where there is no corpus."""
    return [] if MISSING else list(kit().load_all(FOLDER / "cases", *apis))
