"""Our values to JSON and back."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any, get_args

import pytest
from attrs import fields
from hypothesis import given

from aichat.types import (
    UNSET,
    AudioPart,
    CacheHint,
    ChatRequest,
    ChatResponse,
    Citation,
    CitationDelta,
    Deadlines,
    DocumentPart,
    Effort,
    FinishReason,
    ImagePart,
    JSONError,
    Message,
    OpaquePart,
    Part,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    ReasoningPart,
    RefusalDelta,
    RefusalPart,
    ResponseEnd,
    ResponseFormat,
    ResponseStart,
    Role,
    StreamChunk,
    TextDelta,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    UsageUpdate,
    dumps,
    from_json,
    json_schema,
    loads,
    loads_exact,
    to_json,
    user,
)

from . import strategies

STATE = ProviderState("anthropic", {"signature": "EqQB=="}, "claude")
STATE_JSON = (
    '{"provider":"anthropic","payload":{"signature":"EqQB=="},"model":"claude"}'
)


# -- there and back ------------------------------------------------------------------


@given(strategies.messages)
def test_messages_survive(message: Message) -> None:
    assert from_json(Message, to_json(message)) == message


@given(strategies.parts)
def test_parts_survive(part: Part) -> None:
    assert from_json(Part, to_json(part)) == part  # type: ignore[arg-type]  # a union


@given(strategies.chunks)
def test_chunks_survive(chunk: StreamChunk) -> None:
    assert from_json(StreamChunk, to_json(chunk)) == chunk  # type: ignore[arg-type]  # a union


@given(strategies.requests)
def test_requests_survive(request: ChatRequest) -> None:
    """
    Whatever shapes the answer is in the text: the cache is keyed by it.  # X5
    """
    assert from_json(ChatRequest, to_json(request)) == request


@given(strategies.responses)
def test_responses_survive(response: ChatResponse) -> None:
    assert from_json(ChatResponse, to_json(response)) == response


@given(strategies.deadlines)
def test_deadlines_survive(deadlines: Deadlines) -> None:
    """
    None (no limit) and UNSET (whatever applies) are different things.  # D1
    """
    assert from_json(Deadlines, to_json(deadlines)) == deadlines


def test_the_strategies_know_every_option_of_a_request() -> None:
    """
    A new field cannot be forgotten here: the properties above would not see it.
    """
    names = {f.name for f in fields(ChatRequest)}
    assert names - {"messages"} == strategies.REQUEST_OPTIONS


def test_every_option_is_told_apart() -> None:
    """
    Two requests that differ in one field never have the same text.  # X5
    """
    plain = ChatRequest("Hi")
    other: dict[str, Any] = {
        "messages": [user("Ho")],
        "model": "a:b",
        "max_tokens": 1,
        "temperature": 0.0,
        "top_p": 0.0,
        "top_k": 1,
        "stop": ["x"],
        "seed": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logit_bias": {"1": 0},
        "logprobs": False,
        "top_logprobs": 0,
        "n": 1,
        "tools": [strategies.TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": "text",
        "reasoning_effort": "none",
        "reasoning_budget": 0,
        "include_reasoning": False,
        "verbosity": "low",
        "user": "",
        "metadata": {"a": "b"},
        "service_tier": "",
        "store": False,
        "truncation": "auto",
        "cache": CacheHint(),
        "cache_key": "",
        "prefill": True,
        "on_unsupported": "warn",
        "deadlines": Deadlines(),
        "max_retries": 0,
        "provider_options": {"a": {}},
    }
    assert set(other) == {f.name for f in fields(ChatRequest)}
    texts = {
        to_json(ChatRequest(**{"messages": "Hi", name: value}))
        for name, value in other.items()
    }
    assert len(texts) == len(other)
    assert to_json(plain) not in texts


# -- the stored form -----------------------------------------------------------------

GOLDEN: list[tuple[Any, object, str]] = [
    (Message, user("Hi"), '{"role":"user","content":[{"text":"Hi","type":"text"}]}'),
    (
        Part,
        TextPart(
            "Yes",
            citations=[Citation(url="u", start=0, end=3)],
            cache=CacheHint("long"),
            provider_state=STATE,
        ),
        (
            '{"text":"Yes","citations":[{"url":"u","start":0,"end":3}],'
            f'"cache":{{"ttl":"long"}},"provider_state":{STATE_JSON},"type":"text"}}'
        ),
    ),
    (Part, ReasoningPart("Hm."), '{"text":"Hm.","type":"reasoning"}'),
    (Part, RefusalPart("No."), '{"text":"No.","type":"refusal"}'),
    (
        Part,
        ImagePart(data=b"\x89PNG\r\n\x1a\n", detail="low"),
        '{"data":"iVBORw0KGgo=","media_type":"image/png","detail":"low","type":"image"}',
    ),
    (
        Part,
        AudioPart(file_id="f", transcript="Hi"),
        '{"file_id":"f","transcript":"Hi","type":"audio"}',
    ),
    (
        Part,
        DocumentPart(url="u", name="a.pdf"),
        '{"url":"u","name":"a.pdf","type":"document"}',
    ),
    (
        Part,
        ToolCallPart("c", "f", "{", invalid="cut off"),
        '{"id":"c","name":"f","arguments":"{","invalid":"cut off","type":"tool_call"}',
    ),
    (
        Part,
        ToolResultPart("c", ["4", ImagePart(url="u")], is_error=True),
        (
            '{"call_id":"c","content":[{"text":"4","type":"text"},'
            '{"url":"u","type":"image"}],"is_error":true,"type":"tool_result"}'
        ),
    ),
    (
        Part,
        OpaquePart("search", ProviderState("openai", [1])),
        (
            '{"kind":"search","provider_state":{"provider":"openai","payload":[1]},'
            '"type":"opaque"}'
        ),
    ),
    (StreamChunk, ResponseStart(id="r"), '{"id":"r","chunk":"response_start"}'),
    (StreamChunk, TextDelta("Hi"), '{"text":"Hi","chunk":"text_delta"}'),
    (
        StreamChunk,
        ReasoningDelta("Hm.", 1),
        '{"text":"Hm.","index":1,"chunk":"reasoning_delta"}',
    ),
    (StreamChunk, RefusalDelta("No."), '{"text":"No.","chunk":"refusal_delta"}'),
    (
        StreamChunk,
        ToolCallDelta(0, "c", "f", "{}", "custom"),
        (
            '{"index":0,"id":"c","name":"f","arguments":"{}","kind":"custom",'
            '"chunk":"tool_call_delta"}'
        ),
    ),
    (
        StreamChunk,
        CitationDelta(Citation(title="T")),
        '{"citation":{"title":"T"},"chunk":"citation_delta"}',
    ),
    (
        StreamChunk,
        PartAdded(ImagePart(url="u")),
        '{"part":{"url":"u","type":"image"},"chunk":"part_added"}',
    ),
    (
        StreamChunk,
        PartEnd(2, STATE),
        f'{{"index":2,"provider_state":{STATE_JSON},"chunk":"part_end"}}',
    ),
    (
        StreamChunk,
        UsageUpdate(Usage(input_tokens=0, raw={"a": 1})),
        '{"usage":{"input_tokens":0,"raw":{"a":1}},"chunk":"usage_update"}',
    ),
    (
        StreamChunk,
        ResponseEnd(FinishReason.TOOL_CALLS, "tool_use"),
        (
            '{"finish_reason":"tool_calls","raw_finish_reason":"tool_use",'
            '"chunk":"response_end"}'
        ),
    ),
    (
        ChatResponse,
        ChatResponse(
            message=Message(Role.ASSISTANT, "Hi"),
            finish_reason=FinishReason.STOP,
            usage=Usage(output_tokens=1, complete=False),
            created_at=1.5,
            warnings=("w",),
        ),
        (
            '{"message":{"role":"assistant","content":[{"text":"Hi","type":"text"}]},'
            '"finish_reason":"stop","usage":{"output_tokens":1,"complete":false},'
            '"created_at":1.5,"warnings":["w"]}'
        ),
    ),
    (
        ChatRequest,
        ChatRequest(
            "Hi",
            "a:b",
            temperature=0,
            stop="END",
            tools=[Tool("f", strict=True)],
            tool_choice=ToolChoice("required", "f"),
            response_format=json_schema({"type": "object"}, name="n"),
            reasoning_effort=Effort.HIGH,
            deadlines=Deadlines(total=30, idle=None),
            provider_options={"a": {"b": [1]}},
        ),
        (
            '{"messages":[{"role":"user","content":[{"text":"Hi","type":"text"}]}],'
            '"model":"a:b","temperature":0,"stop":["END"],'
            '"tools":[{"name":"f","strict":true}],"tool_choice":{"mode":"required","names":["f"]},'
            '"response_format":{"type":"json_schema","schema":{"type":"object"},'
            '"name":"n"},"reasoning_effort":"high",'
            '"deadlines":{"idle":null,"total":30},"provider_options":{"a":{"b":[1]}}}'
        ),
    ),
    (ResponseFormat, ResponseFormat("json"), '{"type":"json"}'),
    (Deadlines, Deadlines(), "{}"),
]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    GOLDEN,
    ids=[type(value).__name__ for _, value, _ in GOLDEN],
)
def test_the_stored_form_stays(kind: Any, value: object, text: str) -> None:
    """
    What lies in caches and files is still read tomorrow.
    """
    assert to_json(value).decode() == text
    assert from_json(kind, text) == value


def test_every_part_and_chunk_has_a_stored_form() -> None:
    shown = {type(value) for _, value, _ in GOLDEN}
    assert set(get_args(Part)) | set(get_args(StreamChunk)) <= shown


def test_unset_can_be_written_out() -> None:
    """
    It is left out where it is the default, and has a name where it is not.
    """
    read = from_json(Deadlines, '{"pool": "unset", "idle": 5, "total": null}')
    assert read == Deadlines(idle=5, total=None)
    assert read.pool is UNSET


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (
            Message,
            ('{"role":"user","content":[{"text":"Hi","type":"text","mood":"calm"}],'
            '"sent_at":"today"}'),
            user("Hi"),
        ),
        (StreamChunk, '{"chunk":"text_delta","text":"a","x":[{}]}', TextDelta("a")),
        (ChatRequest, '{"messages":[{"role":"user","content":[{"text":"Hi","type":"text"}]}],"x":1}', ChatRequest("Hi")),
        (Usage, '{"tea_tokens": 3}', Usage()),
    ],
)  # fmt: skip
def test_an_older_aichat_reads_a_newer_file(
    kind: Any, text: str, value: object
) -> None:
    """
    Unknown fields pass without harm.  # S10
    """
    assert from_json(kind, text) == value


# -- what does not fit ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (Message, "{", "Expecting property name"),
        (Message, "[]", "This is no Message: "),
        (Message, "null", "This is no Message: "),
        (Message, "{}", "'role' is missing or unknown @ $.role"),
        (Message, '{"role":"boss"}', "'boss' is not a valid Role @ $.role"),
        (Message, '{"role":"user","content":"Hi"}', "expected a list, got str @ $.content"),
        (Message, '{"role":"user","content":[{"text":"Hi"}]}', "'type' is missing or unknown"),
        (Message, '{"role":"user","content":[{"type":"hologram"}]}', "'hologram' is missing or unknown"),
        (Message, '{"role":"user","content":[{"type":"text","text":5}]}', "expected str, got int @ $.content[0].text"),
        (Message, '{"role":"user","content":[{"type":"image","data":"!"}]}', "$.content[0].data"),
        (Message, '{"role":"user","content":[{"type":"image"}]}', "exactly one of data, url and file_id"),
        (Usage, '{"input_tokens":1.5}', "expected int, got float @ $.input_tokens"),
        (Usage, '{"input_tokens":true}', "expected int, got bool @ $.input_tokens"),
        (Usage, '{"complete":"no"}', "expected bool, got str @ $.complete"),
        (Usage, '{"raw":[1]}', "$.raw"),
        (Deadlines, '{"idle":-1}', "Deadlines.idle must be"),
        (Deadlines, '{"idle":"soon"}', "Deadlines.idle must be"),
        (ToolChoice, '{"mode":"perhaps"}', "perhaps not in literal"),
        (ToolChoice, '{"names":"f"}', "expected a list, got str"),
        (ChatRequest, '{"messages":[]}', "There are no messages."),
        (StreamChunk, '{"chunk":"sparkle"}', "'sparkle' is missing or unknown"),
        (StreamChunk, "7", "This is no "),
        (ProviderState, '{"provider":"a","payload":NaN}', "NaN is not JSON"),
        (ProviderState, '{"provider":"a","payload":' + "[" * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_error_that_says_where(
    kind: Any, text: str, reason: str
) -> None:
    """
    Whatever a file holds: a ValueError, nothing else, and nothing is guessed.  # I2
    """
    with pytest.raises(ValueError) as wrong:  # noqa: PT011 -- the text is compared below
        from_json(kind, text)
    assert reason in str(wrong.value)


def test_all_mistakes_are_told_together() -> None:
    with pytest.raises(ValueError, match=r"input_tokens.*; .*output_tokens"):
        from_json(Usage, '{"input_tokens":"many","output_tokens":[]}')


# -- the codec -----------------------------------------------------------------------


def test_big_whole_numbers_stay_whole() -> None:
    """
    An id of twenty digits is not a float.
    """
    big = 123456789012345678901234567890
    state = ProviderState("a", {"id": big})
    assert from_json(ProviderState, to_json(state)).payload == {"id": big}
    assert dumps({"id": big, "text": "ü"}) == f'{{"id":{big},"text":"ü"}}'.encode()
    assert loads_exact(str(big)) == big


@pytest.mark.parametrize("read", [loads, loads_exact])
@pytest.mark.parametrize(
    "text", ["", "NaN", "[Infinity]", "{", "{}{}", "'a'", b"\xff", b'"\xff"', "[" * 100_000]
)  # fmt: skip
def test_what_is_no_json_is_a_json_error(read: Any, text: str | bytes) -> None:
    """
    Both readers refuse the same texts with the same error.  # I2
    """
    with pytest.raises(JSONError):
        read(text)


@pytest.mark.parametrize("value", [object(), {1, 2}, "\ud800", [10**30, math.nan]])
def test_what_has_no_json_form_is_not_written(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        dumps(value)


def test_importing_the_types_does_not_import_cattrs() -> None:
    """
    Cattrs takes its time, and most programs never store a message.
    """
    program = "import sys, json, aichat.types, aichat.errors; print(json.dumps(list(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    loaded = set(json.loads(ran.stdout))
    assert "aichat.types" in loaded
    assert loaded.isdisjoint({
        "cattrs",
        "aiohttp",
        "yaml",
        "typed_settings",
        "opentelemetry",
    })
