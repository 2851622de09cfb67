"""
A queue whose jobs are lent, not given: what is not done comes back.

A job is an entry of a Redis stream, and its lease is the time since somebody last said that
he is at it. A worker says so while he is; the job of one that died lapses after *lease*
seconds, and the next worker takes it. A worker that stops lets its jobs lapse at once.

taskiq-redis has the streams, but not the leases. As of 1.2.4 it looks for lost jobs only
after new ones have come, behind a lock that a killed worker keeps; gives a job that takes
long to a second worker as well; and keeps what is done. Hence our own `listen`.
"""

# What a pipeline is told is sent by `execute`.
# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from taskiq import AckableMessage
from taskiq_redis import RedisStreamBroker

__all__ = ["LeasedBroker"]

log = logging.getLogger("worker")

#: Where a walk through the jobs that are lent begins, and what it says at the end.
_BEGINNING: Final = b"0-0"


class LeasedBroker(RedisStreamBroker):
    """
    A broker that lends its jobs for *lease* seconds at a time.

    Whoever listens also runs `renew`, and says `let_go` when a job has ended in any way.
    `shutdown` hands back what is left; nobody may be at work any more.
    """

    def __init__(self, url: str, queue: str, *, lease: float) -> None:
        super().__init__(
            url,
            queue_name=queue,
            # From the beginning: else what is queued before any worker starts is lost.
            consumer_id="0",
            # redis-py 8 has `asyncio.wait_for` around each command where there is one, and
            # on Python 3.11 that swallows cancellations: a worker would not stop in time.
            socket_timeout=None,
            # A second and a half: a Redis that restarts breaks no answer off.
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), 5),
        )
        self.lease = lease
        self.redis = Redis(connection_pool=self.connection_pool)
        #: The jobs that we are at: from the task's id to the entry's.
        self._held: dict[str, bytes] = {}

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Yield one job at a time: no sooner than it can begin, as its lease runs."""
        now = asyncio.get_running_loop().time
        look_at, cursor = now(), _BEGINNING
        log.info("ready")
        while True:
            try:
                if now() >= look_at:
                    cursor, jobs = await self._lapsed(cursor)
                    if cursor == _BEGINNING:
                        look_at = now() + self._beat
                else:
                    jobs = await self._new()
            except RedisError as error:
                # It may be on its way back. What we hold meanwhile may lapse, and then
                # somebody else is at it as well.
                log.warning("Redis: %s", error)
                await asyncio.sleep(self._beat)
                await self._begin_again()
                continue
            for entry, fields in jobs:
                if entry in self._held.values():
                    continue  # ours, and late: taking it over has renewed it
                data = fields[b"data"]
                try:
                    job = self.formatter.loads(data).task_id
                except ValueError as error:
                    log.error("Dropped what is no job: %s", error)
                    await self._done("", entry)
                    continue
                self._held[job] = entry
                yield AckableMessage(data=data, ack=partial(self._done, job, entry))

    async def renew(self) -> None:
        """Say every now and then that we are still at it; until cancelled."""
        while True:
            await asyncio.sleep(self._beat)
            try:
                await self._claim(*self._held.values())
            except RedisError as error:
                log.warning("Leases could not be renewed: %s", error)

    def let_go(self, job: str) -> None:
        """Renew the lease of *job* no more. If it is not acknowledged it lapses."""
        self._held.pop(job, None)

    async def shutdown(self) -> None:
        """Hand back what has not been acknowledged, and close."""
        if self.is_worker_process:
            try:
                await self._hand_back()
            except RedisError as error:
                log.warning(
                    "What is left comes back when its lease runs out: %s", error
                )
        await super().shutdown()

    @property
    def _beat(self) -> float:
        """Seconds between looks: several in a lease, and not so many that Redis minds."""
        return min(1.0, self.lease / 4)

    async def _lapsed(self, cursor: bytes) -> tuple[bytes, list[Any]]:
        """Take over a job whose lease has run out, if there is one from *cursor* on."""
        found = await self.redis.xautoclaim(
            self.queue_name,
            self.consumer_group_name,
            self.consumer_name,
            min_idle_time=int(self.lease * 1000),
            start_id=cursor,
            count=1,
        )
        return found[0], found[1]

    async def _new(self) -> list[Any]:
        found: Any = await self.redis.xreadgroup(
            self.consumer_group_name,
            self.consumer_name,
            {self.queue_name: ">"},
            count=1,
            block=max(1, int(self._beat * 1000)),
        )
        return [job for _, jobs in found or () for job in jobs]

    async def _claim(self, *entries: Any, lapsed: bool = False) -> None:
        """Begin the leases of *entries* anew, or end them at once."""
        if entries:
            await self.redis.xclaim(
                self.queue_name,
                self.consumer_group_name,
                self.consumer_name,
                min_idle_time=0,
                message_ids=list(entries),
                idle=int(self.lease * 1000) + 1 if lapsed else 0,
                justid=True,
            )

    async def _hand_back(self) -> None:
        # All that Redis lent us, also what was on its way when we stopped listening.
        ours = await self.redis.xpending_range(
            self.queue_name,
            self.consumer_group_name,
            min="-",
            max="+",
            count=1000,
            consumername=self.consumer_name,
        )
        await self._claim(*[each["message_id"] for each in ours], lapsed=True)
        log.info("handed back: %d", len(ours))

    async def _done(self, job: str, entry: bytes) -> None:
        """Acknowledge, and forget: an entry that is only acknowledged stays for ever."""
        self.let_go(job)
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.xack(self.queue_name, self.consumer_group_name, entry)
            pipe.xdel(self.queue_name, entry)
            await pipe.execute()

    async def _begin_again(self) -> None:
        """Make the group anew, in case that Redis came back without it."""
        with suppress(RedisError):
            await self._declare_consumer_group()
