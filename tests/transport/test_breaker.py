"""Stop knocking on a door that nobody opens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from aichat import errors as e
from aichat.errors import CircuitOpenError
from aichat.transport import CircuitBreaker, Passage


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: CircuitBreaker, times: int = 1, key: str = "") -> None:
    for _ in range(times):
        breaker.enter(key).ended(e.ServerError())


def breaker(clock: Clock | None = None) -> CircuitBreaker:
    return CircuitBreaker(3, 10, clock=clock or Clock())


def opened(clock: Clock) -> CircuitBreaker:
    it = breaker(clock)
    fail(it, 3)
    return it


DOWN: list[BaseException] = [
    e.ServerError(),
    e.ProviderUnavailableError(),
    e.StreamInterruptedError(),
    e.DeadlineError(phase="connect"),
    e.DeadlineError(phase="first_byte"),
    e.DeadlineError(status=504),
]
SAYS_NOTHING: list[BaseException] = [
    e.DeadlineError(phase="pool"),
    e.DeadlineError(phase="total"),
    e.RateLimitError(status=429),
    e.ClosedError(),
    e.TLSError(),
    asyncio.CancelledError(),
    GeneratorExit(),
]
WELL: list[BaseException | None] = [
    None,
    e.BadRequestError(status=400),
    e.AuthenticationError(status=401),
    e.ContentFilteredError(status=400),
]


@pytest.mark.parametrize("error", DOWN, ids=repr)
def test_failures_in_a_row_open_it(error: BaseException) -> None:
    """And it says for how long."""  # B1
    clock = Clock()
    it = breaker(clock)
    for _ in range(3):
        assert not it.is_open()
        it.enter().ended(error)
    assert it.is_open()
    clock.now += 4
    with pytest.raises(CircuitOpenError, match="3 times in a row") as caught:
        it.enter()
    assert caught.value.retry_after == 6
    assert caught.value.context == {"last_error": type(error).__name__}
    assert not caught.value.retryable


@pytest.mark.parametrize("error", [*SAYS_NOTHING, *WELL], ids=repr)
def test_what_is_not_the_providers_fault_does_not_count(
    error: BaseException | None,
) -> None:
    """Our mistakes, our deadlines, our cancelling."""  # B1
    it = breaker()
    for _ in range(20):
        it.enter().ended(error)
    assert not it.is_open()


@pytest.mark.parametrize("error", WELL, ids=repr)
def test_an_answer_ends_the_row(error: BaseException | None) -> None:
    """Even one that says no."""  # B1
    it = breaker()
    fail(it, 2)
    it.enter().ended(error)
    fail(it, 2)
    assert not it.is_open()


@pytest.mark.parametrize("error", SAYS_NOTHING, ids=repr)
def test_what_says_nothing_does_not_end_the_row(error: BaseException) -> None:
    """A cancelled call is no sign of life."""  # B1
    it = breaker()
    fail(it, 2)
    it.enter().ended(error)
    fail(it)
    assert it.is_open()


@pytest.mark.parametrize("error", [GeneratorExit(), asyncio.CancelledError()])
def test_an_answer_that_was_left_ends_the_row(error: BaseException) -> None:
    """Whoever has heard enough has heard something."""  # B1
    it = breaker()
    for _ in range(5):
        fail(it, 2)
        passage = it.enter()
        passage.began()
        passage.ended(error)
    assert not it.is_open()


def test_answers_that_break_off_count_though_they_began() -> None:
    """A server that dies in the middle of every answer is down as well."""  # B1
    it = breaker()
    for _ in range(3):
        passage = it.enter()
        passage.began()
        passage.ended(e.StreamInterruptedError())
    assert it.is_open()


def test_one_probe_after_the_cool_down() -> None:
    """The others are refused until it is back."""  # B1
    clock = Clock()
    it = opened(clock)
    clock.now += 10
    assert not it.is_open()
    probe = it.enter()
    assert it.is_open()
    with pytest.raises(CircuitOpenError):
        it.enter()
    probe.ended()
    it.enter()
    it.enter()


def test_a_probe_closes_it_when_its_answer_begins() -> None:
    """A long answer is not waited for."""  # B1
    clock = Clock()
    it = opened(clock)
    clock.now += 10
    probe = it.enter()
    probe.began()
    it.enter().ended()
    probe.ended(e.StreamInterruptedError())
    assert not it.is_open()


def test_a_probe_that_fails_starts_another_cool_down() -> None:
    """One failure is enough then."""  # B1
    clock = Clock()
    it = opened(clock)
    clock.now += 10
    fail(it)
    clock.now += 9
    assert it.is_open()
    clock.now += 1
    assert not it.is_open()


@pytest.mark.parametrize("error", SAYS_NOTHING, ids=repr)
def test_a_probe_that_says_nothing_does_not_wedge_it(error: BaseException) -> None:
    """A cancelled probe leaves its place to the next one."""  # B1
    clock = Clock()
    it = opened(clock)
    clock.now += 10
    it.enter().ended(error)
    it.enter().ended()
    assert not it.is_open()


def test_a_late_answer_does_not_close_it() -> None:
    """A call from before says how things were before."""  # B1
    clock = Clock()
    it = breaker(clock)
    late, later = it.enter(), it.enter()
    fail(it, 3)
    late.ended()
    assert it.is_open()
    # And a late failure says nothing new.
    clock.now += 9
    later.ended(e.ServerError())
    clock.now += 1
    assert not it.is_open()


def test_only_the_first_end_counts() -> None:
    """A passage may be ended on more than one way out."""
    it = breaker()
    passage: Passage = it.enter()
    for _ in range(5):
        passage.ended(e.ServerError())
    assert not it.is_open()


def test_origins_do_not_know_each_other() -> None:
    """One endpoint fails, another is well."""  # B1
    it = breaker()
    fail(it, 3, "https://a")
    assert it.is_open("https://a")
    assert not it.is_open("https://b")
    it.enter("https://b").ended()


def together(work: Callable[[], object], threads: int = 16) -> list[object]:
    """What *work* returns in so many threads that begin at once."""
    start = threading.Barrier(threads)

    def begin() -> object:
        start.wait()
        return work()

    with ThreadPoolExecutor(threads) as pool:
        return [f.result() for f in [pool.submit(begin) for _ in range(threads)]]


class Hasty(Clock):
    """Lets other threads go first whenever it is asked."""

    def __call__(self) -> float:
        time.sleep(0)
        return super().__call__()


def test_of_many_threads_one_probes() -> None:
    """Clients in threads with a loop each share one breaker."""  # B1, C5
    for _ in range(20):
        clock = Hasty()
        it = opened(clock)
        clock.now += 10

        def probe(it: CircuitBreaker = it) -> bool:
            try:
                it.enter()
            except CircuitOpenError:
                return False
            return True

        assert sum(map(bool, together(probe))) == 1


def test_no_failure_of_many_threads_is_lost() -> None:
    """799 failures in 16 threads, and one more."""  # B1, C5
    it = CircuitBreaker(800, 10, clock=Hasty())
    passages = [it.enter() for _ in range(799)]
    share = iter([passages[first::16] for first in range(16)])

    def fail_all() -> None:
        for passage in next(share):
            passage.ended(e.ServerError())

    together(fail_all)
    assert not it.is_open()
    it.enter().ended(e.ServerError())
    assert it.is_open()
