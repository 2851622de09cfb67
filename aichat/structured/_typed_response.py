"""A response with a value in it, and how one comes by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

from attrs import field, fields, frozen

from ..errors import InvalidRequestError
from ..types import ChatRequest, ChatResponse, total_usage
from ._errors import StructuredOutputError
from ._expected import Expected

__all__ = ["TypedResponse", "check_repair", "complete_typed"]

T = TypeVar("T")


@frozen(kw_only=True)
class TypedResponse(ChatResponse, Generic[T]):
    """A `ChatResponse` whose text was read into what *response_type* asked for."""

    #: The value: of the type asked for, or JSON that follows the schema asked for.
    parsed: T = field(hash=False)
    #: Every answer, the ones that had to be repaired first; `usage` is that of them all.
    rounds: tuple[ChatResponse, ...] = ()

    @property
    def exchanges(self) -> tuple[tuple[ChatRequest | None, ChatResponse], ...]:
        """Each answer, for `aichat.costs.cost_of`; its request is not kept."""
        return tuple((None, answer) for answer in self.rounds or (self,))

    @classmethod
    def of(cls, parsed: T, rounds: Iterable[ChatResponse]) -> TypedResponse[T]:
        """Make one of the last of *rounds*, which is *parsed*."""
        rounds = tuple(rounds)
        facts: dict[str, Any] = {
            f.name: getattr(rounds[-1], f.name) for f in fields(ChatResponse)
        }
        facts["usage"] = total_usage(answer.usage for answer in rounds)
        return TypedResponse(parsed=parsed, rounds=rounds, **facts)


def check_repair(repair: object) -> None:
    """Raise `InvalidRequestError` if *repair* is no number of rounds."""
    if type(repair) is not int or repair < 0:
        raise InvalidRequestError(
            f"repair must be a whole number, 0 or more, got {repair!r}.",
            operation="chat",
        )


async def complete_typed(
    send: Callable[[ChatRequest], Awaitable[ChatResponse]],
    request: ChatRequest,
    expected: Expected[T],
    *,
    repair: int = 0,
) -> TypedResponse[T]:
    """
    Get an answer to *request*, which asks for what is *expected*.

    One that does not fit goes back to the model with its errors, *repair* times at most. Not
    so a refusal, or one that was cut off: these would end in the same way. Raises
    `StructuredOutputError`, and `InvalidRequestError` for a *repair* that is no number.
    """
    check_repair(repair)
    rounds: list[ChatResponse] = []
    while True:
        rounds.append(await send(request))
        try:
            parsed = expected.read(rounds[-1])
        except StructuredOutputError as error:
            error.rounds = tuple(rounds)
            again = expected.again(request, error) if len(rounds) <= repair else None
            if again is None:
                raise
            request = again
        else:
            return TypedResponse.of(parsed, rounds)
