"""`split`: the same users, the same model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from aichat import ChatRequest, ConfigError
from aichat.middleware._split import split

from .models import Call, Models, saying


def everybody(*names: str) -> Models:
    return Models({name: saying("Hi") for name in names})


async def sides(
    shares: Mapping[str, float], users: range = range(200), **options: Any
) -> dict[str, str]:
    """Which model each user gets."""
    models = everybody(*shares)
    layer = split(shares, **options)
    for user in users:
        request = ChatRequest("Hi", "x:any", user=f"user-{user}")
        async for _ in layer(request, models):
            pass
    return {r.user: r.model for r in models.requests if r.user is not None}


def members(sides: dict[str, str], model: str) -> set[str]:
    return {user for user, side in sides.items() if side == model}


async def test_the_same_user_the_same_model() -> None:
    """Also from another split of the same shares: nothing is remembered. (B3)"""
    shares = {"a:new": 0.1, "a:old": 0.9}
    assert await sides(shares) == await sides(shares)


async def test_the_shares_are_what_was_said() -> None:
    """A tenth is a tenth, give or take chance; the sum does not matter. (B3)"""
    new = members(await sides({"a:new": 10, "a:old": 90}, range(1000)), "a:new")
    assert 70 <= len(new) <= 130


@pytest.mark.parametrize("order", [("a:new", "a:old"), ("a:old", "a:new")])
async def test_a_share_that_grows_keeps_all_that_it_had(order: tuple[str, str]) -> None:
    """Nobody is moved back, whichever comes first. (B3)"""
    small, large = {"a:new": 0.1, "a:old": 0.9}, {"a:new": 0.2, "a:old": 0.8}
    before = members(await sides({m: small[m] for m in order}), "a:new")
    after = members(await sides({m: large[m] for m in order}), "a:new")
    assert before < after


async def test_two_that_grow_on_either_side_of_the_one_that_gives() -> None:
    """The one in the middle pays, and the other is left alone. (B3)"""
    before = await sides({"a:one": 0.1, "a:old": 0.8, "a:two": 0.1})
    after = await sides({"a:one": 0.3, "a:old": 0.6, "a:two": 0.1})
    assert members(before, "a:one") < members(after, "a:one")
    assert members(before, "a:two") == members(after, "a:two")


async def test_another_seed_is_another_experiment() -> None:
    """The half of the one is not the half of the other. (B3)"""
    shares = {"a:new": 1, "a:old": 1}
    one = members(await sides(shares, seed="one"), "a:new")
    two = members(await sides(shares, seed="two"), "a:new")
    assert 0.3 < len(one & two) / len(one) < 0.7


@pytest.mark.parametrize("user", ["user-7", "Zoë", "a\0b", "half \ud83d"])
async def test_the_place_of_a_key_can_be_told_by_anybody(user: str) -> None:
    """It is a hash that other programs compute as well, and no process has its own. (B3)"""
    data = b"s\0" + user.encode("utf-8", "surrogatepass")
    point = int.from_bytes(hashlib.sha256(data).digest()[:8], "big") / 2**64
    models = everybody("a:new", "a:old")
    # Only one share can be met so closely by chance.
    layer = split({"a:new": point - 1e-9, "a:old": 1 - point + 1e-9}, seed="s")
    await Call(models, layer).read(ChatRequest("Hi", "x:any", user=user))
    layer = split({"a:new": point + 1e-9, "a:old": 1 - point - 1e-9}, seed="s")
    await Call(models, layer).read(ChatRequest("Hi", "x:any", user=user))
    assert models.asked == ["a:old", "a:new"]


async def test_without_a_key_it_goes_by_lot() -> None:
    """Those without a name are not all the same one. (B3)"""
    lots = iter([0.05, 0.5, 0.09])
    models = everybody("a:new", "a:old")
    layer = split({"a:new": 0.1, "a:old": 0.9}, rand=lambda: next(lots))
    for user in (None, None, ""):
        await Call(models, layer).read(ChatRequest("Hi", "x:any", user=user))
    assert models.asked == ["a:new", "a:old", "a:new"]


async def test_a_key_of_ones_own() -> None:
    """Whatever a request knows may be the key."""
    models = everybody("a:new", "a:old")
    layer = split(
        {"a:new": 1, "a:old": 1}, key=lambda request: request.metadata["tenant"]
    )
    for user in range(20):
        request = ChatRequest(
            "Hi", "x:any", user=f"user-{user}", metadata={"tenant": "acme"}
        )
        await Call(models, layer).read(request)
    assert len(set(models.asked)) == 1


async def test_only_requests_for_the_virtual_model() -> None:
    """Others pass untouched, and only a change is told. (B3)"""
    models = everybody("a:new", "b:m")
    layer = split({"a:new": 1}, of="test:any")
    call = Call(models, layer)
    await call.read(ChatRequest("Hi", "b:m"))
    await call.read(ChatRequest("Hi", "test:any"))
    assert models.asked == ["b:m", "a:new"]
    assert [(e.kind, e.model) for e in call.events] == [("rerouted", "a:new")]
    always = Call(models, split({"a:new": 1}))
    await always.read(ChatRequest("Hi", "a:new"))
    assert always.events == []


@pytest.mark.parametrize(
    ("shares", "options", "why"),
    [
        ({}, {}, "at least one model"),
        (["a:m"], {}, "with their shares"),
        ({"a:m": -0.1}, {}, "weight of a:m"),
        ({"a:m": 1}, {"of": "new"}, "of='new' will not do"),
    ],
)
def test_settings_that_make_no_sense(
    shares: Any, options: dict[str, Any], why: str
) -> None:
    """They are refused when it is made. (G4)"""
    with pytest.raises(ConfigError, match=why):
        split(shares, **options)
