"""
What comes once per token takes a fast path (`run`), and means what it means on the long one.

Over the fuzzer's targets: whole recordings of every dialect, and thousands that were broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from attrs import evolve

from aichat.transport import Dialect, Pipeline
from aichat.types import Accumulator, ChatResponse, StreamChunk

from ..fuzz.mutate import cut, mutated
from ..fuzz.targets import TARGETS


class Thorough:
    """A decoder that has no fast path."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    @property
    def complete(self) -> bool:
        return bool(self._decoder.complete)

    @property
    def finished(self) -> bool:
        return bool(self._decoder.finished)

    def decode(self, event: Any, /) -> Iterable[StreamChunk]:
        chunks: Iterable[StreamChunk] = self._decoder.decode(event)
        return chunks

    def document(self, value: Any, /) -> Iterable[StreamChunk]:
        chunks: Iterable[StreamChunk] = self._decoder.document(value)
        return chunks

    def flush(self) -> Iterable[StreamChunk]:
        chunks: Iterable[StreamChunk] = self._decoder.flush()
        return chunks


def thoroughly(make: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: Thorough(make())


def read(dialect: Dialect, pieces: Iterable[bytes]) -> tuple[ChatResponse, str]:
    """What the answer folds to, and what is wrong with it."""
    pipeline, so_far = Pipeline(dialect), Accumulator()
    chunks: list[StreamChunk] = []
    for piece in pieces:
        if pipeline.over:
            break
        chunks += pipeline.feed(piece)
    if not pipeline.over:
        chunks += pipeline.end()
    for chunk in chunks:
        so_far.add(chunk)
    response = so_far.response()
    if not so_far.finished:
        # How much it has cost so far is told more often on the long path.
        response = evolve(response, usage=type(response.usage)())
    return response, repr(pipeline.error)


@pytest.mark.parametrize("name", TARGETS)
def test_both_paths_say_the_same(name: str) -> None:
    """Of recordings as they are, and of some hundreds that are broken."""  # S3
    target = TARGETS[name]
    rand = Random(name)
    whole = [b"".join(piece.raw for piece in seed.pieces) for seed in target.seeds]
    broken = [mutated(rand, target.seeds) for _ in range(300)]
    for data in (*whole, *broken):
        pieces = cut(rand, data)
        fast, slow = target.dialect(), target.dialect()
        slow = evolve(slow, decoder=thoroughly(slow.decoder))
        assert read(fast, pieces) == read(slow, pieces), data
