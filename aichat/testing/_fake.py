"""A provider that plays a script, for the tests of whatever is built on aichat."""

from __future__ import annotations

import itertools
import re
from collections.abc import (
    AsyncGenerator,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from copy import copy
from typing import Any, TypeAlias, TypeVar

from ..errors import AIChatError, ConfigError
from ..types import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    ReasoningDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageUpdate,
    dumps,
    unfold,
)

__all__ = ["FakeProvider", "Reply", "reply", "tool_call"]

#: What a script is made of; see `FakeProvider`.
Reply: TypeAlias = (
    str
    | ChatResponse
    | BaseException
    | type[BaseException]
    | Iterable[StreamChunk | BaseException]
    | Callable[[ChatRequest], "Reply"]
)
Item = TypeVar("Item")

#: How much of a tool call's arguments comes in one piece.
_PIECE = 8
_call_ids = itertools.count(1)


class FakeProvider:
    """
    Answer requests with *replies*, one after the other, and keep the requests.

    A reply is

    - a text, streamed word by word,
    - chunks, such as `reply` makes, with exceptions among them where they shall be raised,
    - a `ChatResponse`, which is unfolded,
    - an exception, raised instead of an answer,
    - or a function that makes one of these from the request.

    The script is played as it is: chunks that break the grammar come out broken. A request
    beyond its end raises `ConfigError`, unless *repeat* begins it anew.

    >>> provider = FakeProvider(["Hello!", TimeoutError("Nobody there.")])
    """

    def __init__(
        self, replies: Iterable[Reply], *, name: str = "fake", repeat: bool = False
    ) -> None:
        self._name = name
        self._script = _checked(replies, repeat=repeat)
        self._repeat = repeat
        #: What was asked, in order.
        self.requests: list[ChatRequest] = []
        #: Streams that are under way: begun, and neither ended nor closed.
        self.active = 0

    def __repr__(self) -> str:
        return (
            f"<FakeProvider {self._name!r}: {len(self._script)} replies, "
            f"{len(self.requests)} requests>"
        )

    @property
    def name(self) -> str:
        """What stands before the colon of a model."""
        return self._name

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        """Play the next reply. The request counts from the first pull on."""
        self.requests.append(request)
        self.active += 1
        try:
            for item in _play(self._next(), request):
                if isinstance(item, BaseException):
                    raise item
                yield item
        except AIChatError as error:
            error.note(operation="chat", provider=self.name, model=request.model_name)
            raise
        finally:
            self.active -= 1

    def _next(self) -> Reply:
        index, length = len(self.requests) - 1, len(self._script)
        if self._repeat:
            return self._script[index % length]
        if index >= length:
            raise ConfigError(
                f"The script of {self!r} has run out. Add a reply, or pass repeat=True."
            )
        return self._script[index]


def _checked(replies: Iterable[Reply], *, repeat: bool) -> Sequence[Reply]:
    if isinstance(replies, str):
        raise ConfigError("FakeProvider takes a list of replies: [reply], not reply.")
    script = tuple(replies)
    for number, item in enumerate(script, 1):
        if isinstance(item, StreamChunk):  # type: ignore[unreachable, unused-ignore]
            raise ConfigError(
                "FakeProvider takes a list of replies: [reply], not reply."
            )
        if isinstance(item, ChatResponse) and item.finish_reason is None:
            raise ConfigError(
                f"Reply {number} is a partial response: no stream ends so."
            )
        if repeat and isinstance(item, Iterator):
            raise ConfigError(
                f"Reply {number} is an iterator, which plays only once: with repeat=True "
                "pass a list, or a function that makes it."
            )
    if repeat and not script:
        raise ConfigError("There is nothing to repeat in an empty script.")
    return script


def _play(item: Reply, request: ChatRequest) -> Iterator[StreamChunk | BaseException]:
    match item:
        case str():
            yield from reply(item, model=request.model_name or None)
        case ChatResponse():
            yield from unfold(item)
        case AIChatError():
            # A copy: whoever gets it writes facts into it, and it may be raised again.
            yield copy(item)
        case BaseException():
            yield item
        case type():
            yield item()
        case Iterable():
            for each in item:
                yield copy(each) if isinstance(each, AIChatError) else each
        case _ if callable(item):
            yield from _play(item(request), request)
        case _:
            raise ConfigError(f"FakeProvider cannot reply with {type(item).__name__}.")


def reply(
    text: str = "",
    *,
    tool_calls: Iterable[ToolCallPart] = (),
    reasoning: str = "",
    usage: Usage | None = None,
    finish_reason: FinishReason | str | None = None,
    words: bool = True,
    model: str | None = None,
) -> list[StreamChunk]:
    """
    Make the chunks of an answer: the reasoning, the text, the calls.

    With *words* they come in pieces, as from a model; without, each part comes whole. The
    finish reason is ``stop``, or ``tool_calls`` if there are any. Without *usage* the stream
    reports none.

    >>> [chunk.text for chunk in reply("Hello, world!") if isinstance(chunk, TextDelta)]
    ['Hello,', ' world!']
    """
    chunks: list[StreamChunk] = [ResponseStart(model=model)]
    index = 0
    if reasoning:
        chunks += (ReasoningDelta(piece, index) for piece in _words(reasoning, words))
        index += 1
    if text:
        chunks += (TextDelta(piece, index) for piece in _words(text, words))
        index += 1
    calls = tuple(tool_calls)
    for index, call in enumerate(calls, index):  # noqa: B020 -- counts on
        chunks += _call(call, index, words)
    if usage is not None:
        chunks.append(UsageUpdate(usage))
    if finish_reason is None:
        finish_reason = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
    chunks.append(ResponseEnd(FinishReason(finish_reason)))
    return chunks


def tool_call(name: str, id: str | None = None, /, **arguments: Any) -> ToolCallPart:
    """
    Make a tool call for `reply`; without *id* it gets a fresh one.

    >>> tool_call("get_weather", city="Paris").parse()
    {'city': 'Paris'}
    """
    return ToolCallPart(
        id or f"call_{next(_call_ids)}", name, dumps(arguments).decode()
    )


def _words(text: str, words: bool) -> list[str]:
    # With the space before it, as models cut.
    return re.findall(r"\s*\S+|\s+", text) if words else [text]


def _call(call: ToolCallPart, index: int, words: bool) -> Iterator[StreamChunk]:
    text = call.arguments
    if not words:
        yield ToolCallDelta(index, call.id, call.name, text, call.kind)
        return
    yield ToolCallDelta(index, call.id, call.name, "", call.kind)
    for start in range(0, len(text), _PIECE):
        yield ToolCallDelta(
            index, arguments=text[start : start + _PIECE], kind=call.kind
        )
