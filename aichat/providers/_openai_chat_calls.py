"""
Which tool call does this fragment belong to?

OpenAI numbers its calls, and sends id and name with the first fragment of each. Others
leave out the number, the id or both, repeat them, number every call 0, or send a call
whole. So a fragment is looked up

1. by an id that is known;
2. it starts a call of its own if it has a new id and a name, whatever its number;
3. by its number, unless it can be seen to start another call;
4. else, if it has a name, it is a new call, and if not, it goes on with the latest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from attrs import define, field

from ..errors import ProtocolError
from ..types import ToolCallDelta, dumps, parse_arguments
from ._openai_chat_json import get_whole

__all__ = ["ToolCallTable"]


@define
class _Call:
    index: int
    id: str
    name: str = ""
    kind: Literal["function", "custom"] = "function"
    #: All fragments so far; until there is a name, nobody has heard of them.
    fragments: list[str] = field(factory=list)
    announced: bool = False
    #: What the provider wants back with the call.
    extra: Any = None

    def add(self, arguments: str) -> Iterator[ToolCallDelta]:
        if arguments:
            self.fragments.append(arguments)
        if self.announced:
            if arguments:
                yield ToolCallDelta(self.index, None, None, arguments, self.kind)
        elif self.name:
            yield self.announce()

    def announce(self) -> ToolCallDelta:
        self.announced = True
        return ToolCallDelta(
            self.index, self.id, self.name or None, "".join(self.fragments), self.kind
        )

    @property
    def whole(self) -> bool:
        """Whether the arguments can only be made worse by more."""
        text = "".join(self.fragments).strip()
        if not text.endswith("}"):
            return False
        try:
            parse_arguments(text)
        except ValueError:
            return False
        return True


@define
class ToolCallTable:
    """The calls of one answer. *take_index* gives the next free place in the message."""

    _take_index: Callable[[], int]
    _make_id: Callable[[], str]
    _calls: list[_Call] = field(factory=list, init=False)
    _by_id: dict[str, _Call] = field(factory=dict, init=False)
    _by_number: dict[int, _Call] = field(factory=dict, init=False)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, fragment: Any, *, whole: bool = False) -> Iterator[ToolCallDelta]:
        """Take one item of ``tool_calls``; *whole* if it cannot be a piece of a call."""
        if not isinstance(fragment, dict):
            raise ProtocolError(f"A tool call is a {type(fragment).__name__}.")
        body, argument_field = _object(fragment, "function"), "arguments"
        custom = _object(fragment, "custom")
        if fragment.get("type") == "custom" or (custom and not body):
            body, argument_field = custom, "input"
        name, arguments = _text(body.get("name")), _text(body.get(argument_field))
        call_id, number = _text(fragment.get("id")), get_whole(fragment, "index")

        call = None if whole else self._find(call_id, number, name, arguments)
        if call is None:
            known = not call_id or call_id in self._by_id
            call = _Call(self._take_index(), self._make_id() if known else call_id)
            self._calls.append(call)
        if call_id:
            self._by_id[call_id] = call
        if number is not None:
            self._by_number[number] = call
        # Some repeat the name, or send an empty one later.
        call.name = call.name or name
        if argument_field == "input":
            call.kind = "custom"
        # Gemini's thought signatures, under extra_content.google.
        call.extra = fragment.get("extra_content") or call.extra
        yield from call.add(arguments)

    def _find(
        self, id: str, number: int | None, name: str, arguments: str
    ) -> _Call | None:
        if id and id in self._by_id:
            return self._by_id[id]
        if id and name:
            return None
        if number is not None:
            call = self._by_number.get(number)
            return (
                None if call and name and _is_another(call, name, arguments) else call
            )
        if name or id or not self._calls:
            return None
        return self._calls[-1]

    def flush(self) -> Iterator[ToolCallDelta]:
        """Announce what never got a name: it will be an invalid call, but not lost."""
        for call in self._calls:
            if not call.announced:
                yield call.announce()

    def extras(self) -> Iterator[tuple[int, Any]]:
        """What belongs to each call besides, by its place in the message."""
        return ((call.index, call.extra) for call in self._calls if call.extra)


def _is_another(call: _Call, name: str, arguments: str) -> bool:
    """Whether a fragment without an id, but with a name, starts a call after *call*."""
    if call.name and name != call.name:
        return True
    return arguments.lstrip().startswith("{") and call.whole


def _object(holder: dict[str, Any], name: str) -> dict[str, Any]:
    value = holder.get(name)
    if value is not None and not isinstance(value, dict):
        raise ProtocolError(f"In a tool call, {name!r} is a {type(value).__name__}.")
    return value or {}


def _text(value: Any) -> str:
    """*value* if it is a text; arguments may come as the object that they stand for."""
    if isinstance(value, str):
        return value
    return "" if value is None else dumps(value).decode()
