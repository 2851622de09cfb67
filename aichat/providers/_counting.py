"""
Counting tokens: how much a prompt is, before it is sent.

A spec whose API counts carries a `CountingAPI`, and `HTTPTokenCounter` runs that over the
provider's transport. Whoever does not use our transport implements `TokenCounter`. For those
who cannot count there is `estimated_count`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import anyio.to_thread
from attrs import evolve, frozen

from ..errors import ProtocolError
from ..transport import HTTPRequest
from ..types import ChatRequest, TokenCount, estimate_text_tokens, estimate_tokens
from ._asking import Asking, number_in, object_of, read
from ._tokenizer import tokenizer_for

if TYPE_CHECKING:
    from ._base import HTTPProvider

__all__ = [
    "CountingAPI",
    "HTTPTokenCounter",
    "TokenCounter",
    "counter_of",
    "counting_at",
    "estimated_count",
]


@runtime_checkable
class TokenCounter(Protocol):
    """Who counts tokens. A provider is one, or has one as ``token_counter``."""

    async def count_tokens(self, request: ChatRequest, /) -> TokenCount:
        """
        Count the tokens of the prompt: messages, tools and all.

        Raises `AIChatError` and nothing else.
        """
        ...


def counter_of(provider: object) -> TokenCounter | None:
    """Find out whether *provider* counts tokens, and who does it for it."""
    found = getattr(provider, "token_counter", provider)
    return found if isinstance(found, TokenCounter) else None


async def estimated_count(request: ChatRequest) -> TokenCount:
    """
    Reckon how many tokens the prompt is, without asking anybody.

    With a tokenizer, if the extra ``tokens`` is installed, else by `estimate_tokens`' rule of
    thumb.
    """
    # The vocabulary takes most of a second to load, and a long prompt its time as well.
    count = await anyio.to_thread.run_sync(_estimate, request)
    return TokenCount(count, estimated=True)


def _estimate(request: ChatRequest) -> int:
    count = tokenizer_for(request.model_name) or estimate_text_tokens
    return estimate_tokens(request, count)


@frozen(kw_only=True)
class CountingAPI:
    """How one dialect counts tokens. Nothing in it does any I/O."""

    #: A chat request as it would be sent, to one that only counts it.
    encode: Callable[[HTTPRequest], HTTPRequest]
    decode: Callable[[Any], TokenCount]


def counting_at(
    path: str, *, without: frozenset[str], name: str = "input_tokens"
) -> CountingAPI:
    """
    Describe an API that counts at *path*, and answers with the number under *name*.

    It takes a chat request's body *without* the fields that only matter for the answer.
    """

    def encode(chat: HTTPRequest) -> HTTPRequest:
        body = {key: value for key, value in chat.body.items() if key not in without}
        return evolve(chat, path=path, body=body)

    return CountingAPI(encode=encode, decode=lambda value: count_in(value, name))


def count_in(value: Any, name: str) -> TokenCount:
    """The number under *name*. Raises `ProtocolError`."""
    answer = object_of(value, "token count")
    tokens = number_in(answer, name)
    if tokens is None:
        raise ProtocolError(f"The answer has no {name}. Is the base URL right?")
    return TokenCount(tokens, raw=answer)


@frozen
class HTTPTokenCounter:
    """The `TokenCounter` of an `HTTPProvider` whose spec has a `CountingAPI`."""

    _api: CountingAPI
    _provider: HTTPProvider

    async def count_tokens(self, request: ChatRequest, /) -> TokenCount:
        """Count the tokens of the prompt; see `TokenCounter.count_tokens`."""
        asking = Asking(
            self._provider,
            "count_tokens",
            model=request.model_name,
            deadlines=request.deadlines,
            max_retries=request.max_retries,
        )
        with asking.explained():
            wire = self._api.encode(self._provider.spec.encode_request(request))
            return read(self._api.decode, await asking.fetch(wire))
