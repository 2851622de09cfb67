"""Our own recordings of Chat Completions, and ways to play them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from aichat.providers.openai_chat import ChatCompletionsDecoder
from aichat.testing import check_stream
from aichat.transport import ServerSentEvent, SSEDecoder
from aichat.types import ChatResponse, StreamChunk, dumps, fold

__all__ = ["RECORDINGS", "chunk", "decoder", "delta", "fold_of", "play", "recording"]

_FOLDER = Path(__file__).parents[1] / "recordings" / "openai_chat"
#: Those that end well.
RECORDINGS = sorted(
    path.stem for path in _FOLDER.glob("*.sse") if not path.stem.startswith("error_")
)


def recording(name: str) -> bytes:
    """The bytes of a stream."""
    return (_FOLDER / f"{name}.sse").read_bytes()


def decoder(**options: Any) -> ChatCompletionsDecoder:
    """A decoder that makes up ids that a test can know: ``made_1`` …"""
    return ChatCompletionsDecoder(**{"make_id": _made_ids(), **options})


def _made_ids() -> Callable[[], str]:
    ids: Iterator[str] = (f"made_{n}" for n in count(1))
    return ids.__next__


def play(body: bytes, cuts: Sequence[int] = (), **options: Any) -> list[StreamChunk]:
    """The chunks of a stream whose bytes come in pieces."""
    framing, target = SSEDecoder(), decoder(**options)
    chunks: list[StreamChunk] = []
    for begin, end in pairwise([0, *sorted(cuts), len(body)]):
        for event in framing.decode(body[begin:end]):
            chunks += target.decode(event)
    return [*chunks, *target.flush()]


def chunk(value: Any, type: str = "message") -> ServerSentEvent:
    """An event with *value* as its data; text and bytes are taken as they are."""
    if isinstance(value, str):
        value = value.encode()
    raw = value if isinstance(value, bytes) else dumps(value)
    return ServerSentEvent(raw, type)


def delta(finish: str | None = None, **fields: Any) -> ServerSentEvent:
    """An event with *fields* in its delta."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return chunk({"id": "chatcmpl-1", "model": "m", "choices": [choice]})


def fold_of(*events: ServerSentEvent, **options: Any) -> ChatResponse:
    """What *events* fold to, if they keep to the grammar."""
    target = decoder(**options)
    chunks = [c for event in events for c in target.decode(event)]
    return fold(check_stream([*chunks, *target.flush()]))
