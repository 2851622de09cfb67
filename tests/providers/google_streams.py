"""Our own recordings of Gemini, and ways to play them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from aichat.errors import AIChatError
from aichat.providers.google import SPEC, GenerateContentDecoder
from aichat.testing import check_stream
from aichat.transport import Dialect, ServerSentEvent
from aichat.transport._dialect import Pipeline
from aichat.types import ChatResponse, StreamChunk, dumps, fold

__all__ = ["RECORDINGS", "chunk", "decoded", "event", "play", "recording", "response"]

_FOLDER = Path(__file__).parents[1] / "recordings" / "google"
#: Those that end well.
RECORDINGS = sorted(
    path.name for path in _FOLDER.iterdir() if not path.stem.startswith("error_")
)


def recording(name: str) -> bytes:
    """The bytes of an answer."""
    return (_FOLDER / name).read_bytes()


def play(
    body: bytes, cuts: Sequence[int] = ()
) -> tuple[list[StreamChunk], AIChatError | None]:
    """The chunks of an answer whose bytes come in pieces, and the error it ends with."""
    ids = iter(f"made_{n}" for n in range(99))
    pipeline = Pipeline(
        Dialect(
            framing=SPEC.framing,
            decoder=lambda: GenerateContentDecoder(new_id=ids.__next__),
            error_codes=SPEC.error_codes,
        )
    )
    edges = [0, *sorted(cuts), len(body)]
    chunks: list[StreamChunk] = []
    for begin, end in pairwise(edges):
        if begin < end and not pipeline.over:
            chunks += pipeline.feed(body[begin:end])
    if not pipeline.over:
        chunks += pipeline.end()
    return chunks, pipeline.error


def response(name: str) -> ChatResponse:
    """What a recording folds to, having kept to the grammar."""
    chunks, error = play(recording(name))
    assert error is None
    return fold(check_stream(chunks))


def chunk(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One response, made up, of some parts."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **more}


def event(value: Any) -> ServerSentEvent:
    """One event, made up; bytes are taken as they are."""
    return ServerSentEvent(value if isinstance(value, bytes) else dumps(value))


def decoded(*values: Any, **options: Any) -> ChatResponse:
    """What a stream of these folds to, having kept to the grammar."""
    decoder = GenerateContentDecoder(**options)
    chunks = [c for value in values for c in decoder.decode(event(value))]
    return fold(check_stream([*chunks, *decoder.flush()]))
