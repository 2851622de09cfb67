"""The loop: who is asked, what is called, what the model reads."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import gc
import pickle
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from attrs import evolve

from aichat import (
    ChatRequest,
    Client,
    ClosedError,
    ConfigError,
    FinishReason,
    ImagePart,
    InvalidRequestError,
    Message,
    ServerError,
    StreamClosedError,
    StreamInterruptedError,
    TextDelta,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    system,
    user,
)
from aichat.errors import ToolLoopError
from aichat.providers import anthropic
from aichat.structured import Expected, StructuredOutputError
from aichat.testing import FakeProvider, check_stream, reply, tool_call
from aichat.tools import (
    Allow,
    Deny,
    PendingCall,
    RoundEnded,
    RunEvent,
    RunResult,
    RunStream,
    Settings,
    ToolContext,
    ToolError,
    ToolFinished,
    ToolStarted,
    TypedRunResult,
    run,
    tool,
)
from aichat.types import (
    OpaquePart,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    ResponseEnd,
    StreamChunk,
    total_usage,
)

from ..transport.toys import now, virtual


def asking(*calls: ToolCallPart, **options: Any) -> list[StreamChunk]:
    """An answer that asks for *calls*."""
    return reply("One moment.", tool_calls=calls, **options)


def client(*replies: Any) -> tuple[Client, FakeProvider]:
    provider = FakeProvider(replies)
    return Client({"fake": provider}, model="fake:any"), provider


async def results(*calls: ToolCallPart, **options: Any) -> list[ToolResultPart]:
    """What the model reads after it has asked for *calls*."""
    asked, provider = client(asking(*calls), reply("Done."))
    result = await asked.run("Hi", **options)
    assert result.text == "Done."
    message = provider.requests[1].messages[-1]
    found = [part for part in message.content if isinstance(part, ToolResultPart)]
    assert [part.call_id for part in found] == [call.id for call in calls]
    assert [part.name for part in found] == [call.name for call in calls]
    return found


async def weather(city: str, days: int = 1) -> str:
    """Tell the weather."""
    return f"{city}: fine for {days}"


def broken(message: str = "It broke.") -> str:
    """Break."""
    raise ZeroDivisionError(message)


# --- asking and answering --------------------------------------------------------------


async def test_a_call_is_made_and_its_result_read() -> None:
    """The conversation grows by the answer, as it is, and by the result."""
    call = tool_call("weather", city="Rome")
    asked, provider = client(asking(call), reply("It is fine."))
    result = await asked.run([system("Be kind."), user("Is it fine?")], tools=[weather])

    assert result.text == "It is fine."
    assert result.stop_reason == "done"
    assert result.rounds == 2
    first, second = provider.requests
    assert first.tools == (tool(weather).plain,)
    assert second.messages == (*first.messages, *result.messages[:2])
    answer, results, last = result.messages
    assert answer == result.responses[0].message
    assert results == Message(
        "tool", ToolResultPart(call.id, "Rome: fine for 1", name="weather")
    )
    assert last == result.response.message
    assert result.conversation == (*first.messages, *result.messages)


async def test_no_tool_is_wanted() -> None:
    """Then it is like `complete`, with or without tools."""
    asked, provider = client(reply("Hello."), reply("Hello."))
    assert (await asked.run("Hi", tools=[weather])).rounds == 1
    result = await asked.run("Hi")
    assert result.messages == (result.response.message,)
    assert provider.requests[1].tools == ()


async def test_an_empty_answer() -> None:
    """It is the response, and no message: nobody takes an empty one."""
    asked, _ = client([ResponseEnd(FinishReason.STOP)])
    result = await asked.run("Hi")
    assert result.text == ""
    assert result.messages == ()


async def test_tools_of_a_request() -> None:
    """A whole request may be run; a plain `Tool` in it may not, for who would call it?"""
    asked, provider = client(asking(tool_call("weather", city="Rome")), reply("Fine."))
    request = ChatRequest("Hi", "fake:any", tools=[tool(weather)], temperature=0.5)
    assert (await asked.run(request)).text == "Fine."
    assert [r.temperature for r in provider.requests] == [0.5, 0.5]
    with pytest.raises(ConfigError, match="only a description"):
        await asked.run(evolve(request, tools=[Tool("it")]))


async def test_state_goes_back_untouched() -> None:
    """Thoughts, signatures and their order are part of what the provider wants back."""
    # S9
    state = ProviderState("fake", {"signature": "abc"})
    chunks = asking(tool_call("weather", city="Rome"), reasoning="Hm.")
    at = next(n for n, c in enumerate(chunks) if isinstance(c, ReasoningDelta)) + 1
    chunks.insert(at, PartEnd(0, state))
    asked, provider = client(chunks, reply("Done."))
    result = await asked.run("Hi", tools=[weather])
    sent = provider.requests[1].messages[1]
    assert sent is result.responses[0].message
    assert sent.content[0].provider_state is state


async def test_a_call_that_is_required_is_required_once() -> None:
    """Or the run could never end. A choice among tools holds."""
    call = tool_call("weather", city="Rome")
    asked, provider = client(*[asking(call), reply("Done.")] * 2)
    await asked.run("Hi", tools=[weather], tool_choice="required")
    await asked.run("Hi", tools=[weather], tool_choice=ToolChoice("auto", "weather"))
    choices = [request.tool_choice for request in provider.requests]
    assert choices == [
        ToolChoice("required"),
        None,
        ToolChoice("auto", "weather"),
        ToolChoice("auto", "weather"),
    ]


# --- what the model reads --------------------------------------------------------------


@dataclasses.dataclass
class Forecast:
    high: float
    days: tuple[str, ...] = ()


PICTURE = ImagePart(url="https://example.com/cat.png")


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("as it is", (TextPart("as it is"),)),
        ("", (TextPart(""),)),
        (None, (TextPart("null"),)),
        (3, (TextPart("3"),)),
        ({"a": [1]}, (TextPart('{"a":[1]}'),)),
        (["a", "b"], (TextPart('["a","b"]'),)),
        ([], (TextPart("[]"),)),
        (Forecast(20.5, ("mon",)), (TextPart('{"high":20.5,"days":["mon"]}'),)),
        (PICTURE, (PICTURE,)),
        (["A cat:", PICTURE], (TextPart("A cat:"), PICTURE)),
        (ToolResultPart("other", "x"), (TextPart("x"),)),
    ],
)
async def test_results(value: Any, content: Any) -> None:
    """A text is itself, parts are themselves, all else is JSON."""
    (result,) = await results(
        tool_call("it"), tools=[tool(lambda: value, name="it", inline=True)]
    )
    assert result.content == content
    assert not result.is_error


class Odd:
    pass


@pytest.mark.parametrize(
    ("raises", "text"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (KeyError(), "KeyError"),
        (ToolError("No such city."), "No such city."),
        (ToolError(), "The tool failed."),
        (ValueError("x" * 3000), f"ValueError: {'x' * 1988}… (3012 characters)"),
        (TimeoutError("of its own"), "TimeoutError: of its own"),
    ],
)
async def test_what_a_tool_raises(raises: Exception, text: str) -> None:
    """The type and the text, and never a traceback."""

    async def it() -> None:
        raise raises

    (result,) = await results(tool_call("it"), tools=[tool(it, timeout=60)])
    assert result.text == text
    assert result.is_error


async def test_a_result_that_json_has_no_form_for() -> None:
    """It is an error of the tool's."""
    it = tool(lambda: Odd(), name="it")
    (result,) = await results(tool_call("it"), tools=[it])
    assert result.is_error
    assert result.text == "TypeError: JSON has no form for Odd"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            tool_call("weather", city=3),
            "Invalid arguments: $.city: expected a string, got an integer.",
        ),
        (
            tool_call("weather", town="Rome"),
            (
                "Invalid arguments: $.city: is missing: a string; "
                "$.town: is not known; known are: city, days."
            ),
        ),
        (tool_call("whether"), "There is no tool 'whether'. There are: weather."),
        (
            ToolCallPart("call_x", "weather", "Rome", kind="custom"),
            "The tool 'weather' takes JSON, not free text.",
        ),
    ],
)
async def test_a_call_that_makes_no_sense(call: ToolCallPart, text: str) -> None:
    """It is not made, and the model is told why, so that it can do better."""
    # S7
    called: list[str] = []

    @tool(name="weather")
    async def spy(city: str, days: int = 1) -> None:
        called.append(city)

    (result,) = await results(call, tools=[spy])
    assert result.text == text
    assert result.is_error
    assert called == []


@pytest.mark.parametrize("arguments", ['{"city": "Rome', "[]", "nonsense"])
async def test_arguments_that_are_no_json(arguments: str) -> None:
    """The call is invalid, with the reason; it is never repaired and never made."""
    # S7
    (result,) = await results(
        ToolCallPart("call_x", "weather", arguments), tools=[weather]
    )
    assert result.is_error
    assert result.text.startswith("The call was not made: the arguments are no JSON")


async def test_a_call_that_was_cut_off() -> None:
    """It is not made; those before it are."""
    # S7
    calls = [
        tool_call("weather", city="Rome"),
        ToolCallPart("call_x", "weather", '{"city": "Os'),
    ]
    asked, provider = client(
        reply(tool_calls=calls, finish_reason="length"), reply("Done.")
    )
    result = await asked.run("Hi", tools=[weather])
    rome, oslo = provider.requests[1].messages[-1].content
    assert isinstance(rome, ToolResultPart)
    assert isinstance(oslo, ToolResultPart)
    assert rome.text == "Rome: fine for 1"
    assert oslo.text.startswith("The call was not made: cut off")
    assert result.stop_reason == "done"


async def test_null_leaves_an_argument_out() -> None:
    """Strict schemas make every parameter required, and null the way to say nothing."""
    (result,) = await results(
        tool_call("weather", city="Rome", days=None), tools=[weather]
    )
    assert result.text == "Rome: fine for 1"


# --- side by side ----------------------------------------------------------------------


@tool
async def wait(seconds: float) -> float:
    """Wait."""
    await asyncio.sleep(seconds)
    return seconds


def waits(*seconds: float) -> list[ToolCallPart]:
    return [tool_call("wait", f"call_{n}", seconds=s) for n, s in enumerate(seconds)]


@virtual
async def test_calls_run_side_by_side() -> None:
    """The slowest counts, and the results are in the order of the calls."""
    found = await results(*waits(3, 1, 2), tools=[wait])
    assert now() == pytest.approx(3)
    assert [result.text for result in found] == ["3.0", "1.0", "2.0"]


@virtual
async def test_calls_have_a_bound() -> None:
    """So many at a time; the next begins when one has ended."""
    await results(*waits(3, 1, 1, 1), tools=[wait], max_parallel=2)
    assert now() == pytest.approx(3)
    await results(*waits(1, 1, 1), tools=[wait], max_parallel=1)
    assert now() == pytest.approx(6)


@virtual
async def test_what_happens_is_seen_when_it_happens() -> None:
    """Each beginning and each end, in time; and tools go on while the consumer is busy."""
    asked, _ = client(asking(*waits(3, 1, 2)), reply("Done."))
    seen: list[tuple[float, str, str]] = []
    async for event in asked.run_stream("Hi", tools=[wait], max_parallel=2):
        match event:
            case ToolStarted(call):
                seen.append((now(), "started", call.id))
            case ToolFinished(call, _, seconds):
                seen.append((now(), "finished", call.id))
                assert seconds == pytest.approx(call.parse()["seconds"])
                if call.id == "call_1":
                    await asyncio.sleep(1)
            case _:
                pass
    assert seen == [
        (0, "started", "call_0"),
        (0, "started", "call_1"),
        (1, "finished", "call_1"),
        (2, "started", "call_2"),
        (3, "finished", "call_0"),
        (4, "finished", "call_2"),
    ]


@virtual
async def test_a_tool_that_takes_too_long() -> None:
    """Its own time is up; the others' is not."""
    slow = tool(wait.function, name="slow", timeout=2)
    calls = [tool_call("slow", seconds=5), tool_call("wait", seconds=3)]
    late, well = await results(*calls, tools=[slow, wait])
    assert now() == pytest.approx(3)
    assert late.text == "TimeoutError: no result after 2 seconds"
    assert late.is_error
    assert not well.is_error


async def test_equal_calls_are_two() -> None:
    """A model may ask twice for the same."""
    count = iter("ab")
    call = tool_call("it", "call_1")
    asked, _ = client(asking(call, evolve(call, id="call_2")), reply("Done."))
    result = await asked.run("Hi", tools=[tool(lambda: next(count), name="it")])
    texts = [part.text for part in result.messages[1].content]  # type: ignore[union-attr]
    assert sorted(texts) == ["a", "b"]


async def test_context_variables_reach_the_tools() -> None:
    """In threads as well."""
    # O5
    who = contextvars.ContextVar[str]("who")
    who.set("me")
    a = tool(lambda: who.get(), name="a")
    b = tool(lambda: who.get(), name="b", inline=True)
    found = await results(tool_call("a"), tool_call("b"), tools=[a, b])
    assert [result.text for result in found] == ["me", "me"]


# --- what a tool may know --------------------------------------------------------------


async def test_the_context_of_a_call() -> None:
    """The call, the round, the conversation so far, and what the run was given."""
    seen: list[ToolContext[str]] = []

    async def it(context: ToolContext[str]) -> None:
        seen.append(context)

    calls = [tool_call("it"), tool_call("it")]
    asked, provider = client(asking(calls[0]), asking(calls[1]), reply("Done."))
    await asked.run("Hi", tools=[it], context="session")
    assert [(c.call, c.round, c.data) for c in seen] == [
        (calls[0], 1, "session"),
        (calls[1], 2, "session"),
    ]
    assert [c.messages for c in seen] == [r.messages for r in provider.requests[:2]]
    assert "session" not in repr(seen[0])


# --- errors ----------------------------------------------------------------------------


@virtual
async def test_an_error_may_end_the_run() -> None:
    """As it is, with a note of where; the others are cancelled first."""
    ended: list[str] = []

    async def patient() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("patient")

    asked, provider = client(asking(tool_call("patient"), tool_call("broken", "c9")))
    tools: list[Any] = [patient, tool(broken, inline=True)]
    with pytest.raises(ZeroDivisionError) as caught:
        await asked.run("Hi", tools=tools, on_error="raise")
    assert caught.value.__notes__ == ["In the tool 'broken', call 'c9'."]
    assert ended == ["patient"]
    assert now() == 0
    assert len(provider.requests) == 1


@pytest.mark.parametrize("call", [tool_call("it"), tool_call("nope"), tool_call("it", a=1)])  # fmt: skip
async def test_what_the_model_may_mend_is_never_raised(call: ToolCallPart) -> None:
    """A `ToolError` is meant for it, and its own mistakes are, too."""

    async def it() -> None:
        raise ToolError("No.")

    (result,) = await results(call, tools=[it], on_error="raise")
    assert result.is_error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_rounds": 0}, "max_rounds must be a whole number"),
        ({"max_parallel": 1.5}, "max_parallel must be a whole number"),
        ({"max_parallel": True}, "max_parallel must be a whole number"),
        ({"on_error": "ignore"}, "on_error must be 'return' or 'raise'"),
        ({"tools": [tool(weather, approve=True)]}, "pass approve="),
        ({"tools": [3]}, "A tool is a function"),
    ],
)
def test_options_that_make_no_sense(options: Any, message: str) -> None:
    """They are refused before anything is sent."""
    asked, provider = client()
    with pytest.raises(ConfigError) as caught:
        asked.run_stream("Hi", **options)
    assert message in str(caught.value)
    assert provider.requests == []


def test_two_tools_of_one_name() -> None:
    """The request refuses them, as always."""
    asked, _ = client()
    with pytest.raises(InvalidRequestError, match="same name"):
        asked.run_stream("Hi", tools=[weather, weather])
    with pytest.raises(TypeError, match="no option 'max_round'"):
        asked.run_stream("Hi", max_round=3)  # type: ignore[call-overload]


async def test_an_error_of_the_provider_in_a_later_round() -> None:
    """It comes out; and what was done so far is there, fit to be gone on with."""
    asked, _ = client(asking(tool_call("weather", city="Rome")), ServerError("Sorry."))
    stream = asked.run_stream("Hi", tools=[weather])
    with pytest.raises(ServerError):
        await stream.result()
    with pytest.raises(ServerError):
        await stream.result()
    assert [str(message.role) for message in stream.messages] == ["assistant", "tool"]
    ChatRequest([*stream.request.messages, *stream.messages], "fake:any")


async def test_a_stream_without_an_end() -> None:
    """It never passes for an answer, whatever asks."""
    # S4

    async def ask(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        yield TextDelta("Hel")

    with pytest.raises(StreamInterruptedError) as caught:
        await run(ask, ChatRequest("Hi", "a:b"))
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"


# --- rounds ----------------------------------------------------------------------------


async def test_rounds_have_a_limit() -> None:
    """Beyond it is an error: half a run never looks like a whole one."""
    asked, provider = client(
        *(asking(tool_call("weather", f"c{n}", city="Rome")) for n in range(3))
    )
    stream = asked.run_stream("Hi", tools=[weather], max_rounds=3)
    with pytest.raises(ToolLoopError, match="after 3 rounds") as caught:
        await stream.result()
    assert len(provider.requests) == 3
    result = caught.value.result
    assert result is not None
    assert (result.rounds, result.stop_reason) == (3, "max_rounds")
    # Every call has its answer, so that it can be gone on with.
    ChatRequest(result.conversation, "fake:any")
    last = result.messages[-1].content[0]
    assert isinstance(last, ToolResultPart)
    assert last.is_error
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.result.conversation == result.conversation


async def test_the_last_round_may_answer() -> None:
    """So many rounds are so many answers."""
    asked, _ = client(asking(tool_call("weather", city="Rome")), reply("Done."))
    assert (await asked.run("Hi", tools=[weather], max_rounds=2)).text == "Done."


@pytest.mark.parametrize("finish", ["content_filter", "error"])
async def test_an_answer_that_broke_off(finish: str) -> None:
    """Nothing that it asks for is done, and the run ends there."""
    called: list[str] = []
    calls = [tool_call("it", "c1"), tool_call("it", "c2")]
    asked, _ = client(asking(*calls, finish_reason=finish))
    result = await asked.run("Hi", tools=[tool(lambda: called.append(""), name="it")])
    assert result.stop_reason == "interrupted"
    assert result.response.finish_reason == finish
    assert called == []
    ChatRequest(result.conversation, "fake:any")


# --- pauses ----------------------------------------------------------------------------


async def test_a_provider_that_wants_to_be_asked_again() -> None:
    """It gets back what it has said, as it is, with the same tools, and goes on from there."""
    # S9
    call = tool_call("weather", city="Rome")
    asked, provider = client(
        reply("Wait.", finish_reason="paused"),
        reply("A moment.", finish_reason="paused"),
        asking(call),
        reply("It is fine."),
    )
    choice = ToolChoice("required")
    result = await asked.run("Hi", tools=[weather], tool_choice=choice)
    assert result.stop_reason == "done"
    assert result.text == "It is fine."
    assert result.rounds == 4
    first, second, third, last = provider.requests
    assert second.messages == (*first.messages, result.responses[0].message)
    assert third.messages == (*second.messages, result.responses[1].message)
    assert [r.prefill for r in provider.requests] == [False, True, True, False]
    assert {r.tools for r in provider.requests} == {first.tools}
    # What has to be called has not been called yet.
    assert [r.tool_choice for r in (first, second, third)] == [choice] * 3
    assert last.tool_choice is None
    assert result.conversation[: len(last.messages)] == last.messages


async def test_a_pause_that_does_not_end() -> None:
    """It counts as a round, and there are so many."""
    asked, provider = client(*[reply("Wait.", finish_reason="paused")] * 3)
    with pytest.raises(ToolLoopError, match="wants to go on after 3 rounds") as caught:
        await asked.run("Hi", max_rounds=3)
    assert len(provider.requests) == 3
    assert caught.value.result is not None
    assert caught.value.result.text == "Wait."


async def test_a_pause_with_nothing_to_go_on_from() -> None:
    """The run says so, and does not pretend to be done."""
    asked, provider = client([ResponseEnd(FinishReason.PAUSED)])
    assert (await asked.run("Hi")).stop_reason == "paused"
    assert len(provider.requests) == 1


async def test_a_pause_of_a_provider_that_takes_nothing_back() -> None:
    """It refuses before anything is sent, and that is how the run ends."""
    refusal = InvalidRequestError("There is no prefill here.")
    asked, _ = client(reply("Wait.", finish_reason="paused"), [refusal])
    stream = asked.run_stream("Hi")
    ended = [event async for event in stream if isinstance(event, RoundEnded)]
    result = await stream.result()
    assert result.stop_reason == "paused"
    assert result.rounds == len(result.requests) == len(ended) == 1
    assert result.text == "Wait."


async def test_a_request_that_is_refused_is_no_pause() -> None:
    """In the first round, or in one that was not paused before."""
    refusal = InvalidRequestError("No.")
    asked, _ = client([refusal], asking(tool_call("weather", city="Rome")), [refusal])
    with pytest.raises(InvalidRequestError):
        await asked.run("Hi")
    with pytest.raises(InvalidRequestError):
        await asked.run("Hi", tools=[weather])


async def test_anthropic_gets_its_pause_back() -> None:
    """The blocks of its own tools, byte for byte, at the end of the conversation."""
    # S9
    blocks = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    ]  # fmt: skip
    parts = [OpaquePart("tool", ProviderState("anthropic", block)) for block in blocks]
    paused: list[StreamChunk] = [
        TextDelta("Let me look.", 0),
        *(PartAdded(part, n) for n, part in enumerate(parts, 1)),
        ResponseEnd(FinishReason.PAUSED),
    ]
    asked, provider = client(paused, reply("Fine."))
    await asked.run("Is it fine?", model="fake:claude-opus-5", max_tokens=100)
    request = evolve(provider.requests[1], model="anthropic:claude-opus-5")
    sent = anthropic.SPEC.encode_request(request).body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant"]
    assert sent[1]["content"][1:] == blocks


# --- typed results ---------------------------------------------------------------------


async def test_the_last_answer_is_read_into_a_type() -> None:
    """The schema is asked for in every round, and what comes before is not read."""
    call = tool_call("weather", city="Rome")
    asked, provider = client(asking(call), reply('{"high": 20.5, "days": ["mon"]}'))
    result = await asked.run("Hi", tools=[weather], response_type=Forecast)
    assert isinstance(result, TypedRunResult)
    assert result.parsed == Forecast(20.5, ("mon",))
    assert result.stop_reason == "done"
    assert result.usage == total_usage(r.usage for r in result.responses)
    forms = [request.response_format for request in provider.requests]
    assert forms[0] == forms[1]
    assert forms[0] is not None
    assert forms[0].name == "Forecast"


async def test_a_last_answer_that_does_not_fit() -> None:
    """It goes back with what is wrong, within the run, and whoever looks on can see it."""
    call = tool_call("weather", city="Rome")
    asked, provider = client(
        asking(call), reply('{"high": "x"}'), asking(call), reply('{"high": 1}')
    )
    stream = asked.run_stream("Hi", tools=[weather], response_type=Forecast, repair=1)
    rounds = [event async for event in stream if isinstance(event, RoundEnded)]
    problems = [round_.problem for round_ in rounds]
    assert [problem and problem.reason for problem in problems] == [
        None,
        "mismatch",
        None,
        None,
    ]
    result = await stream.result()
    assert stream.partial() is result
    assert result.parsed == Forecast(1)
    assert result.rounds == 4
    wrong, told = provider.requests[2].messages[-2:]
    assert wrong == result.responses[1].message
    assert "$.high" in told.text
    assert told in result.messages


async def test_a_last_answer_that_is_not_asked_for_again() -> None:
    """Not more often than *repair* says, nor in more rounds; all of them are there."""
    for options in ({}, {"repair": 1}, {"repair": 5, "max_rounds": 2}):
        asked, provider = client(*[reply('{"high": "x"}', usage=Usage(output_tokens=2))] * 5)  # fmt: skip
        stream = asked.run_stream("Hi", response_type=Forecast, **options)  # type: ignore[call-overload]
        with pytest.raises(
            StructuredOutputError, match=r"no Forecast.*\$.high"
        ) as caught:
            await stream.result()
        rounds = 1 if not options else 2
        assert len(provider.requests) == len(caught.value.rounds) == rounds
        assert caught.value.usage.output_tokens == 2 * rounds
        partial = stream.partial()
        assert partial is not None
        assert partial.rounds == rounds


async def test_a_run_that_ends_without_an_answer() -> None:
    """Then there is no value, whoever ended it."""
    calls = [tool_call("weather", city="Rome")]

    async def approve(_: PendingCall) -> Deny:
        return Deny(stop=True)

    asked, _ = client(asking(*calls))
    with pytest.raises(StructuredOutputError) as caught:
        await asked.run("Hi", tools=[weather], approve=approve, response_type=Forecast)
    assert caught.value.reason == "tool_calls"
    asked, _ = client(reply("I will not.", finish_reason="content_filter"))
    with pytest.raises(StructuredOutputError) as caught:
        await asked.run("Hi", response_type=Forecast, repair=3)
    assert caught.value.reason == "filtered"
    asked, _ = client(asking(*calls))
    with pytest.raises(ToolLoopError):
        await asked.run("Hi", tools=[weather], max_rounds=1, response_type=Forecast)


def test_options_of_a_typed_run() -> None:
    """Said when it is called, and before anything is sent."""
    asked, provider = client()
    with pytest.raises(InvalidRequestError, match="repair must be"):
        asked.run_stream("Hi", response_type=Forecast, repair=-1)
    with pytest.raises(InvalidRequestError, match="schema_via must be"):
        asked.run_stream("Hi", response_type=Forecast, schema_via="letter")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="about a response_type"):
        asked.run_stream("Hi", repair=1)  # type: ignore[call-overload]
    with pytest.raises(ConfigError):
        asked.run_stream("Hi", response_type=Odd)
    with pytest.raises(InvalidRequestError, match="repair must be"):
        RunStream(asked.stream, ChatRequest("Hi"), expected=Expected(int), repair=-1)
    assert provider.requests == []


# --- the sum ---------------------------------------------------------------------------


async def test_usage_is_summed() -> None:
    """Over the rounds; what one does not report is unknown, and a cache costs nothing."""
    # S8
    call = tool_call("weather", city="Rome")
    asked, _ = client(
        asking(call, usage=Usage(input_tokens=10, output_tokens=5, reasoning_tokens=2)),
        reply("Done.", usage=Usage(input_tokens=20, output_tokens=3)),
    )
    result = await asked.run("Hi", tools=[weather])
    assert result.usage == Usage(
        input_tokens=30, output_tokens=8, cache_read_tokens=None
    )
    assert result.usage.reasoning_tokens is None
    cached = evolve(result.responses[0], from_cache=True)
    result = evolve(result, responses=(cached, result.responses[1]))
    assert result.usage.input_tokens == 20


# --- approval --------------------------------------------------------------------------


def approving(*verdicts: Any) -> tuple[Callable[[PendingCall], Any], list[PendingCall]]:
    """A hook that gives these *verdicts*, and what it was asked."""
    left, asked = iter(verdicts), list[PendingCall]()

    async def approve(pending: PendingCall) -> Any:
        asked.append(pending)
        return next(left)

    return approve, asked


async def test_a_call_is_approved_or_not() -> None:
    """Each is asked about, in order, before any is made; the model reads the reason."""
    approve, asked = approving(True, False, Deny("Too far."), Allow({"city": "Bonn"}))
    calls = [
        tool_call("weather", city=city) for city in ("Rome", "Oslo", "Lima", "Bern")
    ]
    found = await results(*calls, tools=[weather], approve=approve)
    assert [(pending.name, pending.call) for pending in asked] == [
        ("weather", call) for call in calls
    ]
    assert [pending.arguments["city"] for pending in asked] == ["Rome", "Oslo", "Lima", "Bern"]  # fmt: skip
    assert [result.text for result in found] == [
        "Rome: fine for 1",
        "Denied: The user does not allow it.",
        "Denied: Too far.",
        "Bonn: fine for 1",
    ]
    assert [result.is_error for result in found] == [False, True, True, False]
    assert "Rome" not in repr(evolve(asked[0], call=calls[1]))
    assert "Bonn" not in repr(Allow({"city": "Bonn"}))


async def test_nobody_is_asked_about_what_cannot_be_made() -> None:
    """Only calls with valid arguments, of tools that there are."""
    # S7
    approve, asked = approving()
    await results(
        tool_call("weather"), tool_call("nope"), tools=[weather], approve=approve
    )
    assert asked == []


async def test_who_is_asked() -> None:
    """A tool's own hook, or the run's, or nobody."""
    own, own_asked = approving(False)
    approve, asked = approving(True)
    tools = [
        tool(lambda: "a", name="a", approve=own),
        tool(lambda: "b", name="b", approve=True),
        tool(lambda: "c", name="c", approve=False),
    ]
    calls = [tool_call("a"), tool_call("b"), tool_call("c")]
    found = await results(*calls, tools=tools, approve=approve)
    assert [result.is_error for result in found] == [True, False, False]
    assert (len(own_asked), len(asked)) == (1, 1)


async def test_no_may_mean_stop() -> None:
    """Then nothing of that round is made, and the model is not asked again."""
    called: list[str] = []
    approve, asked = approving(True, Deny("Enough.", stop=True))

    async def it(n: int) -> None:
        called.append("it")

    calls = [tool_call("it", n=1), tool_call("it", n=2), tool_call("it", n=3), tool_call("it")]  # fmt: skip
    provider_of, provider = client(asking(*calls))
    result = await provider_of.run("Hi", tools=[it], approve=approve)
    assert result.stop_reason == "denied"
    assert (called, len(asked), len(provider.requests)) == ([], 2, 1)
    texts = [part.text for part in result.messages[-1].content]  # type: ignore[union-attr]
    assert texts == [
        "The call was not made: the run ended.",
        "Denied: Enough.",
        "The call was not made: the run ended.",
        "Invalid arguments: $.n: is missing: an integer.",
    ]
    ChatRequest([*result.conversation, user("Go on.")], "fake:any")


@pytest.mark.parametrize("verdict", [None, "yes", 1])
async def test_a_verdict_that_is_none(verdict: Any) -> None:
    """To forget the ``return`` must not approve."""
    approve, _ = approving(verdict)
    asked, provider = client(asking(tool_call("weather", city="Rome")))
    with pytest.raises(ConfigError, match="approve must return"):
        await asked.run("Hi", tools=[weather], approve=approve)
    assert len(provider.requests) == 1


async def test_arguments_of_the_hook_that_do_not_fit() -> None:
    """They are its mistake, and not the model's."""
    approve, _ = approving(Allow({"town": "Rome"}))
    asked, _ = client(asking(tool_call("weather", city="Rome")))
    with pytest.raises(ValueError, match="town: is not known"):
        await asked.run("Hi", tools=[weather], approve=approve)


# --- leaving ---------------------------------------------------------------------------


@tool
async def forever(log: ToolContext[list[str]]) -> None:
    """Never return."""
    log.data.append("begun")
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(1)
        log.data.append("ended")


@virtual
async def test_leaving_ends_the_tools() -> None:
    """They are cancelled, and waited for."""
    # C1
    log: list[str] = []
    asked, _ = client(asking(tool_call("forever"), tool_call("forever")))
    async with asked.run_stream("Hi", tools=[forever], context=log) as stream:
        async for event in stream:
            if isinstance(event, ToolStarted):
                await asyncio.sleep(0)
                break
    assert log == ["begun", "ended"]
    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(StreamClosedError, match="closed before its end"):
        await stream.result()
    with pytest.raises(StreamClosedError, match="has been read or closed"):
        aiter(stream)
    await stream.aclose()


@virtual
async def test_cancelling_ends_the_tools() -> None:
    """All of them, and again if somebody is impatient."""
    # C1, C2
    log: list[str] = []
    asked, _ = client(asking(tool_call("forever"), tool_call("forever")))
    task = asyncio.create_task(asked.run("Hi", tools=[forever], context=log))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["begun", "begun"]  # cancelled twice: not even their farewell
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual
async def test_a_deadline_of_the_whole() -> None:
    """`asyncio.timeout` around it, as around anything."""
    log: list[str] = []
    asked, _ = client(asking(tool_call("forever")))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await asked.run("Hi", tools=[forever], context=log)
    assert log == ["begun", "ended"]


@virtual
async def test_a_break_out_of_a_plain_loop() -> None:
    """When nothing else refers to the run, it is closed."""
    # C1
    log: list[str] = []
    asked, provider = client(asking(tool_call("forever")))
    async for event in asked.run_stream("Hi", tools=[forever], context=log):
        if isinstance(event, ToolStarted):
            await asyncio.sleep(0)
            break
    gc.collect()
    await asyncio.sleep(2)
    assert log == ["begun", "ended"]
    assert provider.active == 0


@virtual
async def test_a_tool_that_cancels_itself() -> None:
    """A cancellation is never turned into anything else."""
    # C2

    async def it() -> None:
        raise asyncio.CancelledError

    asked, _ = client(asking(tool_call("it")))
    with pytest.raises(asyncio.CancelledError):
        await asked.run("Hi", tools=[it])


async def test_a_closed_client() -> None:
    """The round under way ends, and there is no other."""
    # C4
    asked, _ = client(asking(tool_call("close")), reply("Never."))

    async def close() -> str:
        await asked.aclose()
        return "closed"

    with pytest.raises(ClosedError):
        await asked.run("Hi", tools=[close])


async def test_two_loops_one_after_the_other() -> None:
    """Nothing is kept of a loop."""
    # C5
    made = tool(weather)

    def in_a_loop_of_its_own() -> str:
        async def main() -> str:
            asked, _ = client(asking(tool_call("weather", city="Rome")), reply("Done."))
            return (await asked.run("Hi", tools=[made])).text

        return asyncio.run(main())

    assert await asyncio.to_thread(in_a_loop_of_its_own) == "Done."
    assert await asyncio.to_thread(in_a_loop_of_its_own) == "Done."


# --- closed by another task ------------------------------------------------------------


@virtual
async def test_closed_while_another_task_waits_for_a_tool() -> None:
    """The tool is cancelled, its farewell waited for, and the reader told. (C1)"""
    log: list[str] = []
    asked, provider = client(asking(tool_call("forever")))
    stream = asked.run_stream("Hi", tools=[forever], context=log)
    reader = asyncio.create_task(stream.result())
    await asyncio.sleep(1)
    assert log == ["begun"]
    await asyncio.gather(stream.aclose(), stream.aclose())
    assert log == ["begun", "ended"]
    with pytest.raises(StreamClosedError, match="another task"):
        await reader
    assert reader.cancelling() == 0
    assert provider.active == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(StreamClosedError, match="another task"):
        await stream.result()


@virtual
async def test_closed_while_another_task_waits_for_the_model() -> None:
    """The call is over when `aclose` is. (C1)"""
    begun = asyncio.Event()
    left: list[str] = []

    async def stuck(request: Any, call_next: Any) -> Any:
        async for chunk in call_next(request):
            yield chunk
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.append("left")

    asked, provider = client("Hello.")
    stream = asked.use(stuck).run_stream("Hi")
    reader = asyncio.create_task(stream.result())
    await begun.wait()
    await stream.aclose()
    assert left == ["left"]
    assert provider.active == 0
    with pytest.raises(StreamClosedError, match="another task"):
        await reader
    assert stream.messages == ()


@virtual
async def test_closed_while_its_reader_is_at_work() -> None:
    """Its loop must not look as if the run were at its end. (C4, S4)"""
    log: list[str] = []
    asked, _ = client(asking(tool_call("forever")))
    stream = asked.run_stream("Hi", tools=[forever], context=log)
    at_work, closed = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async for event in stream:
            if isinstance(event, ToolStarted):
                await asyncio.sleep(1)
                at_work.set()
                await closed.wait()

    reader = asyncio.create_task(read())
    await at_work.wait()
    await stream.aclose()
    assert log == ["begun", "ended"]
    closed.set()
    with pytest.raises(StreamClosedError, match="another task"):
        await reader
    with pytest.raises(StreamClosedError, match="another task"):
        await stream.result()


@virtual
async def test_closed_and_cancelled_at_once() -> None:
    """The cancellation wins. (C2)"""
    log: list[str] = []
    asked, _ = client(asking(tool_call("forever")))
    stream = asked.run_stream("Hi", tools=[forever], context=log)
    reader = asyncio.create_task(stream.result())
    await asyncio.sleep(1)
    closer = asyncio.create_task(stream.aclose())
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await closer
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual
async def test_a_tool_closes_its_own_run() -> None:
    """It is cancelled with the others. (C1)"""
    asked, _ = client(asking(tool_call("give_up")))

    async def give_up() -> None:
        await stream.aclose()

    stream = asked.run_stream("Hi", tools=[give_up])
    with pytest.raises(StreamClosedError, match="another task"):
        await stream.result()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- the stream ------------------------------------------------------------------------


async def test_every_chunk_of_every_round() -> None:
    """As they are, each round a stream of its own, with what is done in between."""
    # S1
    call = tool_call("weather", city="Rome")
    first, second = asking(call), reply("It is fine.")
    asked, _ = client(first, second)
    rounds: list[list[StreamChunk]] = [[]]
    other: list[RunEvent] = []
    async for event in asked.run_stream("Hi", tools=[weather]):
        match event:
            case ToolStarted() | ToolFinished():
                other.append(event)
            case RoundEnded():
                other.append(event)
                rounds.append([])
            case _:
                rounds[-1].append(event)
    assert rounds == [first, second, []]
    for chunks in rounds[:2]:
        check_stream(chunks)
    started, finished, one, two = other
    assert started == ToolStarted(call)
    assert isinstance(finished, ToolFinished)
    assert isinstance(one, RoundEnded)
    assert isinstance(two, RoundEnded)
    assert one.results == (finished.result,)
    assert (one.number, two.number, two.results) == (1, 2, ())


async def test_calls_that_are_not_made_are_told_too() -> None:
    """With what the model reads, why, and no time."""
    asked, _ = client(asking(tool_call("nope")), reply("Done."))
    stream = asked.run_stream("Hi", tools=[weather])
    (told,) = [event async for event in stream if isinstance(event, ToolFinished)]
    assert told.seconds is None
    assert isinstance(told.error, ToolError)
    assert (await stream.result()).text == "Done."


async def test_only_the_text() -> None:
    """Of all rounds; and the result is there afterwards."""
    asked, _ = client(asking(tool_call("weather", city="Rome")), reply(" Done."))
    stream = asked.run_stream("Hi", tools=[weather])
    assert "".join([text async for text in stream.text()]) == "One moment. Done."
    assert (await stream.result()).text == " Done."


async def test_nothing_is_sent_before_the_first_pull() -> None:
    """And a run that is never read is no matter."""
    asked, provider = client("Hello.")
    stream = asked.run_stream("Hi")
    assert provider.requests == []
    await stream.aclose()
    with pytest.raises(StreamClosedError):
        await stream.result()


async def test_a_run_without_a_client() -> None:
    """Whatever answers requests will do."""
    provider = FakeProvider([asking(tool_call("weather", city="Rome")), reply("Done.")])
    request = ChatRequest("Hi", "fake:any", tools=[tool(weather)])
    result = await run(provider.stream, request, Settings(max_rounds=2))
    assert isinstance(result, RunResult)
    stream = RunStream(FakeProvider(["Hi."]).stream, ChatRequest("Hi", "fake:any"))
    assert await anext(stream) == reply("Hi.", model="any")[0]
    assert (await stream.result()).text == "Hi."
