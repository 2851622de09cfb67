"""
Requests and answers in the words of OpenTelemetry's conventions for generative AI.

What was asked for and how much it took, never what was said: for that see `_genai_content`.

See: https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from ..transport._observation import Observation
from ..types import (
    ChatRequest,
    EmbeddingRequest,
    FinishReason,
    ResponseEnd,
    ResponseStart,
    Usage,
)

__all__ = [
    "Attributes",
    "about",
    "about_answer",
    "about_chat",
    "about_embedding",
    "about_observation",
    "about_usage",
    "finish_word",
    "provider_name",
    "server_of",
]

Attributes: TypeAlias = dict[str, str | bool | int | float | list[str]]

#: Where the conventions call somebody by another name than we do.
_PROVIDERS: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "azure-responses": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "openai-chat": "openai",
    "openai-compatible": "openai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}


def provider_name(name: str) -> str:
    """Whoever we call *name*, as the conventions call them."""
    return _PROVIDERS.get(name, name)


def about(request: ChatRequest | EmbeddingRequest) -> Attributes:
    """What *request* asks for."""
    if isinstance(request, ChatRequest):
        return about_chat(request)
    return about_embedding(request)


def about_chat(request: ChatRequest) -> Attributes:
    """What *request* asks for, beside the answer; what it leaves open is left out."""
    form = request.response_format
    asked: dict[str, str | bool | int | float | list[str] | None] = {
        "gen_ai.output.type": "json" if form and form.type != "text" else None,
        "gen_ai.request.frequency_penalty": request.frequency_penalty,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.presence_penalty": request.presence_penalty,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.stop_sequences": list(request.stop) or None,
        # However an answer is read, it is asked for as a stream.
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_k": request.top_k,
        "gen_ai.request.top_p": request.top_p,
    }
    return _known(asked)


def about_embedding(request: EmbeddingRequest) -> Attributes:
    """What *request* asks for, beside the vectors."""
    return _known({"gen_ai.embeddings.dimension.count": request.dimensions})


def about_observation(said: Observation) -> Attributes:
    """What the application has said of the call."""
    return _known({
        "aichat.operation": said.operation,
        "aichat.request.id": said.request_id,
        "user.id": said.user_id,
        "session.id": said.session_id,
        "gen_ai.conversation.id": said.session_id,
    })


def about_answer(start: ResponseStart, end: ResponseEnd | None) -> Attributes:
    """Who answered, and why they stopped."""
    return _known({
        "gen_ai.response.id": start.id,
        "gen_ai.response.model": start.model,
        "gen_ai.response.finish_reasons": None
        if end is None
        else [finish_word(end.finish_reason)],
        "aichat.response.provider": start.provider,
        "aichat.response.request_id": start.request_id,
        "aichat.response.from_cache": start.from_cache or None,
    })


def finish_word(reason: FinishReason) -> str:
    """Why an answer ended, as the conventions call it."""
    # The one that the conventions have in the singular.
    return "tool_call" if reason is FinishReason.TOOL_CALLS else str(reason)


def about_usage(usage: Usage) -> Attributes:
    """How many tokens it took, as far as that is known."""
    return _known({
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    })


@lru_cache(maxsize=256)
def server_of(base_url: str) -> tuple[str, int] | None:
    """The host and the port of *base_url*."""
    parts = urlsplit(base_url)
    if not parts.hostname:
        return None
    return parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)


def _known(
    values: Mapping[str, str | bool | int | float | list[str] | None],
) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}
