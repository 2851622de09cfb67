"""What the simulator remembers of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from ._sim_faults import Fault

__all__ = ["ReceivedRequest"]


@frozen(kw_only=True)
class ReceivedRequest:
    """What a client sent, without the key."""

    dialect: str
    method: str
    #: Without the query.
    path: str
    #: Without the key, where somebody has put it there.
    query: Mapping[str, str] = field(hash=False)
    #: In lower case; those that carry credentials are left out.
    headers: Mapping[str, str] = field(hash=False)
    #: Whether there was a key.
    has_key: bool
    #: The JSON body; ``None`` if there was none, or no JSON.
    body: Any = field(hash=False, repr=False)
    #: What went wrong with it on purpose.
    fault: Fault | None = None
