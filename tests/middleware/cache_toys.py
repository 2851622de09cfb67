"""A model with a script, and what else the tests of the cache need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from copy import copy
from typing import TypeAlias

from aichat import ChatRequest, ChatResponse, Handler, Middleware, StreamChunk, compose
from aichat.errors import AIChatError
from aichat.testing import check_stream, reply
from aichat.transport._events import CallEvent, listening
from aichat.types import collect

ASK = ChatRequest("Hi", "fake:m")

Step: TypeAlias = StreamChunk | float | BaseException


class Model:
    """Plays one script per request, the last one for ever; numbers are seconds to wait."""

    def __init__(self, *scripts: Iterable[Step]) -> None:
        self._scripts = [list(script) for script in scripts] or [list(reply("Hello!"))]
        self.requests: list[ChatRequest] = []
        self.active = 0

    @property
    def asked(self) -> int:
        return len(self.requests)

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        script = self._scripts[min(self.asked, len(self._scripts) - 1)]
        self.requests.append(request)
        self.active += 1
        try:
            for step in script:
                match step:
                    case float():
                        await asyncio.sleep(step)
                    case AIChatError():
                        raise copy(step)
                    case BaseException():
                        raise step
                    case _:
                        yield step
        finally:
            self.active -= 1


def around(model: Handler, middleware: Middleware) -> Handler:
    """*model* behind *middleware*, as a client would have it."""
    return compose([middleware], model)


async def answer(handler: Handler, request: ChatRequest = ASK) -> ChatResponse:
    """The whole answer; its stream is held against the grammar."""
    async with aclosing(check_stream(handler(request))) as chunks:
        return await collect(chunks)


async def told(handler: Handler, request: ChatRequest = ASK) -> list[str]:
    """What a cache says of a call: kinds and reasons."""
    events: list[CallEvent] = []
    async with aclosing(handler(request)) as chunks:
        with listening(events.append):
            await anext(chunks)
        async for _ in chunks:
            pass
    assert {(e.provider, e.model) for e in events} == {("fake", "m")}
    return [f"{event.kind}:{event.reason}" for event in events]
