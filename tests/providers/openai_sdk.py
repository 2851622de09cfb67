"""
Holds a request body against the parameter types of OpenAI's own SDK.

pydantic reads those types as well, but lets unknown keys pass and takes the ``Iterable``
ones for granted. This knows the few forms that occur in them.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import typing_extensions as t
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsStreaming,
)

__all__ = ["complaints"]

_WRAPPERS: tuple[Any, ...] = (t.Required, t.NotRequired, typing.Annotated)
_UNIONS: tuple[Any, ...] = (Union, type(int | str))


def complaints(
    body: Mapping[str, Any], params: Any = CompletionCreateParamsStreaming
) -> list[str]:
    """Everything in *body* that the SDK has no place for, or that it misses."""
    return [*_check(params, body, "body")]


def _check(kind: Any, value: Any, where: str) -> Iterator[str]:
    origin, args = get_origin(kind), get_args(kind)
    if t.is_typeddict(kind):
        yield from _check_object(kind, value, where)
    elif origin in _WRAPPERS:
        yield from _check(args[0], value, where)
    elif origin in _UNIONS:
        # The complaints of the kind that was meant: the one with the fewest.
        yield from min(([*_check(arg, value, where)] for arg in args), key=len)
    elif origin is Literal:
        if value not in args:
            yield f"{where}: {value!r} is none of {args}"
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
            return
        for key, item in value.items():
            yield from _check(args[1], item, f"{where}.{key}")
    elif origin is not None and issubclass(origin, Iterable):
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from _check(args[0], item, f"{where}[{index}]")
    elif kind is float:
        if type(value) not in (int, float):
            yield f"{where}: {value!r} is no number"
    elif kind not in (object, Any) and type(value) is not kind:
        yield f"{where}: {value!r} is no {kind}"


def _check_object(kind: Any, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no {kind.__name__}"
        return
    hints = t.get_type_hints(kind, include_extras=True)
    for name, hint in hints.items():
        # Not `__required_keys__`: those types' annotations are text until read.
        if get_origin(hint) in _WRAPPERS[:1] and name not in value:
            yield f"{where}.{name} is missing in {kind.__name__}"
    for name, item in value.items():
        if name not in hints:
            yield f"{where}.{name} is not in {kind.__name__}"
        else:
            yield from _check(hints[name], item, f"{where}.{name}")
