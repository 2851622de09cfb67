"""From a configuration to providers that answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import evolve

from ._config import ClientConfig, resolve_base_url, resolve_deadlines, resolve_key
from ._registry import ProviderEntry, Registry
from .errors import ClosedError, ConfigError
from .providers import (
    Engine,
    HTTPProvider,
    ModelDescriber,
    ModelProfile,
    Provider,
    ProviderSpec,
)
from .transport import (
    AnyBreaker,
    AnyLimiter,
    CircuitBreaker,
    HTTPRequest,
    HTTPResponse,
    Limiter,
    Phase,
    Pool,
    PoolConfig,
    RateLimit,
    RetryPolicy,
    Send,
    Transport,
)

if TYPE_CHECKING:
    from .redis import RedisState

__all__ = ["Directory", "connect", "profile_of"]


def connect(
    config: ClientConfig,
    spec: ProviderSpec,
    *,
    pool: Pool,
    environ: Mapping[str, str],
    send: Send | None = None,
    shared: RedisState | None = None,
) -> HTTPProvider:
    """
    Make the provider that *spec* describes, as *config* wants it.

    Limits, breakers and budgets are this provider's own, or, with *shared*, those of all
    processes that use the same address; the *pool*, or *send* in its place, is everyone's.
    Raises `ConfigError` for whatever is missing: an address, a key, a setting.
    """
    found = _all(
        base_url=lambda: resolve_base_url(config, spec, environ),
        api_key=lambda: resolve_key(config, spec, environ),
        settings=lambda: config.settings_for(spec, environ),
    )
    engine = spec.engine(found["settings"]) if spec.engine else None
    return HTTPProvider(
        **found,
        spec=spec,
        headers=config.headers,
        engine=engine,
        transport=Transport(
            name=spec.name,
            send=_sending(send or pool.send, engine),
            retry=RetryPolicy(
                max_retries=config.max_retries, initial=config.retry_backoff
            ),
            limiter=_limiter(config, shared, spec.name, found["base_url"]),
            breaker=_breaker(config, shared, spec.name),
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


def _sending(send: Send, engine: Engine | None) -> Send:
    """Let *engine* start whatever is needed before each attempt is sent."""
    if engine is None:
        return send

    async def start_and_send(
        request: HTTPRequest, enter: Callable[[Phase], None]
    ) -> HTTPResponse:
        return await send(await engine.start(request), enter)

    return start_and_send


def _limiter(
    config: ClientConfig, shared: RedisState | None, name: str, base_url: str
) -> AnyLimiter | None:
    requests, tokens = config.requests_per_minute, config.tokens_per_minute
    read, written = config.input_tokens_per_minute, config.output_tokens_per_minute
    if config.rate_limit is not None:
        requests = config.rate_limit * 60
    if requests is tokens is read is written is None:
        return None
    limit = RateLimit.per_minute(
        requests,
        burst=config.rate_burst,
        tokens=tokens,
        input_tokens=read,
        output_tokens=written,
    )
    if shared is None:
        return Limiter(limit)
    from .redis import RedisLimiter

    # A quota is one server's; the namespace says whose.
    return RedisLimiter(shared, limit, f"{name}@{urlsplit(base_url).netloc}")


def _breaker(
    config: ClientConfig, shared: RedisState | None, name: str
) -> AnyBreaker | None:
    if not config.circuit_breaker:
        return None
    threshold = config.circuit_breaker_threshold
    cooldown = config.circuit_breaker_cooldown
    if shared is None:
        return CircuitBreaker(threshold, cooldown)
    from .redis import RedisBreaker

    return RedisBreaker(shared, threshold, cooldown, name=name)


def _shared(config: ClientConfig) -> RedisState | None:
    if config.redis_url is None:
        return None
    from .redis import RedisState

    return RedisState(
        config.redis_url,
        namespace=config.redis_namespace,
        workers=config.redis_workers,
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
        self,
        config: ClientConfig,
        registry: Registry,
        environ: Mapping[str, str],
        profiles: Mapping[str, ModelProfile] = MappingProxyType({}),
        *,
        send: Send | None = None,
    ) -> None:
        self._config = config
        self._send = send
        self._profiles = _by_provider(profiles, config.provider)
        for name in self._profiles:
            # Whoever has misspelled one hears of it now.
            _ = registry[name]
        #: Everyone who could be asked.
        self.registry = registry
        # A copy: what the environment says later is another client's business.
        self._environ = dict(environ)
        self._pool = _pool(config)
        self._shared = _shared(config)
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
        """Close the connections; the providers have been closed before."""
        self._closed = True
        try:
            if self._shared is not None:
                await self._shared.aclose()
        finally:
            await self._pool.aclose()

    def profile_of(self, name: str, model: str) -> ModelProfile:
        """What *model* of the provider *name* accepts. Needs no key, and asks nobody."""
        entry = self._entry(name)
        if isinstance(entry, ProviderSpec):
            return entry.profile_of(model)
        return profile_of(self[name], model)

    def _make(self, config: ClientConfig) -> Provider:
        entry = self._entry(config.provider)
        if isinstance(entry, ProviderSpec):
            return connect(
                config,
                entry,
                pool=self._pool,
                environ=self._environ,
                send=self._send,
                shared=self._shared,
            )
        if self._send is not None:
            # What it sends would go past a recording, and out into the world.
            raise ConfigError(
                f"The provider {config.provider!r} sends by itself: it has no use for send."
            )
        return entry(config)

    def _entry(self, name: str) -> ProviderEntry:
        entry = self.registry[name]
        profiles = self._profiles.get(name)
        if not profiles:
            return entry
        if not isinstance(entry, ProviderSpec):
            raise ConfigError(
                f"The provider {name!r} is no ProviderSpec: it has no use for profiles."
            )
        return entry.with_profiles(profiles)


def profile_of(provider: Provider, model: str) -> ModelProfile:
    """What *model* accepts, as far as *provider* can tell."""
    if isinstance(provider, ModelDescriber):
        return provider.profile(model)
    return ModelProfile(model, provider.name, known=False)


def _by_provider(
    profiles: Mapping[str, ModelProfile], default: str
) -> dict[str, dict[str, ModelProfile]]:
    found: dict[str, dict[str, ModelProfile]] = {}
    for address, profile in profiles.items():
        name, colon, model = address.partition(":")
        if not colon:
            name, model = default, address
        found.setdefault(name, {})[model] = profile
    return found
