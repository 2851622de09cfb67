"""
Server-sent events with an error between them that is none.

When a stream of Gemini's fails after it has begun, the error comes as an event, or as bare
lines of JSON without ``data:`` in front, which the rules of SSE ignore as unknown fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, final

from ..transport import ServerSentEvent, SSEDecoder
from ..types import JSONError, loads

__all__ = ["GoogleEvents"]

#: A line that begins like this is no field of an event.
_BARE: Final = (b"\n{", b"\r{", b"\n[", b"\r[")
_LINE_END: Final = re.compile(rb"[\r\n]")
#: An error is shorter; what is longer is not kept.
_LONGEST: Final = 64 * 1024
#: So often it is looked whether the JSON is whole; an error has fewer lines.
_MOST_LOOKS: Final = 200


@final
class GoogleEvents:
    """
    An `SSEDecoder` that makes an event of type ``error`` out of JSON that stands bare.

    It is whole at the end of the line that makes it so, or else at the end of the input.
    """

    __slots__ = ("_after_cr", "_bare", "_events", "_last", "_looks")

    def __init__(self) -> None:
        self._events = SSEDecoder()
        #: The last byte so far; at the start it is as after a line end.
        self._last = b"\n"
        #: The JSON that has begun.
        self._bare: bytearray | None = None
        self._looks = 0
        #: Whether an LF now would be the rest of the line end after the JSON.
        self._after_cr = False

    @property
    def pending(self) -> ServerSentEvent | None:
        """See `SSEDecoder.pending`."""
        return self._events.pending

    def decode(self, data: bytes, /) -> Iterable[ServerSentEvent]:
        """Return the events that *data* completes."""
        if self._bare is None and not self._after_cr and _begin(self._last, data) < 0:
            self._last = data[-1:] or self._last
            return self._events.decode(data)
        events: list[ServerSentEvent] = []
        while data:
            if self._after_cr:
                self._after_cr = False
                data = data.removeprefix(b"\n")
                continue
            if self._bare is None:
                at = _begin(self._last, data)
                events += self._events.decode(data if at < 0 else data[:at])
                if at < 0:
                    self._last = data[-1:]
                    break
                data = data[at:]
                self._bare = bytearray()
            data = self._collect(self._bare, data, events)
        return events

    def flush(self) -> Iterable[ServerSentEvent]:
        """What is left: JSON that was cut off is no event for the decoder to like."""
        events = [*self._events.flush()]
        if self._bare is not None:
            events.append(ServerSentEvent(bytes(self._bare), "error"))
        return events

    def _collect(
        self, bare: bytearray, data: bytes, events: list[ServerSentEvent]
    ) -> bytes:
        """Take one line, or what there is of it, and return the rest of *data*."""
        end = _LINE_END.search(data)
        line = data[: end.end()] if end else data
        bare += line[: _LONGEST - len(bare)]
        if end and bytes(bare[-2:-1]) in (b"}", b"]") and self._looks < _MOST_LOOKS:
            self._looks += 1
            try:
                loads(bytes(bare))
            except JSONError:
                pass
            else:
                events.append(ServerSentEvent(bytes(bare[:-1]), "error"))
                self._bare, self._looks = None, 0
                self._last, self._after_cr = b"\n", end[0] == b"\r"
        return data[len(line) :]


def _begin(last: bytes, data: bytes) -> int:
    """Where in *data*, which follows *last*, bare JSON begins; -1 if nowhere."""
    if last + data[:1] in _BARE:
        return 0
    found = [at for mark in _BARE if (at := data.find(mark)) >= 0]
    return min(found) + 1 if found else -1
