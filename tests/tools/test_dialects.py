"""The loop before every dialect of the simulator, over a real socket."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any, Literal

import attrs
import pytest

from aichat import (
    ChatRequest,
    Client,
    FinishReason,
    ImagePart,
    InvalidRequestError,
    StructuredOutputError,
    ToolCallPart,
    ToolResultPart,
    assistant,
    tool_result,
    user,
)
from aichat.testing import Simulator
from aichat.tools import RoundEnded, ToolFinished, ToolStarted, tool

from ..simulated import Target, client as client, sim as sim, target as target

BOTH = "What are the weather and the time in Paris?"


@dataclasses.dataclass
class Weather:
    sky: Literal["clear", "cloudy"]
    degrees: float


@tool(strict=True)
async def get_weather(city: Annotated[str, "Where."]) -> Weather:
    """Tell the weather of a city."""
    assert city == "Paris"
    return Weather("clear", 18.5)


def get_time(city: str, twelve: bool = False) -> str:
    """
    Tell the time of a city.

    Args:
        city: Where.
        twelve: Whether to stop at noon.
    """
    return f"noon in {city}"


async def test_two_tools_are_called_and_answered(
    client: Client, sim: Simulator
) -> None:
    """Both at once; the answer is made of their results, in the order of the calls."""
    # S7, S9
    result = await client.run(BOTH, tools=[get_weather, get_time])
    assert result.stop_reason == "done"
    assert result.rounds == 2
    assert sim.request_count == 2
    assert (
        '- get_weather: {"sky":"clear","degrees":18.5}\n- get_time: noon in Paris'
        in result.text
    )
    assert result.response.finish_reason is FinishReason.STOP
    # What both tell is summed; it goes on as a conversation like any other.
    inputs = [response.usage.input_tokens for response in result.responses]
    assert result.usage.input_tokens == sum(filter(None, inputs))
    again = await client.run([*result.conversation, user("Thanks!")], tools=[get_time])
    assert again.rounds == 1


async def test_every_round_is_streamed(client: Client) -> None:
    """Its chunks, and what is done between."""
    kinds: list[str] = []
    async for event in client.run_stream(BOTH, tools=[get_weather, get_time]):
        match event:
            case ToolStarted() | RoundEnded():
                kinds.append(type(event).__name__)
            case ToolFinished(call):
                kinds.append(f"{call.name}")
            case _:
                pass
    assert kinds[:2] == ["ToolStarted", "ToolStarted"]
    assert sorted(kinds[2:4]) == ["get_time", "get_weather"]
    assert kinds[4:] == ["RoundEnded", "RoundEnded"]


async def test_an_error_is_read_by_the_model(client: Client) -> None:
    """Whatever its dialect has for that."""

    def get_time(city: str) -> str:
        raise LookupError(f"no clock in {city}")

    result = await client.run(BOTH, tools=[get_weather, get_time])
    assert "LookupError: no clock in Paris" in result.text


async def test_a_tool_that_must_be_called(client: Client, target: Target) -> None:
    """Once: the answer after that is free."""
    if not target.profile.forced_tool_choice:
        pytest.skip("no tool can be forced")
    result = await client.run("Hello!", tools=[get_time], tool_choice="required")
    assert result.rounds == 2


@attrs.frozen
class City:
    name: str
    people: int


async def test_the_answer_is_a_value(
    client: Client, target: Target, sim: Simulator
) -> None:
    """
    After the tools were called. Who can be kept to a schema or call tools, and not both at once,
    says so: before anything is sent, or in a warning where it can be asked.
    """
    # S7, G5
    prompt = f"{BOTH} It has 2100000 people."
    asked = client.run_stream(prompt, tools=[get_time], response_type=City)
    if not target.profile.json_schema_with_tools and target.provider != "ollama":
        with pytest.raises(InvalidRequestError, match="not together with tools"):
            await asked.result()
        assert sim.request_count == 0
        return
    result = await asked.result()
    assert result.parsed == City("Paris", 2_100_000)
    assert result.rounds == 2
    warned = any("no tools" in w for r in result.responses for w in r.warnings)
    assert warned is not target.profile.json_schema_with_tools


async def test_automatic_keeps_the_tools(
    client: Client, target: Target, sim: Simulator
) -> None:
    """
    The schema goes in words where it would get in their way, and as a schema elsewhere. (The
    simulator does not understand it in words, which is an error in the last round.)
    """
    # G5
    prompt = f"{BOTH} It has 2100000 people."
    asked = client.run_stream(
        prompt, tools=[get_time], response_type=City, schema_via="auto", repair=1
    )
    if target.profile.json_schema_with_tools:
        assert (await asked.result()).parsed == City("Paris", 2_100_000)
        return
    with pytest.raises(StructuredOutputError) as caught:
        await asked.result()
    assert caught.value.reason == "not_json"
    partial = asked.partial()
    assert partial is not None
    assert partial.responses[0].tool_calls
    assert len(asked.messages) == 5
    assert "JSON Schema" in str(sim.requests[0].body)


async def test_leaving_ends_the_request(client: Client, sim: Simulator) -> None:
    """The server sees it at once."""
    # C1
    async with client.run_stream("Count to 100000!", tools=[get_time]) as stream:
        await anext(stream)
    async with asyncio.timeout(5):
        await sim.idle()
    assert sim.disconnects == 1


@pytest.mark.parametrize("result", ["", "null", [ImagePart(url="https://example.com/a.png")]])  # fmt: skip
@pytest.mark.parametrize(
    "arguments", ["{}", '{"city": "Par', "nonsense", "[1]"], ids=str
)
def test_what_the_loop_sends_can_be_encoded(
    target: Target, arguments: str, result: Any
) -> None:
    """An invalid call goes back as it came, and a result may be empty."""
    # S7
    calls = [
        ToolCallPart("call_1", "get_time", arguments, invalid="not JSON"),
        ToolCallPart("call_2", "get_time", '{"city": "Rome"}'),
    ]
    error = ToolResultPart("call_1", "Send it again.", name="get_time", is_error=True)
    messages = [
        user("Hi"),
        assistant(*calls),
        tool_result(calls[0], error.content, is_error=True),
        tool_result(calls[1], result),
    ]
    request = ChatRequest(
        messages,
        f"{target.provider}:{target.model}",
        tools=[tool(get_time)],
        on_unsupported="ignore",
    )
    target.spec.encode_request(request)
