"""`RedisCache`: what one process was answered, the others need not ask."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from redis import Redis

from aichat import ChatRequest, Client, Handler, StreamChunk, compose
from aichat.errors import ClosedError, ConfigError
from aichat.middleware import MemoryCache, RedisCache, cache, circuit_breaker
from aichat.middleware._compose import ClosableMiddleware, owning
from aichat.redis import RedisState
from aichat.testing import FakeProvider, reply
from aichat.transport import CircuitBreaker
from aichat.types import ChatResponse, Usage, fold, to_json

from ..redis.toys import PASSWORD, Clock, beside, fresh, idle, protect
from ..redis_server import redis_server, redis_url
from .cache_toys import ASK, Model, answer, around

__all__ = ["redis_url"]

HELLO = fold(reply("Hello!", usage=Usage(input_tokens=3, output_tokens=2)))


def raw(state: RedisState) -> Any:
    return state.link()._redis


# -- the store -------------------------------------------------------------------------------


async def test_another_process_finds_it(redis_url: str) -> None:
    """Equal in every part; and at once where it was put."""  # L5
    state = fresh(redis_url)
    there = beside(state, redis_url)
    store = RedisCache(state)
    assert await store.get("k") is None
    await store.set("k", HELLO, None)
    assert await store.get("k") == HELLO
    await idle(state)
    assert await store.get("k") == await RedisCache(there).get("k") == HELLO
    assert await RedisCache(fresh(redis_url)).get("k") is None
    for each in (state, there):
        await each.aclose()


async def test_how_long_it_is_kept(redis_url: str) -> None:
    """An hour, or as long as is said."""
    async with fresh(redis_url) as state:
        key = state.key("answer", "k")
        await RedisCache(state).set("k", HELLO, None)
        await idle(state)
        assert 3_590_000 < await raw(state).pttl(key) <= 3_600_000
        await RedisCache(state).set("k", HELLO, 1.5)
        await idle(state)
        assert 1000 < await raw(state).pttl(key) <= 1500
        await RedisCache(state, ttl=None).set("k", HELLO, None)
        await idle(state)
        assert await raw(state).pttl(key) == -1


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b'{"id": 3, "of": "old"}', b"null"]
)
async def test_what_is_no_answer(redis_url: str, body: bytes) -> None:
    """Of another version, or somebody else's: as if it was not there."""
    async with fresh(redis_url) as state:
        await raw(state).set(state.key("answer", "k"), body)
        assert await RedisCache(state).get("k") is None


async def test_what_is_too_large(redis_url: str) -> None:
    """Is not kept."""
    size = len(to_json(HELLO))
    async with fresh(redis_url) as state:
        await RedisCache(state, max_bytes=size - 1).set("k", HELLO, None)
        assert await RedisCache(state).get("k") is None
        await RedisCache(state, max_bytes=size).set("k", HELLO, None)
        await idle(state)
        assert await RedisCache(state).get("k") == HELLO


async def test_the_last_one_counts(redis_url: str) -> None:
    """Also while the first one is still on its way."""
    other = fold(reply("Bye!"))
    async with fresh(redis_url) as state:
        store = RedisCache(state)
        await asyncio.gather(store.set("k", HELLO, None), store.set("k", other, None))
        assert await store.get("k") == other
        await idle(state)
        assert not store._writing


async def test_redis_is_killed_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    """
    Meanwhile nothing is found, nobody waits, and the log has one line about it.
    """  # L5
    caplog.set_level(logging.INFO, "aichat")
    with redis_server() as server:
        clock = Clock()
        state = fresh(server.url, timeout=0.2, clock=clock)
        model = Model()
        chat = around(model, cache(redis=state, namespace="n"))
        await answer(chat)
        await idle(state)
        assert (await answer(chat)).from_cache
        server.kill()
        for _ in range(20):
            assert not (await answer(chat)).from_cache
        assert len(caplog.records) == 1
        assert "is away" in caplog.text
        server.restart()
        clock.now += 10
        assert not (await answer(chat)).from_cache
        await idle(state)
        assert (await answer(chat)).from_cache
        assert [r.message.rpartition(" ")[2] for r in caplog.records[1:]] == ["back"]
        await state.aclose()


def test_over_several_loops(redis_url: str) -> None:
    """One after the other."""  # C5
    store = RedisCache(fresh(redis_url))

    async def once() -> ChatResponse | None:
        found = await store.get("k")
        await store.set("k", HELLO, None)
        await idle(store._state)
        return found

    assert [asyncio.run(once()) for _ in range(3)] == [None, HELLO, HELLO]


async def test_a_closed_state(redis_url: str) -> None:
    """Has written everything, and cannot be used any more."""
    state = fresh(redis_url)
    store = RedisCache(state)
    await store.set("k", HELLO, None)
    await state.aclose()
    assert not store._writing
    with pytest.raises(ClosedError):
        await store.get("k")
    with pytest.raises(ClosedError):
        await store.set("k", HELLO, None)
    async with beside(state, redis_url) as other:
        assert await RedisCache(other).get("k") == HELLO


async def test_a_wrong_password(caplog: pytest.LogCaptureFixture) -> None:
    """Costs a line in the log, which does not show it, and no call."""  # X2
    with redis_server() as server:
        await protect(server.url)
        url = server.url.replace("//", f"//user:{PASSWORD}@")
        state = fresh(url)
        chat = around(Model(), cache(redis=state, namespace="n"))
        assert (await answer(chat)).text == "Hello!"
        assert "lets nobody in" in caplog.text
        shown = "".join(f"{record.__dict__}" for record in caplog.records)
        assert PASSWORD not in f"{shown} {caplog.text} {RedisCache(state)!r}"
        await state.aclose()


@pytest.mark.parametrize("options", [{"ttl": 0}, {"max_bytes": 0}, {"max_bytes": 1.5}])
def test_settings_that_are_none(options: Any) -> None:
    """Are refused when it is made."""  # G1
    with pytest.raises(ConfigError, match="RedisCache"):
        RedisCache(RedisState("redis://localhost"), **options)


# -- an address is the only change -----------------------------------------------------------


async def test_two_clients_with_one_cache(redis_url: str) -> None:
    """The second one asks nobody; each closes what it has opened."""  # L5
    space = fresh(redis_url).namespace

    def client() -> tuple[Client, FakeProvider]:
        provider = FakeProvider(["Hello!"], repeat=True)
        layers = [
            cache(redis=redis_url, namespace=space),
            circuit_breaker(redis=redis_url, name=space),
        ]
        return Client({"fake": provider}, middleware=layers), provider

    for asked in (1, 0, 0):
        one, provider = client()
        async with one:
            assert (await one.complete("Hi", model="fake:m")).text == "Hello!"
        assert len(provider.requests) == asked
        assert len(asyncio.all_tasks()) == 1


async def test_a_middleware_of_two_clients(redis_url: str) -> None:
    """One closes it, and the other one goes on using it."""  # L5
    layer = cache(redis=redis_url, namespace=fresh(redis_url).namespace)
    provider = FakeProvider(["Hello!"], repeat=True)
    first = Client({"fake": provider}, middleware=[layer])
    second = Client({"fake": provider}, middleware=[layer])
    async with second:
        async with first:
            await first.complete("Hi", model="fake:m")
        for _ in range(3):
            assert (await second.complete("Hi", model="fake:m")).from_cache
    assert len(asyncio.all_tasks()) == 1


async def test_a_circuit_that_opens_elsewhere(redis_url: str) -> None:
    """`circuit_breaker` with an address and a name."""  # L5, B1
    from aichat.errors import CircuitOpenError, ServerError

    name = fresh(redis_url).namespace
    layers = [circuit_breaker(redis=redis_url, name=name, threshold=2) for _ in "ab"]
    failing = FakeProvider([ServerError()], repeat=True)
    well = FakeProvider(["Hello!"], repeat=True)
    async with (
        Client({"fake": failing}, middleware=layers[:1]) as a,
        Client({"fake": well}, middleware=layers[1:]) as b,
    ):
        for _ in range(2):
            with pytest.raises(ServerError):
                await a.complete("Hi", model="fake:m")
        with pytest.raises(CircuitOpenError):
            await a.complete("Hi", model="fake:m")
        with Redis.from_url(redis_url) as redis:
            async with asyncio.timeout(30):  # it is told in the background
                while True:
                    if any(redis.hexists(k, "opened") for k in redis.keys(f"*{name}*")):
                        break
                    await asyncio.sleep(0.01)
        await b.complete("Hi", model="fake:m")  # nobody waits
        with pytest.raises(CircuitOpenError, match="failed 2 times"):
            async with asyncio.timeout(30):
                while True:  # it is told soon
                    await b.complete("Hi", model="fake:m")
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("url", [f"http://:{PASSWORD}@x", f"redis://:{PASSWORD}@", 7])
async def test_addresses_that_are_none(url: Any) -> None:
    """Are found when it is made, and not quoted."""  # G1, X2
    with pytest.raises(ConfigError, match="redis") as caught:
        cache(redis=url, namespace="n")
    with pytest.raises(ConfigError, match="redis"):
        circuit_breaker(redis=url)
    assert PASSWORD not in str(caught.value)


def test_mistakes() -> None:
    """Are found when it is made."""  # G1
    here = "redis://localhost"
    with pytest.raises(ConfigError, match="either a store or redis"):
        cache(MemoryCache(), redis=here, namespace="n")
    with pytest.raises(ConfigError, match="needs a namespace"):
        cache(redis=here)
    with pytest.raises(ConfigError, match="either a breaker"):
        circuit_breaker(CircuitBreaker(), redis=here)
    with pytest.raises(ConfigError, match="for those that share"):
        circuit_breaker(name="mine")


# -- closing ---------------------------------------------------------------------------------


async def plain(
    request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    async for chunk in call_next(request):
        yield chunk


async def test_what_a_client_closes() -> None:
    """The middleware that it was made with, after its calls; and nobody else's."""  # C1
    said: list[str] = []

    def closing(name: str) -> ClosableMiddleware:
        async def aclose() -> None:
            said.append(name)

        layer = owning(plain, aclose)
        assert isinstance(layer, ClosableMiddleware)
        return layer

    async def slow(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        try:
            async for chunk in call_next(request):
                yield chunk
                await asyncio.sleep(60)
        finally:
            said.append("ended")

    provider = FakeProvider(["Hi there"], repeat=True)
    base = Client({"fake": provider}, middleware=[closing("a"), plain, slow])
    derived = base.use(closing("b"))
    call = asyncio.ensure_future(base.complete("Hi", model="fake:m"))
    await asyncio.sleep(0.01)
    await base.aclose()
    assert said == ["ended", "a"]
    with pytest.raises(ClosedError):
        await call
    await derived.aclose()
    assert said == ["ended", "a", "b", "a"]


async def test_an_owning_layer_is_like_any_other() -> None:
    """It hands on what comes."""

    async def aclose() -> None: ...

    provider = FakeProvider(["Hello!"])
    chat = compose([owning(plain, aclose)], provider.stream)
    assert fold([chunk async for chunk in chat(ASK)]).text == "Hello!"
