"""Anthropic's Messages: what is read out of a request, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..types import dumps
from ._sim_brain import OfferedTool, Question
from ._sim_dialect import Refused
from ._sim_seal import unseal

__all__ = ["read"]

#: Anthropic takes no other fields than it knows.
_FIELDS: Final = frozenset({
    "model", "max_tokens", "messages", "system", "stop_sequences", "stream",
    "temperature", "top_p", "top_k", "tools", "tool_choice", "thinking",
    "output_config", "output_format", "cache_control", "metadata", "service_tier",
    "speed", "inference_geo", "container", "diagnostics", "context_management",
    "mcp_servers", "fallbacks", "compaction", "thread",
})  # fmt: skip
#: The version that has no sampling any more.
_STRICTER: Final = "2026-10-21"
_OPAQUE: Final[Mapping[str, str]] = {"image": "[image]", "document": "[document]"}

Block = Mapping[str, Any]
#: A turn: its role and its blocks. Messages of the same role in a row make one turn.
Turn = tuple[str, list[Block]]


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
    """Understand a request. Raises `Refused` for what Anthropic would not take."""
    _check_fields(body, headers)
    turns = _turns(body["messages"])
    _check_turns(turns)
    _check_thinking(body, turns)
    said = [text for role, blocks in turns if role == "user" if (text := _text(blocks))]
    system = _blocks(body.get("system") or [])
    choice, names = _choice(body)
    tools = [t for t in body.get("tools") or () if not names or t["name"] in names]
    segments, cacheable = _segments(body, system, turns)
    config = body.get("output_config") or {}
    form = config.get("format") or body.get("output_format") or {}
    thinking = (body.get("thinking") or {}).get("type")
    return Question(
        model=str(body["model"]),
        prompt=said[-1] if said else "",
        system=_text(system),
        segments=segments,
        cacheable=cacheable,
        results=_results(turns),
        tools=tuple(map(_tool, tools)),
        choice=choice,
        parallel=not (body.get("tool_choice") or {}).get("disable_parallel_tool_use"),
        json=bool(form),
        schema=form.get("schema"),
        reason=thinking in ("enabled", "adaptive")
        or (thinking is None and config.get("effort") is not None),
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
    )


def _check_fields(body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    version = headers.get("anthropic-version")
    if not version:
        raise Refused("anthropic-version: header is required")
    for name in ("model", "max_tokens", "messages"):
        if body.get(name) is None:
            raise Refused(f"{name}: Field required")
    sampling = {"temperature", "top_p", "top_k"} if version == _STRICTER else set()
    for name in body:
        if name not in _FIELDS or name in sampling:
            raise Refused(f"{name}: Extra inputs are not permitted")
    limit = body["max_tokens"]
    if not isinstance(limit, int) or limit < 1:
        raise Refused("max_tokens: Input should be greater than or equal to 1")
    if not 0 <= body.get("temperature", 0) <= 1:
        raise Refused("temperature: range: 0..1")
    if not all(stop.strip() for stop in body.get("stop_sequences") or ()):
        raise Refused("stop_sequences: each stop sequence must contain non-whitespace")
    if body.get("tool_choice") is not None and not body.get("tools"):
        raise Refused("tool_choice: may only be specified while providing tools")


def _blocks(content: Any) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content)


def _turns(messages: Any) -> list[Turn]:
    if not isinstance(messages, list) or not messages:
        raise Refused("messages: at least one message is required")
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        blocks = _blocks(() if content is None else content)
        if role not in ("user", "assistant", "system"):
            raise Refused(
                f"messages.{index}.role: Input should be 'user' or 'assistant'"
            )
        last = index == len(messages) - 1
        if not blocks and not (last and role == "assistant"):
            raise Refused(
                f"messages.{index}: all messages must have non-empty content except for "
                "the optional final assistant message"
            )
        for block in blocks:
            if block["type"] == "text" and not block["text"].strip():
                raise Refused("messages: text content blocks must be non-empty")
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if turns[0][0] != "user":
        raise Refused('messages: first message must use the "user" role')
    return turns


def _check_turns(turns: Sequence[Turn]) -> None:
    """Each tool use has its result in the turn right after it, before anything else."""
    waiting: list[str] = []
    for role, blocks in turns:
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        # Results come first; after other blocks they do not count.
        leading = 0
        for block in blocks:
            if block["type"] != "tool_result":
                break
            leading += 1
        missing = [each for each in waiting if each not in results[:leading]]
        if missing:
            raise Refused(
                "messages: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(missing)}. Each `tool_use` block must "
                "have a corresponding `tool_result` block in the next message."
            )
        strange = [each for each in results if each not in waiting]
        if strange or len(set(results)) < len(results):
            raise Refused(
                "messages: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(strange or results)}."
            )
        waiting = [b["id"] for b in blocks if b["type"] == "tool_use"]
        if len(set(waiting)) < len(waiting):
            raise Refused("messages: `tool_use` ids must be unique")
        if role == "assistant":
            _check_signatures(blocks)
    if waiting:
        raise Refused(
            "messages: `tool_use` ids were found without `tool_result` blocks "
            f"immediately after: {', '.join(waiting)}."
        )


def _check_thinking(body: Mapping[str, Any], turns: Sequence[Turn]) -> None:
    thinking = body.get("thinking") or {}
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens", 0)
    if budget < 1024:
        raise Refused(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        )
    if budget >= body["max_tokens"]:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if forced:
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")
    latest = next(
        (blocks for role, blocks in reversed(turns) if role == "assistant"), []
    )
    kinds = [block["type"] for block in latest]
    if "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
        raise Refused(
            f"messages: Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`."
            " When `thinking` is enabled, a final `assistant` message must start with a"
            " thinking block."
        )


def _choice(body: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    match body.get("tool_choice") or {"type": "auto"}:
        case {"type": "auto" | "none" as mode}:
            return mode, frozenset()
        case {"type": "any"}:
            return "required", frozenset()
        case {"type": "tool", "name": str(name)}:
            return "required", frozenset({name})
        case other:
            raise Refused(f"tool_choice: Input tag {other!r} is not one that is known")


def _tool(tool: Mapping[str, Any]) -> OfferedTool:
    schema = tool.get("input_schema") or {"type": "object"}
    return OfferedTool(tool["name"], tool.get("description") or "", schema)


def _text(blocks: Sequence[Block]) -> str:
    return " ".join(
        block["text"] if block["type"] == "text" else _OPAQUE[block["type"]]
        for block in blocks
        if block["type"] in ("text", *_OPAQUE)
    )


def _results(turns: Sequence[Turn]) -> tuple[tuple[str, str], ...]:
    names = {
        block["id"]: block["name"]
        for _, blocks in turns
        for block in blocks
        if block["type"] == "tool_use"
    }
    return tuple(
        (names[block["tool_use_id"]], _text(_blocks(block.get("content") or ())))
        for block in turns[-1][1]
        if block["type"] == "tool_result"
    )


def _segments(
    body: Mapping[str, Any], system: Sequence[Block], turns: Sequence[Turn]
) -> tuple[tuple[str, ...], int]:
    """The prompt in the order in which it is cached, and how far that has been asked for."""
    parts = [*(body.get("tools") or ()), *system, *(b for _, bs in turns for b in bs)]
    marked = [n for n, part in enumerate(parts, 1) if part.get("cache_control")]
    whole = body.get("cache_control") is not None
    cacheable = len(parts) if whole else max(marked, default=0)
    plain = ({k: v for k, v in p.items() if k != "cache_control"} for p in parts)
    return tuple(dumps(part).decode() for part in plain), cacheable


def _check_signatures(blocks: Sequence[Block]) -> None:
    for block in blocks:
        if block["type"] != "thinking":
            continue
        signed = unseal(block["signature"])
        if not signed:
            raise Refused("messages: Invalid `signature` in `thinking` block")
        # It is valid even where the text is not shown.
        if block["thinking"] not in ("", signed):
            raise Refused(
                "messages: `thinking` or `redacted_thinking` blocks in the latest "
                "assistant message cannot be modified."
            )
