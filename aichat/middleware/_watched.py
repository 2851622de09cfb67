"""Calls with a span and measurements: what `telemetry` does where somebody listens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Literal

from .._version import __version__
from ..types import (
    ChatRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    StreamChunk,
    TextDelta,
)
from ._compose import Handler
from ._genai import Attributes, about_chat, about_embedding
from ._genai_content import content_wanted, input_content
from ._instruments import SCHEMA, instruments_of
from ._watched_call import Recorder, WatchedCall, harmless

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["recorder_of", "watched_chat", "watched_embedding"]


def recorder_of(
    tracers: TracerProvider,
    meters: MeterProvider,
    *,
    content: bool | None,
    propagate: bool,
    clock: Callable[[], float],
) -> Recorder:
    """What records with *tracers* and *meters*; the rest is as in `telemetry`."""
    return Recorder(
        tracer=tracers.get_tracer("aichat", __version__, schema_url=SCHEMA),
        instruments=instruments_of(meters),
        content=content_wanted() if content is None else content,
        propagate=propagate,
        clock=clock,
    )


async def watched_embedding(
    recorder: Recorder,
    request: EmbeddingRequest,
    embed: Callable[[EmbeddingRequest], Awaitable[EmbeddingResponse]],
) -> EmbeddingResponse:
    """Answer with *embed*, and record it."""
    call = _call(recorder, "embeddings", request)
    if not call.begin(partial(about_embedding, request)):
        return await embed(request)
    try:
        with call.current():
            response = await embed(request)
        call.returned(response)
    except BaseException as error:
        call.ended(error, 0)
        raise
    call.ended(None, 0)
    return response


async def watched_chat(
    recorder: Recorder, request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    """Answer with *call_next*, and record it."""
    call = _call(recorder, "chat", request)
    if not call.begin(partial(_about, recorder, request)):
        async with aclosing(call_next(request)) as chunks:
            async for unseen in chunks:
                yield unseen  # noqa: ASYNC119 -- closed by the chain
        return
    # All that nearly every chunk pays is this comparison and an addition.
    usual = TextDelta if call.said is None else None
    output = 0
    try:
        async with aclosing(call_next(request)) as chunks:
            # Until there is output things may happen beneath a pull; afterwards nothing does.
            while not call.spoken:
                with call.current():
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                output += call.note(chunk)
                yield chunk  # noqa: ASYNC119 -- closed by the chain
            async for chunk in chunks:
                if type(chunk) is usual:
                    output += 1
                else:
                    output += call.note(chunk)
                yield chunk  # noqa: ASYNC119 -- closed by the chain
    except BaseException as error:
        call.ended(error, output)
        raise
    call.ended(None, output)


def _call(
    recorder: Recorder,
    operation: Literal["chat", "embeddings"],
    request: ChatRequest | EmbeddingRequest,
) -> WatchedCall:
    return WatchedCall(
        recorder=recorder,
        operation=operation,
        provider=request.provider_name or "",
        model=request.model_name,
    )


def _about(recorder: Recorder, request: ChatRequest) -> Attributes:
    asked = about_chat(request)
    if recorder.content:
        with harmless():
            asked |= input_content(request)
    return asked
