"""What goes wrong in the simulator on purpose, and what people's applications see of it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import field, frozen

from aichat import (
    AIChatError,
    ChatResponse,
    Client,
    ConfigError,
    ContextLengthError,
    DeadlineError,
    Deadlines,
    FinishReason,
    ProtocolError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    ResponseTooLargeError,
    StreamError,
    StreamInterruptedError,
    Tool,
)
from aichat.testing import Fault, FaultKind, ReceivedRequest, Simulator

from ..simulated import TARGETS, Target

TOOL = Tool(
    "get_weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)
CHAT = Target("openai-chat", "openai-compatible")
#: The first three words of every answer.
THREE = "This is aichat's"


async def ask(client: Client, prompt: str = "Hello!", **options: Any) -> ChatResponse:
    return await client.stream(prompt, **options).response()


async def outcomes(client: Client, count: int) -> str:
    """``.`` for each question that is answered, ``x`` for each that is not."""
    said = ""
    for number in range(count):
        try:
            await ask(client, f"Number {number}")
            said += "."
        except AIChatError:
            said += "x"
    return said


# -- every fault, over every dialect ----------------------------------------------------


@frozen
class Row:
    """A fault, and the error that it is for a client that may try twice."""

    fault: Fault
    error: type[AIChatError]
    #: Where a dialect has no words for it.
    nameless: type[AIChatError] | None = field(default=None, kw_only=True)
    attempts: int = field(default=2, kw_only=True)
    partial: str = field(default="", kw_only=True)
    facts: Mapping[str, Any] = field(factory=dict, kw_only=True, hash=False)

    def __str__(self) -> str:
        return f"{self.fault.kind}-{self.fault.after}"


def broken(kind: FaultKind, error: type[AIChatError], **facts: Any) -> Row:
    """Something that happens after three words, when there is no second try."""
    return Row(Fault(kind, after=3), error, attempts=1, partial=THREE, **facts)


ROWS = (
    Row(Fault(), ProviderUnavailableError, facts={"status": 503}),
    Row(Fault("rate_limit", seconds=0), RateLimitError, facts={"status": 429, "retry_after": 0}),
    Row(Fault("overloaded"), ProviderUnavailableError),
    Row(Fault("quota"), QuotaExceededError, attempts=1),
    Row(Fault("context_length"), ContextLengthError, attempts=1, facts={"status": 400}),
    Row(Fault("drop"), ProviderUnavailableError, facts={"status": None}),
    Row(Fault("html"), ProtocolError, attempts=1),
    Row(Fault("empty"), StreamInterruptedError),
    Row(Fault("hang_up"), StreamInterruptedError),
    Row(Fault("truncate"), StreamInterruptedError),
    Row(Fault("stall"), DeadlineError, facts={"phase": "first_byte"}),
    broken("error_event", ProviderUnavailableError, nameless=StreamError),
    broken("hang_up", StreamInterruptedError),
    broken("truncate", StreamInterruptedError),
    broken("stall", DeadlineError, facts={"phase": "idle"}),
    broken("garbage", ProtocolError),
    broken("huge_line", ResponseTooLargeError),
)  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_each_fault_is_the_same_error_everywhere(
    target: Target, row: Row
) -> None:
    """
    E, R1, R2, S4, S5: whatever the dialect calls it, and with what had been said until then.
    """
    async with Simulator() as sim, target.client(sim, max_retries=1) as client:
        sim.fail(row.fault)
        with pytest.raises(AIChatError) as caught:
            await ask(client, deadlines=Deadlines(first_byte=0.2, idle=0.2))
        requests = sim.requests

    error = caught.value
    named = target.names_errors or row.nameless is None
    assert type(error) is (row.error if named else row.nameless)
    assert error.attempts == len(requests) == row.attempts
    assert {request.fault for request in requests} == {row.fault}
    assert error.partial is not None
    assert error.partial.text == row.partial
    for name, value in row.facts.items():
        assert getattr(error, name) == value


@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_a_huge_line_may_be_as_huge_as_one_likes(target: Target) -> None:
    """
    I1: below the ceiling it is read, and goes for nothing: no dialect knows such an event.
    """
    async with Simulator() as sim, target.client(sim) as client:
        sim.fail("huge_line", after=3, size=200_000)
        answer = await ask(client)
        sim.heal()
        assert answer.text == (await ask(client)).text


@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_an_answer_may_be_cut_short(target: Target) -> None:
    """
    As if there were no tokens for more: a good answer, that says so.
    """
    async with Simulator() as sim, target.client(sim) as client:
        sim.fail("length", after=14)
        answer = await ask(client)
        sim.heal()
        whole = await ask(client)

    assert answer.finish_reason is FinishReason.LENGTH
    assert whole.text.startswith(answer.text)
    assert len(answer.text) < len(whole.text)
    assert answer.usage is not None
    assert whole.usage is not None
    assert (answer.usage.output_tokens or 0) < (whole.usage.output_tokens or 0)


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("kind", ["bad_arguments", "length"])
async def test_a_tool_call_may_be_broken(target: Target, kind: FaultKind) -> None:
    """
    S7: half of its arguments arrive, and it is never taken for a good one. Dialects that
    send arguments whole do not send such a call.
    """
    words = 14 if kind == "length" else 0  # the call's first one comes after thirteen
    async with Simulator() as sim, target.client(sim) as client:
        sim.fail(kind, after=words)
        answer = await ask(client, "What is the weather in Paris?", tools=[TOOL])

    assert answer.tool_calls == ()
    for call in answer.invalid_tool_calls:
        assert '{"city":'.startswith(call.arguments[:8])
        assert call.invalid
    in_pieces = target.dialect not in ("google", "ollama")
    if kind == "bad_arguments":
        assert bool(answer.invalid_tool_calls) == in_pieces
    else:
        assert answer.finish_reason is FinishReason.LENGTH
        if in_pieces:
            assert [call.arguments for call in answer.invalid_tool_calls] == [
                '{"city":'
            ]


@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_an_answer_may_be_slow(target: Target) -> None:
    """
    D2: to begin, or with each word after the first; it is as good as ever.
    """
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with Simulator(sleep=sleep) as sim, target.client(sim) as client:
        sim.fail_next("slow_start", seconds=7)
        sim.fail_next("slow", seconds=0.5, after=1)
        late, slow = await ask(client), await ask(client)

    assert late.text == slow.text
    words = len(pauses) // 2
    assert pauses[0] == 7
    assert pauses == [7, *[0] * words, 0, *[0.5] * (words - 1)]


# -- which request ----------------------------------------------------------------------


async def test_the_third_call_fails_in_mid_stream() -> None:
    """
    In one line.
    """
    async with Simulator() as sim, CHAT.client(sim) as client:
        sim.fail("hang_up", after=3, on=3)

        assert await outcomes(client, 5) == "..x.."
        assert [r.fault and r.fault.kind for r in sim.requests] == [
            None, None, "hang_up", None, None,
        ]  # fmt: skip


async def test_requests_are_counted_from_now() -> None:
    """
    Several may be named; each rule counts for itself.
    """
    async with Simulator() as sim, CHAT.client(sim) as client:
        assert await outcomes(client, 2) == ".."
        sim.fail(on=(1, 4))
        assert await outcomes(client, 2) == "x."
        sim.fail(on=1)
        assert await outcomes(client, 3) == "xx."


async def test_all_requests_fail_until_it_is_healed() -> None:
    """
    Whatever has been planned is forgotten then; what was recorded is not.
    """
    async with Simulator() as sim, CHAT.client(sim) as client:
        sim.fail("overloaded")
        sim.fail_next("html")
        assert await outcomes(client, 3) == "xxx"
        sim.heal()
        assert await outcomes(client, 2) == ".."
        assert sim.request_count == 5


async def test_a_predicate_says_which_requests_fail() -> None:
    """
    It sees what was sent; a number then counts only those.
    """

    def about_cats(request: ReceivedRequest) -> bool:
        return "cat" in str(request.body["messages"])

    async with Simulator() as sim, CHAT.client(sim) as client:
        sim.fail("rate_limit", when=about_cats, on=2)
        for prompt in ("A cat!", "A dog!", "A dog!"):
            await ask(client, prompt)
        with pytest.raises(RateLimitError):
            await ask(client, "A cat!")
        await ask(client, "A cat!")


async def test_a_predicate_that_fails_is_heard_of() -> None:
    """
    In the answer: nobody reads a server's log.
    """
    async with Simulator() as sim, CHAT.client(sim) as client:
        sim.fail(when=lambda request: bool(request.body["no such thing"]))
        with pytest.raises(AIChatError, match="`when` of a fault raised KeyError"):
            await ask(client)
        assert sim.request_count == len(sim.requests) == 1


async def test_chaos_can_be_repeated() -> None:
    """
    A part of the requests fails, and with the same seed the same ones.
    """

    async def chaos(seed: int) -> str:
        async with Simulator() as sim, CHAT.client(sim) as client:
            sim.fail("overloaded", rate=0.3, rand=random.Random(seed).random)
            return await outcomes(client, 40)

    one, same, other = [await chaos(seed) for seed in (1, 1, 2)]
    assert one == same
    assert one != other
    assert 4 <= one.count("x") <= 20


async def test_the_first_of_several_faults_wins() -> None:
    """
    A request's own wish before all; what is next in turn waits for a request that is spared.
    """
    async with Simulator() as sim, CHAT.client(sim) as client:
        sim.fail_next("quota")
        sim.fail("rate_limit", on=2)
        sim.fail("context_length", on=(1, 2))
        seen: list[type[AIChatError]] = []
        wish = {"x-aichat-fault": "overloaded"}
        for headers in ({}, {}, wish, {}):
            async with CHAT.client(sim, headers=headers) as other:
                with pytest.raises(AIChatError) as caught:
                    await ask(other)
                seen.append(type(caught.value))
        await ask(client)

    assert seen == [
        ContextLengthError,
        RateLimitError,
        ProviderUnavailableError,
        QuotaExceededError,
    ]


async def test_a_fault_can_be_changed_where_it_is_used() -> None:
    """
    The facts that are said beside a `Fault` count.
    """
    fault = Fault("rate_limit", seconds=9)
    async with Simulator() as sim, CHAT.client(sim) as client:
        sim.fail_next(fault)
        sim.fail_next(fault, seconds=3, message="Slower!")
        for seconds, message in ((9, "told to fail"), (3, "Slower!")):
            with pytest.raises(RateLimitError, match=message) as caught:
                await ask(client)
            assert caught.value.retry_after == seconds


# -- mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": 0}, "counted from 1"),
        ({"on": ()}, "counted from 1"),
        ({"rate": 1.5}, "rate of a fault"),
        ({"rate": float("nan")}, "rate of a fault"),
        ({"kind": "slowly"}, "no fault 'slowly'"),
        ({"after": -1}, "after is 0 or more"),
        ({"seconds": float("nan")}, "seconds is 0 or more"),
        ({"size": -5}, "size is 0 or more"),
        ({"status": 600}, "200 to 599"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    """
    A test whose fault never happens would pass for nothing.
    """
    with pytest.raises(ConfigError, match=message):
        Simulator().fail(**options)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("slow; seconds=0.25; after=2", Fault("slow", seconds=0.25, after=2)),
        ("huge_line; size=1000", Fault("huge_line", size=1000)),
        ("rate_limit;seconds=3", Fault("rate_limit", seconds=3)),
        ("context_length", Fault("context_length")),
    ],
)
def test_the_header_says_whatever_the_value_does(text: str, fault: Fault) -> None:
    """
    For tests that run side by side, in any language.
    """
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    "text", ["slow; seconds=-1", "slow; seconds=.5", "slow; after=½"]
)
def test_numbers_have_to_be_numbers(text: str) -> None:
    """
    And not negative.
    """
    with pytest.raises(ConfigError, match="A fault has no"):
        Fault.parse(text)
