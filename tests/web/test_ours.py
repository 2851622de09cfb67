"""Our own form of server-sent events, there and back; and how an `EventStream` behaves."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from aichat import (
    AIChatError,
    AuthenticationError,
    BadRequestError,
    ChatResponse,
    Client,
    ConfigError,
    ErrorCode,
    ProtocolError,
    RateLimitError,
    ReasoningDelta,
    ResponseEnd,
    StreamChunk,
    StreamClosedError,
    StreamError,
    StreamInterruptedError,
    TextDelta,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    collect,
    errors,
    fold,
)
from aichat.errors import DeadlineError
from aichat.testing import FakeProvider, reply
from aichat.tools import RoundEnded, ToolFinished, ToolStarted
from aichat.types import FinishReason, loads
from aichat.web import (
    EventStream,
    error_body,
    from_sse,
    http_status,
    to_openai_sse,
    to_sse,
)

from ..transport.toys import now, virtual
from ..types.strategies import streams


async def played(items: Iterable[Any], pause: float = 0) -> AsyncIterator[Any]:
    for item in items:
        if pause:
            await asyncio.sleep(pause)
        if isinstance(item, BaseException):
            raise item
        yield item


async def pieces(data: bytes, cuts: Iterable[int] = ()) -> AsyncIterator[bytes]:
    at = 0
    for cut in sorted({min(cut, len(data)) for cut in cuts}):
        yield data[at:cut]
        at = cut
    yield data[at:]


async def whole(source: AsyncIterable[bytes]) -> bytes:
    return b"".join([data async for data in source])


def alone() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


# -- there and back ------------------------------------------------------------------------


@given(streams(), st.lists(st.integers(0, 2000), max_size=8))
async def test_there_and_back(chunks: list[StreamChunk], cuts: list[int]) -> None:
    """The very same chunks, however the network cuts the bytes."""
    # S3, S9
    data = await whole(to_sse(played(chunks)))
    assert [chunk async for chunk in from_sse(pieces(data, cuts))] == chunks


async def test_as_it_looks() -> None:
    """One event for each chunk."""
    chunks = [TextDelta("Hi\nthere"), ResponseEnd(FinishReason.STOP)]
    assert await whole(to_sse(played(chunks))) == (
        b'data: {"text":"Hi\\nthere","chunk":"text_delta"}\n\n'
        b'data: {"finish_reason":"stop","chunk":"response_end"}\n\n'
    )


async def test_an_answer_of_a_client() -> None:
    """Over the events it folds to what it folds to here."""
    async with Client({"fake": FakeProvider(["One two three."])}) as client:
        stream = client.stream("Count.", model="fake:any")
        response = await collect(from_sse(to_sse(stream)))
        assert response == await stream.response()


async def test_what_happens_in_a_run() -> None:
    """Events of their own; the chunks are as ever."""
    call = ToolCallPart("call_1", "clock", "{}")
    result = ToolResultPart("call_1", [TextPart("12:00")], is_error=True)
    events = [
        ToolStarted(call),
        ToolFinished(call, result, 0.5, ValueError("secret")),
        RoundEnded(1, fold(reply("Noon."))),
        ResponseEnd(FinishReason.STOP),
    ]
    data = await whole(to_sse(played(events)))
    blocks = data.decode().split("\n\n")
    assert [block.partition("\n")[0] for block in blocks[:3]] == [
        "event: tool_started",
        "event: tool_finished",
        "event: round_ended",
    ]
    bodies = [loads(block.partition("data: ")[2]) for block in blocks[:3]]
    assert bodies[0] == {"call": {"id": "call_1", "name": "clock"}}
    assert bodies[1]["result"]["is_error"] is True
    assert {**bodies[1], "result": 0} == {
        "call_id": "call_1",
        "result": 0,
        "seconds": 0.5,
    }
    assert bodies[2] == {"number": 1}
    assert b"secret" not in data
    found = [chunk async for chunk in from_sse(pieces(data))]
    assert found == [ResponseEnd(FinishReason.STOP)]


async def test_an_answer_that_is_asked_for_again() -> None:
    """Whoever shows it is told to begin anew; why, only those whom that concerns."""
    client = Client({"fake": FakeProvider(['"x"', '{"value": 1}'])}, model="fake:any")
    for details in (False, True):
        run = client.run_stream("How many?", response_type=int, repair=1)
        data = await whole(to_sse(run, details=details))
        ended = [
            loads(block.partition("data: ")[2])
            for block in data.decode().split("\n\n")
            if block.startswith("event: round_ended")
        ]
        assert ended[1:] == [{"number": 2}]
        problem = ended[0]["problem"]
        assert problem["code"] == "protocol_error"
        assert ("no int" in problem["message"]) is details
        client = Client(
            {"fake": FakeProvider(['"x"', '{"value": 1}'])}, model="fake:any"
        )


async def test_a_run_that_was_cut_off() -> None:
    """After any of its events: the end of a round is not that of the run."""
    # S4
    call = ToolCallPart("call_1", "clock", "{}")
    first, second = reply(tool_calls=[call]), reply("It is noon.")
    events = [
        *first,
        ToolStarted(call),
        ToolFinished(call, ToolResultPart("call_1", "12:00"), 0.5),
        RoundEnded(1, fold(first)),
        *second,
        RoundEnded(2, fold(second)),
    ]
    written = [await whole(to_sse(played([event]))) for event in events]
    found = [chunk async for chunk in from_sse(pieces(b"".join(written)))]
    assert found == [*first, *second]
    # Between two rounds nothing is under way, as after the last one.
    ends = {len(first), len(first) + 3, len(events) - 1}
    for cut in range(1, len(events)):
        data = pieces(b"".join(written[:cut]))
        if cut in ends:
            async for _ in from_sse(data):
                pass
            continue
        with pytest.raises(StreamInterruptedError) as caught:
            async for _ in from_sse(data):
                pass
        partial = caught.value.partial
        assert partial is not None
        if cut > len(first) + 3:
            assert not partial.message.tool_calls
            assert "It is noon.".startswith(partial.text)


# -- reading -------------------------------------------------------------------------------


async def read(data: bytes) -> AIChatError:
    with pytest.raises(AIChatError) as caught:
        await collect(from_sse(pieces(data)))
    return caught.value


async def test_events_without_an_end() -> None:
    """An answer that broke, and not a short one."""
    # S4
    assert type(await read(b"")) is StreamInterruptedError
    error = await read(b'data: {"text":"Hi","chunk":"text_delta"}\n\n')
    assert type(error) is StreamInterruptedError
    assert error.partial is not None
    assert error.partial.text == "Hi"


@pytest.mark.parametrize(
    "data", [b"data: Hi\n\n", b"data: {}\n\n", b'data: {"chunk":"new"}\n\n']
)
async def test_events_of_somebody_else(data: bytes) -> None:
    """A typed error."""
    # I2
    assert type(await read(data)) is ProtocolError


async def test_an_error_event_without_sense() -> None:
    """It is an error all the same."""
    for data in (
        b"data: x",
        b"data: []",
        b'data: {"code": 1, "status": "x"}',
        b'data: {"code":"new"}',
    ):
        error = await read(b"event: error\n" + data + b"\n\n")
        assert type(error) is StreamError
        assert error.status is None


async def test_the_source_is_closed() -> None:
    """When the reader is left."""
    closed = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b'data: {"text":"Hi","chunk":"text_delta"}\n\n'
            yield b""
        finally:
            closed.append(True)

    chunks = from_sse(source())
    await anext(chunks)
    await chunks.aclose()
    assert closed == [True]


# -- errors --------------------------------------------------------------------------------


async def test_an_error_in_the_midst() -> None:
    """Told by its code; its own words, which may be about us, are not."""
    # X1
    error = RateLimitError(
        "Org acme-corp is over its limit.",
        provider="openai",
        retry_after=2.5,
        status=429,
    )
    data = await whole(to_sse(played([TextDelta("Hi"), error])))
    assert b"acme" not in data
    assert b"openai" not in data
    told = await read(data)
    assert type(told) is RateLimitError
    assert told.retry_after == 2.5
    assert told.message == "There are too many requests. Try again later."
    assert told.partial is not None
    assert told.partial.text == "Hi"


async def test_an_error_with_details() -> None:
    """For clients whom it concerns."""
    error = AuthenticationError(
        "No such key.", provider="openai", model="m", status=401, request_id="req_1"
    )
    told = await read(await whole(to_sse(played([error]), details=True)))
    assert type(told) is AuthenticationError
    assert (told.message, told.provider, told.model) == ("No such key.", "openai", "m")
    assert (told.status, told.request_id) == (401, "req_1")


async def test_a_bug() -> None:
    """Told without a word about it, and then raised, for the server's log."""
    events = to_sse(played([TextDelta("Hi"), ValueError("secret")]))
    data = b""
    with pytest.raises(ValueError, match="secret"):
        async for some in events:
            data += some
    assert b"secret" not in data
    assert (await read(data)).code is ErrorCode.SERVER_ERROR


async def test_what_is_no_chunk() -> None:
    """An error; what came before it goes out."""
    data = await whole(to_sse(played([TextDelta("Hi"), "there"]), details=True))
    told = await read(data)
    assert type(told) is BadRequestError
    assert told.message == "A str is no chunk of a stream."
    assert told.partial is not None
    assert told.partial.text == "Hi"


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_its_words(code: ErrorCode) -> None:
    """And a status, which is never that of success."""
    named = [getattr(errors, name) for name in errors.__all__]
    classes = [c for c in named if isinstance(c, type) and issubclass(c, AIChatError)]
    error = next(c for c in classes if c.code is code)("secret")
    body = error_body(error)["error"]
    assert body["code"] == code
    assert "secret" not in body["message"]
    assert body["message"] != "Something went wrong on the server."
    assert 400 <= http_status(error) < 600
    assert http_status(ValueError("secret")) == 500


def test_a_queue_of_ours_is_no_slow_model() -> None:
    """Too many requests, and when to come back; other deadlines are the model's."""
    full = DeadlineError("No permit.", phase="pool", retry_after=20)
    assert http_status(full) == 429
    assert http_status(DeadlineError("Slow.", phase="total")) == 504
    told = error_body(full)["error"]
    assert told["code"] == "rate_limit"
    assert "too many requests" in told["message"]
    assert told["retry_after"] == 20


# -- heartbeats ----------------------------------------------------------------------------


@virtual
async def test_heartbeats_while_it_thinks() -> None:
    """After so many seconds without anything, and after as many again; readers skip them."""
    # D2
    chunks = [TextDelta("a"), ResponseEnd(FinishReason.STOP)]
    found = [
        (now(), data == b":\n\n")
        async for data in to_sse(played(chunks, pause=35), heartbeat=10)
    ]
    assert found == [
        *[(10, True), (20, True), (30, True), (35, False)],
        *[(45, True), (55, True), (65, True), (70, False)],
    ]
    data = await whole(to_sse(played(chunks, pause=35), heartbeat=10))
    assert [chunk async for chunk in from_sse(pieces(data))] == chunks


@virtual
async def test_without_heartbeats() -> None:
    """Silence."""
    chunks = [TextDelta("a"), ResponseEnd(FinishReason.STOP)]
    data = await whole(to_sse(played(chunks, pause=1000), heartbeat=None))
    assert b":\n\n" not in data.replace(b"data:", b"")


@virtual
async def test_a_timeout_of_the_streams_own() -> None:
    """It is an error, and no heartbeat."""
    with pytest.raises(TimeoutError):
        await whole(to_sse(played([TimeoutError("mine")])))


@pytest.mark.parametrize("heartbeat", [0, -1, float("nan"), float("inf"), "15", True])
def test_heartbeats_that_make_no_sense(heartbeat: Any) -> None:
    """Said at once."""
    with pytest.raises(ConfigError, match="heartbeat must be seconds"):
        to_sse(played([]), heartbeat=heartbeat)


def test_what_is_no_stream() -> None:
    """Said at once."""
    with pytest.raises(ConfigError, match="A str is no stream"):
        to_sse("Hi")  # type: ignore[arg-type]


# -- leaving -------------------------------------------------------------------------------


@virtual
async def test_chunks_that_wait_go_together() -> None:
    """What is there already is one write."""
    chunks = [TextDelta("a"), TextDelta("b"), ResponseEnd(FinishReason.STOP)]
    assert len([data async for data in to_sse(played(chunks))]) == 1
    assert len([data async for data in to_sse(played(chunks, pause=1))]) == 3


@virtual
async def test_a_slow_client_slows_the_model_down() -> None:
    """A bounded number of chunks waits for it."""
    # C6
    read = 0

    async def endless() -> AsyncIterator[StreamChunk]:
        nonlocal read
        while True:
            read += 1
            yield TextDelta("a")

    async with to_sse(endless()) as events:
        for taken in range(1, 10):
            await anext(events)
            await asyncio.sleep(1)
            assert read <= 65 * (taken + 1)
    assert alone()


@pytest.mark.parametrize("make", [to_sse, to_openai_sse])
@pytest.mark.parametrize("after", range(5))
@virtual
async def test_leaving_it(make: Any, after: int) -> None:
    """At every point: the stream is closed, no task is left."""

    # C1
    closed = []

    async def stream() -> AsyncIterator[StreamChunk]:
        try:
            for word in "abc":
                await asyncio.sleep(1)
                yield TextDelta(word)
            yield ResponseEnd(FinishReason.STOP)
        finally:
            closed.append(True)

    source = stream()
    events: EventStream = make(source)
    async with events:
        for _ in range(after):
            await anext(events, None)
    if after:
        assert closed == [True]
    else:
        with pytest.raises(StopAsyncIteration):
            await anext(source)
    assert alone()
    with pytest.raises(StreamClosedError):
        aiter(events)


@virtual
async def test_cancelled_while_it_waits() -> None:
    """The call upstream is over when the reader is."""
    # C1, C2
    provider = FakeProvider([[TextDelta("a")]])
    started = asyncio.Event()

    async def slow() -> AsyncIterator[StreamChunk]:
        async for chunk in client.stream("Hi"):
            yield chunk
            started.set()
            await asyncio.sleep(100)

    client = Client({"fake": provider}, model="fake:any")
    source = slow()
    task = asyncio.create_task(whole(to_sse(source)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == 0
    assert provider.active == 0
    assert alone()


@virtual
async def test_dropped() -> None:
    """A framework that forgets to close it: asyncio does, without the garbage collector."""
    # C1
    gc.disable()
    try:
        closed = []

        async def stream() -> AsyncIterator[StreamChunk]:
            try:
                yield TextDelta("a")
                await asyncio.sleep(100)
            finally:
                closed.append(True)

        async for _ in to_sse(stream()):
            break
        await asyncio.sleep(0.1)
        assert closed == [True]
        assert alone()
    finally:
        gc.enable()


# -- beginning -----------------------------------------------------------------------------


@virtual
async def test_a_stream_that_fails_at_once() -> None:
    """Its error is there before anything is sent."""
    events = to_sse(played([RateLimitError("No.")], pause=3))
    with pytest.raises(RateLimitError):
        await events.begin()
    assert now() == 3
    assert alone()


@virtual
async def test_a_stream_that_begins() -> None:
    """Nothing of it is lost; a slow one has begun when a heartbeat is due."""
    chunks = [TextDelta("a"), ResponseEnd(FinishReason.STOP)]
    events = to_sse(played(chunks, pause=20), heartbeat=15)
    await events.begin()
    assert now() == 15
    await events.begin()
    assert now() == 20
    data = await whole(events)
    assert [chunk async for chunk in from_sse(pieces(data))] == chunks
    empty = to_sse(played([]))
    await empty.begin()
    assert await whole(empty) == b""


@virtual
async def test_begun_and_left() -> None:
    """Closed without having been read."""
    closed = []

    async def stream() -> AsyncIterator[StreamChunk]:
        try:
            yield ReasoningDelta("a")
            yield TextDelta("b")
        finally:
            closed.append(True)

    events = to_sse(stream())
    await events.begin()
    await events.aclose()
    assert closed == [True]
    assert alone()


@virtual
async def test_the_client_goes() -> None:
    """The stream is closed at once, whatever the reader does, and the bytes end."""
    # C1
    closed: list[float] = []

    async def stream() -> AsyncIterator[StreamChunk]:
        try:
            yield TextDelta("a")
            await asyncio.sleep(100)
        finally:
            closed.append(now())

    async def gone() -> None:
        await asyncio.sleep(5)

    events = to_sse(stream(), heartbeat=None)
    events.leave_when(gone)
    await events.begin()
    found = []
    async for data in events:
        found.append(data)
        # As if sending took its time.
        await asyncio.sleep(8)
    assert len(found) == 1
    assert closed == [5]
    assert now() == 8
    assert alone()
    early = to_sse(stream(), heartbeat=None)
    early.leave_when(lambda: asyncio.sleep(0))
    await early.begin()
    await early.aclose()
    assert alone()


@virtual
async def test_the_answer_ends_before_the_client_goes() -> None:
    """Nobody waits for it to go."""
    events = to_sse(played([ResponseEnd(FinishReason.STOP)]))
    events.leave_when(lambda: asyncio.sleep(1000))
    response: ChatResponse = await collect(from_sse(events))
    assert response.finish_reason is FinishReason.STOP
    assert now() == 0
    assert alone()
