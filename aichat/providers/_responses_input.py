"""
Our messages to the items of a Responses request.

What the model said goes back in the order in which it was said. Reasoning that carries
itself, encrypted or in the open, goes back without its id, and so does what it led to: an
id sends the server looking for an item that it may not have kept, or that does not fit its
neighbours any more. Only where the server keeps the conversation, and the reasoning is
nothing but an id, do the ids go along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import define, field

from ..types import (
    CacheHint,
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from ._openai_content import as_object, cache_breakpoint, data_url, in_base64
from ._unsupported import Unsupported

__all__ = ["InputEncoder"]

#: OpenAI refuses longer ids, such as other providers give.
_LONGEST_ID: Final = 64
_KINDS: Final = {
    "function": ("function_call", "arguments"),
    "custom": ("custom_tool_call", "input"),
}

Item = dict[str, Any]


@define
class InputEncoder:
    """Encodes the messages of one request."""

    _request: ChatRequest
    #: Whose opaque state may go back.
    _provider: str
    _unsupported: Unsupported
    #: ``developer`` for reasoning models.
    _system: str
    #: Whether the model takes cache marks.
    _marks: bool
    #: Whether the server keeps the conversation, so that it can be referred to.
    _stored: bool
    #: Of each tool call so far.
    _kinds: dict[str, str] = field(factory=dict, init=False)

    def encode(self, *, apart: bool) -> tuple[str | None, list[Item]]:
        """
        The instructions and the input.

        *apart*: the system messages at the start are the instructions; else they are part
        of the input, like those that come later.
        """
        messages = self._request.messages
        count = 0
        if apart:
            leading = (i for i, m in enumerate(messages) if m.role is not Role.SYSTEM)
            count = next(leading, len(messages))
        told = ["\n".join(_texts(message)) for message in messages[:count]]
        items = [item for message in messages[count:] for item in self._items(message)]
        if messages[-1].role is Role.ASSISTANT:
            self._unsupported.meaning(
                "prefill", why="the assistant cannot be made to continue a message"
            )
        return "\n\n".join(told) or None, items

    def _items(self, message: Message) -> Iterator[Item]:
        self._unsupported.sampling("the name of a message", message.name)
        match message.role:
            case Role.SYSTEM:
                yield from self._message(self._system, message.content)
            case Role.USER:
                yield from self._message("user", message.content)
            case Role.ASSISTANT:
                yield from self._assistant(message)
            case Role.TOOL:
                for part in message.content:
                    assert isinstance(part, ToolResultPart)
                    yield self._result(part)

    # -- system and user -------------------------------------------------------------

    def _message(self, role: str, parts: Sequence[Part]) -> Iterator[Item]:
        content: list[Item] = []
        for part in parts:
            if not isinstance(part, OpaquePart):
                content += self._content(part)
            elif self._is_ours(part.provider_state):
                # An answer to an item of the provider's, such as an approval.
                yield from _said(role, content)
                content = []
                yield dict(part.provider_state.payload)
        yield from _said(role, content)

    def _content(self, part: Part) -> Iterator[Item]:
        match part:
            case TextPart(text):
                if text:
                    item = {"type": "input_text", "text": text}
                    yield self._marked(item, part.cache)
            case ImagePart():
                yield self._marked(_image(part), part.cache)
            case DocumentPart():
                yield self._marked(_document(part), part.cache)
            case _:
                # `check_conversation` lets nothing else get here.
                self._unsupported.meaning(
                    "audio", why="use the provider 'openai-chat' and an audio model"
                )

    def _marked(self, item: Item, hint: CacheHint | None) -> Item:
        if hint is None or not self._marks:
            return item
        return item | cache_breakpoint(hint)

    # -- the assistant ---------------------------------------------------------------

    def _assistant(self, message: Message) -> Iterator[Item]:
        items: list[Item] = []
        #: The id and the phase of the message that is the last of the items.
        writing: dict[str, Any] | None = None
        for part in message.content:
            match part:
                case TextPart() | RefusalPart():
                    head = self._payload(part.provider_state)
                    if writing != head:
                        items.append(_spoken(head))
                        writing = head
                    items[-1]["content"].append(_spoken_part(part))
                    continue
                case ReasoningPart():
                    if thought := self._payload(part.provider_state):
                        items.append(thought)
                case ToolCallPart():
                    items.append(self._call(part))
                case OpaquePart(_, state):
                    if self._is_ours(state):
                        items.append(dict(state.payload))
                case ImagePart():
                    items += self._drawn(part)
                case _:
                    self._unsupported.meaning("media of the assistant's")
            writing = None
        yield from map(_shortened, _settled(items, stored=self._stored))

    def _call(self, call: ToolCallPart) -> Item:
        self._kinds[call.id] = call.kind
        kind, name = _KINDS[call.kind]
        arguments = call.arguments
        if call.kind == "function":
            # What was wrong with an invalid call is in its result.
            arguments = as_object(arguments)
        return {
            "type": kind,
            **self._payload(call.provider_state),
            "call_id": _call_id(call.id),
            "name": call.name or "unknown",
            name: arguments,
        }

    def _drawn(self, part: ImagePart) -> Iterator[Item]:
        item = self._payload(part.provider_state)
        if item and part.data is not None:
            yield {**item, "result": in_base64(part.data)}
        else:
            self._unsupported.meaning("pictures of the assistant's")

    def _is_ours(self, state: ProviderState) -> bool:
        return state.provider == self._provider

    def _payload(self, state: ProviderState | None) -> Item:
        return dict(state.payload) if state and self._is_ours(state) else {}

    # -- tools -----------------------------------------------------------------------

    def _result(self, result: ToolResultPart) -> Item:
        kind, _ = _KINDS[self._kinds.get(result.call_id, "function")]
        parts = list(result.content)
        if result.is_error:
            # There is no field for it.
            match parts:
                case [TextPart(text), *others]:
                    parts = [TextPart(f"ERROR: {text}"), *others]
                case _:
                    parts = [TextPart("ERROR: "), *parts]
        output: str | list[Item]
        if all(isinstance(part, TextPart) for part in parts):
            output = "\n".join(
                part.text for part in parts if isinstance(part, TextPart)
            )
        else:
            output = [item for part in parts for item in self._content(part)]
        return {
            "type": f"{kind}_output",
            "call_id": _call_id(result.call_id),
            "output": output,
        }


def _said(role: str, content: list[Item]) -> Iterator[Item]:
    match content:
        case []:
            pass
        case [{"type": "input_text", "text": text, **others}] if not others:
            yield {"role": role, "content": text}
        case _:
            yield {"role": role, "content": content}


def _texts(message: Message) -> Iterator[str]:
    return (part.text for part in message.content if isinstance(part, TextPart))


def _image(part: ImagePart) -> Item:
    item = {"type": "input_image", "detail": part.detail or "auto"}
    if part.file_id is not None:
        return item | {"file_id": part.file_id}
    return item | {"image_url": part.url or data_url(part)}


def _document(part: DocumentPart) -> Item:
    if part.file_id is not None:
        return {"type": "input_file", "file_id": part.file_id}
    if part.url is not None:
        return {"type": "input_file", "file_url": part.url}
    name = part.name or "document.pdf"
    return {"type": "input_file", "filename": name, "file_data": data_url(part)}


def _spoken(head: Item) -> Item:
    return {
        "type": "message",
        **head,
        "role": "assistant",
        "status": "completed",
        "content": [],
    }


def _spoken_part(part: TextPart | RefusalPart) -> Item:
    if isinstance(part, RefusalPart):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": []}


def _settled(items: list[Item], *, stored: bool) -> Iterator[Item]:
    """Leave out ids that nobody can look up, and reasoning that is nothing else."""
    by_id = stored and any(
        item.get("type") == "reasoning" and not _carries_itself(item) for item in items
    )
    for item, follower in zip(items, [*items[1:], {}], strict=False):
        match item.get("type"):
            case "reasoning" if by_id:
                if follower.get("id"):
                    yield item
            case "reasoning":
                if _carries_itself(item):
                    yield _without(item, "id", "status")
            case "message" if not by_id:
                if any(part.get("text") != "" for part in item["content"]):
                    yield _without(item, "id")
            case "function_call" | "custom_tool_call" if not by_id:
                yield _without(item, "id")
            case _:
                yield item


def _carries_itself(reasoning: Item) -> bool:
    """Whether it holds what was thought; a summary is not that."""
    return bool(reasoning.get("encrypted_content") or reasoning.get("content"))


def _shortened(item: Item) -> Item:
    """A message of one text and without an id, in its simplest form."""
    match item:
        case {
            "type": "message",
            "content": [{"type": "output_text", "text": text}],
        } if "id" not in item:
            return {**_without(item, "status"), "content": text}
        case _:
            return item


def _without(item: Item, *names: str) -> Item:
    return {key: value for key, value in item.items() if key not in names}


def _call_id(id: str) -> str:
    """The id, or a stand-in that is not too long; the same for the result."""
    if len(id) <= _LONGEST_ID:
        return id
    return f"call_{hashlib.sha256(id.encode()).hexdigest()[:24]}"
