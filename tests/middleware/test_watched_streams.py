"""Watching from beside a stream: who is told of what, when, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import Final
from weakref import ref

import pytest
from attrs import define, field

from aichat import (
    ChatRequest,
    Client,
    ClosedError,
    FinishReason,
    ResponseEnd,
    ResponseStart,
    ServerError,
    StreamChunk,
    StreamClosedError,
    TextDelta,
    Usage,
    UsageUpdate,
)
from aichat.middleware import Handler, Middleware
from aichat.middleware._compose import compose
from aichat.middleware._watching import Watcher, outermost_watchers
from aichat.testing import FakeProvider, reply
from aichat.testing._fake import Reply

REQUEST: Final = ChatRequest("Hi", "fake:m")


@define(eq=False)
class Spy(Watcher):
    """Writes down what it is told."""

    name: str = "spy"
    #: Shared by several, where their order matters.
    log: list[str] = field(factory=list)
    seen: list[StreamChunk] = field(factory=list)
    #: How many chunks it was told of each time.
    batches: list[int] = field(factory=list)
    errors: list[type[BaseException] | None] = field(factory=list)
    breaks: str = ""
    inside: bool = False
    quiet: bool = False

    def watch(self, request: ChatRequest) -> Spy | None:
        self._break("watch")
        self.log.append(f"{self.name} begins")
        return None if self.quiet else self

    @contextmanager
    def around(self) -> Generator[None, None, None]:
        assert not self.inside
        self.inside = True
        self.log.append(f"into {self.name}")
        try:
            yield
        finally:
            self.inside = False
            self.log.append(f"out of {self.name}")

    def note(self, chunks: Sequence[StreamChunk]) -> None:
        self._break("note")
        self.seen += chunks
        self.batches.append(len(chunks))

    def ended(self, error: BaseException | None) -> None:
        self._break("ended")
        self.log.append(f"{self.name} ends")
        self.errors.append(None if error is None else type(error))

    def _break(self, where: str) -> None:
        if self.breaks == where:
            raise ZeroDivisionError(where)


async def plain(
    request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    """Makes whoever stands within it one in the midst."""
    async for chunk in call_next(request):
        yield chunk


def client_of(*layers: Middleware, replies: Sequence[Reply]) -> Client:
    return Client({"fake": FakeProvider(replies)}, model="fake:m", middleware=layers)


def places(spy: Spy) -> list[tuple[Middleware, ...]]:
    """Around everything, and in the midst."""
    return [(spy,), (plain, spy)]


END: Final = ResponseEnd(FinishReason.STOP)
LONG: Final = tuple(TextDelta(str(n)) for n in range(2500))


@pytest.mark.parametrize("place", [0, 1], ids=["outermost", "midst"])
async def test_everything_is_told_once_and_in_order(place: int) -> None:
    """However it is cut into batches."""
    spy = Spy()
    chunks: list[StreamChunk] = [ResponseStart("1"), *LONG, END]
    client = client_of(*places(spy)[place], replies=[chunks])
    read = [chunk async for chunk in client.stream("Hi")]
    assert spy.seen == read == chunks
    # One by one at first, for things may happen then; afterwards many at a time.
    assert spy.batches[:2] == [1, 1]
    assert len(spy.batches) < 20
    assert spy.errors == [None]


@pytest.mark.parametrize("place", [0, 1], ids=["outermost", "midst"])
async def test_the_end_is_told_at_once(place: int) -> None:
    """Its time counts, and not when the reader comes back."""
    spy = Spy()
    client = client_of(*places(spy)[place], replies=[reply("a b c")])
    async with client.stream("Hi") as stream:
        async for chunk in stream:
            told = bool(spy.seen) and isinstance(spy.seen[-1], ResponseEnd)
            assert told is isinstance(chunk, ResponseEnd)


@pytest.mark.parametrize("place", [0, 1], ids=["outermost", "midst"])
async def test_around_is_for_the_pulls_before_output(place: int) -> None:
    """Never across a yield, and not at all when there is output."""  # O2
    spy = Spy()
    chunks: list[StreamChunk] = [ResponseStart("1"), *LONG[:5], END]
    client = client_of(*places(spy)[place], replies=[chunks])
    async for _ in client.stream("Hi"):
        assert not spy.inside
    assert spy.log.count("into spy") == 2


async def test_outer_ones_are_around_inner_ones() -> None:
    """What an inner one does, an outer one may take for its own: lines know their span."""
    log = list[str]()
    outer, inner = (Spy(name, log) for name in ("outer", "inner"))
    client = client_of(outer, inner, replies=["Hi"])
    await client.complete("Hi")
    pull = ["into outer", "into inner", "out of inner", "out of outer"]
    assert log == [
        "outer begins",
        "into outer",
        "inner begins",
        "out of outer",
        *pull * (len(log) // 4 - 2),
        "into outer",
        "inner ends",
        "out of outer",
        "outer ends",
    ]


async def test_one_who_does_not_want_to_know() -> None:
    """Is asked for each call, and told nothing; the others are."""
    log = list[str]()
    quiet, spy = Spy("quiet", log, quiet=True), Spy("spy", log)
    await client_of(quiet, spy, replies=["Hi"]).complete("Hi")
    assert log[:2] == ["quiet begins", "spy begins"]
    assert not quiet.seen
    assert spy.errors == [None]
    alone = Spy(quiet=True)
    await client_of(alone, replies=["Hi"]).complete("Hi")
    assert alone.log == ["spy begins"]


@pytest.mark.parametrize("place", [0, 1], ids=["outermost", "midst"])
async def test_an_error_is_told(place: int) -> None:
    """With what came before it."""
    spy = Spy()
    half: Reply = [*LONG[:5], ServerError("Gone.")]
    with pytest.raises(ServerError):
        await client_of(*places(spy)[place], replies=[half]).complete("Hi")
    assert spy.errors == [ServerError]
    assert spy.seen == list(LONG[:5])


@pytest.mark.parametrize("place", [0, 1], ids=["outermost", "midst"])
@pytest.mark.parametrize("read", [1, 3])
async def test_a_stream_that_is_left(read: int, place: int) -> None:
    """What was handed out is told of."""
    spy = Spy()
    client = client_of(*places(spy)[place], replies=[[*LONG[:5]]])
    async with client.stream("Hi") as stream:
        for _ in range(read):
            await anext(stream)
    assert spy.errors == [GeneratorExit]
    assert spy.seen == list(LONG[:read])


async def test_a_stream_that_is_closed_by_another_task() -> None:
    """That is leaving as well, and no error."""  # C1
    spy = Spy()
    stream = client_of(spy, replies=[[*LONG[:5]]]).stream("Hi")
    going_on = asyncio.Event()

    async def read() -> None:
        await anext(stream)
        await going_on.wait()
        await anext(stream)

    reader = asyncio.create_task(read())
    while not spy.seen:  # noqa: ASYNC110 -- it has no event for that
        await asyncio.sleep(0)
    await stream.aclose()
    assert spy.errors == [GeneratorExit]
    going_on.set()
    with pytest.raises(StreamClosedError):
        await reader


async def test_a_stream_that_is_cancelled() -> None:
    """Told as what it is, and passed on."""  # C2
    spy = Spy()

    async def forever(_: ChatRequest, __: Handler) -> AsyncGenerator[StreamChunk, None]:
        await asyncio.Event().wait()
        yield LONG[0]

    task = asyncio.create_task(client_of(spy, forever, replies=[]).complete("Hi"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert spy.errors == [asyncio.CancelledError]


async def test_looking_at_what_there_is_changes_nothing() -> None:
    """`partial` folds chunks, and lets go of them; they are told of first, and once."""
    spy = Spy()
    stream = client_of(spy, replies=[[*LONG[:5], END]]).stream("Hi")
    async with stream:
        async for _ in stream:
            stream.partial()
    assert spy.seen == [*LONG[:5], END]
    assert (await stream.response()).text == "01234"


@define(eq=False)
class Forgetful(Spy):
    """Keeps nothing."""

    def note(self, chunks: Sequence[StreamChunk]) -> None:
        self.batches.append(len(chunks))


@pytest.mark.parametrize("place", [0, 1], ids=["outermost", "midst"])
async def test_an_answer_that_never_says_anything(place: int) -> None:
    """Whoever sends nothing but usage, for ever, fills no memory."""  # I1
    spy = Forgetful()
    held: list[ref[StreamChunk]] = []

    async def endless(_: ChatRequest, __: Handler) -> AsyncGenerator[StreamChunk, None]:
        for n in range(3000):
            chunk = UsageUpdate(Usage(input_tokens=n))
            held.append(ref(chunk))
            yield chunk

    async with client_of(*places(spy)[place], endless, replies=[]).stream(
        "Hi"
    ) as stream:
        async for _ in stream:
            pass
        del _
    assert sum(chunk() is not None for chunk in held) <= 1001
    assert sum(spy.batches) == 3000


async def test_the_midst_keeps_nothing_that_was_told() -> None:
    """Nobody else needs it there."""  # I1
    held: list[ref[StreamChunk]] = []

    async def endless(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        for n in range(3000):
            chunk = UsageUpdate(Usage(input_tokens=n))
            held.append(ref(chunk))
            yield chunk

    most = 0
    async with aclosing(compose([Forgetful()], endless)(REQUEST)) as chunks:
        async for _ in chunks:
            most = max(most, sum(chunk() is not None for chunk in held[-50:]))
    assert most <= 3


async def test_nothing_is_kept_of_a_call_that_is_over() -> None:
    """A stream may be kept for its response; whoever watched it knows the prompt."""
    stream = client_of(Spy(), replies=["Hi"]).stream("Hi")
    await stream.response()
    assert not stream._record.watching._watches


async def test_a_client_that_is_closed() -> None:
    """What is refused before anything is sent is seen as well."""
    spy = Spy()
    client = client_of(spy, replies=[])
    await client.aclose()
    with pytest.raises(ClosedError):
        await client.complete("Hi")
    assert spy.errors == [ClosedError]


@pytest.mark.parametrize("place", [0, 1], ids=["outermost", "midst"])
@pytest.mark.parametrize("where", ["watch", "note", "ended"])
async def test_one_who_raises_breaks_nothing(
    where: str, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the others are told all the same."""
    other, spy = Spy(), Spy(breaks=where)
    client = client_of(*places(spy)[place], other, replies=["Hi you"])
    assert (await client.complete("Hi")).text == "Hi you"
    assert other.errors == [None]
    assert "ZeroDivisionError" in caplog.text


async def test_who_opens_closes() -> None:
    """In the midst as well, when the stream is left."""  # C1
    left = list[str]()

    async def answer(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        try:
            for chunk in LONG:
                yield chunk
        finally:
            left.append("answer")

    spy = Spy(log=left)
    async with aclosing(compose([spy], answer)(REQUEST)) as chunks:
        async for _ in chunks:
            break
    assert left[-2:] == ["answer", "spy ends"]


def test_only_those_around_everything_are_parted() -> None:
    """One behind another layer does not see what that one does alone."""
    one, two, three = Spy(), Spy(), Spy()
    assert outermost_watchers([one, two, plain, three]) == (
        (one, two),
        [plain, three],
    )
    assert outermost_watchers([plain, one]) == ((), [plain, one])
    assert outermost_watchers([]) == ((), [])
