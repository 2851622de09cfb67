"""
Bytes to server-sent events, however the bytes are cut.

The rules are those of WHATWG HTML, 9.2.5 and 9.2.6, with two additions: ceilings on
what is kept (`SSEDecoder`), and a look at what the end of input cut off (`pending`).
The standard decodes UTF-8 first and parses text; we parse bytes and decode the pieces.
That is the same, because CR, LF, colon and space are never part of a longer sequence,
valid or not.

See: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from contextlib import suppress
from copy import copy
from typing import Final, final

from ..errors import ResponseTooLargeError

__all__ = ["SSEDecoder", "ServerSentEvent"]

_BOM = b"\xef\xbb\xbf"
_LF = 0x0A
#: What no line is.
_NO_LINE = b"\n\n"
#: Longer names of types are not remembered.
_SHORT = 100
_CR = 0x0D
_COLON = 0x3A
_NO_LF = re.compile(rb"[^\n]")


@final
class ServerSentEvent:
    """
    One framed item from the wire.

    A value: nobody changes one. It is a plain class with slots, because one is made
    for every token, and attrs' frozen ``__init__`` takes twice as long.
    """

    __slots__ = ("last_event_id", "raw", "type")
    __match_args__ = ("raw", "type", "last_event_id")

    #: The data as it came, its lines joined by LF.
    raw: Final[bytes]
    #: ``"message"`` if the server named none.
    type: Final[str]
    #: The id in force when the event was dispatched; it may be an earlier event's.
    last_event_id: Final[str]

    def __init__(
        self, raw: bytes, type: str = "message", last_event_id: str = ""
    ) -> None:
        self.raw = raw
        self.type = type
        self.last_event_id = last_event_id

    @property
    def data(self) -> str:
        """The data as text, with U+FFFD for what is no UTF-8."""
        return self.raw.decode("utf-8", "replace")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServerSentEvent):
            return NotImplemented
        return (
            self.raw == other.raw
            and self.type == other.type
            and self.last_event_id == other.last_event_id
        )

    def __hash__(self) -> int:
        return hash((self.raw, self.type, self.last_event_id))

    def __repr__(self) -> str:
        return f"ServerSentEvent({self.raw!r}, {self.type!r}, {self.last_event_id!r})"


class SSEDecoder:
    """
    Turns the bytes of one text/event-stream into events.

    *max_line* bounds a line without its end, *max_event* an event's data; comments are
    not kept and count for neither. What passes a ceiling raises
    `ResponseTooLargeError` as soon as it is known, and so does every later call: there
    is no way back into such a stream. Events that were complete before it, in the same
    bytes, come out first; the error is then raised by the next `decode` or `flush`.
    """

    #: The last valid reconnection time that the server asked for, in milliseconds.
    retry: int | None
    #: The last event id that an empty line has made good.
    last_event_id: str

    def __init__(
        self, *, max_line: int = 32 * 2**20, max_event: int = 32 * 2**20
    ) -> None:
        self.retry = None
        self.last_event_id = ""
        self._max_line = max_line
        self._max_event = max_event
        # As long as no more than this is in hand, no ceiling can have been passed.
        self._safe = min(max_line, max_event)
        self._passed: str | None = None  # the name of the ceiling

        # What `_settle` looks after, and whether it has to.
        self._head: bytes | None = b""  # what may still become a byte order mark
        self._after_cr = False
        self._unsettled = True

        self._line = bytearray()  # unfinished
        self._in_comment = False  # the unfinished line is a comment, and not kept
        # The standard's buffers. Each line of data is followed by an LF, so that a
        # line of nothing differs from no line.
        self._data = bytearray()
        self._type = ""
        self._id = ""
        # At the start of a line, with nothing in hand since the last empty one.
        self._fresh = True
        # The latest line with a type, and what it said: the next is mostly the same.
        self._type_line = (_NO_LINE, "")

    def decode(self, data: bytes, /) -> list[ServerSentEvent]:
        """Return the events that *data* completes."""
        if self._unsettled or _CR in data:
            data = self._settle(data)
        events: list[ServerSentEvent] = []
        size = len(data)
        short = size <= self._safe
        at = 0
        while at < size:
            # The fast path is for what providers send nearly always: an event that is
            # all here, as one line of data, perhaps after one with its type. Lines
            # end with LF by now, so the line goes up to the next one, and if another
            # follows at once, the event is over. With nothing in hand before it, the
            # rules below would make the same event out of it and leave nothing in hand
            # after it. Anything else is left to them, from the same place.
            if short and self._fresh:
                start, name = at, ""
                has_data = data.startswith(b"data: ", at)
                if not has_data:
                    line, said = self._type_line
                    if data.startswith(line, at):
                        start, name = at + len(line), said
                    elif data.startswith(b"event: ", at):
                        start = data.find(b"\n", at) + 1 or size
                        line = data[at:start]
                        name = line[7:-1].decode("utf-8", "replace")
                        if start < at + _SHORT and start < size:
                            self._type_line = line, name
                    has_data = start > at and data.startswith(b"data: ", start)
                if has_data:
                    end = data.find(b"\n", start) + 1
                    if 0 < end < size and data[end] == _LF:
                        raw = data[start + 6 : end - 1]
                        events.append(ServerSentEvent(raw, name or "message", self._id))
                        at = end + 1
                        continue

            end = data.find(b"\n", at)
            if end < 0:
                if not self._hold(data[at:]):
                    return self._overflow(events)
                break
            line = data[at:end]
            at = end + 1
            if self._line:
                line = bytes(self._line) + line
                self._line.clear()
            if self._in_comment:
                self._in_comment = False
            elif not line:
                if event := self._dispatch():
                    events.append(event)
                if at < size and data[at] == _LF:
                    # More of them change nothing; one by one a megabyte takes a second.
                    other = _NO_LF.search(data, at)
                    at = size if other is None else other.start()
            elif line[0] != _COLON:
                if len(line) + len(self._data) > self._safe and not self._fits(
                    line, ended=True
                ):
                    return self._overflow(events)
                self._fresh = False
                if event := self._field(line):
                    events.append(event)
        return events

    def flush(self) -> list[ServerSentEvent]:
        """
        End the input; there is never anything left.

        The standard drops an event without its empty line. `at_boundary` tells whether
        that happened, and `pending` what it would have been.
        """
        if self._passed is not None:
            raise self._too_large(self._passed)
        return []

    @property
    def at_boundary(self) -> bool:
        """Whether nothing is lost if the input ends here; a comment is nothing."""
        return not (self._line or self._data or self._head)

    @property
    def pending(self) -> ServerSentEvent | None:
        """
        The event that an end of line and an empty line would complete now, if any.

        An unfinished line is taken for a whole one: its data may have been cut.
        """
        decoder = copy(self)
        decoder._data = self._data.copy()
        if self._line:
            decoder._field(bytes(self._line))
        return decoder._dispatch()

    def _settle(self, data: bytes) -> bytes:
        """
        Take a byte order mark off the start, and make every line end an LF.

        A CR counts at once, so that an event does not wait for what comes next; an LF
        that turns out to follow it is then no second line end.
        """
        if self._passed is not None:
            raise self._too_large(self._passed)
        if self._head is not None:
            data = self._head + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._head = data
                return b""
            self._head = None
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if _CR in data:
            self._after_cr = data[-1] == _CR
            # For bytes, `splitlines` knows CR, LF, CR LF and no others. It is twice as
            # fast as `replace`.
            lines = data.splitlines()
            if data[-1] in b"\r\n":
                lines.append(b"")
            data = b"\n".join(lines)
        self._unsettled = self._after_cr
        return data

    def _hold(self, piece: bytes) -> bool:
        """Keep *piece* of an unfinished line, unless it has become too long."""
        self._fresh = False
        line = self._line
        if not line and (self._in_comment or piece[0] == _COLON):
            self._in_comment = True
            return True
        line += piece
        if len(line) + len(self._data) <= self._safe:
            return True
        return self._fits(line, ended=False)

    def unknown(self, line: bytes) -> ServerSentEvent | None:
        """
        Ignore a field that the standard does not know, as it says.

        For those whose servers say something in such lines, and what event it is.
        """
        return None

    def _field(self, line: bytes) -> ServerSentEvent | None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data += value
                self._data.append(_LF)
            case b"event":
                self._type = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                # Thousands of digits are valid, but Python refuses to read them.
                with suppress(ValueError):
                    self.retry = int(value)
            case _:
                return self.unknown(line)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        """Do what an empty line asks for."""
        self._fresh = True
        self.last_event_id = self._id
        name, self._type = self._type, ""
        if not self._data:
            return None
        self._data.pop()  # the LF after the last line
        raw = bytes(self._data)
        self._data.clear()
        return ServerSentEvent(raw, name or "message", self._id)

    def _fits(self, line: bytes | bytearray, *, ended: bool) -> bool:
        """
        Whether *line*, or as much of it as has come, is below the ceilings.

        When both are passed, the one that was passed first is named: the answer must
        not depend on how the bytes were cut.
        """
        size = len(line)
        passes_line = self._max_line + 1
        passes_event = size + 1
        room = self._max_event - len(self._data)  # -1 if exactly full: an LF is in it
        if line.startswith(b"data:"):
            value = 6 if line.startswith(b" ", 5) else 5
            passes_event = value + room + 1 if room >= 0 else 5
        elif ended and line == b"data" and room < 0:
            passes_event = 4
        if size < min(passes_line, passes_event):
            return True
        self._passed = "max_line" if passes_line <= passes_event else "max_event"
        return False

    def _overflow(self, events: list[ServerSentEvent]) -> list[ServerSentEvent]:
        """Let go of what is in hand; raise, unless *events* must come out first."""
        self._line.clear()
        self._data.clear()
        self._unsettled = True
        return events or self.flush()  # which raises

    def _too_large(self, limit: str) -> ResponseTooLargeError:
        if limit == "max_line":
            what, ceiling = "An SSE line", self._max_line
        else:
            what, ceiling = "The data of an SSE event", self._max_event
        return ResponseTooLargeError(
            f"{what} is longer than {ceiling} bytes ({limit}). "
            f"Raise {limit} if such an answer is expected.",
            context={"limit": limit, "bytes": ceiling},
        )
