"""The calls of one round: checked, approved, made side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import evolve, frozen

from ..schemas import ConversionError
from ..types import ToolCallPart, ToolResultPart
from ._approval import Allow, Approve, Deny, PendingCall, checked
from ._events import ToolFinished, ToolStarted
from ._function import FunctionTool, ToolContext, ToolError
from ._results import error_of, failure, result_of

__all__ = ["OnError", "approved", "make", "prepared"]

#: What to do with an exception of a tool's that is no `ToolError`.
OnError: TypeAlias = Literal["return", "raise"]


def prepared(
    call: ToolCallPart,
    tools: Mapping[str, FunctionTool[..., Any]],
    context: ToolContext[Any],
) -> PendingCall | ToolFinished:
    """Make *call* ready, with arguments that are valid; or answer why it is not made."""
    tool = tools.get(call.name)
    if call.invalid is not None:
        why = f"The call was not made: {call.invalid}. Send it again, as valid JSON."
    elif tool is None:
        names = ", ".join(tools) or "none"
        why = f"There is no tool {call.name!r}. There are: {names}."
    elif call.kind != "function":
        why = f"The tool {call.name!r} takes JSON, not free text."
    else:
        try:
            arguments = tool.read(call.parse())
        except ConversionError as error:
            return ToolFinished(call, error_of(call, error), error=error)
        return PendingCall(call, tool, arguments, context)
    return ToolFinished(call, failure(call, why), error=ToolError(why))


async def approved(pending: PendingCall, approve: Approve | None) -> PendingCall | Deny:
    """
    Ask whoever has to be asked about *pending*.

    What the hook raises comes out, and so does `ConversionError` for arguments of its own
    that do not fit.
    """
    own = pending.tool.approve
    if own is False:
        return pending
    hook = approve if own is None or own is True else own
    if hook is None:
        return pending
    match checked(await hook(pending)):
        case Allow(None):
            return pending
        case Allow(arguments):
            return evolve(pending, arguments=pending.tool.read(arguments or {}))
        case denial:
            return denial


async def make(
    calls: Sequence[PendingCall], *, limit: int, on_error: OnError
) -> AsyncGenerator[ToolStarted | ToolFinished, None]:
    """
    Make *calls*, at most *limit* at a time, and tell of each when it begins and ends.

    They go on while the consumer is busy. Closing cancels those under way, and waits for
    them.
    """
    waiting = deque(calls)
    running: dict[asyncio.Task[_Outcome], PendingCall] = {}
    loop = asyncio.get_running_loop()
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                pending = waiting.popleft()
                running[loop.create_task(_outcome(pending))] = pending
                yield ToolStarted(pending.call)
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task in done]:
                outcome, call = task.result(), running.pop(task).call
                error = outcome.error
                if error and on_error == "raise" and not isinstance(error, ToolError):
                    error.add_note(f"In the tool {call.name!r}, call {call.id!r}.")
                    raise error
                yield ToolFinished(call, outcome.result, outcome.seconds, error)
    finally:
        await _leave(running)


@frozen
class _Outcome:
    result: ToolResultPart
    seconds: float
    error: Exception | None = None


async def _outcome(pending: PendingCall) -> _Outcome:
    clock = asyncio.get_running_loop().time
    began = clock()
    call, tool = pending.call, pending.tool
    error: Exception | None = None
    scope = asyncio.timeout(tool.timeout)
    try:
        async with scope:
            value = await tool.invoke(pending.arguments, pending.context)
        result = result_of(call, value)
    except Exception as raised:
        error = raised
        if isinstance(raised, TimeoutError) and scope.expired():
            error = TimeoutError(f"no result after {tool.timeout:g} seconds")
        result = error_of(call, error)
    return _Outcome(result, clock() - began, error)


async def _leave(running: Collection[asyncio.Task[_Outcome]]) -> None:
    """
    Cancel those that are *running*, and wait until they are over.

    A cancellation that comes meanwhile goes on to them, and comes out when they are over.
    """
    stopped: asyncio.CancelledError | None = None
    for task in running:
        task.cancel()
    while pending := [task for task in running if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            stopped = error
            for task in pending:
                task.cancel()
    if stopped is not None:
        raise stopped
