"""
A provider of your own, tried on a server that speaks like it.

Run ``python examples/own_provider/try_it.py``. The provider is the package beside this
script; once that is installed, nobody needs to register it: ``aichat providers`` lists it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aichat_parrot import SPEC
from aiohttp import web

from aichat import AIChatError, Client, Registry


async def main() -> None:
    """Let a parrot answer, and one that there is not."""
    registry = Registry()
    if SPEC.name not in registry:  # not installed
        registry.register(SPEC)
    async with parrot_server() as base_url:
        environ = {
            "AI_PROVIDER": "parrot",
            "AI_MODEL": "polly",
            "PARROT_API_KEY": "none-needed",
            "PARROT_BASE_URL": base_url,
        }
        async with Client.from_env(environ, registry=registry) as client:
            response = await client.complete("Hello, Polly! Pretty Polly!")
            print(response.text)
            print(f"[{response.provider}, {response.usage.output_tokens} crackers]")
            try:
                await client.complete("Hello?", model="parrot:dodo")
            except AIChatError as error:
                print(f"{error.code}: {error}")


@asynccontextmanager
async def parrot_server() -> AsyncIterator[str]:
    """Serve Parrot's API for a moment, and yield its base URL."""
    app = web.Application()
    app.router.add_post("/v1/squawk", squawk)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def squawk(request: web.Request) -> web.StreamResponse:
    """Repeat what was heard, word by word."""
    body = await request.json()
    if body["bird"] not in SPEC.models:
        error = {"code": "no_such_bird", "message": f"There is no {body['bird']} left."}
        return web.json_response({"error": error}, status=404)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    words = body["heard"][-1].split(" ")
    events = [{"says": f"{word} "} for word in words]
    for event in [*events, {"asleep": True, "crackers": len(words)}]:
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    await response.write_eof()
    return response


if __name__ == "__main__":
    asyncio.run(main())
