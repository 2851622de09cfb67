"""The front door is what it says it is, and opens quickly."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import aichat

HEAVY = ("aiohttp", "cattrs", "typed_settings", "yaml", "rich", "redis", "pydantic")


def test_all_is_what_there_is() -> None:
    """`__all__` names every public name, in order, and nothing else."""
    tree = ast.parse(Path(aichat.__file__).read_text())
    checked = [node for node in tree.body if isinstance(node, ast.If)]
    imported = [
        alias.asname or alias.name
        for node in (*tree.body, *checked[0].body)
        if isinstance(node, ast.ImportFrom) and node.module not in ("typing", "_lazy")
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


LAZY = ("", "costs", "transport", "providers", "types", "middleware")


@pytest.mark.parametrize("package", LAZY)
def test_what_is_imported_late_is_what_type_checkers_see(package: str) -> None:
    """Each name at its place, in both halves of the module."""
    tree = ast.parse(
        (Path(aichat.__file__).parent / package / "__init__.py").read_text()
    )
    (choice,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name: f"{'.' * (node.level - 1)}{node.module}"
        for node in choice.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (late,) = choice.orelse
    assert isinstance(late, ast.Assign)
    assert isinstance(late.value, ast.Call)
    where: dict[str, str] = ast.literal_eval(late.value.args[1])
    assert seen == {
        name: home for home, names in where.items() for name in names.split()
    }
    module = importlib.import_module(f"aichat.{package}".rstrip("."))
    assert all(getattr(module, name) is not None for name in seen)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = module.nonsense


def test_nobody_pays_for_middleware_that_is_not_used() -> None:
    """`import aichat` leaves it where it is."""
    code = (
        "import sys, aichat\n"
        "print([m for m in sys.modules if m.startswith('aichat.middleware._')])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    # The last one looks whether there is anything to do for the rest of it.
    assert ast.literal_eval(out.stdout) == [
        "aichat.middleware._compose",
        "aichat.middleware._watching",
        "aichat.middleware._telemetry",
    ]
