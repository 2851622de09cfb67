"""Metrics for those who have a system of their own for them, and not OpenTelemetry."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol, final, runtime_checkable

from attrs import define, field

from ..errors import AIChatError, ConfigError
from ..types import (
    ChatRequest,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    Usage,
    UsageUpdate,
)
from ._compose import Handler, Middleware

__all__ = ["ChunkCollector", "MetricsCollector", "metrics"]

_log = logging.getLogger("aichat")

#: So many chunks are told of at once.
_BATCH: Final = 64


@runtime_checkable
class MetricsCollector(Protocol):
    """
    Takes the figures of calls: Prometheus, StatsD, a list in a test.

    *provider* and *model* are those that were asked for, the same for all that is told of a
    call. It is called in the middle of it: it must not block. What it raises is logged and
    does not harm the call. With threads that have a loop each, it is called from all.
    """

    def record_request(self, provider: str, model: str) -> object:
        """A call has begun."""
        ...

    def record_response(
        self,
        provider: str,
        model: str,
        duration: float,
        usage: Usage,
        error: str | None,
    ) -> object:
        """
        The call has ended, after *duration* seconds; once for each `record_request`.

        *error* is ``None`` for an answer that came to its end, an `ErrorCode`,
        ``cancelled``, ``closed`` for a stream that was left, or ``other``: few values, safe
        as a label. *usage* has nothing in it for an answer from a cache.
        """
        ...


@runtime_checkable
class ChunkCollector(MetricsCollector, Protocol):
    """A `MetricsCollector` that also wants to know how streams go on, which costs a little."""

    def record_chunk(self, provider: str, model: str, count: int) -> object:
        """So many more chunks have come: the first one at once, then by the 64."""
        ...


def metrics(
    collector: MetricsCollector, *, clock: Callable[[], float] = time.perf_counter
) -> Middleware:
    """
    Tell *collector* of each call.

    Outermost it sees a call as the application does, with its cache hits and detours;
    innermost it sees every model that was asked. Raises `ConfigError` for one that is no
    `MetricsCollector`.
    """
    if not isinstance(collector, MetricsCollector):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
        raise ConfigError(
            "A metrics collector has the methods record_request and record_response; "
            f"{collector!r} has not."
        )
    told = collector.record_chunk if isinstance(collector, ChunkCollector) else None

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        call = _Call(request.provider_name or "", request.model_name)
        began = clock()
        call.tell(collector.record_request)
        try:
            chunks = call_next(request)
            if told is None:
                async for chunk in chunks:
                    # The only thing that most chunks pay.
                    if type(chunk) is not TextDelta:
                        call.note(chunk)
                    yield chunk
            else:
                count, wanted = 0, 1
                try:
                    async for chunk in chunks:
                        count += 1
                        if count == wanted:
                            call.tell(told, count)
                            count, wanted = 0, _BATCH
                        if type(chunk) is not TextDelta:
                            call.note(chunk)
                        yield chunk
                finally:
                    if count:
                        call.tell(told, count)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            usage, failed = call.usage, call.error
            call.tell(collector.record_response, clock() - began, usage, failed)

    return middleware


@final
@define(eq=False)
class _Call:
    provider: str
    model: str
    usage: Usage = field(factory=Usage)
    error: str | None = None
    _ended: bool = False
    _cached: bool = False

    def note(self, chunk: StreamChunk) -> None:
        match chunk:
            case UsageUpdate(usage=usage) if not self._cached:
                self.usage = usage
            case ResponseStart(from_cache=True):
                self._cached = True
            case ResponseEnd():
                self._ended = True
            case _:
                pass  # says nothing that is counted

    def fail(self, error: BaseException) -> None:
        match error:
            case AIChatError():
                self.error = str(error.code)
            case Exception():
                self.error = "other"
            # Who leaves after the last chunk has not missed anything.
            case GeneratorExit() if not self._ended:
                self.error = "closed"
            case _ if not self._ended:
                self.error = "cancelled"
            case _:
                pass

    def tell(self, record: Callable[..., object], *figures: object) -> None:
        try:
            record(self.provider, self.model, *figures)
        except Exception:
            # Whoever only watches must not be what breaks the call.
            _log.exception("A metrics collector raised")
