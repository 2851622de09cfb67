"""Our messages to those of Chat Completions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field

from ..types import (
    AudioPart,
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
    dumps,
)
from ._openai_chat_quirks import Quirks
from ._openai_content import as_object, cache_breakpoint, data_url, in_base64
from ._unsupported import Unsupported

__all__ = ["MessageEncoder"]

_AUDIO = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
# Anthropic's lifetimes, as OpenRouter takes them.
_ANTHROPIC_TTL = {"short": "5m", "long": "1h"}


@define
class MessageEncoder:
    """Encodes the messages of one request."""

    _request: ChatRequest
    _quirks: Quirks
    #: Whose opaque state may go back.
    _provider: str
    _unsupported: Unsupported
    #: ``developer`` for OpenAI's reasoning models.
    _system: str = field(default="system", alias="system")
    #: Whether this model takes cache marks.
    _marks: bool = field(default=True, alias="marks")
    #: What tools showed: these messages may hold only text, so it follows them.
    _shown: list[dict[str, Any]] = field(factory=list, init=False)

    def encode(self) -> list[dict[str, Any]]:
        """All messages, in order."""
        messages = self._request.messages
        loop = _start_of_tool_loop(messages)
        encoded: list[dict[str, Any]] = []
        for position, message in enumerate(messages):
            if message.role is not Role.TOOL:
                encoded += self._take_shown()
            encoded += self._encode(message, in_loop=position >= loop)
        encoded += self._take_shown()
        if messages[-1].role is Role.ASSISTANT:
            self._continue(encoded[-1])
        return encoded

    def _continue(self, message: dict[str, Any]) -> None:
        if self._quirks.prefill is None:
            self._unsupported.meaning(
                "prefill", why="the assistant cannot be made to continue a message"
            )
        else:
            message |= self._quirks.prefill

    def _encode(self, message: Message, *, in_loop: bool) -> Iterator[dict[str, Any]]:
        if message.role is Role.TOOL:
            for part in message.content:
                assert isinstance(part, ToolResultPart)
                yield self._tool_result(part)
            return
        encoded: dict[str, Any] = {"role": str(message.role)}
        if message.name is not None:
            if self._quirks.names:
                encoded["name"] = message.name
            else:
                self._unsupported.sampling("the name of a message")
        match message.role:
            case Role.SYSTEM:
                encoded["role"] = self._system
                encoded["content"] = self._content(message.content)
            case Role.USER:
                encoded["content"] = self._content(message.content)
            case Role.ASSISTANT:
                self._assistant(message, encoded, in_loop=in_loop)
        yield encoded

    # -- system and user -------------------------------------------------------------

    def _content(self, parts: Sequence[Part]) -> str | list[dict[str, Any]]:
        items = [item for part in parts for item in self._item(part)]
        if all(item.keys() == {"type", "text"} for item in items):
            # Groq, vLLM and Ollama fail on lists here and there; a text works everywhere.
            return "\n".join(item["text"] for item in items)
        return items

    def _item(self, part: Part) -> Iterator[dict[str, Any]]:
        match part:
            case TextPart(text):
                if text:
                    yield self._marked({"type": "text", "text": text}, part.cache)
            case ImagePart():
                for item in self._image(part):
                    yield self._marked(item, part.cache)
            case AudioPart():
                for item in self._audio(part):
                    yield self._marked(item, part.cache)
            case DocumentPart():
                for item in self._document(part):
                    yield self._marked(item, part.cache)
            case OpaquePart(_, state):
                if self._is_ours(state):
                    yield state.payload
            case _:
                # `check_conversation` lets no other part get here.
                pass

    def _marked(self, item: dict[str, Any], hint: CacheHint | None) -> dict[str, Any]:
        if hint is None or not self._marks:
            return item
        match self._quirks.cache:
            case "prompt_cache_breakpoint":
                return item | cache_breakpoint(hint)
            case "cache_control":
                mark = {"type": "ephemeral"}
                if hint.ttl:
                    mark["ttl"] = _ANTHROPIC_TTL[hint.ttl]
                return item | {"cache_control": mark}
            case None:
                return item

    def _image(self, part: ImagePart) -> Iterator[dict[str, Any]]:
        if part.file_id is not None:
            self._unsupported.meaning("an image by its file_id", why="pass its bytes")
            return
        image = {"url": part.url or data_url(part)}
        if part.detail:
            image["detail"] = part.detail
        yield {"type": "image_url", "image_url": image}

    def _audio(self, part: AudioPart) -> Iterator[dict[str, Any]]:
        if part.data is None:
            self._unsupported.meaning(
                "audio by its URL or file_id", why="pass its bytes"
            )
            return
        kind = _AUDIO.get(part.require_media_type())
        if kind is None:
            self._unsupported.meaning(f"audio of the type {part.media_type}")
            return
        data = data_url(part) if self._quirks.audio_url else in_base64(part.data)
        yield {"type": "input_audio", "input_audio": {"data": data, "format": kind}}

    def _document(self, part: DocumentPart) -> Iterator[dict[str, Any]]:
        if not self._quirks.documents:
            self._unsupported.meaning("documents")
            return
        if part.file_id is not None:
            yield {"type": "file", "file": {"file_id": part.file_id}}
            return
        if part.url is not None and not self._quirks.document_urls:
            self._unsupported.meaning("a document by its URL", why="pass its bytes")
            return
        file = {
            "file_data": part.url or data_url(part),
            "filename": part.name or "document.pdf",
        }
        yield {"type": "file", "file": file}

    # -- the assistant ---------------------------------------------------------------

    def _assistant(
        self, message: Message, encoded: dict[str, Any], *, in_loop: bool
    ) -> None:
        replay = self._quirks.replay
        if not in_loop and self._quirks.replay_scope == "tool_loop":
            replay = None
        content = self._said(message, thoughts=replay == "parts")
        calls = [self._call(call) for call in message.tool_calls]
        audio = self._audio_id(message)
        # None, where there is nothing else either, is refused everywhere.
        if content or not (calls or audio) or (calls and self._quirks.empty_content):
            encoded["content"] = content
        if calls:
            encoded["tool_calls"] = calls
        if audio:
            encoded["audio"] = {"id": audio}
        refusal = "".join(p.text for p in message.content if isinstance(p, RefusalPart))
        if refusal and self._quirks.refusals:
            encoded["refusal"] = refusal
        if replay in ("reasoning", "reasoning_content") and message.reasoning:
            encoded[replay] = message.reasoning
        if message.provider_state and self._is_ours(message.provider_state):
            encoded |= message.provider_state.payload

    def _said(self, message: Message, *, thoughts: bool) -> str | list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for part in message.content:
            match part:
                case TextPart(text) if text:
                    items.append({"type": "text", "text": text})
                case RefusalPart(text) if not self._quirks.refusals:
                    items.append({"type": "text", "text": text})
                case ReasoningPart(text) if thoughts:
                    thinking = [{"type": "text", "text": text}]
                    extra = self._payload(part.provider_state)
                    items.append({"type": "thinking", "thinking": thinking, **extra})
                case OpaquePart(_, state) if self._is_ours(state):
                    items.append(state.payload)
                case ImagePart() | DocumentPart():
                    self._unsupported.meaning(
                        "pictures or documents of the assistant's"
                    )
                case _:
                    # Elsewhere in the message, or nothing that this vendor wants back.
                    pass
        if all(item.get("type") == "text" for item in items):
            return "".join(item["text"] for item in items)
        return items

    def _call(self, call: ToolCallPart) -> dict[str, Any]:
        encoded: dict[str, Any] = {"id": self._call_id(call.id)}
        if call.kind == "custom" and self._quirks.custom_tools:
            custom = {"name": call.name, "input": call.arguments}
            return encoded | {"type": "custom", "custom": custom}
        arguments = call.arguments
        if call.kind == "custom":
            arguments = dumps({"input": arguments}).decode()
        # Servers parse this in their chat templates, and fail with 500 where it is no
        # JSON. What was wrong with the call is in its result.
        function = {"name": call.name or "unknown", "arguments": as_object(arguments)}
        extra = self._payload(call.provider_state)
        return encoded | {"type": "function", "function": function} | extra

    def _call_id(self, id: str) -> str:
        """The id, or a stand-in that every vendor takes; the same for the result."""
        pattern = self._quirks.call_id
        if pattern is None or re.fullmatch(pattern, id):
            return id
        return hashlib.sha256(id.encode()).hexdigest()[:9]

    def _audio_id(self, message: Message) -> str | None:
        for part in message.content:
            if isinstance(part, AudioPart):
                audio = self._payload(part.provider_state).get("audio", {})
                if "id" in audio:
                    return str(audio["id"])
                self._unsupported.meaning(
                    "audio of the assistant's that is not its own"
                )
        return None

    def _is_ours(self, state: ProviderState) -> bool:
        return state.provider == self._provider

    def _payload(self, state: ProviderState | None) -> dict[str, Any]:
        return dict(state.payload) if state and self._is_ours(state) else {}

    # -- tools -----------------------------------------------------------------------

    def _tool_result(self, result: ToolResultPart) -> dict[str, Any]:
        texts = []
        for part in result.content:
            if isinstance(part, TextPart):
                texts.append(part.text)
            else:
                items = [*self._item(part)]
                self._shown += items
                kind = "image" if isinstance(part, ImagePart) else "document"
                if items:
                    texts.append(f"[{kind} {len(self._shown)}: see the next message]")
        text = "\n".join(texts)
        return {
            "role": "tool",
            "tool_call_id": self._call_id(result.call_id),
            # There is no field for it.
            "content": f"ERROR: {text}" if result.is_error else text,
        }

    def _take_shown(self) -> Iterator[dict[str, Any]]:
        if self._shown:
            yield {"role": "user", "content": self._shown}
            self._shown = []


def _start_of_tool_loop(messages: Sequence[Message]) -> int:
    """The position after the last message of the user's."""
    users = (i for i, message in enumerate(messages) if message.role is Role.USER)
    return max(users, default=-1) + 1
