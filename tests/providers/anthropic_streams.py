"""Our own recordings of the Messages API, and ways to play them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from aichat.providers.anthropic import MessagesDecoder
from aichat.testing import check_stream
from aichat.transport import ServerSentEvent, SSEDecoder
from aichat.types import ChatResponse, StreamChunk, dumps, fold

__all__ = ["RECORDINGS", "event", "events", "play", "recording", "response"]

_FOLDER = Path(__file__).parents[1] / "recordings" / "anthropic"
#: Those that end well.
RECORDINGS = sorted(
    path.stem for path in _FOLDER.glob("*.sse") if not path.stem.startswith("error_")
)


def recording(name: str) -> bytes:
    """The bytes of a stream."""
    return (_FOLDER / f"{name}.sse").read_bytes()


def play(body: bytes, cuts: Sequence[int] = ()) -> list[StreamChunk]:
    """The chunks of a stream whose bytes come in pieces."""
    framing, decoder = SSEDecoder(), MessagesDecoder(new_id=iter("abcdef").__next__)
    edges = [0, *sorted(cuts), len(body)]
    chunks: list[StreamChunk] = []
    for begin, end in pairwise(edges):
        for item in framing.decode(body[begin:end]):
            chunks += decoder.decode(item)
    return [*chunks, *decoder.flush()]


def response(name: str) -> ChatResponse:
    """What a recording folds to, having kept to the grammar."""
    return fold(check_stream(play(recording(name))))


def event(type: str, **fields: Any) -> ServerSentEvent:
    """One event, made up."""
    return ServerSentEvent(dumps({"type": type, **fields}), type)


def events(decoder: MessagesDecoder, *items: ServerSentEvent) -> list[StreamChunk]:
    """Everything that *decoder* makes of *items*."""
    return flatten(decoder.decode(item) for item in items)


def flatten(chunks: Iterable[Iterable[StreamChunk]]) -> list[StreamChunk]:
    """One list of many."""
    return [chunk for some in chunks for chunk in some]
