"""The fields of a class, whichever library made it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    NotRequired,
    Required,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
import typing_extensions
from attrs import frozen

from ..errors import ConfigError

__all__ = ["Field", "fields_of", "has_fields"]


@frozen
class Field:
    """A field of a class."""

    #: As it is passed to the class, which is what JSON calls it too.
    name: str
    hint: Any
    required: bool
    #: What it is when it is left out; ``None`` as well where that is made anew each time.
    default: Any = None
    description: str | None = None


def has_fields(kind: Any) -> bool:
    """Whether *kind* is of attrs, a dataclass, a TypedDict or a NamedTuple."""
    return isinstance(kind, type) and (
        attrs.has(kind)
        or dataclasses.is_dataclass(kind)
        or is_typeddict(kind)
        or typing_extensions.is_typeddict(kind)
        or (issubclass(kind, tuple) and hasattr(kind, "_field_defaults"))
    )


def fields_of(kind: type[Any], arguments: tuple[Any, ...] = ()) -> Iterator[Field]:
    """
    The fields that JSON gives; *arguments* are those of a generic class.

    Raises `ConfigError` for an annotation that cannot be resolved.
    """
    hints = _hints(kind)
    parameters = getattr(kind, "__parameters__", ())
    known = dict(zip(parameters, arguments, strict=False))

    def hint(name: str) -> Any:
        return _applied(hints.get(name, Any), known)

    if attrs.has(kind):
        for each in attrs.fields(kind):
            if each.init:
                yield _field(
                    each.alias or each.name,
                    hint(each.name),
                    (each.default,),
                    each.metadata,
                )
    elif dataclasses.is_dataclass(kind):
        for of in dataclasses.fields(kind):
            if of.init:
                yield _field(
                    of.name,
                    hint(of.name),
                    (of.default, of.default_factory),
                    of.metadata,
                )
    elif issubclass(kind, tuple):
        defaults = getattr(kind, "_field_defaults", {})
        for name in getattr(kind, "_fields", ()):
            yield _field(name, hint(name), (defaults.get(name, attrs.NOTHING),), {})
    else:
        for name in hints:
            required = name in getattr(kind, "__required_keys__", ())
            inner, required = _unwrapped(hint(name), required=required)
            yield Field(name, inner, required)


def _field(
    name: str, hint: Any, defaults: Sequence[Any], metadata: Mapping[Any, Any]
) -> Field:
    """A field whose *defaults* are the value or what makes one, if there are any."""
    given = [
        d for d in defaults if d is not attrs.NOTHING and d is not dataclasses.MISSING
    ]
    words = metadata.get("description")
    return Field(
        name,
        hint,
        required=not given,
        default=given[0] if given else None,
        description=words if isinstance(words, str) else None,
    )


#: What only says how a key of a TypedDict is handled.
_REQUIRED = (Required, typing_extensions.Required)
_NOT_REQUIRED = (NotRequired, typing_extensions.NotRequired)
_READ_ONLY = (typing_extensions.ReadOnly,)


def _unwrapped(hint: Any, *, required: bool) -> tuple[Any, bool]:
    origin: Any = get_origin(hint)
    if origin in _REQUIRED:
        return _unwrapped(get_args(hint)[0], required=True)
    if origin in _NOT_REQUIRED:
        return _unwrapped(get_args(hint)[0], required=False)
    if origin in _READ_ONLY:
        return _unwrapped(get_args(hint)[0], required=required)
    if origin is Annotated:
        inner, *notes = get_args(hint)
        inner, required = _unwrapped(inner, required=required)
        return Annotated[(inner, *notes)], required
    return hint, required


def _hints(kind: type[Any]) -> dict[str, Any]:
    try:
        # So that one made within a function may hold itself.
        own = {kind.__name__: kind}
        return get_type_hints(kind, localns=own, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{kind.__qualname__}: {error}. Annotations have to be resolvable at run "
            "time: define or import it at the top of the module."
        ) from None


def _applied(hint: Any, known: Mapping[Any, Any]) -> Any:
    """*hint* with the arguments of its class in the place of type variables."""
    if isinstance(hint, TypeVar):
        return known.get(hint, hint)
    own = getattr(hint, "__parameters__", ())
    if known and own and not isinstance(hint, type):
        return hint[tuple(known.get(p, p) for p in own)]
    return hint
