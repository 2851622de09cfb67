"""
The vendors' own SDKs take the simulator for the real thing.

What they parse out of its answers has to be right: that is as good a proof of realism as
there is without a key.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from aichat.testing import Simulator

openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: aichat[dev]")
anthropic = pytest.importorskip(
    "anthropic", reason="needs Anthropic's SDK: aichat[dev]"
)
pydantic = pytest.importorskip("pydantic", reason="comes with the SDKs")

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["celsius", "kelvin"]},
        "days": {"type": "integer", "minimum": 1},
    },
    "required": ["city"],
}
ASKED = {"city": "Paris", "unit": "kelvin", "days": 3}
QUESTION = "How is the weather in Paris in kelvin, for 3 days?"


class Step(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    name: str
    minutes: int = pydantic.Field(gt=0, le=60)


class Recipe(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    title: str
    kind: Literal["soup", "cake"]
    steps: list[Step]
    rating: float | None


@pytest.fixture
async def gpt(sim: Simulator) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(
        base_url=sim.base_url("openai-chat"), api_key="any", max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def claude(sim: Simulator) -> AsyncIterator[Any]:
    async with anthropic.AsyncAnthropic(
        base_url=sim.base_url("anthropic"), api_key="any", max_retries=0
    ) as client:
        yield client


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


# -- OpenAI ----------------------------------------------------------------------------

FUNCTION = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": WEATHER},
}


async def test_openai_completes(gpt: Any) -> None:
    """
    A document with everything that belongs to it.
    """
    done = await gpt.chat.completions.create(
        model="simulator",
        messages=[{"role": "developer", "content": "Be kind."}, *said("Hello!")],
    )

    (choice,) = done.choices
    assert choice.finish_reason == "stop"
    assert "You said: “Hello!”" in choice.message.content
    assert "Be kind." in choice.message.content
    assert done.model == "simulator"
    assert done.usage.total_tokens == (
        done.usage.prompt_tokens + done.usage.completion_tokens
    )
    assert done._request_id.startswith("req_sim")


async def test_openai_streams(gpt: Any) -> None:
    """
    The pieces make the same text as the document, and the usage comes last.
    """
    whole = await gpt.chat.completions.create(model="simulator", messages=said("Hi"))
    stream = await gpt.chat.completions.create(
        model="simulator",
        messages=said("Hi"),
        stream=True,
        stream_options={"include_usage": True},
    )

    chunks = [chunk async for chunk in stream]

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 10
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    # The second time the prompt was known already.
    assert whole.usage.prompt_tokens_details.cached_tokens == 0
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 0


async def test_openai_leaves_out_what_was_not_asked_for(gpt: Any) -> None:
    """
    No usage and no obfuscation, unless they are wanted.
    """
    stream = await gpt.chat.completions.create(
        model="simulator",
        messages=said("Hi"),
        stream=True,
        stream_options={"include_obfuscation": False},
    )

    chunks = [chunk.model_dump() async for chunk in stream]

    assert all(chunk["choices"] for chunk in chunks)
    assert not any(chunk.get("obfuscation") for chunk in chunks)


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_openai_calls_and_gets_results(gpt: Any, choice: str) -> None:
    """
    The whole loop: a call in pieces, its result, the answer.
    """
    async with gpt.chat.completions.stream(
        model="simulator",
        messages=said(QUESTION),
        tools=[FUNCTION],
        tool_choice=choice,
    ) as stream:
        asked = (await stream.get_final_completion()).choices[0]
    (call,) = asked.message.tool_calls
    done = await gpt.chat.completions.create(
        model="simulator",
        messages=[
            *said(QUESTION),
            asked.message.model_dump(include={"role", "content", "tool_calls"}),
            {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"},
        ],
        tools=[FUNCTION],
    )

    assert asked.finish_reason == "tool_calls"
    assert (asked.message.content is None) == (choice == "required")
    assert json.loads(call.function.arguments) == ASKED
    assert "- get_weather: 18 degrees" in done.choices[0].message.content


async def test_openai_calls_in_parallel(gpt: Any) -> None:
    """
    Several functions that fit are called at once, with an id each.
    """
    tools = [
        {"type": "function", "function": {"name": "get_weather"}},
        {"type": "function", "function": {"name": "get_time"}},
        {"type": "function", "function": {"name": "buy_milk"}},
    ]
    done = await gpt.chat.completions.create(
        model="simulator", messages=said("Weather and time, please."), tools=tools
    )

    calls = done.choices[0].message.tool_calls
    assert [c.function.name for c in calls] == ["get_weather", "get_time"]
    assert len({call.id for call in calls}) == 2
    assert done.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("stream", [True, False])
async def test_openai_calls_the_one_that_is_named(gpt: Any, stream: bool) -> None:
    """
    Fitting or not; and OpenAI then says ``stop``.
    """
    answer = await gpt.chat.completions.create(
        model="simulator",
        messages=said("run it"),
        tools=[FUNCTION, {"type": "custom", "custom": {"name": "sql"}}],
        tool_choice={"type": "custom", "custom": {"name": "sql"}},
        stream=stream,
    )

    if stream:
        chunks = [chunk async for chunk in answer]
        calls = [d.custom for c in chunks for d in c.choices[0].delta.tool_calls or ()]
        assert calls[0]["name"] == "sql"
        assert "".join(call["input"] for call in calls) == "run it"
        finish = chunks[-1].choices[0].finish_reason
    else:
        (call,) = answer.choices[0].message.tool_calls
        assert (call.custom.name, call.custom.input) == ("sql", "run it")
        finish = answer.choices[0].finish_reason
    assert finish == "stop"


async def test_openai_picks_from_the_tools_that_are_allowed(gpt: Any) -> None:
    """
    Others do not count, however well they fit.
    """
    one = {"type": "function", "function": {"name": "buy_milk"}}
    done = await gpt.chat.completions.create(
        model="simulator",
        messages=said(QUESTION),
        tools=[FUNCTION, one],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [one]},
        },
    )

    (call,) = done.choices[0].message.tool_calls
    assert call.function.name == "buy_milk"


async def test_openai_parses_json(gpt: Any) -> None:
    """
    What comes back is valid for the SDK's own model of it, streamed and whole.
    """
    whole = await gpt.chat.completions.parse(
        model="simulator", messages=said("A cake from Rome"), response_format=Recipe
    )
    async with gpt.chat.completions.stream(
        model="simulator", messages=said("A cake from Rome"), response_format=Recipe
    ) as stream:
        pieces = await stream.get_final_completion()

    recipe = whole.choices[0].message.parsed
    assert recipe.kind == "cake"
    assert recipe.title == "Rome"
    assert recipe.steps
    assert pieces.choices[0].message.parsed == recipe


async def test_openai_answers_in_any_json(gpt: Any) -> None:
    """
    JSON mode without a schema.
    """
    done = await gpt.chat.completions.create(
        model="simulator",
        messages=said("Say it in JSON."),
        response_format={"type": "json_object"},
    )

    assert json.loads(done.choices[0].message.content)["simulator"] is True


async def test_openai_thinks(gpt: Any) -> None:
    """
    As compatible servers show it: in ``reasoning_content``.
    """
    request = {"model": "simulator", "messages": said("Hi"), "reasoning_effort": "low"}
    whole = await gpt.chat.completions.create(**request)
    stream = await gpt.chat.completions.create(**request, stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream]

    thought = whole.choices[0].message.reasoning_content
    assert "I am a simulator" in thought
    assert "".join(getattr(d, "reasoning_content", "") for d in deltas) == thought
    usage = whole.usage
    spent = usage.completion_tokens_details.reasoning_tokens
    assert 0 < spent < usage.completion_tokens


@pytest.mark.parametrize(
    ("options", "finish"),
    [
        ({"max_tokens": 5}, "length"),
        ({"max_completion_tokens": 5}, "length"),
        ({"stop": "simulator"}, "stop"),
        ({"stop": ["no such", "simulator"]}, "stop"),
    ],
)
async def test_openai_stops_where_it_is_told(
    gpt: Any, options: dict[str, Any], finish: str
) -> None:
    """
    By tokens or by words.
    """
    done = await gpt.chat.completions.create(
        model="simulator", messages=said("Hi"), **options
    )

    assert done.choices[0].finish_reason == finish
    assert len(done.choices[0].message.content) < 30


async def test_openai_lists_models(gpt: Any) -> None:
    """
    And each of them can be asked for.
    """
    listed = [model.id async for model in gpt.models.list()]

    assert listed == ["simulator", "simulator-mini", "simulator-embedding"]
    assert (await gpt.models.retrieve("simulator")).owned_by == "aichat"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (429, "RateLimitError"),
        (503, "InternalServerError"),
    ],
)
async def test_openai_errors_are_understood(
    sim: Simulator, gpt: Any, status: int, error: str
) -> None:
    """
    The SDK raises what it raises for the real ones.
    """
    sim.fail_next(status=status)

    with pytest.raises(getattr(openai, error), match="told to fail"):
        await gpt.chat.completions.create(model="simulator", messages=said("Hi"))


async def test_openai_errors_in_a_stream_are_understood(
    sim: Simulator, gpt: Any
) -> None:
    """
    S5: after some words.
    """
    sim.fail_next("error_event", after=3)
    stream = await gpt.chat.completions.create(
        model="simulator", messages=said("Hi"), stream=True
    )

    with pytest.raises(openai.APIError, match="told to fail"):
        [chunk async for chunk in stream]


async def test_openai_tries_again(sim: Simulator, gpt: Any) -> None:
    """
    After the time that the simulator asks for; the second attempt is as good as any.
    """
    sim.fail_next(status=429, headers={"retry-after-ms": "1"})

    done = await gpt.with_options(max_retries=1).chat.completions.create(
        model="simulator", messages=said("Hi")
    )

    assert done.choices[0].finish_reason == "stop"
    assert sim.request_count == 2


async def test_openai_sees_media(gpt: Any) -> None:
    """
    At least that they are there.
    """
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    done = await gpt.chat.completions.create(
        model="simulator", messages=[{"role": "user", "content": content}]
    )

    assert "What is this? [image]" in done.choices[0].message.content


# -- Anthropic -------------------------------------------------------------------------

TOOL = {"name": "get_weather", "description": "", "input_schema": WEATHER}
THINKING = {"type": "enabled", "budget_tokens": 1024}


def about(text: str, **options: Any) -> dict[str, Any]:
    return {
        "model": "simulator",
        "max_tokens": 4000,
        "messages": said(text),
        **options,
    }


async def test_anthropic_completes(claude: Any) -> None:
    """
    A document with everything that belongs to it.
    """
    done = await claude.messages.create(**about("Hello!", system="Be kind."))

    (block,) = done.content
    assert done.stop_reason == "end_turn"
    assert "You said: “Hello!”" in block.text
    assert "Be kind." in block.text
    assert done.usage.input_tokens > 0
    assert done.usage.output_tokens > 0
    assert done._request_id.startswith("req_sim")


async def test_anthropic_streams(claude: Any) -> None:
    """
    The pieces make the same message as the document.
    """
    whole = await claude.messages.create(**about("Hi"))
    async with claude.messages.stream(**about("Hi")) as stream:
        pieces = [text async for text in stream.text_stream]
        final = await stream.get_final_message()

    assert len(pieces) > 10
    assert "".join(pieces) == whole.content[0].text
    assert final.content[0].text == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.stop_reason == "end_turn"


async def test_anthropic_events_come_in_their_order(claude: Any) -> None:
    """
    As they come over the wire, but for the pings, which the SDK keeps to itself.
    """
    stream = await claude.messages.create(**about("Hi", max_tokens=1), stream=True)

    assert [event.type async for event in stream] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize("stream", [True, False])
async def test_anthropic_calls_and_gets_results(claude: Any, stream: bool) -> None:
    """
    The whole loop, with a thought that has to come back as it was.
    """
    request = about(QUESTION, tools=[TOOL], thinking=THINKING)
    if stream:
        async with claude.messages.stream(**request) as events:
            asked = await events.get_final_message()
    else:
        asked = await claude.messages.create(**request)
    content = [block.model_dump(exclude_none=True) for block in asked.content]
    call = asked.content[-1]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees"}
    request["messages"] = [
        *said(QUESTION),
        {"role": "assistant", "content": [_known(block) for block in content]},
        {"role": "user", "content": [result]},
    ]

    done = await claude.messages.create(**request)

    assert [block.type for block in asked.content] == ["thinking", "text", "tool_use"]
    assert asked.stop_reason == "tool_use"
    assert call.input == ASKED
    assert asked.content[0].signature
    assert "- get_weather: 18 degrees" in done.content[-1].text


def _known(block: dict[str, Any]) -> dict[str, Any]:
    """Without what the SDK adds for its own use."""
    return {k: v for k, v in block.items() if k not in ("parsed_output", "caller")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signature": "AAAA"}, "Invalid `signature`"),
        ({"signature": ""}, "Invalid `signature`"),
        ({"signature": "é"}, "Invalid `signature`"),
        ({"thinking": "I thought better of it."}, "cannot be modified"),
    ],
)
async def test_anthropic_wants_its_thoughts_back(
    claude: Any, change: dict[str, str], message: str
) -> None:
    """
    S9: unchanged, or not at all.
    """
    first = await claude.messages.create(**about("Hi", thinking=THINKING))
    thought = first.content[0].model_dump()
    turn = [{**thought, **change}, {"type": "text", "text": "Hello."}]
    messages = [*said("Hi"), {"role": "assistant", "content": turn}, *said("And?")]

    with pytest.raises(anthropic.BadRequestError, match=message):
        await claude.messages.create(**about("Hi", messages=messages))
    turn[0] = thought
    assert await claude.messages.create(**about("Hi", messages=messages))


async def test_anthropic_may_hide_its_thoughts(claude: Any) -> None:
    """
    Then there is a signature without words, and it is good enough.
    """
    hidden = {"type": "adaptive", "display": "omitted"}
    async with claude.messages.stream(**about("Hi", thinking=hidden)) as stream:
        streamed = (await stream.get_final_message()).content[0]
    whole = (await claude.messages.create(**about("Hi", thinking=hidden))).content[0]

    assert (streamed.thinking, whole.thinking) == ("", "")
    assert streamed.signature == whole.signature
    turn = {"role": "assistant", "content": [whole.model_dump()]}
    again = about("Hi", messages=[*said("Hi"), turn, *said("And?")])
    assert await claude.messages.create(**again)


async def test_anthropic_thinks_with_an_effort(claude: Any) -> None:
    """
    It is enough to ask for one, unless thinking is switched off.
    """
    effort = {"effort": "low"}
    off = {"type": "disabled"}
    thinks = await claude.messages.create(**about("Hi", output_config=effort))
    does_not = await claude.messages.create(
        **about("Hi", output_config=effort, thinking=off)
    )

    assert [block.type for block in thinks.content] == ["thinking", "text"]
    assert [block.type for block in does_not.content] == ["text"]
    assert thinks.usage.output_tokens_details.thinking_tokens > 0


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "buy_milk"}, ["buy_milk"]),
        ({"type": "auto"}, []),
        ({"type": "none"}, []),
    ],
)
async def test_anthropic_calls_what_is_chosen(
    claude: Any, choice: dict[str, str], called: list[str]
) -> None:
    """
    A forced call comes without a word, and no arguments are no text.
    """
    milk = {"name": "buy_milk", "input_schema": {"type": "object", "properties": {}}}
    async with claude.messages.stream(
        **about("A joke, please.", tools=[TOOL, milk], tool_choice=choice)
    ) as stream:
        done = await stream.get_final_message()

    uses = [block for block in done.content if block.type == "tool_use"]
    assert [use.name for use in uses] == called
    assert all(isinstance(use.input, dict) for use in uses)
    assert len(done.content) == 1


async def test_anthropic_calls_one_at_a_time_if_so_wished(claude: Any) -> None:
    """
    Several that fit, one that is called.
    """
    other = {**TOOL, "name": "weather_history"}
    request = about(QUESTION, tools=[TOOL, other])
    both = await claude.messages.create(**request)
    one = await claude.messages.create(
        **request, tool_choice={"type": "auto", "disable_parallel_tool_use": True}
    )

    assert [b.type for b in both.content] == ["text", "tool_use", "tool_use"]
    assert [b.type for b in one.content] == ["text", "tool_use"]


async def test_anthropic_parses_json(claude: Any) -> None:
    """
    What comes back is valid for the SDK's own model of it.
    """
    done = await claude.messages.parse(
        **about("A cake from Rome"), output_format=Recipe
    )

    assert done.parsed_output.kind == "cake"
    assert done.parsed_output.steps


@pytest.mark.parametrize(
    ("options", "stop"),
    [
        ({"max_tokens": 5}, ("max_tokens", None)),
        ({"stop_sequences": ["no such", "simulator"]}, ("stop_sequence", "simulator")),
    ],
)
async def test_anthropic_stops_where_it_is_told(
    claude: Any, options: dict[str, Any], stop: tuple[str, str | None]
) -> None:
    """
    And says by what.
    """
    done = await claude.messages.create(**about("Hi", **options))

    assert (done.stop_reason, done.stop_sequence) == stop
    assert len(done.content[0].text) < 30


async def test_anthropic_may_be_cut_in_a_call(claude: Any) -> None:
    """
    A document has no place for half an object: it comes empty, and ``max_tokens`` says why.
    """
    options = {"tools": [TOOL], "tool_choice": {"type": "any"}, "max_tokens": 5}
    done = await claude.messages.create(**about(QUESTION, **options))

    assert done.stop_reason == "max_tokens"
    assert done.content[0].input == {}


@pytest.mark.parametrize("whole", [True, False])
async def test_anthropic_caches_what_is_marked(claude: Any, whole: bool) -> None:
    """
    Nothing without a mark; with one it is written first and read then.
    """
    mark = {"cache_control": {"type": "ephemeral"}}
    text: dict[str, Any] = {"type": "text", "text": "A long story. " * 20}
    system = [text if whole else {**text, **mark}]
    plain = await claude.messages.create(**about("Hi", system=[text]))
    request = about("Hi", system=system, **(mark if whole else {}))
    first = (await claude.messages.create(**request)).usage
    second = (await claude.messages.create(**request)).usage

    assert plain.usage.cache_creation_input_tokens == 0
    assert first.cache_creation_input_tokens > 50
    assert first.cache_read_input_tokens == 0
    assert second.cache_read_input_tokens > 50
    assert second.cache_creation_input_tokens == 0
    for usage in (first, second):
        assert plain.usage.input_tokens == (
            usage.input_tokens
            + usage.cache_creation_input_tokens
            + usage.cache_read_input_tokens
        )


async def test_anthropic_lists_models(claude: Any) -> None:
    """
    Page by page, forwards and backwards.
    """
    first = await claude.models.list(limit=1)
    last = await claude.models.list(limit=1, before_id="simulator-mini")

    assert (first.has_more, first.last_id) == (True, "simulator")
    assert last.first_id == "simulator"
    listed = [model.id async for model in claude.models.list(limit=1)]
    assert listed == ["simulator", "simulator-mini"]
    assert (await claude.models.retrieve("any")).display_name == "aichat's any"


async def test_anthropic_counts_tokens(claude: Any) -> None:
    """
    As many as the answer says, and nothing that an answer needs may be asked for.
    """
    request = about("Hi", system="Be kind.", tools=[TOOL])
    answered = await claude.messages.create(**request)
    del request["max_tokens"]
    counted = await claude.messages.count_tokens(**request)

    assert counted.input_tokens == answered.usage.input_tokens
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: Extra inputs"):
        await claude.messages.count_tokens(**request, extra_body={"max_tokens": 5})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (429, "RateLimitError"),
        (529, "APIStatusError"),
    ],
)
async def test_anthropic_errors_are_understood(
    sim: Simulator, claude: Any, status: int, error: str
) -> None:
    """
    The SDK raises what it raises for the real ones.
    """
    sim.fail_next(status=status)

    with pytest.raises(getattr(anthropic, error), match="told to fail"):
        await claude.messages.create(**about("Hi"))


async def test_anthropic_errors_in_a_stream_are_understood(
    sim: Simulator, claude: Any
) -> None:
    """
    S5: after some words.
    """
    sim.fail_next("error_event", after=3, status=529)

    async def read() -> None:
        async with claude.messages.stream(**about("Hi")) as stream:
            await stream.get_final_message()

    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        await read()


async def test_anthropic_sees_media(claude: Any) -> None:
    """
    At least that they are there.
    """
    source = {"type": "url", "url": "https://example.com/cat.png"}
    content = [
        {"type": "image", "source": source},
        {"type": "text", "text": "What is this?"},
    ]
    done = await claude.messages.create(
        **about("", messages=[{"role": "user", "content": content}])
    )

    assert "[image] What is this?" in done.content[0].text
