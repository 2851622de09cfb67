"""Retry, around the breaker, around the limiter, around one attempt."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from contextlib import aclosing, suppress
from math import inf
from typing import Any

import pytest
from attrs import evolve

from aichat.errors import (
    AIChatError,
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ClosedError,
    ConfigError,
    DeadlineError,
    ModelNotFoundError,
    ProtocolError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    RedirectError,
    ResponseTooLargeError,
    ServerError,
    StreamError,
    StreamInterruptedError,
)
from aichat.transport import (
    CallEvent,
    CircuitBreaker,
    Cost,
    HTTPRequest,
    Limiter,
    RateLimit,
    RetryBudget,
    RetryPolicy,
    Transport,
    listening,
)
from aichat.types import (
    ChatRequest,
    Deadlines,
    FinishReason,
    ResponseEnd,
    ResponseStart,
    TextDelta,
    Usage,
    UsageUpdate,
)

from .toys import (
    ASK,
    GOOD,
    TOY,
    ScriptedAnswer,
    Step,
    Wire,
    again,
    good,
    now,
    read,
    refusal,
    sse,
    text,
    transport,
    virtual,
    wire,
)

END = ResponseEnd(FinishReason.STOP)
KEY = "sk-0123456789abcdef"
SECRET = HTTPRequest(
    "/chat",
    {"q": "hi"},
    headers={"Authorization": f"Bearer {KEY}"},
    base_url="https://api.example.com/v1",
)


# --- one answer ------------------------------------------------------------------------


@virtual
async def test_a_good_answer() -> None:
    """Chunks in lists, the first of which begins with a `ResponseStart`."""  # S1
    t = transport(good())
    assert await read(t) == [ResponseStart("1"), TextDelta("Hel"), TextDelta("lo"), END]
    assert len(wire(t).requests) == 1


@virtual
async def test_one_list_per_network_read() -> None:
    """And none that is empty."""
    pieces = [
        b": ping\n\n",
        sse({"id": "1"}),
        sse({"text": "a"}, {"text": "b"}),
        b"data: {",
    ]
    pieces += [b'"text":"c"}\n\n', b": ping\n\n", sse({"finish": 1}, "[DONE]")]
    t = transport(ScriptedAnswer(*pieces))
    lists = [chunks async for chunks in t.stream(ASK, TOY)]
    assert lists == [
        [ResponseStart("1"), TextDelta("a"), TextDelta("b")],
        [TextDelta("c")],
        [END],
    ]


@virtual
async def test_what_is_no_output_is_held_back() -> None:
    """A start and the latest usage come with the first output, and not before."""
    answer = ScriptedAnswer(
        sse({"id": "1", "usage": 1}), 5.0, sse({"usage": 2}), 5.0, sse({"text": "a"}),
        sse({"usage": 3}, {"finish": 1}, "[DONE]"),
        headers={"x-request-id": "req_1"},
    )  # fmt: skip
    t = transport(answer)
    chunks = t.stream(ASK, TOY)
    assert await anext(chunks) == [
        ResponseStart("1", request_id="req_1"),
        UsageUpdate(Usage(output_tokens=2)),
        TextDelta("a"),
    ]
    assert now() == 10
    assert await anext(chunks) == [UsageUpdate(Usage(output_tokens=3)), END]
    await chunks.aclose()


@virtual
async def test_an_answer_without_output_is_an_answer() -> None:
    """Its end is what comes first then."""
    t = transport(ScriptedAnswer(sse({"finish": 1})))
    assert await read(t) == [ResponseStart(), END]


@virtual
async def test_a_whole_document_is_an_answer() -> None:
    """Though a stream was asked for."""  # S6
    t = transport(ScriptedAnswer(b'{"id":"1","text":"Hel', b'lo","finish":1}'))
    assert await read(t) == [ResponseStart("1"), TextDelta("Hello"), END]


@virtual
async def test_what_follows_the_end_is_read_only_briefly() -> None:
    """A finished answer's connection is given back if its end is near."""  # C3
    cases: list[tuple[list[Step], float, int]] = [
        ([GOOD], 0, 2),
        ([GOOD, b"junk"], 0, 3),
        ([GOOD, 0.05], 0.05, 2),
        ([GOOD, inf], 0.1, 2),
        ([GOOD, *again(b"x" * 40_000)], 0, 3),
    ]
    for steps, seconds, reads in cases:
        start = now()
        answer = ScriptedAnswer(*steps)
        await read(transport(answer))
        assert now() == pytest.approx(start + seconds)
        assert answer.reads == reads
        assert answer.aborted  # harmless after the end of the body


@virtual
async def test_a_complete_answer_that_never_ends_is_ended() -> None:
    """The finish reason has come; late usage would have by now."""
    t = transport(
        ScriptedAnswer(sse({"text": "a"}, {"finish": 1}), 2.0, sse({"usage": 1}), inf)
    )
    chunks = await read(t)
    assert chunks[-2:] == [UsageUpdate(Usage(output_tokens=1)), END]
    assert now() == 5


@virtual
async def test_a_connection_that_breaks_after_the_finish_reason() -> None:
    """An end marker and a clean end of HTTP, or it is no whole answer."""  # S4
    cut = StreamInterruptedError("cut")
    t = transport(ScriptedAnswer(sse({"text": "a"}, {"finish": 1}), cut))
    with pytest.raises(StreamInterruptedError):
        await read(t)
    t = transport(ScriptedAnswer(sse({"text": "a"}, "[DONE]"), cut))
    assert (await read(t))[-1] == END


# --- errors and retries ----------------------------------------------------------------

RETRIED = [
    ProviderUnavailableError("cannot connect"),
    ScriptedAnswer(b"", status=408),
    ScriptedAnswer(b"", status=409),
    ScriptedAnswer(b"", status=429),
    ScriptedAnswer(b"", status=500),
    ScriptedAnswer(b"<html>", status=502),
    ScriptedAnswer(b"", status=503),
    ScriptedAnswer(b""),
    ScriptedAnswer(sse({"id": "1"}, {"usage": 1})),
    ScriptedAnswer(sse({"id": "1"}), StreamInterruptedError("cut")),
    ScriptedAnswer(sse({"error": {"type": "server_error"}})),
    ScriptedAnswer(b'{"error": {"code": 503}}'),
    ScriptedAnswer(inf),
    ScriptedAnswer(*again(1.0, b": ping\n\n", times=999)),
]


def fresh(outcome: Any) -> Any:
    """A script is used up by playing it."""
    if isinstance(outcome, ScriptedAnswer):
        return ScriptedAnswer(*outcome._steps, status=outcome.status)
    return outcome


@pytest.mark.parametrize("outcome", RETRIED)
def test_what_is_retried_before_output(outcome: Any) -> None:
    """Errors inside a 200, truncation and stalls exactly like their HTTP forms."""  # R1, S5
    t = transport(fresh(outcome), good())
    chunks = virtual_run(read(t))
    assert text(chunks) == "Hello"
    assert len(wire(t).requests) == 2


def virtual_run(coroutine: Any) -> Any:
    from .toys import VirtualLoop

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


FINAL: list[tuple[Any, type[AIChatError]]] = [
    (ScriptedAnswer(b"", status=401), AuthenticationError),
    (ScriptedAnswer(b"", status=404), ModelNotFoundError),
    (
        ScriptedAnswer(b'{"error":{"code":"insufficient_quota"}}', status=429),
        QuotaExceededError,
    ),
    (ScriptedAnswer(b"", status=204), ProtocolError),
    (ScriptedAnswer(b"<html>"), ProtocolError),
    (ScriptedAnswer(sse("{no")), ProtocolError),
    (ScriptedAnswer(sse({"error": {"type": "brand_new"}})), StreamError),
    (ScriptedAnswer(b"", status=302), RedirectError),
]


@pytest.mark.parametrize(("outcome", "error"), FINAL)
def test_what_is_not_retried(outcome: Any, error: type[AIChatError]) -> None:
    """Trying again would not help."""  # R1
    t = transport(fresh(outcome))
    with pytest.raises(error) as caught:
        virtual_run(read(t))
    assert type(caught.value) is error
    assert caught.value.attempts == 1
    assert caught.value.__context__ is None


@pytest.mark.parametrize("bad", [
    (StreamInterruptedError("cut"),),
    (sse({"error": {"code": 503}}),),
    (inf,),
    (),
])  # fmt: skip
@virtual
async def test_nothing_is_retried_after_output(bad: tuple[Any, ...]) -> None:
    """Once something has been said, the error is the caller's, behind what was said."""  # R1
    t = transport(ScriptedAnswer(sse({"text": "Hel"}), *bad))
    said = []
    with pytest.raises(AIChatError) as caught:
        async for chunks in t.stream(ASK, TOY):
            said += chunks
    assert text(said) == "Hel"
    assert len(wire(t).requests) == 1
    assert not caught.value.retryable
    assert caught.value.attempts == 1


@virtual
async def test_text_before_an_error_in_the_same_bytes_comes_out() -> None:
    """Three deltas and an error: three deltas, then the error."""  # S5
    body = sse({"text": "a"}, {"text": "b"}, {"text": "c"}, {"error": {"code": 429}})
    t = transport(ScriptedAnswer(body))
    said = []
    with pytest.raises(RateLimitError):
        async for chunks in t.stream(ASK, TOY):
            said += chunks
    assert text(said) == "abc"


@virtual
async def test_attempts_are_counted() -> None:
    """n retries send at most n + 1 requests, and the error says so."""  # R2
    for retries in (0, 1, 3):
        t = transport(
            *[refusal(500) for _ in range(9)], retry=RetryPolicy(max_retries=retries)
        )
        with pytest.raises(ServerError) as caught:
            await read(t)
        assert caught.value.attempts == len(wire(t).requests) == retries + 1
        # Where we were told not to try again, whoever told us may.
        assert caught.value.retryable is (retries == 0)
        assert "gave_up" not in caught.value.context
    t = transport(*[refusal(500) for _ in range(9)])
    with pytest.raises(ServerError):
        await read(t, max_retries=4)
    assert len(wire(t).requests) == 5


@virtual
async def test_backoff_between_attempts() -> None:
    """Half of 0.5, 1 and 2 s, since the dice say a half."""  # R3
    t = transport(*[refusal(500) for _ in range(4)], retry=RetryPolicy(max_retries=3))
    with pytest.raises(ServerError):
        await read(t)
    assert wire(t).at == [0, 0.25, 0.75, 1.75]


@virtual
async def test_a_hint_is_waited_for() -> None:
    """And a little longer, each client by its own dice."""  # R3, R5
    t = transport(
        refusal(429, retry_after="3"), refusal(429, retry_after_ms="1000"), good()
    )
    await read(t)
    assert wire(t).at == [0, 3.25, 4.75]


@virtual
async def test_a_hint_beyond_the_ceiling_ends_it() -> None:
    """At once, and the error says why."""  # R3
    t = transport(refusal(429, retry_after="3600"))
    with pytest.raises(
        RateLimitError, match=r"asks to wait 3600 s.*60 s is the most"
    ) as e:
        await read(t)
    assert e.value.retry_after == 3600
    assert "3600" in e.value.context["gave_up"]
    assert now() == 0


@virtual
async def test_should_retry_is_obeyed() -> None:
    """Both ways."""  # R3
    t = transport(refusal(500, x_should_retry="false"))
    with pytest.raises(ServerError):
        await read(t)
    t = transport(refusal(400, x_should_retry="true"), good())
    assert text(await read(t)) == "Hello"


@virtual
async def test_a_budget_ends_a_storm() -> None:
    """60 failing calls send 82 requests at most, not 180."""  # R4
    t = transport(*[refusal(503) for _ in range(180)])
    errors = []
    for _ in range(60):
        with pytest.raises(ProviderUnavailableError) as caught:
            await read(t)
        errors.append(caught.value)
    assert 70 <= len(wire(t).requests) <= 82
    assert "retry budget" in errors[-1].message
    t = transport(*[refusal(503) for _ in range(180)], budget=None)
    for _ in range(60):
        with pytest.raises(ProviderUnavailableError):
            await read(t)
    assert len(wire(t).requests) == 180


@virtual
async def test_attempts_share_an_idempotency_key() -> None:
    """The same for all attempts of a call, another for the next call."""
    t = transport(refusal(500), good(), good())
    await read(t)
    await read(t)
    first, second, third = [r.headers["idempotency-key"] for r in wire(t).requests]
    assert first == second != third
    assert ASK.headers == {}


@pytest.mark.parametrize(
    ("request_", "settings", "headers"),
    [
        (evolve(ASK, method="GET"), {}, {}),
        (ASK, {"idempotency_header": None}, {}),
        (
            evolve(ASK, headers={"Idempotency-Key": "mine"}),
            {},
            {"Idempotency-Key": "mine"},
        ),
    ],
)
@virtual
async def test_when_there_is_no_key_of_ours(
    request_: HTTPRequest, settings: dict[str, Any], headers: dict[str, str]
) -> None:
    """Reading is idempotent anyway, some servers refuse it, and the caller's own wins."""
    t = transport(good(), **settings)
    await read(t, request_)
    assert wire(t).requests[0].headers == headers


@virtual
async def test_an_error_body_is_read_briefly() -> None:
    """The status has said the most: an endless or silent body is not waited for."""  # I1
    endless = ScriptedAnswer(*[b"x" * 10_000] * 1000, status=500)
    silent = ScriptedAnswer(b"No.", inf, status=500)
    broken = ScriptedAnswer(b"No.", StreamInterruptedError("cut"), status=500)
    for answer, reads, seconds in [(endless, 7, 0), (silent, 2, 5), (broken, 2, 0)]:
        start = now()
        with pytest.raises(ServerError):
            await read(transport(answer), max_retries=0)
        assert (answer.reads, now() - start) == (reads, seconds)
        assert answer.aborted


@virtual
async def test_a_redirect_names_its_host_and_no_more() -> None:
    """A location may hold a token."""  # X2
    t = transport(refusal(307, location="https://evil.example/path?token=abc"))
    with pytest.raises(RedirectError, match=r"https://evil\.example;") as caught:
        await read(t)
    assert "abc" not in str(caught.value)


@virtual
async def test_vendor_words_are_used() -> None:
    """The dialect's table decides before ours."""
    dialect = evolve(TOY, error_codes={"odd": QuotaExceededError})
    t = transport(refusal(500, b'{"error":{"code":"odd"}}'))
    with pytest.raises(QuotaExceededError):
        await read(t, dialect=dialect)


@virtual
async def test_request_ids_are_of_the_attempt_that_failed() -> None:
    """In every error, inside a 200 too."""
    t = transport(refusal(500, x_request_id="a"), refusal(400, x_request_id="b"))
    with pytest.raises(AIChatError) as caught:
        await read(t)
    assert caught.value.request_id == "b"
    t = transport(
        refusal(500, x_request_id="a"), *[ProviderUnavailableError("down")] * 2
    )
    with pytest.raises(ProviderUnavailableError) as caught:
        await read(t)
    assert caught.value.request_id is None
    answer = ScriptedAnswer(sse({"text": "x"}), headers={"request-id": "c"})
    with pytest.raises(StreamInterruptedError) as caught:
        await read(transport(answer))
    assert caught.value.request_id == "c"


# --- deadlines -------------------------------------------------------------------------


@virtual
async def test_deadlines_of_the_request_go_over_the_transports() -> None:
    """What is not said stays as it was."""  # D1
    t = transport(ScriptedAnswer(inf), ScriptedAnswer(sse({"text": "x"}), inf),
                  deadlines=Deadlines(first_byte=7, idle=8, stall=9, total=None))  # fmt: skip
    with pytest.raises(DeadlineError) as caught:
        await read(t, deadlines=Deadlines(first_byte=3), max_retries=0)
    assert (caught.value.phase, now()) == ("first_byte", 3)
    with pytest.raises(DeadlineError) as caught:
        await read(t, deadlines=Deadlines(first_byte=3), max_retries=0)
    assert (caught.value.phase, now()) == ("idle", 11)


@virtual
async def test_a_send_that_never_comes_back() -> None:
    """Is cut off, and tried again."""  # D1, R1
    t = transport(
        [inf],
        good(),
        deadlines=Deadlines(first_byte=2, idle=None, stall=None, total=None),
    )
    assert text(await read(t)) == "Hello"
    assert wire(t).at == [0, 2.25]


@virtual
async def test_connecting_has_its_own_limit() -> None:
    """Whoever sends says when it begins."""  # D1
    t = transport([inf], deadlines=Deadlines(connect=1, first_byte=9, total=None))
    wire(t).phases = ("pool", "connect")
    with pytest.raises(DeadlineError) as caught:
        await read(t, max_retries=0)
    assert (caught.value.phase, now()) == ("connect", 1)


@virtual
async def test_total_covers_attempts_and_backoff() -> None:
    """Ten retries allowed, two seconds in all."""  # D3
    policy = RetryPolicy(max_retries=10, initial=0.1)
    t = transport(*[[inf] for _ in range(9)], retry=policy)
    with pytest.raises(DeadlineError) as caught:
        await read(t, deadlines=Deadlines(first_byte=0.8, total=2))
    assert (caught.value.phase, now()) == ("total", 2)
    assert caught.value.attempts == 3


@virtual
async def test_a_wait_that_would_pass_total_fails_at_once() -> None:
    """With the error that would have been retried."""  # D3
    t = transport(refusal(429, retry_after="4"))
    with pytest.raises(RateLimitError, match="total deadline"):
        await read(t, deadlines=Deadlines(total=2))
    assert now() == 0


# --- limiter and breaker ---------------------------------------------------------------


@virtual
async def test_every_attempt_asks_the_limiter() -> None:
    """Retries count like any request, and nobody holds a permit while it sleeps."""  # L1
    limiter = Limiter(RateLimit.per_second(1, burst=1))
    t = transport(refusal(500), good(), good(), limiter=limiter)
    await read(t)
    await read(t)
    assert wire(t).at == pytest.approx([0, 1, 2], abs=0.01)


@virtual
async def test_a_hopeless_wait_for_a_permit_is_not_begun() -> None:
    """Neither *pool* nor *total* would be kept, so nothing is sent."""  # L1, D3
    for phase in ("pool", "total"):
        limiter = Limiter(RateLimit.per_second(0.1, burst=1))
        t = transport(good(), good(), limiter=limiter)
        await read(t)
        start = now()
        with pytest.raises(DeadlineError) as caught:
            await read(t, deadlines=Deadlines(**{phase: 5}))
        assert (caught.value.phase, caught.value.attempts) == (phase, 0)
        assert now() == start
        assert len(wire(t).requests) == 1


@virtual
async def test_a_wait_for_a_permit_may_turn_out_too_long() -> None:
    """Somebody else was told to wait meanwhile."""  # D1
    limiter = Limiter(RateLimit.per_second(1, burst=1))
    t = transport(good(), good(), limiter=limiter)
    await read(t)
    asyncio.get_running_loop().call_later(0.5, limiter.pause, 60)
    with pytest.raises(DeadlineError) as caught:
        await read(t, deadlines=Deadlines(pool=2))
    assert (caught.value.phase, now()) == ("pool", 2)


@virtual
async def test_the_others_wait_after_a_429() -> None:
    """The provider said for how long."""  # L4
    limiter = Limiter(RateLimit.per_second(1000))
    t = transport(refusal(429, retry_after="3"), good(), limiter=limiter)
    with pytest.raises(RateLimitError):
        await read(t, max_retries=0)
    await read(t)
    assert wire(t).at == [0, 3]


@virtual
async def test_the_others_wait_when_the_allowance_is_used_up() -> None:
    """A good answer may say so as well; but nobody waits for tomorrow."""  # L4
    limiter = Limiter(RateLimit.per_second(1000))
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s"}
    tomorrow = spent | {"x-ratelimit-reset-requests": "24h0m0s"}
    t = transport(
        ScriptedAnswer(GOOD, headers=spent), ScriptedAnswer(GOOD, headers=tomorrow), good(),
        limiter=limiter,
    )  # fmt: skip
    for _ in range(3):
        await read(t)
    assert wire(t).at == pytest.approx([0, 2, 2], abs=0.01)


@virtual
async def test_what_is_left_is_learned_from_every_answer() -> None:
    """From good ones and from errors: others use the same key."""  # L4
    left = {
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-remaining-tokens": "100",
    }
    for answer in (
        ScriptedAnswer(GOOD, headers=left),
        ScriptedAnswer(b"", status=400, headers=left),
    ):
        limiter = Limiter(RateLimit.per_minute(60, tokens=6000))
        with suppress(BadRequestError):
            await read(transport(answer, limiter=limiter))
        assert limiter.wait_for() == 0
        assert limiter.wait_for(Cost(requests=2)) == 1
        assert limiter.wait_for(Cost(input_tokens=200)) == pytest.approx(1, abs=0.03)


ESTIMATE = Cost(input_tokens=1000, output_tokens=1000)


def left_of(limiter: Limiter) -> tuple[int, int]:
    """How many tokens there are, of input and of output."""
    buckets = limiter._lane().buckets
    return tuple(
        round(buckets[kind].max_rate - buckets[kind].level)
        for kind in ("input_tokens", "output_tokens")
    )  # type: ignore[return-value]  # they are two


def said(*values: Any) -> ScriptedAnswer:
    return ScriptedAnswer(sse(*values))


LONG = {"text": "x" * 400}

SETTLED: list[tuple[Any, tuple[int, int]]] = [
    # It says what it took: of the output 300; of the input nothing.
    (said({"text": "a"}, {"usage": 300}, {"finish": 1}, "[DONE]"), (1000, 1700)),
    # More than was reserved.
    (said({"text": "a"}, {"usage": 1500}, {"finish": 1}, "[DONE]"), (1000, 500)),
    # It never says.
    (said(LONG, {"finish": 1}, "[DONE]"), (1000, 1900)),
    # It was cut before it did, or long after.
    (said(LONG, LONG), (1000, 1800)),
    (said({"usage": 5}, LONG), (1000, 1900)),
    (ScriptedAnswer(sse(LONG), inf), (1000, 1900)),
    # It failed before it had begun.
    (refusal(500), (2000, 2000)),
    (ProviderUnavailableError("cannot connect"), (2000, 2000)),
    (said({"error": {"type": "server_error"}}), (2000, 2000)),
]


@pytest.mark.parametrize(("outcome", "left"), SETTLED)
@virtual
async def test_tokens_are_settled_however_it_ends(
    outcome: Any, left: tuple[int, int]
) -> None:
    """By what it says that it took, or by what came; a failure has taken nothing."""  # L2
    limiter = Limiter(RateLimit(per=1e9, input_tokens=2000, output_tokens=2000))
    t = transport(fresh(outcome), limiter=limiter)
    with suppress(AIChatError):
        await read(t, cost=ESTIMATE, max_retries=0)
    assert left_of(limiter) == left


@pytest.mark.parametrize("way", ["aclose", "cancel", "close"])
@virtual
async def test_tokens_are_settled_when_it_is_left(way: str) -> None:
    """In the midst of the answer: the prompt, and what has arrived."""  # L2, C1
    limiter = Limiter(RateLimit(per=1e9, input_tokens=2000, output_tokens=2000))
    t = transport(ScriptedAnswer(sse(LONG), 1.0, sse(LONG), inf), limiter=limiter)
    chunks = t.stream(ASK, TOY, cost=ESTIMATE)
    await anext(chunks)
    await anext(chunks)
    assert left_of(limiter) == (1000, 1000)
    if way == "aclose":
        await chunks.aclose()
    else:
        task = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(1)
        task.cancel() if way == "cancel" else await t.aclose()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception()
    assert left_of(limiter) == (1000, 1800)


@virtual
async def test_tokens_of_who_left_before_it_began() -> None:
    """Once it is sent, the prompt counts; before that, nothing does."""  # L2, C1
    for phase, left in [("connect", (2000, 2000)), ("first_byte", (1000, 2000))]:
        limiter = Limiter(RateLimit(per=1e9, input_tokens=2000, output_tokens=2000))
        t = transport([inf], limiter=limiter)
        wire(t).phases = ("pool", phase)  # type: ignore[assignment]  # they are phases
        task = asyncio.create_task(read(t, cost=ESTIMATE))
        await asyncio.sleep(1)
        assert left_of(limiter) == (1000, 1000)
        task.cancel()
        await asyncio.wait([task])
        assert left_of(limiter) == left


@virtual
async def test_each_attempt_reserves_and_gives_back() -> None:
    """Nobody holds tokens while it sleeps."""  # L2, R2
    limiter = Limiter(
        RateLimit(per=1e9, requests=9, input_tokens=1000, output_tokens=1000)
    )
    t = transport(refusal(500), refusal(503), good(), limiter=limiter)
    await read(t, cost=ESTIMATE)
    assert wire(t).at == [0, 0.25, 0.75]
    assert left_of(limiter) == (0, 998)
    assert limiter.wait_for(Cost(requests=6)) == 0
    assert limiter.wait_for(Cost(requests=7)) > 0


@virtual
async def test_a_value_keeps_what_it_reserved() -> None:
    """Nobody knows better; a failure gives it back."""  # L2
    limiter = Limiter(RateLimit(per=1e9, input_tokens=2000, output_tokens=2000))
    t = transport(ScriptedAnswer(b"{}"), refusal(500), good(), limiter=limiter)
    assert await t.fetch(ASK, cost=Cost(input_tokens=700)) == {}
    with pytest.raises(ServerError):
        await t.fetch(ASK, cost=Cost(input_tokens=700), max_retries=0)
    assert left_of(limiter) == (1300, 2000)


def test_nobody_guesses_who_does_not_have_to() -> None:
    """Without a limit on tokens nobody looks at a prompt, nor at a chunk."""  # L2
    request = ChatRequest("Hi", "toy:x")
    for limiter in (None, Limiter(RateLimit(9))):
        t = transport(limiter=limiter)
        assert t.expect(request) is t.expect(evolve(request, messages="Longer"))
    assert transport(limiter=Limiter(RateLimit(tokens=9))).expect(request).input_tokens


@virtual
async def test_the_breaker_is_inside_of_retry() -> None:
    """Failures of attempts open it; what then is the last error of this call, not a new one."""  # B1
    breaker = CircuitBreaker(2, 10, clock=now)
    t = transport(*[refusal(500) for _ in range(9)], good(), breaker=breaker)
    with pytest.raises(ServerError, match="circuit has opened") as caught:
        await read(t, max_retries=9)
    assert caught.value.attempts == 2
    with pytest.raises(CircuitOpenError) as refused:
        await read(t)
    assert refused.value.attempts == 0
    assert len(wire(t).requests) == 2
    # Another origin is another matter.
    with pytest.raises(ServerError):
        await read(t, evolve(ASK, base_url="http://localhost:2"), max_retries=0)


@virtual
async def test_the_breaker_hears_how_answers_end() -> None:
    """Well, badly, or left when they had begun, which is well."""  # B1
    breaker = CircuitBreaker(2, 10, clock=now)

    def cut() -> ScriptedAnswer:
        return ScriptedAnswer(sse({"text": "x"}))

    t = transport(cut(), ScriptedAnswer(sse({"text": "x"}), inf), cut(), good(),
                  cut(), cut(), breaker=breaker)  # fmt: skip
    origin = "http://localhost:1"

    async def interrupted() -> None:
        with pytest.raises(StreamInterruptedError):
            await read(t)

    await interrupted()
    async with aclosing(t.stream(ASK, TOY)) as left:
        await anext(left)
    assert breaker._circuits[origin].failures == 0
    await interrupted()
    await read(t)
    await interrupted()
    assert not breaker.is_open(origin)
    await interrupted()
    assert breaker.is_open(origin)


@virtual
async def test_a_cancelled_probe_does_not_wedge_the_breaker() -> None:
    """The next call may probe."""  # B1
    breaker = CircuitBreaker(1, 10, clock=now)
    t = transport(refusal(500), [inf], good(), breaker=breaker)
    with pytest.raises(ServerError):
        await read(t, max_retries=0)
    await asyncio.sleep(10)
    probe = asyncio.create_task(read(t))
    await asyncio.sleep(1)
    with pytest.raises(CircuitOpenError):
        await read(t)
    probe.cancel()
    await asyncio.wait([probe])
    assert text(await read(t)) == "Hello"


@virtual
async def test_what_happens_is_told() -> None:
    """Attempts, waits and failures, as values."""
    events: list[CallEvent] = []
    limiter = Limiter(RateLimit.per_second(1, burst=1))
    t = transport(refusal(500), good(), limiter=limiter)
    with listening(events.append):
        await read(t)
    await read(transport(good()))  # nobody listens any more
    assert [(e.kind, e.attempt, e.reason, round(e.seconds, 2)) for e in events] == [
        ("attempt", 1, "", 0),
        ("failed", 1, "", 0),
        ("waiting", 2, "backoff", 0.25),
        ("waiting", 2, "limiter", 0.75),
        ("attempt", 2, "", 0),
    ]
    assert isinstance(events[1].error, ServerError)
    assert events[0].provider == "toy"


@virtual
async def test_a_watcher_that_raises_breaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged."""

    def broken(_: CallEvent) -> None:
        raise RuntimeError("metrics are down")

    with caplog.at_level(logging.ERROR, "aichat"), listening(broken):
        assert text(await read(transport(good()))) == "Hello"
    assert "metrics are down" in caplog.text


# --- leaving ---------------------------------------------------------------------------


@virtual
async def test_leaving_early_drops_the_connection() -> None:
    """With `aclose`, and without any reference left."""  # C1
    for leave in ("aclose", "break"):
        answer = ScriptedAnswer(sse({"text": "x"}), inf)
        t = transport(answer)
        chunks = t.stream(ASK, TOY)
        await anext(chunks)
        if leave == "aclose":
            await chunks.aclose()
        del chunks
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert answer.aborted
        assert not t._calls


@pytest.mark.parametrize("way", ["break", "cancel", "raise"])
@pytest.mark.parametrize("index", range(6))
@virtual
async def test_leaving_after_any_number_of_chunks(index: int, way: str) -> None:
    """The connection is dropped, unless the answer is over."""  # C1
    events = [{"id": "1"}, {"text": "a"}, {"text": "b"}, {"usage": 1}, {"finish": 1}]
    steps = [step for event in events for step in (sse(event), 1.0)]
    answer = ScriptedAnswer(*steps, sse("[DONE]"))
    t = transport(answer)

    async def consume() -> None:
        seen = 0
        async with aclosing(t.stream(ASK, TOY)) as lists:
            async for _ in lists:
                seen += 1
                if seen > index and way == "break":
                    return
                if seen > index and way == "raise":
                    raise KeyError

    task = asyncio.create_task(consume())
    if way == "cancel":
        asyncio.get_running_loop().call_later(index + 0.5, task.cancel)
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, (KeyError, asyncio.CancelledError, type(None)))
    assert answer.aborted
    assert not t._calls


@pytest.mark.parametrize("outcome", [
    [inf], ScriptedAnswer(inf), ScriptedAnswer(sse({"text": "x"}), inf),
    ScriptedAnswer(b"No.", inf, status=500), ScriptedAnswer(GOOD, inf),
])  # fmt: skip
@virtual
async def test_cancellation_passes_and_leaves_nothing(outcome: Any) -> None:
    """In every phase of a call."""  # C1, C2
    outcome = fresh(outcome)
    t = transport(outcome)
    task = asyncio.create_task(read(t))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not t._calls
    if isinstance(outcome, ScriptedAnswer):
        assert outcome.aborted


@virtual
async def test_cancellation_while_waiting_sends_nothing_more() -> None:
    """For a permit, or for the next attempt."""  # C1, L3
    t = transport(
        refusal(429, retry_after="9"), limiter=Limiter(RateLimit.per_second(1))
    )
    task = asyncio.create_task(read(t))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(60)
    assert len(wire(t).requests) == 1


@pytest.mark.parametrize("outcome", [
    [inf], ScriptedAnswer(inf), ScriptedAnswer(sse({"text": "x"}), inf),
    ScriptedAnswer(b"No.", inf, status=500), ScriptedAnswer(b"", status=500),
])  # fmt: skip
@virtual
async def test_closing_ends_what_is_under_way(outcome: Any) -> None:
    """With a clear error, at once, in every phase; and once is enough."""  # C4
    t = transport(fresh(outcome))
    task = asyncio.create_task(read(t))
    await asyncio.sleep(0.05)
    await t.aclose()
    with pytest.raises(ClosedError) as caught:
        await task
    assert caught.value.code == "client_closed"
    assert now() == pytest.approx(0.05)
    await t.aclose()
    with pytest.raises(ClosedError):
        await read(t)
    with pytest.raises(ClosedError):
        await t.fetch(ASK)


@virtual
async def test_closing_ends_a_stream_that_nobody_is_reading() -> None:
    """Its reader hears of it when it comes back."""  # C4
    answer = ScriptedAnswer(sse({"text": "x"}), 0.0, sse({"text": "y"}), inf)
    t = transport(answer)
    chunks = t.stream(ASK, TOY)
    await anext(chunks)
    await t.aclose()
    assert answer.aborted
    with pytest.raises(ClosedError):
        await anext(chunks)


# --- one JSON value --------------------------------------------------------------------


@virtual
async def test_a_plain_value_is_fetched_by_the_same_road() -> None:
    """Retried, and read whole."""
    t = transport(
        refusal(500), ScriptedAnswer(b'{"a":', 1.0, b"[1]}"), ScriptedAnswer(b" ")
    )
    assert await t.fetch(evolve(ASK, method="GET")) == {"a": [1]}
    assert await t.fetch(ASK) is None
    assert len(wire(t).requests) == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ScriptedAnswer(b"<html>"), ProtocolError),
        (ScriptedAnswer(b'{"a":'), ProtocolError),
        (ScriptedAnswer(b"x" * 60, b"x" * 60), ResponseTooLargeError),
        (ScriptedAnswer(b'{"error":{"code":"odd"}}', status=400), QuotaExceededError),
        (ScriptedAnswer(b"1", inf), DeadlineError),
    ],
)
@virtual
async def test_what_is_no_plain_value(
    answer: ScriptedAnswer, error: type[AIChatError]
) -> None:
    """The same errors."""  # I1, I2
    t = transport(fresh(answer), max_document=100)
    with pytest.raises(error) as caught:
        await t.fetch(ASK, error_codes={"odd": QuotaExceededError}, max_retries=0)
    assert caught.value.attempts == 1


@virtual
async def test_fetching_can_be_cancelled() -> None:
    """Like anything else."""  # C2
    answer = ScriptedAnswer(inf)
    t = transport(answer)
    task = asyncio.create_task(t.fetch(ASK))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answer.aborted
    assert not t._calls


# --- secrets ---------------------------------------------------------------------------


def frames_of(error: BaseException) -> str:
    """What an error reporter that shows local variables would show."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if "/tests/" not in frame.f_code.co_filename]
    return repr([list(frame.f_locals.values()) for frame in ours])


@pytest.mark.parametrize(
    "outcome",
    [
        refusal(
            401, f'{{"error":{{"message":"Bad key {KEY}","code":"{KEY}"}}}}'.encode()
        ),
        refusal(500, f"Authorization: Bearer {KEY}".encode(), x_request_id=KEY),
        ScriptedAnswer(sse({"error": {"message": KEY}})),
        ScriptedAnswer(f"<title>{KEY}".encode()),
        ProviderUnavailableError(f"cannot send {KEY}", context={"x": [KEY]}),
    ],
)
@virtual
async def test_no_error_shows_the_key(outcome: Any) -> None:
    """Message, repr, facts, causes, and the local variables of its frames."""  # X1
    t = transport(*[fresh(outcome) for _ in range(3)])
    with pytest.raises(AIChatError) as caught:
        await read(t, SECRET)
    error = caught.value
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert KEY not in told
    assert KEY not in frames_of(error)
    assert KEY not in repr(t)


@pytest.mark.parametrize(
    "request_",
    [
        evolve(SECRET, headers={"x-key": f"{KEY}\r\nx: y"}),
        evolve(SECRET, base_url="http://api.example.com"),
        evolve(SECRET, base_url="https://u:p@api.example.com"),
    ],
)
@virtual
async def test_a_bad_request_is_not_sent(request_: HTTPRequest) -> None:
    """And the refusal shows nothing."""  # X1, X2, X3
    t = transport(good())
    with pytest.raises(ConfigError) as caught:
        await read(t, request_)
    assert wire(t).requests == []
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in frames_of(caught.value)


@virtual
async def test_a_public_host_without_tls_if_you_say_so() -> None:
    """It is the user's network."""  # X2
    t = transport(good(), allow_insecure=True)
    await read(t, evolve(SECRET, base_url="http://api.example.com/v1/"))
    assert wire(t).requests[0].base_url == "http://api.example.com/v1"


def test_a_transport_is_made_without_a_loop() -> None:
    """A web application makes its client at import."""
    t = Transport(name="x", send=Wire())
    assert isinstance(t.budget, RetryBudget)
    assert Transport(name="y", send=Wire()).budget is not t.budget
    gc.collect()
