"""
Our messages to Ollama's: one text each, with pictures beside it.

See: https://docs.ollama.com/api/chat
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, assert_never

from attrs import define, field

from ..errors import InvalidRequestError
from ..types import (
    AudioPart,
    ChatRequest,
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
from ._ollama_media import image_text
from ._unsupported import Unsupported

__all__ = ["Conversation"]

_Wire: TypeAlias = dict[str, Any]


@define
class Conversation:
    """Builds the ``messages`` of one request."""

    _request: ChatRequest
    _unsupported: Unsupported
    #: The latest name of each call, which its result has to repeat.
    _names: dict[str, str] = field(factory=dict, init=False)
    #: Pictures that tools have answered with, until the user can show them.
    _shown: list[str] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)

    def encode(self) -> list[_Wire]:
        """Return all of them."""
        messages = self._request.messages
        names = [message.name for message in messages if message.name is not None]
        self._unsupported.sampling("names of participants", tuple(names))
        # A thought serves the tool calls that came of it, until the user speaks again.
        spoken = max(
            (n for n, message in enumerate(messages) if message.role is Role.USER),
            default=-1,
        )
        wire: list[_Wire] = []
        for index, message in enumerate(messages):
            if message.role is Role.TOOL:
                wire += self._results(message)
                continue
            wire += self._show()
            wire.append(self._message(message, thinking=index > spoken))
        return [*wire, *self._show()]

    def _message(self, message: Message, *, thinking: bool) -> _Wire:
        said = message.role is Role.ASSISTANT
        texts: list[str] = []
        thoughts: list[str] = []
        images: list[str] = []
        calls: list[_Wire] = []
        for part in message.content:
            match part:
                case ReasoningPart():
                    # With a state it is another provider's, bound to that state.
                    if thinking and part.provider_state is None:
                        thoughts.append(part.text)
                case ToolCallPart():
                    calls.append(self._call(part, len(calls)))
                case ImagePart():
                    images += self._image(part)
                case _:
                    texts += self._text(part, said=said)
        # What was said around a tool call was said in one go; parts of a prompt were not.
        content = ("" if said else "\n").join(texts)
        wire: _Wire = {"role": str(message.role), "content": content}
        extras = {
            "thinking": "".join(thoughts),
            "images": images,
            "tool_calls": calls,
        }
        return wire | {name: value for name, value in extras.items() if value}

    def _text(self, part: Part, *, said: bool) -> list[str]:
        """The text of *part*; *said* by the assistant or not."""
        match part:
            case TextPart() | RefusalPart():
                return [part.text] if part.text else []
            case AudioPart(transcript=str(words)) if said:
                self._unsupported.adjusted("Of what was spoken, the words were sent.")
                return [words]
            case AudioPart():
                self._unsupported.meaning("audio")
            case DocumentPart():
                why = "it reads text and images: pass the text of it"
                self._unsupported.meaning("documents", why=why)
            case OpaquePart():
                pass  # another provider's
            case (
                ReasoningPart() | ToolCallPart() | ToolResultPart() | ImagePart()
            ):  # pragma: no cover - others have them
                raise AssertionError(part)
            case _:
                assert_never(part)
        return []

    def _image(self, part: ImagePart) -> list[str]:
        text = image_text(part, self._unsupported)
        return [] if text is None else [text]

    def _call(self, part: ToolCallPart, index: int) -> _Wire:
        if not part.name:
            raise InvalidRequestError(
                "A tool call without a name cannot be sent.", operation="chat"
            )
        self._names[part.id] = part.name
        try:
            value = parse_arguments(part.arguments)
        except ValueError:
            # A text in place of the object is refused. A custom tool takes free text; a
            # call that was no JSON has to be recognised by the model that made it.
            key = "input" if part.kind == "custom" else "INVALID_JSON"
            value = {key: part.arguments}
        function = {"index": index, "name": part.name, "arguments": value}
        return {"id": part.id, "function": function}

    # -- results ---------------------------------------------------------------------

    def _results(self, message: Message) -> Iterator[_Wire]:
        for part in message.content:
            assert isinstance(part, ToolResultPart)
            content = "\n".join(self._result(part.content))
            yield {
                "role": "tool",
                # The oldest servers go by the order, others by the name, the newest by
                # the id.
                "tool_name": part.name or self._names[part.call_id],
                "tool_call_id": part.call_id,
                "content": f"ERROR: {content}" if part.is_error else content,
            }

    def _result(self, parts: Sequence[Part]) -> Iterator[str]:
        for part in parts:
            if not isinstance(part, ImagePart):
                yield from self._text(part, said=False)
                continue
            for image in self._image(part):
                self._shown.append(image)
                self._count += 1
                yield f"[image {self._count}, shown by the user]"

    def _show(self) -> list[_Wire]:
        """The user's message with what tools have answered with, if that was pictures."""
        images, self._shown = self._shown, []
        if not images:
            return []
        self._unsupported.adjusted(
            "Images in tool results were sent with a user message after them: a tool's "
            "message has none."
        )
        first = self._count - len(images) + 1
        numbers = ", ".join(str(n) for n in range(first, self._count + 1))
        content = f"From the results of the tools: image {numbers}."
        return [{"role": "user", "content": content, "images": images}]
