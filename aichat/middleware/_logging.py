"""
A log line for whatever matters in a call (O4).

::

    AI request started      provider, model, messages
    AI request retried      before the wait; waiting, rerouted, hedged, cached: likewise
    AI request completed    with tokens and durations; failed, or left, with the same fields
"""

from __future__ import annotations

import logging as standard
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, Protocol, TypeAlias, final

from attrs import define, field

from ..errors import AIChatError, ConfigError, ProviderError
from ..transport import CallEvent, listening
from ..transport._observation import observation
from ..types import (
    ChatRequest,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    Usage,
    UsageUpdate,
)
from ._compose import Middleware
from ._trace_ids import trace_ids
from ._watching import Watch, Watcher

__all__ = ["Logger", "logging"]

_log = standard.getLogger("aichat")

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
_LEVELS: Final = ("debug", "info", "warning", "error")


class Logger(Protocol):
    """
    Who writes the lines: one of the standard library, of structlog, or your own.

    *extra* holds the fields. Must not block for long; what it raises does not harm the call.
    """

    def debug(self, msg: str, /, *, extra: Mapping[str, Any]) -> object: ...
    def info(self, msg: str, /, *, extra: Mapping[str, Any]) -> object: ...
    def warning(self, msg: str, /, *, extra: Mapping[str, Any]) -> object: ...
    def error(self, msg: str, /, *, extra: Mapping[str, Any]) -> object: ...


def logging(
    logger: Logger | None = None,
    *,
    content: bool = False,
    level: Level = "info",
    clock: Callable[[], float] = time.perf_counter,
) -> Middleware:
    """
    Log that a request started, and that it completed, failed or was left.

    In between: retries and detours to other models (warnings), waits, hedges and the cache.
    What goes well is logged at *level*, failures as errors. Without *logger* it is
    ``logging.getLogger("aichat")``, which is not configured by us.

    The fields are in ``extra``: provider, model and messages (how many) in every line, and
    the trace's id if OpenTelemetry has one; what `observe` said, as operation,
    app_request_id, user_id and session_id; at the end tokens, input_tokens, output_tokens,
    duration_ms, time_to_first_chunk_ms, attempts, finish_reason, request_id and who
    answered; for failures error_code, error_type, status and gave_up. What is not known is
    ``None``.

    What was said, ``prompt`` and ``answer``, is logged only with *content*. A key never is.
    """
    if level not in _LEVELS:
        raise ConfigError(
            f"The level of logging is one of {', '.join(_LEVELS)}; got {level!r}."
        )
    lines = _Lines(_log if logger is None else logger, level)
    return _Logging(lines, content=content, clock=clock)


@final
class _Logging(Watcher):
    """The middleware that `logging` makes."""

    __slots__ = ("_clock", "_content", "_lines")

    def __init__(
        self, lines: _Lines, *, content: bool, clock: Callable[[], float]
    ) -> None:
        self._lines = lines
        self._content = content
        self._clock = clock

    def watch(self, request: ChatRequest) -> Watch:
        """Log that a call has started."""
        call = _Call(self._lines, request, self._clock, self._content)
        call.started()
        return call


#: The events that are worth a line, and its level if it is not that of all.
_EVENTS: Final[Mapping[tuple[str, str], tuple[str, Level | None]]] = {
    ("waiting", "backoff"): ("AI request retried", "warning"),
    ("waiting", "limiter"): ("AI request waiting", None),
    ("waiting", "flight"): ("AI request waiting", None),
    ("rerouted", ""): ("AI request rerouted", "warning"),
    ("hedged", ""): ("AI request hedged", None),
    ("cache", "hit"): ("AI request cached", "debug"),
    ("cache", "miss"): ("AI request not cached", "debug"),
    ("cache", "shared"): ("AI request shared", "debug"),
}


@final
@define(eq=False)
class _Lines:
    """Where lines go."""

    logger: Logger
    level: Level

    def write(
        self, level: Level | None, message: str, fields: Mapping[str, Any]
    ) -> None:
        write = getattr(self.logger, level or self.level)
        try:
            write(message, extra=fields)
        except Exception:
            # Whoever only watches must not be what breaks the call.
            _log.exception("A logger raised")


@final
@define(eq=False, repr=False)  # it holds the prompt
class _Call:
    """What is known of a call, for its lines."""

    lines: _Lines
    request: ChatRequest
    clock: Callable[[], float]
    content: bool
    _began: float = field(init=False)
    _first: float | None = None
    #: In every line.
    _common: dict[str, Any] = field(init=False)
    _start: ResponseStart = field(factory=ResponseStart)
    _usage: Usage = field(factory=Usage)
    _end: ResponseEnd | None = None
    #: What was said, if that is wanted.
    _words: list[str] = field(factory=list)
    _sent: int = 0
    _retries: int = 0
    _cache: str | None = None
    _failure: AIChatError | None = None

    def __attrs_post_init__(self) -> None:
        self._began = self.clock()
        # The trace is asked for now: later on, the span of this call may not be current.
        self._common = {
            "provider": self.request.provider_name,
            "model": self.request.model_name,
            "messages": len(self.request.messages),
            **_observed(),
            **trace_ids(),
        }

    def started(self) -> None:
        fields = dict(self._common)
        if self.content:
            said = self.request.messages
            fields["prompt"] = [{"role": str(m.role), "text": m.text} for m in said]
        self.lines.write(None, "AI request started", fields)

    def hear(self, event: CallEvent) -> None:
        """Listen to what goes on beneath, and log what is worth a line."""
        match event.kind:
            case "attempt":
                self._sent += 1
            case "failed":
                self._failure = event.error
            case "cache":
                self._cache = event.reason
            case "waiting" if event.reason == "backoff":
                self._retries += 1
            case _:
                pass  # counts for nothing
        line = _EVENTS.get((event.kind, event.reason))
        if line is None:
            return
        message, level = line
        fields: dict[str, Any] = dict(self._common)
        if event.kind == "waiting":
            fields |= {
                "reason": event.reason,
                "attempt": event.attempt,
                "wait_ms": _ms(event.seconds),
            }
        if event.kind in ("rerouted", "hedged"):
            fields["to_model"] = event.model
        if message in ("AI request retried", "AI request rerouted"):
            fields |= _facts(event.error or self._failure)
        self.lines.write(level, message, fields)

    def around(self) -> AbstractContextManager[None]:
        """Hear what goes on beneath."""
        return listening(self.hear)

    def note(self, chunks: Sequence[StreamChunk]) -> None:
        """Keep what *chunks* say for the last line."""
        if self.content:
            self._words += [c.text for c in chunks if isinstance(c, TextDelta)]
        if self._first is None and not isinstance(
            chunks[0], (ResponseStart, UsageUpdate)
        ):
            self._first = self.clock()
        # Nearly all of them are text.
        if list(map(type, chunks)).count(TextDelta) < len(chunks):
            for chunk in chunks:
                if type(chunk) is not TextDelta:
                    self._note(chunk)

    def _note(self, chunk: StreamChunk) -> None:
        match chunk:
            case ResponseStart():
                self._start = chunk
            case UsageUpdate(usage=usage):
                self._usage = usage
            case ResponseEnd():
                self._end = chunk
            case _:
                pass  # says nothing that a line would

    def ended(self, error: BaseException | None) -> None:
        """Log how it ended. Who leaves after the last chunk has not missed anything."""
        fields = self._common | self._outcome()
        write = self.lines.write
        if isinstance(error, Exception):
            if isinstance(error, AIChatError):
                fields["attempts"] = max(self._sent, self._attempts(error))
                fields["request_id"] = error.request_id or fields["request_id"]
            write("error", "AI request failed", fields | _facts(error))
        elif error is None or self._end is not None:
            write(None, "AI request completed", fields)
        else:
            closed = isinstance(error, GeneratorExit)
            fields["reason"] = "closed" if closed else "cancelled"
            write(None, "AI request left", fields)

    def _attempts(self, error: AIChatError) -> int:
        if error.attempts is not None:
            return error.attempts
        # What is our own doing was not sent.
        return self._retries + 1 if isinstance(error, ProviderError) else 0

    def _outcome(self) -> dict[str, Any]:
        start, usage, end = self._start, self._usage, self._end
        first = None if self._first is None else _ms(self._first - self._began)
        fields: dict[str, Any] = {
            "duration_ms": _ms(self.clock() - self._began),
            "time_to_first_chunk_ms": first,
            "tokens": usage.total_tokens,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "finish_reason": None if end is None else str(end.finish_reason),
            "request_id": start.request_id,
            "response_provider": start.provider,
            "response_model": start.model,
            # Not everybody tells what they send.
            "attempts": self._sent
            or (0 if self._cache == "hit" else self._retries + 1),
        }
        if self._cache is not None:
            fields["cache"] = self._cache
        if self.content:
            fields["answer"] = "".join(self._words)
        return fields


def _observed() -> dict[str, str]:
    """What `observe` has said. The id of the application's own request is not the provider's."""
    here = observation()
    ids = {
        "operation": here.operation,
        "app_request_id": here.request_id,
        "user_id": here.user_id,
        "session_id": here.session_id,
    }
    return {name: said for name, said in ids.items() if said is not None}


def _facts(error: Exception | None) -> dict[str, Any]:
    """What may be said of *error*; of one that is not ours, the words may be anybody's."""
    if isinstance(error, AIChatError):
        return {
            "error": str(error),
            "error_code": str(error.code),
            "error_type": type(error).__name__,
            "status": error.status,
            "provider_code": error.provider_code,
            "gave_up": error.context.get("gave_up"),
        }
    return {"error_type": type(error).__name__} if error is not None else {}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
