"""The engine: many calls at once, as many as the provider bears."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Iterable,
    Mapping,
)
from contextlib import AsyncExitStack
from copy import copy
from random import random
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar, Unpack, cast, final

from attrs import define, field, frozen

from .._client import Client
from .._feed import Drained, Feed, Flow, close
from ..errors import (
    AIChatError,
    AuthenticationError,
    CircuitOpenError,
    ClosedError,
    ConfigError,
    DeadlineError,
    InvalidRequestError,
    PermissionDeniedError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    SpendLimitError,
    TLSError,
)
from ..middleware import CallCost, Price, PriceBook, cost_of
from ..transport._events import CallEvent, listening
from ..types import BatchRequest, ChatRequest, ChatResponse, Prompt, RequestOptions
from ._brake import Brake
from ._gate import Gate

__all__ = ["Asked", "BulkResult", "Prices", "book_of", "priced", "run", "run_each"]

_log = logging.getLogger("aichat")

Prices = PriceBook | Mapping[str, Price] | None


class Asked(Protocol):
    """Something that is asked for under an id."""

    @property
    def id(self) -> str: ...
    @property
    def request(self) -> ChatRequest: ...


T = TypeVar("T", bound=Asked)

#: Waiting cures it, and nobody has been paid yet.
_NO_ROOM: Final = (RateLimitError, CircuitOpenError, ProviderUnavailableError)
#: What fails one request with these fails the next one, too.
_HOPELESS: Final = (
    *_NO_ROOM,
    AuthenticationError,
    ConfigError,
    PermissionDeniedError,
    QuotaExceededError,
    TLSError,
)
#: So many of those, and no answer in between, end the run.
_ENOUGH: Final = 3
#: Seconds before the next try where the provider does not say: doubled each time, up to this.
_LONGEST_PAUSE: Final = 30.0
#: And where it does, as a bucket of ten minutes or an hour would: it is asked again then.
_LONGEST_WAIT: Final = 600.0


@final
@frozen
class BulkResult(Generic[T]):
    """What became of one request: a response, or an error."""

    asked: T
    response: ChatResponse | None = None
    error: Exception | None = None
    #: ``None`` if nobody knows the price.
    cost: CallCost | None = None

    @property
    def id(self) -> str:
        """The id of the request."""
        return self.asked.id


def run(
    client: Client,
    requests: Mapping[str, Prompt]
    | Iterable[BatchRequest]
    | AsyncIterable[BatchRequest],
    /,
    *,
    concurrency: int = 64,
    patience: int = 5,
    prices: Prices = None,
    brake: Brake | None = None,
    **options: Unpack[RequestOptions],
) -> Flow[BulkResult[BatchRequest]]:
    """
    Ask all *requests*, as many at a time as the provider bears, and get results as they come.

    *concurrency* is the ceiling; where it is between 1 and there, rate limits and late
    answers decide. *requests* may be endless or asynchronous: they are read as they are
    needed. One that the provider has no room for is put back *patience* times; each time is
    a call of its own. Errors are results. The iteration itself raises, when what was under
    way is over, what fails one request after the other: a wrong key, a used-up quota, a
    provider that is gone. *options* go over all requests::

        async with bulk.run(client, {"a": "Hi", "b": "Ho"}) as results:
            async for result in results:
                print(result.id, result.response or result.error)
    """
    for name in options:
        if name not in RequestOptions.__annotations__:
            raise TypeError(f"There is no option {name!r}.")
    return run_each(
        client,
        _requests(client, requests, dict(options)),
        concurrency=concurrency,
        patience=patience,
        book=book_of(prices),
        brake=brake,
    )


def run_each(
    client: Client,
    source: AsyncGenerator[T, None],
    *,
    concurrency: int,
    patience: int,
    book: PriceBook | None,
    brake: Brake | None,
    on_limit: Callable[[Gate], object] | None = None,
    on_result: Callable[[BulkResult[T]], object] | None = None,
    rand: Callable[[], float] = random,
) -> Flow[BulkResult[T]]:
    """
    `run` for whatever has an id and a request.

    *on_result* is told of each result by the task that got it, at once.
    """
    if type(concurrency) is not int or concurrency < 1:
        _refuse(f"concurrency must be a whole number, 1 or more; got {concurrency!r}.")
    if type(patience) is not int or patience < 0:
        _refuse(f"patience must be a whole number, 0 or more; got {patience!r}.")
    feed = Feed[BulkResult[T]](concurrency)
    job = _Job(
        feed, client, source, concurrency, patience, book, brake or Brake(), rand
    )
    job.on_limit, job.on_result = on_limit, on_result
    return Flow(feed, job.results())


def book_of(prices: Prices) -> PriceBook | None:
    """Where prices come from; ``None`` where the price table is not installed."""
    try:
        return PriceBook.of(prices).load()
    except ConfigError:
        if prices is None:
            return None
        # Their own ones are better than none.
        return (
            prices if isinstance(prices, PriceBook) else PriceBook(prices, table=None)
        )


def priced(
    response: ChatResponse,
    book: PriceBook | None,
    *,
    request: ChatRequest | None = None,
    batch: bool = False,
) -> CallCost | None:
    """What *response* cost, if that can be told; raises nothing."""
    if book is None:
        return None
    try:
        return cost_of(response, request=request, prices=book, batch=batch)
    except Exception:
        # The answer is there, and must not be lost for that.
        _log.exception("What a call cost could not be told")
        return None


async def _requests(
    client: Client,
    requests: Mapping[str, Prompt]
    | Iterable[BatchRequest]
    | AsyncIterable[BatchRequest],
    options: dict[str, Any],
) -> AsyncGenerator[BatchRequest, None]:
    try:
        if isinstance(requests, Mapping):
            pairs = cast("Mapping[str, Prompt]", requests)
            for key, prompt in pairs.items():
                yield BatchRequest(key, client._request(prompt, dict(options)))
        elif isinstance(requests, AsyncIterable):
            async for each in requests:
                yield _with(client, each, options)
        else:
            for each in requests:
                yield _with(client, each, options)
    finally:
        await close(requests)


def _with(client: Client, each: BatchRequest, options: dict[str, Any]) -> BatchRequest:
    return BatchRequest(each.id, client._request(each.request, dict(options)))


@final
@define
class _Signs:
    """What happened on the way to an answer."""

    #: Somebody had too much to do.
    crowded: bool = False
    #: Seconds that the client's own limiter took.
    queued: float = 0.0
    #: The first output says nothing about the provider.
    blurred: bool = False

    def __call__(self, event: CallEvent) -> None:
        match event.kind:
            case "failed":
                self.blurred = True
                self.crowded |= isinstance(event.error, RateLimitError)
            case "waiting":
                self.blurred = True
                if event.reason == "limiter":
                    self.queued += event.seconds
            case "cache":
                self.blurred = True
            case _:
                pass


@final
@define(eq=False)
class _Job(Generic[T]):
    """The calls of one run, and what they share."""

    feed: Feed[BulkResult[T]]
    client: Client
    source: AsyncGenerator[T, None]
    concurrency: int
    patience: int
    book: PriceBook | None
    brake: Brake
    rand: Callable[[], float]
    on_limit: Callable[[Gate], object] | None = field(default=None, init=False)
    on_result: Callable[[BulkResult[T]], object] | None = field(
        default=None, init=False
    )
    gate: Gate = field(init=False)
    #: For what is under way and what nobody has taken yet.
    places: asyncio.Semaphore = field(init=False)
    #: Why there is no point in going on.
    hopeless: AIChatError | None = field(default=None, init=False)
    in_a_row: int = field(default=0, init=False)

    async def results(self) -> AsyncGenerator[BulkResult[T], None]:
        self.gate = Gate(self.concurrency, asyncio.get_running_loop().time)
        self.places = asyncio.Semaphore(self.concurrency)
        if self.on_limit is not None:
            self.on_limit(self.gate)
        shut = self.gate.close
        async with AsyncExitStack() as closing:
            # Last the requests: somebody may be reading them.
            closing.push_async_callback(self.source.aclose)
            closing.push_async_callback(self.feed.aclose)
            closing.callback(self.brake.forget, shut)
            closing.callback(shut)
            self.brake.then(shut)
            self.feed.spawn(self.read())
            while True:
                try:
                    result = await self.feed.take()
                except Drained:
                    break
                self.places.release()
                yield result  # noqa: ASYNC119 -- owning the tasks is the point
        if self.hopeless is not None:
            raise self.hopeless

    async def read(self) -> None:
        """Begin one call after the other, as soon as there is room."""
        while not self.gate.closed:
            await self.places.acquire()
            asked = await anext(self.source, None)
            # Last, so that what is in the gate is under way. One that is turned away there
            # is not done, and has not failed.
            if asked is None or not await self.gate.enter():
                return
            self.feed.spawn(self.begun(asked))

    async def begun(self, asked: T) -> None:
        result = await self.one(asked)
        if result is None:
            self.places.release()
        else:
            self.feed.add(result)

    async def one(self, asked: T) -> BulkResult[T] | None:
        """
        Ask until there is a result; within the gate.

        ``None`` for what is not done, and not failed either: the next run asks again.
        """
        pauses = 0
        while True:
            began = self.gate.clock()
            signs = _Signs()
            result = await self.ask(asked, began, signs)
            error = result.error
            if isinstance(error, SpendLimitError) and _is_used_up(error):
                if not await self.more_to_spend(error):
                    return None
                continue
            if self.is_put_back(error) and pauses < self.patience:
                pauses += 1
                assert isinstance(error, AIChatError)
                self.gate.crowded(began, self.pause(error, pauses))
                self.gate.leave()
                if not await self.gate.enter():
                    return None
                continue
            if self.on_result is not None:
                self.on_result(result)
            self.judge(error)
            self.gate.leave()
            return result

    async def ask(self, asked: T, began: float, signs: _Signs) -> BulkResult[T]:
        request = asked.request
        stream = self.client.stream(request)
        try:
            with listening(signs):
                async with stream:
                    # What comes first is the beginning of the output: it is held back until
                    # then.
                    await anext(stream, None)
                    first = self.gate.clock() - began
                    response = await stream.response()
        except Exception as error:
            if signs.crowded:
                self.gate.crowded(began)
            return BulkResult(asked, error=error)
        if signs.crowded:
            self.gate.crowded(began)
        else:
            told = None if signs.blurred else first
            self.gate.went_well(began, told, grow=not signs.queued)
        return BulkResult(asked, response, cost=self.cost(response, request))

    def cost(self, response: ChatResponse, request: ChatRequest) -> CallCost | None:
        return priced(response, self.book, request=request)

    async def more_to_spend(self, error: SpendLimitError) -> bool:
        """Wait for what is put aside for other calls; false if that is all used up, too."""
        self.gate.leave(idle=True)
        if self.gate.active == 0:
            self.end(error)
            return False
        await self.gate.another_ends()
        return await self.gate.enter()

    def is_put_back(self, error: Exception | None) -> bool:
        if isinstance(error, DeadlineError):
            # It has waited for its turn, and was not sent.
            return error.phase == "pool"
        if not isinstance(error, _NO_ROOM):
            return False
        # What has begun to answer is paid for.
        return error.partial is None or not error.partial.message.content

    def pause(self, error: AIChatError, pauses: int) -> float:
        if error.retry_after is not None:
            return min(error.retry_after, _LONGEST_WAIT)
        longest = min(_LONGEST_PAUSE, 2.0 ** (pauses - 1))
        return longest * (0.5 + self.rand() / 2)

    def judge(self, error: Exception | None) -> None:
        """End it all if one request after the other fails with what has no end."""
        if isinstance(error, ClosedError):
            self.end(error)
        elif isinstance(error, _HOPELESS) or _is_unpriced(error):
            self.in_a_row += 1
            if self.in_a_row >= _ENOUGH:
                assert isinstance(error, AIChatError)
                self.end(error)
        else:
            self.in_a_row = 0

    def end(self, error: AIChatError) -> None:
        if self.hopeless is None:
            self.hopeless = copy(error)
        self.gate.close()


def _is_used_up(error: SpendLimitError) -> bool:
    return error.context.get("scope") == "total"


def _is_unpriced(error: Exception | None) -> bool:
    return (
        isinstance(error, SpendLimitError) and error.context.get("scope") == "unpriced"
    )


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="bulk")
