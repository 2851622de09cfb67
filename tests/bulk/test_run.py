"""`aichat.bulk.run`: the engine, in a loop in which waiting takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from decimal import Decimal

import pytest

from aichat import Client, bulk
from aichat.errors import (
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ConfigError,
    DeadlineError,
    InvalidRequestError,
    ProviderUnavailableError,
    RateLimitError,
    SpendLimitError,
)
from aichat.middleware import Price, PriceBook, cache, spend_limit
from aichat.testing import FakeProvider, reply
from aichat.types import BatchRequest, ChatRequest, fold
from tests.transport.toys import now, virtual

from .makers import SlowProvider, client_of


def _many(count: int) -> dict[str, str]:
    return {f"q{i}": f"q{i}" for i in range(count)}


async def _all(
    client: Client, count: int, **settings: object
) -> dict[str, bulk.BulkResult[BatchRequest]]:
    found = {}
    async with bulk.run(client, _many(count), **settings) as results:  # type: ignore[arg-type]  # settings of any kind
        async for result in results:
            assert result.id not in found
            found[result.id] = result
    return found


@virtual
async def test_every_request_gets_its_own_answer() -> None:
    """As they complete, each under its id."""
    provider = SlowProvider()
    found = await _all(client_of(provider), 200)
    assert {
        key: result.response.text
        for key, result in found.items()
        if result.response is not None
    } == {key: f"You said: {key}" for key in _many(200)}
    assert set(provider.asked.values()) == {1}
    assert provider.active == 0


@virtual
async def test_the_ceiling_holds_and_is_reached() -> None:
    """And 200 calls of a second take not much more than 200 / 20."""
    provider = SlowProvider()
    await _all(client_of(provider), 200, concurrency=20)
    assert provider.most == 20
    assert now() < 14


@virtual
async def test_it_finds_out_how_much_the_provider_bears() -> None:
    """
    Where there is room for 16, nothing fails, and most of the room is used.

    Without it a ceiling of 200 would have nearly every call refused.
    """
    provider = SlowProvider(room=16, refusal=lambda: RateLimitError("Slow down."))
    found = await _all(client_of(provider), 1000, concurrency=200)
    assert all(result.error is None for result in found.values())
    assert provider.most <= 40
    assert provider.refused < 200
    assert now() < 1000 / 16 * 2.5


@virtual
async def test_a_wait_that_the_provider_asks_for_holds_for_all() -> None:
    """`retry_after` is about the provider, and not about one request. (L4)"""
    at: list[float] = []

    def answer(request: ChatRequest, before: int) -> str | Exception:
        at.append(now())
        if request.messages[-1].text == "q0" and not before:
            return RateLimitError("Later.", retry_after=50)
        return "Yes."

    found = await _all(client_of(SlowProvider(answer)), 50, concurrency=4)
    assert all(result.error is None for result in found.values())
    assert not [moment for moment in at if 2.5 < moment < 51]


@virtual
async def test_patience_has_an_end() -> None:
    """What there is never room for is a failure, after so many further calls."""
    provider = SlowProvider(
        lambda request, _: (
            RateLimitError("No.") if request.messages[-1].text == "q3" else "Yes."
        )
    )
    found = await _all(client_of(provider), 10, patience=2)
    assert [key for key, result in found.items() if result.error] == ["q3"]
    assert provider.asked["q3"] == 3


@virtual
async def test_what_has_begun_to_answer_is_not_asked_again() -> None:
    """It is paid for: overloaded in the middle is a failure, with what had come."""
    error = ProviderUnavailableError("Overloaded.", partial=fold(reply("Well,")))
    provider = SlowProvider(
        lambda request, _: error if request.messages[-1].text == "q1" else "Yes."
    )
    found = await _all(client_of(provider), 3)
    assert isinstance(found["q1"].error, ProviderUnavailableError)
    assert provider.asked["q1"] == 1


@virtual
async def test_a_turn_that_never_came_is_put_back() -> None:
    """The limiter's deadline says that nothing was sent; another deadline does not."""

    def answer(request: ChatRequest, before: int) -> str | Exception:
        match request.messages[-1].text, before:
            case "q0", 0:
                return DeadlineError("No permit.", phase="pool")
            case "q1", _:
                return DeadlineError("Nothing came.", phase="idle")
            case _:
                return "Yes."

    found = await _all(client_of(SlowProvider(answer)), 3)
    assert {key: type(result.error) for key, result in found.items()} == {
        "q0": type(None),
        "q1": DeadlineError,
        "q2": type(None),
    }


@virtual
async def test_errors_are_results() -> None:
    """Each is its own request's; the others go on, whatever it is."""

    def answer(request: ChatRequest, _: int) -> str | Exception:
        match request.messages[-1].text:
            case "q1":
                return BadRequestError("No.")
            case "q2":
                return RuntimeError("A bug in a middleware.")
            case _:
                return "Yes."

    found = await _all(client_of(SlowProvider(answer)), 6)
    assert {key: type(r.error) for key, r in found.items() if r.error} == {
        "q1": BadRequestError,
        "q2": RuntimeError,
    }


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("Wrong key."),
        ProviderUnavailableError("Nobody there."),
        CircuitOpenError("Left alone.", retry_after=30),
    ],
    ids=lambda error: str(error.code),
)
@virtual
async def test_what_fails_everything_ends_the_run(error: Exception) -> None:
    """Three in a row; the rest is not tried, and the run raises it."""
    provider = SlowProvider(lambda *_: error)
    with pytest.raises(type(error)):
        await _all(client_of(provider), 1000, concurrency=4, patience=1)
    assert len(provider.asked) < 12
    assert provider.active == 0


@virtual
async def test_now_and_then_is_not_in_a_row() -> None:
    """One wrong key among good answers is one failure."""
    provider = SlowProvider(
        lambda request, _: (
            AuthenticationError("Wrong key.")
            if request.messages[-1].text.endswith("0")
            else "Yes."
        )
    )
    found = await _all(client_of(provider), 100, concurrency=1)
    assert sum(result.error is not None for result in found.values()) == 10


@virtual
async def test_a_brake_finishes_what_is_under_way() -> None:
    """No more is begun, nothing is dropped, also by who waits for a second try."""
    provider = SlowProvider(
        lambda request, _: (
            RateLimitError("Later.", retry_after=1000)
            if request.messages[-1].text == "q9"
            else "Yes."
        )
    )
    brake = bulk.Brake()
    asyncio.get_running_loop().call_later(5.5, brake.pull)
    found = await _all(client_of(provider), 1000, concurrency=10, brake=brake)
    assert set(found) == set(provider.answered)
    assert 0 < len(found) < 100
    assert now() < 8
    assert brake.pulled
    assert "pulled" in repr(brake)
    assert await _all(client_of(provider), 5, brake=brake) == {}


@virtual
async def test_leaving_cancels_what_is_under_way() -> None:
    """No task is left, and the requests are closed. (C1)"""
    provider = SlowProvider(seconds=5)
    closed = []

    async def requests() -> AsyncGenerator[BatchRequest, None]:
        try:
            for number in range(100):
                yield BatchRequest(f"q{number}", ChatRequest(f"q{number}"))
        finally:
            closed.append(True)

    async with bulk.run(client_of(provider), requests()) as results:
        async for _ in results:
            break
    assert provider.active == 0
    assert closed
    assert len(asyncio.all_tasks()) == 1


@virtual
async def test_a_consumer_that_takes_its_time() -> None:
    """Slows it down, and nothing piles up. (C6)"""
    provider = SlowProvider(seconds=0)
    async with bulk.run(client_of(provider), _many(100), concurrency=5) as results:
        async for _ in results:
            await asyncio.sleep(1)
            break
    assert len(provider.asked) <= 12


@virtual
async def test_requests_that_come_in_other_forms() -> None:
    """A list, with options over all of them."""
    provider = SlowProvider()
    asked = [
        BatchRequest("a", ChatRequest("A", temperature=1)),
        BatchRequest("b", ChatRequest("B")),
    ]
    async with bulk.run(
        client_of(provider), asked, temperature=0, model="slow:other"
    ) as results:
        found = [result async for result in results]
    assert sorted(result.id for result in found) == ["a", "b"]
    assert {(r.temperature, r.model) for r in provider.requests} == {(0, "slow:other")}


@virtual
async def test_costs() -> None:
    """By prices of your own; nobody's if nobody knows them. (O6)"""
    client = client_of(SlowProvider())
    found = await _all(client, 1, prices={"slow:*": Price("1", "10")})
    cost = found["q0"].cost
    assert cost is not None
    assert cost.total == Decimal("0.00006")
    found = await _all(client, 1, prices={"other:*": Price("1", "10")})
    assert found["q0"].cost is None


@virtual
async def test_a_limit_on_spending_is_used_up_to_the_last_call() -> None:
    """
    What is put aside for calls under way is waited for; then the run says why it ends.

    Each call costs 60 millionths, and ten times that is put aside for it.
    """
    prices = {"slow:*": Price("1", "10")}
    limit = spend_limit(total="0.003", prices=prices, expected_output=60)
    provider = SlowProvider()
    found = []
    with pytest.raises(SpendLimitError):
        async with bulk.run(
            client_of(provider).use(limit), _many(200), prices=prices, concurrency=20
        ) as results:
            found = [None]
            async for result in results:
                assert result.error is None
                found.append(None)
    assert 35 <= len(provider.answered) <= 50
    assert len(found) - 1 == len(provider.answered)


@virtual
async def test_models_without_a_price_end_it() -> None:
    """All of them are refused alike."""
    limit = spend_limit(total="1", prices={"other:*": Price(1, 1)})
    provider = SlowProvider()
    with pytest.raises(SpendLimitError, match="No price"):
        await _all(client_of(provider).use(limit), 50)
    assert not provider.asked


@virtual
async def test_a_client_that_is_closed_ends_it() -> None:
    """There is nobody to ask any more."""
    client = client_of(SlowProvider())
    asyncio.get_running_loop().call_later(3.5, lambda: tasks.append(_closing(client)))
    tasks: list[asyncio.Task[None]] = []
    with pytest.raises(Exception, match="closed"):
        await _all(client, 1000, concurrency=4)
    await asyncio.wait(tasks)


def _closing(client: Client) -> asyncio.Task[None]:
    return asyncio.create_task(client.aclose())


def test_settings_that_make_no_sense() -> None:
    """Are refused at once. (G4)"""
    client = Client({"fake": FakeProvider([])}, model="fake:any")
    with pytest.raises(InvalidRequestError, match="concurrency"):
        bulk.run(client, {}, concurrency=0)
    with pytest.raises(InvalidRequestError, match="patience"):
        bulk.run(client, {}, patience=-1)
    with pytest.raises(TypeError, match="temprature"):
        bulk.run(client, {}, temprature=1)  # type: ignore[call-arg]  # the point
    with pytest.raises(ConfigError):
        bulk.run(client, {}, prices={"no colon": Price(1, 1)})


@virtual
async def test_where_prices_come_from() -> None:
    """A book of your own without the table, or with one that is not installed."""
    client = client_of(SlowProvider())
    book = PriceBook({"slow:*": Price(1, 1)}, table=None)
    found = await _all(client, 1, prices=book)
    assert found["q0"].cost is not None


@virtual
async def test_an_answer_from_a_cache_says_nothing_about_the_provider() -> None:
    """Each prompt is asked once, however fast the others come."""
    provider = SlowProvider()
    client = client_of(provider).use(cache())
    asked = [BatchRequest(f"r{i}", ChatRequest(f"q{i % 5}")) for i in range(50)]
    async with bulk.run(client, asked) as results:
        found = [result async for result in results]
    assert len(found) == 50
    assert set(provider.asked.values()) == {1}


@virtual
async def test_a_price_table_that_breaks() -> None:
    """Its answers are there all the same, at a cost that nobody knows."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("No table today.")

    client = client_of(SlowProvider())
    found = await _all(client, 1, prices=PriceBook(table=broken))
    assert found["q0"].response is not None
    assert found["q0"].cost is None
