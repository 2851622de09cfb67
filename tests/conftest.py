"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """
    Leave helpers alone: ``--doctest-modules`` would import them, and some need what is
    only there for the tests that use them.
    """
    helper = collection_path.suffix == ".py" and HERE in collection_path.parents
    if helper and not collection_path.name.startswith(("test_", "conftest")):
        return True
    return None
