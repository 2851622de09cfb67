"""Messages of Chat Completions: `aichat.providers._openai_chat_messages`."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.errors import InvalidRequestError
from aichat.providers import ProviderSpec
from aichat.providers.compatible import SPECS
from aichat.providers.openai_chat import SPEC, Quirks, chat_spec
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
    ToolCallPart,
    assistant,
    fold,
    system,
    tool_result,
    user,
)

from .openai_chat_streams import play, recording
from .openai_sdk import complaints

PNG = b"\x89PNG\r\n\x1a\n"
CALL = ToolCallPart("call_1", "f", '{"a":1}')
RESULT = tool_result(CALL, "done")


def plain(**quirks: Any) -> ProviderSpec:
    """A server with these quirks."""
    return chat_spec(name="other", title="Other", quirks=Quirks(**quirks))


def encode(
    *messages: Message,
    spec: ProviderSpec = SPEC,
    model: str = "gpt-4.1",
    **options: Any,
) -> list[dict[str, Any]]:
    wire = spec.encode_request(ChatRequest(messages, f"x:{model}", **options))
    if spec is SPEC:
        assert complaints(wire.body) == []
    found: list[dict[str, Any]] = wire.body["messages"]
    return found


def one(message: Message, **options: Any) -> dict[str, Any]:
    """A message by itself, followed by a user's if it cannot be the last."""
    messages = [message]
    if message.role is not Role.USER:
        calls = [tool_result(call, "done") for call in message.tool_calls]
        messages += [*calls, user("And?")]
    return encode(*messages, **options)[0]


# -- roles and text ----------------------------------------------------------------------


def test_roles() -> None:
    """
    A system message stays where it is.
    """
    messages = [system("a"), user("b"), assistant("c"), system("d"), user("e")]
    assert [(m["role"], m["content"]) for m in encode(*messages)] == [
        ("system", "a"),
        ("user", "b"),
        ("assistant", "c"),
        ("system", "d"),
        ("user", "e"),
    ]


@pytest.mark.parametrize(
    ("spec", "model", "role"),
    [
        (SPEC, "gpt-5.1", "developer"),
        (SPEC, "o3-mini", "developer"),
        (SPEC, "gpt-4o", "system"),
        (SPEC, "gpt-5-chat-latest", "system"),
        (SPEC, "something-else", "system"),
        (SPECS["openai-compatible"], "gpt-5.1", "system"),
    ],
)
def test_developers(spec: ProviderSpec, model: str, role: str) -> None:
    """
    OpenAI's reasoning models have a developer; most vendors refuse the word.
    """
    assert one(system("a"), spec=spec, model=model)["role"] == role


def test_only_text_is_a_text() -> None:
    """
    Servers fail on lists here and there.
    """
    assert one(user("a", "", "b"))["content"] == "a\nb"
    assert one(assistant("a", "b"))["content"] == "ab"


def test_names() -> None:
    """
    Who speaks, where that can be said.
    """
    assert one(user("a", name="Ann"))["name"] == "Ann"
    spec = plain(names=False)
    request = ChatRequest(user("a", name="Ann"), "x:y")
    wire = spec.encode_request(request)
    assert "name" not in wire.body["messages"][0]
    assert "name" in wire.warnings[0]


# -- media -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "item"),
    [
        (
            ImagePart(data=PNG),
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="},
            },
        ),
        (
            ImagePart(url="https://x.example/a", detail="high"),
            {
                "type": "image_url",
                "image_url": {"url": "https://x.example/a", "detail": "high"},
            },
        ),
        (
            AudioPart(data=b"abc", media_type="audio/mpeg"),
            {"type": "input_audio", "input_audio": {"data": "YWJj", "format": "mp3"}},
        ),
        (
            DocumentPart(data=b"%PDF-"),
            {
                "type": "file",
                "file": {
                    "file_data": "data:application/pdf;base64,JVBERi0=",
                    "filename": "document.pdf",
                },
            },
        ),
        (
            DocumentPart(file_id="file-1"),
            {"type": "file", "file": {"file_id": "file-1"}},
        ),
    ],
)
def test_media(part: Any, item: dict[str, Any]) -> None:
    """
    Text and media keep their order, in one list.
    """
    content = one(user("a", part, "b"))["content"]
    text = [{"type": "text", "text": t} for t in "ab"]
    assert content == [text[0], item, text[1]]


def test_media_elsewhere() -> None:
    """
    Audio as a data URL, documents by URL, or no documents at all.
    """
    sound = user(AudioPart(data=b"abc", media_type="audio/wav"))
    (item,) = one(sound, spec=plain(audio_url=True))["content"]
    assert item["input_audio"]["data"] == "data:audio/wav;base64,YWJj"
    paper = user(DocumentPart(url="https://x.example/a.pdf", name="a.pdf"))
    (item,) = one(paper, spec=plain(document_urls=True))["content"]
    assert item["file"] == {"file_data": "https://x.example/a.pdf", "filename": "a.pdf"}
    with pytest.raises(InvalidRequestError, match="documents"):
        one(paper, spec=plain(documents=False))
    kept = one(
        user("a", DocumentPart(file_id="f")),
        spec=plain(documents=False),
        on_unsupported="ignore",
    )
    assert kept["content"] == "a"


def test_parts_that_only_their_provider_knows() -> None:
    """
    They go back as they came, and to nobody else.
    """
    # S9
    video = {"type": "video_url", "video_url": {"url": "https://x.example/"}}
    part = OpaquePart("video_url", ProviderState("other", video))
    assert one(user("a", part), spec=plain())["content"][1] == video
    assert one(user("a", part))["content"] == "a"


# -- caching -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "model", "hint", "mark"),
    [
        (
            SPEC,
            "gpt-5.6-sol",
            CacheHint("long"),
            {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        ),
        (
            SPEC,
            "gpt-6-sol",
            CacheHint(),
            {"prompt_cache_breakpoint": {"mode": "explicit"}},
        ),
        (
            SPECS["openrouter"],
            "anthropic/x",
            CacheHint("long"),
            {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ),
        (
            SPECS["openrouter"],
            "anthropic/x",
            CacheHint(),
            {"cache_control": {"type": "ephemeral"}},
        ),
    ],
)
def test_cache_marks(
    spec: ProviderSpec, model: str, hint: CacheHint, mark: dict[str, Any]
) -> None:
    """
    A hint becomes a mark on its part, text or not.
    """
    message = user(
        TextPart("a", cache=hint), ImagePart(url="https://x.example/", cache=hint)
    )
    text, image = one(message, spec=spec, model=model)["content"]
    assert text == {"type": "text", "text": "a", **mark}
    assert image.items() >= mark.items()


@pytest.mark.parametrize(
    ("spec", "model"),
    [(SPEC, "gpt-5.5"), (SPEC, "gpt-4.1"), (SPEC, "unknown"), (SPECS["groq"], "x")],
)
def test_no_cache_marks(spec: ProviderSpec, model: str) -> None:
    """
    Elsewhere the hint means nothing, and is no error.
    """
    message = system(TextPart("a", cache=CacheHint("short")))
    assert one(message, spec=spec, model=model)["content"] == "a"


# -- the assistant -----------------------------------------------------------------------


def test_tool_calls_and_results() -> None:
    """
    One message per result, in order; nothing is null.
    """
    second = ToolCallPart("call_2", "g", "")
    results = Message(
        Role.TOOL, [*tool_result(CALL, "1").content, *tool_result(second, "2").content]
    )
    assert encode(user("a"), assistant(CALL, second), results)[1:] == [
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a":1}'},
                },
                {
                    "id": "call_2",
                    "type": "function",
                    "function": {"name": "g", "arguments": "{}"},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        {"role": "tool", "tool_call_id": "call_2", "content": "2"},
    ]


def test_a_call_beside_nothing() -> None:
    """
    Many servers miss the content if it is not there.
    """
    assert one(assistant(CALL), spec=plain())["content"] == ""
    assert one(assistant("x", CALL))["content"] == "x"


@pytest.mark.parametrize("arguments", ["", " ", "{", "[1]", "NaN", '{"a":NaN}', "null"])
def test_arguments_that_are_no_object(arguments: str) -> None:
    """
    Servers parse them, and fail; the result says what was wrong.
    """
    call = ToolCallPart("c", "f", arguments)
    function = one(assistant(call))["tool_calls"][0]["function"]
    assert function == {"name": "f", "arguments": "{}"}


def test_a_call_without_a_name() -> None:
    """
    It was never executed, and still has to be there with its result.
    """
    call = ToolCallPart("c", "", "{}", invalid="the call has no name")
    assert one(assistant(call))["tool_calls"][0]["function"]["name"] == "unknown"


def test_custom_calls() -> None:
    """
    Free text is a custom tool's input, or an argument where there are none.
    """
    call = ToolCallPart("c", "sql", "SELECT 1", kind="custom")
    (sent,) = one(assistant(call))["tool_calls"]
    assert sent["custom"] == {"name": "sql", "input": "SELECT 1"}
    (sent,) = one(assistant(call), spec=plain())["tool_calls"]
    assert sent["function"]["arguments"] == '{"input":"SELECT 1"}'


@pytest.mark.parametrize(
    ("spec", "id", "kept"),
    [
        (SPEC, "c" * 40, True),
        (SPEC, "c" * 41, False),
        (SPECS["mistral"], "qDEcl0n92", True),
        (SPECS["mistral"], "call_1", False),
        (SPECS["openai-compatible"], "c" * 99, True),
    ],
)
def test_ids_that_a_vendor_refuses(spec: ProviderSpec, id: str, kept: bool) -> None:
    """
    Call and result get the same stand-in, and each call its own.
    """
    calls = [ToolCallPart(id, "f"), ToolCallPart(f"z{id[1:]}", "f")]
    _, said, *results = encode(
        user("a"), assistant(*calls), *(tool_result(c, "x") for c in calls), spec=spec
    )
    ids = [call["id"] for call in said["tool_calls"]]
    assert ids == [result["tool_call_id"] for result in results]
    assert ids[0] != ids[1]
    assert (ids[0] == id) is kept
    if not kept:
        assert ids[0].isalnum()
        assert len(ids[0]) == 9


def test_errors_of_tools() -> None:
    """
    There is no field for it, so the text says so.
    """
    result = tool_result(CALL, "no such city", is_error=True)
    sent = encode(user("a"), assistant(CALL), result)[-1]
    assert sent["content"] == "ERROR: no such city"


def test_pictures_from_tools() -> None:
    """
    A tool message holds only text: what it shows follows the last one, as the user's.
    """
    other = ToolCallPart("call_2", "g")
    found = encode(
        user("a"),
        assistant(CALL, other),
        tool_result(CALL, ["Here:", ImagePart(url="https://x.example/1")]),
        tool_result(other, [DocumentPart(file_id="file-2"), "there."]),
        assistant("Nice."),
        user("b"),
    )
    assert [message["role"] for message in found] == [
        *("user", "assistant", "tool", "tool", "user", "assistant", "user")
    ]
    assert found[2]["content"] == "Here:\n[image 1: see the next message]"
    assert found[3]["content"] == "[document 2: see the next message]\nthere."
    kinds = [item["type"] for item in found[4]["content"]]
    assert kinds == ["image_url", "file"]


def test_pictures_from_the_last_tool() -> None:
    """
    They end the conversation, if the results do.
    """
    result = tool_result(CALL, ImagePart(data=PNG))
    assert encode(user("a"), assistant(CALL), result)[-1]["role"] == "user"


def test_refusals() -> None:
    """
    They have a field at OpenAI and are text elsewhere.
    """
    message = assistant(RefusalPart("No."))
    assert one(message) == {"role": "assistant", "content": "", "refusal": "No."}
    assert one(message, spec=plain()) == {"role": "assistant", "content": "No."}


def test_an_assistant_with_only_thoughts() -> None:
    """
    A message without content is refused everywhere: it says nothing instead.
    """
    assert one(assistant(ReasoningPart("hm"))) == {"role": "assistant", "content": ""}


def test_pictures_of_the_assistant() -> None:
    """
    They cannot go back, and are not dropped without a word.
    """
    with pytest.raises(InvalidRequestError, match="assistant"):
        one(assistant("a", ImagePart(data=PNG)))


def test_audio_of_the_assistant() -> None:
    """
    It goes back by its id, to where it came from.
    """
    message = fold(play(recording("audio"))).message
    assert one(message) == {"role": "assistant", "audio": {"id": "audio_1"}}
    with pytest.raises(InvalidRequestError, match="audio"):
        one(message, spec=plain())


def test_continuing_a_message() -> None:
    """
    Each vendor has its own word for it, or none.
    """
    messages = [user("a"), assistant("b")]
    options: dict[str, Any] = {"prefill": True}
    for name, mark in (("mistral", "prefix"), ("moonshotai", "partial")):
        assert encode(*messages, spec=SPECS[name], **options)[-1][mark] is True
    sent = encode(*messages, spec=SPECS["llamacpp"], **options)[-1]
    assert sent == {"role": "assistant", "content": "b"}


# -- reasoning ---------------------------------------------------------------------------

LOOP = (
    user("a"),
    assistant(ReasoningPart("old"), "b"),
    user("c"),
    assistant(ReasoningPart("new"), CALL),
    RESULT,
)


@pytest.mark.parametrize(
    ("quirks", "sent"),
    [
        ({}, [None, None]),
        ({"replay": "reasoning"}, [None, "new"]),
        ({"replay": "reasoning", "replay_scope": "always"}, ["old", "new"]),
    ],
)
def test_reasoning_goes_back(quirks: dict[str, Any], sent: list[str | None]) -> None:
    """
    Not at all, within the tool calls of the latest turn, or always.
    """
    found = encode(*LOOP, spec=plain(**quirks))
    assert [found[i].get("reasoning") for i in (1, 3)] == sent


def test_reasoning_under_another_name() -> None:
    """
    DeepSeek wants it in the tool loop and refuses it before.
    """
    found = encode(*LOOP, spec=SPECS["deepseek"])
    assert "reasoning_content" not in found[1]
    assert found[3]["reasoning_content"] == "new"


def test_thoughts_as_parts() -> None:
    """
    Mistral gets its own list back: thoughts, references and all, in order.
    """
    # S9
    message = fold(play(recording("mistral"), provider="mistral")).message
    assert one(message, spec=SPECS["mistral"])["content"] == [
        {
            "type": "thinking",
            "thinking": [{"type": "text", "text": "Hm, so."}],
            "closed": True,
        },
        {"type": "text", "text": "See "},
        {"type": "reference", "reference_ids": [1]},
        {"type": "text", "text": "below."},
    ]
    assert one(message)["content"] == "See below."


@pytest.mark.parametrize(
    ("name", "field"),
    [("openrouter", "reasoning_details"), ("gemini", "extra_content")],
)
def test_opaque_state(name: str, field: str) -> None:
    """
    Details and signatures go back as they came, to whoever gave them and nobody else.
    """
    # S9
    message = fold(play(recording(name), provider="other")).message

    def state(spec: ProviderSpec) -> Any:
        sent = one(message, spec=spec)
        return sent.get(field) or sent.get("tool_calls", [{}])[0].get(field)

    assert (
        state(plain())
        == {
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                    "text": "Let me look.",
                    "signature": "c2lnbmVk",
                }
            ],
            "extra_content": {"google": {"thought_signature": "c2ln"}},
        }[field]
    )
    assert state(SPEC) is None
