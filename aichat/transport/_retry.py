"""When to try again: a policy that computes, and a budget that keeps it modest."""

from __future__ import annotations

from math import inf, isfinite
from threading import Lock
from typing import Any

from attrs import Attribute, define, field, frozen

from ..errors import AIChatError, ConfigError
from ..types._values import is_number

__all__ = ["RetryBudget", "RetryPolicy"]


def check_number(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    """Refuse, as an attrs validator, what is no finite number or below 0."""
    if not (is_number(value) and isfinite(value) and value >= 0):
        raise ConfigError(
            f"{type(instance).__name__}.{attribute.name} must be a number, 0 or more; "
            f"got {value!r}."
        )


@frozen(kw_only=True)
class RetryPolicy:
    """
    How often and how soon to try again.

    Waits grow exponentially up to a cap, with full jitter: anything between nothing and
    the whole wait, so that clients that failed together do not come back together.
    """

    #: Requests after the first one; 0 switches retrying off.
    max_retries: int = field(default=2, validator=check_number)
    #: Seconds before the second attempt, before jitter; and what it is multiplied by.
    initial: float = field(default=0.5, validator=check_number)
    factor: float = field(default=2.0, validator=check_number)
    #: The longest wait of our own making.
    cap: float = field(default=8.0, validator=check_number)
    #: The longest wait that a server may ask for. If it asks for more, we give up at once.
    ceiling: float = field(default=60.0, validator=check_number)

    def delay(self, attempt: int, error: AIChatError, rand: float) -> float | None:
        """
        Seconds to wait after *attempt* (1 is the first) failed; ``None`` to give up.

        *rand* is in [0, 1). What the server asks for is the least: the jitter comes on top.
        """
        if self.refusal(attempt, error) is not None:
            return None
        own = rand * min(self.cap, self.initial * self.factor ** min(attempt - 1, 64))
        return own if error.retry_after is None else error.retry_after + own

    def is_last(self, attempt: int, error: AIChatError) -> bool:
        """Whether *attempt* was the last one by itself, so that there is nothing to explain."""
        return not error.retryable or attempt > self.max_retries

    def refusal(self, attempt: int, error: AIChatError) -> str | None:
        """Why *error* of *attempt* is final, in a few words, or ``None`` if it is not."""
        if self.is_last(attempt, error):
            made = f"{attempt} {'attempts' if attempt > 1 else 'attempt'} made"
            return made if error.retryable else "trying again would not help"
        if error.retry_after is not None and error.retry_after > self.ceiling:
            return (
                f"the server asks to wait {error.retry_after:g} s, "
                f"and {self.ceiling:g} s is the most"
            )
        return None

    def backoff(
        self,
        attempt: int,
        error: AIChatError,
        *,
        rand: float,
        left: float = inf,
        objection: str | None = None,
        budget: RetryBudget | None = None,
    ) -> float:
        """
        Seconds to wait after *attempt* failed with *error*, which is raised to give up.

        *left* is what remains of the *total* deadline: a wait that would pass it fails at
        once (D3). *objection* is what else speaks against trying again; *budget* pays if
        nothing does. An error that might have been tried again says why it was not.
        """
        if self.is_last(attempt, error):
            raise error
        why = self.refusal(attempt, error)
        seconds = self.delay(attempt, error, rand) or 0.0
        if why is None and seconds >= left:
            why = "the total deadline would pass while waiting"
        why = why or objection
        if why is None and budget is not None and not budget.spend():
            why = "the retry budget is used up"
        if why is None:
            return seconds
        error.context["gave_up"] = why
        raise error.suggest(f"Not tried again: {why}.")


@define(eq=False)
class RetryBudget:
    """
    Keeps retries to a fraction of the calls when a provider is down (R4).

    Every call earns *ratio* of a retry, up to *reserve* of them, and each retry spends one.
    A process that is full of failing calls then sends 20 % more, not three times as much.
    Shared between threads and loops: what it protects is the provider.
    """

    ratio: float = field(default=0.2, validator=check_number)
    #: What there is to begin with, for the retries of a client that makes few calls.
    reserve: float = field(default=10.0, validator=check_number)
    _balance: float = field(init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._balance = self.reserve

    @property
    def balance(self) -> float:
        """How many retries could be made at once."""
        return self._balance

    def earn(self) -> None:
        """Count a call."""
        with self._lock:
            self._balance = min(max(self.reserve, 1.0), self._balance + self.ratio)

    def spend(self) -> bool:
        """Take a retry, if there is one."""
        with self._lock:
            if self._balance < 1:
                return False
            self._balance -= 1
            return True
