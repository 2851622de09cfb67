"""
The opening of an answer: everything before it has said something.

Up to there a call can be made once more, or elsewhere, and nobody notices.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ..types import ResponseStart, StreamChunk, UsageUpdate

__all__ = ["opening"]


async def opening(chunks: AsyncGenerator[StreamChunk, None]) -> list[StreamChunk]:
    """
    Pull until there is output, or the end of the answer, and return what came.

    What comes first and is no output (`ResponseStart`, `UsageUpdate`) is held back, as it
    would be of no use if the call is made once more.
    """
    came: list[StreamChunk] = []
    async for chunk in chunks:
        came.append(chunk)
        if not isinstance(chunk, (ResponseStart, UsageUpdate)):
            break
    return came
