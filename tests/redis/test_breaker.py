"""`RedisBreaker`: one knocks, and all know whether anybody opens."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from aichat.errors import (
    BadRequestError,
    CircuitOpenError,
    ClosedError,
    ConfigError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from aichat.redis import RedisBreaker, RedisState
from aichat.redis._link import Argument, Away
from aichat.transport import AnyPassage, CircuitBreaker
from aichat.transport._breaker import circuits_open, circuits_opened

from ..redis_server import redis_server, redis_url
from ..transport.toys import good, read, refusal, transport, virtual, wire
from .toys import (
    PASSWORD,
    Clock,
    FakeState,
    beside,
    fresh,
    idle,
    protect,
    run_elsewhere,
)

__all__ = ["redis_url"]

HERE: Final = "https://api.example.com"


class Process:
    """One process: its breaker, its state, and a clock that is also the server's."""

    def __init__(
        self, state: RedisState, clock: Clock, threshold: int = 3, **options: Any
    ) -> None:
        self.state = state
        self.clock = clock
        self.breaker = RedisBreaker(
            state, threshold, 10, clock=clock, server_clock=clock, **options
        )

    async def call(self, error: BaseException | None = None, key: str = HERE) -> None:
        """Make a call that ends so, and let the others know."""
        (await self.breaker.admit(key)).ended(error)
        await idle(self.state)

    async def hear(self, key: str = HERE) -> None:
        """Let what it knows grow old, and have it ask."""
        self.clock.now += 0.3
        with suppress(CircuitOpenError):
            (await self.breaker.admit(key)).ended(asyncio.CancelledError())
        await idle(self.state)

    async def refused(self, key: str = HERE) -> CircuitOpenError:
        with pytest.raises(CircuitOpenError) as caught:
            await self.breaker.admit(key)
        await idle(self.state)
        return caught.value


async def two(url: str, **options: Any) -> tuple[Process, Process]:
    clock, state = Clock(), fresh(url)
    return (
        Process(state, clock, **options),
        Process(beside(state, url), clock, **options),
    )


async def close(*processes: Process) -> None:
    for process in processes:
        await process.state.aclose()


# -- together ----------------------------------------------------------------------------


async def test_failures_of_all_processes_count(redis_url: str) -> None:
    """Two here and one there open it for both, by the server's clock."""  # L5, B1
    a, b = await two(redis_url)
    await a.call(ServerError())
    await a.call(ServerError())
    await b.call(StreamInterruptedError())
    assert b.breaker.is_open(HERE)
    assert not a.breaker.is_open(HERE)
    await a.hear()
    a.clock.now += 4
    error = await a.refused()
    assert error.retry_after == pytest.approx(10 - 4.3)
    assert error.context == {"last_error": "StreamInterruptedError"}
    assert "failed 3 times in a row" in str(error)
    await close(a, b)


async def test_an_answer_elsewhere_ends_the_row(redis_url: str) -> None:
    """In a row means: of all calls of all processes."""  # L5, B1
    a, b = await two(redis_url)
    await a.call(ServerError())
    await a.call(ServerError())
    await b.call()
    await a.call(ServerError())
    assert not a.breaker.is_open(HERE)
    b.clock.now += 0.3
    await b.call(BadRequestError(status=400))
    await a.call(ServerError())
    await a.call(ServerError())
    await b.hear()
    assert not b.breaker.is_open(HERE)
    await close(a, b)


async def test_one_probe_in_all_processes(redis_url: str) -> None:
    """The other one is refused until it is known how that went."""  # L5, B1
    a, b = await two(redis_url)
    for _ in range(3):
        await a.call(ServerError())
    await b.hear()
    a.clock.now += 10
    probe = await b.breaker.admit(HERE)
    await a.refused()
    await b.refused()
    probe.began()
    await idle(b.state)
    a.clock.now += 0.3
    await a.call()
    await b.call()
    await close(a, b)


async def test_of_many_that_ask_at_once_one_probes(redis_url: str) -> None:
    """Twenty in each of two processes."""  # L5, B1
    a, b = await two(redis_url)
    for _ in range(3):
        await a.call(ServerError())
    await b.hear()
    a.clock.now += 10
    got = await asyncio.gather(
        *(p.breaker.admit(HERE) for p in (a, b) for _ in range(20)),
        return_exceptions=True,
    )
    assert sum(not isinstance(each, CircuitOpenError) for each in got) == 1
    await close(a, b)


async def test_a_probe_that_fails(redis_url: str) -> None:
    """Starts another cool-down, for all."""  # L5, B1
    a, b = await two(redis_url)
    for _ in range(3):
        await a.call(ServerError())
    a.clock.now += 10
    await a.call(ServerError())
    await b.hear()
    a.clock.now += 9
    await a.refused()
    await b.refused()
    a.clock.now += 1
    await b.call()
    await close(a, b)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), RateLimitError()])
async def test_a_probe_that_says_nothing(redis_url: str, error: BaseException) -> None:
    """Leaves its place to the next one, in whichever process."""  # L5, B1
    a, b = await two(redis_url)
    for _ in range(3):
        await a.call(ServerError())
    await b.hear()
    a.clock.now += 10
    await a.call(error)
    (await b.breaker.admit(HERE)).ended()
    await idle(b.state)
    await a.hear()
    assert not a.breaker.is_open(HERE)
    await close(a, b)


async def test_the_clock_of_redis_goes_back(redis_url: str) -> None:
    """Another server's clock, perhaps: nobody waits for longer than a cool-down and a probe."""  # L5, B1
    a, b = await two(redis_url)
    for _ in range(3):
        await a.call(ServerError())
    server = Clock(a.clock.now - 3600)
    for process in (a, b):
        process.breaker._server_clock = server
    # What is known here is by our own clock.
    a.clock.now += 10
    server.now += 10
    error = await a.refused()
    assert error.retry_after is not None
    assert error.retry_after <= 10
    a.clock.now += 10
    server.now += 10
    await a.breaker.admit(HERE)
    server.now -= 3600
    await b.hear()
    a.clock.now += 31
    server.now += 31
    await b.call()
    await close(a, b)


async def test_a_prober_that_dies(redis_url: str) -> None:
    """After 30 seconds another one may; what the dead one says then does not count."""  # L5
    a, b = await two(redis_url)
    for _ in range(3):
        await a.call(ServerError())
    await b.hear()
    a.clock.now += 10
    dead = await a.breaker.admit(HERE)
    a.clock.now += 29
    await b.refused()
    a.clock.now += 1
    probe = await b.breaker.admit(HERE)
    dead.ended(ServerError())
    await idle(a.state)
    a.clock.now += 1
    await a.refused()
    probe.ended()
    await idle(b.state)
    await a.hear()
    assert not a.breaker.is_open(HERE)
    await close(a, b)


async def test_a_late_answer_does_not_close_it(redis_url: str) -> None:
    """It is to a call from before."""  # L5, B1
    a, b = await two(redis_url)
    late, later = await a.breaker.admit(HERE), await a.breaker.admit(HERE)
    for _ in range(3):
        await b.call(ServerError())
    late.ended()
    await idle(a.state)
    await a.hear()
    assert a.breaker.is_open(HERE)
    later.ended(ServerError())
    await idle(a.state)
    a.clock.now += 10
    await a.call()
    await close(a, b)


async def test_only_the_first_end_counts(redis_url: str) -> None:
    """A passage may be ended on more than one way out; and one that is too late is quiet."""  # B1
    a, b = await two(redis_url)
    passage, late = await a.breaker.admit(HERE), await a.breaker.admit(HERE)
    for _ in range(5):
        passage.ended(ServerError())
    await a.call(ServerError())
    assert not a.breaker.is_open(HERE)
    await a.call(ServerError())
    assert a.breaker.is_open(HERE)
    late.ended()
    await idle(a.state)
    await b.hear()
    await b.refused()
    await close(a, b)


async def test_names_origins_and_namespaces(redis_url: str) -> None:
    """Are circuits of their own."""  # L5
    a, b = await two(redis_url)
    state = beside(a.state, redis_url)
    named = Process(state, a.clock, name="others")
    for _ in range(3):
        await a.call(ServerError())
    for process, key in ((b, "https://b"), (named, HERE)):
        await process.hear(key)
        await process.call(key=key)
    await close(a, b, named)


async def test_two_processes(redis_url: str) -> None:
    """Real ones: one sees it fail, the other one knows."""  # L5
    state = fresh(redis_url)
    code = f"""
import asyncio
from aichat.errors import ServerError
from aichat.redis import RedisBreaker, RedisState

async def main():
    async with RedisState({redis_url!r}, namespace={state.namespace!r}) as state:
        breaker = RedisBreaker(state, 3)
        for _ in range(3):
            (await breaker.admit({HERE!r})).ended(ServerError())

asyncio.run(main())
"""
    await run_elsewhere(code)
    breaker = RedisBreaker(state, 3)
    (await breaker.admit(HERE)).ended(asyncio.CancelledError())  # nobody waits
    await idle(state)
    with pytest.raises(CircuitOpenError):
        await breaker.admit(HERE)
    await state.aclose()


async def test_nothing_is_kept_of_those_that_are_well(redis_url: str) -> None:
    """And of the others not for ever."""  # L5
    a, b = await two(redis_url)
    key = a.state.key("circuit", f"circuits {HERE}")
    client = a.state.link()._redis
    await a.call()
    assert not await client.exists(key)
    await a.call(ServerError())
    assert 3000 < await client.ttl(key) <= 3600
    await a.call()
    assert not await client.exists(key)
    await close(a, b)


# -- the same as the local one -------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 1)),
        st.tuples(st.just("began"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["well", "failed", "left"]), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 5, 11])),
    ),
    max_size=30,
)
ERRORS: Final = {
    "well": None,
    "failed": ServerError(),
    "left": asyncio.CancelledError(),
}


def entered(breaker: CircuitBreaker) -> AnyPassage | CircuitOpenError:
    try:
        return breaker.enter(HERE)
    except CircuitOpenError as error:
        return error


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_two_processes_are_like_one(
    redis_url: str, steps: list[tuple[str, int]]
) -> None:
    """Whatever happens: two that share say what one local breaker would say."""  # L5, B1

    async def run() -> None:
        a, b = await two(redis_url)
        clock = a.clock
        local = CircuitBreaker(3, 10, clock=clock)
        passages: list[tuple[AnyPassage, AnyPassage]] = []
        for step, value in steps:
            match step:
                case "wait":
                    clock.now += value
                case "enter":
                    process = (a, b)[value]
                    await process.hear()
                    expected = entered(local)
                    if isinstance(expected, CircuitOpenError):
                        refusal = await process.refused()
                        assert str(refusal) == str(expected)
                        assert refusal.retry_after == pytest.approx(
                            expected.retry_after, abs=1e-3
                        )
                    else:
                        got = await process.breaker.admit(HERE)
                        passages.append((expected, got))
                case "began" if value < len(passages):
                    clock.now += 0.3
                    for passage in passages[value]:
                        passage.began()
                case _ if value < len(passages):
                    # What others have done just now need not be known.
                    clock.now += 0.3
                    for passage in passages.pop(value):
                        passage.ended(ERRORS[step])
                case _:
                    pass
            await idle(a.state, b.state)
        await close(a, b)

    asyncio.run(run())


# -- round trips ---------------------------------------------------------------------------


def says(
    *, granted: int = 0, failures: int = 0, left: bytes = b"", probing: bytes = b"0"
) -> list[Any]:
    return [granted, failures, left, probing, 0, b"ServerError"]


def fake(*answers: list[Any] | float, **options: Any) -> tuple[RedisBreaker, FakeState]:
    """A breaker whose Redis says this; numbers are seconds to wait. The last one stays."""
    script = list(answers)

    async def answer(_: Sequence[Argument]) -> list[Any]:
        said = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(said, float):
            await asyncio.sleep(said)
            return await answer(_)
        return said

    state = FakeState(answer)
    loop = asyncio.get_running_loop()
    return RedisBreaker(state.state, 3, 10, clock=loop.time, **options), state


@virtual
async def test_who_is_well_costs_next_to_nothing() -> None:
    """Nobody waits, and there are a few round trips in a second."""  # L5
    breaker, state = fake(0.2, says())
    begun = asyncio.get_running_loop().time()
    for _ in range(1000):
        (await breaker.admit(HERE)).ended()
    assert asyncio.get_running_loop().time() == begun
    for _ in range(1000):
        await asyncio.sleep(0.01)
        (await breaker.admit(HERE)).ended()
    assert 20 <= len(state.asked) <= 81


@virtual
async def test_an_open_circuit_is_not_asked_for_each_call() -> None:
    """It is known for how long."""  # L5
    breaker, state = fake(says(failures=3, left=b"9.5"))
    (await breaker.admit(HERE)).ended(asyncio.CancelledError())
    await asyncio.sleep(0.1)
    for _ in range(1000):
        with pytest.raises(CircuitOpenError):
            await breaker.admit(HERE)
    assert len(state.asked) == 1


@virtual
async def test_what_fails_here_is_known_at_once() -> None:
    """Before Redis has said so: whoever tries again has to know."""  # B1
    breaker, state = fake(5.0, says(failures=3, left=b"10"))
    state.asked.clear()
    for _ in range(3):
        assert not breaker.is_open(HERE)
        (await breaker.admit(HERE)).ended(ServerError())
    assert breaker.is_open(HERE)
    with pytest.raises(CircuitOpenError):
        await breaker.admit(HERE)


@virtual
async def test_what_was_asked_before_does_not_count() -> None:
    """An answer that knows nothing of our failures yet."""  # L5
    slow = asyncio.Event()

    async def answer(words: Sequence[Argument]) -> list[Any]:
        if words[1] == "look":
            await slow.wait()
            return says()
        return says(failures=3, left=b"10")

    state = FakeState(answer)
    breaker = RedisBreaker(state.state, 3, 10, clock=asyncio.get_running_loop().time)
    for _ in range(3):
        (await breaker.admit(HERE)).ended(ServerError())
    slow.set()
    await asyncio.sleep(1)
    assert [words[1] for words in state.asked] == ["look", *["failed"] * 3]
    assert breaker.is_open(HERE)


@virtual
async def test_a_caller_that_is_cancelled_while_it_asks() -> None:
    """What is granted then goes to the next one."""  # B1, C1
    breaker, state = fake(
        says(failures=3, left=b"0.1"),
        1.0,
        says(granted=1, failures=3, left=b"-1", probing=b"30"),
        says(failures=3, left=b"-2"),
    )
    (await breaker.admit(HERE)).ended(asyncio.CancelledError())
    await asyncio.sleep(0.2)
    task = asyncio.ensure_future(breaker.admit(HERE))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(2)
    said, left = [words[1] for words in state.asked], state.asked[-1]
    assert said == ["look", "probe", "left"]
    assert left[2] == state.asked[1][2] != ""


@virtual
async def test_a_caller_that_is_cancelled_and_would_have_been_refused() -> None:
    """Has nothing to give back."""  # B1, C1
    breaker, state = fake(
        says(failures=3, left=b"0.1"), 1.0, says(failures=4, left=b"9")
    )
    (await breaker.admit(HERE)).ended(asyncio.CancelledError())
    await asyncio.sleep(0.2)
    task = asyncio.ensure_future(breaker.admit(HERE))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.sleep(2)
    assert [words[1] for words in state.asked] == ["look", "probe"]


@virtual
async def test_others_have_closed_it_meanwhile() -> None:
    """Then the call is one like any other."""  # L5
    breaker, state = fake(says(failures=3, left=b"0.1"), says())
    (await breaker.admit(HERE)).ended(asyncio.CancelledError())
    await asyncio.sleep(0.2)
    (await breaker.admit(HERE)).ended()
    await asyncio.sleep(0.1)
    assert [words[1] for words in state.asked] == ["look", "probe"]
    assert not breaker.is_open(HERE)


# -- without Redis ---------------------------------------------------------------------------


@virtual
async def test_while_redis_is_away() -> None:
    """Each goes by what it knows: what all knew, and what it has seen since."""  # L5
    breaker, state = fake(says(failures=1))
    before = circuits_opened().get(HERE, 0)
    await (await nothing(breaker))
    state.away = True
    for _ in range(2):
        (await breaker.admit(HERE)).ended(ServerError())
    assert breaker.is_open(HERE)
    assert circuits_opened()[HERE] == before + 1
    with pytest.raises(CircuitOpenError) as caught:
        await breaker.admit(HERE)
    assert caught.value.retry_after == 10
    await asyncio.sleep(10)
    probe = await breaker.admit(HERE)
    with pytest.raises(CircuitOpenError):
        await breaker.admit(HERE)
    probe.ended(asyncio.CancelledError())
    probe = await breaker.admit(HERE)
    probe.began()
    (await breaker.admit(HERE)).ended()
    assert len(state.asked) == 1


async def nothing(breaker: RedisBreaker) -> Any:
    """A call that says nothing; and what it set off."""
    (await breaker.admit(HERE)).ended(asyncio.CancelledError())
    return asyncio.sleep(0.01)


@virtual
async def test_a_prober_elsewhere_is_not_waited_for_without_end() -> None:
    """When Redis goes away, nobody can tell what has become of it."""  # L5, B1
    breaker, state = fake(says(failures=3, left=b"-1", probing=b"29"))
    await (await nothing(breaker))
    state.away = True
    with pytest.raises(CircuitOpenError):
        await breaker.admit(HERE)
    await asyncio.sleep(30)
    (await breaker.admit(HERE)).ended()
    assert not breaker.is_open(HERE)


@virtual
async def test_redis_goes_away_just_then() -> None:
    """While a probe is asked for, or a failure is reported: it counts here."""  # L5
    state: FakeState

    async def answer(words: Sequence[Argument]) -> list[Any]:
        if words[1] == "look":
            return says(failures=2)
        raise Away("just now")

    state = FakeState(answer)
    loop = asyncio.get_running_loop()
    breaker = RedisBreaker(state.state, 3, 10, clock=loop.time)
    before = circuits_opened().get(HERE, 0)
    await (await nothing(breaker))
    (await breaker.admit(HERE)).ended(ServerError())
    await asyncio.sleep(0.1)
    assert circuits_opened()[HERE] == before + 1
    assert breaker.is_open(HERE)
    await asyncio.sleep(10)
    (await breaker.admit(HERE)).ended()
    await asyncio.sleep(0.1)
    assert state.asked[-1][1] == "well"
    assert not breaker.is_open(HERE)


async def test_redis_is_killed_and_comes_back() -> None:
    """Meanwhile everybody goes by what it knows; afterwards they share again."""  # L5
    with redis_server() as server:
        clock = Clock()
        state = fresh(server.url, timeout=0.2, clock=clock)
        a = Process(state, clock)
        b = Process(beside(state, server.url, timeout=0.2, clock=clock), clock)
        for _ in range(3):
            await a.call(ServerError())
        await b.hear()
        server.kill()
        for process in (a, b):
            await process.refused()
            process.clock.now += 0.3
            await process.refused()
            assert process.state.degraded
        clock.now += 10
        await a.call()  # by itself
        await a.call()
        server.restart()
        clock.now += 10
        await b.hear()
        await a.hear()
        assert not a.state.degraded
        assert not b.state.degraded
        for _ in range(3):
            await b.call(ServerError())
        await a.hear()
        await a.refused()
        await close(a, b)


# -- manners ---------------------------------------------------------------------------------


async def test_what_the_metrics_say(redis_url: str) -> None:
    """One opening, by who opened it; open for whoever knows of it."""  # O3
    a, b = await two(redis_url)
    key = f"https://{a.state.namespace}"
    for _ in range(3):
        await a.call(ServerError(), key)
    await b.hear(key)
    assert circuits_opened()[key] == 1
    assert circuits_open()[key] == 2
    a.clock.now += 10
    await a.call(ServerError(), key)
    assert circuits_opened()[key] == 2
    a.clock.now += 10
    await a.call(key=key)
    await b.hear(key)
    assert circuits_open()[key] == 0
    await close(a, b)


async def test_in_a_transport(redis_url: str) -> None:
    """It takes the place of the local one: what failed in one is not sent by the other."""  # L5, B1
    state = fresh(redis_url)
    here = transport(*[refusal(500)] * 3, breaker=RedisBreaker(state, 3))
    there = transport(good(), breaker=RedisBreaker(state, 3))
    for _ in range(3):
        with pytest.raises(ServerError):
            await read(here, max_retries=0)
        await idle(state)
    with pytest.raises(CircuitOpenError):
        await read(here)
    await there.breaker.admit("http://localhost:1")  # type: ignore[union-attr]
    await idle(state)
    with pytest.raises(CircuitOpenError):
        await read(there)
    assert wire(there).requests == []
    await state.aclose()


async def test_retries_end_when_it_opens(redis_url: str) -> None:
    """The error is the last failure, and says why there was no other attempt."""  # B1, R2
    state = fresh(redis_url)
    breaker = RedisBreaker(state, 2)
    it = transport(
        *[refusal(500)] * 9, breaker=breaker, sleep=lambda _: asyncio.sleep(0)
    )
    with pytest.raises(ServerError) as caught:
        await read(it, max_retries=8)
    assert caught.value.attempts == len(wire(it).requests) == 2
    await state.aclose()


async def test_over_several_loops(redis_url: str) -> None:
    """One after the other, as in tests and scripts."""  # C5
    state, clock = fresh(redis_url), Clock()
    process = Process(state, clock)

    def once() -> None:
        async def run() -> None:
            (await process.breaker.admit(HERE)).ended(ServerError())
            await idle(state)

        asyncio.run(run())

    for _ in range(3):
        await asyncio.to_thread(once)
    await process.refused()
    await state.aclose()


def test_where_no_loop_runs(redis_url: str) -> None:
    """A passage that is ended by a finaliser counts here, and raises nothing."""  # C5
    process = Process(fresh(redis_url), Clock())

    async def begin() -> list[AnyPassage]:
        got = [await process.breaker.admit(HERE) for _ in range(3)]
        await idle(process.state)
        return got

    for passage in asyncio.run(begin()):
        passage.ended(ServerError())
    assert process.breaker.is_open(HERE)
    gc.collect()


async def test_a_closed_state(redis_url: str) -> None:
    """Cannot be used; what was under way ends in peace."""
    process = Process(fresh(redis_url), Clock())
    passage = await process.breaker.admit(HERE)
    await process.state.aclose()
    passage.ended(ServerError())
    process.clock.now += 1
    with pytest.raises(ClosedError):
        await process.breaker.admit(HERE)


async def test_a_wrong_password() -> None:
    """Is said by the next call, though nobody waits for Redis; and never shown."""  # X2
    with redis_server() as server:
        await protect(server.url)
        state = fresh(server.url.replace("//", f"//:{PASSWORD}@"))
        breaker = RedisBreaker(state)
        assert PASSWORD not in repr(breaker)
        (await breaker.admit(HERE)).ended(ServerError())
        await idle(state)
        with pytest.raises(ConfigError, match="lets nobody in") as caught:
            await breaker.admit(HERE)
        assert PASSWORD not in f"{caught.value!r} {caught.value.__context__!r}"
        await state.aclose()


@pytest.mark.parametrize("name", ["", "a b", "{a}", "a\n", 3])
def test_names_that_are_none(name: Any) -> None:
    """Are refused when it is made."""  # G1
    state = RedisState("redis://localhost")
    with pytest.raises(ConfigError, match="a name is a text without"):
        RedisBreaker(state, name=name)
    with pytest.raises(ConfigError, match="threshold"):
        RedisBreaker(state, -1)
