"""Requests in Gemini's words: `aichat.providers._google_request` and its parts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from aichat.errors import InvalidRequestError
from aichat.providers._google_models import gemini, same_family
from aichat.providers._google_schema import understood
from aichat.providers.google import VERTEX, encode_request
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
    assistant,
    json_schema,
    system,
    tool_result,
    user,
)

from .google_sdk import complaints

NEW = "gemini-3.8-flash"
OLD = "gemini-2.5-flash"
OLDEST = "gemini-2.0-flash"
PLACEHOLDER = "skip_thought_signature_validator"
PNG = b"\x89PNG\r\n\x1a\n...."
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = Tool("get_weather", "Looks outside.", CITY)
CLOCK = Tool("now")


def encoded(
    messages: str | Message | Sequence[Message] = "Hi",
    model: str = NEW,
    **options: Any,
) -> HTTPRequest:
    """The request, whose every field the SDK has a place for."""
    wire = encode_request(ChatRequest(messages, f"google:{model}", **options))
    assert complaints(wire.body) == []
    return wire


def body(*args: Any, **options: Any) -> dict[str, Any]:
    """The body of a request that nothing is wrong with."""
    wire = encoded(*args, **options)
    assert wire.warnings == ()
    result: dict[str, Any] = wire.body
    return result


def config(*args: Any, **options: Any) -> Any:
    """The ``generationConfig`` of a request that nothing is wrong with."""
    return body(*args, **options).get("generationConfig")


def contents(*messages: Message, **options: Any) -> list[Any]:
    """The contents as they go over the wire."""
    wire: list[Any] = encoded(messages, **options).body["contents"]
    return wire


def parts(*content: Any, **options: Any) -> Any:
    """The parts of a user message."""
    [turn] = contents(user(*content), **options)
    return turn["parts"]


def vertex(messages: Any = "Hi", model: str = NEW, **options: Any) -> HTTPRequest:
    """The same for Vertex AI."""
    wire = VERTEX.encode_request(ChatRequest(messages, f"vertex:{model}", **options))
    assert complaints(wire.body) == []
    return wire


def refused(*args: Any, **options: Any) -> str:
    """What is wrong with a request."""
    with pytest.raises(InvalidRequestError) as caught:
        encoded(*args, **options)
    return caught.value.message


def state(payload: Any, model: str | None = NEW, provider: str = "google") -> Any:
    return ProviderState(provider, payload, model)


# -- the whole of it -----------------------------------------------------------------


def test_only_what_was_asked_for() -> None:
    """An option that nobody set is not sent; the model and the key are not in the body."""
    wire = encoded("Hi")
    assert (wire.method, wire.headers, wire.query) == ("POST", {}, {"alt": "sse"})
    assert wire.path == "/models/gemini-3.8-flash:streamGenerateContent"
    assert wire.body == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def test_everything_at_once() -> None:
    """Each option has its place."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert body(
        [system("Be terse.", "Be kind."), user("Hi")],
        max_tokens=500,
        temperature=0.5,
        top_p=0.9,
        top_k=10,
        seed=7,
        stop=["END", "STOP"],
        presence_penalty=0.1,
        frequency_penalty=0.2,
        top_logprobs=3,
        tools=[WEATHER, CLOCK],
        tool_choice="auto",
        parallel_tool_calls=True,
        response_format=json_schema(schema, description="An a."),
        reasoning_effort="high",
        include_reasoning=True,
        metadata={"team": "a"},
        service_tier="flex",
        store=False,
        cache=CacheHint("long"),
        cache_key="best effort",
        truncation="disabled",
    ) == {
        "systemInstruction": {"parts": [{"text": "Be terse."}, {"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "get_weather",
                        "description": "Looks outside.",
                        "parametersJsonSchema": CITY,
                    },
                    {"name": "now"},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 10,
            "seed": 7,
            "maxOutputTokens": 500,
            "stopSequences": ["END", "STOP"],
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "responseLogprobs": True,
            "logprobs": 3,
            "responseMimeType": "application/json",
            "responseJsonSchema": {**schema, "description": "An a."},
            "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"},
        },
        "labels": {"team": "a"},
        "serviceTier": "flex",
        "store": False,
    }


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-pro", "/models/gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "/models/gemini-2.5-pro"),
        ("tunedModels/mine", "/tunedModels/mine"),
    ],
)
def test_the_model_is_in_the_path(model: str, path: str) -> None:
    """It may come with its own."""
    assert encoded("Hi", model).path == f"{path}:streamGenerateContent"


def test_no_model_no_path() -> None:
    """There is nowhere to send it (G4)."""
    with pytest.raises(InvalidRequestError, match="no model"):
        encode_request(ChatRequest("Hi"))


# -- turns ---------------------------------------------------------------------------


def test_two_of_a_role_become_one() -> None:
    """Gemini wants them to alternate."""
    turns = contents(
        user("a"), user("b"), assistant("c"), assistant("d"), user("", "e")
    )
    assert turns == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "d"}]},
        {"role": "user", "parts": [{"text": "e"}]},
    ]


def test_later_instructions_become_the_users() -> None:
    """In tags, and not without a word (G5)."""
    wire = encoded([user("a"), assistant("b"), system("c"), user("d"), system("e")])
    assert "systemInstruction" not in wire.body
    assert wire.body["contents"][2]["parts"] == [
        {"text": "<system>\nc\n</system>"},
        {"text": "d"},
        {"text": "<system>\ne\n</system>"},
    ]
    [warning] = wire.warnings
    assert "<system>" in warning


@pytest.mark.parametrize("model", ["gemma-3-27b-it", "gemini-2.5-flash-image"])
def test_models_without_instructions(model: str) -> None:
    """They are told as the user would tell them (G5)."""
    wire = encoded([system("Be terse."), user("Hi")], model)
    assert wire.body == {
        "contents": [{"role": "user", "parts": [{"text": "Be terse."}, {"text": "Hi"}]}]
    }
    assert "system message" in wire.warnings[0]


def test_the_name_of_a_speaker_is_missed() -> None:
    """There is no place for it (G5)."""
    [warning] = encoded([user("Hi", name="Ann")]).warnings
    assert "name of a participant" in warning


def test_a_prefill_is_the_last_turn() -> None:
    """Gemini takes it."""
    turns = contents(user("a"), assistant("b"), prefill=True)
    assert turns[-1] == {"role": "model", "parts": [{"text": "b"}]}
    assert contents(assistant("b"), prefill=True) == turns[-1:]


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([user(OpaquePart("x", state({}, provider="other")))], "nothing but empty"),
        (
            [
                assistant(ToolCallPart("a", "f")),
                tool_result("a", "1"),
                user("Go on."),
            ],
            "begins with a tool call",
        ),
        (
            [
                user("a"),
                assistant("b"),
                user(OpaquePart("x", state({}, provider="other"))),
            ],
            "Nothing but empty text follows",
        ),
        (
            [user("a"), assistant(ToolCallPart("a", "")), tool_result("a", "1")],
            "without a name",
        ),
    ],
)
def test_conversations_that_cannot_be(messages: list[Message], what: str) -> None:
    """Before anything is sent (G4)."""
    assert what in refused(messages)


def test_refusals_are_text() -> None:
    """The next turn knows what was said."""
    turns = contents(
        user("a"), assistant(RefusalPart("No."), RefusalPart("")), user("b")
    )
    assert turns[1]["parts"] == [{"text": "No."}]


# -- tools in the conversation -------------------------------------------------------


def test_results_come_in_the_order_of_the_calls() -> None:
    """All of a turn in one content, by name; what the user adds comes after (G4)."""
    calls = [
        ToolCallPart("1", "f", '{"a": 12345678901234567890123}'),
        ToolCallPart("2", "g", ""),
    ]
    turns = contents(
        user("a"),
        assistant("Well.", *calls),
        tool_result("2", "two"),
        tool_result("1", "went wrong", is_error=True),
        user("b"),
        model=OLD,
    )
    assert turns[1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Well."},
                {"functionCall": {"name": "f", "args": {"a": 12345678901234567890123}}},
                {"functionCall": {"name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "name": "f",
                        "response": {"error": "went wrong"},
                    }
                },
                {"functionResponse": {"name": "g", "response": {"output": "two"}}},
                {"text": "b"},
            ],
        },
    ]


def test_only_ids_of_googles_go_back() -> None:
    """Ours, and those of others, mean nothing there."""
    known = ToolCallPart("known", "f", provider_state=state({"id": "g1"}))
    foreign = ToolCallPart("toolu_1", "g")
    _, said, results = contents(
        user("a"),
        assistant(known, foreign),
        tool_result(known, "1"),
        tool_result(foreign, "2"),
    )
    assert said["parts"][0]["functionCall"] == {"id": "g1", "name": "f", "args": {}}
    assert "id" not in said["parts"][1]["functionCall"]
    first, second = (p["functionResponse"] for p in results["parts"])
    assert first["id"] == "g1"
    assert "id" not in second


@pytest.mark.parametrize(
    ("call", "args"),
    [
        (ToolCallPart("1", "f", '{"a":'), {"INVALID_JSON": '{"a":'}),
        (ToolCallPart("1", "f", "free", kind="custom"), {"input": "free"}),
    ],
)
def test_arguments_that_are_no_object(call: ToolCallPart, args: Any) -> None:
    """Gemini takes nothing else; the model sees what it wrote."""
    turns = contents(user("a"), assistant(call), tool_result(call, "bad"), model=OLD)
    assert turns[1]["parts"][0]["functionCall"]["args"] == args


def test_pictures_in_results() -> None:
    """Since Gemini 3 they are part of it; before, and for odd kinds, beside it."""
    call = ToolCallPart("1", "f")
    png = ImagePart(data=PNG)
    gif = ImagePart(data=b"GIF89a")
    blob = {"inlineData": {"mimeType": "image/png", "data": _64(PNG)}}
    odd = {"inlineData": {"mimeType": "image/gif", "data": _64(b"GIF89a")}}
    result = tool_result(call, ["Look:", png, gif])
    *_, new = contents(user("a"), assistant(call), result)
    assert new["parts"] == [
        {
            "functionResponse": {
                "name": "f",
                "response": {"output": "Look:"},
                "parts": [blob],
            }
        },
        odd,
    ]
    *_, old = contents(user("a"), assistant(call), result, model=OLD)
    assert old["parts"] == [
        {"functionResponse": {"name": "f", "response": {"output": "Look:"}}},
        blob,
        odd,
    ]


# -- signatures ----------------------------------------------------------------------


def signed_call(
    id: str, signature: str | None, model: str = NEW, provider: str = "google"
) -> ToolCallPart:
    payload = {} if signature is None else {"thoughtSignature": signature}
    return ToolCallPart(id, "f", provider_state=state(payload, model, provider))


def signatures(*messages: Message, model: str = NEW) -> list[Any]:
    """The signature of each call, in order."""
    return [
        part.get("thoughtSignature")
        for turn in contents(*messages, model=model)
        for part in turn["parts"]
        if "functionCall" in part
    ]


def turn(*calls: ToolCallPart) -> list[Message]:
    """Calls, and their results."""
    return [assistant(*calls), *(tool_result(call, "1") for call in calls)]


def test_a_signature_goes_back_where_it_came_from() -> None:
    """Byte for byte, on its own part, on no other (S9)."""
    said = assistant(
        ReasoningPart("Hm."),
        ReasoningPart("Oh!", provider_state=state({"thoughtSignature": "dA=="})),
        TextPart("a"),
        TextPart("b", provider_state=state({"thoughtSignature": "Yg=="})),
        TextPart(""),
        TextPart("", provider_state=state({"thoughtSignature": "ZQ=="})),
        OpaquePart("toolCall", state({"toolCall": {"id": "x"}, "partMetadata": {}})),
        ImagePart(data=PNG, provider_state=state({"thoughtSignature": "aQ=="})),
        OpaquePart("inlineData", state({"inlineData": {"data": ""}, "thought": True})),
    )
    _, model, _ = contents(user("x"), said, user("y"))
    assert model["parts"] == [
        {"text": "Oh!", "thought": True, "thoughtSignature": "dA=="},
        {"text": "a"},
        {"text": "b", "thoughtSignature": "Yg=="},
        {"text": "", "thoughtSignature": "ZQ=="},
        {"toolCall": {"id": "x"}, "partMetadata": {}},
        {
            "inlineData": {"mimeType": "image/png", "data": _64(PNG)},
            "thoughtSignature": "aQ==",
        },
    ]


@pytest.mark.parametrize(
    "other",
    [
        state({"thoughtSignature": "eA=="}, "gemini-2.5-pro"),
        state({"thoughtSignature": "eA=="}, NEW, "vertex"),
        state({"signature": "eA=="}, "claude-opus-5", "anthropic"),
        state("eA=="),
    ],
)
def test_nobody_elses_state_goes_there(other: ProviderState) -> None:
    """Google refuses what it has not signed itself, for that model (S9)."""
    said = assistant(
        ReasoningPart("Hm.", provider_state=other),
        TextPart("a", provider_state=other),
        OpaquePart("thing", other),
        ImagePart(data=PNG, provider_state=other),
    )
    _, model, _ = contents(user("x"), said, user("y"))
    assert model["parts"] == [
        {"text": "a"},
        {"inlineData": {"mimeType": "image/png", "data": _64(PNG)}},
    ]


def test_what_stands_in_for_a_signature() -> None:
    """On the first call of each step of the open turn, where there is none (S9)."""
    conversation = [
        user("a"),
        *turn(signed_call("1", None)),
        assistant("done"),
        user("b"),
        *turn(signed_call("2", "c2ln"), signed_call("3", None)),
        *turn(signed_call("4", None), signed_call("5", None)),
        *turn(signed_call("6", "eA==", "gemini-2.5-pro")),
        *turn(signed_call("7", "eA==", provider="vertex")),
    ]
    assert signatures(*conversation) == [
        None,  # that turn is over
        "c2ln",
        None,
        PLACEHOLDER,
        None,
        PLACEHOLDER,
        PLACEHOLDER,
    ]


def test_older_models_want_no_stand_in() -> None:
    """A signature is theirs to have, not to ask for."""
    assert signatures(user("a"), *turn(signed_call("1", None)), model=OLD) == [None]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (None, NEW, True),
        (NEW, NEW, True),
        ("gemini-2.5-pro", "models/gemini-2.5-pro-preview-06-05", True),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite", False),
        ("gemini-3-pro-preview", "gemini-3.1-pro-preview", False),
        # Who asks for the older one is answered by the newer one.
        ("gemini-3.1-pro-preview", "gemini-3-pro-preview", True),
        ("gemini-3.1-pro-preview", "gemini-3.1-pro-preview-customtools", True),
        ("gemini-3.8-flash", "gemini-3.7-flash", False),
        ("gemini-4-argon", "gemini-4-carbon", False),
        ("gemini-4-argon", "gemini", True),
        ("tuned", "gemini-4-argon", False),
        ("gemini-3.8-flash", "gemini-flash-latest", True),
        ("gemini-3.8-flash-lite", "gemini-flash-latest", False),
        ("gemini-3.8-flash", "gemini-pro-latest", False),
        ("gemini-2.5-flash", "tunedModels/mine", True),
        ("gemini-2.5-flash", "gemma-3-27b-it", False),
    ],
)
def test_who_takes_whose_signatures(one: str | None, other: str, same: bool) -> None:
    """Versions and previews of one model do, and whatever an alias stands for."""
    assert same_family(one, other) is same


# -- media ---------------------------------------------------------------------------


def _64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (ImagePart(data=PNG), ("image/png", PNG)),
        (ImagePart(data=PNG, detail="auto"), ("image/png", PNG)),
        (AudioPart(data=b"x", media_type="audio/wav"), ("audio/wav", b"x")),
        (AudioPart(data=b"ID3", transcript="Hi."), ("audio/mpeg", b"ID3")),
        (DocumentPart(data=b"%PDF-1", name="a.pdf"), ("application/pdf", b"%PDF-1")),
        (
            DocumentPart(data=b"{}", media_type="application/json"),
            ("text/plain", b"{}"),
        ),
        (DocumentPart(data=b"v", media_type="video/mp4"), ("video/mp4", b"v")),
        (ImagePart(url=f"data:image/webp;base64,{_64(b'w')}"), ("image/webp", b"w")),
    ],
)
def test_bytes_go_inline(part: Any, wire: tuple[str, bytes]) -> None:
    """Whatever they are: Gemini looks at pictures, hears, reads and watches."""
    kind, data = wire
    assert parts(part) == [{"inlineData": {"mimeType": kind, "data": _64(data)}}]


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (
            ImagePart(url="https://example.com/a/Cat.JPG?x=1"),
            {"fileUri": "https://example.com/a/Cat.JPG?x=1", "mimeType": "image/jpeg"},
        ),
        (
            DocumentPart(url="https://example.com/a", media_type="application/pdf"),
            {"fileUri": "https://example.com/a", "mimeType": "application/pdf"},
        ),
        (
            DocumentPart(url="https://www.youtube.com/watch?v=1"),
            {"fileUri": "https://www.youtube.com/watch?v=1"},
        ),
        (
            DocumentPart(file_id="files/abc", media_type="application/pdf"),
            {
                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
                "mimeType": "application/pdf",
            },
        ),
        (
            ImagePart(file_id="gs://bucket/cat.png"),
            {"fileUri": "gs://bucket/cat.png", "mimeType": "image/png"},
        ),
    ],
)
def test_links_go_as_such(part: Any, wire: Any) -> None:
    """With their kind, as far as the name tells."""
    assert parts(part) == [{"fileData": wire}]


def test_older_models_fetch_nothing() -> None:
    """Only what lies at Google's; all else is an error unless you say otherwise (G5)."""
    cat = ImagePart(url="https://example.com/cat.png")
    assert "URL" in refused(user(cat), OLDEST)
    wire = encoded(user("Hi", cat), OLDEST, on_unsupported="warn")
    assert wire.body["contents"][0]["parts"] == [{"text": "Hi"}]
    assert "fetches nothing" in wire.warnings[0]
    home = ImagePart(url="gs://bucket/cat.png")
    assert "fileData" in parts(home, model=OLDEST)[0]
    assert "fileData" in parts(ImagePart(file_id="files/x"), model=OLDEST)[0]


def test_vertex_wants_to_know_what_it_fetches() -> None:
    """Its fileData needs a kind (G4); videos have none, and old models fetch as well."""
    with pytest.raises(InvalidRequestError, match="media_type"):
        vertex(user(ImagePart(url="https://example.com/cat")))
    watched = vertex(user(DocumentPart(url="https://youtu.be/1")), OLDEST)
    assert watched.body["contents"][0]["parts"] == [
        {"fileData": {"fileUri": "https://youtu.be/1"}}
    ]
    seen = vertex(user(ImagePart(url="https://example.com/cat.png")), OLDEST)
    assert "fileData" in seen.body["contents"][0]["parts"][0]


@pytest.mark.parametrize(
    "part",
    [
        ImagePart(data=b"unknown"),
        ImagePart(url="data:image/png;base64,???"),
        ImagePart(url=f"data:;base64,{_64(b'w')}"),
    ],
)
def test_media_that_cannot_be_sent(part: ImagePart) -> None:
    """Before anything is (G4)."""
    refused(user(part))


def test_the_detail_of_an_image_is_missed() -> None:
    """It is a matter of the whole request (G5)."""
    [warning] = encoded(user(ImagePart(data=PNG, detail="high"))).warnings
    assert "mediaResolution" in warning


def test_what_another_model_spoke() -> None:
    """The words are sent, if they are known; its sound is no sound of this model's."""
    spoken = assistant(AudioPart(data=b"x", media_type="audio/wav", transcript="Hi."))
    wire = encoded([user("a"), spoken, user("b")])
    assert wire.body["contents"][1]["parts"] == [{"text": "Hi."}]
    assert len(wire.warnings) == 1
    silent = assistant("a", AudioPart(data=b"x", media_type="audio/wav", transcript=""))
    wire = encoded([user("a"), silent, user("b")])
    assert wire.body["contents"][1]["parts"] == [{"text": "a"}]


# -- thinking ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "effort", "wire"),
    [
        (NEW, "low", "LOW"),
        (NEW, "minimal", "LOW"),
        (NEW, "max", "HIGH"),
        ("gemini-4-argon", "xhigh", "HIGH"),
        ("gemini-5-neon", "medium", "MEDIUM"),
        ("gemini-3.5-flash", "minimal", "MINIMAL"),
        ("gemini-3-pro-preview", "medium", "HIGH"),
        ("gemini-3.1-pro-preview", "medium", "MEDIUM"),
        ("gemini-3.1-flash-lite-image", "low", "MINIMAL"),
        (OLD, "minimal", 512),
        (OLD, "medium", 8_192),
        (OLD, "max", 24_576),
        ("gemini-2.5-pro", "max", 32_768),
        ("gemini-2.5-flash-lite", "minimal", 512),
        (OLD, "none", 0),
    ],
)
def test_effort(model: str, effort: str, wire: str | int) -> None:
    """A level, or a budget: whatever the model takes, and never both."""
    key = "thinkingLevel" if isinstance(wire, str) else "thinkingBudget"
    thinking = config("Hi", model, reasoning_effort=effort)["thinkingConfig"]
    assert thinking == {key: wire}


@pytest.mark.parametrize(
    ("model", "wire"),
    [
        (NEW, {"thinkingLevel": "LOW"}),
        ("gemini-3-flash-preview", {"thinkingLevel": "MINIMAL"}),
        ("gemini-2.5-pro", {"thinkingBudget": 128}),
    ],
)
@pytest.mark.parametrize("how", [{"reasoning_effort": "none"}, {"reasoning_budget": 0}])
def test_models_that_cannot_stop_thinking(model: str, wire: Any, how: Any) -> None:
    """They are asked for the least, and you are told (G5)."""
    request = encoded("Hi", model, **how)
    assert request.body["generationConfig"]["thinkingConfig"] == wire
    assert "cannot be kept from thinking" in request.warnings[0]


def test_a_budget() -> None:
    """As it is where there are budgets, within what the model takes."""
    assert config("Hi", OLD, reasoning_budget=1000, reasoning_effort="high") == {
        "thinkingConfig": {"thinkingBudget": 1000}
    }
    wire = encoded("Hi", "gemini-2.5-pro", reasoning_budget=99_999)
    assert wire.body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 32_768
    assert "32768" in wire.warnings[0]


def test_a_budget_for_a_model_with_levels() -> None:
    """It is left out with a word; a level goes (G5)."""
    wire = encoded("Hi", reasoning_budget=1000)
    assert "generationConfig" not in wire.body
    assert "reasoning_effort" in wire.warnings[0]
    wire = encoded("Hi", reasoning_budget=1000, reasoning_effort="low")
    assert wire.body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW"}


def test_showing_thoughts() -> None:
    """Asked for alone, it leaves the thinking as it is."""
    shown = {"thinkingConfig": {"includeThoughts": True}}
    assert config("Hi", include_reasoning=True) == shown
    assert config("Hi", include_reasoning=False) is None


@pytest.mark.parametrize(
    "options",
    [
        {"reasoning_effort": "none", "reasoning_budget": 5},
        {"reasoning_effort": "low", "reasoning_budget": 0},
    ],
)
def test_contradictions(options: Any) -> None:
    """One clear error (G4)."""
    assert "contradict" in refused(**options)


def test_models_that_do_not_think() -> None:
    """They would answer with an error (G5); not to think is what they do anyway."""
    wire = encoded(
        "Hi",
        OLDEST,
        reasoning_effort="high",
        reasoning_budget=5,
        include_reasoning=True,
    )
    assert "generationConfig" not in wire.body
    assert len(wire.warnings) == 3
    assert (
        config("Hi", OLDEST, reasoning_effort="none", include_reasoning=False) is None
    )


def test_every_row_of_the_table_can_be_reached() -> None:
    """The longest prefix wins, and what nobody knows is the newest."""
    assert gemini("gemini-9-xenon") == gemini("gemini-4-argon")
    assert gemini("gemini-3.6-flash").levels != gemini(NEW).levels
    assert gemini("publishers/google/models/gemini-2.0-flash").thinking == "never"


# -- tools and form ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "tools", "choice", "wire"),
    [
        (NEW, [CLOCK], None, None),
        (NEW, [CLOCK], "auto", {"mode": "AUTO"}),
        (NEW, [CLOCK], "none", {"mode": "NONE"}),
        (NEW, [CLOCK], "required", {"mode": "ANY"}),
        (
            NEW,
            [CLOCK, WEATHER],
            ToolChoice("required", "now"),
            {"mode": "ANY", "allowedFunctionNames": ["now"]},
        ),
        (
            NEW,
            [CLOCK, WEATHER],
            ToolChoice("auto", "now"),
            {"mode": "VALIDATED", "allowedFunctionNames": ["now"]},
        ),
        (NEW, [Tool("f", strict=True)], None, {"mode": "VALIDATED"}),
        (NEW, [Tool("f", strict=True)], "required", {"mode": "ANY"}),
        (NEW, [], "auto", None),
    ],
)
def test_tool_choice(model: str, tools: list[Tool], choice: Any, wire: Any) -> None:
    """Gemini's modes; strict tools make the whole request so."""
    sent = body("Hi", model, tools=tools, tool_choice=choice).get("toolConfig")
    assert sent == (wire and {"functionCallingConfig": wire})


def test_older_models_take_less() -> None:
    """They get only the tools that were named, and no strict ones (G5)."""
    wire = encoded(
        "Hi", OLDEST, tools=[CLOCK, WEATHER], tool_choice=ToolChoice("auto", "now")
    )
    assert wire.body["tools"] == [{"functionDeclarations": [{"name": "now"}]}]
    assert wire.body["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}
    assert "names" in wire.warnings[0]
    both = ToolChoice("auto", ("now", "get_weather"))
    assert body("Hi", OLDEST, tools=[CLOCK, WEATHER], tool_choice=both)["tools"]
    wire = encoded("Hi", OLDEST, tools=[Tool("f", strict=True)])
    assert "toolConfig" not in wire.body
    assert "strict" in wire.warnings[0]


def test_one_call_at_a_time_is_not_for_us_to_say() -> None:
    """There is no such switch (G5)."""
    wire = encoded("Hi", tools=[CLOCK], parallel_tool_calls=False)
    assert "parallel_tool_calls" in wire.warnings[0]


def test_json() -> None:
    """With a schema or without."""
    kind = {"responseMimeType": "application/json"}
    assert config("Hi", response_format="json") == kind
    assert config("Hi", response_format="text") is None
    assert config("Hi", response_format=CITY) == {**kind, "responseJsonSchema": CITY}


def test_json_with_tools() -> None:
    """Since Gemini 3; before, it is an error unless you say otherwise (G5)."""
    options: dict[str, Any] = {"tools": [CLOCK], "response_format": "json"}
    assert config("Hi", **options) == {"responseMimeType": "application/json"}
    assert "Gemini 3" in refused("Hi", OLD, **options)
    wire = encoded("Hi", OLD, **options, on_unsupported="warn")
    assert "generationConfig" not in wire.body


@pytest.mark.parametrize(
    ("schema", "wire"),
    [
        ({}, {}),
        (
            {"$schema": "x", "type": ["string", "null"], "title": "A"},
            {"type": ["string", "null"], "title": "A"},
        ),
        ({"const": 3}, {"enum": [3]}),
        ({"const": True}, {"description": "(const: true)"}),
        (
            {"type": "string", "description": "A day.", "pattern": "x", "default": "y"},
            {"type": "string", "description": 'A day. (pattern: "x", default: "y")'},
        ),
        (
            {"type": "array", "items": {"minLength": 1}, "uniqueItems": True},
            {
                "type": "array",
                "items": {"description": "(minLength: 1)"},
                "description": "(uniqueItems: true)",
            },
        ),
        (
            {"anyOf": [{"const": "a"}, True], "additionalProperties": False},
            {"anyOf": [{"enum": ["a"]}, True], "additionalProperties": False},
        ),
        (
            {
                "$ref": "#/definitions/a",
                "definitions": {"a": {"const": 1}},
                "$defs": {"b": {"$ref": "#/$defs/a"}},
            },
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"enum": [1]}, "b": {"$ref": "#/$defs/a"}},
            },
        ),
        # allOf is said in one, where it says nothing twice.
        ({"allOf": [{"$ref": "#/$defs/a"}]}, {"$ref": "#/$defs/a"}),
        (
            {
                "description": "An a.",
                "properties": {"a": {}},
                "required": ["a"],
                "allOf": [
                    {"properties": {"b": {"const": 1}}, "required": ["b", "a"]},
                    {"allOf": [{"description": "And c."}]},
                ],
            },
            {
                "description": "An a. And c.",
                "properties": {"a": {}, "b": {"enum": [1]}},
                "required": ["a", "b"],
            },
        ),
        (
            {"type": "string", "allOf": [{"type": "integer"}]},
            {"type": "string", "description": '(allOf: [{"type":"integer"}])'},
        ),
        ({"allOf": [True]}, {"description": "(allOf: [true])"}),
        (
            {"allOf": [{"additionalProperties": False}]},
            {"description": '(allOf: [{"additionalProperties":false}])'},
        ),
        (
            {"properties": {"a": {}}, "allOf": [{"properties": {"a": True}}]},
            {
                "properties": {"a": {}},
                "description": '(allOf: [{"properties":{"a":true}}])',
            },
        ),
        ({"allOf": 3}, {"description": "(allOf: 3)"}),
    ],
)
def test_schemas(schema: Any, wire: Any) -> None:
    """What Gemini knows stays; what it does not is put into words, and never lost."""
    assert understood(schema) == wire


def test_tools_without_arguments() -> None:
    """Older models refuse an object without properties."""
    [tools] = body("Hi", tools=[CLOCK])["tools"]
    assert tools == {"functionDeclarations": [{"name": "now"}]}
    free = Tool("f", None, {"additionalProperties": {"type": "string"}})
    [tools] = body("Hi", tools=[free])["tools"]
    assert tools["functionDeclarations"][0]["parametersJsonSchema"] == {
        "type": "object",
        "additionalProperties": {"type": "string"},
    }


# -- the rest ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"user": "u-1"},
        {"verbosity": "low"},
        {"logit_bias": {"1": 2}},
        {"truncation": "auto"},
        {"service_tier": "scale"},
    ],
)
def test_what_gemini_does_not_take(options: Any) -> None:
    """It is left out with a word, or refused, as you wish (G5)."""
    wire = encoded("Hi", **options)
    assert wire.body.keys() == {"contents"}
    assert next(iter(options)) in wire.warnings[0]
    assert next(iter(options)) in refused("Hi", **options, on_unsupported="raise")
    assert encoded("Hi", **options, on_unsupported="ignore").warnings == ()


def test_too_many_stops() -> None:
    """Five at most; to stop later than asked is no small matter (G5)."""
    stops = list("abcdef")
    assert "5 at most" in refused("Hi", stop=stops)
    wire = encoded("Hi", stop=stops, on_unsupported="warn")
    assert wire.body["generationConfig"]["stopSequences"] == list("abcde")


def test_logprobs() -> None:
    """How many, and whether at all, are two things."""
    assert config("Hi", logprobs=True) == {"responseLogprobs": True}
    assert config("Hi", logprobs=False) is None


def test_service_tiers() -> None:
    """What is there anyway need not be said."""
    assert "serviceTier" not in body("Hi", service_tier="auto")
    assert body("Hi", service_tier="priority")["serviceTier"] == "priority"


def test_options_of_googles_own() -> None:
    """They go over ours, however deep, and leave the rest alone."""
    extras = {
        "generationConfig": {
            "mediaResolution": "MEDIA_RESOLUTION_LOW",
            "thinkingConfig": {"includeThoughts": True},
            "seed": 8,
        },
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
        ],
        "tools": [
            {"googleSearch": {}},
            {"functionDeclarations": [{"name": "g"}], "codeExecution": {}},
            {"functionDeclarations": [{"name": "h"}]},
        ],
        "labels": {"b": "2"},
    }
    sent = body(
        "Hi",
        seed=7,
        temperature=1,
        reasoning_effort="low",
        tools=[CLOCK],
        metadata={"a": "1"},
        provider_options={"google": extras, "openai": {"never": "seen"}},
    )
    assert sent["generationConfig"] == {
        "temperature": 1,
        "seed": 8,
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
    }
    assert sent["safetySettings"] == extras["safetySettings"]
    assert sent["tools"] == [
        {"functionDeclarations": [{"name": "now"}, {"name": "g"}, {"name": "h"}]},
        {"googleSearch": {}},
        {"codeExecution": {}},
    ]
    assert sent["labels"] == {"a": "1", "b": "2"}
    alone = body("Hi", provider_options={"google": {"tools": [{"urlContext": {}}]}})
    assert alone["tools"] == [{"urlContext": {}}]


def test_cached_content_has_its_own_tools() -> None:
    """Saying them again is refused there, so they stay here (G5)."""
    extras = {"google": {"cachedContent": "cachedContents/abc"}}
    wire = encoded([system("s"), user("Hi")], tools=[CLOCK], provider_options=extras)
    assert wire.body.keys() == {"contents", "cachedContent"}
    assert "cachedContent" in wire.warnings[0]
    assert body("Hi", provider_options=extras)["cachedContent"] == "cachedContents/abc"


def test_vertex_differs_a_little() -> None:
    """Options of both names count; there is nothing to store; states are its own."""
    extras = {
        "google": {"labels": {"a": "1"}},
        "vertex": {"cachedContent": "projects/p/locations/l/cachedContents/1"},
    }
    wire = vertex("Hi", provider_options=extras, store=False)
    assert wire.body.keys() == {"contents", "labels", "cachedContent"}
    assert wire.warnings == ()
    assert "store" in vertex("Hi", store=True).warnings[0]
    call = signed_call("1", "c2ln", provider="vertex")
    sent = vertex([user("a"), *turn(call)]).body["contents"][1]["parts"]
    assert sent[0]["thoughtSignature"] == "c2ln"


def test_the_sdk_would_complain() -> None:
    """Or these tests would show nothing."""
    good = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert complaints(good) == []
    assert complaints({**good, "seed": 3})
    assert complaints({**good, "generationConfig": {"serviceTier": "flex"}})
    assert complaints({"contents": [{"role": "user", "parts": [{"txt": "Hi"}]}]})


def test_a_tool_message_may_hold_several_results() -> None:
    """One message or two: the same."""
    calls = (ToolCallPart("1", "f"), ToolCallPart("2", "g"))
    first, second = tool_result("1", "a"), tool_result("2", "b")
    both = Message(Role.TOOL, (*first.content, *second.content))
    apart = contents(user("a"), assistant(*calls), first, second)
    assert contents(user("a"), assistant(*calls), both) == apart
