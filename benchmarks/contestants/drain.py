"""A socket that is read and forgotten: how fast the server can be, at most."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from ._base import PROMPT, Base

__all__ = ["Contestant"]


class Contestant(Base):
    """Counts events by their bytes; knows nothing of HTTP."""

    @asynccontextmanager
    async def stream(self) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
        """Nobody needs it."""
        raise NotImplementedError
        yield  # makes it a generator

    async def complete(self) -> str:
        """Nobody needs it."""
        raise NotImplementedError

    async def read(self) -> int:
        """Read until the end of the body, in a thread's manner: it blocks."""
        return await asyncio.to_thread(self._drain)

    def _drain(self) -> int:
        at = urlsplit(self.url)
        body = json.dumps({"model": "m", "messages": PROMPT, "stream": True})
        request = f"POST {at.path}/chat/completions HTTP/1.1\r\nhost: x\r\n"
        request += f"content-length: {len(body)}\r\n\r\n{body}"
        buffer, last = bytearray(2**18), b""
        with socket.create_connection((at.hostname, at.port or 80)) as sock:
            sock.sendall(request.encode())
            while got := sock.recv_into(buffer):
                last = (last + bytes(buffer[max(0, got - 7) : got]))[-7:]
                if last.endswith(b"\r\n0\r\n\r\n"):
                    break
        return int(at.path.partition("/n")[2].partition("-")[0])
