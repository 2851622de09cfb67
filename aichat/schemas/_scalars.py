"""Shapes of single values: text, numbers, one of a few."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ..types import dumps
from ._definitions import Definitions
from ._problems import Problem, kind_of, said
from ._shape import ANY_KIND, FAILED, refused, unexpected

__all__ = ["Anything", "Choice", "Scalar", "Text"]


@frozen
class Anything:
    """Whatever JSON can say."""

    name: str = "anything"
    kinds: frozenset[str] = ANY_KIND

    def schema(self, _: Definitions, /) -> dict[str, Any]:
        return {}

    def read(self, value: Any, _path: str, _problems: list[Problem], /) -> Any:
        return value


@frozen
class Scalar:
    """``str``, ``int``, ``float``, ``bool`` or ``None``."""

    kind: str
    type: type[Any]

    @property
    def name(self) -> str:
        return said(self.kind)

    @property
    def kinds(self) -> frozenset[str]:
        number = {"number", "integer"}
        return frozenset(number if self.kind == "number" else {self.kind})

    def schema(self, _: Definitions, /) -> dict[str, Any]:
        return {"type": self.kind}

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        if type(value) is self.type:
            return value
        if kind_of(value) not in self.kinds:
            return unexpected(self, value, path, problems)
        try:
            # 1 as a float, or 1.0 as an int: JSON has but one kind of number.
            return self.type(value)
        except OverflowError:
            return refused(path, "the number is beyond all floats", problems)


@frozen
class Text:
    """Something that JSON has no form for, written as a string."""

    type: type[Any]
    name: str
    #: What its schema says besides ``"type": "string"``.
    keywords: Mapping[str, Any]
    #: Raises `ValueError`.
    parse: Callable[[str], Any]
    kinds: frozenset[str] = frozenset({"string"})

    def schema(self, _: Definitions, /) -> dict[str, Any]:
        return {"type": "string", **self.keywords}

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        if not isinstance(value, str):
            return unexpected(self, value, path, problems)
        try:
            return self.parse(value)
        except ValueError:
            return refused(path, f"expected {self.name}", problems)


def _key(value: Any) -> Hashable:
    # True == 1 in Python, and 1 == 1.0 in JSON too.
    return isinstance(value, bool), value


@frozen
class Choice:
    """One of a few values: an ``Enum`` or a ``Literal``."""

    #: By what JSON calls them.
    values: Sequence[tuple[Any, Any]]
    description: str | None = None
    _found: Mapping[Hashable, Any] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        found = {_key(said): meant for said, meant in self.values}
        object.__setattr__(self, "_found", found)

    @property
    def name(self) -> str:
        words = [dumps(said).decode() for said, _ in self.values]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(kind_of(said) for said, _ in self.values)

    def schema(self, _: Definitions, /) -> dict[str, Any]:
        kinds = list(dict.fromkeys(kind_of(said) for said, _ in self.values))
        schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
        if self.description:
            schema["description"] = self.description
        return {**schema, "enum": [said for said, _ in self.values]}

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        if not isinstance(value, (list, dict)):
            found = self._found.get(_key(value), FAILED)
            if found is not FAILED:
                return found
        return refused(path, f"expected {self.name}", problems)
