"""A real engine that is held to the grammar of a call: whatever it asks for can be called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import jsonschema
import pytest

from aichat import Client, ClientConfig, FinishReason
from aichat.testing import check_stream
from aichat.tools import tool

from ..conformance.conftest import llama_with_tools as llama_with_tools
from ..conformance.tiny_model import CALLS, MODEL


@pytest.fixture(params=["llamacpp", "openai-compatible", "openai-chat"])
async def client(
    request: pytest.FixtureRequest, llama_with_tools: str
) -> AsyncIterator[Client]:
    """In Chat Completions, where the model can be made to call."""
    config = ClientConfig(
        provider=request.param,
        model=f"{request.param}:{MODEL}",
        base_url=f"{llama_with_tools}/v1",
        api_key="none",
        # It hangs up after each stream without having said so.
        max_retries=2,
        retry_backoff=0.01,
    )
    async with Client.from_config(config, environ={}) as client:
        yield client


@tool
def look(
    city: Literal["Rome", "Oslo"], near: bool, why: Literal["s", "m"] | None = None
) -> str:
    """Look."""
    return f"Nothing in {city}, {near}, {why}."


async def test_a_forced_call_can_be_made(client: Client) -> None:
    """
    Streamed token by token: its arguments follow the schema, and are the function's.
    """
    # S1, S7
    for seed in range(4):
        stream = client.stream(
            "Hi",
            tools=[look],
            tool_choice="required",
            max_tokens=900,
            seed=seed,
            logit_bias=CALLS,
        )
        async for _ in check_stream(stream):
            pass
        response = await stream.response()
        assert response.finish_reason is FinishReason.TOOL_CALLS
        assert not response.invalid_tool_calls
        # By chance there may be a second one.
        assert response.tool_calls
        for call in response.tool_calls:
            assert call.name == "look"
            jsonschema.validate(call.parse(), look.parameters)
            assert look.read(call.parse()).keys() >= {"city", "near"}


async def test_the_loop_with_a_real_engine(client: Client) -> None:
    """
    The call is made, its result goes through the engine's own template, and it is asked again.
    """
    # S7
    result = await client.run(
        "Hi",
        tools=[look],
        tool_choice="required",
        max_tokens=900,
        temperature=0,
        logit_bias=CALLS,
    )
    assert result.stop_reason == "done"
    assert result.rounds == 2
    (call,) = result.responses[0].tool_calls
    (told,) = result.messages[1].content
    arguments = look.read(call.parse())
    assert told.text == look(**{"why": None} | arguments)  # type: ignore[union-attr]
    assert result.usage.input_tokens is not None
    first, second = (r.usage.input_tokens or 0 for r in result.responses)
    assert second > first + len(told.text) // 8  # type: ignore[union-attr]


async def test_a_schema_takes_the_place_of_the_tools(client: Client) -> None:
    """
    So it is with llama.cpp; whoever is known to be one says so, and `auto` knows a way.
    """
    # G5
    response = await client.complete(
        "Hi",
        response_type=Literal["yes", "no"],
        logit_bias=CALLS,
        tool_choice="required",
        tools=[look],
        max_tokens=900,
        temperature=0,
    )
    assert response.parsed in ("yes", "no")
    assert response.tool_calls == ()
    known = not client.capabilities().json_schema_with_tools
    assert known is (response.provider == "llamacpp")
    assert any("no tools" in warning for warning in response.warnings) is known
