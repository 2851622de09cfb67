"""
Workers that take questions from a queue, and know how to stop.

Run ``python examples/queue_worker.py``. On SIGTERM (and here after the first answers) nobody
takes another job. Who is at work gets some seconds to finish; what is not finished by then
is cancelled, which closes the connection to the provider, and goes back into the queue for
whoever comes next. So a job may be begun twice, and is never lost.

With a broker it is the same: *acknowledge* where this says ``deliver``, and *reject with
requeue* where it puts a job back.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from attrs import define, field, frozen

from aichat import AIChatError, ChatResponse, Client
from aichat.testing import Simulator

QUESTIONS: Final = ("Hello!", "Count to 9999.", "Who are you?", "Count to 20.")


@frozen
class Job:
    """A question, and what to call it."""

    id: int
    prompt: str


Deliver: TypeAlias = Callable[[Job, ChatResponse | AIChatError], Awaitable[None]]


@define
class Workers:
    """Several workers on one queue, which has no bound: a job must be able to go back."""

    client: Client
    queue: asyncio.Queue[Job]
    deliver: Deliver
    _busy: set[asyncio.Task[None]] = field(factory=set, init=False)

    async def run(
        self, stop: asyncio.Event, *, count: int = 4, grace: float = 10.0
    ) -> None:
        """Work until *stop* is set, and then *grace* seconds more, at most."""
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work(stop)) for _ in range(count)]
            await stop.wait()
            for worker in workers:
                if worker not in self._busy:
                    worker.cancel()
            await asyncio.wait(workers, timeout=grace)
            for worker in workers:
                worker.cancel()

    async def _work(self, stop: asyncio.Event) -> None:
        myself = asyncio.current_task()
        assert myself is not None
        while not stop.is_set():
            job = await self.queue.get()
            self._busy.add(myself)
            try:
                await self.deliver(job, await self._answer(job))
            except BaseException:  # cancelled, or `deliver` has failed
                self.queue.put_nowait(job)
                raise
            finally:
                self._busy.discard(myself)
                self.queue.task_done()

    async def _answer(self, job: Job) -> ChatResponse | AIChatError:
        """An error is an answer too: it has been retried where that made sense."""
        try:
            return await self.client.complete(job.prompt)
        except AIChatError as error:
            return error


async def main() -> None:
    """Answer some questions, stop in the middle of others, and see what is left."""
    queue = asyncio.Queue[Job]()
    for number, prompt in enumerate(QUESTIONS):
        queue.put_nowait(Job(number, prompt))
    stop = asyncio.Event()
    with suppress(NotImplementedError):  # Windows knows no such signals
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def deliver(job: Job, answer: ChatResponse | AIChatError) -> None:
        match answer:
            case AIChatError():
                print(f"job {job.id}: {answer.code}")
            case ChatResponse():
                print(f"job {job.id}: {len(answer.text)} characters")
        stop.set()  # as if somebody had sent SIGTERM

    async with Simulator(pace=0.005) as simulator:
        environ = {
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "none-needed",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
            "AI_MODEL": "simulated",
        }
        async with Client.from_env(environ) as client:
            await Workers(client, queue, deliver).run(stop, count=2, grace=1.0)
        await simulator.idle()
        print(f"[{simulator.disconnects} answer was broken off]")
    while not queue.empty():
        print(f"job {queue.get_nowait().id}: left for the next worker")


if __name__ == "__main__":
    asyncio.run(main())
