"""
Server-sent events with an error between them that is none.

When a stream of Gemini's fails after it has begun, the error comes as an event, or as bare
lines of JSON without ``data:`` in front, which the rules of SSE ignore as unknown fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from ..transport import ServerSentEvent, SSEDecoder
from ..types import JSONError, loads

__all__ = ["GoogleEvents"]

#: A line that begins like this is no field of an event.
_BARE: Final = (b"\n{", b"\r{", b"\n[", b"\r[")
#: An error is shorter; what is longer is not kept.
_LONGEST: Final = 64 * 1024


@final
class GoogleEvents:
    """
    An `SSEDecoder` that makes an event of type ``error`` out of JSON that stands bare.
    """

    __slots__ = ("_bare", "_events", "_last")

    def __init__(self) -> None:
        self._events = SSEDecoder()
        #: The last byte so far; at the start it is as after a line end.
        self._last = b"\n"
        #: The JSON that has begun.
        self._bare: bytearray | None = None

    @property
    def pending(self) -> ServerSentEvent | None:
        """See `SSEDecoder.pending`."""
        return self._events.pending

    def decode(self, data: bytes, /) -> Iterable[ServerSentEvent]:
        """Return the events that *data* completes."""
        if self._bare is not None:
            return self._collect(data)
        seam = self._last + data[:1]
        if data:
            self._last = data[-1:]
        if seam in _BARE:
            return self._collect(data)
        found = [at for mark in _BARE if (at := data.find(mark)) >= 0]
        if not found:
            return self._events.decode(data)
        at = min(found) + 1
        return [*self._events.decode(data[:at]), *self._collect(data[at:])]

    def flush(self) -> Iterable[ServerSentEvent]:
        """What is left: JSON that was cut off is no event for the decoder to like."""
        events = [*self._events.flush()]
        if self._bare is not None:
            events.append(ServerSentEvent(bytes(self._bare), "error"))
        return events

    def _collect(self, data: bytes) -> Iterable[ServerSentEvent]:
        """Keep bare JSON until it is whole."""
        bare = self._bare = self._bare or bytearray()
        bare += data[: _LONGEST - len(bare)]
        text = bytes(bare).rstrip()
        if text[-1:] not in (b"}", b"]"):
            return ()
        try:
            loads(text)
        except JSONError:
            return ()
        self._bare = None
        self._last = b"\n"
        return (ServerSentEvent(text, "error"),)
