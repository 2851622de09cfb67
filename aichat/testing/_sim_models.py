"""Which models there are: the same few in every dialect. Any other name is as good."""

from __future__ import annotations

from typing import Any, Final

from ._sim_dialect import Endpoint, Reply, Visit
from ._sim_pages import page, token_page

__all__ = [
    "ANTHROPIC_MODELS",
    "GOOGLE_MODELS",
    "MODELS",
    "OLLAMA_MODELS",
    "OPENAI_MODELS",
]

MODELS: Final = ("simulator", "simulator-mini", "simulator-embedding")
_SINCE: Final = "2026-01-31T00:00:00Z"
_INPUT: Final = 1_000_000
_OUTPUT: Final = 128_000


def _openai(id: str) -> dict[str, Any]:
    # As seconds since the epoch: OpenAI's time.
    return {
        "id": id,
        "object": "model",
        "created": 1_769_817_600,
        "owned_by": "aichat",
    }


def _openai_list(visit: Visit) -> Reply:
    return {"object": "list", "data": [_openai(name) for name in MODELS]}


OPENAI_MODELS: Final = (
    Endpoint("GET", "/models", _openai_list),
    Endpoint("GET", "/models/{id}", lambda visit: _openai(visit.params["id"])),
)


def _anthropic(id: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": id,
        "display_name": f"aichat's {id}",
        "created_at": _SINCE,
        "max_input_tokens": _INPUT,
        "max_tokens": _OUTPUT,
        "lifecycle": "active",
    }


def _anthropic_list(visit: Visit) -> Reply:
    chatting = [_anthropic(name) for name in MODELS if "embedding" not in name]
    return page(chatting, visit.query, size=20)


ANTHROPIC_MODELS: Final = (
    Endpoint("GET", "/models", _anthropic_list),
    Endpoint("GET", "/models/{id}", lambda visit: _anthropic(visit.params["id"])),
)


def _google(id: str) -> dict[str, Any]:
    chats = ["generateContent", "countTokens", "batchGenerateContent"]
    embeds = ["embedContent", "countTextTokens"]
    return {
        "name": f"models/{id}",
        "version": "1",
        "displayName": f"aichat's {id}",
        "description": "It repeats what it was told.",
        "inputTokenLimit": _INPUT,
        "outputTokenLimit": _OUTPUT,
        "supportedGenerationMethods": embeds if "embedding" in id else chats,
        "temperature": 1,
        "maxTemperature": 2,
        "topP": 0.95,
        "topK": 64,
        "thinking": True,
    }


def _google_list(visit: Visit) -> Reply:
    return token_page("models", [_google(name) for name in MODELS], visit.query)


GOOGLE_MODELS: Final = (
    Endpoint("GET", "/models", _google_list),
    Endpoint("GET", "/models/{id}", lambda visit: _google(visit.params["id"])),
)


def _ollama(id: str) -> dict[str, Any]:
    return {
        "name": f"{id}:latest",
        "model": f"{id}:latest",
        "modified_at": _SINCE,
        "size": 0,
        "digest": "0" * 64,
        "details": {"format": "gguf", "family": "simulator", "parameter_size": "0"},
    }


def _ollama_list(visit: Visit) -> Reply:
    # Those that somebody has pulled.
    return {"models": [_ollama(MODELS[0])]}


OLLAMA_MODELS: Final = (Endpoint("GET", "/api/tags", _ollama_list),)
