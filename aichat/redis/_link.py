"""The socket to Redis of one event loop: the only module that imports the redis package."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    final,
)
from weakref import WeakSet

from attrs import Factory, field, frozen

from ..errors import ConfigError
from ..transport._keeper import keeper_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Argument", "Away", "Late", "Link", "Refused", "Script", "load"]

T = TypeVar("T")

#: For all that is said at once. A thousand workers may have so many each (maxclients).
_CONNECTIONS: Final = 8
#: Of waiting, before closing: what somebody else does meanwhile need not be waited for.
_ROUNDS: Final = 3

Argument: TypeAlias = str | bytes | int | float


class Away(Exception):
    """Redis did not answer, or cannot be asked now. Says why, without a password."""


class Late(Away):
    """Redis was not asked at all, as others have just got no answer."""


class Refused(Away):
    """Redis is there, and does not let us in."""


@final
@frozen
class Script:
    """What Redis does in one go. It is sent once, and called by its digest from then on."""

    text: str = field(repr=False)
    digest: str = field(
        init=False,
        default=Factory(lambda script: _digest(script.text), takes_self=True),
    )


def _digest(text: str) -> str:
    # It is how Redis calls scripts, and protects nothing.
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Member(Protocol):
    """Who has to be told of the end of a link."""

    async def end(self) -> None:
        """Let nobody wait any longer, and say what is left to be said."""
        ...


@final
class Link:
    """
    Connections of one loop, and the tasks that use them. Made in that loop.

    Nobody's cancellation reaches a command that is under way: it ends within *timeout*
    seconds in a task of its own, which belongs to the link.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._redis = _client(url)
        # It has no types.
        self._do = cast("Callable[..., Awaitable[Any]]", self._redis.execute_command)
        self._tasks = set[asyncio.Task[Any]]()
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        #: How often there was no answer.
        self._failed = 0
        #: Those who use it for long.
        self.members = WeakSet[Member]()
        self._keeper: AsyncGenerator[None, None] | None = keeper_of(
            partial(_disconnect, self._redis)
        )

    @property
    def usable(self) -> bool:
        return self._keeper is not None and not self.loop.is_closed()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let *work* go on in a task that `aclose` waits for."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    async def ask(
        self,
        command: Coroutine[Any, Any, T],
        *,
        left: Callable[[asyncio.Task[T]], object] | None = None,
    ) -> T:
        """
        Wait for *command*. Who is cancelled leaves it to itself.

        *left* is told of its end then.
        """
        task = self.spawn(command)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            if left is not None:
                task.add_done_callback(left)
            raise
        return task.result()

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        """Run *script*. Raises `Away`, in which case it may have been run or not."""
        from redis.exceptions import NoScriptError

        async def once() -> Any:
            try:
                return await self._do(
                    "EVALSHA", script.digest, len(keys), *keys, *arguments
                )
            except NoScriptError:
                return await self._do("EVAL", script.text, len(keys), *keys, *arguments)

        return await self._within(once)

    async def get(self, key: str) -> bytes | None:
        """Read *key*. Raises `Away`."""
        found: bytes | None = await self._within(partial(self._do, "GET", key))
        return found

    async def set(self, key: str, value: bytes, seconds: float | None) -> None:
        """Write *key*, for so many *seconds*. Raises `Away`."""
        lasting = () if seconds is None else ("PX", _milliseconds(seconds))
        await self._within(partial(self._do, "SET", key, value, *lasting))

    async def _within(self, work: Callable[[], Awaitable[T]]) -> T:
        failed = self._failed
        try:
            # One that answers slowly must not have a queue that grows.
            async with asyncio.timeout(self._timeout):
                await self._turns.acquire()
        except TimeoutError:
            raise Late(f"no connection was free within {self._timeout:g} s") from None
        try:
            if failed != self._failed:
                raise Late("it did not answer a moment ago")
            return await self._answered(work)
        except Late:
            raise
        except Away:
            self._failed += 1
            raise
        finally:
            self._turns.release()

    async def _answered(self, work: Callable[[], Awaitable[T]]) -> T:
        from redis.exceptions import AuthenticationError, NoPermissionError

        try:
            async with asyncio.timeout(self._timeout):
                return await work()
        except TimeoutError:
            raise Away(f"no answer within {self._timeout:g} s") from None
        except (AuthenticationError, NoPermissionError) as error:
            raise Refused(type(error).__name__) from None
        except Exception as error:
            # Whatever it is: nobody but us knows that there is a Redis.
            raise Away(_said(error)) from None

    async def idle(self) -> None:
        """Wait for what is under way, and for what comes of that, before `aclose`."""
        for member in tuple(self.members):
            await member.end()
        for _ in range(_ROUNDS):
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Wait for what is under way, and close the connections."""
        if self._keeper is None:
            return
        while self._tasks:
            await asyncio.wait(self._tasks)
        keeper, self._keeper = self._keeper, None
        await keeper.aclose()

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever wanted to know has been told.
            task.exception()


def _milliseconds(seconds: float) -> int:
    # Redis takes no more than this, added to the time of day.
    return max(1, int(min(seconds * 1000, 2**53)))


def _said(error: Exception) -> str:
    # Not its text: some of them quote what was sent. It may begin with a code of Redis; if a
    # script has failed, Redis before 7 says so first.
    code = re.match(r"(?:Error .*@user_script:\d+: )?([A-Z]{2,20})\b", str(error))
    return f"{type(error).__name__}: {code[1]}" if code else type(error).__name__


def load() -> None:
    """
    Import the redis package, which takes long: better now than in a loop that is at work.

    Raises `ConfigError` if it is not there.
    """
    try:
        importlib.import_module("redis.asyncio")
    except ImportError:
        raise ConfigError(
            "What processes share is kept in Redis, which needs the extra redis: "
            "pip install 'aichat[redis]'."
        ) from None


def _client(url: str) -> Redis:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    # What has been sent must not be sent again: it may have been done. And time is taken
    # here alone: with timeouts of its own, redis-py 8 loses cancellations on Python 3.11.
    ours = {
        "decode_responses": False,
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
    }
    with suppress(TypeError, ValueError, RedisError):
        redis = Redis.from_url(url)
        pool = redis.connection_pool
        # Whatever the address says. How many there are is up to us, too.
        pool.connection_kwargs.update(ours)
        pool.max_connections = 2**31
        # Connects nowhere, and complains of what it does not know.
        cast("Callable[[], object]", pool.make_connection)()
        return redis
    # Not its text: the address may be in it.
    raise ConfigError(
        "The address of Redis says something after its ? that redis-py does not know, or "
        "has no use for."
    )


async def _disconnect(redis: Redis) -> None:
    with suppress(Exception):
        await redis.aclose()
