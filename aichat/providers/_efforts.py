"""Levels of thinking, rounded to those that there are."""

from __future__ import annotations

from collections.abc import Iterable

from ..types import Effort

__all__ = ["nearest_effort", "to_efforts"]

_RANK = tuple(Effort).index


def nearest_effort(effort: Effort, known: Iterable[Effort]) -> Effort:
    """
    Of the *known* levels the highest that is not above *effort*, or else the lowest.

    None at all is no level: whoever asks for some gets some, and the other way round only
    where it cannot be helped.

    >>> str(nearest_effort(Effort.MINIMAL, (Effort.NONE, Effort.LOW, Effort.HIGH)))
    'low'
    """
    thinking = [level for level in known if level is not Effort.NONE]
    lower = [level for level in thinking if _RANK(level) <= _RANK(effort)]
    return max(lower, key=_RANK) if lower else min(thinking, key=_RANK)


def to_efforts(levels: str | Iterable[str]) -> tuple[Effort, ...]:
    """Make levels of a text with blanks between them; as they are, if they are levels."""
    names = levels.split() if isinstance(levels, str) else levels
    return tuple(map(Effort, names))
