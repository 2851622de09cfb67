"""The example of workers on a queue in Redis: real processes, that stop or are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import define, field

from aichat import ChatResponse, assistant
from aichat.testing import Simulator

from .redis_server import RedisServer, redis_server

pytest.importorskip("taskiq_redis")

FOLDER: Final = Path(__file__).parent.parent / "examples/redis_worker"
#: Seconds. Long enough for a busy machine, and nothing waits that long unless it fails.
PATIENCE: Final = 20.0


@define
class Gate:
    """Holds the simulator's answers after their first word, until it is opened."""

    _open: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def __call__(self, pace: float) -> None:
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


@define
class Worker:
    """A process that runs ``worker.py``, and what it has said."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(factory=list)
    _news: asyncio.Condition = field(factory=asyncio.Condition)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.lines.append(line.decode().rstrip())
                self._news.notify_all()

    async def says(self, words: str) -> None:
        """Wait for *words*."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: words in "\n".join(self.lines))

    async def ends(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@define
class Stage:
    """A queue of one's own, with the example's modules as a web process has them."""

    simulator: Simulator
    environ: Mapping[str, str]
    answer: Any
    answers: Any
    broker: Any

    async def ask(self, prompt: str = "Count to 20.") -> str:
        return str((await self.answer.kiq(prompt)).task_id)

    @asynccontextmanager
    async def worker(self, **environ: str) -> AsyncIterator[Worker]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", str(FOLDER / "worker.py"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**self.environ, **environ},
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            worker = Worker(process)
            group.create_task(worker.listen())
            try:
                yield worker
            except BaseException:
                # pytest shows it.
                sys.stdout.write("\n".join(worker.lines))
                raise
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def begun(self, job: str) -> None:
        """Wait until there is a word of *job*."""
        async with (
            asyncio.timeout(PATIENCE),
            aclosing(self.answers.follow(job)) as said,
        ):
            await anext(said)

    async def told(self, job: str) -> dict[int, str]:
        """What each attempt at *job* has said, when it has ended."""
        attempts = dict[int, str]()
        async with (
            asyncio.timeout(PATIENCE),
            aclosing(self.answers.follow(job)) as said,
        ):
            async for piece in said:
                attempts[piece.attempt] = attempts.get(piece.attempt, "") + piece.text
        return attempts

    async def counts(self) -> tuple[int, int]:
        """How many requests there were, and how many were broken off."""
        async with asyncio.timeout(PATIENCE):
            await self.simulator.idle()
        return self.simulator.request_count, self.simulator.disconnects

    async def left(self) -> tuple[int, int]:
        """How many jobs are in the queue, and how many of them are lent."""
        queue = self.broker.queue_name
        lent = await self.broker.redis.xpending(queue, self.broker.consumer_group_name)
        return await self.broker.redis.xlen(queue), lent["pending"]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def stage(
    server: RedisServer,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Stage]:
    async with Simulator(sleep=gate) as simulator:
        monkeypatch.setenv("REDIS_URL", server.url)
        monkeypatch.setenv("QUEUE", request.node.name)
        # Whatever comes back before a test's patience ends was handed back.
        monkeypatch.setenv("LEASE", "600")
        usual = {k: v for k, v in os.environ.items() if not k.startswith("AI_")}
        environ = {
            **usual,
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "none-needed",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
            "AI_MODEL": "simulated",
        }
        monkeypatch.syspath_prepend(FOLDER)
        for name in ("worker", "answers", "leases"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        example = import_module("worker")
        await example.broker.startup()
        try:
            yield Stage(
                simulator, environ, example.answer, example.answers, example.broker
            )
        finally:
            await example.broker.shutdown()


# -- SIGTERM -----------------------------------------------------------------------------


async def test_an_answer_that_takes_too_long_is_handed_back(
    stage: Stage, gate: Gate
) -> None:
    """It is broken off at the provider too, and the next worker does it, at once."""  # C1
    job = await stage.ask()
    async with stage.worker(GRACE="0.1") as first:
        await stage.begun(job)
        first.stop()
        assert await first.ends() == 0
    assert "handed back: 1" in first.lines
    assert await stage.counts() == (1, 1)
    assert await stage.answers.get(job) is None
    assert await stage.left() == (1, 1)

    gate.open()
    async with stage.worker() as second:
        told = await stage.told(job)
        second.stop()
        assert await second.ends() == 0
    outcome = await stage.answers.get(job)
    assert isinstance(outcome, ChatResponse)
    assert told.keys() == {1, 2}
    assert told[2] == outcome.text
    assert outcome.text.startswith(told[1])
    assert await stage.counts() == (2, 1)
    assert await stage.left() == (0, 0)


async def test_what_ends_within_the_grace_is_answered(stage: Stage, gate: Gate) -> None:
    """It ends as usual, and nothing new is begun."""
    jobs = [await stage.ask(), await stage.ask()]
    async with stage.worker(GRACE="60") as worker:
        for job in jobs:
            await stage.begun(job)
        worker.stop()
        await worker.says("no more jobs; 2 under way")
        late = await stage.ask()
        gate.open()
        assert await worker.ends() == 0
    for job in jobs:
        assert isinstance(await stage.answers.get(job), ChatResponse)
    assert await stage.answers.get(late) is None
    assert await stage.counts() == (2, 0)
    # It may have been on its way, and have been handed back.
    assert (await stage.left())[0] == 1


async def test_a_second_signal_ends_the_grace(stage: Stage) -> None:
    """Whoever is in a hurry loses nothing either."""
    job = await stage.ask()
    async with stage.worker(GRACE="600") as worker:
        await stage.begun(job)
        worker.stop()
        await worker.says("no more jobs")
        worker.stop()
        assert await worker.ends() == 0
    assert "handed back: 1" in worker.lines
    assert await stage.counts() == (1, 1)


# -- SIGKILL -----------------------------------------------------------------------------


async def test_a_killed_workers_jobs_come_back(stage: Stage, gate: Gate) -> None:
    """Both of them, when their leases have run out."""
    jobs = [await stage.ask(), await stage.ask()]
    async with stage.worker(LEASE="1") as first:
        for job in jobs:
            await stage.begun(job)
        first.process.kill()
        await first.ends()
    assert await stage.counts() == (2, 2)
    assert await stage.left() == (2, 2)

    gate.open()
    async with stage.worker(LEASE="1") as second:
        for job in jobs:
            assert (await stage.told(job)).keys() == {1, 2}
        second.stop()
        assert await second.ends() == 0
    for job in jobs:
        assert isinstance(await stage.answers.get(job), ChatResponse)
    assert await stage.counts() == (4, 2)
    assert await stage.left() == (0, 0)


async def test_a_long_answer_is_not_taken_from_who_is_at_it(
    stage: Stage, gate: Gate
) -> None:
    """Its lease is renewed while it takes: another worker looks, and leaves it alone."""
    job = await stage.ask()
    async with stage.worker(LEASE="2") as first, stage.worker(LEASE="2") as second:
        await stage.begun(job)
        for worker in first, second:
            await worker.says("ready")
        before = await looks(stage)
        async with asyncio.timeout(PATIENCE):
            # Two workers, each every 0.5 s: for longer than a lease.
            while await looks(stage) < before + 10:
                await stage.broker.redis.blpop(["nobody"], timeout=0.1)
        gate.open()
        assert (await stage.told(job)).keys() == {1}
    assert await stage.counts() == (1, 0)


async def test_a_worker_that_slept_does_not_begin_again(
    stage: Stage, gate: Gate
) -> None:
    """It finds its own job with a lease that has run out, and is at it already."""
    job = await stage.ask()
    async with stage.worker(LEASE="0.4") as worker:
        await stage.begun(job)
        worker.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE):
            while await silence(stage) < 500:
                await stage.broker.redis.blpop(["nobody"], timeout=0.1)
        worker.process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(PATIENCE):
            while await silence(stage) > 400:
                await stage.broker.redis.blpop(["nobody"], timeout=0.01)
        gate.open()
        assert (await stage.told(job)).keys() == {1}
    assert await stage.counts() == (1, 0)


async def silence(stage: Stage) -> int:
    """Milliseconds since somebody said that he is at the one job that there is."""
    (lent,) = await stage.broker.redis.xpending_range(
        stage.broker.queue_name, stage.broker.consumer_group_name, "-", "+", 2
    )
    return int(lent["time_since_delivered"])


async def looks(stage: Stage) -> int:
    """How often somebody has looked for jobs whose lease has run out."""
    stats = await stage.broker.redis.info("commandstats")
    return int(stats.get("cmdstat_xautoclaim", {"calls": 0})["calls"])


# -- what else may be in a queue -----------------------------------------------------------


async def test_what_needs_no_answer(stage: Stage, gate: Gate) -> None:
    """What is answered, what kills its workers and what is no job: none is paid for."""
    gate.open()
    answered, deadly, wrong, good = [await stage.ask() for _ in range(4)]
    outcome = ChatResponse(message=assistant("Before."))
    await stage.answers.end(answered, outcome)
    for _ in range(10):
        await stage.answers.begin(deadly)
    queue = stage.broker.queue_name
    await stage.broker.redis.xadd(queue, {"data": b"no job"})
    stage.simulator.fail("status", on=1, status=400)
    async with stage.worker(JOBS="1") as worker:
        await worker.says("Dropped what is no job")
        for job in answered, deadly, wrong, good:
            await worker.says(f"{job}: done")
        worker.stop()
        assert await worker.ends() == 0
    assert await stage.answers.get(answered) == outcome
    assert (await stage.answers.get(deadly)).message == "Gave up after 10 attempts."
    assert (await stage.answers.get(wrong)).code == "invalid_input"
    assert isinstance(await stage.answers.get(good), ChatResponse)
    assert await stage.counts() == (2, 0)
    assert await stage.left() == (0, 0)


async def test_the_first_answer_counts(stage: Stage) -> None:
    """Two workers may have done the same job, after a network that was cut."""
    await stage.answers.end("job", ChatResponse(message=assistant("First.")))
    await stage.answers.end("job", ChatResponse(message=assistant("Second.")))
    assert (await stage.answers.get("job")).text == "First."
    assert await stage.answers.begin("job") is None


# -- Redis -------------------------------------------------------------------------------


async def test_a_redis_that_comes_back(
    stage: Stage, gate: Gate, server: RedisServer
) -> None:
    """A worker waits for it, also when it comes back with nothing in it."""
    gate.open()
    async with stage.worker(LEASE="1") as worker:
        await worker.says("ready")
        server.restart()
        await worker.says("Redis: NOGROUP")
        job = await stage.ask()
        assert (await stage.told(job)).keys() == {1}
        worker.stop()
        assert await worker.ends() == 0
    assert await stage.counts() == (1, 0)


async def test_a_worker_that_stops_without_redis(
    stage: Stage, server: RedisServer
) -> None:
    """It cannot hand back, says so, and leaves it to the leases."""
    async with stage.worker() as worker:
        await worker.says("ready")
        server.kill()
        worker.stop()
        await worker.says("comes back when its lease runs out")
        assert await worker.ends() == 0
    server.start()


# -- the story ---------------------------------------------------------------------------


async def test_the_story(server: RedisServer) -> None:
    """The script shows all of it, without a key, and keeps nothing in Redis's queue."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("AI_")}
    script = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(FOLDER / "main.py"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**environ, "REDIS_URL": server.url},
    )  # fmt: skip
    async with asyncio.timeout(60):
        said = (await script.communicate())[0].decode()
    assert script.returncode == 0, said
    for line in (
        "first: short: done",
        "first: long: not done in time",
        "first: handed back: 1",
        "second: long: attempt 2",
        "third: long: attempt 3",
        "-- attempt 3 ended with: …' 247, 248, 249, 250.'",
        "[4 requests for 2 jobs, 2 broken off]",
    ):
        assert line in said, said
