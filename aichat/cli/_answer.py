"""An answer on the screen."""

from __future__ import annotations

from collections.abc import Iterator

from .._stream import ChatStream
from ..types import (
    AudioPart,
    ChatResponse,
    DocumentPart,
    FinishReason,
    ImagePart,
    ReasoningDelta,
    ReasoningPart,
    RefusalPart,
    TextDelta,
    TextPart,
    ToolCallPart,
)
from ._console import Console, one_line

__all__ = ["remarks", "show_rest", "show_stream"]


async def show_stream(
    stream: ChatStream, console: Console, *, show_reasoning: bool
) -> None:
    """Write the answer as it comes, and what else there is to know at its end."""
    async with stream:
        async for chunk in stream:
            match chunk:
                case TextDelta(text):
                    console.say(text)
                case ReasoningDelta(text) if show_reasoning:
                    console.aside(text)
                case _:
                    pass  # Shown whole at the end, or not at all.
    show_rest(await stream.response(), console)


def show_rest(response: ChatResponse, console: Console) -> None:
    """Write what an answer holds besides its text."""
    console.fresh()
    for part in response.message.content:
        if isinstance(part, ToolCallPart):
            why = f" (not usable: {part.invalid})" if part.invalid else ""
            console.line(one_line(f"→ {part.name}({part.arguments}){why}"))
    for remark in remarks(response):
        console.note(remark)


def remarks(response: ChatResponse) -> Iterator[str]:
    """Everything about an answer that its reader should not miss, in lines."""
    for part in response.message.content:
        match part:
            case RefusalPart():
                yield f"(refused: {part.text})"
            case ImagePart() | AudioPart() | DocumentPart():
                kind = type(part).__name__.removesuffix("Part").lower()
                yield f"({kind}: it cannot be shown here, but `complete --json` has it)"
            case TextPart(citations=citations):
                sources = (" ".join(filter(None, (c.title, c.url))) for c in citations)
                yield from (
                    f"(source: {each})" for each in dict.fromkeys(sources) if each
                )
            case _:
                pass
    if all(isinstance(part, ReasoningPart) for part in response.message.content):
        yield "(the answer is empty)"
    for warning in response.warnings:
        yield f"Warning: {warning}"
    if reason := _ending(response):
        yield f"({reason})"


def _ending(response: ChatResponse) -> str | None:
    """Why it ended, unless that is the usual thing."""
    match response.finish_reason:
        case FinishReason.LENGTH:
            return "cut off at the token limit"
        case FinishReason.CONTENT_FILTER:
            return "stopped by a content filter"
        case FinishReason.PAUSED:
            return "paused: the model wants to be asked to go on"
        case FinishReason.ERROR:
            return f"the provider says that it failed: {response.raw_finish_reason}"
        case FinishReason.OTHER:
            return f"ended for a reason of the provider's: {response.raw_finish_reason}"
        case _:
            return None
