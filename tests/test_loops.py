"""One client in several loops: one after the other, in threads at once, and after a fork."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from aichat import (
    AIChatError,
    Client,
    ClosedError,
    RateLimitError,
    StreamInterruptedError,
    TextDelta,
)
from aichat.testing import Simulator

from .elsewhere import Elsewhere, acquired, cleared, sockets
from .simulated import KEY, TARGETS, Target

TARGET = next(target for target in TARGETS if target.dialect == "anthropic")
HELLO = "This is aichat's built-in simulator"


@pytest.fixture
def sim() -> Iterator[Elsewhere[Simulator]]:
    with Elsewhere(Simulator(api_keys=[KEY])) as there:
        yield there


def client_of(sim: Elsewhere[Simulator], target: Target = TARGET) -> Client:
    """With everything that could be bound to a loop."""
    return target.client(
        sim.server,
        max_connections=2,
        max_retries=2,
        rate_limit=10_000,
        circuit_breaker=True,
    )


async def busy(client: Client) -> list[str]:
    """Several calls at once: to the end, left early, cancelled; and more than connections."""

    async def leave() -> str:
        async with client.stream("Leave") as stream:
            async for chunk in stream:
                if isinstance(chunk, TextDelta):
                    return "left"
        return "ended"

    cancelled = asyncio.create_task(client.complete("Cancel"))
    answers = await asyncio.gather(
        *(client.complete(f"Number {number}") for number in range(4))
    )
    left = await leave()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await cleared()
    assert acquired(client) == 0
    return [left, *(answer.text for answer in answers)]


def check(said: list[str]) -> None:
    left, *answers = said
    assert left == "left"
    for number, answer in enumerate(answers):
        assert f"You said: “Number {number}”" in answer


def test_one_loop_after_the_other(sim: Elsewhere[Simulator]) -> None:
    """Each opens its own connections, and its end closes them without a word."""
    # C5
    client = client_of(sim)
    before = sockets()
    for _ in range(4):
        check(asyncio.run(busy(client)))
        gc.collect()
    asyncio.run(asyncio.wait_for(wait_idle(sim), 5))
    if before is not None:
        assert (sockets() or 0) <= before + 1  # what the server has not yet noticed
    asyncio.run(client.aclose())
    with pytest.raises(ClosedError):
        asyncio.run(client.complete("Hi"))


async def wait_idle(sim: Elsewhere[Simulator]) -> None:
    await sim.there(sim.server.idle())


def test_a_stream_that_its_loop_did_not_finish(sim: Elsewhere[Simulator]) -> None:
    """It ends with its loop, and the client goes on in the next."""
    # C1, C5
    client = client_of(sim)
    held = []

    async def begin() -> None:
        sim.server.fail_next("stall", after=3)
        stream = client.stream("Hi")
        held.append(stream)
        await anext(stream)

    asyncio.run(begin())

    async def go_on() -> None:
        async with asyncio.timeout(5):
            await sim.there(sim.server.idle())
            assert HELLO in (await client.complete("Hi")).text
        await client.aclose()

    asyncio.run(go_on())
    assert sim.server.disconnects == 1


def test_threads_with_a_loop_each(sim: Elsewhere[Simulator]) -> None:
    """All at once, many times over; and the last one closes the client for all."""
    # C5
    client = client_of(sim)
    said: list[list[str]] = []
    broken: list[BaseException] = []
    start = threading.Barrier(6)

    def work() -> None:
        start.wait(10)
        try:
            said.extend(asyncio.run(busy(client)) for _ in range(3))
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert broken == []
    assert len(said) == 18
    for each in said:
        check(each)
    asyncio.run(client.aclose())


def test_closing_while_other_threads_read(sim: Elsewhere[Simulator]) -> None:
    """Each of their streams ends with the same clear error."""
    # C4, C5
    client = client_of(sim)
    sim.server.fail_next("stall", after=3, times=4)
    ended: list[BaseException] = []
    reading = threading.Barrier(5)

    async def read() -> None:
        stream = client.stream("Hi")
        await anext(stream)
        await asyncio.to_thread(reading.wait, 10)
        try:
            await stream.response()
        except AIChatError as error:
            ended.append(error)
        await cleared()

    threads = [threading.Thread(target=lambda: asyncio.run(read())) for _ in range(4)]
    for thread in threads:
        thread.start()
    reading.wait(10)
    asyncio.run(client.aclose())
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert [type(error) for error in ended] == [ClosedError] * 4


FORK = """
import asyncio, os, sys
from aichat import Client, ClientConfig, TextDelta

client = Client.from_config(
    ClientConfig(provider="openai-chat", model="m", api_key=sys.argv[2], base_url=sys.argv[1],
                 rate_limit=1000, circuit_breaker=True),
    environ={},
)

async def whole(name):
    assert f"You said: “{name}”" in (await client.complete(name)).text

async def child():
    await asyncio.gather(whole("child one"), whole("child two"))
    await client.aclose()

async def parent():
    await whole("before")
    async with client.stream("parent") as stream:
        text = ""
        async for chunk in stream:
            if isinstance(chunk, TextDelta):
                text += chunk.text
                if text == chunk.text:
                    # In the middle of an answer, and with a connection to spare.
                    loop = asyncio.get_running_loop()
                    status = await loop.run_in_executor(None, fork)
                    assert status == 0, status
    assert "You said: “parent”" in text
    await whole("after")
    await client.aclose()

def fork():
    pid = os.fork()
    if not pid:
        code = 1
        try:
            asyncio.run(child())
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(pid, 0)[1]

asyncio.run(parent())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork here.")
def test_a_fork_in_the_middle_of_an_answer(sim: Elsewhere[Simulator]) -> None:
    """The child makes its own connections, and the parent's answer goes on."""
    # C5
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning"),
            *("-c", textwrap.dedent(FORK), sim.server.base_url("openai-chat"), KEY),
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


def fails(url: str, kind: str) -> None:
    """Raise what the simulator makes us raise; runs in a process of its own."""

    async def main() -> None:
        async with TARGET.client(url) as client:
            await client.complete("Hi", model=f"{TARGET.provider}:{kind}")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "error"),
    [("status", RateLimitError), ("truncate", StreamInterruptedError)],
)
def test_errors_come_home_from_other_processes(
    sim: Elsewhere[Simulator], kind: str, error: type[AIChatError]
) -> None:
    """With all their facts, and without the key."""
    # E, X1, C5
    if kind == "status":
        sim.server.fail_next("status", status=429, headers={"retry-after": "7"})
    else:
        sim.server.fail_next("truncate", after=3)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        url = sim.server.base_url(TARGET.dialect)
        with pytest.raises(error) as caught:
            pool.submit(fails, url, "claude-opus-5").result(60)
    found = caught.value
    assert (found.provider, found.model) == (TARGET.provider, "claude-opus-5")
    assert found.attempts == 1
    assert KEY not in repr(vars(found)) + str(found)
    if kind == "status":
        assert (found.status, found.retry_after) == (429, 7.0)
    else:
        assert found.partial is not None
        assert found.partial.text
