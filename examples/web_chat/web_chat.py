"""
A chat in the browser: answers stream in, can be stopped, and come from a model of choice.

Run ``python examples/web_chat/web_chat.py`` and open the address that it prints. A simulator
answers, unless AI_PROVIDER, AI_API_KEY and AI_MODEL name somebody better; CHAT_MODELS may
offer more than one: ``openai:gpt-5.1,anthropic:claude-opus-5`` (whose keys must be set).

This file is the server; the page is four files beside it, without anything to build or to
fetch from elsewhere.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from aiohttp import web

from aichat import Client, InvalidRequestError, Message, assistant, user
from aichat.testing import Simulator
from aichat.web import error_body, to_sse
from aichat.web.aiohttp import sse_response

HERE: Final = Path(__file__).parent
PAGE: Final = ("index.html", "style.css", "chat.js", "markdown.js")
HEADERS: Final[Mapping[str, str]] = {
    # Nothing from elsewhere, and no text that becomes markup: whatever a model says, it
    # stays text.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}

CLIENT: Final = web.AppKey("client", Client)
MODELS: Final = web.AppKey("models", tuple[str, ...])


def make_app(client: Client, models: Sequence[str]) -> web.Application:
    """Make the application. Visitors choose among *models*, and no others."""
    app = web.Application(client_max_size=4 * 2**20)
    app[CLIENT], app[MODELS] = client, tuple(models)
    app.router.add_get("/", page)
    app.router.add_get(f"/{{name:{'|'.join(PAGE)}}}", page)
    app.router.add_get("/models", list_models)
    app.router.add_post("/chat", chat)
    return app


async def page(request: web.Request) -> web.FileResponse:
    """Send a file of the page."""
    name = request.match_info.get("name", "index.html")
    return web.FileResponse(HERE / name, headers=HEADERS)


async def list_models(request: web.Request) -> web.Response:
    """Say who can be asked, the default first."""
    return web.json_response(request.app[MODELS])


async def chat(request: web.Request) -> web.StreamResponse:
    """Stream the answer to a conversation. Who stops it ends it at its provider as well."""
    # Pages of others cannot send JSON without asking, and nobody here says yes.
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    asked = await request.json()
    try:
        if asked["model"] not in request.app[MODELS]:
            raise InvalidRequestError("There is no such model here.")
        messages = [message(turn) for turn in asked["messages"]]
        stream = request.app[CLIENT].stream(messages, model=asked["model"])
    except InvalidRequestError as error:
        return web.json_response(error_body(error, details=True), status=400)
    # The details of an error are for whoever runs this. On the internet, leave them out.
    return await sse_response(request, to_sse(stream, details=True))


def message(turn: Mapping[str, str]) -> Message:
    """A turn of the conversation, as the page keeps it."""
    return (user if turn["role"] == "user" else assistant)(turn["text"])


@asynccontextmanager
async def serving(
    app: web.Application, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve *app* at the address that this yields."""
    runner = web.AppRunner(app, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def main() -> None:
    """Serve until Ctrl-C."""
    if os.environ.get("AI_PROVIDER"):
        named = os.environ.get("CHAT_MODELS") or os.environ.get("AI_MODEL") or ""
        models = [name.strip() for name in named.split(",") if name.strip()]
        async with Client.from_env() as client:
            await serve(make_app(client, models))
    else:
        async with Simulator(pace=0.03) as simulator, simulated(simulator) as client:
            await serve(
                make_app(client, ["openai-chat:simulated", "anthropic:simulated"])
            )


def simulated(simulator: Simulator) -> Client:
    """Make a client of two providers, which both are *simulator*."""
    environ = {
        "AI_PROVIDER": "openai-chat",
        "AI_BASE_URL": simulator.base_url("openai-chat"),
        "OPENAI_API_KEY": "none-needed",
        "ANTHROPIC_BASE_URL": simulator.base_url("anthropic"),
        "ANTHROPIC_API_KEY": "none-needed",
    }
    return Client.from_env(environ)


async def serve(app: web.Application) -> None:
    """Serve *app*, and say where."""
    async with serving(app, port=int(os.environ.get("PORT", "8080"))) as url:
        print(f"Chat at {url}, until Ctrl-C.")
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
