"""`RedisLedger`: one purse for many processes."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings, strategies as st

from aichat import ChatRequest, Client, compose
from aichat.costs import Price, PriceBook
from aichat.errors import ClosedError, ConfigError, SpendLimitError
from aichat.middleware import MemoryLedger, RedisLedger, Refusal, spend_limit
from aichat.middleware._ledger import Budget, Hold
from aichat.middleware._redis_ledger import _Debt, _Held
from aichat.redis import RedisState
from aichat.redis._link import Argument, Away
from aichat.testing import FakeProvider, reply
from aichat.types import Usage, collect

from ..redis.toys import (
    PASSWORD,
    Clock,
    FakeState,
    beside,
    fresh,
    idle,
    protect,
    run_elsewhere,
)
from ..redis_server import redis_server, redis_url
from ..transport.toys import virtual

__all__ = ["redis_url"]

ONCE: Final = Budget(Decimal(10))
HOURLY: Final = Budget(Decimal(10), 3600.0)


class Process:
    """One process: its ledger, its state, and a clock that is also the server's."""

    def __init__(self, state: RedisState, clock: Clock, **options: Any) -> None:
        self.state = state
        self.clock = clock
        self.ledger = RedisLedger(
            state, clock=clock, server_clock=clock, **{"lease": 600, **options}
        )

    async def ask(
        self, least: float | str, budget: Budget = ONCE, key: str = ""
    ) -> Hold | Refusal:
        amount = Decimal(str(least))
        return await self.ledger.hold(key, budget, least=amount, amount=amount)

    async def held(self, *args: Any, **kwargs: Any) -> Hold:
        got = await self.ask(*args, **kwargs)
        assert not isinstance(got, Refusal)
        return got

    async def refused(self, *args: Any, **kwargs: Any) -> Refusal:
        got = await self.ask(*args, **kwargs)
        assert isinstance(got, Refusal)
        return got

    async def spend(self, amount: float | str, *args: Any, **kwargs: Any) -> None:
        """A call that costs what was thought, and that the others know of."""
        (await self.held(amount, *args, **kwargs)).settle(Decimal(str(amount)))
        await idle(self.state)

    async def close(self) -> None:
        await self.ledger.aclose()
        await self.state.aclose()


def about(seconds: float | None, give: float) -> Any:
    """What is equal to *seconds*, give or take so many."""
    return pytest.approx(seconds, abs=give)


def two(
    url: str, clock: Clock | None = None, **options: Any
) -> tuple[Process, Process]:
    clock, state = clock or Clock(), fresh(url, **options)
    return Process(state, clock), Process(beside(state, url, **options), clock)


# -- together ----------------------------------------------------------------------------


async def test_what_others_spend_and_hold(redis_url: str) -> None:
    """Counts here; and what they give back is there."""  # L5, O6
    a, b = two(redis_url)
    await a.spend(4)
    hold = await b.held(5)
    refusal = await a.refused(2)
    assert refusal == Refusal(Decimal(4), Decimal(5))
    assert str(refusal.spent) == "4"
    hold.settle(Decimal("0.000000001"))
    hold.settle(Decimal(9))  # the first time counts
    await idle(b.state)
    assert (await a.refused(6)).spent == Decimal("4.000000001")
    await a.held("5.999999999")
    for process in (a, b):
        await process.close()


async def test_of_many_at_once_no_more_than_there_is(redis_url: str) -> None:
    """Forty ask in two processes for a tenth each."""  # L5, O6
    a, b = two(redis_url)
    got = await asyncio.gather(*(p.ask(1) for p in (a, b) for _ in range(20)))
    assert sum(not isinstance(each, Refusal) for each in got) == 10
    for process in (a, b):
        await process.close()


async def test_a_window_moves_on(redis_url: str) -> None:
    """And says when there is room again."""  # L5, O6
    a, b = two(redis_url)
    await a.spend(6, HOURLY)
    a.clock.now += 600
    await b.spend(3, HOURLY)
    refusal = await a.refused(2, HOURLY)
    assert refusal.retry_after == pytest.approx(3000, abs=60)
    assert refusal.retry_after is not None
    a.clock.now += refusal.retry_after
    await a.held(2, HOURLY)
    assert (await b.refused(6, HOURLY)) == Refusal(
        Decimal(3), Decimal(2), about(600, 120)
    )
    for process in (a, b):
        await process.close()


async def test_keys_windows_and_names(redis_url: str) -> None:
    """Have books of their own. A higher limit has not."""  # L5, O6
    a, b = two(redis_url)
    named = Process(beside(a.state, redis_url), a.clock, name="others")
    await a.spend(10)
    await b.refused(1)
    await b.held(1, key="ada")
    await b.held(1, HOURLY)
    await named.held(1)
    await b.held(1, Budget(Decimal(11)))
    await b.refused(1, Budget(Decimal(11)))
    for process in (a, b, named):
        await process.close()


async def test_whoever_holds_it_dies(redis_url: str) -> None:
    """After the lease it counts as spent, as it may have been."""  # L5
    a, b = two(redis_url)
    await a.held(4)
    a.clock.now += 599
    assert await b.refused(7) == Refusal(Decimal(0), Decimal(4))
    a.clock.now += 1
    assert await b.refused(7) == Refusal(Decimal(4), Decimal(0))
    await b.held(6)
    for process in (a, b):
        await process.close()


async def test_whoever_holds_it_takes_longer(redis_url: str) -> None:
    """Then what it was is known late, and put right, once."""  # L5
    a, b = two(redis_url)
    for budget in (ONCE, HOURLY):
        hold = await a.held(4, budget)
        a.clock.now += 1000
        await b.spend(1, budget)
        hold.settle(Decimal(2))
        await idle(a.state)
        assert (await b.refused(8, budget)).spent == 3
    for process in (a, b):
        await process.close()


async def test_whoever_holds_it_takes_longer_than_the_window(redis_url: str) -> None:
    """It was spent when it ended."""  # L5
    a, b = two(redis_url)
    hold = await a.held(4, HOURLY)
    a.clock.now += 7200
    assert (await b.refused(11, HOURLY)).spent == 0
    hold.settle(Decimal(3))
    await idle(a.state)
    assert await b.refused(8, HOURLY) == Refusal(
        Decimal(3), Decimal(0), about(3600, 60)
    )
    for process in (a, b):
        await process.close()


async def test_what_is_said_twice(redis_url: str) -> None:
    """Is booked once: settled in time, settled late, and spent without the others."""  # L5
    a, b = two(redis_url)
    account = a.ledger._account("", ONCE)
    debts = [_Debt("spent-alone", amount=10**9)]
    for amount, cost in ((2, 1), (4, 3)):
        hold = await a.held(amount)
        assert isinstance(hold, _Held)
        assert hold._debt is not None
        debts.append(evolve(hold._debt, amount=cost * 10**9))
        if amount == 2:
            a.clock.now += 700  # runs out
    words: list[Argument] = [6]
    for debt in [*debts, *debts]:
        words += [debt.id, debt.born, debt.reserved, debt.amount]
    await a.ledger._run(account, "settle", words)
    await a.ledger._run(account, "settle", words)
    assert (await b.refused(6)) == Refusal(Decimal(5), Decimal(0))
    for process in (a, b):
        await process.close()


async def test_two_processes(redis_url: str) -> None:
    """Real ones, of which the first one says what it has spent before it ends."""  # L5
    state = fresh(redis_url)
    code = f"""
import asyncio
from decimal import Decimal
from aichat.middleware import Budget, RedisLedger
from aichat.redis import RedisState

async def main():
    async with (
        RedisState({redis_url!r}, namespace={state.namespace!r}) as state,
        RedisLedger(state) as ledger,
    ):
        hold = await ledger.hold(
            "", Budget(Decimal(10)), least=Decimal(1), amount=Decimal(8)
        )
        hold.settle(Decimal(7))

asyncio.run(main())
"""
    await run_elsewhere(code)
    async with state, RedisLedger(state) as ledger:
        got = await ledger.hold("", ONCE, least=Decimal(4), amount=Decimal(4))
        assert got == Refusal(Decimal(7), Decimal(0))


async def test_holds_that_redis_has_lost(redis_url: str) -> None:
    """They can neither end nor run out: what they held is there again."""  # L5
    a, b = two(redis_url)
    await a.spend(1)
    await a.held(9)
    await a.refused(5)
    (key,) = await b.state.link()._redis.keys(f"{a.state.namespace}:*:holds")
    await b.state.link()._redis.delete(key)
    await b.held(5)
    for process in (a, b):
        await process.close()


async def test_what_is_given_back_before_it_was_asked_for(redis_url: str) -> None:
    """Redis sleeps, wakes, and reads the later one first: nobody waits for the earlier."""  # L5
    a, b = two(redis_url)
    debt = _Debt("late", reserved=8 * 10**9)
    account = a.ledger._account("", ONCE)
    a.ledger._owe(account, debt)
    await idle(a.state)
    got = await a.ledger._ask(account, ONCE, debt, 0)
    assert isinstance(got, Refusal)
    await b.held(10)
    for process in (a, b):
        await process.close()


async def test_a_key_may_be_anything(redis_url: str) -> None:
    """It is up to who uses it what a key is."""  # I2, L5
    a, b = two(redis_url)
    for key in ("\ud800", "a}b{", "\n \0", "ж" * 1000):
        await a.spend(6, key=key)
        await b.refused(5, key=key)
        await b.held(4, key=key)
    for process in (a, b):
        await process.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_tasks_that_begin_at_once(redis_url: str) -> None:
    """What is begun is not begun with the books in hand."""  # C5, L5
    loop = asyncio.get_running_loop()
    factory = getattr(asyncio, "eager_task_factory")  # noqa: B009 -- 3.11 has none
    loop.set_task_factory(factory)
    try:
        a, b = two(redis_url)
        await a.spend(6)
        await b.refused(5)
        for process in (a, b):
            await process.close()
    finally:
        loop.set_task_factory(None)


async def test_what_is_kept(redis_url: str) -> None:
    """
    Of what may be spent once: for ever, and what is put aside until it is settled or has
    run out. The rest is forgotten when nobody comes.
    """  # L5
    a, b = two(redis_url)
    client = a.state.link()._redis

    async def kept() -> set[str]:
        found = set()
        async for key in client.scan_iter(f"{a.state.namespace}:*"):
            if (ttl := await client.ttl(key)) == -1:
                found.add(key.decode().removeprefix(f"{a.state.namespace}:spend:"))
            else:
                assert 86_000 < ttl < 100_000
        return found

    await a.spend(1, HOURLY)
    assert not await kept()
    hold = await a.held(1)
    assert await kept() == {"{spending once }", "{spending once }:holds"}
    hold.settle(Decimal(1))
    await idle(a.state)
    assert await kept() == {"{spending once }"}
    for process in (a, b):
        await process.close()


# -- the same as in memory -------------------------------------------------------------------

AMOUNTS = st.integers(0, 6_000).map(lambda thousandths: Decimal(thousandths) / 1000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), AMOUNTS, AMOUNTS),
        st.tuples(st.just("settle"), st.integers(0, 5), AMOUNTS),
        st.tuples(
            st.just("wait"), st.sampled_from([0, 1, 59, 60, 3599, 4000]), AMOUNTS
        ),
    ),
    max_size=30,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, per=st.sampled_from([None, 60.0, 3600.0, 7.0]))
def test_two_processes_are_like_one(
    redis_url: str, steps: list[tuple[str, Any, Decimal]], per: float | None
) -> None:
    """Two that share say what one `MemoryLedger` would say, to the last nano-dollar."""  # L5

    async def run() -> None:
        a, b = two(redis_url)
        clock = a.clock
        a.ledger._lease = b.ledger._lease = 10**9
        local, budget = MemoryLedger(clock=clock), Budget(Decimal(10), per)
        holds: list[tuple[Hold, Hold]] = []
        for number, (step, value, amount) in enumerate(steps):
            match step:
                case "wait":
                    clock.now += value
                case "hold":
                    amount = max(amount, value)
                    expected = await local.hold("", budget, least=value, amount=amount)
                    ledger = (a, b)[number % 2].ledger
                    got = await ledger.hold("", budget, least=value, amount=amount)
                    match expected, got:
                        case Refusal(), Refusal():
                            assert (got.spent, got.held, got.retry_after) == (
                                expected.spent,
                                expected.held,
                                about(expected.retry_after, 1e-3),
                            )
                        case _:
                            assert not isinstance(expected, Refusal)
                            assert not isinstance(got, Refusal)
                            holds.append((expected, got))
                case _ if value < len(holds):
                    for hold in holds.pop(value):
                        hold.settle(amount)
                    await idle(a.state, b.state)
                case _:
                    pass
        await a.close()
        await b.close()

    asyncio.run(run())


# -- round trips, and who is cancelled -----------------------------------------------------


class Books:
    """What a Redis answers that lets everybody through; *pause* seconds later."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.broken = False
        #: Whether it does not take what it is told.
        self.deaf = False
        self.workers = 4
        self.granted = 1
        self.fake = FakeState(self.answer)
        loop = asyncio.get_running_loop()
        self.ledger = RedisLedger(self.fake.state, lease=600, clock=loop.time)

    async def answer(self, words: Sequence[Argument]) -> list[Any]:
        await asyncio.sleep(self.pause)
        if self.broken or (self.deaf and words[7] != "hold"):
            raise Away("as the test wants it")
        if words[7] == "hold":
            told: list[Any] = [b"2000000000", b"1000000000", b"", b"born", self.workers]
            return [self.granted, *told]
        return [b"2000000000", b"1000000000", b"born"]

    async def hold(self, amount: int = 1, budget: Budget = ONCE) -> Hold | Refusal:
        money = Decimal(amount)
        return await self.ledger.hold("", budget, least=money, amount=money)

    def said(self) -> list[tuple[Argument, ...]]:
        """What was asked: holds with what they are for, and debts one by one."""
        found: list[tuple[Argument, ...]] = []
        for words in self.fake.asked:
            if words[7] == "hold":
                found.append(("hold", words[12]))
            else:
                debts = words[9:]
                found += [
                    ("settle", *debts[at + 2 : at + 4])
                    for at in range(0, len(debts), 4)
                ]
        return found


@virtual
async def test_one_round_trip_that_is_waited_for() -> None:
    """What it has cost is said later, of several at once."""  # L5
    books = Books()
    books.pause = 0.1
    holds = await asyncio.gather(*(books.hold() for _ in range(5)))
    assert asyncio.get_running_loop().time() == pytest.approx(0.1)
    for hold in holds:
        assert not isinstance(hold, Refusal)
        hold.settle(Decimal(2))
    assert asyncio.get_running_loop().time() == pytest.approx(0.1)
    await asyncio.sleep(1)
    assert books.said()[5:] == [("settle", 10**9, 2 * 10**9)] * 5
    assert len(books.fake.asked) == 5 + 1


@virtual
async def test_a_caller_that_is_cancelled_while_it_asks() -> None:
    """What is put aside then is given back."""  # L5, C1
    books = Books()
    books.pause = 1.0
    task = asyncio.ensure_future(books.hold(3))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(2)
    assert books.said() == [("hold", 3 * 10**9), ("settle", 3 * 10**9, 0)]


@virtual
async def test_a_caller_that_is_cancelled_and_would_not_have_got_in() -> None:
    """Has nothing to give back, to nobody."""  # C1
    books = Books()

    async def refuse(_: Sequence[Argument]) -> list[Any]:
        await asyncio.sleep(1)
        raise ConfigError("No.")

    books.fake._answer = refuse
    task = asyncio.ensure_future(books.hold(3))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.sleep(2)
    assert task.cancelled()
    assert books.said() == [("hold", 3 * 10**9)]
    assert not books.ledger._owing


@virtual
async def test_an_answer_that_is_lost() -> None:
    """It may be put aside there: given back when Redis is back."""  # L5
    books = Books()
    books.broken = True
    hold = await books.hold(3)
    assert not isinstance(hold, Refusal)
    books.broken = False
    await asyncio.sleep(2)
    assert books.said()[-1] == ("settle", 3 * 10**9, 0)
    hold.settle(Decimal(2))
    await asyncio.sleep(2)
    assert books.said()[-1] == ("settle", 0, 2 * 10**9)
    assert books.fake.alone == 1


# -- without Redis ---------------------------------------------------------------------------


@virtual
async def test_the_share_of_one_process() -> None:
    """What was left, by the number of those that share it."""  # L5
    books = Books()
    await books.hold(3)
    books.fake.away = True
    # 10 - 2 - 1 - 3, for four.
    assert not isinstance(await books.hold(1), Refusal)
    assert await books.hold(1) == Refusal(Decimal(2), Decimal(5))
    assert books.fake.alone == 1


@virtual
async def test_the_share_of_one_that_has_never_heard_of_the_others() -> None:
    """Is the limit by the number of workers that was set."""  # L5
    books = Books()
    books.fake.away = True
    assert not isinstance(await books.hold(5), Refusal)
    assert await books.hold(1) == Refusal(Decimal(0), Decimal(5))


@virtual
async def test_alone_again_before_it_was_said_what_was_spent_alone() -> None:
    """A Redis that comes and goes does not give us our share each time."""  # O6, L5
    books = Books()
    await books.hold()
    books.fake.away = True
    alone = await books.hold()
    assert not isinstance(alone, Refusal)
    alone.settle(Decimal(1))
    assert isinstance(await books.hold(), Refusal)
    books.fake.away = False
    books.deaf = True
    assert not isinstance(await books.hold(), Refusal)
    await asyncio.sleep(0.1)
    books.fake.away = True
    assert isinstance(await books.hold(), Refusal)
    books.fake.away = books.deaf = False
    await asyncio.sleep(2)
    await books.hold()
    books.fake.away = True
    assert not isinstance(await books.hold(), Refusal)


@virtual
async def test_a_window_that_is_over_before_redis_is_back() -> None:
    """All is free again that was spent before; what was spent since is not."""  # L5
    books = Books()
    await books.hold(3, HOURLY)
    books.fake.away = True
    await asyncio.sleep(1800)
    hold = await books.hold(1, HOURLY)
    assert not isinstance(hold, Refusal)
    hold.settle(Decimal(1))
    refusal = await books.hold(1, HOURLY)
    assert isinstance(refusal, Refusal)
    assert refusal.retry_after == 1800
    await asyncio.sleep(1800)
    assert not isinstance(await books.hold(1, HOURLY), Refusal)
    assert await books.hold(1, HOURLY) == Refusal(
        Decimal(1), Decimal(1), about(1800, 60)
    )


@virtual
async def test_what_is_said_when_redis_is_back() -> None:
    """What was settled meanwhile, each, and what was spent without it, together."""  # L5
    books = Books()
    first, second = await books.hold(1), await books.hold(2)
    books.fake.away = True
    assert not isinstance(first, Refusal)
    assert not isinstance(second, Refusal)
    first.settle(Decimal(3))
    second.settle(Decimal(0))
    for _ in range(10):
        alone = await books.hold(0)
        assert not isinstance(alone, Refusal)
        alone.settle(Decimal("0.01"))
        alone.settle(Decimal(1))  # the first time counts
    await asyncio.sleep(100)
    assert len(books.said()) == 2
    books.fake.away = False
    await asyncio.sleep(2)
    assert books.said()[2:] == [
        ("settle", 10**9, 3 * 10**9),
        ("settle", 2 * 10**9, 0),
        ("settle", 0, 10**8),
    ]
    await asyncio.sleep(100)
    assert len(books.said()) == 5


@virtual
async def test_what_is_owed_takes_no_room() -> None:
    """However long Redis is away, and however often it nearly comes back."""  # L5
    books = Books()
    books.broken = True
    account = books.ledger._account("", ONCE)
    for _ in range(100):
        hold = await books.hold(0)
        assert not isinstance(hold, Refusal)
        hold.settle(Decimal("0.01"))
        await asyncio.sleep(5)
        # One for each time that somebody asked in vain; what was spent is one sum.
        assert sum(debt.amount > 0 for debt in account.debts.values()) <= 1
    books.broken = False
    await asyncio.sleep(5)
    spent = [words[2] for words in books.said() if words[0] == "settle" and words[2]]
    assert spent[-1] == 99 * 10**7
    assert not account.debts
    assert not books.ledger._owing


@virtual
async def test_many_debts() -> None:
    """Are said a hundred at a time."""
    books = Books()
    holds = [await books.hold(0) for _ in range(250)]
    books.fake.asked.clear()
    for hold in holds:
        assert not isinstance(hold, Refusal)
        hold.settle(Decimal("0.001"))
    await asyncio.sleep(1)
    assert [words[8] for words in books.fake.asked] == [100, 100, 50]


@virtual
async def test_closing_without_redis() -> None:
    """Waits for nothing, and leaves nothing that would wake up later."""  # C1
    books = Books()
    hold = await books.hold()
    assert not isinstance(hold, Refusal)
    books.fake.away = True
    hold.settle(Decimal(1))
    assert books.ledger._timer is not None
    await books.ledger.aclose()
    assert books.ledger._timer is None
    books.fake.away = False
    await asyncio.sleep(10)
    assert len(books.said()) == 1
    await books.ledger.aclose()
    await asyncio.sleep(1)
    assert len(books.said()) == 2


@virtual
async def test_closing_when_redis_goes_away_just_then() -> None:
    """The same."""  # C1
    books = Books()
    hold = await books.hold()
    assert not isinstance(hold, Refusal)
    books.broken = True
    hold.settle(Decimal(1))
    await books.ledger.aclose()
    assert books.ledger._timer is None
    assert books.ledger._owing


async def test_redis_is_killed_and_comes_back() -> None:
    """
    Each goes on with its share, and what was spent meanwhile is in the new books, with what
    was settled of the old ones.
    """  # L5
    with redis_server() as server:
        clock = Clock()
        state = fresh(server.url, timeout=0.2, clock=clock)
        a = Process(state, clock)
        b = Process(beside(state, server.url, timeout=0.2, clock=clock), clock)
        await b.spend(1)
        under_way = await a.held(2)
        await b.held(1)
        server.kill()
        # Left are 10 - 1 - 2, as far as a knows, and 10 - 1 - 2 - 1 for b; half of it each.
        alone = await a.held("3.5")
        await a.refused("0.1")
        await b.held(3)
        await b.refused("0.1")
        assert a.state.degraded
        under_way.settle(Decimal("1.5"))
        alone.settle(Decimal("2.5"))
        server.restart()
        clock.now += 10
        await a.held(0)
        await idle(a.state)
        assert (await b.refused(7)).spent == 4
        assert not a.ledger._owing
        await a.close()
        await b.close()


async def test_many_ask_while_redis_goes_away() -> None:
    """They do not wait one after the other; and only what was sent has to be taken back."""  # L5
    with redis_server() as server:
        clock = Clock()
        process = Process(fresh(server.url, timeout=0.3, clock=clock), clock)
        await process.held(0)
        server.kill()
        got = await asyncio.gather(*(process.ask("0.1") for _ in range(200)))
        assert sum(not isinstance(each, Refusal) for each in got) == 100
        assert len(process.ledger._account("", ONCE).debts) <= 20
        server.restart()
        clock.now += 10
        await process.held(0)
        await idle(process.state)
        assert not process.ledger._owing
        await process.close()


async def test_redis_is_away_for_a_moment() -> None:
    """With its data kept nothing is lost, and nothing is booked twice."""  # L5
    with redis_server() as server:
        clock = Clock()
        state = fresh(server.url, timeout=0.2, clock=clock)
        a = Process(state, clock)
        holds = [await a.held("0.1") for _ in range(20)]
        await state.link()._do("CLIENT", "PAUSE", 1500, "ALL")
        for hold in holds:
            hold.settle(Decimal("0.2"))
        await idle(state)
        assert state.degraded
        await asyncio.sleep(1.5)
        clock.now += 10
        assert not isinstance(await a.ask(0), Refusal)
        await idle(state)
        assert await a.refused(7) == Refusal(Decimal(4), Decimal(0))
        await a.close()


# -- manners ---------------------------------------------------------------------------------


def test_over_several_loops(redis_url: str) -> None:
    """One after the other; what was settled after the end of one is said in the next."""  # C5
    process = Process(fresh(redis_url), Clock())

    async def once() -> Hold:
        await process.spend(1)
        return await process.held(1)

    for spent in range(3):
        hold = asyncio.run(once())
        hold.settle(Decimal(1))  # no loop runs
        gc.collect()

        async def look(spent: int = spent) -> None:
            await process.held(0)
            await idle(process.state)
            assert (await process.refused(10)).spent == 2 * (spent + 1)

        asyncio.run(look())


async def test_a_closed_state(redis_url: str) -> None:
    """Ends the call before anything is sent; what is settled then is not booked."""
    process = Process(fresh(redis_url), Clock())
    hold = await process.held(1)
    await process.state.aclose()
    hold.settle(Decimal(1))
    with pytest.raises(ClosedError):
        await process.ask(1)
    await process.ledger.aclose()


@virtual
async def test_accounts_without_end() -> None:
    """One for each user: those that were not asked for lately are forgotten here."""
    books = Books()
    books.fake.away = True

    async def spend(key: str, amount: Decimal) -> None:
        hold = await books.ledger.hold(key, ONCE, least=amount, amount=amount)
        assert not isinstance(hold, Refusal)
        hold.settle(amount)

    await spend("first", Decimal(1))
    for number in range(25_000):
        await spend(f"{number}", Decimal(0))
        assert len(books.ledger._accounts) <= 10_000
    # But not what they owe.
    books.fake.away = False
    await asyncio.sleep(2)
    assert books.said() == [("settle", 0, 10**9)]


async def test_a_wrong_password() -> None:
    """Ends the call, and is not shown."""  # X2
    with redis_server() as server:
        await protect(server.url)
        state = fresh(server.url.replace("//", f"//:{PASSWORD}@"))
        process = Process(state, Clock())
        assert PASSWORD not in repr(process.ledger)
        with pytest.raises(ConfigError, match="lets nobody in") as caught:
            await process.ask(1)
        assert PASSWORD not in f"{caught.value!r} {caught.value.__context__!r}"
        assert not process.ledger._owing
        await process.close()


@pytest.mark.parametrize("lease", [0, -1, float("inf"), float("nan"), True, "1"])
def test_leases_that_are_none(lease: Any) -> None:
    """Are refused when it is made."""  # G1
    with pytest.raises(ConfigError, match="lease must be"):
        RedisLedger(RedisState("redis://localhost"), lease=lease)


async def test_more_than_can_be_counted(redis_url: str) -> None:
    """A limit of millions."""  # G1
    process = Process(fresh(redis_url), Clock())
    with pytest.raises(ConfigError, match="counts up to 9007199 dollars"):
        await process.ask(1, Budget(Decimal(10_000_000)))
    with pytest.raises(ConfigError, match="counts up to"):
        spend_limit(total=10**9, redis=redis_url, prices=BOOK)
    # What is put aside may be more than that; there is no room for it.
    await process.ledger.hold(
        "", ONCE, least=Decimal(1), amount=Decimal(10_000_000_000)
    )
    await process.refused(1)
    await process.state.aclose()


# -- as a middleware -------------------------------------------------------------------------

BOOK: Final = PriceBook({"fake:m": Price(1_000_000, 1_000_000)}, table=None)
ASK: Final = ChatRequest("Hi", "fake:m")


async def test_two_clients_with_one_purse(redis_url: str) -> None:
    """An address is all that they share; each closes what it has opened."""  # L5, O6
    name = fresh(redis_url).namespace

    def client() -> tuple[Client, FakeProvider]:
        answer = reply("Hi", usage=Usage(input_tokens=3, output_tokens=2))
        provider = FakeProvider([answer], repeat=True)
        limit = spend_limit(
            total=20, redis=redis_url, name=name, prices=BOOK, expected_output=2
        )
        return Client({"fake": provider}, middleware=[limit]), provider

    (a, asked_a), (b, asked_b) = client(), client()
    async with a, b:
        with pytest.raises(SpendLimitError) as caught:
            for one in (a, b, a, b):
                await one.complete(ASK)
                async with asyncio.timeout(30):
                    while True:  # what it cost is said in the background
                        if len(asyncio.all_tasks()) == 1:
                            break
                        await asyncio.sleep(0.01)
    assert caught.value.context["spent"] == "15"
    assert len(asked_a.requests) + len(asked_b.requests) == 3
    assert len(asyncio.all_tasks()) == 1
    # And what was last said has been said before it was closed.
    async with client()[0] as c:
        with pytest.raises(SpendLimitError, match="spent 15"):
            await c.complete(ASK)


async def test_a_state_that_is_passed_in(redis_url: str) -> None:
    """Is not closed by the client, which says what it has to say."""  # L5
    async with fresh(redis_url) as state:
        limit = spend_limit(total=100, redis=state, prices=BOOK)
        async with Client({"fake": FakeProvider(["Hi"])}, middleware=[limit]) as client:
            await client.complete(ASK)
        keys = [
            key async for key in state.link()._redis.scan_iter(f"{state.namespace}:*")
        ]
        assert keys


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ledger": MemoryLedger(), "total": 1}, "either a ledger or redis"),
        ({"per_call": 1}, "shares a total"),
        ({"total": 1, "redis": "http://localhost"}, "address of Redis must be"),
        ({"total": 1, "redis": 7}, "redis must be an address"),
        ({"total": 1, "name": "a b"}, "a name is a text"),
        ({"total": 1, "redis": None, "name": "a"}, "a name is for those that share"),
    ],
)
def test_mistakes(options: Any, message: str) -> None:
    """Are found when it is made."""  # G1
    with pytest.raises(ConfigError, match=message):
        spend_limit(**{"redis": "redis://localhost", "prices": BOOK, **options})


async def test_an_answer_that_is_read_through_it(redis_url: str) -> None:
    """Alone, without a client."""
    async with fresh(redis_url) as state:
        provider = FakeProvider(["Hi"])
        chat = compose(
            [spend_limit(total=10**5, redis=state, prices=BOOK)], provider.stream
        )
        assert (await collect(chat(ASK))).text == "Hi"
