"""
Leaving a stream: everywhere, in every way, before every dialect.

The whole table: each dialect, each place in an answer (0 is before its first chunk), each way
to leave there; once while the reader waits for more, and once while it has a chunk in hand.
The simulator runs in a thread of its own, so all the tasks here are the client's; and the
garbage collector is off, so nothing may depend on it.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, TypeAlias

import anyio
import pytest
from attrs import define, field

from aichat import (
    ChatRequest,
    ChatStream,
    Client,
    ClosedError,
    StreamChunk,
    StreamClosedError,
    TextDelta,
)
from aichat.middleware import Handler, Middleware
from aichat.middleware._cache import cache
from aichat.middleware._circuit_breaker import circuit_breaker
from aichat.middleware._fallback import fallback
from aichat.middleware._hedge import hedge
from aichat.middleware._logging import logging
from aichat.middleware._rate_limit import rate_limit
from aichat.middleware._retry import retry
from aichat.testing import Simulator
from aichat.transport import RateLimit

from .elsewhere import Elsewhere, acquired, cleared, pooled, sockets
from .simulated import KEY, TARGETS, Target

#: One per dialect: how a connection is left does not depend on the model.
ONES = tuple({target.dialect: target for target in TARGETS}.values())
#: Nothing here takes as long.
PATIENCE = 5.0
#: What is promised; a busy machine may be late now and then, but not on the whole.
PROMPTLY = 0.1

Sim: TypeAlias = Elsewhere[Simulator]


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with Elsewhere(Simulator(api_keys=[KEY])) as there:
        yield there


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """What is there already is not looked at again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Nothing is freed by the garbage collector; and when it comes, nobody complains."""
    unraisable: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    gc.disable()
    try:
        yield
        gc.collect()
    finally:
        gc.enable()
        sys.unraisablehook = before
    assert not unraisable


def strict(target: Target, sim: Sim) -> Client:
    """With one connection, and a breaker that does not forgive: so a leak is an error."""
    return target.client(
        sim.server,
        max_connections=1,
        max_retries=2,
        circuit_breaker=True,
        circuit_breaker_threshold=1,
        rate_limit=10_000,
    )


def everything(target: Target) -> list[Middleware]:
    """All the middleware that may be left, in the usual order."""
    return [
        logging(),
        cache(),
        fallback(f"{target.provider}:another"),
        retry(),
        hedge(60.0),
        circuit_breaker(threshold=1),
        rate_limit(RateLimit.per_second(10_000)),
    ]


def options(target: Target) -> dict[str, Any]:
    """What makes for a short answer. OpenAI's Responses do not go below 16."""
    return {"max_tokens": 16 if target.dialect in ("openai", "azure-responses") else 6}


@define
class Reader:
    """Reads a stream up to a place, and says when it is there."""

    stream: ChatStream | None
    #: How many chunks to take before.
    place: int
    #: Whether to stay there with a chunk in hand, or to go on and wait for the next one.
    stays: bool
    #: Whether to read in an ``async with``, or in a plain loop that alone has the stream.
    within: bool = False
    #: What to wait for besides.
    before: Callable[[], Awaitable[None]] | None = None
    taken: int = 0
    there: asyncio.Event = field(factory=asyncio.Event)
    on: asyncio.Event = field(factory=asyncio.Event)

    async def read(self) -> None:
        if self.place == 0:
            self.there.set()
        if self.within:
            async with self.pop() as stream:
                async for _ in stream:
                    await self.take()
        else:
            async for _ in self.pop():
                await self.take()

    def pop(self) -> ChatStream:
        """The stream, which from here on is in nobody else's hands."""
        stream, self.stream = self.stream, None
        assert stream is not None
        return stream

    async def take(self) -> None:
        self.taken += 1
        if self.taken == self.place:
            self.there.set()
            if self.stays:
                await self.on.wait()

    async def arrived(self) -> None:
        """Wait until it is where it shall be left."""
        await self.there.wait()
        if self.before is not None:
            await self.before()
        # It may have to go on to where it waits.
        await asyncio.sleep(0)


# --- ways to be made to leave -----------------------------------------------------------


async def cancelled(reader: Reader, _: Client) -> None:
    """The task is cancelled."""
    task = asyncio.create_task(reader.read())
    await reader.arrived()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def out_of_time(reader: Reader, _: Client) -> None:
    """An `asyncio.timeout` expires."""
    scope = asyncio.timeout(None)

    async def limited() -> None:
        async with scope:
            await reader.read()

    task = asyncio.create_task(limited())
    await reader.arrived()
    scope.reschedule(0)
    with pytest.raises(TimeoutError):
        await task
    assert task.cancelling() == 0


async def scope_cancelled(reader: Reader, _: Client) -> None:
    """A cancel scope of anyio's is cancelled."""
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            await reader.arrived()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            await reader.read()
    assert scope.cancelled_caught


async def sibling_failed(reader: Reader, _: Client) -> None:
    """Another task of its group raises."""

    async def fail() -> None:
        await reader.arrived()
        raise LookupError("mine")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(reader.read())
            group.create_task(fail())
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


async def stream_closed(reader: Reader, _: Client) -> None:
    """Another task closes the stream. Whoever waits for a chunk is told so."""
    stream = reader.stream
    assert stream is not None
    task = asyncio.create_task(reader.read())
    await reader.arrived()
    await stream.aclose()
    await ended(reader, task, StreamClosedError)


async def client_closed(reader: Reader, client: Client) -> None:
    """Another task closes the client."""
    task = asyncio.create_task(reader.read())
    await reader.arrived()
    await client.aclose()
    await ended(reader, task, ClosedError)


async def ended(
    reader: Reader, task: asyncio.Task[None], error: type[ClosedError]
) -> None:
    if reader.stays:
        # Nothing is left already now, whatever its reader does with the chunk in hand.
        await cleared(task)
        reader.on.set()
    with pytest.raises(error) if not reader.stays else suppress(ClosedError):
        await task
    assert task.cancelling() == 0


MADE_TO: tuple[Callable[[Reader, Client], Awaitable[None]], ...] = (
    cancelled,
    out_of_time,
    scope_cancelled,
    sibling_failed,
    stream_closed,
    client_closed,
)


# --- ways to leave by oneself -----------------------------------------------------------


class Mine(Exception):
    """The consumer's own."""


async def breaks(stream: list[ChatStream], place: int) -> None:
    """`break` out of a plain loop, where nothing else refers to the stream."""
    taken = 0
    async for _ in stream.pop():
        taken += 1
        if taken == place:
            break


async def breaks_within(stream: list[ChatStream], place: int) -> None:
    """`break` in an ``async with``."""
    taken = 0
    async with stream.pop() as held:
        async for _ in held:
            taken += 1
            if taken == place:
                break
        else:
            raise AssertionError("There is no such place.")


async def raises(stream: list[ChatStream], place: int) -> None:
    """An exception in the body of a plain loop."""
    with suppress(Mine):
        taken = 0
        async for _ in stream.pop():
            taken += 1
            if taken == place:
                raise Mine


async def raises_within(stream: list[ChatStream], place: int) -> None:
    """An exception in an ``async with``, which passes unchanged."""
    with pytest.raises(Mine) as caught:
        taken = 0
        async with stream.pop() as held:
            async for _ in held:
                taken += 1
                if taken == place:
                    raise Mine
    assert caught.value.__context__ is None


async def closes(stream: list[ChatStream], place: int) -> None:
    """`aclose`, twice; and pulled by hand."""
    held = stream.pop()
    for _ in range(place):
        await anext(held)
    await held.aclose()
    await held.aclose()
    with pytest.raises(StreamClosedError):
        aiter(held)


async def leaves_the_text(stream: list[ChatStream], place: int) -> None:
    """The words alone, left at the one that is the *place*th chunk or comes after it."""
    held = stream.pop()
    async with aclosing(held.text()) as words:
        async for _ in words:
            if len(held._record.chunks) >= place:
                break


BY_ONESELF: tuple[Callable[[list[ChatStream], int], Awaitable[None]], ...] = (
    breaks,
    breaks_within,
    raises,
    raises_within,
    closes,
    leaves_the_text,
)


# --- and what has to be so afterwards ---------------------------------------------------


@define
class Table:
    """The places of one dialect's answer, and what is checked at each."""

    sim: Sim
    target: Target
    client: Client
    make: Callable[[], Client]
    #: The number of the chunk that is the n-th word; the 0th comes before all.
    words: list[int] = field(factory=lambda: [0])
    length: int = 0
    asked: int = 0
    open: int | None = None
    late: list[float] = field(factory=list)

    @classmethod
    async def of(cls, sim: Sim, target: Target, make: Callable[[], Client]) -> Table:
        table = cls(sim, target, make(), make)
        async for chunk in table.stream():
            table.length += 1
            if isinstance(chunk, TextDelta):
                table.words.append(table.length)
        await table.settled()
        table.open = sockets()
        return table

    def stream(self) -> ChatStream:
        return self.client.stream(self.prompt(), **options(self.target))

    def prompt(self) -> str:
        """A new one each time, as long as the others: a cache knows the old ones."""
        self.asked += 1
        return f"Hi {self.asked:05}"

    def waits(self) -> Iterator[int]:
        """The places at which a server that stalls can make a reader wait for more."""
        for word, place in enumerate(self.words):
            self.begin(word)
            yield place

    def holds(self) -> Iterator[int]:
        """Every place at which there is a chunk in hand."""
        for place in range(1, self.length + 1):
            # As long as there are words to come, the server is not done yet.
            word = sum(place >= each for each in self.words) - 1
            self.begin(max(word, 1) if place <= self.words[-1] else None)
            yield place

    def begin(self, stall: int | None) -> None:
        self.sim.server.clear()
        self.stalls = stall is not None
        if stall is not None:
            self.sim.server.fail_next("stall", after=stall)

    stalls: bool = False

    async def reached(self) -> None:
        """Wait until the server has the request."""
        # It is in another thread, and has no event for that.
        while not self.sim.server.request_count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def settled(self) -> None:
        await self.sim.there(self.sim.server.idle())

    async def check(self, place: int) -> None:
        """The server has seen it, nothing is left, and the next one is served."""
        began = time.perf_counter()
        await self.settled()
        self.late.append(time.perf_counter() - began)
        await cleared()
        if self.stalls:
            assert self.sim.server.disconnects == 1, "the server did not see it"
        assert acquired(self.client) == 0, "a connection is still in use"
        if not self.client._closed:
            answer = await self.client.complete(self.prompt(), **options(self.target))
            assert answer.text
        else:
            assert pooled(self.client) == 0
            with pytest.raises(ClosedError):
                await self.client.complete(self.prompt())
            self.client = self.make()
            await self.client.complete(self.prompt(), **options(self.target))
        await self.settled()
        await cleared()
        assert (acquired(self.client), pooled(self.client)) == (0, 1)
        assert sockets() == self.open, "a socket is still open"

    async def done(self) -> None:
        await self.client.aclose()
        assert not self.late or statistics.median(self.late) < PROMPTLY


#: Middleware knows no dialects: two of them will do.
CASES = [
    *(pytest.param((each, False), id=each.dialect) for each in ONES),
    *(
        pytest.param((each, True), id=f"{each.dialect}-stacked")
        for each in ONES
        if each.dialect in ("anthropic", "ollama")
    ),
]


@pytest.fixture(params=CASES)
async def table(request: pytest.FixtureRequest, sim: Sim) -> AsyncIterator[Table]:
    target: Target
    stacked: bool
    target, stacked = request.param

    def make() -> Client:
        client = strict(target, sim)
        return client.use(*reversed(everything(target))) if stacked else client

    found = await Table.of(sim, target, make)
    yield found
    await found.done()


@asynccontextmanager
async def at(place: int) -> AsyncIterator[None]:
    """Say in a failure where it was; nothing takes for ever."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except BaseException as error:
        error.add_note(f"after {place} chunks")
        raise


@pytest.mark.parametrize("way", MADE_TO)
async def test_leaving_while_waiting(
    table: Table, way: Callable[[Reader, Client], Awaitable[None]]
) -> None:
    """Whoever waits for a chunk and is made to leave leaves nothing behind."""
    # C1, C2, C4, B1
    for place in table.waits():
        async with at(place):
            reader = Reader(table.stream(), place, stays=False, before=table.reached)
            await way(reader, table.client)
            assert reader.taken == place
            await table.check(place)


@pytest.mark.parametrize("within", [False, True], ids=["plain", "within"])
@pytest.mark.parametrize("way", MADE_TO)
async def test_leaving_with_a_chunk_in_hand(
    table: Table, way: Callable[[Reader, Client], Awaitable[None]], within: bool
) -> None:
    """Whoever is made to leave while at work on a chunk leaves nothing behind either."""
    # C1, C2, C4
    for place in table.holds():
        async with at(place):
            reader = Reader(table.stream(), place, stays=True, within=within)
            await way(reader, table.client)
            assert reader.taken >= place
            await table.check(place)


@pytest.mark.parametrize("way", BY_ONESELF)
async def test_leaving_by_oneself(
    table: Table, way: Callable[[list[ChatStream], int], Awaitable[None]]
) -> None:
    """Whoever has had enough leaves nothing behind."""
    # C1
    for place in table.holds():
        async with at(place):
            # In a list, so that the way alone refers to it.
            await way([table.stream()], place)
            await table.check(place)


@pytest.mark.parametrize("call", ["complete", "response", "text", "anext"])
async def test_cancelling_a_call_for_the_whole(table: Table, call: str) -> None:
    """Whoever awaits the whole answer may be cancelled at every place of it as well."""
    # C1, C2
    for place in table.waits():
        async with at(place):
            here = asyncio.Event()

            async def counting(
                request: ChatRequest,
                call_next: Handler,
                place: int = place,
                here: asyncio.Event = here,
            ) -> AsyncGenerator[StreamChunk, None]:
                async for chunk in call_next(request):
                    place -= 1
                    if place <= 0:
                        here.set()
                    yield chunk

            task = asyncio.create_task(
                whole(
                    table.client.use(counting),
                    call,
                    table.prompt(),
                    options(table.target),
                )
            )
            await table.reached()
            if place:
                await here.wait()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await table.check(place)


async def whole(
    client: Client, call: str, prompt: str, options: dict[str, Any]
) -> None:
    match call:
        case "complete":
            await client.complete(prompt, **options)
        case "response":
            await client.stream(prompt, **options).response()
        case "text":
            async for _ in client.stream(prompt, **options).text():
                pass
        case _:
            stream = client.stream(prompt, **options)
            while await anext(stream, None) is not None:
                pass


async def test_leaving_before_anything_was_sent(table: Table) -> None:
    """A stream that was never pulled, or cancelled in the same breath, sends nothing."""
    # C1
    table.begin(None)
    await table.stream().aclose()
    async with table.stream():
        pass
    task = asyncio.create_task(table.stream().response())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cleared()
    assert table.sim.server.request_count == 0


async def test_leaving_turn_by_turn(table: Table) -> None:
    """Cancelled after any number of turns of the loop: connecting, sending, waiting, reading."""
    # C1, C2
    for turns in range(40):
        table.begin(None)
        async with at(turns):
            task = asyncio.create_task(table.stream().response())
            for _ in range(turns):
                await asyncio.sleep(0)
            if turns % 2:
                # So that a connection has to be made, too.
                await table.client.aclose()
                table.client = table.make()
            task.cancel()
            with suppress(asyncio.CancelledError, ClosedError):
                await task
            await table.check(turns)
