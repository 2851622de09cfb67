"""What a request refuses, and what it makes of what it is given."""

from __future__ import annotations

import math
import pickle
from copy import copy, deepcopy
from typing import Any

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError

from aichat.errors import ConfigError, InvalidRequestError
from aichat.types import (
    DEFAULT_DEADLINES,
    UNSET,
    AudioPart,
    CacheHint,
    ChatRequest,
    Deadlines,
    DocumentPart,
    Effort,
    FinishReason,
    ImagePart,
    Message,
    OpaquePart,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    ResponseFormat,
    Role,
    Secret,
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

CALL = ToolCallPart("c1", "weather", '{"city": "Paris"}')
OTHER = ToolCallPart("c2", "time")
STATE = ProviderState("anthropic", "opaque")


# -- the conversation ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([], "There are no messages."),
        ([system("Be nice.")], "There are only system messages"),
        ("", "Message 0 (user) has nothing but empty text."),
        ([user("Hi"), user()], "Message 1 (user) has no content."),
        ([user("", "")], "Message 0 (user) has nothing but empty text."),
        ([system(""), user("Hi")], "Message 0 (system) has nothing but empty text."),
        (["Hi"], "Message 0 is a str, not a Message: use system(), user()"),
        ([{"role": "user", "content": "Hi"}], "Message 0 is a dict, not a Message"),
        ([user("Hi"), None], "Message 1 is a NoneType, not a Message"),
        ([user("Hi"), assistant("Hello")], "Message 1 is the last one and the assistant's"),
        # Who may say what.
        ([user(CALL)], "Message 0 (user) cannot hold a ToolCallPart."),
        ([user(ReasoningPart("Hm."))], "Message 0 (user) cannot hold a ReasoningPart."),
        ([user(RefusalPart("No."))], "Message 0 (user) cannot hold a RefusalPart."),
        ([user(ToolResultPart("c1", "4"))], "Message 0 (user) cannot hold a ToolResultPart."),
        ([system(ImagePart(url="u")), user("Hi")], "Message 0 (system) cannot hold a ImagePart."),
        ([Message(Role.TOOL, "4")], "Message 0 (tool) cannot hold a TextPart."),
        ([user("Hi"), assistant(ToolResultPart("c1", "4"))], "Message 1 (assistant) cannot hold"),
        # Calls and results.
        ([user("Hi"), tool_result("c1", "4")], "Message 1 answers the tool call 'c1', which is not open. Open: none."),
        ([user("Hi"), assistant(CALL), tool_result("c9", "4")], "Message 2 answers the tool call 'c9', which is not open. Open: 'c1'."),
        ([user("Hi"), assistant(CALL), tool_result(CALL, "4"), tool_result(CALL, "5")], "Message 3 answers the tool call 'c1', which is not open"),
        ([user("Hi"), assistant(CALL)], "before the conversation ends. Unanswered: weather (c1)."),
        ([user("Hi"), assistant(CALL, OTHER), tool_result(CALL, "4")], "Unanswered: time (c2)."),
        ([user("Hi"), assistant(CALL), user("And?")], "before message 2 (user). Unanswered: weather (c1)."),
        ([user("Hi"), assistant(CALL, CALL), tool_result(CALL, "4")], "Message 1 has two tool calls with the id 'c1'."),
    ],
)  # fmt: skip
def test_a_conversation_that_makes_no_sense(messages: Any, complaint: str) -> None:
    """
    Refused before anything is sent, naming the message.  # G4
    """
    with pytest.raises(InvalidRequestError) as refused:
        ChatRequest(messages)
    assert complaint in str(refused.value)
    assert refused.value.operation == "chat"
    assert not refused.value.retryable


def test_the_error_carries_the_index_of_the_message() -> None:
    """
    For those who show it beside the message.  # G4
    """
    with pytest.raises(InvalidRequestError) as refused:
        ChatRequest([user("Hi"), user()])
    assert refused.value.context == {"message": 1}


@pytest.mark.parametrize(
    "messages",
    [
        "Hi",
        user("Hi"),
        [system("Be nice."), user("Hi")],
        [user("Hi"), system("By the way…"), user("Well?")],
        [user("Hi"), user("Still there?")],
        [user(ImagePart(url="u"))],
        [user(AudioPart(url="u"), DocumentPart(url="u"), OpaquePart("k", STATE))],
        [user("Hi"), assistant(TextPart("", provider_state=STATE)), user("Go on.")],
        [user("Hi"), assistant(RefusalPart("No.")), user("Please.")],
        [user("Hi"), assistant("Let me see.", CALL, OTHER), tool_result(OTHER, "9"), tool_result(CALL, "4")],
        [user("Hi"), assistant(CALL), Message("tool", [ToolResultPart("c1", [])]), assistant("4"), user("Thanks.")],
    ],
)  # fmt: skip
def test_a_conversation_that_makes_sense(messages: Any) -> None:
    """
    What some provider takes is not refused for all.  # G4
    """
    request = ChatRequest(messages)
    assert all(isinstance(message, Message) for message in request.messages)


def test_prefill_lets_the_assistant_speak_last() -> None:
    request = ChatRequest([user("Hi"), assistant("Hel")], prefill=True)
    assert request.messages[-1].text == "Hel"


def test_messages_may_come_from_any_iterable() -> None:
    assert ChatRequest(iter([user("Hi")])).messages == (user("Hi"),)


# -- options -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"temperature": 2.1}, "temperature must be 0 to 2, got 2.1."),
        ({"temperature": -0.1}, "temperature must be 0 to 2"),
        ({"temperature": math.nan}, "temperature must be 0 to 2, got nan."),
        ({"temperature": "hot"}, "temperature must be 0 to 2, got 'hot'."),
        ({"temperature": True}, "temperature must be 0 to 2, got True."),
        ({"top_p": 1.5}, "top_p must be 0 to 1"),
        ({"presence_penalty": 3}, "presence_penalty must be -2 to 2"),
        ({"frequency_penalty": -3}, "frequency_penalty must be -2 to 2"),
        ({"max_tokens": 0}, "max_tokens must be 1 or more, got 0."),
        ({"max_tokens": 1.5}, "max_tokens must be a whole number, got 1.5."),
        ({"max_tokens": math.inf}, "max_tokens must be a whole number"),
        ({"top_k": 0}, "top_k must be 1 or more"),
        ({"top_logprobs": 21}, "top_logprobs must be 0 to 20"),
        ({"reasoning_budget": -1}, "reasoning_budget must be 0 or more"),
        ({"max_retries": -1}, "max_retries must be 0 or more"),
        ({"n": 2}, "n=2: a stream is one answer."),
        ({"n": 0}, "n must be 1 or more"),
        ({"stop": ["END", ""]}, "stop holds an empty text"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort must be one of none, minimal"),
        ({"on_unsupported": "shrug"}, "on_unsupported must be 'warn', 'raise', 'ignore'"),
        ({"verbosity": "loud"}, "verbosity must be 'low', 'medium', 'high' or None, got 'loud'."),
        ({"truncation": "maybe"}, "truncation must be 'auto', 'disabled' or None, got 'maybe'."),
        ({"model": None}, "model must be a str, got None."),
        ({"tools": [{"name": "f"}]}, "tools must hold Tools, got a dict."),
        ({"tools": [Tool("f"), Tool("g"), Tool("f")]}, "Two tools have the same name: f."),
        ({"tool_choice": "required"}, "tool_choice asks for a tool, but tools is empty."),
        ({"tool_choice": ToolChoice("auto", "f")}, "tool_choice asks for a tool"),
        ({"tools": [Tool("f")], "tool_choice": ToolChoice("required", "g")}, "tool_choice names g, which is not among the tools (f)."),
        ({"tools": [Tool("f")], "tool_choice": "f"}, "For one tool: ToolChoice('required', 'f')."),
        ({"tools": [Tool("f")], "tool_choice": 5}, "tool_choice must be a ToolChoice, got 5."),
        ({"response_format": "xml"}, "response_format must be 'text', 'json' or a JSON Schema"),
        ({"response_format": int}, "response_format must be a ResponseFormat"),
        ({"deadlines": "30s"}, "deadlines must be a Deadlines, got '30s'."),
        ({"cache": True}, "cache must be a CacheHint, got True."),
        ({"provider_options": {"openai": 5}}, "provider_options['openai'] must be a mapping, got 5."),
    ],
)  # fmt: skip
def test_an_option_out_of_its_range(options: dict[str, Any], complaint: str) -> None:
    """
    One clear error that names the field and what it may be.  # G4
    """
    with pytest.raises(InvalidRequestError) as refused:
        ChatRequest("Hi", **options)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0, "top_p": 0},
        {"temperature": 2, "top_p": 1.0},
        {"presence_penalty": -2, "frequency_penalty": 2},
        {"max_tokens": 1, "top_k": 1, "n": 1, "max_retries": 0},
        {"top_logprobs": 0, "reasoning_budget": 0},
        {"tools": [Tool("f")], "tool_choice": "none"},
        {"tools": [Tool("f"), Tool("g")], "tool_choice": ToolChoice("auto", ["f"])},
    ],
)
def test_the_ends_of_the_ranges_are_in_them(options: dict[str, Any]) -> None:
    request = ChatRequest("Hi", **options)
    assert {name: getattr(request, name) for name in options if name != "tools"}


def test_options_take_the_short_forms() -> None:
    """
    Text for one of several, a mapping for a schema, seconds for deadlines.
    """
    request = ChatRequest(
        "Hi",
        stop="END",
        tools=iter([Tool("f")]),
        tool_choice="required",
        response_format={"type": "object"},
        reasoning_effort="low",
        deadlines=30,
    )
    assert request.messages == (user("Hi"),)
    assert request.stop == ("END",)
    assert request.tools == (Tool("f"),)
    assert request.tool_choice == ToolChoice("required")
    assert request.response_format == json_schema({"type": "object"})
    assert request.reasoning_effort is Effort.LOW
    assert request.deadlines == Deadlines(connect=30, first_byte=30, idle=30)
    plain = ChatRequest(user("Hi"), stop=None, tools=None)
    assert (plain.stop, plain.tools) == ((), ())


# -- tools, formats, deadlines -------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "1st", "get weather", "wetter_ä", "a" * 65, "a.b"]
)
def test_a_tool_name_that_some_provider_would_refuse(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"tool name .* will not do"):
        Tool(name)


def test_the_parameters_of_a_tool_are_an_object() -> None:
    with pytest.raises(InvalidRequestError, match="of type object, not 'string'"):
        Tool("f", parameters={"type": "string"})
    assert Tool("f").parameters == {"type": "object", "properties": {}}
    assert Tool("f", parameters={"$ref": "#/x"}).parameters == {"$ref": "#/x"}


def test_no_tools_can_be_named_where_none_may_be_called() -> None:
    with pytest.raises(InvalidRequestError, match="'none' takes no names"):
        ToolChoice("none", "f")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"type": "json_schema"}, "needs a schema with type 'json_schema'"),
        ({"type": "json", "schema": {}}, "needs a schema with type 'json_schema'"),
        ({"type": "json", "name": "my name"}, "schema name 'my name' will not do"),
    ],
)
def test_a_format_that_contradicts_itself(
    arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidRequestError, match=complaint):
        ResponseFormat(**arguments)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "30", True, [1]])
def test_a_deadline_is_a_number_above_zero(value: Any) -> None:
    """
    Infinity is spelled None, so that there is one way to say it.  # D1
    """
    with pytest.raises(
        ConfigError, match=r"Deadlines\.idle must be a number of seconds"
    ):
        Deadlines(idle=value)


def test_deadlines_lie_over_others() -> None:
    """
    What is not said stays; None switches off.  # D1
    """
    mine = Deadlines(total=9, idle=None)
    assert mine.over(DEFAULT_DEADLINES) == evolve(DEFAULT_DEADLINES, total=9, idle=None)
    assert Deadlines().over(mine) == mine
    assert mine.pool is UNSET
    assert [mine.limit(p) for p in ("total", "idle", "pool")] == [9, None, None]
    assert repr(UNSET) == "UNSET"


def test_no_timeout_switches_three_deadlines_off() -> None:
    assert Deadlines.of(None) == Deadlines(connect=None, first_byte=None, idle=None)


# -- messages and parts --------------------------------------------------------------


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(
        InvalidRequestError, match="one of system, user, assistant, tool"
    ):
        Message("developer", "Hi")


def test_content_is_never_read_as_something_else() -> None:
    """
    The keys of a vendor's dict are not text.
    """
    with pytest.raises(InvalidRequestError, match="TextPart"):
        Message(Role.USER, {"type": "text", "text": "Hi"})


@pytest.mark.parametrize("cls", [ImagePart, AudioPart, DocumentPart])
def test_media_come_from_one_place(cls: type[Any]) -> None:
    with pytest.raises(InvalidRequestError, match=r"exactly one of .* got none"):
        cls()
    with pytest.raises(InvalidRequestError, match="got data and url"):
        cls(data=b"x", url="u")
    assert cls(file_id="f").file_id == "f"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"%PDF-1.7", "application/pdf"),
        (b"ID3\x04", "audio/mpeg"),
        (b"", None),
        (b"hello", None),
    ],
)  # fmt: skip
def test_the_first_bytes_tell_the_media_type(data: bytes, kind: str | None) -> None:
    part = ImagePart(data=data)
    assert part.media_type == kind
    if kind is None:
        with pytest.raises(InvalidRequestError, match="pass media_type"):
            part.require_media_type()
    else:
        assert part.require_media_type() == kind
    assert ImagePart(data=data, media_type="image/avif").media_type == "image/avif"


def test_files_are_read_with_their_names(tmp_path: Any) -> None:
    file = tmp_path / "plan.pdf"
    file.write_bytes(b"%PDF-1.7")
    assert DocumentPart.from_file(file) == DocumentPart(
        data=b"%PDF-1.7", media_type="application/pdf", name="plan.pdf"
    )
    assert DocumentPart.from_file(str(file), name="other").name == "other"
    assert ImagePart.from_file(file, detail="low").detail == "low"


def test_a_tool_result_answers_a_call_or_an_id() -> None:
    assert tool_result(CALL, "4").content == (
        ToolResultPart("c1", [TextPart("4")], name="weather"),
    )
    picture = ImagePart(url="u")
    (part,) = tool_result("c1", ["See:", picture], is_error=True).content
    assert part == ToolResultPart("c1", ["See:", picture], is_error=True)
    assert isinstance(part, ToolResultPart)
    assert part.text == "See:"
    assert ToolResultPart("c1", picture).content == (picture,)


def test_pictures_and_states_stay_out_of_logs() -> None:
    """
    Long, unreadable, and content.  # X1
    """
    shown = repr(user(ImagePart(data=b"canary"), TextPart("", provider_state=STATE)))
    assert "canary" not in shown
    assert "opaque" not in shown


# -- values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("openai:gpt-4.1", "openai", "gpt-4.1"),
        ("ollama:llama3:8b", "ollama", "llama3:8b"),
        ("gpt-4.1", None, "gpt-4.1"),
        ("openrouter:a/b:free", "openrouter", "a/b:free"),
        ("", None, ""),
        (":x", "", "x"),
    ],
)
def test_the_first_colon_divides(model: str, provider: str | None, name: str) -> None:
    request = ChatRequest("Hi", model)
    assert (request.provider_name, request.model_name) == (provider, name)


def test_requests_are_equal_by_value_and_can_be_keys() -> None:
    def make(temperature: float) -> ChatRequest:
        return ChatRequest(
            [user("Hi", ImagePart(data=b"x")), assistant(CALL), tool_result(CALL, "4")],
            "a:b",
            temperature=temperature,
            tools=[Tool("weather", parameters={"type": "object"})],
            response_format={"type": "object"},
            metadata={"a": "b"},
            provider_options={"a": {"b": [1]}},
        )

    assert make(0.5) == make(0.5)
    assert hash(make(0.5)) == hash(make(0.5))
    assert make(0.5) != make(0.6)
    assert len({make(0.5), make(0.5), make(0.6)}) == 2


def test_a_new_request_is_a_changed_copy() -> None:
    request = ChatRequest("Hi", "a:b", temperature=1)
    changed = evolve(request, model="c:d")
    assert (request.model, changed.model) == ("a:b", "c:d")
    assert changed.temperature == 1
    with pytest.raises(InvalidRequestError, match="temperature"):
        evolve(request, temperature=3)
    with pytest.raises(FrozenInstanceError):
        request.model = "c:d"  # type: ignore[misc]


def test_a_later_change_of_what_was_given_changes_nothing() -> None:
    metadata, messages = {"a": "b"}, [user("Hi")]
    request = ChatRequest(messages, metadata=metadata)
    metadata["a"] = "c"
    messages.append(user("Ho"))
    assert request.metadata == {"a": "b"}
    assert len(request.messages) == 1


def test_requests_travel() -> None:
    request = ChatRequest(
        [user("Hi", ImagePart(data=b"x"))],
        tools=[Tool("f")],
        deadlines=Deadlines(idle=1),
    )
    for same in (pickle.loads(pickle.dumps(request)), copy(request), deepcopy(request)):
        assert same == request


def test_extras_are_merged_in_the_order_of_the_names() -> None:
    """
    A dialect's options first, then the vendor's own.
    """
    options = {"openai-chat": {"a": 1, "b": 1}, "groq": {"b": 2}, "other": {"c": 3}}
    request = ChatRequest("Hi", provider_options=options)
    assert request.extras("openai-chat", "groq") == {"a": 1, "b": 2}
    assert request.extras("nobody") == {}
    request.extras("groq")["b"] = 5
    assert request.extras("groq") == {"b": 2}


def test_vocabularies_are_their_text() -> None:
    """
    They print well and make good metric labels.
    """
    assert (
        f"{FinishReason.TOOL_CALLS} {Role.USER} {Effort.MAX}" == "tool_calls user max"
    )
    assert CacheHint() == CacheHint(None)


# -- secrets -------------------------------------------------------------------------


def test_a_secret_is_not_shown_by_accident() -> None:
    """
    Not by repr, str, format, %, copy, or pickle.  # X1
    """
    secret = Secret("sk-canary")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret]  # noqa: UP031
    assert not any("canary" in text for text in shown)
    assert copy(secret) is secret
    assert deepcopy({"key": secret})["key"] is secret
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret, protocol)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == "sk-canary"


def test_secrets_are_compared_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    assert Secret("a")
