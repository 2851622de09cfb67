"""What has been spent lately, and what is about to be."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from threading import Lock
from typing import Final, Protocol, final

from attrs import define, field, frozen

__all__ = ["STEPS", "Budget", "Hold", "MemoryLedger", "Refusal", "SpendLedger"]

_ZERO: Final = Decimal(0)
#: A window moves on in this many steps; money comes free a step too late, at most.
STEPS: Final = 60
#: With so many keys it is worth looking for those that have spent nothing lately.
_MANY: Final = 10_000


@frozen
class Budget:
    """So much money, in US dollars: once, or within any *per* seconds."""

    limit: Decimal
    per: float | None = None


class Hold(Protocol):
    """Money that a call has put aside."""

    def settle(self, amount: Decimal) -> None:
        """Take what it was in the end, and give the rest back. The first time counts."""
        ...


@frozen
class Refusal:
    """There is no room for a call."""

    #: What has been spent, and is put aside for calls under way.
    spent: Decimal
    held: Decimal
    #: Seconds until there may be room; ``None``: waiting does not help.
    retry_after: float | None = None


class SpendLedger(Protocol):
    """
    Keeps the books of a `spend_limit`; one that is shared lets many processes share a limit.

    It is called from several loops and threads if its clients are. What it raises ends the
    call before anything is sent.
    """

    async def hold(
        self, key: str, budget: Budget, *, least: Decimal, amount: Decimal
    ) -> Hold | Refusal:
        """
        Put *amount* aside for a call of *key* if there is room for *least* in its *budget*.

        What is spent and what is put aside count alike. To `Hold.settle` happens in the
        middle of closing a stream: it must not block, and a ledger that is elsewhere does
        it later. A hold whose process has died has to run out by itself.
        """
        ...


@final
class MemoryLedger:
    """Keeps the books in this process. May be used by several loops and threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """*clock* is for tests."""
        self._clock = clock
        self._accounts: dict[tuple[str, Budget], _Account] = {}
        self._lock = Lock()
        self._look_at = _MANY

    def __repr__(self) -> str:
        return f"<MemoryLedger: {len(self._accounts)} accounts>"

    async def hold(
        self, key: str, budget: Budget, *, least: Decimal, amount: Decimal
    ) -> Hold | Refusal:
        """Put *amount* aside, if there is room for *least*."""
        with self._lock:
            now = self._clock()
            account = self._accounts.get((key, budget))
            if account is None:
                account = self._opened(key, budget, now)
            account.forget(now)
            if account.spent + account.held + least > budget.limit:
                wait = account.wait(now, least)
                return Refusal(account.spent, account.held, wait)
            account.held += amount
            return _Held(self, account, amount)

    def settle(self, account: _Account, held: Decimal, amount: Decimal) -> None:
        with self._lock:
            account.held -= held
            account.spend(amount, self._clock())

    def _opened(self, key: str, budget: Budget, now: float) -> _Account:
        accounts = self._accounts
        if len(accounts) >= self._look_at:
            for name, old in list(accounts.items()):
                old.forget(now)
                if not (old.spent or old.held):
                    del accounts[name]
            self._look_at = max(_MANY, 2 * len(accounts))
        account = accounts[key, budget] = _Account(budget)
        return account


@define(eq=False)
class _Account:
    budget: Budget
    spent: Decimal = _ZERO
    held: Decimal = _ZERO
    #: When what was spent comes free, and how much. Empty without a window.
    _steps: deque[tuple[float, Decimal]] = field(factory=deque)

    def spend(self, amount: Decimal, now: float) -> None:
        self.spent += amount
        per = self.budget.per
        if per is None or not amount:
            return
        step = per / STEPS
        free_at = (now // step + 1) * step + per
        if self._steps and self._steps[-1][0] >= free_at:
            free_at, before = self._steps.pop()
            amount += before
        self._steps.append((free_at, amount))

    def forget(self, now: float) -> None:
        """Let go of what was spent before the window."""
        while self._steps and self._steps[0][0] <= now:
            self.spent -= self._steps.popleft()[1]

    def wait(self, now: float, least: Decimal) -> float | None:
        """Seconds until there is room for *least*, as far as that is known."""
        over = self.spent + self.held + least - self.budget.limit
        for free_at, amount in self._steps:
            over -= amount
            if over <= 0:
                return free_at - now
        return None


@final
@define(eq=False)
class _Held:
    _ledger: MemoryLedger
    _account: _Account
    _amount: Decimal | None

    def settle(self, amount: Decimal) -> None:
        held, self._amount = self._amount, None
        if held is not None:
            self._ledger.settle(self._account, held, amount)
