"""What is said to Redis of a limit, and what it answers: `limit.lua` in Python's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ..transport import RateLimit
from ..transport._rates import Kind
from ._link import Argument, Script

__all__ = ["SCRIPT", "Letter", "Reply", "Terms", "Wish"]

SCRIPT: Final = Script(Path(__file__).with_name("limit.lua").read_text("utf-8"))

#: A window moves on in this many steps. What was let through counts for up to two of them
#: longer than it has to, which is what the limit is used less: 1 or 2 in a hundred.
_STEPS: Final = 120
#: Of the tokens so much may go at once; the window alone would let them go all at once, and
#: then none for as long as it lasts.
_AT_ONCE: Final = 0.1


@frozen
class Letter:
    """What has become of something that was let through."""

    #: When it was, by the server's clock; ``None`` if nobody knows.
    time: float | None
    #: By kind: more than was thought, or less.
    amounts: tuple[float, ...]
    #: Whether it has not been used at all.
    whole: bool = False
    #: By the loop's clock: who has waited too long need not be sent any more.
    written: float = 0.0


@frozen
class Wish:
    """What somebody asks for."""

    amounts: tuple[float, ...]
    #: Seconds that it will wait.
    within: float = inf


@frozen
class Reply:
    """What Redis says."""

    #: What the state is called: another name says that it is another one.
    epoch: str
    #: The server's clock.
    now: float
    #: How many have asked lately.
    workers: int
    #: When those were let through who need not wait.
    times: tuple[float, ...]
    #: Seconds that the next one would have to wait; 0 if there is none.
    wait: float
    #: When that will be, if it has agreed to.
    booked: float | None
    #: How much of each kind may go together with it.
    rooms: tuple[float, ...] = ()

    @classmethod
    def of(cls, answer: Any) -> Reply:
        epoch, now, workers, wait, booked, times, rooms = answer
        return cls(
            epoch=epoch.decode(),
            now=float(now),
            workers=int(workers),
            times=tuple(map(float, times)),
            wait=float(wait or 0),
            booked=float(booked) if booked else None,
            rooms=tuple(map(float, rooms)),
        )


@frozen
class Terms:
    """A `RateLimit` as the script knows it."""

    #: Seconds of a window.
    per: float
    kinds: tuple[Kind, ...]
    _head: tuple[Argument, ...]
    _said: tuple[Argument, ...]
    #: Of each kind how much may go at once.
    bursts: Mapping[Kind, float]

    @classmethod
    def of(cls, limit: RateLimit) -> Terms:
        # Less than one request in a window is one in a longer one: there are no parts of one.
        per = float(limit.per)
        if limit.requests is not None and limit.requests < 1:
            per /= limit.requests
        bursts: dict[Kind, float] = {}
        said: list[Argument] = [len(limit.sizes)]
        for kind, (burst, rate) in limit.sizes.items():
            most = limit.requests if kind == "requests" else None
            most = max(1.0, most) if most is not None else rate * per
            if kind == "requests":
                bursts[kind] = min(burst, most)
            else:
                bursts[kind] = most * _AT_ONCE
            said += [kind, repr(most), repr(bursts[kind])]
        head = (repr(per), _STEPS)
        return cls(per, tuple(limit.sizes), head, tuple(said), bursts)

    def arguments(
        self,
        *,
        worker: str,
        lease: float,
        known: str,
        since: float,
        fresh: str,
        letter: int | None = None,
        letters: Sequence[Letter] = (),
        left: Mapping[Kind, float] | None = None,
        pause: float | None = None,
        wishes: Iterable[Wish] = (),
        now: float | None = None,
        due: float | None = None,
    ) -> list[Argument]:
        """
        Everything, in the order in which the script reads it.

        After *due*, by the server's clock, there are no wishes any more.
        """
        said: list[Argument] = ["" if now is None else repr(now)]
        said += ["" if due is None else repr(due), *self._head]
        said += [worker, repr(lease), known, repr(min(since, 1e9)), fresh, *self._said]
        said += ["" if letter is None else letter, len(letters)]
        for each in letters:
            said += ["" if each.time is None else repr(each.time), int(each.whole)]
            said += map(repr, each.amounts)
        room = left or {}
        said += [repr(room[kind]) if kind in room else "" for kind in self.kinds]
        said += ["" if pause is None else repr(pause)]
        wishes = tuple(wishes)
        said.append(len(wishes))
        for wish in wishes:
            said += [repr(wish.within), *map(repr, wish.amounts)]
        return said
