"""What `Client.stream_object` returns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Generic, Protocol, TypeVar, final

from attrs import define, field

from .._leaving import ClosedElsewhere, Reading, ReadOnce, closed_elsewhere
from ..errors import StreamClosedError
from ..types import UNSET, ChatRequest, ChatResponse, StreamChunk, TextDelta
from ._errors import StructuredOutputError
from ._expected import Expected
from ._partial_json import InvalidJSON
from ._typed_response import TypedResponse, check_repair

__all__ = ["Answer", "ObjectStream"]

T = TypeVar("T")


class Answer(Protocol):
    """What is needed of a `ChatStream`."""

    def __aiter__(self) -> AsyncIterator[StreamChunk]: ...
    async def aclose(self) -> None: ...
    async def response(self) -> ChatResponse: ...
    def partial(self) -> ChatResponse: ...


@final
class ObjectStream(ReadOnce[Any, "_Growth[T]"], Generic[T]):
    """
    A value that grows while its answer arrives. Nothing is sent before the first pull.

    Yields what is known of it whenever that has changed, as JSON: dicts, lists, texts. It is
    the same object each time, which grows, since a copy with every piece would take the
    square of the time; keep a ``copy.deepcopy`` of what shall stay as it is, and do not
    change it. Numbers appear when they are complete, texts letter by letter, keys with
    their value. Text that cannot become JSON any more ends the stream at once.

    With *repair*, an answer that does not fit goes back to the model, and the value begins anew:
    what is yielded then is another object, and `repairs` says what was wrong with the one
    before it. Whoever shows the value as it grows shows it anew, too.

    `parsed` and `response` give the whole, as the type that was asked for. Whatever the
    answer lacks is a `StructuredOutputError`, at the end of the iteration as well.
    Leaving, closing and cancelling are as with a `ChatStream`::

        async with client.stream_object("Five cities.", response_type=list[City]) as stream:
            async for cities in stream:
                show(cities)
            cities = await stream.parsed()
    """

    __slots__ = ("request",)

    _read = (
        "This stream has been read or closed. Its response() is still there; for another "
        "answer, call stream_object() again."
    )

    def __init__(
        self,
        ask: Callable[[ChatRequest], Answer],
        request: ChatRequest,
        expected: Expected[T],
        *,
        repair: int = 0,
    ) -> None:
        """
        Ask for *request*, which asks for what is *expected*, and *repair* times again.

        Raises `InvalidRequestError` for a *repair* that is no number.
        """
        check_repair(repair)
        #: What was asked first, as the middleware will see it.
        self.request = request
        growth = _Growth[T]()
        super().__init__(_grow(ask, request, expected, repair, growth), growth)

    @property
    def repairs(self) -> tuple[StructuredOutputError, ...]:
        """What was wrong with the answers before this one, each time that it began anew."""
        return tuple(self._record.repairs)

    def partial(self) -> Any:
        """What is known of the value so far; ``None`` before it has begun."""
        value = self._record.value
        return None if value is UNSET else value

    async def parsed(self) -> T:
        """Read what is left and return the value. Raises what `response` does."""
        return (await self.response()).parsed

    async def response(self) -> TypedResponse[T]:
        """
        Read what is left and return the whole response.

        Raises the error that the stream ended with, `StructuredOutputError` if the answer is
        not what was asked for, and `StreamClosedError` if the stream was left early.
        """
        await self._drain()
        growth = self._record
        if growth.response is None:
            raise StreamClosedError(
                "The stream was closed before its end.", partial=growth.arrived()
            )
        return growth.response

    async def aclose(self) -> None:
        """
        Release the connection. Harmless when done twice or after the end.

        Another task that reads it gets a `StreamClosedError`, at once if it is waiting for a
        piece, and otherwise when it asks for the next one.
        """
        if not self._items.ag_running:
            await super().aclose()
        if (answer := self._record.answer) is not None:
            # This also wakes whoever waits for a piece in another task.
            await answer.aclose()
        self._record.done = True


@define(eq=False)
class _Growth(Reading, Generic[T]):
    """What is known; shared by the stream and its generator."""

    value: Any = UNSET
    #: The one that is being read.
    answer: Answer | None = None
    rounds: list[ChatResponse] = field(factory=list)
    repairs: list[StructuredOutputError] = field(factory=list)
    response: TypedResponse[T] | None = None

    def arrived(self) -> ChatResponse | None:
        """What there is of the answer; ``None`` before one was asked for."""
        return None if self.answer is None else self.answer.partial()


async def _grow(
    ask: Callable[[ChatRequest], Answer],
    request: ChatRequest,
    expected: Expected[T],
    repair: int,
    growth: _Growth[T],
) -> AsyncGenerator[Any, None]:
    growth.begin()
    try:
        while growth.response is None:
            growth.answer = answer = ask(request)
            growth.value = UNSET
            parser = expected.parser()
            wrong: InvalidJSON | None = None
            try:
                async for chunk in answer:
                    if not isinstance(chunk, TextDelta):
                        continue
                    try:
                        changed = parser.feed(chunk.text)
                    except InvalidJSON as error:
                        wrong = error
                        break
                    if changed:
                        growth.value = expected.within(parser.value)
                        if growth.value is not UNSET:
                            yield growth.value
            finally:
                await answer.aclose()
            growth.rounds.append(
                await answer.response() if wrong is None else answer.partial()
            )
            try:
                growth.response = _read(growth.rounds, expected, wrong)
            except StructuredOutputError as error:
                again = expected.again(request, error)
                if again is None or len(growth.rounds) > repair:
                    raise
                growth.repairs.append(error)
                request = again
    except ClosedElsewhere:
        growth.error = closed_elsewhere().note(partial=growth.arrived())
    except Exception as error:
        growth.error = error
        raise
    finally:
        growth.leave()
    if growth.error is not None:
        # To whoever has closed us; the error is for the reader, when it comes back.
        yield None
        raise growth.error


def _read(
    rounds: list[ChatResponse], expected: Expected[T], wrong: InvalidJSON | None
) -> TypedResponse[T]:
    try:
        if wrong is not None:
            # Said here, since the reason may be another one: what there is decides.
            raise expected.unreadable(rounds[-1], str(wrong))
        return TypedResponse.of(expected.read(rounds[-1]), rounds)
    except StructuredOutputError as error:
        error.rounds = tuple(rounds)
        raise
