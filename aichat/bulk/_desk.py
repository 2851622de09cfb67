"""A client in a loop and a thread of its own, and one engine for batch after batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Final, TypeAlias, final

from attrs import define, field

from .._client import Client
from ..errors import AIChatError, ClosedError, InvalidRequestError
from ..types import ChatRequest
from ._lines import BadLine, Line
from ._reader import Reader
from ._run import BulkResult, Prices, book_of, run_each

__all__ = ["Asked", "Desk", "Outcome"]

#: Seconds that the end may take.
_LEAVING: Final = 10.0


@final
@define(eq=False)
class Asked:
    """A line with somebody who waits for its result."""

    line: Line
    answer: asyncio.Future[BulkResult[Asked]]

    @property
    def id(self) -> str:
        """The id of the line."""
        return self.line.id

    @property
    def request(self) -> ChatRequest:
        """What the line asks for."""
        return self.line.request


#: What became of a line.
Outcome: TypeAlias = BadLine | BulkResult[Asked]


@final
@define(eq=False)
class Desk:
    """
    Answers batches, several at a time, with one client and one engine.

    Not in the loop of whoever asks: Ray's stands still while it waits for blocks and for
    room, and streams and their deadlines must not. `open` it once, and `close` it.
    """

    make: Callable[[], Client]
    concurrency: int
    patience: int
    prices: Prices
    #: Whether what ends it all is the error of each line that is left, and not raised.
    finish: bool
    options: Mapping[str, Any]
    loop: asyncio.AbstractEventLoop = field(init=False)
    #: Why there is no point in going on.
    _over: Exception | None = field(default=None, init=False)
    _ready: Future[None] = field(factory=Future, init=False)
    _thread: threading.Thread = field(init=False)
    _reader: Reader = field(init=False)
    _todo: asyncio.Queue[Asked] = field(init=False)
    _waiting: set[Asked] = field(factory=set, init=False)
    _answering: set[asyncio.Task[Any]] = field(factory=set, init=False)
    _enough: asyncio.Event = field(init=False)

    def open(self) -> None:
        """Start. Raises what making the client raises."""
        # A daemon: a process that ends without a word to us is not held up.
        self._thread = threading.Thread(
            target=self._run, name="aichat.bulk", daemon=True
        )
        self._thread.start()
        self._ready.result()

    def close(self) -> None:
        """End what is under way, close the client, and wait for it."""
        with suppress(RuntimeError):  # the loop is closed already
            self.loop.call_soon_threadsafe(self._enough.set)
        # The collector may call this in any thread.
        if threading.current_thread() is not self._thread:
            self._thread.join(_LEAVING)

    async def answer(self, lines: Iterable[bytes | BadLine]) -> list[Outcome]:
        """Answer a batch, in its order; within `loop`. Raises what ends it all."""
        found = [self._read(line) for line in lines]
        asked = [each for each in found if isinstance(each, Asked)]
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            for each in asked:
                self._ask(each)
            if asked:
                await asyncio.wait([each.answer for each in asked])
        finally:
            self._answering.discard(task)
            for each in asked:
                # Whoever has gone asks for nothing more.
                each.answer.cancel()
                self._waiting.discard(each)
        return [self._outcome(each) for each in found]

    def _read(self, line: bytes | BadLine) -> BadLine | Asked:
        if isinstance(line, BadLine):
            return line
        read = self._reader.read(0, line)
        if isinstance(read, BadLine):
            # There are no numbers here: its row says which one it is.
            said = read.error.message.removeprefix("Line 0: ")
            return BadLine(0, line, InvalidRequestError(said, operation="bulk"))
        return Asked(read, asyncio.get_running_loop().create_future())

    def _ask(self, asked: Asked) -> None:
        if self._over is not None:
            asked.answer.set_exception(self._over)
        else:
            self._waiting.add(asked)
            self._todo.put_nowait(asked)

    def _outcome(self, found: BadLine | Asked) -> Outcome:
        if isinstance(found, BadLine):
            return found
        error = found.answer.exception()
        if error is None:
            return found.answer.result()
        if self.finish and isinstance(error, AIChatError) and not self._enough.is_set():
            return BulkResult(found, error=error)
        raise copy(error)

    # -- within the thread -------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _live(self) -> None:
        async with self.make() as client:
            self._reader = Reader(client, Path("rows"), self.options)
            self._todo = asyncio.Queue()
            self._enough = asyncio.Event()
            self.loop = asyncio.get_running_loop()
            serving = asyncio.create_task(self._serve(client))
            self._ready.set_result(None)
            try:
                await self._enough.wait()
            finally:
                serving.cancel()
                await asyncio.wait([serving, *self._answering])

    async def _serve(self, client: Client) -> None:
        over: Exception = ClosedError("This worker has ended.")
        try:
            async with run_each(
                client,
                self._lines(),
                concurrency=self.concurrency,
                patience=self.patience,
                book=book_of(self.prices),
                brake=None,
                on_result=_hand_over,
            ) as results:
                async for _ in results:
                    pass
        except Exception as error:
            over = error
        finally:
            self._over = over
            for asked in self._waiting:
                if not asked.answer.done():
                    asked.answer.set_exception(over)

    async def _lines(self) -> AsyncGenerator[Asked, None]:
        while True:
            asked = await self._todo.get()
            if not asked.answer.done():
                yield asked


def _hand_over(result: BulkResult[Asked]) -> None:
    if not result.asked.answer.done():
        result.asked.answer.set_result(result)
