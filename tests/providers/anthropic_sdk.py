"""
Holds a request body against the parameter types of Anthropic's own SDK.

pydantic would do it, but reads their ``Iterable`` fields lazily, once, and lets unknown
keys pass. This knows the few forms that occur in those types.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import typing_extensions
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from pydantic import BaseModel

__all__ = ["complaints"]

#: In the API of 2023-06-01, which we speak; SDK 2.11 describes that of 2026-10-21.
_OLDER = {"temperature": float, "top_p": float, "top_k": int}


def complaints(body: Mapping[str, Any]) -> list[str]:
    """Everything in *body* that the SDK has no place for, or that it misses."""
    body = dict(body)
    older = [
        complaint
        for name, kind in _OLDER.items()
        if name in body
        for complaint in _check(kind, body.pop(name), name)
    ]
    return [*older, *_check(MessageCreateParamsStreaming, body, "body")]


def _check(kind: Any, value: Any, where: str) -> Iterator[str]:
    origin, args = get_origin(kind), get_args(kind)
    if typing_extensions.is_typeddict(kind):
        yield from _check_dict(kind, value, where)
    elif (
        origin in (typing_extensions.Required, typing_extensions.NotRequired)
        or origin is typing.Annotated
    ):
        yield from _check(args[0], value, where)
    elif origin in (Union, types.UnionType):
        yield from _check_union(args, value, where)
    elif origin is Literal:
        if value not in args:
            yield f"{where}: {value!r} is none of {args}"
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
    elif origin is not None and issubclass(origin, Iterable):
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from _check(args[0], item, f"{where}[{index}]")
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield f"{where}: {value!r} is no {kind.__name__}"
    elif kind is float:
        if not isinstance(value, (int, float)):
            yield f"{where}: {value!r} is no number"
    elif kind not in (object, Any) and type(value) is not kind:
        yield f"{where}: {value!r} is no {kind}"


def _check_dict(kind: Any, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no {kind.__name__}"
        return
    hints = typing_extensions.get_type_hints(kind, include_extras=True)
    for name, hint in hints.items():
        # Not `__required_keys__`: those types' annotations are text until read.
        form: Any = get_origin(hint)
        if form is typing_extensions.Required and name not in value:
            yield f"{where}.{name} is missing in {kind.__name__}"
    for name, item in value.items():
        if name not in hints:
            yield f"{where}.{name} is not in {kind.__name__}"
        else:
            yield from _check(hints[name], item, f"{where}.{name}")


def _check_union(kinds: tuple[Any, ...], value: Any, where: str) -> Iterator[str]:
    """The complaints of the kind that has the fewest: the one that was meant."""
    found = [list(_check(kind, value, where)) for kind in kinds]
    best = min(found, key=len)
    if isinstance(value, dict) and "type" in value:
        meant = [c for c in found if not any(".type: " in each for each in c)]
        best = min(meant, key=len, default=best)
    yield from best
