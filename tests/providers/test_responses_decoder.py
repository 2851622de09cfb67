"""The Responses API to chunks: `aichat.providers._responses_decoder`."""

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
    QuotaExceededError,
    RateLimitError,
    ResponseTooLargeError,
    ServerError,
    StreamError,
    StreamInterruptedError,
)
from aichat.providers.openai import SPEC
from aichat.testing import check_stream
from aichat.transport import Pipeline, ServerSentEvent
from aichat.types import (
    Accumulator,
    ChatResponse,
    Citation,
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
    ToolCallDelta,
    ToolCallPart,
    Usage,
    fold,
)

from .responses_streams import (
    RECORDINGS,
    completed,
    decoder,
    event,
    fold_of,
    play,
    recording,
)


def response(name: str, **options: Any) -> ChatResponse:
    return fold(check_stream(play(recording(name), **options)))


def state(payload: Any) -> ProviderState:
    return ProviderState("openai", payload)


def counts(usage: Usage) -> tuple[int | None, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def delta(more: Any, *, position: Any = 0, number: Any = 0, **fields: Any) -> Any:
    """One more piece of text."""
    return event(
        "output_text.delta",
        output_index=position,
        content_index=number,
        delta=more,
        **fields,
    )


def added(item: dict[str, Any], position: Any = 0) -> ServerSentEvent:
    return event("output_item.added", output_index=position, item=item)


def done(item: Any, position: Any = 0) -> ServerSentEvent:
    return event("output_item.done", output_index=position, item=item)


def message(*texts: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text} for text in texts]
    return {"type": "message", "role": "assistant", "content": content, **fields}


def call(arguments: Any = "{}", **fields: Any) -> dict[str, Any]:
    head = {"type": "function_call", "call_id": "call_1", "name": "f"}
    return {**head, "arguments": arguments, **fields}


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
    Without the event that ends it there is no response, whatever was said before.
    """
    # S4
    body = recording(name).replace(b"\r\n", b"\n")
    kept = [
        block
        for block in body.split(b"\n\n")
        if b'"type":"response.completed"' not in block
        and b'"type":"response.incomplete"' not in block
    ]
    with pytest.raises(StreamInterruptedError, match="completes"):
        play(b"\n\n".join(kept) + b"\n\n")


@pytest.mark.parametrize(
    # The last event of the others does not repeat the answer.
    "name",
    sorted({*RECORDINGS} - {"only_items_done", "without_output"}),
)
def test_the_same_as_a_document(name: str) -> None:
    """
    A response that comes whole has the same parts as the one that was streamed.
    """
    # S6
    streamed = response(name)
    (last,) = (
        json.loads(line.removeprefix("data: "))["response"]
        for line in recording(name).decode().splitlines()
        if '"type":"response.completed"' in line or '"type":"response.incom' in line
    )
    target = decoder()
    whole = fold(check_stream([*target.document(last), *target.flush()]))
    if name == "rotated_ids":
        assert whole.text == streamed.text
        assert whole.reasoning == streamed.reasoning
    else:
        assert whole == streamed


def test_plain_text() -> None:
    """
    Text, its source, facts and usage; what was asked for is not repeated.
    """
    # S8, S10
    answer = response("text")
    source = {
        "type": "url_citation",
        "start_index": 0,
        "end_index": 5,
        "url": "https://example.com/a",
        "title": "A",
    }
    cited = Citation(
        "https://example.com/a", "A", start=0, end=5, provider_state=state(source)
    )
    assert answer.message.content == (
        TextPart(
            "Grüße aus 東京 🎉",
            citations=[cited],
            provider_state=state({"id": "msg_1", "phase": "final_answer"}),
        ),
    )
    assert (answer.id, answer.model) == ("resp_1", "gpt-4.1")
    assert answer.created_at == 1790000000
    assert answer.finish_reason is FinishReason.STOP
    assert answer.raw_finish_reason == "completed"
    assert counts(answer.usage) == (20, 7, 16, 0, 0)
    assert answer.usage.raw["total_tokens"] == 27
    logprob = {"token": "Grü", "logprob": -0.1, "bytes": [71, 114, 195, 188]}
    assert answer.metadata == {
        "service_tier": "default",
        "billing": {"payer": "developer"},
        "logprobs": [{**logprob, "top_logprobs": []}],
    }


def test_thinking_and_tools() -> None:
    """
    Summary, commentary and two calls, in order and with what has to go back.
    """
    # S9
    answer = response("thinking_and_tools")
    thought, said, first, second = answer.message.content
    assert isinstance(thought, ReasoningPart)
    assert thought.text == "**Looking** up.\n\nTwo cities."
    assert thought.provider_state is not None
    assert thought.provider_state.payload == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [
            {"type": "summary_text", "text": "**Looking** up."},
            {"type": "summary_text", "text": "Two cities."},
        ],
        # Whole, and not as it was when the item was added.
        "encrypted_content": "gAAAAencrypted==",
    }
    assert said == TextPart(
        "I will look.", provider_state=state({"id": "msg_9", "phase": "commentary"})
    )
    assert first == ToolCallPart(
        "call_a",
        "get_weather",
        '{"city":"Paris"}',
        provider_state=state({"id": "fc_a"}),
    )
    assert second == ToolCallPart(
        "call_b",
        "get_weather",
        '{"city":"Köln"}',
        provider_state=state({"id": "fc_b", "namespace": "weather"}),
    )
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.raw_finish_reason == "completed"
    assert counts(answer.usage) == (100, 50, 64, 8, 20)


def test_reasoning_that_is_only_encrypted() -> None:
    """
    It has no words, and keeps its place before what it led to.
    """
    # S9
    first, one, second, two = response("encrypted").message.content
    for thought, data in (first, "gAAAAfirst"), (second, "gAAAAsecond"):
        assert isinstance(thought, ReasoningPart)
        assert thought.text == ""
        assert thought.provider_state is not None
        assert thought.provider_state.payload["encrypted_content"] == data
    assert [p.text for p in (one, two) if isinstance(p, TextPart)] == ["One.", "Two."]


def test_a_custom_tool() -> None:
    """
    Free text instead of JSON.
    """
    answer = response("custom_tool")
    assert answer.message.content == (
        ToolCallPart(
            "call_sql",
            "sql",
            "SELECT 1;",
            kind="custom",
            provider_state=state({"id": "ctc_1"}),
        ),
    )
    assert answer.finish_reason is FinishReason.TOOL_CALLS


def test_a_refusal() -> None:
    """
    It is no text, and makes of a normal end one by a filter.
    """
    answer = response("refusal")
    (part,) = answer.message.content
    assert isinstance(part, RefusalPart)
    assert answer.refusal == "I cannot do that."
    assert answer.finish_reason is FinishReason.CONTENT_FILTER
    assert answer.raw_finish_reason == "completed"


def test_ids_that_change_with_every_event() -> None:
    """
    GitHub's Copilot does that: the position counts. The first id is the response's, the
    last one an item's.
    """
    answer = response("rotated_ids")
    assert answer.text == "There are three."
    assert answer.reasoning == "Counting."
    assert len(answer.message.content) == 2
    assert answer.id == "a"
    said = answer.message.content[1]
    assert isinstance(said, TextPart)
    assert said.provider_state is not None
    assert said.provider_state.payload["phase"] == "final_answer"


def test_raw_thoughts_and_a_call_without_deltas() -> None:
    """
    LM Studio sends the arguments only when they are done, and thoughts instead of a
    summary.
    """
    answer = response("done_without_delta")
    assert answer.reasoning == "The user wants it."
    (asked,) = answer.tool_calls
    assert asked.parse() == {"zone": "CET"}


@pytest.mark.parametrize("name", ["only_items_done", "only_completed"])
def test_gateways_that_send_little(name: str) -> None:
    """
    Items that were never added, or only the response as a whole.
    """
    answer = response(name)
    assert [type(part) for part in answer.message.content] == [
        ReasoningPart,
        TextPart,
        ToolCallPart,
    ]
    assert (answer.reasoning, answer.text) == ("Hm.", "Done.")
    (source,) = answer.citations
    assert (source.title, source.url, source.start) == ("a.pdf", None, None)
    assert answer.finish_reason is FinishReason.TOOL_CALLS


def test_no_event_names_and_a_done_that_is_not_ours() -> None:
    """
    OpenRouter's stream: comments, no names, and [DONE] behind the end.
    """
    answer = response("openrouter")
    assert answer.text == "Hello"
    assert answer.created_at is None


def test_a_call_that_was_cut_off() -> None:
    """
    An incomplete answer says why; its last call is invalid, and nothing repairs it.
    """
    # S7
    answer = response("incomplete_call")
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.raw_finish_reason == "max_output_tokens"
    assert answer.tool_calls == ()
    (cut,) = answer.invalid_tool_calls
    assert cut.arguments == '{"x":48151'


def test_tools_of_the_providers_own() -> None:
    """
    Their items are kept whole; a picture is a picture, which is not held twice.
    """
    # S9
    answer = response("hosted_tools")
    search, picture, approval, said = answer.message.content
    assert isinstance(search, OpaquePart)
    assert search.kind == "web_search_call"
    assert search.provider_state.payload["action"] == {"type": "search", "query": "q"}
    assert isinstance(picture, ImagePart)
    assert picture.media_type == "image/png"
    assert picture.data == b"\x89PNG\r\n\x1a\n tiny"
    assert picture.provider_state is not None
    assert picture.provider_state.payload["id"] == "ig_1"
    assert "result" not in picture.provider_state.payload
    assert isinstance(approval, OpaquePart)
    assert approval.kind == "mcp_approval_request"
    assert isinstance(said, TextPart)
    assert answer.finish_reason is FinishReason.STOP


def test_facts_of_azures() -> None:
    """
    What its filter thought stands in the metadata.
    """
    # S10
    (verdict,) = response("azure").metadata["content_filters"]
    assert verdict["source_type"] == "prompt"


def test_a_completed_response_without_output() -> None:
    """
    What was streamed is enough.
    """
    answer = response("without_output")
    assert [c.name for c in answer.tool_calls] == ["ping"]


# -- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("error_nested", QuotaExceededError, ""),
        ("error_flat", RateLimitError, "Half an"),
        ("error_failed", ServerError, ""),
        ("error_chat", ProtocolError, ""),
    ],
)
def test_recorded_errors(name: str, error: type[AIChatError], text: str) -> None:
    """
    Every shape becomes the error that it would be over HTTP, once, after what was said.
    """
    # S5
    pipeline, so_far = Pipeline(SPEC.dialect), Accumulator()
    for chunk in pipeline.feed(recording(name)):
        so_far.add(chunk)
    assert pipeline.over
    assert type(pipeline.error) is error
    assert so_far.response().text == text


def test_chat_completions_at_this_address() -> None:
    """
    The error says what to use instead, for a stream and for a document.
    """
    with pytest.raises(ProtocolError, match="openai-chat"):
        play(recording("error_chat"))
    with pytest.raises(ProtocolError, match="openai-chat"):
        decoder().document({"object": "chat.completion", "choices": []})


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"type": "error", "code": "server_error", "message": "m"}, ServerError),
        ({"error": {"message": "m", "type": "server_error"}}, ServerError),
        ({"type": "response.error", "code": "server_error"}, ServerError),
        ({"detail": "m"}, StreamError),
        ({"message": "m"}, StreamError),
        ({"type": "response.failed", "response": {}}, StreamError),
        ({"type": "response.failed"}, StreamError),
        (
            {
                "type": "response.completed",
                "response": {"status": "failed", "error": {"code": "server_error"}},
            },
            ServerError,
        ),
        (
            {
                "type": "response.incomplete",
                "response": {"error": {"code": "invalid_prompt", "message": "m"}},
            },
            ProviderError,
        ),
    ],
)
def test_shapes_of_errors(value: Any, error: type[AIChatError]) -> None:
    """
    Nested or flat, with or without words, in an event of any kind.
    """
    # S5
    with pytest.raises(error):
        decoder().decode(event(None, **value))


def test_an_error_by_the_name_of_its_event() -> None:
    """
    Some say it only there.
    """
    with pytest.raises(ServerError):
        decoder().decode(ServerSentEvent(b'{"code":"server_error"}', "error"))


def test_a_failure_without_words_says_nothing_of_the_prompt() -> None:
    """
    The failed response repeats the instructions: they stay out of the error.
    """
    failed = event("failed", response={"status": "failed", "instructions": "secret"})
    with pytest.raises(StreamError, match="without saying why") as caught:
        decoder().decode(failed)
    assert "secret" not in str(caught.value)


def test_words_of_the_vendors_own() -> None:
    """
    A spec's own table decides first.
    """
    target = decoder(error_codes={"odd": BadRequestError})
    with pytest.raises(BadRequestError):
        target.decode(event(None, type="error", code="odd", message="m"))


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"7",
        b"[]",
        b'"text"',
        b'{"type":"response.output_item.added","item":[]}',
        b'{"type":"response.output_item.done","item":"x"}',
        b'{"type":"response.completed","response":[]}',
        b'{"type":"response.completed","response":{"output":{}}}',
        b'{"type":"response.incomplete","response":{"incomplete_details":"x"}}',
        b'{"type":"response.output_text.delta","delta":"x","logprobs":{}}',
        b'{"type":"response.output_item.done","item":{"type":"message","content":1}}',
    ],
)
def test_impossible_shapes(raw: bytes) -> None:
    """
    What is no JSON, or not what the dialect promises, is a protocol error.
    """
    # I2
    with pytest.raises(ProtocolError):
        decoder().decode(ServerSentEvent(raw))


def test_a_document_that_is_none() -> None:
    """
    An error, a list, or an object that has nothing to do with it.
    """
    # S6
    with pytest.raises(ProtocolError, match="list"):
        decoder().document([])
    for value in ({"hello": "world"}, {"status": "completed"}, {"status": "ok"}):
        with pytest.raises(ProtocolError, match="no output"):
            decoder().document(value)
    with pytest.raises(ProviderError, match="wrong"):
        decoder().document({"code": "odd", "error": "wrong"})
    with pytest.raises(ServerError):
        error = {"code": "server_error", "message": "m"}
        decoder().document({"status": "failed", "error": error, "output": []})


def test_too_many_parts() -> None:
    """
    Parts and items have a ceiling, also items that say nothing.
    """
    # I1
    target = decoder(max_parts=2)
    with pytest.raises(ResponseTooLargeError, match="max_parts"):
        for number in range(3):
            target.decode(delta("x", number=number))
    target = decoder(max_parts=2)
    with pytest.raises(ResponseTooLargeError, match="max_parts"):
        for position in range(3):
            target.decode(added({"type": "web_search_call"}, position))


# -- the end -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "finish"),
    [
        ("completed", None, FinishReason.STOP),
        ("incomplete", "max_output_tokens", FinishReason.LENGTH),
        ("incomplete", "content_filter", FinishReason.CONTENT_FILTER),
        ("incomplete", "steered", FinishReason.PAUSED),
        ("incomplete", "max_messages", FinishReason.OTHER),
        ("incomplete", None, FinishReason.OTHER),
        ("cancelled", None, FinishReason.ERROR),
        ("queued", None, FinishReason.PAUSED),
        ("in_progress", None, FinishReason.PAUSED),
        ("odd", None, FinishReason.OTHER),
    ],
)
def test_how_a_response_ended(
    status: str, reason: str | None, finish: FinishReason
) -> None:
    """
    Status and reason in one word; the raw one is kept.
    """
    # S10
    target = decoder()
    details = {"reason": reason} if reason else None
    value: Any = {"status": status, "incomplete_details": details, "output": []}
    answer = fold([*target.document(value), *target.flush()])
    assert answer.finish_reason is finish
    assert answer.raw_finish_reason == (reason or status)


@pytest.mark.parametrize(
    ("kind", "status", "finish"),
    [
        ("completed", None, FinishReason.STOP),
        ("completed", "in_progress", FinishReason.STOP),
        ("completed", "cancelled", FinishReason.ERROR),
        ("completed", "incomplete", FinishReason.LENGTH),
        ("incomplete", None, FinishReason.LENGTH),
        ("cancelled", None, FinishReason.ERROR),
    ],
)
def test_events_that_end_it(
    kind: str, status: str | None, finish: FinishReason
) -> None:
    """
    The event ends it, and the status may say more.
    """
    details = {"reason": "max_output_tokens"}
    response = {"status": status, "incomplete_details": details}
    assert fold_of(event(kind, response=response)).finish_reason is finish


def test_calls_and_refusals_do_not_hide_a_cut() -> None:
    """
    An answer that ran out of tokens did so, whatever else is in it.
    """
    details = {"incomplete_details": {"reason": "max_output_tokens"}}
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "No"}]}
    for item in (call(), refusal):
        last = event("incomplete", response={"output": [item], **details})
        assert fold_of(last).finish_reason is FinishReason.LENGTH


def test_complete_and_finished() -> None:
    """
    Both at the last event; [DONE] and silence end nothing.
    """
    # S4
    target = decoder()
    for event_ in (delta("x"), ServerSentEvent(b"[DONE]"), ServerSentEvent(b"")):
        target.decode(event_)
        assert not target.complete
        assert not target.finished
    with pytest.raises(StreamInterruptedError):
        target.flush()
    target.decode(completed())
    assert target.complete
    assert target.finished
    # Nothing follows the end.
    assert target.decode(delta("y")) == ()


def test_no_usage() -> None:
    """
    What is not reported is unknown; nonsense is no number.
    """
    # S8
    assert fold_of(completed()).usage == Usage()
    odd = {"input_tokens": 3.0, "output_tokens": -1, "input_tokens_details": True}
    answer = fold_of(completed(usage={**odd, "output_tokens_details": None}))
    assert counts(answer.usage) == (3, None, None, None, None)
    assert answer.usage.raw["output_tokens"] == -1
    assert fold_of(completed(usage={"input_tokens": "x"})).usage.input_tokens is None


def test_facts_beside_the_answer() -> None:
    """
    What has no place of its own is noted; the request's echo is not.
    """
    # S10
    removed = [{"item": "rs_1", "reason": "model_mismatch"}]
    last = completed(input_transformations=removed, instructions="x", moderation=None)
    value = {**json.loads(last.raw), "copilot_usage": {"n": 1}}
    answer = fold_of(event(None, **value))
    assert answer.metadata == {
        "input_transformations": removed,
        "copilot_usage": {"n": 1},
    }


# -- the start ---------------------------------------------------------------------------


def test_the_start_says_who() -> None:
    """
    It comes with the first event that knows, once, and is no output.
    """
    target = decoder()
    first = {"id": "resp_1", "model": "m", "created_at": 5}
    (start,) = target.decode(event("created", response=first))
    assert start == ResponseStart("resp_1", "m", created_at=5)
    for kind in ("in_progress", "queued"):
        assert [*target.decode(event(kind, response=first))] == []


def test_a_start_that_says_nothing() -> None:
    """
    Then the first output starts the answer, and it does so only once.
    """
    target = decoder()
    assert [*target.decode(event("created", response=None))] == []
    assert [*target.decode(delta("a"))] == [ResponseStart(), TextDelta("a")]
    assert [*target.decode(completed(model="m"))][:1] != [ResponseStart("resp_1", "m")]


# -- text --------------------------------------------------------------------------------


def test_the_fast_path_makes_the_same() -> None:
    """
    After the first piece the others take a shorter way, as long as nothing changes.
    """
    target = decoder()
    pieces = [delta(f"{n} ") for n in range(3)]
    chunks: list[StreamChunk] = []
    for piece in pieces:
        chunks += target.decode(piece)
    chunks += target.decode(delta("elsewhere", position=1))
    chunks += target.decode(delta("back", position=0))
    chunks += target.decode(delta("part two", position=0, number=1))
    assert chunks == [
        ResponseStart(),
        TextDelta("0 ", 0),
        TextDelta("1 ", 0),
        TextDelta("2 ", 0),
        TextDelta("elsewhere", 1),
        TextDelta("back", 0),
        TextDelta("part two", 2),
    ]


def test_a_piece_without_text() -> None:
    """
    Gateways send null and nothing, also between pieces.
    """
    answer = fold_of(delta(None), delta("a"), delta(None), delta(""), completed())
    assert answer.text == "a"
    assert len(answer.message.content) == 1


def test_pieces_without_a_position() -> None:
    """
    Then they go on with the latest text.
    """
    bare = event("output_text.delta", delta="b")
    answer = fold_of(delta("a", position=3), bare, bare, completed())
    assert answer.message.content == (TextPart("abb"),)


def test_invalid_utf8() -> None:
    """
    It becomes U+FFFD, and not an error.
    """
    # I2
    bad = b'{"type":"response.output_text.delta","delta":"a\xff"}'
    assert fold_of(ServerSentEvent(bad), completed()).text == "a\ufffd"


@pytest.mark.parametrize(
    ("whole", "text"),
    [("abc", "abc"), ("ab", "ab"), ("a", "ab"), ("xyz", "ab"), (None, "ab")],
)
@pytest.mark.parametrize("kind", ["text", "part", "item", "response"])
def test_the_last_word_on_a_text(kind: str, whole: Any, text: str) -> None:
    """
    Only what is missing is added; what was said cannot be taken back.
    """
    part = {"type": "output_text", "text": whole}
    item = {"type": "message", "content": [part, "nonsense"]}
    last = {
        "text": event("output_text.done", output_index=0, content_index=0, text=whole),
        "part": event("content_part.done", output_index=0, content_index=0, part=part),
        "item": done(item),
        "response": event("in_progress"),
    }[kind]
    end = completed(item) if kind == "response" else completed()
    assert fold_of(delta("ab"), last, end).text == text


def test_nothing_is_said_twice() -> None:
    """
    Text, part, item and response all repeat the text and its sources.
    """
    source = {"type": "file_path", "file_id": "file-1"}
    part = {"type": "output_text", "text": "ab", "annotations": [source]}
    item = {"type": "message", "id": "m", "content": [part]}
    answer = fold_of(
        added({"type": "message", "id": "m", "content": []}),
        added({"type": "message", "id": "m", "content": []}),
        delta("ab"),
        event("output_text.annotation.added", output_index=0, annotation=source),
        event("content_part.done", output_index=0, content_index=0, part=part),
        done(item),
        completed(item),
    )
    cited = Citation(provider_state=state(source))
    assert answer.message.content == (
        TextPart("ab", citations=[cited], provider_state=state({"id": "m"})),
    )


def test_parts_that_say_nothing() -> None:
    """
    An empty text is no part, and nonsense is none either.
    """
    empty = {"type": "output_text", "text": ""}
    nothing = event("content_part.done", output_index=0, part=empty)
    odd = {"type": "reasoning", "summary": ["x", {"text": "Hm."}]}
    answer = fold_of(nothing, done(odd, 1), completed())
    assert answer.text == ""
    assert answer.reasoning == "Hm."


def test_a_source_that_is_no_object() -> None:
    """
    It is counted, and not kept.
    """
    odd = event("output_text.annotation.added", output_index=0, annotation="x")
    assert fold_of(delta("a"), odd, completed()).citations == ()


def test_log_probabilities() -> None:
    """
    They are gathered from the pieces, or taken from the whole where those have none.
    """
    one, two = {"token": "a"}, {"token": "b"}
    pieces = delta("a", logprobs=[one]), delta("b", logprobs=[two])
    whole = event(
        "output_text.done",
        output_index=0,
        content_index=0,
        text="ab",
        logprobs=[one, two],
    )
    expected = {"logprobs": [one, two]}
    assert fold_of(*pieces, whole, completed()).metadata == expected
    assert fold_of(delta("a"), whole, completed()).metadata == expected
    assert fold_of(delta("", logprobs=[one]), whole, completed()).text == "ab"


def test_several_messages() -> None:
    """
    Commentary and answer are parts of their own.
    """
    answer = fold_of(
        done(message("One.", phase="commentary"), 0),
        done(message("Two.", "Three."), 1),
        completed(),
    )
    texts = [p.text for p in answer.message.content if isinstance(p, TextPart)]
    assert texts == ["One.", "Two.", "Three."]


def test_a_message_of_no_words() -> None:
    """
    It keeps its place, since reasoning needs something to follow it.
    """
    # S9
    answer = fold_of(done(message(id="msg_1")), completed())
    assert answer.message.content == (
        TextPart("", provider_state=state({"id": "msg_1"})),
    )


def test_a_message_that_broke_off() -> None:
    """
    Without its end its phase is the one that it was added with.
    """
    item = {"type": "message", "id": "msg_1", "phase": "commentary", "content": []}
    (part,) = fold_of(added(item), delta("a"), completed()).message.content
    assert isinstance(part, TextPart)
    assert part.provider_state == state({"id": "msg_1", "phase": "commentary"})


def test_a_refusal_only_at_its_end() -> None:
    """
    Done without any delta.
    """
    last = event("refusal.done", output_index=0, content_index=0, refusal="No.")
    answer = fold_of(last, completed())
    assert answer.refusal == "No."


# -- reasoning ---------------------------------------------------------------------------


def summary(more: str, number: int = 0, position: int = 0) -> ServerSentEvent:
    return event(
        "reasoning_summary_text.delta",
        output_index=position,
        summary_index=number,
        delta=more,
    )


def thought(more: str, number: int = 0) -> ServerSentEvent:
    return event(
        "reasoning_text.delta", output_index=0, content_index=number, delta=more
    )


def test_the_joints_of_a_summary() -> None:
    """
    An empty line stands between its parts, and before nothing else.
    """
    target, chunks = decoder(), list[StreamChunk]()
    for number in (0, 0, 1, 1):
        chunks += target.decode(summary("a", number))
    texts = [c.text for c in chunks if isinstance(c, ReasoningDelta)]
    assert texts == ["a", "a", "\n\n", "a", "a"]


def test_summary_and_thoughts() -> None:
    """
    What comes first is shown; the other one is in the state.
    """
    item = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "In short."}],
        "content": [{"type": "reasoning_text", "text": "At length."}],
    }
    for events, shown in [
        ([], "In short."),
        ([summary("In short.")], "In short."),
        ([thought("At length.")], "At length."),
        ([thought("At length."), summary("In short.")], "At length."),
    ]:
        answer = fold_of(*events, done(item), completed())
        assert answer.reasoning == shown
        (part,) = answer.message.content
        assert isinstance(part, ReasoningPart)
        assert part.provider_state == state(item)


@pytest.mark.parametrize(
    "last",
    [
        event("reasoning_summary_text.done", output_index=0, text="Hm."),
        event("reasoning_summary_part.done", output_index=0, part={"text": "Hm."}),
        event("reasoning_text.done", output_index=0, text="Hm."),
        event(
            "content_part.done",
            output_index=0,
            part={"type": "reasoning_text", "text": "Hm."},
        ),
    ],
)
def test_reasoning_only_at_its_end(last: ServerSentEvent) -> None:
    """
    Done without any delta, in each of the places where it may stand.
    """
    assert fold_of(last, completed()).reasoning == "Hm."


def test_reasoning_that_broke_off() -> None:
    """
    As it was added it may be half encrypted: that must not go back.
    """
    # S9
    half = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gA"}
    answer = fold_of(added(half), summary("Hm"), completed())
    assert answer.message.content == (ReasoningPart("Hm"),)
    assert fold_of(added(half), completed()).message.content == ()


def test_empty_pieces_of_reasoning() -> None:
    """
    They say nothing, and begin nothing.
    """
    nothing = event("content_part.done", output_index=0, part=None)
    answer = fold_of(summary(""), thought(""), nothing, completed())
    assert answer.message.content == ()


def test_reasoning_keeps_its_place() -> None:
    """
    What was added first stands first, even if its words come later.
    """
    # S9
    item = {"type": "reasoning", "id": "rs_1", "summary": []}
    answer = fold_of(
        added(item, 0),
        added(message(), 1),
        delta("Said.", position=1),
        summary("Thought."),
        done(item, 0),
        done(message("Said."), 1),
        completed(),
    )
    assert [type(part) for part in answer.message.content] == [ReasoningPart, TextPart]
    assert answer.reasoning == "Thought."


# -- calls -------------------------------------------------------------------------------


def arguments(more: Any, position: Any = 0) -> ServerSentEvent:
    return event("function_call_arguments.delta", output_index=position, delta=more)


def test_a_call_is_announced_at_once() -> None:
    """
    Id and name come first, then the arguments as they are written.
    """
    target = decoder()
    chunks = [
        *target.decode(added(call("", id="fc_1"))),
        *target.decode(arguments('{"a"')),
        *target.decode(arguments(None)),
        *target.decode(arguments(":1}")),
    ]
    assert chunks == [
        ResponseStart(),
        ToolCallDelta(0, "call_1", "f"),
        ToolCallDelta(0, arguments='{"a"'),
        ToolCallDelta(0, arguments=":1}"),
    ]


def test_arguments_are_not_taken_twice() -> None:
    """
    Some have them when the call is added already, and send them again.
    """
    answer = fold_of(
        added(call('{"a":1}')), arguments('{"a":1}'), done(call('{"a":1}')), completed()
    )
    (asked,) = answer.tool_calls
    assert asked.arguments == '{"a":1}'


def test_arguments_that_were_there_from_the_start() -> None:
    """
    Without delta and without end, what the call was added with counts.
    """
    (asked,) = fold_of(added(call('{"a":1}')), completed()).tool_calls
    assert asked.arguments == '{"a":1}'


def test_arguments_that_are_an_object() -> None:
    """
    They are written down as JSON.
    """
    (asked,) = fold_of(done(call({"a": 1})), completed()).tool_calls
    assert asked.parse() == {"a": 1}


def test_a_call_without_arguments() -> None:
    """
    Null means none.
    """
    (asked,) = fold_of(done(call(None)), completed()).tool_calls
    assert asked.parse() == {}


def test_a_name_that_comes_late() -> None:
    """
    The call is announced when it has one, with what was written before.
    """
    head = {"type": "function_call", "call_id": "call_1", "name": None}
    last = event(
        "function_call_arguments.done", output_index=0, arguments='{"a":1}', name="f"
    )
    answer = fold_of(added(head), arguments('{"a":'), last, completed())
    assert answer.message.content == (ToolCallPart("call_1", "f", '{"a":1}'),)


def test_a_name_that_never_comes() -> None:
    """
    The call is invalid, but not lost.
    """
    # S7
    answer = fold_of(arguments("{}"), completed())
    (asked,) = answer.invalid_tool_calls
    assert (asked.id, asked.invalid) == ("made_1", "the call has no name")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"call_id": None, "id": "fc_1"}, "fc_1"),
        ({"call_id": "", "id": None}, "made_1"),
    ],
)
def test_a_call_without_an_id(ids: dict[str, Any], expected: str) -> None:
    """
    The item's id stands in, or one is made up.
    """
    (asked,) = fold_of(done(call(**ids)), completed()).tool_calls
    assert asked.id == expected


def test_one_id_for_two_calls() -> None:
    """
    The second one gets another, so that each can have its result.
    """
    answer = fold_of(done(call(), 0), done(call(name="g"), 1), completed())
    assert [c.id for c in answer.tool_calls] == ["call_1", "made_1"]


def test_one_position_for_all_items() -> None:
    """
    Another call at the same place is another call; so is one at the end.
    """
    first, second = call(), call(call_id="call_2", name="g")
    third = call(call_id="call_3", name="h")
    answer = fold_of(
        added(first),
        added(second),
        arguments('{"b":2}'),
        done(third),
        completed(first, second, third),
    )
    assert [(c.name, c.arguments) for c in answer.tool_calls] == [
        ("f", "{}"),
        ("g", '{"b":2}'),
        ("h", "{}"),
    ]


def test_the_whole_response_adds_what_is_missing() -> None:
    """
    Items are known again by their kind and order, whatever was left out.
    """
    thinking = {"type": "reasoning", "id": "rs_1", "summary": []}
    answer = fold_of(
        done(thinking, 0),
        delta("One", position=1),
        # Without the reasoning, and with a second message.
        completed(message("One."), message("Two."), "nonsense"),
    )
    texts = [p.text for p in answer.message.content if isinstance(p, TextPart)]
    assert texts == ["One.", "Two."]
    assert len(answer.message.content) == 3


# -- other items -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ({"type": "compaction", "encrypted_content": "x"}, "compaction"),
        ({"type": "image_generation_call", "result": None}, "image_generation_call"),
        ({"type": "image_generation_call", "result": "%"}, "image_generation_call"),
        ({"odd": 1}, "unknown"),
    ],
)
def test_items_that_we_do_not_know(item: dict[str, Any], kind: str) -> None:
    """
    They are kept whole, and in their place.
    """
    # S9, S10
    expected: tuple[Part, ...] = (OpaquePart(kind, state(item)),)
    assert fold_of(done(item), completed()).message.content == expected


def test_an_item_that_was_never_done() -> None:
    """
    Half a search is no use to anybody.
    """
    half = {"type": "web_search_call", "id": "ws_1"}
    assert fold_of(added(half), completed()).message.content == ()


def test_a_picture_of_a_kind_that_was_not_said() -> None:
    """
    Its first bytes tell.
    """
    item = {"type": "image_generation_call", "result": "R0lGODlh"}
    (part,) = fold_of(done(item), completed()).message.content
    assert isinstance(part, ImagePart)
    assert part.media_type == "image/gif"


@pytest.mark.parametrize(
    "value",
    [
        {"type": "response.invented.delta", "delta": "x", "output_index": 0},
        {"type": "response.mcp_call_arguments.delta", "delta": "x"},
        {"type": "response.output_item.added", "item": None},
        {"type": "response.output_item.done", "item": None},
        {"type": "keepalive"},
        {"type": "response.output_text.delta", "output_index": [], "delta": ""},
        {"hello": "world"},
    ],
)
def test_events_that_we_do_not_know(value: dict[str, Any]) -> None:
    """
    They pass without harm.
    """
    # S10
    assert [*decoder().decode(event(None, **value))] == []


def test_whose_state_it_is() -> None:
    """
    A vendor of this dialect has its own name in it.
    """
    answer = fold_of(done(message("a", id="m")), completed(), provider="mine")
    (part,) = answer.message.content
    assert isinstance(part, TextPart)
    assert part.provider_state == ProviderState("mine", {"id": "m"})
