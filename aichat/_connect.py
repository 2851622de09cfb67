"""From a configuration to providers that answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import evolve

from ._config import ClientConfig, resolve_base_url, resolve_deadlines, resolve_key
from ._registry import Registry
from .errors import ClosedError, ConfigError
from .providers import HTTPProvider, Provider, ProviderSpec
from .transport import (
    CircuitBreaker,
    Limiter,
    Pool,
    PoolConfig,
    RateLimit,
    RetryPolicy,
    Transport,
)

__all__ = ["Directory", "connect"]


def connect(
    config: ClientConfig,
    spec: ProviderSpec,
    *,
    pool: Pool,
    environ: Mapping[str, str],
) -> HTTPProvider:
    """
    Make the provider that *spec* describes, as *config* wants it.

    Limits, breakers and budgets are this provider's own, the *pool* is everyone's. Raises
    `ConfigError` for whatever is missing: an address, a key, a setting.
    """
    found = _all(
        base_url=lambda: resolve_base_url(config, spec, environ),
        api_key=lambda: resolve_key(config, spec, environ),
        settings=lambda: config.settings_for(spec, environ),
    )
    return HTTPProvider(
        **found,
        spec=spec,
        headers=config.headers,
        transport=Transport(
            name=spec.name,
            send=pool.send,
            retry=RetryPolicy(
                max_retries=config.max_retries, initial=config.retry_backoff
            ),
            limiter=_limiter(config),
            breaker=_breaker(config),
            deadlines=resolve_deadlines(config, spec),
            allow_insecure=config.allow_insecure_http,
        ),
    )


def _all(**resolvers: Callable[[], Any]) -> dict[str, Any]:
    """Find everything, or raise one `ConfigError` that says all that is missing."""
    found: dict[str, Any] = {}
    missing: list[str] = []
    for name, resolve in resolvers.items():
        try:
            found[name] = resolve()
        except ConfigError as error:
            missing.append(error.message)
    if missing:
        raise ConfigError("\n".join(missing))
    return found


def _limiter(config: ClientConfig) -> Limiter | None:
    if config.rate_limit is None:
        return None
    return Limiter(RateLimit.per_second(config.rate_limit, burst=config.rate_burst))


def _breaker(config: ClientConfig) -> CircuitBreaker | None:
    if not config.circuit_breaker:
        return None
    return CircuitBreaker(
        threshold=config.circuit_breaker_threshold,
        cooldown=config.circuit_breaker_cooldown,
    )


def _pool(config: ClientConfig) -> Pool:
    return Pool(
        PoolConfig(
            max_connections=config.max_connections or 0,
            max_idle=config.max_idle_connections,
            keepalive=config.keep_alive,
            trust_env=config.trust_env,
            ca_file=config.ca_file,
        )
    )


class Directory(Mapping[str, Provider]):
    """
    The providers of one configuration: its own at once, others when first asked for.

    Another provider takes its key from its own variable and shares nothing with the
    configured one but the pool and the general settings.
    """

    def __init__(
        self, config: ClientConfig, registry: Registry, environ: Mapping[str, str]
    ) -> None:
        self._config = config
        #: Everyone who could be asked.
        self.registry = registry
        # A copy: what the environment says later is another client's business.
        self._environ = dict(environ)
        self._pool = _pool(config)
        self._lock = threading.Lock()
        self._closed = False
        self._made: dict[str, Provider] = {}
        self._made[config.provider] = self._make(config)

    def __getitem__(self, name: str) -> Provider:
        with self._lock:
            provider = self._made.get(name)
            if provider is None:
                if self._closed:
                    raise ClosedError("This client is closed.")
                config = evolve(
                    self._config,
                    provider=name,
                    api_key=None,
                    base_url=None,
                    model=None,
                    headers={},
                    settings={},
                )
                provider = self._made[name] = self._make(config)
            return provider

    def __contains__(self, name: object) -> bool:
        return name in self._made or name in self.registry

    def __iter__(self) -> Iterator[str]:
        """The names of those that have been made, the configured one first."""
        return iter(tuple(self._made))

    def __len__(self) -> int:
        return len(self._made)

    async def aclose(self) -> None:
        """Close the pool; the providers have been closed before."""
        self._closed = True
        await self._pool.aclose()

    def _make(self, config: ClientConfig) -> Provider:
        entry = self.registry[config.provider]
        if not isinstance(entry, ProviderSpec):
            return entry(config)
        return connect(config, entry, pool=self._pool, environ=self._environ)
