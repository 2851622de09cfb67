"""`circuit_breaker`: a provider that keeps failing is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from aichat import ChatRequest, Handler, RetryPolicy, StreamChunk, compose
from aichat.errors import (
    AIChatError,
    BadRequestError,
    CircuitOpenError,
    ConfigError,
    ServerError,
    StreamInterruptedError,
)
from aichat.middleware._circuit_breaker import circuit_breaker
from aichat.middleware._retry import retry
from aichat.testing import FakeProvider, check_stream, reply
from aichat.testing._fake import Reply
from aichat.transport import CircuitBreaker
from aichat.types import ResponseStart, TextDelta, Usage, UsageUpdate, fold

from ..transport.toys import virtual

REQUEST = ChatRequest("Hi", "fake:m")
DOWN = ServerError("down")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def broken(
    *replies: Reply, threshold: int = 3, **settings: Any
) -> tuple[FakeProvider, Handler, Clock]:
    """A provider with a script, a breaker around it, and the breaker's clock."""
    provider, clock = FakeProvider(replies), Clock()
    breaker = CircuitBreaker(threshold, 10, clock=clock)
    layer = circuit_breaker(breaker, **settings)
    return provider, compose([layer], provider.stream), clock


async def text(handler: Handler, request: ChatRequest = REQUEST) -> str:
    return fold([c async for c in check_stream(handler(request))]).text


async def fail(handler: Handler, times: int) -> None:
    for _ in range(times):
        with pytest.raises(AIChatError):
            await text(handler)


async def test_failures_in_a_row_open_it() -> None:
    """Then nothing is sent, and the error says who, and for how long."""  # B1
    provider, handler, clock = broken(*[DOWN] * 3, "Yes.")
    await fail(handler, 3)
    clock.now += 4
    with pytest.raises(
        CircuitOpenError, match="fake failed 3 times in a row"
    ) as caught:
        await text(handler)
    assert len(provider.requests) == 3
    error = caught.value
    assert (error.provider, error.model, error.operation) == ("fake", "m", "chat")
    assert (error.retry_after, error.attempts) == (6, 0)


async def test_our_own_mistakes_do_not_count() -> None:
    """A refusal is a sign of life."""  # B1
    refused = BadRequestError("no", status=400)
    _, handler, _ = broken(DOWN, DOWN, refused, DOWN, DOWN, "Yes.")
    await fail(handler, 5)
    assert await text(handler) == "Yes."


async def test_an_answer_ends_the_row() -> None:
    """Read to its end."""  # B1
    _, handler, _ = broken(DOWN, DOWN, "Yes.", DOWN, DOWN, "Yes.")
    await fail(handler, 2)
    assert await text(handler) == "Yes."
    await fail(handler, 2)
    assert await text(handler) == "Yes."


async def test_answers_that_break_off_count() -> None:
    """Though something was said."""  # B1
    cut: list[StreamChunk | BaseException] = [
        ResponseStart(),
        TextDelta("He"),
        StreamInterruptedError(),
    ]
    _, handler, _ = broken(cut, cut, cut)
    await fail(handler, 3)
    with pytest.raises(CircuitOpenError):
        await text(handler)


async def test_a_probe_closes_it_with_the_first_output() -> None:
    """A start is not enough, the end is not waited for."""  # B1
    answer = [ResponseStart(), UsageUpdate(Usage(input_tokens=1)), *reply("a b")[1:]]
    _, handler, clock = broken(*[DOWN] * 3, answer, "Yes.")
    await fail(handler, 3)
    clock.now += 10
    probe = handler(REQUEST)
    for _ in range(2):
        await anext(probe)
        with pytest.raises(CircuitOpenError):
            await text(handler)
    assert await anext(probe) == TextDelta("a")
    assert await text(handler) == "Yes."
    assert [c async for c in probe] == reply("a b")[2:]


async def test_a_probe_that_is_left_does_not_wedge_it() -> None:
    """Its place is free for the next one."""  # B1, C1
    _, handler, clock = broken(*[DOWN] * 3, reply("never"), "Yes.")
    await fail(handler, 3)
    clock.now += 10
    probe = handler(REQUEST)
    await anext(probe)  # a start, and no output
    await probe.aclose()
    assert await text(handler) == "Yes."


@virtual
async def test_a_probe_that_is_cancelled_does_not_wedge_it() -> None:
    """While it waits for the answer."""  # B1, C2
    provider, clock = FakeProvider([*[DOWN] * 3, "Yes."]), Clock()
    calls = 0

    async def slow(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        nonlocal calls
        calls += 1
        if calls == 4:
            await asyncio.sleep(60)
        async for chunk in provider.stream(request):
            yield chunk

    handler = compose([circuit_breaker(CircuitBreaker(3, 10, clock=clock))], slow)
    await fail(handler, 3)
    clock.now += 10
    probe = asyncio.ensure_future(text(handler))
    await asyncio.sleep(1)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert await text(handler) == "Yes."


async def test_calls_that_are_left_say_nothing() -> None:
    """They neither count nor end the row."""  # B1
    _, handler, _ = broken(DOWN, DOWN, "a b", DOWN, "Yes.")
    await fail(handler, 2)
    stream = handler(REQUEST)
    await anext(stream)
    await stream.aclose()
    await fail(handler, 1)
    with pytest.raises(CircuitOpenError):
        await text(handler)


async def test_an_answer_without_output_is_no_failure() -> None:
    """It is not for a breaker to complain."""
    _, handler, _ = broken(DOWN, DOWN, [ResponseStart()], DOWN, DOWN, "Yes.")
    await fail(handler, 2)
    assert [c async for c in handler(REQUEST)] == [ResponseStart()]
    await fail(handler, 2)
    assert await text(handler) == "Yes."


async def test_providers_do_not_know_each_other() -> None:
    """One is left alone, the other answers."""  # B1
    _, handler, _ = broken(*[DOWN] * 3, "Yes.")
    await fail(handler, 3)
    assert await text(handler, ChatRequest("Hi", "other:m")) == "Yes."


async def test_a_key_says_what_fails_together() -> None:
    """By model, for one."""  # B1
    _, handler, _ = broken(*[DOWN] * 3, "Yes.", key=lambda request: request.model)
    await fail(handler, 3)
    assert await text(handler, ChatRequest("Hi", "fake:other")) == "Yes."
    with pytest.raises(CircuitOpenError, match="fake:m failed"):
        await text(handler)


async def test_a_bare_model_has_a_circuit_as_well() -> None:
    """The one without a name."""
    _, handler, _ = broken(*[DOWN] * 3)
    bare = ChatRequest("Hi", "m")
    for _ in range(3):
        with pytest.raises(ServerError):
            await text(handler, bare)
    with pytest.raises(CircuitOpenError, match="The provider failed"):
        await text(handler, bare)


@virtual
async def test_every_try_counts_and_an_open_circuit_ends_the_trying() -> None:
    """Within a `retry`: five retries, and three requests."""  # B1, R2
    provider = FakeProvider([DOWN] * 9)
    layers = [retry(RetryPolicy(max_retries=5)), circuit_breaker(threshold=3)]
    with pytest.raises(CircuitOpenError) as caught:
        await text(compose(layers, provider.stream))
    assert len(provider.requests) == caught.value.attempts == 3
    assert caught.value.context["last_error"] == "ServerError"


def test_mistakes_are_found_when_it_is_made() -> None:
    """A threshold beside a breaker that has one, or below zero."""  # G1
    with pytest.raises(ConfigError, match="either a breaker"):
        circuit_breaker(CircuitBreaker(), threshold=3)
    with pytest.raises(ConfigError, match="threshold"):
        circuit_breaker(threshold=-1)
