"""How many calls may be under way."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from aichat.bulk._gate import Gate
from tests.transport.toys import now, virtual


def _gate(ceiling: int = 100) -> Gate:
    return Gate(ceiling, now)


async def _round(gate: Gate, seconds: float = 1.0) -> None:
    """As many answers as there may be, each after so many *seconds*."""
    count = int(gate.limit)
    began = now()
    for _ in range(count):
        assert await gate.enter()
    await asyncio.sleep(seconds)
    for _ in range(count):
        gate.went_well(began, seconds, grow=True)
        gate.leave()


@virtual
async def test_it_doubles_until_the_first_trouble_and_then_adds() -> None:
    """Fast to where the provider is full, slow beyond."""
    gate = _gate()
    limits = []
    for _ in range(4):
        limits.append(int(gate.limit))
        await _round(gate)
    assert limits[0] == 4
    assert all(b >= 1.5 * a for a, b in pairwise(limits))
    before = gate.limit
    gate.crowded(now())
    assert gate.limit == before / 2
    await asyncio.sleep(1)
    await _round(gate)
    assert before / 2 < gate.limit <= before / 2 + 1.1


@virtual
async def test_never_above_the_ceiling_nor_below_one() -> None:
    """Both ends hold."""
    gate = _gate(6)
    for _ in range(5):
        await _round(gate)
    assert gate.limit == 6
    for _ in range(9):
        await asyncio.sleep(1)
        gate.crowded(now())
    assert gate.limit == 1


@virtual
async def test_one_round_of_refusals_is_one_cut() -> None:
    """What was under way by then has nothing new to say."""
    gate = _gate()
    await _round(gate)
    await asyncio.sleep(1)
    before, began = gate.limit, now()
    await asyncio.sleep(1)
    for _ in range(5):
        gate.crowded(began)
    assert gate.limit == before / 2


@virtual
async def test_a_call_that_is_not_hindered_does_not_raise_the_limit() -> None:
    """Who has no use for the limit cannot tell whether a higher one would do."""
    gate = _gate()
    for _ in range(20):
        await gate.enter()
        gate.went_well(now(), 1.0, grow=True)
        gate.leave()
    assert gate.limit == 4


@virtual
async def test_answers_that_begin_late_lower_it() -> None:
    """A queue is growing somewhere."""
    gate = _gate()
    for _ in range(4):
        await _round(gate, 0.5)
    before = gate.limit
    for _ in range(3):
        await _round(gate, 10.0)
    assert gate.limit < before


@virtual
async def test_a_pause_holds_everybody_back() -> None:
    """Until it is over, and no longer."""
    gate = _gate()
    gate.crowded(now(), 30.0)
    assert await gate.enter()
    assert now() == pytest.approx(30)


@virtual
async def test_first_come_first_served() -> None:
    """Those who wait get in in their order, also past one who was cancelled."""
    gate = _gate(1)
    await gate.enter()
    order: list[int] = []

    async def come(number: int) -> None:
        assert await gate.enter()
        order.append(number)
        gate.leave()

    tasks = [asyncio.create_task(come(number)) for number in range(4)]
    await asyncio.sleep(1)
    tasks[1].cancel()
    gate.leave()
    await asyncio.wait(tasks)
    assert order == [0, 2, 3]
    assert gate.active == 0


@virtual
async def test_a_place_that_was_given_to_a_cancelled_task_is_given_back() -> None:
    """No permit leaks. (L3)"""
    gate = _gate(1)
    await gate.enter()
    task = asyncio.create_task(gate.enter())
    await asyncio.sleep(1)
    gate.leave()  # to the task, which does not know yet
    assert gate.active == 1
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert gate.active == 0


@virtual
async def test_closing_turns_everybody_away() -> None:
    """Those who wait, those who watch, those who come."""
    gate = _gate(1)
    await gate.enter()
    waiting = asyncio.create_task(gate.enter())
    watching = asyncio.create_task(gate.another_ends())
    await asyncio.sleep(1)
    gate.crowded(now(), 100)
    gate.close()
    assert not await waiting
    await watching
    assert not await gate.enter()
    await gate.another_ends()
    gate.leave()
    assert gate.active == 0
