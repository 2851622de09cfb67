"""A command run in this process, and a simulator in a thread beside it."""

from __future__ import annotations

import asyncio
import io
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Protocol

import pytest
from attrs import frozen

from aichat.cli import main
from aichat.testing import Simulator


class Terminal(io.StringIO):
    """A stream that somebody sits at."""

    def isatty(self) -> bool:
        return True


@frozen
class Outcome:
    status: int
    out: str
    err: str


def run(
    *argv: str,
    environ: Mapping[str, str] | None = None,
    stdin: io.StringIO | None = None,
    stdout: io.StringIO | None = None,
    stderr: io.StringIO | None = None,
) -> Outcome:
    """Run a command; without *stdin*, as in a terminal where nobody types."""
    out, err = stdout or io.StringIO(), stderr or io.StringIO()
    status = main(
        argv, environ=environ or {}, stdin=stdin or Terminal(), stdout=out, stderr=err
    )
    return Outcome(status, out.getvalue(), err.getvalue())


def press_ctrl_c() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


@frozen
class Served:
    """A simulator that runs in a thread."""

    simulator: Simulator
    environ: Mapping[str, str]
    _loop: asyncio.AbstractEventLoop

    def left(self) -> int:
        """How many clients left in the middle of an answer; waits a second for the first."""

        async def first() -> None:
            async with asyncio.timeout(1):
                while not self.simulator.disconnects:  # noqa: ASYNC110 -- it has no event
                    await asyncio.sleep(0.001)

        asyncio.run_coroutine_threadsafe(first(), self._loop).result()
        return self.simulator.disconnects


@contextmanager
def _served(simulator: Simulator) -> Iterator[Served]:
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with simulator:
            enough = asyncio.Event()
            started.set_result((asyncio.get_running_loop(), enough))
            await enough.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, enough = started.result(timeout=10)
    try:
        yield Served(
            simulator,
            {
                "AI_PROVIDER": "openai-chat",
                "AI_BASE_URL": simulator.base_url("openai-chat"),
                "AI_API_KEY": "sk-right-and-secret",
                "AI_MODEL": "simulated",
                "AI_MAX_RETRIES": "0",
                # On loopback nothing takes so long: it says which phase did.
                "AI_TIMEOUT": "20s",
            },
            loop,
        )
    finally:
        loop.call_soon_threadsafe(enough.set)
        thread.join()


class Serve(Protocol):
    def __call__(self, simulator: Simulator | None = None) -> Served: ...


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Start simulators that end with the test."""
    with ExitStack() as stack:

        def start(simulator: Simulator | None = None) -> Served:
            return stack.enter_context(_served(simulator or Simulator()))

        yield start


@pytest.fixture(autouse=True)
def _ctrl_c_counts() -> Iterator[None]:
    """
    Let SIGINT do what it does at a keyboard.

    A shell that starts the tests in the background has it ignored, and whoever inherits
    that never hears of it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
