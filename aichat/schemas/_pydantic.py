"""
pydantic's models and dataclasses, which pydantic itself describes and reads.

Whoever has one has pydantic installed; nobody else needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ..errors import ConfigError
from ..types import dumps
from ._definitions import Definitions
from ._problems import Problem
from ._shape import ANY_KIND, FAILED

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Foreign", "is_pydantic"]


def is_pydantic(kind: Any) -> bool:
    """Whether *kind* is a model or a dataclass of pydantic's."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


@frozen(eq=False)
class Foreign:
    """A type that pydantic reads."""

    name: str
    kinds: frozenset[str]
    #: A reference, with what it refers to.
    _schema: Mapping[str, Any]
    _adapter: TypeAdapter[Any]

    @classmethod
    def of(cls, kind: type[Any]) -> Foreign:
        """Let pydantic read *kind*. Raises `ConfigError` for what it cannot."""
        import pydantic

        try:
            adapter = pydantic.TypeAdapter[Any](kind)
            schema = _untitled(adapter.json_schema())
        except pydantic.errors.PydanticUserError as error:
            raise ConfigError(f"{kind.__qualname__}: {error.message}") from None
        name = kind.__name__
        if "$ref" not in schema:
            others = schema.pop("$defs", {})
            schema = {"$ref": f"#/$defs/{name}", "$defs": {name: schema, **others}}
        body = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        known = body.get("type")
        kinds = frozenset({known}) if isinstance(known, str) else ANY_KIND
        return cls(f"an object ({name})", kinds, schema, adapter)

    def schema(self, definitions: Definitions, /) -> dict[str, Any]:
        return definitions.adopt(self, self._schema)

    def read(self, value: Any, path: str, problems: list[Problem], /) -> Any:
        import pydantic

        try:
            return self._read(value)
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
        # Where every property is required, null is how to leave one out.
        nulls = [each["loc"] for each in found if each["input"] is None]
        without = _without(value, nulls)
        if without != value:
            try:
                return self._read(without)
            except pydantic.ValidationError as error:
                found = error.errors(include_url=False, include_context=False)
        problems += (Problem(path + _path(each["loc"]), each["msg"]) for each in found)
        return FAILED

    def _read(self, value: Any) -> Any:
        # As JSON: strict about it, and yet a date may be a string.
        return self._adapter.validate_json(dumps(value), strict=True)


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location)


def _without(value: Any, locations: list[tuple[int | str, ...]]) -> Any:
    """A copy of *value* that leaves out the properties at *locations*."""
    for location in locations:
        value = _one_less(value, location)
    return value


def _one_less(value: Any, location: tuple[int | str, ...]) -> Any:
    match value, location:
        case dict(), (key,) if key in value:
            return {k: v for k, v in value.items() if k != key}
        case dict(), (key, *rest) if key in value:
            return {**value, key: _one_less(value[key], tuple(rest))}
        case list(), (int(index), *rest) if index < len(value):
            return [
                _one_less(v, tuple(rest)) if n == index else v
                for n, v in enumerate(value)
            ]
        case _:
            return value


def _untitled(schema: Any, *, names: bool = False) -> Any:
    """*schema* without the titles that pydantic makes of the names."""
    match schema:
        case list():
            return [_untitled(item) for item in schema]
        case dict():
            return {
                key: _untitled(item, names=key in ("properties", "$defs") and not names)
                for key, item in schema.items()
                if names or key != "title"
            }
        case _:
            return schema
