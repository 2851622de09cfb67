"""
Ollama's own API, for models that run at home, and for Ollama's cloud.

Not its imitation of OpenAI's: that one cannot set the context window, keeps its thoughts
in another field and hides what is slow.

See: https://docs.ollama.com/api/chat
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve

from ..transport import HTTPRequest, NDJSONDecoder
from ..types import DEFAULT_DEADLINES
from ._base import Capability, ProviderSpec
from ._narrowing import ProfiledEncoder
from ._ollama_address import DEFAULT, base_url_of
from ._ollama_decoder import OllamaDecoder
from ._ollama_embeddings import EMBEDDINGS
from ._ollama_listing import LISTING
from ._ollama_models import ollama_profile
from ._ollama_request import encode_request
from ._ollama_settings import SETTINGS, configured

__all__ = ["SPEC", "OllamaDecoder", "base_url_of", "encode_request"]


def prepare(request: HTTPRequest, settings: Mapping[str, str]) -> HTTPRequest:
    """
    Complete the address, and fill in the settings.

    An address for clients of OpenAI ends in ``/v1``; ours has everything under ``/api``.
    """
    base_url = base_url_of(request.base_url)
    for known in ("/api", "/v1"):
        base_url = base_url.removesuffix(known)
    body = request.body
    if isinstance(body, Mapping):
        body = configured(body, settings)
    return evolve(request, base_url=base_url, body=body)


SPEC: Final = ProviderSpec(
    name="ollama",
    title="Ollama",
    description="Open models on one's own machine; with a key, Ollama's cloud.",
    docs="https://docs.ollama.com/api/chat",
    base_url=DEFAULT,
    base_url_env=("OLLAMA_BASE_URL", "OLLAMA_HOST"),
    base_url_of=base_url_of,
    # For https://ollama.com, or for a proxy in front of one's own.
    api_key_env=("OLLAMA_API_KEY",),
    requires_key=False,
    settings=SETTINGS,
    prepare=prepare,
    encode_request=ProfiledEncoder(encode_request),
    profile=ollama_profile,
    framing=NDJSONDecoder,
    decoder=OllamaDecoder,
    # The first byte waits until the model is loaded, and for those who came before. A tool
    # call comes whole: until it is written there is silence.
    deadlines=evolve(DEFAULT_DEADLINES, first_byte=600, idle=300),
    health_check=HTTPRequest("/api/version", method="GET"),
    embeddings=EMBEDDINGS,
    listing=LISTING,
    capabilities=frozenset({
        Capability.STREAMING,
        Capability.TOOLS,
        Capability.PARALLEL_TOOLS,
        Capability.IMAGES,
        Capability.JSON,
        Capability.JSON_SCHEMA,
        Capability.REASONING,
    }),
    # Whatever is installed; these are often.
    models=(
        "qwen3.6",
        "gpt-oss",
        "qwen3",
        "gemma3",
        "deepseek-r1",
        "llama3.2",
        "llama3.1",
    ),
)
