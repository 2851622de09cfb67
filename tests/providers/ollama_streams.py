"""Our own recordings of Ollama's chat API, and ways to play them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from aichat.providers.ollama import OllamaDecoder
from aichat.testing import check_stream
from aichat.transport import NDJSONDecoder
from aichat.types import ChatResponse, StreamChunk, dumps, fold

__all__ = ["RECORDINGS", "line", "play", "read", "recording", "response"]

_FOLDER = Path(__file__).parents[1] / "recordings" / "ollama"
#: Those that end well.
RECORDINGS = sorted(
    path.stem for path in _FOLDER.glob("*.ndjson") if not path.stem.startswith("error_")
)


def recording(name: str) -> bytes:
    """The bytes of a stream."""
    return (_FOLDER / f"{name}.ndjson").read_bytes()


def play(body: bytes, cuts: Sequence[int] = ()) -> list[StreamChunk]:
    """The chunks of a stream whose bytes come in pieces."""
    framing, decoder = NDJSONDecoder(), OllamaDecoder(new_id=iter("abcdef").__next__)
    chunks: list[StreamChunk] = []
    for begin, end in pairwise([0, *sorted(cuts), len(body)]):
        for item in framing.decode(body[begin:end]):
            chunks += decoder.decode(item)
    for item in framing.flush():
        chunks += decoder.decode(item)
    return [*chunks, *decoder.flush()]


def response(name: str) -> ChatResponse:
    """What a recording folds to, having kept to the grammar."""
    return fold(check_stream(play(recording(name))))


def line(*, done: bool = False, top: Any = None, **message: Any) -> bytes:
    """One line, made up."""
    said = {"role": "assistant", "content": "", **message}
    return dumps({"model": "m", "message": said, "done": done, **(top or {})})


def read(decoder: OllamaDecoder, *lines: bytes) -> list[StreamChunk]:
    """Everything that *decoder* makes of *lines*."""
    return [chunk for one in lines for chunk in decoder.decode(one)]
