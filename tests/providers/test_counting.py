"""Counting tokens: by the provider where it can, by a tokenizer or a rule of thumb elsewhere."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from anthropic.types import MessageCountTokensParams
from openai.types.responses import InputTokenCountParams

from aichat import (
    AudioPart,
    ChatRequest,
    Client,
    ClosedError,
    Deadlines,
    DocumentPart,
    ImagePart,
    InvalidRequestError,
    OpaquePart,
    ProtocolError,
    ProviderSpec,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    TextPart,
    TokenCount,
    TokenCounter,
    Tool,
    ToolCallPart,
    assistant,
    json_schema,
    system,
    tool_result,
    user,
)
from aichat.providers import compatible
from aichat.providers._tokenizer import tokenizer_for
from aichat.providers.anthropic import SPEC as ANTHROPIC
from aichat.providers.azure import RESPONSES as AZURE_RESPONSES
from aichat.providers.google import SPEC as GOOGLE, VERTEX
from aichat.providers.openai import SPEC as OPENAI
from aichat.testing import FakeProvider
from aichat.types import estimate_text_tokens, estimate_tokens

from . import anthropic_sdk, openai_sdk
from .scripted import answer, bodies, provider, requests

WEATHER = Tool(
    "get_weather",
    "Looks outside.",
    {"properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PROMPT = [system("Be brief."), user("How is it in Oslo?")]
#: Everything that matters only for the answer, and some that matter for the prompt.
OPTIONS: dict[str, Any] = {
    "max_tokens": 100,
    "temperature": 0.5,
    "tools": [WEATHER],
    "tool_choice": "auto",
    "user": "u",
    "service_tier": "auto",
    "on_unsupported": "ignore",
}


async def count(spec: ProviderSpec, model: str, value: Any, **options: Any) -> Any:
    """Count `PROMPT` at a provider that answers *value*; return request and count."""
    asked = provider(
        spec, answer(value), settings={"project": "p"} if spec is VERTEX else None
    )
    counted = await Client.with_provider(asked).count_tokens(
        PROMPT, model=f"{spec.name}:{model}", **options
    )
    return requests(asked)[0], counted


async def test_anthropic() -> None:
    """The same body, without what is about the answer."""
    request, counted = await count(
        ANTHROPIC,
        "claude-sonnet-4-5",
        {"input_tokens": 2095},
        top_p=0.5,
        stop="x",
        **OPTIONS,
    )
    assert counted == TokenCount(2095, raw={"input_tokens": 2095})
    assert not counted.estimated
    assert request.path == "/v1/messages/count_tokens"
    assert set(request.body) == {"model", "messages", "system", "tools", "tool_choice"}
    assert request.headers["anthropic-version"]
    # The SDK's checker knows the older form of some fields; none of those is sent.
    found = [*anthropic_sdk._check(MessageCountTokensParams, request.body, "body")]
    assert found == []


async def test_openai() -> None:
    """The same body, without what is about the answer."""
    value = {"object": "response.input_tokens", "input_tokens": 11}
    request, counted = await count(
        OPENAI,
        "gpt-5.4",
        value,
        reasoning_effort="low",
        verbosity="low",
        metadata={"a": "b"},
        cache_key="k",
        **OPTIONS,
    )
    assert counted == TokenCount(11, raw=value)
    assert request.path == "/responses/input_tokens"
    assert set(request.body) == {
        "model", "instructions", "input", "tools", "tool_choice", "reasoning", "text",
    }  # fmt: skip
    assert openai_sdk.complaints(request.body, InputTokenCountParams) == []


async def test_gemini() -> None:
    """A whole request: with bare contents, system and tools would be refused."""
    request, counted = await count(
        GOOGLE, "gemini-2.5-flash", {"totalTokens": 31}, metadata={"a": "b"}, **OPTIONS
    )
    assert counted == TokenCount(31, raw={"totalTokens": 31})
    assert request.path == "/v1beta/models/gemini-2.5-flash:countTokens"
    assert request.query == {}
    (whole,) = request.body.values()
    assert list(request.body) == ["generateContentRequest"]
    assert whole["model"] == "models/gemini-2.5-flash"
    assert set(whole) == {
        "model", "contents", "systemInstruction", "tools", "toolConfig",
        "generationConfig",
    }  # fmt: skip


async def test_vertex() -> None:
    """The fields as they are; numbers may be texts."""
    request, counted = await count(
        VERTEX, "gemini-2.5-flash", {"totalTokens": "31"}, **OPTIONS
    )
    assert counted.input_tokens == 31
    assert request.path.endswith(
        "/publishers/google/models/gemini-2.5-flash:countTokens"
    )
    assert set(request.body) == {
        "contents", "systemInstruction", "tools", "generationConfig",
    }  # fmt: skip


@pytest.mark.parametrize("value", [None, [], {}, {"input_tokens": -1}])
async def test_an_answer_of_another_shape(value: Any) -> None:
    """A typed error with a name on it. (I2)"""
    with pytest.raises(ProtocolError) as caught:
        await count(ANTHROPIC, "claude-sonnet-4-5", value)
    error = caught.value
    assert (error.operation, error.provider) == ("count_tokens", "anthropic")
    assert error.model == "claude-sonnet-4-5"


async def test_a_prompt_that_cannot_be_sent_cannot_be_counted() -> None:
    """It says so before anything is sent, and what was being done. (G4)"""
    asked = provider(ANTHROPIC)
    with pytest.raises(InvalidRequestError) as caught:
        await Client.with_provider(asked).count_tokens(
            "Hi", model="anthropic:claude-sonnet-4-5", response_format="json"
        )
    assert caught.value.operation == "count_tokens"
    assert requests(asked) == []


async def test_deadlines_and_retries_are_the_requests() -> None:
    """As for a chat. (D1, R2)"""
    asked = provider(ANTHROPIC, answer({}, status=500), answer({"input_tokens": 1}))
    client = Client.with_provider(asked)
    with pytest.raises(Exception, match="500"):
        await client.count_tokens(
            "Hi", model="anthropic:claude-sonnet-4-5", max_retries=0
        )
    assert len(bodies(asked)) == 1


class Own:
    """A provider that counts by itself."""

    name = "own"

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []

    def stream(self, request: ChatRequest, /) -> Any:
        raise NotImplementedError

    async def count_tokens(self, request: ChatRequest, /) -> TokenCount:
        self.requests.append(request)
        return TokenCount(7)


async def test_a_provider_of_ones_own() -> None:
    """Whoever has a `count_tokens` is one."""
    own = Own()
    assert isinstance(own, TokenCounter)
    client = Client({"own": own}, model="own:m")
    assert await client.count_tokens("Hi", timeout=3) == TokenCount(7)
    assert own.requests[0].deadlines == Deadlines.of(3)


async def test_a_closed_client() -> None:
    """Use after closing is an error. (C4)"""
    client = Client({"own": Own()}, model="own:m")
    await client.aclose()
    with pytest.raises(ClosedError) as caught:
        await client.count_tokens("Hi")
    assert caught.value.operation == "count_tokens"


@pytest.mark.parametrize(
    "spec", [AZURE_RESPONSES, compatible.SPECS["groq"]], ids=lambda spec: spec.name
)
async def test_who_cannot_count_is_not_asked(spec: ProviderSpec) -> None:
    """It is an estimate, and says so."""
    asked = provider(spec)
    counted = await Client.with_provider(asked).count_tokens(
        "How is it in Oslo?", model=f"{spec.name}:m"
    )
    assert counted.estimated
    assert 8 <= counted.input_tokens <= 20
    assert requests(asked) == []
    fake = Client.with_provider(FakeProvider([]), model="fake:m")
    assert (await fake.count_tokens("How is it in Oslo?")) == counted


# --- estimates --------------------------------------------------------------------------

#: Text, and how many tokens ``o200k_base`` and ``cl100k_base`` make of it.
KNOWN = {
    "prose": (
        (
            "It was a bright cold day, and the clocks were striking. Somebody had left the "
            "window open, and the wind brought in leaves and dust from the street below."
        ),
        (33, 33),
    ),
    "german": (
        (
            "Der Wind drehte in der Nacht auf Norden, und am Morgen lag der erste Schnee auf "
            "den Feldern hinter der alten Mühle."
        ),
        (28, 32),
    ),
    "russian": ("Утром пошёл дождь, и мы решили остаться дома.", (15, 26)),
    "chinese": ("今天早上下了一场大雨,我们决定留在家里。", (15, 23)),
    "japanese": ("今朝は大雨が降ったので、家にいることにしました。", (17, 25)),
    "code": (
        "def area(radius: float) -> float:\n    return math.pi * radius ** 2\n" * 3,
        (57, 57),
    ),
    "json": (
        '{"id": "call_1", "name": "get_weather", "arguments": {"city": "Oslo"}}\n' * 4,
        (104, 100),
    ),
    "numbers": ("3.14159, 2.71828, 1.41421, 1.61803, 0.57721\n" * 5, (145, 145)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_rule_of_thumb(name: str) -> None:
    """Within a quarter of the range between an older and a newer tokenizer."""
    text, counts = KNOWN[name]
    assert min(counts) * 0.75 <= estimate_text_tokens(text) <= max(counts) * 1.25


def test_next_to_nothing_is_not_nothing() -> None:
    """But nothing is."""
    assert estimate_text_tokens("a") == 1
    assert estimate_text_tokens("") == 0


def test_everything_in_a_prompt_counts() -> None:
    """Each kind of part, the tools and the form; the more the more."""
    call = ToolCallPart("c", "get_weather", '{"city": "Oslo"}')
    state = ProviderState("x", {"type": "thing", "text": "x" * 40})
    steps: list[dict[str, Any]] = [
        {"messages": user("Hi")},
        {"messages": [user("Hi", name="Bob")]},
        {"messages": [user("Hi", TextPart("and on and on"))]},
        {"messages": [user("Hi", ImagePart(url="https://x.test/a", detail="low"))]},
        {
            "messages": [
                user("Hi", DocumentPart(data=b"word " * 300, media_type="text/plain"))
            ]
        },
        {"messages": [user("Hi", ImagePart(url="https://x.test/a"))]},
        {"messages": [user("Hi", AudioPart(url="https://x.test/a"))]},
        {
            "messages": [
                user("Hi", AudioPart(data=b"x" * 10**6, media_type="audio/mpeg"))
            ]
        },
        {"messages": [user("Hi", DocumentPart(data=b"%PDF-" + b"x" * 10**6))]},
    ]
    counts = [estimate_tokens(ChatRequest(**step)) for step in steps]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)

    turn = [
        user("Hi"),
        assistant(
            ReasoningPart("Let me see."),
            RefusalPart("No."),
            OpaquePart("thing", state),
            call,
        ),
        tool_result(call, "Rain."),
    ]
    bare = estimate_tokens(ChatRequest(turn))
    assert bare > estimate_tokens(ChatRequest([user("Hi"), assistant(call), turn[-1]]))
    with_tools = estimate_tokens(ChatRequest(turn, tools=[WEATHER]))
    assert with_tools > bare + 10
    form = json_schema({"type": "object", "properties": {"a": {"type": "string"}}})
    assert estimate_tokens(ChatRequest(turn, response_format=form)) > bare + 5
    assert estimate_tokens(ChatRequest(turn, response_format="json")) == bare


def test_a_count_of_ones_own() -> None:
    """Whoever has a tokenizer passes it."""
    request = ChatRequest("four words are these")
    by_words = estimate_tokens(request, lambda text: len(text.split()))
    assert by_words == 3 + 4 + 4


needs_tokenizer = pytest.mark.skipif(
    find_spec("bpe_openai") is None, reason="pip install 'aichat[tokens]'"
)


@needs_tokenizer
@pytest.mark.parametrize("name", KNOWN)
def test_the_tokenizer(name: str) -> None:
    """Newer models have another vocabulary than older ones; unknown ones have the newer."""
    text, (newer, older) = KNOWN[name]
    for model in ("gpt-5.4", "gpt-4o", "gpt-4.1", "o3", "llama-3", ""):
        tokenizer = tokenizer_for(model)
        assert tokenizer is not None
        assert tokenizer(text) == newer
    for model in ("gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "text-embedding-3-small"):
        tokenizer = tokenizer_for(model)
        assert tokenizer is not None
        assert tokenizer(text) == older


@needs_tokenizer
def test_the_tokenizer_and_what_it_stumbles_over() -> None:
    """Special tokens are text, and length is no obstacle."""
    tokenizer = tokenizer_for("gpt-5.4")
    assert tokenizer is not None
    assert tokenizer("<|endoftext|>") > 1
    assert tokenizer("A" * 1_200_000) == pytest.approx(150_000, rel=0.01)
    assert tokenizer("") == 0


def test_without_the_tokenizer() -> None:
    """There is none, and no error."""
    assert tokenizer_for("gpt-5.4", package="no_such_package_at_all") is None


def test_a_tokenizer_that_fails() -> None:
    """What it cannot count is estimated."""
    tokenizer = tokenizer_for("gpt-5.4", package=f"{__package__}.broken_tokenizer")
    assert tokenizer is not None
    assert tokenizer("Hello there") == estimate_text_tokens("Hello there")
