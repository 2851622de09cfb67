"""Shapes of many values: arrays, and objects with free keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from ._definitions import Definitions
from ._problems import Problem
from ._shape import FAILED, Shape, refused, unexpected

__all__ = ["FixedItems", "Items", "Keyed"]


@frozen
class Items:
    """Any number of things of one kind."""

    item: Shape
    build: Callable[[list[Any]], Any] = list
    unique: bool = False
    name: str = "an array"
    kinds: frozenset[str] = frozenset({"array"})

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array"}
        if items := self.item.schema(definitions):
            schema["items"] = items
        if self.unique:
            schema["uniqueItems"] = True
        return schema

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        if not isinstance(value, list):
            return unexpected(self, value, path, problems)
        before, read = len(problems), self.item.read
        items = [read(v, f"{path}[{n}]", problems) for n, v in enumerate(value)]
        if len(problems) > before:
            return FAILED
        try:
            # Twice the same in a set is once: not everybody enforces uniqueItems.
            return self.build(items)
        except TypeError as error:  # what cannot be in a set
            return refused(path, f"refused: {error}", problems)


@frozen
class FixedItems:
    """So many things, each of its own kind: a ``tuple[A, B]``."""

    items: Sequence[Shape]
    kinds: frozenset[str] = frozenset({"array"})

    @property
    def name(self) -> str:
        return f"an array of {len(self.items)}"

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        size = len(self.items)
        schemas = [item.schema(definitions) for item in self.items]
        bounds = {"minItems": size, "maxItems": size}
        if all(schema == schemas[0] for schema in schemas[1:]):
            # Said without prefixItems, which not everybody enforces.
            items = {"items": schemas[0]} if schemas and schemas[0] else {}
            return {"type": "array", **items, **bounds}
        return {"type": "array", "prefixItems": schemas, **bounds}

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        if not isinstance(value, list):
            return unexpected(self, value, path, problems)
        if len(value) != len(self.items):
            return refused(path, f"expected {self.name}, got {len(value)}", problems)
        before = len(problems)
        built = tuple(
            item.read(each, f"{path}[{number}]", problems)
            for number, (item, each) in enumerate(zip(self.items, value, strict=True))
        )
        return FAILED if len(problems) > before else built


@frozen
class Keyed:
    """An object with free keys: a ``dict``."""

    key: Shape
    value: Shape
    name: str = "an object"
    kinds: frozenset[str] = frozenset({"object"})

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object"}
        keys = self.key.schema(definitions)
        if keys != {"type": "string"}:
            schema["propertyNames"] = keys
        if values := self.value.schema(definitions):
            schema["additionalProperties"] = values
        return schema

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        if not isinstance(value, dict):
            return unexpected(self, value, path, problems)
        before = len(problems)
        built: dict[Any, Any] = {}
        for key, each in value.items():
            here = f"{path}[{key!r}]"
            known = self.key.read(key, f"{here} (the key)", problems)
            built[known] = self.value.read(each, here, problems)
        if len(problems) > before:
            return FAILED
        if len(built) < len(value):
            return refused(path, "two keys mean the same", problems)
        return built
