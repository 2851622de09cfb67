"""
Blocks of a message to parts of ours.

A block is started, filled by deltas, and stopped. One that we have no part for is kept
whole and given back untouched: the next request fails without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from attrs import define, field

from ..types import (
    Citation,
    CitationDelta,
    JSONError,
    OpaquePart,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    dumps,
    loads_exact,
)
from ._anthropic_fields import object_in, text_in, text_or_none, wrong

__all__ = ["PROVIDER", "Blocks"]

Chunks: TypeAlias = tuple[StreamChunk, ...]

#: Whose `ProviderState` ours is.
PROVIDER: Final = "anthropic"

#: The blocks that a delta may begin, where a server forgot to start one.
_BEGINS: Final = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
}


@define
class _Block:
    """A block that has been started and not stopped."""

    kind: str
    #: As it was started, and what deltas have made of it.
    raw: dict[str, Any]
    #: Which part of our message it is, as soon as it has said something.
    part: int = -1
    #: The JSON of the input of a tool that the provider runs.
    input: list[str] = field(factory=list)
    #: Whether the input of a tool of ours has come in deltas.
    streamed: bool = False
    signature: str = ""


@define
class Blocks:
    """The blocks under way."""

    _new_id: Callable[[], str]
    #: The model that speaks, for what it wants back.
    model: str | None = field(default=None, init=False)
    #: The text block that spoke last: its index on the wire and its part. Events that go
    #: on with it need no more than these.
    text_index: object = field(default=None, init=False)
    text_part: int = field(default=-1, init=False)
    #: By their index on the wire, in the order in which they were started.
    _open: dict[int, _Block] = field(factory=dict, init=False)
    _parts: int = field(default=0, init=False)
    _call_ids: set[str] = field(factory=set, init=False)

    @property
    def called(self) -> bool:
        """Whether a tool of ours is to be called."""
        return bool(self._call_ids)

    def clear(self) -> None:
        """Forget what was started."""
        self._open.clear()
        self.text_index = None

    def end(self) -> Chunks:
        """End whatever nobody stopped."""
        chunks = tuple(c for block in self._open.values() for c in self._end(block))
        self.clear()
        return chunks

    def start(self, event: dict[str, Any]) -> Chunks:
        """Take a ``content_block_start``."""
        raw = object_in(event, "content_block")
        kind = raw.get("type")
        if not isinstance(kind, str):
            raise wrong("a content block has no type")
        index = event.get("index")
        if not isinstance(index, int):
            index = max(self._open, default=-1) + 1
        ended = self._end(self._open.pop(index)) if index in self._open else ()
        block = self._open[index] = _Block(kind, raw)
        self.text_index = None
        return (*ended, *self._begin(block))

    def delta(self, event: dict[str, Any]) -> Chunks:
        """Take a ``content_block_delta``."""
        delta = object_in(event, "delta")
        kind = delta.get("type")
        index = event.get("index")
        if not isinstance(index, int):
            index = next(reversed(self._open), 0)
        block = self._open.get(index)
        if block is None:
            if not isinstance(kind, str) or kind not in _BEGINS:
                return ()
            block = self._open[index] = _Block(_BEGINS[kind], {})
        match block.kind, kind:
            case "text", "text_delta":
                chunks = self._text(block, delta)
                if chunks:
                    self.text_index, self.text_part = index, block.part
                return chunks
            case "text", "citations_delta":
                return self._cite(block, delta.get("citation"))
            case "thinking", "thinking_delta":
                return self._think(block, text_in(delta, "thinking"))
            case "thinking", "signature_delta":
                block.signature = text_in(delta, "signature")
            case "tool_use", "input_json_delta":
                fragment = text_in(delta, "partial_json")
                if fragment:
                    block.streamed = True
                    return (ToolCallDelta(block.part, arguments=fragment),)
            case _, "input_json_delta":
                fragment = text_in(delta, "partial_json")
                block.input.append(fragment)
            case _, "compaction_delta":
                block.raw |= {k: v for k, v in delta.items() if k != "type"}
            case _:
                pass  # whatever they invent next
        return ()

    def stop(self, event: dict[str, Any]) -> Chunks:
        """Take a ``content_block_stop``."""
        index = event.get("index")
        if not isinstance(index, int):
            # Some servers do not say which.
            index = next(reversed(self._open), 0)
        self.text_index = None
        block = self._open.pop(index, None)
        return () if block is None else self._end(block)

    def _begin(self, block: _Block) -> Chunks:
        raw = block.raw
        match block.kind:
            case "text":
                chunks = self._text(block, raw)
                citations = raw.get("citations")
                for citation in citations if isinstance(citations, list) else ():
                    chunks += self._cite(block, citation)
                return chunks
            case "thinking":
                block.signature = text_or_none(raw.get("signature")) or ""
                return self._think(block, text_in(raw, "thinking"))
            case "tool_use":
                name = raw.get("name")
                if not isinstance(name, str) or not name:
                    raise wrong("a tool_use block has no name")
                call_id = text_or_none(raw.get("id"))
                while not call_id or call_id in self._call_ids:
                    call_id = self._new_id()
                self._call_ids.add(call_id)
                return (ToolCallDelta(self._number(block), call_id, name),)
            case _:
                return ()

    def _end(self, block: _Block) -> Chunks:
        raw = block.raw
        match block.kind:
            case "text":
                return ()
            case "thinking":
                if not block.signature:
                    return ()  # nobody wants it back
                begun = self._think(block, "", force=block.part < 0)
                known = {"thinking", "signature"}
                state = {k: v for k, v in raw.items() if k not in known}
                state |= {"type": "thinking", "signature": block.signature}
                return (*begun, PartEnd(block.part, self._state(state)))
            case "redacted_thinking":
                begun = self._think(block, "", force=True)
                return (*begun, PartEnd(block.part, self._state(raw)))
            case "tool_use":
                whole = raw.get("input")
                chunks: Chunks = ()
                if whole and not block.streamed:
                    # Compatible servers send it whole, where Anthropic has a placeholder.
                    text = whole if isinstance(whole, str) else dumps(whole).decode()
                    chunks = (ToolCallDelta(block.part, arguments=text),)
                known = {"type", "id", "name", "input"}
                state = {k: v for k, v in raw.items() if k not in known}
                if state:
                    chunks += (PartEnd(block.part, self._state(state)),)
                return chunks
            case kind:
                text = "".join(block.input)
                if text:
                    raw = {**raw, "input": _input(text)}
                part = OpaquePart(kind, self._state(raw))
                return (PartAdded(part, self._number(block)),)

    def _number(self, block: _Block) -> int:
        """Which part *block* is: parts are numbered as they appear."""
        if block.part < 0:
            block.part = self._parts
            self._parts += 1
        return block.part

    def _text(self, block: _Block, holder: dict[str, Any]) -> Chunks:
        text = text_in(holder, "text")
        return (TextDelta(text, self._number(block)),) if text else ()

    def _think(self, block: _Block, text: str, *, force: bool = False) -> Chunks:
        if not text and not force:
            return ()
        return (ReasoningDelta(text, self._number(block)),)

    def _cite(self, block: _Block, raw: Any) -> Chunks:
        if not isinstance(raw, dict):
            raise wrong("a citation is no object")
        return (
            CitationDelta(
                Citation(
                    url=text_or_none(raw.get("url")),
                    title=text_or_none(raw.get("title"))
                    or text_or_none(raw.get("document_title")),
                    cited_text=text_or_none(raw.get("cited_text")),
                    provider_state=self._state(raw),
                ),
                self._number(block),
            ),
        )

    def _state(self, payload: dict[str, Any]) -> ProviderState:
        return ProviderState(PROVIDER, payload, self.model)


def _input(text: str) -> Any:
    """Read the input of a tool that the provider ran; not ours to judge."""
    try:
        return loads_exact(text)
    except JSONError:
        return {"INVALID_JSON": text}
