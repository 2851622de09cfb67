"""What embeddings, token counts and lists of models have in common: JSON for a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, final

from attrs import evolve

from ..errors import AIChatError, DeadlineError, ProtocolError
from ..transport import Cost, HTTPRequest
from ..transport._rates import ONE_REQUEST
from ..types import Deadlines

if TYPE_CHECKING:
    from ._base import HTTPProvider

__all__ = ["Asking", "items_in", "number_in", "object_of", "read"]

T = TypeVar("T")


@final
class Asking:
    """
    One call of the user's, in as many requests as it takes.

    The total deadline is one for all of them (D3), attempts and retries are each one's own.
    """

    def __init__(
        self,
        provider: HTTPProvider,
        operation: str,
        *,
        model: str | None = None,
        deadlines: Deadlines | None = None,
        max_retries: int | None = None,
    ) -> None:
        self._provider = provider
        self._operation = operation
        self._model = model
        self._limits = (deadlines or Deadlines()).over(provider.transport.deadlines)
        self._max_retries = max_retries
        self._began = asyncio.get_running_loop().time()

    async def fetch(self, request: HTTPRequest, *, cost: Cost = ONE_REQUEST) -> Any:
        """Send *request*, and return the JSON of the answer, which is no error."""
        provider = self._provider
        return await provider.transport.fetch(
            await provider._address(request),
            error_codes=provider.spec.error_codes,
            deadlines=self._left(),
            max_retries=self._max_retries,
            cost=cost,
            # Some answer 200 to everything (S5).
            answers_errors=True,
        )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say of an error whom it is about and what may help."""
        try:
            yield
        except AIChatError as error:
            # The encoders of chat requests say so of all their complaints.
            if error.operation == "chat":
                error.operation = None
            error.note(
                operation=self._operation,
                provider=self._provider.name,
                model=self._model or None,
            )
            error.suggest(self._provider.spec.hint(error))
            raise

    def _left(self) -> Deadlines:
        total = self._limits.limit("total")
        if total is None:
            return self._limits
        left = total - (asyncio.get_running_loop().time() - self._began)
        if left <= 0:
            raise DeadlineError(
                f"The call took longer than {total:g} seconds (total).",
                phase="total",
                retryable=False,
                context={"deadline": total},
            )
        return evolve(self._limits, total=left)


def read(decode: Callable[[Any], T], value: Any) -> T:
    """Decode *value*, which may have any shape. Raises `ProtocolError`."""
    try:
        return decode(value)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # A decoder says itself what it misses; this is for what nobody thought of.
        cause = type(error).__name__
    raise ProtocolError(
        "The answer has a shape that nobody understands. Is the base URL right?",
        context={"cause": cause},
    )


def object_of(value: Any, what: str) -> Mapping[str, Any]:
    """*value*, if it is a JSON object. Raises `ProtocolError`."""
    if isinstance(value, dict):
        return value
    raise ProtocolError(f"The answer is no {what}. Is the base URL right?")


def items_in(holder: Mapping[str, Any], name: str) -> list[Any]:
    """The list under *name*. Raises `ProtocolError` if there is none."""
    value = holder.get(name)
    if isinstance(value, list):
        return value
    raise ProtocolError(f"The answer has no list of {name}. Is the base URL right?")


def number_in(holder: Any, *names: str) -> int | None:
    """The first whole number under any of *names*, at any depth: ``"a.b"``."""
    for name in names:
        value = holder
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value.isdecimal() and len(value) < 19:
            # Whole numbers of 64 bits may come as text (protobuf's JSON).
            value = int(value)
        if type(value) is int and value >= 0:
            return value
    return None
