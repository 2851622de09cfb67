"""
A short pass of the fuzzer, and hostile input that it would take long to think of.

``python -m tests.fuzz`` is the long one.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from random import Random
from types import FrameType
from typing import Any

import attrs
import pytest

from aichat.errors import AIChatError, ProtocolError, ResponseTooLargeError
from aichat.transport import Pipeline, provider_error
from aichat.types import ChatResponse, from_json

from .fuzz.campaign import run
from .fuzz.check import Broken, check_answer, check_error_body
from .fuzz.mutate import cut, mutated
from .fuzz.targets import TARGETS, Target

#: Of all targets together; they take about ten seconds.
_COUNT = 20_000
_DEEP = 100_000

_ONE_EACH = pytest.mark.parametrize(
    "target",
    [TARGETS[n] for n in ("openai-chat", "openai", "anthropic", "google", "ollama")],
    ids=lambda t: t.name,
)
_EACH = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)


@pytest.mark.parametrize("share", range(4))
def test_recordings_that_were_broken(share: int) -> None:
    """Whatever is done to an answer, the promises hold; a report says how to see it again."""  # I1, I2, S3, S7
    found = run([*TARGETS], seed=20261121 + share, count=_COUNT // 4)
    assert not found, "\n".join(map(str, found[:5]))


@_EACH
def test_recordings_as_they_are(target: Target) -> None:
    """What the fuzzer starts from breaks nothing, in one piece and byte by byte."""  # S1, S2, S3
    for seed in target.seeds:
        data = b"".join(piece.raw for piece in seed.pieces)
        check_answer(target, data, [data[n : n + 1] for n in range(len(data))])


def test_the_fuzzer_finds_something() -> None:
    """A decoder that stumbles is a finding: else all this would prove nothing."""
    target = TARGETS["anthropic"]

    class Clumsy:
        """Trips over whatever it gets."""

        complete = finished = False

        def decode(self, event: Any, /) -> Any:
            raise KeyError(event)

        document = decode

        def flush(self) -> Any:
            return ()

    clumsy = attrs.evolve(
        target, spec=attrs.evolve(target.spec, decoder=_ignoring(Clumsy))
    )
    with pytest.raises(Broken, match="blunder: KeyError"):
        check_answer(clumsy, b"data: {}\n\n")


def _ignoring(make: Callable[[], Any]) -> Callable[..., Any]:
    def made(*, new_id: Any) -> Any:
        return make()

    return made


def test_an_input_is_a_function_of_its_number() -> None:
    """So that a finding can be had again."""
    seeds = TARGETS["google"].seeds
    once, again = ([mutated(Random(n), seeds) for n in range(50)] for _ in "ab")
    assert once == again
    assert all(b"".join(cut(Random(n), data)) == data for n, data in enumerate(once))


# --- what it has found ------------------------------------------------------------------

_CHAT = b'data: {"id":"1","model":"m","created":1,"choices":[{"index":0,%b}]}\n\n'
_END = _CHAT % b'"delta":{},"finish_reason":"stop"'

#: Each of these once came out as another exception, broke the grammar, could not be stored
#: or sent back, or depended on the cuts.
_FOUND: dict[str, tuple[str, bytes]] = {
    "type of a reasoning detail is a list": (
        "openrouter",
        _CHAT % b'"delta":{"reasoning_details":[{"type":[],"text":"a"}]}' + _END,
    ),
    "id of a reasoning detail is a list": (
        "openrouter",
        _CHAT % b'"delta":{"reasoning_details":[{"type":"reasoning.text","id":[1],"text":"a"},'
        b'{"type":"reasoning.text","id":[1],"text":"b"}]}' + _END,
    ),
    "created is true": ("openai-chat", (_CHAT % b'"delta":{"content":"a"}').replace(b'created":1', b'created":true') + _END),
    "start of a citation is true": (
        "openai-chat",
        _CHAT % b'"delta":{"content":"a","annotations":[{"type":"url_citation","url_citation":'
        b'{"url":"b","start_index":true,"end_index":2}}]}' + _END,
    ),
    "transcript is an object": ("openai-chat", _CHAT % b'"delta":{"audio":{"id":"a","transcript":{}}}' + _END),
    "transcript is an object, then a text": (
        "openai-chat",
        _CHAT % b'"delta":{"audio":{"id":"a","transcript":{}}}' + _CHAT % b'"delta":{"audio":{"transcript":"b"}}' + _END,
    ),
    "thought without words that wants to go back": (
        "mistral",
        _CHAT % b'"delta":{"content":[{"type":"thinking","thinking":[],"closed":true}]}' + _END,
    ),
    "text of a part is a number": (
        "deepseek",
        _CHAT % b'"delta":{"content":[{"type":"text","text":-0}]}' + _END,
    ),
    "text of a part is null": (
        "deepseek",
        _CHAT % b'"delta":{"content":[{"type":"text","text":null}]}' + _END,
    ),
    "message of nothing that is sent back": (
        "openai",
        (b'data: {"type":"response.completed","response":{"id":"1","output":[{"type":"reasoning",'
        b'"summary":[]}]}}\n\n'),
    ),
    "picture that is not ASCII": (
        "ollama",
        '{"message":{"role":"assistant","images":["iVé="]},"done":true}\n'.encode(),
    ),
    "logprobs without a list": (
        "google",
        (b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"logprobsResult":{"a":1}}]}\n\n'
        b'data: {"candidates":[{"logprobsResult":{"topCandidates":1},"finishReason":"STOP"}]}\n\n'
        b'data: {"candidates":[{"logprobsResult":{"topCandidates":[1]}}]}\n\n'),
    ),
    "bare error with more behind it": (
        "google",
        b'data: {"candidates":[]}\r\n\r\n{\n"error": {"code": 503}\n}\ndata: {}\r\n\r\n',
    ),
    "bare JSON that is no error": (
        "google",
        (b'data: {"candidates":[]}\n\n{}\r\n[]\r{"a":1}\n\ndata: {"candidates":'
        b'[{"finishReason":"STOP"}]}\n\n'),
    ),
    "blank lines before what is no document": ("deepseek", b"\n  \n \n" + b'{"a" 1}'),
    "byte order mark after blank lines": ("openai-chat", b"\n\xef\xbb\xbf" + _END),
    "number beyond all floats": (
        "openai-chat",
        b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"what":1e999}',
    ),
    "half of a pair": (
        "openai-chat",
        b'{"choices":[{"message":{"content":"\\ud83d"},"finish_reason":"stop"}]}',
    ),
    "half of a pair, in bytes": (
        "openai-chat",
        b'{"choices":[{"message":{"content":"\xed\xa0\x80"},"finish_reason":"stop"}]}',
    ),
    "UTF-16": (
        "openai-chat",
        '{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'.encode("utf-16-le"),
    ),
    "arguments with half of a pair": (
        "anthropic",
        (b'data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use",'
        b'"id":"1","name":"f"}}\n\ndata: {"type":"content_block_delta","index":0,"delta":'
        b'{"type":"input_json_delta","partial_json":"{\\"a\\":\\"\\\\ud83d\\"}"}}\n\n'
        b'data: {"type":"message_stop"}\n\n'),
    ),
    "arguments beyond all floats": (
        "anthropic",
        (b'data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use",'
        b'"id":"1","name":"f"}}\n\ndata: {"type":"content_block_delta","index":0,"delta":'
        b'{"type":"input_json_delta","partial_json":"{\\"a\\":1e999}"}}\n\n'
        b'data: {"type":"message_stop"}\n\n'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _FOUND)
def test_what_the_fuzzer_has_found(name: str) -> None:
    """It was wrong once, in one piece or cut."""  # I1, I2, S1, S3, S9
    target, data = _FOUND[name]
    check_answer(TARGETS[target], data, [data[n : n + 1] for n in range(len(data))])
    for at in range(len(data)):
        check_answer(TARGETS[target], data, [data[:at], data[at:]], thorough=False)


@pytest.mark.parametrize(
    "value", ["9" * 400, "1e999", "-" + "9" * 400, "9" * 400 + ".5", "inf"]
)
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms", "x-ratelimit-reset"])
def test_a_wait_without_end_is_no_hint(name: str, value: str) -> None:
    """Numbers beyond all floats are nonsense, and nonsense is ignored."""  # R3
    headers = {name: value, "x-ratelimit-remaining": "0"}
    error = provider_error(b"{}", status=429, headers=headers)
    assert error.retry_after is None


# --- depth ------------------------------------------------------------------------------

_DEPTHS = [
    pytest.param(b"[" * _DEEP + b"]" * _DEEP, id="lists"),
    pytest.param(b'{"error":' * _DEEP + b"1" + b"}" * _DEEP, id="errors"),
    pytest.param(b'{"error":' * 1000 + b"1" + b"}" * 1000, id="fewer errors"),
    pytest.param(b'{"error":{"message":' + b"[" * 900 + b"]" * 900 + b"}}", id="in an error"),
    pytest.param(b'{"error":{"message":' + b"[" * 120 + b'"x"' + b"]" * 120 + b"}}", id="within reach"),
    pytest.param(b"[" * _DEEP, id="open"),
    pytest.param(b'{"a":' * _DEEP, id="open objects"),
    pytest.param(b'{"error":"' + b'{\\"error\\":\\"' * 1000 + b'"}', id="text in text"),
]  # fmt: skip


@pytest.mark.parametrize("data", _DEPTHS)
@_EACH
def test_nesting(target: Target, data: bytes) -> None:
    """Nesting is refused in our own words, wherever it comes."""  # I2
    check_error_body(target, data, 400, {})
    check_answer(target, data)
    check_answer(target, b"data: " + data + b"\n\n")
    check_answer(target, b"event: error\ndata: " + data + b"\n\n")
    check_answer(target, data + b"\n")


@pytest.mark.parametrize("depth", [100, 128, 129, 500, 5000])
@_EACH
def test_nesting_within_what_is_kept(target: Target, depth: int) -> None:
    """What a decoder keeps as it came can be stored and sent back, or is refused."""  # I2, S9
    deep = b"[" * depth + b"]" * depth
    for seed in target.seeds[:6]:
        for number, piece in enumerate(seed.pieces):
            if piece.value is not None and piece.value.startswith(b"{"):
                other = b'{"surprise":' + deep + b"," + piece.value[1:]
                pieces = [p.raw for p in seed.pieces]
                pieces[number] = piece.before + other + piece.after
                check_answer(target, b"".join(pieces))
                break


@pytest.mark.parametrize(
    "text",
    [
        '{"message":' + '{"a":' * _DEEP,
        '{"metadata":{"a":' + "[" * 500 + "]" * 500 + "}}",
    ],
)
def test_nesting_in_what_was_stored(text: str) -> None:
    """`from_json` promises `ValueError`."""  # I2
    with pytest.raises(ValueError, match="nested too deeply"):
        from_json(ChatResponse, text)


# --- memory -----------------------------------------------------------------------------


@contextmanager
def _at_most(size: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size, f"{peak:,} bytes"


_MIB = 2**20
#: What never ends, in reads of 8 KiB.
_ENDLESS = {
    "comment": (b":", b"x"),
    "blank lines": (b"", b"\n"),
    "comments": (b"", b": ping\n\n"),
    "empty events": (b"", b"event: ping\n\n"),
    "unknown fields": (b"", b"what: ever\n\n"),
    "ids": (b"", b"id: 1\n\n"),
    "bare JSON": (b"data: {}\n\n{", b'"a":1,\n'),
    "a page": (b"<html>", b"<br>"),
}


@pytest.mark.parametrize("name", _ENDLESS)
@_ONE_EACH
def test_what_never_ends_and_says_nothing(target: Target, name: str) -> None:
    """Half a MiB of nothing leaves nothing behind."""  # I1
    if target.name == "ollama" and name not in ("blank lines", "a page"):
        pytest.skip("a line of JSON that never ends has a ceiling of its own")
    start, more = _ENDLESS[name]
    piece = more * (8 * 1024 // len(more))
    pipeline = Pipeline(target.dialect())
    with _at_most(_MIB // 4):
        pipeline.feed(start)
        for _ in repeat(None, 64):
            if pipeline.over:
                break
            pipeline.feed(piece)


_SILENT: dict[str, bytes] = {
    "openai-chat": b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n',
    "anthropic": b'data: {"type":"content_block_stop","index":%d}\n\n',
    "openai": b'data: {"type":"response.in_progress","output_index":%d}\n\n',
    "google": b'data: {"candidates":[{"index":0,"content":{"parts":[]}}]}\n\n',
    "ollama": b'{"message":{"role":"assistant","content":""},"done":false}\n',
}


@pytest.mark.parametrize("name", _SILENT)
def test_events_without_end_that_say_nothing(name: str) -> None:
    """Ten thousand events that bring nothing are not kept."""  # I1
    pipeline = Pipeline(TARGETS[name].dialect())
    event = _SILENT[name]
    with _at_most(_MIB):
        for number in range(500):
            data = (event % number if b"%d" in event else event) * 20
            pipeline.feed(data)
    assert pipeline.error is None


def _called(work: Callable[[], Any]) -> int:
    """How many calls of Python's and C's functions *work* makes."""
    count = 0

    def seen(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


#: Events that each make a part, or something else that is remembered.
_GROWING: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "chat calls": (
        "openai-chat",
        lambda n: b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":%d,"id":"c%d",'
        b'"function":{"name":"f","arguments":"{"}}]}}]}\n\n' % (n, n),
    ),
    "chat pieces of a call": (
        "openai-chat",
        lambda n: b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c",'
        b'"function":{"name":"f","arguments":"{}"}}]}}]}\n\n',
    ),
    "blocks": (
        "anthropic",
        lambda n: b'data: {"type":"content_block_start","index":%d,"content_block":'
        b'{"type":"text","text":"a"}}\n\n' % n,
    ),
    "items": (
        "openai",
        lambda n: b'data: {"type":"response.output_item.added","output_index":%d,"item":'
        b'{"type":"message","content":[]}}\n\n' % n,
    ),
    "parts": (
        "google",
        lambda n: b'data: {"candidates":[{"content":{"parts":[{"functionCall":'
        b'{"name":"f","args":{"a":%d}}}]}}]}\n\n' % n,
    ),
    "lines": (
        "ollama",
        lambda n: b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},'
        b'"done":false}\n',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _GROWING)
def test_work_grows_with_the_number_of_events(name: str) -> None:
    """Four times the events are four times the work: counted in calls, not timed."""  # I1
    target, event = _GROWING[name]

    def read(count: int) -> Callable[[], None]:
        pipeline = Pipeline(TARGETS[target].dialect())
        data = [event(n) for n in range(count)]

        def work() -> None:
            for piece in data:
                pipeline.feed(piece)

        return work

    few, many = _called(read(300)), _called(read(1200))
    assert many < 5 * few


@pytest.mark.parametrize("name", ["openai-chat", "openai"])
def test_parts_without_end(name: str) -> None:
    """Indices may be anything, but there may not be any number of them."""  # I1
    growing = "chat calls" if name == "openai-chat" else "items"
    pipeline = Pipeline(TARGETS[name].dialect())
    for number in range(20_000):
        pipeline.feed(_GROWING[growing][1](number))
        if pipeline.over:
            break
    assert isinstance(pipeline.error, ResponseTooLargeError)
    assert "max_parts" in str(pipeline.error)


# --- errors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        {"error": {"message": "x" * 10**6, "code": "y" * 10**6, "type": "z" * 10**6}},
        {"error": {"code": 10**4000, "message": [["deep"]] * 1000}},
        {"error": {"details": [{"reason": "r" * 10**4}] * 100}},
        {"error": {"details": [{"violations": [{"quotaId": "q" * 999}] * 99}] * 99}},
        {"detail": [{"loc": [["x" * 10**4]] * 100 + ["y"] * 10**5, "msg": "no"}]},
        {"error": {"message": "m", "metadata": {"raw": "n" * 10**6}}, "request_id": "i" * 10**6},
        {"x" * 10**6: "y"},
        ["a", {"b": "c"}],
        [[]],
        1e300,
        True,
        object(),
    ],
    ids=str.split("long words,short list,reasons,quotas,places,raw,key,list,empty,number,bool,object", ","),
)  # fmt: skip
def test_errors_are_bounded(payload: Any) -> None:
    """What an error keeps of what a server says is short."""  # E, I1
    error = provider_error(payload, status=400, headers={"x-request-id": "r" * 30_000})
    assert isinstance(error, AIChatError)
    assert len(str(error)) < 2600
    assert len(repr(vars(error))) < 9000


def test_an_error_holds_nothing_of_what_was_read() -> None:
    """`json` remembers the whole text that it could not read; our error forgets it."""  # X1
    pipeline = Pipeline(TARGETS["openai-chat"].dialect())
    pipeline.feed(b'{"secret": "sk-canary"')
    pipeline.end()
    error = pipeline.error
    assert type(error) is ProtocolError
    assert (error.__context__, error.__cause__, error.__traceback__) == (None,) * 3
