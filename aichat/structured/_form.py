"""How an answer with a type is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypedDict, TypeVar

from attrs import Attribute, field, frozen

from ..errors import InvalidRequestError
from ..types import RequestOptions
from ._expected import Expected, SchemaVia
from ._typed_response import check_repair

__all__ = ["Form", "FormOptions", "TypedRequestOptions"]

T = TypeVar("T")


class FormOptions(TypedDict, total=False):
    """What may be said about a *response_type*; see `Client.complete`."""

    repair: int
    schema_via: SchemaVia
    strict: bool


class TypedRequestOptions(RequestOptions, FormOptions, total=False):
    """The keyword arguments of `Client.complete` with a *response_type*."""


def _number(_: object, __: Attribute[Any], value: object) -> None:
    check_repair(value)


def _way(_: object, __: Attribute[Any], value: object) -> None:
    if value not in ("native", "prompt", "auto"):
        raise InvalidRequestError(
            f"schema_via must be 'native', 'prompt' or 'auto', got {value!r}.",
            operation="chat",
        )


@frozen
class Form(Generic[T]):
    """A type that answers shall have, and all that was said about it."""

    kind: type[T] | Any
    repair: int = field(default=0, validator=_number, kw_only=True)
    schema_via: SchemaVia = field(default="native", validator=_way, kw_only=True)
    strict: bool = field(default=True, kw_only=True)
    #: By whether it is prompted: of many requests, each would read the type again.
    _made: dict[bool, Expected[T]] = field(
        factory=dict, init=False, repr=False, eq=False
    )

    def expected(self, knows_schemas: Callable[[], bool]) -> Expected[T]:
        """What is expected of a model; it is asked about only if need be."""
        prompted = self.schema_via == "prompt" or (
            self.schema_via == "auto" and not knows_schemas()
        )
        if prompted not in self._made:
            self._made[prompted] = Expected(
                self.kind, strict=self.strict, prompted=prompted
            )
        return self._made[prompted]
