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
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, final

from attrs import frozen

from ..errors import ConfigError
from ..types import ChatRequest, StreamChunk
from ._compose import Handler, Middleware
from ._watching import Watch, Watcher

# What records is imported when there is something to record to: every client has one of
# these, and few processes have an SDK.
if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ..costs import Price, PriceBook
    from ..types import EmbeddingRequest, EmbeddingResponse
    from ._genai_content import Place
    from ._watched_call import Recorder

__all__ = ["Telemetry", "telemetry", "telemetry_among"]

_PLACES: Final = (None, False, True, "span", "event", "both")


def telemetry(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    content: Place | bool | None = None,
    prices: PriceBook | Mapping[str, Price] | None = None,
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

    *content* says where to put what is said: into the ``"span"``, an ``"event"`` of its own,
    which is a log record, or ``"both"``; ``True`` is the span. ``None`` leaves that to the
    variable ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT``, which says no by
    default. Keys are never recorded.

    With *prices* it also tells what answers cost. They are loaded here and now, which takes a
    second or two with a price table, so that no call has to wait for them; and they are not
    there by default, so that nobody waits who has no use for them. ``PriceBook()`` is the
    table alone.

    With *propagate* the server is told which trace it is part of, in the headers of the
    configured propagator (``traceparent``, unless you chose another one), as long as the
    span is recorded. These ids are random and mean nothing to anybody else; baggage, which
    may mean something, is not sent.

    Raises `ConfigError` for a *content* that is none of these, and for prices without the
    package that they come from.

    >>> quiet = telemetry(content=False, propagate=False)
    """
    if content not in _PLACES:
        raise ConfigError(
            "Telemetry puts content into the 'span' (or True), an 'event', 'both', or "
            f"nowhere (False); got {content!r}."
        )
    book: PriceBook | None = None
    if prices is not None:
        from ..costs import PriceBook

        book = PriceBook.of(prices).load()
    return Telemetry(
        _Settings(
            tracers=tracer_provider,
            meters=meter_provider,
            loggers=logger_provider,
            content=content,
            prices=book,
            propagate=propagate,
            enabled=enabled,
            clock=clock,
        )
    )


@frozen(kw_only=True)
class _Settings:
    """As in `telemetry`."""

    tracers: TracerProvider | None
    meters: MeterProvider | None
    loggers: LoggerProvider | None
    content: Place | bool | None
    prices: PriceBook | None
    propagate: bool
    enabled: bool
    clock: Callable[[], float]


@final
class Telemetry(Watcher):
    """The middleware that `telemetry` makes."""

    __slots__ = ("_known", "_settings")

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        #: The last providers that were found, and the recorder for them.
        self._known: tuple[object, object, Recorder | None] | None = None

    def __call__(
        self, request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        """Answer with *call_next*, and watch if there is anybody to tell."""
        if self._recorder() is None:
            return call_next(request)
        return super().__call__(request, call_next)

    def watch(self, request: ChatRequest) -> Watch | None:
        """Begin to record an answer, if there is anybody to tell."""
        recorder = self._recorder()
        if recorder is None:
            return None
        from ._watched import watched_chat

        return watched_chat(recorder, request)

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
        settings = self._settings
        if not settings.enabled:
            return None
        tracers, meters = settings.tracers, settings.meters
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

        settings = self._settings
        return recorder_of(
            tracers,
            meters,
            settings.loggers,
            content=settings.content,
            prices=settings.prices,
            propagate=settings.propagate,
            clock=settings.clock,
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
