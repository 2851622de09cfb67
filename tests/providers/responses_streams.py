"""Our own recordings of the Responses API, and ways to play them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from aichat.providers.openai import ResponsesDecoder
from aichat.testing import check_stream
from aichat.transport import ServerSentEvent, SSEDecoder
from aichat.types import ChatResponse, StreamChunk, dumps, fold

__all__ = [
    "RECORDINGS",
    "completed",
    "decoder",
    "event",
    "fold_of",
    "play",
    "recording",
]

_FOLDER = Path(__file__).parents[1] / "recordings" / "responses"
#: Those that end well.
RECORDINGS = sorted(
    path.stem for path in _FOLDER.glob("*.sse") if not path.stem.startswith("error_")
)


def recording(name: str) -> bytes:
    """The bytes of a stream."""
    return (_FOLDER / f"{name}.sse").read_bytes()


def decoder(**options: Any) -> ResponsesDecoder:
    """A decoder that makes up ids that a test can know: ``made_1`` …"""
    return ResponsesDecoder(**{"make_id": _made_ids(), **options})


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


def event(kind: str | None, /, **fields: Any) -> ServerSentEvent:
    """An event of this *kind*, or of none, and without a name."""
    value = fields if kind is None else {"type": f"response.{kind}", **fields}
    return ServerSentEvent(dumps(value), "message")


def completed(*output: Any, **fields: Any) -> ServerSentEvent:
    """The event that ends an answer."""
    response = {"id": "resp_1", "status": "completed", "output": output, **fields}
    return event("completed", response=response)


def fold_of(*events: ServerSentEvent, **options: Any) -> ChatResponse:
    """What *events* fold to, if they keep to the grammar."""
    target = decoder(**options)
    chunks = [c for event in events for c in target.decode(event)]
    return fold(check_stream([*chunks, *target.flush()]))
