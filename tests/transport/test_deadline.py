"""Six phases of waiting, and one watchdog."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

import pytest

from aichat.errors import AIChatError, ClosedError, DeadlineError
from aichat.transport import Phase
from aichat.transport._deadline import TAIL, Watch
from aichat.types import Deadlines

from .toys import ScriptedAnswer, again, now, virtual

NONE = Deadlines(
    pool=None, connect=None, first_byte=None, idle=None, stall=None, total=None
)


def limits(**seconds: float) -> Deadlines:
    return Deadlines(**seconds).over(NONE)


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def late(awaitable: Callable[[], Awaitable[object]]) -> tuple[str | None, float]:
    """Which phase was late, and when."""
    with pytest.raises(DeadlineError) as caught:
        await awaitable()
    assert caught.value.__context__ is None
    return caught.value.phase, now()


@virtual
async def test_what_is_in_time_comes_through() -> None:
    """With its value or its own exception."""
    watch = Watch(limits(first_byte=2))

    async def in_time() -> str:
        await asyncio.sleep(1)
        return "done"

    async def broken() -> None:
        raise TimeoutError("somebody else's")

    assert await watch.during("first_byte", in_time) == "done"
    with pytest.raises(TimeoutError, match="somebody else's"):
        await watch.during("first_byte", broken)


@virtual
async def test_each_phase_has_its_limit() -> None:
    """And the error says which one it was."""  # D1, D4
    watch = Watch(limits(pool=1, connect=2, first_byte=3))
    assert await late(lambda: watch.during("pool", for_ever)) == ("pool", 1)
    assert await late(lambda: watch.during("connect", for_ever)) == ("connect", 3)

    async def send() -> None:
        for phase in ("pool", "connect", "first_byte"):
            await asyncio.sleep(0.9)
            watch.enter(phase)
        await for_ever()

    start = now()
    phase, at = await late(lambda: watch.during("pool", send))
    assert phase == "first_byte"
    assert at == pytest.approx(start + 2.7 + 3)


@virtual
async def test_total_is_above_all_phases() -> None:
    """It runs from the first moment to the last."""  # D3
    watch = Watch(limits(first_byte=3, total=4))
    assert await late(lambda: watch.during("first_byte", for_ever)) == ("first_byte", 3)
    assert watch.left == 1
    assert await late(lambda: watch.during("first_byte", for_ever)) == ("total", 4)


@pytest.mark.parametrize(
    ("phase", "retryable"),
    [("connect", True), ("first_byte", True), ("idle", True), ("stall", True),
     ("pool", False), ("total", False)],
)  # fmt: skip
@virtual
async def test_which_deadlines_may_be_tried_again(
    phase: Phase, retryable: bool
) -> None:
    """Another attempt has no more time in all; a queue is no shorter for leaving it."""  # R1, D3
    error = Watch(limits(**{phase: 7.5})).late(phase)
    assert (error.phase, error.retryable) == (phase, retryable)
    assert "7.5 s" in error.message


@virtual
async def test_cancellation_passes() -> None:
    """It is not a deadline, even when one passes at the same moment."""  # C2
    watch = Watch(limits(first_byte=1))
    task = asyncio.create_task(watch.during("first_byte", for_ever))
    asyncio.get_running_loop().call_later(1, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@virtual
async def test_an_outer_timeout_is_the_callers() -> None:
    """`asyncio.timeout` around us raises its own error."""  # C1
    watch = Watch(limits(first_byte=9))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await watch.during("first_byte", for_ever)


async def read(
    watch: Watch, answer: ScriptedAnswer, *, think: float = 0, progress: bool = True,
    complete: bool = False,
) -> int:  # fmt: skip
    """Read like the transport does, thinking after every read."""
    watch.reading(answer)
    reads = 0
    try:
        while True:
            watch.wait()
            if not await answer.read():
                return reads
            reads += 1
            watch.arrived(progress=progress, complete=complete)
            await asyncio.sleep(think)
    finally:
        watch.rest()


@virtual
async def test_the_body_has_to_begin() -> None:
    """The first byte is late, though the headers came in time."""  # D1
    watch = Watch(limits(first_byte=2, idle=9))
    await watch.during("first_byte", lambda: asyncio.sleep(1.5))
    assert await late(lambda: read(watch, ScriptedAnswer(inf))) == ("first_byte", 2)


@virtual
async def test_silence_is_idle() -> None:
    """Counted from the last byte."""  # D1, D4
    watch = Watch(limits(first_byte=9, idle=2, stall=9))
    answer = ScriptedAnswer(1.5, b"x", 1.5, b"x", 1.5, b"x", inf)
    assert await late(lambda: read(watch, answer)) == ("idle", 6.5)


@virtual
async def test_pings_are_no_progress() -> None:
    """They keep the connection from being idle, and the answer from nothing."""  # D2
    watch = Watch(limits(idle=2, stall=5))
    answer = ScriptedAnswer(*again(1.0, b":\n\n", times=99))
    assert await late(lambda: read(watch, answer, progress=False)) == ("stall", 5)


@virtual
async def test_progress_ends_a_stall() -> None:
    """A model that thinks may ping for as long as it gets somewhere."""  # D2
    watch = Watch(limits(idle=2, stall=5))
    answer = ScriptedAnswer(*again(1.0, b"x", times=99))
    assert await read(watch, answer) == 99


@virtual
async def test_the_consumers_time_counts_for_nothing() -> None:
    """Who thinks for an hour between two chunks has no slow provider."""  # D2
    watch = Watch(limits(first_byte=1, idle=2, stall=3))
    for progress in (True, False):
        answer = ScriptedAnswer(*again(b"x", 0.25, times=5))
        assert await read(watch, answer, think=3600, progress=progress) == 5
    answer = ScriptedAnswer(b"x", inf)
    start = now()
    assert await late(lambda: read(watch, answer, think=3600)) == ("idle", start + 3602)


@virtual
async def test_total_counts_everything() -> None:
    """It is about the caller's patience, so the caller's time counts as well."""  # D3
    watch = Watch(limits(idle=9, total=5))
    answer = ScriptedAnswer(b"x", 1.0, b"x", inf)
    assert await late(lambda: read(watch, answer, think=1.5)) == ("total", 5)


@virtual
async def test_a_complete_answer_may_not_linger() -> None:
    """After the finish reason only late usage is waited for, and not for long."""
    watch = Watch(limits(idle=60, stall=300))
    answer = ScriptedAnswer(*again(2.0, b"x", times=99))
    phase, at = await late(lambda: read(watch, answer, complete=True))
    assert (phase, at) == ("stall", 2 + TAIL)


@virtual
async def test_without_limits_nothing_is_armed() -> None:
    """No timer, no deadline."""
    watch = Watch(NONE)
    answer = ScriptedAnswer(1e6, b"x")
    watch.reading(answer)
    assert watch._timer is None
    assert await read(watch, answer) == 1
    assert watch.left == inf


@virtual
async def test_timers_are_few() -> None:
    """One look per idle limit, however many reads there are."""  # D4
    watch = Watch(limits(idle=10, stall=100))
    reads = 1000
    armed = set[int]()
    answer = ScriptedAnswer(*again(0.01, b"x", times=reads))
    watch.reading(answer)
    for _ in range(reads):
        watch.wait()
        await answer.read()
        watch.arrived(progress=True, complete=False)
        armed.add(id(watch._timer))
    watch.rest()
    assert len(armed) <= 2


@virtual
async def test_it_can_be_ended_while_something_is_awaited() -> None:
    """Whoever closes the client says with which error."""  # C4
    watch = Watch(NONE)
    error = ClosedError("closed")
    asyncio.get_running_loop().call_later(1, watch.end, error)
    with pytest.raises(ClosedError) as caught:
        await watch.during("first_byte", for_ever)
    assert caught.value is error
    assert now() == 1
    with pytest.raises(ClosedError):
        await watch.during("first_byte", for_ever)


@virtual
async def test_it_can_be_ended_while_the_body_is_read() -> None:
    """The reader gets the error at once."""  # C4
    watch = Watch(NONE)
    asyncio.get_running_loop().call_later(1, watch.end, ClosedError("closed"))
    with pytest.raises(AIChatError, match="closed"):
        await read(watch, ScriptedAnswer(inf))
    assert now() == 1


def test_ending_it_after_its_loop_is_harmless() -> None:
    """A client may be closed in a later `asyncio.run`."""  # C5

    async def make() -> Watch:
        return Watch(NONE)

    asyncio.run(make()).end(ClosedError("closed"))
