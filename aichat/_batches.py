"""`client.batches`: many requests as one job, for those who can wait."""

from __future__ import annotations

import random
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
)
from contextlib import aclosing
from typing import Any, Unpack, final

import anyio
import anyio.lowlevel
from attrs import evolve, field, frozen

from .errors import AIChatError, CircuitOpenError, DeadlineError, InvalidRequestError
from .providers import BatchSubmitter, Provider
from .providers._batching import batches_of
from .types import (
    Batch,
    BatchRequest,
    BatchResult,
    ChatRequest,
    Prompt,
    RequestOptions,
)

__all__ = ["Batches"]

#: Seconds between two looks at most. Batches take minutes or hours.
_LONGEST = 300.0
_GROWTH = 1.5
#: Requests that are made before the event loop gets its turn.
_AT_ONCE = 256
#: Looks that may fail, one after the other, for a reason that may pass: half an hour or so.
_FAILURES = 10


@final
@frozen(kw_only=True)
class Batches:
    """
    Hands in many requests at once, and collects the answers, maybe elsewhere and later.

    Half the price at most providers, and answers within a day::

        batch = await client.batches.submit({"a": "Hi", "b": "Ho"}, model="openai:gpt-…")
        batch = await client.batches.wait(batch)
        async for result in client.batches.results(batch):
            print(result.id, result.response.text if result.response else result.error)

    A `Batch` is a value: write it down with `to_json`, and another process goes on from
    there. Requests in a batch do not pass the client's middleware. Made by `Client.batches`.
    """

    #: Finds a provider by its name; raises `InvalidRequestError`.
    _find: Callable[[str], Provider] = field(alias="find", repr=False)
    #: Makes a request out of a prompt and options.
    _build: Callable[[Prompt, dict[str, Any]], ChatRequest] = field(
        alias="build", repr=False
    )
    #: The provider of those who name none.
    _default: str = field(alias="default")
    _sleep: Callable[[float], Awaitable[None]] = field(
        alias="sleep", default=anyio.sleep, repr=False
    )
    _clock: Callable[[], float] = field(
        alias="clock", default=time.monotonic, repr=False
    )
    _rand: Callable[[], float] = field(alias="rand", default=random.random, repr=False)

    async def submit(
        self,
        requests: Mapping[str, Prompt] | Iterable[BatchRequest],
        /,
        **options: Unpack[RequestOptions],
    ) -> Batch:
        """
        Hand in *requests*, each under an id of yours; *options* go over all of them.

        Raises `InvalidRequestError`, before anything is sent, for ids that occur twice or
        that the provider does not take, for more than one provider or (for most) model, and
        for more than the provider takes at once. When it is not known whether the provider
        has accepted the batch, the error says so, and nothing is sent twice: `list` tells.
        """
        given: Iterable[tuple[str, Prompt]]
        if isinstance(requests, Mapping):
            given = requests.items()  # pyright: ignore[reportAssignmentType]  # not those of a mapping whose keys are requests
        else:
            given = ((each.id, each.request) for each in requests)
        batch: list[BatchRequest] = []
        for key, prompt in given:
            if len(batch) % _AT_ONCE == _AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()
            batch.append(BatchRequest(key, self._build(prompt, dict(options))))
        names = {each.request.provider_name or "" for each in batch}
        if len(names) > 1:
            _refuse(
                f"One batch, one provider; these are for {', '.join(sorted(names))}."
            )
        if not names:
            _refuse("A batch needs at least one request.")
        name = names.pop()
        return evolve(await self._of(name).submit(batch), provider=name)

    async def get(self, batch: Batch | str, /, *, provider: str | None = None) -> Batch:
        """Ask how far *batch* is: one of ours, or an id that *provider* gave."""
        key, name = self._named(batch, provider)
        return _over(batch, await self._of(name).get(key), name)

    async def cancel(
        self, batch: Batch | str, /, *, provider: str | None = None
    ) -> Batch:
        """Ask that *batch* be given up. What has been answered by then stays, and costs."""
        key, name = self._named(batch, provider)
        return _over(batch, await self._of(name).cancel(key), name)

    async def wait(
        self,
        batch: Batch | str,
        /,
        *,
        provider: str | None = None,
        poll: float = 5.0,
        deadline: float | None = None,
    ) -> Batch:
        """
        Await the end of *batch*, whatever it is: completed, failed, expired or cancelled.

        Looks after *poll* seconds, then more and more rarely, and survives some failures to
        look. After *deadline* seconds raises `DeadlineError`; the batch itself goes on.
        """
        ends = None if deadline is None else self._clock() + deadline
        failures = 0
        pause = poll
        while True:
            try:
                batch = await self.get(batch, provider=provider)
                failures = 0
            except AIChatError as error:
                failures += 1
                passes = error.retryable_by_default or isinstance(
                    error, CircuitOpenError
                )
                if not passes or failures >= _FAILURES:
                    raise
            if isinstance(batch, Batch) and batch.done:
                return batch
            # Those who were submitted together should not be asked for together.
            seconds = pause * (0.75 + self._rand() / 2)
            if ends is not None:
                left = ends - self._clock()
                if left <= 0:
                    break
                seconds = min(seconds, left)
            await self._sleep(seconds)
            pause = min(pause * _GROWTH, max(_LONGEST, poll))
        key, name = self._named(batch, provider)
        raise DeadlineError(
            f"The batch {key} was not done within {deadline:g} s. It goes on.",
            operation="batch",
            provider=name,
            phase="total",
            retryable=False,
        )

    async def results(
        self, batch: Batch | str, /, *, provider: str | None = None
    ) -> AsyncGenerator[BatchResult, None]:
        """
        Yield what became of each request of *batch*, in whatever order the provider has it.

        They are read as they come, and never all in memory. What a request failed with is in
        its result; only what concerns the batch raises. A batch that was cancelled or expired
        has results for what was done by then, and not all providers name the others. Raises
        `InvalidRequestError` for one that is not done yet.
        """
        if not isinstance(batch, Batch) or not batch.done:
            batch = await self.get(batch, provider=provider)
        if not batch.done:
            _refuse(
                f"The batch {batch.id} is still {batch.status}: there are no results yet. "
                "Await client.batches.wait(batch) first."
            )
        found = self._of(batch.provider or self._default)
        async with aclosing(found.results(batch)) as results:
            async for result in results:
                yield result  # noqa: ASYNC119 -- closed by the chain

    async def list(self, provider: str | None = None) -> AsyncGenerator[Batch, None]:
        """Yield the batches at *provider*, its oldest ones last."""
        name = provider or self._default
        async with aclosing(self._of(name).list()) as batches:
            async for batch in batches:
                yield evolve(batch, provider=name)  # noqa: ASYNC119 -- closed by the chain

    def _named(self, batch: Batch | str, provider: str | None) -> tuple[str, str]:
        """The id of *batch*, and who has it."""
        if isinstance(batch, str):
            return batch, provider or self._default
        return batch.id, provider or batch.provider or self._default

    def _of(self, name: str) -> BatchSubmitter:
        found = batches_of(self._find(name))
        if found is None:
            raise InvalidRequestError(
                f"The provider {name!r} does not take batches.",
                operation="batch",
                provider=name,
            )
        return found


def _over(before: Batch | str, now: Batch, provider: str) -> Batch:
    """What is known *now*, with what only those know who were there before."""
    if isinstance(before, str):
        return evolve(now, provider=provider)
    return evolve(
        now,
        provider=provider,
        model=now.model or before.model,
        warnings=now.warnings or before.warnings,
    )


def _refuse(message: str) -> None:
    raise InvalidRequestError(message, operation="batch")
