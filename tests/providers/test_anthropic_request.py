"""Requests in Anthropic's words: `aichat.providers._anthropic_request` and its parts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from aichat.errors import InvalidRequestError
from aichat.providers._anthropic_models import claude
from aichat.providers._anthropic_schema import enforceable
from aichat.providers.anthropic import encode_request
from aichat.transport import HTTPRequest
from aichat.types import (
    AudioPart,
    CacheHint,
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    ProviderState,
    RefusalPart,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    assistant,
    json_schema,
    system,
    tool_result,
    user,
)

from .anthropic_sdk import complaints

NEW = "claude-opus-5-5"
OLD = "claude-sonnet-4-5"
PNG = b"\x89PNG\r\n\x1a\n...."
WEATHER = Tool(
    "get_weather", "Looks outside.", {"properties": {"city": {"type": "string"}}}
)
CLOCK = Tool("now")
SEARCHED = OpaquePart(
    "web_search_tool_result",
    ProviderState(
        "anthropic",
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    ),
)


def encoded(
    messages: str | Message | Sequence[Message] = "Hi",
    model: str = OLD,
    **options: Any,
) -> HTTPRequest:
    """The request, whose every field the SDK has a place for."""
    wire = encode_request(ChatRequest(messages, f"anthropic:{model}", **options))
    assert complaints(wire.body) == []
    return wire


def body(*args: Any, **options: Any) -> dict[str, Any]:
    """The body of a request that nothing is wrong with."""
    wire = encoded(*args, **options)
    assert wire.warnings == ()
    result: dict[str, Any] = wire.body
    return result


def sent(*messages: Message, **options: Any) -> list[Any]:
    """The messages as they go over the wire."""
    wire: list[Any] = encoded(messages, **options).body["messages"]
    return wire


def blocks(*parts: Any) -> Any:
    """The content of a user message."""
    [message] = sent(user(*parts))
    return message["content"]


# -- the whole of it -----------------------------------------------------------------


def test_only_what_was_asked_for() -> None:
    """An option that nobody set is not sent, but for the one that is required."""
    wire = encoded("Hi", NEW)
    assert (wire.method, wire.path, wire.headers) == ("POST", "/v1/messages", {})
    assert wire.body == {
        "model": NEW,
        "max_tokens": 128_000,
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
    }


def test_everything_at_once() -> None:
    """Each option has its place."""
    assert body(
        [system("Be terse."), user("Hi")],
        "claude-opus-4-6",
        max_tokens=500,
        top_k=10,
        temperature=0.5,
        stop=["END", "STOP"],
        tools=[WEATHER],
        tool_choice="auto",
        parallel_tool_calls=False,
        response_format={"type": "object", "properties": {"a": {"type": "string"}}},
        user="u-1",
        service_tier="standard_only",
        cache=CacheHint("long"),
        cache_key="best effort",
        store=False,
        truncation="disabled",
        logprobs=False,
        presence_penalty=0,
    ) == {
        "model": "claude-opus-4-6",
        "max_tokens": 500,
        "stream": True,
        "system": "Be terse.",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_k": 10,
        "stop_sequences": ["END", "STOP"],
        "tools": [
            {
                "name": "get_weather",
                "description": "Looks outside.",
                "input_schema": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                },
            }
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "output_config": {
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {"a": {"type": "string"}},
                    "additionalProperties": False,
                },
            }
        },
        "metadata": {"user_id": "u-1"},
        "service_tier": "standard_only",
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }


def test_options_of_its_own_go_over_the_rest() -> None:
    """They are merged one level deep, tools are added, betas become a header."""
    search = {"type": "web_search_20260318", "name": "web_search"}
    wire = encoded(
        tools=[CLOCK],
        user="u-1",
        response_format={"type": "string"},
        provider_options={
            "anthropic": {
                "betas": ["one-2026-01-01", "two-2026-02-02"],
                "tools": [search],
                "output_config": {"effort": "low"},
                "inference_geo": "us",
                "max_tokens": 7,
            },
            "openai": {"max_tokens": 9},
        },
    )
    assert wire.headers == {"anthropic-beta": "one-2026-01-01,two-2026-02-02"}
    assert wire.body["tools"][1] == search
    assert wire.body["output_config"] == {
        "format": {"type": "json_schema", "schema": {"type": "string"}},
        "effort": "low",
    }
    assert wire.body["inference_geo"] == "us"
    assert wire.body["max_tokens"] == 7


def test_one_beta_is_enough() -> None:
    """A text is one name."""
    wire = encoded(provider_options={"anthropic": {"betas": "one-2026-01-01"}})
    assert wire.headers == {"anthropic-beta": "one-2026-01-01"}


def test_tools_of_the_provider_take_a_choice_as_well() -> None:
    """A tool_choice without any tool is refused; theirs are tools, too."""
    search = {"type": "web_search_20260318", "name": "web_search"}
    options: dict[str, Any] = {"tool_choice": "none"}
    assert "tool_choice" not in body(**options)
    options["provider_options"] = {"anthropic": {"tools": [search]}}
    assert body(**options)["tool_choice"] == {"type": "none"}


# -- messages ------------------------------------------------------------------------


def test_system_messages_at_the_start() -> None:
    """They are one text apart from the conversation; blank ones are nothing."""
    assert body([system("A", "B"), system(" "), system("C"), user("Hi")])["system"] == (
        "A\n\nB\n\nC"
    )
    assert "system" not in body([system("\n"), user("Hi")])


def test_system_messages_to_be_cached() -> None:
    """A mark needs blocks."""
    cached = TextPart("B", cache=CacheHint())
    assert body([system("A", cached), user("Hi")])["system"] == [
        {"type": "text", "text": "A"},
        {"type": "text", "text": "B", "cache_control": {"type": "ephemeral"}},
    ]


_LATER = [user("Hi"), system("Be kind."), assistant("Yes?"), user("So?")]


def test_later_system_messages_where_they_are_known() -> None:
    """Newer models take them in their place."""
    assert [m["role"] for m in body(_LATER, NEW)["messages"]] == [
        "user",
        "system",
        "assistant",
        "user",
    ]


@pytest.mark.parametrize(
    ("messages", "native"),
    [
        ([user("Hi"), system("A"), system("B")], True),
        ([user("Hi"), assistant("A", SEARCHED), system("B")], True),
        ([user("Hi"), assistant("A"), system("B"), user("C")], False),
        ([user("Hi"), assistant("A"), system("B")], False),
        ([user("Hi"), system("B"), user("C")], False),
        ([user(" "), system("A"), user("Hi")], False),
    ],
)
def test_where_later_system_messages_may_stand(
    messages: list[Message], native: bool
) -> None:
    """After the user or a tool's result and before the assistant; else they are reworded."""
    wire = encoded(messages, NEW)
    roles = {m["role"] for m in wire.body["messages"]}
    assert ("system" in roles) is native
    assert bool(wire.warnings) is not native


def test_later_system_messages_elsewhere() -> None:
    """They are said by the user, in tags, and the warning says so once."""
    wire = encoded([*_LATER, system("Be brief."), assistant("?"), user("!")], OLD)
    assert wire.body["messages"][0]["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "text", "text": "<system>\nBe kind.\n</system>"},
    ]
    [warning] = wire.warnings
    assert "<system>" in warning


def test_turns_alternate() -> None:
    """Neighbours of one role are one turn; blank text is left out."""
    assert sent(
        user("a"),
        user("b", " "),
        assistant("c"),
        assistant("\n"),
        assistant("d"),
        user("e"),
    ) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}],
        },
        {"role": "user", "content": "e"},
    ]


def test_results_are_one_user_message_and_come_first() -> None:
    """All results of a turn stand together, before what the user adds."""
    messages = sent(
        user("Hi"),
        assistant(
            ToolCallPart("a", "f"), ToolCallPart("b", "f"), ToolCallPart("c", "f")
        ),
        tool_result("a", "one"),
        tool_result("b", "no", is_error=True),
        tool_result("c", ["see", ImagePart(data=PNG), ""]),
        user("And?"),
    )
    assert messages[2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "one"},
            {
                "type": "tool_result",
                "tool_use_id": "b",
                "content": "no",
                "is_error": True,
            },
            {
                "type": "tool_result",
                "tool_use_id": "c",
                "content": [
                    {"type": "text", "text": "see"},
                    {
                        "type": "image",
                        "source": {
                            "type": "base64",
                            "media_type": "image/png",
                            "data": base64.b64encode(PNG).decode(),
                        },
                    },
                ],
            },
            {"type": "text", "text": "And?"},
        ],
    }


def test_a_result_without_content() -> None:
    """It has no content at all: an empty one would be refused."""
    messages = sent(user("Hi"), assistant(ToolCallPart("a", "f")), tool_result("a", ""))
    assert messages[2]["content"] == [{"type": "tool_result", "tool_use_id": "a"}]


def test_ids_of_other_providers_are_rewritten() -> None:
    """Calls and results still belong together, also where an id is used twice."""
    messages = sent(
        user("Hi"),
        assistant(
            ToolCallPart("call|1.x", "f"),
            ToolCallPart("call_1_x", "f"),
            ToolCallPart("", "f"),
        ),
        tool_result("", "c"),
        tool_result("call_1_x", "b"),
        tool_result("call|1.x", "a"),
        assistant(ToolCallPart("call_1_x", "f")),
        tool_result("call_1_x", "d"),
    )
    calls = [b["id"] for m in (messages[1], messages[3]) for b in m["content"]]
    results = {
        b["content"]: b["tool_use_id"] for n in (2, 4) for b in messages[n]["content"]
    }
    assert calls == ["call_1_x", "call_1_x_2", "call", "call_1_x_3"]
    assert results == {"a": calls[0], "b": calls[1], "c": calls[2], "d": calls[3]}


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (ToolCallPart("a", "f", '{"n": 1}'), {"n": 1}),
        (ToolCallPart("a", "f", ""), {}),
        (ToolCallPart("a", "f", '{"n": 1'), {"INVALID_JSON": '{"n": 1'}),
        (ToolCallPart("a", "f", "[1]"), {"INVALID_JSON": "[1]"}),
        (ToolCallPart("a", "f", "say hello", kind="custom"), {"input": "say hello"}),
    ],
)
def test_arguments_are_an_object(call: ToolCallPart, value: dict[str, Any]) -> None:
    """What is none is wrapped, in the way that Anthropic advises."""
    messages = sent(user("Hi"), assistant(call), tool_result(call, "x"))
    assert messages[1]["content"][0]["input"] == value


def test_a_call_without_a_name() -> None:
    """There is nothing that it could be called."""
    with pytest.raises(InvalidRequestError, match="without a name"):
        encoded([user("Hi"), assistant(ToolCallPart("a", "")), tool_result("a", "x")])


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([assistant("Hi"), user("Hi")], "begins with the assistant"),
        ([user(" ")], "nothing but empty text"),
        ([user("Hi"), assistant("Yes?"), user(" ")], "follows the assistant"),
    ],
)
def test_conversations_that_anthropic_refuses(
    messages: list[Message], words: str
) -> None:
    """They are refused before they are sent (G4)."""
    with pytest.raises(InvalidRequestError, match=words):
        encoded(messages)


def test_names_of_participants_are_not_sent() -> None:
    """The warning says so (G5)."""
    wire = encoded([user("Hi", name="ann"), assistant("?"), user("Ho", name="bob")])
    [warning] = wire.warnings
    assert "names of participants" in warning


# -- prefill -------------------------------------------------------------------------

_PREFILL = [user("Count."), assistant("One, ")]


def test_prefill_where_it_is_known() -> None:
    """Older models continue it; it must not end in white space."""
    wire = encoded(_PREFILL, OLD, prefill=True)
    assert wire.body["messages"][-1] == {"role": "assistant", "content": "One,"}
    assert len(wire.warnings) == 1
    assert body([user("Count."), assistant("One")], OLD, prefill=True)


def test_prefill_where_it_is_gone() -> None:
    """Since 4.6 it is refused, or left out if that is wished for (G5)."""
    with pytest.raises(InvalidRequestError, match=r"prefill.*4\.6"):
        encoded(_PREFILL, "claude-sonnet-4-6", prefill=True)
    wire = encoded(_PREFILL, "claude-sonnet-4-6", prefill=True, on_unsupported="warn")
    assert wire.body["messages"] == [{"role": "user", "content": "Count."}]
    assert len(wire.warnings) == 1


def test_prefill_does_not_go_with_thinking_or_a_format() -> None:
    """Anthropic refuses both."""
    with pytest.raises(InvalidRequestError, match="prefill and thinking"):
        encoded(_PREFILL, OLD, prefill=True, reasoning_effort="low")
    with pytest.raises(InvalidRequestError, match="prefill and a response_format"):
        encoded(_PREFILL, OLD, prefill=True, response_format={"type": "string"})


@pytest.mark.parametrize("model", [OLD, NEW])
def test_a_pause_is_no_prefill(model: str) -> None:
    """What the provider paused in, it goes on with, thinking or not."""
    wire = encoded(
        [user("Hi"), assistant("Look: ", SEARCHED)],
        model,
        prefill=True,
        reasoning_effort="low",
    )
    assert wire.body["messages"][-1]["content"][0]["text"] == "Look: "


# -- parts ---------------------------------------------------------------------------


def test_pictures() -> None:
    """Bytes, a URL, a file, or bytes in a URL."""
    data = base64.b64encode(PNG).decode()
    inline = {"type": "base64", "media_type": "image/png", "data": data}
    assert blocks(
        ImagePart(data=PNG, media_type="image/jpeg"),
        ImagePart(url="https://example.com/a.png", detail="auto"),
        ImagePart(file_id="file_1"),
        ImagePart(url=f"data:image/jpeg;base64,{data}"),
        ImagePart(data=b"????", media_type="image/webp"),
    ) == [
        # The bytes know better than whoever declared them.
        {"type": "image", "source": inline},
        {
            "type": "image",
            "source": {"type": "url", "url": "https://example.com/a.png"},
        },
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image", "source": inline},
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": "image/webp",
                "data": "Pz8/Pw==",
            },
        },
    ]


def test_documents() -> None:
    """PDF as it is, text as text."""
    assert blocks(
        DocumentPart(data=b"%PDF-1.7", name="a.pdf"),
        DocumentPart(data="Grüße".encode(), media_type="text/markdown"),
        DocumentPart(url="https://example.com/a.pdf"),
        DocumentPart(file_id="file_1"),
    ) == [
        {
            "type": "document",
            "source": {
                "type": "base64",
                "media_type": "application/pdf",
                "data": "JVBERi0xLjc=",
            },
            "title": "a.pdf",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"},
        },
        {
            "type": "document",
            "source": {"type": "url", "url": "https://example.com/a.pdf"},
        },
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    ]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (AudioPart(data=b"ID3"), "audio"),
        (ImagePart(data=b"....", media_type="image/heic"), "image/heic"),
        (DocumentPart(data=b"PK", media_type="application/zip"), "application/zip"),
    ],
)
def test_parts_that_no_claude_takes(part: Any, words: str) -> None:
    """They are refused before they are sent, or left out with a warning (G4, G5)."""
    with pytest.raises(InvalidRequestError, match=words):
        encoded(user("Look:", part))
    wire = encoded(user("Look:", part), on_unsupported="warn")
    assert wire.body["messages"] == [{"role": "user", "content": "Look:"}]
    assert len(wire.warnings) == 1


def test_bytes_of_an_unknown_kind() -> None:
    """Somebody has to say what they are."""
    with pytest.raises(InvalidRequestError, match="media_type"):
        encoded(user(ImagePart(data=b"????")))


def test_a_text_in_another_encoding() -> None:
    """Guessing would change its words."""
    latin = DocumentPart(data="Grüße".encode("latin-1"), media_type="text/plain")
    with pytest.raises(InvalidRequestError, match="UTF-8"):
        encoded(user(latin))


def test_a_data_url_that_holds_none() -> None:
    """It is refused before it is sent."""
    with pytest.raises(InvalidRequestError, match="base64"):
        encoded(user(ImagePart(url="data:image/png;base64,a")))


def test_how_closely_to_look_is_not_known() -> None:
    """The picture is sent, the detail is not (G5)."""
    wire = encoded(user(ImagePart(file_id="file_1", detail="low")))
    assert len(wire.warnings) == 1


def test_what_another_model_made() -> None:
    """Words of an assistant are text, whoever said them; its pictures have no place."""
    spoken = AudioPart(data=b"ID3", transcript="Hello.")
    wire = encoded([
        user("Hi"),
        assistant(spoken, RefusalPart("I won't.")),
        user("Why?"),
    ])
    assert wire.body["messages"][1]["content"] == [
        {"type": "text", "text": "Hello."},
        {"type": "text", "text": "I won't."},
    ]
    assert len(wire.warnings) == 1
    with pytest.raises(InvalidRequestError, match="assistant message"):
        encoded([user("Hi"), assistant(ImagePart(data=PNG)), user("Why?")])


# -- caching -------------------------------------------------------------------------


def test_marks_for_the_cache() -> None:
    """They stand on tools, system, parts and results, as long as they are wished for."""
    wire = body(
        [
            user(TextPart("a", cache=CacheHint("short"))),
            assistant(ToolCallPart("c", "now")),
            Message(Role.TOOL, ToolResultPart("c", "x", cache=CacheHint("long"))),
        ],
        tools=[evolve(CLOCK, cache=CacheHint())],
    )
    assert wire["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert wire["messages"][0]["content"][0]["cache_control"] == {
        "type": "ephemeral",
        "ttl": "5m",
    }
    assert wire["messages"][2]["content"][0]["cache_control"] == {
        "type": "ephemeral",
        "ttl": "1h",
    }


@pytest.mark.parametrize(("cache", "kept"), [(None, 4), (CacheHint(), 3)])
def test_no_more_marks_than_allowed(cache: CacheHint | None, kept: int) -> None:
    """The last ones stay; the one that Anthropic places counts (``cache=``)."""
    parts = [TextPart(str(n), cache=CacheHint()) for n in range(4)]
    messages = [system(TextPart("S", cache=CacheHint())), user(*parts)]
    wire = encoded(messages, tools=[evolve(CLOCK, cache=CacheHint())], cache=cache)
    marked = [
        *wire.body["tools"],
        *wire.body["system"],
        *wire.body["messages"][0]["content"],
    ]
    assert ["cache_control" in block for block in marked] == [
        False,
        False,
        *[n >= 4 - kept for n in range(4)],
    ]
    assert len(wire.warnings) == 1


# -- sampling ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "kept"),
    [
        (OLD, {"temperature": 0, "top_k": 3}, {"temperature": 0, "top_k": 3}),
        (OLD, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}),
        (OLD, {"top_p": 0.9}, {"top_p": 0.9}),
        ("claude-3-7-sonnet-latest", {"temperature": 0.5, "top_p": 0.9}, None),
        ("kimi-k3", {"temperature": 1.5, "top_p": 0.9}, None),
        (OLD, {"temperature": 0.5, "reasoning_effort": "low"}, {}),
        (OLD, {"top_k": 5, "reasoning_effort": "low"}, {}),
        (OLD, {"top_p": 0.5, "reasoning_effort": "low"}, {}),
        (OLD, {"top_p": 0.97, "reasoning_effort": "low"}, {"top_p": 0.97}),
        (NEW, {"temperature": 0}, {}),
        (NEW, {"top_p": 0.5}, {}),
        (NEW, {"top_k": 5}, {}),
        ("claude-opus-4-7", {"temperature": 0.3}, {}),
    ],
)
def test_what_can_be_said_about_drawing(
    model: str, options: dict[str, Any], kept: dict[str, Any] | None
) -> None:
    """What a model does not take is left out, and the warning says so (G5)."""
    wire = encoded(model=model, **options)
    sampling = {"temperature", "top_p", "top_k"}
    asked = {name: value for name, value in options.items() if name in sampling}
    kept = asked if kept is None else kept
    assert {n: wire.body[n] for n in sampling & wire.body.keys()} == kept
    assert len(wire.warnings) == len(asked) - len(kept)


@pytest.mark.parametrize("model", [OLD, NEW])
def test_sampling_as_it_is_anyway(model: str) -> None:
    """1 is what there is without it: not worth a warning."""
    assert (
        not {"temperature", "top_p"} & body(model=model, temperature=1, top_p=1).keys()
    )


def test_a_temperature_above_one() -> None:
    """It has a meaning elsewhere, and none here: clamping would invent one (G4)."""
    with pytest.raises(InvalidRequestError, match="0 to 1"):
        encoded(temperature=1.5)


def test_sampling_may_be_insisted_on() -> None:
    """``on_unsupported="raise"`` turns a warning into an error (G5)."""
    with pytest.raises(InvalidRequestError, match="temperature"):
        encoded(model=NEW, temperature=0.2, on_unsupported="raise")


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 0},
        {"presence_penalty": 0.5},
        {"frequency_penalty": 0.5},
        {"logit_bias": {"1": 2}},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"verbosity": "low"},
        {"metadata": {"job": "1"}},
        {"store": True},
        {"truncation": "auto"},
        {"service_tier": "flex"},
        {"stop": ["\n\n"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_anthropic_does_not_have(options: dict[str, Any]) -> None:
    """Each is left out with a warning, and with an error if that is wished for (G5)."""
    wire = encoded(**options)
    assert wire.body == encoded().body
    [warning] = wire.warnings
    assert next(iter(options)) in warning
    with pytest.raises(InvalidRequestError, match=next(iter(options))):
        encoded(**options, on_unsupported="raise")


def test_stop_texts_that_can_be_sent_are() -> None:
    """One that is refused does not take the others with it."""
    assert encoded(stop=["END", "\n"]).body["stop_sequences"] == ["END"]


# -- thinking ------------------------------------------------------------------------

_ADAPTIVE = {"type": "adaptive"}
_LEAST = {"output_config": {"effort": "low"}}


def _effort(level: str, thinking: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"thinking": thinking or _ADAPTIVE, "output_config": {"effort": level}}


def _budget(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


@pytest.mark.parametrize(
    ("model", "options", "expected", "warnings"),
    [
        # adaptive models
        (NEW, {"reasoning_effort": "minimal"}, _effort("low"), 0),
        (NEW, {"reasoning_effort": "xhigh"}, _effort("xhigh"), 0),
        (NEW, {"reasoning_effort": "max"}, _effort("max"), 0),
        ("claude-opus-4-7", {"reasoning_effort": "medium"}, _effort("medium"), 0),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"}, _effort("max"), 0),
        (NEW, {"reasoning_budget": 5000}, {"thinking": _ADAPTIVE}, 1),
        ("claude-opus-4-6", {"reasoning_budget": 5000}, _budget(5000), 0),
        (
            "claude-opus-4-6",
            {"reasoning_budget": 5000, "reasoning_effort": "high"},
            _effort("high", _budget(5000)["thinking"]),
            0,
        ),
        ("claude-unheard-of-9", {"reasoning_effort": "max"}, _effort("max"), 0),
        # models with a budget
        (OLD, {"reasoning_effort": "minimal"}, _budget(1024), 0),
        (OLD, {"reasoning_effort": "medium"}, _budget(10_000), 0),
        (OLD, {"reasoning_effort": "max"}, _budget(32_768), 0),
        (OLD, {"reasoning_effort": "max", "reasoning_budget": 2000}, _budget(2000), 0),
        (OLD, {"reasoning_effort": "high", "max_tokens": 4096}, _budget(3072), 0),
        (OLD, {"reasoning_effort": "high", "max_tokens": 1500}, _budget(1024), 0),
        (OLD, {"reasoning_budget": 9000, "max_tokens": 4096}, _budget(4095), 1),
        (OLD, {"reasoning_budget": 2000, "max_tokens": 4096}, _budget(2000), 0),
        (
            "claude-opus-4-5",
            {"reasoning_effort": "max"},
            _effort("high", _budget(32_768)["thinking"]),
            0,
        ),
        ("deepseek-v5", {"reasoning_effort": "low"}, _budget(2048), 0),
        # models without
        ("claude-3-5-haiku-latest", {"reasoning_effort": "low"}, {}, 1),
        ("claude-3-5-haiku-latest", {"reasoning_budget": 2000}, {}, 1),
        ("claude-3-5-haiku-latest", {"include_reasoning": True}, {}, 1),
        ("claude-3-5-haiku-latest", {"include_reasoning": False}, {}, 0),
        # not at all
        (NEW, {"reasoning_effort": "none"}, _LEAST, 1),
        (NEW, {"reasoning_budget": 0}, _LEAST, 1),
        (
            "claude-opus-5",
            {"reasoning_effort": "none"},
            {"thinking": {"type": "disabled"}},
            0,
        ),
        (
            "claude-sonnet-5-5",
            {"reasoning_effort": "none"},
            {"thinking": {"type": "between_tools"}},
            1,
        ),
        ("claude-opus-4-8", {"reasoning_effort": "none"}, {}, 0),
        (OLD, {"reasoning_effort": "none", "temperature": 0.5}, {}, 0),
        ("claude-3-haiku-20240307", {"reasoning_effort": "none"}, {}, 0),
        # shown or not
        (
            NEW,
            {"include_reasoning": True},
            {"thinking": {**_ADAPTIVE, "display": "summarized"}},
            0,
        ),
        (NEW, {"include_reasoning": False}, {}, 0),
        (
            NEW,
            {"include_reasoning": True, "reasoning_effort": "high"},
            _effort("high", {**_ADAPTIVE, "display": "summarized"}),
            0,
        ),
        ("claude-opus-4-8", {"include_reasoning": True}, {}, 1),
        (OLD, {"include_reasoning": True, "reasoning_effort": "low"}, _budget(2048), 0),
        (
            OLD,
            {"include_reasoning": False, "reasoning_effort": "low"},
            {"thinking": {**_budget(2048)["thinking"], "display": "omitted"}},
            0,
        ),
    ],
)
def test_how_hard_to_think(
    model: str, options: dict[str, Any], expected: dict[str, Any], warnings: int
) -> None:
    """Each generation is asked in its own way."""
    wire = encoded(model=model, **options)
    fields = {"thinking", "output_config"}
    assert {n: wire.body[n] for n in fields & wire.body.keys()} == expected
    assert len(wire.warnings) == warnings


def test_a_budget_makes_room_for_itself() -> None:
    """If nobody says how long the answer may be, it may be longer."""
    assert encoded(model="claude-sonnet-4", reasoning_budget=40_000).body[
        "max_tokens"
    ] == (41_024)
    assert encoded(model=OLD, reasoning_budget=40_000).body["max_tokens"] == 64_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reasoning_budget": 500}, "1024 or more"),
        ({"reasoning_effort": "low", "max_tokens": 1024}, "no room to think"),
        ({"reasoning_effort": "none", "reasoning_budget": 2000}, "contradict"),
        ({"reasoning_effort": "high", "reasoning_budget": 0}, "contradict"),
    ],
)
def test_thinking_that_cannot_be(options: dict[str, Any], words: str) -> None:
    """It is refused before it is sent (G4)."""
    with pytest.raises(InvalidRequestError, match=words):
        encoded(model=OLD, **options)


# -- tools ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"parallel_tool_calls": True}, None),
        (
            {"parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": ToolChoice("required", "now")},
            {"type": "tool", "name": "now"},
        ),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        (
            {"tool_choice": ToolChoice("required", ["now", "get_weather"])},
            {"type": "any"},
        ),
    ],
)
def test_tool_choice(options: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """Whether tools may, must or must not be called, and how many at once."""
    wire = body(tools=[WEATHER, CLOCK], **options)
    assert wire.get("tool_choice") == expected
    assert [tool["name"] for tool in wire["tools"]] == ["get_weather", "now"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto", "now"), {"type": "auto"}),
        (ToolChoice("required", ["now", "get_weather"]), {"type": "any"}),
    ],
)
def test_some_of_the_tools(choice: ToolChoice, expected: dict[str, Any]) -> None:
    """Only those are sent that may be called, which costs the cache: a warning says so."""
    wire = encoded(tools=[WEATHER, CLOCK, Tool("other")], tool_choice=choice)
    assert wire.body["tool_choice"] == expected
    assert {tool["name"] for tool in wire.body["tools"]} == set(choice.names)
    assert len(wire.warnings) == 1


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (NEW, {}),
        ("claude-fable-5-2", {}),
        (OLD, {"reasoning_effort": "low"}),
        ("claude-opus-4-6", {"reasoning_budget": 2000}),
    ],
)
def test_calls_that_cannot_be_forced(model: str, options: dict[str, Any]) -> None:
    """It is part of the meaning: an error, unless a warning will do (G5)."""
    options = {"tools": [CLOCK], "tool_choice": "required", **options}
    with pytest.raises(InvalidRequestError, match="tool_choice"):
        encoded(model=model, **options)
    wire = encoded(model=model, **options, on_unsupported="warn")
    assert "tool_choice" not in wire.body
    assert len(wire.warnings) == 1


def test_adaptive_thinking_does_not_hinder_a_forced_call() -> None:
    """Only a budget does, and the newest models."""
    options = {"tools": [CLOCK], "tool_choice": "required", "reasoning_effort": "low"}
    assert body(model="claude-opus-4-6", **options)["tool_choice"] == {"type": "any"}


def test_strict_tools() -> None:
    """Their schema is closed; older models do without (G5)."""
    strict = evolve(WEATHER, strict=True)
    [tool] = body(model=NEW, tools=[strict])["tools"]
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False
    wire = encoded(model="claude-sonnet-4-20250514", tools=[strict])
    assert wire.body["tools"][0]["input_schema"] == {
        "type": "object",
        **WEATHER.parameters,
    }
    assert len(wire.warnings) == 1


# -- structured output ---------------------------------------------------------------


def test_json_without_a_schema() -> None:
    """There is no such mode, and nothing is put into the prompt behind anybody's back."""
    with pytest.raises(InvalidRequestError, match="JSON"):
        encoded(response_format="json")
    wire = encoded(response_format="json", on_unsupported="warn")
    assert "output_config" not in wire.body
    assert "output_config" not in body(response_format="text")


def test_a_schema_for_a_model_that_is_too_old() -> None:
    """It is part of the meaning (G5)."""
    with pytest.raises(InvalidRequestError, match="older"):
        encoded(model="claude-sonnet-4", response_format={"type": "string"})
    wire = encoded(
        model="claude-sonnet-4",
        response_format={"type": "string"},
        on_unsupported="warn",
    )
    assert "output_config" not in wire.body


def test_the_description_of_a_format() -> None:
    """It goes into the schema, unless the schema has one."""
    form = json_schema({"type": "string"}, description="A word.")
    schema = {"type": "string", "description": "A word."}
    assert body(response_format=form)["output_config"]["format"]["schema"] == schema
    own = json_schema({"type": "string", "description": "Mine."}, description="A word.")
    [*_, described] = body(response_format=own)["output_config"]["format"][
        "schema"
    ].items()
    assert described == ("description", "Mine.")


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (
            {
                "type": "string",
                "format": "color",
                "maxLength": 5,
                "description": "A hue.",
            },
            {"type": "string", "description": 'A hue. (format: "color", maxLength: 5)'},
        ),
        (
            {
                "type": "array",
                "items": {"type": "integer", "minimum": 1},
                "minItems": 1,
            },
            {
                "type": "array",
                "items": {"type": "integer", "description": "(minimum: 1)"},
                "minItems": 1,
            },
        ),
        (
            {"type": "array", "minItems": 2, "uniqueItems": True},
            {"type": "array", "description": "(minItems: 2, uniqueItems: true)"},
        ),
        ({"pattern": "^a+$"}, {"pattern": "^a+$"}),
        ({"pattern": "(?!a)b"}, {"description": '(pattern: "(?!a)b")'}),
        (
            {
                "$defs": {"minimum": {"properties": {"maximum": {"type": "number"}}}},
                "anyOf": [{"$ref": "#/$defs/minimum"}, True],
            },
            {
                "$defs": {
                    "minimum": {
                        "properties": {"maximum": {"type": "number"}},
                        "additionalProperties": False,
                    }
                },
                "anyOf": [{"$ref": "#/$defs/minimum"}, True],
            },
        ),
        (
            {
                "type": ["object", "null"],
                "properties": {},
                "additionalProperties": True,
            },
            {
                "type": ["object", "null"],
                "properties": {},
                "additionalProperties": False,
            },
        ),
        ({"enum": ["a", None], "default": "a"}, {"enum": ["a", None], "default": "a"}),
    ],
)
def test_schemas_that_are_enforced(
    schema: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Objects are closed; what cannot be enforced is put into words."""
    before = repr(schema)
    assert enforceable(schema, where="it") == expected
    assert repr(schema) == before


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "additionalProperties": True},
        {"type": "object"},
    ],
)
def test_objects_with_free_keys(schema: dict[str, Any]) -> None:
    """Closing them would change what they mean: the error says which one it is (G4)."""
    whole = {"type": "object", "properties": {"scores": schema}}
    with pytest.raises(
        InvalidRequestError, match=r"response_format\.properties\.scores"
    ):
        encoded(response_format=whole)


# -- models --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-opus-4@20250514", "claude-opus-4"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-4-opus-20250514", "claude-opus-4"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("claude-opus-6", "claude-unheard-of"),
        ("claude-opus-5-20260801", "claude-opus-5"),
        ("claude-2.1", "claude-3-opus-20240229"),
        ("kimi-k3", "deepseek-v5"),
    ],
)
def test_names_that_platforms_give(name: str, like: str) -> None:
    """Dates, prefixes and dots do not matter."""
    assert claude(name) == claude(like)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("claude-fable-5-2", 128_000),
        ("claude-opus-4-6", 128_000),
        ("claude-haiku-4-5", 64_000),
        ("claude-sonnet-4-20250514", 32_000),
        ("claude-3-5-haiku-latest", 8_192),
        ("claude-3-opus-20240229", 4_096),
        ("kimi-k3", 8_192),
    ],
)
def test_how_long_an_answer_may_be(name: str, most: int) -> None:
    """The field is required, and its default comes from a table."""
    assert encoded(model=name).body["max_tokens"] == most
    assert encoded(model=name, max_tokens=5).body["max_tokens"] == 5
