"""
Conversations that go back and forth, and are nothing but JSON between their turns (S9).

The simulator refuses signatures, encrypted thoughts and thought signatures that are not as
they were; that it does is tested here as well. And the vendors' own SDKs have to have a
place for everything that was sent.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import pytest
from attrs import define, field
from openai.types.responses.response_create_params import (
    ResponseCreateParamsStreaming,
)

from aichat import (
    BadRequestError,
    ChatRequest,
    ChatResponse,
    Client,
    ImagePart,
    Message,
    Modality,
    Tool,
    ToolCallPart,
    from_json,
    system,
    to_json,
    tool_result,
    user,
)
from aichat.testing import Simulator
from aichat.types import dumps, loads

from .providers import anthropic_sdk, google_sdk, ollama_sdk, openai_sdk
from .simulated import KEY, TARGETS, Target


def responses_complaints(body: Mapping[str, Any]) -> list[str]:
    """OpenAI's types require an id of a thought, and OpenAI does not."""
    items = [
        {"id": "any", **item} if item.get("type") == "reasoning" else item
        for item in body["input"]
    ]
    return openai_sdk.complaints(
        {**body, "input": items}, params=ResponseCreateParamsStreaming
    )


#: What the SDK of each dialect's vendor has to say about the body of a request.
COMPLAINTS: Final[Mapping[str, Callable[[Any], list[str]]]] = {
    "anthropic": anthropic_sdk.complaints,
    "azure": openai_sdk.complaints,
    "azure-responses": responses_complaints,
    "google": google_sdk.complaints,
    "ollama": ollama_sdk.complaints,
    "openai": responses_complaints,
    "openai-chat": openai_sdk.complaints,
    "vertex": google_sdk.complaints,
}
#: Under which name a dialect has what it wants back. The others want nothing.
STATE: Final[Mapping[str, str]] = {
    "anthropic": "signature",
    "azure-responses": "encrypted_content",
    "google": "thoughtSignature",
    "openai": "encrypted_content",
    "vertex": "thoughtSignature",
}
KEEPERS: Final = tuple(target for target in TARGETS if target.dialect in STATE)
#: Those with something to hide, and anybody else.
PAIRS: Final = tuple(
    (one, other)
    for one in KEEPERS
    for other in TARGETS
    if other.provider != one.provider
)
#: What Gemini takes where a signature is missing; it is nobody's state.
_PLACEHOLDER: Final = "skip_thought_signature_validator"

CITY: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOLS: Final = (
    Tool("get_weather", "The weather in a city.", CITY),
    Tool("get_time", "The time in a city.", CITY),
)
BOTH: Final = "What is the weather and the time in Paris?"
#: Enough of a picture to be taken for one.
PICTURE, OTHER_PICTURE = (
    b"\x89PNG\r\n\x1a\n and nothing but words" + number for number in (b"1", b"2")
)


@pytest.fixture(params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    return found


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_keys=[KEY]) as simulator:
        yield simulator


@define
class Talk:
    """A conversation, stored as an application would store it."""

    client: Client
    target: Target
    stored: list[bytes] = field(factory=list)

    def say(self, *messages: Message) -> None:
        self.stored += map(to_json, messages)

    async def hear(self) -> ChatResponse:
        """Read everything from the store, ask, and store the answer."""
        messages = [from_json(Message, text) for text in self.stored]
        options: dict[str, Any] = {"tools": TOOLS}
        if self.target.profile.reasoning != "never":
            options |= {"reasoning_effort": "high", "include_reasoning": True}
        request = ChatRequest(messages, **options)
        # A whole request survives as well.
        assert from_json(ChatRequest, to_json(request)) == request
        response = await self.client.complete(request)
        self.say(response.message)
        assert from_json(Message, self.stored[-1]) == response.message
        return response

    async def ask_for_tools(self) -> tuple[ToolCallPart, ToolCallPart]:
        """The first turn: two calls at once, and what they were thought out with."""
        self.say(system("Be brief."), user(BOTH))
        asked = await self.hear()
        weather, clock = asked.tool_calls
        return weather, clock


def opaque(value: Any) -> Iterator[str]:
    """Everything in *value*, of any dialect, that is to come back as it was."""
    match value:
        case {**fields}:
            for name, item in fields.items():
                if name in STATE.values() and item and item != _PLACEHOLDER:
                    yield str(item)
                else:
                    yield from opaque(item)
        case [*items]:
            for item in items:
                yield from opaque(item)
        case _:
            pass


def kept(stored: Iterable[bytes]) -> list[str]:
    """What of that is in the store."""
    return [*opaque([loads(text) for text in stored])]


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_a_long_conversation(target: Target, sim: Simulator) -> None:
    """
    Pictures, thoughts, two calls at once, a result that failed, and then some more: all of
    it arrives, what the provider gave for safe-keeping where it was, and the vendor's own
    SDK has a place for it.
    """
    sees = Modality.IMAGE in target.profile.inputs
    async with target.client(sim) as client:
        talk = Talk(client, target)
        shown = [ImagePart(data=PICTURE)] if sees else []
        talk.say(system("Be brief."), user(BOTH, *shown))
        asked = await talk.hear()
        weather, clock = asked.tool_calls
        assert [call.parse() for call in (weather, clock)] == [{"city": "Paris"}] * 2

        views = [ImagePart(data=OTHER_PICTURE)] if sees else []
        talk.say(
            tool_result(weather, "It is dark in there.", is_error=True),
            tool_result(clock, ["noon", *views]),
        )
        await talk.hear()

        talk.say(user("Thanks. What is the time in Rome?"))
        again = await talk.hear()
        (clock,) = again.tool_calls
        assert clock.parse() == {"city": "Rome"}
        talk.say(tool_result(clock, "a bit later"))
        last = await talk.hear()
        assert "- get_time: a bit later" in last.text

    assert len(sim.requests) == 4
    for request in sim.requests:
        assert COMPLAINTS[target.dialect](request.body) == []
    # What came before the last answer; that one has not been sent yet.
    assert [*opaque(sim.requests[-1].body)] == kept(talk.stored[:-1])
    _, answered, _, said = (dumps(request.body).decode() for request in sim.requests)
    for words in ("Be brief.", BOTH, "It is dark in there.", "noon", "a bit later"):
        assert words in said
    for text in (answered, said):
        for picture in (PICTURE, OTHER_PICTURE):
            assert text.count(base64_of(picture)) == sees
    # In a field, or in words where there is none.
    assert any(mark in said for mark in ('"is_error":true', "ERROR: ", '"error":'))


@pytest.mark.parametrize("target", KEEPERS, ids=str)
async def test_state_comes_back_byte_for_byte(target: Target, sim: Simulator) -> None:
    """In the next request there is what was in the answer, in its order, and no more."""
    async with target.client(sim) as client:
        talk = Talk(client, target)
        weather, clock = await talk.ask_for_tools()
        talk.say(tool_result(weather, "18 degrees"), tool_result(clock, "noon"))
        answer = await talk.hear()
    state = kept(talk.stored[:-1])
    assert state
    assert [*opaque(sim.requests[1].body)] == state
    assert all(token in dumps(sim.requests[1].body).decode() for token in state)
    assert "- get_weather: 18 degrees\n- get_time: noon" in answer.text


@pytest.mark.parametrize("target", KEEPERS, ids=str)
async def test_altered_state_is_refused(target: Target, sim: Simulator) -> None:
    """A single letter is enough: so the other tests here can fail."""
    async with target.client(sim) as client:
        talk = Talk(client, target)
        weather, clock = await talk.ask_for_tools()
        (token, *_) = kept(talk.stored)
        middle = len(token) // 2
        letter = "B" if token[middle] == "A" else "A"
        altered = token[:middle] + letter + token[middle + 1 :]
        talk.stored = [
            text.replace(token.encode(), altered.encode()) for text in talk.stored
        ]
        assert kept(talk.stored) == [altered]
        talk.say(tool_result(weather, "18 degrees"), tool_result(clock, "noon"))
        with pytest.raises(BadRequestError) as caught:
            await talk.hear()
    assert [*opaque(sim.requests[1].body)] == [altered]
    assert caught.value.status == 400


async def test_only_keepers_give_something_to_keep(
    target: Target, sim: Simulator
) -> None:
    """The table above says who does."""
    async with target.client(sim) as client:
        talk = Talk(client, target)
        await talk.ask_for_tools()
    assert bool(kept(talk.stored)) is (target in KEEPERS)


@pytest.mark.parametrize(
    ("one", "other"), PAIRS, ids=[f"{one}-{other}" for one, other in PAIRS]
)
async def test_another_provider_goes_on(
    one: Target, other: Target, sim: Simulator
) -> None:
    """It sees the conversation, but nothing of the first one's state; who gets it back."""
    # B2
    async with one.client(sim) as first, other.client(sim) as second:
        here = Talk(first, one)
        weather, clock = await here.ask_for_tools()
        here.say(tool_result(weather, "18 degrees"), tool_result(clock, "noon"))
        state = kept(here.stored)
        assert state

        there = Talk(second, other, here.stored)
        answer = await there.hear()
        assert "- get_weather: 18 degrees\n- get_time: noon" in answer.text
        (_, request) = sim.requests
        assert request.dialect == other.dialect
        assert [*opaque(request.body)] == []
        assert not any(token in dumps(request.body).decode() for token in state)
        assert COMPLAINTS[other.dialect](request.body) == []

        here.stored = [*there.stored]
        here.say(user("And in Rome?"))
        await here.hear()
        assert [*opaque(sim.requests[-1].body)] == state
