"""
Our own form of server-sent events, there and back.

A chunk is ``data: {"text":"Hi","chunk":"text_delta"}``, as `aichat.to_json` writes it, and
the last one is a ``response_end``. An error is an event of the type ``error``. What happens
in a run besides the chunks, such as a tool being called, is an event of a type of its own:
``tool_started``, ``tool_finished``, ``round_ended``. The last one has a ``problem``, in the
form of an error, if that answer is asked for again: whoever shows it shows it anew.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from typing import Any, Final, cast, final

from attrs import define, field, frozen

from .._feed import close
from ..errors import InvalidRequestError, ProtocolError, StreamInterruptedError
from ..tools import RoundEnded, ToolFinished, ToolStarted
from ..transport import ServerSentEvent, SSEDecoder
from ..types import Accumulator, StreamChunk, dumps, from_json, loads, to_json
from ._errors import error_body, facts, rebuild
from ._events import EventStream

__all__ = ["from_sse", "to_sse"]

#: For `from_json`, whose first parameter wants a class.
_CHUNK: Final = cast("type[StreamChunk]", StreamChunk)


def to_sse(
    stream: AsyncIterable[Any],
    *,
    heartbeat: float | None = 15.0,
    details: bool = False,
) -> EventStream:
    """
    Write *stream* as server-sent events in our own form; `from_sse` reads it.

    *stream* is what `Client.stream` or `Client.run_stream` returns, or any other chunks.
    After *heartbeat* seconds without one goes a comment, which keeps proxies from hanging up
    while the model thinks. An error is told as `error_body` has it, with or without
    *details*. All that is in a chunk goes out, what the provider wants back too.
    """
    return EventStream(stream, _Ours(details), heartbeat=heartbeat)


@final
@frozen
class _Ours:
    details: bool

    def encode(self, event: Any, /) -> bytes:
        match event:
            case ToolStarted():
                return b"event: tool_started\ndata: %b\n\n" % to_json(event)
            case ToolFinished(call, result, seconds):
                # What a tool has raised is for the server's log.
                finished = b'{"call_id":%b,"result":%b,"seconds":%b}' % (
                    dumps(call.id),
                    to_json(result),
                    dumps(seconds),
                )
                return b"event: tool_finished\ndata: %b\n\n" % finished
            case RoundEnded(number, problem=problem):
                # Its response is what the chunks before it fold to.
                told: dict[str, Any] = {"number": number}
                if problem is not None:
                    told["problem"] = facts(problem, self.details)
                return b"event: round_ended\ndata: %b\n\n" % dumps(told)
            case _ if isinstance(event, StreamChunk):
                return b"data: %b\n\n" % to_json(event)
            case _:
                kind = type(event).__name__
                raise InvalidRequestError(f"A {kind} is no chunk of a stream.")

    def error(self, error: BaseException, /) -> bytes:
        return b"event: error\ndata: %b\n\n" % dumps(facts(error, self.details))

    def error_body(self, error: BaseException, /) -> dict[str, Any]:
        return error_body(error, details=self.details)


async def from_sse(source: AsyncIterable[bytes]) -> AsyncGenerator[StreamChunk, None]:
    """
    Read what `to_sse` wrote, from bytes that may be cut anywhere.

    *source* is closed at the end if it is something that is closed. The events of a run that
    are no chunks are left out. Raises the error that was written, `ProtocolError` for what
    is none of ours, and `StreamInterruptedError` for bytes without an end; `partial` holds
    what arrived.
    """
    reader = _Reader()
    try:
        async for data in source:
            for chunk in reader.decode(data):
                yield chunk
        reader.check_end()
    finally:
        await close(source)


@final
@define
class _Reader:
    """Bytes to chunks."""

    _framing: SSEDecoder = field(factory=SSEDecoder)
    #: The answer; of a run, the one of this round.
    _so_far: Accumulator = field(factory=Accumulator)
    #: Its tools have been begun with, and the round has not ended.
    _calling: bool = False

    def decode(self, data: bytes, /) -> Iterator[StreamChunk]:
        return self._read(self._framing.decode(data))

    def check_end(self) -> None:
        """Raise if something is missing. An event without its empty line is none."""
        missing = "response_end" if not self._so_far.finished else "round_ended"
        if self._calling or not self._so_far.finished:
            raise StreamInterruptedError(
                f"The events ended without a {missing}.",
                partial=self._so_far.response(),
            )

    def _read(self, events: list[ServerSentEvent]) -> Iterator[StreamChunk]:
        for event in events:
            match event.type:
                case "message":
                    chunk = self._chunk(event.raw)
                    if self._so_far.finished:
                        self._so_far = Accumulator()
                    self._so_far.add(chunk)
                    yield chunk
                case "error":
                    raise self._error(event.raw)
                case "tool_started" | "tool_finished":
                    self._calling = True
                case "round_ended":
                    self._calling = False
                case _:
                    pass

    def _chunk(self, data: bytes) -> StreamChunk:
        try:
            return from_json(_CHUNK, data)
        except ValueError as error:
            what = str(error)
        raise ProtocolError(
            f"An event is none of aichat's: {what}", partial=self._so_far.response()
        )

    def _error(self, data: bytes) -> Exception:
        try:
            told = loads(data)
        except ValueError:
            told = None
        error = rebuild(told if isinstance(told, dict) else {})
        error.partial = self._so_far.response()
        return error
