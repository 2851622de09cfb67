"""
The shared cases for parsers of text/event-stream and of JSON lines.

They are data, with the rules restated from WHATWG HTML 9.2.5 and 9.2.6; each is fed in
every way of cutting that it lists, and here also one byte at a time with empty reads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aichat.errors import ResponseTooLargeError
from aichat.transport._ndjson import NDJSONDecoder
from aichat.transport._sse import ServerSentEvent, SSEDecoder

if corpus := os.environ.get("AICHAT_CORPUS"):
    PATH = Path(corpus).parent / "sse_cases.json"
else:
    PATH = Path(__file__).parents[3] / "shared" / "sse_cases.json"

CASES: dict[str, list[dict[str, Any]]] = (
    json.loads(PATH.read_text("utf-8")) if PATH.is_file() else {}
)

LIMITS = {"max_line_bytes": "max_line", "max_event_bytes": "max_event"}
#: Which of our ceilings an expected error is about.
ERRORS = {"line_too_long": "max_line", "event_too_large": "max_event"}


def _params(kind: str) -> list[Any]:
    if not CASES:
        reason = f"{PATH} is not there; set AICHAT_CORPUS to the folder beside it."
        return [pytest.param(None, None, marks=pytest.mark.skip(reason=reason))]
    return [
        pytest.param(case, chunking, id=f"{case['id']}-{_name(chunking)}")
        for case in CASES.get(kind, [])
        for chunking in [*case["chunkings"], {"drip": True}]
    ]


def _name(chunking: dict[str, Any]) -> str:
    return "-".join(f"{key}{value}" for key, value in chunking.items())


def _stream(case: dict[str, Any]) -> bytes:
    given = case["input"]
    return bytes.fromhex(given["hex"]) * int(given.get("times", 1))


def _cut(stream: bytes, chunking: dict[str, Any]) -> Iterator[bytes]:
    match chunking:
        case {"drip": True}:
            for at in range(len(stream)):
                yield b""
                yield stream[at : at + 1]
        case {"size": 0}:
            yield stream
        case {"size": size}:
            for at in range(0, len(stream), size):
                yield stream[at : at + size]
        case {"at": offsets}:
            for start, end in zip([0, *offsets], [*offsets, len(stream)], strict=True):
                yield stream[start:end]
        case _:
            pytest.fail(f"unknown chunking: {chunking}")


@pytest.mark.parametrize(("case", "chunking"), _params("cases"))
def test_sse(case: dict[str, Any], chunking: dict[str, Any]) -> None:
    """
    Events, ids, retry and what the end cuts off are as expected, however it is cut.
    """
    limits = {LIMITS[name]: n for name, n in case.get("limits", {}).items()}
    decoder = SSEDecoder(**limits)
    events: list[ServerSentEvent] = []
    passed = None
    left: list[ServerSentEvent] = []
    try:
        for piece in _cut(_stream(case), chunking):
            events += decoder.decode(piece)
        left = decoder.flush()
    except ResponseTooLargeError as error:
        passed = error.context["limit"]

    expect = case["expect"]
    assert [
        {"type": e.type, "data": e.data, "last_event_id": e.last_event_id}
        for e in events
    ] == expect["events"]
    assert left == []
    assert decoder.last_event_id == expect["last_event_id"]
    assert decoder.retry == expect["retry"]
    assert decoder.at_boundary is not expect["pending_at_eof"]
    match expect.get("error"):
        case str(name) if name.startswith("may:"):
            assert passed in {None, ERRORS[name.removeprefix("may:")]}
        case None:
            assert passed is None
        case name:
            assert passed == ERRORS[name]


@pytest.mark.parametrize(("case", "chunking"), _params("ndjson_cases"))
def test_ndjson(case: dict[str, Any], chunking: dict[str, Any]) -> None:
    """
    Lines, and the one that the end left unfinished, are as expected.
    """
    decoder = NDJSONDecoder()
    lines: list[bytes] = []
    for piece in _cut(_stream(case), chunking):
        lines += decoder.decode(piece)
    pending = decoder.pending
    last = decoder.flush()

    expect = case["expect"]
    unfinished = expect["unfinished"]
    assert [line.decode("utf-8", "replace") for line in lines] == expect["lines"]
    assert last == ([] if pending is None else [pending])
    assert [line.decode("utf-8", "replace") for line in last] == (
        [] if unfinished is None else [unfinished]
    )
