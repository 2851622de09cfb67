"""One call, as its span and its measurements see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from attrs import define, evolve, field, frozen

from ..errors import AIChatError
from ..transport import CallEvent, listening
from ..transport._observation import observation, observe_also
from ..types import (
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    Message,
    Role,
    StreamChunk,
    Usage,
)
from ._genai import (
    Attributes,
    about,
    about_answer,
    about_observation,
    about_usage,
    finish_word,
    provider_name,
    server_of,
)
from ._genai_content import Details, as_text, input_content, output_content
from ._instruments import Instruments, Labels
from ._watched_answer import Answer
from ._watched_event import Emit
from ._watching import harmless

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from ..costs import CallCost, PriceBook, Reading

__all__ = ["Recorder", "WatchedCall"]

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


@frozen(kw_only=True)
class Recorder:
    """Where spans, measurements and events go, and what they may hold."""

    tracer: Tracer
    instruments: Instruments
    #: Whether what is said goes into spans.
    content: bool
    #: Where it goes besides.
    emit: Emit | None
    #: What tells the cost, which has been loaded.
    prices: PriceBook | None
    propagate: bool
    clock: Callable[[], float]


@final
@define(eq=False, repr=False)  # it holds the prompt
class WatchedCall:
    """A call under way. To be `ended`, however it ends."""

    recorder: Recorder
    request: ChatRequest | EmbeddingRequest
    #: Who is asked for what; another one once the call has been rerouted.
    _provider: str = field(init=False)
    _model: str = field(init=False)
    _span: Span = field(init=False)
    _headers: Mapping[str, str] = field(init=False)
    _labels: Labels = field(init=False)
    _began: float = field(init=False)
    _answer: Answer = field(init=False)
    _server: tuple[str, int] | None = None
    _sent: int = 0
    #: What the last attempt failed with. Not the error: that would hold the frame that holds
    #: us, and put off the closing of what is left until the garbage collector comes by.
    _failed_with: str | None = None

    def __attrs_post_init__(self) -> None:
        self._provider = self.request.provider_name or ""
        self._model = self.request.model_name
        wanted = self.recorder.content or self.recorder.emit is not None
        self._answer = Answer(
            clock=self.recorder.clock,
            reading=self._priced(self.request),
            said=[] if wanted else None,
        )

    def begin(self) -> bool:
        """Start the span; False if that fails, and then there is nothing to be ended."""
        with harmless():
            self._begin()
            return True
        return False

    def _begin(self) -> None:
        from opentelemetry.trace import SpanKind

        # These are there from the beginning: samplers decide by them.
        self._span = self.recorder.tracer.start_span(
            f"{self._operation} {self._model}",
            kind=SpanKind.CLIENT,
            attributes=self._asked_for(),
        )
        if self._span.is_recording():
            self._span.set_attributes(about(self.request))
            self._span.set_attributes(about_observation(observation()))
            if self.recorder.content and isinstance(self.request, ChatRequest):
                with harmless():
                    self._span.set_attributes(as_text(input_content(self.request)))
        self._headers = self._trace_headers()
        self._labels = self._call_labels()
        self._began = self.recorder.clock()
        self.recorder.instruments.active.add(1, self._labels)

    @property
    def _operation(self) -> str:
        return "chat" if isinstance(self.request, ChatRequest) else "embeddings"

    def _asked_for(self) -> Attributes:
        return {
            "gen_ai.operation.name": self._operation,
            "gen_ai.provider.name": provider_name(self._provider),
            "gen_ai.request.model": self._model,
        }

    @contextmanager
    def around(self) -> Generator[None, None, None]:
        """Be the current span, and listen; around a pull, never across a yield."""
        from opentelemetry.trace import use_span

        with (
            use_span(self._span, record_exception=False, set_status_on_exception=False),
            observe_also(self._headers),
            listening(self._hear),
        ):
            yield

    def note(self, chunks: Sequence[StreamChunk]) -> None:
        """Keep what *chunks* say of the answer."""
        self._answer.note(chunks)

    def returned(self, response: EmbeddingResponse) -> None:
        """Keep what *response* says."""
        self._answer.returned(response)

    def ended(self, error: BaseException | None) -> None:
        """Record how it ended."""
        with harmless():
            outcome = self._outcome(error)
            cost = self._cost()
            self._measure(outcome, _code(error), cost)
            if self._span.is_recording():
                self._describe(outcome, error, cost)
            with harmless():
                self._emit(outcome, error)
        with harmless():
            self._span.end()

    def _outcome(self, error: BaseException | None) -> Outcome:
        match error:
            case None:
                return "success"
            case _ if isinstance(error, Exception):
                return "error"
            # Who leaves after the last chunk has not missed anything.
            case _ if self._answer.end is not None:
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
        provider = provider_name(self._provider)
        return {
            "gen_ai.operation.name": self._operation,
            "gen_ai.provider.name": instruments.providers.label(provider),
            "gen_ai.request.model": instruments.models.label(self._model),
        }

    def _measure(
        self, outcome: Outcome, code: str | None, cost: CallCost | None
    ) -> None:
        to, answer = self.recorder.instruments, self._answer
        to.active.add(-1, self._labels)
        call = self._call_labels()
        to.requests.add(1, {**call, "aichat.outcome": outcome})
        failed: Labels = {} if code is None else {"error.type": code}
        if failed:
            to.errors.add(1, {**call, **failed})
        labels = self._answer_labels(call)
        to.duration.record(self.recorder.clock() - self._began, {**labels, **failed})
        if answer.start.from_cache:
            return  # what follows is about the provider, and nobody was asked
        self._measure_tokens(labels)
        if cost is not None:
            estimated: Labels = {"aichat.cost.estimated": cost.estimated}
            to.cost.add(float(cost.total), {**labels, **estimated})
        if answer.first is not None:
            to.first_chunk.record(answer.first - self._began, labels)
            if answer.last is not None and answer.output > 1:
                mean = (answer.last - answer.first) / (answer.output - 1)
                to.per_chunk.record(mean, labels)

    def _measure_tokens(self, labels: Labels) -> None:
        to, usage = self.recorder.instruments, self._answer.usage
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
        model = self._answer.start.model
        if model is not None:
            labels["gen_ai.response.model"] = words.models.label(model)
        if self._server is not None:
            host, port = self._server
            labels["server.address"] = words.servers.label(host)
            if labels["server.address"] == host:
                labels["server.port"] = port
        return labels

    # --- what it cost ----------------------------------------------------------------

    def _priced(self, request: ChatRequest | EmbeddingRequest) -> Reading | None:
        if self.recorder.prices is None or not isinstance(request, ChatRequest):
            return None
        from ..costs import Reading

        return Reading(request)

    def _cost(self) -> CallCost | None:
        """What it cost, if that is wanted and known; what is from a cache cost nothing."""
        prices, answer = self.recorder.prices, self._answer
        if prices is None or answer.start.from_cache:
            return None
        with harmless():
            if answer.reading is None:
                return self._embedding_cost(prices)
            if answer.reading.came or answer.reading.texts:
                return answer.reading.cost(prices)
        return None

    def _embedding_cost(self, prices: PriceBook) -> CallCost | None:
        from ..costs import cost_of

        usage = self._answer.usage
        if usage.input_tokens is None:
            return None
        return cost_of(
            ChatResponse(
                message=Message(Role.ASSISTANT, ()),
                usage=Usage(input_tokens=usage.input_tokens, output_tokens=0),
                provider=self._provider,
                model=self._model,
            ),
            prices=prices,
        )

    # --- the span, and the event ------------------------------------------------------

    def _describe(
        self, outcome: Outcome, error: BaseException | None, cost: CallCost | None
    ) -> None:
        from opentelemetry.trace import Status, StatusCode

        span, answer = self._span, self._answer
        span.set_attributes(self._answered())
        # Not everybody tells what they send.
        if not answer.start.from_cache and (attempts := self._attempts(error)):
            span.set_attribute("aichat.attempts", attempts)
        span.set_attributes({"aichat.outcome": outcome, "aichat.chunks": answer.output})
        if cost is not None:
            span.set_attribute("aichat.cost.usd", float(cost.total))
            span.set_attribute("aichat.cost.estimated", cost.estimated)
        if answer.first is not None:
            span.set_attribute(
                "gen_ai.response.time_to_first_chunk", answer.first - self._began
            )
        if self.recorder.content and answer.said:
            span.set_attributes(as_text(self._output(outcome)))
        if outcome == "error" and isinstance(error, Exception):
            span.set_attributes(_about_error(error))
            # A provider's words may quote the prompt.
            words = str(error) if self.recorder.content else _code(error)
            span.set_status(Status(StatusCode.ERROR, words))

    def _answered(self) -> Attributes:
        answer = self._answer
        answered = about_answer(answer.start, answer.end)
        return (
            answered
            if answer.start.from_cache
            else answered | about_usage(answer.usage)
        )

    def _emit(self, outcome: Outcome, error: BaseException | None) -> None:
        """Say what was said, apart from the span, and as a part of its trace."""
        emit, request = self.recorder.emit, self.request
        if emit is None or not isinstance(request, ChatRequest):
            return
        said: Details = {
            **self._asked_for(),
            **about(request),
            **about_observation(observation()),
            **self._answered(),
            **_because(_code(error)),
            **input_content(request),
            **(self._output(outcome) if self._answer.said else {}),
        }
        if self._server is not None:
            said["server.address"], said["server.port"] = self._server
        emit(said, self._span)

    def _output(self, outcome: Outcome) -> Details:
        return output_content(self._answer.folded(), self._finish(outcome))

    def _finish(self, outcome: Outcome) -> str:
        if self._answer.end is not None:
            return finish_word(self._answer.end.finish_reason)
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
        self._model = name if colon else provider
        self._provider = event.provider or self._provider
        if self._answer.reading is not None:
            address = f"{self._provider}:{self._model}"
            self._answer.reading = self._priced(evolve(self.request, model=address))
        labels = {**self._asked(event), **because}
        self.recorder.instruments.reroutes.add(1, labels)
        self._event("aichat.reroute", {"aichat.model": event.model, **because})

    def _asked(self, event: CallEvent) -> Labels:
        name = provider_name(event.provider or self._provider)
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
