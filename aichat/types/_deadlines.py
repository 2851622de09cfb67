"""The longest that each phase of a call may take."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from attrs import Attribute, evolve, field, fields, frozen

from ..errors import ConfigError
from ._values import UNSET, Unset, UnsetType, is_number

__all__ = ["DEFAULT_DEADLINES", "Deadlines", "Seconds"]

#: Seconds; ``None`` for no limit; `UNSET` for whatever applies otherwise.
Seconds: TypeAlias = float | UnsetType | None


def _check(_: Deadlines, attribute: Attribute[Any], value: Seconds) -> None:
    if isinstance(value, Unset) or value is None:
        return
    if not _fits(value):
        raise ConfigError(
            f"Deadlines.{attribute.name} must be a number of seconds above 0, "
            f"or None for no limit; got {value!r}."
        )


def _fits(value: float) -> bool:
    # NaN fails every comparison. Infinity has a name already, and no form in JSON.
    return is_number(value) and 0 < value < math.inf


@frozen(kw_only=True)
class Deadlines:
    """
    Six limits in seconds. ``None`` switches one off; what is left out stays as it was.

    >>> Deadlines(total=60).over(DEFAULT_DEADLINES).idle
    60
    """

    #: Waiting for a connection from the pool, or for a permit of the limiter.
    pool: Seconds = field(default=UNSET, validator=_check)
    #: Name resolution, TCP and TLS.
    connect: Seconds = field(default=UNSET, validator=_check)
    #: Until the body of the answer begins.
    first_byte: Seconds = field(default=UNSET, validator=_check)
    #: No byte at all.
    idle: Seconds = field(default=UNSET, validator=_check)
    #: Bytes, but nothing in them other than keep-alives.
    stall: Seconds = field(default=UNSET, validator=_check)
    #: The whole call: waiting, attempts, backoff and the answer.
    total: Seconds = field(default=UNSET, validator=_check)

    @classmethod
    def of(cls, timeout: float | None) -> Deadlines:
        """What a bare ``timeout=30`` means: connect, first_byte and idle."""
        if timeout is not None and not _fits(timeout):
            text = isinstance(timeout, str)
            hint = " (text, such as '30s', is for files and the environment)"
            raise ConfigError(
                "timeout must be a number of seconds above 0, or None for no limit; got "
                f"{timeout!r}{hint if text else ''}."
            )
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
