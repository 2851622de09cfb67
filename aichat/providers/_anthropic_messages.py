"""
Our messages to Anthropic's: turns of blocks, the system prompt apart.

Roles have to alternate, tool results are the user's and come first in their turn, text
must not be blank, and whatever the model said goes back as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, assert_never

from attrs import define, field

from ..errors import InvalidRequestError
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
    parse_arguments,
)
from ._anthropic_blocks import PROVIDER
from ._anthropic_media import document_block, image_block
from ._anthropic_models import Claude
from ._unsupported import Unsupported

__all__ = ["CacheMarks", "Conversation", "cache_control"]

Block: TypeAlias = dict[str, Any]
_Turn: TypeAlias = tuple[Literal["user", "assistant", "system"], list[Block]]


def cache_control(hint: CacheHint) -> dict[str, str]:
    """The mark that *hint* asks for."""
    ttl = {"short": {"ttl": "5m"}, "long": {"ttl": "1h"}, None: {}}[hint.ttl]
    return {"type": "ephemeral", **ttl}


@define
class CacheMarks:
    """The blocks that are marked for the cache, in the order of the request."""

    _blocks: list[Block] = field(factory=list, init=False)

    def put(self, block: Block, hint: CacheHint | None) -> Block:
        """Mark *block*, if *hint* says so."""
        if hint is not None:
            block["cache_control"] = cache_control(hint)
            self._blocks.append(block)
        return block

    def keep_last(self, count: int) -> bool:
        """Take all but the last *count* marks off again; whether there were any."""
        surplus = self._blocks[:-count]
        for block in surplus:
            del block["cache_control"]
        return bool(surplus)


@define
class _Ids:
    """
    Ids of tool calls, as Anthropic takes them.

    They may come from any provider: with other characters, or the same one in every turn.
    """

    _used: set[str] = field(factory=set, init=False)
    #: The latest call of each id: the one that a result answers.
    _latest: dict[str, str] = field(factory=dict, init=False)

    def call(self, id: str) -> str:
        wanted = ours = re.sub(r"[^a-zA-Z0-9_-]", "_", id) or "call"
        count = 1
        while ours in self._used:
            count += 1
            ours = f"{wanted}_{count}"
        self._used.add(ours)
        self._latest[id] = ours
        return ours

    def result(self, id: str) -> str:
        return self._latest[id]


@define
class Conversation:
    """Builds ``system`` and ``messages`` of one request."""

    _request: ChatRequest
    _model: Claude
    _unsupported: Unsupported
    _marks: CacheMarks
    _ids: _Ids = field(factory=_Ids, init=False)
    _turns: list[_Turn] = field(factory=list, init=False)
    _reworded: bool = field(default=False, init=False)
    #: Whether the answer is to continue words that were put into the model's mouth.
    prefilled: bool = field(default=False, init=False)

    def encode(self) -> dict[str, Any]:
        """Return the two fields; ``system`` only if there is something to say."""
        messages = self._request.messages
        roles = [message.role for message in messages]
        start = next(n for n, role in enumerate(roles) if role is not Role.SYSTEM)
        names = [message.name for message in messages if message.name is not None]
        self._unsupported.sampling("names of participants", tuple(names))
        system = self._system(messages[:start])
        for index in range(start, len(messages)):
            self._add(messages[index], messages[index + 1 :])
        self._check_start()
        self._check_end()
        wire = [
            {"role": role, "content": _plain(blocks)} for role, blocks in self._turns
        ]
        return {"system": system, "messages": wire} if system else {"messages": wire}

    def _system(self, messages: Iterable[Message]) -> str | list[Block]:
        blocks = [b for message in messages for b in self._blocks(message)]
        if any("cache_control" in block for block in blocks):
            return blocks
        return "\n\n".join(block["text"] for block in blocks)

    def _add(self, message: Message, later: Sequence[Message]) -> None:
        blocks = self._blocks(message)
        match message.role:
            case Role.USER | Role.TOOL:
                self._turn("user", blocks)
            case Role.ASSISTANT:
                self._turn("assistant", blocks)
            case Role.SYSTEM if self._model.later_system and self._may_instruct(later):
                self._turn("system", blocks)
            case Role.SYSTEM:
                self._reword(blocks)
            case _:
                assert_never(message.role)

    def _turn(
        self, role: Literal["user", "assistant", "system"], blocks: list[Block]
    ) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1][0] == role:
            self._turns[-1][1].extend(blocks)
        else:
            self._turns.append((role, blocks))

    def _may_instruct(self, later: Sequence[Message]) -> bool:
        """
        Whether a system message may stand here.

        It follows the user, or the result of a tool that the provider ran, and nobody but
        the assistant follows it.
        """
        match self._turns:
            case [*_, ("user" | "system", _)]:
                fits = True
            case [*_, ("assistant", [*_, block])]:
                fits = str(block["type"]).endswith("_tool_result")
            case _:
                fits = False
        following = (m.role for m in later if m.role is not Role.SYSTEM)
        return fits and next(following, Role.ASSISTANT) is Role.ASSISTANT

    def _reword(self, blocks: list[Block]) -> None:
        for block in blocks:
            block["text"] = f"<system>\n{block['text']}\n</system>"
        self._turn("user", blocks)
        if blocks and not self._reworded:
            self._reworded = True
            self._unsupported.adjusted(
                "System messages after the first other message went as the user's, in "
                "<system> tags: there, this model takes no other."
            )

    def _check_start(self) -> None:
        match self._turns:
            case [("user", _), *_]:
                return
            case []:
                what = "there is nothing but empty text"
            case _:
                what = "the conversation begins with the assistant"
        raise InvalidRequestError(
            f"Anthropic wants a user message first, and {what}.", operation="chat"
        )

    def _check_end(self) -> None:
        role, blocks = self._turns[-1]
        if role != "assistant":
            return
        if not self._request.prefill:
            raise InvalidRequestError(
                "Nothing but empty text follows the assistant's last message.",
                operation="chat",
            )
        if any(map(_is_ours, self._request.messages[-1].content)):
            return  # the provider paused, and goes on with what it gets back
        if not self._model.prefill:
            self._unsupported.meaning(
                "prefill",
                why="since Claude 4.6 a conversation has to end with the user",
            )
            self._turns.pop()
            return
        self.prefilled = True
        last = blocks[-1]
        if last["type"] == "text" and last["text"] != last["text"].rstrip():
            last["text"] = last["text"].rstrip()
            self._unsupported.adjusted("The prefill was sent without its final space.")

    # -- parts -----------------------------------------------------------------------

    def _blocks(self, message: Message) -> list[Block]:
        said = message.role is Role.ASSISTANT
        return [b for part in message.content for b in self._part(part, said=said)]

    def _part(self, part: Part, *, said: bool) -> list[Block]:
        """The blocks of *part*, mostly one; *said* by the assistant or not."""
        match part:
            case TextPart():
                return self._text(part, said=said)
            case RefusalPart():
                return self._text(TextPart(part.text), said=said)
            case ReasoningPart():
                return _thinking(part)
            case OpaquePart():
                state = _ours(part.provider_state)
                return [] if state is None else [state]
            case ToolCallPart():
                return [self._call(part)]
            case ToolResultPart():
                return [self._result(part)]
            case AudioPart(transcript=str(words)) if said:
                self._unsupported.adjusted("Of what was spoken, the words were sent.")
                return self._text(TextPart(words), said=said)
            case AudioPart():
                return self._refuse("audio")
            case ImagePart() | DocumentPart() if said:
                return self._refuse("images and documents in an assistant message")
            case ImagePart() | DocumentPart():
                return self._media(part)
            case _:
                assert_never(part)

    def _refuse(self, what: str) -> list[Block]:
        self._unsupported.meaning(what)
        return []

    def _text(self, part: TextPart, *, said: bool) -> list[Block]:
        if not part.text.strip():
            return []  # refused, and says nothing
        block: Block = {"type": "text", "text": part.text}
        if said:
            states = (_ours(citation.provider_state) for citation in part.citations)
            # file_id is in answers, and refused in requests.
            citations = [
                {k: v for k, v in state.items() if k != "file_id"}
                for state in states
                if state is not None
            ]
            if citations:
                block["citations"] = citations
        return [self._marks.put(block, part.cache)]

    def _call(self, part: ToolCallPart) -> Block:
        if not part.name:
            raise InvalidRequestError(
                "A tool call without a name cannot be sent.", operation="chat"
            )
        try:
            value = parse_arguments(part.arguments)
        except ValueError:
            # A custom tool takes free text. For JSON that is none this is what
            # Anthropic asks for.
            key = "input" if part.kind == "custom" else "INVALID_JSON"
            value = {key: part.arguments}
        call = {
            "type": "tool_use",
            "id": self._ids.call(part.id),
            "name": part.name,
            "input": value,
        }
        return call | (_ours(part.provider_state) or {})

    def _result(self, part: ToolResultPart) -> Block:
        block: Block = {
            "type": "tool_result",
            "tool_use_id": self._ids.result(part.call_id),
        }
        content = [b for inner in part.content for b in self._part(inner, said=False)]
        if content:
            block["content"] = _plain(content)
        if part.is_error:
            block["is_error"] = True
        return self._marks.put(block, part.cache)

    def _media(self, part: ImagePart | DocumentPart) -> list[Block]:
        if isinstance(part, ImagePart):
            block = image_block(part, self._unsupported)
        else:
            block = document_block(part, self._unsupported)
        return [] if block is None else [self._marks.put(block, part.cache)]


def _thinking(part: ReasoningPart) -> list[Block]:
    """Nothing, for another provider's thoughts and those that were never signed."""
    state = _ours(part.provider_state)
    if state is None:
        return []
    match state:
        case {"type": "redacted_thinking"}:
            return [state]
        case {"signature": str()}:
            return [{"type": "thinking", "thinking": part.text, **state}]
        case _:
            return []


def _plain(blocks: list[Block]) -> str | list[Block]:
    """The shorter form, where it says the same."""
    match blocks:
        case [{"type": "text", "text": str(text)} as block] if len(block) == 2:
            return text
        case _:
            return blocks


def _is_ours(part: Part) -> bool:
    return isinstance(part, OpaquePart) and part.provider_state.provider == PROVIDER


def _ours(state: ProviderState | None) -> Block | None:
    """What is to go back to this provider; others' is not for it."""
    if state is None or state.provider != PROVIDER:
        return None
    return state.payload if isinstance(state.payload, dict) else None
