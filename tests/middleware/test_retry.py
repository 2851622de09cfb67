"""`retry`: once more, and no more often than was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from aichat import ChatRequest, Deadlines, Handler, RetryPolicy, StreamChunk, compose
from aichat.errors import (
    AIChatError,
    BadRequestError,
    CircuitOpenError,
    ClosedError,
    ConfigError,
    DeadlineError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from aichat.middleware._retry import retry
from aichat.testing import FakeProvider, check_stream, reply
from aichat.testing._fake import Reply
from aichat.transport import CallEvent, RetryBudget, listening, tell
from aichat.types import ResponseStart, TextDelta, Usage, UsageUpdate, fold

from ..transport.toys import now, virtual

REQUEST = ChatRequest("Hi", "fake:m")


def half() -> float:
    return 0.5


def tried(
    *replies: Reply, policy: RetryPolicy | None = None, **settings: Any
) -> tuple[FakeProvider, Handler]:
    """A provider with a script, and a `retry` around it whose jitter is a half."""
    provider = FakeProvider(replies)
    settings.setdefault("rand", half)
    layer = retry(policy, **settings) if policy else retry(**settings)
    return provider, compose([layer], provider.stream)


async def text(handler: Handler, request: ChatRequest = REQUEST) -> str:
    return fold([c async for c in check_stream(handler(request))]).text


@virtual
async def test_failures_before_output_are_not_seen() -> None:
    """Two errors, one of them after the answer's start, and then the answer."""  # R1
    usage = UsageUpdate(Usage(input_tokens=3))
    provider, handler = tried(
        ServerError("down"),
        [ResponseStart("1"), usage, StreamInterruptedError()],
        "Yes.",
    )
    chunks = [c async for c in check_stream(handler(REQUEST))]
    assert fold(chunks).text == "Yes."
    assert chunks[0] == ResponseStart(model="m")
    assert len(provider.requests) == 3
    # Half of 0.5 and of 1 s.
    assert now() == 0.75


@virtual
async def test_nothing_is_held_while_waiting() -> None:
    """What failed is closed before the wait, whatever it still had open."""  # C1
    provider = FakeProvider([reply("a b c")] * 2)
    held: list[int] = []

    async def picky(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        chunks = call_next(request)
        try:
            yield await anext(chunks)
            if len(provider.requests) == 1:
                raise ServerError("I do not like it.")
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    async def sleep(seconds: float) -> None:
        held.append(provider.active)

    handler = compose([retry(sleep=sleep), picky], provider.stream)
    assert await text(handler) == "a b c"
    assert held == [0]


@virtual
async def test_a_hint_is_waited_for() -> None:
    """By the same policy as in the transport."""  # R3
    _, handler = tried(RateLimitError("slow", retry_after=3), "Yes.")
    await text(handler)
    assert now() == 3.25


@pytest.mark.parametrize(
    ("error", "sent", "why"),
    [
        (ServerError("down"), 3, None),
        (BadRequestError("no", status=400), 1, None),
        (ClosedError("closed"), 1, None),
        (ServerError("down", retryable=False), 1, None),
        (RateLimitError("slow", retry_after=3600), 1, "60 s is the most"),
    ],
    ids=repr,
)
@virtual
async def test_giving_up(error: AIChatError, sent: int, why: str | None) -> None:
    """The error is final, counts what was sent, and says why if that is not plain."""  # R1, R2
    provider, handler = tried(*[error] * 9)
    with pytest.raises(type(error)) as caught:
        await text(handler)
    assert len(provider.requests) == caught.value.attempts == sent
    assert not caught.value.retryable
    assert ("gave_up" in caught.value.context) is (why is not None)
    assert why is None or why in str(caught.value)


@virtual
async def test_after_output_the_error_is_the_callers() -> None:
    """It has text on screen. The tries before it count."""  # R1, R2
    broken: list[StreamChunk | BaseException] = [
        ResponseStart(),
        TextDelta("He"),
        StreamInterruptedError("cut"),
    ]
    provider, handler = tried(ServerError(), broken, "Yes.")
    seen: list[StreamChunk] = []
    with pytest.raises(StreamInterruptedError) as caught:
        async for chunk in handler(REQUEST):
            seen.append(chunk)  # noqa: PERF401 -- what came before the error counts
    assert seen == broken[:2]
    assert len(provider.requests) == caught.value.attempts == 2
    assert not caught.value.retryable


@pytest.mark.parametrize("own", [0, 1, 5])
@virtual
async def test_the_requests_own_number_wins(own: int) -> None:
    """Over the policy, and to none as well."""  # R2
    provider, handler = tried(*[ServerError("down")] * 9)
    with pytest.raises(ServerError) as caught:
        await text(handler, ChatRequest("Hi", "fake:m", max_retries=own))
    assert len(provider.requests) == own + 1
    # Told not to try again, we leave that to whoever told us.
    assert caught.value.retryable is (own == 0)


# --- deadlines and budgets ----------------------------------------------------------------


@virtual
async def test_a_wait_past_the_total_deadline_is_not_begun() -> None:
    """It fails at once, and says so."""  # D3
    provider, handler = tried(*[ServerError("down")] * 9)
    request = ChatRequest("Hi", "fake:m", deadlines=Deadlines(total=0.7))
    with pytest.raises(ServerError, match="total deadline would pass while waiting"):
        await text(handler, request)
    # 0.25 s fit, and 0.5 s more do not.
    assert len(provider.requests) == 2
    assert now() == 0.25


@virtual
async def test_the_tries_share_the_total_deadline() -> None:
    """Each gets what is left of it."""  # D3
    provider, handler = tried(*[ServerError("down")] * 2, "Yes.")
    await text(handler, ChatRequest("Hi", "fake:m", deadlines=Deadlines(total=10)))
    totals = [r.deadlines.total for r in provider.requests if r.deadlines]
    assert totals == [10, 9.75, 9.25]


@virtual
async def test_a_wait_that_took_longer_than_it_should() -> None:
    """A loop that was blocked: nothing more is sent."""  # D3
    provider, handler = tried(
        *[ServerError("down")] * 9, sleep=lambda seconds: asyncio.sleep(60)
    )
    request = ChatRequest("Hi", "fake:m", deadlines=Deadlines(total=10))
    with pytest.raises(DeadlineError) as caught:
        await text(handler, request)
    assert caught.value.phase == "total"
    assert len(provider.requests) == caught.value.attempts == 1


@virtual
async def test_the_budget_bounds_the_retries() -> None:
    """Its own one has ten to begin with; ``None`` switches it off."""  # R4

    async def retries(**settings: Any) -> int:
        provider, handler = tried(*[ServerError("down")] * 99, **settings)
        for _ in range(20):
            with pytest.raises(ServerError):
                await text(handler)
        return len(provider.requests) - 20

    # 20 calls earn four.
    assert await retries() == 13
    assert await retries(budget=RetryBudget(ratio=0, reserve=3)) == 3
    assert await retries(budget=None) == 40


@virtual
async def test_why_there_was_no_retry_left() -> None:
    """An empty budget is named."""  # R4
    _, handler = tried(ServerError("down"), budget=RetryBudget(ratio=0, reserve=0))
    with pytest.raises(ServerError, match="the retry budget is used up"):
        await text(handler)


# --- what is told -------------------------------------------------------------------------


@virtual
async def test_listeners_hear_of_failures_and_waits() -> None:
    """Once each, though two of them are stacked."""  # R2, O4
    provider = FakeProvider([ServerError("1"), ServerError("2"), "Yes."])
    handler = compose([retry(rand=half), retry(rand=half)], provider.stream)
    heard: list[CallEvent] = []
    with listening(heard.append):
        await text(handler)
    told = [(event.kind, event.attempt, event.seconds) for event in heard]
    assert told == [
        ("failed", 1, 0),
        ("waiting", 2, 0.25),
        ("failed", 2, 0),
        ("waiting", 3, 0.5),
    ]
    assert {(event.provider, event.model) for event in heard} == {("fake", "m")}
    assert heard[1].reason == "backoff"
    assert isinstance(heard[0].error, ServerError)


@virtual
async def test_what_was_told_already_is_not_told_again() -> None:
    """A provider that tells of its failures, as our transport does."""

    async def telling(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        tell(CallEvent(kind="attempt", provider="p"))
        error = ServerError("down")
        tell(CallEvent(kind="failed", provider="p", error=error))
        raise error
        yield

    heard: list[str] = []
    with listening(lambda event: heard.append(event.kind)), pytest.raises(ServerError):
        await text(compose([retry(RetryPolicy(max_retries=1))], telling))
    assert heard == ["attempt", "failed", "waiting", "attempt", "failed"]


@virtual
async def test_attempts_that_were_told_of_count_though_the_error_hides_them() -> None:
    """One model tried thrice and gave up; another one's error came out, and may be retried."""  # R2
    sent: list[int | None] = []

    async def two_models(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        sent.append(request.max_retries)
        for attempt in range(1, 2 + (2 if request.max_retries is None else 0)):
            tell(CallEvent(kind="attempt", provider="a", attempt=attempt))
        tell(CallEvent(kind="rerouted", model="b:m"))
        raise ServerError("from b", attempts=1)
        yield

    for retries, tries in [(1, 1), (2, 1), (3, 2), (5, 4)]:
        sent.clear()
        with pytest.raises(ServerError) as caught:
            await text(compose([retry(RetryPolicy(max_retries=retries))], two_models))
        # From the second try on nobody beneath tries again.
        assert sent == [None, 0, 0, 0][:tries]
        assert caught.value.attempts == 3 + tries - 1
        assert not caught.value.retryable


@virtual
async def test_an_open_circuit_on_the_way_was_no_attempt() -> None:
    """Nothing was sent then."""  # R2
    _, handler = tried(ServerError("down"), CircuitOpenError("open", attempts=0))
    with pytest.raises(CircuitOpenError) as caught:
        await text(handler)
    assert caught.value.attempts == 1


# --- leaving, and mistakes ----------------------------------------------------------------


@virtual
async def test_cancelled_while_waiting() -> None:
    """The cancellation passes, and nothing more is sent."""  # C2
    provider, handler = tried(ServerError("down"), "Yes.")
    task = asyncio.ensure_future(text(handler))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(provider.requests) == 1


@virtual
async def test_a_handler_that_raises_at_once() -> None:
    """A client that is closed does, before there is a stream."""

    def closed(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        raise ClosedError("This client is closed.")

    with pytest.raises(ClosedError):
        await text(compose([retry()], closed))


@virtual
async def test_errors_that_are_not_ours_pass() -> None:
    """Who knows what they mean."""
    provider, handler = tried(ValueError("a bug"), "Yes.")
    with pytest.raises(ValueError, match="a bug"):
        await text(handler)
    assert len(provider.requests) == 1


def test_a_number_is_no_policy() -> None:
    """The error shows how to write it."""  # G1
    number: Any = 3
    with pytest.raises(ConfigError, match=r"retry\(RetryPolicy\(max_retries=2\)\)"):
        retry(number)
