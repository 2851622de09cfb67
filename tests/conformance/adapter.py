"""
`aichat.Client` as the fault harness drives it.

Imported by the harness in a process of its own, so not as part of a package.
"""

from __future__ import annotations

import hashlib
from typing import Any

import harness
from attrs import evolve

from aichat import Client, ClientConfig, Deadlines, Registry, TextDelta
from aichat._connect import Directory
from aichat.errors import AIChatError
from aichat.middleware._cache import cache
from aichat.middleware._stores import MemoryCache
from aichat.providers import HTTPProvider

_PROVIDERS = {
    "openai": "openai-chat",
    "anthropic": "anthropic",
    "gemini": "google",
    "ollama": "ollama",
}

#: Our codes in the harness's words, where they differ.
_WORDS = {
    "invalid_input": "invalid_request",
    "model_unsupported": "model_not_found",
    "rate_limit": "rate_limited",
    "request_timeout": "timeout",
    "stream_interrupted": "stream_truncated",
    "protocol_error": "stream_protocol",
}
_WORDS_BY_STATUS = {
    409: "conflict",
    413: "request_too_large",
    502: "server_error",
    503: "overloaded",
    529: "overloaded",
}


class _Addresses(Directory):
    """Providers of one configuration: one per dialect, at any number of addresses."""

    def __init__(self, config: ClientConfig) -> None:
        super().__init__(config, Registry(), {})
        self._first: dict[str, HTTPProvider] = {}
        self._names: dict[tuple[str, str], str] = {}

    def name_of(self, api: str, base_url: str) -> str:
        """The name of the provider that speaks *api* at *base_url*."""
        if (api, base_url) in self._names:
            return self._names[api, base_url]
        config = evolve(self._config, provider=_PROVIDERS[api], base_url=base_url)
        made = self._make(config)
        assert isinstance(made, HTTPProvider)
        # Limits, breakers and budgets are shared by all addresses, as if they were one.
        transport = self._first.setdefault(api, made).transport
        name = f"{api}-{len(self._made)}"
        self._made[name] = evolve(made, transport=transport)
        self._names[api, base_url] = name
        return name


class AIChat(harness.Adapter):  # type: ignore[misc]  # it has no types
    """Drives `aichat.Client`."""

    name = "aichat"
    apis = tuple(_PROVIDERS)
    features = frozenset({"limiter", "breaker", "cache"})

    def make(self, cfg: Any) -> Client:
        """Make a client that is set up as *cfg* says."""
        limits: dict[str, Any] = {}
        if cfg.limiter:
            limits |= {"rate_limit": cfg.limiter[0], "rate_burst": int(cfg.limiter[1])}
        if cfg.breaker:
            limits |= {
                "circuit_breaker": True,
                "circuit_breaker_threshold": cfg.breaker[0],
                "circuit_breaker_cooldown": cfg.breaker[1],
            }
        config = ClientConfig(
            provider="openai-chat",
            api_key=cfg.key,
            max_retries=cfg.retries,
            retry_backoff=cfg.backoff[0],
            max_connections=cfg.pool,
            ca_file=cfg.ca_file,
            deadlines=Deadlines(
                connect=cfg.connect,
                first_byte=cfg.first_byte,
                idle=cfg.idle,
                total=cfg.total,
            ),
            **limits,
        )
        middleware = []
        if cfg.cache is not None:
            store = cfg.cache.setdefault("store", MemoryCache())
            tenant = hashlib.sha256(cfg.key.encode()).hexdigest()
            middleware.append(cache(store, namespace=tenant))
        return Client(_Addresses(config), middleware=middleware)

    async def open_stream(
        self, client: Client, api: str, base: str, prompt: str
    ) -> Any:
        """Ask; nothing is sent before the first chunk is pulled."""
        addresses: Any = client._providers
        return client.stream(prompt, model=f"{addresses.name_of(api, base)}:test-model")

    def text(self, chunk: Any) -> str:
        """The visible text of a chunk."""
        return chunk.text if isinstance(chunk, TextDelta) else ""

    async def close(self, client: Client) -> None:
        """Close the client."""
        await client.aclose()

    def classify(self, exc: BaseException) -> tuple[str, bool]:
        """The error's code in the harness's words, and whether it is one of ours."""
        if not isinstance(exc, AIChatError):
            return type(exc).__name__, False
        word = _WORDS_BY_STATUS.get(exc.status or 0)
        if word is None and exc.code == "provider_unavailable":
            # The provider says so, in a stream; or there is nobody who could.
            word = "overloaded" if exc.provider_code else "connection_failed"
        return word or _WORDS.get(exc.code, str(exc.code)), True
