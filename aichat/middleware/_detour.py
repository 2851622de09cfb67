"""What there is to say when another model answers than the one that was asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeAlias

from attrs import define, evolve, field

from ..errors import AIChatError
from ..transport import CallEvent, tell
from ..types import ChatRequest, ResponseStart, StreamChunk
from ._compose import Handler
from ._opening import opening

__all__ = ["Begun", "Detour", "begin", "count_attempts", "introduced", "turned_to"]


#: An answer that has begun: its opening, and the rest of it.
Begun: TypeAlias = tuple[list[StreamChunk], AsyncGenerator[StreamChunk, None]]


async def begin(call_next: Handler, request: ChatRequest) -> Begun:
    """
    Ask, and pull the `opening` of the answer.

    What fails before output is closed before its error comes out: it holds nothing that
    the next one to be asked may need.
    """
    chunks = call_next(request)
    try:
        return await opening(chunks), chunks
    except BaseException:
        await chunks.aclose()
        raise


@define
class Detour:
    """The models that did not answer a request, and why."""

    #: Models and codes, in the order in which they were asked.
    failed: list[tuple[str, str]] = field(factory=list, init=False)
    #: Requests that were sent for nothing.
    attempts: int | None = field(default=None, init=False)

    def add(self, model: str, error: AIChatError) -> None:
        """Note that *model* failed with *error*."""
        self.failed.append((model, str(error.code)))
        self.attempts = count_attempts(self.attempts, error.attempts)

    def introduce(
        self, chunks: list[StreamChunk], model: str, named: str
    ) -> list[StreamChunk]:
        """Let the opening *chunks* of *model*'s answer say so, if another one was *named*."""
        if not self.failed:
            return chunks if model == named else introduced(chunks, model)
        why = " and ".join(f"{name} failed: {code}" for name, code in self.failed)
        return introduced(chunks, model, f"Answered by {model}, since {why}.")

    def blame(self, error: AIChatError, name: str) -> None:
        """Let *error*, of whoever came after them, tell of them under *name*."""
        if not self.failed:
            return
        error.attempts = count_attempts(self.attempts, error.attempts)
        error.context[name] = (*self.failed, *error.context.get(name, ()))
        why = ", ".join(f"{name} failed: {code}" for name, code in self.failed)
        error.suggest(f"Before that, {why}.")


def turned_to(model: str, error: AIChatError | None = None) -> None:
    """Tell those who listen that *model* is asked instead."""
    provider, colon, _ = model.partition(":")
    tell(
        CallEvent(
            kind="rerouted",
            provider=provider if colon else "",
            model=model,
            error=error,
        )
    )


def introduced(
    chunks: list[StreamChunk], model: str, *warnings: str
) -> list[StreamChunk]:
    """
    Return the opening *chunks* of an answer with a `ResponseStart` that says who was asked.

    That is *model*, unless somebody further in has turned to yet another one.
    """
    match chunks:
        case []:
            return chunks  # no answer at all, and nothing to say of it
        case [ResponseStart() as start, *rest]:
            told = evolve(
                start,
                warnings=(*start.warnings, *warnings),
                rerouted_to=start.rerouted_to or model,
            )
            return [told, *rest]
        case _:
            return [ResponseStart(warnings=warnings, rerouted_to=model), *chunks]


def count_attempts(*counts: int | None) -> int | None:
    """How many requests that were; ``None`` if nobody knows anything."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
