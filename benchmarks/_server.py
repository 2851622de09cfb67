"""
A provider that costs next to nothing: precomputed bytes, in all five dialects.

Run by the benchmarks as ``python -m benchmarks._server``; it prints its port. What it answers
stands in front of the path (`prefix`): how many events, how many per HTTP chunk, and how many
milliseconds between chunks; without a pause whatever the socket takes is written at once.
"""

from __future__ import annotations

import asyncio
import re
import sys
from functools import lru_cache
from itertools import cycle
from typing import Any, Final, NamedTuple, cast

from . import _machine
from ._answers import DIALECTS, PERIOD

__all__ = ["Plan", "main", "plan", "prefix"]

_PATHS: Final = {
    "/chat/completions": "openai-chat",
    "/responses": "openai",
    "/messages": "anthropic",
    "enerateContent": "google",
    "/api/chat": "ollama",
}
_PREFIX: Final = re.compile(rb" /n(\d+)-p(\d+)-w(\d+)(-close)?/")
#: About what a socket takes at once.
_BLOCK: Final = 128 * 2**10
#: Seconds between two looks at the streams with a pause.
_TICK: Final = 0.005
#: How many of the precomputed answers are kept: some are large.
_KEPT: Final = 64


def prefix(
    events: int, *, per_chunk: int = 1, pause_ms: int = 0, close: bool = False
) -> str:
    """What to put in front of a path, to be answered so."""
    return f"/n{events}-p{per_chunk}-w{pause_ms}{'-close' if close else ''}"


class Plan(NamedTuple):
    """What to write: *head*, then the *blocks* in turn, so many *times*, then *tail*."""

    head: bytes
    blocks: tuple[bytes, ...] = ()
    times: int = 0
    tail: bytes = b""


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _status(content_type: str, *, close: bool) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"content-type: {content_type}"]
    lines += ["connection: close"] if close else []
    return "\r\n".join(lines).encode()


@lru_cache(_KEPT)
def plan(
    dialect: str, events: int, per_chunk: int, *, paced: bool, close: bool
) -> Plan:
    """How to answer with a stream."""
    answer = DIALECTS[dialect](events)
    head = _status(answer.content_type, close=close)
    head += b"\r\ntransfer-encoding: chunked\r\n\r\n" + _http_chunk(answer.begin)
    turn = answer.events * per_chunk
    pieces = tuple(
        _http_chunk(b"".join(turn[at : at + per_chunk]))
        for at in range(0, len(turn), per_chunk)
    )
    count = events // per_chunk
    tail = _http_chunk(answer.end) + b"0\r\n\r\n"
    if paced:
        return Plan(head, pieces, count, tail)
    period = b"".join(pieces)
    whole, rest = divmod(count, PERIOD)
    tail = b"".join(pieces[:rest]) + tail
    if len(period) * whole <= _BLOCK:
        return Plan(head + period * whole + tail)
    many = _BLOCK // len(period) or 1
    times, left = divmod(whole, many)
    return Plan(head, (period * many,), times, period * left + tail)


@lru_cache(_KEPT)
def document(dialect: str, events: int, *, close: bool) -> Plan:
    """How to answer without a stream."""
    body = DIALECTS[dialect](events).document
    head = _status("application/json", close=close)
    head += b"\r\ncontent-length: %d\r\n\r\n" % len(body)
    return Plan(head + body)


class _Wheel:
    """Gives every stream its turn, once in *pause* seconds, and all of them evenly."""

    def __init__(self, pause: float) -> None:
        self._slots: list[dict[_Connection, None]] = [
            {} for _ in range(max(1, round(pause / _TICK)))
        ]
        self._next = cycle(self._slots)
        self._turns = cycle(self._slots)
        self._task = asyncio.create_task(self._run())

    def add(self, connection: _Connection) -> None:
        slot = next(self._next)
        slot[connection] = None
        connection.slot = slot

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += _TICK
            await asyncio.sleep(due - loop.time())
            for connection in list(next(self._turns)):
                connection.turn()


class _Connection(asyncio.Protocol):
    """One connection, one request after the other."""

    wheels: Final[dict[int, _Wheel]] = {}

    def __init__(self) -> None:
        self.slot: dict[_Connection, None] = {}
        self._transport = cast(asyncio.Transport, None)
        self._received = b""
        self._plan = Plan(b"")
        self._left = 0
        self._writable = True
        self._close = False
        self._paced = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=2 * _BLOCK)

    def connection_lost(self, exc: Exception | None) -> None:
        self.slot.pop(self, None)
        self._left = 0
        self._writable = False

    def data_received(self, data: bytes) -> None:
        data = self._received = self._received + data
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        head = data[:end]
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        size = end + (int(length[1]) if length else 0)
        if len(data) < size:
            return
        self._received = b""
        self._answer(head, data[end:size])

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if not self._paced:
            self._pump()

    def turn(self) -> None:
        """Write the next chunk of a stream with pauses."""
        if self._left:
            at = self._plan.times - self._left
            self._left -= 1
            self._transport.write(self._plan.blocks[at % PERIOD])
        else:
            self.slot.pop(self, None)
            self._transport.write(self._plan.tail)

    def _answer(self, head: bytes, body: bytes) -> None:
        line = head.partition(b"\r\n")[0]
        asked = _PREFIX.search(line)
        path = line.split(b" ")[1].partition(b"?")[0].decode()
        dialect = next((d for end, d in _PATHS.items() if path.endswith(end)), None)
        if asked is None or dialect is None:
            self._transport.write(
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
            )
            return
        events, per_chunk, pause = (int(number) for number in asked.groups()[:3])
        self._close, self._paced = asked[4] is not None, pause > 0
        if not _wants_stream(dialect, path, body):
            self._start(document(dialect, events, close=self._close))
            return
        self._start(
            plan(dialect, events, per_chunk, paced=self._paced, close=self._close)
        )
        if self._paced:
            if pause not in self.wheels:
                self.wheels[pause] = _Wheel(pause / 1000)
            self.wheels[pause].add(self)

    def _start(self, plan: Plan) -> None:
        self._plan, self._left = plan, plan.times
        self._transport.write(plan.head)
        if not self._paced:
            self._pump()

    def _pump(self) -> None:
        while self._writable and self._left:
            self._left -= 1
            self._transport.write(self._plan.blocks[0])
            if not self._left:
                self._transport.write(self._plan.tail)
        if self._close and not self._left:
            self._transport.close()


def _wants_stream(dialect: str, path: str, body: bytes) -> bool:
    if dialect == "google":
        return path.endswith("streamGenerateContent")
    body = body.replace(b" ", b"")
    if dialect == "ollama":
        return b'"stream":false' not in body
    return b'"stream":true' in body


async def main() -> None:
    """Answer until killed."""
    _machine.allow_files()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    sockets: Any = server.sockets
    print(sockets[0].getsockname()[1], flush=True)
    # Whoever started us holds the other end: it closes when they are gone.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    _machine.pin("server")
    asyncio.run(main())
