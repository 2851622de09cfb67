"""A/B tests: the same users always get the same model (B3)."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from hashlib import sha256
from typing import Final

from attrs import evolve

from ..errors import ConfigError
from ..types import ChatRequest, StreamChunk
from ._balance import check_of, check_weights, draw
from ._compose import Handler, Middleware
from ._detour import begin, introduced, turned_to

__all__ = ["split"]

#: As many as a float holds.
_BITS: Final = 53


def _user(request: ChatRequest) -> str | None:
    return request.user


def split(
    shares: Mapping[str, float],
    *,
    key: Callable[[ChatRequest], str | None] = _user,
    seed: str = "",
    of: str | None = None,
    rand: Callable[[], float] = random.random,
) -> Middleware:
    """
    Divide the requests among models by *shares*, the same *key* always to the same one.

    The key is `ChatRequest.user` unless you say otherwise; a request without one goes by
    lot. Keys keep their place in every process, on every machine and after a restart, as
    long as *seed* is the same: take another one for each experiment, or the same users will
    be the first in all of them.

    The shares lie end to end, in their order, and a key is a point on them; they need not
    sum up to 1. What grows keeps all that it had if what shrinks lies next to it: put the
    one that gives between those that take, and keep the order::

        split({"a:new": 0.1, "a:old": 0.9})
        split({"a:new": 0.2, "a:old": 0.8})  # the first tenth is still on a:new

    *of* as in `balance`. Raises `ConfigError` at once for shares that make no sense.
    """
    check_of("split", of)
    if not isinstance(shares, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
        raise ConfigError(
            "split takes models with their shares, such as {'openai:gpt-5.1': 0.9, …}."
        )
    weights = check_weights("split", shares)

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        if of is None or request.model == of:
            who = key(request)
            # Nobody's name is nobody: they are not all the same one.
            point = _point(seed, who) if who else rand()
            model = draw(weights, point)
            if model != request.model:
                turned_to(model)
                first, chunks = await begin(call_next, evolve(request, model=model))
                for chunk in introduced(first, model):
                    yield chunk
                async for chunk in chunks:
                    yield chunk
                return
        async for chunk in call_next(request):
            yield chunk

    return middleware


def _point(seed: str, key: str) -> float:
    """Where *key* lies in [0, 1): the first bits of a SHA-256 over seed, NUL and key."""
    text = f"{seed}\0{key}".encode("utf-8", "surrogatepass")
    first = int.from_bytes(sha256(text).digest()[:8])
    return float((first >> (64 - _BITS)) / 2**_BITS)
