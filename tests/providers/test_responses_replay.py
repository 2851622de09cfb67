"""What a response says, back in the next request: `aichat.providers._responses_input`."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from openai.types.responses.response_create_params import (
    ResponseCreateParamsStreaming,
)

from aichat.errors import InvalidRequestError
from aichat.providers.openai import encode_request
from aichat.types import (
    AudioPart,
    ChatRequest,
    ImagePart,
    Message,
    OpaquePart,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    assistant,
    fold,
    from_json,
    to_json,
    tool_result,
    user,
)

from .openai_sdk import complaints
from .responses_streams import RECORDINGS, completed, event, fold_of, play, recording


def said(name: str, **options: Any) -> Message:
    return fold(play(recording(name), **options)).message


def sent(message: Message, *, provider: str = "openai", **options: Any) -> list[Any]:
    """The items that *message* becomes in the next request."""
    answers = [tool_result(call, "done") for call in message.tool_calls]
    request = ChatRequest(
        [user("Hi"), message, *(answers or [user("Go on.")])],
        f"{provider}:gpt-6-sol",
        **options,
    )
    items: list[Any] = encode_request(request, provider=provider).body["input"]
    return items[1 : -len(answers) or -1]


def opaque(payload: dict[str, Any], provider: str = "openai") -> OpaquePart:
    return OpaquePart(payload["type"], ProviderState(provider, payload))


def thought(**fields: Any) -> ReasoningPart:
    payload = {"type": "reasoning", "summary": [], **fields}
    return ReasoningPart("Hm.", provider_state=ProviderState("openai", payload))


def text(words: str, **state: Any) -> TextPart:
    return TextPart(words, provider_state=ProviderState("openai", state))


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recording_goes_back(name: str) -> None:
    """
    Also by way of a file, and into a request that another turn begins with.
    """
    # S9
    message = said(name)
    items = sent(message)
    assert items
    assert sent(from_json(Message, to_json(message))) == items


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_sdk_knows_every_item(name: str) -> None:
    """
    But for the ids of reasoning and of messages, which its types require and the API
    does not.
    """
    message = said(name)
    answers = [tool_result(call, "done") for call in message.tool_calls]
    request = ChatRequest(
        [user("Hi"), message, *(answers or [user("Go on.")])], "openai:m"
    )
    body = encode_request(request).body
    for item in body["input"]:
        if item.get("type") == "reasoning" or isinstance(item.get("content"), list):
            item.setdefault("id", "x")
    assert complaints(body, ResponseCreateParamsStreaming) == []


def test_thoughts_before_what_they_led_to() -> None:
    """
    The item is sent as it came, in its place, and without an id: nobody has kept it.
    """
    # S9
    assert sent(said("thinking_and_tools")) == [
        {
            "type": "reasoning",
            "summary": [
                {"type": "summary_text", "text": "**Looking** up."},
                {"type": "summary_text", "text": "Two cities."},
            ],
            "encrypted_content": "gAAAAencrypted==",
        },
        {
            "type": "message",
            "role": "assistant",
            "phase": "commentary",
            "content": "I will look.",
        },
        {
            "type": "function_call",
            "call_id": "call_a",
            "name": "get_weather",
            "arguments": '{"city":"Paris"}',
        },
        {
            "type": "function_call",
            "call_id": "call_b",
            "name": "get_weather",
            "namespace": "weather",
            "arguments": '{"city":"Köln"}',
        },
    ]


def test_order() -> None:
    """
    Thoughts and messages in turns stay in turns.
    """
    # S9
    items = sent(said("encrypted"))
    found = [item.get("encrypted_content") or item["content"] for item in items]
    assert found == ["gAAAAfirst", "One.", "gAAAAsecond", "Two."]


def test_another_provider_gets_none_of_it() -> None:
    """
    Words and calls go to everybody; opaque state only to whom it came from.
    """
    # S9
    mine = said("thinking_and_tools", provider="azure-responses")
    assert sent(mine, provider="azure-responses")[0]["type"] == "reasoning"
    items = sent(mine)
    assert [item["type"] for item in items] == [
        "message",
        "function_call",
        "function_call",
    ]
    assert items[0] == {
        "type": "message",
        "role": "assistant",
        "content": "I will look.",
    }
    assert "namespace" not in items[2]


def test_tools_of_the_providers_own() -> None:
    """
    Their items go back as they came, with their ids; a picture gets its bytes back.
    """
    # S9
    search, picture, approval, _ = sent(said("hosted_tools"))
    assert search["id"] == "ws_1"
    assert picture["result"] == "iVBORw0KGgogdGlueQ=="
    assert picture["id"] == "ig_1"
    assert approval["id"] == "mcpr_1"


def test_thoughts_that_only_an_id_stands_for() -> None:
    """
    Where nobody keeps them they cannot go back; where somebody does, all ids go along.
    """
    # S9
    message = assistant(thought(id="rs_1"), text("Said.", id="msg_1"))
    (item,) = sent(message)
    assert item == {"type": "message", "role": "assistant", "content": "Said."}
    assert sent(message, store=True) == [
        {"type": "reasoning", "summary": [], "id": "rs_1"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Said.", "annotations": []}],
        },
    ]


def test_thoughts_that_lost_what_they_led_to() -> None:
    """
    By their id they would be refused: their follower was edited, or is gone.
    """
    # S9
    message = assistant(thought(id="rs_1"), TextPart("Edited."), thought(id="rs_2"))
    (item,) = sent(message, store=True)
    assert item["content"] == "Edited."


def test_thoughts_in_the_open() -> None:
    """
    They carry themselves, as encrypted ones do; a summary does not.
    """
    content = [{"type": "reasoning_text", "text": "Hm."}]
    first, _ = sent(assistant(thought(id="rs_1", content=content), "Said."))
    assert first == {"type": "reasoning", "summary": [], "content": content}


def test_thoughts_of_others() -> None:
    """
    Without a state of ours they are nobody's business here.
    """
    (item,) = sent(assistant(ReasoningPart("Hm."), "Said."))
    assert item["content"] == "Said."


def test_a_message_of_several_parts() -> None:
    """
    Parts of one message stay together; another id is another message.
    """
    message = assistant(
        text("One.", id="a"),
        text("Two.", id="a"),
        text("Three.", id="b", phase="final_answer"),
        RefusalPart("No."),
    )
    first, second, third = sent(message)
    assert first == {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "One.", "annotations": []},
            {"type": "output_text", "text": "Two.", "annotations": []},
        ],
    }
    assert second == {
        "type": "message",
        "role": "assistant",
        "phase": "final_answer",
        "content": "Three.",
    }
    assert third["content"] == [{"type": "refusal", "refusal": "No."}]


def test_a_message_of_no_words() -> None:
    """
    It is sent only by its id, for the sake of the reasoning before it.
    """
    message = assistant(thought(id="rs_1"), text("", id="msg_1"))
    assert sent(message) == []
    assert [item["id"] for item in sent(message, store=True)] == ["rs_1", "msg_1"]


def test_answers_to_items_of_the_providers() -> None:
    """
    An approval is the user's, and an item of its own between what else is said.
    """
    approval = {"type": "mcp_approval_response", "approval_request_id": "m"}
    foreign = opaque({"type": "x"}, "anthropic")
    request = ChatRequest(
        Message(Role.USER, ["Before.", opaque(approval), "After.", foreign]), "openai:m"
    )
    assert encode_request(request).body["input"] == [
        {"role": "user", "content": "Before."},
        approval,
        {"role": "user", "content": "After."},
    ]
    request = ChatRequest(Message(Role.USER, [opaque(approval)]), "openai:m")
    assert encode_request(request).body["input"] == [approval]


@pytest.mark.parametrize(
    "part",
    [
        ImagePart(url="https://e.com/a.png"),
        evolve(ImagePart(data=b"GIF8"), provider_state=ProviderState("google", {})),
        AudioPart(data=b"RIFF", media_type="audio/wav"),
    ],
)
def test_media_of_the_assistants(part: Any) -> None:
    """
    Only its own pictures can go back.
    """
    # G5
    with pytest.raises(InvalidRequestError, match="assistant's"):
        sent(assistant("Here:", part))
    (item,) = sent(assistant("Here:", part), on_unsupported="ignore")
    assert item["content"] == "Here:"


def test_opaque_parts_of_others() -> None:
    """
    They stay at home; ones of ours go back whole, whatever they are.
    """
    # S9
    odd = {"no": "type"}
    message = assistant(
        opaque({"type": "x"}, "anthropic"),
        OpaquePart("unknown", ProviderState("openai", odd)),
        "Said.",
    )
    assert sent(message)[0] == odd
    assert len(sent(message)) == 2


def test_the_state_is_not_ours_to_change() -> None:
    """
    Encoding twice gives the same: nothing in the conversation is touched.
    """
    items = {"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}
    message = fold_of(
        event("output_item.done", output_index=0, item=items), completed()
    ).message
    assert sent(message) == sent(message)
    assert items["id"] == "rs_1"
