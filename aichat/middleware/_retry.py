"""
Try again, for whoever does not come through our transport, and around whatever else.

It computes with the transport's `RetryPolicy` and pays from the same kind of `RetryBudget`.
How attempts never multiply, however many of these and of transports are stacked (R2):

- an error that somebody has given up on is no longer ``retryable``, to anybody;
- where such a one is hidden behind another error, as in a fallback, the events of the first
  try still tell how many requests it took, and they count;
- from the second try on, this is the only one that tries again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, Literal, final

from attrs import define, evolve, field

from ..errors import AIChatError, ConfigError, DeadlineError
from ..transport import CallEvent, RetryBudget, RetryPolicy, listening, tell
from ..types import UNSET, ChatRequest, StreamChunk, Unset
from ._compose import Handler, Middleware
from ._detour import begin
from ._remaining import Remaining

__all__ = ["retry"]

_POLICY: Final = RetryPolicy()


def retry(
    policy: RetryPolicy = _POLICY,
    *,
    budget: RetryBudget | Literal[Unset.UNSET] | None = UNSET,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    rand: Callable[[], float] = random.random,
) -> Middleware:
    """
    Try again, as long as nothing has been said, when the error says that it may help.

    A transport does so already: this is for providers that have none, and for trying again
    around a `fallback`. A request's own *max_retries* wins over *policy*. No more than
    ``max_retries + 1`` requests are sent to a model, whatever else tries again above or
    below; `attempts` of the error counts them all.

    All tries share one *total* deadline of the request, and a wait that would pass it fails
    at once. Without *budget* there is one of this middleware's own; ``None`` switches it off.

    >>> patient = retry(RetryPolicy(max_retries=5, cap=30))
    """
    if not isinstance(policy, RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
        raise ConfigError(
            f"retry takes a policy: retry(RetryPolicy(max_retries=2)); got {policy!r}."
        )
    purse = RetryBudget() if budget is UNSET else budget

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        call = _Call(request, policy, purse, sleep, rand)
        first, chunks = await call.answer(call_next)
        try:
            for chunk in first:
                yield chunk
            async for chunk in chunks:
                yield chunk
        except AIChatError as error:
            call.broke(error)
            raise

    return middleware


@final
@define(eq=False)
class _Call:
    """One request, over all its tries."""

    request: ChatRequest
    policy: RetryPolicy
    budget: RetryBudget | None
    sleep: Callable[[float], Awaitable[None]]
    rand: Callable[[], float]
    remaining: Remaining = field(init=False)
    #: Requests that were sent, as far as anybody told; all models together.
    attempts: int = 0
    #: Requests that one and the same model got at most: what is limited.
    sent: int = 0
    _heard: _Heard = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.request.max_retries is not None:
            self.policy = evolve(self.policy, max_retries=self.request.max_retries)
        self.remaining = Remaining(self.request)
        self._heard = _Heard()
        if self.budget is not None:
            self.budget.earn()

    async def answer(
        self, call_next: Handler
    ) -> tuple[list[StreamChunk], AsyncGenerator[StreamChunk, None]]:
        """Ask until there is the `opening` of an answer, and the rest. Raises for good."""
        while True:
            try:
                return await self._ask(call_next)
            except AIChatError as error:
                failure = error
            self._failed(failure)
            seconds = self._backoff(failure)
            self._tell("waiting", seconds=seconds)
            await self.sleep(seconds)

    async def _ask(
        self, call_next: Handler
    ) -> tuple[list[StreamChunk], AsyncGenerator[StreamChunk, None]]:
        """Ask once, and listen to what goes on beneath."""
        self._heard = _Heard()
        request = self._next()
        with listening(self._heard.hear):
            return await begin(call_next, request)

    def _next(self) -> ChatRequest:
        """The request of the next try. Raises `DeadlineError` if there is no time left."""
        if not self.sent:
            return self.request
        try:
            request = self.remaining.of(self.request)
        except DeadlineError as error:
            error.note(operation="chat", attempts=0)
            raise
        # Whoever tries again beneath has had the chance to: we count alone from here.
        return evolve(request, max_retries=0)

    def _failed(self, error: AIChatError) -> None:
        """Count a try that failed, and tell of it unless whoever failed has."""
        heard = self._heard
        said = 1 if error.attempts is None else error.attempts
        self.attempts += max(said, heard.attempts)
        self.sent += heard.longest or max(said, 1)
        error.attempts = self.attempts
        if error is not heard.error:
            self._tell("failed", error=error)

    def _backoff(self, error: AIChatError) -> float:
        """Seconds until the next try. Raises *error*, for good, if there is to be none."""
        try:
            return self.policy.backoff(
                self.sent,
                error,
                rand=self.rand(),
                left=self.remaining.seconds,
                budget=self.budget,
            )
        except AIChatError:
            # Told not to try again, we leave that to whoever told us.
            if self.policy.max_retries:
                error.given_up()
            raise

    def broke(self, error: AIChatError) -> None:
        """Count the try that something was said in, and broke off: nobody tries again."""
        said = 1 if error.attempts is None else error.attempts
        error.attempts = self.attempts + max(said, self._heard.attempts)
        error.given_up()

    def _tell(
        self,
        kind: Literal["failed", "waiting"],
        *,
        seconds: float = 0.0,
        error: AIChatError | None = None,
    ) -> None:
        tell(
            CallEvent(
                kind=kind,
                provider=self.request.provider_name or "",
                model=self.request.model_name,
                attempt=self.sent if kind == "failed" else self.sent + 1,
                reason="backoff" if kind == "waiting" else "",
                seconds=seconds,
                error=error,
            )
        )


@final
@define(eq=False)
class _Heard:
    """What was told of, in one try."""

    #: Requests that were sent.
    attempts: int = 0
    #: By one who tried again, at most; 0 if nobody told anything.
    longest: int = 0
    #: The last one that was told of.
    error: AIChatError | None = None

    def hear(self, event: CallEvent) -> None:
        self.attempts += event.kind == "attempt"
        if event.kind in ("attempt", "failed", "waiting"):
            self.longest = max(self.longest, event.attempt)
        if event.kind == "failed":
            self.error = event.error
