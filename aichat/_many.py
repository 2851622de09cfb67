"""
Many requests at once, and many streams as one.

Both work ahead of their consumer by a bounded number of answers or chunks, and leave no task
when they are left.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sized,
)
from contextlib import AsyncExitStack
from typing import (
    Any,
    Final,
    Generic,
    Literal,
    NoReturn,
    TypeAlias,
    final,
    overload,
)

from attrs import define, field, frozen
from typing_extensions import TypeVar

from ._feed import Drained, Feed, Flow, close
from ._stream import ChatStream
from .errors import AIChatError, InvalidRequestError
from .types import ChatRequest, ChatResponse, Message, Prompt, StreamChunk

__all__ = ["MapResult", "OnError", "Progress", "Prompts", "map_prompts", "merge"]

T = TypeVar("T")
#: What requests are answered with.
R_co = TypeVar("R_co", bound=ChatResponse, default=ChatResponse, covariant=True)

#: As many as one likes: a list, a generator, rows that come from elsewhere.
Prompts: TypeAlias = Iterable[Prompt] | AsyncIterable[Prompt]
#: What an error does: it ends everything, or it is a result.
OnError: TypeAlias = Literal["raise", "return"]


@final
@frozen
class MapResult(Generic[R_co]):
    """What became of one of many requests."""

    #: The place of the request among them, from 0.
    index: int
    #: What was asked, as it was given.
    prompt: Prompt = field(repr=False)
    _response: R_co | None = field(repr=False)
    #: What went wrong, with ``errors="return"``; ``None`` for an answer.
    error: Exception | None = None

    @property
    def response(self) -> R_co:
        """The answer. Raises `error` if there is none."""
        if self._response is None:
            assert self.error is not None
            raise self.error
        return self._response


@final
@frozen(kw_only=True)
class Progress:
    """How far it is, each time that a request is over."""

    #: Over, the failed ones among them.
    done: int
    failed: int
    #: Read, and not over yet.
    running: int
    #: How many there are, where the requests came in something that has a length.
    total: int | None


def map_prompts(
    ask: Callable[[Prompt], Awaitable[ChatResponse]],
    prompts: Prompts,
    *,
    concurrency: int,
    ordered: bool,
    errors: OnError,
    on_progress: Callable[[Progress], object] | None,
) -> Flow[MapResult]:
    """*ask* all *prompts*; see `Client.map`."""
    _check(prompts, concurrency, errors)
    # In order, a slow answer holds those behind it back: they need places of their own, or
    # one such answer would stop everything.
    feed = Feed[MapResult](concurrency * 2 if ordered else concurrency)
    total = len(prompts) if isinstance(prompts, Sized) else None
    books = _Books(total, on_progress)
    job = _Job(feed, ask, prompts, concurrency, ordered, errors, books)
    return Flow(feed, job.results())


def _check(prompts: object, concurrency: object, errors: object) -> None:
    if isinstance(prompts, (str, Message, ChatRequest, Mapping)) or not isinstance(
        prompts, (Iterable, AsyncIterable)
    ):
        kind = type(prompts).__name__
        _refuse(f"The requests must be a list or another iterable, not a {kind}.")
    if not isinstance(concurrency, int) or concurrency < 1 or concurrency is True:
        _refuse(f"concurrency must be a whole number, 1 or more; got {concurrency!r}.")
    if errors not in ("raise", "return"):
        _refuse(f"errors must be 'raise' or 'return', got {errors!r}.")


@define
class _Books:
    """Who counts, and whom it is told."""

    total: int | None
    tell: Callable[[Progress], object] | None
    begun: int = 0
    done: int = 0
    failed: int = 0

    def enter(self, error: Exception | None) -> None:
        self.done += 1
        self.failed += error is not None
        if self.tell is not None:
            running = self.begun - self.done
            self.tell(
                Progress(
                    done=self.done,
                    failed=self.failed,
                    running=running,
                    total=self.total,
                )
            )


@final
@define(eq=False)
class _Job:
    """The workers of one `Client.map`, and what they share."""

    feed: Feed[MapResult]
    ask: Callable[[Prompt], Awaitable[ChatResponse]]
    prompts: Prompts
    concurrency: int
    ordered: bool
    errors: OnError
    books: _Books
    #: One at a time reads the prompts.
    turn: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    exhausted: bool = field(default=False, init=False)
    #: Answers that wait for an earlier one.
    early: dict[int, MapResult] = field(factory=dict, init=False)
    next_out: int = field(default=0, init=False)

    async def results(self) -> AsyncGenerator[MapResult, None]:
        source = _each(self.prompts)
        async with AsyncExitStack() as closing:
            # Last the prompts: a worker may be reading them.
            closing.push_async_callback(close, self.prompts)
            closing.push_async_callback(source.aclose)
            closing.push_async_callback(self.feed.aclose)
            self.feed.spawn(self.work(source))
            while True:
                try:
                    result = await self.feed.take()
                except Drained:
                    return
                yield result  # noqa: ASYNC119 -- owning the tasks is the point

    async def work(self, source: AsyncGenerator[Prompt, None]) -> None:
        """Ask one after the other, and get help as long as there is more to ask."""
        while True:
            async with self.turn:
                if self.exhausted:
                    return
                await self.feed.reserve()
                prompt = await anext(source, _END)
                if prompt is _END:
                    self.exhausted = True
                    return
                index = self.books.begun
                self.books.begun += 1
            if self.feed.workers < self.concurrency:
                self.feed.spawn(self.work(source))
            result = await self.one(index, prompt)
            self.books.enter(result.error)
            self.hand_out(result)

    async def one(self, index: int, prompt: Prompt) -> MapResult:
        try:
            return MapResult(index, prompt, await self.ask(prompt))
        except Exception as error:
            if self.errors == "return":
                return MapResult(index, prompt, None, error)
            if isinstance(error, AIChatError):
                error.context.setdefault("index", index)
            raise

    def hand_out(self, result: MapResult) -> None:
        if not self.ordered:
            self.feed.add(result)
            return
        self.early[result.index] = result
        while (due := self.early.pop(self.next_out, None)) is not None:
            self.next_out += 1
            self.feed.add(due)


_END: Final = ChatRequest("the end")


async def _each(prompts: Prompts) -> AsyncGenerator[Prompt, None]:
    """Read them one by one, whatever they come in."""
    if isinstance(prompts, AsyncIterable):
        async for prompt in prompts:
            yield prompt
    else:
        for prompt in prompts:
            yield prompt


@overload
def merge(*streams: ChatStream) -> Flow[tuple[ChatStream, StreamChunk]]: ...
@overload
def merge(*streams: AsyncIterable[T]) -> Flow[tuple[AsyncIterable[T], T]]: ...
def merge(*streams: AsyncIterable[Any]) -> Flow[Any]:
    """
    Read several streams at once, as one of pairs: which stream, and its chunk.

    Chunks come as they arrive, those of one stream in their order. Together the streams run
    ahead of the consumer by two chunks for each of them at most, so that a slow one slows
    down the servers. The first error ends it, and leaving it closes all the streams::

        async with merge(client.stream(p, model=a), client.stream(p, model=b)) as chunks:
            async for stream, chunk in chunks:
                print(stream.request.model, chunk)
    """
    if len({*map(id, streams)}) != len(streams):
        _refuse("merge: the same stream is there twice, and it can be read once.")
    for stream in streams:
        if not isinstance(stream, AsyncIterable):
            _refuse(f"merge: a {type(stream).__name__} is no stream.")
    feed = Feed[Any](max(1, len(streams)))
    return Flow(feed, _merged(feed, streams))


async def _merged(
    feed: Feed[Any], streams: tuple[AsyncIterable[Any], ...]
) -> AsyncGenerator[Any, None]:
    async def read(stream: AsyncIterable[Any]) -> None:
        async for chunk in stream:
            await feed.put((stream, chunk))

    async with AsyncExitStack() as closing:
        for stream in streams:
            closing.push_async_callback(close, stream)
        closing.push_async_callback(feed.aclose)
        for stream in streams:
            feed.spawn(read(stream))
        while True:
            try:
                pair = await feed.take()
            except Drained:
                return
            yield pair  # noqa: ASYNC119 -- owning the tasks is the point


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="chat")
