"""
What a schema says once and refers to.

While a schema is made, everything with a name is a reference. In the end those that are used
once are put in their place, which is how people write them; what is used several times, or
holds itself, stays in ``$defs``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from attrs import define, field

__all__ = ["Definitions"]

_REFERENCE: Final = "#/$defs/"


@define
class Definitions:
    """Collects schemas by name, each object under one of its own."""

    _names: dict[int, str] = field(factory=dict, init=False)
    _schemas: dict[str, dict[str, Any]] = field(factory=dict, init=False)
    #: What was taken over: the references by their owners, and the schemas as they came,
    #: by the names that they had there.
    _adopted: dict[int, dict[str, Any]] = field(factory=dict, init=False)
    _foreign: dict[str, tuple[dict[str, Any], str]] = field(factory=dict, init=False)

    def refer(
        self, owner: object, name: str, make: Callable[[Definitions], dict[str, Any]]
    ) -> dict[str, Any]:
        """Refer to the schema of *owner*, which is made when it is first asked for."""
        known = self._names.get(id(owner))
        if known is None:
            known = self._names[id(owner)] = self._free(name)
            self._schemas[known] = {}  # taken; it may ask for itself
            self._schemas[known] = make(self)
        return {"$ref": _REFERENCE + known}

    def adopt(self, owner: object, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Take over the *schema* of *owner*, a reference into its own definitions."""
        adopted = self._adopted.get(id(owner))
        if adopted is not None:
            return adopted
        names: dict[str, str] = {}
        for name, other in schema["$defs"].items():
            known = self._foreign.get(name)
            if known is not None and known[0] == other:
                names[name] = known[1]
                continue
            names[name] = self._free(name)
            self._foreign[name] = other, names[name]
            self._schemas[names[name]] = {}
        for name, other in schema["$defs"].items():
            self._schemas[names[name]] = _renamed(other, names)
        taken: dict[str, Any] = _renamed({"$ref": schema["$ref"]}, names)
        self._adopted[id(owner)] = taken
        return taken

    def _free(self, name: str) -> str:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "Value"
        number, free = 2, plain
        while free in self._schemas:
            free, number = f"{plain}{number}", number + 1
        return free

    def assemble(self, root: dict[str, Any]) -> dict[str, Any]:
        """Complete *root* with what it refers to."""
        counts = Counter(_references(root))
        for schema in self._schemas.values():
            counts.update(_references(schema))
        endless = {name for name in self._schemas if name in self._reached(name)}
        stays = endless | {name for name, count in counts.items() if count > 1}
        whole: dict[str, Any] = self._inlined(root, stays)
        if isinstance(whole.get("$ref"), str):
            # The whole has to be a plain object: say it here once more.
            outer = {k: v for k, v in whole.items() if k != "$ref"}
            first = self._schemas[whole["$ref"].removeprefix(_REFERENCE)]
            whole = {**self._inlined(first, stays), **outer}
        used = self._used(whole, stays)
        if used:
            whole["$defs"] = used
        return whole

    def _reached(self, name: str) -> set[str]:
        """All that the schema *name* refers to, however far away."""
        reached: set[str] = set()
        ahead = [name]
        while ahead:
            new = set(_references(self._schemas[ahead.pop()])) - reached
            reached |= new
            ahead += new
        return reached

    def _inlined(self, node: Any, stays: set[str]) -> Any:
        if isinstance(node, list):
            return [self._inlined(item, stays) for item in node]
        if not isinstance(node, dict):
            return node
        name = _reference(node)
        if name is None or name in stays:
            return {k: self._inlined(v, stays) for k, v in node.items()}
        beside = {k: v for k, v in node.items() if k != "$ref"}
        # What is said here is said about this place.
        inner = {k: v for k, v in self._schemas[name].items() if k not in beside}
        return self._inlined(
            {"type": inner.pop("type"), **beside, **inner}
            if "type" in inner
            else {**beside, **inner},
            stays,
        )

    def _used(self, whole: dict[str, Any], stays: set[str]) -> dict[str, Any]:
        used: dict[str, Any] = {}
        ahead = list(_references(whole))
        while ahead:
            name = ahead.pop(0)
            if name not in used:
                used[name] = self._inlined(self._schemas[name], stays)
                ahead += _references(used[name])
        return used


def _reference(node: dict[str, Any]) -> str | None:
    found = node.get("$ref")
    # A property may be called $ref as well, and then it is no text.
    return found.removeprefix(_REFERENCE) if isinstance(found, str) else None


def _references(node: Any) -> Iterator[str]:
    match node:
        case list():
            for item in node:
                yield from _references(item)
        case dict():
            name = _reference(node)
            if name is not None:
                yield name
            for item in node.values():
                yield from _references(item)
        case _:
            pass


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    match node:
        case list():
            return [_renamed(item, names) for item in node]
        case dict():
            renamed = {k: _renamed(v, names) for k, v in node.items()}
            name = _reference(node)
            if name is not None:
                renamed["$ref"] = _REFERENCE + names.get(name, name)
            return renamed
        case _:
            return node
