"""The shape of one or the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from ._definitions import Definitions
from ._problems import Problem, kind_of
from ._records import Record
from ._scalars import Choice, Scalar
from ._shape import FAILED, Shape, bare, unexpected

__all__ = ["Union"]


@frozen
class Union:
    """One or the other: the first that fits."""

    members: Sequence[Shape]

    @property
    def name(self) -> str:
        return " or ".join(dict.fromkeys(member.name for member in self.members))

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset[str]().union(*(member.kinds for member in self.members))

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        options: list[dict[str, Any]] = []
        for member in self.members:
            option = member.schema(definitions)
            if option not in options:
                options.append(option)
        if {} in options:
            return {}
        return options[0] if len(options) == 1 else {"anyOf": options}

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        failed: list[tuple[Shape, list[Problem]]] = []
        for member in self._ordered(value):
            found: list[Problem] = []
            read = member.read(value, path, found)
            if read is not FAILED:
                return read
            failed.append((member, found))
        kind = kind_of(value)
        near = [each for each in failed if kind in each[0].kinds]
        tagged = [each for each in near if not _other_tag(each[0], value)]
        near = tagged or near
        match near:
            case []:
                return unexpected(self, value, path, problems)
            case [(_, found)]:
                problems += found
            case _:
                whys = "; ".join(
                    f"as {member.name}: {', '.join(map(str, found))}"
                    for member, found in near
                )
                problems.append(Problem(path, f"expected {self.name} ({whys})"))
        return FAILED

    def _ordered(self, value: Any) -> Iterable[Shape]:
        """Those first that take a number as it is: 1 is an int in ``float | int``."""
        if not isinstance(value, (int, float)):
            return self.members
        exact = [m for m in self.members if isinstance(m, Scalar) and m.type is type(value)]  # fmt: skip
        return (*exact, *(m for m in self.members if m not in exact))


def _other_tag(shape: Shape, value: Any) -> bool:
    """Whether *value* says by a tag, a field with one choice, that it is no *shape*."""
    shape = bare(shape)
    if not isinstance(shape, Record) or not isinstance(value, dict):
        return False
    for each in shape.properties:
        choice = bare(each.shape)
        one = isinstance(choice, Choice) and len(choice.values) == 1
        if one and choice.read(value.get(each.name), "", []) is FAILED:
            return True
    return False
