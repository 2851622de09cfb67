"""
A worker that answers questions from a queue in Redis, and knows how to stop.

Run as many as you like, ``python worker.py``, with ``REDIS_URL`` and aichat's own ``AI_…``
in the environment. `main.py` shows what happens to them.

**SIGTERM**: no other job is taken, and answers under way have ``GRACE`` seconds to end. Those
that have not are broken off, which closes the connection to the provider, and are handed
back: another worker has them within a second. A second SIGTERM ends the grace. **SIGKILL**, a
crash or a lost machine: the jobs come back when their leases run out, ``LEASE`` seconds after
the last sign of life.

So a job is done *at least* once, and nothing is lost that Redis does not lose (in production
it writes to disk: ``appendonly yes``). What was generated before an answer was broken off is
paid for and thrown away, and the next attempt pays for the prompt again: give a grace that most
answers need, shorter than what your platform waits before it kills. An answer that has been
stored is never asked for again. Between the provider's last word and the storing lie
milliseconds in which a crash costs a second answer; the first one stored is the one that
counts. Whoever acts on answers uses the job's id to act once.

It is made with taskiq, not arq: arq is only maintained, and wants a redis-py before 6. What
taskiq-redis lacks, leases, is in `leases.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from answers import Answers
from attrs import define, field
from leases import LeasedBroker
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq.acks import AcknowledgeType
from taskiq.receiver import Receiver

from aichat import AIChatError, ChatResponse, Client, TextDelta

QUEUE: Final = os.environ.get("QUEUE", "questions")
GRACE: Final = float(os.environ.get("GRACE", "20"))
LEASE: Final = float(os.environ.get("LEASE", "30"))
#: Answers at once in one worker. It waits for the provider, so one process has many.
JOBS: Final = int(os.environ.get("JOBS", "10"))
#: A job that was begun so often and never ended kills its workers.
MAX_ATTEMPTS: Final = 10

log = logging.getLogger("worker")

broker = LeasedBroker(
    os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"), QUEUE, lease=LEASE
)
answers = Answers(broker.redis, QUEUE)


@define
class Shift:
    """Until when there is work: as long as you like, and then for the grace."""

    grace: float
    over: asyncio.Event = field(factory=asyncio.Event, init=False)
    _limits: set[asyncio.Timeout] = field(factory=set, init=False)

    def end(self) -> None:
        """Take nothing new. When said again: leave everything as it is."""
        left = 0.0 if self.over.is_set() else self.grace
        until = asyncio.get_running_loop().time() + left
        self.over.set()
        log.info("no more jobs; %d under way have %g s", len(self._limits), left)
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(until)

    @asynccontextmanager
    async def work(self) -> AsyncGenerator[None, None]:
        """Raise `TimeoutError` in what takes longer than the shift."""
        async with asyncio.timeout(0 if self.over.is_set() else None) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)


@broker.task(task_name="answer")
async def answer(
    prompt: str,
    context: Context = TaskiqDepends(),  # noqa: B008 -- taskiq fills it in
) -> None:
    """Answer *prompt*; queue it with ``await answer.kiq("Hello!")``."""
    job = context.message.task_id
    shift: Shift = context.state.shift
    try:
        async with shift.work():
            attempt = await answers.begin(job)
            if attempt is not None:
                log.info("%s: attempt %d", job, attempt)
                outcome = await ask(context.state.client, job, attempt, prompt)
                await answers.end(job, outcome)
        log.info("%s: done", job)
        await context.ack()
    except TimeoutError:
        log.info("%s: not done in time", job)
    finally:
        broker.let_go(job)


async def ask(
    client: Client, job: str, attempt: int, prompt: str
) -> ChatResponse | AIChatError:
    """Publish the answer as it comes. An error is an outcome too: the client has retried."""
    if attempt > MAX_ATTEMPTS:
        return AIChatError(f"Gave up after {MAX_ATTEMPTS} attempts.")
    try:
        async with client.stream(prompt) as stream:
            async for chunk in stream:
                if isinstance(chunk, TextDelta):
                    await answers.say(job, attempt, chunk.text)
            return await stream.response()
    except AIChatError as error:
        return error


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_client(state: TaskiqState) -> None:
    """One client for all jobs. With ``AI_REDIS_URL`` all workers share one quota."""
    state.client = Client.from_env()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_client(state: TaskiqState) -> None:
    """Close its connections. Nobody is at work any more."""
    await state.client.aclose()


async def main() -> None:
    """Work until SIGTERM or Ctrl-C."""
    shift = broker.state.shift = Shift(GRACE)
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, shift.end)
    broker.is_worker_process = True
    # MANUAL: whatever ends without `Context.ack` has not been done.
    receiver = Receiver(broker, max_async_tasks=JOBS, ack_type=AcknowledgeType.MANUAL)
    try:
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(broker.renew())
            # Returns when the shift is over and every job has ended.
            await receiver.listen(shift.over)
            renewing.cancel()
    finally:
        await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("taskiq").setLevel(logging.WARNING)
    asyncio.run(main())
