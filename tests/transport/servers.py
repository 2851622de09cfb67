"""A server that does what a test says, down to the socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self, TypeAlias

from .toys import GOOD

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Visit:
    """One connection, with the request that is being answered."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        #: Which connection it is; 1 is the first.
        self.number = number
        self.reader = reader
        self.writer = writer
        self.request = b""
        self.headers: dict[str, str] = {}
        self.body = b""
        #: Set once the client has gone.
        self.gone = asyncio.Event()

    async def next_request(self) -> bool:
        """Read a request; False if the client has left."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            self.request, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
            pairs = [line.decode().partition(":") for line in lines]
            self.headers = {name.lower(): value.strip() for name, _, value in pairs}
            length = int(self.headers.get("content-length", "0"))
            self.body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
            return False
        return True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def left(self) -> None:
        """Wait until the client has gone."""
        with suppress(ConnectionError):
            await self.reader.read()
        self.gone.set()

    def reset(self) -> None:
        """Close with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour: TypeAlias = Callable[[Visit], Awaitable[object]]


class Server:
    """Answers every request by calling *behave*; keeps the connections."""

    def __init__(self, behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.visits: list[Visit] = []
        self.requests = 0
        #: Set at the first request.
        self.asked = asyncio.Event()
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, ssl=self._tls, limit=2**22
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        visit = Visit(len(self.visits) + 1, reader, writer)
        self.visits.append(visit)
        try:
            while await visit.next_request():
                self.requests += 1
                self.asked.set()
                await self.behave(visit)
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            visit.gone.set()
            writer.transport.abort()
            self._tasks.discard(task)


async def answers(visit: Visit) -> None:
    """A good answer, in one piece."""
    await visit.send(CHUNKED + chunk(GOOD) + LAST)


async def talks_for_ever(visit: Visit) -> None:
    """An answer that begins, and then nothing."""
    await visit.send(CHUNKED + chunk(b'data: {"text":"Hel"}\n\n'))
    await visit.left()


async def says_nothing(visit: Visit) -> None:
    """No answer at all."""
    await visit.left()
