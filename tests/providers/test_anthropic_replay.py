"""What Anthropic said goes back to it as it came (S9)."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from aichat.providers.anthropic import MessagesDecoder, encode_request
from aichat.types import (
    ChatRequest,
    Message,
    OpaquePart,
    ProviderState,
    ReasoningPart,
    ToolCallPart,
    assistant,
    dumps,
    fold,
    from_json,
    to_json,
    tool_result,
    user,
)

from .anthropic_sdk import complaints
from .anthropic_streams import response


def sent_back(message: Message, model: str = "claude-opus-4-8") -> list[Any]:
    """The blocks that *message* becomes in the next request."""
    results = [tool_result(call, "done") for call in message.tool_calls]
    conversation = [user("Go on."), message, *results]
    body = encode_request(ChatRequest(conversation, model, prefill=not results)).body
    blocks = body["messages"][1]["content"]
    return [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks


def test_thoughts_redacted_thoughts_and_calls() -> None:
    """The next request holds the very blocks that the stream spelled out."""
    message = response("thinking_and_tools").message
    assert sent_back(message) == [
        {
            "type": "thinking",
            "thinking": "Two cities, two calls.",
            "signature": "RXEvUUJDLi4r==",
        },
        {"type": "redacted_thinking", "data": "T3BhcXVl/data+=="},
        {"type": "text", "text": "Checking."},
        {
            "type": "tool_use",
            "id": "toolu_01",
            "name": "get_weather",
            "input": {"city": "Zürich", "id": 123456789012345678901234567890},
            "caller": {"type": "direct"},
        },
        {"type": "tool_use", "id": "toolu_02", "name": "now", "input": {}},
    ]


def test_a_thought_without_words() -> None:
    """It is the signature that counts."""
    message = response("omitted_thinking").message
    thought, _ = sent_back(message, "claude-opus-4-5")
    assert thought == {"type": "thinking", "thinking": "", "signature": "c2lnbmVk"}


def test_a_paused_answer_is_continued() -> None:
    """Every model goes on with what it paused in, its encrypted parts included."""
    blocks = sent_back(response("server_tools_paused").message, "claude-sonnet-4-6")
    assert blocks == [
        {"type": "text", "text": "I'll look."},
        {
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "web_search",
            "input": {"query": "fjords"},
        },
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [
                {
                    "type": "web_search_result",
                    "url": "https://example.com/fjords",
                    "title": "Fjords",
                    "encrypted_content": "RW5jcnlwdGVk",
                    "page_age": None,
                }
            ],
        },
        {
            "type": "text",
            "text": "They are deep.",
            "citations": [
                {
                    "type": "web_search_result_location",
                    "cited_text": "Fjords are deep.",
                    "url": "https://example.com/fjords",
                    "title": "Fjords",
                    "encrypted_index": "RW9CQQ==",
                }
            ],
        },
        {
            "type": "server_tool_use",
            "id": "srvtoolu_2",
            "name": "web_search",
            "input": {"query": "how deep"},
        },
    ]


@pytest.mark.parametrize("name", ["thinking_and_tools", "server_tools_paused"])
def test_the_way_through_a_file(name: str) -> None:
    """A conversation that was stored goes back no differently."""
    message = response(name).message
    stored = from_json(Message, to_json(message))
    assert dumps(sent_back(stored)) == dumps(sent_back(message))


@pytest.mark.parametrize("name", ["thinking_and_tools", "server_tools_paused"])
def test_the_sdk_has_a_place_for_all_of_it(name: str) -> None:
    """What we send back is what Anthropic's own types allow."""
    message = response(name).message
    results = [tool_result(call, "done") for call in message.tool_calls]
    request = ChatRequest(
        [user("Hi"), message, *results], "claude-opus-4-8", prefill=not results
    )
    assert complaints(encode_request(request).body) == []


@given(
    st.lists(
        st.one_of(
            st.fixed_dictionaries({
                "type": st.just("thinking"),
                "thinking": st.text(),
                "signature": st.text(min_size=1),
            }),
            st.fixed_dictionaries({
                "type": st.just("redacted_thinking"),
                "data": st.text(),
            }),
            st.fixed_dictionaries({
                "type": st.just("text"),
                "text": st.text(min_size=1).filter(lambda text: bool(text.strip())),
            }),
            st.fixed_dictionaries({
                "type": st.just("hologram"),
                "content": st.dictionaries(st.text(), st.integers() | st.none()),
            }),
            st.fixed_dictionaries({
                "type": st.just("tool_use"),
                "id": st.uuids().map("toolu_{}".format),
                "name": st.just("f"),
                "input": st.dictionaries(st.text(), st.integers() | st.text()),
            }),
        ),
        max_size=6,
    )
)
def test_any_answer_comes_back_as_it_went(blocks: list[dict[str, Any]]) -> None:
    """Whatever the blocks and their order, the next request holds the same ones."""
    decoder = MessagesDecoder()
    document = {"type": "message", "content": blocks, "stop_reason": "end_turn"}
    message = fold([*decoder.document(document), *decoder.flush()]).message
    # A call at the end makes the message one that anything may follow.
    last = ToolCallPart("toolu_last", "f")
    message = evolve(message, content=(*message.content, last))
    assert sent_back(message)[:-1] == blocks


def test_what_belongs_to_others_stays_with_us() -> None:
    """Another provider's secrets, and thoughts that nobody signed, are not sent."""
    message = assistant(
        ReasoningPart("a", provider_state=ProviderState("openai", {"signature": "s"})),
        ReasoningPart("b"),
        ReasoningPart(
            "c", provider_state=ProviderState("anthropic", {"type": "thinking"})
        ),
        OpaquePart("search", ProviderState("openai", {"type": "web_search_call"})),
        OpaquePart("odd", ProviderState("anthropic", "no object")),
        "Hello.",
        ToolCallPart("c1", "f", provider_state=ProviderState("google", {"x": 1})),
    )
    assert sent_back(message) == [
        {"type": "text", "text": "Hello."},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
    ]


def test_a_citation_goes_back_without_what_only_answers_have() -> None:
    """``file_id`` is refused in requests; other providers' citations are theirs."""
    decoder = MessagesDecoder()
    raw = {
        "type": "char_location",
        "cited_text": "x",
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 1,
    }
    document = {
        "type": "message",
        "content": [
            {"type": "text", "text": "A", "citations": [{**raw, "file_id": None}]}
        ],
        "stop_reason": "end_turn",
    }
    message = fold([*decoder.document(document), *decoder.flush()]).message
    conversation = [user("Hi"), message, user("And?")]
    body = encode_request(ChatRequest(conversation, "claude-opus-5")).body
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "A", "citations": [raw]}
    ]
    assert complaints(body) == []
