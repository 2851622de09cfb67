"""
Chunks to a response, and back.

Two laws hold, and are property tests: ``fold(unfold(x)) == x``, and the fold does not
depend on how the network cut the bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Final, Literal, TypeAlias, assert_never

from attrs import define, evolve, field

from ..errors import StreamInterruptedError
from ._chat import ChatResponse
from ._chunks import (
    CitationDelta,
    PartAdded,
    PartEnd,
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
    Whole,
)
from ._messages import (
    AudioPart,
    Citation,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    parse_arguments,
)
from ._usage import FinishReason, Usage
from ._values import ProviderState

__all__ = ["Accumulator", "collect", "fold", "unfold"]

#: How many fragments of a part are kept apart.
_FRAGMENTS: Final = 1000

_Form: TypeAlias = Literal["text", "reasoning", "refusal", "tool_call", "whole"]


@define
class _Draft:
    """A part under construction."""

    form: _Form
    #: The latest fragments, and what was joined of those before them. A string per token
    #: would be ten times as long as the text, and ``+=`` on strings is quadratic.
    fragments: list[str] = field(factory=list)
    joined: list[str] = field(factory=list)
    id: str | None = None
    name: str | None = None
    kind: Literal["function", "custom"] = "function"
    citations: list[Citation] = field(factory=list)
    whole: Whole | None = None
    state: ProviderState | None = None

    def add(self, text: str) -> None:
        self.fragments.append(text)
        if len(self.fragments) >= _FRAGMENTS:
            self.joined.append("".join(self.fragments))
            self.fragments.clear()

    def finish(self, *, cut_off: str | None) -> Part:
        text, state = "".join((*self.joined, *self.fragments)), self.state
        match self.form:
            case "text":
                return TextPart(text, citations=self.citations, provider_state=state)
            case "reasoning":
                return ReasoningPart(text, provider_state=state)
            case "refusal":
                return RefusalPart(text, provider_state=state)
            case "tool_call":
                return ToolCallPart(
                    self.id or "",
                    self.name or "",
                    text,
                    invalid=self._invalid(text, cut_off),
                    kind=self.kind,
                    provider_state=state,
                )
            case "whole":
                assert self.whole is not None
                if state is not None:
                    return evolve(self.whole, provider_state=state)
                return self.whole

    def _invalid(self, text: str, cut_off: str | None) -> str | None:
        if not self.name:
            return "the call has no name"
        if self.kind == "custom":
            # Free text: whether it was cut cannot be seen from it.
            return cut_off
        if cut_off and not text.strip():
            return cut_off
        try:
            parse_arguments(text)
        except ValueError as error:
            return cut_off or f"the arguments are no JSON object: {error}"
        return None


# An answer that ended in one of these ways may have ended within its last tool call.
_MAY_CUT: Final = {
    FinishReason.LENGTH,
    FinishReason.CONTENT_FILTER,
    FinishReason.ERROR,
    None,
}


@define
class Accumulator:
    """
    Takes chunks one by one and knows, at any time, the response so far.

    >>> so_far = Accumulator()
    >>> so_far.add(TextDelta("Hello"))
    >>> so_far.response().text
    'Hello'
    """

    #: The text that goes on, and where it goes.
    _text_index: int | None = field(default=None, init=False)
    _add_text: Callable[[str], None] = field(init=False)
    _start: ResponseStart = field(factory=ResponseStart, init=False)
    _drafts: dict[tuple[_Form, int], _Draft] = field(factory=dict, init=False)
    _usage: Usage | None = field(default=None, init=False)
    _end: ResponseEnd | None = field(default=None, init=False)

    @property
    def finished(self) -> bool:
        """Whether the `ResponseEnd` has been seen."""
        return self._end is not None

    def add(self, chunk: StreamChunk) -> None:
        """Take one more chunk."""
        if type(chunk) is TextDelta:
            # Nearly all of them. Looking up the draft would take half the time.
            if chunk.index != self._text_index:
                self._text_index = chunk.index
                self._add_text = self._draft("text", chunk.index).add
            self._add_text(chunk.text)
            return
        match chunk:
            case TextDelta(text, index):
                self._draft("text", index).add(text)
            case ReasoningDelta(text, index):
                self._draft("reasoning", index).add(text)
            case RefusalDelta(text, index):
                self._draft("refusal", index).add(text)
            case ToolCallDelta():
                self._add_call(chunk)
            case CitationDelta(citation, index):
                self._draft("text", index).citations.append(citation)
            case PartAdded(part, index):
                self._draft("whole", index).whole = part
            case PartEnd(index, state):
                self._end_part(index, state)
            case UsageUpdate(usage):
                self._usage = usage
            case ResponseStart():
                self._start = chunk
            case ResponseEnd():
                self._end = chunk
            case _:
                assert_never(chunk)

    def _draft(self, form: _Form, index: int) -> _Draft:
        key = (form, index)
        draft = self._drafts.get(key)
        if draft is None:
            draft = self._drafts[key] = _Draft(form)
        return draft

    def _add_call(self, chunk: ToolCallDelta) -> None:
        draft = self._draft("tool_call", chunk.index)
        draft.id = draft.id or chunk.id
        draft.name = draft.name or chunk.name
        draft.add(chunk.arguments)
        if chunk.kind != "function":
            draft.kind = chunk.kind

    def _end_part(self, index: int, state: ProviderState | None) -> None:
        # One index may serve parts of several kinds; the latest one is the one that ends.
        for key in reversed(self._drafts):
            if key[1] == index:
                if state is not None:
                    self._drafts[key].state = state
                return

    def response(self) -> ChatResponse:
        """
        The response so far.

        Before the end its `finish_reason` is ``None``, and its usage says that it is not
        complete.
        """
        start, end = self._start, self._end
        finish = end.finish_reason if end else None
        usage = self._usage or Usage(complete=end is not None)
        if end is None and usage.complete:
            usage = evolve(usage, complete=False)
        return ChatResponse(
            message=Message(
                Role.ASSISTANT,
                self._parts(finish),
                provider_state=end.provider_state if end else None,
            ),
            finish_reason=finish,
            raw_finish_reason=end.raw_finish_reason if end else None,
            usage=usage,
            id=start.id,
            model=start.model,
            provider=start.provider,
            created_at=start.created_at,
            request_id=start.request_id,
            stop_sequence=end.stop_sequence if end else None,
            warnings=start.warnings,
            from_cache=start.from_cache,
            rerouted_to=start.rerouted_to,
            metadata=end.metadata if end else {},
        )

    def _parts(self, finish: FinishReason | None) -> tuple[Part, ...]:
        reason = None
        if finish in _MAY_CUT:
            how = f"the answer ended with {finish!s}" if finish else "the stream broke"
            reason = f"cut off: {how}"
        drafts = list(self._drafts.values())
        # Whatever came before the last part had its time to end.
        return tuple(
            draft.finish(cut_off=reason if draft is drafts[-1] else None)
            for draft in drafts
        )


def fold(chunks: Iterable[StreamChunk]) -> ChatResponse:
    """
    Put a whole stream together.

    Raises `StreamInterruptedError` if it does not end with a `ResponseEnd`.

    >>> fold([TextDelta("Hel"), TextDelta("lo"), ResponseEnd(FinishReason.STOP)]).text
    'Hello'
    """
    so_far = Accumulator()
    for chunk in chunks:
        so_far.add(chunk)
    return _whole(so_far)


async def collect(chunks: AsyncIterable[StreamChunk]) -> ChatResponse:
    """Await a stream to its end and `fold` it. Closing it is the caller's."""
    so_far = Accumulator()
    async for chunk in chunks:
        so_far.add(chunk)
    return _whole(so_far)


def _whole(so_far: Accumulator) -> ChatResponse:
    if not so_far.finished:
        raise StreamInterruptedError(
            "The stream ended without a ResponseEnd.", partial=so_far.response()
        )
    return so_far.response()


def unfold(response: ChatResponse) -> Iterator[StreamChunk]:
    """
    The shortest stream that folds to *response*.

    Raises `ValueError` for a partial response, which no stream ends in.
    """
    if response.finish_reason is None:
        raise ValueError("a partial response cannot be unfolded")
    yield ResponseStart(
        id=response.id,
        model=response.model,
        provider=response.provider,
        created_at=response.created_at,
        request_id=response.request_id,
        warnings=response.warnings,
        from_cache=response.from_cache,
        rerouted_to=response.rerouted_to,
    )
    for index, part in enumerate(response.message.content):
        yield from _unfold_part(part, index)
    yield UsageUpdate(response.usage)
    yield ResponseEnd(
        response.finish_reason,
        response.raw_finish_reason,
        stop_sequence=response.stop_sequence,
        provider_state=response.message.provider_state,
        metadata=response.metadata,
    )


def _unfold_part(part: Part, index: int) -> Iterator[StreamChunk]:
    match part:
        case TextPart():
            yield TextDelta(part.text, index)
            for citation in part.citations:
                yield CitationDelta(citation, index)
        case ReasoningPart():
            yield ReasoningDelta(part.text, index)
        case RefusalPart():
            yield RefusalDelta(part.text, index)
        case ToolCallPart():
            yield ToolCallDelta(index, part.id, part.name, part.arguments, part.kind)
        case ImagePart() | AudioPart() | DocumentPart() | OpaquePart():
            yield PartAdded(part, index)
            return
        case ToolResultPart():
            raise ValueError("no answer holds a tool result")
        case _:
            assert_never(part)
    if part.provider_state is not None:
        yield PartEnd(index, part.provider_state)
