"""
Which item does this event belong to?

Events say the position of their item in the output. The item's id stands there as well,
but GitHub's Copilot gives every event another one. A position may be used again, and an
item may come without having been added, or only at the very end with the whole response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from attrs import define, field

from ..errors import ResponseTooLargeError
from ..types import StreamChunk
from ._openai_chat_json import get_text
from ._responses_items import (
    CallItem,
    Item,
    MessageItem,
    OtherItem,
    ReasoningItem,
)

__all__ = ["Output"]

_KINDS: Final[dict[str, type[Item]]] = {
    "message": MessageItem,
    "reasoning": ReasoningItem,
    "function_call": CallItem,
    "custom_tool_call": CallItem,
}

ItemT = TypeVar("ItemT", bound=Item)


@define
class Output:
    """The items of one answer."""

    #: Whose opaque state this is.
    provider: str
    _make_id: Callable[[], str]
    _max_parts: int

    notes: dict[str, Any] = field(factory=dict, init=False)
    refused: bool = field(default=False, init=False)
    #: How many parts there are.
    parts: int = field(default=0, init=False)
    _items: list[Item] = field(factory=list, init=False)
    #: The latest item of each kind at each position.
    _at: dict[tuple[Any, str], Item] = field(factory=dict, init=False)
    #: Reasoning that has been added and may not have a place yet.
    _thoughts: list[ReasoningItem] = field(factory=list, init=False)
    _call_ids: set[str] = field(factory=set, init=False)

    @property
    def called(self) -> bool:
        """Whether a tool of the user's was called."""
        return any(isinstance(item, CallItem) for item in self._items)

    def take_place(self, out: list[StreamChunk]) -> int:
        """The place of a new part in the message."""
        self._check(self.parts)
        self.parts += 1
        return self.parts - 1

    def _check(self, count: int) -> None:
        if count >= self._max_parts:
            raise ResponseTooLargeError(
                f"The answer has more than {self._max_parts} parts (max_parts).",
                context={"limit": "max_parts", "parts": self._max_parts},
            )

    def free_call_id(self, wanted: str) -> str:
        """*wanted*, or another id if it is empty or taken."""
        if not wanted or wanted in self._call_ids:
            wanted = self._make_id()
        self._call_ids.add(wanted)
        return wanted

    def added(self, position: Any, raw: dict[str, Any], out: list[StreamChunk]) -> None:
        """Begin an item."""
        item = self._open(position, raw, out)
        if isinstance(item, CallItem):
            item.learn(raw, out)

    def done(self, position: Any, raw: dict[str, Any], out: list[StreamChunk]) -> None:
        """End an item, which may be the first that is heard of it."""
        self._open(position, raw, out).end(raw, out)

    def find(
        self, position: Any, kind: str, cls: type[ItemT], out: list[StreamChunk]
    ) -> ItemT:
        """The item of this *kind* that is open at *position*, or a new one."""
        item = self._at.get((position, kind))
        if item is None and position is None:
            item = next((i for i in reversed(self._items) if i.kind == kind), None)
        if item is None or item.done:
            item = self._begin(position, kind, {}, out)
        assert isinstance(item, cls)
        return item

    def end(self, output: Iterable[Any], out: list[StreamChunk]) -> None:
        """Take the *output* of the whole response, for what was not heard so far."""
        heard = list(self._items)
        for position, raw in enumerate(output):
            if not isinstance(raw, dict):
                continue
            item = _take(heard, raw)
            if item is None:
                item = self._begin(position, get_text(raw, "type"), raw, out)
            if not item.done:
                item.end(raw, out)
        for item in self._items:
            if not item.done:
                item.end(None, out)

    def _open(self, position: Any, raw: dict[str, Any], out: list[StreamChunk]) -> Item:
        kind = get_text(raw, "type")
        item = self._at.get((position, kind))
        if item is None or item.done or not _same_call(item, raw):
            item = self._begin(position, kind, raw, out)
        return item

    def _begin(
        self, position: Any, kind: str, raw: dict[str, Any], out: list[StreamChunk]
    ) -> Item:
        self._check(len(self._items))
        for thought in self._thoughts:
            if not thought.done:
                # It was there first, whenever its text comes.
                thought.begin(out)
        self._thoughts.clear()
        item = _KINDS.get(kind, OtherItem)(kind or "unknown", self, raw)
        if isinstance(item, ReasoningItem):
            self._thoughts.append(item)
        self._items.append(item)
        self._at[position, kind] = item
        return item


def _same_call(item: Item, raw: dict[str, Any]) -> bool:
    if not isinstance(item, CallItem):
        return True
    ids = {item.call_id, get_text(raw, "call_id")} - {""}
    return len(ids) < 2


def _take(heard: list[Item], raw: dict[str, Any]) -> Item | None:
    """Take out of *heard* what is *raw*: the same call, or else the first of its kind."""
    kind = get_text(raw, "type")
    for item in heard:
        if item.kind == kind and _same_call(item, raw):
            heard.remove(item)
            return item
    return None
