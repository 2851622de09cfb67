"""Ollama from end to end: a client, real HTTP, and the simulator on the other side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve

from aichat import (
    AuthenticationError,
    ChatRequest,
    Client,
    ClientConfig,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    ServerError,
    StreamInterruptedError,
    TextDelta,
    Tool,
    connect,
    tool_result,
    user,
)
from aichat.providers import HTTPProvider
from aichat.providers.ollama import SPEC
from aichat.testing import Simulator, check_provider, check_stream
from aichat.transport import Pool

WEATHER = Tool(
    "get_weather",
    "Looks outside.",
    {"properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool()
    yield pool
    await pool.aclose()


def provider(sim: Simulator, pool: Pool, **config: Any) -> HTTPProvider:
    said: dict[str, Any] = {
        "base_url": sim.base_url("ollama"),
        "max_retries": 0,
        "retry_backoff": 0.001,
        **config,
    }
    return connect(ClientConfig(provider="ollama", **said), SPEC, pool=pool, environ={})


@pytest.fixture
async def client(sim: Simulator, pool: Pool) -> AsyncIterator[Client]:
    async with Client.with_provider(provider(sim, pool)) as client:
        yield client


async def test_it_keeps_the_contract(sim: Simulator, pool: Pool) -> None:
    """Left, cancelled, and read to the end (S1, C1)."""
    made = provider(sim, pool)
    request = ChatRequest("Count to 30", "ollama:simulator")
    answer = await check_provider(made, request)
    assert "28, 29, 30." in answer.text
    await made.aclose()
    await sim.idle()


async def test_it_streams_and_completes_the_same(
    client: Client, sim: Simulator
) -> None:
    """One answer, whole or in pieces (S2)."""
    stream = client.stream("Hello!", model="ollama:simulator:7b")
    chunks = [chunk async for chunk in check_stream(stream)]
    streamed = await stream.response()
    whole = await client.complete("Hello!", model="ollama:simulator:7b")
    assert sum(isinstance(chunk, TextDelta) for chunk in chunks) > 3
    assert streamed.text == whole.text
    assert whole.model == "simulator:7b"
    assert whole.provider == "ollama"
    assert whole.created_at
    assert whole.usage.total_tokens
    assert whole.metadata["durations"]["load"] == 0.01
    assert not sim.requests[0].has_key


async def test_a_document_is_an_answer_too(client: Client, sim: Simulator) -> None:
    """Whoever asks for one gets it (S6)."""
    extras = {"ollama": {"stream": False}}
    answer = await client.complete("Hi", model="ollama:m", provider_options=extras)
    assert "built-in simulator" in answer.text
    assert sim.requests[-1].body["stream"] is False


async def test_a_tool_loop(client: Client, sim: Simulator) -> None:
    """It thinks, calls, and reports; what it said goes back as it was."""
    asked = user("How is the weather in Paris?")
    options: dict[str, Any] = {
        "model": "ollama:m",
        "tools": [WEATHER],
        "reasoning_effort": "low",
    }
    answer = await client.complete(asked, **options)
    [call] = answer.tool_calls
    assert answer.finish_reason == "tool_calls"
    assert answer.reasoning
    assert call.parse() == {"city": "Paris"}

    done = await client.complete(
        [asked, answer.message, tool_result(call, "rain")], **options
    )
    assert "get_weather: rain" in done.text
    sent = sim.requests[-1].body["messages"]
    assert sent[1]["thinking"] == answer.reasoning
    assert sent[2]["tool_call_id"] == call.id


async def test_a_schema(client: Client) -> None:
    """The answer follows it."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    answer = await client.complete(
        "Where? In Rome!", model="ollama:m", response_format=schema
    )
    assert answer.text == '{"city": "Rome"}'
    anything = await client.complete("Hi", model="ollama:m", response_format="json")
    assert '"you_said": "Hi"' in anything.text


async def test_limits_end_it(client: Client) -> None:
    """By tokens, or by a text, which it does not say."""
    short = await client.complete("Count to 99", model="ollama:m", max_tokens=5)
    assert (short.finish_reason, short.usage.output_tokens) == ("length", 5)
    stopped = await client.complete("Count to 99", model="ollama:m", stop="7")
    assert stopped.finish_reason == "stop"
    assert stopped.text.endswith("6, ")


async def test_settings_and_a_key(sim: Simulator, pool: Pool) -> None:
    """Both reach every request; the key is no part of what is seen (X1)."""
    made = provider(
        sim,
        pool,
        api_key="sk-canary-1234567890",
        settings={"num_ctx": "16384", "keep_alive": "-1"},
        base_url=sim.base_url("ollama") + "/v1",
    )
    async with Client.with_provider(made) as client:
        answer = await client.complete("Hi", model="ollama:m")
    [request] = sim.requests
    assert request.path == "/ollama/api/chat"
    assert request.body["options"] == {"num_ctx": 16384}
    assert request.body["keep_alive"] == -1
    assert request.has_key
    assert "canary" not in repr((made, request, answer))


async def test_its_health(sim: Simulator, pool: Pool) -> None:
    """The version is enough to know."""
    made = provider(sim, pool)
    await made.health()
    assert sim.requests[-1].path == "/ollama/api/version"
    sim.fail_next(status=503)
    with pytest.raises(ProviderUnavailableError):
        await made.health()
    await made.aclose()


async def test_a_wrong_key(pool: Pool) -> None:
    """The cloud says so in one word."""
    async with Simulator(api_keys=["good"]) as sim:
        made = provider(sim, pool, api_key="a-bad-key")
        async with Client.with_provider(made) as client:
            with pytest.raises(AuthenticationError, match="unauthorized"):
                await client.complete("Hi", model="ollama:m")


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("truncate", StreamInterruptedError),
        ("hang_up", StreamInterruptedError),
        ("garbage", ProtocolError),
    ],
)
async def test_answers_that_break(
    client: Client, sim: Simulator, kind: Any, expected: type[ProviderError], after: int
) -> None:
    """They are never taken for short ones, and what there was is kept (S4)."""
    sim.fail_next(kind, after=after)
    with pytest.raises(expected) as caught:
        await client.complete("Hello!", model="ollama:m")
    partial = caught.value.partial
    assert partial is not None
    assert bool(partial.text) == bool(after)


async def test_an_error_within_the_answer(client: Client, sim: Simulator) -> None:
    """It is the one that it would have been before (S5)."""
    message = "an error was encountered while running the model: unexpected EOF"
    sim.fail_next("error_event", after=2, message=message)
    with pytest.raises(ServerError, match="unexpected EOF") as caught:
        await client.complete("Hello!", model="ollama:m")
    assert caught.value.partial is not None
    assert caught.value.partial.text


async def test_a_busy_server_is_asked_again(sim: Simulator, pool: Pool) -> None:
    """A queue that is full empties (R1)."""
    made = provider(sim, pool, max_retries=1)
    async with Client.with_provider(made) as client:
        message = "server busy, please try again.  maximum pending requests exceeded"
        sim.fail_next(status=503, message=message)
        assert (await client.complete("Hi", model="ollama:m")).text
    assert sim.request_count == 2


async def test_another_name(sim: Simulator, pool: Pool) -> None:
    """Two servers are two providers."""
    spec = evolve(SPEC, name="attic")
    config = ClientConfig(provider="attic", base_url=sim.base_url("ollama"))
    made = connect(config, spec, pool=pool, environ={})
    async with Client.with_provider(made) as client:
        answer = await client.complete("Hi", model="attic:m")
    assert answer.provider == "attic"
