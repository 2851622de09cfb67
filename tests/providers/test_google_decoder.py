"""Gemini's chunks to ours: `aichat.providers._google_decoder` and its parts."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aichat.errors import (
    AIChatError,
    AuthenticationError,
    ProtocolError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    StreamInterruptedError,
)
from aichat.providers._call_ids import new_call_id
from aichat.providers._google_decoder import ERROR_CODES
from aichat.providers._google_usage import usage_of
from aichat.providers.google import GenerateContentDecoder
from aichat.transport import provider_error
from aichat.types import (
    AudioPart,
    Citation,
    DocumentPart,
    FinishReason,
    ImagePart,
    OpaquePart,
    ProviderState,
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
)

from .google_streams import (
    RECORDINGS,
    chunk,
    decoded,
    event,
    play,
    recording,
    response,
)

MODEL = "gemini-3.8-flash"


def state(payload: Any, model: str | None = MODEL) -> ProviderState:
    return ProviderState("google", payload, model)


# -- whole streams -------------------------------------------------------------------


def test_text_in_several_scripts() -> None:
    """Text arrives as it was said, and is nothing but text."""
    answer = response("text.sse")
    assert answer.message.content == (TextPart("Grüß Gott, 世界 👋\u2028!"),)
    assert (answer.id, answer.model) == ("r1", MODEL)
    assert answer.created_at == pytest.approx(1795168800.123456)
    assert answer.finish_reason is FinishReason.STOP
    assert answer.raw_finish_reason == "STOP"
    assert answer.metadata == {}


def test_what_the_tokens_of_a_stream_are_told_as() -> None:
    """The first snapshot, without its moving output, and the last: not one per chunk."""
    # S8
    chunks, _ = play(recording("text.sse"))
    first, last = [c.usage for c in chunks if isinstance(c, UsageUpdate)]
    assert (first.input_tokens, first.output_tokens, first.complete) == (8, None, False)
    assert isinstance(chunks[-1], ResponseEnd)
    assert isinstance(chunks[-2], UsageUpdate)
    # A field that a later snapshot lacks is what it was.
    assert last == Usage(
        input_tokens=8, output_tokens=7, cache_read_tokens=4, raw=last.raw
    )
    assert last.raw["serviceTier"] == "standard"
    assert "promptTokensDetails" in last.raw


def test_thoughts_and_calls_keep_their_order_and_their_secrets() -> None:
    """Every part is there, in order, with what Google wants back (S9)."""
    answer = response("thinking_and_tools.sse")
    thought, text, zurich, rome, now = answer.message.content
    assert thought == ReasoningPart("Two cities, two calls.")
    assert text == TextPart("Checking.")
    assert isinstance(zurich, ToolCallPart)
    assert zurich.parse() == {"city": "Zürich", "id": 123456789012345678901234567890}
    assert zurich.provider_state == state({
        "thoughtSignature": "CiQB/a+bcw==",
        "id": "a1",
    })
    assert rome == ToolCallPart(
        "a2", "get_weather", '{"city":"Rome"}', provider_state=state({"id": "a2"})
    )
    assert now == ToolCallPart("made_0", "now", "{}")
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.raw_finish_reason == "STOP"
    assert answer.metadata["finishMessage"] == "Model generated function call(s)."
    assert answer.usage.output_tokens == 59
    assert answer.usage.reasoning_tokens == 30


def test_a_signed_text_stays_a_part_of_its_own() -> None:
    """It goes back with its signature, and is never merged with its neighbours (S9)."""
    answer = response("signed_text.sse")
    assert answer.message.content == (
        ReasoningPart("Hm."),
        TextPart("It is 42"),
        TextPart(".", provider_state=state({"thoughtSignature": "c2ln/bmVkw=="})),
        TextPart(" Sure."),
        TextPart("", provider_state=state({"thoughtSignature": "ZW1wdHk="})),
        # An empty text may be left out: the part is its signature.
        TextPart("", provider_state=state({"thoughtSignature": "YWxvbmU="})),
    )
    assert answer.text == "It is 42. Sure."


def test_a_signed_thought() -> None:
    """It is as good a place as any (S9)."""
    signed = {"text": "Hm.", "thought": True, "thoughtSignature": "aA=="}
    answer = decoded(chunk(signed, {"text": "more", "thought": True}, finish="STOP"))
    assert answer.message.content == (
        ReasoningPart("Hm.", provider_state=state({"thoughtSignature": "aA=="}, None)),
        ReasoningPart("more"),
    )


def test_text_after_the_first_reason_to_stop() -> None:
    """The answer ends with the body, and not before; tools of Google's are kept whole."""
    answer = response("code_execution.sse")
    before, code, result, text = answer.message.content
    assert before == TextPart("Let me see.")
    assert code == OpaquePart(
        "executableCode",
        state({
            "executableCode": {
                "language": "PYTHON",
                "code": "print(6 * 7)\n",
                "id": "c1",
            },
            "thoughtSignature": "Y29kZQ==",
        }),
    )
    assert isinstance(result, OpaquePart)
    assert result.kind == "codeExecutionResult"
    assert text == TextPart("résultat ✅ 42.")
    # Not a call of ours.
    assert answer.finish_reason is FinishReason.STOP
    assert answer.usage.input_tokens == 20 + 112
    assert answer.usage.output_tokens == 30 + 91


def test_sources_are_found_in_the_text() -> None:
    """Bytes of the whole become characters of a part, if the words agree."""
    answer = response("search.sse")
    call, result, first, second = answer.message.content
    assert isinstance(call, OpaquePart)
    assert isinstance(result, OpaquePart)
    assert isinstance(first, TextPart)
    assert isinstance(second, TextPart)
    assert second.provider_state == state({"thoughtSignature": "ZW5k"})
    [begins] = first.citations
    assert (begins.url, begins.title) == ("https://yr.example", "yr.example")
    assert first.text[begins.start : begins.end] == "Ärger in Oslo "
    # The bytes are off here, and the words stand there once.
    web, diary, nowhere, maps = second.citations
    assert second.text[web.start : web.end] == "It rains a lot."
    assert (diary.title, diary.cited_text) == ("Diary", "Rain, rain, rain.")
    assert (diary.start, diary.end) == (web.start, web.end)
    # Words that are not there have no place; a source that nothing leans on neither.
    assert (nowhere.title, nowhere.start, nowhere.end) == ("Diary", None, None)
    assert (maps.url, maps.start) == ("https://maps.example/oslo", None)
    assert web.provider_state is not None
    assert web.provider_state.payload["groundingChunk"]["web"]["title"] == "yr.example"
    assert answer.metadata["groundingMetadata"]["webSearchQueries"] == ["weather Oslo"]


def test_arguments_in_pieces() -> None:
    """They become one object; a call may end without saying so."""
    order, pay = response("partial_args.sse").message.tool_calls
    assert order.parse() == {
        "items": [{"name": "Apples", "price": 0.5}, {"name": "Pears"}],
        "to go": True,
        "note": None,
    }
    assert order.provider_state == state({"thoughtSignature": "cGFydA=="})
    assert pay.parse() == {"with": "card"}
    assert pay.provider_state is None


def test_a_blocked_prompt() -> None:
    """There is no candidate, and no error: the answer is that there is none."""
    answer = response("blocked.sse")
    assert answer.message.content == ()
    assert answer.finish_reason is FinishReason.CONTENT_FILTER
    assert answer.raw_finish_reason == "PROHIBITED_CONTENT"
    assert answer.metadata["promptFeedback"]["blockReasonMessage"] == "No."
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (12, 0)


def test_a_filtered_answer_keeps_what_was_said() -> None:
    """It is a finish reason, with the ratings beside it."""
    answer = response("filtered.sse")
    assert answer.text == "Once upon"
    assert answer.finish_reason is FinishReason.CONTENT_FILTER
    assert answer.metadata["safetyRatings"][0]["blocked"] is True


def test_pictures_and_sounds() -> None:
    """What was drawn is an image; what was only a draft is not."""
    draft, text, image, sound, paper, video = response("picture.sse").message.content
    assert isinstance(draft, OpaquePart)
    assert draft.provider_state.payload["thought"] is True
    assert text == TextPart("Here:")
    assert image == ImagePart(
        data=b"\x89PNG\r\n\x1a\n",
        media_type="image/png",
        provider_state=state({"thoughtSignature": "cGlj"}),
    )
    assert sound == AudioPart(data=b"RIFF", media_type="audio/wav")
    assert paper == DocumentPart(data=b"%PDF-", media_type="application/pdf")
    assert isinstance(video, OpaquePart)


def test_one_candidate_of_several() -> None:
    """The first one is the answer."""
    answer = response("candidates.sse")
    assert answer.text == "Red!"
    assert answer.finish_reason is FinishReason.STOP


def test_what_nobody_knows_passes() -> None:
    """Unknown fields, parts and reasons do no harm and are kept (S10)."""
    answer = response("unknown_things.sse")
    hologram, text = answer.message.content
    assert hologram == OpaquePart(
        "hologram",
        state({"hologram": {"depth": 3}, "partMetadata": {"a": 1}}, "gemini-9"),
    )
    assert isinstance(text, TextPart)
    assert text.text == "Hello"
    [citation] = text.citations
    assert (citation.url, citation.start, citation.end) == ("https://a.example", 1, 3)
    assert answer.finish_reason is FinishReason.OTHER
    assert answer.raw_finish_reason == "BECAME_SENTIENT"
    assert answer.metadata["mood"] == "fine"
    assert answer.metadata["avgLogprobs"] == -0.5
    # Logprobs come token by token.
    assert answer.metadata["logprobsResult"] == {
        "chosenCandidates": [{"token": "Hel"}, {"token": "lo"}],
        "topCandidates": [],
    }
    # Whole numbers may be text. Without any other count the total tells the output.
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (5, 7)


def test_nothing_but_thoughts() -> None:
    """They eat the budget, and then there is no text and no content."""
    answer = response("thoughts_only.sse")
    assert answer.message.content == (ReasoningPart("So many"),)
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.usage.output_tokens == answer.usage.reasoning_tokens == 64


def test_a_stream_as_one_array() -> None:
    """Without alt=sse it comes so, and says the same (S6)."""
    answer = response("array.json")
    text, call = answer.message.content
    assert text == TextPart("Hello")
    assert isinstance(call, ToolCallPart)
    assert call.arguments == '{"n":123456789012345678901234567890}'
    assert answer.usage.output_tokens == 52


def test_an_answer_in_one_piece() -> None:
    """A server may not stream at all (S6)."""
    answer = response("whole.json")
    assert answer.message.content == (ReasoningPart("Hmm."), TextPart("Hello"))
    assert answer.id == "r1"


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recording_keeps_to_the_grammar(name: str) -> None:
    """From the start to the one end (S1)."""
    chunks, error = play(recording(name))
    assert error is None
    assert isinstance(chunks[0], ResponseStart)
    assert fold(chunks) == response(name)


@pytest.mark.parametrize("name", RECORDINGS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_cuts_do_not_matter(name: str, data: st.DataObject) -> None:
    """However the network cuts the bytes, the same answer comes of it (S3)."""
    body = recording(name)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=30))
    chunks, error = play(body, cuts)
    assert error is None
    assert fold(chunks) == response(name)


@pytest.mark.parametrize("name", ["text.sse", "error_bare.sse", "search.sse"])
def test_byte_by_byte(name: str) -> None:
    """The smallest pieces (S3)."""
    body = recording(name)
    chunks, error = play(body, range(len(body)))
    whole, expected = play(body)
    assert "".join(c.text for c in chunks if isinstance(c, TextDelta)) == "".join(
        c.text for c in whole if isinstance(c, TextDelta)
    )
    assert repr(error) == repr(expected)


# -- how it ends ---------------------------------------------------------------------


def _up_to_the_end(body: bytes) -> bytes:
    """The events before the first that gives a reason for the end."""
    reason = re.compile(rb'(finish|block)Reason": "(?!FINISH_REASON_UNSPECIFIED)')
    events = body.split(b"\r\n\r\n")
    last = next(n for n, event in enumerate(events) if reason.search(event))
    return b"".join(event + b"\r\n\r\n" for event in events[:last])


@pytest.mark.parametrize("name", [n for n in RECORDINGS if n.endswith(".sse")])
def test_a_stream_without_its_end_is_none(name: str) -> None:
    """Whatever was said before: it is interrupted, and never an answer (S4)."""
    _, error = play(_up_to_the_end(recording(name)))
    assert isinstance(error, StreamInterruptedError)


@pytest.mark.parametrize("name", [n for n in RECORDINGS if n.endswith(".json")])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_half_a_document_is_none(name: str, data: st.DataObject) -> None:
    """It does not even parse (S4)."""
    body = recording(name)
    cut = data.draw(st.integers(1, len(body) - 1))
    _, error = play(body[:cut])
    assert isinstance(error, AIChatError)


def test_an_unspecified_reason_is_none() -> None:
    """Some streams repeat it with every chunk."""
    # S4
    chunks, error = play(recording("error_truncated.sse"))
    assert isinstance(error, StreamInterruptedError)
    assert [c.text for c in chunks if isinstance(c, TextDelta)] == ["Hel", "lo"]


@pytest.mark.parametrize("name", ["error_event", "error_bare", "error_list"])
def test_an_error_in_the_middle(name: str) -> None:
    """As an event, in a list, or as bare lines of JSON: it is what its HTTP form is (S5)."""
    chunks, error = play(recording(f"{name}.sse"))
    assert [c.text for c in chunks if isinstance(c, TextDelta)] == ["Hel"]
    assert isinstance(error, ProviderUnavailableError)
    assert error.status == 503
    assert "overloaded" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Slow"}}\n\n',
        b'data: [{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]\n\n',
        b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Slow"}}',
        b'[{\n  "error": {"code":429,"status":"RESOURCE_EXHAUSTED"}\n}\n]',
    ],
)
def test_an_error_instead_of_an_answer(body: bytes) -> None:
    """Before any output it may be tried again (S5)."""
    chunks, error = play(body)
    assert chunks == []
    assert isinstance(error, RateLimitError)
    assert error.retryable


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("API_KEY_INVALID", AuthenticationError),
        ("CREDENTIALS_MISSING", AuthenticationError),
        ("BILLING_DISABLED", QuotaExceededError),
    ],
)
def test_reasons_that_say_more_than_the_status(
    reason: str, expected: type[AIChatError]
) -> None:
    """Google tells them in the details of an error."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
    body = {"error": {"code": 403, "message": "No.", "details": details}}
    assert type(provider_error(body, status=403, codes=ERROR_CODES)) is expected


def test_a_bare_error_that_is_cut_off() -> None:
    """Half an error is no error that could be named, but no answer either (S4)."""
    body = recording("error_bare.sse")
    _, error = play(body[: body.index(b"UNAVAILABLE")])
    assert isinstance(error, StreamInterruptedError)


def test_bare_json_that_is_no_error() -> None:
    """Whatever it is, the stream goes on after it (S10)."""
    text = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n\n'
    end = b'data: {"candidates":[{"finishReason":"STOP"}]}\n\n'
    for cuts in ((), range(len(text) + 40)):
        chunks, error = play(text + b'{"note":\n1}', cuts)
        assert isinstance(error, StreamInterruptedError), cuts
    body = text + b'{"note":\n1}'
    chunks, error = play(body + b"\n\n" + end, [len(body)])
    assert error is None
    assert fold(chunks).text == "a"


def test_bare_json_without_end_does_not_pile_up() -> None:
    """It is cut at some point, and the stream is interrupted (I1)."""
    text = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n\n'
    garbage = b"[" + b'"]",' * 50_000
    _, error = play(text + garbage, range(len(text), len(text) + 200_000, 1000))
    assert isinstance(error, StreamInterruptedError)


def test_another_reason_may_follow() -> None:
    """The last one counts."""
    answer = decoded(chunk({"text": "a"}, finish="STOP"), chunk(finish="MAX_TOKENS"))
    assert answer.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("CONTINUATION", FinishReason.LENGTH),
        ("RECITATION", FinishReason.CONTENT_FILTER),
        ("MODEL_ARMOR", FinishReason.CONTENT_FILTER),
        ("IMAGE_SAFETY", FinishReason.CONTENT_FILTER),
        ("MALFORMED_FUNCTION_CALL", FinishReason.ERROR),
        ("UNEXPECTED_TOOL_CALL", FinishReason.ERROR),
        ("LANGUAGE", FinishReason.OTHER),
    ],
)
def test_reasons_that_calls_do_not_change(raw: str, finish: FinishReason) -> None:
    """Only a normal end becomes one that waits for results."""
    answer = decoded(chunk({"functionCall": {"name": "f"}}, finish=raw))
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, raw)


def test_a_long_answer_can_be_continued() -> None:
    """The token for it is in the metadata."""
    last = {"finishReason": "CONTINUATION", "continuationToken": "dG9r"}
    answer = decoded(chunk({"text": "a"}), {"candidates": [last]})
    assert answer.metadata["continuationToken"] == "dG9r"


def test_an_empty_answer_is_one() -> None:
    """It happens: a reason to stop, and nothing else."""
    answer = decoded({"candidates": [{"finishReason": "STOP"}]})
    assert answer.message.content == ()
    assert answer.usage == Usage()


def test_a_block_reason_after_all() -> None:
    """A candidate's own reason is the more precise one."""
    feedback = {"blockReason": "BLOCK_REASON_UNSPECIFIED"}
    answer = decoded(chunk({"text": "a"}, finish="STOP", promptFeedback=feedback))
    assert answer.finish_reason is FinishReason.STOP
    assert answer.metadata["promptFeedback"] == feedback


# -- calls ---------------------------------------------------------------------------


def test_ids_that_come_twice() -> None:
    """Each call has its own, and Google's is kept for the reply."""
    call = {"functionCall": {"id": "x", "name": "f"}}
    ids = iter(["x", "made"])
    answer = decoded(chunk(call, call, finish="STOP"), new_id=ids.__next__)
    first, second = answer.message.tool_calls
    assert (first.id, second.id) == ("x", "made")
    assert second.provider_state == state({"id": "x"}, None)


def test_ids_that_we_make() -> None:
    """Unlike any other, and recognisable."""
    assert len({new_call_id() for _ in range(50)}) == 50
    assert len(new_call_id()) == len("call_aichat_") + 24


def test_equal_calls_are_two() -> None:
    """The model may mean it."""
    call = {"functionCall": {"name": "f", "args": {"a": 1.0}}}
    answer = decoded(chunk(call, call, finish="STOP"))
    assert [c.arguments for c in answer.tool_calls] == ['{"a":1.0}'] * 2


def test_arguments_that_are_no_object() -> None:
    """They are kept as they are, and not executed (S7)."""
    answer = decoded(chunk({"functionCall": {"name": "f", "args": [1]}}, finish="STOP"))
    [call] = answer.invalid_tool_calls
    assert call.arguments == "[1]"


def test_pieces_that_stop_in_the_middle() -> None:
    """A call that the limit cut off is not executed (S7)."""
    pieces = [{"jsonPath": "$.to", "stringValue": "Bo", "willContinue": True}]
    call = {"name": "pay", "partialArgs": pieces, "willContinue": True}
    answer = decoded(chunk({"functionCall": call}, finish="MAX_TOKENS"))
    [cut] = answer.invalid_tool_calls
    assert cut.arguments == '{"to":"Bo"'


def test_pieces_and_wholes_together() -> None:
    """What came whole stays, and a signature may come late."""
    whole = {"name": "f", "args": {"a": 1}, "willContinue": True}
    piece = {"partialArgs": [{"jsonPath": '$["b"]', "numberValue": 2}]}
    more = {"partialArgs": [{"jsonPath": "$.a", "numberValue": 3}, {"jsonPath": "$.c"}]}
    last = {"functionCall": {**more, "args": {"d": 4}}, "thoughtSignature": "bA=="}
    answer = decoded(
        chunk({"functionCall": whole}),
        chunk({"functionCall": {**piece, "willContinue": True}}),
        chunk(last, {"functionCall": {}}, {"text": "ok"}, finish="STOP"),
    )
    [call] = answer.tool_calls
    assert call.parse() == {"a": 3, "b": 2, "d": 4}
    assert call.provider_state == state({"thoughtSignature": "bA=="}, None)


def test_a_list_in_pieces() -> None:
    """Items may be replaced, and only follow each other."""
    pieces = [
        {"jsonPath": "$.a[0]", "numberValue": 1},
        {"jsonPath": "$.a[1]", "numberValue": 2},
        {"jsonPath": "$.a[0]", "numberValue": 3},
    ]
    call = {"name": "f", "partialArgs": pieces}
    answer = decoded(chunk({"functionCall": call}, finish="STOP"))
    assert answer.tool_calls[0].parse() == {"a": [3, 2]}


@pytest.mark.parametrize(
    "piece",
    [
        3,
        {"numberValue": 1},
        {"jsonPath": "a", "numberValue": 1},
        {"jsonPath": "$", "numberValue": 1},
        {"jsonPath": "$.a[", "numberValue": 1},
        {"jsonPath": "$.a[999999999]", "numberValue": 1},
        {"jsonPath": "$[0]", "numberValue": 1},
        {"jsonPath": "$" + ".a" * 200, "numberValue": 1},
    ],
)
def test_places_that_cannot_be(piece: Any) -> None:
    """One clear error, and no list of a billion holes (I1, I2)."""
    call = {"name": "f", "partialArgs": [piece]}
    with pytest.raises(ProtocolError):
        decoded(chunk({"functionCall": call}, finish="STOP"))


def test_a_call_and_a_text_in_one_part() -> None:
    """Against the rules; nothing of it is lost."""
    answer = decoded(chunk({"text": "a", "functionCall": {"name": "f"}}, finish="STOP"))
    assert answer.text == "a"
    assert len(answer.tool_calls) == 1


# -- sources -------------------------------------------------------------------------


def cited(grounding: Any, *texts: str, **candidate: Any) -> tuple[Citation, ...]:
    """The citations of an answer of several parts."""
    parts = [{"text": t, "thoughtSignature": "cw=="} for t in texts]
    last = chunk(*parts, finish="STOP")
    last["candidates"][0] |= {"groundingMetadata": grounding, **candidate}
    return decoded(last).citations


def support(start: int, end: int, words: str | None = None) -> dict[str, Any]:
    segment = {"startIndex": start, "endIndex": end} | (
        {"text": words} if words else {}
    )
    return {
        "groundingChunks": [{"web": {"uri": "u"}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
    }


@pytest.mark.parametrize(
    ("grounding", "place"),
    [
        (support(0, 2), (0, 1)),
        # In the middle of a character.
        (support(1, 2), (None, None)),
        # Counted in the second part alone.
        (support(0, 3, "ös "), (0, 3)),
        (support(0, 4, "ös "), (0, 3)),
        # Twice there: it may be either.
        (support(0, 1, "x"), (None, None)),
        # Across two parts.
        (support(1, 5), (None, None)),
        (support(3, 99), (None, None)),
        (support(2, 1), (None, None)),
    ],
)
def test_places(grounding: Any, place: tuple[Any, Any]) -> None:
    """Bytes of the whole, or of a part, or the words alone; else no place at all."""
    [citation] = cited(grounding, "ö x", "ös x")
    assert (citation.start, citation.end) == place


@pytest.mark.parametrize(
    "grounding",
    [
        None,
        [],
        {"groundingChunks": 3, "groundingSupports": "x"},
        {"groundingSupports": [{"groundingChunkIndices": [0]}, 3]},
    ],
)
def test_sources_of_an_odd_shape(grounding: Any) -> None:
    """They are kept in the metadata, and that is all (I2)."""
    assert cited(grounding, "a") == ()


def test_sources_without_anything() -> None:
    """A source may be empty, and a place unknown."""
    odd = {
        "groundingChunks": [7, {"web": {}}],
        "groundingSupports": [{"segment": 3, "groundingChunkIndices": [1]}],
    }
    first, second = cited(odd, "a", "")
    assert (first.url, first.start) == (second.url, second.start) == (None, None)


def test_sources_without_a_text() -> None:
    """A picture may have them; there is no text to hang them on."""
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    last = chunk(picture, finish="STOP")
    last["candidates"][0]["groundingMetadata"] = support(0, 1)
    answer = decoded(last)
    assert answer.citations == ()
    assert answer.text == ""
    assert len(answer.message.content) == 1
    assert "groundingMetadata" in answer.metadata


def test_sources_of_nothing_but_a_signature() -> None:
    """They hang on the empty text, if there is no other."""
    [citation] = cited(support(0, 1), "")
    assert (citation.url, citation.start) == ("u", None)


def test_citations_of_v1() -> None:
    """They had another name."""
    old = {"citationSources": [{"uri": "a", "startIndex": 0, "endIndex": 1}, 3]}
    [citation] = cited(None, "ab", citationMetadata=old)
    assert (citation.url, citation.start, citation.end) == ("a", 0, 1)


# -- tokens --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, Usage()),
        ({"promptTokenCount": 5}, Usage(input_tokens=5)),
        (
            {"promptTokenCount": 5, "totalTokenCount": 5},
            Usage(input_tokens=5, output_tokens=0),
        ),
        (
            {
                "promptTokenCount": 5,
                "toolUsePromptTokenCount": 7,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 2,
                "cachedContentTokenCount": 4,
                "totalTokenCount": 17,
            },
            Usage(
                input_tokens=12,
                output_tokens=5,
                cache_read_tokens=4,
                reasoning_tokens=2,
            ),
        ),
        # Vertex AI, at times: the candidates include the thoughts.
        (
            {
                "promptTokenCount": 5,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 2,
                "totalTokenCount": 8,
            },
            Usage(input_tokens=5, output_tokens=3, reasoning_tokens=2),
        ),
        ({"thoughtsTokenCount": 2}, Usage(output_tokens=2, reasoning_tokens=2)),
        # Nonsense is nothing.
        ({"promptTokenCount": -1, "cachedContentTokenCount": True}, Usage()),
        (
            {"promptTokenCount": 1, "cachedContentTokenCount": 4},
            Usage(input_tokens=1),
        ),
        ({"promptTokenCount": "9" * 40}, Usage()),
    ],
)
def test_tokens(raw: dict[str, Any], expected: Usage) -> None:
    """Thoughts and tools are counted apart there, and in here (S8)."""
    usage = usage_of(raw, final=True)
    assert usage == Usage(
        input_tokens=expected.input_tokens,
        output_tokens=expected.output_tokens,
        cache_read_tokens=expected.cache_read_tokens,
        reasoning_tokens=expected.reasoning_tokens,
        raw=raw,
    )


# -- odd shapes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        3,
        "text",
        None,
        [3],
        {"candidates": 3},
        {"candidates": [3]},
        {"candidates": [{"content": 3}]},
        {"candidates": [{"content": {"parts": 3}}]},
        {"candidates": [{"content": {"parts": [3]}}]},
        chunk({"text": 3}),
        chunk({"functionCall": 3}),
        chunk({"functionCall": {"name": 3}}),
        chunk({"functionCall": {"args": {"a": 1}}}),
        chunk({"functionCall": {"name": "f", "partialArgs": 3}}),
        chunk({"inlineData": 3}),
        chunk({"inlineData": {"mimeType": "image/png", "data": "?"}}),
        chunk({"inlineData": {"mimeType": "image/png", "data": "A"}}),
        b'{"candidates":',
        b"nonsense",
    ],
)
@pytest.mark.parametrize("before", [(), (chunk({"text": "a"}),)])
def test_shapes_that_cannot_be(value: Any, before: tuple[Any, ...]) -> None:
    """One clear error, in the middle of a text or not (I2)."""
    with pytest.raises(ProtocolError):
        decoded(*before, value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[DONE]",
        {},
        {"candidates": None},
        {"candidates": [{"content": {"parts": None}, "index": None}]},
        chunk({"text": None}),
        chunk({"text": "b"}, usageMetadata=3, promptFeedback=3),
        {"createTime": "soon", "responseId": 3, "modelVersion": 3},
        {"error": None},
    ],
)
@pytest.mark.parametrize("before", [(), (chunk({"text": "a"}),)])
def test_shapes_that_do_no_harm(value: Any, before: tuple[Any, ...]) -> None:
    """What is missing or null is not there (S10, I2)."""
    answer = decoded(*before, value, chunk(finish="STOP"))
    assert answer.text in ("", "a", "b", "ab")


def test_a_time_without_a_zone_is_utc() -> None:
    """Protobuf's times are."""
    answer = decoded({"createTime": "1970-01-01T00:00:01"}, chunk(finish="STOP"))
    assert answer.created_at == 1


def test_text_that_is_no_utf_8() -> None:
    """It comes with the replacement for what nobody can read (I2)."""
    raw = b'{"candidates":[{"content":{"parts":[{"text":"a\xff"}]}}]}'
    assert decoded(raw, chunk(finish="STOP")).text == "a\ufffd"


def test_numbers_that_no_float_holds() -> None:
    """They are an error, and not infinity (I2)."""
    raw = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":1e999}}]}}]}'
    with pytest.raises(ProtocolError):
        decoded(raw)
    assert math.isinf(float("1e999"))


def test_media_in_the_other_alphabet() -> None:
    """Base64 for URLs has been seen."""
    blob = {"mimeType": "image/png", "data": "-_-_"}
    [image] = decoded(chunk({"inlineData": blob}, finish="STOP")).message.content
    assert isinstance(image, ImagePart)
    assert image.data == b"\xfb\xff\xbf"


# -- speed has no say ----------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        chunk({"text": "b", "thoughtSignature": "cw=="}),
        chunk({"text": "b"}, {"text": "c"}),
        chunk({"text": "b"}, finish="STOP"),
        {**chunk({"text": "b"}), "promptFeedback": {"blockReason": "OTHER"}},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "index": 1}]},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "index": 0}]},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "avgLogprobs": 1}]},
        {"candidates": [{"content": {"parts": [{"text": ""}]}}]},
        chunk({"text": "b", "thought": True}),
    ],
)
def test_the_fast_way_says_what_the_long_way_says(value: Any) -> None:
    """A chunk means the same as an event and in a list, which is always read at length."""
    first = chunk({"text": "a"}, usageMetadata={"promptTokenCount": 1})
    end = chunk(finish="STOP")
    assert decoded(first, value, end) == decoded([first, value, end])


def test_text_and_nothing_else() -> None:
    """One event of a text is one chunk; its usage waits."""
    decoder = GenerateContentDecoder()
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2}
    assert [*decoder.decode(event(chunk({"text": "a"})))][1:] == [TextDelta("a", 0)]
    more = event(chunk({"text": "b"}, usageMetadata=usage))
    call = event(chunk({"functionCall": {"name": "f"}}))
    chunks: list[StreamChunk] = []
    assert decoder.run([more, more, call], 1, chunks) == 1
    assert chunks == [TextDelta("b", 0)]
    [delta] = decoder.decode(call)
    assert isinstance(delta, ToolCallDelta)
    assert not decoder.complete
    assert not decoder.finished
    assert [*decoder.decode(event(chunk({"text": "c"}, finish="STOP")))] == [
        TextDelta("c", 2)
    ]
    assert decoder.complete
    assert not decoder.finished
    last, end = decoder.flush()
    assert isinstance(last, UsageUpdate)
    assert last.usage.output_tokens == 2
    assert isinstance(end, ResponseEnd)


def test_whose_state_it_is() -> None:
    """What Vertex AI has signed goes back to Vertex AI."""
    answer = decoded(
        chunk({"text": "a", "thoughtSignature": "cw=="}, finish="STOP"),
        provider="vertex",
    )
    [text] = answer.message.content
    assert isinstance(text, TextPart)
    assert text.provider_state is not None
    assert text.provider_state.provider == "vertex"
