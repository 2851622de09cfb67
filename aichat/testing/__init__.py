"""For your tests: a provider with a script, checks for providers of your own, a simulator."""

from typing import TYPE_CHECKING

from ._contract import check_provider as check_provider, check_stream as check_stream
from ._fake import (
    FakeProvider as FakeProvider,
    Reply as Reply,
    reply as reply,
    tool_call as tool_call,
)
from ._sim_faults import Fault as Fault, FaultKind as FaultKind

if TYPE_CHECKING:
    from ._simulator import (
        ReceivedRequest as ReceivedRequest,
        Simulator as Simulator,
    )
else:

    def __getattr__(name: str) -> object:
        # A server needs aiohttp, which takes longer to import than all the rest.
        if name in ("ReceivedRequest", "Simulator"):
            from . import _simulator

            return getattr(_simulator, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
