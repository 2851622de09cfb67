"""Stop knocking on a door that nobody opens."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final, Protocol, final
from weakref import WeakSet

from attrs import define, field

from ..errors import (
    CircuitOpenError,
    DeadlineError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from ._retry import check_number

__all__ = [
    "AnyBreaker",
    "AnyPassage",
    "CircuitBreaker",
    "Passage",
    "circuits_open",
    "circuits_opened",
]


class AnyPassage(Protocol):
    """One call's way through a breaker. Neither method waits or raises."""

    def began(self) -> None:
        """Say that the answer has begun: the provider is there."""
        ...

    def ended(self, error: BaseException | None = None) -> None:
        """Say how it ended; whatever happens. Only the first time counts."""
        ...


class AnyBreaker(Protocol):
    """What the transport and the middleware want of a breaker, wherever its counts are kept."""

    async def admit(self, key: str = "") -> AnyPassage:
        """Ask to call *key*, an origin. Raises `CircuitOpenError`."""
        ...

    def is_open(self, key: str = "") -> bool:
        """Whether a call of *key* would be refused now, by what is known."""
        ...


@define(eq=False)
class CircuitBreaker:
    """
    Opens after *threshold* failures of availability in a row, per origin (B1).

    An open one refuses calls at once with `CircuitOpenError`. After *cooldown* seconds one
    call may probe; its success closes the circuit, its failure starts another cool-down.
    What is the caller's own fault never counts, and neither does a cancelled call. Shared
    between threads and loops: it is the provider that is down.
    """

    threshold: int = field(default=5, validator=check_number)
    #: Seconds.
    cooldown: float = field(default=30.0, validator=check_number)
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True, repr=False)
    _circuits: dict[str, Circuit] = field(factory=dict, init=False, repr=False)
    #: Around every look at a circuit that leads to a change of it; never while waiting.
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        with _all_lock:
            _all.add(self)

    async def admit(self, key: str = "") -> Passage:
        """`enter`, for those who may have to wait for other breakers."""
        return self.enter(key)

    def enter(self, key: str = "") -> Passage:
        """Ask to call *key*, an origin. Raises `CircuitOpenError`."""
        with self._lock:
            circuit = self._circuits.get(key)
            if circuit is None:
                circuit = self._circuits[key] = Circuit(key)
            probe = circuit.opened_at is not None
            if circuit.opened_at is not None:
                left = circuit.opened_at + self.cooldown - self.clock()
                if left > 0 or circuit.probing:
                    raise circuit.refusal(left)
                circuit.probing = True
        return Passage(self, circuit, probe)

    def is_open(self, key: str = "") -> bool:
        """Whether a call of *key* would be refused now."""
        circuit = self._circuits.get(key)
        # Read once: another thread may close it meanwhile.
        opened_at = None if circuit is None else circuit.opened_at
        if circuit is None or opened_at is None:
            return False
        return circuit.probing or self.clock() < opened_at + self.cooldown


#: For those who watch: what there is, and how often each circuit has opened so far.
_all: Final = WeakSet[CircuitBreaker]()
_openings: Final[dict[str, int]] = {}
_all_lock: Final = Lock()
#: Circuits that are counted apart; the others are counted together, under ``other``.
_MOST_COUNTED: Final = 100


def circuits_open() -> dict[str, int]:
    """How many circuits are open, by their keys, in this process: 0 for the closed ones."""
    with _all_lock:
        breakers = list(_all)
    found: dict[str, int] = {}
    for breaker in breakers:
        # Copied at once: others add to it meanwhile.
        for key, circuit in list(breaker._circuits.items()):
            key = key if key in found or len(found) < _MOST_COUNTED else "other"
            found[key] = found.get(key, 0) + (circuit.opened_at is not None)
    return found


def circuits_opened() -> dict[str, int]:
    """How often circuits have opened, by their keys, in this process so far."""
    with _all_lock:
        return dict(_openings)


def note_opening(key: str) -> None:
    """Count an opening of *key*."""
    with _all_lock:
        if key not in _openings and len(_openings) >= _MOST_COUNTED:
            key = "other"
        _openings[key] = _openings.get(key, 0) + 1


@define(eq=False)
class Circuit:
    """What is known of one origin."""

    key: str = ""
    failures: int = 0
    opened_at: float | None = None
    probing: bool = False
    last_error: str = ""

    def refusal(self, left: float) -> CircuitOpenError:
        """What a call gets, *left* seconds before the next one may probe."""
        return CircuitOpenError(
            f"{self.key or 'The provider'} failed {self.failures} times in a row "
            "and is left alone for a while.",
            # While somebody probes, nobody knows how long it takes.
            retry_after=max(left, 0.0),
            context={"last_error": self.last_error},
        )

    def close(self) -> None:
        self.failures = 0
        self.opened_at = None
        self.probing = False


@final
@define(eq=False)
class Passage:
    """One call's way through a `CircuitBreaker`; to be `ended` whatever happens."""

    _breaker: CircuitBreaker
    _circuit: Circuit
    _probe: bool
    _begun: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)

    def began(self) -> None:
        """
        Say that the answer has begun: the provider is there.

        A probe need not wait for the end of a long answer, and an answer that is left
        early counts as one that came.
        """
        self._begun = True
        if self._probe:
            self._probe = False
            with self._breaker._lock:
                self._circuit.close()

    def ended(self, error: BaseException | None = None) -> None:
        """Say how it ended. Only the first time counts."""
        if self._over:
            return
        self._over = True
        down = is_down(error, begun=self._begun)
        with self._breaker._lock:
            self._count(error, down)

    def _count(self, error: BaseException | None, down: bool | None) -> None:
        circuit, probe = self._circuit, self._probe
        if probe:
            circuit.probing = False
        match down:
            case True:
                circuit.failures += 1
                circuit.last_error = type(error).__name__
                opens = circuit.failures >= self._breaker.threshold
                # One that was under way when it opened says nothing new.
                if probe or (opens and circuit.opened_at is None):
                    circuit.opened_at = self._breaker.clock()
                    note_opening(circuit.key)
            case False if probe or circuit.opened_at is None:
                circuit.close()
            case _:
                pass  # it says nothing; a call from before the circuit opened, not enough


def is_down(error: BaseException | None, *, begun: bool = False) -> bool | None:
    """
    Whether *error* says that the provider is down; ``None`` if it says neither.

    An answer that has *begun* says that it is not, unless the error does.
    """
    down = _says_down(error)
    return False if down is None and begun else down


def _says_down(error: BaseException | None) -> bool | None:
    match error:
        case None:
            return False
        case DeadlineError(phase="pool" | "total"):
            return None
        case (
            ServerError()
            | ProviderUnavailableError()
            | DeadlineError()
            | StreamInterruptedError()
        ):
            return True
        case RateLimitError():
            return None
        case ProviderError(status=int()):
            # It refused the request, so it is well.
            return False
        case _:
            return None
