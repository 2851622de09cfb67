"""Providers that take their time, and files of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aichat import Client
from aichat.errors import AIChatError
from aichat.testing import reply
from aichat.types import ChatRequest, StreamChunk, Usage, dumps, loads

Answer = Callable[[ChatRequest, int], str | Exception]


def echo(request: ChatRequest, _: int) -> str:
    return f"You said: {request.messages[-1].text}"


class SlowProvider:
    """
    Answers after *seconds*, if there are no more than *room* at a time.

    *answer* gets the request and how often its prompt was asked before.
    """

    name = "slow"

    def __init__(
        self,
        answer: Answer = echo,
        *,
        seconds: float = 1.0,
        room: int = 10**9,
        refusal: Callable[[], AIChatError] | None = None,
    ) -> None:
        self.answer = answer
        self.seconds = seconds
        self.room = room
        self.refusal = refusal
        self.active = self.most = 0
        self.refused = 0
        #: How often each prompt was asked, and answered.
        self.asked: dict[str, int] = {}
        self.answered: dict[str, int] = {}
        self.requests: list[ChatRequest] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        prompt = request.messages[-1].text
        before = self.asked.get(prompt, 0)
        self.asked[prompt] = before + 1
        self.requests.append(request)
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            if self.refusal is not None and self.active > self.room:
                self.refused += 1
                raise self.refusal()
            if self.seconds:
                await asyncio.sleep(self.seconds)
            said = self.answer(request, before)
            if isinstance(said, Exception):
                raise said
            self.answered[prompt] = self.answered.get(prompt, 0) + 1
            usage = Usage(input_tokens=10, output_tokens=5)
            for chunk in reply(said, usage=usage, model=request.model_name):
                yield chunk
        finally:
            self.active -= 1


def client_of(provider: Any, model: str = "slow:any") -> Client:
    return Client({provider.name: provider}, model=model)


def write(path: Path, lines: Iterable[Mapping[str, Any] | str | object]) -> Path:
    """Write lines of JSON, or texts as they are."""
    texts = [line if isinstance(line, str) else dumps(line).decode() for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def prompts(path: Path, count: int) -> Path:
    """A file of so many requests: the prompt is the id."""
    return write(path, [{"id": f"q{i}", "prompt": f"q{i}"} for i in range(count)])


def rows(path: Path) -> list[dict[str, Any]]:
    return [loads(line) for line in path.read_bytes().splitlines()]


def ids(path: Path) -> list[str]:
    return [row["custom_id"] if "custom_id" in row else row["id"] for row in rows(path)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
