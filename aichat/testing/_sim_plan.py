"""Which request goes wrong: in turn, by its number, by what it is, or by chance."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from attrs import define, field

from ..errors import ConfigError
from ._sim_dialect import Refused
from ._sim_faults import Fault
from ._sim_received import ReceivedRequest

__all__ = ["Plan", "When"]

When: TypeAlias = Callable[[ReceivedRequest], bool]


@define
class _Rule:
    """A fault, and whom it befalls."""

    fault: Fault
    #: ``None`` for each one.
    numbers: frozenset[int] | None
    when: When | None
    rate: float
    rand: Callable[[], float]
    #: How many requests it has seen that *when* is true for.
    seen: int = 0

    def applies(self, request: ReceivedRequest) -> bool:
        if self.when is not None and not _ask(self.when, request):
            return False
        self.seen += 1
        if self.numbers is not None and self.seen not in self.numbers:
            return False
        return self.rate >= 1 or self.rand() < self.rate


def _ask(when: When, request: ReceivedRequest) -> bool:
    try:
        return when(request)
    except Exception as error:
        # In a server nobody would see it.
        problem = f"{type(error).__name__}: {str(error)[:200]}"
    raise Refused(f"The `when` of a fault raised {problem}")


@define
class Plan:
    """The faults to come."""

    _rules: list[_Rule] = field(factory=list, init=False)
    _queue: deque[Fault] = field(factory=deque, init=False)

    def queue(self, fault: Fault, times: int) -> None:
        """Let *fault* befall the next requests that nothing else befalls."""
        self._queue.extend([fault] * times)

    def add(
        self,
        fault: Fault,
        on: int | Iterable[int] | None,
        when: When | None,
        rate: float,
        rand: Callable[[], float],
    ) -> None:
        """Let *fault* befall whom the rest describes. Raises `ConfigError`."""
        numbers = None
        if on is not None:
            numbers = frozenset({on} if isinstance(on, int) else on)
            if not numbers or min(numbers) < 1:
                raise ConfigError("Requests are counted from 1: on=1 is the next one.")
        if not 0 <= rate <= 1:
            raise ConfigError(f"The rate of a fault is 0 to 1, not {rate}.")
        self._rules.append(_Rule(fault, numbers, when, rate, rand))

    def clear(self) -> None:
        """Let nothing go wrong."""
        self._rules.clear()
        self._queue.clear()

    def next(self, request: ReceivedRequest, asked: Fault | None) -> Fault | None:
        """
        What befalls *request*: what it has *asked* for itself, or the first rule that
        applies, or what is next in turn. Raises `Refused` if a rule fails.
        """
        # All of them count, whoever wins.
        applying = [rule.fault for rule in self._rules if rule.applies(request)]
        if asked is not None:
            return asked
        if applying:
            return applying[0]
        return self._queue.popleft() if self._queue else None
