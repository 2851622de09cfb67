"""
For your tests: a provider with a script, checks for providers of your own, a simulator, and
recordings.
"""

from typing import TYPE_CHECKING

from ._contract import check_provider as check_provider, check_stream as check_stream
from ._fake import (
    FakeProvider as FakeProvider,
    Reply as Reply,
    reply as reply,
    tool_call as tool_call,
)
from ._sim_faults import (
    Fault as Fault,
    FaultFacts as FaultFacts,
    FaultKind as FaultKind,
)
from ._sim_received import ReceivedRequest as ReceivedRequest
from ._tape import TapeError as TapeError
from ._tape_player import Player as Player, replay as replay
from ._tape_recorder import Recorder as Recorder, record as record

if TYPE_CHECKING:
    from ._simulator import Simulator as Simulator
else:

    def __getattr__(name: str) -> object:
        # A server needs aiohttp, which takes longer to import than all the rest.
        if name == "Simulator":
            from . import _simulator

            return _simulator.Simulator
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
