"""
Where the answers are: word by word while they are written, and whole when they are done.

This is all that a web process needs to know: it follows an answer as it grows.
"""

# What a pipeline is told is sent by `execute`.
# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from attrs import asdict, frozen
from redis.asyncio import Redis

from aichat import AIChatError, ChatResponse
from aichat.types import dumps, from_json, loads, to_json

__all__ = ["Answers", "Failed", "Piece"]

#: Seconds that an answer is kept. A job that comes back later than that is done again.
KEEP: Final = 24 * 60 * 60


@frozen
class Failed:
    """There is no answer, and no other attempt would bring one."""

    code: str
    message: str


@frozen
class Piece:
    """Some more text. With another *attempt* the answer begins anew: drop what you have."""

    attempt: int
    text: str


@frozen
class Answers:
    """The answers to the jobs of a queue."""

    redis: Redis
    queue: str

    async def begin(self, job: str) -> int | None:
        """Count an attempt, from 1; ``None`` if there is an answer already."""
        counter = self._key(job, "attempts")
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.exists(self._key(job, "answer"))
            pipe.incr(counter)
            pipe.expire(counter, KEEP)
            answered, attempt, _ = await pipe.execute()
        return None if answered else int(attempt)

    async def say(self, job: str, attempt: int, text: str) -> None:
        """Publish some more text."""
        await self.redis.xadd(
            self._key(job, "said"), {"attempt": attempt, "text": text}
        )

    async def end(self, job: str, outcome: ChatResponse | AIChatError) -> None:
        """Keep the outcome. If there is one already, that one stays."""
        if isinstance(outcome, AIChatError):
            kept = dumps(asdict(Failed(outcome.code, str(outcome))))
        else:
            kept = to_json(outcome)
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.set(self._key(job, "answer"), kept, ex=KEEP, nx=True)
            pipe.xadd(self._key(job, "said"), {"end": 1})
            pipe.expire(self._key(job, "said"), KEEP)
            await pipe.execute()

    async def get(self, job: str) -> ChatResponse | Failed | None:
        """The outcome; ``None`` if there is none yet."""
        kept = await self.redis.get(self._key(job, "answer"))
        if kept is None:
            return None
        facts = loads(kept)
        return Failed(**facts) if "code" in facts else from_json(ChatResponse, kept)

    async def follow(self, job: str) -> AsyncGenerator[Piece, None]:
        """Yield the text as it comes, from the beginning, and end where the answer ends."""
        key, last = self._key(job, "said"), b"0-0"
        while True:
            found: Any = await self.redis.xread({key: last}, block=1000)
            for _, entries in found or ():
                for last, fields in entries:  # noqa: B007 -- where to read on
                    if b"end" in fields:
                        return
                    yield Piece(int(fields[b"attempt"]), fields[b"text"].decode())

    def _key(self, job: str, what: str) -> str:
        # In braces, for a cluster: those of one job are in one place.
        return f"{self.queue}:{{{job}}}:{what}"
