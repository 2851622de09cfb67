"""
Traces and metrics, through OpenTelemetry (O1, O2).

The span of a call is current while its answer is waited for, which is when requests are sent:
until there is output, and only during the pulls. It is never current across a ``yield``, so
what the consumer does between two chunks is the consumer's own.

OpenTelemetry is imported when the application has done so, or asks for it: without an SDK
there is nothing to record to, and this layer is not there at all.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final, final

from ..types import ChatRequest, StreamChunk
from ._compose import Handler, Middleware

# What records is imported when there is something to record to: every client has one of
# these, and few processes have an SDK.
if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ..types import EmbeddingRequest, EmbeddingResponse
    from ._watched_call import Recorder

__all__ = ["Telemetry", "telemetry", "telemetry_among"]


def telemetry(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    content: bool | None = None,
    propagate: bool = True,
    enabled: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Telemetry:
    """
    Record a span and measurements of each call, by OpenTelemetry's conventions.

    Every client has one around all its middleware, unless one is named among them: name one
    to set it up, ``telemetry(enabled=False)`` to have none, or several to see a call from
    several places. Without providers of its own it uses the global ones. Where there is no
    SDK, it is as if it were not there.

    *content* puts what is said into the spans. ``None`` leaves that to the variable
    ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``, which says no by default. Keys
    are never recorded.

    With *propagate* the server is told which trace it is part of, in the headers of the
    configured propagator (``traceparent``, unless you chose another one), as long as the
    span is recorded. These ids are random and mean nothing to anybody else; baggage, which
    may mean something, is not sent.

    >>> quiet = telemetry(content=False, propagate=False)
    """
    return Telemetry(
        tracer_provider, meter_provider, content, propagate, enabled, clock
    )


@final
class Telemetry:
    """The middleware that `telemetry` makes."""

    __slots__ = (
        "_clock",
        "_content",
        "_enabled",
        "_known",
        "_meter_provider",
        "_propagate",
        "_tracer_provider",
    )

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        content: bool | None,
        propagate: bool,
        enabled: bool,
        clock: Callable[[], float],
    ) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._content = content
        self._propagate = propagate
        self._enabled = enabled
        self._clock = clock
        #: The last providers that were found, and the recorder for them.
        self._known: tuple[object, object, Recorder | None] | None = None

    def __call__(
        self, request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        """Answer with *call_next*, and watch if there is anybody to tell."""
        recorder = self._recorder()
        if recorder is None:
            return call_next(request)
        from ._watched import watched_chat

        return watched_chat(recorder, request, call_next)

    def around(self, handler: Handler) -> Handler:
        """Return *handler* with this around it."""
        return partial(self, call_next=handler)

    async def embedding(
        self,
        request: EmbeddingRequest,
        embed: Callable[[EmbeddingRequest], Awaitable[EmbeddingResponse]],
    ) -> EmbeddingResponse:
        """Answer with *embed*, and watch if there is anybody to tell."""
        recorder = self._recorder()
        if recorder is None:
            return await embed(request)
        from ._watched import watched_embedding

        return await watched_embedding(recorder, request, embed)

    def _recorder(self) -> Recorder | None:
        """Who records; ``None`` if nobody does. Asked for every call, so it is cheap."""
        if not self._enabled:
            return None
        tracers, meters = self._tracer_provider, self._meter_provider
        if tracers is None and meters is None and not _in_use():
            return None
        from opentelemetry import metrics, trace

        tracers = trace.get_tracer_provider() if tracers is None else tracers
        meters = metrics.get_meter_provider() if meters is None else meters
        known = self._known
        if known is None or known[0] is not tracers or known[1] is not meters:
            known = self._known = (tracers, meters, self._made(tracers, meters))
        return known[2]

    def _made(self, tracers: TracerProvider, meters: MeterProvider) -> Recorder | None:
        if _does_nothing(tracers) and _does_nothing(meters):
            return None
        from ._watched import recorder_of

        return recorder_of(
            tracers,
            meters,
            content=self._content,
            propagate=self._propagate,
            clock=self._clock,
        )


#: For all clients that name no other: it has no settings, and so nothing to disagree about.
_DEFAULT: Final = telemetry()


def telemetry_among(middleware: Iterable[Middleware]) -> tuple[Telemetry, bool]:
    """The first one of *middleware*, and True; or the default one, and False."""
    for layer in middleware:
        if isinstance(layer, Telemetry):
            return layer, True
    return _DEFAULT, False


_VARIABLES: Final = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")


def _in_use() -> bool:
    """Whether anybody uses OpenTelemetry. Who has not imported it has not set it up."""
    return (
        "opentelemetry.trace" in sys.modules
        or "opentelemetry.metrics" in sys.modules
        or any(name in os.environ for name in _VARIABLES)
    )


def _does_nothing(provider: object) -> bool:
    """Whether *provider* is one of the API's own, which stand in where there is no SDK."""
    where = type(provider).__module__
    return where.startswith(("opentelemetry.trace", "opentelemetry.metrics"))
