"""The simulation of a fleet, `benchmarks.scaling`, where paper says what must come out."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from benchmarks.scaling import Fleet, limits, simulate, svg

#: Short answers, so that little time is many of them.
FLEET = Fleet(concurrency=16, answer=1.0, chunks=10, call_cpu=0.0, chunk_cpu=0.0)


@pytest.mark.parametrize("workers", [1, 2, 8, 32])
def test_places_are_what_limits(workers: int) -> None:
    """Without anything in the way twice the workers are twice the answers."""
    fleet = evolve(FLEET, workers=workers)
    rounds = 100 / workers + 3
    assert simulate(fleet, rounds=rounds).rate == pytest.approx(
        limits(fleet)["places"], rel=0.05
    )


@pytest.mark.parametrize("quota", [{"requests": 3000.0}, {"tokens": 3e6}])
@pytest.mark.parametrize("workers", [10, 40])
def test_a_quota_is_kept_and_used(quota: dict[str, Any], workers: int) -> None:
    """Fifty a second, never more, however many ask; each worker's next turn is booked."""
    found = simulate(evolve(FLEET, workers=workers, **quota), rounds=20)
    assert 50 * 0.97 <= found.rate <= 50 * 1.01


def test_a_quota_that_nobody_reaches() -> None:
    """It costs nothing but the way."""
    fleet = evolve(FLEET, workers=4, requests=100_000)
    free = evolve(fleet, requests=float("inf"))
    assert simulate(fleet, rounds=20).rate == pytest.approx(
        simulate(free, rounds=20).rate, rel=0.03
    )


def test_a_processor_is_what_limits() -> None:
    """A worker does no more than its CPU can, and is at work all the time."""
    fleet = evolve(FLEET, workers=3, call_cpu=0.2)
    found = simulate(fleet, rounds=40)
    assert found.rate == pytest.approx(3 / 0.2, rel=0.03)
    assert found.cpu == pytest.approx(1, abs=0.03)


def test_redis_is_what_limits() -> None:
    """Each call a script of its own: two for an answer, and no more than one core can."""
    fleet = evolve(FLEET, workers=100, script=1e-3, together=False)
    found = simulate(fleet, rounds=10, before=10)
    assert found.rate == pytest.approx(1 / 2e-3, rel=0.02)
    assert found.redis == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("busy", [0.5, 0.8])
def test_the_queue_before_redis(busy: float) -> None:
    """
    Scripts come from many workers independently and take always the same: M/D/1, in pairs,
    as what became of a call and the next call's wish come together.

    The mean wait (Pollaczek-Khinchine, for pairs) is half a script, times one and the load
    over one without the load.
    """
    workers = 50
    rate = workers * FLEET.concurrency / FLEET.answer
    script = busy / (2 * rate)
    fleet = evolve(FLEET, workers=workers, script=script, together=False, spread=1.0)
    found = simulate(fleet, rounds=40)
    assert found.redis == pytest.approx(busy, rel=0.02)
    expected = script / 2 * (1 + busy) / (1 - busy)
    assert found.queue == pytest.approx(expected, rel=0.1)


def test_going_together_takes_the_load_off() -> None:
    """Where single scripts would be too many, those of a worker share one."""
    alone = evolve(FLEET, workers=20, script=5e-3, together=False)
    together = evolve(alone, together=True, item=1e-5)
    found = simulate(alone, rounds=10, before=10)
    assert found.rate == pytest.approx(1 / 10e-3, rel=0.05)
    found = simulate(together, rounds=10)
    assert found.rate > 0.85 * limits(together)["places"]
    assert found.wishes > 1.3


def test_the_same_seed_gives_the_same() -> None:
    fleet = evolve(FLEET, workers=5, requests=2000)
    assert simulate(fleet, seed=7) == simulate(fleet, seed=7)
    assert simulate(fleet, seed=7) != simulate(fleet, seed=8)


def test_the_picture() -> None:
    """It is XML, with a line for each series."""
    from xml.etree import ElementTree

    rows = [
        {"series": name, "workers": workers, "rate": float(workers)}
        for name in ("a", "b")
        for workers in (1, 10, 1000)
    ]
    root = ElementTree.fromstring(svg(rows))
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2
