"""Ending a run without losing what is under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

__all__ = ["Stop"]


@final
class Stop:
    """
    Asks runs to finish what is under way and to take on nothing more.

    What a signal handler sets; in the thread of the loop::

        stop = bulk.Stop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        await bulk.run_file(client, "in.jsonl", "out.jsonl", stop=stop)
    """

    __slots__ = ("_is_set", "_then")

    def __init__(self) -> None:
        self._is_set = False
        self._then: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<Stop{' (set)' if self._is_set else ''}>"

    @property
    def is_set(self) -> bool:
        """Whether somebody has asked."""
        return self._is_set

    def set(self) -> None:
        """Ask. Harmless when done twice."""
        self._is_set = True
        while self._then:
            self._then.pop()()

    def then(self, action: Callable[[], object]) -> None:
        """Do *action* when it is set, or now if it is."""
        if self._is_set:
            action()
        else:
            self._then.append(action)

    def forget(self, action: Callable[[], object]) -> None:
        """Do not do *action*: its run is over."""
        if action in self._then:
            self._then.remove(action)
