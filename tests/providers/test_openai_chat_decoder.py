"""Chat Completions to chunks: `aichat.providers._openai_chat_decoder`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aichat.errors import (
    AIChatError,
    BadRequestError,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    ResponseTooLargeError,
    ServerError,
    StreamInterruptedError,
)
from aichat.providers.compatible import SPECS
from aichat.providers.openai_chat import ChatCompletionsDecoder
from aichat.testing import check_stream
from aichat.transport import ServerSentEvent
from aichat.types import (
    Accumulator,
    AudioPart,
    ChatResponse,
    Citation,
    CitationDelta,
    FinishReason,
    ImagePart,
    OpaquePart,
    Part,
    ProviderState,
    ReasoningDelta,
    ReasoningPart,
    RefusalPart,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    TextPart,
    ToolCallPart,
    Usage,
    UsageUpdate,
    fold,
)

from .openai_chat_streams import (
    RECORDINGS,
    chunk,
    decoder,
    delta,
    fold_of,
    play,
    recording,
)


def response(name: str, **options: Any) -> ChatResponse:
    return fold(check_stream(play(recording(name), **options)))


def counts(usage: Usage) -> tuple[int | None, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


# -- recordings --------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_grammar(name: str) -> None:
    """
    Every recording is a proper stream, with a start and an end.
    """
    # S1
    chunks = check_stream(play(recording(name)))
    assert isinstance(chunks[0], ResponseStart)
    assert isinstance(chunks[-1], ResponseEnd)


@pytest.mark.parametrize("name", RECORDINGS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_cut(name: str, data: st.DataObject) -> None:
    """
    However the network cuts the bytes, the response is the same.
    """
    # S3
    body = recording(name)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    assert fold(play(body, cuts)) == fold(play(body))


@pytest.mark.parametrize("name", RECORDINGS)
def test_byte_by_byte(name: str) -> None:
    """
    Reads of one byte are cuts as well.
    """
    # S3
    body = recording(name)
    assert fold(play(body, range(1, len(body)))) == fold(play(body))


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_truncated_stream(name: str) -> None:
    """
    Without finish reason and [DONE] there is no response, only what arrived.
    """
    # S4
    body = recording(name)
    events = body.replace(b"\r\n", b"\n").split(b"\n\n")
    kept = [
        event
        for event in events
        if event != b"data: [DONE]"
        and not any(f'"finish_reason":"{r}'.encode() in event for r in "stco")
    ]
    assert len(kept) < len(events)
    with pytest.raises(StreamInterruptedError):
        play(b"\n\n".join(kept) + b"\n\n")


def test_plain_text() -> None:
    """
    Text, facts and usage of an ordinary answer, usage coming after the finish reason.
    """
    # S8, S10
    answer = response("text")
    assert answer.text == "Grüße aus 東京 🎉"
    assert answer.message.content == (TextPart("Grüße aus 東京 🎉"),)
    assert answer.finish_reason is FinishReason.STOP
    assert (answer.id, answer.model) == ("chatcmpl-1", "gpt-4.1-mini-2025-04-14")
    assert answer.created_at == 1760000000
    assert counts(answer.usage) == (9, 7, 4, 2, 0)
    assert answer.usage.raw["prompt_tokens_details"]["audio_tokens"] == 0
    assert answer.metadata == {
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "moderation": {"input": {"type": "moderation_results", "results": []}},
    }


def test_parallel_tool_calls() -> None:
    """
    Two calls, the second without arguments, the first in the chunk with the role.
    """
    answer = response("parallel_tools")
    assert answer.message.content == (
        ToolCallPart("call_a", "get_weather", '{"city":"Köln"}'),
        ToolCallPart("call_b", "get_time", ""),
    )
    assert [call.parse() for call in answer.tool_calls] == [{"city": "Köln"}, {}]
    assert answer.finish_reason is FinishReason.TOOL_CALLS


def test_reasoning_before_text() -> None:
    """
    DeepSeek's two fields, one of them null at a time, are two parts.
    """
    answer = response("deepseek")
    assert answer.message.content == (
        ReasoningPart("Two and two is four."),
        TextPart("It is four."),
    )
    assert counts(answer.usage) == (12, 11, 8, None, 6)


def test_reasoning_details_go_back_whole() -> None:
    """
    OpenRouter's fragments are joined with their signature, and the text counts once.
    """
    # S9
    answer = response("openrouter", provider="openrouter")
    assert answer.reasoning == "Let me look."
    assert answer.text == "Looking."
    detail = {
        "type": "reasoning.text",
        "format": "anthropic-claude-v1",
        "index": 0,
        "text": "Let me look.",
        "signature": "c2lnbmVk",
    }
    state = ProviderState("openrouter", {"reasoning_details": [detail]})
    assert answer.message.provider_state == state
    assert counts(answer.usage) == (20, 9, 0, 5, 4)
    assert answer.usage.raw["cost"] == 0.00012
    assert answer.metadata == {
        "provider": "Anthropic",
        "native_finish_reason": "end_turn",
    }


def test_content_as_a_list() -> None:
    """
    Mistral's thoughts, references and a call whole in one delta keep their order.
    """
    # S9
    answer = response("mistral", provider="mistral")
    reference = ProviderState("mistral", {"type": "reference", "reference_ids": [1]})
    assert answer.message.content == (
        ReasoningPart(
            "Hm, so.", provider_state=ProviderState("mistral", {"closed": True})
        ),
        TextPart("See "),
        OpaquePart("reference", reference),
        TextPart("below."),
        ToolCallPart("qDEcl0n92", "search", '{"q": 1}'),
    )
    assert counts(answer.usage) == (10, 8, 3, None, None)


def test_azure_filters() -> None:
    """
    The empty first chunk names nothing; what the filters said is kept, the last word too.
    """
    answer = response("azure")
    assert answer.text == "Fine so far."
    assert (answer.id, answer.model) == ("az-1", "gpt-4o-2024-11-20")
    assert answer.created_at == 1760000004
    assert answer.metadata["content_filter_results"] == {
        "hate": {"filtered": False, "severity": "low"}
    }
    assert answer.metadata["content_filter_offsets"]["check_offset"] == 4
    assert answer.metadata["prompt_filter_results"][0]["prompt_index"] == 0


def test_a_message_beside_the_delta() -> None:
    """
    Perplexity repeats everything in each chunk: only deltas and the last usage count.
    """
    # S8
    answer = response("perplexity")
    assert answer.text == "<think>\nlook</think>\n\nFound[1][2]."
    assert counts(answer.usage) == (4, 7, None, None, None)
    assert answer.citations == (
        Citation("https://a.example/", "A", "about a"),
        Citation("https://b.example/", "B"),
    )
    assert answer.metadata["citations"][0] == "https://a.example/"


def test_think_tags_where_the_vendor_writes_them() -> None:
    """
    With the quirk, thoughts between tags are reasoning, wherever the tags are cut.
    """
    target = SPECS["perplexity"].decoder()
    assert isinstance(target, ChatCompletionsDecoder)
    answer = response("perplexity", think_tags=target.think_tags)
    assert answer.message.content[0] == ReasoningPart("\nlook")
    assert answer.text == "Found[1][2]."


def test_a_text_that_only_begins_like_a_tag() -> None:
    """
    What was held back comes out at the end, as what it is.
    """
    events = [delta(content="<thi"), delta("stop")]
    assert fold_of(*events, think_tags=True).message.content == (TextPart("<thi"),)
    events = [delta(content="<think>a</th"), delta("length")]
    assert fold_of(*events, think_tags=True).reasoning == "a</th"


def test_texts_in_a_list() -> None:
    """
    A list of content may hold bare texts, and thoughts that are not lists.
    """
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "thinking", "thinking": []},
    ]
    answer = fold_of(
        delta("stop", content=[*content, "a", {"type": "text", "text": "b"}])
    )
    assert answer.message.content == (ReasoningPart("hm"), TextPart("ab"))


def test_reasoning_outside_completion_tokens() -> None:
    """
    xAI's output includes reasoning here, although its completion_tokens do not.
    """
    # S8
    answer = response("xai")
    assert counts(answer.usage) == (12, 291, None, None, 290)
    assert answer.usage.total_tokens == 303
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.raw_finish_reason == "stop"


def test_thought_signatures_of_gemini() -> None:
    """
    Calls that are all number 0 stay two, and a signature belongs to its own.
    """
    # S9
    answer = response("gemini", provider="gemini")
    google = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    assert answer.message.content == (
        ToolCallPart(
            "fc_1", "f", '{"a":1}', provider_state=ProviderState("gemini", google)
        ),
        ToolCallPart("fc_2", "f", '{"a":2}'),
    )
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    # An id of "" is none, and hidden thinking that nobody counts is not invented.
    assert answer.id is None
    assert counts(answer.usage) == (3, 4, None, None, None)


def test_a_refusal() -> None:
    """
    A refusal that ends with stop is filtered content, with its words kept.
    """
    answer = response("refusal")
    assert answer.message.content == (RefusalPart("I cannot do that."),)
    assert answer.finish_reason is FinishReason.CONTENT_FILTER
    assert answer.raw_finish_reason == "stop"


def test_audio() -> None:
    """
    Pieces of audio and transcript become one part, even without a finish reason.
    """
    answer = response("audio")
    state = {"audio": {"id": "audio_1", "expires_at": 1760003600}}
    assert answer.message.content == (
        AudioPart(
            data=b"RIFF\0\0\0\0WAVE",
            transcript="Hello there",
            provider_state=ProviderState("openai-chat", state),
        ),
    )
    assert answer.finish_reason is FinishReason.OTHER
    assert answer.raw_finish_reason is None


def test_annotations() -> None:
    """
    Citations belong to the text before them; other annotations are facts.
    """
    answer = response("annotations")
    citation = Citation("https://docs.example/", "Docs", start=0, end=12)
    assert answer.message.content == (TextPart("Per the docs.", citations=[citation]),)
    assert answer.metadata["annotations"] == [{"type": "file", "file": {"hash": "h"}}]


# -- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "words", "said"),
    [
        ("error_openai", ServerError, "The server had an error", ""),
        ("error_groq", BadRequestError, "Failed to call a function", ""),
        (
            "error_openrouter",
            ProviderUnavailableError,
            "Provider returned",
            "Half an answer",
        ),
        ("error_vllm", ServerError, "out of memory", "a"),
        ("error_gemini", ProviderUnavailableError, "overloaded", ""),
    ],
)
def test_an_error_within_a_stream(
    name: str, kind: type[ProviderError], words: str, said: str
) -> None:
    """
    Every known shape raises the error of its HTTP form; what stood before it comes first.
    """
    # S5
    target, so_far = decoder(error_codes=SPECS["groq"].error_codes), Accumulator()
    with pytest.raises(kind, match=words):
        _play_into(so_far, target, recording(name))
    assert so_far.response().text == said


def _play_into(
    so_far: Accumulator, target: ChatCompletionsDecoder, body: bytes
) -> None:
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        event = chunk(lines.get("data", ""), lines.get("event", "message"))
        for item in target.decode(event):
            so_far.add(item)


@pytest.mark.parametrize(
    "value",
    [
        {"error": "it broke"},
        {"error": {"message": "it broke"}},
        {"detail": "it broke"},
        {"message": "it broke"},
        {"code": "x", "error": "it broke"},
        {"type": "error", "error": {"message": "it broke"}},
        {"id": "x", "model": "m", "choices": None, "error": {"message": "it broke"}},
        {"choices": [{"index": 0, "error": {"message": "it broke"}, "delta": {}}]},
        [{"error": {"message": "it broke"}}],
    ],
)
def test_shapes_of_errors(value: Any) -> None:
    """
    An error is one in a stream and as a whole answer, and never an empty success.
    """
    # S5, S6
    with pytest.raises(ProviderError, match="it broke"):
        list(decoder().decode(chunk(value)))
    with pytest.raises(ProviderError, match="it broke"):
        list(decoder().document(value))


def test_an_event_called_error() -> None:
    """
    Its name is enough, whatever it holds.
    """
    with pytest.raises(ProviderError):
        list(decoder().decode(chunk({"reason": "overloaded"}, "error")))


def test_an_error_code_of_the_vendors_own() -> None:
    """
    The vendor's table comes first, in a stream as over HTTP.
    """
    # S5
    error = {"error": {"message": "slowly", "code": "1302"}}
    target = SPECS["zai"].decoder()
    with pytest.raises(RateLimitError):
        list(target.decode(chunk(error)))


# -- the end -----------------------------------------------------------------------------


def test_done_without_a_finish_reason() -> None:
    """
    [DONE] after something was said is an end, with no reason made up.
    """
    # S4
    answer = fold_of(delta(content="Hi"), chunk("[DONE]"))
    assert answer.finish_reason is FinishReason.OTHER
    assert answer.raw_finish_reason is None


def test_done_after_nothing() -> None:
    """
    [DONE] after nothing is no answer.
    """
    # S4
    target = decoder()
    assert [*target.decode(delta()), *target.decode(chunk("[DONE]"))] == [
        ResponseStart("chatcmpl-1", "m")
    ]
    assert target.finished
    assert not target.complete
    with pytest.raises(StreamInterruptedError, match="nothing else"):
        target.flush()


def test_an_empty_answer_that_ended() -> None:
    """
    A model may have nothing to say.
    """
    answer = fold_of(delta("stop"), chunk("[DONE]"))
    assert answer.message.content == ()
    assert answer.finish_reason is FinishReason.STOP


def test_complete_before_finished() -> None:
    """
    A finish reason completes the answer; usage may follow, until [DONE].
    """
    target = decoder()
    assert not target.complete
    list(target.decode(delta("stop", content="Hi")))
    assert target.complete
    assert not target.finished
    list(target.decode(chunk(" [DONE] ")))
    assert target.finished


def test_content_in_the_chunk_with_the_reason() -> None:
    """
    The delta is read before the reason, and after it as well.
    """
    answer = fold_of(
        delta(content="a"), delta("length", content="b"), delta(content="c")
    )
    assert answer.text == "abc"
    assert answer.finish_reason is FinishReason.LENGTH


def test_an_empty_reason_is_no_end() -> None:
    """
    xAI writes "" for none; with [DONE] after it, it is an ordinary end.
    """
    # S4
    target = decoder()
    list(target.decode(delta("", content="Hi")))
    with pytest.raises(StreamInterruptedError):
        target.flush()
    answer = fold_of(delta("", content="Hi"), chunk("[DONE]"))
    assert answer.finish_reason is FinishReason.STOP


def test_the_last_reason_counts() -> None:
    """
    Reasons may be repeated, and null or "" takes none back.
    """
    answer = fold_of(
        delta("stop", content="Hi"), delta("content_filter"), delta(None), delta("")
    )
    assert answer.raw_finish_reason == "content_filter"


def test_a_stop_sequence() -> None:
    """
    vLLM says which one was met.
    """
    choice = {"delta": {"content": "a"}, "finish_reason": "stop", "stop_reason": "END"}
    assert fold_of(chunk({"choices": [choice]})).stop_sequence == "END"


# -- deltas ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field", ["reasoning_content", "reasoning", "thinking", "think", "chain_of_thought"]
)
def test_every_name_of_reasoning(field: str) -> None:
    """
    It has many names.
    """
    answer = fold_of(
        delta(**{field: "a"}), delta(**{field: "b"}), delta("stop", content="c")
    )
    assert answer.message.content == (ReasoningPart("ab"), TextPart("c"))


def test_the_same_reasoning_under_two_names() -> None:
    """
    LiteLLM and some vLLM say it twice; it counts once.
    """
    twice = [delta(reasoning="a", reasoning_content="a") for _ in range(3)]
    assert fold_of(*twice, delta("stop")).reasoning == "aaa"


def test_reasoning_only_in_details() -> None:
    """
    Snowflake has no other place for it, and nothing is encrypted there.
    """
    details = [
        {"type": "reasoning.text", "index": 0, "text": text} for text in ("15", " * 27")
    ]
    answer = fold_of(*(delta(reasoning_details=[d]) for d in details), delta("stop"))
    assert answer.reasoning == "15 * 27"
    joined = {"type": "reasoning.text", "index": 0, "text": "15 * 27"}
    state = ProviderState("openai-chat", {"reasoning_details": [joined]})
    assert answer.message.provider_state == state


def test_details_that_are_not_fragments_of_each_other() -> None:
    """
    Encrypted ones, other kinds, places, ids and signed texts stay apart, unchanged.
    """
    # S9
    details: list[dict[str, Any]] = [
        {"type": "reasoning.summary", "index": 0, "summary": "s"},
        {"type": "reasoning.encrypted", "index": 0, "data": "x", "id": "1"},
        {"type": "reasoning.encrypted", "index": 0, "data": "y", "id": "2"},
        {"type": "reasoning.text", "index": 1, "text": "a", "signature": "sig"},
        {"type": "reasoning.text", "index": 1, "text": "b", "id": "3"},
        {"type": "reasoning.text", "index": 1, "text": "c", "id": "4"},
        {"type": "reasoning.text", "index": 2, "text": "d", "new": None},
        {"type": "reasoning.text", "index": 3, "text": None, "signature": "sig"},
    ]
    events = [delta(reasoning_details=[detail]) for detail in details]
    answer = fold_of(*events, delta("stop", reasoning_details=["?"]))
    assert answer.message.provider_state is not None
    assert answer.message.provider_state.payload == {"reasoning_details": details}
    assert answer.reasoning == "sabcd"


def test_parts_in_the_order_of_appearance() -> None:
    """
    Another kind of part begins a new one; a tool call's later fragments do not.
    """
    # S9
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}
    answer = fold_of(
        delta(reasoning="a"),
        delta(content="b"),
        delta(reasoning="c"),
        delta(tool_calls=[call]),
        delta(content="d"),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "}"}}]),
        delta("stop", content="e"),
    )
    assert answer.message.content == (
        ReasoningPart("a"),
        TextPart("b"),
        ReasoningPart("c"),
        ToolCallPart("c", "f", "{}"),
        TextPart("de"),
    )


def test_only_the_first_choice() -> None:
    """
    A stream is one answer: other choices pass without harm.
    """

    def choices(*texts: tuple[int, str]) -> ServerSentEvent:
        return chunk({
            "choices": [{"index": i, "delta": {"content": t}} for i, t in texts]
        })

    answer = fold_of(
        choices((0, "a")),
        choices((1, "X")),
        choices((1, "X"), (0, "b")),
        delta("stop"),
    )
    assert answer.text == "ab"


def test_a_choice_without_a_number() -> None:
    """
    Some models of xAI leave it out.
    """
    answer = fold_of(
        chunk({"choices": [{"delta": {"content": "a"}}]}),
        chunk({"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}),
    )
    assert answer.text == "ab"


@pytest.mark.parametrize(
    ("where", "extra"),
    [
        ("chunk", {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        ("chunk", {"new": 1}),
        ("choice", {"logprobs": {"content": [{"token": "b"}]}}),
        ("choice", {"finish_reason": "length"}),
        ("choice", {"content_filter_results": {"hate": {"filtered": True}}}),
        ("choice", {"index": 1}),
        ("delta", {"role": "assistant", "executed_tools": [1]}),
        ("delta", {"reasoning_content": "c"}),
        ("delta", {"refusal": "no"}),
    ],
)
def test_what_comes_along_with_text(where: str, extra: dict[str, Any]) -> None:
    """
    A chunk with more than text, after many with only text, is read as thoroughly.
    """

    def event(where: str = "", extra: Any = ()) -> ServerSentEvent:
        delta: dict[str, Any] = {"content": "b"}
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": None}
        value: dict[str, Any] = {"id": "1", "model": "m", "choices": [choice]}
        value |= {"usage": None}
        holders = {"chunk": value, "choice": choice, "delta": delta, "": {}}
        holders[where].update(extra)
        return chunk(value)

    fast, thorough = decoder(), decoder()
    quick = [
        *fast.decode(event()),
        *fast.decode(event()),
        *fast.decode(event(where, extra)),
    ]
    slow = [*thorough.decode(event()), *thorough.decode(event())]
    # An event of another shape takes the decoder off the fast path.
    slow += thorough.decode(chunk({"choices": []}))
    slow += thorough.decode(event(where, extra))
    ends = [[*d.decode(chunk("[DONE]")), *d.flush()] for d in (fast, thorough)]
    assert [*quick, *ends[0]] == [*slow, *ends[1]]
    plain = decoder()
    usual = [c for _ in range(3) for c in plain.decode(event())]
    assert [*quick, *ends[0]] != [
        *usual,
        *plain.decode(chunk("[DONE]")),
        *plain.flush(),
    ]


def test_the_ordinary_event_costs_one_chunk() -> None:
    """
    What is like the one before but for its text takes the fast path, and is still right.
    """
    target = decoder()

    def quickly(*events: ServerSentEvent) -> list[StreamChunk]:
        chunks: list[StreamChunk] = []
        assert target.run((ServerSentEvent(b"x"), *events), 1, chunks) == len(chunks)
        return chunks

    assert quickly(delta(reasoning="a")) == []
    list(target.decode(delta(reasoning="a")))
    assert quickly(delta(reasoning="b"), delta(reasoning="c")) == [
        ReasoningDelta("b", 0),
        ReasoningDelta("c", 0),
    ]
    otherwise = delta(reasoning="d", content=None)
    assert quickly(otherwise) == []
    assert target.decode(otherwise) == [ReasoningDelta("d", 0)]
    assert quickly(otherwise) == [ReasoningDelta("d", 0)]
    assert target.decode(delta(content="e")) == [TextDelta("e", 1)]
    assert quickly(delta(content="f"), otherwise, delta(content="g")) == [
        TextDelta("f", 1)
    ]
    for odd in (chunk("[DONE]"), ServerSentEvent(b"[]"), delta(content=[])):
        assert quickly(odd) == []
    assert target.decode(delta(reasoning="h")) == [ReasoningDelta("h", 2)]


def test_what_changes_and_means_nothing_is_learned() -> None:
    """
    Padding, and an id or a time that each event has anew, do not end the fast path.
    """

    def padded(text: str, number: int) -> ServerSentEvent:
        noise = {"id": f"c-{number}", "created": number, "obfuscation": "x" * number}
        return chunk({**noise, "model": "m", "choices": [{"delta": {"content": text}}]})

    target = decoder()
    texts = [list(target.decode(padded("a", number))) for number in (1, 2)]
    assert texts[0][-1] == texts[1][-1] == TextDelta("a", 0)
    chunks: list[StreamChunk] = []
    changed = chunk({"model": "other", "choices": [{"delta": {"content": "c"}}]})
    events = [padded("b", 3), padded("b", 4), changed]
    assert target.run(events, 0, chunks) == 2
    assert chunks == [TextDelta("b", 0)] * 2
    assert target.decode(changed) == [TextDelta("c", 0)]


def test_usage_field_by_field() -> None:
    """
    Usage may come in pieces, anywhere, and null takes nothing back.
    """
    # S8
    target = decoder()
    events = [
        {"choices": [], "x_groq": {"id": "req_1", "usage": {"prompt_tokens": 3}}},
        {"choices": [{"delta": {}, "usage": {"completion_tokens": 1}}]},
        {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": 2}},
        {"choices": [], "usage": None},
    ]
    updates = [
        counts(item.usage)[:2]
        for value in events
        for item in target.decode(chunk(value))
        if isinstance(item, UsageUpdate)
    ]
    assert updates == [(3, None), (3, 1), (3, 2)]


def test_pictures() -> None:
    """
    OpenRouter's pictures are parts; what is no picture is a fact.
    """
    images: list[Any] = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "other"},
    ]
    answer = fold_of(delta("stop", images=images))
    assert answer.message.content == (
        ImagePart(data=b"hi", media_type="image/png"),
        ImagePart(url="https://example.com/a.png"),
    )
    assert answer.metadata["images"] == [{"type": "other"}]


def test_audio_cut_anywhere() -> None:
    """
    Base64 in pieces that are no base64 by themselves is one text that was cut.
    """
    answer = fold_of(
        *(delta(audio={"data": d}) for d in ("aGV", "sbG8=")), chunk("[DONE]")
    )
    assert answer.message.content == (AudioPart(data=b"hello"),)


def test_audio_whose_bytes_did_not_come() -> None:
    """
    Its id is what can be sent back.
    """
    answer = fold_of(delta("stop", audio={"id": "audio_1", "transcript": "Hi"}))
    (part,) = answer.message.content
    assert isinstance(part, AudioPart)
    assert (part.file_id, part.transcript) == ("audio_1", "Hi")


def test_citations_before_any_text() -> None:
    """
    They wait for it in a text part of their own.
    """
    source = {"type": "url_citation", "url_citation": {"url": "https://x.example/"}}
    answer = fold_of(delta(annotations=[source]), delta("stop", content="Hi"))
    citation = Citation("https://x.example/")
    assert answer.message.content == (TextPart("Hi", citations=[citation]),)


@pytest.mark.parametrize(
    ("sources", "urls"),
    [
        ({"citations": ["https://a.example/"]}, ["https://a.example/"]),
        ({"citations": "https://a.example/"}, []),
        (
            {"search_results": [{"url": "https://b.example/"}, 7]},
            ["https://b.example/"],
        ),
        ({"search_results": {"url": "https://b.example/"}}, []),
    ],
)
def test_sources_beside_the_answer(sources: dict[str, Any], urls: list[str]) -> None:
    """
    Lists of sources are citations of the text; other shapes are only facts.
    """
    last = chunk({"choices": [], **sources})
    answer = fold_of(delta("stop", content="Hi"), last)
    assert [citation.url for citation in answer.citations] == urls
    assert answer.metadata == sources
    # Without text there is nothing to cite.
    assert fold_of(delta("stop"), last).message.content == ()


def test_log_probabilities_add_up() -> None:
    """
    They come token by token, and stay in the metadata.
    """

    def event(token: str) -> ServerSentEvent:
        log = {"content": [{"token": token, "logprob": -0.1}], "refusal": None}
        choice = {"delta": {"content": token}, "logprobs": log}
        return chunk({"choices": [choice]})

    answer = fold_of(event("a"), event("b"), delta("stop"))
    tokens = [entry["token"] for entry in answer.metadata["logprobs"]["content"]]
    assert tokens == ["a", "b"]
    assert answer.text == "ab"


def test_unknown_things_are_kept() -> None:
    """
    Nobody's invention does harm, and structured ones are facts.
    """
    # S10
    answer = fold_of(
        delta(content="a", executed_tools=[{"n": 1}], channel="final"),
        delta(executed_tools=[{"n": 2}], provider_metadata={"a": {"b": 1}}),
        chunk({"object": "news", "choices": [], "timings": {"ms": 1}, "nothing": None}),
        chunk({"choices": [], "timings": {"s": 2}}),
        delta("pondering"),
    )
    assert answer.finish_reason is FinishReason.OTHER
    assert answer.raw_finish_reason == "pondering"
    assert answer.metadata == {
        "executed_tools": [{"n": 1}, {"n": 2}],
        "provider_metadata": {"a": {"b": 1}},
        "timings": {"ms": 1, "s": 2},
    }


# -- whole answers -----------------------------------------------------------------------


def whole(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> Any:
    choice = {"index": 0, "message": message, "finish_reason": finish, **more}
    return {"id": "chatcmpl-1", "model": "m", "created": 1, "choices": [choice]}


def document(value: Any) -> ChatResponse:
    target = decoder()
    return fold(check_stream([*target.document(value), *target.flush()]))


def test_a_whole_answer() -> None:
    """
    A JSON document holds the same things in one piece.
    """
    # S6
    calls = [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "f", "arguments": '{"a":1}'},
        },
        {
            "id": "c2",
            "type": "function",
            "function": {"name": "f", "arguments": {"a": 2}},
        },
        {"id": "c3", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
    ]
    answer = document(
        whole({
            "role": "assistant",
            "reasoning_content": "Hm.",
            "content": "Hi",
            "tool_calls": calls,
        })
        | {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    )
    assert answer.message.content == (
        ReasoningPart("Hm."),
        TextPart("Hi"),
        ToolCallPart("c1", "f", '{"a":1}'),
        ToolCallPart("c2", "f", '{"a":2}'),
        ToolCallPart("c3", "sql", "SELECT 1", kind="custom"),
    )
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.usage.total_tokens == 3


def test_calls_of_a_whole_answer_are_never_fragments() -> None:
    """
    The same id twice is two calls, each with an id of its own.
    """
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    answer = document(whole({"content": None, "tool_calls": [call, call]}, None))
    assert [c.id for c in answer.tool_calls] == ["c", "made_1"]
    assert answer.finish_reason is FinishReason.TOOL_CALLS


def test_an_empty_delta_beside_the_message() -> None:
    """
    Perplexity's whole answers have one, and a stream's chunk may be a message.
    """
    assert document(whole({"content": "Hi"}, delta={"content": ""})).text == "Hi"
    assert fold_of(chunk(whole({"content": "Hi"}))).text == "Hi"


def test_a_message_after_the_deltas() -> None:
    """
    A last chunk with everything once more adds nothing.
    """
    assert fold_of(delta(content="Hi"), chunk(whole({"content": "Hi"}))).text == "Hi"


def test_a_whole_answer_without_a_reason() -> None:
    """
    The end of a document is its end.
    """
    answer = document(whole({"content": "Hi"}, None))
    assert answer.finish_reason is FinishReason.OTHER


@pytest.mark.parametrize("value", [{}, {"choices": []}, {"choices": None, "id": "x"}])
def test_a_document_without_choices(value: Any) -> None:
    """
    An empty answer is no success.
    """
    # S6
    with pytest.raises(ProtocolError, match="no choices"):
        list(decoder().document(value))


def test_an_error_beside_a_choice() -> None:
    """
    OpenRouter's whole answers may have both; the error wins, the text is not lost.
    """
    # S5
    value = whole(
        {"content": "Half"}, "error", error={"code": 502, "message": "upstream"}
    )
    chunks: list[StreamChunk] = []
    with pytest.raises(ProviderUnavailableError, match="upstream"):
        chunks += decoder().document(value)
    assert TextDelta("Half") in chunks


def test_the_functions_of_old() -> None:
    """
    A function_call is a tool call without an id.
    """
    answer = fold_of(
        delta(function_call={"name": "f", "arguments": ""}),
        delta(function_call={"arguments": '{"a":1}'}),
        delta("function_call", function_call={"name": "", "arguments": ""}),
    )
    assert answer.tool_calls == (ToolCallPart("made_1", "f", '{"a":1}'),)


# -- hostile input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"NaN",
        b'{"choices":[{"delta":{"content":NaN}}]}',
        b"<html>",
        b"7",
        b"null",
        b'"text"',
        b"[]",
        b"[1]",
        b'{"choices":7}',
        b'{"choices":[7]}',
        b'{"choices":[{"delta":7}]}',
        b'{"choices":[{"message":"x"}]}',
        b'{"choices":[{"delta":{"content":7}}]}',
        b'{"choices":[{"delta":{"content":{}}}]}',
        b'{"choices":[{"delta":{"content":[7]}}]}',
        b'{"choices":[{"delta":{"tool_calls":{}}}]}',
        b'{"choices":[{"delta":{"tool_calls":[7]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":7}]}}]}',
        b'{"choices":[{"delta":{"annotations":"x"}}]}',
        b'{"choices":[{"delta":{"audio":"x"}}]}',
        b'{"choices":[{"delta":{"images":[{"image_url":{"url":"data:image/png,?"}}]}}]}',
        b'{"choices":[{"delta":{"reasoning_details":7}}]}',
        b"[" * 5000,
    ],
)
def test_what_is_no_chunk(raw: bytes) -> None:
    """
    Broken JSON and impossible shapes are protocol errors, and nothing else.
    """
    # I2
    with pytest.raises(ProtocolError):
        list(decoder().decode(ServerSentEvent(raw)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([
                *("choices", "delta", "message", "content", "tool_calls", "function"),
                *(
                    "name",
                    "arguments",
                    "id",
                    "index",
                    "usage",
                    "error",
                    "audio",
                    "data",
                ),
                *(
                    "reasoning_details",
                    "type",
                    "text",
                    "annotations",
                    "logprobs",
                    "images",
                ),
                *("url_citation", "custom", "finish_reason", "x_groq", "citations"),
            ]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(deadline=None, max_examples=300)
@given(st.lists(JSON, max_size=4), st.booleans())
def test_whatever_comes(values: list[Any], as_document: bool) -> None:
    """
    No JSON at all makes anything but chunks and our own errors.
    """
    # I2
    target = decoder()
    chunks: list[StreamChunk] = []
    try:
        for value in values:
            if as_document:
                chunks += target.document(value)
            else:
                raw = json.dumps(value, allow_nan=True).encode()
                chunks += target.decode(ServerSentEvent(raw))
        chunks += target.flush()
    except AIChatError:
        return
    fold(chunks)


def test_invalid_utf8() -> None:
    """
    The character is replaced, the answer goes on.
    """
    # I2
    raw = b'{"choices":[{"delta":{"content":"a\xffb"},"finish_reason":"stop"}]}'
    assert fold_of(ServerSentEvent(raw)).text == "a\ufffdb"


def test_events_without_data() -> None:
    """
    A keep-alive may be an empty event.
    """
    assert fold_of(chunk(""), chunk(" "), delta("stop", content="Hi")).text == "Hi"


def test_too_many_parts() -> None:
    """
    A server cannot make us keep tool calls without end.
    """
    # I1
    calls = [{"id": f"c{n}", "function": {"name": "f"}} for n in range(4)]
    with pytest.raises(ResponseTooLargeError, match="max_parts"):
        list(decoder(max_parts=3).decode(delta(tool_calls=calls)))


def test_audio_that_is_no_base64() -> None:
    """
    It cannot be the sound of anything.
    """
    with pytest.raises(ProtocolError, match="base64"):
        fold_of(delta("stop", audio={"data": "?"}))


def test_a_citation_chunk_has_a_place() -> None:
    """
    It names the text part, not the latest one.
    """
    source = {"type": "url_citation", "url_citation": {"url": "https://x.example/"}}
    target = decoder()
    chunks = [
        *target.decode(delta(reasoning="hm")),
        *target.decode(delta(content="Hi")),
        *target.decode(delta(tool_calls=[{"id": "c", "function": {"name": "f"}}])),
        *target.decode(delta("stop", annotations=[source])),
    ]
    assert CitationDelta(Citation("https://x.example/"), 1) in chunks


def test_made_up_ids_differ() -> None:
    """
    Left to itself, the decoder makes ids that tell where they are from.
    """
    call = {"function": {"name": "f", "arguments": "{}"}}
    target = ChatCompletionsDecoder()
    chunks = [*target.decode(delta("stop", tool_calls=[call, call])), *target.flush()]
    first, second = (part for part in fold(chunks).message.content)
    assert isinstance(first, ToolCallPart)
    assert isinstance(second, ToolCallPart)
    assert first.id.startswith("call_aichat_")
    assert first.id != second.id


def test_no_part_is_lost_on_the_way() -> None:
    """
    Every kind of part that can be written has a place here.
    """
    made = {type(p) for name in RECORDINGS for p in response(name).message.content}
    expected: set[type[Part]] = {
        TextPart,
        ReasoningPart,
        RefusalPart,
        ToolCallPart,
        AudioPart,
        OpaquePart,
    }
    assert made == expected
