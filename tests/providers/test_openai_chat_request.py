"""`ChatRequest` to Chat Completions: `aichat.providers._openai_chat_request`."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.errors import InvalidRequestError
from aichat.providers import ProviderSpec
from aichat.providers.compatible import SPECS
from aichat.providers.openai_chat import SPEC, Quirks, chat_spec
from aichat.transport import HTTPRequest
from aichat.types import (
    AudioPart,
    CacheHint,
    ChatRequest,
    DocumentPart,
    ImagePart,
    Tool,
    ToolChoice,
    assistant,
    json_schema,
    system,
    user,
)

from .openai_sdk import complaints

WEATHER = Tool(
    "get_weather",
    "Look outside.",
    {"type": "object", "properties": {"city": {"type": "string"}}},
)
CLOCK = Tool("get_time")
GPT = "openai-chat:gpt-4.1"


def encode(
    *, spec: ProviderSpec = SPEC, model: str = GPT, messages: Any = "Hi", **options: Any
) -> HTTPRequest:
    wire = spec.encode_request(ChatRequest(messages, model, **options))
    if spec is SPEC:
        assert complaints(wire.body) == []
    return wire


def options(**given: Any) -> dict[str, Any]:
    """What *given* options add to the body."""
    body = encode(**given).body
    usual = {"model", "messages", "stream", "stream_options"}
    return {name: value for name, value in body.items() if name not in usual}


def plain(**quirks: Any) -> ProviderSpec:
    """A server with these quirks."""
    return chat_spec(name="other", title="Other", quirks=Quirks(**quirks))


def test_the_smallest_request() -> None:
    """
    Nothing is sent that was not asked for, and no key can be in it.
    """
    wire = encode()
    assert wire == HTTPRequest("/chat/completions", wire.body)
    assert wire.body == {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_the_checker_is_awake() -> None:
    """
    What the SDK does not have, or misses, is found.
    """
    body = encode(tools=[CLOCK]).body
    assert len(complaints({**body, "top_k": 1, "seed": 0.5})) == 2
    messages = [{"role": "user", "content": [{"type": "text", "txt": "a"}]}]
    assert complaints({**body, "messages": messages})
    assert complaints({**body, "tools": [{"type": "function"}]})
    assert complaints({"messages": []})


@pytest.mark.parametrize(
    ("option", "value", "sent"),
    [
        ("max_tokens", 5, {"max_completion_tokens": 5}),
        ("temperature", 0, {"temperature": 0}),
        ("top_p", 0.5, {"top_p": 0.5}),
        ("stop", ["a", "b"], {"stop": ["a", "b"]}),
        ("seed", 0, {"seed": 0}),
        ("presence_penalty", 0.5, {"presence_penalty": 0.5}),
        ("frequency_penalty", -0.5, {"frequency_penalty": -0.5}),
        ("logit_bias", {"50256": -100}, {"logit_bias": {"50256": -100}}),
        ("logprobs", True, {"logprobs": True}),
        ("top_logprobs", 0, {"top_logprobs": 0}),
        ("verbosity", "low", {"verbosity": "low"}),
        ("user", "u1", {"safety_identifier": "u1"}),
        ("service_tier", "flex", {"service_tier": "flex"}),
        ("store", False, {"store": False}),
        ("cache_key", "k", {"prompt_cache_key": "k"}),
        ("n", 1, {}),
        ("truncation", "disabled", {}),
        ("include_reasoning", False, {}),
        ("response_format", "text", {}),
        ("parallel_tool_calls", False, {}),
        ("tool_choice", "none", {}),
        ("cache", CacheHint("long"), {}),
    ],
)
def test_each_option(option: str, value: Any, sent: dict[str, Any]) -> None:
    """
    Each option in OpenAI's form, by itself; 0 and False are said, nothing is null.
    """
    assert options(**{option: value}) == sent
    assert encode(**{option: value}).warnings == ()


def test_all_at_once() -> None:
    """
    A request with nearly everything fits the SDK's own types.
    """
    encode(
        messages=[
            system("Be brief."),
            user("What is it?", ImagePart(data=b"\x89PNG\r\n\x1a\n", detail="low")),
            assistant("A cat."),
            user(
                AudioPart(data=b"RIFF\0\0\0\0WAVE"),
                DocumentPart(data=b"%PDF-", name="a.pdf"),
                DocumentPart(file_id="file-1"),
                name="Ann",
            ),
        ],
        tools=[WEATHER, CLOCK],
        tool_choice=ToolChoice("auto", ["get_time", "get_weather"]),
        parallel_tool_calls=False,
        response_format=json_schema(
            {"type": "object", "properties": {}}, description="d", strict=True
        ),
        temperature=1,
        max_tokens=10,
        stop="x",
        seed=1,
        logprobs=True,
        store=True,
        metadata={"a": "b"},
        user="u",
    )


# -- what cannot be sent -----------------------------------------------------------------


@pytest.mark.parametrize(
    "option", [{"top_k": 3}, {"reasoning_budget": 9}, {"include_reasoning": True}]
)
def test_sampling_options_that_openai_has_not(option: dict[str, Any]) -> None:
    """
    By default they are left out with a warning that names them.
    """
    # G5
    wire = encode(**option)
    assert options(**option) == {}
    (warning,) = wire.warnings
    assert next(iter(option)) in warning
    assert encode(**option, on_unsupported="ignore").warnings == ()
    with pytest.raises(InvalidRequestError, match=next(iter(option))):
        encode(**option, on_unsupported="raise")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"truncation": "auto"}, "truncation"),
        ({"stop": list("abcde")}, "5 stop sequences"),
        ({"messages": [user("a"), assistant("b")], "prefill": True}, "prefill"),
        ({"messages": user(ImagePart(file_id="f"))}, "file_id"),
        ({"messages": user(AudioPart(url="https://x.example/"))}, "audio"),
        ({"messages": user(AudioPart(data=b"?", media_type="audio/flac"))}, "flac"),
        ({"messages": user(DocumentPart(url="https://x.example/"))}, "URL"),
    ],
)
def test_what_changes_the_meaning(option: dict[str, Any], words: str) -> None:
    """
    It is refused before anything is sent, unless the caller says otherwise.
    """
    # G4, G5
    with pytest.raises(InvalidRequestError, match=words):
        encode(**option)
    assert words in encode(**option, on_unsupported="warn").warnings[0]


def test_metadata_without_store() -> None:
    """
    OpenAI keeps it with a stored answer, and only there.
    """
    assert options(metadata={"a": "b"}, store=True)["metadata"] == {"a": "b"}
    wire = encode(metadata={"a": "b"})
    assert "metadata" not in wire.body
    assert "store=True" in wire.warnings[0]


def test_bytes_of_an_unknown_kind() -> None:
    """
    A guess would be refused by the server in stranger words.
    """
    with pytest.raises(InvalidRequestError, match="media_type"):
        encode(messages=user(ImagePart(data=b"???")))


# -- OpenAI's models ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "option", "sent"),
    [
        # Always, if asked, unless told, never.
        ("gpt-5-mini", {"temperature": 1}, {}),
        ("gpt-5.1", {"temperature": 1}, {"temperature": 1}),
        ("gpt-5.5", {"temperature": 1}, {}),
        ("gpt-4o", {"temperature": 1}, {"temperature": 1}),
        ("o3", {"logprobs": True}, {}),
        ("gpt-5-chat-latest", {"top_p": 1}, {"top_p": 1}),
        ("gpt-9", {"temperature": 1}, {"temperature": 1}),
        ("o1", {"stop": "x"}, {"stop": ["x"]}),
    ],
)
def test_sampling_while_reasoning(
    model: str, option: dict[str, Any], sent: dict[str, Any]
) -> None:
    """
    A model that reasons, by itself or because it was asked to, takes no sampling options.
    """
    # G5
    wire = encode(model=f"openai-chat:{model}", **option)
    assert options(model=f"openai-chat:{model}", **option) == sent
    assert len(wire.warnings) == (0 if sent else 1)


def test_effort_decides() -> None:
    """
    With reasoning off, sampling is legal; with it on, it is not.
    """
    off: dict[str, Any] = {"reasoning_effort": "none", "temperature": 1}
    assert options(model="openai-chat:gpt-5.5", **off) == off
    on: dict[str, Any] = {"reasoning_effort": "low", "temperature": 1}
    wire = encode(model="openai-chat:gpt-5.1", **on)
    assert "temperature" not in wire.body
    assert "while it reasons" in wire.warnings[0]


def test_stop_while_reasoning() -> None:
    """
    Where an answer ends is meaning: no silent change.
    """
    with pytest.raises(InvalidRequestError, match="stop"):
        encode(model="openai-chat:o4-mini", stop="x")
    assert "stop" not in options(
        model="openai-chat:o4-mini", stop="x", on_unsupported="ignore"
    )


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-5", "minimal", "minimal"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5", "none", "minimal"),
        ("gpt-5", "xhigh", "high"),
        ("gpt-5.2", "max", "xhigh"),
        ("gpt-5.6-sol", "max", "max"),
        ("gpt-6-astra", "none", "low"),
        ("o3", "max", "high"),
        ("gpt-5-pro", "low", "high"),
        ("gpt-5.5-pro-2026-05-01", "low", "medium"),
        ("gpt-9", "minimal", "minimal"),
    ],
)
def test_the_nearest_effort(model: str, asked: str, sent: str) -> None:
    """
    A level that a model does not know becomes the next lower one, or the lowest, and the
    response says so.
    """
    # G5
    asked_for: dict[str, Any] = {
        "model": f"openai-chat:{model}",
        "reasoning_effort": asked,
    }
    wire = encode(**asked_for)
    assert wire.body["reasoning_effort"] == sent
    assert (f"'{sent}'" in "".join(wire.warnings)) is (asked != sent)
    if asked != sent:
        assert encode(**asked_for, on_unsupported="ignore").warnings == ()
        with pytest.raises(InvalidRequestError, match="reasoning_effort"):
            encode(**asked_for, on_unsupported="raise")


def test_effort_for_a_model_that_cannot_reason() -> None:
    """
    It need not be told not to, and cannot be told to.
    """
    assert encode(reasoning_effort="none").warnings == ()
    assert options(reasoning_effort="none") == {}
    assert "reasoning_effort" in encode(reasoning_effort="high").warnings[0]


@pytest.mark.parametrize(
    "model", ["gpt-5.5", "gpt-5.6-terra", "gpt-6-sol", "gpt-6.1-sol"]
)
def test_tools_while_reasoning(model: str) -> None:
    """
    These models refuse functions while they reason over Chat Completions; we say what
    to do about it before anything is sent.
    """
    # G4
    with pytest.raises(InvalidRequestError, match="Responses API") as caught:
        encode(model=f"openai-chat:{model}", tools=[WEATHER])
    can_stop = model != "gpt-6.1-sol"
    assert ("reasoning_effort='none'" in str(caught.value)) is can_stop
    if can_stop:
        encode(model=f"openai-chat:{model}", tools=[WEATHER], reasoning_effort="none")


def test_tools_with_a_model_that_reasons_if_asked() -> None:
    """
    gpt-5.4 is told not to, since the sources disagree what silence means.
    """
    model = "openai-chat:gpt-5.4-mini"
    assert options(model=model, tools=[CLOCK])["reasoning_effort"] == "none"
    assert "reasoning_effort" not in options(model=model)
    with pytest.raises(InvalidRequestError, match="while it reasons"):
        encode(model=model, tools=[CLOCK], reasoning_effort="low")
    # Older ones can do both.
    encode(model="openai-chat:gpt-5.2", tools=[CLOCK], reasoning_effort="low")


def test_an_effort_among_the_extras_counts() -> None:
    """
    Whoever writes the wire form by hand is understood.
    """
    extras = {"openai-chat": {"reasoning_effort": "none"}}
    given: dict[str, Any] = {"tools": [CLOCK], "temperature": 1}
    sent = options(model="openai-chat:gpt-5.5", provider_options=extras, **given)
    assert sent["reasoning_effort"] == "none"
    assert sent["temperature"] == 1


def test_a_switch_that_old_reasoning_models_lack() -> None:
    """
    o3 has no parallel_tool_calls.
    """
    wire = encode(model="openai-chat:o3", tools=[CLOCK], parallel_tool_calls=False)
    assert "parallel_tool_calls" not in wire.body
    assert "parallel_tool_calls" in wire.warnings[0]


# -- tools -------------------------------------------------------------------------------


def test_tools() -> None:
    """
    A schema always has properties; strict is sent if somebody asks for it.
    """
    strict = Tool("f", None, {"type": "object"}, strict=True)
    assert options(tools=[WEATHER, strict])["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "Look outside.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                },
            },
        },
        {
            "type": "function",
            "function": {
                "name": "f",
                "parameters": {
                    "type": "object",
                    "properties": {},
                    "required": [],
                    "additionalProperties": False,
                },
                "strict": True,
            },
        },
    ]


def test_strict_schemas_follow_openais_rules_there_and_only_there() -> None:
    """
    Every object closed, every property required; other servers get what was given.
    """
    given = {"type": "object", "properties": {"n": {"type": "integer", "minLength": 1}}}
    tool = Tool("f", None, given, strict=True)
    form = json_schema(given, strict=True)
    body = encode(tools=[tool], response_format=form).body
    sent = body["tools"][0]["function"]["parameters"]
    assert sent["required"] == ["n"]
    assert sent["additionalProperties"] is False
    assert sent["properties"]["n"]["type"] == ["integer", "null"]
    assert body["response_format"]["json_schema"]["schema"] == sent
    elsewhere = encode(spec=plain(), tools=[tool], response_format=form).body
    assert elsewhere["tools"][0]["function"]["parameters"] == given
    assert elsewhere["response_format"]["json_schema"]["schema"] == given
    words = {"type": "object", "additionalProperties": {"type": "string"}}
    free = Tool("g", None, {"type": "object", "properties": {"m": words}}, strict=True)
    with pytest.raises(InvalidRequestError, match="the tool g"):
        encode(tools=[free])


NAMED = {"type": "function", "function": {"name": "get_time"}}
BOTH = [WEATHER, CLOCK]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (ToolChoice("required", "get_time"), NAMED),
        (
            ToolChoice("auto", "get_time"),
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [NAMED]},
            },
        ),
    ],
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    """
    Every choice has a form at OpenAI.
    """
    body = options(tools=BOTH, tool_choice=choice)
    assert body["tool_choice"] == sent
    assert len(body["tools"]) == 2


@pytest.mark.parametrize(
    ("quirks", "choice", "sent", "offered"),
    [
        ({"required": "any"}, "required", "any", 2),
        ({}, ToolChoice("required", "get_time"), NAMED, 2),
        ({"required": None}, ToolChoice("required", "get_time"), NAMED, 2),
        (
            {"named_choice": False, "required": "any"},
            ToolChoice("required", "get_time"),
            "any",
            1,
        ),
        ({}, ToolChoice("auto", "get_time"), "auto", 1),
        ({}, ToolChoice("required", ["get_time", "get_weather"]), "required", 2),
    ],
)
def test_tool_choice_elsewhere(
    quirks: dict[str, Any], choice: Any, sent: Any, offered: int
) -> None:
    """
    Where a choice has no form, only the chosen tools are offered.
    """
    body = options(spec=plain(**quirks), tools=BOTH, tool_choice=choice)
    assert body["tool_choice"] == sent
    assert len(body["tools"]) == offered


def test_a_tool_that_cannot_be_required() -> None:
    """
    Some vendors have no such choice.
    """
    spec = plain(required=None)
    with pytest.raises(InvalidRequestError, match="required"):
        encode(spec=spec, tools=BOTH, tool_choice="required")
    body = options(
        spec=spec, tools=BOTH, tool_choice="required", on_unsupported="ignore"
    )
    assert "tool_choice" not in body


def test_no_tools_at_all() -> None:
    """
    A vendor without tools refuses them.
    """
    with pytest.raises(InvalidRequestError, match="tools"):
        encode(spec=plain(tools=False), tools=BOTH)
    sent = options(spec=plain(tools=False), tools=BOTH, on_unsupported="warn")
    assert sent == {}


def test_strict_elsewhere() -> None:
    """
    Servers that do not know the word may refuse it.
    """
    wire = encode(spec=plain(strict_tools=False), tools=[Tool("f", strict=True)])
    assert "strict" not in wire.body["tools"][0]["function"]
    assert "strict" in wire.warnings[0]


def test_parallel_tool_calls() -> None:
    """
    The switch is legal only beside tools.
    """
    assert options(tools=BOTH, parallel_tool_calls=True)["parallel_tool_calls"] is True


# -- form --------------------------------------------------------------------------------


def test_json() -> None:
    """
    OpenAI wants to hear the word; who knows only schemas gets one.
    """
    form = {"type": "json_object"}
    asked = options(messages="As JSON, please.", response_format="json")
    assert asked == {"response_format": form}
    with pytest.raises(InvalidRequestError, match="word JSON"):
        encode(response_format="json")
    assert options(spec=plain(), response_format="json") == {"response_format": form}
    only_schemas = options(spec=plain(json_object=False), response_format="json")
    assert only_schemas["response_format"]["json_schema"] == {
        "name": "response",
        "schema": {"type": "object"},
    }


def test_json_schema() -> None:
    """
    Schema, name, description and strictness; nothing that was not said.
    """
    schema = {"type": "object", "properties": {}}
    form = json_schema(schema, name="answer", description="The answer.", strict=True)
    assert options(response_format=form)["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "schema": {**schema, "required": [], "additionalProperties": False},
            "description": "The answer.",
            "strict": True,
        },
    }
    with pytest.raises(InvalidRequestError, match="JSON Schema"):
        encode(spec=plain(json_schema=False), response_format=form)
    assert not options(
        spec=plain(json_schema=False), response_format=form, on_unsupported="ignore"
    )


# -- reasoning, elsewhere ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "given", "sent"),
    [
        ("reasoning_effort", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ("reasoning", {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ("reasoning", {"reasoning_budget": 9}, {"reasoning": {"max_tokens": 9}}),
        (
            "reasoning",
            {"reasoning_budget": 9, "reasoning_effort": "low"},
            {"reasoning": {"max_tokens": 9}},
        ),
        (
            "reasoning.enabled",
            {"reasoning_effort": "none"},
            {"reasoning": {"enabled": False}},
        ),
        ("thinking", {"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}),
        ("thinking", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        (
            "enable_thinking",
            {"reasoning_effort": "low", "reasoning_budget": 9},
            {"enable_thinking": True, "thinking_budget": 9},
        ),
        ("enable_thinking", {"reasoning_effort": "none"}, {"enable_thinking": False}),
        (None, {"reasoning_effort": "low"}, {}),
    ],
)
def test_ways_to_ask_for_reasoning(
    style: Any, given: dict[str, Any], sent: dict[str, Any]
) -> None:
    """
    Everybody has a switch of their own.
    """
    assert options(spec=plain(reasoning=style), **given) == sent


def test_levels_of_a_switch() -> None:
    """
    Where there is only on and off, a level is said to have been rounded.
    """
    wire = encode(spec=SPECS["deepseek"], reasoning_effort="high")
    assert wire.body["thinking"] == {"type": "enabled"}
    assert "'medium'" in wire.warnings[0]


@pytest.mark.parametrize(
    ("shows", "wanted", "sent", "warned"),
    [
        ("always", True, {}, False),
        ("always", False, {}, True),
        ("never", True, {}, True),
        ("include_reasoning", False, {"include_reasoning": False}, False),
        ("exclude", True, {"reasoning": {"exclude": False}}, False),
    ],
)
def test_ways_to_show_it(
    shows: Any, wanted: bool, sent: dict[str, Any], warned: bool
) -> None:
    """
    Showing what was thought is a wish that not everybody can grant.
    """
    spec = plain(shows_reasoning=shows)
    wire = encode(spec=spec, include_reasoning=wanted)
    assert options(spec=spec, include_reasoning=wanted) == sent
    assert bool(wire.warnings) is warned


def test_how_much_and_whether_to_show_it() -> None:
    """
    At OpenRouter both stand in one object.
    """
    body = options(
        spec=SPECS["openrouter"], reasoning_effort="low", include_reasoning=False
    )
    assert body == {"reasoning": {"effort": "low", "exclude": True}}


# -- extras and the rest -----------------------------------------------------------------


def test_extras_have_the_last_word() -> None:
    """
    They replace what we made, are added to our tools, and reach only their own provider.
    """
    search = {"type": "web_search"}
    body = encode(
        spec=SPECS["groq"],
        temperature=1,
        tools=[CLOCK],
        provider_options={
            "openai-chat": {"temperature": 0.5, "seed": 1},
            "groq": {"temperature": 0.7, "tools": [search], "x": None},
            "mistral": {"safe_prompt": True},
        },
    ).body
    assert body["temperature"] == 0.7
    assert body["seed"] == 1
    assert body["tools"][1:] == [search]
    assert body["x"] is None
    assert "safe_prompt" not in body


def test_extras_of_stream_options() -> None:
    """
    A further option must not switch usage off.
    """
    extras = {"stream_options": {"include_obfuscation": False}}
    body = encode(provider_options={"openai-chat": extras}).body
    assert body["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }


def test_extras_under_the_name_that_was_asked_for() -> None:
    """
    Another spec of the dialect has extras of its own, and those of the dialect.
    """
    given = {"acme": {"x": 1}, "openai-chat": {"y": 2}, "other": {"z": 3}}
    spec = chat_spec(name="acme", title="Acme")
    body = encode(spec=spec, provider_options=given).body
    assert (body["x"], body["y"]) == (1, 2)
    assert "z" not in body


def test_other_names_of_options() -> None:
    """
    Limits, seeds and users have other names elsewhere.
    """
    given = {"max_tokens": 5, "seed": 3, "user": "u"}
    sent = options(spec=plain(seed="random_seed"), **given)
    assert sent == {"max_tokens": 5, "random_seed": 3, "user": "u"}


def test_options_that_a_vendor_refuses() -> None:
    """
    Each is left out with a warning; an end that is not met is more than that.
    """
    spec = plain(refuses="user seed temperature parallel_tool_calls metadata")
    given: dict[str, Any] = {
        "user": "u",
        "seed": 1,
        "temperature": 1,
        "metadata": {"a": 1},
    }
    wire = encode(spec=spec, tools=[CLOCK], parallel_tool_calls=True, **given)
    names = (*given, "parallel_tool_calls")
    assert not wire.body.keys() & names
    for name in names:
        assert any(name in warning for warning in wire.warnings)
    with pytest.raises(InvalidRequestError, match="stop"):
        encode(spec=plain(refuses="stop"), stop="x")
    sent = options(spec=plain(refuses="stop"), stop="x", on_unsupported="ignore")
    assert sent == {}


def test_not_storing_where_nothing_is_stored() -> None:
    """
    It need not be said, and no warning is due.
    """
    spec = plain(refuses="store")
    assert encode(spec=spec, store=False).warnings == ()
    assert options(spec=spec, store=False) == {}
    assert encode(spec=spec, store=True).warnings != ()


def test_no_stream_options() -> None:
    """
    Where usage comes by itself, the option may be unknown.
    """
    assert "stream_options" not in encode(spec=plain(stream_options=False)).body
