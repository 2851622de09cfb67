"""Many requests at once, and many streams as one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator

import pytest
from attrs import define, field, frozen

from aichat import (
    ChatRequest,
    ChatStream,
    Client,
    ClosedError,
    ConfigError,
    InvalidRequestError,
    RateLimitError,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    StreamClosedError,
    StructuredOutputError,
    TextDelta,
    Usage,
    UsageUpdate,
    user,
)
from aichat._feed import Drained, Feed, Flow, Quiet, close
from aichat._many import MapResult, Progress, merge
from aichat.testing import FakeProvider, Simulator, reply
from aichat.types import FinishReason, Prompt

from .elsewhere import Elsewhere, acquired, leftovers
from .simulated import KEY, Target
from .transport.toys import now, virtual


@define
class Slow:
    """Answers *text* as ``"text!"``; a number takes that many seconds, ``bad`` fails."""

    name = "slow"
    active: int = 0
    most: int = 0
    asked: list[str] = field(factory=list)
    at: list[float] = field(factory=list)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        text = request.messages[-1].text
        self.asked.append(text)
        self.at.append(now())
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            word, _, seconds = text.partition(" ")
            await asyncio.sleep(float(seconds or 1))
            if word == "bad":
                raise RateLimitError("No.")
            if word == "worse":
                raise ZeroDivisionError
            yield TextDelta(f"{word}!")
            yield ResponseEnd(FinishReason.STOP)
        finally:
            self.active -= 1


def slow() -> tuple[Slow, Client]:
    provider = Slow()
    return provider, Client({"slow": provider}, model="slow:any")


def alone() -> bool:
    """Whether there is no task but the test."""
    return asyncio.all_tasks() == {asyncio.current_task()}


def texts(results: list[MapResult]) -> list[str]:
    return [result.response.text for result in results]


# -- map -----------------------------------------------------------------------------------


@virtual
async def test_as_they_complete() -> None:
    """The quick ones first, each with its place and its prompt."""
    _, client = slow()
    found = [r async for r in client.map(["a 3", "b 1", "c 2"])]
    assert texts(found) == ["b!", "c!", "a!"]
    assert [(r.index, r.prompt) for r in found] == [(1, "b 1"), (2, "c 2"), (0, "a 3")]
    assert now() == 3
    assert alone()


@virtual
async def test_in_their_order() -> None:
    """In the same time."""
    _, client = slow()
    found = [r async for r in client.map(["a 3", "b 1", "c 2"], ordered=True)]
    assert texts(found) == ["a!", "b!", "c!"]
    assert now() == 3


@virtual
async def test_no_more_than_so_many_at_once() -> None:
    """And no fewer, as long as there are any."""
    provider, client = slow()
    found = [r async for r in client.map((str(n) for n in range(100)), concurrency=7)]
    assert sorted(r.index for r in found) == list(range(100))
    assert provider.most == 7
    assert now() == 15


@virtual
async def test_a_slow_consumer_holds_it_up() -> None:
    """Requests are read at most *concurrency* ahead of it; twice that in order."""
    # C6
    for ordered, ahead in [(False, 5), (True, 10)]:
        provider, client = slow()
        read: list[str] = []

        def prompts(read: list[str] = read) -> Iterator[str]:
            for number in range(1_000_000):
                read.append(str(number))
                yield str(number)

        async with client.map(prompts(), concurrency=5, ordered=ordered) as results:
            taken = 0
            async for _ in results:
                taken += 1
                await asyncio.sleep(100)
                assert len(read) <= taken + ahead
                assert len(provider.asked) == len(read)
                if taken == 20:
                    break
        assert len(read) == 20 + ahead
        assert provider.active == 0
        assert alone()


@virtual
async def test_one_slow_answer_in_order() -> None:
    """Those behind it go on, as far as there is room."""
    provider, client = slow()
    prompts = ["first 100", *(f"{n} 1" for n in range(30))]
    found = [r async for r in client.map(prompts, concurrency=2, ordered=True)]
    assert [r.index for r in found] == list(range(31))
    assert provider.at[:4] == [0, 0, 1, 2]
    assert provider.at[4] == 100


@virtual
async def test_prompts_that_come_from_elsewhere() -> None:
    """An async generator is read one by one, and closed when the results are left."""
    closed: list[float] = []

    async def rows() -> AsyncIterator[str]:
        try:
            for number in range(1000):
                await asyncio.sleep(1)
                yield f"{number} 5"
        finally:
            closed.append(now())

    provider, client = slow()
    async with client.map(rows(), concurrency=3) as results:
        async for result in results:
            if result.index == 4:
                break
    assert closed == [now()]
    assert provider.active == 0
    assert alone()


@virtual
async def test_all_kinds_of_prompts() -> None:
    """Texts, messages, requests; with options for all of them."""
    provider = FakeProvider(["a", "b", "c"])
    client = Client({"fake": provider})
    prompts: list[Prompt] = ["Hi", [user("Hi")], ChatRequest("Hi", "fake:other")]
    found = [
        r async for r in client.map(prompts, model="fake:any", temperature=1, timeout=3)
    ]
    assert texts(found) == ["a", "b", "c"]
    assert {(r.model, r.temperature) for r in provider.requests} == {("fake:any", 1)}


@virtual
async def test_none_at_all() -> None:
    """No results."""
    _, client = slow()
    assert [r async for r in client.map([])] == []
    assert await client.complete_many(iter(())) == []


@virtual
async def test_the_first_error_ends_everything() -> None:
    """What is there comes first; the others are cancelled at once."""
    provider, client = slow()
    found = []
    with pytest.raises(RateLimitError) as caught:
        async for result in client.map(["a 1", "bad 2", "c 3", "d 4"], concurrency=3):
            found.append(result)
            await asyncio.sleep(2)
            assert provider.active == 0
    assert texts(found) == ["a!"]
    assert caught.value.context["index"] == 1
    # The fourth began when the first was over, and was cancelled with the third.
    assert provider.asked == ["a 1", "bad 2", "c 3", "d 4"]
    assert now() == 3
    assert alone()


@virtual
async def test_errors_as_values() -> None:
    """Of any kind; asking such a result for its response raises it."""
    _, client = slow()
    prompts = ["bad 1", "a 2", "worse 3", ""]
    found = [r async for r in client.map(prompts, errors="return", ordered=True)]
    kinds = [type(result.error) for result in found]
    assert kinds == [RateLimitError, type(None), ZeroDivisionError, InvalidRequestError]
    assert found[1].response.text == "a!"
    with pytest.raises(RateLimitError):
        _ = found[0].response
    assert "a 2" not in repr(found[1])


@virtual
async def test_other_errors_end_it_as_well() -> None:
    """Of the provider's, the prompts' and the progress's making, whatever errors are."""
    _, client = slow()

    def prompts() -> Iterator[str]:
        yield "a"
        raise KeyError("b")

    def progress(_: Progress) -> None:
        raise ValueError("full disk")

    with pytest.raises(ZeroDivisionError):
        await client.complete_many(["worse", "a 9"])
    with pytest.raises(KeyError):
        await client.complete_many(prompts(), errors="return")
    with pytest.raises(ValueError, match="full disk"):
        await client.complete_many(["a"], errors="return", on_progress=progress)
    assert alone()


@virtual
async def test_progress() -> None:
    """After each answer; the total where it is known."""
    told: list[Progress] = []
    _, client = slow()
    prompts = ["a 1", "bad 2", "c 3"]
    await client.complete_many(prompts, errors="return", on_progress=told.append)
    assert [(p.done, p.failed, p.running, p.total) for p in told] == [
        (1, 0, 2, 3),
        (2, 1, 1, 3),
        (3, 1, 0, 3),
    ]
    await client.complete_many(iter(["a"]), on_progress=told.append)
    assert told[-1].total is None


@virtual
async def test_many_in_a_list() -> None:
    """In order; answers, or with errors as values what became of each."""
    _, client = slow()
    answers = await client.complete_many(["a 2", "b 1"])
    assert [answer.text for answer in answers] == ["a!", "b!"]
    results = await client.complete_many(["a 2", "bad 1"], errors="return")
    assert [result.index for result in results] == [0, 1]
    assert isinstance(results[1].error, RateLimitError)


@pytest.mark.parametrize(
    "prompts", ["Hi", user("Hi"), ChatRequest("Hi"), {"a": "b"}, 3]
)
def test_one_request_is_not_many(prompts: object) -> None:
    """Said when it is called."""
    _, client = slow()
    with pytest.raises(InvalidRequestError, match="must be a list"):
        client.map(prompts)  # type: ignore[call-overload]


def test_options_that_make_no_sense() -> None:
    """Said when it is called."""
    _, client = slow()
    for concurrency in (0, 1.5, True):
        with pytest.raises(InvalidRequestError, match="concurrency"):
            client.map([], concurrency=concurrency)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="errors must be"):
        client.map([], errors="ignore")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="temperature"):
        client.map([], temprature=1)  # type: ignore[call-overload]


# -- with a type ---------------------------------------------------------------------------


@frozen
class Number:
    value: int


async def test_many_values() -> None:
    """Each is read into the type, and what does not fit is repaired or is an error."""
    said = ['{"value": 1}', '{"value": "x"}', '{"value": 2}', '{"value": "y"}']
    client = Client({"fake": FakeProvider(said)}, model="fake:m")
    found = [
        result
        async for result in client.map(
            ["a", "b", "c"],
            concurrency=1,
            errors="return",
            response_type=Number,
            repair=1,
        )
        if result.error is None
    ]
    assert [result.response.parsed for result in found] == [Number(1), Number(2)]
    fake = FakeProvider(['{"value": 3}', '{"value": "z"}'])
    client = Client({"fake": fake}, model="fake:m")
    results = await client.complete_many(
        ["a", "b"], concurrency=1, errors="return", response_type=Number
    )
    assert results[0].response.parsed == Number(3)
    assert isinstance(results[1].error, StructuredOutputError)
    client = Client({"fake": FakeProvider(['{"value": 3}'], repeat=True)})
    values = await client.complete_many(
        ["a", "b"], response_type=Number, model="fake:m", timeout=3
    )
    assert [each.parsed for each in values] == [Number(3)] * 2


def test_a_type_that_will_not_do() -> None:
    """Said when it is called, and not once for each request."""
    _, client = slow()
    with pytest.raises(ConfigError):
        client.map(["a"], response_type=object())
    with pytest.raises(InvalidRequestError, match="repair must be"):
        client.map(["a"], response_type=Number, repair=-1)
    with pytest.raises(TypeError, match="about a response_type"):
        client.map(["a"], repair=1)  # type: ignore[call-overload]


# -- leaving -------------------------------------------------------------------------------

Leave = Callable[[Flow[MapResult], int], Awaitable[None]]


async def by_break_in_a_context(results: Flow[MapResult], after: int) -> None:
    async with results:
        count = 0
        async for _ in results:
            count += 1
            if count > after:
                break


async def by_closing(results: Flow[MapResult], after: int) -> None:
    for _ in range(after):
        await anext(results)
    await results.aclose()
    await results.aclose()


async def by_an_error(results: Flow[MapResult], after: int) -> None:
    with pytest.raises(ZeroDivisionError):
        async with results:
            for _ in range(after):
                await anext(results)
            _ = 1 / 0


async def by_cancellation(results: Flow[MapResult], after: int) -> None:
    async def read() -> None:
        async with results:
            async for _ in results:
                pass

    task = asyncio.create_task(read())
    await asyncio.sleep(after * 0.37)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def by_timeout(results: Flow[MapResult], after: int) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after * 0.37):
            async for _ in results:
                pass
    # Not in a context: the generator has seen the cancellation.


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("after", range(12))
@pytest.mark.parametrize(
    "leave",
    [by_break_in_a_context, by_closing, by_an_error, by_cancellation, by_timeout],
)
@virtual
async def test_leaving_it(leave: Leave, after: int, ordered: bool) -> None:
    """At every point, in every way: no request goes on, no task is left."""
    # C1
    provider, client = slow()

    async def prompts() -> AsyncIterator[str]:
        number = 0
        while True:
            await asyncio.sleep(0.1)
            yield f"{number} {number % 3}"
            number += 1

    source = prompts()
    await leave(client.map(source, concurrency=4, ordered=ordered), after)
    assert provider.active == 0
    assert alone()
    assert not client._under_way
    if provider.asked:
        with pytest.raises(StopAsyncIteration):
            await anext(source)
    else:
        await source.aclose()  # type: ignore[attr-defined]


@virtual
async def test_a_plain_break() -> None:
    """Nothing refers to it any more: asyncio closes it, without the garbage collector."""
    # C1
    gc.disable()
    try:
        provider, client = slow()
        async for _ in client.map(str(n) for n in range(100)):
            break
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert provider.active == 0
        assert alone()
    finally:
        gc.enable()


@virtual
async def test_it_is_read_once() -> None:
    """A second loop would find it empty, and say nothing."""
    _, client = slow()
    results = client.map(["a"])
    async for _ in results:
        pass
    with pytest.raises(StreamClosedError):
        async for _ in results:
            pass
    unread = client.map(["a"])
    await unread.aclose()
    with pytest.raises(StreamClosedError):
        aiter(unread)


@virtual
async def test_closed_by_another_task() -> None:
    """Whoever waits for a result is told, and nothing goes on."""
    provider, client = slow()
    results = client.map(["a 100"])

    async def read() -> None:
        async for _ in results:
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(1)
    await results.aclose()
    assert provider.active == 0
    with pytest.raises(StreamClosedError, match="another task"):
        await task
    assert alone()


@virtual
async def test_the_client_is_closed_meanwhile() -> None:
    """What is under way ends with an error, and so does the whole."""
    # C4
    _, client = slow()

    async def read() -> None:
        async for _ in client.map(["a 100", "b 100"]):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(1)
    await client.aclose()
    with pytest.raises(ClosedError):
        await task
    assert alone()


@virtual
async def test_cancelled_again_while_it_leaves() -> None:
    """It still waits until all are over, and the cancellation comes out."""
    # C2
    over: list[str] = []

    class Reluctant(Slow):
        async def stream(
            self, request: ChatRequest
        ) -> AsyncGenerator[StreamChunk, None]:
            try:
                await asyncio.sleep(100)
                yield TextDelta("")
            finally:
                try:
                    await asyncio.sleep(5)
                finally:
                    over.append(request.messages[-1].text)

    client = Client({"slow": Reluctant()}, model="slow:any")

    async def read() -> None:
        await client.complete_many(["a", "b"])

    task = asyncio.create_task(read())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(over) == ["a", "b"]
    assert now() < 5
    assert alone()


async def test_over_a_real_connection() -> None:
    """The pool is shared, and a cancelled rest gives its connections back."""
    # C1
    target = Target("openai-chat", "openai-chat", "gpt-5.1")
    with Elsewhere(Simulator(api_keys=[KEY])) as there:
        async with target.client(there.server, max_connections=4) as client:
            answers = await client.complete_many(["Hi"] * 20, concurrency=8)
            assert all(answer.text for answer in answers)
            there.server.fail_next("stall", after=1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.complete_many(["Hi"] * 3)
            await there.there(there.server.idle())
            assert acquired(client) == 0
            assert not [each for each in leftovers() if isinstance(each, asyncio.Task)]


# -- merge ---------------------------------------------------------------------------------


def talker(text: str, seconds: float, count: int = 3) -> AsyncIterator[str]:
    async def talk() -> AsyncIterator[str]:
        for number in range(count):
            await asyncio.sleep(seconds)
            yield f"{text}{number}"

    return talk()


@virtual
async def test_streams_as_one() -> None:
    """Chunks as they arrive, each with where it is from."""
    a, b = talker("a", 2), talker("b", 2.5)
    found = [(now(), source is a, chunk) async for source, chunk in merge(a, b)]
    assert found == [
        (2, True, "a0"),
        (2.5, False, "b0"),
        (4, True, "a1"),
        (5, False, "b1"),
        (6, True, "a2"),
        (7.5, False, "b2"),
    ]
    assert alone()


@virtual
async def test_answers_as_one() -> None:
    """Of several models; each stream knows its request and what it folds to."""
    client = Client({"fake": FakeProvider(["One.", "Two."])})
    streams = [client.stream("Hi", model=f"fake:{name}") for name in "ab"]
    said: dict[str, str] = {"fake:a": "", "fake:b": ""}
    async with merge(*streams) as chunks:
        async for stream, chunk in chunks:
            if isinstance(chunk, TextDelta):
                said[stream.request.model] += chunk.text
    assert sorted(said.values()) == ["One.", "Two."]
    assert [(await s.response()).text for s in streams] == list(said.values())


@virtual
async def test_a_merge_keeps_backpressure() -> None:
    """Together they are two chunks each ahead of a slow consumer, at most."""
    # C6
    read = [0, 0]

    async def endless(index: int) -> AsyncIterator[int]:
        while True:
            read[index] += 1
            yield index

    async with merge(endless(0), endless(1)) as chunks:
        for taken in range(1, 50):
            await anext(chunks)
            await asyncio.sleep(1)
            assert sum(read) <= taken + 4
    # Neither was left out.
    assert min(read) >= 20
    assert alone()


@virtual
async def test_an_error_ends_a_merge() -> None:
    """After what came before it; the other streams are closed."""
    provider = FakeProvider([[TextDelta("a"), RateLimitError("No.")], "b c d"])
    client = Client({"fake": provider}, model="fake:any")
    closed: list[str] = []

    async def patient() -> AsyncIterator[StreamChunk]:
        try:
            await asyncio.sleep(100)
            yield TextDelta("never")
        finally:
            closed.append("patient")

    found = []
    with pytest.raises(RateLimitError):
        async for _, chunk in merge(client.stream("a"), patient()):
            found.append(chunk)
    assert found == [TextDelta("a")]
    assert closed == ["patient"]
    assert now() == 0
    assert alone()


@pytest.mark.parametrize("after", range(8))
@virtual
async def test_leaving_a_merge(after: int) -> None:
    """At every chunk: the streams are closed, no task is left."""
    # C1
    script: list[StreamChunk] = [
        ResponseStart(),
        TextDelta("a"),
        TextDelta("b"),
        UsageUpdate(Usage()),
        ResponseEnd(FinishReason.STOP),
    ]
    provider = FakeProvider([script, script])
    client = Client({"fake": provider}, model="fake:any")
    streams: list[ChatStream] = [client.stream("a"), client.stream("b")]
    async with merge(*streams) as chunks:
        for _ in range(after):
            await anext(chunks)
    assert provider.active == 0
    assert not client._under_way
    assert alone()


@virtual
async def test_streams_that_have_begun() -> None:
    """The rest of them; and they are closed even if the merge is left before it reads."""
    closed: list[int] = []

    async def begun(number: int) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(1)
            yield 2
        finally:
            closed.append(number)

    one, two = begun(1), begun(2)
    await anext(one)
    await anext(two)

    async def read() -> None:
        async for _ in merge(one, two):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert sorted(closed) == [1, 2]


@virtual
async def test_what_cannot_be_merged() -> None:
    """No stream, or the same twice; nothing at all is an empty stream."""
    stream = talker("a", 1)
    with pytest.raises(InvalidRequestError, match="twice"):
        merge(stream, stream)
    with pytest.raises(InvalidRequestError, match="a list is no stream"):
        merge([])  # type: ignore[call-overload]
    assert [pair async for pair in merge()] == []


# -- the feed ------------------------------------------------------------------------------


@virtual
async def test_a_quiet_feed() -> None:
    """Waiting too long changes nothing; a `TimeoutError` of a task's own is an error."""
    feed = Feed[int](1)

    async def work() -> None:
        await asyncio.sleep(5)
        await feed.put(1)
        raise TimeoutError("mine")

    feed.spawn(work())
    with pytest.raises(Quiet):
        await feed.take(2)
    assert now() == 2
    assert await feed.take(5) == 1
    with pytest.raises(TimeoutError, match="mine"):
        await feed.take(5)
    await feed.aclose()


@virtual
async def test_a_task_that_somebody_else_cancels() -> None:
    """The consumer does not wait for ever."""
    feed = Feed[int](1)
    feed.spawn(asyncio.sleep(100))
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    asyncio.get_running_loop().call_later(1, task.cancel)
    with pytest.raises(ClosedError, match="Somebody else"):
        await feed.take()


@virtual
async def test_all_that_is_there() -> None:
    """Taken at once; the places are free again."""
    feed = Feed[int](3)

    async def work() -> None:
        for number in range(6):
            await feed.put(number)

    feed.spawn(work())
    assert [await feed.take(), *feed.take_all()] == [0, 1, 2]
    assert [await feed.take(), *feed.take_all()] == [3, 4, 5]
    assert feed.take_all() == []
    with pytest.raises(Drained):
        await feed.take()


async def test_closing_what_has_nothing_to_close() -> None:
    """A list is left alone."""
    await close([])


def test_over_several_loops() -> None:
    """One client, one loop after the other."""
    # C5
    client = Client({"fake": FakeProvider([reply("a")], repeat=True)}, model="fake:any")
    for _ in range(2):
        answers = asyncio.run(client.complete_many(["a"] * 5))
        assert len(answers) == 5
