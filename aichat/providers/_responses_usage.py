"""What a response says about tokens and about its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..types import FinishReason, Usage

__all__ = ["normal_finish", "normal_usage"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "completed": FinishReason.STOP,
    "max_output_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    # In the background, or taken over by another input: it goes on.
    "queued": FinishReason.PAUSED,
    "in_progress": FinishReason.PAUSED,
    "steered": FinishReason.PAUSED,
    "cancelled": FinishReason.ERROR,
}


def normal_finish(raw: str, *, called: bool, refused: bool) -> FinishReason:
    """Say why an answer ended whose status, or reason for being incomplete, is *raw*."""
    reason = _FINISH.get(raw, FinishReason.OTHER)
    if reason is FinishReason.STOP:
        if called:
            return FinishReason.TOOL_CALLS
        if refused:
            return FinishReason.CONTENT_FILTER
    return reason


def normal_usage(raw: Mapping[str, Any]) -> Usage:
    """Read a usage object; what it does not say is ``None``."""
    sent, generated = raw.get("input_tokens_details"), raw.get("output_tokens_details")
    return Usage(
        input_tokens=_count(raw, "input_tokens"),
        output_tokens=_count(raw, "output_tokens"),
        cache_read_tokens=_count(sent, "cached_tokens"),
        cache_write_tokens=_count(sent, "cache_write_tokens"),
        reasoning_tokens=_count(generated, "reasoning_tokens"),
        raw=raw,
    )


def _count(holder: Any, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value
