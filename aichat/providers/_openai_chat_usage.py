"""What Chat Completions say about tokens and about the end, in everybody's spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..types import FinishReason, Usage

__all__ = ["merge_usage", "normal_finish", "normal_usage"]

_FINISH: Mapping[str, FinishReason] = {
    raw: reason
    for reason, raws in {
        FinishReason.STOP: "stop eos end_turn stop_sequence",
        # Mistral says model_length, Z.ai model_context_window_exceeded.
        FinishReason.LENGTH: "length max_tokens model_length model_context_window_exceeded",
        FinishReason.TOOL_CALLS: "tool_calls function_call tool_use",
        # Z.ai says sensitive.
        FinishReason.CONTENT_FILTER: "content_filter safety sensitive refusal",
        # DeepSeek's, Z.ai's and vLLM's words, besides OpenRouter's and Mistral's.
        FinishReason.ERROR: "error insufficient_system_resource network_error abort",
    }.items()
    for raw in raws.split()
}


def normal_finish(raw: str | None, *, calls: bool, refused: bool) -> FinishReason:
    """
    Say why the answer ended.

    Tool calls and refusals turn a normal end, or none at all, into what they are: servers
    say ``stop`` for both. They change nothing about an answer that was cut.
    """
    reason = FinishReason.STOP if raw == "" else _FINISH.get(raw or "")
    if raw is None or reason is FinishReason.STOP:
        if calls:
            return FinishReason.TOOL_CALLS
        if refused:
            return FinishReason.CONTENT_FILTER
    return reason or FinishReason.OTHER


def merge_usage(*snapshots: Any) -> dict[str, Any]:
    """Lay *snapshots* over each other: the last one that knows a field counts."""
    merged: dict[str, Any] = {}
    for snapshot in snapshots:
        if isinstance(snapshot, dict):
            merged |= {k: v for k, v in snapshot.items() if v is not None}
    return merged


def normal_usage(raw: Mapping[str, Any]) -> Usage:
    """Read a usage object; what it does not say is ``None``."""
    # Mistral once misspelt it.
    sent = raw.get("prompt_tokens_details") or raw.get("prompt_token_details")
    generated = raw.get("completion_tokens_details")
    input_tokens = _count(raw, "prompt_tokens")
    output_tokens = _count(raw, "completion_tokens")
    total_tokens = _count(raw, "total_tokens")
    reasoning = _first(
        _count(generated, "reasoning_tokens"), _count(raw, "reasoning_tokens")
    )
    if reasoning and output_tokens is not None:
        # xAI leaves reasoning out of completion_tokens and has it in the total; Gemini
        # behind a gateway has it in neither. Then the whole is smaller than its part.
        apart = (input_tokens or 0) + output_tokens + reasoning
        if reasoning > output_tokens or total_tokens == apart:
            output_tokens += reasoning
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=_first(
            _count(sent, "cached_tokens"),
            _count(raw, "prompt_cache_hit_tokens"),  # DeepSeek
            _count(raw, "num_cached_tokens"),  # Mistral
            _count(raw, "cached_tokens"),  # Moonshot, Together
        ),
        cache_write_tokens=_count(sent, "cache_write_tokens"),
        reasoning_tokens=reasoning,
        raw=raw,
    )


def _count(holder: Any, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
