"""
A web service behind API keys, with a limit for each of them.

Run ``python examples/web_service.py`` to see it at work, and with ``--serve`` to keep it:

    curl -N -H "authorization: Bearer …" -d '{"prompt": "Hi"}' http://127.0.0.1:8080/v1/ask
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import sys
from collections.abc import Mapping
from typing import Final

from _demo import demo_client
from aiohttp import ClientSession, typedefs as web_types, web

from aichat import (
    Client,
    Deadlines,
    InvalidRequestError,
    RateLimit,
    collect,
)
from aichat.middleware import rate_limit
from aichat.web import from_sse
from aichat.web.aiohttp import sse_response

CLIENT: Final = web.AppKey("client", Client)
OWNER: Final = web.RequestKey("owner", str)

#: For each key: three at once, and then one every twenty seconds.
LIMIT: Final = RateLimit.per_minute(3, burst=3)

#: Nobody waits for their turn: they are told at once when to come back (429).
DEADLINES: Final = Deadlines(pool=0.1, total=300)


def make_app(client: Client, owners: Mapping[str, str]) -> web.Application:
    """Make the service. *owners* has the name of each key's owner by `fingerprint`."""
    app = web.Application(middlewares=[protected(owners)], client_max_size=64 * 1024)
    limited = rate_limit(LIMIT, by=lambda request: request.user or "")
    app[CLIENT] = client.use(limited)
    app.router.add_post("/v1/ask", ask)
    return app


def fingerprint(key: str) -> str:
    """What to store instead of a key. (Long random keys need no slow hash; passwords do.)"""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def protected(owners: Mapping[str, str]) -> web_types.Middleware:
    """Let only those in who have a key."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: web_types.Handler
    ) -> web.StreamResponse:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        shown = fingerprint(key.strip())
        owner = ""
        for known, name in owners.items():
            # All of them, each in constant time: how long it takes tells nothing.
            if hmac.compare_digest(known, shown):
                owner = name
        if scheme.lower() != "bearer" or not owner:
            return web.json_response(
                {"error": "authentication_failed"},
                status=401,
                headers={"www-authenticate": "Bearer"},
            )
        request[OWNER] = owner
        return await handler(request)

    return middleware


async def ask(request: web.Request) -> web.StreamResponse:
    """Answer ``{"prompt": "…"}`` with server-sent events, or with a status and an error."""
    try:
        prompt = str((await request.json())["prompt"])
        stream = request.app[CLIENT].stream(
            prompt, user=request[OWNER], deadlines=DEADLINES
        )
    except (ValueError, TypeError, KeyError, InvalidRequestError):
        return web.json_response({"error": "no prompt"}, status=400)
    # Ends the call upstream when the caller goes away.
    return await sse_response(request, stream)


async def main() -> None:
    """Serve; and unless that is all, be a client with a good key and one without."""
    key = secrets.token_urlsafe(32)
    async with demo_client() as client:
        runner = web.AppRunner(make_app(client, {fingerprint(key): "alice"}))
        await runner.setup()
        try:
            serve = "--serve" in sys.argv
            await web.TCPSite(runner, "127.0.0.1", 8080 if serve else 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/ask"
            if serve:
                print(f"{url}\nThe key of alice is {key}")
                await asyncio.Event().wait()
            await try_it(url, key)
        finally:
            await runner.cleanup()


async def try_it(url: str, key: str) -> None:
    """Ask without a key, and then more often than is allowed."""
    async with ClientSession() as session:
        for shown in ("guessed", key, key, key, key):
            headers = {"authorization": f"Bearer {shown}"}
            body = {"prompt": "Who are you?"}
            async with session.post(url, json=body, headers=headers) as answer:
                if answer.status == 200:
                    response = await collect(from_sse(answer.content.iter_any()))
                    print(answer.status, response.text.splitlines()[0])
                else:
                    print(answer.status, await answer.text())


if __name__ == "__main__":
    asyncio.run(main())
