"""`Client.stream_object`: what is seen on the way, how it ends, how it is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aichat import (
    ChatRequest,
    ChatResponse,
    Client,
    Deadlines,
    FinishReason,
    TextDelta,
)
from aichat.errors import (
    AIChatError,
    DeadlineError,
    InvalidRequestError,
    ServerError,
    StreamClosedError,
    StreamInterruptedError,
)
from aichat.structured import (
    Expected,
    ObjectStream,
    StructuredOutputError,
    TypedResponse,
)
from aichat.testing import FakeProvider, reply
from aichat.testing._fake import Reply
from aichat.types import (
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    StreamChunk,
    Usage,
    UsageUpdate,
    fold,
)

from ..transport.toys import virtual
from .values import City

END = ResponseEnd(FinishReason.STOP)


def asked(
    *pieces: str | StreamChunk | BaseException, end: bool = True
) -> tuple[FakeProvider, Client]:
    """A provider that answers with *pieces*."""
    chunks: list[StreamChunk | BaseException] = [
        TextDelta(piece) if isinstance(piece, str) else piece for piece in pieces
    ]
    answer: Reply = [*chunks, END] if end else chunks
    provider = FakeProvider([answer])
    return provider, Client({"fake": provider}, model="fake:m")


ROME = (
    '{"na',
    'me": "R',
    "om",
    "",
    "e",
    '", "people": 2',
    "8",
    '00, "sights": [',
    '"a"]}',
)


async def test_what_is_seen_on_the_way() -> None:
    """
    Each change once, and nothing where nothing has changed.
    """
    _, client = asked(ReasoningDelta("Hm."), *ROME, UsageUpdate(Usage(output_tokens=9)))
    stream = client.stream_object("Rome?", response_type=City)
    seen = [repr(partial) async for partial in stream]
    assert seen == [
        "{}",
        "{'name': 'R'}",
        "{'name': 'Rom'}",
        "{'name': 'Rome'}",
        "{'name': 'Rome', 'people': 2800, 'sights': []}",
        "{'name': 'Rome', 'people': 2800, 'sights': ['a']}",
    ]
    assert await stream.parsed() == City("Rome", 2800, ["a"])
    response = await stream.response()
    assert isinstance(response, TypedResponse)
    assert response.usage.output_tokens == 9
    assert response.reasoning == "Hm."
    assert [type(r) for r in response.rounds] == [ChatResponse]


async def test_the_same_object_grows() -> None:
    """
    No copies; and what the reader does to it does not reach the result.
    """
    _, client = asked(*ROME)
    stream = client.stream_object("Rome?", response_type=City)
    seen = [partial async for partial in stream]
    assert len({id(partial) for partial in seen}) == 1
    assert stream.partial() is seen[0]
    seen[0].clear()
    assert await stream.parsed() == City("Rome", 2800, ["a"])


async def test_a_text_or_a_list_for_the_whole() -> None:
    """
    What is not an object arrives without what it was wrapped in.
    """
    _, client = asked('{"va', 'lue": "x', 'y"}')
    stream = client.stream_object("?", response_type=str)
    assert stream.partial() is None
    assert [partial async for partial in stream] == ["x", "xy"]
    assert await stream.parsed() == "xy"


async def test_only_the_result() -> None:
    """
    Nobody has to look on.
    """
    _, client = asked(*ROME)
    stream = client.stream_object("Rome?", response_type=City)
    assert await stream.parsed() == City("Rome", 2800, ["a"])
    assert (await stream.response()).text == "".join(p for p in ROME)


async def test_nothing_is_sent_before_the_first_pull() -> None:
    """
    The request is known by then.
    """
    provider, client = asked(*ROME)
    stream = client.stream_object("Rome?", response_type=City, temperature=0)
    assert stream.request.temperature == 0
    assert stream.request.response_format is not None
    assert not provider.requests
    await anext(aiter(stream))
    assert provider.active == 1
    await stream.aclose()


async def test_pulled_by_hand() -> None:
    """
    It is an async iterator of its own.
    """
    _, client = asked(*ROME)
    stream = client.stream_object("Rome?", response_type=City)
    assert await anext(stream) == {}
    assert await anext(stream) == {"name": "R"}
    await stream.aclose()


async def test_no_json_ends_it_at_once() -> None:
    """
    What comes after the first wrong character is neither awaited nor paid for.
    """
    never = AssertionError("read too far")
    provider, client = asked('{"name": "Rome"', " oh", never)
    stream = client.stream_object("Rome?", response_type=City)
    with pytest.raises(StructuredOutputError) as caught:
        async for _ in stream:
            pass
    assert caught.value.reason == "not_json"
    assert "character 16" in str(caught.value)
    assert caught.value.partial is not None
    assert caught.value.partial.text == '{"name": "Rome" oh'
    assert stream.partial() == {"name": "Rome"}
    assert provider.active == 0
    with pytest.raises(StructuredOutputError):
        await stream.parsed()


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([TextDelta('{"name": "Rome"}'), END], "mismatch"),
        ([TextDelta('{"name": "Ro'), END], "not_json"),
        ([TextDelta('{"na'), ResponseEnd(FinishReason.LENGTH)], "cut_off"),
        ([RefusalDelta("No."), END], "refused"),
        ([END], "not_json"),
        ([TextDelta('{"na'), ResponseEnd(FinishReason.CONTENT_FILTER)], "filtered"),
    ],
)
async def test_the_end_says_what_is_missing(
    chunks: list[StreamChunk], reason: str
) -> None:
    """
    Whoever only looks on learns of it as well.
    """
    client = Client({"fake": FakeProvider([chunks])}, model="fake:m")
    stream = client.stream_object("Rome?", response_type=City)
    with pytest.raises(StructuredOutputError) as caught:
        async for _ in stream:
            pass
    assert caught.value.reason == reason
    with pytest.raises(StructuredOutputError):
        await stream.response()


async def test_an_error_on_the_way() -> None:
    """
    It is the caller's, with what had arrived.
    """
    # S4
    _, client = asked('{"name": "Ro', StreamInterruptedError("gone"), end=False)
    stream = client.stream_object("Rome?", response_type=City)
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in stream:
            pass
    assert caught.value.partial is not None
    assert caught.value.partial.text == '{"name": "Ro'
    assert stream.partial() == {"name": "Ro"}
    with pytest.raises(StreamInterruptedError):
        await stream.parsed()


async def test_an_error_before_it_begins() -> None:
    """
    There is no value then, and no other error over it.
    """
    _, client = asked(ServerError("down"), end=False)
    stream = client.stream_object("Rome?", response_type=City)
    with pytest.raises(ServerError):
        await stream.parsed()
    assert stream.partial() is None


async def test_left_early() -> None:
    """
    The connection is released, and what is asked of the stream later says why not.
    """
    # C1
    provider, client = asked(*ROME)
    async with client.stream_object("Rome?", response_type=City) as stream:
        async for _ in stream:
            break
        assert provider.active == 1
    assert provider.active == 0
    with pytest.raises(StreamClosedError) as caught:
        await stream.parsed()
    assert caught.value.partial is not None
    with pytest.raises(StreamClosedError):
        aiter(stream)
    await stream.aclose()


async def test_a_break_out_of_a_plain_loop() -> None:
    """
    When nothing else refers to the stream, that is enough; no garbage collector is needed.
    """
    # C1
    provider, client = asked(*ROME)
    gc.disable()
    try:
        async for _ in client.stream_object("Rome?", response_type=City):
            break
        for _ in range(10):
            await asyncio.sleep(0)
        assert provider.active == 0
    finally:
        gc.enable()


async def test_closed_without_being_read() -> None:
    """
    Nothing is sent, then.
    """
    provider, client = asked(*ROME)
    stream = client.stream_object("Rome?", response_type=City)
    await stream.aclose()
    assert not provider.requests
    with pytest.raises(StreamClosedError):
        await stream.response()


def _stuck(begun: asyncio.Event) -> Any:
    async def stuck(request: Any, call_next: Any) -> Any:
        async for chunk in call_next(request):
            yield chunk
            if isinstance(chunk, TextDelta):
                begun.set()
                await asyncio.Event().wait()

    return stuck


async def test_closed_by_another_task() -> None:
    """
    Whoever waits for the next piece is told.
    """
    # C1
    provider, client = asked(*ROME)
    begun = asyncio.Event()
    stream = client.use(_stuck(begun)).stream_object("Rome?", response_type=City)
    reader = asyncio.create_task(_drain(stream))
    await begun.wait()
    await stream.aclose()
    with pytest.raises(StreamClosedError):
        await reader
    assert provider.active == 0


async def _drain(stream: ObjectStream[Any]) -> None:
    async for _ in stream:
        pass


async def test_cancelled() -> None:
    """
    The cancellation passes, and the connection is released.
    """
    # C1, C2
    provider, client = asked(*ROME)
    begun = asyncio.Event()
    stream = client.use(_stuck(begun)).stream_object("Rome?", response_type=City)
    reader = asyncio.create_task(_drain(stream))
    await begun.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert provider.active == 0
    with pytest.raises(StreamClosedError):
        await stream.parsed()


async def test_closed_while_it_closes() -> None:
    """
    Two tasks may want the same; neither hears of the other's work.
    """
    closing, go = asyncio.Event(), asyncio.Event()

    async def slow(request: Any, call_next: Any) -> Any:
        try:
            async for chunk in call_next(request):
                yield chunk
        finally:
            closing.set()
            await go.wait()

    provider, client = asked("oh", *ROME)
    stream = client.use(slow).stream_object("Rome?", response_type=City)
    reader = asyncio.create_task(_drain(stream))
    await closing.wait()
    closer = asyncio.create_task(stream.aclose())
    await asyncio.sleep(0)
    go.set()
    await closer
    with pytest.raises(AIChatError):
        await reader
    assert provider.active == 0


async def test_closed_while_its_reader_is_at_work() -> None:
    """
    Its loop must not look as if the value were complete.
    """
    # C4, S4
    provider, client = asked(*ROME)
    stream = client.stream_object("Rome?", response_type=City)
    at_work, closed = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async for _ in stream:
            at_work.set()
            await closed.wait()

    reader = asyncio.create_task(read())
    await at_work.wait()
    await stream.aclose()
    assert provider.active == 0
    closed.set()
    with pytest.raises(StreamClosedError, match="another task") as caught:
        await reader
    assert caught.value.partial is not None
    assert caught.value.partial.text == ROME[0]
    with pytest.raises(StreamClosedError, match="another task"):
        await stream.parsed()


async def test_the_client_is_closed_meanwhile() -> None:
    """
    A stream under way ends with it.
    """
    # C4
    _, client = asked(*ROME)
    begun = asyncio.Event()
    client = client.use(_stuck(begun))
    reader = asyncio.create_task(
        _drain(client.stream_object("Rome?", response_type=City))
    )
    await begun.wait()
    await client.aclose()
    with pytest.raises(Exception, match="closed"):
        await reader


async def test_in_words_with_a_code_block() -> None:
    """
    The fence is not part of the value.
    """
    _, client = asked("``", "`json\n", *ROME, "\n``", "`\n")
    stream = client.stream_object("Rome?", response_type=City, schema_via="prompt")
    async for partial in stream:
        assert isinstance(partial, dict)
    assert await stream.parsed() == City("Rome", 2800, ["a"])


async def test_an_error_of_the_reader() -> None:
    """
    What goes wrong in the loop's body leaves nothing open.
    """
    # C1
    provider, client = asked(*ROME)
    with pytest.raises(ZeroDivisionError):
        async with client.stream_object("Rome?", response_type=City) as stream:
            async for _ in stream:
                _ = 1 / 0
    assert provider.active == 0


async def test_several_words_in_one_chunk() -> None:
    """
    A whole answer in one piece is one step.
    """
    client = Client(
        {"fake": FakeProvider([reply("".join(ROME), words=False)])}, model="fake:m"
    )
    stream = client.stream_object("Rome?", response_type=City)
    assert len([partial async for partial in stream]) == 1


async def test_an_answer_that_is_slow_to_let_go() -> None:
    """
    Closing waits for the answer, and not for whoever reads the stream.
    """
    begun, go = asyncio.Event(), asyncio.Event()

    class Slow:
        async def __aiter__(self) -> AsyncIterator[StreamChunk]:
            begun.set()
            await go.wait()
            yield TextDelta("1")

        async def aclose(self) -> None: ...

        async def response(self) -> ChatResponse:
            return fold(reply('{"value": 1}'))

        def partial(self) -> ChatResponse:
            return fold(reply("1"))

    stream = ObjectStream(lambda _: Slow(), ChatRequest("Hi"), Expected[int](int))
    reader = asyncio.create_task(_drain(stream))
    await begun.wait()
    await stream.aclose()
    go.set()
    await reader
    assert await stream.parsed() == 1


# -- repair ------------------------------------------------------------------------------


def repairing(*replies: Any) -> tuple[FakeProvider, Client]:
    provider = FakeProvider(replies)
    return provider, Client({"fake": provider}, model="fake:m")


def growing(*pieces: str) -> list[StreamChunk]:
    return [*map(TextDelta, pieces), UsageUpdate(Usage(output_tokens=3)), END]


async def test_a_value_that_begins_anew() -> None:
    """
    The next answer is another object, and the stream says what was wrong with the one before.
    """
    provider, client = repairing(
        growing('{"name": "Ro', 'me", "people": "many"}'), growing(*ROME)
    )
    stream = client.stream_object("Rome?", response_type=City, repair=1)
    seen: list[tuple[int, str]] = []
    objects: list[Any] = []
    async for partial in stream:
        seen.append((len(stream.repairs), repr(partial)))
        objects.append(partial)
    assert seen[:3] == [
        (0, "{'name': 'Ro'}"),
        (0, "{'name': 'Rome', 'people': 'many'}"),
        (1, "{}"),
    ]
    assert {count for count, _ in seen[2:]} == {1}
    assert objects[1] is not objects[2]
    (problem,) = stream.repairs
    assert problem.reason == "mismatch"
    response = await stream.response()
    assert response.parsed == City("Rome", 2800, ["a"])
    assert response.rounds[0].text == '{"name": "Rome", "people": "many"}'
    assert response.usage.output_tokens == 6
    answer, told = provider.requests[1].messages[-2:]
    assert answer == response.rounds[0].message
    assert "$.people" in told.text
    assert stream.request == provider.requests[0]


async def test_it_begins_anew_as_soon_as_it_is_no_json() -> None:
    """
    What had come of it goes back, and the rest is not awaited.
    """
    never = AssertionError("read too far")
    provider, client = repairing(
        [TextDelta('{"name": "Rome"'), TextDelta(" oh"), never], growing(*ROME)
    )
    stream = client.stream_object("Rome?", response_type=City, repair=3)
    assert await stream.parsed() == City("Rome", 2800, ["a"])
    assert provider.requests[1].messages[-2].text == '{"name": "Rome" oh'
    assert provider.active == 0


async def test_it_is_asked_for_as_often_as_allowed() -> None:
    """
    Then the last error comes out, with all the answers.
    """
    provider, client = repairing(*[growing('{"name": "Rome"}')] * 3)
    stream = client.stream_object("Rome?", response_type=City, repair=2)
    with pytest.raises(StructuredOutputError) as caught:
        async for _ in stream:
            pass
    assert len(provider.requests) == len(caught.value.rounds) == 3
    assert len(stream.repairs) == 2
    assert caught.value.usage.output_tokens == 9
    assert stream.partial() == {"name": "Rome"}


async def test_not_everything_can_be_repaired() -> None:
    """
    A refusal would be one again.
    """
    provider, client = repairing([RefusalDelta("No."), END])
    stream = client.stream_object("Rome?", response_type=City, repair=2)
    with pytest.raises(StructuredOutputError):
        await stream.parsed()
    assert stream.repairs == ()
    assert len(provider.requests) == 1


def test_a_repair_that_is_no_number() -> None:
    """
    Said when it is called.
    """
    _, client = repairing()
    for repair in (-1, True, "1"):
        with pytest.raises(InvalidRequestError, match="repair must be"):
            client.stream_object("?", response_type=City, repair=repair)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="repair must be"):
        ObjectStream(client.stream, ChatRequest("Hi"), Expected(int), repair=-1)


async def test_left_while_it_is_repaired() -> None:
    """
    The connection of the second answer is released like that of the first.
    """
    # C1
    provider, client = repairing(growing("{}"), growing(*ROME))
    async with client.stream_object("?", response_type=City, repair=1) as stream:
        async for _ in stream:
            if stream.repairs:
                break
        assert provider.active == 1
    assert provider.active == 0
    with pytest.raises(StreamClosedError) as caught:
        await stream.parsed()
    assert caught.value.partial is not None
    assert caught.value.partial.text == ROME[0]


@virtual
async def test_one_deadline_for_all_of_it() -> None:
    """
    The *total* begins with the first pull, and what is repaired has the rest of it.
    """

    # D3
    async def slow(request: ChatRequest, call_next: Any) -> Any:
        await asyncio.sleep(4)
        async for chunk in call_next(request):
            yield chunk

    provider, client = repairing(growing("{}"), growing("{}"), growing(*ROME))
    stream = client.use(slow).stream_object(
        "?", response_type=City, repair=2, deadlines=Deadlines(total=7)
    )
    await asyncio.sleep(100)
    with pytest.raises(DeadlineError) as caught:
        await stream.parsed()
    assert caught.value.phase == "total"
    left = [request.deadlines for request in provider.requests]
    assert [limits and limits.limit("total") for limits in left] == [7, 3]
