"""
How our values are made: frozen, slotted, and for chunks as cheap as Python allows.

A chunk is built for every token. `attrs.frozen` sets each field through
``object.__setattr__``, which makes building one twice as slow as a plain slotted class
(``python benchmarks/chunk_classes.py`` measures it). So `chunk` classes are frozen where
it costs nothing, in the eyes of the type checkers, and plain slotted ones at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import field, frozen

if TYPE_CHECKING:
    from attrs import frozen as chunk
else:
    from functools import partial

    from attrs import define

    chunk = partial(define, unsafe_hash=True)

__all__ = [
    "UNSET",
    "JSONObject",
    "ProviderState",
    "Unset",
    "chunk",
    "frozen_mapping",
    "is_number",
]

#: A JSON object as `orjson` reads it.
JSONObject: TypeAlias = Mapping[str, Any]


class Unset(Enum):
    """The type of `UNSET`: *not said*, where ``None`` says *none*."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
UnsetType: TypeAlias = Literal[Unset.UNSET]


def frozen_mapping(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Copy, so that nobody's later change changes ours."""
    return dict(value or {})


def is_number(value: object) -> bool:
    """Whether *value* is an int or a float; a bool is neither."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@frozen
class ProviderState:
    """
    Something opaque that a provider wants back, byte for byte: a signature, an encrypted thought.

    It is replayed to the same *provider* only, and dropped when another one answers.
    """

    #: The dialect or vendor that understands it: ``"anthropic"``, ``"openrouter"`` …
    provider: str
    #: Whatever it is, as JSON.
    payload: Any = field(hash=False)
    #: The model it came from, where it is bound to one.
    model: str | None = None

    def __repr__(self) -> str:
        # Long, unreadable, and at times about the user: no place for it in a log.
        return f"ProviderState(provider={self.provider!r}, …)"
