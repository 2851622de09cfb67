"""A stream as the bytes of server-sent events, whatever their form."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
)
from contextlib import AsyncExitStack
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, Protocol, final

from attrs import define, field

from .._closing import AsyncClosing
from .._feed import Feed, Flow, Quiet, close
from ..errors import AIChatError, ConfigError
from ..types._values import is_number

__all__ = ["SSE_HEADERS", "EventStream", "Form"]

#: What goes with server-sent events: no cache keeps them, no proxy gathers them.
SSE_HEADERS: Final[Mapping[str, str]] = MappingProxyType({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
})

#: A comment, which readers skip.
_HEARTBEAT: Final = b":\n\n"
#: Chunks that may wait until the client takes them. Those that wait go out together.
_ROOM: Final = 64
_END: Final = object()


class Form(Protocol):
    """How chunks and errors are written; one for each stream."""

    def encode(self, event: Any, /) -> bytes: ...
    def error(self, error: BaseException, /) -> bytes: ...
    def error_body(self, error: BaseException, /) -> dict[str, Any]: ...


class _Left(Exception):
    """The client is gone."""


@final
class EventStream(AsyncClosing, AsyncIterator[bytes]):
    """
    The bytes of an answer, as `to_sse` and `to_openai_sse` make them.

    An async iterator and a context manager, for any framework that sends what it iterates
    over. Closing it closes the stream that it reads, and so the call upstream. An error of
    the stream's is an event; one that is not an `AIChatError` is a bug, and raised after it.
    It can be read once.
    """

    def __init__(
        self, stream: AsyncIterable[Any], form: Form, *, heartbeat: float | None
    ) -> None:
        if not isinstance(stream, AsyncIterable):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
            raise ConfigError(f"A {type(stream).__name__} is no stream.")
        if heartbeat is not None and not (
            is_number(heartbeat) and isfinite(heartbeat) and heartbeat > 0
        ):
            raise ConfigError(
                f"heartbeat must be seconds, more than 0, or None; got {heartbeat!r}."
            )
        self._form = form
        self._heartbeat = heartbeat
        self._reader = _Reader(stream)
        # Without a reference to us: a cycle would put off its closing.
        events = _events(self._reader, form, heartbeat)
        self._flow = Flow(self._reader.feed, events)

    async def begin(self) -> None:
        """
        Wait until there is something to send: a chunk, or the time for a heartbeat.

        Raises the error of a stream that fails before that, so that it can be told with a
        status: see `http_status` and `error_body`. The stream is closed then.
        """
        try:
            self._reader.start()
            await self._reader.feed.wait(self._heartbeat)
        except (Quiet, _Left):
            pass
        except BaseException:
            await self.aclose()
            raise

    def error_body(self, error: BaseException) -> dict[str, Any]:
        """What a client is told about *error*, as JSON in the form of this stream."""
        return self._form.error_body(error)

    def leave_when(self, gone: Callable[[], Awaitable[object]]) -> None:
        """
        Stop reading when *gone* returns, which waits until the client is.

        The stream is closed then, also when nobody takes the next bytes, and they end.
        """

        async def watch() -> None:
            await gone()
            raise _Left

        self._reader.feed.spawn(watch())

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._flow)

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._flow.__anext__()

    async def aclose(self) -> None:
        """Close the stream. Harmless when done twice or after the end."""
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._reader.aclose)
            await self._flow.aclose()


@final
@define(eq=False)
class _Reader:
    """The stream, and the task that reads it."""

    stream: AsyncIterable[Any]
    feed: Feed[Any] = field(init=False)
    started: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.feed = Feed(_ROOM)

    def start(self) -> None:
        if not self.started:
            self.started = True
            self.feed.spawn(self.read())

    async def read(self) -> None:
        try:
            async for chunk in self.stream:
                await self.feed.put(chunk)
            await self.feed.put(_END)
        finally:
            # Here, for whoever takes the bytes may be stuck in sending some.
            await close(self.stream)

    async def aclose(self) -> None:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(close, self.stream)
            await self.feed.aclose()


async def _events(
    reader: _Reader, form: Form, heartbeat: float | None
) -> AsyncGenerator[bytes, None]:
    feed = reader.feed
    async with AsyncExitStack() as closing:
        closing.push_async_callback(reader.aclose)
        reader.start()
        over = False
        bug: Exception | None = None
        while not over:
            data: list[bytes] = []
            try:
                for chunk in (await feed.take(heartbeat), *feed.take_all()):
                    if chunk is _END:
                        over = True
                    else:
                        data.append(form.encode(chunk))
            except Quiet:
                data.append(_HEARTBEAT)
            except _Left:
                return
            except Exception as error:
                over = True
                data.append(form.error(error))
                bug = None if isinstance(error, AIChatError) else error
            if joined := b"".join(data):
                yield joined  # noqa: ASYNC119 -- owning the task is the point
        if bug is None:
            return
        raise bug
