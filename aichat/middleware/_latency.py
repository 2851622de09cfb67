"""How long answers take to begin, as far as it was seen lately."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import ceil
from threading import Lock
from typing import final

from attrs import define, field

__all__ = ["Latencies"]

#: The latest times that count for a model: some minutes of a busy one.
_WINDOW = 200
#: With fewer than these a percentile is an anecdote.
_ENOUGH = 20
#: Models that are remembered. Who makes up names shall not fill our memory.
_MODELS = 1000


@final
@define(eq=False)
class Latencies:
    """The latest times to first output of each model; for all loops and threads."""

    _by_model: dict[str, _Window] = field(factory=dict, init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def add(self, model: str, seconds: float) -> None:
        """Remember that *model* took *seconds*."""
        with self._lock:
            # The one that was seen last is the last to be forgotten.
            window = self._by_model.pop(model, None) or _Window()
            self._by_model[model] = window
            if len(self._by_model) > _MODELS:
                del self._by_model[next(iter(self._by_model))]
            window.add(seconds)

    def percentile(self, model: str, percent: int) -> float | None:
        """Seconds within which *percent* of the answers began; ``None`` if too few did."""
        with self._lock:
            window = self._by_model.get(model)
            return None if window is None else window.percentile(percent)


@define(eq=False)
class _Window:
    latest: deque[float] = field(factory=deque)
    ordered: list[float] = field(factory=list)

    def add(self, seconds: float) -> None:
        if len(self.latest) == _WINDOW:
            del self.ordered[bisect_left(self.ordered, self.latest.popleft())]
        self.latest.append(seconds)
        insort(self.ordered, seconds)

    def percentile(self, percent: int) -> float | None:
        count = len(self.ordered)
        if count < _ENOUGH:
            return None
        # By nearest rank: always a time that was seen.
        return self.ordered[ceil(count * percent / 100) - 1]
