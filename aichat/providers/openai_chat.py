"""
OpenAI's Chat Completions, the dialect that everybody imitates.

`chat_spec` makes a `ProviderSpec` for one more server that speaks it. Messages are
encoded in `_openai_chat_messages`, the rest of the request in `_openai_chat_request`,
and answers are decoded in `_openai_chat_decoder`.

See: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from ..errors import AIChatError
from ..transport import HTTPRequest, SSEDecoder
from ..types import DEFAULT_DEADLINES, Deadlines
from ._base import Auth, Capability, ProviderSpec, bearer, settings_as_headers
from ._batching import BatchesAPI
from ._compatible_models import chat_profile
from ._listing import ListingAPI
from ._narrowing import ProfiledEncoder
from ._openai_batches import OPENAI_BATCHES
from ._openai_chat_decoder import ChatCompletionsDecoder
from ._openai_chat_quirks import Quirks
from ._openai_chat_request import encode_request
from ._openai_embeddings import OPENAI_EMBEDDINGS, EmbeddingQuirks, embeddings_api
from ._openai_models import OPENAI_MODELS
from ._openai_models_list import LISTING

__all__ = [
    "SPEC",
    "ChatCompletionsDecoder",
    "EmbeddingQuirks",
    "Quirks",
    "chat_spec",
    "encode_request",
]

#: Authenticated, free, and nearly everywhere.
LIST_MODELS = HTTPRequest("/models", method="GET")

_USUAL = frozenset({
    Capability.STREAMING,
    Capability.TOOLS,
    Capability.PARALLEL_TOOLS,
    Capability.JSON,
    Capability.JSON_SCHEMA,
    Capability.REASONING,
})


def chat_spec(
    *,
    name: str,
    title: str,
    quirks: Quirks | None = None,
    base_url: str | None = None,
    base_url_env: Iterable[str] = (),
    api_key_env: Iterable[str] = (),
    requires_key: bool = True,
    auth: Auth = bearer,
    setting_headers: Mapping[str, str] | None = None,
    error_codes: Mapping[str, type[AIChatError]] | None = None,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    health_check: HTTPRequest | None = LIST_MODELS,
    batches: BatchesAPI | None = None,
    embeddings: EmbeddingQuirks | None = None,
    listing: ListingAPI | None = LISTING,
    adds: Iterable[Capability] = (),
    lacks: Iterable[Capability] = (),
    models: Iterable[str] = (),
    description: str = "",
    docs: str = "",
) -> ProviderSpec:
    """
    Describe a server that speaks Chat Completions.

    *setting_headers* are optional settings, each with the header that carries it. *adds*
    and *lacks* are capabilities beyond, or short of, the usual ones. With *embeddings* it
    makes some, at ``/embeddings``.
    """
    quirks = quirks or Quirks()
    error_codes = error_codes or {}
    setting_headers = setting_headers or {}
    return ProviderSpec(
        name=name,
        title=title,
        description=description,
        docs=docs,
        base_url=base_url,
        base_url_env=tuple(base_url_env),
        api_key_env=tuple(api_key_env),
        requires_key=requires_key,
        auth=auth,
        settings=dict.fromkeys(setting_headers, ""),
        prepare=settings_as_headers(setting_headers),
        encode_request=ProfiledEncoder(
            partial(encode_request, provider=name, title=title, quirks=quirks)
        ),
        profile=partial(chat_profile, provider=name, quirks=quirks),
        framing=SSEDecoder,
        decoder=partial(
            ChatCompletionsDecoder,
            provider=name,
            think_tags=quirks.think_tags,
            error_codes=error_codes,
        ),
        error_codes=error_codes,
        deadlines=deadlines,
        health_check=health_check,
        batches=batches,
        embeddings=None
        if embeddings is None
        else embeddings_api(name, title, embeddings),
        listing=listing,
        capabilities=(_USUAL | set(adds)) - set(lacks),
        models=tuple(models),
    )


_openai = partial(
    chat_spec,
    description="OpenAI's older API: audio, stop sequences, seeds, penalties.",
    docs="https://platform.openai.com/docs/api-reference/chat",
    base_url="https://api.openai.com/v1",
    base_url_env=("OPENAI_BASE_URL",),
    api_key_env=("OPENAI_API_KEY",),
    setting_headers={
        "organization": "openai-organization",
        "project": "openai-project",
    },
    quirks=Quirks(
        openai_models=True,
        token_limit="max_completion_tokens",
        user="safety_identifier",
        refuses="top_k",
        allowed_tools=True,
        custom_tools=True,
        refusals=True,
        empty_content=False,
        # OpenAI refuses longer ids, such as other providers give.
        call_id=r".{1,40}",
        cache="prompt_cache_breakpoint",
        shows_reasoning="never",
    ),
    batches=OPENAI_BATCHES,
    embeddings=OPENAI_EMBEDDINGS,
    adds={
        Capability.IMAGES,
        Capability.AUDIO,
        Capability.DOCUMENTS,
        Capability.CITATIONS,
        Capability.PROMPT_CACHING,
        Capability.BATCHES,
    },
    models=[model.name for model in OPENAI_MODELS if model.current],
)

#: OpenAI itself, at its older API.
SPEC = _openai(name="openai-chat", title="OpenAI (Chat Completions)")
