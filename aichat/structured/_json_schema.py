"""
A value held against a JSON Schema that somebody wrote, rather than against a type.

It knows what models are asked for: types, ``enum`` and ``const``, objects and arrays,
bounds, patterns, the combinations, and references within the schema. Other words, such as
``format``, say what is meant and check nothing.

See: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, NoReturn

from attrs import define, field

from ..errors import ConfigError
from ..schemas import ConversionError, Problem
from ..types import dumps
from ..types._values import is_number

__all__ = ["checked", "follow"]

_KINDS: Final = frozenset({
    "array", "boolean", "integer", "null", "number", "object", "string",
})  # fmt: skip
_ONE: Final = ("additionalProperties", "items", "not")
_MANY: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions")

#: What a bound is said of, what it says, and when it holds.
_BOUNDS: Final[
    Mapping[str, tuple[type | tuple[type, ...], str, Callable[[Any, Any], bool]]]
] = {
    "minimum": ((int, float), "{} or more", lambda v, b: v >= b),
    "maximum": ((int, float), "{} or less", lambda v, b: v <= b),
    "exclusiveMinimum": ((int, float), "more than {}", lambda v, b: v > b),
    "exclusiveMaximum": ((int, float), "less than {}", lambda v, b: v < b),
    # 0.3 is a multiple of 0.1 to whoever writes it.
    "multipleOf": (
        (int, float),
        "a multiple of {}",
        lambda v, b: Fraction(repr(v)) % Fraction(repr(b)) == 0,
    ),
    "minLength": (str, "{} characters or more", lambda v, b: len(v) >= b),
    "maxLength": (str, "{} characters or less", lambda v, b: len(v) <= b),
    "minItems": (list, "{} items or more", lambda v, b: len(v) >= b),
    "maxItems": (list, "{} items or less", lambda v, b: len(v) <= b),
    "minProperties": (dict, "{} properties or more", lambda v, b: len(v) >= b),
    "maxProperties": (dict, "{} properties or less", lambda v, b: len(v) <= b),
    "pattern": (str, "a match of {}", lambda v, b: re.search(b, v) is not None),
}


def checked(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of *schema*. Raises `ConfigError` if it makes no sense."""
    _check(schema, schema, "$")
    return dict(schema)


def follow(schema: Mapping[str, Any], value: Any) -> Any:
    """
    Return *value*, which follows *schema*, with nulls that stand for nothing left out.

    A null for a property that may be missing, and may not be null, is how strict modes have
    models leave it out. Raises `ConversionError` with all that is wrong.
    """
    problems: list[Problem] = []
    value = _Reader(schema).read(schema, value, "$", problems)
    if problems:
        raise ConversionError(problems)
    return value


@define
class _Reader:
    _root: Mapping[str, Any]
    #: The references that are being followed, and the place that each is said of.
    _within: set[tuple[str, str]] = field(factory=set, init=False)

    def read(self, schema: Any, value: Any, path: str, problems: list[Problem]) -> Any:
        """Add to *problems* what is wrong with *value*, and return it."""
        if isinstance(schema, bool):
            if not schema:
                problems.append(Problem(path, "nothing may stand here"))
            return value
        if "$ref" in schema:
            value = self._refer(schema["$ref"], value, path, problems)
        wrong = _wrong(schema, value)
        if wrong is not None:
            problems.append(Problem(path, wrong))
            return value
        for member in schema.get("allOf", ()):
            value = self.read(member, value, path, problems)
        if "anyOf" in schema:
            value = self._choose(schema["anyOf"], value, path, problems, one=False)
        if "oneOf" in schema:
            value = self._choose(schema["oneOf"], value, path, problems, one=True)
        if "not" in schema and self._fits(schema["not"], value):
            problems.append(Problem(path, "what it must not be"))
        if isinstance(value, dict):
            return self._object(schema, value, path, problems)
        if isinstance(value, list):
            return self._array(schema, value, path, problems)
        return value

    def _fits(self, schema: Any, value: Any) -> bool:
        problems: list[Problem] = []
        self.read(schema, value, "$", problems)
        return not problems

    def _object(
        self,
        schema: Mapping[str, Any],
        value: dict[str, Any],
        path: str,
        problems: list[Problem],
    ) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        patterns = schema.get("patternProperties", {})
        others = schema.get("additionalProperties", True)
        found: dict[str, Any] = {}
        for name, item in value.items():
            here = _below(path, name)
            rules = [s for pattern, s in patterns.items() if re.search(pattern, name)]
            if name in properties:
                rules.append(properties[name])
                optional = item is None and name not in required
                if optional and not self._fits(properties[name], None):
                    continue
            elif not rules:
                rules.append(others)
            if rules == [False]:
                problems.append(Problem(here, "there is no such key"))
            else:
                for rule in rules:
                    item = self.read(rule, item, here, problems)
            found[name] = item
        problems += (
            Problem(_below(path, name), "is missing")
            for name in required
            if name not in found
        )
        return found

    def _array(
        self,
        schema: Mapping[str, Any],
        value: list[Any],
        path: str,
        problems: list[Problem],
    ) -> list[Any]:
        first: Sequence[Any] = schema.get("prefixItems", ())
        rest = schema.get("items", True)
        if schema.get("uniqueItems") and len(set(map(_key, value))) < len(value):
            problems.append(Problem(path, "items that differ are expected"))
        return [
            self.read(
                first[n] if n < len(first) else rest, item, f"{path}[{n}]", problems
            )
            for n, item in enumerate(value)
        ]

    def _choose(
        self,
        options: Sequence[Any],
        value: Any,
        path: str,
        problems: list[Problem],
        *,
        one: bool,
    ) -> Any:
        tried: list[list[Problem]] = []
        fitting: list[Any] = []
        for option in options:
            wrong: list[Problem] = []
            read = self.read(option, value, path, wrong)
            tried.append(wrong)
            if not wrong:
                fitting.append(read)
        if not fitting:
            # Those of the option that was meant, probably: it went furthest.
            depths = [max(len(p.path) for p in wrong) for wrong in tried]
            closest = (
                tried[depths.index(max(depths))] if max(depths) > len(path) else []
            )
            problems += closest or [Problem(path, "none of its alternatives fits")]
            return value
        if one and len(fitting) > 1:
            problems.append(Problem(path, "several of its alternatives fit, not one"))
        return fitting[0]

    def _refer(
        self, reference: str, value: Any, path: str, problems: list[Problem]
    ) -> Any:
        key = reference, path
        if key in self._within:
            raise ConfigError(f"The JSON Schema never ends: {reference} is itself.")
        self._within.add(key)
        try:
            schema = _find(self._root, reference)
            return self.read(schema, value, path, problems)
        finally:
            self._within.discard(key)


def _wrong(schema: Mapping[str, Any], value: Any) -> str | None:
    """What is wrong with *value* as such, without what is in it."""
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(_is(kind, value) for kind in kinds):
            return f"{' or '.join(kinds)} is expected"
    if "enum" in schema and not any(_equal(value, each) for each in schema["enum"]):
        return f"one of {dumps(schema['enum']).decode()} is expected"
    if "const" in schema and not _equal(value, schema["const"]):
        return f"{dumps(schema['const']).decode()} is expected"
    for name, (kind, words, holds) in _BOUNDS.items():
        if name not in schema or isinstance(value, bool) or not isinstance(value, kind):
            continue
        if not holds(value, schema[name]):
            return f"{words.format(schema[name])} is expected"
    return None


def _is(kind: str, value: Any) -> bool:
    match kind, value:
        case ("boolean", bool()) | ("null", None) | ("string", str()):
            return True
        case (("integer" | "number"), bool()):
            return False
        case (("integer" | "number"), int()) | ("number", float()):
            return True
        case "integer", float():
            return value.is_integer()
        case ("object", dict()) | ("array", list()):
            return True
        case _:
            return False


def _equal(one: Any, other: Any) -> bool:
    return bool(_key(one) == _key(other))


def _key(value: Any) -> Any:
    """What two values have in common that are one in JSON, where 1 is 1.0 but not true."""
    match value:
        case bool():
            return "bool", value
        case list() | tuple():
            return "list", *map(_key, value)
        case Mapping():
            return "dict", frozenset((name, _key(item)) for name, item in value.items())
        case _:
            return value


def _below(path: str, name: str) -> str:
    return (
        f"{path}.{name}" if name.isidentifier() else f"{path}[{dumps(name).decode()}]"
    )


# -- schemas that make no sense --------------------------------------------------------


def _check(schema: Any, root: Mapping[str, Any], path: str) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        _refuse(path, "is no schema")
    kinds = schema.get("type", ())
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if not isinstance(kind, str) or kind not in _KINDS:
            _refuse(path, f"names a type {kind!r}, which JSON does not have")
    for name in ("enum", "required", *_MANY):
        if not isinstance(schema.get(name, []), (list, tuple)):
            _refuse(path, f"has {name}, which must be a list")
    for name in _NAMED:
        if not isinstance(schema.get(name, {}), Mapping):
            _refuse(path, f"has {name}, which must be an object")
    for name in _BOUNDS:
        bound, pattern = schema.get(name, 0), name == "pattern"
        if name in schema and not (
            isinstance(bound, str) if pattern else is_number(bound)
        ):
            _refuse(path, f"has {name}: {bound!r}")
    if schema.get("multipleOf", 1) <= 0:
        _refuse(path, "has a multipleOf that is not more than 0")
    for pattern in (schema.get("pattern", ""), *schema.get("patternProperties", ())):
        try:
            re.compile(pattern)
        except re.error as error:
            _refuse(path, f"has a pattern that is none: {error}")
    if "$ref" in schema:
        _find(root, schema["$ref"])
    for name in _ONE:
        _check(schema.get(name, True), root, f"{path}.{name}")
    for name in _MANY:
        for n, member in enumerate(schema.get(name, ())):
            _check(member, root, f"{path}.{name}[{n}]")
    for name in _NAMED:
        for key, member in schema.get(name, {}).items():
            _check(member, root, f"{path}.{name}.{key}")


def _find(root: Mapping[str, Any], reference: Any) -> Any:
    place: Any = root
    head, *steps = str(reference).split("/")
    if head != "#":
        _refuse(str(reference), "is in another document")
    for step in steps:
        # RFC 6901, section 4.
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(place, Mapping) or name not in place:
            _refuse(str(reference), "points nowhere")
        place = place[name]
    return place


def _refuse(where: str, what: str) -> NoReturn:
    raise ConfigError(f"The JSON Schema makes no sense: {where} {what}.")
