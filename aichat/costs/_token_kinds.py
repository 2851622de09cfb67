"""
The tokens of a call by what they are charged as.

A `Usage` counts wholes and their parts: input, of which so much was cached. Here every token
is in one kind only, so that prices can be multiplied and summed up. What only some providers
tell (audio, images, how long a cache entry lives) is read from their own numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from ..types import Usage

__all__ = ["INPUT_KINDS", "OUTPUT_KINDS", "Counts", "count_kinds"]

#: How many there are of each kind; those that there are none of are left out.
Counts: TypeAlias = Mapping[str, int]

#: Each input token is in one of these.
INPUT_KINDS: Final[tuple[str, ...]] = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "input_image",
    "input_video",
    "cache_read_audio",
    "cache_read_image",
)
#: Each output token is in one of these.
OUTPUT_KINDS: Final[tuple[str, ...]] = (
    "output",
    "reasoning",
    "citation",
    "output_audio",
    "output_image",
    "output_video",
)

_MEDIA: Final[tuple[str, ...]] = ("audio", "image", "video")

#: Where providers put what `Usage` has no field for. Several places of one kind are never
#: in the same answer, except where a list names the modality of each entry.
_DETAILS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "cache_write_1h": (("cache_creation", "ephemeral_1h_input_tokens"),),
    "input_audio": (("prompt_tokens_details", "audio_tokens"),),
    "input_image": (("prompt_tokens_details", "image_tokens"),),
    "output_audio": (("completion_tokens_details", "audio_tokens"),),
    "output_image": (("completion_tokens_details", "image_tokens"),),
    "citation": (("citation_tokens",),),
    "web_searches": (
        ("server_tool_use", "web_search_requests"),
        ("num_search_queries",),
    ),
}
#: Lists of ``{"modality": "AUDIO", "tokenCount": 3}``, by what their entries are part of.
_MODALITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("promptTokensDetails", "toolUsePromptTokensDetails"),
    "output": ("candidatesTokensDetails",),
    "cache_read": ("cacheTokensDetails",),
}
#: What a page of a document is charged as.
_ALIASES: Final = {"document": "image"}


def count_kinds(usage: Usage) -> dict[str, int]:
    """
    Put every token of *usage* into one kind; the parts never exceed their wholes.

    (A provider's nonsense, such as more cached tokens than input, is cut back.)

    >>> count_kinds(Usage(input_tokens=10, cache_read_tokens=8, output_tokens=3))
    {'input': 2, 'cache_read': 8, 'output': 3}
    """
    details = _details(usage.raw)
    counts: dict[str, int] = dict.fromkeys((*INPUT_KINDS, *OUTPUT_KINDS), 0)
    _split_input(counts, usage, details)
    _split_output(counts, usage, details)
    counts["web_searches"] = details.get("web_searches", 0)
    return {kind: count for kind, count in counts.items() if count}


def _split_input(counts: dict[str, int], usage: Usage, details: Counts) -> None:
    left = _known(usage.input_tokens)
    read = min(_known(usage.cache_read_tokens), left)
    left -= read
    written = min(_known(usage.cache_write_tokens), left)
    left -= written
    longer = min(details.get("cache_write_1h", 0), written)
    counts["cache_write"], counts["cache_write_1h"] = written - longer, longer
    for medium in _MEDIA:
        part = details.get(f"input_{medium}", 0)
        cached = min(details.get(f"cache_read_{medium}", 0), part, read)
        if f"cache_read_{medium}" in counts:
            counts[f"cache_read_{medium}"] = cached
            read -= cached
            part -= cached
        counts[f"input_{medium}"] = part = min(part, left)
        left -= part
    counts["input"], counts["cache_read"] = left, read


def _split_output(counts: dict[str, int], usage: Usage, details: Counts) -> None:
    left = _known(usage.output_tokens)
    counts["reasoning"] = thought = min(_known(usage.reasoning_tokens), left)
    left -= thought
    for medium in _MEDIA:
        part = min(details.get(f"output_{medium}", 0), left)
        counts[f"output_{medium}"] = part
        left -= part
    counts["output"] = left
    # Perplexity counts them beside the answer.
    counts["citation"] = details.get("citation", 0)


def _details(raw: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for kind, paths in _DETAILS.items():
        for path in paths:
            if count := _count_at(raw, path):
                found[kind] = count
    for whole, names in _MODALITIES.items():
        for name in names:
            for modality, count in _by_modality(raw.get(name)):
                kind = f"{whole}_{_ALIASES.get(modality, modality)}"
                found[kind] = found.get(kind, 0) + count
    return found


def _by_modality(entries: object) -> Iterator[tuple[str, int]]:
    if not isinstance(entries, list):
        return
    for entry in entries:
        match entry:
            case {"modality": str(modality)}:
                yield modality.lower(), _count_at(entry, ("tokenCount",))
            case _:
                pass  # whatever they invent next


def _count_at(holder: Any, path: tuple[str, ...]) -> int:
    for name in path:
        if not isinstance(holder, Mapping):
            return 0
        holder = holder.get(name)
    return max(holder, 0) if type(holder) is int else 0


def _known(count: int | None) -> int:
    return max(count or 0, 0)
