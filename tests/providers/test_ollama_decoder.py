"""Ollama's lines to chunks: `aichat.providers._ollama_decoder` and its parts."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aichat.errors import (
    AIChatError,
    AuthenticationError,
    ContextLengthError,
    ModelNotFoundError,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    QuotaExceededError,
    ServerError,
    StreamError,
    StreamInterruptedError,
)
from aichat.providers._ollama_fields import epoch
from aichat.providers.ollama import SPEC, OllamaDecoder
from aichat.testing import check_stream
from aichat.transport import NDJSONDecoder, Pipeline, provider_error
from aichat.types import (
    FinishReason,
    ImagePart,
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

from .ollama_streams import RECORDINGS, line, play, read, recording, response

END = line(done=True, top={"done_reason": "stop"})


def call(name: str | None = "f", arguments: Any = None, **fields: Any) -> Any:
    return {"function": {"name": name, "arguments": arguments}, **fields}


def answered(*lines: bytes) -> list[StreamChunk]:
    """The chunks of a whole answer, without its first and its last."""
    decoder = OllamaDecoder(new_id=iter(["made_1", "made_2"]).__next__)
    chunks = [*read(decoder, *lines, END), *decoder.flush()]
    start, *between, end = check_stream(chunks)
    assert isinstance(start, ResponseStart)
    assert isinstance(end, ResponseEnd)
    return between


# -- whole streams -------------------------------------------------------------------


def test_text_in_several_scripts() -> None:
    """Text arrives as it was said, and is nothing but text."""
    answer = response("text")
    assert answer.message.content == (TextPart("Grüß Gott, 世界 👋\u2028!"),)
    assert (answer.id, answer.model) == (None, "qwen3:8b")
    assert answer.created_at == pytest.approx(1795168800.123456)
    assert answer.finish_reason is FinishReason.STOP
    assert answer.raw_finish_reason == "stop"


def test_tokens_and_times() -> None:
    """Nobody says what was cached or thought; the numbers stay as they came (S8)."""
    answer = response("text")
    assert answer.usage == Usage(
        input_tokens=26,
        output_tokens=282,
        raw={
            "prompt_eval_count": 26,
            "eval_count": 282,
            "total_duration": 4883583458,
            "load_duration": 1334875,
            "prompt_eval_duration": 342546000,
            "eval_duration": 4535599000,
        },
    )
    assert answer.usage.cache_read_tokens is None
    assert answer.usage.reasoning_tokens is None
    assert answer.metadata == {
        "durations": {
            "total": 4.883583458,
            "load": 0.001334875,
            "prompt_eval": 0.342546,
            "eval": 4.535599,
        }
    }


def test_thoughts_text_and_calls_keep_their_order() -> None:
    """Whole numbers of any size stay whole; ``index`` says nothing (S7, S9)."""
    answer = response("thinking_and_tools")
    assert answer.message.content == (
        ReasoningPart("Two cities, two calls."),
        TextPart("Checking."),
        ToolCallPart(
            "call_a1b2c3d4",
            "get_weather",
            '{"city":"Zürich","id":123456789012345678901234567890}',
        ),
        ToolCallPart("call_e5f6a7b8", "now", "{}"),
    )
    # It says "stop".
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.raw_finish_reason == "stop"


def test_calls_of_an_older_server() -> None:
    """Without ids and a reason, all of them in the last line."""
    answer = response("old_tools")
    assert answer.tool_calls == (
        ToolCallPart("a", "get_weather", '{"city":"Paris"}'),
        ToolCallPart("b", "get_weather", '{"city":"Rome"}'),
        ToolCallPart("c", "now", "{}"),
    )
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.raw_finish_reason is None


def test_thoughts_of_an_older_server() -> None:
    """It leaves them in the text, in tags; later tags are text."""
    answer = response("think_tags")
    assert answer.message.content == (
        ReasoningPart("\nLet me see.\n"),
        TextPart("It is <think>42</think>."),
    )


def test_thoughts_that_took_all_there_was() -> None:
    """A small limit may leave nothing for the answer."""
    answer = response("length")
    assert answer.text == ""
    assert answer.reasoning == "Hm, well"
    assert answer.finish_reason is FinishReason.LENGTH


def test_a_prompt_that_was_not_counted() -> None:
    """Not reported is not 0 (S8)."""
    usage = response("cached_prompt").usage
    assert usage.input_tokens is None
    assert usage.output_tokens == 1
    assert usage.total_tokens is None


def test_an_empty_reason_is_the_usual_one() -> None:
    """Older servers have none, or an empty one."""
    answer = response("no_reason")
    assert answer.finish_reason is FinishReason.STOP
    assert answer.raw_finish_reason is None


def test_what_the_cloud_adds() -> None:
    """Log probabilities come with each line, and are one list in the end."""
    answer = response("cloud_logprobs")
    assert answer.text == "Hello"
    assert [each["token"] for each in answer.metadata["logprobs"]] == ["Hel", "lo"]
    assert answer.metadata["remote_model"] == "gpt-oss:120b"
    assert answer.metadata["new_fact"] == 7


def test_an_answer_in_one_line() -> None:
    """``"stream": false``, and no line end; a picture is a part of its own (S6)."""
    answer = response("whole")
    assert answer.message.content == (
        ReasoningPart("Colours."),
        TextPart("A red one."),
        ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png"),
    )


def test_a_model_that_was_only_loaded() -> None:
    """That is no end that has a name of ours."""
    answer = response("load")
    assert answer.message.content == ()
    assert answer.finish_reason is FinishReason.OTHER
    assert answer.raw_finish_reason == "load"
    assert answer.usage == Usage()


def test_oddities_pass() -> None:
    """Blank lines, unknown ones, unknown fields, null, CRLF (S10)."""
    answer = response("oddities")
    assert answer.message.content == (TextPart("abc"),)
    assert answer.model == "qwen3:8b"


@pytest.mark.parametrize("name", RECORDINGS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_every_cut_gives_the_same(name: str, data: st.DataObject) -> None:
    """Whatever the network does (S1, S3)."""
    body = recording(name)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    assert fold(check_stream(play(body, cuts))) == response(name)


@pytest.mark.parametrize("name", RECORDINGS)
def test_byte_by_byte(name: str) -> None:
    """The worst of all cuts (S3)."""
    body = recording(name)
    assert fold(play(body, range(1, len(body)))) == response(name)


@pytest.mark.parametrize("name", RECORDINGS)
def test_no_end_no_answer(name: str) -> None:
    """However much there was before, what is cut off is an error (S4)."""
    body = recording(name)
    for at in range(1, len(body) - 2):
        pipeline = Pipeline(SPEC.dialect)
        pipeline.feed(body[:at])
        if not pipeline.over:
            pipeline.end()
        assert isinstance(pipeline.error, StreamInterruptedError), at


def test_nothing_follows_the_end() -> None:
    """`Pipeline` need not wait for the connection to close."""
    pipeline = Pipeline(SPEC.dialect)
    chunks = pipeline.feed(recording("text") + b"{oops\n")
    assert pipeline.over
    assert pipeline.error is None
    assert fold(chunks).text.startswith("Grüß")


def test_complete_and_finished_are_one() -> None:
    """The last line is marked; what comes after it is not heard."""
    decoder = OllamaDecoder()
    read(decoder, line(content="Hi"))
    assert (decoder.complete, decoder.finished) == (False, False)
    read(decoder, END)
    assert (decoder.complete, decoder.finished) == (True, True)
    assert read(decoder, line(content="more"), b'{"error": "late"}') == []


def test_a_model_that_repeats_itself() -> None:
    """The server gives up without saying so; in one line it says that it is not done (S4)."""
    decoder = OllamaDecoder()
    read(decoder, line(content="ha ha ha"))
    with pytest.raises(StreamInterruptedError, match="done"):
        decoder.flush()


def test_a_document_is_the_answer_that_it_is() -> None:
    """The transport may have read it as one (S6)."""
    decoder = OllamaDecoder()
    value = loads_exact(recording("whole"))
    assert fold([*decoder.document(value), *decoder.flush()]) == response("whole")


# -- single lines --------------------------------------------------------------------


def test_text_on_the_short_way_and_on_the_long_one() -> None:
    """A line with something unusual says the same as one without."""
    plain = answered(line(content="a"), line(content="b"), line(content="c"))
    odd = answered(
        line(content="a", new=1),
        line(content="b", top={"new": 1}),
        line(content="c", thinking=""),
    )
    assert plain == odd == [TextDelta("a"), TextDelta("b"), TextDelta("c")]


def test_thoughts_and_text_in_one_line() -> None:
    """The thought comes first; what comes back later is another part."""
    assert answered(
        line(content="A", thinking="Hm"),
        line(thinking="So"),
        line(content="B"),
        line(content="C"),
    ) == [
        ReasoningDelta("Hm", 0),
        TextDelta("A", 1),
        ReasoningDelta("So", 2),
        TextDelta("B", 3),
        TextDelta("C", 3),
    ]


def test_text_after_a_call_is_a_part_of_its_own() -> None:
    """Its order survives (S9)."""
    chunks = answered(
        line(content="A"), line(tool_calls=[call(id="x")]), line(content="B")
    )
    assert chunks == [
        TextDelta("A", 0),
        ToolCallDelta(1, "x", "f", "{}"),
        TextDelta("B", 2),
    ]


def test_a_blank_that_could_begin_a_tag_is_not_lost() -> None:
    """It waits, and comes out before whatever is no text."""
    assert answered(
        line(content=" "), line(tool_calls=[call(id="x")]), line(content="<think>")
    ) == [
        TextDelta(" ", 0),
        ToolCallDelta(1, "x", "f", "{}"),
        TextDelta("<think>", 2),
    ]
    assert answered(line(content=" "), line(thinking="Hm")) == [
        TextDelta(" ", 0),
        ReasoningDelta("Hm", 1),
    ]
    assert answered(line(content="<thin")) == [TextDelta("<thin", 0)]


def test_tags_are_text_where_thoughts_have_their_own_field() -> None:
    """A server that knows thoughts leaves none in the text."""
    assert answered(line(thinking="Hm"), line(content="<think>is a tag")) == [
        ReasoningDelta("Hm", 0),
        TextDelta("<think>is a tag", 1),
    ]


def test_a_tag_that_is_never_closed() -> None:
    """It was all thought."""
    assert answered(line(content="<think>So</th")) == [
        ReasoningDelta("So", 0),
        ReasoningDelta("</th", 0),
    ]


def test_ids_are_there_and_unlike() -> None:
    """Missing and repeated ones are replaced."""
    calls = answered(
        line(tool_calls=[call(id="x"), call(id="x"), call(id="")]),
    )
    assert [c.id for c in calls if isinstance(c, ToolCallDelta)] == [
        "x",
        "made_1",
        "made_2",
    ]


def test_the_ids_that_we_make_say_whose_they_are() -> None:
    """They fit everybody's pattern."""
    chunks = read(OllamaDecoder(), line(tool_calls=[call(), call()]))
    one, two = (c.id for c in chunks if isinstance(c, ToolCallDelta))
    assert one is not None
    assert one.startswith("call_aichat_")
    assert len(one) == len("call_aichat_") + 24
    assert one != two


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (None, "{}"),
        ({}, "{}"),
        ({"a": 1.0, "ü": [None]}, '{"a":1.0,"ü":[null]}'),
        # What some proxies send: it is JSON already, or it is not, which the fold sees.
        ('{"a": 1}', '{"a": 1}'),
        ("", ""),
        ([1], "[1]"),
    ],
)
def test_arguments_become_text(arguments: Any, text: str) -> None:
    """As JSON, and never repaired (S7)."""
    [chunk] = answered(line(tool_calls=[call(arguments=arguments)]))
    assert isinstance(chunk, ToolCallDelta)
    assert chunk.arguments == text


@pytest.mark.parametrize("digits", [20, 300])
def test_whole_numbers_of_any_size(digits: int) -> None:
    """The fast reader would make floats of them."""
    number = int("9" * digits)
    raw = line(tool_calls=[call(arguments={"a": number})])
    [chunk] = answered(raw)
    assert isinstance(chunk, ToolCallDelta)
    assert json.loads(chunk.arguments) == {"a": number}


@pytest.mark.parametrize(
    "depth",
    [
        pytest.param(
            1010,
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 12),
                reason="the exact reader of later Pythons goes deeper than the fast one",
            ),
        ),
        1500,
    ],
)
def test_arguments_without_a_bottom(depth: int) -> None:
    """They are a typed error, whichever reader gives up on them (I2)."""
    deep = b"[" * depth + b"]" * depth
    raw = line(tool_calls=[call(arguments="deep")]).replace(b'"deep"', deep)
    with pytest.raises(ProtocolError):
        read(OllamaDecoder(), raw)


def test_a_call_without_a_name_is_an_invalid_one() -> None:
    """It is not lost, and not executed (S7)."""
    chunks = answered(line(tool_calls=[call(None, {"a": 1})]))
    answer = fold([*chunks, ResponseEnd(FinishReason.STOP)])
    [bad] = answer.invalid_tool_calls
    assert bad.invalid == "the call has no name"


def test_calls_that_were_cut_by_the_limit() -> None:
    """The reason stays; a call that came is whole."""
    decoder = OllamaDecoder()
    last = line(done=True, top={"done_reason": "length"}, tool_calls=[call()])
    answer = fold([*read(decoder, last), *decoder.flush()])
    assert answer.finish_reason is FinishReason.LENGTH
    assert len(answer.tool_calls) == 1


def test_a_reason_that_nobody_knows() -> None:
    """It is kept, and not taken for another one (S10)."""
    decoder = OllamaDecoder()
    last = line(done=True, top={"done_reason": "bored"}, tool_calls=[call()])
    answer = fold([*read(decoder, last), *decoder.flush()])
    assert answer.finish_reason is FinishReason.OTHER
    assert answer.raw_finish_reason == "bored"


@pytest.mark.parametrize("count", [-1, True, "7", None, 1.5])
def test_counts_that_are_none(count: Any) -> None:
    """They are not reported (S8)."""
    figures = {"prompt_eval_count": count, "eval_count": 2, "eval_duration": count}
    decoder = OllamaDecoder()
    chunks = read(decoder, line(done=True, top=figures))
    [update] = [c for c in chunks if isinstance(c, UsageUpdate)]
    assert update.usage.input_tokens is None
    assert update.usage.output_tokens == 2
    assert fold([*chunks, *decoder.flush()]).metadata == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T01:00:01.5+01:00", 1.5),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
        ("1970-01-01T00:00:01", 1),
        # Go's way to say nothing.
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        (5, None),
        (None, None),
    ],
)
def test_times(text: Any, seconds: float | None) -> None:
    """RFC 3339, with up to nine decimals; what is none says nothing."""
    assert epoch(text) == (None if seconds is None else pytest.approx(seconds))


def test_characters_that_are_none() -> None:
    """They are replaced, as everywhere (I2)."""
    raw = line(content="a?b").replace(b"?", b"\xff")
    assert answered(raw) == [TextDelta("a\ufffdb")]
    raw = line(content="?", tool_calls=[call(id="x")]).replace(b"?", b"\xff")
    assert answered(raw)[0] == TextDelta("\ufffd")


# -- what goes wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"{oops",
        b"data: {}",
        b"[1]",
        b'"done"',
        b'{"message": "Unauthorized"}',
        line(content=["a"]),
        line(thinking=5),
        line(tool_calls={}),
        line(tool_calls=["f"]),
        line(tool_calls=[{"name": "f"}]),
        line(images="iVBO"),
        line(images=[5]),
        line(images=["not base64!"]),
        line(top={"logprobs": "high"}),
    ],
)
def test_lines_that_are_none(raw: bytes) -> None:
    """Another type than promised is a typed error (I2)."""
    with pytest.raises(ProtocolError):
        read(OllamaDecoder(), line(content="Hi"), raw)


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        ("server busy, please try again.  maximum pending requests exceeded", 503, ProviderUnavailableError),
        ("model 'nope' not found", 404, ModelNotFoundError),
        ('model "nope" not found, try pulling it first', 404, ModelNotFoundError),
        ('"gemma3:1b" does not support thinking', 400, ModelNotFoundError),
        ("registry.ollama.ai/library/x does not support tools", 400, ModelNotFoundError),
        ("unauthorized", 401, AuthenticationError),
        ("you (a) have reached your weekly usage limit, upgrade for higher limits", 429, QuotaExceededError),
        ("you've reached your hourly usage limit, please wait or upgrade to continue", 429, QuotaExceededError),
        (
            "the prompt is longer than the context length currently available",
            400,
            ContextLengthError,
        ),
        ("the input length exceeds the context length", 400, ContextLengthError),
        (
            '{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens)","type":"exceed_context_size_error"}}',
            400,
            ContextLengthError,
        ),
        ("model requires more system memory (9 GiB) than is available (2 GiB)", 500, ServerError),
        ("llama runner process has terminated: exit status 2", 500, ServerError),
        ("timed out waiting for llama runner to start: context canceled", 500, ServerError),
        ('option "temperature" must be of type float32', 500, ServerError),
        ("failed to parse grammar", 500, ServerError),
        ("an error was encountered while running the model: unexpected EOF", 500, ServerError),
        ("CUDA error: out of memory", 500, ServerError),
    ],
)  # fmt: skip
def test_errors_within_a_stream_are_those_of_their_status(
    error: str, status: int, expected: type[ProviderError]
) -> None:
    """The same sentence is the same error, with a status or without (S5)."""
    with pytest.raises(AIChatError) as caught:
        read(
            OllamaDecoder(), line(content="Once"), json.dumps({"error": error}).encode()
        )
    whole = provider_error({"error": error}, status=status, codes=SPEC.error_codes)
    assert type(caught.value) is type(whole) is expected
    assert caught.value.retryable == whole.retryable
    assert caught.value.message == whole.message
    assert caught.value.status is None


def test_errors_that_waiting_does_not_cure() -> None:
    """The machine stays as small as it is, and the option as wrong."""
    for text in ("model requires more system memory", 'option "a" must be of type int'):
        assert not provider_error({"error": text}, status=500).retryable


def test_an_error_that_nobody_knows() -> None:
    """It is not guessed at."""
    with pytest.raises(StreamError, match="Oops") as caught:
        read(OllamaDecoder(), b'{"error": {"message": "Oops"}}')
    assert type(caught.value) is StreamError


@pytest.mark.parametrize(
    ("name", "said"), [("error_at_once", ""), ("error_midway", "Once upon")]
)
def test_recorded_errors(name: str, said: str) -> None:
    """What came before is handed up (S5)."""
    pipeline = Pipeline(SPEC.dialect)
    chunks = pipeline.feed(recording(name))
    assert pipeline.over
    assert type(pipeline.error) is ServerError
    assert "".join(c.text for c in chunks if isinstance(c, TextDelta)) == said


def test_an_empty_error_is_none() -> None:
    """Some proxies send every field there is."""
    assert answered(line(content="Hi", top={"error": ""})) == [TextDelta("Hi")]


def test_a_web_page_is_no_answer() -> None:
    """Nor is nothing (S6)."""
    for body, expected in ((b"<html>", ProtocolError), (b"", StreamInterruptedError)):
        pipeline = Pipeline(SPEC.dialect)
        pipeline.feed(body)
        pipeline.end()
        assert isinstance(pipeline.error, expected)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["message", "done", "content", "thinking", "tool_calls", "function",
            "name", "arguments", "error", "images", "logprobs", "model", "done_reason"]),
        inner, max_size=6,
    ),
    max_leaves=12,
))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_no_line_breaks_it(value: Any) -> None:
    """Whatever comes, it is chunks of the grammar or one of our errors (I2)."""
    decoder = OllamaDecoder()
    raw = json.dumps(value).encode()
    try:
        chunks = [*read(decoder, raw), *decoder.flush()]
    except AIChatError:
        return
    check_stream(chunks)


def test_the_spec_makes_a_new_decoder_for_every_answer() -> None:
    """No answer sees another one's state."""
    assert SPEC.decoder() is not SPEC.decoder()
    assert isinstance(SPEC.framing(), NDJSONDecoder)
