"""
Anthropic's Messages API.

The answer to a request goes back with the next one exactly as it came: thoughts with
their signatures, traces of the tools that Anthropic runs, the order of it all. What a
model accepts differs from generation to generation and stands in `_anthropic_models`.

See: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve

from ..transport import HTTPRequest, SSEDecoder
from ._anthropic_batches import ANTHROPIC_BATCHES
from ._anthropic_decoder import ERROR_CODES, MessagesDecoder
from ._anthropic_listing import LISTING
from ._anthropic_models import claude_profile
from ._anthropic_request import encode_request
from ._base import Capability, ProviderSpec, header
from ._counting import counting_at
from ._narrowing import ProfiledEncoder

__all__ = ["SPEC", "MessagesDecoder", "encode_request"]

#: Fields of a request that its tokens do not depend on, and that counting refuses.
_OF_THE_ANSWER: Final = frozenset({
    "max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata",
    "service_tier",
})  # fmt: skip


def prepare(request: HTTPRequest, settings: Mapping[str, str]) -> HTTPRequest:
    """Say which version of the API we speak; drop a ``/v1`` that is there already."""
    return evolve(
        request,
        base_url=request.base_url.removesuffix("/v1"),
        headers={"anthropic-version": settings["version"], **request.headers},
    )


SPEC: Final = ProviderSpec(
    name="anthropic",
    title="Anthropic",
    description="The Claude models, at Anthropic itself.",
    docs="https://platform.claude.com/docs/en/api/messages",
    base_url="https://api.anthropic.com",
    base_url_env=("ANTHROPIC_BASE_URL",),
    api_key_env=("ANTHROPIC_API_KEY",),
    # Newer servers take a Bearer token as well; gateways often know only this.
    auth=header("x-api-key"),
    # "2026-10-21" has no temperature, top_p and top_k on any model, and servers that
    # imitate the API do not know it.
    settings={"version": "2023-06-01"},
    prepare=prepare,
    encode_request=ProfiledEncoder(encode_request),
    profile=claude_profile,
    framing=SSEDecoder,
    decoder=MessagesDecoder,
    error_codes=ERROR_CODES,
    health_check=HTTPRequest("/v1/models", method="GET", query={"limit": "1"}),
    batches=ANTHROPIC_BATCHES,
    counting=counting_at("/v1/messages/count_tokens", without=_OF_THE_ANSWER),
    listing=LISTING,
    capabilities=frozenset({
        Capability.STREAMING,
        Capability.TOOLS,
        Capability.PARALLEL_TOOLS,
        Capability.IMAGES,
        Capability.DOCUMENTS,
        Capability.JSON_SCHEMA,
        Capability.REASONING,
        Capability.CITATIONS,
        Capability.PROMPT_CACHING,
        Capability.BATCHES,
    }),
    models=(
        "claude-fable-5-2",
        "claude-haiku-5-5",
        "claude-sonnet-5-5",
        "claude-opus-5-5",
        "claude-fable-5-1",
        "claude-sonnet-5",
        "claude-fable-5",
        "claude-opus-5",
        "claude-opus-4-8",
        "claude-opus-4-7",
        "claude-opus-4-6",
        "claude-sonnet-4-6",
        "claude-opus-4-5",
        "claude-haiku-4-5",
        "claude-sonnet-4-5",
    ),
)
