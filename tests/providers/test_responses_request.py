"""`ChatRequest` to the Responses API: `aichat.providers._responses_request`."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsStreaming,
)

from aichat.errors import InvalidRequestError
from aichat.providers.openai import encode_request
from aichat.transport import HTTPRequest
from aichat.types import (
    AudioPart,
    CacheHint,
    ChatRequest,
    DocumentPart,
    ImagePart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    assistant,
    json_schema,
    system,
    tool_result,
    user,
)

from .openai_sdk import complaints

WEATHER = Tool(
    "get_weather",
    "Look outside.",
    {"type": "object", "properties": {"city": {"type": "string"}}},
)
CLOCK = Tool("get_time")
GPT = "openai:gpt-4.1"
THINKS = "openai:gpt-6-sol"
PNG = b"\x89PNG\r\n\x1a\n"


def encode(*, model: str = GPT, messages: Any = "Hi", **options: Any) -> HTTPRequest:
    wire = encode_request(ChatRequest(messages, model, **options))
    assert complaints(wire.body, ResponseCreateParamsStreaming) == []
    return wire


def options(**given: Any) -> dict[str, Any]:
    """What *given* options add to the body."""
    body = encode(**given).body
    usual = {"model", "input", "stream", "store"}
    return {name: value for name, value in body.items() if name not in usual}


def sent(*messages: Any, model: str = GPT, **given: Any) -> list[dict[str, Any]]:
    """The input that *messages* become."""
    items: list[dict[str, Any]] = encode(messages=messages, model=model, **given).body[
        "input"
    ]
    return items


def test_the_smallest_request() -> None:
    """
    Nothing is sent that was not asked for, but for store, which is on by default.
    """
    wire = encode()
    assert wire == HTTPRequest("/responses", wire.body)
    assert wire.body == {
        "model": "gpt-4.1",
        "input": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "store": False,
    }


def test_the_checker_is_awake() -> None:
    """
    What the SDK does not have, or misses, is found.
    """
    body = encode(tools=[CLOCK]).body
    assert complaints({**body, "stop": ["a"]}, ResponseCreateParamsStreaming)
    assert complaints({**body, "input": [{}]}, ResponseCreateParamsStreaming)
    assert complaints({**body, "tools": [{}]}, ResponseCreateParamsStreaming)


@pytest.mark.parametrize(
    ("option", "value", "sent"),
    [
        ("max_tokens", 16, {"max_output_tokens": 16}),
        ("temperature", 0, {"temperature": 0}),
        ("top_p", 0.5, {"top_p": 0.5}),
        ("logprobs", True, {"include": ["message.output_text.logprobs"]}),
        ("logprobs", False, {}),
        ("top_logprobs", 0, {"top_logprobs": 0}),
        (
            "top_logprobs",
            2,
            {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
        ),
        ("verbosity", "low", {"text": {"verbosity": "low"}}),
        ("user", "u1", {"safety_identifier": "u1"}),
        ("service_tier", "flex", {"service_tier": "flex"}),
        ("metadata", {"a": "b"}, {"metadata": {"a": "b"}}),
        ("cache_key", "k", {"prompt_cache_key": "k"}),
        ("truncation", "auto", {"truncation": "auto"}),
        ("n", 1, {}),
        ("presence_penalty", 0, {}),
        ("include_reasoning", True, {}),
        ("response_format", "text", {}),
        ("parallel_tool_calls", False, {}),
        ("tool_choice", "none", {}),
        ("cache", CacheHint("long"), {}),
        ("reasoning_effort", "none", {}),
    ],
)
def test_each_option(option: str, value: Any, sent: dict[str, Any]) -> None:
    """
    Each option by itself; 0 and False are said, nothing is null.
    """
    assert options(**{option: value}) == sent
    assert encode(**{option: value}).warnings == ()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", 0),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("logit_bias", {"50256": -100}),
        ("top_k", 3),
        ("reasoning_budget", 100),
        ("reasoning_effort", "low"),
    ],
)
def test_sampling_that_it_does_not_have(option: str, value: Any) -> None:
    """
    Left out with a warning that names it, or refused if asked to.
    """
    # G5
    wire = encode(**{option: value})
    assert [option in warning for warning in wire.warnings] == [True]
    assert options(**{option: value}) == {}
    with pytest.raises(InvalidRequestError, match=option):
        encode(**{option: value}, on_unsupported="raise")
    assert encode(**{option: value}, on_unsupported="ignore").warnings == ()


def test_stop_sequences() -> None:
    """
    They decide what the answer is, so they are refused; the error says who has them.
    """
    # G5
    with pytest.raises(InvalidRequestError, match=r"stop.*openai-chat"):
        encode(stop="END")
    assert encode(stop="END", on_unsupported="warn").warnings
    assert "stop" not in options(stop="END", on_unsupported="ignore")


def test_too_few_tokens() -> None:
    """
    Less than 16 is refused by every model, so it is not sent.
    """
    # G4
    with pytest.raises(InvalidRequestError, match="max_tokens=15"):
        encode(max_tokens=15)


def test_store() -> None:
    """
    Only if somebody asks for it.
    """
    assert encode().body["store"] is False
    assert encode(store=True).body["store"] is True


# -- reasoning ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "effort", "thinks"),
    [
        ("gpt-6-sol", None, True),
        ("gpt-6-sol", "none", False),
        ("gpt-5.4", None, False),
        ("gpt-5.4", "low", True),
        ("gpt-5", None, True),
        ("gpt-4.1", None, False),
        ("my-own", None, False),
        ("my-own", "low", True),
        ("my-own", "none", False),
    ],
)
def test_thoughts_are_asked_for(model: str, effort: Any, thinks: bool) -> None:
    """
    Encrypted, where the model reasons and nobody keeps them.
    """
    wire = encode(model=f"openai:{model}", reasoning_effort=effort)
    expected = ["reasoning.encrypted_content"] if thinks else None
    assert wire.body.get("include") == expected
    wire = encode(model=f"openai:{model}", reasoning_effort=effort, store=True)
    assert "include" not in wire.body


def test_effort_and_summary() -> None:
    """
    Both stand in one object; the summary is shown if somebody asks for it.
    """
    given = options(model=THINKS, reasoning_effort="low", include_reasoning=True)
    assert given["reasoning"] == {"effort": "low", "summary": "auto"}
    assert options(model=THINKS, include_reasoning=False).keys() == {"include"}
    assert options(model="openai:my-own", include_reasoning=True)["reasoning"] == {
        "summary": "auto"
    }
    off = options(model=THINKS, reasoning_effort="none", include_reasoning=True)
    assert off["reasoning"] == {"effort": "none"}


@pytest.mark.parametrize(
    ("model", "asked", "level"),
    [
        ("gpt-6-sol", "minimal", "low"),
        ("gpt-5", "xhigh", "high"),
        ("gpt-5", "none", "minimal"),
        ("gpt-5-pro", "low", "high"),
    ],
)
def test_the_nearest_effort(model: str, asked: Any, level: str) -> None:
    """
    A level that the model does not have is rounded, and that is said.
    """
    # G5
    wire = encode(model=f"openai:{model}", reasoning_effort=asked)
    assert wire.body["reasoning"]["effort"] == level
    (warning,) = wire.warnings
    assert asked in warning
    assert level in warning
    with pytest.raises(InvalidRequestError, match=asked):
        encode(model=f"openai:{model}", reasoning_effort=asked, on_unsupported="raise")
    ignored = encode(
        model=f"openai:{model}", reasoning_effort=asked, on_unsupported="ignore"
    )
    assert ignored.warnings == ()


@pytest.mark.parametrize("option", ["temperature", "top_p", "top_logprobs", "logprobs"])
def test_sampling_while_it_reasons(option: str) -> None:
    """
    OpenAI refuses it, also where nobody has asked for reasoning.
    """
    # G5
    wire = encode(model=THINKS, **{option: 1})
    assert option not in wire.body
    assert wire.body["include"] == ["reasoning.encrypted_content"]
    (warning,) = wire.warnings
    assert f"{option}: not while it reasons" in warning
    without = encode(model=THINKS, reasoning_effort="none", **{option: 1})
    assert without.warnings == ()


def test_the_effort_of_provider_options_counts() -> None:
    """
    It has the last word, so it decides what else may be sent.
    """
    extras = {"openai": {"reasoning": {"effort": "none"}}}
    wire = encode(model=THINKS, temperature=1, provider_options=extras)
    assert wire.warnings == ()
    assert wire.body["temperature"] == 1


def test_a_model_that_nobody_knows() -> None:
    """
    Whatever was asked for is sent.
    """
    wire = encode(model="openai:my-own", reasoning_effort="max", temperature=1)
    assert wire.warnings == ()
    assert wire.body["reasoning"] == {"effort": "max"}
    assert wire.body["temperature"] == 1


# -- tools -------------------------------------------------------------------------------


def test_tools() -> None:
    """
    Flat, with properties in any case, and with a word on strictness in any case.
    """
    assert options(tools=[WEATHER, CLOCK])["tools"] == [
        {
            "type": "function",
            "name": "get_weather",
            "description": "Look outside.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
            },
            "strict": False,
        },
        {
            "type": "function",
            "name": "get_time",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
    ]


def test_a_strict_tool() -> None:
    """
    Its schema is made enforceable; the one that was given stays as it is.
    """
    given = {"type": "object", "properties": {"city": {"type": "string"}}}
    (tool,) = options(tools=[Tool("f", None, given, strict=True)])["tools"]
    assert tool["strict"] is True
    assert tool["parameters"] == {
        "type": "object",
        "properties": {"city": {"type": ["string", "null"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    assert given == {"type": "object", "properties": {"city": {"type": "string"}}}
    (tool,) = options(tools=[Tool("g", strict=True)])["tools"]
    assert tool["parameters"]["properties"] == {}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (
            ToolChoice("required", "get_time"),
            {"type": "function", "name": "get_time"},
        ),
        (
            ToolChoice("auto", "get_time"),
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "get_time"}],
            },
        ),
        (
            ToolChoice("required", ["get_time", "get_weather"]),
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [
                    {"type": "function", "name": "get_time"},
                    {"type": "function", "name": "get_weather"},
                ],
            },
        ),
    ],
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    """
    A mode, one function, or several of them.
    """
    body = options(tools=[WEATHER, CLOCK], tool_choice=choice)
    assert body["tool_choice"] == sent
    assert len(body["tools"]) == 2


def test_parallel_calls() -> None:
    """
    The switch goes with tools only, and not to models that refuse it.
    """
    assert (
        options(tools=[CLOCK], parallel_tool_calls=False)["parallel_tool_calls"]
        is False
    )
    wire = encode(model="openai:o3", tools=[CLOCK], parallel_tool_calls=True)
    assert "parallel_tool_calls" not in wire.body
    assert "parallel_tool_calls" in wire.warnings[0]


# -- form --------------------------------------------------------------------------------


def test_a_schema() -> None:
    """
    It stands in text.format, flat, beside the verbosity.
    """
    form = json_schema({"type": "object"}, name="n", description="d")
    assert options(response_format=form, verbosity="high")["text"] == {
        "verbosity": "high",
        "format": {
            "type": "json_schema",
            "name": "n",
            "description": "d",
            "schema": {"type": "object"},
        },
    }


def test_a_strict_schema() -> None:
    """
    Made enforceable only if somebody asks for it.
    """
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    form = options(response_format=json_schema(schema, strict=True))["text"]["format"]
    assert form["strict"] is True
    assert form["schema"]["required"] == ["n"]
    form = options(response_format=json_schema(schema, strict=False))["text"]["format"]
    assert form["strict"] is False
    assert form["schema"] == schema
    with pytest.raises(InvalidRequestError, match="response_format"):
        encode(response_format=json_schema({"type": "array"}, strict=True))


def test_any_json() -> None:
    """
    OpenAI wants the word in the input, where the instructions do not count: so the
    system message becomes a part of it, and without the word nothing is sent.
    """
    # G4
    messages = [system("Answer in JSON."), user("Hi")]
    body = encode(messages=messages, response_format="json").body
    assert body["text"] == {"format": {"type": "json_object"}}
    assert "instructions" not in body
    assert body["input"][0] == {"role": "system", "content": "Answer in JSON."}
    with pytest.raises(InvalidRequestError, match="word JSON"):
        encode(response_format="json")


# -- messages ----------------------------------------------------------------------------


def test_instructions() -> None:
    """
    The system messages at the start; later ones stay where they are.
    """
    messages = [system("One.", "Two."), system("Three."), user("Hi"), system("Four.")]
    body = encode(messages=messages).body
    assert body["instructions"] == "One.\nTwo.\n\nThree."
    assert body["input"] == [
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Four."},
    ]
    assert sent(user("Hi"), system("Four."), model=THINKS)[1]["role"] == "developer"


def test_what_a_user_may_send() -> None:
    """
    Text, pictures and documents, as bytes, by URL or by id.
    """
    (item,) = sent(
        user(
            "Look:",
            "",
            ImagePart(data=PNG),
            ImagePart(url="https://e.com/a.png", detail="low"),
            ImagePart(file_id="file-1"),
            DocumentPart(data=b"%PDF-1", name="a.pdf"),
            DocumentPart(data=b"%PDF-1"),
            DocumentPart(url="https://e.com/a.pdf"),
            DocumentPart(file_id="file-2"),
        )
    )
    pdf = "data:application/pdf;base64,JVBERi0x"
    assert item == {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look:"},
            {
                "type": "input_image",
                "detail": "auto",
                "image_url": "data:image/png;base64,iVBORw0KGgo=",
            },
            {
                "type": "input_image",
                "detail": "low",
                "image_url": "https://e.com/a.png",
            },
            {"type": "input_image", "detail": "auto", "file_id": "file-1"},
            {"type": "input_file", "filename": "a.pdf", "file_data": pdf},
            {"type": "input_file", "filename": "document.pdf", "file_data": pdf},
            {"type": "input_file", "file_url": "https://e.com/a.pdf"},
            {"type": "input_file", "file_id": "file-2"},
        ],
    }


def test_audio() -> None:
    """
    The models refuse it here; the error says where it works.
    """
    # G4, G5
    with pytest.raises(InvalidRequestError, match=r"audio.*openai-chat"):
        encode(messages=[user(AudioPart(data=b"RIFF", media_type="audio/wav"))])


def test_marks_for_the_cache() -> None:
    """
    On models that take them; a marked system message is no instruction, where no mark
    fits.
    """
    messages = [
        system(TextPart("Rules.", cache=CacheHint("long"))),
        user(TextPart("Hi", cache=CacheHint())),
    ]
    long = {"mode": "explicit", "ttl": "12h"}
    assert sent(*messages, model=THINKS) == [
        {
            "role": "developer",
            "content": [
                {
                    "type": "input_text",
                    "text": "Rules.",
                    "prompt_cache_breakpoint": long,
                }
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "input_text",
                    "text": "Hi",
                    "prompt_cache_breakpoint": {"mode": "explicit"},
                }
            ],
        },
    ]
    assert sent(*messages) == [{"role": "user", "content": "Hi"}]
    whole = options(model=THINKS, cache=CacheHint("short"))
    assert whole["prompt_cache_options"] == {"ttl": "30m"}
    assert "prompt_cache_options" not in options(model=THINKS, cache=CacheHint())


def test_what_the_assistant_said() -> None:
    """
    In its simplest form, where it is not from here.
    """
    assert sent(user("Hi"), assistant("Hello."), user("Go on.")) == [
        {"role": "user", "content": "Hi"},
        {"type": "message", "role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Go on."},
    ]


def test_calls_and_their_results() -> None:
    """
    Each kind has its own items; the words for a failure stand before its text.
    """
    calls = [
        ToolCallPart("call_1", "f", '{"a":1}'),
        ToolCallPart("call_2", "sql", "SELECT 1", kind="custom"),
        ToolCallPart("call_3", "", "no json"),
    ]
    assert sent(
        user("Hi"),
        assistant(*calls),
        tool_result("call_1", ["a", "b"]),
        tool_result(calls[1], "1"),
        tool_result(calls[2], "not json", is_error=True),
    )[1:] == [
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "f",
            "arguments": '{"a":1}',
        },
        {
            "type": "custom_tool_call",
            "call_id": "call_2",
            "name": "sql",
            "input": "SELECT 1",
        },
        {
            "type": "function_call",
            "call_id": "call_3",
            "name": "unknown",
            "arguments": "{}",
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "a\nb"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "1"},
        {
            "type": "function_call_output",
            "call_id": "call_3",
            "output": "ERROR: not json",
        },
    ]


def test_results_with_pictures() -> None:
    """
    Unlike Chat Completions it takes them as they are.
    """
    call = ToolCallPart("call_1", "f")
    picture = ImagePart(url="https://e.com/a.png")
    shown = {
        "type": "input_image",
        "detail": "auto",
        "image_url": "https://e.com/a.png",
    }
    talk = [user("Hi"), assistant(call)]
    *_, result = sent(*talk, tool_result(call, ["See:", picture]))
    assert result["output"] == [{"type": "input_text", "text": "See:"}, shown]
    *_, result = sent(*talk, tool_result(call, picture, is_error=True))
    assert result["output"] == [{"type": "input_text", "text": "ERROR: "}, shown]


def test_an_id_that_is_too_long() -> None:
    """
    Other providers' may be; call and result get the same stand-in.
    """
    call = ToolCallPart("x" * 65, "f")
    *_, asked, answered = sent(user("Hi"), assistant(call), tool_result(call, ""))
    assert asked["call_id"] == answered["call_id"]
    assert asked["call_id"].startswith("call_")
    assert len(asked["call_id"]) <= 64


def test_the_name_of_a_message() -> None:
    """
    There is no place for it.
    """
    # G5
    assert "name of a message" in encode(messages=[user("Hi", name="Ann")]).warnings[0]


def test_prefill() -> None:
    """
    It cannot be made to continue a message.
    """
    # G5
    messages = [user("Hi"), assistant("Well,")]
    with pytest.raises(InvalidRequestError, match="prefill"):
        encode(messages=messages, prefill=True)


# -- provider_options --------------------------------------------------------------------


def test_provider_options_have_the_last_word() -> None:
    """
    Tools and inclusions are added, objects are merged, everything else replaces ours.
    """
    extras = {
        "openai": {
            "tools": [{"type": "web_search"}],
            "include": ["web_search_call.results", "reasoning.encrypted_content"],
            "reasoning": {"summary": "detailed"},
            "previous_response_id": "resp_0",
            "service_tier": "flex",
        }
    }
    body = encode(
        model=THINKS,
        tools=[CLOCK],
        reasoning_effort="low",
        service_tier="auto",
        provider_options=extras,
    ).body
    assert [tool["type"] for tool in body["tools"]] == ["function", "web_search"]
    assert body["include"] == ["reasoning.encrypted_content", "web_search_call.results"]
    assert body["reasoning"] == {"effort": "low", "summary": "detailed"}
    assert body["previous_response_id"] == "resp_0"
    assert body["service_tier"] == "flex"


def test_only_tools_of_the_providers_own() -> None:
    """
    A choice makes sense for them as well.
    """
    extras = {"openai": {"tools": [{"type": "web_search"}]}}
    body = encode(tool_choice="auto", provider_options=extras).body
    assert body["tools"] == [{"type": "web_search"}]
    assert body["tool_choice"] == "auto"


def test_background() -> None:
    """
    What is stored by way of provider_options counts as stored.
    """
    extras = {"openai": {"background": True, "store": True, "reasoning": "odd"}}
    request = ChatRequest("Hi", THINKS, provider_options=extras)
    body = encode_request(request).body
    assert body["store"] is True
    assert "include" not in body


def test_another_server_of_this_dialect() -> None:
    """
    It has the options of the dialect, and its own over them.
    """
    extras = {"openai": {"a": 1, "b": 1}, "mine": {"b": 2}}
    request = ChatRequest("Hi", "mine:gpt-6-sol", top_k=1, provider_options=extras)
    wire = encode_request(request, provider="mine", title="My server")
    assert (wire.body["a"], wire.body["b"]) == (1, 2)
    assert "My server's gpt-6-sol" in wire.warnings[0]
