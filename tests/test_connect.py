"""From a configuration to a client that answers, over real HTTP against the simulator."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from aichat import (
    AuthenticationError,
    ChatRequest,
    CircuitOpenError,
    Client,
    ClientConfig,
    ClosedError,
    ConfigError,
    DeadlineError,
    Deadlines,
    HTTPProvider,
    InvalidRequestError,
    Provider,
    ProviderUnavailableError,
    RateLimit,
    RateLimitError,
    Registry,
    StreamInterruptedError,
    TextDelta,
    Tool,
    tool_result,
    user,
)
from aichat._connect import connect
from aichat.providers.openai import SPEC
from aichat.testing import FakeProvider, Simulator, check_stream
from aichat.transport import HTTPRequest, HTTPResponse, Phase, Pool

DIALECTS = ("openai-chat", "anthropic")


def config(sim: Simulator, provider: str, **more: object) -> ClientConfig:
    settings = {
        "provider": provider,
        "api_key": "sk-test",
        "base_url": sim.base_url(provider),
        "model": "simulated",
        "retry_backoff": 0.001,
    }
    return ClientConfig.from_mapping({**settings, **more})


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_streams_and_completes_the_same(dialect: str) -> None:
    """One answer, whole or in pieces, and the grammar is kept. (S1, S2)"""
    async with Simulator() as sim, Client.from_config(config(sim, dialect)) as client:
        stream = client.stream("What is the capital of France?")
        chunks = [c async for c in check_stream(stream)]
        streamed = await stream.response()
        whole = await client.complete("What is the capital of France?")
    assert sum(isinstance(c, TextDelta) for c in chunks) > 3
    assert streamed.text == whole.text
    assert streamed.finish_reason == whole.finish_reason == "stop"
    assert whole.provider == dialect
    assert whole.usage.total_tokens
    assert whole.request_id


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_tool_turn_goes_round(dialect: str) -> None:
    """The call comes back, its result goes out, and the answer knows it. (S9)"""
    weather = Tool(
        "get_weather",
        "The weather in a city.",
        {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    )
    async with Simulator() as sim, Client.from_config(config(sim, dialect)) as client:
        messages = [user("What is the weather in Paris?")]
        response = await client.complete(messages, tools=[weather])
        (call,) = response.tool_calls
        assert call.name == "get_weather"
        assert call.parse() == {"city": "Paris"}
        messages += [response.message, tool_result(call, "18 degrees")]
        answer = await client.complete(messages, tools=[weather])
    assert "18 degrees" in answer.text


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_failure_before_output_is_tried_again(dialect: str) -> None:
    """And the caller does not notice. (R1)"""
    async with Simulator() as sim, Client.from_config(config(sim, dialect)) as client:
        sim.fail_next(status=503)
        response = await client.complete("Hi")
        assert response.text
        assert sim.request_count == 2


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_truncated_answer_raises_with_what_arrived(dialect: str) -> None:
    """A broken connection is never a short answer. (S4)"""
    async with Simulator() as sim, Client.from_config(config(sim, dialect)) as client:
        sim.fail_next("truncate", after=3)
        with pytest.raises(StreamInterruptedError) as caught:
            await client.complete("Hi")
    error = caught.value
    assert error.partial is not None
    assert error.partial.text
    assert error.attempts == 1
    assert not error.retryable


async def test_leaving_early_reaches_the_server() -> None:
    """A `break` closes the connection, and the client goes on working. (C1)"""
    async with (
        Simulator(pace=0.005) as sim,
        Client.from_config(config(sim, "openai-chat")) as client,
    ):
        async with client.stream("Tell me a long story.") as stream:
            async for chunk in stream:
                if isinstance(chunk, TextDelta):
                    break
        await sim.idle()
        assert sim.disconnects == 1
        assert (await client.complete("Hi")).text


async def test_a_wrong_key_says_so_and_does_not_show_it() -> None:
    """The error names the provider, not the key. (X1)"""
    async with (
        Simulator(api_keys=["sk-right"]) as sim,
        Client.from_config(
            config(sim, "anthropic", api_key="sk-wrong-canary")
        ) as client,
    ):
        with pytest.raises(AuthenticationError) as caught:
            await client.complete("Hi")
        health = await client.health()
    assert "canary" not in str(caught.value) + repr(caught.value)
    assert caught.value.provider == "anthropic"
    assert health["anthropic"].ok is False


async def test_a_provider_without_a_health_check_is_not_called_well() -> None:
    """Nobody was asked, so nobody knows."""
    made = ClientConfig(provider="perplexity", api_key="x")
    async with Client.from_config(made, environ={}) as client:
        assert (await client.health())["perplexity"].ok is None


async def test_a_key_may_be_fetched() -> None:
    """An async function is asked for every call, so that a token may rotate. (G1)"""
    asked: list[str] = []

    async def fetch() -> str:
        asked.append("sk-right")
        return "sk-right"

    async with (
        Simulator(api_keys=["sk-right"]) as sim,
        Client.from_config(config(sim, "openai-chat", api_key=fetch)) as client,
    ):
        assert (await client.complete("Hi")).text
        assert (await client.health())["openai-chat"].ok is True
    assert len(asked) == 2


async def test_other_providers_take_their_own_key_and_address() -> None:
    """The configured key and base URL stay with the configured provider. (G2)"""
    async with Simulator(api_keys=["sk-a", "sk-b"]) as sim:
        environ = {
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "sk-a",
            "AI_BASE_URL": sim.base_url("openai-chat"),
            "AI_MODEL": "simulated",
            "ANTHROPIC_API_KEY": "sk-b",
            "ANTHROPIC_BASE_URL": sim.base_url("anthropic"),
        }
        async with Client.from_env(environ) as client:
            a = await client.complete("Hi")
            b = await client.complete("Hi", model="anthropic:simulated")
            with pytest.raises(ConfigError, match="GROQ_API_KEY"):
                await client.complete("Hi", model="groq:x")
            assert list(await client.health()) == ["openai-chat", "anthropic"]
    assert (a.provider, b.provider) == ("openai-chat", "anthropic")


async def test_the_rate_limit_of_the_configuration_is_kept() -> None:
    """The second request waits; one that may not wait so long fails. (L1, D1)"""
    async with Simulator() as sim:
        limited = config(sim, "openai-chat", rate_limit=0.01, rate_burst=1)
        async with Client.from_config(limited) as client:
            await client.complete("Hi")
            with pytest.raises(Exception, match="permit") as caught:
                await client.complete("Hi", deadlines=Deadlines(pool=0.01))
            assert getattr(caught.value, "phase", None) == "pool"
        assert sim.request_count == 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_tokens_of_the_configuration_are_kept(dialect: str) -> None:
    """They are reserved before, and settled by what the answer says. (L1, L2)"""
    async with Simulator() as sim:
        limited = config(
            sim, dialect, input_tokens_per_minute=50, output_tokens_per_minute=5000
        )
        async with Client.from_config(limited) as client:
            usage = (await client.complete("Hi", max_tokens=4000)).usage
            with pytest.raises(DeadlineError) as caught:
                await client.complete("Hi " * 200, deadlines=Deadlines(pool=0.5))
            assert caught.value.phase == "pool"
        assert sim.request_count == 1
    assert usage.input_tokens


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, None),
        ({"rate_limit": 2}, RateLimit.per_minute(120, burst=1)),
        (
            {"requests_per_minute": 90, "rate_burst": 5},
            RateLimit.per_minute(90, burst=5),
        ),
        (
            {"tokens_per_minute": 9000},
            RateLimit.per_minute(burst=1, tokens=9000),
        ),
        (
            {"input_tokens_per_minute": 8, "output_tokens_per_minute": 9},
            RateLimit.per_minute(burst=1, input_tokens=8, output_tokens=9),
        ),
    ],
)
async def test_a_configuration_becomes_a_limit(
    settings: dict[str, Any], limit: RateLimit | None
) -> None:
    """Per second or per minute, of requests and of tokens. (G1, L1)"""
    pool = Pool()
    made = connect(
        ClientConfig(provider="openai", api_key="sk-test", **settings),
        SPEC,
        pool=pool,
        environ={},
    )
    limiter = made.transport.limiter
    assert (limiter.limit if limiter else None) == limit
    await pool.aclose()


async def test_the_breaker_of_the_configuration_opens() -> None:
    """After so many failures nothing is sent any more. (B1)"""
    async with Simulator() as sim:
        broken = config(
            sim,
            "openai-chat",
            max_retries=0,
            circuit_breaker=True,
            circuit_breaker_threshold=2,
        )
        async with Client.from_config(broken) as client:
            sim.fail_next(status=503, times=9)
            for _ in range(2):
                with pytest.raises(ProviderUnavailableError):
                    await client.complete("Hi")
            with pytest.raises(CircuitOpenError):
                await client.complete("Hi")
        assert sim.request_count == 2


async def test_max_retries_can_be_set_per_request() -> None:
    """A request that must not be sent twice is not. (R2)"""
    async with (
        Simulator() as sim,
        Client.from_config(config(sim, "openai-chat")) as client,
    ):
        sim.fail_next(status=429, times=2)
        with pytest.raises(RateLimitError) as caught:
            await client.complete("Hi", max_retries=0)
        assert sim.request_count == 1
        assert caught.value.attempts == 1


def test_all_that_is_missing_is_said_together() -> None:
    """No key and no address: one error. (G1)"""
    with pytest.raises(ConfigError) as caught:
        Client.from_config(
            ClientConfig(provider="openai-chat", settings={"nonsense": "1"}),
            environ={},
        )
    assert "OPENAI_API_KEY" in str(caught.value)
    assert "nonsense" in str(caught.value)


async def test_a_misspelt_provider_is_told_its_neighbour() -> None:
    """And how to say that the colon is the model's own. (G4)"""
    made = ClientConfig(provider="vllm", base_url="http://localhost:1")
    async with Client.from_config(made, environ={}) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.complete("Hi", model="antropic:x")
    assert "Did you mean 'anthropic'?" in str(caught.value)
    assert "vllm:antropic:…" in str(caught.value)


def test_a_configured_model_belongs_to_the_configured_provider() -> None:
    """Its colons are its own, even if another provider has that name."""
    made = ClientConfig(
        provider="vllm", base_url="http://localhost:1", model="mistral:7b"
    )
    client = Client.from_config(made, environ={})
    request = client.stream("Hi").request
    assert (request.provider_name, request.model_name) == ("vllm", "mistral:7b")
    assert ClientConfig(provider="a", model="a:b").address == "a:b"
    assert ClientConfig(provider="a").address is None


def test_ollama_understands_its_own_variable() -> None:
    """`OLLAMA_HOST` may be a bare host, or what the server listens on."""
    environ = {"AI_PROVIDER": "ollama", "OLLAMA_HOST": "0.0.0.0:1234"}
    client = Client.from_env(environ, model="m")
    provider = client._providers["ollama"]
    assert isinstance(provider, HTTPProvider)
    assert provider.base_url == "http://127.0.0.1:1234"


async def test_a_registered_factory_makes_its_own_provider() -> None:
    """Not everybody speaks HTTP. (G3)"""
    registry = Registry()

    def make(config: ClientConfig) -> Provider:
        return FakeProvider([f"made for {config.model}"], name="mine")

    registry.register(make, name="mine")
    made = ClientConfig(provider="mine", model="m")
    async with Client.from_config(made, registry=registry, environ={}) as client:
        assert (await client.complete("Hi")).text == "made for m"
        with pytest.raises(ConfigError, match="no provider 'nobody'"):
            client._providers["nobody"]


async def test_after_closing_no_provider_is_made_any_more() -> None:
    """A closed client stays closed. (C4)"""
    async with Simulator() as sim:
        client = Client.from_config(
            config(sim, "openai-chat"), environ={"ANTHROPIC_API_KEY": "x"}
        )
        await client.aclose()
        with pytest.raises(ClosedError):
            await client.complete("Hi", model="anthropic:x")
        with pytest.raises(ClosedError):
            client._providers["anthropic"]


async def test_closing_ends_running_streams_with_a_typed_error() -> None:
    """Never as a complete answer. (C4)"""
    async with Simulator(pace=0.01) as sim:
        client = Client.from_config(config(sim, "openai-chat"))
        stream = client.stream("Tell me a long story.")
        await anext(stream)
        reader = asyncio.create_task(stream.response())
        await asyncio.sleep(0.02)
        await client.aclose()
        with pytest.raises(ClosedError):
            await reader


def test_one_client_in_two_loops_and_two_threads() -> None:
    """Each loop gets connections of its own. (C5)"""
    texts: list[str] = []

    async def serve(ready: threading.Event, stop: threading.Event) -> None:
        async with Simulator() as sim:
            urls.append(sim.base_url("openai-chat"))
            ready.set()
            await asyncio.to_thread(stop.wait)

    urls: list[str] = []
    ready, stop = threading.Event(), threading.Event()
    server = threading.Thread(target=lambda: asyncio.run(serve(ready, stop)))
    server.start()
    ready.wait(10)
    try:
        client = Client.from_config(
            ClientConfig(
                provider="openai-chat", api_key="x", base_url=urls[0], model="m"
            )
        )

        async def ask() -> None:
            texts.append((await client.complete("Hi")).text)

        asyncio.run(ask())
        asyncio.run(ask())
        threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        asyncio.run(client.aclose())
    finally:
        stop.set()
        server.join(10)
    assert len(texts) == 4
    assert len(set(texts)) == 1


async def test_a_client_that_is_dropped_unclosed_warns_once() -> None:
    """And only about itself. (C4)"""
    async with Simulator() as sim:
        client = Client.from_config(config(sim, "openai-chat"))
        await client.complete("Hi")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
            await asyncio.sleep(0)
        ours = [w for w in caught if w.category is ResourceWarning]
        assert len(ours) == 1
        assert "client was not closed" in str(ours[0].message)


async def test_a_request_knows_nothing_of_the_key() -> None:
    """What middleware and logs can see holds no secret. (X1)"""
    async with Simulator() as sim:
        made = config(sim, "openai-chat", api_key="sk-canary")
        async with Client.from_config(made) as client:
            stream = client.stream("Hi")
            assert isinstance(stream.request, ChatRequest)
            shown = repr(stream.request) + repr(client) + repr(made)
            shown += repr(client._providers["openai-chat"])
            await stream.aclose()
    assert "canary" not in shown


# -- somebody else who sends -----------------------------------------------------------


async def test_somebody_else_may_send() -> None:
    """What is given as *send* gets every request of every provider; their connections stay open."""
    there = Pool()
    paths: list[str] = []

    async def send(
        request: HTTPRequest, enter: Callable[[Phase], None]
    ) -> HTTPResponse:
        paths.append(request.path)
        return await there.send(request, enter)

    async with Simulator() as sim:
        client = Client.from_config(config(sim, "anthropic"), send=send)
        assert (await client.complete("Hi")).text
        await client.aclose()
        environ = {
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "sk-test",
            "AI_MODEL": "simulated",
            "AI_BASE_URL": sim.base_url("openai-chat"),
        }
        # The connections are the sender's: closing a client leaves them open.
        async with Client.from_env(environ, send=send) as client:
            assert (await client.complete("Hi")).text
        await there.aclose()
    assert [path.rpartition("/")[2] for path in paths] == ["messages", "completions"]


def test_a_provider_that_sends_by_itself_takes_no_sender() -> None:
    """Its requests would go past a recording, so that is an error at once. (G1)"""
    registry = Registry()
    registry.register(lambda config: FakeProvider([]), name="mine")

    async def send(
        request: HTTPRequest, enter: Callable[[Phase], None]
    ) -> HTTPResponse:
        raise AssertionError("nothing is sent")

    with pytest.raises(ConfigError, match="'mine' sends by itself"):
        Client.from_config(ClientConfig(provider="mine"), registry=registry, send=send)
