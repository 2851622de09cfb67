"""`logging`: a line for whatever matters, and no word of what was said unless asked."""

from __future__ import annotations

import asyncio
import json
import logging as standard
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from opentelemetry import trace

from aichat import ChatRequest, Handler, RetryPolicy, StreamChunk, compose, system, user
from aichat.errors import (
    AIChatError,
    BadRequestError,
    CircuitOpenError,
    ConfigError,
    InvalidRequestError,
    RateLimitError,
    ServerError,
)
from aichat.middleware._logging import Logger, logging
from aichat.middleware._retry import retry
from aichat.testing import FakeProvider, check_stream, reply
from aichat.testing._fake import Reply
from aichat.transport import CallEvent, tell
from aichat.types import (
    FinishReason,
    ReasoningDelta,
    ResponseEnd,
    ResponseStart,
    TextDelta,
    Usage,
    UsageUpdate,
)

from ..transport.toys import virtual

PROMPT, ANSWER = "the-secret-question", "the-secret answer"
REQUEST = ChatRequest([system("Be brief."), user(PROMPT)], "fake:m")
USAGE = Usage(input_tokens=10, output_tokens=5)


class Book:
    """A `Logger` that keeps what it is told: level, message, fields."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def debug(self, msg: str, /, *, extra: Mapping[str, Any]) -> None:
        self.lines.append(("debug", msg, dict(extra)))

    def info(self, msg: str, /, *, extra: Mapping[str, Any]) -> None:
        self.lines.append(("info", msg, dict(extra)))

    def warning(self, msg: str, /, *, extra: Mapping[str, Any]) -> None:
        self.lines.append(("warning", msg, dict(extra)))

    def error(self, msg: str, /, *, extra: Mapping[str, Any]) -> None:
        self.lines.append(("error", msg, dict(extra)))

    @property
    def messages(self) -> list[tuple[str, str]]:
        return [(level, message) for level, message, _ in self.lines]

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1][2]


class Clock:
    """A quarter of a second passes whenever it is looked at."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def logged(*replies: Reply, **settings: Any) -> tuple[Book, Handler]:
    book = Book()
    settings.setdefault("clock", Clock())
    return book, compose([logging(book, **settings)], FakeProvider(replies).stream)


async def read(handler: Handler, request: ChatRequest = REQUEST) -> list[StreamChunk]:
    return [chunk async for chunk in check_stream(handler(request))]


async def test_an_answer_has_two_lines() -> None:
    """Who was asked how much; what it took and cost."""  # O4
    start = ResponseStart("1", "m-2026", "fakes", request_id="req_1")
    chunks = [start, *reply(ANSWER, usage=USAGE)[1:]]
    book, handler = logged(chunks)
    assert await read(handler) == chunks
    asked = {"provider": "fake", "model": "m", "messages": 2}
    assert book.lines == [
        ("info", "AI request started", asked),
        (
            "info",
            "AI request completed",
            {
                **asked,
                "duration_ms": 500,
                "time_to_first_chunk_ms": 250,
                "tokens": 15,
                "input_tokens": 10,
                "output_tokens": 5,
                "finish_reason": "stop",
                "request_id": "req_1",
                "response_provider": "fakes",
                "response_model": "m-2026",
                "attempts": 1,
            },
        ),
    ]


async def test_the_last_usage_is_the_one() -> None:
    """Before the output, in the middle, at the end; unknown is ``None``."""  # S8
    updates = [UsageUpdate(Usage(input_tokens=n, output_tokens=n)) for n in (1, 2, 3)]
    end = ResponseEnd(FinishReason.LENGTH)
    some: list[StreamChunk | BaseException] = [
        updates[0],
        ReasoningDelta("hm"),
        updates[1],
        TextDelta("a", 1),
        updates[2],
        end,
    ]
    cases: list[tuple[list[StreamChunk | BaseException], int | None]] = [
        (some, 6),
        ([*some[:4], end], 4),
        ([TextDelta("a"), end], None),
    ]
    for chunks, tokens in cases:
        book, handler = logged(chunks)
        assert await read(handler) == chunks
        assert (book.last["tokens"], book.last["finish_reason"]) == (tokens, "length")


async def test_a_failure_is_an_error() -> None:
    """With whatever helps at three in the morning."""  # O4
    error = BadRequestError(
        "That will not do.", status=400, provider_code="no", request_id="req_2"
    )
    book, handler = logged(error)
    with pytest.raises(BadRequestError):
        await read(handler)
    assert book.messages[1:] == [("error", "AI request failed")]
    assert (
        book.last.items()
        >= {
            "error": "fake:m [400]: That will not do.",
            "error_code": "invalid_input",
            "error_type": "BadRequestError",
            "status": 400,
            "provider_code": "no",
            "request_id": "req_2",
            "gave_up": None,
            "attempts": 1,
            "duration_ms": 250,
            "time_to_first_chunk_ms": None,
        }.items()
    )


async def test_a_failure_in_the_middle_tells_what_there_was() -> None:
    """The time to the first chunk, and the tokens so far."""  # O4
    chunks: list[StreamChunk | BaseException] = [
        TextDelta("a"),
        UsageUpdate(USAGE),
        ServerError("down", attempts=2),
    ]
    book, handler = logged(chunks)
    with pytest.raises(ServerError):
        await read(handler)
    assert (book.last["time_to_first_chunk_ms"], book.last["tokens"]) == (250, 15)
    assert book.last["attempts"] == 2


async def test_an_error_after_the_last_chunk_is_one() -> None:
    """It is raised to the caller, so the call has failed."""
    book, handler = logged([*reply("a"), ServerError("late")])
    with pytest.raises(ServerError):
        await read(handler)
    assert book.messages[-1] == ("error", "AI request failed")


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (InvalidRequestError("empty"), 0),
        (CircuitOpenError("open", attempts=0), 0),
        (ServerError("down"), 1),
        (ServerError("down", attempts=7), 7),
    ],
    ids=repr,
)
async def test_what_was_not_sent_is_no_attempt(
    error: AIChatError, attempts: int
) -> None:
    """Our own refusals, as against a provider's."""  # R2
    book, handler = logged(error)
    with pytest.raises(type(error)):
        await read(handler)
    assert book.last["attempts"] == attempts


async def test_of_other_peoples_errors_only_the_type_is_told() -> None:
    """Their words may be anybody's."""  # X1
    book, handler = logged(KeyError(PROMPT))
    with pytest.raises(KeyError):
        await read(handler)
    assert book.last["error_type"] == "KeyError"
    assert PROMPT not in repr(book.lines)


@pytest.mark.parametrize("chunks", [1, 2, 3])
async def test_leaving(chunks: int) -> None:
    """At any chunk before the last one."""  # O4
    book, handler = logged(reply("a b", usage=USAGE))
    stream = handler(REQUEST)
    for _ in range(chunks):
        await anext(stream)
    await stream.aclose()
    assert book.messages[1:] == [("info", "AI request left")]
    assert book.last["reason"] == "closed"
    assert book.last["finish_reason"] is None
    assert (book.last["time_to_first_chunk_ms"] is None) is (chunks == 1)


async def test_a_stream_that_is_never_read_has_no_line() -> None:
    """Nothing was sent."""
    book, handler = logged(reply("a b"))
    await handler(REQUEST).aclose()
    assert not book.lines


@virtual
async def test_cancelled_before_the_first_chunk() -> None:
    """While the provider thinks."""  # C2, O4

    async def thinking(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        await asyncio.sleep(60)
        yield TextDelta("never")

    book = Book()
    task = asyncio.ensure_future(read(compose([logging(book)], thinking)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert book.messages[1:] == [("info", "AI request left")]
    assert book.last["reason"] == "cancelled"


async def test_who_leaves_after_the_last_chunk_has_read_it_all() -> None:
    """A ``break`` at the `ResponseEnd`."""  # O4
    book, handler = logged(reply("a", usage=USAGE))
    stream = handler(REQUEST)
    async for chunk in stream:
        if isinstance(chunk, ResponseEnd):
            break
    await stream.aclose()
    assert book.messages[1:] == [("info", "AI request completed")]


async def test_a_stream_without_a_single_chunk() -> None:
    """It is not for a log to complain."""
    book = Book()
    assert [
        c async for c in compose([logging(book)], FakeProvider([[]]).stream)(REQUEST)
    ] == []
    assert book.last["time_to_first_chunk_ms"] is None


# --- what goes on beneath -----------------------------------------------------------------


@virtual
async def test_retries_are_warnings() -> None:
    """With their reason and the wait, and counted in the end."""  # O4, R2
    book = Book()
    provider = FakeProvider([
        RateLimitError("slow", retry_after=3),
        ServerError(),
        "Yes.",
    ])
    policy = RetryPolicy(initial=0)
    await read(compose([logging(book), retry(policy)], provider.stream))
    warnings = [fields for level, _, fields in book.lines if level == "warning"]
    assert [message for _, message in book.messages] == [
        "AI request started",
        *["AI request retried"] * 2,
        "AI request completed",
    ]
    assert warnings[0].items() >= {
        "provider": "fake", "reason": "backoff", "attempt": 2, "wait_ms": 3000,
        "error_code": "rate_limit", "error": "fake:m: slow",
    }.items()  # fmt: skip
    assert warnings[1]["error_code"] == "server_error"
    assert book.last["attempts"] == 3


async def told(*events: CallEvent) -> Book:
    async def telling(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        tell(events[0])
        yield ResponseStart()
        for event in events[1:]:
            tell(event)
        yield TextDelta("a")
        tell(CallEvent(kind="attempt"))  # too late to be of this answer
        yield ResponseEnd(FinishReason.STOP)

    book = Book()
    await read(compose([logging(book)], telling))
    return book


async def test_events_have_their_lines() -> None:
    """All that there are, until there is output."""  # O4, L3
    down = ServerError("down")
    book = await told(
        CallEvent(kind="attempt"),
        CallEvent(kind="waiting", reason="limiter", seconds=1.5),
        CallEvent(kind="waiting", reason="flight"),
        CallEvent(kind="failed", error=down),
        CallEvent(kind="rerouted", model="b:m", error=down),
        CallEvent(kind="rerouted", model="c:m"),
        CallEvent(kind="hedged", model="d:m"),
        CallEvent(kind="attempt"),
    )
    assert book.messages[1:-1] == [
        ("info", "AI request waiting"),
        ("info", "AI request waiting"),
        ("warning", "AI request rerouted"),
        ("warning", "AI request rerouted"),
        ("info", "AI request hedged"),
    ]
    fields = [fields for _, _, fields in book.lines]
    assert fields[1].items() >= {"reason": "limiter", "wait_ms": 1500}.items()
    assert (
        fields[3].items() >= {"to_model": "b:m", "error_code": "server_error"}.items()
    )
    assert fields[5]["to_model"] == "d:m"
    assert book.last["attempts"] == 2


@pytest.mark.parametrize(
    ("reason", "message", "attempts"),
    [
        ("hit", "AI request cached", 0),
        ("miss", "AI request not cached", 1),
        ("shared", "AI request shared", 1),
    ],
)
async def test_the_cache_is_told_of(reason: Any, message: str, attempts: int) -> None:
    """In a line for debugging, and at the end."""  # O4
    book = await told(CallEvent(kind="cache", reason=reason))
    assert book.messages[1] == ("debug", message)
    assert (book.last["cache"], book.last["attempts"]) == (reason, attempts)


# --- content, traces, loggers -------------------------------------------------------------


async def test_content_only_when_asked_for() -> None:
    """Not in any line, unless ``content=True``; then the text of both sides."""  # X1
    for how, thought in [("read", ""), ("read", "a secret"), ("failed", "a secret")]:
        chunks: list[Any] = reply(ANSWER, reasoning=thought)
        if how == "failed":
            chunks[-1] = ServerError("down")
        book, handler = logged(chunks)
        full, asked = logged(chunks, content=True)
        for each in (handler, asked):
            try:
                await read(each)
            except ServerError:
                assert how == "failed"
        assert "secret" not in repr(book.lines)
        assert full.lines[0][2]["prompt"] == [
            {"role": "system", "text": "Be brief."},
            {"role": "user", "text": PROMPT},
        ]
        assert full.last["answer"] == ANSWER


async def test_lines_belong_to_the_trace_that_was_current_at_the_start() -> None:
    """In all lines, whatever is current later on."""  # O4
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False)
    book, handler = logged(reply("a b"))
    stream = handler(REQUEST)
    with trace.use_span(trace.NonRecordingSpan(context)):
        await anext(stream)
    assert [c async for c in stream] == reply("a b")[1:]
    ids = [(fields["trace_id"], fields["span_id"]) for _, _, fields in book.lines]
    assert ids == [("0" * 29 + "abc", "0" * 13 + "def")] * 2


def test_opentelemetry_is_not_imported_before_it_is_asked() -> None:
    """Importing aichat costs what it has to."""
    code = (
        "import sys, aichat.middleware._logging as it; it.logging(); "
        "print('opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


async def test_by_default_the_lines_go_to_the_logger_aichat(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The standard library's, as attributes of the records: any JSON formatter has them."""  # O4
    caplog.set_level(standard.INFO, "aichat")
    book: Logger = standard.getLogger("aichat")
    for layer in (logging(), logging(book)):
        caplog.clear()
        await read(compose([layer], FakeProvider([reply("a", usage=USAGE)]).stream))
        first, last = caplog.records
        assert (first.name, first.levelname) == ("aichat", "INFO")
        assert first.getMessage() == "AI request started"
        fields = json.loads(json.dumps(last.__dict__, default=repr))
        assert (fields["provider"], fields["tokens"]) == ("fake", 15)


async def test_the_level_of_what_goes_well() -> None:
    """Failures stay errors."""
    book, handler = logged(reply("a"), ServerError("down"), level="debug")
    await read(handler)
    with pytest.raises(ServerError):
        await read(handler)
    assert [level for level, _ in book.messages] == ["debug", "debug", "debug", "error"]
    level: Any = standard.DEBUG
    with pytest.raises(ConfigError, match="debug, info, warning, error; got 10"):
        logging(level=level)


async def test_a_logger_that_raises_does_not_break_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told of in the standard library's log."""

    class Broken(Book):
        def info(self, msg: str, /, *, extra: Mapping[str, Any]) -> None:
            raise OSError("The disk is full.")

    handler = compose([logging(Broken())], FakeProvider(["Yes."]).stream)
    assert len(await read(handler)) == 3
    assert [record.getMessage() for record in caplog.records] == ["A logger raised"] * 2
