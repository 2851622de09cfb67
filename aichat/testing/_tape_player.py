"""Replaying: a `Send` that answers as it was answered when the tape was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from random import Random
from typing import Literal, NoReturn, TypeAlias, final

from .. import errors
from ..errors import AIChatError, ConfigError, StreamInterruptedError
from ..transport import HTTPRequest, HTTPResponse, Phase
from ._tape import Answered, Ending, Exchange, Read, TapeError, load_tape
from ._tape_difference import first_difference
from ._tape_secrets import Censor, asked

__all__ = ["Cut", "Player", "replay"]

Cut: TypeAlias = int | Literal["random"] | Callable[[], int]
Sleep: TypeAlias = Callable[[float], Awaitable[object]]

#: The longest piece of a random cut.
_LONGEST = 64


@asynccontextmanager
async def replay(
    path: str | PathLike[str],
    *,
    cut: Cut | None = None,
    speed: float = 0.0,
    ordered: bool = True,
    strict: bool = True,
    ignore: Iterable[str] = (),
    secrets: Iterable[str] = (),
    seed: int = 0,
    sleep: Sleep = asyncio.sleep,
) -> AsyncGenerator[Player, None]:
    """
    Answer what a client asks from the tape at *path*, and nothing else. No key is needed.

    ::

        config = ClientConfig(provider="openai", api_key="any", model="gpt-6-sol")
        async with replay("tests/weather.json", cut=1) as send:
            async with Client.from_config(config, send=send) as client:
                ...

    *cut* says how the network cuts the bytes: into pieces of so many, of ``"random"`` sizes
    after *seed*, or of those that a function returns; as recorded without it. A *speed* of 1
    takes as long as it took, 10 a tenth of it, and 0 no time.

    Requests have to come as they were recorded, in the same order unless *ordered* is false:
    method, path, query and body, apart from what *ignore* names (``"body.user"``,
    ``"body.input[*].id"``) and from keys and *secrets*. Anything else raises `TapeError`, and
    so does the end of the block if something was not asked for, or if that error was caught
    on its way to the test, unless *strict* is false.
    """
    player = Player(
        load_tape(Path(path)),
        name=Path(path).name,
        cut=_cutter(cut, seed),
        clock=_Clock(speed, sleep),
        ordered=ordered,
        ignored=frozenset(ignore),
        censor=lambda: Censor(secrets),
    )
    try:
        yield player
    finally:
        player.close()
    if strict:
        player.check()


@final
class Player:
    """A `Send` that plays a tape. `replay` makes one."""

    def __init__(
        self,
        exchanges: tuple[Exchange, ...],
        *,
        name: str,
        cut: Callable[[int, tuple[Read, ...]], Iterator[Read]],
        clock: _Clock,
        ordered: bool,
        ignored: frozenset[str],
        censor: Callable[[], Censor],
    ) -> None:
        self._exchanges = exchanges
        self._left = list(enumerate(exchanges))
        self._name = name
        self._cut = cut
        self._clock = clock
        self._ordered = ordered
        self._ignored = ignored
        self._censor = censor
        self._closed = False
        self._mismatch: TapeError | None = None

    async def __call__(
        self, request: HTTPRequest, enter: Callable[[Phase], None]
    ) -> HTTPResponse:
        """Answer *request*. Raises `TapeError` if that is not what was asked."""
        index, exchange = self._find(request)
        answered, ending = exchange.answered, exchange.ending
        enter("first_byte" if answered else ending.phase)
        if answered is None:
            await self._clock.pause(ending.ms)
            await self._clock.end(ending)
        assert answered is not None
        await self._clock.pause(answered.ms)
        pieces = self._cut(index, answered.reads)
        return _Played(answered, pieces, ending, self._clock)

    @property
    def left(self) -> int:
        """How many requests have not been asked."""
        return len(self._left)

    def close(self) -> None:
        """Answer nothing any more."""
        self._closed = True

    def check(self) -> None:
        """Raise `TapeError` for what was asked wrongly, or not at all."""
        if self._mismatch is not None:
            # Whoever caught it has not told the test.
            raise self._mismatch
        if self._left:
            _, exchange = self._left[0]
            raise TapeError(
                f"{self._name}: {len(self._left)} of {len(self._exchanges)} requests were "
                f"not asked; the next is {_title(exchange)}. (strict=False allows it.)"
            )

    def _find(self, request: HTTPRequest) -> tuple[int, Exchange]:
        wanted = asked(request)
        if self._closed:
            raise TapeError(f"{self._name}: the recording has been closed.")
        censor = self._censor()
        censor.learn(request)
        wanted = censor.asked(wanted)
        nearest: str | None = None
        for place, (index, exchange) in enumerate(self._left):
            difference = first_difference(exchange.asked, wanted, self._ignored)
            if difference is None:
                return self._left.pop(place)
            # One that goes to the same place says more than one that does not.
            if nearest is None or (" another one: path" in nearest):
                nearest = (
                    f"Request {index + 1} of {len(self._exchanges)} is another one: "
                    f"{difference}"
                )
            if self._ordered:
                break
        asking = f"{wanted.method} {wanted.path}"
        if nearest is None:
            nearest = (
                f"{asking} is not recorded: all {len(self._exchanges)} requests have been "
                "answered"
            )
        self._fail(f"{nearest}.")

    def _fail(self, message: str) -> NoReturn:
        error = TapeError(f"{self._name}: {message} Record it again if that is right.")
        self._mismatch = self._mismatch or error
        raise error

    def __repr__(self) -> str:
        return f"<Player of {self._name}, {self.left} of {len(self._exchanges)} left>"


def _title(exchange: Exchange) -> str:
    return f"{exchange.asked.method} {exchange.asked.path}"


# -- time ------------------------------------------------------------------------------


@final
class _Clock:
    """How long things take."""

    def __init__(self, speed: float, sleep: Sleep) -> None:
        if not 0 <= speed < float("inf"):
            raise ConfigError(f"The speed of a replay is 0 or more, not {speed}.")
        self._speed = speed
        self._sleep = sleep

    def seconds(self, ms: float) -> float:
        return ms / 1000 / self._speed if self._speed else 0.0

    async def pause(self, ms: float) -> None:
        """Let as much time pass as *ms* of the recording take."""
        await self.rest(self.seconds(ms))

    async def rest(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)

    async def end(self, ending: Ending) -> None:
        """Raise what *ending* raised, or wait for ever."""
        if ending.kind == "error":
            raise _error(ending)
        await asyncio.get_running_loop().create_future()


def _error(ending: Ending) -> AIChatError:
    kind = getattr(errors, ending.error, None)
    if isinstance(kind, type) and issubclass(kind, AIChatError):
        return kind(ending.message, retryable=ending.retryable, phase=ending.phase)
    return StreamInterruptedError(ending.message)


# -- cuts ------------------------------------------------------------------------------


def _cutter(
    cut: Cut | None, seed: int
) -> Callable[[int, tuple[Read, ...]], Iterator[Read]]:
    """How the answer with a number is cut."""
    match cut:
        case None:
            return lambda _, reads: iter(reads)
        case int() if cut >= 1:
            return lambda _, reads: _cut(reads, lambda: cut)
        case int():
            raise ConfigError(f"Pieces of {cut} bytes would never come to an end.")
        case "random":
            # Each answer by itself, so that it does not matter which one is read first.
            return lambda index, reads: _cut(
                reads, partial(Random(f"{seed}:{index}").randint, 1, _LONGEST)
            )
        case str():
            raise ConfigError(
                f"A cut is a number, 'random' or a function, not {cut!r}."
            )
        case _:
            return lambda _, reads: _cut(reads, cut)


def _cut(reads: tuple[Read, ...], size: Callable[[], int]) -> Iterator[Read]:
    """Cut the same bytes into pieces of *size*; each comes when its last byte came."""
    held, late = b"", 0.0
    wanted = max(1, size())
    for read in reads:
        held += read.data
        late += read.ms
        at = 0
        while len(held) - at >= wanted:
            yield Read(late, held[at : at + wanted])
            late, at = 0.0, at + wanted
            wanted = max(1, size())
        held = held[at:]
    if held:
        yield Read(late, held)


# -- an answer -------------------------------------------------------------------------


@final
class _Headers(Mapping[str, str]):
    """Headers, looked up without regard to case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {name.lower(): value for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


@final
class _Played:
    """An `HTTPResponse` from a tape."""

    __slots__ = (
        "_at",
        "_clock",
        "_due",
        "_ending",
        "_error",
        "_over",
        "_pieces",
        "_scope",
        "headers",
        "status",
    )

    def __init__(
        self, answered: Answered, pieces: Iterator[Read], ending: Ending, clock: _Clock
    ) -> None:
        self.status = answered.status
        self.headers: Mapping[str, str] = _Headers(answered.headers)
        self._pieces = pieces
        self._ending = ending
        self._clock = clock
        # When the next read is due, and how late it is at least.
        self._due = self._at = asyncio.get_running_loop().time()
        self._scope: asyncio.Timeout | None = None
        self._error: Exception | None = None
        self._over = False

    async def read(self) -> bytes:
        if self._error is not None:
            raise self._error
        if self._over:
            return b""
        scope = self._scope = asyncio.timeout(None)
        try:
            async with scope:
                return await self._next()
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._scope = None
        # `abort` has ended the wait.
        assert self._error is not None
        raise self._error

    async def _next(self) -> bytes:
        for piece in self._pieces:
            await self._until(piece.ms)
            return piece.data
        ending = self._ending
        if ending.kind == "left":
            raise TapeError(
                "The recording of this answer stops here, because whoever recorded it "
                "stopped reading. Record it again."
            )
        await self._until(ending.ms)
        if ending.kind != "eof":
            await self._clock.end(ending)
        self._over = True
        return b""

    async def _until(self, ms: float) -> None:
        """Wait until *ms* after the last time: what the reader did since then counts."""
        self._due += self._clock.seconds(ms)
        now = max(self._at, asyncio.get_running_loop().time())
        await self._clock.rest(self._due - now)
        self._at = max(now, self._due)

    def abort(self, error: Exception | None = None) -> None:
        if self._over or self._error is not None:
            return
        self._error = error or StreamInterruptedError("The answer was given up.")
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())
