"""Names of a package that are imported when they are first asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """
    Make the ``__getattr__`` of *package*, whose submodules define the names in *where*.

    *where* goes from a submodule to its names, with blanks between them; one with a dot before
    it is a neighbour of *package*, as in an import. Type checkers look at the imports beside
    it, under ``if TYPE_CHECKING``; `tests/test_front_door.py` sees to it that both say the
    same.
    """
    homes = {name: home for home, names in where.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f".{homes[name]}", package), name)
        # The next one finds it without coming by here.
        setattr(sys.modules[package], name, value)
        return value

    return get
