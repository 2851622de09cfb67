"""How far a run is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Final, final

from attrs import define, field, frozen

from ..middleware import CallCost
from ..types import Usage

__all__ = ["Progress", "Tally"]

#: How many seconds the rate looks back.
_WINDOW: Final = 30.0
_STEP: Final = 1.0


@final
@frozen(kw_only=True)
class Progress:
    """How far a run is; made whenever a line is over."""

    #: Lines of the input; those that were done before among them.
    total: int
    #: Done before this run began.
    before: int
    succeeded: int
    #: Lines that are no request among them.
    failed: int
    #: Those.
    bad: int = 0
    #: Under way, and how many there may be.
    running: int = 0
    limit: int = 0
    #: Seconds since it began.
    seconds: float
    #: Lines per second, of late.
    rate: float
    input_tokens: int
    output_tokens: int
    #: In US dollars; of this run and of those before it.
    cost: Decimal
    cost_before: Decimal
    #: Answers whose cost nobody knows. They are not in it.
    unpriced: int

    @property
    def done(self) -> int:
        """Over, in this run and before."""
        return self.before + self.succeeded + self.failed

    @property
    def left(self) -> int:
        """Not over yet."""
        return self.total - self.done

    @property
    def eta(self) -> float | None:
        """Seconds that the rest will take at this rate; ``None`` if there is none."""
        return self.left / self.rate if self.rate else None


@final
@define(eq=False)
class Tally:
    """Counts."""

    clock: Callable[[], float]
    total: int = 0
    before: int = 0
    cost_before: Decimal = Decimal(0)
    succeeded: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    bad: int = field(default=0, init=False)
    input_tokens: int = field(default=0, init=False)
    output_tokens: int = field(default=0, init=False)
    cost: Decimal = field(default=Decimal(0), init=False)
    unpriced: int = field(default=0, init=False)
    began: float = field(init=False)
    #: When so many were over.
    _marks: deque[tuple[float, int]] = field(factory=deque, init=False)

    def __attrs_post_init__(self) -> None:
        self.began = self.clock()
        self._marks.append((self.began, 0))

    def succeed(self, usage: Usage, cost: CallCost | None) -> None:
        """Count an answer."""
        self.succeeded += 1
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0
        if cost is None:
            self.unpriced += 1
        else:
            self.cost += cost.total
        self._mark()

    def fail(self, *, bad: bool = False) -> None:
        """Count a line that has failed; a *bad* one is no request."""
        self.failed += 1
        self.bad += bad
        self._mark()

    def progress(self, running: int = 0, limit: int = 0) -> Progress:
        """How far it is now."""
        now, over = self.clock(), self.succeeded + self.failed
        since, before = self._marks[0]
        took = now - since
        return Progress(
            total=self.total,
            before=self.before,
            succeeded=self.succeeded,
            failed=self.failed,
            bad=self.bad,
            running=running,
            limit=limit,
            seconds=now - self.began,
            rate=(over - before) / took if took > 0 else 0.0,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=self.cost,
            cost_before=self.cost_before,
            unpriced=self.unpriced,
        )

    def _mark(self) -> None:
        now, marks = self.clock(), self._marks
        if now - marks[-1][0] >= _STEP:
            marks.append((now, self.succeeded + self.failed))
            while len(marks) > 2 and now - marks[1][0] > _WINDOW:
                marks.popleft()
