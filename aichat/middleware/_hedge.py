"""
A second attempt beside the first, when that is slow to begin (B4).

Both are tasks of the pull that waits for the first output, and both are over when it
returns: the winner's generator is read on by whoever consumes, the loser's is closed. After
that a hedged answer costs what any other does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from math import isfinite
from typing import TypeAlias, final

from attrs import define, evolve, field

from ..errors import AIChatError, ConfigError
from ..transport import CallEvent, RetryBudget, tell
from ..types import ChatRequest, StreamChunk
from ..types._values import is_number
from ._compose import Handler, Middleware
from ._detour import Begun, begin, count_attempts, introduced, turned_to
from ._fallback import check_models
from ._latency import Latencies
from ._remaining import Remaining

__all__ = ["hedge"]


def hedge(
    after: float | str = "p95",
    *,
    to: str | None = None,
    budget: float | RetryBudget = 0.1,
) -> Middleware:
    """
    Ask a second time when an answer is slow to begin, and take whichever begins first.

    *after* is in seconds, or from ``"p50"`` to ``"p99"``: the time within which that many
    per cent of the model's last 200 answers began. Until 20 have been seen nobody is
    hedged. The second attempt goes *to* another model, or to the same once more; it has no
    retries, and what the request has left of its *total* deadline.

    The loser is cancelled before the first chunk of the winner comes out. **A hedged call is
    paid twice**: to the provider they are two requests, with idempotency keys of their own,
    and it may bill what the loser was about to say. *budget* bounds that: each call earns
    such a part of a second attempt, of which ten can be saved up. Pass a `RetryBudget` to
    share it or to save less; 0 switches hedging off.

    An error of the first attempt before there is a second is the answer: for those there are
    retries and `fallback`. While both are under way the failure of one waits for the other.
    If both fail, the error of the first comes out; its `attempts` counts the requests of
    both, and its ``context["hedge"]`` holds the model and the code of the second.

    Raises `ConfigError` at once for settings that make no sense.

    >>> impatient = hedge(2.5, to="openai:gpt-5.1-mini")
    """
    percent, seconds = _patience(after)
    if to is not None:
        check_models("hedge", (to,))
    race = _Race(percent, seconds, to, _purse(budget))

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        first, chunks = await race.run(request, call_next)
        for chunk in first:
            yield chunk
        async for chunk in chunks:
            yield chunk

    return middleware


#: Whoever makes one sees to its end.
Attempt: TypeAlias = "asyncio.Task[Begun]"


@final
@define(eq=False)
class _Race:
    """What all the calls of one `hedge` have in common, and how one of them goes."""

    percent: int | None
    seconds: float | None
    to: str | None
    budget: RetryBudget
    latencies: Latencies = field(factory=Latencies)

    async def run(self, request: ChatRequest, call_next: Handler) -> Begun:
        """Ask once or twice, and return the answer that began first. No other is left."""
        loop = asyncio.get_running_loop()
        began, remaining = loop.time(), Remaining(request)
        self.budget.earn()
        attempts = [loop.create_task(begin(call_next, request))]
        winner: Attempt | None = None
        try:
            await asyncio.wait(attempts, timeout=self._patience(request.model))
            if not attempts[0].done() and remaining.seconds > 0 and self.budget.spend():
                second = self._second(remaining.of(request))
                attempts.append(loop.create_task(begin(call_next, second)))
            winner = await _first_to_begin(attempts)
            seconds = loop.time() - began
            if _failed(winner):
                _blame(attempts, self.to or request.model)
            first, chunks = winner.result()
            if not _failed(attempts[0]):
                # One that lost counts with the time that it had: without the slow ones the
                # usual would seem ever shorter, and more and more would be hedged.
                self.latencies.add(request.model, seconds)
            if winner is not attempts[0]:
                first = self._introduced(first, request.model)
            return first, chunks
        finally:
            losers = [attempt for attempt in attempts if attempt is not winner]
            # Whoever raises now shall not hold the frame that holds it.
            attempts.clear()
            winner = None
            await _leave(losers)

    def _patience(self, model: str) -> float | None:
        """Seconds before a second attempt; ``None`` if there is to be none."""
        if self.percent is None:
            return self.seconds
        return self.latencies.percentile(model, self.percent)

    def _second(self, request: ChatRequest) -> ChatRequest:
        # Without retries: the budget would bound nothing if each one were three.
        second = evolve(request, model=self.to or request.model, max_retries=0)
        tell(
            CallEvent(
                kind="hedged",
                provider=second.provider_name or "",
                model=second.model,
                attempt=2,
            )
        )
        return second

    def _introduced(self, chunks: list[StreamChunk], model: str) -> list[StreamChunk]:
        """Let the opening *chunks* say so if they are not of the *model* asked for."""
        if self.to is None or self.to == model:
            return chunks
        turned_to(self.to)
        warning = f"Answered by {self.to}, since {model} was slow to begin."
        return introduced(chunks, self.to, warning)


def _patience(after: float | str) -> tuple[int | None, float | None]:
    """Read *after* as a percentile or as seconds."""
    if isinstance(after, str):
        found = re.fullmatch(r"p([5-9]\d)", after)
        if found is not None:
            return int(found[1]), None
    elif is_number(after) and isfinite(after) and after >= 0:
        return None, after
    raise ConfigError(
        f"hedge: after must be seconds, or from 'p50' to 'p99'; got {after!r}."
    )


def _purse(budget: float | RetryBudget) -> RetryBudget:
    if isinstance(budget, RetryBudget):
        return budget
    if not (is_number(budget) and isfinite(budget) and budget >= 0):
        raise ConfigError(
            f"hedge: budget must be a number, 0 or more, or a RetryBudget; got {budget!r}."
        )
    return RetryBudget(ratio=budget) if budget else RetryBudget(ratio=0, reserve=0)


async def _first_to_begin(attempts: Sequence[Attempt]) -> Attempt:
    """Await the first of *attempts* that does not fail; the first of all if all do."""
    pending = set(attempts)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for attempt in attempts:
            if attempt in done and not _failed(attempt):
                return attempt
    return attempts[0]


def _failed(attempt: Attempt) -> bool:
    """Whether *attempt* is one to get over. What is not expected decides the race."""
    if not attempt.done() or attempt.cancelled():
        return False
    return isinstance(attempt.exception(), AIChatError)


def _blame(attempts: Sequence[Attempt], model: str) -> None:
    """Let the error of the first attempt tell of the second, if *model* was asked as well."""
    first, *others = (attempt.exception() for attempt in attempts)
    for second in others:
        # Both are `AIChatError`s, or we would not be here.
        assert isinstance(first, AIChatError)
        assert isinstance(second, AIChatError)
        first.attempts = count_attempts(first.attempts, second.attempts)
        first.context["hedge"] = (model, str(second.code))


async def _leave(losers: Sequence[Attempt]) -> None:
    """
    Cancel *losers*, wait until they are over, and close what they have opened.

    A cancellation that comes meanwhile goes on to them, and comes out when they are over.
    """
    stopped: asyncio.CancelledError | None = None
    for loser in losers:
        loser.cancel()
    while pending := [loser for loser in losers if not loser.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            stopped = error
            for loser in pending:
                loser.cancel()
    broken: BaseException | None = None
    async with AsyncExitStack() as closing:
        for loser in losers:
            if loser.cancelled() or _failed(loser):
                continue
            broken = loser.exception() or broken
            if loser.exception() is None:
                # It had its output, and came too late.
                _, chunks = loser.result()
                closing.push_async_callback(chunks.aclose)
    if stopped is not None:
        raise stopped
    if broken is not None:
        raise broken
