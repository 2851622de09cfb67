"""
aiohttp's body reader without its books.

aiohttp remembers where each HTTP chunk ended, for ``readchunk``, and asks the parser to go on
after each one that is taken out of its buffer. A model's answer is a chunk per token, and
nobody here asks for chunks: the books take more time than the reading (see
``python -m benchmarks``). This reader keeps bytes and counts them, and that is all.

It changes nothing but the methods of a reader that aiohttp has made, and it reads private
attributes to do so. Where they are not what they were in aiohttp 3.12 to 3.14, `make_lean`
leaves the reader as it is: slower, and otherwise the same.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

__all__ = ["fits", "make_lean"]

#: What a piece in the buffer costs beside its bytes. With it the usual limit on what is
#: buffered also holds for a million pieces of one byte.
_PER_PIECE: Final = 64

#: Bytes that are handed up at once. Whatever is decoded in one go holds up the loop, and a
#: server may send the tiniest events as fast as it can.
_AT_ONCE: Final = 64 * 2**10

#: What we read or write, and where it has to be.
_OF_READER: Final = frozenset({
    "_buffer", "_buffer_offset", "_eof", "_exception", "_high_water", "_low_water",
    "_protocol", "_size", "_waiter",
})  # fmt: skip
_OF_PROTOCOL: Final = frozenset({"_reading_paused"})


class _LeanReader(StreamReader):
    # No attributes of its own: only so may an object change its class.
    __slots__ = ()

    # Called by the parser for every chunk. A builtin that does nothing costs a third of a
    # function that does nothing.
    begin_http_chunk_receiving: Any = staticmethod(bool)
    end_http_chunk_receiving: Any = staticmethod(bool)

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        self._buffer.append(data)
        self._size = held = self._size + len(data) + _PER_PIECE
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
        if held > self._high_water:
            self._protocol.pause_reading()
        return False

    async def readany(self) -> bytes:
        buffer = self._buffer
        while True:
            if self._exception is not None:
                raise self._exception
            while not buffer and not self._eof:
                await self._wait("readany")
            data = self._read_nowait(-1)
            if buffer:
                await asyncio.sleep(0)  # others want to live
            # Nothing is fed before the end that would not be read as the end.
            if data or self._eof:
                return data

    def _read_nowait(self, n: int) -> bytes:
        assert n == -1, "a lean reader gives what there is"
        buffer = self._buffer
        if self._size > _AT_ONCE:
            data = self._some()
        elif len(buffer) == 1:
            data = buffer.popleft()
            self._size = 0
        else:
            data = b"".join(buffer)
            buffer.clear()
            self._size = 0
        # aiohttp does this always, and it is a round through the parser.
        if self._protocol._reading_paused and self._size <= self._low_water:
            self._protocol.resume_reading()
        return data

    def _some(self) -> bytes:
        """Take no more than is decoded at once."""
        buffer, pieces, room = self._buffer, list[bytes](), _AT_ONCE
        while buffer and room > 0:
            piece = buffer.popleft()
            if len(piece) > room:
                buffer.appendleft(piece[room:])
                piece = piece[:room]
            else:
                self._size -= _PER_PIECE
            pieces.append(piece)
            room -= len(piece) + _PER_PIECE
            self._size -= len(piece)
        return b"".join(pieces)


def make_lean(reader: StreamReader) -> None:
    """Let *reader*, of an answer that is not compressed, do without books from now on."""
    if _FITS and type(reader) is StreamReader and not reader._buffer_offset:
        reader.__class__ = _LeanReader
        reader._size += _PER_PIECE * len(reader._buffer)


def fits(reader: type[object], protocol: type[object]) -> bool:
    """Whether aiohttp's classes are what this module takes them for."""
    return _slots(reader) >= _OF_READER and _slots(protocol) >= _OF_PROTOCOL


def _slots(kind: type[object]) -> frozenset[str]:
    return frozenset(kind.__dict__.get("__slots__", ()))


_FITS: Final = fits(StreamReader, BaseProtocol)
