"""Anthropic's events to chunks: `aichat.providers._anthropic_decoder`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aichat.errors import (
    AIChatError,
    ContentFilteredError,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    StreamInterruptedError,
)
from aichat.providers.anthropic import SPEC, MessagesDecoder
from aichat.testing import check_stream
from aichat.transport import ServerSentEvent, SSEDecoder
from aichat.types import (
    Accumulator,
    Citation,
    FinishReason,
    OpaquePart,
    ProviderState,
    ReasoningDelta,
    ReasoningPart,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageUpdate,
    fold,
    loads_exact,
)

from .anthropic_streams import RECORDINGS, event, events, play, recording, response

_START: dict[str, Any] = {"id": "msg_1", "model": "claude-opus-5", "usage": {}}


def started(**message: Any) -> MessagesDecoder:
    """A decoder that has heard of a message."""
    decoder = MessagesDecoder(new_id=iter(["made_1", "made_2"]).__next__)
    assert not events(decoder, event("message_start", message={**_START, **message}))
    return decoder


def block(kind: str, index: int = 0, **fields: Any) -> ServerSentEvent:
    return event(
        "content_block_start", index=index, content_block={"type": kind, **fields}
    )


def delta(kind: str, index: int = 0, **fields: Any) -> ServerSentEvent:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stopped(reason: str | None = "end_turn", **fields: Any) -> ServerSentEvent:
    return event("message_delta", delta={"stop_reason": reason}, **fields)


STOP = event("content_block_stop", index=0)
END = event("message_stop")


# -- whole streams -------------------------------------------------------------------


def test_text_in_several_scripts() -> None:
    """Text arrives as it was said, and is nothing but text."""
    answer = response("text")
    assert answer.message.content == (TextPart("Grüß Gott, 世界 👋\u2028!"),)
    assert (answer.id, answer.model) == ("msg_text", "claude-sonnet-5")
    assert answer.finish_reason is FinishReason.STOP
    assert answer.raw_finish_reason == "end_turn"
    assert answer.metadata == {"service_tier": "standard"}


def test_thoughts_and_calls_keep_their_order_and_their_secrets() -> None:
    """Every part is there, in order, with what Anthropic wants back (S9)."""
    model = "claude-opus-4-8"
    thought, redacted, text, weather, now = response(
        "thinking_and_tools"
    ).message.content
    signed = {"type": "thinking", "signature": "RXEvUUJDLi4r=="}
    hidden = {"type": "redacted_thinking", "data": "T3BhcXVl/data+=="}
    assert thought == ReasoningPart(
        "Two cities, two calls.",
        provider_state=ProviderState("anthropic", signed, model),
    )
    assert redacted == ReasoningPart(
        "", provider_state=ProviderState("anthropic", hidden, model)
    )
    assert text == TextPart("Checking.")
    assert isinstance(weather, ToolCallPart)
    assert weather.parse() == {"city": "Zürich", "id": 123456789012345678901234567890}
    caller = ProviderState("anthropic", {"caller": {"type": "direct"}}, model)
    assert weather.provider_state == caller
    assert now == ToolCallPart("toolu_02", "now", "")
    assert now.parse() == {}


def test_usage_counts_the_cache_and_the_thoughts() -> None:
    """Input includes what the cache held, output what was thought; raw is kept (S8)."""
    usage = response("thinking_and_tools").usage
    assert usage.input_tokens == 40 + 1000 + 5000
    assert usage.output_tokens == 89
    assert usage.cache_read_tokens == 5000
    assert usage.cache_write_tokens == 1000
    assert usage.reasoning_tokens == 30
    assert usage.complete
    assert usage.raw["input_tokens"] == 40


def test_thoughts_that_are_not_shown_still_carry_their_signature() -> None:
    """A thinking block without text is a part all the same (S9)."""
    answer = response("omitted_thinking")
    thought, text = answer.message.content
    assert isinstance(thought, ReasoningPart)
    assert thought.text == ""
    assert thought.provider_state is not None
    assert thought.provider_state.payload["signature"] == "c2lnbmVk"
    assert text == TextPart("42")
    assert answer.stop_sequence == "END"
    assert answer.finish_reason is FinishReason.STOP


def test_tools_of_the_provider_are_kept_whole() -> None:
    """Their blocks come out as they are, with the input that was streamed (S9)."""
    answer = response("server_tools_paused")
    kinds = [p.kind for p in answer.message.content if isinstance(p, OpaquePart)]
    assert kinds == ["server_tool_use", "web_search_tool_result", "server_tool_use"]
    search = answer.message.content[1]
    assert isinstance(search, OpaquePart)
    assert search.provider_state.payload == {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "fjords"},
    }
    assert answer.finish_reason is FinishReason.PAUSED
    assert answer.tool_calls == ()
    assert answer.usage.input_tokens == 2700


def test_a_citation_names_its_source() -> None:
    """A citation belongs to the text part under way, even if it comes first."""
    text = response("server_tools_paused").message.content[3]
    assert isinstance(text, TextPart)
    [citation] = text.citations
    assert citation == Citation(
        url="https://example.com/fjords",
        title="Fjords",
        cited_text="Fjords are deep.",
        provider_state=citation.provider_state,
    )
    assert citation.provider_state is not None
    assert citation.provider_state.payload["encrypted_index"] == "RW9CQQ=="


def test_what_nobody_knows_passes() -> None:
    """Unknown events, blocks, deltas and reasons do no harm and are kept (S10)."""
    answer = response("unknown_things")
    compaction, fallback, hologram, text = answer.message.content
    assert isinstance(compaction, OpaquePart)
    assert compaction.provider_state.payload == {
        "type": "compaction",
        "content": "Earlier: greetings.",
        "encrypted_content": "Y29tcGFjdA==",
    }
    assert isinstance(fallback, OpaquePart)
    assert fallback.kind == "fallback"
    assert isinstance(hologram, OpaquePart)
    assert hologram.provider_state.payload["nested"] == {"deep": True}
    assert text == TextPart("Hello")
    assert answer.finish_reason is FinishReason.OTHER
    assert answer.raw_finish_reason == "became_sentient"
    assert answer.metadata["context_management"] == {"applied_edits": []}


def test_a_refusal_ends_the_answer_and_says_why() -> None:
    """It is a finish reason, not an error; the details are kept."""
    answer = response("refusal")
    assert answer.finish_reason is FinishReason.CONTENT_FILTER
    assert answer.metadata["stop_details"]["category"] == "bio"


def test_a_call_that_was_cut_must_not_be_executed() -> None:
    """It is there, raw, and says that it is invalid (S7)."""
    answer = response("cut_call")
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.tool_calls == ()
    [call] = answer.invalid_tool_calls
    assert call.arguments == '{"text":"Onc'


def test_a_gateway_with_manners_of_its_own() -> None:
    """No event lines, no indices, whole inputs, no ids, no message_stop: all forgiven."""
    answer = response("gateway")
    thought, text, call = answer.message.content
    # Nobody signed it, so nobody wants it back.
    assert thought == ReasoningPart("Hm.")
    assert text == TextPart("Well then")
    assert call == ToolCallPart("a", "now", '{"zone":"UTC"}')
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.raw_finish_reason == "end_turn"
    assert answer.usage.input_tokens == 31
    assert answer.usage.cache_read_tokens is None


def test_a_gateway_that_starts_over_before_the_first_word() -> None:
    """The second message counts, and there is one start, not two (S1)."""
    answer = response("restarted")
    assert (answer.id, answer.model) == ("msg_two", "claude-opus-5")
    assert answer.text == "Again."
    assert answer.usage.input_tokens == 30
    assert answer.usage.output_tokens == 5
    assert answer.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("name", RECORDINGS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_cuts_do_not_matter(name: str, data: st.DataObject) -> None:
    """However the network cuts the bytes, the fold is the same (S3)."""
    body = recording(name)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=30))
    assert fold(check_stream(play(body, cuts))) == response(name)


@pytest.mark.parametrize("name", RECORDINGS)
def test_byte_by_byte(name: str) -> None:
    """One byte per read gives the very same chunks (S3)."""
    body = recording(name)
    assert play(body, range(len(body))) == play(body)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_stream_without_its_end_is_an_error(name: str) -> None:
    """Cut anywhere before the stop reason, an answer is never taken for whole (S4)."""
    body = recording(name)
    end = body.index(b'"type":"message_delta"')
    for cut in range(end):
        with pytest.raises(StreamInterruptedError):
            play(body[:cut])


def test_the_reason_is_end_enough() -> None:
    """Some servers never send message_stop: the stop reason tells (S4)."""
    decoder = started()
    events(decoder, block("text"), delta("text_delta", text="Hi"))
    assert not decoder.complete
    events(decoder, stopped())
    assert decoder.complete
    assert not decoder.finished
    [*_, end] = decoder.flush()
    assert end == ResponseEnd(FinishReason.STOP, "end_turn")


def test_an_end_without_a_reason() -> None:
    """message_stop ends an answer; no finish reason is invented for it (S4)."""
    decoder = started()
    events(decoder, stopped(None), END)
    assert decoder.finished
    start, end = decoder.flush()
    assert start == ResponseStart(id="msg_1", model="claude-opus-5")
    assert end == ResponseEnd(FinishReason.OTHER)


def test_blocks_that_were_never_stopped_are_ended() -> None:
    """What a block has gathered comes out when the message ends."""
    decoder = started()
    events(
        decoder,
        block("thinking", signature="sig"),
        block("server_tool_use", 1, id="srvtoolu_1", name="x", input={"q": 1}),
        stopped(),
    )
    answer = fold(decoder.flush())
    thought, trace = answer.message.content
    assert isinstance(thought, ReasoningPart)
    assert thought.provider_state is not None
    assert isinstance(trace, OpaquePart)
    assert trace.provider_state.payload["input"] == {"q": 1}


def test_nothing_follows_the_end() -> None:
    """What comes after message_stop is no part of the answer."""
    decoder = started()
    events(decoder, stopped(), END)
    assert events(decoder, block("text", text="Encore!"), event("error")) == []


# -- errors --------------------------------------------------------------------------


def test_overloaded_before_the_first_word() -> None:
    """An error in place of an answer is the error of its HTTP form (S5)."""
    with pytest.raises(ProviderUnavailableError, match="Overloaded") as caught:
        play(recording("error_at_once"))
    assert caught.value.retryable
    assert caught.value.request_id == "req_1"
    assert caught.value.provider_code == "overloaded_error"


def test_filtered_in_the_middle() -> None:
    """The filter says so in words only, after output (S5)."""
    framing, decoder, so_far = SSEDecoder(), MessagesDecoder(), Accumulator()
    with pytest.raises(ContentFilteredError):
        for item in framing.decode(recording("error_midway")):
            for chunk in decoder.decode(item):
                so_far.add(chunk)
    assert so_far.response().text == "So far"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "rate_limit_error", "message": "Slow down."}, RateLimitError),
        (
            {
                "type": "rate_limit_error",
                "message": "You have reached your limit.",
                "details": {"error_code": "enforced_spend_limit_reached"},
            },
            QuotaExceededError,
        ),
        ({"type": "billing_error", "message": "Pay."}, QuotaExceededError),
        ({"type": "what_is_this", "message": "?"}, ProviderError),
    ],
)
def test_errors_by_their_words(
    error: dict[str, Any], expected: type[ProviderError]
) -> None:
    """An error in a stream has no status: its words decide (S5)."""
    with pytest.raises(expected):
        events(started(), event("error", error=error))


@pytest.mark.parametrize(
    "item",
    [
        ServerSentEvent(b'{"error":{"message":"upstream broke"}}'),
        ServerSentEvent(b"upstream broke", "error"),
    ],
    ids=["without a type", "without JSON"],
)
def test_errors_in_other_shapes(item: ServerSentEvent) -> None:
    """Gateways have their own ways to fail."""
    with pytest.raises(ProviderError, match="upstream broke"):
        events(started(), item)


def test_a_second_message_after_the_first_word() -> None:
    """What was said cannot be taken back: the first answer is a broken one."""
    decoder = started()
    events(decoder, block("text", text="One"))
    with pytest.raises(StreamInterruptedError, match="Another answer"):
        events(decoder, event("message_start", message={"id": "msg_2"}))


def test_a_message_that_ended_before_it_began() -> None:
    """The end of a first message, which said nothing, is not that of the second (S4)."""
    decoder = started()
    events(decoder, stopped(), event("message_start", message={"id": "msg_2"}))
    assert not decoder.complete
    with pytest.raises(StreamInterruptedError):
        decoder.flush()


def test_the_same_message_said_twice() -> None:
    """A start that is repeated changes nothing."""
    decoder = started()
    events(decoder, block("text", text="One"))
    assert events(decoder, event("message_start", message=_START)) == []


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (ServerSentEvent(b"{oops"), "no JSON"),
        (ServerSentEvent(b"[1]"), "no object"),
        (event("message_start"), "no message"),
        (event("content_block_start", index=0), "no content_block"),
        (event("content_block_start", content_block={}), "no type"),
        (event("content_block_delta", index=0), "no delta"),
        (delta("text_delta", text=7), "no text"),
        (delta("thinking_delta", thinking=[]), "no text"),
        (block("tool_use", id="toolu_1"), "no name"),
        (delta("citations_delta", citation="p. 7"), "no object"),
    ],
)
def test_wrong_shapes(item: ServerSentEvent, words: str) -> None:
    """What the dialect does not promise is a `ProtocolError` (I2)."""
    with pytest.raises(ProtocolError, match=words):
        events(started(), item)


def test_broken_utf8_is_replaced() -> None:
    """A byte that is no UTF-8 costs its character, not the answer (I2)."""
    decoder = started()
    raw = delta("text_delta", text="x~y").raw.replace(b"~", b"\xff")
    assert events(decoder, ServerSentEvent(raw))[-1] == TextDelta("x\ufffdy")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
_KINDS = ("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use")
_DELTAS = ("text_delta", "thinking_delta", "signature_delta", "input_json_delta")
_FIELDS = "citation citations data id index input model name partial_json signature text thinking"


def _objects(*kinds: str) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: _JSON | st.text(max_size=3) for name in _FIELDS.split()}
    return st.fixed_dictionaries(
        {"type": st.sampled_from(kinds)}, optional=fields
    ) | st.dictionaries(st.text(max_size=5), _JSON, max_size=2)


_EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from([
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "ping",
        ])
    },
    optional={
        "index": st.integers(0, 2) | _JSON,
        "content_block": _objects(*_KINDS) | _JSON,
        "delta": _objects(*_DELTAS, "citations_delta", "compaction_delta") | _JSON,
        "message": _objects("message") | _JSON,
        "usage": st.dictionaries(
            st.sampled_from([
                "input_tokens",
                "output_tokens",
                "cache_read_input_tokens",
                "output_tokens_details",
            ]),
            _JSON,
        ),
    },
)


@given(st.lists(_EVENTS, max_size=12))
@settings(max_examples=300, deadline=None)
def test_whatever_comes(values: list[dict[str, Any]]) -> None:
    """No input crashes with another type, or makes a stream against the grammar (I2, S1)."""
    decoder = MessagesDecoder()
    chunks: list[StreamChunk] = []
    try:
        for value in values:
            raw = json.dumps(value, allow_nan=True).encode()
            chunks += decoder.decode(ServerSentEvent(raw))
        events(decoder, stopped(), END)
        chunks += decoder.flush()
    except AIChatError:
        return
    check_stream(chunks)


# -- details -------------------------------------------------------------------------


def test_the_start_waits_for_the_first_word() -> None:
    """Until something is said, a gateway may start over (R1)."""
    decoder = started(usage={"input_tokens": 9, "output_tokens": 1})
    assert events(decoder, block("text"), event("ping")) == []
    usage = Usage(
        input_tokens=9, complete=False, raw={"input_tokens": 9, "output_tokens": 1}
    )
    assert events(decoder, delta("text_delta", text="Hi"), STOP) == [
        ResponseStart(id="msg_1", model="claude-opus-5"),
        UsageUpdate(usage),
        TextDelta("Hi"),
    ]


def test_the_output_of_a_stream_that_broke_is_unknown() -> None:
    """The count in message_start is a placeholder, and no output (S8)."""
    decoder = started(usage={"input_tokens": 9, "output_tokens": 1})
    so_far = Accumulator()
    for chunk in events(decoder, block("text", text="Hi")):
        so_far.add(chunk)
    usage = so_far.response().usage
    assert (usage.input_tokens, usage.output_tokens) == (9, None)
    assert not usage.complete


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("pause_turn", FinishReason.PAUSED),
        ("compaction", FinishReason.PAUSED),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("something_new", FinishReason.OTHER),
    ],
)
@pytest.mark.parametrize("calls", [False, True])
def test_reasons(reason: str, expected: FinishReason, calls: bool) -> None:
    """Calls turn a normal end into tool_calls, and no other end."""
    decoder = started()
    if calls:
        events(decoder, block("tool_use", id="toolu_1", name="f", input={}), STOP)
        if expected is FinishReason.STOP:
            expected = FinishReason.TOOL_CALLS
    events(decoder, stopped(reason))
    answer = fold(decoder.flush())
    assert (answer.finish_reason, answer.raw_finish_reason) == (expected, reason)


def test_numbers_that_cannot_be_are_not_reported() -> None:
    """More thoughts than output, or less than nothing, is no usage; raw keeps it (S8)."""
    decoder = started()
    usage = {
        "input_tokens": -1,
        "cache_read_input_tokens": 2.5,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 6},
    }
    *_, update = events(decoder, stopped(usage=usage))
    assert update == UsageUpdate(Usage(output_tokens=5, raw=usage))


def test_calls_without_an_id_or_with_a_used_one_get_their_own() -> None:
    """Each call can be answered by itself (S1)."""
    decoder = started()
    calls = events(
        decoder,
        block("tool_use", 0, id="toolu_1", name="f"),
        block("tool_use", 1, id="toolu_1", name="f"),
        block("tool_use", 2, name="f"),
    )
    ids = [chunk.id for chunk in calls if isinstance(chunk, ToolCallDelta)]
    assert ids == ["toolu_1", "made_1", "made_2"]


def test_the_ids_that_we_make_are_alike_and_unlike() -> None:
    """They say whose they are, and fit Anthropic's own pattern."""
    decoder = MessagesDecoder()
    calls = events(
        decoder, block("tool_use", 0, name="f"), block("tool_use", 1, name="f")
    )
    one, two = (chunk.id for chunk in calls if isinstance(chunk, ToolCallDelta))
    assert one is not None
    assert one.startswith("call_aichat_")
    assert len(one) == len("call_aichat_") + 24
    assert one != two


@pytest.mark.parametrize(
    ("whole", "arguments"),
    [({"a": 1}, '{"a":1}'), ('{"a": 1}', '{"a": 1}'), ({}, ""), (None, "")],
)
def test_an_input_that_came_with_the_start(whole: Any, arguments: str) -> None:
    """Compatible servers send it whole; Anthropic's ``{}`` there means nothing."""
    decoder = started()
    events(decoder, block("tool_use", id="t", name="f", input=whole))
    rest = events(decoder, STOP)
    assert (
        "".join(c.arguments for c in rest if isinstance(c, ToolCallDelta)) == arguments
    )


def test_deltas_win_over_an_input_that_came_with_the_start() -> None:
    """Otherwise the arguments would be there twice."""
    decoder = started()
    events(decoder, block("tool_use", id="t", name="f", input={"a": 1}))
    assert events(decoder, delta("input_json_delta", partial_json="{}"), STOP) == [
        ToolCallDelta(0, arguments="{}")
    ]


def test_the_input_of_a_tool_of_theirs_may_be_broken() -> None:
    """It is not ours to execute, and goes back in the form that Anthropic advises."""
    decoder = started()
    events(decoder, block("server_tool_use", id="s", name="x", input={}))
    events(
        decoder, delta("input_json_delta", partial_json='{"q'), stopped("max_tokens")
    )
    [trace] = fold(decoder.flush()).message.content
    assert isinstance(trace, OpaquePart)
    assert trace.provider_state.payload["input"] == {"INVALID_JSON": '{"q'}


def test_blocks_that_nobody_started() -> None:
    """A delta that says what it belongs to begins its block; another one is nothing."""
    decoder = MessagesDecoder()
    chunks = events(
        decoder,
        delta("hologram_delta", 7),
        delta("input_json_delta", 8, partial_json="{}"),
        delta("thinking_delta", 0, thinking="Hm"),
        delta("signature_delta", 0, signature="sig"),
        event("content_block_stop", index=0),
        delta("text_delta", 1, text="Hi"),
        event("content_block_stop", index=9),
    )
    assert chunks[0] == ReasoningDelta("Hm", 0)
    assert chunks[-1] == TextDelta("Hi", 1)


def test_a_block_that_is_started_twice() -> None:
    """The second one is another block."""
    decoder = started()
    chunks = events(
        decoder,
        block("thinking", thinking="One", signature="a"),
        block("thinking", thinking="Two", signature="b"),
        STOP,
        stopped(),
    )
    parts = fold([*chunks, *decoder.flush()]).message.content
    assert [p.text for p in parts if isinstance(p, ReasoningPart)] == ["One", "Two"]


def test_blocks_that_are_told_in_turns() -> None:
    """Their index keeps them apart."""
    decoder = started()
    chunks = events(
        decoder,
        block("text", 0),
        block("text", 1),
        delta("text_delta", 0, text="a"),
        delta("text_delta", 1, text="b"),
        delta("text_delta", 0, text="a"),
        delta("text_delta", 0, text=""),
    )
    assert [c for c in chunks if isinstance(c, TextDelta)] == [
        TextDelta("a", 0),
        TextDelta("b", 1),
        TextDelta("a", 0),
    ]


@pytest.mark.parametrize("raw", [b"", b" ", b"[DONE]"])
def test_other_dialects_ends(raw: bytes) -> None:
    """They say nothing here."""
    assert events(started(), ServerSentEvent(raw)) == []


# -- whole documents -----------------------------------------------------------------

_DOCUMENT: dict[str, Any] = {
    "id": "msg_doc",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-4-8",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {
            "type": "text",
            "text": "Here.",
            "citations": [{"type": "page_location", "document_title": "Report"}],
        },
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"n": 2**70}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "container": {"id": "container_1"},
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5},
}


def test_a_document_is_the_answer_that_it_is() -> None:
    """A JSON body goes through the same code as a stream (S6)."""
    decoder = MessagesDecoder()
    value = loads_exact(json.dumps(_DOCUMENT))
    answer = fold(check_stream([*decoder.document(value), *decoder.flush()]))
    assert decoder.finished
    assert answer.id == "msg_doc"
    assert answer.reasoning == "Hm."
    assert [c.title for c in answer.citations] == ["Report"]
    assert answer.tool_calls[0].parse() == {"n": 2**70}
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.metadata == {"container": {"id": "container_1"}}
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 5)
    assert answer.usage.complete


def test_a_document_without_content_is_an_answer() -> None:
    """An end_turn after tool results may have nothing to say."""
    decoder = MessagesDecoder()
    value = {**_DOCUMENT, "content": [], "stop_reason": "end_turn"}
    answer = fold([*decoder.document(value), *decoder.flush()])
    assert answer.message.content == ()
    assert answer.finish_reason is FinishReason.STOP


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error"}},
            ProviderUnavailableError,
        ),
        ({"error": {"type": "rate_limit_error"}}, RateLimitError),
        ({"choices": []}, ProtocolError),
        ([1], ProtocolError),
    ],
)
def test_documents_that_are_no_answer(
    value: Any, expected: type[ProviderError]
) -> None:
    """An error is an error, and another API's answer is no empty success (S6)."""
    with pytest.raises(expected):
        MessagesDecoder().document(value)


def test_the_spec_makes_a_new_decoder_for_every_answer() -> None:
    """No answer sees another one's state."""
    assert SPEC.decoder() is not SPEC.decoder()
    assert isinstance(SPEC.framing(), SSEDecoder)
