"""Values that follow a JSON Schema, made from the words and numbers of a prompt."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import define, field

__all__ = ["instance"]

#: Beyond this depth only what must be there is made: recursive schemas come to an end.
_DEEP: Final = 4
#: Beyond this one nothing is made: the schema asks for something endless.
_BOTTOM: Final = 40
#: How many items an array gets if the schema does not mind.
_ITEMS: Final = 2
#: How many unequal items are looked for before giving up.
_TRIES: Final = 50

_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
#: What is tried where a *pattern* does not like the prompt's words.
_SHAPES: Final = (
    "a", "A", "0", "1", "abc", "ABC", "Abc", "123", "a1", "A1", "a-b", "a_b",
    "12345", "123-45", "2026-01-31", "12:00", "#aabbcc", "1.0.0", "+1234567890",
    "a@example.com", "https://example.com/",
)  # fmt: skip
#: What a schema without a *type* is about.
_GIVEAWAYS: Final[Mapping[str, Sequence[str]]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "multipleOf"),
}


def instance(schema: Any, prompt: str) -> Any:
    """
    Make a value that follows *schema*, as far as possible of the material in *prompt*.

    Knows types, ``enum``, ``const``, ``anyOf``, ``oneOf``, ``allOf``, ``$ref`` within the
    document, bounds of numbers, strings and arrays, and the usual formats. A ``pattern`` is
    met by luck. Raises `ValueError` for what is no schema.

    >>> instance({"type": "object", "properties": {"city": {"type": "string"}}}, "In Rome?")
    {'city': 'Rome'}
    """
    try:
        return _Maker(schema, prompt).make(schema, 0)
    except (ArithmeticError, AttributeError, TypeError) as error:
        raise ValueError(f"the schema makes no sense: {error}") from None


def _material(prompt: str) -> list[str]:
    """What a string may be made of: quotations, else names, else the prompt itself."""
    quoted = re.findall(r'["“«`]([^"”»`]+)["”»`]', prompt)
    names = re.findall(r"(?<=[^.!?\s]\s)[A-Z]\w+(?:[ -][A-Z]\w+)*", prompt)
    return quoted or names or [" ".join(prompt.split())[:80] or "something"]


@define
class _Maker:
    root: Any
    prompt: str
    _strings: list[str] = field(init=False)
    _numbers: list[float] = field(init=False)
    #: Counts on, so that several strings of one object differ where the prompt allows it.
    _used: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._strings = _material(self.prompt)
        found = re.findall(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,6})?(?![\w])", self.prompt)
        self._numbers = [float(n) if "." in n else int(n) for n in found]

    def make(self, schema: Any, depth: int) -> Any:
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choose(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                outer = {k: v for k, v in schema.items() if k != key}
                return self.make(_merge(outer, self._option(schema[key], depth)), depth)
        match _type(schema, deep=depth >= _DEEP):
            case _ if depth > _BOTTOM:
                return None
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number" as kind:
                return self._number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._string(schema)

    def _resolve(self, given: Any) -> dict[str, Any]:
        """Follow ``$ref`` and put ``allOf`` together."""
        if not isinstance(given, dict):
            return {}  # True and whatever is no schema: anything goes
        schema: dict[str, Any] = given
        for _ in range(_TRIES):
            if "$ref" in schema:
                others = {k: v for k, v in schema.items() if k != "$ref"}
                schema = _merge(others, self._find(schema["$ref"]))
            elif "allOf" in schema:
                parts = schema["allOf"]
                schema = {k: v for k, v in schema.items() if k != "allOf"}
                for part in parts:
                    schema = _merge(schema, self._resolve(part))
            else:
                break
        return schema

    def _find(self, ref: str) -> dict[str, Any]:
        found: Any = self.root
        for key in ref.removeprefix("#").split("/")[1:]:
            key = key.replace("~1", "/").replace("~0", "~")  # RFC 6901, section 4
            found = found.get(key, {}) if isinstance(found, dict) else {}
        return found if isinstance(found, dict) else {}

    def _option(self, options: Sequence[Any], depth: int) -> dict[str, Any]:
        """The first that says something; deep down, the first that ends it."""
        resolved = [self._resolve(option) for option in options]
        deep = depth >= _DEEP
        plain = [o for o in resolved if _type(o, deep=deep) in _ENDS[deep]]
        return (plain or resolved)[0]

    def _choose(self, values: Sequence[Any]) -> Any:
        """The value that the prompt speaks of, or the first one."""
        said = self.prompt.lower()
        for value in values:
            if isinstance(value, str) and re.search(
                rf"\b{re.escape(value.lower())}\b", said
            ):
                return value
        return values[0]

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties") or {}
        required = schema.get("required") or []
        made = {
            name: self.make(each, depth + 1)
            for name, each in properties.items()
            if name in required or depth < _DEEP
        }
        others = schema.get("additionalProperties")
        for name in required:
            if name not in made:
                made[name] = self.make(others, depth + 1)
        return made

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        prefix = schema.get("prefixItems") or []
        least = max(schema.get("minItems", 0), 0)
        wanted = least if depth >= _DEEP else max(least, len(prefix), _ITEMS)
        if schema.get("items") is False:
            wanted = min(wanted, len(prefix))
        wanted = min(wanted, schema.get("maxItems", wanted))
        made: list[Any] = []
        unique = bool(schema.get("uniqueItems"))
        for index in range(wanted):
            item = prefix[index] if index < len(prefix) else schema.get("items")
            for value in self._variants(item, depth + 1):
                if not (unique and value in made):
                    made.append(value)
                    break
        return made

    def _variants(self, schema: Any, depth: int) -> Iterator[Any]:
        """A value, and other ones for an array whose items must differ."""
        first = self.make(schema, depth)
        yield first
        resolved = self._resolve(schema)
        yield from resolved.get("enum") or ()
        for count in range(1, _TRIES):
            match first:
                case bool():
                    yield not first
                case int() | float():
                    step = resolved.get("multipleOf", 1)
                    yield self._number(
                        resolved,
                        whole=isinstance(first, int),
                        near=first + count * step,
                    )
                    yield self._number(
                        resolved,
                        whole=isinstance(first, int),
                        near=first - count * step,
                    )
                case str():
                    yield self._string({**resolved, "format": None}, f"{first} {count}")
                case _:
                    yield self.make(schema, depth)

    def _number(
        self, schema: dict[str, Any], *, whole: bool, near: float | None = None
    ) -> float:
        low: float = schema.get("minimum", -math.inf)
        high: float = schema.get("maximum", math.inf)
        above: float = schema.get("exclusiveMinimum", -math.inf)
        below: float = schema.get("exclusiveMaximum", math.inf)
        step = schema.get("multipleOf", 1 if whole else None)

        def fits(value: float) -> bool:
            return low <= value <= high and above < value < below

        if near is None:
            said = self._numbers or [1]
            candidates = [n for n in said if fits(n) and _divides(step, n)]
            near = candidates[0] if candidates else 1
        near = min(max(near, low, above), high, below)
        if step is None:
            if fits(near):
                return near
            # At an open end: half-way to the other one, if there is one.
            floor, ceiling = max(low, above), min(high, below)
            if math.isinf(floor):
                return ceiling - 1
            return floor + 1 if math.isinf(ceiling) else (floor + ceiling) / 2
        value = math.ceil(near / step) * step
        if not fits(value):
            value = value + step if fits(value + step) else value - step
        return int(value) if whole else round(value, 10)

    def _string(self, schema: dict[str, Any], text: str | None = None) -> str:
        known = _FORMATS.get(schema.get("format") or "")
        if known is not None:
            return known
        if text is None:
            text = self._strings[self._used % len(self._strings)]
            self._used += 1
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            text = _matching(pattern, [text, *text.split(), *_SHAPES]) or text
        # As long as it has to be, and cut where it must not be longer.
        text = text.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength")]


#: Which types are taken among several: usually whatever is not null, in the deep what ends.
_ENDS: Final[Mapping[bool, frozenset[str]]] = {
    False: frozenset({"object", "array", "string", "number", "integer", "boolean"}),
    True: frozenset({"null", "string", "number", "integer", "boolean"}),
}


def _type(schema: Mapping[str, Any], *, deep: bool) -> str:
    given = schema.get("type")
    if isinstance(given, list):
        if deep and "null" in given:
            return "null"
        return next((t for t in given if t != "null"), "null")
    if isinstance(given, str):
        return given
    for name, keys in _GIVEAWAYS.items():
        if any(key in schema for key in keys):
            return name
    # An enum or a nested choice is no end of its own, but it ends quickly.
    return "string"


def _merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What both schemas ask for."""
    merged = {**other, **one}
    for key in ("properties", "$defs"):
        if key in one and key in other:
            merged[key] = {**other[key], **one[key]}
    if "required" in one and "required" in other:
        merged["required"] = [*other["required"], *one["required"]]
    return merged


def _divides(step: float | None, value: float) -> bool:
    return step is None or math.isclose(value / step, round(value / step))


def _matching(pattern: str, candidates: Sequence[str]) -> str | None:
    try:
        return next((c for c in candidates if re.search(pattern, c)), None)
    except re.error:
        # ECMA 262 has a few things that Python has not.
        return None
