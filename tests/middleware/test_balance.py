"""`balance`: whose turn it is, and who is skipped."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from typing import Any, Literal

import pytest

from aichat import (
    ChatRequest,
    CircuitOpenError,
    Client,
    ConfigError,
    DeadlineError,
    Deadlines,
    Middleware,
    ServerError,
    StreamInterruptedError,
    TextDelta,
    compose,
)
from aichat.middleware._balance import balance
from aichat.testing import FakeProvider, reply
from aichat.types import fold

from ..transport.toys import now, virtual
from .models import Call, Models, saying, tasks

REQUEST = ChatRequest("Hi", "pool:any")
OPEN = CircuitOpenError("Left alone.", retry_after=5.0, attempts=0)

By = Literal["weight", "round_robin", "least_busy"]


async def asked(models: Models, layer: Middleware, times: int) -> list[str]:
    """Who answers that many requests, one after the other."""
    for _ in range(times):
        await Call(models, layer).read(REQUEST)
    return models.asked


def all_well(*names: str) -> Models:
    return Models({f"{name}:m": saying("Hi") for name in names})


async def test_round_robin_holds_the_shares_without_bursts() -> None:
    """Five of seven for one, and never all five in a row. (B3)"""
    turns = balance({"a:m": 5, "b:m": 1, "c:m": 1}, by="round_robin")
    order = await asked(all_well("a", "b", "c"), turns, 14)
    assert "".join(model[0] for model in order) == "aabacaa" * 2


async def test_names_alone_weigh_the_same() -> None:
    """They take turns, in their order. (B3)"""
    order = await asked(
        all_well("a", "b", "c"),
        balance(iter(["a:m", "b:m", "c:m"]), by="round_robin"),
        6,
    )
    assert order == ["a:m", "b:m", "c:m"] * 2


async def test_by_weight_lots_are_drawn() -> None:
    """Each has its part of what can be drawn; nothing is drawn for a weight of 0. (B3)"""
    lots = iter([0.0, 0.74, 0.75, 0.99])
    layer = balance({"a:m": 3, "z:m": 0, "b:m": 1}, rand=lambda: next(lots))
    order = await asked(all_well("a", "b"), layer, 4)
    assert order == ["a:m", "a:m", "b:m", "b:m"]


async def test_the_least_busy_for_its_weight() -> None:
    """Streams count from the choice to their end, however that comes about. (B3)"""
    models = all_well("a", "b")
    layer = balance({"a:m": 2, "b:m": 1}, by="least_busy")
    handler = compose([layer], models)
    async with AsyncExitStack() as streams:
        for _ in range(6):
            stream = await streams.enter_async_context(aclosing(handler(REQUEST)))
            await anext(stream)
        assert Counter(models.asked) == {"a:m": 4, "b:m": 2}
    # All were left, so that they are equal again, and take turns.
    models.asked.clear()
    order = await asked(models, layer, 6)
    assert Counter(order) == {"a:m": 4, "b:m": 2}


@virtual
async def test_a_slow_one_gets_fewer() -> None:
    """What is not finished keeps the next request away. (B3)"""
    models = Models({"a:m": saying("Hi", after=10.0), "b:m": saying("Hi", after=1.0)})
    layer = balance(["a:m", "b:m"], by="least_busy")

    async def one() -> None:
        await Call(models, layer).read(REQUEST)

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(one())
            await asyncio.sleep(1.5)
    # b:m is free for each of them, except that a:m is as free when it has ended.
    assert Counter(models.asked)["a:m"] == 2


async def test_only_requests_for_the_virtual_model() -> None:
    """Others pass untouched. (B3)"""
    models = all_well("a", "b", "c")
    layer = balance(["a:m", "b:m"], of="pool:fast", by="round_robin")
    call = Call(models, layer)
    other = ChatRequest("Hi", "c:m")
    await call.read(other)
    assert models.requests == [other]
    assert models.requests[0] is other
    assert call.events == []
    await Call(models, layer).read(ChatRequest("Hi", "pool:fast"))
    assert models.asked == ["c:m", "a:m"]


async def test_a_client_with_a_virtual_model() -> None:
    """Nothing but the address is needed, also as the default."""
    fake = FakeProvider(["one", "two"])
    layer = balance(["fake:x", "fake:y"], of="pool:fast", by="round_robin")
    async with Client({"fake": fake}, model="pool:fast", middleware=[layer]) as client:
        await client.complete("Hi")
        await client.complete("Hi", model="pool:fast")
    assert [request.model_name for request in fake.requests] == ["x", "y"]


async def test_the_choice_is_told() -> None:
    """Whoever listens hears which model was chosen, unless it is the one asked for."""
    call = Call(all_well("a"), balance(["a:m"]))
    await call.read(REQUEST)
    assert [(e.kind, e.model, e.error) for e in call.events] == [
        ("rerouted", "a:m", None)
    ]
    call = Call(all_well("a"), balance(["a:m"]))
    await call.read(ChatRequest("Hi", "a:m"))
    assert call.events == []


async def test_an_open_circuit_is_skipped() -> None:
    """Another one answers, and says why it did. (B3)"""
    models = Models({"a:m": [OPEN], "b:m": saying("Hi"), "c:m": saying("Hi")})
    layer = balance(["a:m", "b:m", "c:m"], by="round_robin")
    call = Call(models, layer)
    response = fold(await call.read(REQUEST))
    assert response.warnings == ("Answered by b:m, since a:m failed: circuit_open.",)
    assert [event.model for event in call.events] == ["a:m", "b:m"]
    assert isinstance(call.events[1].error, CircuitOpenError)


async def test_shares_of_the_others_while_one_is_open() -> None:
    """What it would have got is divided evenly. (B3)"""
    models = Models({"a:m": [OPEN], "b:m": saying("Hi"), "c:m": saying("Hi")})
    layer = balance(["a:m", "b:m", "c:m"], by="round_robin")
    order = await asked(models, layer, 30)
    assert Counter(m for m in order if m != "a:m") == {"b:m": 15, "c:m": 15}


async def test_all_are_open() -> None:
    """Each was asked once; the one that is back first says when. (B1, B3)"""
    models = Models({
        "a:m": [[CircuitOpenError("Left alone.", retry_after=9.0)], saying("Hi")],
        "b:m": [
            [CircuitOpenError("Left alone, too.", retry_after=4.0, attempts=1)],
            saying("Hi"),
        ],
        "c:m": [[CircuitOpenError("Left alone as well.")], saying("Hi")],
    })
    layer = balance(["a:m", "b:m", "c:m"], by="least_busy")
    with pytest.raises(CircuitOpenError) as caught:
        await Call(models, layer).read(REQUEST)
    error = caught.value
    assert sorted(models.asked) == ["a:m", "b:m", "c:m"]
    assert (error.retry_after, error.attempts) == (4.0, 1)
    assert str(error) == (
        "Left alone, too. (There is nobody else to ask: a:m, b:m, c:m.)"
    )
    assert dict(error.context["balance"]) == dict.fromkeys(models.asked, "circuit_open")
    # Nobody is thought to be busy for ever.
    handler = compose([layer], models)
    async with AsyncExitStack() as streams:
        for _ in range(3):
            await anext(await streams.enter_async_context(aclosing(handler(REQUEST))))
    assert sorted(models.asked[3:]) == ["a:m", "b:m", "c:m"]


async def test_other_errors_are_not_its_business() -> None:
    """They come out, with what was skipped before. (B3)"""
    models = Models({
        "a:m": [OPEN],
        "b:m": [ServerError("Oh.", attempts=2)],
        "c:m": saying("Never."),
    })
    layer = balance(["a:m", "b:m", "c:m"], by="round_robin")
    with pytest.raises(ServerError) as caught:
        await Call(models, layer).read(REQUEST)
    assert models.asked == ["a:m", "b:m"]
    assert caught.value.attempts == 2
    assert caught.value.context["balance"] == (("a:m", "circuit_open"),)


async def test_a_circuit_that_opens_in_the_middle() -> None:
    """After the first word nobody else is asked."""
    models = Models({"a:m": [*reply("Hi")[:-1], OPEN], "b:m": saying("Never.")})
    call = Call(models, balance(["a:m", "b:m"], by="round_robin"))
    with pytest.raises(CircuitOpenError):
        await call.read(REQUEST)
    assert models.asked == ["a:m"]
    assert TextDelta("Hi") in call.chunks


@virtual
async def test_one_total_for_all_that_are_asked() -> None:
    """A circuit may open after retries that took their time. (D3)"""
    models = Models({"a:m": [3.0, OPEN], "b:m": saying("Never.")})
    request = ChatRequest("Hi", "pool:any", deadlines=Deadlines(total=3))
    with pytest.raises(DeadlineError):
        await Call(models, balance(["a:m", "b:m"], by="round_robin")).read(request)
    assert (models.asked, now()) == (["a:m"], 3.0)


@virtual
async def test_being_cancelled_gives_it_back() -> None:
    """One that nobody waits for any more is not busy. (C1, C2)"""
    models = Models({"a:m": [5.0, *saying("Hi")], "b:m": saying("Hi")})
    layer = balance(["a:m", "b:m"], by="least_busy")
    reader = asyncio.create_task(Call(models, layer).read(REQUEST))
    await asyncio.sleep(1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert (models.active, tasks()) == (0, 0)
    await asked(models, layer, 2)
    assert models.asked == ["a:m", "b:m", "a:m"]


def test_several_loops_in_threads() -> None:
    """They share the turns, exactly. (C5)"""
    layer = balance({"a:m": 3, "b:m": 1}, by="round_robin")
    models = all_well("a", "b")

    def run(_: int) -> None:
        asyncio.run(asked(models, layer, 50))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(8)))
    assert Counter(models.asked) == {"a:m": 300, "b:m": 100}


async def test_an_error_that_cuts_the_answer_gives_it_back() -> None:
    """A failed stream is over as well."""
    broken = [*reply("Hi")[:-1], StreamInterruptedError("Cut.")]
    models = Models({"a:m": [broken, saying("Hi")], "b:m": saying("Hi")})
    layer = balance(["a:m", "b:m"], by="least_busy")
    with pytest.raises(StreamInterruptedError):
        await Call(models, layer).read(REQUEST)
    await asked(models, layer, 2)
    assert models.asked == ["a:m", "b:m", "a:m"]


@pytest.mark.parametrize(
    ("models", "options", "why"),
    [
        ([], {}, "at least one model"),
        ({}, {}, "at least one model"),
        ("a:m", {}, "got the text 'a:m'"),
        (["a:m", "a:m"], {}, "names a:m more than once"),
        ([7], {}, "got 7"),
        ({"a:m": -1}, {}, "weight of a:m must be a number, 0 or more; got -1"),
        ({"a:m": float("nan")}, {}, "got nan"),
        ({"a:m": True}, {}, "got True"),
        ({"a:m": 0}, {}, "at least one weight"),
        (["a:m"], {"by": "luck"}, "got 'luck'"),
        (["a:m"], {"of": "fast"}, "of='fast' will not do"),
        (["a:m"], {"of": ""}, "of='' will not do"),
    ],
)
def test_settings_that_make_no_sense(
    models: Mapping[str, float] | Iterable[str], options: dict[str, Any], why: str
) -> None:
    """They are refused when it is made. (G4)"""
    with pytest.raises(ConfigError, match=why):
        balance(models, **options)
