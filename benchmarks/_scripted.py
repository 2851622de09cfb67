"""
A client whose connection is a list of bytes: everything but the socket, and nothing random.

``python -m benchmarks._scripted DIALECT CHUNKS`` reads one stream, for callgrind to count.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle, islice

from aichat import Client, Registry
from aichat.providers import HTTPProvider, ProviderSpec
from aichat.transport import HTTPRequest, HTTPResponse, Phase, Transport

from ._answers import DIALECTS

__all__ = ["Script", "client_of", "read", "reads_of", "spec_of"]


class Script:
    """An answer that has all come already."""

    def __init__(self, reads: Iterable[bytes]) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self._reads = iter(reads)

    async def read(self) -> bytes:
        """The next piece, or the end."""
        return next(self._reads, b"")

    def abort(self, error: Exception | None = None) -> None:
        """Nothing to drop."""


def reads_of(dialect: str, chunks: int, per_read: int = 1) -> Iterator[bytes]:
    """What the network brings for an answer of so many *chunks*."""
    answer = DIALECTS[dialect](chunks)
    if answer.begin:
        yield answer.begin
    events = islice(cycle(answer.events), chunks)
    while read := b"".join(islice(events, per_read)):
        yield read
    yield answer.end


def spec_of(dialect: str) -> ProviderSpec:
    """What aichat knows about it."""
    spec = Registry()[dialect]
    assert isinstance(spec, ProviderSpec)
    return spec


def client_of(dialect: str, reads: Callable[[], Iterable[bytes]]) -> Client:
    """A client that gets this answer to everything that it asks."""

    async def send(_: HTTPRequest, __: Callable[[Phase], None]) -> HTTPResponse:
        return Script(reads())

    spec = spec_of(dialect)
    provider = HTTPProvider(
        spec=spec,
        transport=Transport(name=spec.name, send=send),
        base_url="https://benchmark.invalid",
        settings={name: value for name, value in spec.settings.items() if value},
    )
    return Client({spec.name: provider}, model=f"{spec.name}:m")


async def read(client: Client) -> int:
    """Count the chunks of one stream."""
    count = 0
    async with client.stream("Hi") as stream:
        async for _ in stream:
            count += 1
    return count


def _main(dialect: str, chunks: int) -> None:
    reads = list(reads_of(dialect, chunks))
    client = client_of(dialect, lambda: reads)

    async def twice() -> None:
        # Bytecode is specialised after a few dozen times; this is the same in both runs.
        short = client_of(dialect, lambda: reads_of(dialect, 200))
        await read(short)
        assert await read(client) >= chunks

    asyncio.run(twice())


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
