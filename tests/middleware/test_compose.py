"""`compose`: the order of middleware, and who closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from aichat import (
    ChatRequest,
    ContentFilteredError,
    Handler,
    StreamChunk,
    TextDelta,
    compose,
)

REQUEST = ChatRequest("Hi", "fake:m")


class Source:
    """A handler that knows what became of its streams."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        try:
            for number in range(5):
                yield TextDelta(str(number))
        finally:
            self.closed.append("source")


async def polite(
    request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    """Forgets to close, as most of us do."""
    async for chunk in call_next(request):
        yield chunk


def test_without_middleware_the_handler_is_itself() -> None:
    """No layer is no cost."""
    source = Source()
    assert compose([], source) is source


async def test_leaving_early_closes_everything_below() -> None:
    """A middleware may forget about `aclose`: compose does not. (C1)"""
    source = Source()
    stream = compose([polite, polite], source)(REQUEST)
    async for _ in stream:
        break
    assert source.closed == []
    await stream.aclose()
    assert source.closed == ["source"]


async def test_a_middleware_that_opens_several_streams_closes_them_all() -> None:
    """Hedging and fallback open more than one."""
    source = Source()

    async def twice(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        first, second = call_next(request), call_next(request)
        yield await anext(first)
        yield await anext(second)

    chunks = [c async for c in compose([twice], source)(REQUEST)]
    assert chunks == [TextDelta("0"), TextDelta("0")]
    assert source.closed == ["source", "source"]


async def test_an_error_below_passes_through_and_closes() -> None:
    """The error is the one that was raised."""

    async def broken(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        yield TextDelta("0")
        raise LookupError("below")

    stream = compose([polite], broken)(REQUEST)
    with pytest.raises(LookupError, match="below"):
        async for _ in stream:
            pass


async def test_cancellation_reaches_the_bottom() -> None:
    """The task is cancelled, and the source is closed. (C2)"""
    left = asyncio.Event()

    async def endless(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        try:
            yield TextDelta("0")
            await asyncio.get_running_loop().create_future()
        finally:
            left.set()

    async def read() -> None:
        async for _ in compose([polite, polite], endless)(REQUEST):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()


async def test_who_closes_a_layer_closes_what_that_layer_forgot() -> None:
    """A failed answer is released before another one is asked for. (B2)"""
    source = Source()
    seen: list[list[str]] = []

    async def moderated(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        async for chunk in call_next(request):
            if request.model == "fake:m":
                raise ContentFilteredError("No.")
            yield chunk

    async def another(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        chunks = call_next(request)
        try:
            await anext(chunks)
        except ContentFilteredError:
            await chunks.aclose()
        seen.append([*source.closed])
        async for chunk in call_next(ChatRequest("Hi", "fake:other")):
            yield chunk

    chunks = compose([another, moderated], source)(REQUEST)
    assert len([chunk async for chunk in chunks]) == 5
    assert seen == [["source"]]
    assert source.closed == ["source", "source"]


async def test_a_stream_of_a_layer_is_a_generator() -> None:
    """Whoever drives one by hand may send into it and throw."""
    source = Source()

    async def driving(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        chunks = call_next(request)
        yield await anext(chunks)
        yield await chunks.asend(None)
        with pytest.raises(RuntimeError, match="enough"):
            await chunks.athrow(RuntimeError("enough"))

    chunks = compose([driving, polite], source)(REQUEST)
    assert [chunk async for chunk in chunks] == [TextDelta("0"), TextDelta("1")]
    assert source.closed == ["source"]
