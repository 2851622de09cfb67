"""
The parameters of a tool, without references.

Ollama reads them into a form of its own before the model sees them, and a ``$ref`` has no
place in it: what it points at would be lost.

See: https://docs.ollama.com/capabilities/tool-calling
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

__all__ = ["without_references"]

#: What stands in these is a value, and no schema.
_VALUES: Final = frozenset({"const", "default", "enum", "examples"})
_DEFINITIONS: Final = ("$defs", "definitions")


def without_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Put what each ``$ref`` points at in its place.

    What refers to itself has no end: there the reference stays, and so do the definitions.

    >>> without_references({
    ...     "properties": {"to": {"$ref": "#/$defs/City"}},
    ...     "$defs": {"City": {"type": "string"}},
    ... })
    {'properties': {'to': {'type': 'string'}}}
    """
    inliner = _Inliner(schema)
    body = {k: v for k, v in schema.items() if k not in _DEFINITIONS}
    found: dict[str, Any] = inliner.inline(body, ())
    if inliner.left:
        found |= {k: v for k, v in schema.items() if k in _DEFINITIONS}
    return found


@define
class _Inliner:
    _root: Mapping[str, Any]
    #: Whether a reference had to stay.
    left: bool = field(default=False, init=False)

    def inline(self, node: Any, within: tuple[str, ...]) -> Any:
        """Copy *node*, which is part of what the references *within* point at."""
        if isinstance(node, (list, tuple)):
            return [self.inline(item, within) for item in node]
        if not isinstance(node, Mapping):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            target = None if reference in within else self._find(reference)
            if target is None:
                self.left = True
            else:
                # What is said beside a reference is said about this place.
                beside = {k: v for k, v in node.items() if k != "$ref"}
                return self.inline({**target, **beside}, (*within, reference))
        return {
            key: value if key in _VALUES else self.inline(value, within)
            for key, value in node.items()
        }

    def _find(self, reference: str) -> Mapping[str, Any] | None:
        place: Any = self._root
        head, *steps = reference.split("/")
        if head != "#":
            return None
        for step in steps:
            # RFC 6901, section 4.
            name = step.replace("~1", "/").replace("~0", "~")
            place = place.get(name) if isinstance(place, Mapping) else None
        return place if isinstance(place, Mapping) else None
