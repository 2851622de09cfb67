"""
What a type looks like in JSON.

A shape tells its JSON Schema, and reads a JSON value into the type. Reading never raises: it
notes every `Problem` and returns `FAILED`, so that all of them are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol

from attrs import define, field, frozen

from ..types import dumps
from ._definitions import Definitions
from ._problems import Problem, kind_of, said

__all__ = [
    "ANY_KIND",
    "FAILED",
    "Anything",
    "Bounded",
    "Choice",
    "FixedItems",
    "Items",
    "Keyed",
    "Later",
    "Noted",
    "Property",
    "Record",
    "Scalar",
    "Shape",
    "Text",
    "Union",
]


class Failed(Enum):
    """The type of `FAILED`."""

    FAILED = "failed"


#: What could not be read.
FAILED: Final = Failed.FAILED
ANY_KIND: Final = frozenset({
    "null",
    "boolean",
    "integer",
    "number",
    "string",
    "array",
    "object",
})


class Shape(Protocol):
    """What a type looks like in JSON."""

    @property
    def name(self) -> str:
        """What is expected, in words."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """Which JSON types it may be; a ``number`` may be an ``integer``."""
        ...

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        """Its JSON Schema; what has a name goes into *definitions*."""
        ...

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        """Turn JSON into the type; or note why not, and return `FAILED`."""
        ...


def unexpected(
    shape: Shape, value: Any, path: str, problems: list[Problem], /
) -> Failed:
    """Note that *value* is something else."""
    got = said(kind_of(value))
    problems.append(Problem(path, f"expected {shape.name}, got {got}"))
    return FAILED


def refused(path: str, message: str, problems: list[Problem], /) -> Failed:
    """Note why not."""
    problems.append(Problem(path, message))
    return FAILED


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


@frozen
class Noted:
    """A shape with words about it."""

    shape: Shape
    description: str

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def kinds(self) -> frozenset[str]:
        return self.shape.kinds

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        return described(self.shape.schema(definitions), self.description)

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        return self.shape.read(value, path, problems)


def described(schema: dict[str, Any], description: str | None) -> dict[str, Any]:
    """*schema* with *description* right behind its type, where people look for it."""
    if not description:
        return schema
    head = {k: v for k, v in schema.items() if k in ("$ref", "type")}
    rest = {k: v for k, v in schema.items() if k not in head and k != "description"}
    return {**head, "description": description, **rest}


@frozen
class Bounded:
    """A shape whose values keep to bounds."""

    shape: Shape
    #: The bounds as JSON Schema says them.
    keywords: Mapping[str, Any]
    #: Each with what it asks for, in words.
    checks: Sequence[tuple[Callable[[Any], bool], str]]

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def kinds(self) -> frozenset[str]:
        return self.shape.kinds

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        return {**self.shape.schema(definitions), **self.keywords}

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        read = self.shape.read(value, path, problems)
        if read is FAILED:
            return FAILED
        wrong = [
            Problem(path, f"must be {words}")
            for fits, words in self.checks
            if not fits(read)
        ]
        problems += wrong
        return FAILED if wrong else read


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


def bare(shape: Shape) -> Shape:
    """*shape* without what is only said about it."""
    while True:
        match shape:
            case Noted(inner) | Bounded(inner):
                shape = inner
            case _:
                return shape
