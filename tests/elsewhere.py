"""
A server in a thread and loop of its own, so that the loop of a test holds the client only.

Then `asyncio.all_tasks` is what the client has left behind, and a server that is held up
holds nobody else up.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Self, TypeVar

from aichat import Client
from aichat._connect import Directory

__all__ = ["Elsewhere", "acquired", "cleared", "leftovers", "pooled", "sockets"]

T = TypeVar("T")
ServerT = TypeVar("ServerT", bound=AbstractAsyncContextManager[Any])


class Elsewhere(Generic[ServerT]):
    """Runs *server* in a thread, from entering to leaving."""

    def __init__(self, server: ServerT) -> None:
        self.server = server
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self.server:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def there(self, work: Coroutine[Any, Any, T]) -> T:
        """Await *work* in the server's loop."""
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(work, self._loop)
        )


def _connector(client: Client) -> Any:
    directory = client._providers
    assert isinstance(directory, Directory)
    session = directory._pool._sessions.get(asyncio.get_running_loop())
    return None if session is None else session._session.connector


def acquired(client: Client) -> int:
    """How many connections of the running loop's are in somebody's hands."""
    connector = _connector(client)
    return 0 if connector is None else len(connector._acquired)


def pooled(client: Client) -> int:
    """How many connections of the running loop's lie idle."""
    connector = _connector(client)
    return 0 if connector is None else sum(map(len, connector._conns.values()))


def leftovers() -> list[object]:
    """The tasks of the running loop but our own, and the timers of aichat's."""
    loop = asyncio.get_running_loop()
    tasks: list[object] = [*asyncio.all_tasks() - {asyncio.current_task()}]
    timers = [
        handle
        for handle in getattr(loop, "_scheduled", ())
        if not handle.cancelled()
        and getattr(handle._callback, "__module__", "").startswith("aichat")
    ]
    return [*tasks, *timers]


async def cleared(*tasks: asyncio.Task[Any]) -> None:
    """Within a few turns of the loop there is nothing left but *tasks*."""
    left: list[object] = []
    for _ in range(30):
        left = [each for each in leftovers() if each not in tasks]
        if not left:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"left behind: {left}")


def sockets() -> int | None:
    """How many sockets this process has open, where the system can tell."""
    folder = "/proc/self/fd"
    if not os.path.isdir(folder):
        return None
    found = 0
    for name in os.listdir(folder):
        try:
            found += os.readlink(f"{folder}/{name}").startswith("socket:")
        except OSError:  # the descriptor of the listing itself
            continue
    return found
