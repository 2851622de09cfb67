"""What docstrings say: of the thing, and of each of its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

__all__ = ["Documentation", "documentation", "documentation_of_class"]


@frozen
class Documentation:
    """The words of a docstring."""

    #: Without the sections on parameters, results and errors.
    text: str | None = None
    parameters: Mapping[str, str] = field(factory=dict)


def documentation(docstring: str | None) -> Documentation:
    """
    Read a docstring in the style of Google, NumPy, Sphinx or Epydoc, or of none.

    >>> documentation('''Tell the weather.
    ...
    ... Args:
    ...     city: Where.
    ... ''').parameters
    {'city': 'Where.'}
    """
    if not docstring or not docstring.strip():
        return Documentation()
    # Takes its time to import, and not everybody has tools.
    from docstring_parser import parse

    try:
        parsed = parse(docstring)
    except Exception:  # it stumbles over a few, with an IndexError; no reason to fail
        return Documentation(inspect.cleandoc(docstring))
    texts = (parsed.short_description, parsed.long_description)
    gap = "\n\n" if parsed.blank_after_short_description else "\n"
    text = gap.join(filter(None, texts))
    parameters = {
        param.arg_name.lstrip("*"): " ".join(param.description.split())
        for param in parsed.params
        if param.description
    }
    return Documentation(text or None, parameters)


def documentation_of_class(kind: type[Any]) -> Documentation:
    """The words of a class's own docstring, not of one that was generated or inherited."""
    own = kind.__dict__.get("__doc__")
    # Dataclasses and named tuples write down their signature.
    if not isinstance(own, str) or own.startswith(f"{kind.__name__}("):
        return Documentation()
    return documentation(own)
