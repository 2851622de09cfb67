"""
Functions as tools, and the loop that calls them.

`tool` makes a `FunctionTool` of a typed function. `RunStream` asks, calls what the model wants
called, gives the results back and asks again, until the model has what it needs.
"""

from ._approval import (
    Allow as Allow,
    Approve as Approve,
    Deny as Deny,
    PendingCall as PendingCall,
    Verdict as Verdict,
)
from ._events import (
    RoundEnded as RoundEnded,
    RunEvent as RunEvent,
    ToolFinished as ToolFinished,
    ToolStarted as ToolStarted,
)
from ._function import (
    Callables as Callables,
    FunctionTool as FunctionTool,
    ToolContext as ToolContext,
    ToolError as ToolError,
    as_tool as as_tool,
    tool as tool,
)
from ._loop import Ask as Ask, Settings as Settings
from ._outcome import (
    RunResult as RunResult,
    StopReason as StopReason,
    TypedRunResult as TypedRunResult,
)
from ._run import (
    LoopOptions as LoopOptions,
    RunOptions as RunOptions,
    RunStream as RunStream,
    TypedRunOptions as TypedRunOptions,
    run as run,
    split_options as split_options,
)
