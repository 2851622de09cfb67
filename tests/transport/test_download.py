"""`Transport.download`: bodies too long to be held."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
from attrs import evolve

from aichat.errors import (
    AIChatError,
    BadRequestError,
    ClosedError,
    DeadlineError,
    ProviderUnavailableError,
    ResponseTooLargeError,
    StreamInterruptedError,
)
from aichat.transport import HTTPRequest, NDJSONDecoder, Pool, PoolConfig, Transport
from aichat.types import Deadlines

from .servers import CHUNKED, LAST, Server, Visit, chunk
from .toys import ASK, Outcome, ScriptedAnswer, refusal, transport, virtual, wire

GET = evolve(ASK, method="GET", body=None)


async def lines(of: Transport, **options: Any) -> list[list[bytes]]:
    """Everything that comes, read by read."""
    return [some async for some in of.download(GET, NDJSONDecoder, **options)]


async def test_pieces_as_they_come() -> None:
    """A list per network read, and the last line even without its end."""
    answer = ScriptedAnswer(b"1\n2\n3", b"3\n", b"4", b"4")
    assert await lines(transport(answer)) == [[b"1", b"2"], [b"33"], [b"44"]]


async def test_an_empty_body() -> None:
    """There is nothing in it, and nothing wrong with it."""
    assert await lines(transport(ScriptedAnswer())) == []


@virtual
async def test_failures_are_retried_until_the_first_piece() -> None:
    """A refusal, a broken connection, and half a line. (R1)"""
    of = transport(
        refusal(503),
        ProviderUnavailableError("Broken."),
        ScriptedAnswer(b"1", StreamInterruptedError("Cut.")),
        ScriptedAnswer(b"1\n"),
        budget=None,
    )
    assert await lines(of, max_retries=3) == [[b"1"]]
    assert len(wire(of).requests) == 4


async def test_nothing_is_retried_after_that() -> None:
    """What has been handed up cannot be taken back; the error is final. (R1)"""
    of = transport(ScriptedAnswer(b"1\n", StreamInterruptedError("Cut.")))
    async with aclosing(of.download(GET, NDJSONDecoder)) as reads:
        assert await anext(reads) == [b"1"]
        with pytest.raises(StreamInterruptedError) as caught:
            await anext(reads)
    assert not caught.value.retryable
    assert caught.value.attempts == 1


async def test_leaving_early_closes_the_connection() -> None:
    """At once. (C1)"""
    answer = ScriptedAnswer(b"1\n", float("inf"))
    async with aclosing(transport(answer).download(GET, NDJSONDecoder)) as reads:
        await anext(reads)
    assert answer.aborted


@virtual
async def test_a_server_that_falls_silent() -> None:
    """The idle deadline ends it. (D1)"""
    of = transport(ScriptedAnswer(b"1\n", float("inf")))
    with pytest.raises(DeadlineError) as caught:
        await lines(of, deadlines=Deadlines(idle=7))
    assert caught.value.phase == "idle"


async def test_an_error_of_the_framing() -> None:
    """It ends the download and the connection. (I1)"""
    answer = ScriptedAnswer(b"123456789", float("inf"))
    of = transport(answer)
    with pytest.raises(ResponseTooLargeError):
        async for _ in of.download(GET, lambda: NDJSONDecoder(max_line=5)):
            pass
    assert answer.aborted


async def test_the_providers_words_for_errors() -> None:
    """They count here as well."""

    class Special(BadRequestError):
        pass

    of = transport(refusal(400, b'{"error":{"code":"strange","message":"x"}}'))
    with pytest.raises(Special):
        await lines(of, error_codes={"strange": Special})


async def test_closing_the_transport() -> None:
    """It ends what is under way. (C4)"""
    of = transport(ScriptedAnswer(b"1\n", float("inf")))
    async with aclosing(of.download(GET, NDJSONDecoder)) as reads:
        await anext(reads)
        await of.aclose()
        with pytest.raises(ClosedError):
            await anext(reads)


# --- requests that must not be sent twice ---------------------------------------------

ONCE = evolve(ASK, repeatable=False)


@pytest.mark.parametrize(
    "outcome",
    [
        refusal(500),
        refusal(502),
        ProviderUnavailableError("The connection broke before an answer."),
        ScriptedAnswer(StreamInterruptedError("Cut.")),
    ],
)
async def test_what_may_have_arrived_is_not_sent_again(outcome: Outcome) -> None:
    """The error says why, and how often it was sent. (R1)"""
    of = transport(outcome)
    with pytest.raises(AIChatError, match="may have arrived") as caught:
        await of.fetch(ONCE)
    assert caught.value.attempts == 1
    assert "twice" in caught.value.context["gave_up"]


@virtual
async def test_what_was_turned_away_is_sent_again() -> None:
    """Too busy, or no connection: it was not taken. (R1)"""
    for outcome in (refusal(429), refusal(503), refusal(529)):
        assert await transport(outcome, ScriptedAnswer(b"1")).fetch(ONCE) == 1
    of = transport(ProviderUnavailableError("No route."), ScriptedAnswer(b"1"))
    wire(of).phases = ("pool", "connect")
    assert await of.fetch(ONCE) == 1


async def test_no_connection_over_a_real_socket() -> None:
    """Nobody listens there: it is tried again. (R1)"""
    pool = Pool(PoolConfig())
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    of = Transport(name="x", send=pool.send, sleep=sleep, budget=None)
    try:
        with pytest.raises(ProviderUnavailableError) as caught:
            await of.fetch(evolve(ONCE, base_url="http://127.0.0.1:9"), max_retries=2)
    finally:
        await pool.aclose()
    assert caught.value.attempts == 3
    assert len(slept) == 2


async def test_a_form_and_a_long_download_over_a_real_socket() -> None:
    """Bytes go out as they are, under their own type, and lines come in. (C3)"""
    body = b"--x\r\n\r\n" + bytes(range(256)) * 4096  # more than is written at once

    async def behave(visit: Visit) -> None:
        if visit.request.startswith(b"POST"):
            assert visit.body == body
            assert visit.headers["content-type"] == "multipart/form-data; boundary=x"
            assert int(visit.headers["content-length"]) == len(body)
            await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            return
        await visit.send(CHUNKED)
        for n in range(100):
            await visit.send(chunk(b'{"n":%d}\n' % n * 100))
        await visit.send(LAST)

    pool = Pool(PoolConfig())
    of = Transport(name="x", send=pool.send)
    async with Server(behave) as server:
        form = HTTPRequest(
            "/files",
            body,
            headers={"content-type": "multipart/form-data; boundary=x"},
            base_url=server.url,
        )
        try:
            assert await of.fetch(form) == {}
            found = await _all(of, evolve(GET, base_url=server.url))
            assert await of.fetch(form) == {}
        finally:
            await pool.aclose()
        assert len(found) == 10_000
        assert len(server.visits) == 1


async def _all(of: Transport, request: HTTPRequest) -> list[bytes]:
    found: list[bytes] = []
    async for some in of.download(request, NDJSONDecoder):
        found += some
    return found
