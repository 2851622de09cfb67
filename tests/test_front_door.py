"""The front door is what it says it is, and opens quickly."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aichat
import aichat.middleware

HEAVY = ("aiohttp", "cattrs", "typed_settings", "yaml", "rich", "redis", "pydantic")


def test_all_is_what_there_is() -> None:
    """`__all__` names every public name, in order, and nothing else."""
    tree = ast.parse(Path(aichat.__file__).read_text())
    imported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(aichat.__all__) == sorted(imported)
    assert all(hasattr(aichat, name) for name in aichat.__all__)


def test_public_things_explain_themselves() -> None:
    """Everything that can be called has a docstring of its own."""
    silent = [
        name
        for name in aichat.__all__
        if callable(thing := getattr(aichat, name))
        and (isinstance(thing, type) or hasattr(thing, "__code__"))
        and not (thing.__doc__ or "").strip()
    ]
    assert silent == []


def test_importing_loads_nothing_heavy() -> None:
    """Neither aiohttp nor OpenTelemetry's SDK nor any optional package."""
    code = (
        "import sys, aichat, aichat.testing\n"
        f"heavy = {HEAVY!r}\n"
        "print([m for m in heavy if m in sys.modules], "
        "'opentelemetry.sdk' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[] False"


def test_middleware_is_imported_when_it_is_asked_for() -> None:
    """Every name is there, and none of them makes `import aichat` slower."""
    code = (
        "import sys, aichat.middleware as m\n"
        "early = [n for n in m._ELSEWHERE.values() if f'aichat.middleware.{n}' in sys.modules]\n"
        "print(early, [n for n in m.__all__ if not hasattr(m, n)], dir(m) == sorted(m.__all__))\n"
        "print(sorted({*m._ELSEWHERE, 'Handler', 'Middleware', 'compose'}) == sorted(m.__all__))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert out.stdout.splitlines() == ["[] [] True", "True"]
    with pytest.raises(AttributeError, match="'cash'"):
        _ = aichat.middleware.cash
