"""Calls with a span and measurements: what `telemetry` does where somebody listens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from .._version import __version__
from ..types import ChatRequest, EmbeddingRequest, EmbeddingResponse
from ._genai_content import Place, place_of
from ._instruments import SCHEMA, instruments_of
from ._watched_call import Recorder, WatchedCall
from ._watched_event import emitter_of

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ..costs import PriceBook

__all__ = ["recorder_of", "watched_chat", "watched_embedding"]


def recorder_of(
    tracers: TracerProvider,
    meters: MeterProvider,
    loggers: LoggerProvider | None,
    *,
    content: Place | bool | None,
    prices: PriceBook | None,
    propagate: bool,
    clock: Callable[[], float],
) -> Recorder:
    """What records with *tracers*, *meters* and *loggers*; the rest is as in `telemetry`."""
    place = place_of(content)
    return Recorder(
        tracer=tracers.get_tracer("aichat", __version__, schema_url=SCHEMA),
        instruments=instruments_of(meters),
        content=place in ("span", "both"),
        emit=emitter_of(loggers) if place in ("event", "both") else None,
        prices=prices,
        propagate=propagate,
        clock=clock,
    )


async def watched_embedding(
    recorder: Recorder,
    request: EmbeddingRequest,
    embed: Callable[[EmbeddingRequest], Awaitable[EmbeddingResponse]],
) -> EmbeddingResponse:
    """Answer with *embed*, and record it."""
    call = WatchedCall(recorder, request)
    if not call.begin():
        return await embed(request)
    try:
        with call.around():
            response = await embed(request)
        call.returned(response)
    except BaseException as error:
        call.ended(error)
        raise
    call.ended(None)
    return response


def watched_chat(recorder: Recorder, request: ChatRequest) -> WatchedCall | None:
    """Begin to record the answer to *request*; ``None`` if that fails."""
    call = WatchedCall(recorder, request)
    return call if call.begin() else None
