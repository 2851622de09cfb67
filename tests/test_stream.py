"""`ChatStream`: reading, leaving, and closing from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from aichat import (
    ChatRequest,
    ChatStream,
    Client,
    ServerError,
    StreamChunk,
    StreamClosedError,
    StreamInterruptedError,
    TextDelta,
)
from aichat._leaving import task_inside
from aichat.testing import FakeProvider, reply


class Slow:
    """Says one word, then waits for ever; knows whether it was left."""

    name = "slow"

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.left = False

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        try:
            yield TextDelta("one ")
            self.waiting.set()
            await asyncio.get_running_loop().create_future()
        finally:
            self.left = True


def stream_of(provider: FakeProvider | Slow) -> ChatStream:
    return Client({provider.name: provider}, model=f"{provider.name}:m").stream("Hi")


async def test_nothing_is_asked_before_the_first_pull() -> None:
    """A stream that nobody reads costs nothing."""
    provider = FakeProvider(["Hello"])
    stream = stream_of(provider)
    assert provider.requests == []
    await stream.aclose()
    assert provider.requests == []


async def test_the_response_is_the_fold_of_what_was_read() -> None:
    """Reading by hand and then asking for the whole gives the whole. (S2)"""
    stream = stream_of(FakeProvider([reply("Hello, big world!")]))
    chunks = [chunk async for chunk in stream]
    response = await stream.response()
    assert response.text == "Hello, big world!"
    assert "".join(c.text for c in chunks if isinstance(c, TextDelta)) == response.text


async def test_the_response_drains_what_is_left() -> None:
    """Whoever has read a part gets the whole all the same."""
    stream = stream_of(FakeProvider([reply("Hello, big world!")]))
    await anext(stream)
    assert (await stream.response()).text == "Hello, big world!"


async def test_text_yields_only_the_visible_text_and_closes() -> None:
    """Nothing else comes out of `text`, and nothing stays open behind it."""
    provider = FakeProvider([reply("Hello, world!", reasoning="Hm.")])
    words = [text async for text in stream_of(provider).text()]
    assert "".join(words) == "Hello, world!"
    assert provider.active == 0


async def test_reading_twice_is_an_error() -> None:
    """A second loop over a finished stream says so rather than yielding nothing."""
    stream = stream_of(FakeProvider(["Hello"]))
    async for _ in stream:
        pass
    with pytest.raises(StreamClosedError, match="has been read"):
        async for _ in stream:
            pass


async def test_leaving_the_with_block_closes_the_provider() -> None:
    """`async with` closes at once, without the garbage collector. (C1)"""
    slow = Slow()
    async with stream_of(slow) as stream:
        async for _ in stream:
            break
        assert not slow.left
    assert slow.left


async def test_break_without_another_reference_closes_by_itself() -> None:
    """A plain loop that is left closes within a few turns of the event loop. (C1)"""
    slow = Slow()
    async for _ in stream_of(slow):
        break
    for _ in range(5):
        await asyncio.sleep(0)
    assert slow.left


async def test_a_stream_that_was_left_has_no_response() -> None:
    """What was left early is not passed off as an answer."""
    slow = Slow()
    async with stream_of(slow) as stream:
        await anext(stream)
    with pytest.raises(StreamClosedError) as caught:
        await stream.response()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one "
    assert caught.value.partial.finish_reason is None


async def test_closing_twice_is_harmless() -> None:
    """Also on a stream that was never read."""
    stream = stream_of(FakeProvider(["Hello"]))
    await stream.aclose()
    await stream.aclose()


async def test_an_error_carries_what_had_arrived() -> None:
    """`partial` is filled in, and the error comes again from `response`. (S4)"""
    broken = StreamInterruptedError("Broken off.")
    stream = stream_of(FakeProvider([[TextDelta("Hel"), broken]]))
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in stream:
            pass
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"
    assert not caught.value.partial.usage.complete
    with pytest.raises(StreamInterruptedError):
        await stream.response()


async def test_a_foreign_exception_passes_unchanged() -> None:
    """A bug in somebody's middleware is not dressed up as ours."""
    stream = stream_of(FakeProvider([[TextDelta("Hel"), ZeroDivisionError()]]))
    with pytest.raises(ZeroDivisionError):
        await stream.response()
    with pytest.raises(ZeroDivisionError):
        await stream.response()


async def test_partial_before_the_end() -> None:
    """One may look at what there is at any time."""
    async with stream_of(Slow()) as stream:
        assert stream.partial().text == ""
        await anext(stream)
        assert stream.partial().text == "one "
        assert stream.partial().finish_reason is None


async def test_closing_while_another_task_waits_ends_it_with_a_typed_error() -> None:
    """The reader gets a `StreamClosedError`, and is not left cancelled. (C1)"""
    slow = Slow()
    stream = stream_of(slow)

    async def read() -> str:
        with pytest.raises(StreamClosedError, match="another task"):
            async for _ in stream:
                pass
        await asyncio.sleep(0)  # a cancellation that was not taken back would hit here
        return "well"

    reader = asyncio.create_task(read())
    await slow.waiting.wait()
    await stream.aclose()
    assert slow.left
    assert await reader == "well"
    assert reader.cancelling() == 0


async def test_two_tasks_may_close_a_stream_that_a_third_one_reads() -> None:
    """The second close waits for the first one's work and does none of its own."""
    slow = Slow()
    stream = stream_of(slow)
    reader = asyncio.create_task(stream.response())
    await slow.waiting.wait()
    await asyncio.gather(stream.aclose(), stream.aclose())
    with pytest.raises(StreamClosedError):
        await reader
    assert reader.cancelling() == 0


async def test_a_cancellation_from_outside_passes_even_while_closing() -> None:
    """Cancelled and closed at once: the cancellation wins. (C2)"""
    slow = Slow()
    stream = stream_of(slow)
    reader = asyncio.create_task(stream.response())
    await slow.waiting.wait()
    closer = asyncio.create_task(stream.aclose())
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await closer
    assert slow.left


async def test_cancelling_the_reader_passes_and_closes() -> None:
    """`CancelledError` itself comes out, and nothing stays open. (C2)"""
    slow = Slow()
    reader = asyncio.create_task(stream_of(slow).response())
    await slow.waiting.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert slow.left


async def test_a_timeout_around_it_is_the_callers_own() -> None:
    """`asyncio.timeout` works as anywhere, and is no error of ours. (C1)"""
    slow = Slow()
    stream = stream_of(slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await stream.response()
    assert slow.left


async def test_the_reader_is_found_where_it_waits() -> None:
    """Through `async for`, `anext` with and without a default, and generators around it."""

    async def endless() -> AsyncGenerator[int, None]:
        await asyncio.get_running_loop().create_future()
        yield 0

    async def around(inner: AsyncGenerator[int, None]) -> AsyncGenerator[int, None]:
        async for item in inner:
            yield item

    async def by_loop(numbers: AsyncGenerator[int, None]) -> None:
        async for _ in around(around(numbers)):
            pass

    async def by_anext(numbers: AsyncGenerator[int, None]) -> None:
        await anext(numbers)

    async def by_default(numbers: AsyncGenerator[int, None]) -> None:
        await anext(numbers, None)

    for read in (by_loop, by_anext, by_default):
        numbers = endless()
        assert task_inside(numbers) is None
        reader = asyncio.create_task(read(numbers))
        await asyncio.sleep(0)
        assert task_inside(numbers) is reader
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader


async def test_an_error_of_the_consumer_passes_unchanged() -> None:
    """What the loop's body raises is the caller's."""
    slow = Slow()

    async def read() -> None:
        async with stream_of(slow) as stream:
            async for _ in stream:
                raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await read()
    assert slow.left


async def test_the_given_up_error_is_not_touched() -> None:
    """A partial response that a provider attached itself stays. (S4)"""
    inner = Client({"f": FakeProvider([reply("x")])}, model="f:m")
    partial = await inner.complete("Hi")
    stream = stream_of(FakeProvider([[ServerError("Oh.", partial=partial)]]))
    with pytest.raises(ServerError) as caught:
        await stream.response()
    assert caught.value.partial == partial


async def test_a_long_stream_is_not_kept_chunk_by_chunk() -> None:
    """What is held is the text and a thousand chunks, and the fold is the same. (C6, S2)"""
    words = 5_000
    stream = stream_of(FakeProvider([reply("word " * words)]))
    held = 0
    async for _ in stream:
        held = max(held, len(stream._record.chunks))
    assert held == 1000
    assert (await stream.response()).text == "word " * words


async def test_looking_at_what_has_arrived_again_and_again() -> None:
    """Each look adds what is new; nothing is lost or counted twice. (S2)"""
    seen = []
    async with stream_of(FakeProvider([reply("a b c", reasoning="Hm.")])) as stream:
        async for _ in stream:
            looks = [stream.partial() for _ in range(2)]
            assert looks[0] == looks[1]
            seen.append((looks[0].reasoning, looks[0].text))
    assert seen == [
        ("", ""), ("Hm.", ""), ("Hm.", "a"), ("Hm.", "a b"), ("Hm.", "a b c"),
        ("Hm.", "a b c"),
    ]  # fmt: skip


async def test_one_look_in_the_middle_is_not_the_whole() -> None:
    """What was seen once is not what it has come to: that takes another look. (S2)"""
    stream = stream_of(FakeProvider([reply("a b c")]))
    async for chunk in stream:
        if isinstance(chunk, TextDelta) and chunk.text == "a":
            assert stream.partial().text == "a"
    assert (await stream.response()).text == "a b c"
    assert stream.partial() is await stream.response()


async def test_closed_elsewhere_is_no_end_for_a_reader_at_work() -> None:
    """Its loop must not look as if the answer were complete. (C4, S4)"""
    provider = FakeProvider([reply("one two three")])
    stream = stream_of(provider)
    at_work, closed = asyncio.Event(), asyncio.Event()
    heard: list[StreamChunk] = []

    async def read() -> None:
        async for chunk in stream:
            heard.append(chunk)
            if isinstance(chunk, TextDelta):
                at_work.set()
                await closed.wait()

    reader = asyncio.create_task(read())
    await at_work.wait()
    await stream.aclose()
    assert provider.active == 0
    await stream.aclose()
    closed.set()
    with pytest.raises(StreamClosedError) as caught:
        await reader
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one"
    assert len(heard) == 2
    with pytest.raises(StreamClosedError):
        await stream.response()


async def test_closing_after_the_reader_is_gone_or_by_itself() -> None:
    """There is nobody to be told then. (C1)"""
    provider = FakeProvider([reply("one two three")], repeat=True)
    stream = stream_of(provider)

    async def pull() -> None:
        await anext(stream)

    await asyncio.create_task(pull())
    await stream.aclose()
    assert provider.active == 0
    heard = []
    stream = stream_of(provider)
    async for chunk in stream:
        heard.append(chunk)
        await stream.aclose()
    assert len(heard) == 1
    assert provider.active == 0
