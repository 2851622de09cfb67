"""
Requests put to a client at a given pace, and timed.

In a *closed* loop so many are under way at a time, and the next one follows when one has
ended. In an *open* loop they come at a rate, as users do, who know nothing of each other:
there the time counts from when a request was due. Counted from when it was sent, a server
that stalls would be asked less and look faster (Gil Tene calls it coordinated omission).
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator

from attrs import frozen

from .._client import Client
from ..errors import (
    AIChatError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContentFilteredError,
    InvalidRequestError,
    ModelNotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RedirectError,
    TLSError,
)
from ..types import ChatRequest, estimate_tokens
from ._bench_tally import Answer, Tally

__all__ = ["Clock", "Load", "Sleep", "measure", "warm_up"]

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]

#: What the next request would meet again.
_HOPELESS = (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContentFilteredError,
    InvalidRequestError,
    ModelNotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RedirectError,
    TLSError,
)


@frozen(kw_only=True)
class Load:
    """How much to ask, and how fast."""

    #: At most.
    requests: int
    #: At most so many are under way.
    concurrency: int
    #: Seconds after which no more are begun.
    duration: float = math.inf
    #: Per second; ``None``: the next when one has ended.
    rate: float | None = None
    #: Whether the requests of an open loop come at random (Poisson) or evenly.
    at_random: bool = False

    def due(self, rand: Callable[[], float]) -> Iterator[float]:
        """Yield when the requests of an open loop are due, in seconds from the start."""
        rate = self.rate or math.inf
        due = 0.0
        for number in range(self.requests):
            if not self.at_random:
                due = number / rate  # A sum would drift.
            if due >= self.duration:
                return
            yield due
            if self.at_random:
                due -= math.log(1 - rand()) / rate


async def warm_up(client: Client, request: ChatRequest, times: int) -> None:
    """
    Ask *times*, one after the other, for connections to be open and code to be loaded.

    Raises what would be every request's error, such as a wrong key. Of others the
    measurement will tell.
    """
    for _ in range(times):
        try:
            await client.complete(request)
        except _HOPELESS:
            raise
        except AIChatError:
            pass


async def measure(
    client: Client,
    request: ChatRequest,
    load: Load,
    tally: Tally,
    *,
    clock: Clock = time.perf_counter,
    sleep: Sleep = asyncio.sleep,
    rand: Callable[[], float] = random.random,
) -> None:
    """
    Send *request* as *load* says, and add what comes of it to *tally*.

    Errors are counted, not raised. When it is cancelled, the streams under way are closed
    and *tally* holds what there is.
    """
    prompt_tokens = estimate_tokens(request)

    async def ask(due: float) -> None:
        await _ask(client, request, due, tally, clock, prompt_tokens)

    tally.started = tally.ended = clock()
    try:
        if load.rate is None:
            await _closed(ask, load, tally, clock)
        else:
            await _open(ask, load, tally.started, clock, sleep, rand)
    finally:
        tally.ended = clock()


async def _closed(
    ask: Callable[[float], Awaitable[None]], load: Load, tally: Tally, clock: Clock
) -> None:
    async def work() -> None:
        while tally.begun < load.requests:
            now = clock()
            if now - tally.started >= load.duration:
                return
            await ask(now)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(load.concurrency, load.requests)):
            group.create_task(work())


async def _open(
    ask: Callable[[float], Awaitable[None]],
    load: Load,
    started: float,
    clock: Clock,
    sleep: Sleep,
    rand: Callable[[], float],
) -> None:
    slots = asyncio.Semaphore(load.concurrency)

    async def work(due: float) -> None:
        async with slots:
            await ask(due)

    async with asyncio.TaskGroup() as group:
        for due in load.due(rand):
            # Even when late: those who have been begun want their turn as well.
            await sleep(max(0.0, started + due - clock()))
            group.create_task(work(started + due))


async def _ask(
    client: Client,
    request: ChatRequest,
    due: float,
    tally: Tally,
    clock: Clock,
    prompt_tokens: int,
) -> None:
    answer = Answer(due, clock())
    tally.begin(answer)
    try:
        async with client.stream(request) as stream:
            async for chunk in stream:
                answer.note(chunk, clock())
        tally.finish(
            answer, clock(), prompt_tokens=prompt_tokens, response=stream.partial
        )
    except AIChatError as error:
        tally.fail(error, clock())
    finally:
        tally.leave(answer, clock())
