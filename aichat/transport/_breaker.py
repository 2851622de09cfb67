"""Stop knocking on a door that nobody opens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

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

__all__ = ["CircuitBreaker", "Passage"]


@define(eq=False)
class CircuitBreaker:
    """
    Opens after *threshold* failures of availability in a row, per origin (B1).

    An open one refuses calls at once with `CircuitOpenError`. After *cooldown* seconds one
    call may probe; its success closes the circuit, its failure starts another cool-down.
    What is the caller's own fault never counts, and neither does a cancelled call.
    """

    threshold: int = field(default=5, validator=check_number)
    #: Seconds.
    cooldown: float = field(default=30.0, validator=check_number)
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True, repr=False)
    _circuits: dict[str, _Circuit] = field(factory=dict, init=False, repr=False)

    def enter(self, key: str = "") -> Passage:
        """Ask to call *key*, an origin. Raises `CircuitOpenError`."""
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits.setdefault(key, _Circuit())
        probe = False
        if circuit.opened_at is not None:
            left = circuit.opened_at + self.cooldown - self.clock()
            if left > 0 or circuit.probing:
                raise CircuitOpenError(
                    f"{key or 'The provider'} failed {circuit.failures} times in a row "
                    "and is left alone for a while.",
                    # While somebody probes, nobody knows how long it takes.
                    retry_after=max(left, 0.0),
                    context={"last_error": circuit.last_error},
                )
            circuit.probing = probe = True
        return Passage(self, circuit, probe)

    def is_open(self, key: str = "") -> bool:
        """Whether a call of *key* would be refused now."""
        circuit = self._circuits.get(key)
        if circuit is None or circuit.opened_at is None:
            return False
        return circuit.probing or self.clock() < circuit.opened_at + self.cooldown


@define(eq=False)
class _Circuit:
    failures: int = 0
    opened_at: float | None = None
    probing: bool = False
    last_error: str = ""

    def close(self) -> None:
        self.failures = 0
        self.opened_at = None
        self.probing = False


@final
@define(eq=False)
class Passage:
    """One call's way through a `CircuitBreaker`; to be `ended` whatever happens."""

    _breaker: CircuitBreaker
    _circuit: _Circuit
    _probe: bool
    _over: bool = field(default=False, init=False)

    def began(self) -> None:
        """
        Say that the answer has begun: the provider is there.

        A probe need not wait for the end of a long answer.
        """
        if self._probe:
            self._probe = False
            self._circuit.close()

    def ended(self, error: BaseException | None = None) -> None:
        """Say how it ended. Only the first time counts."""
        if self._over:
            return
        self._over = True
        circuit, probe = self._circuit, self._probe
        if probe:
            circuit.probing = False
        match _is_down(error):
            case True:
                circuit.failures += 1
                circuit.last_error = type(error).__name__
                opens = circuit.failures >= self._breaker.threshold
                # One that was under way when it opened says nothing new.
                if probe or (opens and circuit.opened_at is None):
                    circuit.opened_at = self._breaker.clock()
            case False if probe or circuit.opened_at is None:
                circuit.close()
            case _:
                pass  # it says nothing; a call from before the circuit opened, not enough


def _is_down(error: BaseException | None) -> bool | None:
    """Whether *error* says that the provider is down; ``None`` if it says neither."""
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
