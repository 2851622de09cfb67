"""
Server-sent events with an error between them that is none.

When a stream of Gemini's fails after it has begun, the error comes as an event, or as bare
lines of JSON without ``data:`` in front, which the rules of SSE ignore as unknown fields.
"""

from __future__ import annotations

from typing import Final, final

from ..transport import ServerSentEvent, SSEDecoder
from ..types import JSONError, loads

__all__ = ["GoogleEvents"]

#: An error is shorter; what is longer is not kept.
_LONGEST: Final = 64 * 1024
#: So often it is looked whether the JSON is whole; an error has fewer lines.
_MOST_LOOKS: Final = 200


@final
class GoogleEvents(SSEDecoder):
    """
    Makes an event of type ``error`` out of JSON that stands bare.

    It is whole at the end of the line that makes it so, or else at the end of the input.
    """

    #: The JSON that has begun.
    _bare: bytearray | None = None
    _looks = 0

    @property
    def pending(self) -> ServerSentEvent | None:
        """See `SSEDecoder.pending`. Bare JSON comes out of `flush`."""
        return None if self._is_bare else super().pending

    def flush(self) -> list[ServerSentEvent]:
        """What is left: JSON that was cut off is no event for the decoder to like."""
        events = super().flush()
        if self._is_bare:
            left = bytes(self._bare or b"") + bytes(self._line)
            events.append(ServerSentEvent(left, "error"))
        return events

    def unknown(self, line: bytes) -> ServerSentEvent | None:
        """Collect the lines of bare JSON."""
        bare = self._bare
        if bare is None:
            if not _begins(line):
                return None
            bare = self._bare = bytearray()
        bare += line[: _LONGEST - len(bare)] + b"\n"
        if line.endswith((b"}", b"]")) and self._looks < _MOST_LOOKS:
            self._looks += 1
            try:
                loads(bytes(bare))
            except JSONError:
                return None
            self._bare, self._looks = None, 0
            return ServerSentEvent(bytes(bare[:-1]), "error")
        return None

    @property
    def _is_bare(self) -> bool:
        return self._bare is not None or _begins(self._line)


def _begins(line: bytes | bytearray) -> bool:
    return line.startswith((b"{", b"["))
