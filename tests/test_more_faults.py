"""
More that can go wrong than the fault matrix knows, down to single bytes of HTTP.

Each row is what a server does. Whatever it is, the text is right or the error is one of ours;
the server counts the requests; nothing stays open, and the key is nowhere. (The matrix itself
is in `conformance/test_faults.py`.)
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import traceback
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self, TypeAlias

import pytest
from attrs import frozen

from aichat import (
    AIChatError,
    AuthenticationError,
    BadRequestError,
    Client,
    ClientConfig,
    DeadlineError,
    Deadlines,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    RedirectError,
    ResponseTooLargeError,
    ServerError,
    StreamInterruptedError,
    TextDelta,
)
from aichat.types import dumps

from .elsewhere import Elsewhere, acquired, cleared, pooled, sockets
from .simulated import KEY
from .transport.servers import Server, Visit, chunk

#: What is said, in as many pieces.
WORDS = ("Hel", "lo,", " wö", "rl", "d", "!")
SAID = "".join(WORDS)
MIB = 2**20


def data(value: Any, event: str = "") -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n".encode() if event else b""
    return (
        name
        + b"data: "
        + (value if isinstance(value, bytes) else dumps(value))
        + b"\n\n"
    )


@frozen
class Dialect:
    """As much of a dialect as it takes to say something in it."""

    provider: str
    start: bytes
    delta: Callable[[str], bytes]
    #: The finish reason, and what follows it up to the end marker.
    finish: bytes
    end: bytes = b""
    #: A keep-alive, as its server sends it.
    ping: bytes = b": ping\n\n"
    error: bytes = b""

    def answer(self, *words: str) -> bytes:
        return (
            self.start
            + b"".join(map(self.delta, words or WORDS))
            + self.finish
            + self.end
        )

    def __str__(self) -> str:
        return self.provider


def _choice(delta: Any, reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    }


def _candidate(text: str, reason: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}}
    if reason:
        found["finishReason"] = reason
    return {"candidates": [found], "modelVersion": "m", "responseId": "r"}


OPENAI = Dialect(
    "openai-chat",
    data(_choice({"role": "assistant", "content": ""})),
    lambda text: data(_choice({"content": text})),
    data(_choice({}, "stop")),
    data(b"[DONE]"),
    error=data({"error": {"message": "Late.", "type": "server_error"}}),
)
ANTHROPIC = Dialect(
    "anthropic",
    data(
        {
            "type": "message_start",
            "message": {
                "id": "m1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "usage": {"input_tokens": 3, "output_tokens": 1},
            },
        },
        "message_start",
    )
    + data(
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        "content_block_start",
    ),
    lambda text: data(
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        },
        "content_block_delta",
    ),
    data({"type": "content_block_stop", "index": 0}, "content_block_stop")
    + data(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 6},
        },
        "message_delta",
    ),
    data({"type": "message_stop"}, "message_stop"),
    data({"type": "ping"}, "ping"),
    data(
        {"type": "error", "error": {"type": "api_error", "message": "Late."}}, "error"
    ),
)
GOOGLE = Dialect(
    "google",
    b"",
    lambda text: data(_candidate(text)),
    data(_candidate("", "STOP")),
    error=data({"error": {"code": 500, "message": "Late.", "status": "INTERNAL"}}),
)


def _line(value: Any) -> bytes:
    return dumps(value) + b"\n"


OLLAMA = Dialect(
    "ollama",
    b"",
    lambda text: _line({
        "model": "m",
        "message": {"role": "assistant", "content": text},
        "done": False,
    }),
    _line({
        "model": "m",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
    }),
    ping=b"\n",
    error=_line({"error": "Late."}),
)
ALL = (OPENAI, ANTHROPIC, GOOGLE, OLLAMA)
SSE = (OPENAI, ANTHROPIC, GOOGLE)
#: Those that say when they are done. Gemini has nothing but the end of its body.
ENDING = (OPENAI, ANTHROPIC, OLLAMA)

Behaviour: TypeAlias = Callable[[Visit, Dialect], Awaitable[object]]


@frozen
class Row:
    """A thing that a server does, and what has to come of it."""

    name: str
    does: Behaviour
    #: What it may come to: an error, or ``None`` for a good answer.
    errors: tuple[type[AIChatError] | None, ...]
    #: What is delivered; ``None`` if it is not certain how much.
    text: str | None
    #: How many requests the server sees, at least and at most.
    requests: tuple[int, int]
    dialects: tuple[Dialect, ...]
    settings: Mapping[str, Any]
    #: Megabytes that may be in use at the same time, if that is looked at.
    memory: float | None


ROWS: list[Row] = []
QUICK = Deadlines(connect=2, first_byte=0.4, idle=0.4, stall=5, total=5)


def row(
    *errors: type[AIChatError] | None,
    text: str | None = "same",
    requests: int | tuple[int, int] = 1,
    dialects: tuple[Dialect, ...] = (OPENAI, OLLAMA),
    memory: float | None = None,
    name: str = "",
    **settings: Any,
) -> Callable[[Behaviour], Behaviour]:
    """Enter a behaviour into the table. Who raises says nothing, unless *text* is given."""
    if text == "same":
        text = SAID if None in (errors or (None,)) else ""
    bounds = requests if isinstance(requests, tuple) else (requests, requests)

    def enter(does: Behaviour) -> Behaviour:
        called = name or does.__name__
        ROWS.append(
            Row(
                called,
                does,
                errors or (None,),
                text,
                bounds,
                dialects,
                settings,
                memory,
            )
        )
        return does

    return enter


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def plain(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A response with a length."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def good(d: Dialect) -> bytes:
    return CHUNKED + chunk(d.answer()) + LAST


async def bytewise(visit: Visit, what: bytes) -> None:
    for at in range(len(what)):
        await visit.send(what[at : at + 1])
        if at % 20 == 0:
            await asyncio.sleep(0)


# --- HTTP, as odd as it may be ----------------------------------------------------------


@row(dialects=ALL)
async def everything_byte_by_byte(visit: Visit, d: Dialect) -> None:
    await bytewise(visit, good(d))


@row()
async def one_byte_per_chunk(visit: Visit, d: Dialect) -> None:
    body = d.answer()
    pieces = [chunk(body[at : at + 1]) for at in range(len(body))]
    await visit.send(CHUNKED + b"".join(pieces) + LAST)


@row()
async def continue_first(visit: Visit, d: Dialect) -> None:
    await visit.send(b"HTTP/1.1 100 Continue\r\n\r\n" + good(d))


@row()
async def early_hints_first(visit: Visit, d: Dialect) -> None:
    await visit.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n")
    await asyncio.sleep(0.01)
    await visit.send(good(d))


@row(DeadlineError, requests=3, deadlines=QUICK)
async def continue_for_ever(visit: Visit, d: Dialect) -> None:
    while True:
        await visit.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.001)


@row(DeadlineError, requests=3, deadlines=QUICK)
async def headers_that_trickle_for_ever(visit: Visit, d: Dialect) -> None:
    await visit.send(HEAD)
    while True:
        await visit.send(b"x-y: z\r\n")
        await asyncio.sleep(0.02)


@row(ResponseTooLargeError, ProtocolError, DeadlineError, requests=(1, 3), memory=48)
async def headers_without_end(visit: Visit, d: Dialect) -> None:
    await visit.send(HEAD)
    for number in range(20_000):
        await visit.send(b"x-%d: %b\r\n" % (number, b"v" * 2000))


@row(None, ResponseTooLargeError, ProtocolError, text=None, requests=(1, 3))
async def a_thousand_headers(visit: Visit, d: Dialect) -> None:
    lines = b"".join(b"x-header-%d: value\r\n" % n for n in range(1000))
    await visit.send(HEAD + lines + b"transfer-encoding: chunked\r\n\r\n")
    await visit.send(chunk(d.answer()) + LAST)


@row()
async def headers_twice(visit: Visit, d: Dialect) -> None:
    await visit.send(
        HEAD
        + b"content-type: text/plain\r\nx-request-id: a\r\nx-request-id: b\r\n"
        + b"set-cookie: a=b\r\n" * 20
        + b"transfer-encoding: chunked\r\n\r\n"
        + chunk(d.answer())
        + LAST
    )


@row()
async def a_header_that_is_no_ascii(visit: Visit, d: Dialect) -> None:
    await visit.send(
        HEAD
        + b"x-name: \xe9\xff\r\n"
        + CHUNKED.removeprefix(HEAD)
        + chunk(d.answer())
        + LAST
    )


@row(ProtocolError, requests=(1, 3))
async def a_header_without_a_colon(visit: Visit, d: Dialect) -> None:
    await visit.send(HEAD + b"what is this\r\n\r\n")
    await visit.left()


@row(ProtocolError, requests=(1, 3))
async def a_header_with_a_nul(visit: Visit, d: Dialect) -> None:
    await visit.send(HEAD + b"x-y: a\0b\r\n\r\n")
    await visit.left()


@row()
async def no_reason_phrase(visit: Visit, d: Dialect) -> None:
    await visit.send(good(d).replace(b"200 OK", b"200 ", 1))


@row()
async def another_status_that_is_good(visit: Visit, d: Dialect) -> None:
    await visit.send(good(d).replace(b"200 OK", b"203 Hm", 1))


@row(ProviderError, requests=(1, 3), deadlines=QUICK)
async def switching_protocols(visit: Visit, d: Dialect) -> None:
    await visit.send(
        b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    )
    await visit.left()


@row(ProviderError, requests=(1, 3))
async def a_status_that_there_is_not(visit: Visit, d: Dialect) -> None:
    await visit.send(plain(b"", "799 Strange"))


@row(dialects=ALL)
async def http_1_0(visit: Visit, d: Dialect) -> None:
    await visit.send(b"HTTP/1.0 200 OK\r\n\r\n" + d.answer())
    visit.writer.close()


@row(StreamInterruptedError, text="Hello,", dialects=ALL)
async def http_1_0_cut(visit: Visit, d: Dialect) -> None:
    body = d.start + d.delta("Hel") + d.delta("lo,") + d.delta("never")[:-9]
    await visit.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
    visit.writer.close()


@row()
async def trailers(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED + chunk(d.answer()) + b"0\r\nx-sum: 1\r\nx-b: 2\r\n\r\n")


@row()
async def chunk_extensions(visit: Visit, d: Dialect) -> None:
    body = d.answer()
    await visit.send(
        CHUNKED + b"%x;sig=abc;x\r\n%b\r\n" % (len(body), body) + b"0;last\r\n\r\n"
    )


@row()
async def chunk_sizes_in_capitals_and_with_zeros(visit: Visit, d: Dialect) -> None:
    body = d.answer()
    await visit.send(CHUNKED + b"0000%X\r\n%b\r\n" % (len(body), body) + b"000\r\n\r\n")


@row(ProviderError, text=None, deadlines=QUICK, requests=(1, 3))
async def a_chunk_size_beyond_all_measure(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED + b"F" * 40 + b"\r\n" + d.answer("Hel"))
    await visit.left()


@row(ProviderError, text="Hel", deadlines=QUICK, memory=16)
async def a_chunk_extension_without_end(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED + chunk(d.start + d.delta("Hel")) + b"5;")
    for _ in range(32):
        await visit.send(b"x" * MIB)
    await visit.left()


@row(deadlines=QUICK, memory=16)
async def trailers_without_end(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED + chunk(d.answer()) + b"0\r\n")
    for number in range(16_000):
        await visit.send(b"x-%d: %b\r\n" % (number, b"v" * 2000))
    await visit.left()


@row(dialects=ALL)
async def a_right_length(visit: Visit, d: Dialect) -> None:
    await visit.send(plain(d.answer()))


@row(StreamInterruptedError, text=SAID, dialects=ALL)
async def a_length_that_ends_before_the_end_marker(visit: Visit, d: Dialect) -> None:
    await visit.send(plain(d.start + b"".join(map(d.delta, WORDS))))


@row(StreamInterruptedError, ProtocolError, text=None, requests=(1, 3))
async def more_than_the_length(visit: Visit, d: Dialect) -> None:
    body = d.start + b"".join(map(d.delta, WORDS))
    await visit.send(plain(body) + d.finish + d.end)
    await visit.left()


@row(dialects=ENDING)
async def a_length_too_long_after_a_whole_answer(visit: Visit, d: Dialect) -> None:
    body = d.answer()
    await visit.send(HEAD + b"content-length: %d\r\n\r\n" % (len(body) + 99) + body)
    visit.writer.close()


@row(StreamInterruptedError, requests=3)
async def a_length_of_nothing(visit: Visit, d: Dialect) -> None:
    await visit.send(plain(b""))


@row(ProtocolError, requests=(1, 3))
async def two_lengths(visit: Visit, d: Dialect) -> None:
    body = d.answer()
    await visit.send(
        HEAD + b"content-length: 3\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    await visit.left()


@row(None, ProtocolError, text=None, requests=(1, 3))
async def a_length_and_chunks(visit: Visit, d: Dialect) -> None:
    """RFC 9112, 6.3: the chunks count, or it is an attack."""
    await visit.send(
        good(d).replace(b"transfer-", b"content-length: 3\r\ntransfer-", 1)
    )


@row(ProtocolError, requests=(1, 3))
async def a_length_below_zero(visit: Visit, d: Dialect) -> None:
    await visit.send(HEAD + b"content-length: -5\r\n\r\n" + d.answer())
    await visit.left()


@row(ProtocolError, requests=(1, 3))
async def a_length_in_words(visit: Visit, d: Dialect) -> None:
    await visit.send(HEAD + b"content-length: many\r\n\r\n" + d.answer())
    await visit.left()


@row()
async def another_answer_in_the_same_breath(visit: Visit, d: Dialect) -> None:
    """It is nobody's, and the next call does not get it."""
    evil = CHUNKED + chunk(d.answer("EVIL")) + LAST
    await visit.send(good(d) + evil)


@row()
async def connection_close(visit: Visit, d: Dialect) -> None:
    await visit.send(good(d).replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
    visit.writer.close()


@row()
async def closed_between_two_calls(visit: Visit, d: Dialect) -> None:
    await visit.send(good(d))
    visit.writer.close()


@row()
async def an_offer_to_upgrade(visit: Visit, d: Dialect) -> None:
    await visit.send(
        good(d).replace(b"\r\n", b"\r\nupgrade: h2c\r\nalt-svc: h3\r\n", 1)
    )


# --- resets, at every point ---------------------------------------------------------------


def reset_after(d: Dialect, stage: str) -> bytes:
    some = d.start + d.delta("Hel") + d.delta("lo,")
    return {
        "status": b"HTTP/1.1 20",
        "headers": HEAD + b"x-half",
        "head": CHUNKED,
        "size": CHUNKED + b"1f",
        "data": CHUNKED + b"fff\r\n" + some,
        "chunk": CHUNKED + chunk(some),
        "end": CHUNKED + chunk(d.answer()),
        "last": CHUNKED + chunk(d.answer()) + b"0\r\n",
    }[stage]


async def _reset(visit: Visit, d: Dialect, stage: str) -> None:
    await visit.send(reset_after(d, stage))
    # A reset overtakes what it follows; only then it is that one that is looked at.
    await asyncio.sleep(0.03)
    visit.reset()


for _stage in ("status", "headers", "head", "size"):

    @row(
        ProviderUnavailableError,
        StreamInterruptedError,
        ProtocolError,
        requests=3,
        name=f"reset_within_the_{_stage}",
    )
    async def early(visit: Visit, d: Dialect, stage: str = _stage) -> None:
        await _reset(visit, d, stage)


for _stage in ("data", "chunk"):

    @row(StreamInterruptedError, text="Hello,", name=f"reset_after_a_{_stage}")
    async def midway(visit: Visit, d: Dialect, stage: str = _stage) -> None:
        await _reset(visit, d, stage)


for _stage in ("end", "last"):

    @row(dialects=ENDING, name=f"reset_after_the_{_stage}")
    async def late(visit: Visit, d: Dialect, stage: str = _stage) -> None:
        await _reset(visit, d, stage)

    # A finish reason is no end: the rest of its usage may have been lost.
    row(StreamInterruptedError, text=SAID, dialects=(GOOGLE,), name=ROWS[-1].name)(late)


# --- bodies that are packed, though nobody asked ------------------------------------------


def packed(body: bytes, coding: str, framed: bool = True) -> bytes:
    head = f"content-encoding: {coding}\r\n".encode()
    return CHUNKED.replace(b"\r\n", b"\r\n" + head, 1) + chunk(body) + LAST


@row(dialects=ALL)
async def gzip_unasked(visit: Visit, d: Dialect) -> None:
    await visit.send(packed(gzip.compress(d.answer()), "gzip"))


@row()
async def deflate_unasked(visit: Visit, d: Dialect) -> None:
    await visit.send(packed(zlib.compress(d.answer()), "deflate"))


@row()
async def gzip_bit_by_bit(visit: Visit, d: Dialect) -> None:
    await bytewise(visit, packed(gzip.compress(d.answer()), "gzip"))


@row(StreamInterruptedError, ProtocolError, text=None, requests=(1, 3))
async def gzip_cut(visit: Visit, d: Dialect) -> None:
    """The HTTP is whole, and the packing is not."""
    body = gzip.compress(d.answer())
    await visit.send(packed(body[: len(body) // 2], "gzip"))


@row(StreamInterruptedError, ProtocolError, text=None, requests=(1, 3))
async def gzip_that_is_none(visit: Visit, d: Dialect) -> None:
    await visit.send(packed(d.answer(), "gzip"))


@row(ResponseTooLargeError, text="Hel", memory=80)
async def a_bomb(visit: Visit, d: Dialect) -> None:
    """A line of a quarter of a gigabyte, in a quarter of a megabyte."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = pack.compress(d.start + d.delta("Hel")) + pack.flush(zlib.Z_SYNC_FLUSH)
    await visit.send(packed(body, "gzip").removesuffix(LAST))
    for _ in range(256):
        await visit.send(
            chunk(pack.compress(b"a" * MIB) or pack.flush(zlib.Z_SYNC_FLUSH))
        )


@row()
async def a_packing_that_there_is_not(visit: Visit, d: Dialect) -> None:
    await visit.send(packed(d.answer(), "x-own"))


for _coding in ("br", "zstd"):

    @row(ProviderError, text=None, requests=(1, 3), name=f"{_coding}_that_is_none")
    async def exotic(visit: Visit, d: Dialect, coding: str = _coding) -> None:
        await visit.send(packed(b"\x00\xff\x00" * 99, coding))


@row(ServerError, requests=3)
async def a_packed_error(visit: Visit, d: Dialect) -> None:
    body = gzip.compress(b'{"error": {"message": "Broken."}}')
    await visit.send(plain(body, "500 No", "content-encoding: gzip"))


# --- what is said -------------------------------------------------------------------------


def said(visit: Visit, *parts: bytes) -> Awaitable[None]:
    return visit.send(CHUNKED + chunk(b"".join(parts)) + LAST)


@row(StreamInterruptedError, ProtocolError, requests=(1, 3), dialects=SSE)
async def nothing_but_empty_events(visit: Visit, d: Dialect) -> None:
    await said(visit, b"data:\n\n" * 50, b"data: \n\n" * 50)


@row(dialects=SSE)
async def an_event_of_spaces(visit: Visit, d: Dialect) -> None:
    words = [*map(d.delta, WORDS)]
    await said(
        visit, d.start, *words[:3], b"data:     \n\n", *words[3:], d.finish, d.end
    )


@row(dialects=ALL)
async def blank_lines_everywhere(visit: Visit, d: Dialect) -> None:
    words = [*map(d.delta, WORDS)]
    await said(visit, b"\n\n\n".join([b"", d.start, *words, d.finish, d.end]))


@row(
    StreamInterruptedError,
    DeadlineError,
    ResponseTooLargeError,
    requests=(1, 3),
    memory=16,
    deadlines=QUICK,
    dialects=ALL,
)
async def blank_lines_without_end(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED)
    for _ in range(16):
        await visit.send(chunk(b"\n" * MIB))
    await visit.send(LAST)


@row(dialects=(OPENAI,))
async def two_ids_in_one_answer(visit: Visit, d: Dialect) -> None:
    await said(visit, d.answer().replace(b'"c1"', b'"c2"', 3))


@row(dialects=ENDING)
async def an_error_after_the_end(visit: Visit, d: Dialect) -> None:
    await said(visit, d.answer(), d.error)


@row(dialects=ALL)
async def the_end_twice(visit: Visit, d: Dialect) -> None:
    await said(visit, d.answer(), d.finish, d.end, d.end)


@row(dialects=ENDING)
async def another_answer_after_the_end(visit: Visit, d: Dialect) -> None:
    await said(visit, d.answer(), d.answer("EVIL"))


@row(dialects=(OPENAI, GOOGLE))
async def finished_twice(visit: Visit, d: Dialect) -> None:
    await said(visit, d.start, *map(d.delta, WORDS), d.finish, d.finish, d.end)


@row(dialects=(OPENAI, GOOGLE))
async def more_text_after_the_finish_reason(visit: Visit, d: Dialect) -> None:
    """There is more to come until the stream ends: it is not lost."""
    words = [*map(d.delta, WORDS)]
    await said(visit, d.start, *words[:4], d.finish, *words[4:], d.end)


@row(dialects=(OPENAI,))
async def usage_after_the_finish_reason(visit: Visit, d: Dialect) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    late = data({"id": "c1", "model": "m", "choices": [], "usage": usage})
    await said(visit, d.answer().removesuffix(d.end), late, d.end, late)


@row(dialects=SSE)
async def a_mark_of_byte_order_in_pieces(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED)
    for byte in (b"\xef", b"\xbb", b"\xbf"):
        await visit.send(chunk(byte))
        await asyncio.sleep(0.01)
    await visit.send(chunk(d.answer()) + LAST)


@row(text="Hello, w\ufffd(\ufffdrld!", dialects=ALL)
async def bytes_that_are_no_utf_8(visit: Visit, d: Dialect) -> None:
    await said(visit, d.answer().replace("ö".encode(), b"\xc3\x28\xff"))


@row(ProtocolError, dialects=ALL)
async def half_of_a_pair(visit: Visit, d: Dialect) -> None:
    """A surrogate by itself, as an escape: no text, and must not come out as one."""
    await said(visit, d.answer("@", "!").replace(b"@", b"\\ud83d"))


@row(ProtocolError, dialects=ALL)
async def a_pair_over_two_deltas(visit: Visit, d: Dialect) -> None:
    await said(
        visit, d.answer("@", "#").replace(b"@", b"\\ud83d").replace(b"#", b"\\ude00")
    )


@row(text="a\x00b", dialects=ALL)
async def a_nul_in_the_text(visit: Visit, d: Dialect) -> None:
    await said(visit, d.answer("a\x00b"))


@row(dialects=SSE)
async def fields_with_a_nul(visit: Visit, d: Dialect) -> None:
    await said(visit, b"id: a\0b\nretry: 5\0\nx\0y: z\n: \0\n", d.answer())


@row(dialects=SSE)
async def retry_fields_that_mean_nothing(visit: Visit, d: Dialect) -> None:
    noise = b"retry: -5\nretry: 1e9\nretry: " + b"9" * 5000 + b"\nretry:\nretry\n"
    words = [noise + d.delta(word) for word in WORDS]
    await said(visit, d.start, *words, d.finish, noise, d.end)


@row(dialects=ALL)
async def the_last_line_without_its_end(visit: Visit, d: Dialect) -> None:
    await said(visit, d.answer().rstrip(b"\n"))


@row(dialects=ALL)
async def every_line_end_by_itself(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED)
    for line in d.answer().replace(b"\n", b"\r\n").split(b"\n")[:-1]:
        await visit.send((chunk(line[:-1]) if line[:-1] else b"") + chunk(b"\r"))
        await asyncio.sleep(0)
        await visit.send(chunk(b"\n"))
    await visit.send(LAST)


@row(dialects=(OPENAI, GOOGLE))
async def events_with_other_names(visit: Visit, d: Dialect) -> None:
    await said(
        visit, b"event: message\n", d.answer().replace(b"\n\ndata", b"\n\nid: 7\ndata")
    )


@row(ProtocolError)
async def more_zeros_than_there_are_numbers(visit: Visit, d: Dialect) -> None:
    usage = b'"usage":{"prompt_tokens":1e400,"completion_tokens":-7},"prompt_eval_count":1e400,'
    await said(
        visit,
        d
        .answer()
        .replace(b'{"model"', b"{" + usage + b'"model"')
        .replace(b'{"id"', b"{" + usage + b'"id"'),
    )


for _number, _value in enumerate((b"5", b"true", b"{}", b"[[]]", b"NaN", b"1e999")):

    @row(ProtocolError, text="Hel", dialects=ALL, name=f"text_that_is_none_{_number}")
    async def no_text(visit: Visit, d: Dialect, value: bytes = _value) -> None:
        await said(visit, d.answer("Hel", "@").replace(b'"@"', value))


for _number, _value in enumerate((
    b"null",
    b"[]",
    b'"hi"',
    b"7",
    b"{}",
    b'{"choices": []}',
    b'{"choices": null, "candidates": 5}',
)):

    @row(
        StreamInterruptedError,
        ProtocolError,
        requests=(1, 3),
        dialects=ALL,
        name=f"a_document_that_is_no_answer_{_number}",
    )
    async def no_answer(visit: Visit, d: Dialect, value: bytes = _value) -> None:
        await visit.send(plain(value))


@row(ProtocolError, dialects=(OPENAI,))
async def a_document_and_something_more(visit: Visit, d: Dialect) -> None:
    whole = {
        **_choice({}),
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": SAID},
            }
        ],
    }
    await visit.send(plain(dumps(whole) + b"}garbage"))


@row(text="", memory=64, dialects=(OPENAI,))
async def tool_calls_without_end(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED + chunk(d.start))
    for number in range(5_000):
        call = {
            "index": number * 10**6,
            "id": f"c{number}",
            "function": {"name": "f", "arguments": ""},
        }
        await visit.send(chunk(data(_choice({"tool_calls": [call]}))))
    await visit.send(chunk(d.finish + d.end) + LAST)


# --- time ---------------------------------------------------------------------------------


@row(
    DeadlineError, requests=1, deadlines=Deadlines(idle=0.3, first_byte=0.3, total=0.6)
)
async def a_byte_now_and_then(visit: Visit, d: Dialect) -> None:
    """Always within *idle*, and never done: *total* ends it."""
    await visit.send(CHUNKED)
    for byte in b"data: " + b"x" * 10_000:
        await visit.send(chunk(bytes([byte])))
        await asyncio.sleep(0.05)


@row(
    DeadlineError,
    text="Hel",
    dialects=SSE,
    memory=16,
    deadlines=Deadlines(idle=0.3, stall=0.5, first_byte=0.3),
)
async def comments_for_ever(visit: Visit, d: Dialect) -> None:
    """Megabytes of keep-alives are no progress."""
    await visit.send(CHUNKED + chunk(d.start + d.delta("Hel")))
    while True:
        await visit.send(chunk(b": " + b"c" * 50_000 + b"\n\n" + d.ping))
        await asyncio.sleep(0.005)


@row(
    DeadlineError,
    text="Hel",
    dialects=(OLLAMA,),
    deadlines=Deadlines(idle=0.3, stall=0.5, first_byte=0.3),
)
async def blank_lines_for_ever(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED + chunk(d.delta("Hel")))
    while True:
        await visit.send(chunk(d.ping))
        await asyncio.sleep(0.02)


@row(DeadlineError, requests=3, deadlines=QUICK)
async def a_status_line_that_trickles(visit: Visit, d: Dialect) -> None:
    for byte in b"HTTP/1.1 200 " + b"O" * 10_000:
        await visit.send(bytes([byte]))
        await asyncio.sleep(0.02)


@row(ServerError, requests=3, deadlines=QUICK)
async def an_error_that_trickles(visit: Visit, d: Dialect) -> None:
    """The status has said it; its body is not waited for."""
    await visit.send(b"HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n")
    await visit.left()


@row(dialects=ALL)
async def the_end_of_the_body_comes_late(visit: Visit, d: Dialect) -> None:
    await visit.send(CHUNKED + chunk(d.answer()))
    await asyncio.sleep(0.02)
    await visit.send(LAST)


# --- refusals -----------------------------------------------------------------------------


def once(refusal: bytes) -> Behaviour:
    """Refuse the first request, and answer the next."""

    async def does(visit: Visit, d: Dialect) -> None:
        if visit.number > 1:
            return await visit.send(good(d))
        await visit.send(refusal)
        visit.writer.close()

    return does


_NONSENSE = {
    "negative": "-1",
    "endless": "1e308",
    "no_number": "NaN",
    "infinite": "inf",
    "past": "Wed, 21 Oct 2015 07:28:00 GMT",
    "local": "Mi, 21 Okt 2015 07:28:00 MEZ",
    "impossible": "Wed, 99 Foo 99999 99:99:99 GMT",
    "empty": "",
    "list": "0, 5",
    "words": "soon",
    "hex": "0x10",
    "underscore": "1_0",
    "long": "9" * 6000,
    "unicode": "\u0665".encode().decode("latin-1"),
}
for _name, _wait in _NONSENSE.items():
    row(requests=2, name=f"retry_after_{_name}")(
        once(
            plain(b"{}", "429 No", f"retry-after: {_wait}", f"retry-after-ms: {_wait}")
        )
    )

row(requests=2, name="told_to_try_a_bad_request_again")(
    once(plain(b"{}", "400 No", "x-should-retry: true"))
)
row(ServerError, name="told_not_to_try_a_broken_server_again")(
    once(plain(b"{}", "500 No", "x-should-retry: false"))
)
row(requests=2, name="told_nonsense_about_trying_again")(
    once(plain(b"{}", "500 No", "x-should-retry: perhaps"))
)
row(ServerError, None, text=None, requests=(1, 2), name="told_both_about_trying_again")(
    once(plain(b"{}", "500 No", "x-should-retry: true", "x-should-retry: false"))
)
row(requests=2, name="hung_up_without_a_word")(once(b""))

_BODIES = {
    "nothing": b"",
    "page": b"<html><title>Bad</title>" + b"<p>" * 50_000,
    "no_utf_8": b"\xff\xfe\x00" * 50,
    "list": b"[1, 2]",
    "text": b'"broken"',
    "null": b"null",
    "deep": b"[" * 100_000,
    "odd": b'{"error": {"message": {"a": [1]}, "code": [], "type": 5}}',
    "nested": b'{"error": {"error": {"error": "x"}}}',
    "surrogate": b'{"error": {"message": "\\ud83d"}}',
}
for _name, _body in _BODIES.items():

    @row(ServerError, requests=3, dialects=ALL, name=f"an_error_of_{_name}")
    async def refuses(visit: Visit, d: Dialect, body: bytes = _body) -> None:
        await visit.send(plain(body, "500 No"))


@row(AuthenticationError, dialects=ALL)
async def the_key_comes_back_in_everything(visit: Visit, d: Dialect) -> None:
    body = dumps({
        "error": {"message": f"Bad {KEY}", "code": KEY, "type": KEY, "param": KEY}
    })
    await visit.send(
        plain(
            body,
            f"401 {KEY}",
            f"www-authenticate: Bearer {KEY}",
            f"x-request-id: {KEY}",
            f"request-id: {KEY}",
            f"retry-after: {KEY}",
        )
    )


@row(ProtocolError, text="Hel", dialects=ALL)
async def the_key_comes_back_in_garbage(visit: Visit, d: Dialect) -> None:
    await said(
        visit, d.start, d.delta("Hel"), b'data: {"k": "' + KEY.encode() + b"\n\n"
    )


#: `Transport._refusal` says ``netloc``, and `urlsplit` may raise.
_REDIRECTS = {
    "with_a_password": "http://user:hunter2@elsewhere.example/x",
    "with_the_key": f"http://{KEY}:x@elsewhere.example/{KEY}?key={KEY}",
    "to_nowhere": "http://[::1",
    "to_no_port": "http://elsewhere.example:port/",
    "to_javascript": "javascript:alert(1)",
    "without_a_place": "",
    "of_bytes": "\xff\xfe//\x80",
}
for _name, _place in _REDIRECTS.items():

    @row(
        RedirectError,
        dialects=ALL,
        name=f"redirected_{_name}",
    )
    async def redirects(visit: Visit, d: Dialect, to: str = _place) -> None:
        await visit.send(plain(b"", "307 There", f"location: {to}"))


@row(RedirectError)
async def redirected_without_a_word(visit: Visit, d: Dialect) -> None:
    await visit.send(plain(b"", "302 There"))


@row(RedirectError)
async def not_modified(visit: Visit, d: Dialect) -> None:
    await visit.send(b"HTTP/1.1 304 Not Modified\r\n\r\n")


# --- the table ----------------------------------------------------------------------------


CASES = [
    pytest.param(each, dialect, id=f"{each.name}-{dialect}")
    for each in ROWS
    for dialect in each.dialects
]


def client_of(dialect: Dialect, url: str, **settings: Any) -> Client:
    usual: dict[str, Any] = {
        "deadlines": Deadlines(connect=2, first_byte=5, idle=5, total=20),
        "max_retries": 2,
        "retry_backoff": 0.0,
        "max_connections": 1,
    }
    config = ClientConfig(
        provider=dialect.provider,
        model="m",
        api_key=KEY,
        base_url=url,
        **{**usual, **settings},
    )
    return Client.from_config(config, environ={})


@pytest.mark.parametrize(("case", "dialect"), CASES)
async def test_a_fault(
    case: Row, dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    """Right text or right error, right number of requests, and nothing left or let out."""
    # S4, S5, S6, D1, D2, R1, R2, R3, C1, C3, I1, I2, I3, X1, X2
    caplog.set_level(logging.DEBUG)

    async def behave(visit: Visit) -> None:
        await case.does(visit, dialect)

    with Elsewhere(Server(behave)) as there:
        server = there.server
        async with client_of(dialect, server.url, **case.settings) as client:
            if case.memory:
                tracemalloc.start()
            said, error = await outcome(client)
            if case.memory:
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                assert peak < case.memory * MIB
            asked = server.requests
            assert acquired(client) == 0
            await cleared()
            server.behave = lambda visit: visit.send(good(dialect))
            assert await outcome(client) == (SAID, None)
        for visit in server.visits:
            async with asyncio.timeout(2):
                await there.there(visit.gone.wait())
    if error is None:
        assert None in case.errors
    else:
        assert isinstance(error, tuple(e for e in case.errors if e)), repr(error)
        assert error.attempts == asked
        assert not error.retryable
        told = "".join(traceback.format_exception(error)) + repr(vars(error))
        assert KEY not in told
        assert "hunter2" not in told
        assert (error.partial.text if error.partial else "") == said
    if case.text is not None:
        assert said == case.text
    said.encode()
    assert "EVIL" not in said
    assert case.requests[0] <= asked <= case.requests[1], asked
    assert KEY not in caplog.text


async def outcome(client: Client) -> tuple[str, AIChatError | None]:
    """What is said, and how it ends."""
    said = ""
    async with asyncio.timeout(20):
        try:
            async for chunk in client.stream("Hi"):
                if isinstance(chunk, TextDelta):
                    said += chunk.text
        except AIChatError as error:
            return said, error
    return said, None


class Curt:
    """Answers as soon as it has seen the head of a request, and does not read on."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.visits = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, limit=2**12
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._over = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.append(writer)
        self.visits += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._answer)


@pytest.mark.parametrize("status", [400, 413])
async def test_a_refusal_before_the_request_was_read(status: int) -> None:
    """Who has heard enough of a long request says so, and is heard; what is left is dropped."""
    # C1, R1
    body = b'{"error": {"message": "Too much."}}'
    with Elsewhere(Curt(plain(body, f"{status} No"))) as there:
        async with client_of(OPENAI, there.server.url) as client:
            before = sockets()
            async with asyncio.timeout(10):
                with pytest.raises(BadRequestError, match="Too much") as caught:
                    await client.complete("x" * 20 * MIB)
                await cleared()
            assert acquired(client) == pooled(client) == 0
            if before is not None:
                # The server's own: it has not noticed, since it does not read.
                assert sockets() == before + 1
        assert there.server.visits == caught.value.attempts == 1


async def test_hung_up_on_a_connection_that_was_reused() -> None:
    """The server has closed it as our request was on its way: that one is sent again."""

    # R1, C3
    async def behave(visit: Visit) -> None:
        if visit.number == 1 and server.requests == 2:
            visit.writer.close()
        else:
            await visit.send(good(OPENAI))

    with Elsewhere(Server(behave)) as there:
        server = there.server
        async with client_of(OPENAI, server.url) as client:
            assert await outcome(client) == (SAID, None)
            assert await outcome(client) == (SAID, None)
        assert (server.requests, len(server.visits)) == (3, 2)
