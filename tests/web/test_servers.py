"""Streams behind real web servers, with clients that stay and clients that leave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from attrs import frozen
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from aichat import (
    Client,
    ProviderUnavailableError,
    RateLimitError,
    TextDelta,
    collect,
)
from aichat.testing import FakeProvider, Simulator
from aichat.web import SSE_HEADERS, from_sse, sse_response, to_openai_sse, to_sse
from aichat.web.aiohttp import sse_response as aiohttp_response
from aichat.web.starlette import EventResponse

from ..elsewhere import Elsewhere, acquired
from ..simulated import KEY, Target

Ask = Callable[[], AsyncIterator[Any]]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def asgi_server(app: Any) -> AsyncIterator[str]:
    """*app* behind uvicorn, in this loop."""
    config = uvicorn.Config(
        app, port=free_port(), log_level="critical", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not server.started:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0.001)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def aiohttp_server(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def plain(ask: Ask) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await sse_response(scope, receive, send, ask(), headers={"X-Mine": "1"})

    return asgi_server(app)


def starlette(ask: Ask) -> Any:
    async def chat(request: Request) -> Response:
        await request.body()
        return EventResponse(ask(), headers={"X-Mine": "1"})

    return asgi_server(Starlette(routes=[Route("/", chat)]))


def fastapi(ask: Ask) -> Any:
    app = FastAPI()

    @app.get("/")
    async def chat() -> EventResponse:
        return EventResponse(to_sse(ask()), headers={"X-Mine": "1"})

    return asgi_server(app)


def aiohttp_web(ask: Ask) -> Any:
    async def chat(request: web.Request) -> web.StreamResponse:
        return await aiohttp_response(request, ask(), headers={"X-Mine": "1"})

    return aiohttp_server(chat)


SERVERS = [plain, starlette, fastapi, aiohttp_web]
Serve = Callable[[Ask], Any]


@pytest.mark.parametrize("serve", SERVERS)
async def test_an_answer(serve: Serve) -> None:
    """With headers that keep caches and proxies from holding it back."""
    client = Client({"fake": FakeProvider(["Hello, world!"])}, model="fake:any")
    async with (
        serve(lambda: client.stream("Hi")) as url,
        aiohttp.ClientSession() as browser,
        browser.get(url) as response,
    ):
        assert response.status == 200
        for name, value in {**SSE_HEADERS, "x-mine": "1"}.items():
            assert response.headers.getall(name) == [value]
        assert "content-length" not in response.headers
        answer = await collect(from_sse(response.content.iter_any()))
    assert answer.text == "Hello, world!"


@pytest.mark.parametrize("serve", SERVERS)
async def test_an_answer_that_fails_at_once(serve: Serve) -> None:
    """A status, and a body that tells what can be acted on."""
    replies = [RateLimitError("secret", retry_after=2.6), ProviderUnavailableError("?")]
    client = Client({"fake": FakeProvider(replies)}, model="fake:any")
    async with (
        serve(lambda: client.stream("Hi")) as url,
        aiohttp.ClientSession() as browser,
    ):
        async with browser.get(url) as response:
            assert response.status == 429
            assert response.headers["retry-after"] == "3"
            assert response.headers["x-mine"] == "1"
            assert response.content_type == "application/json"
            assert (await response.json())["error"]["code"] == "rate_limit"
            assert "secret" not in await response.text()
        async with browser.get(url) as response:
            assert response.status == 503
            assert "retry-after" not in response.headers


@pytest.mark.parametrize("serve", SERVERS)
async def test_an_answer_that_fails_later(serve: Serve) -> None:
    """An event."""
    script: list[Any] = [TextDelta("Hi"), RateLimitError("secret")]
    client = Client({"fake": FakeProvider([script])}, model="fake:any")

    async def paced() -> AsyncIterator[Any]:
        async for chunk in client.stream("Hi"):
            yield chunk
            await asyncio.sleep(0.01)

    async with (
        serve(paced) as url,
        aiohttp.ClientSession() as browser,
        browser.get(url) as response,
    ):
        assert response.status == 200
        with pytest.raises(RateLimitError) as caught:
            await collect(from_sse(response.content.iter_any()))
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hi"


# -- leaving -------------------------------------------------------------------------------


@frozen
class Browser:
    """A connection that can be cut."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def get(cls, url: str) -> Browser:
        host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return cls(reader, writer)

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def soon(condition: Callable[[], bool], seconds: float = 2.0) -> float:
    """How long it takes."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() < began + seconds
        await asyncio.sleep(0.002)
    return loop.time() - began


@pytest.mark.parametrize("said", [0, 2])
@pytest.mark.parametrize("serve", SERVERS)
async def test_the_browser_goes_away(serve: Serve, said: int) -> None:
    """While the model thinks, before or after its first words: the provider sees it at once."""
    # C1
    target = Target("openai-chat", "openai-chat", "gpt-5.1")
    with Elsewhere(Simulator(api_keys=[KEY])) as there:
        async with target.client(there.server) as client:
            there.server.fail_next("stall", after=said)
            async with serve(lambda: client.stream("Hi")) as url:
                browser = await Browser.get(url)
                if said:
                    await browser.reader.readuntil(b"text_delta")
                await soon(lambda: there.server.active == 1)
                assert there.server.disconnects == 0
                await browser.leave()
                took = await soon(lambda: there.server.disconnects == 1)
                assert took < 1
                await there.there(there.server.idle())
                assert acquired(client) == 0


@pytest.mark.parametrize("serve", SERVERS)
async def test_the_browser_does_not_read(serve: Serve) -> None:
    """Then it goes: the model is let go although the server is stuck with its words."""
    # C1, C6
    closed = asyncio.Event()
    said = 0

    async def endless() -> AsyncIterator[TextDelta]:
        nonlocal said
        try:
            while True:
                said += 1
                yield TextDelta("x" * 10_000)
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with serve(endless) as url:
        browser = await Browser.get(url)
        await browser.reader.readuntil(b"text_delta")
        before = -1
        while said != before:
            before = said
            await asyncio.sleep(0.1)
        assert not closed.is_set()
        browser.writer.transport.abort()
        await soon(closed.is_set)


async def test_the_browser_says_good_bye_and_does_not_read() -> None:
    """The connection stays, with what nobody reads in it; aiohttp is closing it."""
    # C1
    closed = asyncio.Event()

    async def wordy() -> AsyncIterator[TextDelta]:
        try:
            for _ in range(3000):
                yield TextDelta("x" * 10_000)
            await asyncio.sleep(100)
        finally:
            closed.set()

    async with aiohttp_web(wordy) as url:
        browser = await Browser.get(url)
        await browser.reader.readuntil(b"text_delta")
        await asyncio.sleep(0.1)
        assert not closed.is_set()
        browser.writer.write_eof()
        await soon(closed.is_set)
        browser.writer.transport.abort()


async def test_starlettes_own_response() -> None:
    """It takes the bytes too, and sees a client go with the next heartbeat."""
    closed = asyncio.Event()

    async def slow() -> AsyncIterator[TextDelta]:
        try:
            yield TextDelta("a")
            await asyncio.sleep(100)
        finally:
            closed.set()

    async def chat(request: Request) -> Response:
        events = to_openai_sse(slow(), heartbeat=0.02)
        return StreamingResponse(events, headers=dict(SSE_HEADERS))

    async with asgi_server(Starlette(routes=[Route("/", chat)])) as url:
        browser = await Browser.get(url)
        await browser.reader.readuntil(b"\n:\n")
        await browser.leave()
        await soon(closed.is_set)


async def test_background_work() -> None:
    """Starlette's, after the answer."""
    done: list[str] = []

    async def chat(request: Request) -> Response:
        task = BackgroundTask(done.append, "done")
        client = Client({"fake": FakeProvider(["Hi"])}, model="fake:any")
        return EventResponse(client.stream("Hi"), background=task)

    async with (
        asgi_server(Starlette(routes=[Route("/", chat)])) as url,
        aiohttp.ClientSession() as browser,
        browser.get(url) as response,
    ):
        await response.read()
        await soon(lambda: bool(done))


# -- ASGI by hand --------------------------------------------------------------------------


async def by_hand(send: Callable[[Any], Awaitable[None]]) -> None:
    async def receive() -> Any:
        await asyncio.sleep(100)

    client = Client({"fake": FakeProvider(["Hi"])}, model="fake:any")
    await sse_response({"type": "http"}, receive, send, client.stream("Hi"))


async def test_a_server_that_tells_in_send() -> None:
    """ASGI 2.4: an `OSError` there means that the client is gone, and is no failure."""

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError

    await by_hand(send)


async def test_the_messages() -> None:
    """A start, bodies, and an empty last one."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await by_hand(send)
    assert [m["type"] for m in sent][:2] == [
        "http.response.start",
        "http.response.body",
    ]
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert asyncio.all_tasks() == {asyncio.current_task()}
