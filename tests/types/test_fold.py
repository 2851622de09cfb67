"""Chunks to a response, and back."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given, strategies as st

from aichat.errors import StreamInterruptedError
from aichat.types import (
    Accumulator,
    ChatResponse,
    Citation,
    CitationDelta,
    FinishReason,
    ImagePart,
    Message,
    OpaquePart,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    ReasoningPart,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    Role,
    StreamChunk,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageUpdate,
    collect,
    fold,
    unfold,
)

from .strategies import parts, responses, streams

STOP = ResponseEnd(FinishReason.STOP)
CALLS = ResponseEnd(FinishReason.TOOL_CALLS)
LENGTH = ResponseEnd(FinishReason.LENGTH)


def call(
    arguments: str, *, name: str | None = "f", kind: str = "function"
) -> ToolCallDelta:
    return ToolCallDelta(0, "call_1", name, arguments, kind)  # type: ignore[arg-type]


# -- the two laws --------------------------------------------------------------------


@given(responses)
def test_unfold_is_a_way_back(response: ChatResponse) -> None:
    """
    fold(unfold(x)) == x  # S2
    """
    assert fold(unfold(response)) == response


@given(streams(), st.data())
def test_a_delta_in_two_pieces_says_the_same(
    stream: list[StreamChunk], data: st.DataObject
) -> None:
    """
    How a provider cuts its deltas does not show in the response.  # S3
    """
    pieces: list[StreamChunk] = []
    for chunk in stream:
        match chunk:
            case TextDelta(text, index):
                cut = data.draw(st.integers(0, len(text)))
                pieces += [TextDelta(text[:cut], index), TextDelta(text[cut:], index)]
            case ReasoningDelta(text, index):
                cut = data.draw(st.integers(0, len(text)))
                pieces.append(ReasoningDelta(text[:cut], index))
                pieces.append(ReasoningDelta(text[cut:], index))
            case RefusalDelta(text, index):
                cut = data.draw(st.integers(0, len(text)))
                pieces.append(RefusalDelta(text[:cut], index))
                pieces.append(RefusalDelta(text[cut:], index))
            case ToolCallDelta(index, id, name, text, kind):
                cut = data.draw(st.integers(0, len(text)))
                pieces.append(ToolCallDelta(index, id, name, text[:cut], kind))
                pieces.append(ToolCallDelta(index, arguments=text[cut:], kind=kind))
            case _:
                pieces.append(chunk)
    assert fold(pieces) == fold(stream)


@given(streams())
async def test_collect_is_the_fold_of_a_live_stream(stream: list[StreamChunk]) -> None:
    """
    complete() is fold(stream()), by construction.  # S2
    """

    async def live() -> AsyncGenerator[StreamChunk, None]:
        for chunk in stream:
            yield chunk

    assert await collect(live()) == fold(stream)


@given(streams(), st.data())
def test_a_broken_stream_never_looks_like_a_short_answer(
    stream: list[StreamChunk], data: st.DataObject
) -> None:
    """
    Wherever it breaks: an error with what arrived, and no finish reason.  # S4
    """
    arrived = stream[: data.draw(st.integers(0, len(stream) - 1))]
    with pytest.raises(StreamInterruptedError) as broken:
        fold(arrived)
    partial = broken.value.partial
    assert partial is not None
    assert partial.finish_reason is None
    assert not partial.usage.complete
    text = "".join(c.text for c in arrived if isinstance(c, TextDelta))
    assert sorted(partial.text) == sorted(text)
    with pytest.raises(ValueError, match="partial"):
        next(unfold(partial))


@given(st.lists(parts, max_size=4))
def test_unfold_never_loses_a_part_that_an_answer_may_hold(
    content: list[object],
) -> None:
    """
    A response that was made by hand either survives or is refused.  # S2
    """
    response = ChatResponse(
        message=Message(Role.ASSISTANT, content),  # type: ignore[arg-type]
        finish_reason=FinishReason.STOP,
    )
    if any(isinstance(part, ToolResultPart) for part in content):
        with pytest.raises(ValueError, match="tool result"):
            list(unfold(response))
        return
    again = fold(unfold(response)).message.content
    assert [type(p) for p in again] == [type(p) for p in content]


# -- order and state -----------------------------------------------------------------


def test_parts_come_in_the_order_in_which_they_began() -> None:
    """
    Interleaved deltas do not mix parts up, and an index is a name, not a place.  # S9
    """
    response = fold([
        ReasoningDelta("Let me ", 7),
        TextDelta("Sun", 3),
        ReasoningDelta("think.", 7),
        ToolCallDelta(1, "a", "f", '{"x"'),
        TextDelta("ny", 3),
        ToolCallDelta(0, "b", "g", "{}"),
        ToolCallDelta(1, arguments=": 1}"),
        CALLS,
    ])
    assert response.message.content == (
        ReasoningPart("Let me think."),
        TextPart("Sunny"),
        ToolCallPart("a", "f", '{"x": 1}'),
        ToolCallPart("b", "g", "{}"),
    )


def test_state_is_carried_unchanged_to_the_part_that_ends() -> None:
    """
    One index may serve parts of several kinds: the latest one is the one that ends.  # S9
    """
    signature = ProviderState("anthropic", {"signature": "EqQB=="})
    thought = ProviderState("google", {"thoughtSignature": "CiQ"})
    response = fold([
        ReasoningDelta("Hm.", 0),
        PartEnd(0, signature),
        TextDelta("Yes", 0),
        PartEnd(0),
        ToolCallDelta(1, "a", "f", "{}"),
        PartEnd(1, thought),
        CALLS,
    ])
    reasoning, text, tool_call = response.message.content
    assert reasoning.provider_state is signature
    assert text.provider_state is None
    assert tool_call.provider_state is thought


def test_the_end_of_a_part_that_never_began_is_harmless() -> None:
    """
    There is nothing to give the state to.  # S10
    """
    assert fold([PartEnd(4, ProviderState("x", 1)), STOP]).message.content == ()


def test_whole_parts_keep_their_place_and_take_their_state() -> None:
    """
    A picture between two texts stays between them.  # S9
    """
    picture = ImagePart(url="https://example.com/cat.png")
    trace = OpaquePart("web_search_call", ProviderState("openai", {"id": "ws_1"}))
    state = ProviderState("openai", {"id": "ig_1"})
    response = fold([
        TextDelta("Before.", 0),
        PartAdded(picture, 1),
        PartEnd(1, state),
        PartAdded(trace, 2),
        TextDelta("After.", 3),
        STOP,
    ])
    before, image, opaque, after = response.message.content
    assert (before, after) == (TextPart("Before."), TextPart("After."))
    assert image == ImagePart(url=picture.url, provider_state=state)
    assert opaque is trace


def test_citations_belong_to_their_text() -> None:
    source = Citation(url="https://example.com")
    response = fold([TextDelta("Yes", 0), CitationDelta(source, 0), STOP])
    assert response.message.content == (TextPart("Yes", citations=[source]),)
    assert response.citations == (source,)


def test_a_refusal_is_not_text() -> None:
    response = fold([RefusalDelta("I'd "), RefusalDelta("rather not."), STOP])
    assert response.refusal == "I'd rather not."
    assert response.text == ""
    assert fold([TextDelta("Sure."), STOP]).refusal is None


# -- tool calls ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("[1, 2]", "not a JSON object but list"),
        ('"Paris"', "not a JSON object but str"),
        ("null", "not a JSON object but NoneType"),
        ("{}{}", "Extra data"),
        ('{"a": 1}, {"a": 2}', "Extra data"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1,}', ""),
        ("{'a': 1}", "double quotes"),
        ('{"city": "Par', "Unterminated"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("```json\n{}\n```", "Expecting value"),
        ('{"n": ' + "9" * 5000 + "}", "4300"),
    ],
)
@pytest.mark.parametrize("end", [STOP, CALLS], ids=["stop", "tool_calls"])
def test_bad_arguments_make_an_invalid_call(
    arguments: str, reason: str, end: ResponseEnd
) -> None:
    """
    Kept as the model wrote them, with the reason; never repaired.  # S7
    """
    response = fold([call(arguments), end])
    assert response.tool_calls == ()
    (bad,) = response.invalid_tool_calls
    assert bad.arguments == arguments
    assert bad.invalid is not None
    assert bad.invalid.startswith("the arguments are no JSON object: ")
    assert reason in bad.invalid
    with pytest.raises(Exception, match="no usable arguments"):
        bad.parse()


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ("", {}),
        (" \n", {}),
        ("{}", {}),
        (' {"a": 1}\n', {"a": 1}),
        ('{"n": 123456789012345678901}', {"n": 123456789012345678901}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    ],
)
def test_good_arguments_are_kept_raw_and_parsed_strictly(
    arguments: str, value: dict[str, object]
) -> None:
    """
    No text at all means no arguments; big numbers stay what they are.  # S7
    """
    (good,) = fold([call(arguments), CALLS]).tool_calls
    assert good.arguments == arguments
    assert good.parse() == value


@pytest.mark.parametrize(
    "reason",
    [FinishReason.LENGTH, FinishReason.CONTENT_FILTER, FinishReason.ERROR],
)
@pytest.mark.parametrize("arguments", ["", '{"city": "Par'])
def test_the_last_call_of_an_answer_that_was_cut_is_invalid(
    arguments: str, reason: FinishReason
) -> None:
    """
    A call without arguments may have been going to have some.  # S7
    """
    response = fold([call(arguments), ResponseEnd(reason)])
    (bad,) = response.invalid_tool_calls
    assert bad.invalid == f"cut off: the answer ended with {reason}"


def test_only_the_last_part_can_have_been_cut() -> None:
    """
    What came before it had its time to end, and whole JSON cannot have been cut.  # S7
    """
    response = fold([
        ToolCallDelta(0, "a", "f", ""),
        ToolCallDelta(1, "b", "g", '{"x": 1}'),
        LENGTH,
    ])
    assert [c.id for c in response.tool_calls] == ["a", "b"]


def test_a_call_in_a_stream_that_broke_is_invalid() -> None:
    with pytest.raises(StreamInterruptedError) as broken:
        fold([call("")])
    assert broken.value.partial is not None
    (bad,) = broken.value.partial.invalid_tool_calls
    assert bad.invalid == "cut off: the stream broke"


@pytest.mark.parametrize("end", [CALLS, LENGTH])
def test_a_call_without_a_name_is_invalid(end: ResponseEnd) -> None:
    """
    Nobody knows what to execute.  # S7
    """
    (bad,) = fold([call("{}", name=None), end]).invalid_tool_calls
    assert bad.invalid == "the call has no name"


def test_a_custom_tool_takes_free_text() -> None:
    """
    Free text is no JSON, and does not tell whether it was cut.  # S7
    """
    (good,) = fold([call("x = 1", kind="custom"), CALLS]).tool_calls
    assert (good.kind, good.arguments) == ("custom", "x = 1")
    (bad,) = fold([call("x = 1", kind="custom"), LENGTH]).invalid_tool_calls
    assert bad.invalid == "cut off: the answer ended with length"


def test_id_and_name_come_once() -> None:
    """
    Some providers repeat them with every piece, some send empty ones after the first.
    """
    response = fold([
        ToolCallDelta(0, "a", "f", "{"),
        ToolCallDelta(0, "a", "f", ""),
        ToolCallDelta(0, "", "", "}"),
        CALLS,
    ])
    assert response.tool_calls == (ToolCallPart("a", "f", "{}"),)


# -- usage, start and end ------------------------------------------------------------


def test_the_last_usage_counts() -> None:
    """
    A snapshot replaces the one before and is never a summand.  # S8
    """
    response = fold([
        UsageUpdate(Usage(input_tokens=10, output_tokens=1)),
        TextDelta("Hi"),
        UsageUpdate(Usage(input_tokens=10, output_tokens=5, raw={"total": 15})),
        STOP,
    ])
    assert response.usage == Usage(input_tokens=10, output_tokens=5, raw={"total": 15})
    assert response.usage.total_tokens == 15


def test_unknown_usage_is_none_and_not_zero() -> None:
    """
    Nobody said anything, and nothing is made up.  # S8
    """
    usage = fold([TextDelta("Hi"), STOP]).usage
    assert usage == Usage(complete=True)
    assert usage.input_tokens is None
    assert usage.total_tokens is None
    assert Usage(input_tokens=3).total_tokens is None


def test_start_and_end_are_copied_into_the_response() -> None:
    state = ProviderState("openai", {"id": "resp_1"})
    response = fold([
        ResponseStart("r1", "gpt", "openai", 1.5, "req_1", ("no top_k",)),
        ResponseEnd(
            FinishReason.OTHER,
            "new_reason",
            stop_sequence="END",
            provider_state=state,
            metadata={"system_fingerprint": "fp"},
        ),
    ])
    assert response == ChatResponse(
        message=Message(Role.ASSISTANT, provider_state=state),
        finish_reason=FinishReason.OTHER,
        raw_finish_reason="new_reason",
        id="r1",
        model="gpt",
        provider="openai",
        created_at=1.5,
        request_id="req_1",
        stop_sequence="END",
        warnings=("no top_k",),
        metadata={"system_fingerprint": "fp"},
    )


def test_the_accumulator_knows_the_response_at_any_time() -> None:
    so_far = Accumulator()
    assert so_far.response().message.content == ()
    so_far.add(ReasoningDelta("Hm."))
    so_far.add(UsageUpdate(Usage(output_tokens=1)))
    assert so_far.response().reasoning == "Hm."
    assert so_far.response().usage == Usage(output_tokens=1, complete=False)
    assert not so_far.finished
    so_far.add(STOP)
    assert so_far.finished
    assert so_far.response().usage == Usage(output_tokens=1)


def test_a_text_takes_no_more_memory_than_it_is_long() -> None:
    """
    Whatever pieces it comes in: an object per token would be ten times as much.  # C6
    """
    pieces = 20_000
    so_far = Accumulator()
    so_far.add(TextDelta("x"))
    tracemalloc.start()
    try:
        for number in range(pieces):
            so_far.add(TextDelta(f" {number:06}"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(so_far.response().text) == 1 + 7 * pieces
    # And a thousand pieces that have not been joined yet.
    assert held < 7 * pieces + 1000 * 100
