"""Figures for those who have a system of their own for them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest

from aichat import (
    ChatRequest,
    ConfigError,
    Handler,
    RateLimitError,
    StreamChunk,
    StreamInterruptedError,
    TextDelta,
    Usage,
    compose,
)
from aichat.middleware._collector import ChunkCollector, MetricsCollector, metrics
from aichat.testing import FakeProvider, reply
from aichat.types import ResponseEnd, ResponseStart

ASK: Final = ChatRequest("Hi", "fake:m:latest")
USAGE: Final = Usage(input_tokens=5, output_tokens=2)


class Collector:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def record_request(self, provider: str, model: str) -> None:
        self.told.append(("request", provider, model))

    def record_response(
        self,
        provider: str,
        model: str,
        duration: float,
        usage: Usage,
        error: str | None,
    ) -> None:
        self.told.append(("response", provider, model, duration, usage, error))


class Counting(Collector):
    """Counts chunks as well."""

    def record_chunk(self, provider: str, model: str, count: int) -> None:
        self.told.append(("chunk", provider, model, count))

    @property
    def counts(self) -> list[int]:
        return [told[-1] for told in self.told if told[0] == "chunk"]


class Clock:
    """Ticks a second each time that somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def watched(collector: MetricsCollector, *replies: Any) -> Handler:
    layer = metrics(collector, clock=Clock())
    return compose([layer], FakeProvider(replies).stream)


async def read(chat: Handler, request: ChatRequest = ASK) -> list[StreamChunk]:
    async with aclosing(chat(request)) as chunks:
        return [chunk async for chunk in chunks]


async def test_a_call() -> None:
    """
    It has begun, and it has ended, after so long and with so many tokens.
    """
    collector = Collector()
    chunks = reply("Hello, world!", usage=USAGE)
    assert await read(watched(collector, chunks)) == chunks
    assert collector.told == [
        ("request", "fake", "m:latest"),
        ("response", "fake", "m:latest", 1.0, USAGE, None),
    ]


async def test_chunks_are_told_in_batches() -> None:
    """
    The first one at once, as it says when the answer began; none is lost.
    """
    collector = Counting()
    chunks = reply("word " * 150, usage=USAGE)
    await read(watched(collector, chunks))
    assert collector.counts == [1, 64, 64, len(chunks) - 129]
    assert collector.told[1] == ("chunk", "fake", "m:latest", 1)
    assert collector.told[-1][0] == "response"


async def test_nothing_is_told_of_no_chunks() -> None:
    """
    A count of 0 is no news.
    """
    collector = Counting()
    with pytest.raises(RateLimitError):
        await read(watched(collector, RateLimitError("Slowly.")))
    await read(watched(collector, reply("word " * 62)))
    assert collector.counts == [1, 64]


@pytest.mark.parametrize("kind", [Collector, Counting])
@pytest.mark.parametrize(
    ("error", "label"),
    [
        (RateLimitError("Slowly."), "rate_limit"),
        (StreamInterruptedError("Gone."), "stream_interrupted"),
        (ValueError("A bug."), "other"),
    ],
)
async def test_a_call_that_fails(
    kind: type[Collector], error: Exception, label: str
) -> None:
    """
    With a code, and with the tokens that are known; the error passes as it is.
    """
    collector = kind()
    chat = watched(collector, [*reply("Hi", usage=USAGE)[:-1], error])
    with pytest.raises(type(error)):
        await read(chat)
    assert collector.told[-1] == ("response", "fake", "m:latest", 1.0, USAGE, label)


@pytest.mark.parametrize("kind", [Collector, Counting])
async def test_a_stream_that_is_left(kind: type[Collector]) -> None:
    """
    Is closed, and counts as ended; after its last chunk it is a success.
    """
    for wanted, label in ((TextDelta, "closed"), (ResponseEnd, None)):
        collector = kind()
        async with aclosing(watched(collector, reply("Hello, world!"))(ASK)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, wanted):
                    break
        assert collector.told[-1][-1] == label
        if isinstance(collector, Counting):
            assert sum(collector.counts) == (2 if label else 4)


async def test_a_call_that_is_cancelled() -> None:
    """
    Has a word of its own, and the cancellation passes; after the last chunk it is none.
    """

    async def stuck(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        for chunk in reply("Hi") if request.user else reply("Hi")[:1]:
            yield chunk
        await asyncio.Event().wait()

    for user, label in ((None, "cancelled"), ("ann", None)):
        collector = Collector()
        chat = compose([metrics(collector)], stuck)
        task = asyncio.create_task(read(chat, ChatRequest("Hi", "fake:m", user=user)))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert collector.told[-1][-1] == label


async def test_an_answer_from_a_cache() -> None:
    """
    Has used no tokens.
    """
    collector = Collector()
    start = ResponseStart(from_cache=True)
    await read(watched(collector, [start, *reply("Hi", usage=USAGE)[1:]]))
    assert collector.told[-1][-2:] == (Usage(), None)


async def test_a_model_without_a_provider() -> None:
    """
    Has an empty label, not a missing one.
    """
    collector = Collector()
    await read(watched(collector, reply("Hi")), ChatRequest("Hi", "m"))
    assert collector.told[0] == ("request", "", "m")


async def test_a_collector_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """
    Does not harm the call, and it is logged.
    """

    class Broken(Counting):
        def record_request(self, *_: object) -> None:
            raise RuntimeError("Disk full.")

        def record_chunk(self, *_: object) -> None:
            raise RuntimeError("Disk full.")

        def record_response(self, *_: object) -> None:
            raise RuntimeError("Disk full.")

    assert len(await read(watched(Broken(), reply("Hi")))) == 3
    assert [r.message for r in caplog.records] == ["A metrics collector raised"] * 4


def test_what_is_no_collector() -> None:
    """
    Is refused when it is passed.
    """
    wrong: Any = print
    with pytest.raises(ConfigError, match="record_request and record_response"):
        metrics(wrong)


def test_what_is_one() -> None:
    """
    Whoever has the methods, without inheriting anything.
    """
    assert isinstance(Collector(), MetricsCollector)
    assert not isinstance(Collector(), ChunkCollector)
    assert isinstance(Counting(), ChunkCollector)


def test_prometheus() -> None:
    """
    The example runs, without a key, and shows what Prometheus would scrape.
    """
    example = Path(__file__).parents[2] / "examples/observability/prometheus_metrics.py"
    environ = {k: v for k, v in os.environ.items() if not k.startswith("AI_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environ, "PYTHONUTF8": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in (
        'aichat_requests_total{model="simulated",provider="openai-chat"} 3.0',
        'aichat_duration_seconds_count{error="",model="simulated",provider="openai-chat"} 2.0',
        'error="model_unsupported"',
        'type="output"',
    ):
        assert line in done.stdout
