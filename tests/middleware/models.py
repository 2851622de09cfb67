"""Models that answer by a script, in the time of the loop; see `tests.transport.toys`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from copy import deepcopy
from typing import TypeAlias, cast

from aichat import AIChatError, ChatRequest, Handler, Middleware, StreamChunk, compose
from aichat.testing import check_stream, reply
from aichat.transport import CallEvent, listening

#: Chunks, seconds to wait, and what is raised.
Script: TypeAlias = Sequence[object]


def saying(text: str, *, after: float = 0.0, pace: float = 0.0) -> list[object]:
    """An answer of *text* that begins *after* seconds; *pace* comes before each further chunk."""
    start, first, *rest = reply(text)
    steps: list[object] = [after, start, first]
    for chunk in rest:
        steps += [pace, chunk]
    return steps


class Models:
    """
    A handler that plays a script for each model; a list of scripts, one after the other.

    Keeps what was asked and when, and what is under way.
    """

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts
        self.asked: list[str] = []
        self.requests: list[ChatRequest] = []
        self.at: list[float] = []
        #: When each stream was over, with its model.
        self.left: list[tuple[str, float]] = []
        self.active = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        loop = asyncio.get_running_loop()
        self.requests.append(request)
        self.asked.append(request.model)
        self.at.append(loop.time())
        self.active += 1
        try:
            for step in self._script(request.model):
                match step:
                    case AIChatError():
                        raise deepcopy(step)  # facts are written into it
                    case BaseException():
                        raise step
                    case 0 | 0.0:
                        pass
                    case int() | float():
                        await asyncio.sleep(step)
                    case _:
                        yield cast(StreamChunk, step)
        finally:
            self.active -= 1
            self.left.append((request.model, loop.time()))

    def _script(self, model: str) -> Script:
        match self._scripts[model]:
            case [list(), *_] as scripts:
                turn = min(self.asked.count(model), len(scripts))
                return cast(Script, scripts[turn - 1])
            case script:
                return script


class Call:
    """One call through *layers*, with everything that came of it."""

    def __init__(self, handler: Handler, *layers: Middleware) -> None:
        self._handler = compose(layers, handler)
        self.chunks: list[StreamChunk] = []
        self.events: list[CallEvent] = []

    async def read(self, request: ChatRequest) -> list[StreamChunk]:
        """All chunks, checked against the grammar. (S1)"""
        async with aclosing(self._handler(request)) as raw:
            stream = check_stream(raw)
            while True:
                # As a watcher does it: around each pull, never across a yield.
                with listening(self.events.append):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return self.chunks
                self.chunks.append(chunk)


def tasks() -> int:
    """How many tasks there are beside this one."""
    return len(asyncio.all_tasks()) - 1
