"""
Bytes to lines of JSON, for those who do not speak SSE.

Only LF ends a line, one CR before it belongs to the line end, and blank lines are
nothing. Whether a line is JSON is not decided here.

See: https://github.com/ndjson/ndjson-spec
"""

from __future__ import annotations

from typing import final

from ..errors import ResponseTooLargeError

__all__ = ["NDJSONDecoder"]

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"  # what JSON calls whitespace, without the LF


@final
class NDJSONDecoder:
    """
    Turns the bytes of one stream of JSON lines into lines.

    *max_line* bounds a line without its end. What passes it raises
    `ResponseTooLargeError` as soon as it is known, and so does every later call. Lines
    that were complete before it, in the same bytes, come out first; the error is then
    raised by the next `decode` or `flush`.
    """

    def __init__(self, *, max_line: int = 32 * 2**20) -> None:
        self._max_line = max_line
        self._passed = False
        self._head: bytes | None = b""  # what may still become a byte order mark
        self._line = bytearray()  # unfinished

    def decode(self, data: bytes, /) -> list[bytes]:
        """Return the lines that *data* completes, without their ends."""
        if self._passed:
            raise self._too_large()
        if self._head is not None:
            data = self._head + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._head = data
                return []
            self._head = None
            data = data.removeprefix(_BOM)

        end = data.rfind(b"\n")
        if end < 0:
            self._line += data
            return [] if self._fits(self._line) else self._overflow([])
        ended = data[:end].split(b"\n")
        ended[0] = bytes(self._line) + ended[0]
        self._line = bytearray(data[end + 1 :])

        lines: list[bytes] = []
        for line in ended:
            if not line:
                continue
            if not self._fits(line):
                return self._overflow(lines)
            if line.strip(_BLANK):
                lines.append(line.removesuffix(b"\r"))
        return lines if self._fits(self._line) else self._overflow(lines)

    def flush(self) -> list[bytes]:
        """
        End the input, and return the last line if it had no end.

        It may have been cut; then it is no JSON, and whoever reads it will notice.
        """
        if self._passed:
            raise self._too_large()
        line = self.pending
        self._head = None
        self._line.clear()
        return [] if line is None else [line]

    @property
    def at_boundary(self) -> bool:
        """Whether the input so far ends with a whole line."""
        return self.pending is None

    @property
    def pending(self) -> bytes | None:
        """The last line, if it is not blank and has no end yet."""
        line = self._head or bytes(self._line)
        return line.removesuffix(b"\r") if line.strip(_BLANK) else None

    def _fits(self, line: bytes | bytearray) -> bool:
        # A CR at the end may be half of a line end.
        size = len(line) - line.endswith(b"\r")
        return size <= self._max_line

    def _overflow(self, lines: list[bytes]) -> list[bytes]:
        """Let go of what is in hand; raise, unless *lines* must come out first."""
        self._passed = True
        self._line.clear()
        return lines or self.flush()  # which raises

    def _too_large(self) -> ResponseTooLargeError:
        return ResponseTooLargeError(
            f"A line of JSON is longer than {self._max_line} bytes (max_line). "
            "Raise max_line if such an answer is expected.",
            context={"limit": "max_line", "bytes": self._max_line},
        )
