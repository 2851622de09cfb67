"""
One contract for all providers: the same tests before every dialect of the simulator.

Over a real socket, and through nothing but `aichat.Client`. Nobody is skipped by name: a
test asks for a capability, or for what the model accepts, and says what is missing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest

from aichat import (
    AIChatError,
    AuthenticationError,
    BadRequestError,
    ChatResponse,
    Client,
    DeadlineError,
    Deadlines,
    FinishReason,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    ReasoningDelta,
    ResponseStart,
    ServerError,
    StreamError,
    StreamInterruptedError,
    TextDelta,
    Tool,
    ToolChoice,
    assistant,
    fold,
    json_schema,
    system,
    tool_result,
    user,
)
from aichat.providers import Capability
from aichat.providers.compatible import SPECS as COMPATIBLE
from aichat.testing import FaultKind, Simulator, check_stream
from aichat.types import loads

from .simulated import KEY, Target, client as client, sim as sim, target as target
from .transport.servers import Server, Visit

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = (
    Tool("get_weather", "The weather in a city.", CITY),
    Tool("get_time", "The time in a city.", CITY),
)
#: The simulator calls the tools that are spoken of.
BOTH = "What is the weather and the time in Paris?"
GREETING = "Hello, you there!"
#: How the simulator answers whatever it is told.
HELLO = "This is aichat's built-in simulator"
#: Nothing in these tests takes as long, unless it never ends.
PATIENCE = 10.0


@pytest.fixture
async def persistent(target: Target, sim: Simulator) -> AsyncIterator[Client]:
    """It tries up to three times."""
    async with target.client(sim, max_retries=2) as client:
        yield client


def substance(response: ChatResponse) -> dict[str, Any]:
    """What is the same each time that it is asked for: no ids, nothing about the cache."""
    return {
        "text": response.text,
        "reasoning": response.reasoning,
        "calls": [(call.name, call.parse()) for call in response.tool_calls],
        # A stream may sign a text with another one, which is empty.
        "kinds": {type(part).__name__ for part in response.message.content},
        "finish": (response.finish_reason, response.raw_finish_reason),
        "tokens": (response.usage.input_tokens, response.usage.output_tokens),
        "who": (response.provider, response.model),
        "warnings": response.warnings,
    }


# --- answers --------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [GREETING, BOTH])
async def test_a_stream_and_a_whole_answer_are_the_same(
    client: Client, target: Target, prompt: str
) -> None:
    """The grammar holds, chunks fold to the response, and `complete` gives the same."""
    # S1, S2
    stream = client.stream(prompt, tools=TOOLS)
    chunks = [chunk async for chunk in check_stream(stream)]
    response = await stream.response()
    assert fold(chunks) == response
    assert sum(isinstance(chunk, TextDelta) for chunk in chunks) > 3
    assert (response.provider, response.model) == (target.provider, target.model)
    completed = await client.complete(prompt, tools=TOOLS)
    assert substance(completed) == substance(response)


async def test_a_stream_can_be_read_as_text(client: Client) -> None:
    """The pieces are those of the answer, with nothing between them."""
    stream = client.stream(GREETING)
    pieces = [piece async for piece in stream.text()]
    assert "".join(pieces) == (await stream.response()).text
    assert HELLO in pieces[0] + "".join(pieces[1:])
    assert len(pieces) > 3


async def test_system_prompt_and_history_arrive(client: Client) -> None:
    """It is told what to do, and answers what was said last."""
    response = await client.complete([
        system("Speak like a pirate."),
        user("Ahoy!"),
        assistant("Arr."),
        user(GREETING),
    ])
    assert "I was told: “Speak like a pirate.”" in response.text
    assert f"You said: “{GREETING}”" in response.text
    assert response.finish_reason is FinishReason.STOP


async def test_many_at_once(client: Client, sim: Simulator) -> None:
    """Each gets its own answer."""
    prompts = [f"Hello number {number}" for number in range(10)]
    answers = await asyncio.gather(*map(client.complete, prompts))
    for prompt, answer in zip(prompts, answers, strict=True):
        assert f"You said: “{prompt}”" in answer.text
    assert sim.request_count == len(prompts)


async def test_the_token_limit(client: Client) -> None:
    """The answer ends there, and says why."""
    # S8
    response = await client.complete("Count to 1000", max_tokens=16)
    assert response.finish_reason is FinishReason.LENGTH
    assert response.usage.output_tokens == 16
    assert "1000" not in response.text


async def test_usage_adds_up(client: Client) -> None:
    """It grows with the prompt, and what is read from a cache is part of the input."""
    # S8
    short = (await client.complete("Hi")).usage
    first = (await client.complete("Hello there! " * 50)).usage
    again = (await client.complete("Hello there! " * 50)).usage
    for usage in (short, first, again):
        assert usage.complete
        assert usage.raw
        assert usage.input_tokens
        assert usage.output_tokens
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert 0 <= (usage.cache_read_tokens or 0) < usage.input_tokens
    assert first.input_tokens == again.input_tokens
    assert (first.input_tokens or 0) > (short.input_tokens or 0) + 100


# --- tools ----------------------------------------------------------------------------


async def test_two_tools_are_called_and_answered(client: Client) -> None:
    """Both at once; each result finds its call, whatever their order."""
    # S7, S9
    asked = await client.complete(BOTH, tools=TOOLS)
    assert asked.finish_reason is FinishReason.TOOL_CALLS
    assert not asked.invalid_tool_calls
    weather, clock = asked.tool_calls
    assert (weather.name, clock.name) == ("get_weather", "get_time")
    assert weather.id != clock.id
    for call in asked.tool_calls:
        jsonschema.validate(call.parse(), CITY)
        assert call.parse() == {"city": "Paris"}

    results = [tool_result(weather, "18 degrees"), tool_result(clock, "noon")]
    answer = await client.complete([user(BOTH), asked.message, *results], tools=TOOLS)
    assert answer.finish_reason is FinishReason.STOP
    assert "- get_weather: 18 degrees\n- get_time: noon" in answer.text


async def test_a_tool_without_arguments(client: Client) -> None:
    """No arguments are an empty object."""
    response = await client.complete("Roll the dice!", tools=[Tool("roll_dice")])
    (call,) = response.tool_calls
    assert call.parse() == {}


async def test_no_tool_may_be_called(client: Client) -> None:
    """Then none is, although they are there."""
    response = await client.complete(BOTH, tools=TOOLS, tool_choice="none")
    assert not response.message.tool_calls
    assert response.finish_reason is FinishReason.STOP


async def test_a_tool_has_to_be_called(
    client: Client, target: Target, sim: Simulator
) -> None:
    """One that is named, or any; who cannot promise it refuses, and nothing is sent."""
    # G5
    choice = ToolChoice("required", "get_time")
    if not target.profile.forced_tool_choice:
        with pytest.raises(InvalidRequestError, match="tool_choice"):
            await client.complete(GREETING, tools=TOOLS, tool_choice="required")
        assert sim.request_count == 0
        return
    response = await client.complete(GREETING, tools=TOOLS, tool_choice="required")
    assert [call.name for call in response.tool_calls] == ["get_weather"]
    response = await client.complete(GREETING, tools=TOOLS, tool_choice=choice)
    assert [call.name for call in response.tool_calls] == ["get_time"]
    assert response.finish_reason is FinishReason.TOOL_CALLS


async def test_a_tool_call_that_is_cut_off(client: Client) -> None:
    """It is never one that may be executed, even if its arguments happen to be whole."""
    # S7
    prompt = f'What is the weather in "{"a" * 400}"?'
    whole = await client.complete(prompt, tools=TOOLS)
    assert len(whole.tool_calls) == 1
    limit = (whole.usage.output_tokens or 0) - 50
    cut = await client.complete(prompt, tools=TOOLS, max_tokens=limit)
    assert cut.finish_reason is FinishReason.LENGTH
    assert cut.tool_calls == ()
    # Some providers hand out whole calls only: then there is none.
    assert all(call.arguments for call in cut.invalid_tool_calls)


# --- forms and thoughts ---------------------------------------------------------------


async def test_an_answer_after_a_schema(client: Client, target: Target) -> None:
    """It validates."""
    if not target.profile.json_schema:
        pytest.skip(f"{target} takes no JSON Schema")
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "people": {"type": "integer"},
            "sights": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["city", "people", "sights"],
        "additionalProperties": False,
    }
    response = await client.complete(
        "Where is Paris, with its 2100000 people?", response_format=json_schema(schema)
    )
    value = json_of(response)
    jsonschema.validate(value, schema)
    assert value["city"] == "Paris"
    assert value["people"] == 2_100_000


async def test_an_answer_in_json(client: Client, target: Target) -> None:
    """Of any shape."""
    if not target.profile.json:
        pytest.skip(f"{target} cannot be kept to JSON")
    response = await client.complete("Say it as JSON!", response_format="json")
    assert json_of(response)["simulator"] is True


async def test_thoughts_are_shown_and_counted(client: Client, target: Target) -> None:
    """Before the answer, in pieces, and as a part of the output."""
    # S8
    if target.profile.reasoning == "never":
        pytest.skip(f"{target} does not reason")
    stream = client.stream(GREETING, reasoning_effort="high", include_reasoning=True)
    chunks = [chunk async for chunk in check_stream(stream)]
    response = await stream.response()
    said = [type(c) for c in chunks if isinstance(c, (ReasoningDelta, TextDelta))]
    assert said.index(TextDelta) > 3
    assert ReasoningDelta not in said[said.index(TextDelta) :]
    assert response.reasoning.startswith("The user wrote 3 words.")
    assert HELLO in response.text
    usage = response.usage
    assert usage.output_tokens
    if re.search("reason|think|thought", str(usage.raw)):
        assert 0 < (usage.reasoning_tokens or 0) < usage.output_tokens
    else:
        assert usage.reasoning_tokens is None


async def test_no_thoughts_are_wanted(client: Client, target: Target) -> None:
    """Who can do without does without."""
    if "none" not in target.profile.efforts:
        pytest.skip(f"{target} cannot be kept from reasoning, or never does")
    response = await client.complete(GREETING, reasoning_effort="none")
    assert response.reasoning == ""
    assert not response.usage.reasoning_tokens


# --- what goes wrong, before and after something was said ------------------------------


@pytest.mark.parametrize("kind", ["truncate", "hang_up"])
async def test_an_answer_without_its_end(
    persistent: Client, sim: Simulator, kind: FaultKind
) -> None:
    """It is an error, which has what was there; nothing is said twice."""
    # S4, R1
    whole = await persistent.complete(GREETING)
    sim.clear()
    sim.fail_next(kind, after=6)
    stream = persistent.stream(GREETING)
    with pytest.raises(StreamInterruptedError) as caught:
        [chunk async for chunk in stream]
    partial = caught.value.partial
    assert partial is not None
    assert partial == stream.partial()
    assert partial.text
    assert whole.text.startswith(partial.text)
    assert len(partial.text) < len(whole.text)
    assert partial.finish_reason is None
    assert not caught.value.retryable
    assert sim.request_count == 1


@pytest.mark.parametrize("kind", ["truncate", "hang_up", "empty"])
async def test_an_answer_that_ends_before_it_begins(
    persistent: Client, sim: Simulator, kind: FaultKind
) -> None:
    """It is asked for again."""
    # R1
    sim.fail_next(kind)
    response = await persistent.complete(GREETING)
    assert HELLO in response.text
    assert sim.request_count == 2


@pytest.mark.parametrize("status", [429, 500])
async def test_an_error_in_a_stream_before_anything_was_said(
    persistent: Client, target: Target, sim: Simulator, status: int
) -> None:
    """It is the same as if it had come as a status: it is tried again."""
    # S5, R1
    if not target.names_errors:
        pytest.skip(f"an error of {target.dialect} is nothing but words")
    sim.fail_next("error_event", status=status)
    stream = persistent.stream(GREETING)
    chunks = [chunk async for chunk in check_stream(stream)]
    assert sum(isinstance(chunk, ResponseStart) for chunk in chunks) <= 1
    assert f"You said: “{GREETING}”" in (await stream.response()).text
    assert sim.request_count == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimitError), (500, ServerError)]
)
async def test_an_error_in_a_stream_after_something_was_said(
    persistent: Client,
    target: Target,
    sim: Simulator,
    status: int,
    kind: type[ProviderError],
) -> None:
    """It has the type that its status would have, and what was said; and it is final."""
    # S5, R1
    sim.fail_next("error_event", status=status, after=6, message="It broke.")
    with pytest.raises(ProviderError, match=r"It broke\.") as caught:
        await persistent.complete(GREETING)
    # Words alone have no type.
    assert type(caught.value) is (kind if target.names_errors else StreamError)
    assert caught.value.partial is not None
    assert caught.value.partial.text
    assert caught.value.provider == target.provider
    assert not caught.value.retryable
    assert sim.request_count == 1


@pytest.mark.parametrize("after", [0, 6])
async def test_garbage_in_a_stream(
    persistent: Client, sim: Simulator, after: int
) -> None:
    """It is an error, and not tried again."""
    # S6, I2
    sim.fail_next("garbage", after=after)
    with pytest.raises(ProtocolError):
        await persistent.complete(GREETING)
    assert sim.request_count == 1


async def test_a_web_page(persistent: Client, sim: Simulator) -> None:
    """It is no answer, although its status is 200."""
    # S6
    sim.fail_next("html")
    with pytest.raises(ProtocolError, match="502 Bad Gateway"):
        await persistent.complete(GREETING)
    assert sim.request_count == 1


async def test_a_server_that_falls_silent(target: Target, sim: Simulator) -> None:
    """The deadline ends it, with what was there; the server sees us go."""
    # D1, D4, C1
    sim.fail_next("stall", after=6)
    async with target.client(sim, deadlines=Deadlines(idle=0.05)) as client:
        with pytest.raises(DeadlineError) as caught:
            await client.complete(GREETING)
        async with asyncio.timeout(PATIENCE):
            await sim.idle()
    assert caught.value.phase == "idle"
    assert caught.value.partial is not None
    assert caught.value.partial.text
    assert sim.disconnects == 1


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, RateLimitError), (503, ProviderUnavailableError), (500, ServerError)],
)
async def test_a_refusal_that_will_pass(
    persistent: Client, sim: Simulator, status: int, kind: type[ProviderError]
) -> None:
    """It is tried again, as often as we may, and then it is an error."""
    # R1, R2
    sim.fail_next(status=status, times=2)
    assert HELLO in (await persistent.complete(GREETING)).text
    assert sim.request_count == 3

    sim.clear()
    sim.fail_next(status=status, times=3)
    with pytest.raises(kind) as caught:
        await persistent.complete(GREETING)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.attempts) == (status, 3)
    assert not caught.value.retryable
    assert sim.request_count == 3


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequestError), (404, ModelNotFoundError)]
)
async def test_a_refusal_that_will_not_pass(
    persistent: Client,
    target: Target,
    sim: Simulator,
    status: int,
    kind: type[ProviderError],
) -> None:
    """It is an error at once, which says who refused what."""
    # R1
    sim.fail_next(status=status, message="Not like this.")
    with pytest.raises(kind, match=r"Not like this\.") as caught:
        await persistent.complete(GREETING)
    error = caught.value
    assert (error.provider, error.model) == (target.provider, target.model)
    assert (error.status, error.operation, error.attempts) == (status, "chat", 1)
    assert sim.request_count == 1


async def test_a_wrong_key(target: Target, sim: Simulator) -> None:
    """It is called what it is; nothing about the error holds the key."""
    # X1, E
    wrong = "sk-wrong-canary-4be19d0c"
    async with target.client(sim, api_key=wrong, max_retries=2) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.complete(GREETING)
        health = (await client.health())[target.provider]
    assert not shown(caught.value, wrong)
    assert sim.request_count == 2
    assert health.ok is False
    assert isinstance(health.error, AuthenticationError)
    assert health.error.operation == "health"


async def test_a_key_that_the_server_repeats(client: Client, sim: Simulator) -> None:
    """It is cut out of what the server says."""
    # X1
    message = f"Incorrect API key provided: {KEY}. You can find yours at home."
    for kind in ("status", "error_event"):
        sim.fail_next(kind, status=401, message=message)
        with pytest.raises(ProviderError, match="find yours at home") as caught:
            await client.complete(GREETING)
        assert not shown(caught.value, KEY)


def shown(error: AIChatError, key: str) -> bool:
    """Whether *key* stands anywhere in what people print of *error*."""
    trace = "".join(traceback.format_exception(error))
    return any(key in text for text in (trace, repr(error), repr(vars(error))))


# --- leaving --------------------------------------------------------------------------


async def test_leaving_in_the_middle(target: Target, sim: Simulator) -> None:
    """The server sees it, and the only connection is free for the next one."""
    # C1
    sim.fail_next("stall", after=6)
    async with target.client(sim, max_connections=1) as client:
        async with client.stream(GREETING) as stream:
            async for chunk in stream:
                if isinstance(chunk, TextDelta):
                    break
        async with asyncio.timeout(PATIENCE):
            await sim.idle()
            assert sim.disconnects == 1
            assert HELLO in (await client.complete(GREETING)).text


async def test_being_cancelled_in_the_middle(target: Target, sim: Simulator) -> None:
    """The cancellation comes out as it went in; the rest is as for those who leave."""
    # C1, C2
    sim.fail_next("stall", after=6)
    begun = asyncio.Event()

    async with target.client(sim, max_connections=1) as client:

        async def read() -> None:
            async for chunk in client.stream(GREETING):
                if isinstance(chunk, TextDelta):
                    begun.set()

        reader = asyncio.create_task(read())
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            await sim.idle()
            assert sim.disconnects == 1
            assert HELLO in (await client.complete(GREETING)).text


# --- beyond conversations -------------------------------------------------------------


async def test_health(client: Client, target: Target, sim: Simulator) -> None:
    """One request, which says that all is well."""
    health = (await client.health())[target.provider]
    assert health.ok
    assert health.error is None
    assert sim.request_count == 1


async def test_embeddings(client: Client, target: Target, sim: Simulator) -> None:
    """One vector for each text, in their order and as long as asked."""
    target.needs(Capability.EMBEDDINGS)
    model = "simulator-embedding"
    found = await client.embed(["one", "two", "one"], model=model)
    one, two, again = found.vectors
    assert list(one) == list(again) != list(two)
    assert found.provider == target.provider
    short = await client.embed("one", model=model, dimensions=8)
    assert [len(vector) for vector in short.vectors] == [8]
    sim.fail_next(status=429)
    with pytest.raises(RateLimitError) as caught:
        await client.embed("one", model=model)
    assert caught.value.operation == "embed"


async def test_counting_tokens(client: Client, target: Target, sim: Simulator) -> None:
    """The provider's count is what it will say that the prompt was; else it is a guess."""
    options: dict[str, Any] = {"tools": TOOLS}
    prompt = [system("Be kind."), user(BOTH)]
    count = await client.count_tokens(prompt, **options)
    assert count.estimated is (
        Capability.TOKEN_COUNTING not in target.spec.capabilities
    )
    assert sim.request_count == (0 if count.estimated else 1)
    asked = await client.complete(prompt, **options)
    if count.estimated:
        assert count.input_tokens > 20
    else:
        assert count.input_tokens == asked.usage.input_tokens


async def test_listing_models(client: Client, target: Target, sim: Simulator) -> None:
    """All of them; who has no list says so, and nothing is sent."""
    if target.spec.listing is None:
        with pytest.raises(InvalidRequestError, match="does not list its models"):
            await client.list_models()
        assert sim.request_count == 0
        return
    models = await client.list_models()
    assert "simulator" in {model.id.removesuffix(":latest") for model in models}
    assert {model.provider for model in models} == {target.provider}


async def test_batches(client: Client, target: Target) -> None:
    """Every result under its id, in whatever order; one that fails does so by itself."""
    target.needs(Capability.BATCHES)
    batch = await client.batches.submit({
        "hello": GREETING,
        "hopeless": "x-aichat-fault: status; status=429",
        "tools": BOTH,
    })
    batch = await client.batches.wait(batch, poll=0.0, deadline=PATIENCE)
    assert batch.done
    assert batch.provider == target.provider
    results = {result.id: result async for result in client.batches.results(batch)}
    assert results.keys() == {"hello", "hopeless", "tools"}
    hello, hopeless = results["hello"].response, results["hopeless"].error
    assert hello is not None
    assert substance(hello) == substance(await client.complete(GREETING))
    assert isinstance(hopeless, RateLimitError)
    listed = [each.id async for each in client.batches.list()]
    assert listed == [batch.id]


async def test_what_a_provider_cannot_do(
    client: Client, target: Target, sim: Simulator
) -> None:
    """It is refused with a word about it, and nothing is sent."""
    # G4
    capabilities = target.spec.capabilities
    if Capability.EMBEDDINGS not in capabilities:
        with pytest.raises(InvalidRequestError, match="makes no embeddings"):
            await client.embed("one", model="simulator-embedding")
    if Capability.BATCHES not in capabilities:
        with pytest.raises(InvalidRequestError, match="does not take batches"):
            await client.batches.submit({"a": GREETING})
    assert sim.request_count == 0


# --- the key --------------------------------------------------------------------------


async def test_the_key_stands_in_one_header_and_nowhere_else(target: Target) -> None:
    """Not in the URL, where proxies write it down; not in the body; not in our log."""
    # X1
    heads: list[tuple[bytes, dict[str, str], bytes]] = []

    async def listen(visit: Visit) -> None:
        heads.append((visit.request, visit.headers, visit.body))
        await visit.send(b"HTTP/1.1 418 Teapot\r\ncontent-length: 2\r\n\r\n{}")

    async with Server(listen) as server, target.client(server.url) as client:
        with pytest.raises(ProviderError):
            await client.complete(GREETING)
        await client.health()
    assert len(heads) == 2
    for line, headers, body in heads:
        assert KEY.encode() not in line + body
        assert [KEY in value for value in headers.values()].count(True) == 1


async def test_nothing_that_is_kept_or_logged_holds_the_key(
    persistent: Client, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever was asked for, and whatever went wrong with it."""
    # X1
    caplog.set_level(logging.DEBUG)
    sim.fail_next(status=503)
    await persistent.complete(BOTH, tools=TOOLS)
    await persistent.health()
    sim.fail_next("error_event", status=500, after=6)
    with pytest.raises(ProviderError):
        await persistent.complete(GREETING)
    assert len(sim.requests) == 4
    assert all(request.has_key for request in sim.requests)
    assert KEY not in repr([(r, r.body) for r in sim.requests])
    assert KEY not in caplog.text
    assert KEY not in repr(persistent)


# --- those who imitate ----------------------------------------------------------------


@pytest.mark.parametrize("name", COMPATIBLE)
async def test_whoever_imitates_openai(name: str, sim: Simulator) -> None:
    """Each row streams, calls tools where it has them, and finds their results again."""
    # S1, S9. What they do not imitate is in their own tests: OpenAI refuses it.
    target = Target("openai-chat", name)
    tools = TOOLS if Capability.TOOLS in target.spec.capabilities else ()
    async with target.client(sim) as client:
        stream = client.stream([system("Be kind."), user(BOTH)], tools=tools)
        assert [chunk async for chunk in check_stream(stream)]
        asked = await stream.response()
        results = [tool_result(call, "fine") for call in asked.tool_calls]
        more = results or [user(GREETING)]
        answer = await client.complete([user(BOTH), asked.message, *more], tools=tools)
    assert asked.provider == name
    assert len(results) == len(tools)
    said = "- get_weather: fine\n- get_time: fine" if tools else GREETING
    assert said in answer.text


def json_of(response: ChatResponse) -> Any:
    """The one JSON value that the answer is."""
    return loads(response.text)
