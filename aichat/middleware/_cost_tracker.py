"""What calls cost together (O6)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from threading import Lock
from typing import Final, TypeAlias, final

from attrs import define, evolve, field, frozen

from ..costs import CallCost, PriceBook, Prices, Reading, cost_of
from ..types import ChatRequest, ChatResponse, StreamChunk, TextDelta
from ._compose import Handler

__all__ = ["CostTracker", "OnCost", "Spent"]

_log = logging.getLogger("aichat")

_ZERO: Final = Decimal(0)
#: Models that are summed up apart; the others together.
_MODELS: Final = 1000
_OTHERS: Final = "(others)"


@frozen(kw_only=True)
class Spent:
    """What several calls cost together, in US dollars."""

    #: Those that were answered, or began to be.
    calls: int = 0
    total: Decimal = _ZERO
    #: Of the total: what is estimated.
    estimated: Decimal = _ZERO
    #: Of the calls: those whose cost nobody knows. They are not in the total.
    unpriced: int = 0

    def plus(self, cost: CallCost | None) -> Spent:
        """With one more call."""
        if cost is None:
            return evolve(self, calls=self.calls + 1, unpriced=self.unpriced + 1)
        total = cost.total
        return Spent(
            calls=self.calls + 1,
            total=self.total + total,
            estimated=self.estimated + (total if cost.estimated else _ZERO),
            unpriced=self.unpriced,
        )


#: Is told of every call when it has ended; must not block.
OnCost: TypeAlias = Callable[[ChatRequest, CallCost | None], object]


@define(eq=False)
class _Tally:
    owner: CostTracker
    spent: Spent = field(factory=Spent)


_tallies: Final = ContextVar[tuple[_Tally, ...]]("aichat_tallies", default=())


@final
class CostTracker:
    """
    A middleware that sums up what calls cost; for all loops and threads.

    ::

        costs = CostTracker()
        client = client.use(costs)
        ...
        costs.spent.total, costs.by_model

    Innermost it sees every model that was asked, also those that a hedge left behind;
    outermost it sees what was answered. What the transport tried in vain is not counted:
    providers do not charge for it. Streams that were cut or left are estimated.
    """

    def __init__(self, prices: Prices = None, *, on_cost: OnCost | None = None) -> None:
        """
        Price by *prices* and tell *on_cost* of each call, with ``None`` if nobody knows.

        Loads the price table, which takes a second or two. Raises `ConfigError` if there is
        none.
        """
        self._book = PriceBook.of(prices).load()
        self._on_cost = on_cost
        self._spent = Spent()
        self._by_model: dict[str, Spent] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        spent = self._spent
        return f"<CostTracker: {spent.total} USD, {spent.calls} calls>"

    @property
    def spent(self) -> Spent:
        """All calls so far."""
        return self._spent

    @property
    def by_model(self) -> Mapping[str, Spent]:
        """The same by who answered, ``"provider:model"``."""
        with self._lock:
            return dict(self._by_model)

    @contextmanager
    def within(self) -> Generator[Callable[[], Spent], None, None]:
        """
        Sum up apart what is begun within, in this task and in those that it starts.

        ::

            with costs.within() as spent:
                await answer(question)
            print(spent().total)

        A call counts when it has ended, which may be later.
        """
        tally = _Tally(self)
        token = _tallies.set((*_tallies.get(), tally))
        try:
            yield lambda: tally.spent
        finally:
            _tallies.reset(token)

    def cost_of(
        self,
        response: ChatResponse,
        *,
        request: ChatRequest | None = None,
        batch: bool = False,
    ) -> CallCost | None:
        """What *response* cost, by the same prices; counts for nothing."""
        return cost_of(response, request=request, prices=self._book, batch=batch)

    async def __call__(
        self, request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        """Pass the answer on, and count it when it ends."""
        tallies = tuple(t for t in _tallies.get() if t.owner is self)
        reading = Reading(request)
        keep, note = reading.texts.append, reading.note
        try:
            async for chunk in call_next(request):
                # The only thing that most chunks pay.
                if type(chunk) is TextDelta:
                    keep(chunk.text)
                else:
                    note(chunk)
                yield chunk
        finally:
            if reading.came or reading.texts:
                self._count(request, reading, tallies)

    def _count(
        self, request: ChatRequest, reading: Reading, tallies: tuple[_Tally, ...]
    ) -> None:
        try:
            cost = reading.cost(self._book)
        except Exception:
            # Whoever only watches must not be what breaks the call.
            _log.exception("What a call cost could not be told")
            cost = None
        with self._lock:
            self._spent = self._spent.plus(cost)
            for tally in tallies:
                tally.spent = tally.spent.plus(cost)
            models, model = self._by_model, reading.model
            if model not in models and len(models) >= _MODELS:
                model = _OTHERS
            models[model] = models.get(model, Spent()).plus(cost)
        if self._on_cost is not None:
            try:
                self._on_cost(request, cost)
            except Exception:
                _log.exception("A cost callback raised")
