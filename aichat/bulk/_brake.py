"""Ending a run without losing what is under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

__all__ = ["Brake"]


@final
class Brake:
    """
    Asks runs to finish what is under way and to take on nothing more.

    What a signal handler sets; in the thread of the loop::

        brake = bulk.Brake()
        loop.add_signal_handler(signal.SIGTERM, brake.pull)
        await bulk.run_file(client, "in.jsonl", "out.jsonl", brake=brake)
    """

    __slots__ = ("_pulled", "_then")

    def __init__(self) -> None:
        self._pulled = False
        self._then: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<Brake{' (pulled)' if self._pulled else ''}>"

    @property
    def pulled(self) -> bool:
        """Whether somebody has asked."""
        return self._pulled

    def pull(self) -> None:
        """Ask. Harmless when done twice."""
        self._pulled = True
        while self._then:
            self._then.pop()()

    def then(self, action: Callable[[], object]) -> None:
        """Do *action* when it is pulled, or now if it has been."""
        if self._pulled:
            action()
        else:
            self._then.append(action)

    def forget(self, action: Callable[[], object]) -> None:
        """Do not do *action*: its run is over."""
        if action in self._then:
            self._then.remove(action)
