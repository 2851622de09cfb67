"""`MemoryCache`: time, size, and who goes first."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given

from aichat import ChatResponse, FinishReason, Message, Role, Usage
from aichat.errors import ConfigError
from aichat.middleware._stores import CacheStore, MemoryCache
from aichat.types import to_json

from ..types.strategies import responses


def response(text: str = "Hello!") -> ChatResponse:
    message = Message(Role.ASSISTANT, text)
    return ChatResponse(message=message, finish_reason=FinishReason.STOP)


SIZE = len(to_json(response()))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_what_was_set_is_there() -> None:
    store = MemoryCache()
    assert isinstance(store, CacheStore)
    assert await store.get("k") is None
    await store.set("k", response(), None)
    assert await store.get("k") == response()
    assert repr(store) == f"<MemoryCache: 1 answers, {SIZE} bytes>"


@given(responses)
async def test_answers_come_back_equal_in_every_part(stored: ChatResponse) -> None:
    """Through JSON and back."""
    store = MemoryCache()
    await store.set("k", stored, None)
    assert await store.get("k") == stored


async def test_nobody_can_change_what_is_kept() -> None:
    """
    What one caller does to its answer does not show in the next one's.
    """
    store = MemoryCache()
    raw: dict[str, Any] = {"tokens": [1]}
    message = Message(Role.ASSISTANT, "Hello!")
    mine = ChatResponse(
        message=message, finish_reason=FinishReason.STOP, usage=Usage(raw=raw)
    )
    await store.set("k", mine, None)
    raw["tokens"].append(2)
    first = await store.get("k")
    assert first is not None
    first.usage.raw["tokens"].append(3)
    second = await store.get("k")
    assert second is not None
    assert second.usage.raw == {"tokens": [1]}


@pytest.mark.parametrize(
    ("own", "given_", "seconds"), [(10.0, None, 10), (10.0, 5.0, 5), (None, 5.0, 5)]
)
async def test_answers_grow_old(
    own: float | None, given_: float | None, seconds: int
) -> None:
    """A ttl that is given wins over the store's."""
    clock = Clock()
    store = MemoryCache(ttl=own, clock=clock)
    await store.set("k", response(), given_)
    clock.now += seconds - 0.5
    assert await store.get("k") is not None
    clock.now += 0.5
    assert await store.get("k") is None
    assert len(store) == 0
    assert repr(store) == "<MemoryCache: 0 answers, 0 bytes>"


async def test_without_ttl_they_do_not() -> None:
    clock = Clock()
    store = MemoryCache(ttl=None, clock=clock)
    await store.set("k", response(), None)
    clock.now += 1e12
    assert await store.get("k") is not None


async def test_the_least_recently_used_goes_first() -> None:
    """Reading counts as use."""  # I1
    store = MemoryCache(max_entries=2)
    await store.set("a", response(), None)
    await store.set("b", response(), None)
    await store.get("a")
    await store.set("c", response(), None)
    assert [await store.get(k) is not None for k in "abc"] == [True, False, True]


async def test_all_together_are_no_larger_than_allowed() -> None:
    """Counted as JSON."""  # I1
    store = MemoryCache(max_bytes=3 * SIZE)
    for name in "abcd":
        await store.set(name, response(), None)
    assert [await store.get(k) is not None for k in "abcd"] == [False, True, True, True]
    await store.set("e", response("x" * SIZE), None)
    assert len(store) == 2


async def test_one_that_is_too_large_pushes_nobody_out() -> None:
    """But what it was to replace is gone: it would be wrong by now."""  # I1
    store = MemoryCache(max_bytes=2 * SIZE)
    await store.set("a", response(), None)
    await store.set("b", response(), None)
    await store.set("b", response("x" * 2 * SIZE), None)
    assert await store.get("a") is not None
    assert await store.get("b") is None


async def test_setting_again_replaces() -> None:
    store = MemoryCache()
    await store.set("k", response("one"), None)
    await store.set("k", response("two"), None)
    found = await store.get("k")
    assert found is not None
    assert found.text == "two"
    assert len(store) == 1


async def test_clear_forgets_everything() -> None:
    store = MemoryCache()
    await store.set("k", response(), None)
    store.clear()
    assert await store.get("k") is None
    assert repr(store) == "<MemoryCache: 0 answers, 0 bytes>"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_entries": 0},
        {"max_entries": 1.5},
        {"max_entries": True},
        {"max_bytes": -1},
        {"ttl": 0},
        {"ttl": float("nan")},
        {"ttl": float("inf")},
        {"ttl": "60"},
        {"ttl": True},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """By name, when it is made."""
    (name,) = wrong
    with pytest.raises(ConfigError, match=name):
        MemoryCache(**wrong)


def test_many_threads_share_it() -> None:
    """
    Each with a loop of its own; the sums are right in the end.  # C5
    """
    store = MemoryCache(max_entries=20)
    barrier = threading.Barrier(4)

    async def work(number: int) -> None:
        for step in range(200):
            await store.set(f"k{(step * 7 + number) % 40}", response(), None)
            await store.get(f"k{step % 40}")

    def thread(number: int) -> None:
        barrier.wait()
        asyncio.run(work(number))

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert repr(store) == f"<MemoryCache: 20 answers, {20 * SIZE} bytes>"
