"""Answer again what was answered before, and once what is asked several times at once."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from copy import copy
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from attrs import define, evolve, field

from ..errors import AIChatError, ClosedError, ConfigError, DeadlineError
from ..transport._events import CallEvent, tell
from ..types import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    ResponseEnd,
    ResponseStart,
    Secret,
    StreamChunk,
    UsageUpdate,
    fold,
    unfold,
)
from ..types._values import is_number
from ._cache_key import cache_key
from ._compose import Handler, Middleware, owning
from ._flights import Failed, Flight, Flights, Landed, Outcome, Seat
from ._remaining import Remaining
from ._stores import CacheStore, MemoryCache, check_ttl

if TYPE_CHECKING:
    from ..redis import RedisState

__all__ = ["cache"]

_log = logging.getLogger("aichat")

#: Ends that will do for the next one who asks. A filter or a provider may be of another mind
#: next time, a pause waits to be gone on from, and who knows what *other* is.
_KEPT: Final = {FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS}

#: Seconds. A store is there to save time.
_STORE_PATIENCE: Final = 5.0

Namespace: TypeAlias = str | Callable[[ChatRequest], str]


def cache(
    store: CacheStore | None = None,
    *,
    namespace: Namespace | None = None,
    ttl: float | None = None,
    when: Callable[[ChatRequest], bool] | None = None,
    patience: float = 30.0,
    redis: str | Secret | RedisState | None = None,
) -> Middleware:
    """
    Answer a request from *store* if the same one has been answered before.

    Without a *store* it is a `MemoryCache` of its own, for one client. One that is passed in
    may be shared, so it needs a *namespace*: answers never cross from one to another. Give
    each tenant and each API key its own (a function may take it from the request), and
    clients the same one only if they mean the same by the name of a model::

        cache(DiskCache("answers.db"), namespace=f"team-{team}")
        cache(when=lambda request: request.temperature == 0, ttl=600)
        cache(redis="redis://localhost", namespace=f"team-{team}")

    Only whole answers are kept: no error, nothing partial, filtered or without content, no
    invalid tool call. *ttl* is in seconds; ``None`` leaves it to the store. A store that
    fails, or takes more than 5 seconds, costs a line in the log and never the call.

    A request that is being answered already waits for that answer instead of asking as well.
    If the call that asks is cancelled or left, the next one asks. With every *patience*
    seconds without an answer (its consumer may be slow) one more asks; 0: all do.

    What is answered so has `ChatResponse.from_cache`, and its usage is what it cost then.
    Raises `ConfigError`. Closing the store is up to whoever made it; *redis*, an address or a
    `RedisState`, stands for a `RedisCache`, and what it opens for an address the client closes.
    """
    if store is not None and redis is not None:
        raise ConfigError("cache takes either a store or redis.")
    if not (store is None and redis is None) and namespace is None:
        raise ConfigError(
            "cache: a store that is passed in may be shared, so it needs a namespace, one "
            "for each tenant or API key: cache(store, namespace='…')."
        )
    if namespace is not None and not callable(namespace):
        _check_name(namespace)
    check_ttl("cache", ttl)
    if not (is_number(patience) and patience >= 0):
        raise ConfigError(
            f"cache: patience must be a number of seconds, 0 or more; got {patience!r}."
        )
    if not isinstance(store, CacheStore | None):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
        raise ConfigError(f"cache: a store has the methods get and set; got {store!r}.")
    aclose = None
    if redis is not None:
        from ..redis._owned import Owned
        from ._redis_cache import RedisCache

        owned = Owned(redis)
        store, aclose = RedisCache(owned.state), owned.aclose
    shelf = _Shelf(MemoryCache() if store is None else store, ttl)
    answer = _Cache(shelf, namespace or "own", when, Flights(patience)).answer
    return answer if aclose is None else owning(answer, aclose)


@final
@define(eq=False)
class _Cache:
    """The middleware, with what it knows from call to call."""

    _shelf: _Shelf
    _namespace: Namespace
    _when: Callable[[ChatRequest], bool] | None
    _flights: Flights[ChatResponse]

    async def answer(
        self, request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        """Replay, or ask and keep."""
        key = self._key(request)
        if key is None:
            async for chunk in call_next(request):
                yield chunk
            return
        remaining = Remaining(request)
        seat = await self._look(key, request, remaining)
        if isinstance(seat, Landed):
            _tell(request, seat.reason)
            for chunk in unfold(evolve(seat.answer, from_cache=True)):
                yield chunk
            return

        came: list[StreamChunk] = []
        # Whatever watches the answer from below may object to it at its very end. So the
        # end is handed on when there is nothing more to come, and the answer is kept by then.
        end: list[StreamChunk] = []
        try:
            _tell(request, "miss")
            async for chunk in call_next(remaining.of(request)):
                if end or isinstance(chunk, ResponseEnd):
                    end.append(chunk)
                else:
                    came.append(chunk)
                    yield chunk
            if len(end) == 1:
                await self._land(seat, key, fold(came + end))
        except AIChatError as error:
            if _is_everybodys(error, came):
                seat.fail(_copy(error))
            raise
        finally:
            seat.leave()
        for chunk in end:
            yield chunk

    def _key(self, request: ChatRequest) -> str | None:
        if self._when is not None and not self._when(request):
            return None
        namespace = self._namespace
        return cache_key(
            request,
            namespace
            if isinstance(namespace, str)
            else _check_name(namespace(request)),
        )

    async def _look(
        self, key: str, request: ChatRequest, remaining: Remaining
    ) -> Seat[ChatResponse] | Landed[ChatResponse]:
        """Return an answer that there is, or will be, or the seat of who has to ask."""
        # The leader looks into the store, so that no one looks there between its being asked
        # and its being told. Those who would try more or less often fly apart: they would
        # have to share a failure.
        place = self._flights.board((key, request.max_retries))
        if isinstance(place, Flight):
            _tell_waiting(request)
            outcome = await _follow(place, request, remaining)
            if isinstance(outcome, Failed):
                raise _copy(outcome.error)
            place = outcome
        if isinstance(place, Landed):
            return place
        try:
            response = await self._shelf.get(key)
        except BaseException:
            place.leave()
            raise
        if response is None:
            return place
        found = Landed(response, "hit")
        place.land(found)
        place.leave()
        return found

    async def _land(
        self, seat: Seat[ChatResponse], key: str, response: ChatResponse
    ) -> None:
        if response.finish_reason == FinishReason.ERROR:
            return
        # What must not be kept is an answer all the same, to those who have asked so far.
        seat.land(Landed(response, "shared"))
        if is_kept(response):
            await self._shelf.set(key, response)
        seat.leave()


@final
@define(eq=False)
class _Shelf:
    """A store that never fails a call."""

    _store: CacheStore
    _ttl: float | None
    #: What does not work at present, and has been said.
    _broken: set[str] = field(factory=set, init=False)

    async def get(self, key: str) -> ChatResponse | None:
        try:
            async with asyncio.timeout(_STORE_PATIENCE):
                response = await self._store.get(key)
            if response is None or not is_kept(response):
                response = None
            else:
                # Raises for what is no answer, whoever put it there.
                tuple(unfold(response))
        except Exception as error:
            self._fails("read", error)
            return None
        self._works("read")
        return response

    async def set(self, key: str, response: ChatResponse) -> None:
        try:
            async with asyncio.timeout(_STORE_PATIENCE):
                await self._store.set(key, response, self._ttl)
        except Exception as error:
            self._fails("written", error)
        else:
            self._works("written")

    def _fails(self, what: str, error: Exception) -> None:
        if what in self._broken:
            return
        self._broken.add(what)
        why = type(error).__name__
        # These say what the matter is; others may quote what they could not digest.
        if isinstance(error, (OSError, AIChatError)) and str(error):
            why = f"{why}: {error}"
        _log.warning(
            "The cache's store cannot be %s, and is done without (%s)", what, why
        )

    def _works(self, what: str) -> None:
        if what in self._broken:
            self._broken.discard(what)
            _log.info("The cache's store can be %s again", what)


def is_kept(response: ChatResponse) -> bool:
    """Whether *response* is worth keeping: an answer, and one that will do again."""
    return (
        response.finish_reason in _KEPT
        and bool(response.message.content)
        and not response.invalid_tool_calls
    )


def _is_everybodys(error: AIChatError, came: list[StreamChunk]) -> bool:
    """Whether those who asked the same have to live with *error*, or may ask themselves."""
    if isinstance(error, (DeadlineError, ClosedError)):
        # It was the caller's time that was up, or the caller's client that was closed.
        return False
    spoken = any(not isinstance(c, (ResponseStart, UsageUpdate)) for c in came)
    # Had nothing been said, it would have been tried again; and to them nothing has.
    return not (spoken and error.retryable_by_default)


async def _follow(
    flight: Flight[ChatResponse], request: ChatRequest, remaining: Remaining
) -> Seat[ChatResponse] | Outcome[ChatResponse]:
    """Wait, but no longer than *request* may. Raises `DeadlineError`."""
    limits = request.deadlines
    pool = limits.limit("pool") if limits is not None else None
    seconds = remaining.seconds
    phase: Literal["pool", "total"] = "total"
    if pool is not None and pool < seconds:
        phase, seconds = "pool", pool
    try:
        return await flight.follow(seconds)
    except TimeoutError:
        limit = limits.limit(phase) if limits is not None else math.inf
        raise DeadlineError(
            f"The same request, made before, was not answered within {limit:g} s.",
            operation="chat",
            provider=request.provider_name,
            model=request.model_name,
            phase=phase,
            retryable=False,
            attempts=0,
            context={"deadline": limit},
        ) from None


def _copy(error: AIChatError) -> AIChatError:
    """Whoever gets it writes facts into it."""
    other = copy(error)
    other.context = dict(error.context)
    return other


def _check_name(namespace: str) -> str:
    if type(namespace) is not str or not namespace:
        raise ConfigError(
            f"cache: a namespace is a text that is not empty, got {namespace!r}."
        )
    return namespace


def _tell(request: ChatRequest, reason: Literal["hit", "miss", "shared"]) -> None:
    tell(
        CallEvent(
            kind="cache",
            provider=request.provider_name or "",
            model=request.model_name,
            reason=reason,
        )
    )


def _tell_waiting(request: ChatRequest) -> None:
    tell(
        CallEvent(
            kind="waiting",
            provider=request.provider_name or "",
            model=request.model_name,
            reason="flight",
        )
    )
