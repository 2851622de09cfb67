"""Requests in Ollama's words: `aichat.providers._ollama_request` and its parts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from aichat.errors import InvalidRequestError
from aichat.providers._ollama_schema import without_references
from aichat.providers.ollama import encode_request
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
    ReasoningPart,
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

from .ollama_sdk import complaints

MODEL = "qwen3:8b"
PNG = b"\x89PNG\r\n\x1a\n...."
PNG_TEXT = base64.b64encode(PNG).decode()
WEATHER = Tool(
    "get_weather", "Looks outside.", {"properties": {"city": {"type": "string"}}}
)
CLOCK = Tool("now")


def encoded(
    messages: str | Message | Sequence[Message] = "Hi",
    model: str = MODEL,
    **options: Any,
) -> HTTPRequest:
    """The request, whose every field the SDK or the server has a place for."""
    wire = encode_request(ChatRequest(messages, f"ollama:{model}", **options))
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
    wire: list[Any] = body(messages, **options)["messages"]
    return wire


# -- the whole of it -----------------------------------------------------------------


def test_only_what_was_asked_for() -> None:
    """An option that nobody set is not sent; that it shall stream is always said."""
    wire = encoded()
    assert (wire.method, wire.path, wire.headers) == ("POST", "/api/chat", {})
    assert wire.body == {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
    }


def test_everything_at_once() -> None:
    """Each option has its place, and what is 0 or false is sent too."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    wire = encoded(
        [system("Be terse."), user("Hi")],
        max_tokens=500,
        temperature=0,
        top_p=0.5,
        top_k=10,
        seed=0,
        stop="END",
        presence_penalty=0.0,
        frequency_penalty=-1,
        logprobs=True,
        top_logprobs=0,
        tools=[WEATHER],
        tool_choice="auto",
        parallel_tool_calls=True,
        response_format=schema,
        reasoning_effort="high",
        truncation="disabled",
        cache=CacheHint("long"),
        cache_key="best effort",
        store=False,
        service_tier="auto",
    )
    (warning,) = wire.warnings
    assert "most models then call no tools" in warning
    assert wire.body == {
        "model": MODEL,
        "stream": True,
        "messages": [
            {"role": "system", "content": "Be terse."},
            {"role": "user", "content": "Hi"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "Looks outside.",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                    },
                },
            }
        ],
        "format": schema,
        "think": True,
        "options": {
            "num_predict": 500,
            "temperature": 0,
            "top_p": 0.5,
            "top_k": 10,
            "seed": 0,
            "stop": ["END"],
            "presence_penalty": 0.0,
            "frequency_penalty": -1,
        },
        "truncate": False,
        "logprobs": True,
        "top_logprobs": 0,
    }


def test_a_model_has_to_be_named() -> None:
    """Else the server would say it after a round trip."""
    with pytest.raises(InvalidRequestError, match="ollama list"):
        encode_request(ChatRequest("Hi", "ollama:"))


def test_top_logprobs_ask_for_logprobs() -> None:
    """The server wants both said."""
    assert body(top_logprobs=3)["logprobs"] is True
    assert "logprobs" not in body(logprobs=False)


@pytest.mark.parametrize(
    ("truncation", "wire"), [("auto", True), ("disabled", False), (None, None)]
)
def test_what_does_not_fit(truncation: Any, wire: bool | None) -> None:
    """The server drops the oldest messages silently, unless it is told not to."""
    assert body(truncation=truncation).get("truncate") is wire


# -- extras --------------------------------------------------------------------------


def extras(**ollama: Any) -> dict[str, Any]:
    """The body of a request with options and tools of both kinds."""
    return body(
        temperature=0.5,
        tools=[CLOCK],
        max_tokens=5,
        provider_options={"ollama": ollama},
    )


def test_extras_go_over_the_rest() -> None:
    """Options are merged, wherever they stand; what stands among them is stronger."""
    wire = extras(
        keep_alive="10m",
        think="max",
        num_ctx=8192,
        min_p=0.1,
        options={"temperature": 1, "num_ctx": 16384, "num_predict": None},
    )
    assert (wire["keep_alive"], wire["think"]) == ("10m", "max")
    assert wire["options"] == {"temperature": 1, "num_ctx": 16384, "min_p": 0.1}


def test_extras_add_tools_and_take_fields_out() -> None:
    """``None`` is nothing that the server understands."""
    more = {"type": "function", "function": {"name": "more", "parameters": {}}}
    names = [t["function"]["name"] for t in extras(tools=[more])["tools"]]
    assert names == ["now", "more"]
    assert body(provider_options={"ollama": {"tools": [more]}})["tools"] == [more]
    assert "tools" not in extras(tools=None)
    assert "options" not in extras(temperature=None, num_predict=None)


def test_options_that_are_none() -> None:
    """One clear error before anything is sent."""
    with pytest.raises(InvalidRequestError, match="no mapping"):
        extras(options=[1])


def test_other_providers_extras_stay_theirs() -> None:
    """A request still works when fallback sends it here."""
    assert "betas" not in body(provider_options={"anthropic": {"betas": ["x"]}})


# -- messages ------------------------------------------------------------------------


def test_texts_become_one() -> None:
    """A prompt's pieces are apart, an answer's belong together."""
    assert sent(
        system("A", "B"),
        user("C", "", "D"),
        assistant("E", "F", RefusalPart("G")),
        system("H"),
        user("I"),
    ) == [
        {"role": "system", "content": "A\nB"},
        {"role": "user", "content": "C\nD"},
        {"role": "assistant", "content": "EFG"},
        {"role": "system", "content": "H"},
        {"role": "user", "content": "I"},
    ]


def test_pictures_are_bare_base64() -> None:
    """Bytes and data: URLs, in order, beside the text."""
    data_url = f"data:image/png;base64,{PNG_TEXT}"
    image = ImagePart(data=PNG, detail="auto")
    [message] = sent(user("What is", image, "this?", ImagePart(url=data_url)))
    assert message == {
        "role": "user",
        "content": "What is\nthis?",
        "images": [PNG_TEXT, PNG_TEXT],
    }


def test_a_picture_of_the_models_own_goes_back() -> None:
    """Any message may have some."""
    picture = assistant(ImagePart(data=PNG))
    assert sent(user("Draw"), picture, user("More"))[1] == {
        "role": "assistant",
        "content": "",
        "images": [PNG_TEXT],
    }


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (ImagePart(url="https://example.com/cat.png"), "images by URL.*pass the bytes"),
        (ImagePart(file_id="file-1"), "images by file_id"),
        (AudioPart(data=b"ID3"), "audio"),
        (DocumentPart(data=b"%PDF-"), "documents.*pass the text"),
    ],
)
def test_media_that_it_does_not_take(part: Any, message: str) -> None:
    """An error by default, and never dropped without a word (G5)."""
    asked = user("What?", part)
    with pytest.raises(InvalidRequestError, match=message):
        encoded(asked)
    wire = encoded(asked, on_unsupported="warn")
    assert wire.body["messages"] == [{"role": "user", "content": "What?"}]
    assert len(wire.warnings) == 1
    assert encoded(asked, on_unsupported="ignore").warnings == ()


def test_a_picture_that_is_none() -> None:
    """The data: URL says base64 and holds something else."""
    with pytest.raises(InvalidRequestError, match="no valid base64"):
        encoded(user("Hm", ImagePart(url="data:image/png;base64,?")))


def test_how_closely_to_look_is_not_up_to_us() -> None:
    """It is a hint, so a warning is enough."""
    wire = encoded(user("Hm", ImagePart(data=PNG, detail="high")))
    assert "detail of an image" in wire.warnings[0]


def test_what_was_spoken_goes_back_as_words() -> None:
    """Another model may have said it."""
    spoken = assistant(AudioPart(data=b"ID3", transcript="Hello"))
    wire = encoded([user("Say hello"), spoken, user("Again")])
    assert wire.body["messages"][1] == {"role": "assistant", "content": "Hello"}
    assert wire.warnings == ("Of what was spoken, the words were sent.",)


def test_names_of_participants() -> None:
    """There is no field for them."""
    wire = encoded(user("Hi", name="ada"))
    assert "names of participants" in wire.warnings[0]


def test_a_message_to_be_continued() -> None:
    """It goes as it is: many templates continue it."""
    assert sent(user("Count"), assistant("1, 2,"), prefill=True)[-1] == {
        "role": "assistant",
        "content": "1, 2,",
    }


# -- tool calls and their results ----------------------------------------------------

CALL = ToolCallPart("call_1", "get_weather", '{"city": "Zürich"}')


def test_a_tool_loop() -> None:
    """Calls are objects; results say name and id; thoughts go back with them."""
    now = ToolCallPart("call_2", "now", "")
    said = assistant(ReasoningPart("Hm."), "Wait.", CALL, now)
    results = Message(
        Role.TOOL,
        [ToolResultPart("call_2", "12:00"), ToolResultPart("call_1", "rain")],
    )
    failed = Message(Role.TOOL, ToolResultPart("call_1", "no such city", is_error=True))
    assert sent(user("Weather?"), said, results)[1:] == [
        {
            "role": "assistant",
            "content": "Wait.",
            "thinking": "Hm.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "function": {
                        "index": 0,
                        "name": "get_weather",
                        "arguments": {"city": "Zürich"},
                    },
                },
                {
                    "id": "call_2",
                    "function": {"index": 1, "name": "now", "arguments": {}},
                },
            ],
        },
        {"role": "tool", "tool_name": "now", "tool_call_id": "call_2", "content": "12:00"},
        {
            "role": "tool",
            "tool_name": "get_weather",
            "tool_call_id": "call_1",
            "content": "rain",
        },
    ]  # fmt: skip
    assert sent(user("?"), assistant(CALL), failed)[2]["content"] == (
        "ERROR: no such city"
    )


def test_a_result_may_know_its_name() -> None:
    """Then it need not be looked up."""
    loop = [user("?"), assistant(CALL), tool_result(CALL, ["a", "b"])]
    assert sent(*loop)[2]["tool_name"] == "get_weather"
    assert sent(*loop)[2]["content"] == "a\nb"


def test_thoughts_are_forgotten_when_the_user_speaks() -> None:
    """They serve the calls that came of them; and those of others are theirs (S9)."""
    theirs = ReasoningPart("Signed.", provider_state=ProviderState("anthropic", {}))
    trace = OpaquePart("web_search", ProviderState("anthropic", {}))
    old = assistant(ReasoningPart("Hm."), "A")
    new = assistant(theirs, trace, CALL)
    messages = sent(user("?"), old, user("?"), new, tool_result(CALL, "rain"))
    assert not any("thinking" in message for message in messages)
    assert "Signed" not in str(messages)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (ToolCallPart("c", "f", "{oops"), {"INVALID_JSON": "{oops"}),
        (ToolCallPart("c", "f", "[1]"), {"INVALID_JSON": "[1]"}),
        (ToolCallPart("c", "sql", "SELECT 1", kind="custom"), {"input": "SELECT 1"}),
        (ToolCallPart("c", "f", f'{{"n": {2**70}}}'), {"n": 2**70}),
    ],
)
def test_arguments_are_an_object(call: ToolCallPart, arguments: Any) -> None:
    """A text is refused there, and nothing is repaired."""
    message = sent(user("?"), assistant(call), tool_result(call, "ok"))[1]
    assert message["tool_calls"][0]["function"]["arguments"] == arguments


def test_a_call_without_a_name_cannot_be_sent() -> None:
    """It came broken from somewhere."""
    call = ToolCallPart("c", "", "{}")
    with pytest.raises(InvalidRequestError, match="without a name"):
        encoded([user("?"), assistant(call), tool_result(call, "ok")])


def test_pictures_in_results_are_shown_by_the_user() -> None:
    """After all the results, in the order in which they came."""
    one, two = ToolCallPart("1", "look"), ToolCallPart("2", "look")
    picture = ImagePart(data=PNG)
    loop = [
        user("Look"),
        assistant(one, two),
        tool_result(one, ["A:", picture]),
        tool_result(two, [picture, picture]),
    ]
    wire = encoded([*loop, assistant("Nice."), user("More?")])
    assert [m["role"] for m in wire.body["messages"]] == [
        *("user", "assistant", "tool", "tool", "user", "assistant", "user"),
    ]
    first, second, shown = wire.body["messages"][2:5]
    assert first["content"] == "A:\n[image 1, shown by the user]"
    assert second["content"].splitlines()[1] == "[image 3, shown by the user]"
    assert shown == {
        "role": "user",
        "content": "From the results of the tools: image 1, 2, 3.",
        "images": [PNG_TEXT] * 3,
    }
    assert len(wire.warnings) == 1
    assert "tool results" in wire.warnings[0]
    # At the end of the conversation as well.
    assert encoded(loop).body["messages"][-1] == shown


def test_documents_in_results() -> None:
    """They are not taken there either."""
    result = tool_result(CALL, [TextPart("See"), DocumentPart(data=b"%PDF-")])
    with pytest.raises(InvalidRequestError, match="documents"):
        encoded([user("?"), assistant(CALL), result])


# -- choosing tools ------------------------------------------------------------------


def names(wire: HTTPRequest) -> list[str]:
    return [tool["function"]["name"] for tool in wire.body.get("tools", ())]


def chosen(choice: ToolChoice | str | None, **options: Any) -> HTTPRequest:
    return encoded(tools=[WEATHER, CLOCK], tool_choice=choice, **options)


def test_no_tools_is_said_without_tools() -> None:
    """There is no tool_choice; what is not offered is not called."""
    wire = chosen("none")
    assert "tools" not in wire.body
    assert wire.warnings == ()


@pytest.mark.parametrize("choice", [None, "auto"])
def test_all_tools(choice: Any) -> None:
    """That is the default."""
    wire = chosen(choice)
    assert names(wire) == ["get_weather", "now"]
    assert wire.warnings == ()


def test_some_tools() -> None:
    """The others are not offered, and we say so."""
    wire = chosen(ToolChoice("auto", "now"))
    assert names(wire) == ["now"]
    assert wire.warnings == (
        "Of the tools only those that tool_choice names were sent.",
    )
    assert chosen(ToolChoice("auto", ["now", "get_weather"])).warnings == ()


def test_a_call_cannot_be_forced() -> None:
    """That changes what the answer is, so it is an error by default (G5)."""
    with pytest.raises(InvalidRequestError, match="no call can be forced; ask for it"):
        chosen("required")
    wire = chosen("required", on_unsupported="warn")
    assert names(wire) == ["get_weather", "now"]
    assert len(wire.warnings) == 1


def test_one_tool_is_the_only_one_on_offer() -> None:
    """The next best thing to a forced call, and it is said."""
    wire = chosen(ToolChoice("required", "now"))
    assert names(wire) == ["now"]
    assert "was offered no other tool" in wire.warnings[0]
    with pytest.raises(InvalidRequestError, match="forced tool_choice"):
        chosen(ToolChoice("required", "now"), on_unsupported="raise")


def test_one_call_at_a_time_cannot_be_asked_for() -> None:
    """But without tools there is nothing to ask."""
    assert "parallel_tool_calls" in chosen(None, parallel_tool_calls=False).warnings[0]
    assert encoded(parallel_tool_calls=False).warnings == ()


def test_strict_tools() -> None:
    """Arguments are never checked there."""
    wire = encoded(tools=[Tool("now", strict=True)])
    assert "strict" in wire.warnings[0]
    assert "strict" not in str(wire.body)
    assert encoded(tools=[Tool("now", strict=False)]).warnings == ()


def test_references_in_parameters_are_resolved() -> None:
    """The server would drop them without a word."""
    tool = Tool(
        "go",
        parameters={
            "properties": {
                "to": {"$ref": "#/$defs/Place", "description": "Where to."},
                "via": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
            },
            "$defs": {
                "Place": {
                    "type": "object",
                    "properties": {"at": {"$ref": "#/$defs/Point"}},
                },
                "Point": {"type": "string", "description": "On the map."},
            },
        },
    )
    place = {
        "type": "object",
        "properties": {"at": {"type": "string", "description": "On the map."}},
    }
    assert body(tools=[tool])["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "to": {**place, "description": "Where to."},
            "via": {"type": "array", "items": place},
        },
    }


def test_references_that_have_no_end() -> None:
    """They stay, and so does what they point at; so do those that point at nothing."""
    tree = {
        "properties": {
            "root": {"$ref": "#/definitions/a~1b"},
            "lost": {"$ref": "#/$defs/Nowhere"},
            "far": {"$ref": "https://example.com/schema"},
            "deep": {"$ref": "#/type/x"},
        },
        "type": "object",
        "definitions": {
            "a/b": {
                "anyOf": [{"type": "null"}, {"$ref": "#/definitions/a~1b"}],
                "default": {"$ref": "a value"},
            }
        },
    }
    found = without_references(tree)
    assert found["definitions"] == tree["definitions"]
    assert found["properties"]["root"] == {
        "anyOf": [{"type": "null"}, {"$ref": "#/definitions/a~1b"}],
        "default": {"$ref": "a value"},
    }
    for name in ("lost", "far", "deep"):
        assert found["properties"][name] == tree["properties"][name]  # type: ignore[index]  # it is a mapping


# -- form ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "wire"),
    [
        (None, None),
        ("text", None),
        ("json", "json"),
        (json_schema({"type": "object"}, name="x", strict=True), {"type": "object"}),
    ],
)
def test_the_form_of_the_answer(wanted: Any, wire: Any) -> None:
    """A schema goes as it is: a grammar is made of it."""
    assert body(response_format=wanted).get("format") == wire


# -- thinking ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "effort", "think"),
    [
        (MODEL, "none", False),
        (MODEL, "minimal", True),
        (MODEL, "medium", True),
        (MODEL, "max", True),
        ("gpt-oss:20b", "minimal", "low"),
        ("gpt-oss", "low", "low"),
        ("gpt-oss:120b-cloud", "medium", "medium"),
        ("hf.co/unsloth/GPT-OSS-20b-GGUF:Q4_K_M", "xhigh", "high"),
        ("gpt-oss", "max", "high"),
    ],
)
def test_how_hard_to_think(model: str, effort: Any, think: Any) -> None:
    """Most know yes and no; who knows levels gets one."""
    assert body(model=model, reasoning_effort=effort)["think"] == think


def test_unless_asked_nothing_is_said_about_thinking() -> None:
    """The server has its own default."""
    assert "think" not in body()
    assert "think" not in body(include_reasoning=True)


def test_a_model_that_cannot_stop_thinking() -> None:
    """It is asked for the least, and we say so."""
    wire = encoded(model="gpt-oss", reasoning_effort="none")
    assert wire.body["think"] == "low"
    assert "cannot be kept from thinking" in wire.warnings[0]


def test_a_budget_is_not_known_there() -> None:
    """0 is none; any other asks it to think."""
    wire = encoded(reasoning_budget=2000)
    assert wire.body["think"] is True
    assert "reasoning_budget" in wire.warnings[0]
    assert encoded(model="gpt-oss", reasoning_budget=5).body["think"] == "medium"
    assert body(reasoning_budget=0)["think"] is False
    for effort, budget in (("none", 5), ("high", 0)):
        with pytest.raises(InvalidRequestError, match="contradict"):
            encoded(reasoning_effort=effort, reasoning_budget=budget)


def test_thoughts_cannot_be_hidden() -> None:
    """They can be left unthought."""
    wire = encoded(include_reasoning=False)
    assert "include_reasoning=False" in wire.warnings[0]
    assert body(include_reasoning=False, reasoning_effort="none")["think"] is False


# -- what there is not ---------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        {"logit_bias": {"50256": -100}},
        {"user": "u-1"},
        {"verbosity": "low"},
        {"metadata": {"team": "a"}},
        {"store": True},
        {"service_tier": "flex"},
    ],
)
def test_options_that_it_does_not_know(option: dict[str, Any]) -> None:
    """They are left out with a warning, or an error if that is wanted (G5)."""
    [name] = option
    [warning] = encoded(**option).warnings
    assert name in warning
    assert f"Ollama's {MODEL}" in warning
    assert encoded(**option, on_unsupported="ignore").warnings == ()
    with pytest.raises(InvalidRequestError, match=name):
        encoded(**option, on_unsupported="raise")
