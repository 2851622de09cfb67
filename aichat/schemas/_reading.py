"""From a type to its shape."""

from __future__ import annotations

import collections
import collections.abc as abc
import sys
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NoReturn,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import typing_extensions
from attrs import define, field

from ..errors import ConfigError
from ._collections import FixedItems, Items, Keyed
from ._docstrings import documentation_of_class
from ._fields import Field, fields_of, has_fields
from ._notes import noted
from ._pydantic import Foreign, is_pydantic
from ._records import Later, Property, Record
from ._scalars import Anything, Choice, Scalar
from ._shape import FAILED, Noted, Shape
from ._texts import TEXTS
from ._union import Union

__all__ = ["Reader", "property_of"]

_SCALARS: Final[Mapping[Any, Scalar]] = {
    str: Scalar("string", str),
    int: Scalar("integer", int),
    float: Scalar("number", float),
    bool: Scalar("boolean", bool),
    NoneType: Scalar("null", NoneType),
    None: Scalar("null", NoneType),
}
_SEQUENCES: Final[Mapping[Any, Callable[[list[Any]], Any]]] = {
    list: list,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Iterable: list,
    abc.Collection: list,
    collections.deque: collections.deque,
}
_SETS: Final[Mapping[Any, Callable[[list[Any]], Any]]] = {
    set: set,
    frozenset: frozenset,
    abc.Set: frozenset,
    abc.MutableSet: set,
}
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)
_ALIASES: Final = tuple(
    alias
    for module in (typing, typing_extensions)
    if (alias := getattr(module, "TypeAliasType", None)) is not None
)


@define
class Reader:
    """
    Reads types, those that hold themselves too.

    *where* says of what, for errors: a `ConfigError` names the way to the type that has no
    form in JSON.
    """

    where: str
    _records: dict[Any, Shape] = field(factory=dict, init=False)

    def read(self, kind: Any, where: str | None = None) -> Shape:
        """The shape of *kind*. Raises `ConfigError`."""
        where = where or self.where
        origin: Any = get_origin(kind)
        arguments = get_args(kind)
        if kind in (Any, object):
            return Anything()
        if origin is Annotated:
            return noted(self.read(arguments[0], where), arguments[1:])
        if origin in (typing.Union, UnionType):
            return Union([self.read(each, where) for each in arguments])
        if origin is Literal or origin is typing_extensions.Literal:
            return Choice([_literal(value, where) for value in arguments])
        if isinstance(kind, typing.NewType):
            return self.read(kind.__supertype__, where)
        if isinstance(kind, _ALIASES) or isinstance(origin, _ALIASES):
            return self._alias(kind, where)
        if isinstance(kind, TypeVar):
            return self._variable(kind, where)
        return self._type(kind, origin or kind, arguments, where)

    def _type(
        self, kind: Any, origin: Any, arguments: tuple[Any, ...], where: str
    ) -> Shape:
        known = _SCALARS.get(origin) or TEXTS.get(origin)
        if known is not None:
            return known
        if is_pydantic(kind):
            return self._once(kind, lambda: Foreign.of(kind))
        if isinstance(origin, type) and issubclass(origin, Enum):
            return _enum(origin, where)
        if has_fields(origin):
            return self._record(kind, origin, arguments)
        if origin is tuple:
            return self._tuple(arguments, where)
        if origin in _SEQUENCES:
            item = self._argument(arguments, 0, where)
            return Items(item, _SEQUENCES[origin])
        if origin in _SETS:
            item = self._argument(arguments, 0, where)
            return Items(item, _SETS[origin], unique=True)
        if origin in _MAPPINGS:
            return self._mapping(arguments, where)
        _refuse(where, kind)

    def _argument(self, arguments: tuple[Any, ...], index: int, where: str) -> Shape:
        return self.read(arguments[index], where) if arguments else Anything()

    def _tuple(self, arguments: tuple[Any, ...], where: str) -> Shape:
        match arguments:
            case ():
                return Items(Anything(), tuple)
            case (item, ellipsis) if ellipsis is Ellipsis:
                return Items(self.read(item, where), tuple)
            case _:
                return FixedItems([self.read(item, where) for item in arguments])

    def _mapping(self, arguments: tuple[Any, ...], where: str) -> Shape:
        if not arguments:
            return Keyed(_SCALARS[str], Anything())
        key = self.read(arguments[0], where)
        if key.kinds != {"string"}:
            raise ConfigError(
                f"{where}: keys in JSON are strings, not {arguments[0]!r}. Take a list "
                "of objects that have a key and a value."
            )
        return Keyed(key, self.read(arguments[1], where))

    def _once(self, kind: Any, make: Callable[[], Shape]) -> Shape:
        # By its text as well: list[int | str] == list[str | int], but it reads otherwise.
        key = (kind, repr(kind))
        if key not in self._records:
            self._records[key] = make()
        return self._records[key]

    def _record(
        self, kind: Any, origin: type[Any], arguments: tuple[Any, ...]
    ) -> Shape:
        key = (kind, repr(kind))
        if key in self._records:
            return self._records[key]
        words = documentation_of_class(origin)
        title = origin.__name__ + "".join(f"_{_title(each)}" for each in arguments)
        record = self._records[key] = Record(
            title,
            dict if issubclass(origin, dict) else origin,
            words.text,
        )
        record.properties = [
            self._property(each, words.parameters.get(each.name), title)
            for each in fields_of(origin, arguments)
        ]
        return record

    def _property(self, each: Field, words: str | None, title: str) -> Property:
        shape = self.read(each.hint, f"{title}.{each.name}")
        return property_of(each, shape, words)

    def _alias(self, kind: Any, where: str) -> Shape:
        arguments = get_args(kind)
        origin: Any = get_origin(kind) or kind
        key = (kind, repr(kind))
        if key in self._records:
            found = self._records[key]
            if isinstance(found, Later):
                found.used = True
            return found
        later = self._records[key] = Later(origin.__name__)
        value = _resolved(origin)
        if arguments:
            value = value[arguments]
        later.target = self.read(value, where)
        if not later.used:
            self._records[key] = later.target
            return later.target
        return later

    def _variable(self, kind: TypeVar, where: str) -> Shape:
        if kind.__bound__ is not None:
            return self.read(kind.__bound__, where)
        if kind.__constraints__:
            return Union([self.read(each, where) for each in kind.__constraints__])
        return Anything()


def property_of(each: Field, shape: Shape, words: str | None) -> Property:
    """The property that *each* field is; *words* of a docstring come second."""
    return Property(
        each.name,
        shape,
        each.required,
        each.name,
        # What is said at the type itself, in an Annotated, is said by the shape.
        description=each.description or (None if _is_noted(shape) else words),
        default=_sayable(each.default),
    )


def _is_noted(shape: Shape) -> bool:
    return isinstance(shape, Noted)


def _sayable(default: Any) -> Any:
    """*default* in JSON, where that is worth saying; `FAILED` if not."""
    if isinstance(default, Enum):
        default = default.value
    return default if isinstance(default, (str, int, float)) else FAILED


def _enum(kind: type[Enum], where: str) -> Choice:
    for member in kind:
        if not isinstance(member.value, (str, int, float)):
            raise ConfigError(
                f"{where}: {kind.__name__}.{member.name} has the value "
                f"{member.value!r}, which JSON has no form for. Give it a text."
            )
    return Choice(
        [(member.value, member) for member in kind],
        documentation_of_class(kind).text,
    )


def _literal(value: Any, where: str) -> tuple[Any, Any]:
    said = value.value if isinstance(value, Enum) else value
    if said is None or isinstance(said, (str, int)):
        return said, value
    raise ConfigError(f"{where}: JSON has no form for Literal[{value!r}].")


def _resolved(alias: Any) -> Any:
    """What *alias* stands for; one of typing_extensions may say it in quotes."""

    def stand_in() -> None: ...

    stand_in.__annotations__ = {"value": alias.__value__}
    module = sys.modules.get(alias.__module__)
    known = get_type_hints(
        stand_in, getattr(module, "__dict__", {}), include_extras=True
    )
    return known["value"]


def _title(kind: Any) -> str:
    return getattr(kind, "__name__", None) or repr(kind)


def _refuse(where: str, kind: Any) -> NoReturn:
    name = getattr(kind, "__qualname__", None) or repr(kind)
    raise ConfigError(
        f"{where}: {name} has no form in JSON. Take a dataclass, an attrs class, a "
        "TypedDict, a NamedTuple, a pydantic model, an Enum, a Literal, dates, UUID, "
        "Decimal, bytes, Path, or lists, tuples, sets, dicts and unions of such."
    )
