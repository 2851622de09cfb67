"""The socket, over real ones."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import shutil
import ssl
import subprocess
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import RequestInfo
from aiohttp.http_exceptions import TransferEncodingError
from attrs import evolve
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aichat.errors import (
    AIChatError,
    ClosedError,
    ConfigError,
    DeadlineError,
    InvalidRequestError,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    RedirectError,
    ResponseTooLargeError,
    ServerError,
    StreamInterruptedError,
    TLSError,
)
from aichat.transport import HTTPRequest, Pool, PoolConfig, Transport
from aichat.transport._aiohttp import Session, _before_answer, _in_body, _tls
from aichat.types import Deadlines

from .servers import (
    CHUNKED,
    HEAD,
    LAST,
    Behaviour,
    Server,
    Visit,
    answers,
    chunk,
    says_nothing,
    talks_for_ever,
)
from .toys import ASK, GOOD, TOY, read, sse, text

KEY = "sk-0123456789abcdef"
#: Short, since these are real seconds.
SHORT = Deadlines(connect=0.2, first_byte=0.2, idle=0.2, stall=5, total=None, pool=None)


@asynccontextmanager
async def connected(
    behave: Behaviour, *, pool: PoolConfig | None = None, **settings: Any
) -> AsyncIterator[tuple[Server, Transport, HTTPRequest]]:
    """A server that behaves so, a transport to it, and a request for it."""
    settings.setdefault(
        "deadlines", Deadlines(first_byte=5, idle=5, connect=5, total=None)
    )
    async with Server(behave) as server:
        connections = Pool(pool or PoolConfig())
        t = Transport(name="real", send=connections.send, **settings)
        headers = {"Authorization": f"Bearer {KEY}"}
        try:
            yield server, t, evolve(ASK, base_url=server.url, headers=headers)
        finally:
            await t.aclose()
            await connections.aclose()


async def soon(event: asyncio.Event) -> None:
    """Within the 100 ms that are promised."""
    async with asyncio.timeout(0.1):
        await event.wait()


# --- what is sent and what comes back --------------------------------------------------


async def test_a_stream_over_a_real_socket() -> None:
    """The request as it is meant, the answer as it comes."""

    async def behave(visit: Visit) -> None:
        await visit.send(CHUNKED)
        for at in range(0, len(GOOD), 7):
            await visit.send(chunk(GOOD[at : at + 7]))
            await asyncio.sleep(0)
        await visit.send(LAST)

    async with connected(behave) as (server, t, ask):
        assert text(await read(t, evolve(ask, query={"a": "b c"}))) == "Hello"
    visit = server.visits[0]
    assert visit.request == b"POST /chat?a=b%20c HTTP/1.1"
    assert json.loads(visit.body) == {"q": "hi"}
    assert visit.headers["content-type"] == "application/json"
    assert visit.headers["accept-encoding"] == "identity"
    assert visit.headers["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in visit.headers


async def test_a_plain_value_over_a_real_socket() -> None:
    """A GET without a body."""

    async def behave(visit: Visit) -> None:
        await visit.send(b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"a":1}')

    async with connected(behave) as (server, t, ask):
        assert await t.fetch(evolve(ask, method="GET", body=None)) == {"a": 1}
    assert server.visits[0].request.startswith(b"GET /chat ")
    assert "content-type" not in server.visits[0].headers


async def test_a_long_body_is_sent_whole() -> None:
    """Megabytes of images, in pieces, without a warning from aiohttp."""
    async with connected(answers) as (server, t, ask):
        image = "x" * 3_000_000
        assert text(await read(t, evolve(ask, body={"image": image}))) == "Hello"
    assert json.loads(server.visits[0].body) == {"image": image}


async def test_what_is_packed_though_we_did_not_ask_is_unpacked() -> None:
    """Some gateways do as they like."""
    packed = gzip.compress(GOOD)

    async def behave(visit: Visit) -> None:
        await visit.send(
            HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
        )
        await visit.send(packed)

    async with connected(behave) as (_, t, ask):
        assert text(await read(t, ask)) == "Hello"


async def test_cookies_are_not_kept() -> None:
    """Whoever sets one does not get it back."""  # X3

    async def behave(visit: Visit) -> None:
        await visit.send(
            b"HTTP/1.1 200 OK\r\nset-cookie: a=b; path=/\r\ncontent-length: %d\r\n\r\n"
            % len(GOOD)
        )
        await visit.send(GOOD)

    async with connected(behave) as (server, t, ask):
        await read(t, ask)
        await read(t, ask)
    assert server.requests == 2
    assert "cookie" not in server.visits[0].headers


async def test_redirects_are_not_followed() -> None:
    """Not even to the same origin."""  # X2

    async def behave(visit: Visit) -> None:
        await visit.send(
            b"HTTP/1.1 307 x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
        )

    async with connected(behave) as (server, t, ask):
        with pytest.raises(RedirectError):
            await read(t, ask)
    assert server.requests == 1


async def test_the_environments_proxy_is_only_used_on_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable that somebody set for something else does not see the key."""  # X4
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with Server(answers) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with connected(answers) as (server, t, ask):
            await read(t, ask)
            assert (server.requests, proxy.requests) == (1, 0)
        async with connected(answers, pool=PoolConfig(trust_env=True)) as (
            server,
            t,
            ask,
        ):
            await read(t, ask)
            assert (server.requests, proxy.requests) == (0, 1)


# --- what goes wrong -------------------------------------------------------------------


async def garbage(visit: Visit) -> None:
    await visit.send(b"I am no HTTP\r\n\r\n")


async def long_header(visit: Visit) -> None:
    await visit.send(HEAD + b"x-long: " + b"x" * 100_000 + b"\r\n\r\n")


async def hangs_up(visit: Visit) -> None:
    visit.writer.close()


async def resets(visit: Visit) -> None:
    visit.reset()


BEFORE: list[tuple[Behaviour, type[AIChatError], bool]] = [
    (garbage, ProtocolError, True),
    (long_header, ResponseTooLargeError, False),
    (hangs_up, ProviderUnavailableError, True),
    (resets, ProviderUnavailableError, True),
    (says_nothing, DeadlineError, True),
]


@pytest.mark.parametrize(("behave", "error", "again"), BEFORE)
async def test_what_breaks_before_an_answer(
    behave: Behaviour, error: type[AIChatError], again: bool
) -> None:
    """Typed, unchained, without the key in any frame; retried where that helps."""  # R1, X1
    async with connected(behave, deadlines=SHORT) as (server, t, ask):
        with pytest.raises(error) as caught:
            await read(t, ask, max_retries=1)
        assert server.requests == caught.value.attempts == 1 + again
    assert caught.value.__cause__ is caught.value.__context__ is None
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    values = [
        list(f.f_locals.values())
        for f in frames
        if "/tests/" not in f.f_code.co_filename
    ]
    assert len(values) > 2
    assert KEY not in repr(values)


async def test_nobody_listens() -> None:
    """The error says where, and what the system said."""
    async with Server(answers) as server:
        url = server.url
    pool = Pool()
    t = Transport(name="x", send=pool.send)
    with pytest.raises(
        ProviderUnavailableError, match=r"Cannot connect to 127.0.0.1:\d+"
    ) as caught:
        await read(t, evolve(ASK, base_url=url), max_retries=0)
    assert caught.value.context["cause"] == "ClientConnectorError"
    assert isinstance(caught.value.context["errno"], int)
    await pool.aclose()


async def test_a_name_that_does_not_exist() -> None:
    """`.invalid` never does (RFC 2606)."""
    pool = Pool()
    t = Transport(name="x", send=pool.send)
    with pytest.raises((ProviderUnavailableError, DeadlineError)):
        await read(t, evolve(ASK, base_url="https://nowhere.invalid"), max_retries=0)
    await pool.aclose()


async def test_what_cannot_be_sent() -> None:
    """JSON has no form for it."""
    async with connected(answers) as (server, t, ask):
        with pytest.raises(InvalidRequestError, match="cannot be sent"):
            await read(t, evolve(ask, body={"x": object()}))
        with pytest.raises(ConfigError, match="leaves"):
            await read(t, evolve(ask, path="/../x"))
    assert server.requests == 0


def begins(then: Behaviour, head: bytes = CHUNKED, framed: bool = True) -> Behaviour:
    async def behave(visit: Visit) -> None:
        data = sse({"text": "a"}, {"text": "b"}, {"text": "c"})
        await visit.send(head + (chunk(data) if framed else data))
        # So that a RST does not overtake what was sent.
        await asyncio.sleep(0.02)
        await then(visit)

    return behave


async def bad_chunk(visit: Visit) -> None:
    await visit.send(b"zzz\r\n")
    await visit.left()


DURING: list[tuple[Behaviour, type[AIChatError]]] = [
    (begins(hangs_up), StreamInterruptedError),
    (begins(resets), StreamInterruptedError),
    (begins(Visit.left), DeadlineError),
    (
        begins(hangs_up, HEAD + b"content-length: 999\r\n\r\n", framed=False),
        StreamInterruptedError,
    ),
    (
        begins(hangs_up, HEAD + b"connection: close\r\n\r\n", framed=False),
        StreamInterruptedError,
    ),
]


@pytest.mark.parametrize(("behave", "error"), DURING)
async def test_what_breaks_in_the_middle(
    behave: Behaviour, error: type[AIChatError]
) -> None:
    """What had arrived comes out, then the error; and nothing is sent again."""  # S4, R1
    said = []
    async with connected(behave, deadlines=SHORT) as (server, t, ask):
        with pytest.raises(error) as caught:
            async for chunks in t.stream(ask, TOY):
                said += chunks
        assert text(said) == "abc"
        assert server.requests == 1
        await soon(server.visits[0].gone)
    assert caught.value.__cause__ is caught.value.__context__ is None


async def test_a_bad_chunk_size_is_noticed() -> None:
    """aiohttp's C parser never wakes the reader: our *idle* does."""  # I2
    async with connected(begins(bad_chunk), deadlines=SHORT) as (_, t, ask):
        with pytest.raises((DeadlineError, ProtocolError, StreamInterruptedError)):
            await read(t, ask)


async def test_what_had_arrived_before_a_break_is_not_lost() -> None:
    """aiohttp would drop what a slow reader has not fetched yet."""  # S4
    many, reading = 2000, asyncio.Event()

    async def behave(visit: Visit) -> None:
        await visit.send(CHUNKED + chunk(sse({"text": "x"})))
        await reading.wait()
        await visit.send(chunk(sse(*[{"text": "x"}] * many)))
        visit.writer.close()

    async with connected(behave) as (server, t, ask):
        lists = t.stream(ask, TOY)
        said = await anext(lists)
        reading.set()
        await server.visits[0].gone.wait()
        await asyncio.sleep(0.05)
        with pytest.raises(StreamInterruptedError, match="in the middle"):
            async for chunks in lists:
                said += chunks
    assert text(said) == "x" * (many + 1)


# --- leaving ---------------------------------------------------------------------------


async def test_a_finished_streams_connection_is_reused() -> None:
    """Also where the end of the body comes a little later than the end of the answer."""  # C3

    async def behave(visit: Visit) -> None:
        await visit.send(CHUNKED + chunk(GOOD))
        await asyncio.sleep(0.02)
        await visit.send(LAST)

    async with connected(behave) as (server, t, ask):
        for _ in range(3):
            assert text(await read(t, ask)) == "Hello"
    assert (server.requests, len(server.visits)) == (3, 1)


async def test_a_refused_requests_connection_is_reused() -> None:
    """The error's body has been read to its end."""  # C3

    async def behave(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 500 x\r\ncontent-length: 3\r\n\r\nno.")

    async with connected(behave) as (server, t, ask):
        for _ in range(2):
            with pytest.raises(ServerError):
                await read(t, ask, max_retries=0)
    assert (server.requests, len(server.visits)) == (2, 1)


@pytest.mark.parametrize(
    "way", ["aclose", "break", "cancel", "timeout", "raise", "client"]
)
async def test_the_server_sees_at_once_that_a_stream_was_left(way: str) -> None:
    """However it was left; nothing stays, and a pool of one still works."""  # C1
    async with connected(talks_for_ever, pool=PoolConfig(max_connections=1)) as (
        server,
        t,
        ask,
    ):
        reading = asyncio.Event()

        async def consume() -> None:
            async with aclosing(t.stream(ask, TOY)) as lists:
                async for _ in lists:
                    reading.set()
                    if way == "aclose":
                        break
                    if way == "raise":
                        raise KeyError(way)

        match way:
            case "aclose":
                await consume()
            case "break":
                async for _ in t.stream(ask, TOY):
                    break
            case "raise":
                with pytest.raises(KeyError):
                    await consume()
            case "timeout":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await consume()
            case "cancel" | _:
                task = asyncio.create_task(consume())
                await reading.wait()
                if way == "cancel":
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                else:
                    await t.aclose()
                    with pytest.raises(ClosedError):
                        await task
        await soon(server.visits[0].gone)
        assert not t._calls
        if way != "client":
            server.behave = answers
            assert text(await read(t, ask)) == "Hello"


async def test_the_server_sees_at_once_that_nobody_waits_for_its_answer() -> None:
    """Cancelled before there were headers."""  # C1
    async with connected(says_nothing) as (server, t, ask):
        task = asyncio.create_task(read(t, ask))
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await soon(server.visits[0].gone)


async def test_a_slow_consumer_slows_the_server_down() -> None:
    """Memory does not grow meanwhile."""  # C6
    sent = 0

    async def behave(visit: Visit) -> None:
        nonlocal sent
        await visit.send(CHUNKED)
        piece = chunk(sse({"text": "x" * 50_000}))
        for _ in range(2000):
            await visit.send(piece)
            sent += len(piece)

    async with connected(behave) as (_, t, ask), aclosing(t.stream(ask, TOY)) as lists:
        await anext(lists)
        before = -1
        while sent > before:
            before = sent
            await asyncio.sleep(0.05)
    assert sent < 20 * 2**20


INFO = RequestInfo(URL("http://x"), "POST", CIMultiDictProxy(CIMultiDict(key=KEY)))


@pytest.mark.parametrize(
    ("raised", "error", "words"),
    [
        (ConfigError("ours"), ConfigError, "ours"),
        (TimeoutError(), DeadlineError, "No connection in time"),
        (aiohttp.ConnectionTimeoutError("x"), DeadlineError, "No connection in time"),
        (aiohttp.ClientHttpProxyError(INFO, (), status=407), ProviderUnavailableError, "407"),
        (aiohttp.ClientResponseError(INFO, ()), ProtocolError, "not answer in HTTP"),
        (aiohttp.InvalidURL("http://user:secret@x"), ConfigError, "not valid"),
        (aiohttp.ServerDisconnectedError(), ProviderUnavailableError, "disconnected"),
        (aiohttp.ClientOSError(104, "reset"), ProviderUnavailableError, "reset"),
        (ssl.SSLError(1, "bad"), TLSError, "bad"),
        (RuntimeError("Session is closed"), ProviderError, "Session is closed"),
    ],
)  # fmt: skip
def test_every_exception_of_the_library_becomes_one_of_ours(
    raised: Exception, error: type[AIChatError], words: str
) -> None:
    """Those that a test cannot easily provoke as well."""  # R1, X1
    found = _before_answer(raised)
    assert type(found) is error
    assert words in found.message
    told = f"{found} {found.context}"
    assert KEY not in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ClosedError("ours"), ClosedError),
        (TransferEncodingError("zzz"), ProtocolError),
        (aiohttp.ClientPayloadError("cut"), StreamInterruptedError),
        (RuntimeError("Connection closed."), StreamInterruptedError),
    ],
)
def test_every_exception_of_a_body_becomes_one_of_ours(
    raised: Exception, error: type[AIChatError]
) -> None:
    """The pure-Python parser raises what the C parser does not."""  # I2
    assert type(_in_body(raised)) is error


# --- the pool --------------------------------------------------------------------------


async def test_waiting_for_a_connection_has_a_deadline() -> None:
    """With a cap on connections, streams may have to queue for one."""  # D1
    async with (
        connected(
            talks_for_ever, pool=PoolConfig(max_connections=1), deadlines=SHORT
        ) as (server, t, ask),
        aclosing(t.stream(ask, TOY)) as lists,
    ):
        await anext(lists)
        with pytest.raises(DeadlineError) as caught:
            await read(t, ask, deadlines=Deadlines(pool=0.05))
    assert caught.value.phase == "pool"
    assert server.requests == 1


async def test_an_answer_that_came_unasked_is_nobodys() -> None:
    """aiohttp would hand it to the next request."""  # I2

    async def behave(visit: Visit) -> None:
        await visit.send(CHUNKED + chunk(GOOD) + LAST)
        if visit.number == 1:
            await asyncio.sleep(0.02)
            await visit.send(CHUNKED + chunk(sse({"text": "EVIL"}, "[DONE]")) + LAST)

    async with connected(behave) as (server, t, ask):
        assert text(await read(t, ask)) == "Hello"
        await asyncio.sleep(0.1)
        assert text(await read(t, ask)) == "Hello"
    assert len(server.visits) == 2


async def test_no_more_idle_connections_than_agreed_upon() -> None:
    """The rest is closed after use."""
    async with connected(answers, pool=PoolConfig(max_idle=1)) as (server, t, ask):
        await asyncio.gather(*[read(t, ask) for _ in range(3)])
        await asyncio.sleep(0.05)
        assert [v.gone.is_set() for v in server.visits].count(False) == 1


async def test_a_closed_pool_sends_nothing() -> None:
    """And closing it again is harmless."""  # C4
    async with connected(answers) as (server, t, ask):
        pool = Pool()
        t = Transport(name="x", send=pool.send)
        await read(t, ask)
        await pool.aclose()
        await pool.aclose()
        assert pool.closed
        with pytest.raises(ClosedError):
            await read(t, ask)
    assert server.requests == 1


async def test_a_pool_closed_under_a_stream_ends_it() -> None:
    """With a typed error, though nobody told the transport."""  # C4
    async with connected(talks_for_ever) as (_, __, ask):
        pool = Pool()
        t = Transport(name="x", send=pool.send)
        async with aclosing(t.stream(ask, TOY)) as lists:
            await anext(lists)
            await pool.aclose()
            with pytest.raises(StreamInterruptedError):
                await anext(lists)


class ServerThread:
    """A `Server` in a loop of its own."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with Server(self._behave) as self.server:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> HTTPRequest:
        self._thread.start()
        self._ready.wait(5)
        return evolve(ASK, base_url=self.server.url)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


def test_one_pool_in_several_loops_one_after_the_other() -> None:
    """Each end of a loop closes what was opened in it, without a warning."""  # C5
    with ServerThread(answers) as ask:
        pool = Pool()
        t = Transport(name="x", send=pool.send)
        for _ in range(3):
            assert text(asyncio.run(read(t, ask))) == "Hello"
            gc.collect()
        # Closed by hand, without `shutdown_asyncgens`: asyncio itself complains.
        loop = asyncio.new_event_loop()
        assert text(loop.run_until_complete(read(t, ask))) == "Hello"
        loop.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            assert text(asyncio.run(read(t, ask))) == "Hello"
            gc.collect()
        asyncio.run(pool.aclose())


def test_one_pool_in_several_threads_at_once() -> None:
    """With a loop each."""  # C5
    said: list[str] = []
    with ServerThread(answers) as ask:
        pool = Pool()
        t = Transport(name="x", send=pool.send)

        async def some() -> None:
            answers = await asyncio.gather(*[read(t, ask) for _ in range(5)])
            said.extend(map(text, answers))

        threads = [
            threading.Thread(target=lambda: asyncio.run(some())) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        asyncio.run(pool.aclose())
    assert said == ["Hello"] * 25


def test_closing_from_another_threads_loop() -> None:
    """Streams and connections of every loop come to their end."""  # C4, C5
    outcome: list[object] = []
    reading = threading.Event()
    with ServerThread(talks_for_ever) as ask:
        pool = Pool()
        t = Transport(name="x", send=pool.send)

        async def stream() -> None:
            try:
                async for _ in t.stream(ask, TOY):
                    reading.set()
            except AIChatError as error:
                outcome.append(error)
            await asyncio.sleep(0.05)

        async def close() -> None:
            await t.aclose()
            await pool.aclose()

        thread = threading.Thread(target=lambda: asyncio.run(stream()))
        thread.start()
        assert reading.wait(5)
        asyncio.run(close())
        thread.join(5)
    assert [type(o) for o in outcome] == [ClosedError]


async def test_an_unclosed_pool_warns_once() -> None:
    """And its connections are closed all the same."""  # C4
    async with connected(answers) as (server, _, ask):
        pool = Pool()
        await read(Transport(name="x", send=pool.send), ask)
        forgotten = [pool]
        del pool
        with pytest.warns(ResourceWarning, match="not closed") as caught:
            forgotten.clear()
        assert len(caught) == 1
        # The warning has its source in hand.
        del caught
        gc.collect()
        await soon(server.visits[0].gone)
    Pool()  # never used: nothing to close


async def test_what_another_process_opened_is_left_alone() -> None:
    """After a fork the connections are the parent's."""  # C5
    session = Session(PoolConfig())
    assert session.usable
    session._process += 1
    assert not session.usable
    await session.aclose()
    assert not session._session.closed
    await session._session.close()
    await session.aclose()


SCRIPT = """
import asyncio, os, sys
from aichat.transport import Pool, Transport, HTTPRequest
from tests.transport.toys import read, text, TOY, ASK
from attrs import evolve

ask = evolve(ASK, base_url=sys.argv[1])
pool = Pool()
transport = Transport(name="x", send=pool.send)
"""
UNCLOSED = """
async def main():
    await read(transport, ask)
    global stream
    stream = transport.stream(ask, TOY)
    await anext(stream)
asyncio.run(main())
"""
FORKED = """
loop = asyncio.new_event_loop()
assert text(loop.run_until_complete(read(transport, ask))) == "Hello"
child = os.fork()
if not child:
    async def again():
        assert text(await read(transport, ask)) == "Hello"
        await pool.aclose()
    asyncio.run(again())
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert text(loop.run_until_complete(read(transport, ask))) == "Hello"
loop.run_until_complete(pool.aclose())
loop.close()
"""


async def run(script: str, url: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(SCRIPT + script), url),
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    return process.returncode, stderr.decode()


async def test_a_process_that_forgets_everything_ends_quietly() -> None:
    """No traceback, no "Unclosed client session"."""  # C4
    async with Server(answers) as server:
        assert await run(UNCLOSED, server.url) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
async def test_after_a_fork_both_have_their_own_connections() -> None:
    """The child opens its own and does not close its parent's."""  # C5
    async with Server(answers) as server:
        assert await run(FORKED, server.url) == (0, "")
    assert [server.requests, len(server.visits)] == [3, 2]


# --- TLS -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that nobody trusts, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("The openssl program makes the certificate.")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", cert, "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


async def test_certificates_are_verified(certificate: tuple[str, str]) -> None:
    """One that nobody signed is refused, once; one that we name is fine."""  # X2
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    async with Server(answers, tls=tls) as server:
        ask = evolve(ASK, base_url=server.url)
        pool = Pool()
        with pytest.raises(TLSError) as caught:
            await read(Transport(name="x", send=pool.send), ask)
        assert (caught.value.attempts, server.requests) == (1, 0)
        await pool.aclose()
        pool = Pool(PoolConfig(ca_file=certificate[0]))
        assert text(await read(Transport(name="x", send=pool.send), ask)) == "Hello"
        await pool.aclose()


async def test_leaving_a_stream_over_tls(certificate: tuple[str, str]) -> None:
    """No handshake of farewells with a peer that is busy sending."""  # C1
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    async with Server(talks_for_ever, tls=tls) as server:
        pool = Pool(PoolConfig(ca_file=certificate[0]))
        t = Transport(name="x", send=pool.send)
        async with aclosing(t.stream(evolve(ASK, base_url=server.url), TOY)) as lists:
            await anext(lists)
        await soon(server.visits[0].gone)
        await pool.aclose()


async def test_https_to_a_port_that_speaks_http() -> None:
    """A handshake that fails, not a connection that breaks."""

    async def plain(visit: Visit) -> None: ...

    async with Server(plain) as server:
        url = server.url.replace("http:", "https:")
        pool = Pool()
        t = Transport(name="x", send=pool.send, deadlines=SHORT)
        with pytest.raises((
            TLSError,
            DeadlineError,
            ProviderUnavailableError,
        )) as caught:
            await read(t, evolve(ASK, base_url=url), max_retries=0)
        if isinstance(caught.value, DeadlineError):
            assert caught.value.phase == "connect"
        await pool.aclose()


def test_the_environments_ca_file_is_only_used_on_request(
    certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenSSL would read it by itself."""  # X4
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    def names(config: PoolConfig) -> str:
        context = _tls(config)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        return repr(context.get_ca_certs())

    assert "127.0.0.1" in names(PoolConfig(trust_env=True))
    assert "127.0.0.1" not in names(PoolConfig())
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR")
    assert "127.0.0.1" not in names(PoolConfig())
    assert "127.0.0.1" in names(PoolConfig(ca_file=certificate[0]))


async def test_a_ca_file_has_to_be_one(tmp_path: Path) -> None:
    """Found when the configuration is made, or when it is first needed."""  # G1
    with pytest.raises(ConfigError, match="no file"):
        PoolConfig(ca_file=str(tmp_path / "missing.pem"))
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    pool = Pool(PoolConfig(ca_file=str(broken)))
    t = Transport(name="x", send=pool.send)
    with pytest.raises(ConfigError, match="cannot be read"):
        await read(t, evolve(ASK, base_url="https://127.0.0.1:1"))
    await pool.aclose()


def test_our_own_tls_settings_are_used() -> None:
    """For those who need a client certificate; and they are not shown."""
    context = ssl.create_default_context()
    config = PoolConfig(ssl_context=context)
    assert config.ssl_context is context
    assert "ssl_context" not in repr(config)


def test_importing_the_transport_does_not_import_aiohttp() -> None:
    """It is two thirds of the time that an import would take."""
    script = "import sys, aichat.transport; sys.exit('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == 0
