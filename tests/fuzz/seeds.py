"""What the fuzzer starts from: recorded answers, taken apart into events."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from attrs import frozen

from aichat import tool_result, user
from aichat.types import (
    AudioPart,
    ChatRequest,
    ChatResponse,
    Citation,
    Deadlines,
    FinishReason,
    ImagePart,
    Message,
    OpaquePart,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    Usage,
    to_json,
    unfold,
)

__all__ = ["Piece", "Seed", "errors", "seeds", "stored"]

_OURS = Path(__file__).parents[1] / "recordings"
_THEIRS = Path(
    os.environ.get("AICHAT_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus"
)
#: Longer recordings cost more than they bring.
_LONGEST = 8 * 1024
_ERRORS = (
    (
        b'{"error":{"message":"Rate limit reached. Please try again in 6m0s.","type":'
        b'"tokens","param":null,"code":"rate_limit_exceeded"}}'
    ),
    (
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded",'
        b'"details":{"error_code":"x"}},"request_id":"req_1"}'
    ),
    (
        b'[{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED","details":'
        b'[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"R"},{"violations":'
        b'[{"quotaId":"PerDay"}]},{"retryDelay":"3.5s"}]}}]'
    ),
    (
        b'{"error":{"message":"Upstream","code":502,"metadata":{"raw":"{\\"error\\":'
        b'{\\"message\\":\\"deep\\"}}","reasons":["a"]}},"user_id":"u"}'
    ),
    b'{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"v"}]}',
    b'{"error":"model \\"x\\" not found, try pulling it first"}',
    b'{"error":"{\\"error\\":{\\"code\\":500,\\"message\\":\\"inner\\"}}"}',
    b'{"object":"error","message":"no","type":"invalid_request_error","code":400}',
    (
        b'{"error":{"innererror":{"code":"ResponsibleAIPolicyViolation"},"code":"x",'
        b'"message":"m","status":400}}'
    ),
    b'{"type":"response.failed","response":{"error":{"code":"server_error"}}}',
    b'data: {"error":{"message":"in a stream","code":"slow_down"}}\n\n',
    b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    b'{"errors":[{"message":"one"},{"message":"two"}],"statusCode":500}',
)
_PARTS = (
    TextPart("Hi", citations=[Citation("https://a", "b", "c", 1, 2)]),
    ReasoningPart("Hm", provider_state=ProviderState("p", {"a": [1, 2.5, None]}, "m")),
    RefusalPart("No"),
    ImagePart(data=b"abc", media_type="image/png"),
    AudioPart(data=b"abc", transcript="abc"),
    ToolCallPart("1", "f", '{"a":1}', provider_state=ProviderState("p", "x")),
    OpaquePart("kind", ProviderState("p", {})),
)
_RESPONSE = ChatResponse(
    message=Message(Role.ASSISTANT, _PARTS),
    finish_reason=FinishReason.TOOL_CALLS,
    raw_finish_reason="stop",
    usage=Usage(input_tokens=1, output_tokens=2, raw={"a": 1}),
    id="1",
    model="m",
    provider="p",
    created_at=1.5,
    warnings=("w",),
    metadata={"a": {"b": []}},
)
_VALUES: dict[str, Sequence[Any]] = {
    "response": [_RESPONSE],
    "message": [_RESPONSE.message, user("hi"), tool_result("1", "done")],
    "chunk": [*unfold(_RESPONSE)],
    "request": [
        ChatRequest(
            [user("hi"), _RESPONSE.message, tool_result("1", "done")],
            "p:m",
            temperature=0.5,
            stop=["a"],
            deadlines=Deadlines(total=3, idle=None),
            metadata={"a": "b"},
        )
    ],
}
_EVENT = re.compile(rb"(?:[^\r\n]+(?:\r\n|\n|\r)?)+(?:\r\n|\n|\r)*")
_DATA = re.compile(rb"^data: ?(.*?)\r?$", re.MULTILINE)


@frozen
class Piece:
    """An event, a line or a document; *value* is its JSON, if it has one."""

    before: bytes
    value: bytes | None
    after: bytes

    @property
    def raw(self) -> bytes:
        """As it was."""
        return self.before + (self.value or b"") + self.after


@frozen
class Seed:
    """One recorded answer."""

    name: str
    pieces: tuple[Piece, ...]


@cache
def seeds(*folders: str) -> tuple[Seed, ...]:
    """The answers in *folders*: names of recordings, and of cases where there are any."""
    found = [
        Seed(f"{path.parent.name}/{path.name}", _pieces(data, path.suffix))
        for path, data in _recordings(folders)
    ]
    assert found, f"no seeds in {folders}"
    return tuple(found)


@cache
def errors() -> tuple[Seed, ...]:
    """Bodies of errors, one of each shape that is known."""
    return tuple(
        Seed(f"error {n}", (_piece(body, 0, len(body)),))
        for n, body in enumerate(_ERRORS)
    )


@cache
def stored(kind: str) -> tuple[Seed, ...]:
    """What `to_json` wrote."""
    return tuple(
        Seed(f"{kind} {n}", (_piece(text, 0, len(text)),))
        for n, text in enumerate(map(to_json, _VALUES[kind]))
    )


def _recordings(folders: tuple[str, ...]) -> Iterator[tuple[Path, bytes]]:
    for folder in folders:
        for path in sorted((_OURS / folder).glob("*.*")):
            if not path.name.startswith("."):
                yield path, path.read_bytes()
        for path in sorted((_THEIRS / "cases" / folder).glob("*/body.bin")):
            data = path.read_bytes()
            if 0 < len(data) <= _LONGEST:
                yield path, data


def _pieces(data: bytes, suffix: str) -> tuple[Piece, ...]:
    if suffix == ".ndjson":
        return tuple(_piece(line, 0, len(line)) for line in data.splitlines(True))
    if suffix == ".json" or data.lstrip()[:1] in (b"{", b"["):
        lines = data.splitlines(True)
        if len(lines) > 1 and all(_is_json(line) for line in lines):
            return tuple(_piece(line, 0, len(line)) for line in lines)
        return (_piece(data, 0, len(data)),)
    return tuple(_event(found[0]) for found in _EVENT.finditer(data))


def _event(raw: bytes) -> Piece:
    found = _DATA.findall(raw)
    if len(found) != 1:
        return Piece(raw, None, b"")
    match = _DATA.search(raw)
    assert match is not None
    return _piece(raw, *match.span(1))


def _piece(raw: bytes, start: int, end: int) -> Piece:
    value = raw[start:end]
    if not _is_json(value):
        return Piece(raw, None, b"")
    return Piece(raw[:start], value, raw[end:])


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(orjson.loads(data), (dict, list))
    except ValueError:
        return False
