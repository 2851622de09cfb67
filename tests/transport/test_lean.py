"""aiohttp's reader without books reads what the one with books reads."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp import ClientPayloadError, StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler
from hypothesis import given, strategies as st

from aichat.transport import _lean
from aichat.transport._lean import fits, make_lean

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LIMIT = 1000


class Wire(asyncio.Transport):
    """A transport that remembers whether somebody wants to read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


def answer(*, lean: bool, limit: int = LIMIT) -> tuple[ResponseHandler, StreamReader]:
    """A connection whose answer has begun, and what its body is read from."""
    handler = ResponseHandler(asyncio.get_running_loop())
    handler.connection_made(Wire())
    handler.set_response_params(read_bufsize=limit)
    handler.data_received(HEAD)
    reader = handler._payload
    assert reader is not None
    if lean:
        make_lean(reader)
        assert type(reader) is not StreamReader, "aiohttp has changed: look at _lean.py"
    return handler, reader


def paused(handler: ResponseHandler) -> bool:
    """Whether the server is made to wait."""
    return not cast(Wire, handler.transport).reading


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks)


CHUNKS = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


@given(CHUNKS, st.integers(1, 400), st.booleans())
def test_the_same_bytes_however_they_come(
    chunks: list[bytes], size: int, early: bool
) -> None:
    """In any chunks and any pieces, read at once or late, up to a proper end."""
    wire = chunked(*chunks) + b"0\r\n\r\n"
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)]

    async def read(*, lean: bool) -> bytes:
        handler, reader = answer(lean=lean)
        got = b""
        for piece in pieces:
            handler.data_received(piece)
            while early and reader._buffer:
                got += await reader.readany()
        while data := await reader.readany():
            got += data
        assert reader.at_eof()
        assert not await reader.readany()
        return got

    async def both() -> None:
        assert await read(lean=True) == await read(lean=False) == b"".join(chunks)

    asyncio.run(both())


async def test_who_waits_is_woken() -> None:
    """By the next bytes, and by the end."""
    handler, reader = answer(lean=True)
    waiting = asyncio.ensure_future(reader.readany())
    await asyncio.sleep(0)
    handler.data_received(chunked(b"a", b"b"))
    assert await waiting == b"ab"
    waiting = asyncio.ensure_future(reader.readany())
    await asyncio.sleep(0)
    handler.data_received(b"0\r\n\r\n")
    assert await waiting == b""


async def test_who_has_left_is_not_woken() -> None:
    """A reader that was cancelled leaves the bytes to the next one."""
    handler, reader = answer(lean=True)
    waiting = asyncio.ensure_future(reader.readany())
    await asyncio.sleep(0)
    waiting.cancel()
    handler.data_received(chunked(b"a"))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await reader.readany() == b"a"


@pytest.mark.parametrize("size", [1, 100])
async def test_a_slow_reader_makes_the_server_wait(size: int) -> None:
    """By what is held, the pieces themselves included; reading lets it go on."""  # C6
    handler, reader = answer(lean=True)
    fed = 0
    while not paused(handler):
        handler.data_received(chunked(b"x" * size))
        fed += size
        assert fed <= 2 * LIMIT + size
    assert fed * (size + 64) / size >= 2 * LIMIT
    got = await reader.readany()
    assert not paused(handler)
    # A paused parser keeps what came with the piece that was too much.
    while len(got) < fed:
        got += await reader.readany()
    assert got == b"x" * fed


@pytest.mark.parametrize("pieces", [[b"x" * 300_000], [b"x" * 100] * 3_000])
async def test_others_live_while_there_is_much_to_read(pieces: list[bytes]) -> None:
    """However fast it comes, no more than so much is handed up without a turn of the loop."""
    handler, reader = answer(lean=True, limit=2**20)
    handler.data_received(chunked(*pieces) + b"0\r\n\r\n")
    turns, got = 0, 0

    async def live() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(live())
    while data := await reader.readany():
        assert len(data) <= 64 * 2**10
        got += len(data)
    other.cancel()
    assert got == 300_000
    assert turns >= 300_000 // (64 * 2**10)
    assert reader._size == 0


async def test_what_had_come_before_the_lean_one_is_read_too() -> None:
    """The first chunks may have come together with the headers."""
    handler, reader = answer(lean=False)
    handler.data_received(chunked(b"early"))
    make_lean(reader)
    handler.data_received(chunked(b" and late"))
    assert await reader.readany() == b"early and late"


async def test_a_broken_connection() -> None:
    """It raises what aiohttp raises, and what had arrived is still there."""  # S4
    handler, reader = answer(lean=True)
    handler.data_received(chunked(b"first") + b"5\r\nsec")
    handler.connection_lost(None)
    with pytest.raises(ClientPayloadError):
        await reader.readany()
    reader.set_exception(cast(BaseException, None))
    assert reader.read_nowait() == b"firstsec"


async def test_another_reader_stays_as_it_is() -> None:
    """One of another class, and one that has been read in part."""

    class Theirs(StreamReader):
        pass

    handler, reader = answer(lean=False)
    handler.data_received(chunked(b"ab"))
    assert await reader.read(1) == b"a"
    make_lean(reader)
    assert type(reader) is StreamReader
    assert await reader.readany() == b"b"
    theirs = Theirs(handler, LIMIT)
    make_lean(theirs)
    assert type(theirs) is Theirs


def test_an_aiohttp_that_is_not_the_same_is_left_alone() -> None:
    """One that keeps its bytes, or its pauses, somewhere else."""

    class Moved:
        __slots__ = ("_buffer", "_chunks")

    class Plain:
        pass

    assert fits(StreamReader, BaseProtocol)
    assert not fits(Moved, BaseProtocol)
    assert not fits(StreamReader, Moved)
    assert not fits(Plain, Plain)


def test_it_is_in_use() -> None:
    """With the aiohttp that is installed: otherwise we would be slow without knowing."""
    fitting: Any = _lean._FITS
    assert fitting is True
