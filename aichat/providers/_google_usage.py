"""
What Gemini says about tokens, in our terms.

Thoughts are counted apart from the candidates, and what the provider's own tools read apart
from the prompt. A count that is zero is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..types import Usage

__all__ = ["usage_of"]


def usage_of(raw: Mapping[str, Any], *, final: bool) -> Usage:
    """
    Normalise *raw*, the merged ``usageMetadata`` of a stream.

    Before the end, when it is not *final*, the output is a moving number and left out.

    >>> usage_of({"promptTokenCount": 8, "thoughtsTokenCount": 3}, final=True).output_tokens
    3
    """
    prompt = _count(raw, "promptTokenCount")
    by_tools = _count(raw, "toolUsePromptTokenCount")
    total = _count(raw, "totalTokenCount")
    sent = None if prompt is None else prompt + (by_tools or 0)
    thought = generated = None
    if final:
        said = _count(raw, "candidatesTokenCount")
        thought = _count(raw, "thoughtsTokenCount")
        generated = _generated(sent, said, thought, total)
    cached = _count(raw, "cachedContentTokenCount")
    return Usage(
        input_tokens=sent,
        output_tokens=generated,
        cache_read_tokens=_part_of(cached, sent),
        reasoning_tokens=_part_of(thought, generated),
        complete=final,
        raw=raw,
    )


def _generated(
    sent: int | None, said: int | None, thought: int | None, total: int | None
) -> int | None:
    if said is None and thought is None:
        # Nothing came, unless it was left out of all counts but the total.
        return None if sent is None or total is None else max(0, total - sent)
    if sent is not None and said is not None and sent + said == total:
        # Some answers of Vertex AI count thoughts among the candidates.
        return max(said, thought or 0)
    return (said or 0) + (thought or 0)


def _part_of(count: int | None, whole: int | None) -> int | None:
    """*count*, unless it is more than that of which it should be a part."""
    if count is None or whole is None or count <= whole:
        return count
    return None


def _count(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    # Whole numbers of 64 bits may come as text (protobuf's JSON).
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        value = int(value)
    return value if type(value) is int and value >= 0 else None
