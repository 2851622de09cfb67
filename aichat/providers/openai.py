"""
OpenAI's Responses API.

`responses_spec` makes a `ProviderSpec` for one more server that speaks it. Messages are
encoded in `_responses_input`, the rest of the request in `_responses_request`, and answers
are decoded in `_responses_decoder`. What only the older API can do, such as audio, stop
sequences and seeds, is at `openai_chat`.

See: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from ..errors import AIChatError
from ..transport import HTTPRequest, SSEDecoder
from ._base import Auth, Capability, ProviderSpec, bearer, settings_as_headers
from ._batching import BatchesAPI
from ._counting import CountingAPI, counting_at
from ._listing import ListingAPI
from ._narrowing import ProfiledEncoder
from ._openai_batches import OPENAI_BATCHES
from ._openai_embeddings import OPENAI_EMBEDDINGS, EmbeddingQuirks, embeddings_api
from ._openai_models import OPENAI_MODELS, openai_profile
from ._openai_models_list import LISTING
from ._responses_decoder import ResponsesDecoder
from ._responses_request import encode_request

__all__ = ["SPEC", "ResponsesDecoder", "encode_request", "responses_spec"]

_CAPABILITIES: Final = frozenset({
    Capability.STREAMING,
    Capability.TOOLS,
    Capability.PARALLEL_TOOLS,
    Capability.IMAGES,
    Capability.DOCUMENTS,
    Capability.JSON,
    Capability.JSON_SCHEMA,
    Capability.REASONING,
    Capability.CITATIONS,
    Capability.PROMPT_CACHING,
    Capability.BATCHES,
})

#: Fields of a request that its tokens do not depend on, and that counting refuses.
_OF_THE_ANSWER: Final = frozenset({
    "background", "include", "max_output_tokens", "max_tool_calls", "metadata",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "service_tier", "store", "stream", "stream_options", "temperature",
    "top_logprobs", "top_p", "user",
})  # fmt: skip


def _chat_only(error: AIChatError) -> str | None:
    """What to try at a server that has never heard of this API."""
    nowhere = error.status == 404 and error.provider_code in (None, "404")
    if error.status == 405 or nowhere:
        return (
            "If this server does not have the Responses API, use the provider "
            "'openai-chat' or 'openai-compatible'."
        )
    return None


def responses_spec(
    *,
    name: str,
    title: str,
    base_url: str | None = None,
    base_url_env: Iterable[str] = (),
    api_key_env: Iterable[str] = (),
    auth: Auth = bearer,
    settings: Mapping[str, str | None] | None = None,
    prepare: Callable[[HTTPRequest, Mapping[str, str]], HTTPRequest] | None = None,
    error_codes: Mapping[str, type[AIChatError]] | None = None,
    hint: Callable[[AIChatError], str | None] = _chat_only,
    batches: BatchesAPI = OPENAI_BATCHES,
    embeddings: EmbeddingQuirks | None = None,
    counting: CountingAPI | None = None,
    listing: ListingAPI | None = None,
    models: Iterable[str] = (),
    description: str = "",
    docs: str = "",
) -> ProviderSpec:
    """Describe a server that speaks the Responses API."""
    error_codes = error_codes or {}
    return ProviderSpec(
        name=name,
        title=title,
        description=description,
        docs=docs,
        base_url=base_url,
        base_url_env=tuple(base_url_env),
        api_key_env=tuple(api_key_env),
        auth=auth,
        settings=settings or {},
        prepare=prepare or settings_as_headers({}),
        encode_request=ProfiledEncoder(
            partial(encode_request, provider=name, title=title)
        ),
        profile=openai_profile,
        framing=SSEDecoder,
        decoder=partial(ResponsesDecoder, provider=name, error_codes=error_codes),
        error_codes=error_codes,
        hint=hint,
        health_check=HTTPRequest("/models", method="GET"),
        batches=batches,
        embeddings=None
        if embeddings is None
        else embeddings_api(name, title, embeddings),
        counting=counting,
        listing=listing,
        capabilities=_CAPABILITIES,
        models=tuple(models),
    )


_HEADERS: Final = {
    "organization": "openai-organization",
    "project": "openai-project",
}

SPEC: Final = responses_spec(
    name="openai",
    title="OpenAI",
    description="The GPT models, at OpenAI itself.",
    docs="https://platform.openai.com/docs/api-reference/responses",
    base_url="https://api.openai.com/v1",
    base_url_env=("OPENAI_BASE_URL",),
    api_key_env=("OPENAI_API_KEY",),
    settings=dict.fromkeys(_HEADERS, ""),
    prepare=settings_as_headers(_HEADERS),
    embeddings=OPENAI_EMBEDDINGS,
    counting=counting_at("/responses/input_tokens", without=_OF_THE_ANSWER),
    listing=LISTING,
    models=[m.name for m in OPENAI_MODELS if m.current and not m.chat_only],
)
