"""Books that all processes share, in Redis (L5, O6)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from itertools import count
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any, Final, final

from attrs import define, field, frozen

from .._closing import AsyncClosing
from ..errors import ClosedError, ConfigError
from ..redis._link import Argument, Away, Late, Script
from ..redis._state import RedisState, check_name
from ..types._values import is_number
from ._ledger import STEPS, Budget, Hold, MemoryLedger, Refusal

__all__ = ["RedisLedger", "check_budget"]

_SCRIPT: Final = Script(Path(__file__).with_name("ledger.lua").read_text("utf-8"))
_NANO: Final = 10**9
#: Numbers in Lua are exact up to here: 9 million dollars.
_MOST: Final = 2**53
#: Seconds after which a process that has not asked is not one of those that share.
_SEEN: Final = 600.0
#: Seconds for which what was settled late is known again, so that it is not booked twice.
_KEEP: Final = 86_400.0
#: Seconds until it is tried again to say what could not be said.
_AGAIN: Final = 1.0
#: So much is said at once.
_AT_ONCE: Final = 100
#: Of all ledgers: a process has one name.
_numbers: Final = count(1)
#: With so many accounts it is worth forgetting those that were not asked for lately.
_MANY: Final = 10_000


@final
class RedisLedger(AsyncClosing):
    """
    Keep the books of a `spend_limit` for all processes that share a *state*.

    Those with the same *name* and namespace share their books: one for each key, and for each
    window. They do not depend on the limit, so that it can be raised. What a call puts aside
    is there for *lease* seconds: if its process dies, it counts as spent then, as it may have
    been. A call asks once and waits for that; what it has cost is said later.

    While Redis is away each process may spend its share of what was left, and says what it
    was as soon as Redis is back. So the limit may be passed by what was under way.

    Whoever makes one closes it, before the *state*: then it says what it still has to. Money
    is counted in billionths of a dollar, and a limit is below 9 million dollars.
    """

    def __init__(
        self,
        state: RedisState,
        *,
        name: str = "spending",
        lease: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
        server_clock: Callable[[], float] | None = None,
    ) -> None:
        """Raises `ConfigError`. The clocks are for tests."""
        if not (is_number(lease) and 0 < lease < inf):
            raise ConfigError(
                f"RedisLedger: lease must be a number of seconds above 0, got {lease!r}."
            )
        self._state = state
        self._name = check_name("RedisLedger", name)
        self._lease = lease
        self._clock = clock
        self._server_clock = server_clock
        self._accounts: OrderedDict[tuple[str, float | None], _Account] = OrderedDict()
        #: Those that Redis has to be told something of.
        self._owing: dict[_Account, None] = {}
        self._lock = Lock()
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None

    def __repr__(self) -> str:
        return f"<RedisLedger {self._name!r} in {self._state!r}>"

    async def hold(
        self, key: str, budget: Budget, *, least: Decimal, amount: Decimal
    ) -> Hold | Refusal:
        """
        Put *amount* aside, if there is room for *least*.

        Raises `ConfigError` for a limit that is too large, or if Redis does not let us in.
        """
        check_budget(budget)
        account = self._account(key, budget)
        if self._state.away:
            return await self._alone(account, budget, least, amount)
        debt = _Debt(self._new_id(), reserved=_to_nano(amount))

        def give_back(asked: asyncio.Task[Hold | Refusal]) -> None:
            # Whether it was let through or not, and whether anybody knows.
            if asked.cancelled() or not isinstance(asked.exception(), ConfigError):
                self._owe(account, debt)

        link = self._state.link()
        asking = self._ask(account, budget, debt, _to_nano(least))
        try:
            return await link.ask(asking, left=give_back)
        except Late:
            pass  # it does not know of us
        except Away:
            # It may be put aside all the same.
            self._owe(account, debt)
        return await self._alone(account, budget, least, amount)

    async def aclose(self) -> None:
        """Say what has not been said yet, if Redis is there. Harmless when done twice."""
        here = asyncio.get_running_loop()
        # One after the other: if Redis is away, the first finds out.
        for account in list(self._owing):
            self._deliver(account, again=False)
            posting = account.posting
            if posting is not None and posting.get_loop() is here:
                await asyncio.wait([posting])
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer[1].cancel()

    def _new_id(self) -> str:
        return f"{self._state.worker}-{next(_numbers)}"

    def _account(self, key: str, budget: Budget) -> _Account:
        with self._lock:
            accounts = self._accounts
            name = key, budget.per
            account = accounts.get(name)
            if account is None:
                if len(accounts) >= _MANY:
                    self._forget()
                window = "once" if budget.per is None else repr(float(budget.per))
                # A key may be anything.
                text = key.encode("utf-8", "backslashreplace").decode()
                account = accounts[name] = _Account(
                    self._state.key("spend", f"{self._name} {window} {text}"),
                    budget.per,
                )
            accounts.move_to_end(name)
        return account

    def _forget(self) -> None:
        """Let go of the half that was not asked for lately, as far as nothing is owed."""
        for name in list(self._accounts)[: _MANY // 2]:
            if self._accounts[name] not in self._owing:
                del self._accounts[name]

    # -- with the others --------------------------------------------------------------------

    async def _ask(
        self, account: _Account, budget: Budget, debt: _Debt, least: int
    ) -> Hold | Refusal:
        limit = _to_nano(budget.limit, ROUND_DOWN)
        words: list[Argument] = [debt.id, self._state.worker]
        words += [limit, least, debt.reserved]
        granted, *told, wait, born, workers = await self._run(account, "hold", words)
        spent, held = map(int, told)
        with self._lock:
            account.learn(self._clock(), spent, held + granted * debt.reserved)
            account.workers = workers
            if account not in self._owing:
                # With the others again, who know what we have spent alone.
                account.alone = None
        if self._owing:
            self._deliver_all()
        if granted:
            return _Held(self, account, _Debt(debt.id, debt.reserved, born.decode()))
        return Refusal(_to_money(spent), _to_money(held), float(wait) if wait else None)

    async def _run(
        self, account: _Account, asked: str, words: list[Argument]
    ) -> list[Any]:
        per = account.per
        now = "" if self._server_clock is None else repr(self._server_clock())
        window: list[Argument] = ["", ""] if per is None else [per, per / STEPS]
        terms: list[Argument] = [*window, self._lease, _SEEN, _KEEP]
        answer: list[Any] = await self._state.run(
            _SCRIPT, account.keys, [now, self._new_id(), *terms, asked, *words]
        )
        return answer

    def _owe(self, account: _Account, debt: _Debt) -> None:
        """Let Redis know of *debt*, now or later. Neither waits nor raises."""
        with self._lock:
            account.debts[debt.id] = debt
            self._owing[account] = None
        self._deliver(account)

    def _owe_more(self, account: _Account, amount: int) -> None:
        with self._lock:
            account.extra += amount
            self._owing[account] = None
        self._deliver(account)

    def _deliver_all(self) -> None:
        with self._lock:
            accounts = list(self._owing)
        for account in accounts:
            self._deliver(account)

    def _deliver(self, account: _Account, *, again: bool = True) -> None:
        """Begin to say what is owed; if that is no use now, *again* a little later."""
        with suppress(RuntimeError, ClosedError):
            # Raises in a finaliser without a loop, and after the end. Then the next one does
            # it, if there is one.
            loop = asyncio.get_running_loop()
            if self._state.away:
                if again:
                    self._try_again(loop)
                return
            link = self._state.link()
            with self._lock:
                posting = account.posting
                if posting is not None and not (
                    posting.done() or posting.get_loop().is_closed()
                ):
                    return
                account.posting = None
            # A task may begin at once, and takes the lock.
            account.posting = link.spawn(self._post(account))

    async def _post(self, account: _Account) -> None:
        while True:
            with self._lock:
                debts = account.due(self._new_id)
                if not debts:
                    account.posting = None
                    self._owing.pop(account, None)
                    return
            words: list[Argument] = [len(debts)]
            for debt in debts:
                words += [debt.id, debt.born, debt.reserved, debt.amount]
            try:
                spent, held, _ = await self._run(account, "settle", words)
            except Away:
                self._try_again(asyncio.get_running_loop())
                raise
            with self._lock:
                account.learn(self._clock(), int(spent), int(held))
                for debt in debts:
                    account.debts.pop(debt.id, None)

    def _try_again(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            if self._timer is not None and not self._timer[0].is_closed():
                return
            self._timer = loop, loop.call_later(_AGAIN, self._again)

    def _again(self) -> None:
        with self._lock:
            self._timer = None
        self._deliver_all()

    # -- while Redis is away ----------------------------------------------------------------

    async def _alone(
        self, account: _Account, budget: Budget, least: Decimal, amount: Decimal
    ) -> Hold | Refusal:
        """Put *amount* aside, if this process's share has room for *least*."""
        now = self._clock()
        with self._lock:
            if account.alone is None:
                account.alone = MemoryLedger(clock=self._clock)
            books = account.alone
            spent, held = account.known(now)
            left = max(Decimal(0), budget.limit - spent - held)
            share = left / (account.workers or self._state.workers)
        # What belongs to the others is as if it was asked for as well.
        others = budget.limit - share
        got = await books.hold("", budget, least=least + others, amount=amount)
        if not isinstance(got, Refusal):
            self._state.note_alone()
            return _HeldAlone(self, account, got)
        wait = got.retry_after
        if account.per is not None and spent + held:
            then = account.heard + account.per - now
            wait = then if wait is None else min(wait, then)
        return Refusal(spent + got.spent, held + got.held, wait)


def check_budget(budget: Budget) -> None:
    """Raise `ConfigError` for what cannot be counted exactly."""
    if budget.limit * _NANO >= _MOST:
        raise ConfigError(
            f"A RedisLedger counts up to {_MOST // _NANO} dollars, and the limit is "
            f"{budget.limit}."
        )


def _to_nano(amount: Decimal, rounding: str = ROUND_UP) -> int:
    """Whole nano-dollars: of what is spent rather too many, of what may be too few."""
    return min(int((amount * _NANO).to_integral_value(rounding)), _MOST - 1)


def _to_money(nano: int) -> Decimal:
    return Decimal(nano) / _NANO


@frozen
class _Debt:
    """What Redis has to be told: that what was *reserved* has cost *amount* in the end."""

    id: str
    reserved: int = 0
    #: What the books were called in which it was reserved, if it is known that it was.
    born: str = ""
    amount: int = 0


@define(eq=False)
class _Account:
    """What one process knows of an account."""

    _key: str
    per: float | None
    #: As of then: nano-dollars, and how many asked for them.
    heard: float = field(default=-inf, init=False)
    _spent: int = field(default=0, init=False)
    _held: int = field(default=0, init=False)
    workers: int = field(default=0, init=False)
    #: The books of this process while Redis is away.
    alone: MemoryLedger | None = field(default=None, init=False)
    #: What Redis does not know yet: of calls that it knows of, and of others together.
    debts: dict[str, _Debt] = field(factory=dict, init=False)
    extra: int = field(default=0, init=False)
    #: What of it has been said, perhaps: it must be said again in the same words.
    _batch: str = field(default="", init=False)
    posting: asyncio.Task[None] | None = field(default=None, init=False)

    @property
    def keys(self) -> list[str]:
        parts = ("holds", "lapsed", "workers", "posted")
        return [self._key, *(f"{self._key}:{part}" for part in parts)]

    def learn(self, now: float, spent: int, held: int) -> None:
        self.heard, self._spent, self._held = now, spent, held

    def known(self, now: float) -> tuple[Decimal, Decimal]:
        """What was spent and held when it was heard of last, unless that is long ago."""
        if self.per is not None and self.heard + self.per <= now:
            return Decimal(0), Decimal(0)
        return _to_money(self._spent), _to_money(self._held)

    def due(self, new_id: Callable[[], str]) -> list[_Debt]:
        """What to say next."""
        if self.extra and self._batch not in self.debts:
            # So that there is never more than one, however long Redis is away.
            self._batch = new_id()
            self.debts[self._batch] = _Debt(self._batch, amount=self.extra)
            self.extra = 0
        return list(self.debts.values())[:_AT_ONCE]


@final
@define(eq=False)
class _Held:
    _ledger: RedisLedger
    _account: _Account
    _debt: _Debt | None

    def settle(self, amount: Decimal) -> None:
        """Take what it was in the end, later. The first time counts."""
        debt, self._debt = self._debt, None
        if debt is not None:
            debt = _Debt(debt.id, debt.reserved, debt.born, _to_nano(amount))
            self._ledger._owe(self._account, debt)


@final
@define(eq=False)
class _HeldAlone:
    _ledger: RedisLedger
    _account: _Account
    _hold: Hold | None

    def settle(self, amount: Decimal) -> None:
        """Take what it was in the end, and say so when Redis is back."""
        hold, self._hold = self._hold, None
        if hold is None:
            return
        hold.settle(amount)
        if amount:
            self._ledger._owe_more(self._account, _to_nano(amount))
