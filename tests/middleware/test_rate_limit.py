"""Keep to a limit, for whoever does not come through our transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from attrs import evolve

from aichat import (
    ChatRequest,
    ConfigError,
    DeadlineError,
    Deadlines,
    Handler,
    RateLimit,
    ServerError,
    StreamChunk,
    StreamInterruptedError,
    TextDelta,
    Usage,
    compose,
)
from aichat.middleware import _rate_limit
from aichat.middleware._rate_limit import rate_limit
from aichat.testing import FakeProvider, reply
from aichat.transport import CallEvent, Cost, Limiter, listening

from ..transport.toys import VirtualLoop, now, virtual

ASK = ChatRequest("Hi", "fake:m")


async def read(chat: Handler, request: ChatRequest = ASK) -> list[StreamChunk]:
    async with aclosing(chat(request)) as chunks:
        return [chunk async for chunk in chunks]


def limited(limit: Any, *replies: Any, **options: Any) -> tuple[Handler, FakeProvider]:
    """A provider that plays *replies* behind a `rate_limit`."""
    provider = FakeProvider(replies or [reply("Hello!")], repeat=not replies)
    return compose([rate_limit(limit, **options)], provider.stream), provider


def left(limiter: Limiter) -> int:
    bucket = limiter._lane().buckets["tokens"]
    return round(bucket.max_rate - bucket.level)


@virtual
async def test_calls_go_through_one_after_the_other() -> None:
    """At the agreed rate, in their order."""  # L1
    chat, provider = limited(RateLimit.per_second(2, burst=1))
    at: list[float] = []

    async def call(number: int) -> None:
        await read(chat, evolve(ASK, metadata={"n": str(number)}))
        at.append(now())

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(call(number))
    assert at == [0, 0.5, 1, 1.5]
    assert [r.metadata["n"] for r in provider.requests] == ["0", "1", "2", "3"]


@virtual
async def test_one_limiter_is_one_queue_wherever_it_is_used() -> None:
    """Two providers, one agreement."""  # L1
    limiter = Limiter(RateLimit.per_second(1))
    a, _ = limited(limiter)
    b, _ = limited(limiter)
    await read(a)
    await read(b)
    await read(a)
    assert now() == 2


@virtual
async def test_a_limit_for_each_key() -> None:
    """A user waits for himself."""  # L1
    chat, _ = limited(RateLimit.per_second(1), by=lambda r: r.metadata["user"])
    for user in ("ada", "bob"):
        await read(chat, evolve(ASK, metadata={"user": user}))
    assert now() == 0
    await read(chat, evolve(ASK, metadata={"user": "ada"}))
    assert now() == 1


def test_the_keys_are_bounded() -> None:
    """Who asked last is kept, and the others begin afresh."""  # I1
    keyed = _rate_limit._Keyed(lambda _: Limiter(RateLimit(1)))
    first, second = keyed["first"], keyed["second"]
    for number in range(_rate_limit._MOST_KEYS - 2):
        _ = keyed[str(number)]
    assert keyed["first"] is first
    _ = keyed["one too many"]
    assert len(keyed._limiters) == _rate_limit._MOST_KEYS
    assert keyed["first"] is first
    assert keyed["second"] is not second


@pytest.mark.parametrize(
    ("limit", "options", "complaint"),
    [
        (60, {}, r"rate_limit takes a RateLimit.* got 60"),
        (Limiter(RateLimit(1)), {"by": str}, "they take a RateLimit"),
    ],
)
def test_a_mistake_is_found_when_it_is_made(
    limit: Any, options: Any, complaint: str
) -> None:
    """And it says what to do."""  # G1
    with pytest.raises(ConfigError, match=complaint):
        rate_limit(limit, **options)


USAGE = Usage(input_tokens=100, output_tokens=200)
CUT = StreamInterruptedError("cut")

ENDS: list[tuple[Any, int]] = [
    (reply("Hello!", usage=USAGE), 700),
    # It never says: the estimate of the prompt (8), and what came.
    (reply("x" * 400), 892),
    ([*reply("x" * 400, words=False)[:-1], CUT], 892),
    # It failed before it had said anything.
    ([*reply(usage=USAGE)[:-1], CUT], 1000),
    (ServerError("broken"), 1000),
]


@pytest.mark.parametrize(("answer", "rest"), ENDS)
@virtual
async def test_tokens_are_settled_however_it_ends(answer: Any, rest: int) -> None:
    """By what it says that it took; a failure before output gives all back."""  # L2
    limiter = Limiter(RateLimit(per=1e9, tokens=1000, expected_output=500))
    chat, _ = limited(limiter, answer)
    try:
        await read(chat)
    except (ServerError, StreamInterruptedError):
        assert answer is not ENDS[0][0]
    assert left(limiter) == rest


@virtual
async def test_tokens_are_settled_when_it_is_left() -> None:
    """With what had arrived by then."""  # L2, C1
    limiter = Limiter(RateLimit(per=1e9, tokens=1000, expected_output=500))
    chat, provider = limited(limiter, reply("x" * 40, words=False))
    async with aclosing(chat(ASK)) as chunks:
        async for chunk in chunks:
            assert left(limiter) == 492
            if isinstance(chunk, TextDelta):
                break
    assert left(limiter) == 982
    assert provider.active == 0


@virtual
async def test_who_gives_up_waiting_asks_nobody() -> None:
    """And leaves the queue as it was."""  # L3, C1
    limiter = Limiter(RateLimit.per_second(1))
    chat, provider = limited(limiter)
    await read(chat)
    task = asyncio.create_task(read(chat))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait([task])
    assert limiter.wait_for() == 0.5
    assert len(provider.requests) == 1


@pytest.mark.parametrize("phase", ["pool", "total"])
@virtual
async def test_a_hopeless_wait_is_not_begun(phase: str) -> None:
    """As in the transport: the error is final, and nobody is asked."""  # L3, D3
    chat, provider = limited(RateLimit.per_minute(1))
    await read(chat)
    with pytest.raises(DeadlineError) as caught:
        await read(chat, evolve(ASK, deadlines=Deadlines(**{phase: 59})))
    error = caught.value
    assert (error.phase, error.retryable, error.attempts) == (phase, False, 0)
    assert error.retry_after == 60
    assert error.operation == "chat"
    assert now() == 0
    assert len(provider.requests) == 1


@virtual
async def test_a_wait_may_turn_out_too_long() -> None:
    """The deadline ends it."""  # D1
    limiter = Limiter(RateLimit.per_second(1))
    chat, _ = limited(limiter)
    await read(chat)
    asyncio.get_running_loop().call_later(0.5, limiter.pause, 60)
    with pytest.raises(DeadlineError) as caught:
        await read(chat, evolve(ASK, deadlines=Deadlines(pool=2)))
    assert (caught.value.phase, now()) == ("pool", 2)


@virtual
async def test_the_wait_counts_for_the_whole() -> None:
    """What is left of *total* goes on with the request; the other deadlines as they are."""  # D3
    chat, provider = limited(RateLimit.per_minute(1))
    await read(chat)
    await read(chat, evolve(ASK, deadlines=Deadlines(total=100, idle=7)))
    assert provider.requests[0] is ASK
    assert provider.requests[1].deadlines == Deadlines(total=40, idle=7)


@virtual
async def test_the_wait_is_told() -> None:
    """How long, and for which model."""  # L3
    events: list[CallEvent] = []
    chat, _ = limited(RateLimit.per_minute(1))
    with listening(events.append):
        await read(chat)
        await read(chat)
    assert events == [
        CallEvent(
            kind="waiting", provider="fake", model="m", reason="limiter", seconds=60
        )
    ]


@virtual
async def test_no_tokens_no_guess() -> None:
    """With a limit on requests alone nobody looks at the answer."""
    limiter = Limiter(RateLimit(5))
    chat, _ = limited(limiter, reply("Hello!", usage=USAGE), ServerError("broken"))
    await read(chat)
    with pytest.raises(ServerError):
        await read(chat)
    assert limiter.wait_for(Cost(requests=3)) == 0
    assert limiter.wait_for(Cost(requests=4)) > 0


def test_it_works_over_several_loops() -> None:
    """Made once, at the top of a module."""  # C5
    chat, _ = limited(RateLimit.per_second(1), by=lambda request: request.model)

    async def twice() -> float:
        await read(chat)
        await read(chat)
        return now()

    for _ in range(2):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            assert runner.run(twice()) == 1


@virtual
async def test_nothing_is_held_between_chunks() -> None:
    """Two streams at once, each slow to read, under a limit that lets both begin."""  # C6
    chat, provider = limited(RateLimit.per_second(2))
    streams: list[AsyncGenerator[StreamChunk, None]] = [chat(ASK), chat(ASK)]
    for stream in streams:
        await anext(stream)
    assert provider.active == 2
    for stream in streams:
        await stream.aclose()
    assert provider.active == 0
