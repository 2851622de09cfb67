"""Clients and middleware that share by an address in the configuration, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis import Redis

from aichat import Client, ClientConfig, ConfigError, DeadlineError, Deadlines
from aichat.middleware import compose, rate_limit
from aichat.providers import HTTPProvider
from aichat.redis import RedisBreaker, RedisLimiter, RedisState
from aichat.testing import FakeProvider, Simulator
from aichat.transport import CircuitBreaker, Limiter, RateLimit, Transport
from aichat.types import ChatRequest, user

from ..redis_server import flush, redis_url
from .toys import PASSWORD

__all__ = ["redis_url"]


@asynccontextmanager
async def client(
    url: str, simulator: Simulator, **settings: object
) -> AsyncIterator[Client]:
    environ = {
        "AI_PROVIDER": "openai-chat",
        "AI_API_KEY": "none-needed",
        "AI_BASE_URL": simulator.base_url("openai-chat"),
        "AI_MODEL": "simulated",
        "AI_REDIS_URL": url,
    }
    environ |= {f"AI_{name.upper()}": str(value) for name, value in settings.items()}
    async with Client.from_env(environ) as made:
        yield made


def transport_of(made: Client, name: str) -> Transport:
    provider = made._providers[name]
    assert isinstance(provider, HTTPProvider)
    return provider.transport


async def test_clients_with_the_same_address_share_a_quota(redis_url: str) -> None:
    """Nothing but the address says so; another namespace is another quota."""  # L5
    flush(redis_url)
    brief = Deadlines(pool=0.5)
    limits = {"requests_per_minute": 3, "rate_burst": 3}
    async with (
        Simulator() as simulator,
        client(redis_url, simulator, **limits) as one,
        client(redis_url, simulator, **limits) as two,
        client(redis_url, simulator, redis_namespace="else", **limits) as other,
    ):
        await one.complete("Hi")
        await two.complete("Hi")
        await one.complete("Hi")
        for who in (one, two):
            with pytest.raises(DeadlineError) as caught:
                await who.complete("Hi", deadlines=brief)
            assert caught.value.phase == "pool"
            assert caught.value.retry_after is not None
        await other.complete("Hi", deadlines=brief)
        assert len(simulator.requests) == 4


async def test_tokens_are_settled_by_the_answer(redis_url: str) -> None:
    """What the estimate had too much is there for the next one, in another client."""  # L2, L5
    flush(redis_url)
    async with Simulator() as simulator:
        async with client(redis_url, simulator, tokens_per_minute=10_000) as one:
            await one.complete("Hi")
        with Redis.from_url(redis_url) as redis:
            (state,) = redis.keys("*limit*")
            used = float(redis.hget(state, "sum:tokens") or 0)
    assert 0 < used < 100


async def test_a_client_without_an_address_keeps_its_own_counts() -> None:
    """And needs no Redis, nor its package."""
    async with Client.from_config(
        ClientConfig(
            provider="openai-chat",
            api_key="k",
            requests_per_minute=1,
            circuit_breaker=True,
        )
    ) as made:
        transport = transport_of(made, "openai-chat")
        assert isinstance(transport.limiter, Limiter)
        assert isinstance(transport.breaker, CircuitBreaker)


async def test_limits_and_breakers_are_those_of_all() -> None:
    """An address makes them so, for every provider of the client."""  # L5
    config = ClientConfig(
        provider="openai-chat",
        api_key="k",
        requests_per_minute=1,
        circuit_breaker=True,
        redis_url=f"redis://:{PASSWORD}@localhost:1/0",
        redis_workers=4,
    )
    assert PASSWORD not in repr(config)
    async with Client.from_config(config, environ={"GROQ_API_KEY": "k"}) as made:
        names = set()
        for provider in ("openai-chat", "groq"):
            transport = transport_of(made, provider)
            assert isinstance(transport.limiter, RedisLimiter)
            assert isinstance(transport.breaker, RedisBreaker)
            names.add(transport.limiter.name)
        assert len(names) == 2
        assert PASSWORD not in repr(made)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"redis_url": f"http://u:{PASSWORD}@host"}, "redis_url: .*redis://host"),
        ({"redis_url": f"redis://:{PASSWORD}@/0"}, "redis_url: .*no host"),
        ({"redis_url": f"redis://:{PASSWORD}@h:port"}, "redis_url: .*redis://host"),
        ({"redis_namespace": "a{b"}, "redis_namespace: .*braces"),
        ({"redis_namespace": ""}, "redis_namespace: "),
        ({"redis_workers": 0}, "redis_workers: .*1 or more"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(
    settings: dict[str, object], complaint: str
) -> None:
    """When the configuration is made, by the name that it has there."""  # E3
    with pytest.raises(ConfigError, match=complaint) as caught:
        ClientConfig(provider="openai", **settings)  # type: ignore[arg-type]
    assert PASSWORD not in str(caught.value)
    text = {k: str(v) for k, v in settings.items()}
    if "" not in text.values():  # which says nothing
        with pytest.raises(ConfigError, match=complaint) as caught:
            ClientConfig.from_mapping({"provider": "openai", **text})
        assert PASSWORD not in str(caught.value)


# -- middleware ------------------------------------------------------------------------


def ask(model: str) -> ChatRequest:
    return ChatRequest((user("Hi"),), model, deadlines=Deadlines(pool=0.5))


async def test_middleware_shares_by_name_and_key(redis_url: str) -> None:
    """Each key has its own limit, and none of it can be read in Redis."""  # L5
    flush(redis_url)
    limit = RateLimit.per_minute(1)
    async with RedisState(redis_url) as shared:
        layers = [
            rate_limit(limit, by=lambda request: request.model, redis=shared)
            for _ in range(2)
        ]
        one, two = (
            compose([layer], FakeProvider(["Hello!"] * 9).stream) for layer in layers
        )
        assert [_ async for _ in one(ask("ada"))]
        assert [_ async for _ in two(ask("bob"))]
        with pytest.raises(DeadlineError):
            assert [_ async for _ in two(ask("ada"))]
    with Redis.from_url(redis_url) as redis:
        assert not [key for key in redis.keys("*") if b"ada" in key]


async def test_middleware_with_an_address_is_closed_by_its_client(
    redis_url: str,
) -> None:
    """Whoever passes an address has nothing to close, and may use it again."""  # C3, L5
    flush(redis_url)
    limit = rate_limit(RateLimit.per_minute(3), redis=redis_url, name="ours")
    for _ in range(2):
        fake = FakeProvider(["Hello!"])
        async with Client({"fake": fake}, middleware=[limit]) as made:
            await made.complete("Hi", model="fake:m")
    with Redis.from_url(redis_url) as redis:
        assert len(redis.client_list()) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "x"}, "a name is for those that share"),
        ({"redis": "localhost"}, "redis://"),
        ({"redis": 3}, "redis must be an address"),
        ({"redis": "redis://localhost", "name": "{"}, "braces"),
        ({"redis": "redis://localhost", "name": "{", "by": str}, "braces"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: dict[str, object], complaint: str
) -> None:
    """When it is made."""
    with pytest.raises(ConfigError, match=complaint):
        rate_limit(RateLimit(1), **options)  # type: ignore[arg-type]


def test_a_limiter_has_its_counts_already() -> None:
    """It cannot be shared by an option."""
    with pytest.raises(ConfigError, match="they take a RateLimit"):
        rate_limit(Limiter(RateLimit(1)), redis="redis://localhost")
