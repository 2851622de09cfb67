"""Shapes of objects whose keys are known, and of what holds itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, frozen

from ._definitions import Definitions
from ._problems import Problem
from ._shape import FAILED, Shape, described, refused, unexpected

__all__ = ["Later", "Property", "Record"]


@frozen
class Property:
    """A field of a record, or a parameter of a function."""

    #: What JSON calls it, and what Python does.
    name: str
    shape: Shape
    required: bool
    keyword: str
    description: str | None = None
    #: What it is when it is left out, where JSON can say that.
    default: Any = FAILED

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        schema = described(self.shape.schema(definitions), self.description)
        if self.default is not FAILED:
            schema = {**schema, "default": self.default}
        return schema


@define(eq=False)
class Record:
    """An object whose keys are known."""

    title: str
    build: Callable[..., Any]
    description: str | None = None
    #: Filled in when all of them have been read; they may hold the record itself.
    properties: Sequence[Property] = ()
    kinds: frozenset[str] = frozenset({"object"})

    @property
    def name(self) -> str:
        return f"an object ({self.title})" if self.title else "an object"

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        return definitions.refer(self, self.title, self.body)

    def body(self, definitions: Definitions, /) -> dict[str, Any]:
        """Its schema itself, and no reference to it."""
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {p.name: p.schema(definitions) for p in self.properties},
        }
        if required := [p.name for p in self.properties if p.required]:
            schema["required"] = required
        schema["additionalProperties"] = False
        return described(schema, self.description)

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        if not isinstance(value, dict):
            return unexpected(self, value, path, problems)
        before, given = len(problems), dict(value)
        found: dict[str, Any] = {}
        for each in self.properties:
            here = f"{path}.{each.name}"
            if each.name not in given:
                if each.required:
                    problems.append(Problem(here, f"is missing: {each.shape.name}"))
                continue
            item = given.pop(each.name)
            if item is None and not each.required and "null" not in each.shape.kinds:
                # Where every property is required, null is how to leave one out.
                continue
            found[each.keyword] = each.shape.read(item, here, problems)
        known = ", ".join(p.name for p in self.properties) or "none"
        problems += (
            Problem(f"{path}.{name}", f"is not known; known are: {known}")
            for name in given
        )
        if len(problems) > before:
            return FAILED
        try:
            return self.build(**found)
        except Exception as error:  # validators raise what they like
            why = error.args[0] if error.args else type(error).__name__
            return refused(path, f"refused: {why}", problems)


@define
class Later:
    """A shape that is still being read: it holds itself."""

    _name: str
    target: Shape | None = None
    #: Whether it does.
    used: bool = False

    @property
    def name(self) -> str:
        return f"a {self._name}"

    @property
    def kinds(self) -> frozenset[str]:
        return self._shape.kinds

    @property
    def _shape(self) -> Shape:
        assert self.target is not None
        return self.target

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        return definitions.refer(self, self._name, self._shape.schema)

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        return self._shape.read(value, path, problems)
