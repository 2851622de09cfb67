"""The longest that each phase of a call may take."""

from __future__ import annotations

from typing import Any, TypeAlias

from attrs import Attribute, evolve, field, fields, frozen

from ..errors import ConfigError
from ._values import UNSET, Unset, UnsetType, is_number

__all__ = ["DEFAULT_DEADLINES", "Deadlines", "Seconds"]

#: Seconds; ``None`` for no limit; `UNSET` for whatever applies otherwise.
Seconds: TypeAlias = float | None | UnsetType


def _check(_: Deadlines, attribute: Attribute[Any], value: Seconds) -> None:
    if isinstance(value, Unset) or value is None:
        return
    # `not (>)` rather than `<=`, so that NaN is refused as well.
    if not (is_number(value) and value > 0):
        raise ConfigError(
            f"Deadlines.{attribute.name} must be a number of seconds above 0, "
            f"or None for no limit; got {value!r}."
        )


def _phase() -> Any:
    return field(default=UNSET, validator=_check)


@frozen(kw_only=True)
class Deadlines:
    """
    Six limits in seconds. ``None`` switches one off; what is left out stays as it was.

    >>> Deadlines(total=60).over(DEFAULT_DEADLINES).idle
    60
    """

    #: Waiting for a connection from the pool, or for a permit of the limiter.
    pool: Seconds = _phase()
    #: Name resolution, TCP and TLS.
    connect: Seconds = _phase()
    #: Until the body of the answer begins.
    first_byte: Seconds = _phase()
    #: No byte at all.
    idle: Seconds = _phase()
    #: Bytes, but nothing in them other than keep-alives.
    stall: Seconds = _phase()
    #: The whole call: waiting, attempts, backoff and the answer.
    total: Seconds = _phase()

    @classmethod
    def of(cls, timeout: float | None) -> Deadlines:
        """What a bare ``timeout=30`` means: connect, first_byte and idle."""
        return cls(connect=timeout, first_byte=timeout, idle=timeout)

    def over(self, base: Deadlines) -> Deadlines:
        """Fill what is not set here from *base*."""
        names = [f.name for f in fields(Deadlines)]
        unset = {n: getattr(base, n) for n in names if getattr(self, n) is UNSET}
        return evolve(self, **unset)

    def limit(self, phase: str) -> float | None:
        """The seconds for *phase*; ``None`` if there is no limit or none is set."""
        value: Seconds = getattr(self, phase)
        return None if isinstance(value, Unset) else value


DEFAULT_DEADLINES = Deadlines(
    # Who sets a limit on requests knows how long the queue for it may be.
    pool=None,
    connect=5,
    first_byte=120,
    idle=60,
    # Models think for minutes, and send keep-alives meanwhile.
    stall=300,
    # A long answer is not a slow one.
    total=None,
)
