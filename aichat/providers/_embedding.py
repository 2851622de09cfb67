"""
Embeddings: texts as vectors.

A spec that has them carries an `EmbeddingsAPI`, and `HTTPEmbedder` runs that over the
provider's transport. Whoever does not use our transport implements `Embedder`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import evolve, frozen

from ..errors import ProtocolError
from ..transport import HTTPRequest
from ..types import (
    EmbeddingRequest,
    EmbeddingResponse,
    Usage,
    estimate_text_tokens,
)
from ._asking import Asking, read

if TYPE_CHECKING:
    from ._base import HTTPProvider

__all__ = ["Embedder", "EmbeddingsAPI", "HTTPEmbedder", "embedder_of"]


@runtime_checkable
class Embedder(Protocol):
    """Who makes embeddings. A provider is one, or has one as ``embedder``."""

    async def embed(self, request: EmbeddingRequest, /) -> EmbeddingResponse:
        """
        Make a vector of each text, in the order of the texts.

        Raises `AIChatError` and nothing else.
        """
        ...


def embedder_of(provider: object) -> Embedder | None:
    """Find out whether *provider* makes embeddings, and who does it for it."""
    found = getattr(provider, "embedder", provider)
    return found if isinstance(found, Embedder) else None


@frozen(kw_only=True)
class EmbeddingsAPI:
    """How one dialect does embeddings. Nothing in it does any I/O."""

    #: Never asked for more texts than fit into one request.
    encode: Callable[[EmbeddingRequest], HTTPRequest]
    #: The JSON of an answer, with the vectors in the order of the texts.
    decode: Callable[[Any], EmbeddingResponse]
    #: Texts in one request.
    max_inputs: int
    #: Tokens in one request, all its texts together; ``None`` if nobody counts them.
    max_tokens: int | None = None


@frozen
class HTTPEmbedder:
    """The `Embedder` of an `HTTPProvider` whose spec has an `EmbeddingsAPI`."""

    _api: EmbeddingsAPI
    _provider: HTTPProvider

    async def embed(self, request: EmbeddingRequest, /) -> EmbeddingResponse:
        """
        Make a vector of each text, in as many requests as that takes, one after the other.

        A failure of one of them is the failure of all.
        """
        asking = Asking(
            self._provider,
            "embed",
            model=request.model_name,
            deadlines=request.deadlines,
            max_retries=request.max_retries,
        )
        with asking.explained():
            # What cannot be encoded shall be known before anything is paid for.
            expect = self._provider.transport.expect_texts
            wires = [
                (
                    len(inputs),
                    expect(inputs),
                    self._api.encode(evolve(request, inputs=inputs)),
                )
                for inputs in _split(request.inputs, self._api)
            ]
            answers = [
                self._decode(await asking.fetch(wire, cost=cost), count, wire.warnings)
                for count, cost, wire in wires
            ]
            return self._joined(answers)

    def _decode(
        self, value: Any, count: int, warnings: tuple[str, ...]
    ) -> EmbeddingResponse:
        answer = read(self._api.decode, value)
        if len(answer.vectors) != count:
            raise ProtocolError(
                f"There are {len(answer.vectors)} vectors for {count} texts."
            )
        # A sum of single precision is infinite or NaN if, and only if, a summand is.
        if not all(v and math.isfinite(sum(v)) for v in answer.vectors):
            raise ProtocolError("There is a vector that holds what is no number.")
        return evolve(answer, provider=self._provider.name, warnings=warnings)

    def _joined(self, answers: Sequence[EmbeddingResponse]) -> EmbeddingResponse:
        if len({len(v) for answer in answers for v in answer.vectors}) > 1:
            raise ProtocolError("The vectors are of different lengths.")
        first, *others = answers
        if not others:
            return first
        return evolve(
            first,
            vectors=tuple(vector for answer in answers for vector in answer.vectors),
            usage=_sum([answer.usage for answer in answers]),
            warnings=tuple(dict.fromkeys(w for a in answers for w in a.warnings)),
            raw=tuple(raw for answer in answers for raw in answer.raw),
        )


def _split(inputs: Sequence[str], api: EmbeddingsAPI) -> Iterator[tuple[str, ...]]:
    """
    Share *inputs* out to requests, in their order.

    Tokens are a guess, so a third of the room for them is left.
    """
    room = None if api.max_tokens is None else api.max_tokens * 2 // 3
    batch: list[str] = []
    tokens = 0
    for text in inputs:
        more = estimate_text_tokens(text) if room is not None else 0
        full = len(batch) == api.max_inputs
        if batch and (full or (room is not None and tokens + more > room)):
            yield tuple(batch)
            batch, tokens = [], 0
        batch.append(text)
        tokens += more
    yield tuple(batch)


def _sum(usages: Sequence[Usage]) -> Usage:
    """The usage of several requests; unknown if it is for one of them."""

    def total(counts: list[int | None]) -> int | None:
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    return Usage(
        input_tokens=total([usage.input_tokens for usage in usages]),
        output_tokens=total([usage.output_tokens for usage in usages]),
    )
