"""What `Client.stream_object` returns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from types import AsyncGeneratorType, TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast, final

from attrs import define

from .._leaving import ClosedElsewhere, Reading, closed_elsewhere
from ..errors import StreamClosedError
from ..types import UNSET, ChatRequest, ChatResponse, StreamChunk, TextDelta
from ._expected import Expected
from ._partial_json import InvalidJSON
from ._typed_response import TypedResponse

__all__ = ["Answer", "ObjectStream"]

T = TypeVar("T")


class Answer(Protocol):
    """What is needed of a `ChatStream`."""

    request: ChatRequest

    def __aiter__(self) -> AsyncIterator[StreamChunk]: ...
    async def aclose(self) -> None: ...
    async def response(self) -> ChatResponse: ...
    def partial(self) -> ChatResponse: ...


@final
class ObjectStream(Generic[T]):
    """
    A value that grows while its answer arrives. Nothing is sent before the first pull.

    Yields what is known of it whenever that has changed, as JSON: dicts, lists, texts. It is
    the same object each time, which grows, since a copy with every piece would take the
    square of the time; keep a ``copy.deepcopy`` of what shall stay as it is, and do not
    change it. Numbers appear when they are complete, texts letter by letter, keys with
    their value. Text that cannot become JSON any more ends the stream at once.

    `parsed` and `response` give the whole, as the type that was asked for. Whatever the
    answer lacks is a `StructuredOutputError`, at the end of the iteration as well.
    Leaving, closing and cancelling are as with a `ChatStream`::

        async with client.stream_object("Five cities.", response_type=list[City]) as stream:
            async for cities in stream:
                show(cities)
            cities = await stream.parsed()
    """

    __slots__ = ("__weakref__", "_answer", "_growth", "_objects")

    def __init__(self, answer: Answer, expected: Expected[T]) -> None:
        """Read *answer*, whose request asks for what is *expected*."""
        self._answer = answer
        self._growth = _Growth[T]()
        # The generator must not refer to us: see `ChatStream`.
        self._objects = cast(
            "AsyncGeneratorType[Any, None]", _grow(answer, expected, self._growth)
        )

    @property
    def request(self) -> ChatRequest:
        """What was asked, as the middleware will see it."""
        return self._answer.request

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._growth.done:
            raise StreamClosedError(
                "This stream has been read or closed. Its response() is still there; "
                "for another answer, call stream_object() again."
            )
        return self._objects

    def __anext__(self) -> Awaitable[Any]:
        return self._objects.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def partial(self) -> Any:
        """What is known of the value so far; ``None`` before it has begun."""
        value = self._growth.value
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
        growth = self._growth
        if not growth.done:
            async with self:
                async for _ in self:
                    pass
        if growth.error is not None:
            raise growth.error
        if growth.response is None:
            raise StreamClosedError(
                "The stream was closed before its end.", partial=self._answer.partial()
            )
        return growth.response

    async def aclose(self) -> None:
        """
        Release the connection. Harmless when done twice or after the end.

        Another task that reads it gets a `StreamClosedError`, at once if it is waiting for a
        piece, and otherwise when it asks for the next one.
        """
        if not self._objects.ag_running:
            await self._growth.close(self._objects)
        # This also wakes whoever waits for a piece in another task.
        await self._answer.aclose()
        self._growth.done = True


@define(eq=False)
class _Growth(Reading, Generic[T]):
    """What is known; shared by the stream and its generator."""

    value: Any = UNSET
    response: TypedResponse[T] | None = None


async def _grow(
    answer: Answer, expected: Expected[T], growth: _Growth[T]
) -> AsyncGenerator[Any, None]:
    parser = expected.parser()
    wrong: InvalidJSON | None = None
    growth.begin()
    try:
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
        if wrong is not None:
            # Said here, since the reason may be another one: what there is decides.
            raise expected.unreadable(answer.partial(), str(wrong))
        response = await answer.response()
        growth.response = TypedResponse.of(expected.read(response), [response])
    except ClosedElsewhere:
        growth.error = closed_elsewhere().note(partial=answer.partial())
    except Exception as error:
        growth.error = error
        raise
    finally:
        growth.leave()
    if growth.error is not None:
        # To whoever has closed us; the error is for the reader, when it comes back.
        yield None
        raise growth.error
