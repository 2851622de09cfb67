"""A connection that the server has closed without a word is not used again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import aclosing
from threading import Event, Thread

import pytest

from aichat.transport import HTTPRequest, Pool

ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    b"keep-alive: timeout=5, max=100\r\n\r\n{}"
)


class Server:
    """Answers each connection once, then *adds* something, and hangs up when it is told."""

    def __init__(self, adds: bytes) -> None:
        self._adds = adds
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()
        self.url = f"http://{host}:{port}"
        self.connections = 0
        self.answer_read = Event()
        self.hung_up = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if not connection.recv(65536):
                    return
                self.connections += 1
                connection.sendall(ANSWER)
                self.answer_read.wait(5)
                self.answer_read.clear()
                connection.sendall(self._adds)
            self.hung_up.set()

    def close(self) -> None:
        """End the thread."""
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


@pytest.fixture(params=[b"", ANSWER], ids=["silent", "one more answer"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that hangs up after each answer, and does not say that it will."""
    server = Server(request.param)
    yield server
    server.close()


async def test_the_end_came_while_nobody_looked(server: Server) -> None:
    """
    What has arrived on an idle connection counts, though the loop had no turn to see it.

    llama.cpp hangs up after each stream, and promises the opposite in its headers.
    """
    # C3, R2
    # aiohttp itself sends a GET again, but no POST.
    request = HTTPRequest("/", {"n": 1}, base_url=server.url)
    async with aclosing(Pool()) as pool:
        for _ in range(3):
            response = await pool.send(request, lambda _: None)
            assert response.status == 200
            assert await response.read() == b"{}"
            assert await response.read() == b""
            # From here to the next request the loop does not run.
            server.answer_read.set()
            assert server.hung_up.wait(5)
            server.hung_up.clear()
    assert server.connections == 3
