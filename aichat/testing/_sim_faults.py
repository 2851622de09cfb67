"""What the simulator does wrong on request: one small value per misfortune."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from attrs import field, frozen

from ..errors import ConfigError
from ..types import dumps
from ._sim_dialect import Refused, Visit

__all__ = ["FAULT_HEADER", "Fault", "FaultKind", "perform_or_fail"]

FAULT_HEADER: Final = "x-aichat-fault"

FaultKind: TypeAlias = Literal[
    "status",  # an error instead of an answer
    "error_event",  # an error within the stream
    "hang_up",  # the connection closes without the end of the body
    "truncate",  # the body ends properly, the answer does not
    "stall",  # nothing more comes, and the connection stays
    "garbage",  # an event that is no JSON, and on it goes
    "html",  # somebody else's web page, with status 200
    "empty",  # no body at all, with status 200
]
_KINDS: Final = get_args(FaultKind)


def _to_headers(value: Mapping[str, str] | None) -> Mapping[str, str]:
    return dict(value or {})


@frozen
class Fault:
    """
    Something that goes wrong with one request.

    >>> Fault.parse("hang_up; after=3")
    Fault(kind='hang_up', after=3, status=503, code=None, message=None, headers={})
    """

    kind: FaultKind = "status"
    #: How many words are said before; a document that is no stream has two.
    after: int = field(default=0, kw_only=True)
    #: Of a ``status``, and the one that an ``error_event`` stands for.
    status: int = field(default=503, kw_only=True)
    #: The provider's word for it, if it shall not be the usual one.
    code: str | None = field(default=None, kw_only=True)
    message: str | None = field(default=None, kw_only=True)
    #: What the answer carries besides, such as ``retry-after``.
    headers: Mapping[str, str] = field(
        default=None, kw_only=True, converter=_to_headers, hash=False
    )

    def __attrs_post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ConfigError(
                f"There is no fault {self.kind!r}. There are: {', '.join(_KINDS)}."
            )
        if not 200 <= self.status <= 599:
            raise ConfigError(f"A fault's status is 200 to 599, not {self.status}.")

    def refused(self) -> Refused:
        """The error that it stands for."""
        message = self.message or f"The simulator was told to fail with {self.status}."
        return Refused(
            message, status=self.status, code=self.code, headers=self.headers
        )

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read the header ``x-aichat-fault``: ``kind; after=3; status=429; code=x``."""
        kind, *rest = (item.strip() for item in text.split(";"))
        facts: dict[str, Any] = {}
        for item in rest:
            name, _, value = (part.strip() for part in item.partition("="))
            match name:
                case "after" | "status" if value.isdecimal():
                    facts[name] = int(value)
                case "code" | "message":
                    facts[name] = value
                case "retry-after" | "retry-after-ms":
                    facts.setdefault("headers", {})[name] = value
                case _:
                    raise ConfigError(f"A fault has no {item!r}.")
        return cls(kind, **facts)  # type: ignore[arg-type]  # which it checks


def perform_or_fail(visit: Visit, path: str, body: Any) -> dict[str, Any]:
    """
    Answer a request of a batch. Raises `Refused`.

    It has no headers, but may ask for a fault with the same words anywhere in it:
    ``x-aichat-fault: status; status=429``.
    """
    found = re.search(rf'{FAULT_HEADER}: ([^"\\]+)', dumps(body).decode())
    if found is not None:
        try:
            raise Fault.parse(found[1]).refused()
        except ConfigError as error:
            raise Refused(f"{FAULT_HEADER}: {error}") from None
    return visit.perform(path, body)
