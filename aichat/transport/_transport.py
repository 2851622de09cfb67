"""
The road that every request takes: retry, around the breaker, around the limiter, around one
attempt. `Transport._retrying` is that order, and the only place to change it.

::

    stream ─▶ _retrying ─▶ _first_output ─▶ send
                │ breaker.admit
                │ limiter.reserve
                │ attempt: send, read, decode, until the first output chunk
                └ sleep, and once more
    stream ◀─ the rest of that one answer, one list of chunks per network read
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar, final
from urllib.parse import urlsplit

from attrs import define, evolve, field

from ..errors import (
    AIChatError,
    ClosedError,
    DeadlineError,
    ProtocolError,
    ProviderError,
    RateLimitError,
    RedirectError,
    ResponseTooLargeError,
)
from ..types import (
    DEFAULT_DEADLINES,
    ChatRequest,
    Deadlines,
    JSONError,
    ResponseStart,
    StreamChunk,
    Usage,
    UsageUpdate,
    loads,
)
from ._address import check_base_url, check_headers, origin_of, secrets_of
from ._breaker import AnyBreaker, AnyPassage
from ._deadline import Watch
from ._dialect import MAX_DOCUMENT, Dialect, Pipeline
from ._download import Download
from ._errors import provider_error, redact, request_id, scrub
from ._events import CallEvent, heard, tell
from ._hints import allowance_left, allowance_reset
from ._limit import AnyLimiter, Reservation, admit
from ._meter import Meter
from ._rates import ONE_REQUEST, Cost
from ._retry import RetryBudget, RetryPolicy
from ._wire import Decoder, HTTPRequest, HTTPResponse, Send

__all__ = ["Transport"]

T = TypeVar("T")

#: Bytes of an error's body, and seconds for reading them: the status has said the most.
_ERROR_BODY = 64 * 2**10
_ERROR_SECONDS = 5.0
#: A finished answer may have so much more to come, for so long, before its connection is
#: closed instead of reused: the end of a chunked body, and no more.
_REST = 64 * 2**10
_REST_SECONDS = 0.1
#: With these a server says that it has not even begun. Other errors leave that open.
_TURNED_AWAY = frozenset({409, 425, 429, 503, 529})


@define(eq=False, kw_only=True)
class Transport:
    """
    Sends the requests of one provider.

    Has its limits, breaker and retries for itself; connections it shares through *send*,
    which is `Pool.send` or, in tests, a function of ten lines.
    """

    #: The provider's, for those who listen.
    name: str
    send: Send = field(repr=False)
    retry: RetryPolicy = field(factory=RetryPolicy)
    #: ``None`` switches it off.
    budget: RetryBudget | None = field(factory=RetryBudget)
    limiter: AnyLimiter | None = None
    breaker: AnyBreaker | None = None
    deadlines: Deadlines = DEFAULT_DEADLINES
    #: Bytes of an answer that comes as one JSON document.
    max_document: int = MAX_DOCUMENT
    #: The same for all attempts of a call, so that a provider may bill it once. ``None``
    #: for those who refuse headers they do not know.
    idempotency_header: str | None = "idempotency-key"
    #: Whether a key may go over ``http://`` to a public host.
    allow_insecure: bool = False
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False)
    rand: Callable[[], float] = field(default=random.random, repr=False)
    _calls: set[_Call] = field(factory=set, init=False, repr=False)
    _closed: bool = field(default=False, init=False)

    async def stream(
        self,
        request: HTTPRequest,
        dialect: Dialect,
        *,
        deadlines: Deadlines | None = None,
        max_retries: int | None = None,
        cost: Cost = ONE_REQUEST,
    ) -> AsyncGenerator[list[StreamChunk], None]:
        """
        Send *request* and yield the chunks of the answer, a list per network read.

        The first list holds output or the end of the answer, and begins with a
        `ResponseStart`. Until then failures are retried; afterwards, and when retrying has
        not helped, an `AIChatError` that is no longer retryable is raised. (With no retries
        allowed here it stays as retryable as it is, for a retry further out.)

        Each attempt takes *cost* from the limiter. What the answer says of its usage, or
        what has arrived of it if it is left or cut, takes the place of that at the end.
        """
        call = self._begin(request, deadlines, max_retries, cost)
        del request
        meter = self._meter(call)
        answer: _Answer | None = None
        outcome: BaseException | None = GeneratorExit()  # unless we get to the end
        try:
            answer = await self._retrying(call, lambda: self._speak(call, dialect))
            call.forget()
            chunks = answer.first
            while True:
                if meter is not None:
                    meter.count(chunks)
                if chunks:
                    yield chunks
                if answer.over:
                    break
                chunks = await answer.read()
            await answer.drain()
            outcome = None
        except AIChatError as error:
            outcome = error
        finally:
            if answer is not None:
                answer.close()
            self._end(call, outcome)
        if isinstance(outcome, AIChatError):
            raise outcome

    async def fetch(
        self,
        request: HTTPRequest,
        *,
        error_codes: Mapping[str, type[AIChatError]] | None = None,
        deadlines: Deadlines | None = None,
        max_retries: int | None = None,
        cost: Cost = ONE_REQUEST,
        answers_errors: bool = False,
    ) -> Any:
        """
        Send *request* and return the JSON of the answer, or ``None`` for an empty one.

        With *answers_errors* an ``error`` in a good answer is raised like its HTTP form.
        """
        call = self._begin(request, deadlines, max_retries, cost)
        outcome: BaseException | None = GeneratorExit()  # unless we get to the end
        value: Any = None
        try:
            value = await self._retrying(
                call, lambda: self._whole(call, error_codes or {}, answers_errors)
            )
            outcome = None
        except AIChatError as error:
            outcome = error
        finally:
            self._end(call, outcome)
        if isinstance(outcome, AIChatError):
            raise outcome
        return value

    async def download(
        self,
        request: HTTPRequest,
        framing: Callable[[], Decoder[bytes, T]],
        *,
        error_codes: Mapping[str, type[AIChatError]] | None = None,
        deadlines: Deadlines | None = None,
        max_retries: int | None = None,
    ) -> AsyncGenerator[list[T], None]:
        """
        Send *request* and yield what *framing* makes of the body, a list per network read.

        For bodies too long to be held. Failures are retried until there is a first piece, as
        in `stream`.
        """
        call = self._begin(request, deadlines, max_retries, ONE_REQUEST)
        codes = error_codes or {}
        body: Download[T] | None = None
        outcome: BaseException | None = GeneratorExit()  # unless we get to the end
        try:
            body = await self._retrying(call, lambda: self._open(call, framing, codes))
            pieces = body.first
            while True:
                if pieces:
                    yield pieces
                if body.over:
                    break
                pieces = await body.read()
            outcome = None
        except AIChatError as error:
            outcome = error
        finally:
            if body is not None:
                body.close()
            self._end(call, outcome)
        if isinstance(outcome, AIChatError):
            raise outcome

    def expect(self, request: ChatRequest) -> Cost:
        """Guess what *request* will take from the limiter. Free where no tokens are limited."""
        return (
            ONE_REQUEST if self.limiter is None else self.limiter.limit.expect(request)
        )

    def expect_texts(self, texts: Iterable[str]) -> Cost:
        """The same for *texts* that are read and not answered, such as for embeddings."""
        return (
            ONE_REQUEST
            if self.limiter is None
            else self.limiter.limit.expect_texts(texts)
        )

    async def aclose(self) -> None:
        """End the calls under way with `ClosedError`, and refuse new ones. Waits for nothing."""
        self._closed = True
        for call in list(self._calls):
            call.watch.end(
                ClosedError("The client was closed while this was under way.")
            )
        # By the next turn of the loop they know.
        await asyncio.sleep(0)

    # --- one call --------------------------------------------------------------------

    def _begin(
        self,
        request: HTTPRequest,
        deadlines: Deadlines | None,
        max_retries: int | None,
        cost: Cost,
    ) -> _Call:
        if self._closed:
            raise ClosedError("The client is closed.")
        check_headers(request.headers)
        base_url = check_base_url(
            request.base_url,
            # Not kept: what this raises shows our local variables to error reporters.
            with_key=bool(secrets_of(request.headers)),
            allow_insecure=self.allow_insecure,
        )
        # From here on nothing is raised: the key is in our hands.
        policy = self.retry
        if max_retries is not None:
            policy = evolve(policy, max_retries=max_retries)
        limits = self.deadlines if deadlines is None else deadlines.over(self.deadlines)
        call = _Call(
            request=evolve(request, base_url=base_url, headers=self._headers(request)),
            policy=policy,
            watch=Watch(limits),
            cost=cost,
            secrets=secrets_of(request.headers),
        )
        if self.budget is not None:
            self.budget.earn()
        self._calls.add(call)
        return call

    def _meter(self, call: _Call) -> Meter | None:
        """What counts the tokens of a streamed answer, if anybody wants to know."""
        if self.limiter is not None and self.limiter.limit.counts_tokens:
            call.meter = Meter()
        return call.meter

    def _headers(self, request: HTTPRequest) -> Mapping[str, str]:
        key = self.idempotency_header
        if key is None or request.method != "POST":
            return request.headers
        if key.lower() in map(str.lower, request.headers):
            return request.headers
        return {**request.headers, key: os.urandom(16).hex()}

    def _end(self, call: _Call, outcome: BaseException | None) -> None:
        """Let go of *call*; make an error final, and fit to be seen."""
        self._calls.discard(call)
        call.settle(ended=outcome is None)
        if call.passage is not None:
            call.passage.ended(outcome)
        if isinstance(outcome, AIChatError):
            # Where we were told not to try again, whoever told us may; but not once
            # something has been said.
            if call.policy.max_retries or call.spoken:
                outcome.given_up()
            outcome.attempts = call.attempts
            if isinstance(outcome, ProviderError):
                outcome.note(request_id=call.request_id)
            scrub(outcome, call.secrets)

    async def _retrying(self, call: _Call, attempt: Callable[[], Awaitable[T]]) -> T:
        """Retry, around the breaker, around the limiter, around *attempt*."""
        while True:
            await self._pass(call)
            try:
                await self._permit(call)
                call.attempts += 1
                self._tell("attempt", call)
                answer = await attempt()
            except AIChatError as error:
                failure = error
            else:
                call.began()
                return answer
            call.failed(failure)
            self._tell("failed", call, error=failure)
            seconds = self._backoff(call, failure)
            self._tell("waiting", call, reason="backoff", seconds=seconds)
            await call.watch.during("total", partial(self.sleep, seconds))

    async def _pass(self, call: _Call) -> None:
        """Ask the breaker. Raises `CircuitOpenError`."""
        call.request_id = None
        if self.breaker is not None:
            call.passage = await self.breaker.admit(origin_of(call.request.base_url))

    async def _permit(self, call: _Call) -> None:
        """Ask the limiter, and wait, unless that is hopeless."""
        if self.limiter is not None:
            call.reservation = await admit(
                self.limiter,
                call.cost,
                call.watch,
                lambda seconds: self._tell(
                    "waiting", call, reason="limiter", seconds=seconds
                ),
            )

    def _backoff(self, call: _Call, failure: AIChatError) -> float:
        """Seconds until the next attempt. Raises *failure* if there is to be none."""
        call.tries += 1
        return call.policy.backoff(
            call.tries,
            failure,
            rand=self.rand(),
            left=call.watch.left,
            objection=self._objection(call, failure),
            budget=self.budget,
        )

    def _objection(self, call: _Call, failure: AIChatError) -> str | None:
        """What speaks against another attempt, beside the policy and the time."""
        if not call.may_repeat(failure):
            return "it may have arrived, and must not do so twice"
        origin = origin_of(call.request.base_url)
        if self.breaker is not None and self.breaker.is_open(origin):
            return "the circuit has opened"
        return None

    def _tell(
        self,
        kind: Literal["attempt", "waiting", "failed"],
        call: _Call,
        *,
        reason: Literal["", "limiter", "backoff"] = "",
        seconds: float = 0.0,
        error: AIChatError | None = None,
    ) -> None:
        if not heard():
            return
        tell(
            CallEvent(
                kind=kind,
                provider=self.name,
                attempt=call.tries + 1,
                reason=reason,
                seconds=seconds,
                error=error,
                base_url=call.request.base_url,
            )
        )

    # --- one attempt -----------------------------------------------------------------

    async def _speak(self, call: _Call, dialect: Dialect) -> _Answer:
        """Send, and read until the first output: the end of what can be retried."""
        response = await self._answered(call, dialect.error_codes)
        pipeline = Pipeline(dialect, max_document=self.max_document)
        answer = _Answer(response, pipeline, call.watch)
        try:
            if response.status in (204, 205):
                raise ProtocolError(
                    f"HTTP {response.status}: there is no answer in it."
                )
            await answer.begin(call.request_id)
        except BaseException:
            answer.close()
            raise
        return answer

    async def _open(
        self,
        call: _Call,
        framing: Callable[[], Decoder[bytes, T]],
        codes: Mapping[str, type[AIChatError]],
    ) -> Download[T]:
        """Send, and read until there is a first piece."""
        response = await self._answered(call, codes)
        body = Download(response, framing(), call.watch)
        try:
            await body.begin()
        except BaseException:
            body.close()
            raise
        return body

    async def _whole(
        self, call: _Call, codes: Mapping[str, type[AIChatError]], answers_errors: bool
    ) -> Any:
        """Send, and read one JSON value."""
        response = await self._answered(call, codes)
        try:
            body = await self._body(call.watch, response)
        finally:
            call.watch.rest()
            response.abort()
        value: Any = None
        failure: ProviderError | None = None
        try:
            value = loads(body) if body.strip() else None
        except JSONError:
            failure = ProtocolError("The answer is not JSON. Is the base URL right?")
        if answers_errors and isinstance(value, dict) and value.get("error"):
            failure = provider_error(value, headers=response.headers, codes=codes)
        if failure is not None:
            body = b""  # a server that echoes the key shall not get it into this frame
            value = None
            raise failure
        return value

    async def _body(self, watch: Watch, response: HTTPResponse) -> bytes:
        body = bytearray()
        watch.reading(response)
        while True:
            watch.wait()
            data = await response.read()
            if not data:
                return bytes(body)
            watch.arrived(progress=True, complete=False)
            body += data
            if len(body) > self.max_document:
                raise ResponseTooLargeError(
                    f"The answer is longer than {self.max_document} bytes (max_document).",
                    context={"limit": "max_document", "bytes": self.max_document},
                )

    async def _answered(
        self, call: _Call, codes: Mapping[str, type[AIChatError]]
    ) -> HTTPResponse:
        """Send, and see to it that the answer is no error."""
        watch = call.watch
        response = await watch.during(
            "first_byte", partial(self.send, call.request, watch.enter)
        )
        try:
            call.identified(response)
            if 200 <= response.status < 300:
                self._learn(call, response.headers)
                return response
            failure = await self._refusal(watch, response, codes)
        except BaseException:
            response.abort()
            raise
        response.abort()
        self._learn(call, response.headers, failure)
        raise failure

    def _learn(
        self,
        call: _Call,
        headers: Mapping[str, str],
        failure: ProviderError | None = None,
    ) -> None:
        """Hear from the provider how much is left, and let the others wait as well (L4)."""
        limiter = self.limiter
        if limiter is None:
            return
        limiter.learn(allowance_left(headers))
        seconds = None
        if failure is None:
            seconds = allowance_reset(headers, now=time.time())
        elif isinstance(failure, RateLimitError):
            seconds = failure.retry_after
        # Who has to wait longer is told so by the provider, at once.
        if seconds and seconds <= call.policy.ceiling:
            limiter.pause(seconds)

    async def _refusal(
        self,
        watch: Watch,
        response: HTTPResponse,
        codes: Mapping[str, type[AIChatError]],
    ) -> ProviderError:
        """The error that *response* is. Returned, so that no frame holds its body."""
        if 300 <= response.status < 400:
            to = _origin_said(response.headers.get("location", ""))
            to = f" to {to}" if to else ""
            return RedirectError(
                f"The server redirects{to}; that is not followed, since the key would "
                "go along. Is the base URL right?",
                status=response.status,
            )
        body = bytearray()

        async def collect() -> None:
            async with asyncio.timeout(_ERROR_SECONDS):
                while len(body) < _ERROR_BODY and (data := await response.read()):
                    body.extend(data)

        # Whatever goes wrong now, the status has been said.
        with suppress(ProviderError, TimeoutError):
            await watch.during("idle", collect)
        return provider_error(
            bytes(body[:_ERROR_BODY]),
            status=response.status,
            headers=response.headers,
            codes=codes,
        )


def _origin_said(location: str) -> str:
    """Scheme, host and port of *location*, without the password that may stand in it."""
    try:
        where = urlsplit(location)
        port = f":{where.port}" if where.port is not None else ""
    except ValueError:
        return ""  # no URL
    return f"{where.scheme}://{where.hostname}{port}" if where.hostname else ""


@final
@define(eq=False, repr=False, kw_only=True)
class _Call:
    """One call, over all its attempts. Without a ``repr``: it knows the key."""

    request: HTTPRequest
    policy: RetryPolicy
    watch: Watch
    #: What each attempt takes from the limiter.
    cost: Cost
    secrets: tuple[str, ...]
    passage: AnyPassage | None = None
    #: Of the attempt under way, and what counts its tokens if they are limited.
    reservation: Reservation | None = None
    meter: Meter | None = None
    #: Requests sent, and times that something failed.
    attempts: int = 0
    tries: int = 0
    #: Of the attempt under way.
    request_id: str | None = None
    #: Whether output has been handed up.
    spoken: bool = False

    def may_repeat(self, failure: AIChatError) -> bool:
        """Whether the request cannot do harm when it is sent once more."""
        if self.request.repeatable or failure.status in _TURNED_AWAY:
            return True
        # Before there is a connection, nothing has been sent.
        return failure.status is None and self.watch.phase in ("pool", "connect")

    def identified(self, response: HTTPResponse) -> None:
        """Note what the attempt is called; without our key, which a server may echo."""
        said = request_id(response.headers)
        self.request_id = said and redact(said, self.secrets)

    def forget(self) -> None:
        """Let go of what was sent: it will not be sent again, and a stream may be long."""
        self.request = HTTPRequest(self.request.path, base_url=self.request.base_url)

    def began(self) -> None:
        self.spoken = True
        if self.passage is not None:
            self.passage.began()

    def failed(self, error: AIChatError) -> None:
        if self.reservation is not None:
            self.reservation.cancel()
            self.reservation = None
        if self.passage is not None:
            self.passage.ended(error)

    def settle(self, *, ended: bool) -> None:
        """Say to the limiter what the attempt under way has used."""
        if self.reservation is None:
            return
        if not self.spoken and self.watch.phase in ("pool", "connect"):
            # It was left before anything was sent.
            self.reservation.cancel()
        elif self.meter is None:
            self.reservation.settle(Usage())
        else:
            self.reservation.settle(self.meter.usage(ended=ended))


@final
class _Answer:
    """An answer that has begun, and what is still to come of it."""

    __slots__ = ("_cut", "_pipeline", "_response", "_watch", "first")

    def __init__(
        self, response: HTTPResponse, pipeline: Pipeline, watch: Watch
    ) -> None:
        self._response = response
        self._pipeline = pipeline
        self._watch = watch
        #: Whether nothing more can come from the network.
        self._cut = False
        #: What the first read with output brought, behind what had been held back.
        self.first: list[StreamChunk] = []

    @property
    def over(self) -> bool:
        """Whether every chunk has been read."""
        return self._pipeline.over and self._pipeline.error is None

    async def begin(self, request_id: str | None) -> None:
        """Read until there is output, holding back what is none."""
        self._watch.reading(self._response)
        start, usage = ResponseStart(), list[StreamChunk]()
        while True:
            chunks = await self.read()
            spoken = len(chunks)
            for at, chunk in enumerate(chunks):
                if isinstance(chunk, ResponseStart):
                    start = chunk
                elif isinstance(chunk, UsageUpdate):
                    usage = [chunk]
                else:
                    spoken = at
                    break
            if spoken < len(chunks) or self.over:
                if request_id is not None:
                    start = evolve(start, request_id=request_id)
                self.first = [start, *usage, *chunks[spoken:]]
                return

    async def read(self) -> list[StreamChunk]:
        """The chunks of one network read. An error comes after what was before it."""
        pipeline, watch = self._pipeline, self._watch
        if pipeline.error is not None:
            raise pipeline.error
        watch.wait()
        try:
            data = await self._response.read()
        except DeadlineError:
            # The answer had its end marker, and only late usage was waited for.
            if not pipeline.complete:
                raise
            data = b""
        if data:
            chunks = pipeline.feed(data)
        else:
            self._cut = True
            chunks = pipeline.end()
        if pipeline.over:
            watch.rest()
        else:
            watch.arrived(progress=pipeline.progressed, complete=pipeline.complete)
        if pipeline.error is not None and not chunks:
            data = b""  # a server that echoes the key shall not get it into this frame
            raise pipeline.error
        return chunks

    async def drain(self) -> None:
        """Read the end of the body, if it is near, so that the connection can be reused."""
        if self._cut:
            return
        left = _REST
        with suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(_REST_SECONDS):
                while left > 0 and (data := await self._response.read()):
                    left -= len(data)

    def close(self) -> None:
        """Give the connection up, unless it is back in the pool."""
        self._watch.rest()
        self._response.abort()
