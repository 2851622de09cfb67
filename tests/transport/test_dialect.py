"""From the bytes of one answer to chunks, however they are cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from aichat.errors import (
    AIChatError,
    ProtocolError,
    RateLimitError,
    ResponseTooLargeError,
    StreamInterruptedError,
)
from aichat.transport import Dialect, Pipeline, ServerSentEvent, SSEDecoder
from aichat.types import (
    FinishReason,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    dumps,
)

from .toys import GOOD, TOY, TOY_LINES, ToyDecoder, sse, text

END = ResponseEnd(FinishReason.STOP)
WHOLE = [ResponseStart("1"), TextDelta("Hel"), TextDelta("lo"), END]


def play(
    pieces: list[bytes], dialect: Dialect = TOY, **options: Any
) -> tuple[list[StreamChunk], AIChatError | None]:
    """What a pipeline makes of *pieces* and then a proper end."""
    pipeline = Pipeline(dialect, **options)
    chunks: list[StreamChunk] = []
    for piece in pieces:
        chunks += pipeline.feed(piece)
        if pipeline.over:
            return chunks, pipeline.error
    chunks += pipeline.end()
    assert pipeline.over
    return chunks, pipeline.error


def cut(data: bytes, at: set[int]) -> list[bytes]:
    edges = [0, *sorted(i for i in at if 0 < i < len(data)), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


BODIES: dict[str, tuple[bytes, Dialect]] = {
    "stream": (GOOD, TOY),
    "crlf": (GOOD.replace(b"\n", b"\r\n"), TOY),
    "bom": (b"\xef\xbb\xbf" + GOOD, TOY),
    "comments": (b": ping\n\n: ping\n\n" + GOOD, TOY),
    "named": (b"event: x\nid: 1\n" + GOOD, TOY),
    "blank-lines": (b"\n\r\n \n" + GOOD, TOY),
    "junk-after-the-end": (GOOD + sse({"text": "no"}, {"error": "no"}) + b"junk", TOY),
    "document": (b'{"id":"1", "text":"Hello", "finish":1}', TOY),
    "document-after-blanks": (b'\n\n \n\r\n{"text":"Hello","finish":1}\n', TOY),
    "document-after-a-bom": (b'\xef\xbb\xbf{"text":"Hello","finish":1}', TOY),
    "big-int": (b'{"text":"Hello","finish":123456789012345678901234567890}', TOY),
    "unended": (sse({"text": "Hello"}) + b'data: {"finish":1}', TOY),
    "unended-done": (sse({"text": "Hello"}) + b"data: [DONE]", TOY),
    "cut-in-an-event": (sse({"text": "Hello"}) + b'data: {"text":"wor', TOY),
    "no-end": (sse({"text": "Hello"}), TOY),
    "bad-json": (sse({"text": "Hello"}, "{no"), TOY),
    "error": (sse({"text": "Hello"}, {"error": {"code": 429}}), TOY),
    "text-and-error": (sse({"text": "Hello", "error": {"code": 429}}), TOY),
    "bad-document": (b'{"text":"Hello"', TOY),
    "bad-document-utf8": (b'{"text":"\xff"}', TOY),
    "empty": (b"", TOY),
    "blank": (b" \n\n", TOY),
    "page": (b"  <!DOCTYPE html><title>Sign in</title>", TOY),
    "page-after-a-bom": (b"\xef\xbb\xbf<html>", TOY),
    "long-page": (b"<html><title>Hi</title>" + b"x" * 20_000, TOY),
    "lines": (b'{"text":"Hel"}\n\n{"text":"lo"}\n{"finish":1}\n', TOY_LINES),
    "lines-unended": (b'{"text":"Hello"}\n{"finish":1}', TOY_LINES),
    "lines-cut": (b'{"text":"Hello"}\n{"fini', TOY_LINES),
    "lines-page": (b"<html>", TOY_LINES),
}


@pytest.mark.parametrize("name", BODIES)
@given(at=st.sets(st.integers(0, 200)), bytewise=st.booleans())
@example(at=set(), bytewise=True)
def test_no_cut_changes_the_answer(name: str, at: set[int], bytewise: bool) -> None:
    """Any split, one byte at a time included, says the same and fails the same."""  # S3
    body, dialect = BODIES[name]
    chunks, error = play([body], dialect)
    pieces = cut(body, set(range(len(body)))) if bytewise else cut(body, at)
    again, other = play(pieces, dialect)
    assert again == chunks
    assert (type(other), str(other)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("cut-in-an-event", StreamInterruptedError),
        ("no-end", StreamInterruptedError),
        ("bad-json", ProtocolError),
        ("error", RateLimitError),
        ("text-and-error", RateLimitError),
        ("bad-document", ProtocolError),
        ("bad-document-utf8", ProtocolError),
        ("empty", StreamInterruptedError),
        ("blank", StreamInterruptedError),
        ("page", ProtocolError),
        ("long-page", ProtocolError),
        ("page-after-a-bom", ProtocolError),
        ("lines-cut", StreamInterruptedError),
        ("lines-page", ProtocolError),
    ],
)
def test_what_is_no_whole_answer_is_an_error(
    name: str, error: type[AIChatError]
) -> None:
    """What came before it comes out, and no end is invented."""  # S4, S5, S6
    body, dialect = BODIES[name]
    chunks, found = play([body], dialect)
    assert type(found) is error
    said = b"Hello" in body and "document" not in name
    assert text(chunks) == ("Hello" if said else "")
    assert END not in chunks


@pytest.mark.parametrize(
    "name", sorted(n for n, (b, _) in BODIES.items() if b"finish" in b)
)
def test_every_form_of_a_whole_answer_is_one(name: str) -> None:
    """Streams and documents, with and without their frills."""  # S6, I3
    chunks, error = play([BODIES[name][0]], BODIES[name][1])
    assert error is None
    assert text(chunks) == "Hello"
    assert chunks[-1] == END


def test_the_answer_is_over_with_its_last_event() -> None:
    """Whatever follows in the same bytes is not looked at."""
    pipeline = Pipeline(TOY)
    assert pipeline.feed(GOOD + b"data: {junk\n\n") == WHOLE
    assert pipeline.over
    assert pipeline.error is None


def test_an_answer_is_complete_before_it_is_over() -> None:
    """The finish reason has come; usage may still follow."""
    pipeline = Pipeline(TOY)
    pipeline.feed(sse({"text": "Hello"}))
    assert not pipeline.complete
    pipeline.feed(sse({"finish": 1}))
    assert pipeline.complete
    assert not pipeline.over
    assert pipeline.end() == [END]


@pytest.mark.parametrize(
    ("data", "progressed"),
    [
        (b"", False),
        (b"\n\n", False),
        (b"\xef", False),
        (b": ping\n\n", False),
        (b"event: ping\ndata: {}\n\n", False),
        (b"data: {\n", False),
        (b"data: {}\n\n", True),
        (b"event: ping\ndata: {}\n\ndata: {}\n\n", True),
        (sse({"text": "x"}), True),
        (b"{", True),
    ],
)
def test_pings_are_no_progress(data: bytes, progressed: bool) -> None:
    """A server that only pings is alive, and its answer is not."""  # D2
    pipeline = Pipeline(TOY)
    pipeline.feed(data)
    assert pipeline.progressed is progressed


def test_a_document_has_a_ceiling() -> None:
    """And the error names it."""  # I1
    pipeline = Pipeline(TOY, max_document=100)
    assert pipeline.feed(b'{"text":"' + b"x" * 50) == []
    assert pipeline.error is None
    assert pipeline.feed(b"x" * 50) == []
    assert isinstance(pipeline.error, ResponseTooLargeError)
    assert "max_document" in pipeline.error.message


def test_blanks_without_end_are_not_collected() -> None:
    """Blank lines are a keep-alive; a blank line without its end is not kept for ever."""  # I1
    pipeline = Pipeline(TOY)
    for _ in range(1000):
        pipeline.feed(b"\n" * 1000)
    assert len(pipeline._body) <= 1
    for _ in range(1000):
        pipeline.feed(b" " * 1000)
    assert len(pipeline._body) <= 1
    assert pipeline.error is None


def test_a_deep_document_is_refused() -> None:
    """Nesting that no parser likes is an error of ours."""  # I2
    _, error = play([b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"])
    assert type(error) is ProtocolError


class Clumsy(ToyDecoder):
    def document(self, value: Any, /) -> Iterator[StreamChunk]:
        yield TextDelta(value["text"]["deep"])


@pytest.mark.parametrize(
    "body", [sse({"text": "x"}), b'{"text":"x"}', sse({}), sse([])]
)
def test_a_decoder_that_stumbles_is_a_protocol_error(body: bytes) -> None:
    """Callers are promised nothing but an `AIChatError`; where it was, the context says."""  # I2
    dialect = Dialect(framing=SSEDecoder, decoder=Clumsy)
    _, error = play([body], dialect)
    assert type(error) is ProtocolError
    assert error.context["cause"] in ("KeyError", "TypeError")
    assert "toys" in error.context["where"] or "test_dialect" in error.context["where"]
    # What it stumbled over may quote the answer.
    assert error.__cause__ is error.__context__ is None


class LazyFraming:
    """A framing that is a generator."""

    def __init__(self) -> None:
        self._inner = SSEDecoder()

    def decode(self, piece: bytes, /) -> Iterator[ServerSentEvent]:
        yield from self._inner.decode(piece)

    def flush(self) -> Iterator[ServerSentEvent]:
        yield from self._inner.flush()


def test_a_framing_may_be_a_generator() -> None:
    """The protocol says `Iterable`, and means it."""
    dialect = Dialect(framing=LazyFraming, decoder=ToyDecoder)
    assert play([GOOD], dialect) == (WHOLE, None)
    pipeline = Pipeline(dialect)
    pipeline.feed(sse({}))
    assert pipeline.progressed


def test_an_overlong_event_is_an_error_behind_what_came_before() -> None:
    """The framing's ceiling, seen from here."""  # I1
    dialect = Dialect(framing=lambda: SSEDecoder(max_line=50), decoder=ToyDecoder)
    body = sse({"text": "Hello"}) + b"data: " + dumps("x" * 100)
    for pieces in ([body], [body[:30], body[30:]]):
        chunks, error = play(pieces, dialect)
        assert text(chunks) == "Hello"
        assert isinstance(error, ResponseTooLargeError)
