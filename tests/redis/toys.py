"""States to share things in: real ones with clocks of our own, and one without a Redis."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast
from uuid import uuid4

from aichat.redis._link import Argument, Away, Link, Script
from aichat.redis._state import RedisState

T = TypeVar("T")

#: Stands in URLs, and must stand nowhere else.
PASSWORD = "hunter2-very-secret"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def fresh(url: str, **settings: Any) -> RedisState:
    """A state that shares nothing with those of other tests."""
    settings.setdefault("namespace", f"test-{uuid4().hex[:8]}")
    return RedisState(url, **settings)


def beside(state: RedisState, url: str, **settings: Any) -> RedisState:
    """Another process's state that shares with *state*."""
    return RedisState(url, namespace=state.namespace, **settings)


async def run_elsewhere(code: str) -> None:
    """Run *code* in a process of its own, which must end well."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


async def idle(*states: RedisState) -> None:
    """Wait for what goes on in the background."""
    for state in states:
        link = state.link()
        while link._tasks:
            await asyncio.wait(link._tasks)


async def protect(url: str) -> None:
    """Let nobody into the Redis at *url* without another password than `PASSWORD`."""
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client:
        await client.config_set("requirepass", "another")


class FakeState:
    """
    A `RedisState` without a Redis: *answer* is asked instead, in the time of the loop.

    It may wait, and raise `Away`.
    """

    def __init__(
        self, answer: Callable[[Sequence[Argument]], Coroutine[Any, Any, Any]]
    ) -> None:
        self._answer = answer
        self.namespace = "fake"
        self.worker = "me"
        self.workers = 2
        self.away = False
        self.asked: list[Sequence[Argument]] = []
        #: Of the last time.
        self.keys: Sequence[str] = ()
        self.alone = 0
        self._links: dict[asyncio.AbstractEventLoop, FakeLink] = {}

    @property
    def state(self) -> RedisState:
        return cast(RedisState, self)

    def key(self, kind: str, name: str) -> str:
        return f"{kind}:{{{name}}}"

    def link(self) -> Link:
        loop = asyncio.get_running_loop()
        return cast(Link, self._links.setdefault(loop, FakeLink()))

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        if self.away:
            raise Away("as the test wants it")
        self.asked.append(arguments)
        self.keys = keys
        return await self._answer(arguments)

    @property
    def degraded(self) -> bool:
        return self.away

    @property
    def timeout(self) -> float:
        return 1.0

    @property
    def again_in(self) -> float:
        return 0.25

    def note_alone(self) -> None:
        self.alone += 1


class FakeLink:
    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[Any]]()
        self.members = set[Any]()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    ask = Link.ask

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
