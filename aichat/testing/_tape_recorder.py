"""Recording: a `Send` that passes everything through and remembers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import final

from attrs import define, evolve, field

from ..errors import AIChatError, ConfigError
from ..transport import HTTPRequest, HTTPResponse, Phase, Pool, Send
from ._tape import (
    Answered,
    Asked,
    Ending,
    EndingKind,
    Exchange,
    Read,
    TapeError,
    save_tape,
)
from ._tape_secrets import Censor, asked, kept_headers

__all__ = ["Recorder", "record"]


@asynccontextmanager
async def record(
    path: str | PathLike[str],
    *,
    send: Send | None = None,
    overwrite: bool = False,
    keep_headers: Iterable[str] = (),
    secrets: Iterable[str] = (),
) -> AsyncGenerator[Recorder, None]:
    """
    Record what a client sends and gets, and write it to *path* at the end.

    ::

        async with record("tests/weather.json") as send:
            async with Client.from_env(send=send) as client:
                await client.complete("What is the weather in Paris?")

    Keys are cut out wherever they occur, and so are *secrets*, texts of your own. Of the
    answers' headers only those are kept that aichat reads, and *keep_headers*. The content is
    kept: look at a tape before you share it. *send* is what really sends; without it there is
    a pool. Nothing is written if the block raises. Raises `ConfigError` for a file that
    exists, unless *overwrite*.
    """
    there = Path(path)
    if not overwrite:
        _check_free(there)
    also = frozenset(name.lower() for name in keep_headers)
    pool = Pool()
    recorder = Recorder(send or pool.send, Censor(secrets), also)
    try:
        yield recorder
    finally:
        recorder.close()
        await pool.aclose()
    save_tape(there, recorder.exchanges)


def _check_free(path: Path) -> None:
    if path.exists():
        raise ConfigError(
            f"There is a recording {str(path)!r} already: say overwrite=True to replace it."
        )


@final
class Recorder:
    """A `Send` that remembers. `record` makes one."""

    def __init__(self, send: Send, censor: Censor, also: frozenset[str]) -> None:
        self._send = send
        self._censor = censor
        self._also = also
        self._takes: list[_Take] = []
        self._closed = False

    async def __call__(
        self, request: HTTPRequest, enter: Callable[[Phase], None]
    ) -> HTTPResponse:
        """Send *request*."""
        if self._closed:
            raise TapeError("The recording is over: this request would not be on it.")
        take = _Take(asked(request))
        self._censor.learn(request)
        self._takes.append(take)

        def entering(phase: Phase) -> None:
            take.phase = phase
            enter(phase)

        try:
            response = await self._send(request, entering)
        except BaseException as error:
            take.failed(error)
            raise
        take.answered(response.status, kept_headers(response.headers, self._also))
        return _Recorded(response, take)

    def close(self) -> None:
        """Refuse what comes now."""
        self._closed = True

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What there has been so far, without secrets."""
        return tuple(self._censor.exchange(take.exchange()) for take in self._takes)

    def __repr__(self) -> str:
        return f"<Recorder of {len(self._takes)} requests>"


def _now() -> float:
    # The loop's clock is the one that deadlines go by.
    return asyncio.get_running_loop().time()


@define(eq=False)
class _Take:
    """An exchange that is being recorded."""

    _asked: Asked
    phase: Phase = "first_byte"
    _since: float = field(factory=_now)
    _answer: tuple[float, int, Mapping[str, str]] | None = None
    _reads: list[Read] = field(factory=list)
    #: As far as it is known; what arrives later proves it wrong.
    _ending: Ending | None = None

    @property
    def over(self) -> bool:
        return self._ending is not None

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self._answer = (self._lap(), status, headers)

    def arrived(self, data: bytes) -> None:
        if not data:
            self._end("eof")
            return
        self._ending = None
        self._reads.append(Read(self._lap(), data))

    def failed(self, error: BaseException) -> None:
        """Note what waiting has come to: an error of the network, or nothing at all."""
        if isinstance(error, AIChatError):
            self._end("error", error)
        else:
            self._end("silence")

    def given_up(self, *, waiting: bool) -> None:
        self._end("silence" if waiting else "left")

    def exchange(self) -> Exchange:
        answered = self._answer and Answered(*self._answer, reads=tuple(self._reads))
        ending = self._ending or Ending(0.0, "left", phase=self.phase)
        return Exchange(self._asked, answered, ending)

    def _end(self, kind: EndingKind, error: AIChatError | None = None) -> None:
        ms = round((_now() - self._since) * 1000, 1)
        self._ending = Ending(ms, kind, phase=self.phase)
        if error is not None:
            self._ending = evolve(
                self._ending,
                error=type(error).__name__,
                message=error.message,
                retryable=error.retryable,
            )

    def _lap(self) -> float:
        """Milliseconds since the last time."""
        now = _now()
        since, self._since = self._since, now
        return round((now - since) * 1000, 1)


@final
class _Recorded:
    """An `HTTPResponse` that is being recorded."""

    __slots__ = ("_given_up", "_response", "_take", "_waiting", "headers", "status")

    def __init__(self, response: HTTPResponse, take: _Take) -> None:
        self._response = response
        self._take = take
        self._waiting = False
        self._given_up = False
        self.status = response.status
        self.headers = response.headers

    async def read(self) -> bytes:
        self._waiting = True
        try:
            data = await self._response.read()
        except BaseException as error:
            # A deadline's error is ours, and not what came over the wire.
            if not self._given_up:
                self._take.failed(error)
            raise
        finally:
            self._waiting = False
        if not self._given_up:
            self._take.arrived(data)
        return data

    def abort(self, error: Exception | None = None) -> None:
        if not self._take.over:
            self._given_up = True
            self._take.given_up(waiting=self._waiting)
        self._response.abort(error)
