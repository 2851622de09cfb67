"""check_stream and check_provider find what breaks the contract, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest

from aichat.errors import ServerError
from aichat.testing import FakeProvider, check_provider, check_stream, reply
from aichat.types import (
    ChatRequest,
    Citation,
    CitationDelta,
    FinishReason,
    ImagePart,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    TextPart,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    fold,
)

REQUEST = ChatRequest("Hi", "fake:m")
END = ResponseEnd(FinishReason.STOP)
SEEN = ImagePart(data=b"\x89PNG\r\n\x1a\n")

GOOD: list[list[StreamChunk]] = [
    [END],
    [ResponseStart(), END],
    [
        ResponseStart(id="1"),
        UsageUpdate(Usage(input_tokens=3)),
        ReasoningDelta("Hm"),
        PartEnd(0, ProviderState("x", {"signature": "s"})),
        # One index may serve a part of another kind after it.
        TextDelta("Hi"),
        CitationDelta(Citation(url="https://example.com")),
        RefusalDelta("no", 1),
        PartAdded(SEEN, 2),
        PartEnd(2, ProviderState("x", 1)),
        ToolCallDelta(0, "a", "f"),
        ToolCallDelta(1, "b", "f", "{}"),
        ToolCallDelta(0, arguments="{"),
        ToolCallDelta(0, "a", "f", "}"),
        PartEnd(0),
        UsageUpdate(
            Usage(
                input_tokens=3,
                cache_read_tokens=2,
                cache_write_tokens=1,
                output_tokens=5,
                reasoning_tokens=5,
            )
        ),
        UsageUpdate(Usage(cache_read_tokens=2, reasoning_tokens=5)),
        # Grok on Azure reports such numbers, and they are passed on as they are (S8).
        UsageUpdate(Usage(input_tokens=3, cache_read_tokens=5)),
        # A call that never gets a name is an invalid one (S7).
        ToolCallDelta(9, "nameless"),
        END,
    ],
    # A call that was cut off is the model's fault and not the stream's.
    [ToolCallDelta(0, "a", "f", '{"x'), ResponseEnd(FinishReason.LENGTH)],
]


@pytest.mark.parametrize("chunks", GOOD)
def test_a_good_stream_comes_back_as_it_is(chunks: list[StreamChunk]) -> None:
    """
    S1: whatever the grammar allows passes, unchanged.
    """
    assert check_stream(iter(chunks)) == chunks


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "after 0 chunks .* without a ResponseEnd"),
        ([TextDelta("Hi")], "after 1 chunks .* without a ResponseEnd"),
        ([END, END], "chunk 1 comes after the ResponseEnd"),
        ([END, UsageUpdate(Usage())], "chunk 1 comes after the ResponseEnd"),
        ([ResponseStart(), ResponseStart(), END], "chunk 1 is not the first"),
        ([TextDelta("Hi"), ResponseStart(), END], "chunk 1 is not the first"),
        ([TextDelta("Hi", -1), END], "chunk 0 has a negative index"),
        ([PartEnd(-1), END], "chunk 0 has a negative index"),
        ([ToolCallDelta(0, arguments="{}"), END], "begins a tool call without an id"),
        ([ToolCallDelta(0, name="f"), END], "begins a tool call without an id"),
        (
            [ToolCallDelta(0, "a"), ToolCallDelta(0, name="f"), END],
            "chunk 1 has the index of another call",
        ),
        (
            [ToolCallDelta(0, "a", "f"), ToolCallDelta(1, "a", "f"), END],
            "chunk 1 begins a tool call with the id of another one",
        ),
        (
            [ToolCallDelta(0, "a", "f"), ToolCallDelta(0, "b", "f"), END],
            r"chunk 1 has the index of another call, 'a' \(f\)",
        ),
        (
            [ToolCallDelta(0, "a", "f"), ToolCallDelta(0, name="g"), END],
            "chunk 1 has the index of another call",
        ),
        ([PartEnd(0), END], "chunk 0 ends a part that has not begun"),
        ([TextDelta("a"), PartEnd(1), END], "chunk 1 ends a part that has not begun"),
        ([TextDelta("a"), PartEnd(0), PartEnd(0), END], "chunk 2 ends .* second time"),
        (
            [TextDelta("a"), PartEnd(0), TextDelta("b"), END],
            "chunk 2 adds to a part that has ended",
        ),
        (
            [PartAdded(SEEN), PartAdded(SEEN), END],
            "chunk 1 replaces a whole part",
        ),
        ([UsageUpdate(Usage(input_tokens=-1)), END], "has negative input_tokens"),
        ([UsageUpdate(Usage(reasoning_tokens=-1)), END], "negative reasoning_tokens"),
        ([ResponseEnd("stop")], "chunk 0 has a finish reason that is no FinishReason"),  # type: ignore[arg-type]
        (["text", END], "chunk 0 is not a StreamChunk: 'text'"),
        ([TextDelta("x" * 500, -1)], "x…$"),
        ([PartAdded(TextPart("a")), END], "chunk 0 adds a part that comes in deltas"),  # type: ignore[arg-type]
    ],
)
def test_a_broken_stream_is_refused(chunks: Any, message: str) -> None:
    """
    S1: the error says which chunk broke which rule.
    """
    with pytest.raises(AssertionError, match=message):
        check_stream(chunks)


async def alive(
    chunks: list[StreamChunk], left: list[str]
) -> AsyncIterator[StreamChunk]:
    try:
        for chunk in chunks:
            yield chunk
    finally:
        left.append("closed")


async def test_a_live_stream_passes_through() -> None:
    """
    It may stand between a provider and its consumer.
    """
    left: list[str] = []
    chunks = reply("Hello, world!")

    assert [c async for c in check_stream(alive(chunks, left))] == chunks
    assert left == ["closed"]


async def test_a_live_stream_is_refused_at_the_chunk_that_breaks_it() -> None:
    """
    Everything before it has been handed on, and the stream is closed.
    """
    left: list[str] = []
    seen: list[StreamChunk] = []

    async def read() -> None:
        async for chunk in check_stream(alive([END, END], left)):
            seen.append(chunk)  # noqa: PERF401 -- what was seen before the error counts

    with pytest.raises(AssertionError, match="chunk 1 comes after"):
        await read()

    assert seen == [END]
    assert left == ["closed"]


async def test_a_live_stream_may_be_left_early() -> None:
    """
    Leaving is nobody's mistake, and closes what was wrapped.
    """
    left: list[str] = []

    async with aclosing(check_stream(alive(reply("Hello"), left))) as stream:
        await anext(stream)

    assert left == ["closed"]


class Plain:
    """An async iterator that nobody can close."""

    def __init__(self, chunks: list[StreamChunk]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> StreamChunk:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


async def test_any_async_iterable_can_be_checked() -> None:
    """
    It need not be a generator.
    """
    assert fold([c async for c in check_stream(Plain(reply("Hi")))]).text == "Hi"


class Made:
    """A provider made of one function."""

    def __init__(
        self, stream: Callable[[ChatRequest], Any], name: Any = "made"
    ) -> None:
        self.name = name
        self.stream = stream


async def good(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
    for chunk in reply("Hello, world!"):
        await asyncio.sleep(0)
        yield chunk


async def test_a_good_provider_passes() -> None:
    """
    The answer comes back, for the author's own questions.
    """
    assert (await check_provider(Made(good), REQUEST)).text == "Hello, world!"


async def test_a_provider_is_asked_three_times() -> None:
    """
    As the docstring says: it may cost money.
    """
    provider = FakeProvider(["Hello!"] * 3)

    await check_provider(provider, REQUEST)

    assert len(provider.requests) == 3
    assert provider.active == 0


async def empty(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
    nothing: list[StreamChunk] = []
    for chunk in nothing:
        yield chunk


async def stubborn(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
    yield TextDelta("Hi")
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    yield END


async def untidy(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
    LEFT.append(asyncio.create_task(asyncio.Event().wait()))
    yield TextDelta("Hi")
    yield END


async def coroutine(_: ChatRequest) -> list[StreamChunk]:
    raise AssertionError("never awaited")  # pragma: no cover


class Immortal(AsyncGenerator[StreamChunk, None]):
    """Goes on after it has been closed."""

    async def asend(self, _: None) -> StreamChunk:
        return END

    async def athrow(self, *_: Any) -> StreamChunk:
        raise GeneratorExit


LEFT: list[asyncio.Task[Any]] = []


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        (Made(good, name=""), "has no name"),
        (object(), "has no name"),
        (Made(good, name="a:b"), "holds a colon"),
        (Made(lambda _: reply("Hi")), "returns list, not an async generator"),
        (Made(empty), "empty stream"),
        (Made(lambda _: Immortal()), "goes on with a stream that has been closed"),
        (Made(untidy), "leaves tasks behind"),
        (Made(stubborn), "swallows a cancellation"),
        (FakeProvider([[END, END]], repeat=True), "chunk 1 comes after"),
    ],
)
async def test_a_bad_provider_is_found_out(provider: Any, message: str) -> None:
    """
    Each of the promises that a provider makes is looked at.
    """
    with pytest.raises(AssertionError, match=message):
        await check_provider(provider, REQUEST)
    for task in LEFT:
        task.cancel()
    await asyncio.gather(*LEFT, return_exceptions=True)
    LEFT.clear()


async def test_an_error_of_the_provider_is_the_authors_to_see() -> None:
    """
    A provider that raises has not broken the grammar.
    """
    with pytest.raises(ServerError):
        await check_provider(FakeProvider([ServerError("Ouch.")] * 3), REQUEST)


async def test_tasks_may_take_a_moment_to_go() -> None:
    """
    What ends within a few turns of the loop has not been left behind.
    """

    async def tidies_up_later(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        task = asyncio.create_task(asyncio.sleep(0))
        yield TextDelta("Hi")
        yield END
        await task

    await check_provider(Made(tidies_up_later), REQUEST)
