"""
What makes a sequence of messages a conversation.

Providers refuse the same mistakes with a hundred different errors, after a round trip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from ..errors import InvalidRequestError
from ._messages import (
    AudioPart,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

__all__ = ["check_conversation"]

_MAY_HOLD: Mapping[Role, tuple[type, ...]] = {
    Role.SYSTEM: (TextPart,),
    Role.USER: (TextPart, ImagePart, AudioPart, DocumentPart, OpaquePart),
    Role.ASSISTANT: (
        TextPart,
        ReasoningPart,
        RefusalPart,
        ToolCallPart,
        ImagePart,
        AudioPart,
        DocumentPart,
        OpaquePart,
    ),
    Role.TOOL: (ToolResultPart,),
}


def check_conversation(messages: Sequence[Message], *, prefill: bool) -> None:
    """Raise `InvalidRequestError` that names the first message that is out of order."""
    if not messages:
        raise InvalidRequestError("There are no messages.", operation="chat")
    #: The calls of the latest assistant message that have no result yet.
    open_calls: dict[str, str] = {}
    for index, message in enumerate(messages):
        _check_message(index, message)
        if message.role is Role.TOOL:
            _close_calls(index, message, open_calls)
            continue
        if open_calls:
            _unanswered(open_calls, f"before message {index} ({message.role})")
        for call in message.tool_calls:
            if call.id in open_calls:
                _refuse(index, f"has two tool calls with the id {call.id!r}.")
            open_calls[call.id] = call.name
    if open_calls:
        _unanswered(open_calls, "before the conversation ends")
    last = messages[-1]
    if last.role is Role.ASSISTANT and not prefill:
        _refuse(
            len(messages) - 1,
            "is the last one and the assistant's. Add a user message, or pass "
            "prefill=True to let the model continue it.",
        )
    if all(message.role is Role.SYSTEM for message in messages):
        raise InvalidRequestError(
            "There are only system messages: add a user message.", operation="chat"
        )


def _check_message(index: int, message: object) -> None:
    if not isinstance(message, Message):
        kind = type(message).__name__
        _refuse(
            index, f"is a {kind}, not a Message: use system(), user(), assistant()."
        )
    if not message.content:
        _refuse(index, f"({message.role}) has no content.")
    allowed = _MAY_HOLD[message.role]
    for part in message.content:
        if not isinstance(part, allowed):
            kind = type(part).__name__
            _refuse(index, f"({message.role}) cannot hold a {kind}.")
    plain = [p for p in message.content if isinstance(p, TextPart)]
    if len(plain) == len(message.content) and not any(
        p.text or p.provider_state for p in plain
    ):
        _refuse(index, f"({message.role}) has nothing but empty text.")


def _close_calls(index: int, message: Message, open_calls: dict[str, str]) -> None:
    for part in message.content:
        assert isinstance(part, ToolResultPart)
        if part.call_id not in open_calls:
            known = ", ".join(map(repr, open_calls)) or "none"
            _refuse(
                index,
                f"answers the tool call {part.call_id!r}, which is not open. Open: {known}.",
            )
        del open_calls[part.call_id]


def _unanswered(open_calls: Mapping[str, str], where: str) -> NoReturn:
    calls = ", ".join(f"{name} ({key})" for key, name in open_calls.items())
    raise InvalidRequestError(
        f"Every tool call needs its result {where}. Unanswered: {calls}. "
        "Add tool_result(call, …) messages.",
        operation="chat",
    )


def _refuse(index: int, what: str) -> NoReturn:
    raise InvalidRequestError(
        f"Message {index} {what}", operation="chat", context={"message": index}
    )
