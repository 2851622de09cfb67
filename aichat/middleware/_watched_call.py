"""One call, as its span and its measurements see it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from attrs import define, field, frozen

from ..errors import AIChatError
from ..transport import CallEvent, listening
from ..transport._observation import observation, observe_also
from ..types import (
    Accumulator,
    ChatResponse,
    EmbeddingResponse,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    Usage,
    UsageUpdate,
)
from ._genai import (
    Attributes,
    about_answer,
    about_observation,
    about_usage,
    finish_word,
    provider_name,
    server_of,
)
from ._genai_content import output_content
from ._instruments import Instruments, Labels

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

__all__ = ["Recorder", "WatchedCall", "harmless"]

_log = logging.getLogger("aichat")

Outcome: TypeAlias = Literal["success", "error", "cancelled", "left"]

#: What may go to a third party: which trace it is, and no more. Baggage holds whatever the
#: application put there.
_TRACE_HEADERS: Final = frozenset(
    {
        "traceparent", "tracestate", "b3", "x-b3-flags", "x-b3-parentspanid",
        "x-b3-sampled", "x-b3-spanid", "x-b3-traceid", "uber-trace-id",
        "x-amzn-trace-id", "x-cloud-trace-context",
    }
)  # fmt: skip


@contextmanager
def harmless() -> Generator[None, None, None]:
    """Log what goes wrong within: whoever only watches must not be what breaks the call."""
    try:
        yield
    except Exception:
        _log.exception("Telemetry raised")


@frozen(kw_only=True)
class Recorder:
    """Where spans and measurements go, and what they may hold."""

    tracer: Tracer
    instruments: Instruments
    content: bool
    propagate: bool
    clock: Callable[[], float]


@final
@define(eq=False, repr=False, kw_only=True)
class WatchedCall:
    """A call under way. To be `ended`, however it ends."""

    recorder: Recorder
    operation: Literal["chat", "embeddings"]
    #: Who is asked for what; another one once the call has been rerouted.
    provider: str
    model: str
    #: Whether there has been output.
    spoken: bool = False
    #: Chunks, if what was said is wanted.
    said: list[StreamChunk] | None = None
    _span: Span = field(init=False)
    _labels: Labels = field(init=False)
    _began: float = field(init=False)
    _first: float | None = None
    _last: float | None = None
    _start: ResponseStart = field(factory=ResponseStart)
    _usage: Usage = field(factory=Usage)
    _end: ResponseEnd | None = None
    _server: tuple[str, int] | None = None
    _sent: int = 0
    #: What the last attempt failed with. Not the error: that would hold the frame that holds
    #: us, and put off the closing of what is left until the garbage collector comes by.
    _failed_with: str | None = None

    def begin(self, about: Callable[[], Attributes]) -> bool:
        """
        Start the span; *about* says what is asked for, if anybody wants to know.

        Returns False if that fails. Then there is nothing to be ended.
        """
        with harmless():
            self._begin(about)
            return True
        return False

    def _begin(self, about: Callable[[], Attributes]) -> None:
        from opentelemetry.trace import SpanKind

        if self.recorder.content:
            self.said = []
        provider = provider_name(self.provider)
        # These are there from the beginning: samplers decide by them.
        self._span = self.recorder.tracer.start_span(
            f"{self.operation} {self.model}",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": self.operation,
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": self.model,
            },
        )
        if self._span.is_recording():
            self._span.set_attributes(about() | about_observation(observation()))
        self._labels = self._call_labels()
        self._began = self.recorder.clock()
        self.recorder.instruments.active.add(1, self._labels)

    @contextmanager
    def current(self) -> Generator[None, None, None]:
        """Be the current span, and listen; around a pull, never across a yield."""
        from opentelemetry.trace import use_span

        with (
            use_span(self._span, record_exception=False, set_status_on_exception=False),
            observe_also(self._trace_headers()),
            listening(self._hear),
        ):
            yield

    def note(self, chunk: StreamChunk) -> bool:
        """Keep what *chunk* says of the answer; return whether it is output."""
        if self.said is not None:
            self.said.append(chunk)
        match chunk:
            case ResponseStart():
                self._start = chunk
                return False
            case UsageUpdate(usage=usage):
                self._usage = usage
                return False
            case ResponseEnd():
                self._end = chunk
                self._last = self.recorder.clock()
                self.spoken = True
                return False
            case _:
                if self._first is None:
                    self._first = self.recorder.clock()
                    self.spoken = True
                return True

    def returned(self, response: EmbeddingResponse) -> None:
        """Keep what *response* says."""
        self._start = ResponseStart(model=response.model, provider=response.provider)
        self._usage = response.usage

    def ended(self, error: BaseException | None, chunks: int) -> None:
        """Record how it ended, after so many *chunks* of output."""
        with harmless():
            outcome = self._outcome(error)
            self._measure(outcome, _code(error), chunks)
            if self._span.is_recording():
                self._describe(outcome, error, chunks)
        with harmless():
            self._span.end()

    def _outcome(self, error: BaseException | None) -> Outcome:
        match error:
            case None:
                return "success"
            case _ if isinstance(error, Exception):
                return "error"
            # Who leaves after the last chunk has not missed anything.
            case _ if self._end is not None:
                return "success"
            case GeneratorExit():
                return "left"
            case asyncio.CancelledError():
                return "cancelled"
            case _:
                return "left"  # the program is being ended

    # --- measurements ----------------------------------------------------------------

    def _call_labels(self) -> Labels:
        instruments = self.recorder.instruments
        provider = provider_name(self.provider)
        return {
            "gen_ai.operation.name": self.operation,
            "gen_ai.provider.name": instruments.providers.label(provider),
            "gen_ai.request.model": instruments.models.label(self.model),
        }

    def _measure(self, outcome: Outcome, code: str | None, chunks: int) -> None:
        to = self.recorder.instruments
        to.active.add(-1, self._labels)
        call = self._call_labels()
        to.requests.add(1, {**call, "aichat.outcome": outcome})
        failed: Labels = {} if code is None else {"error.type": code}
        if failed:
            to.errors.add(1, {**call, **failed})
        answer = self._answer_labels(call)
        to.duration.record(self.recorder.clock() - self._began, {**answer, **failed})
        if self._start.from_cache:
            return  # what follows is about the provider, and nobody was asked
        self._measure_tokens(answer)
        if self._first is not None:
            to.first_chunk.record(self._first - self._began, answer)
            if self._last is not None and chunks > 1:
                mean = (self._last - self._first) / (chunks - 1)
                to.per_chunk.record(mean, answer)

    def _measure_tokens(self, labels: Labels) -> None:
        to, usage = self.recorder.instruments, self._usage
        for kind, tokens in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
        ):
            if tokens is not None:
                to.tokens.record(tokens, {**labels, "gen_ai.token.type": kind})
        for detail, tokens in (
            ("cache_read", usage.cache_read_tokens),
            ("cache_creation", usage.cache_write_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            if tokens:
                to.details.add(tokens, {**labels, "aichat.token.detail": detail})

    def _answer_labels(self, call: Labels) -> Labels:
        labels, words = dict(call), self.recorder.instruments
        if self._start.model is not None:
            labels["gen_ai.response.model"] = words.models.label(self._start.model)
        if self._server is not None:
            host, port = self._server
            labels["server.address"] = words.servers.label(host)
            if labels["server.address"] == host:
                labels["server.port"] = port
        return labels

    # --- the span --------------------------------------------------------------------

    def _describe(
        self, outcome: Outcome, error: BaseException | None, chunks: int
    ) -> None:
        from opentelemetry.trace import Status, StatusCode

        span, content = self._span, self.recorder.content
        span.set_attributes(about_answer(self._start, self._end))
        if not self._start.from_cache:
            span.set_attributes(about_usage(self._usage))
            # Not everybody tells what they send.
            if attempts := self._attempts(error):
                span.set_attribute("aichat.attempts", attempts)
        span.set_attributes({"aichat.outcome": outcome, "aichat.chunks": chunks})
        if self._first is not None:
            span.set_attribute(
                "gen_ai.response.time_to_first_chunk", self._first - self._began
            )
        if self.said:
            span.set_attributes(
                output_content(_folded(self.said), self._finish(outcome))
            )
        if outcome == "error" and isinstance(error, Exception):
            span.set_attributes(_about_error(error))
            # A provider's words may quote the prompt.
            words = str(error) if content else _code(error)
            span.set_status(Status(StatusCode.ERROR, words))

    def _finish(self, outcome: Outcome) -> str:
        if self._end is not None:
            return finish_word(self._end.finish_reason)
        return "error" if outcome == "error" else "length"

    def _attempts(self, error: BaseException | None) -> int:
        told = error.attempts if isinstance(error, AIChatError) else None
        return max(self._sent, told or 0)

    def _event(
        self, name: str, about: Mapping[str, str | int | float] | None = None
    ) -> None:
        if self._span.is_recording():
            self._span.add_event(name, about)

    # --- what goes on beneath --------------------------------------------------------

    def _hear(self, event: CallEvent) -> None:
        match event.kind:
            case "attempt":
                self._sent += 1
                self._asks(server_of(event.base_url))
            case "failed":
                self._failed_with = _code(event.error)
            case "waiting":
                self._waits(event)
            case "rerouted":
                self._goes_on(event)
            case "hedged":
                self.recorder.instruments.hedges.add(1, self._asked(event))
                self._event("aichat.hedge", {"aichat.model": event.model})
            case "cache":
                knew: Labels = {"aichat.cache.result": event.reason}
                labels = {**self._asked(event), **knew}
                self.recorder.instruments.cache.add(1, labels)
                self._event("aichat.cache", knew)

    def _asks(self, server: tuple[str, int] | None) -> None:
        self._server = server
        if server is not None and self._span.is_recording():
            host, port = server
            self._span.set_attributes({"server.address": host, "server.port": port})

    def _waits(self, event: CallEvent) -> None:
        to, labels = self.recorder.instruments, self._asked(event)
        why: Labels = {"aichat.wait.reason": event.reason}
        about: dict[str, str | int | float] = {"aichat.attempt": event.attempt, **why}
        # How long another call will take, nobody knows.
        if event.reason != "flight":
            about["aichat.wait.seconds"] = event.seconds
            to.waits.record(event.seconds, {**labels, **why})
        if event.reason == "backoff":
            because = _because(self._failed_with)
            to.retries.add(1, {**labels, **because})
            self._event("aichat.retry", {**about, **because})
        else:
            self._event("aichat.wait", about)

    def _goes_on(self, event: CallEvent) -> None:
        because = _because(_code(event.error))
        provider, colon, name = event.model.partition(":")
        # From here on it is them who are measured.
        self.model = name if colon else provider
        self.provider = event.provider or self.provider
        labels = {**self._asked(event), **because}
        self.recorder.instruments.reroutes.add(1, labels)
        self._event("aichat.reroute", {"aichat.model": event.model, **because})

    def _asked(self, event: CallEvent) -> Labels:
        name = provider_name(event.provider or self.provider)
        known = self.recorder.instruments.providers.label(name)
        return {"gen_ai.provider.name": known}

    def _trace_headers(self) -> Mapping[str, str]:
        """What tells the server which trace this is part of."""
        if not (self.recorder.propagate and self._span.is_recording()):
            return {}
        from opentelemetry.propagate import inject
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        with harmless():
            inject(carrier, set_span_in_context(self._span))
        return {n: v for n, v in carrier.items() if n.lower() in _TRACE_HEADERS}


def _code(error: BaseException | None) -> str | None:
    """What *error* is called in labels: one of a closed list."""
    if isinstance(error, AIChatError):
        return str(error.code)
    return "_OTHER" if isinstance(error, Exception) else None


def _because(code: str | None) -> dict[str, str]:
    return {} if code is None else {"error.type": code}


def _about_error(error: Exception) -> Attributes:
    about: Attributes = {
        "error.type": _code(error) or "_OTHER",
        "aichat.error.class": type(error).__name__,
    }
    if isinstance(error, AIChatError):
        if error.status is not None:
            about["http.response.status_code"] = error.status
        if error.phase is not None:
            about["aichat.error.phase"] = error.phase
        if error.request_id is not None:
            about["aichat.response.request_id"] = error.request_id
    return about


def _folded(said: list[StreamChunk]) -> ChatResponse:
    so_far = Accumulator()
    for chunk in said:
        so_far.add(chunk)
    return so_far.response()
