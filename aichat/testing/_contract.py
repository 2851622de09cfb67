"""
What every provider keeps to, checked (S1).

`check_stream` knows the grammar of `aichat.types.StreamChunk` and can stand anywhere
between a provider and its consumer; `check_provider` puts a provider through its paces.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, NoReturn, overload

from attrs import define, field

from ..types import (
    Accumulator,
    ChatRequest,
    ChatResponse,
    CitationDelta,
    FinishReason,
    PartAdded,
    PartEnd,
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    Whole,
    fold,
    unfold,
)

if TYPE_CHECKING:
    from ..providers import Provider

__all__ = ["check_provider", "check_stream"]

#: Turns of the event loop that a closed stream has for putting its things away.
_TURNS = 20


@overload
def check_stream(chunks: Iterable[StreamChunk], /) -> list[StreamChunk]: ...
@overload
def check_stream(
    chunks: AsyncIterable[StreamChunk], /
) -> AsyncGenerator[StreamChunk, None]: ...
def check_stream(
    chunks: Iterable[StreamChunk] | AsyncIterable[StreamChunk], /
) -> list[StreamChunk] | AsyncGenerator[StreamChunk, None]:
    """
    Check that *chunks* keep to the grammar, and hand them on.

    A finished stream is checked at once and comes back as a list. A live one comes back as
    an async generator that checks while it is read, and closes what it wraps.

    Raises `AssertionError` that names the chunk and the rule.

    >>> check_stream([TextDelta("Hi"), ResponseEnd(FinishReason.STOP)])[0].text
    'Hi'
    >>> check_stream([TextDelta("Hi")])
    Traceback (most recent call last):
    AssertionError: after 1 chunks the stream ended without a ResponseEnd
    """
    if isinstance(chunks, AsyncIterable):
        return _check_live(chunks)
    checker, checked = _Checker(), list(chunks)
    for chunk in checked:
        checker.add(chunk)
    checker.end()
    return checked


async def _check_live(
    chunks: AsyncIterable[StreamChunk],
) -> AsyncGenerator[StreamChunk, None]:
    checker = _Checker()
    try:
        async for chunk in chunks:
            checker.add(chunk)
            yield chunk
        checker.end()
    finally:
        close: Callable[[], Awaitable[None]] | None = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


@define
class _Checker:
    """Holds one stream against the grammar."""

    _count: int = field(default=0, init=False)
    _so_far: Accumulator = field(factory=Accumulator, init=False)
    #: Parts in the order in which they began, and whether they have ended.
    _parts: dict[tuple[str, int], bool] = field(factory=dict, init=False)
    #: Tool calls by index: their ids and names.
    _calls: dict[int, tuple[str, str]] = field(factory=dict, init=False)
    _ended: bool = field(default=False, init=False)

    def add(self, chunk: StreamChunk) -> None:
        self._check(chunk)
        self._so_far.add(chunk)
        self._count += 1

    def _check(self, chunk: Any) -> None:
        """What is called a chunk may be anything: that is what this is here to find out."""
        if self._ended:
            self._refuse(chunk, "comes after the ResponseEnd, which is always the last")
        match chunk:
            case ResponseStart():
                if self._count:
                    self._refuse(chunk, "is not the first: only the first may start")
            case TextDelta():
                self._part("text", chunk.index, chunk)
            case ReasoningDelta():
                self._part("reasoning", chunk.index, chunk)
            case RefusalDelta():
                self._part("refusal", chunk.index, chunk)
            case CitationDelta():
                self._part("text", chunk.index, chunk)
            case ToolCallDelta():
                self._part("tool_call", chunk.index, chunk)
                self._call(chunk)
            case PartAdded():
                part: Any = chunk.part
                if not isinstance(part, Whole):
                    self._refuse(chunk, "adds a part that comes in deltas")
                if ("whole", chunk.index) in self._parts:
                    self._refuse(chunk, "replaces a whole part that has the same index")
                self._part("whole", chunk.index, chunk)
            case PartEnd():
                self._part_end(chunk)
            case UsageUpdate():
                self._usage(chunk, chunk.usage)
            case ResponseEnd():
                self._ended = True
                reason: Any = chunk.finish_reason
                if not isinstance(reason, FinishReason):
                    self._refuse(chunk, "has a finish reason that is no FinishReason")
            case _:
                self._refuse(chunk, "is not a StreamChunk")

    def end(self) -> None:
        if not self._ended:
            raise AssertionError(
                f"after {self._count} chunks the stream ended without a ResponseEnd"
            )
        response = self._so_far.response()
        again = fold(unfold(response))
        assert again == response, (
            f"the stream folds to {response!r}, which unfolds and folds to {again!r}"
        )

    def _part(self, form: str, index: int, chunk: StreamChunk) -> None:
        self._index(index, chunk)
        if self._parts.setdefault((form, index), False):
            self._refuse(chunk, "adds to a part that has ended")

    def _index(self, index: int, chunk: StreamChunk) -> None:
        if index < 0:
            self._refuse(chunk, "has a negative index")

    def _part_end(self, chunk: PartEnd) -> None:
        self._index(chunk.index, chunk)
        # As in the fold: one index may serve several kinds, and the latest one ends.
        for key in reversed(self._parts):
            if key[1] == chunk.index:
                if self._parts[key]:
                    self._refuse(chunk, "ends a part for the second time")
                self._parts[key] = True
                return
        self._refuse(chunk, "ends a part that has not begun")

    def _call(self, chunk: ToolCallDelta) -> None:
        begun = self._calls.get(chunk.index)
        if begun is None:
            if not chunk.id:
                self._refuse(chunk, "begins a tool call without an id")
            if any(chunk.id == other for other, _ in self._calls.values()):
                self._refuse(chunk, "begins a tool call with the id of another one")
            # A call whose name never comes is an invalid one, not a broken stream (S7).
            self._calls[chunk.index] = (chunk.id, chunk.name or "")
            return
        call_id, name = begun
        if (chunk.id or call_id) != call_id or (chunk.name or name) != name:
            self._refuse(chunk, f"has the index of another call, {call_id!r} ({name})")

    def _usage(self, chunk: StreamChunk, usage: Usage) -> None:
        numbers = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        }
        for name, number in numbers.items():
            if number is not None and number < 0:
                self._refuse(chunk, f"has negative {name}")
        # Whether they add up is the provider's business: Grok on Azure reports more cached
        # tokens than there were, and what is reported is passed on as it is (S8).

    def _refuse(self, chunk: object, why: str) -> NoReturn:
        text = repr(chunk)
        text = text if len(text) <= 200 else f"{text[:200]}…"
        raise AssertionError(f"chunk {self._count} {why}: {text}")


async def check_provider(provider: Provider, request: ChatRequest) -> ChatResponse:
    """
    Put *provider* through its paces with *request*, which it gets three times.

    It is left after its first chunk, cancelled, and last read to the end: so what it
    answers then also shows that leaving it did no harm. Returns that last answer.

    Raises `AssertionError` for a broken promise, and whatever the provider raises.
    """
    assert getattr(provider, "name", None), (
        f"{type(provider).__name__} is no Provider: it has no name"
    )
    assert ":" not in provider.name, (
        f"the name {provider.name!r} holds a colon, which divides provider and model"
    )
    await _leave(provider, request)
    await _cancel(provider, request)
    async with aclosing(check_stream(_open(provider, request))) as stream:
        return fold([chunk async for chunk in stream])


def _open(
    provider: Provider, request: ChatRequest
) -> AsyncGenerator[StreamChunk, None]:
    stream: Any = provider.stream(request)
    assert isinstance(stream, AsyncGenerator), (
        f"stream() of {provider.name!r} returns {type(stream).__name__}, not an async "
        "generator: it is an `async def` with a `yield`, or a `def` that returns one"
    )
    return stream


async def _leave(provider: Provider, request: ChatRequest) -> None:
    """Close a stream before, and another one after, its first chunk."""
    before = asyncio.all_tasks()
    await _open(provider, request).aclose()
    stream = _open(provider, request)
    first = await anext(stream, None)
    assert first is not None, f"{provider.name!r} answers with an empty stream"
    await stream.aclose()
    assert await anext(stream, None) is None, (
        f"{provider.name!r} goes on with a stream that has been closed"
    )
    for _ in range(_TURNS):
        if asyncio.all_tasks() <= before:
            break
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before
    assert not left, f"{provider.name!r} leaves tasks behind when it is left: {left}"


async def _cancel(provider: Provider, request: ChatRequest) -> None:
    """Cancel whoever waits for the second chunk: nothing but the cancellation comes of it."""
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(_open(provider, request)) as stream:
            async for _ in stream:
                begun.set()

    reader = asyncio.create_task(read())
    reader.add_done_callback(lambda _: begun.set())
    await begun.wait()
    # Who never waits is done by now, and cannot be cancelled.
    cancelled = reader.cancel()
    with suppress(asyncio.CancelledError):
        await reader
    assert reader.cancelled() or not cancelled, (
        f"{provider.name!r} swallows a cancellation"
    )
