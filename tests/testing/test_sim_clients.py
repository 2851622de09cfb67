"""aichat's own clients at the simulator: every dialect, with all that must come back."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from aichat import Client, ClientConfig, Tool, tool_result, user
from aichat.errors import ConfigError
from aichat.testing import Simulator, check_stream
from aichat.testing._sim_seal import seal, unseal

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOLS = [
    Tool("get_weather", "The weather in a city.", CITY),
    Tool("get_time", "The time in a city.", CITY),
]
THOUGHT = (
    "The user wrote 9 words. There are 2 tools. I am a simulator, so I repeat them."
)
DATED = {"api_version": "2024-10-21"}

#: Provider, model and settings.
PROVIDERS: list[tuple[str, str, dict[str, str]]] = [
    ("openai-chat", "simulator", {}),
    ("openai", "gpt-6-sol", {}),
    ("azure", "my-deployment", {}),
    ("azure", "gpt-4.1", DATED),
    ("azure-responses", "gpt-6-sol", {}),
    ("azure-responses", "gpt-6-sol", DATED),
    ("anthropic", "claude-opus-5", {}),
    ("google", "gemini-3.8-flash", {}),
    ("google", "gemini-2.5-flash", {}),
    ("ollama", "qwen3", {}),
]


def connect(sim: Simulator, provider: str, model: str, settings: Any) -> Client:
    config = {
        "provider": provider,
        "api_key": "sk-good",
        "base_url": sim.base_url(provider),
        "model": model,
        "settings": settings,
        "max_retries": 0,
    }
    try:
        return Client.from_config(ClientConfig.from_mapping(config))
    except ConfigError as error:
        pytest.skip(f"the registry has no {provider!r} yet: {error}")


def opaque(provider: str, body: Any) -> list[str]:
    """Everything in a request that has to come back byte for byte."""
    names = {
        "openai": "encrypted_content",
        "azure-responses": "encrypted_content",
        "anthropic": "signature",
        "google": "thoughtSignature",
    }
    name = names.get(provider, "nothing")
    return re.findall(rf'"{name}": "([^"]*)"', json.dumps(body))


def expected(provider: str) -> list[str]:
    """What the simulator had sealed, which is a function of the question."""
    parts = re.split(r"(?<=\.) ", THOUGHT)
    match provider:
        case "openai" | "azure-responses":
            # As compact as it was.
            return ["gAAAA" + seal(json.dumps(parts, separators=(",", ":")))]
        case "anthropic":
            return [seal(THOUGHT)]
        case "google":
            return [seal('get_weather {"city": "Paris"}')]
        case _:
            return []


@pytest.mark.parametrize(("provider", "model", "settings"), PROVIDERS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_turn_with_reasoning_goes_round(
    provider: str, model: str, settings: dict[str, str], stream: bool
) -> None:
    """
    S9: whatever the provider gave for safe-keeping comes back as it was, where it was.
    """
    options: dict[str, Any] = {"tools": TOOLS}
    if provider != "azure":
        options["reasoning_effort"] = "low"
    messages = [user("What is the weather and the time in Paris?")]
    async with Simulator(api_keys=["sk-good"]) as sim:
        async with connect(sim, provider, model, settings) as client:
            if stream:
                chunks = client.stream(messages, **options)
                assert [chunk async for chunk in check_stream(chunks)]
                asked = await chunks.response()
            else:
                asked = await client.complete(messages, **options)
            results = [tool_result(call, "18 degrees") for call in asked.tool_calls]
            answer = await client.complete(
                [*messages, asked.message, *results], **options
            )
        second = sim.requests[-1]

    assert [call.name for call in asked.tool_calls] == ["get_weather", "get_time"]
    assert [call.parse() for call in asked.tool_calls] == [{"city": "Paris"}] * 2
    assert asked.finish_reason == "tool_calls"
    assert "- get_weather: 18 degrees\n- get_time: 18 degrees" in answer.text
    assert answer.finish_reason == "stop"
    sent = opaque(provider, second.body)
    assert sent == expected(provider)
    assert all(unseal(token.removeprefix("gAAAA")) for token in sent)
    assert second.has_key
    assert second.dialect == provider


@pytest.mark.parametrize(("provider", "model", "settings"), PROVIDERS)
async def test_it_is_well(provider: str, model: str, settings: dict[str, str]) -> None:
    """
    Every provider finds what its health check asks for.
    """
    async with (
        Simulator(api_keys=["sk-good"]) as sim,
        connect(sim, provider, model, settings) as client,
    ):
        assert (await client.health())[provider].ok
