"""Ask, call, give back, ask again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeAlias, cast

from attrs import Attribute, define, evolve, field, frozen

from .._leaving import ClosedElsewhere, Reading, closed_elsewhere
from ..errors import (
    ConfigError,
    InvalidRequestError,
    StreamInterruptedError,
    ToolLoopError,
)
from ..structured import Expected, StructuredOutputError, check_repair
from ..types import (
    Accumulator,
    ChatRequest,
    ChatResponse,
    FinishReason,
    Message,
    Role,
    StreamChunk,
    ToolCallPart,
    ToolResultPart,
)
from ._approval import Approve, Deny, PendingCall
from ._calls import OnError, approved, make, prepared
from ._events import RoundEnded, RunEvent, ToolFinished
from ._function import FunctionTool, ToolContext, ToolError, as_tool
from ._outcome import RunResult, StopReason, TypedRunResult
from ._results import failure

__all__ = ["Ask", "Goal", "Progress", "Settings", "events"]


class Chunks(Protocol):
    """A stream that can be closed."""

    def __aiter__(self) -> AsyncIterator[StreamChunk]: ...

    def aclose(self) -> Awaitable[object]: ...


#: What answers a request, such as the handler of a middleware.
Ask: TypeAlias = Callable[[ChatRequest], Chunks]

#: An answer that ended so was not meant to be acted upon.
_BROKEN: Final = (FinishReason.CONTENT_FILTER, FinishReason.ERROR)


def _at_least_one(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(
            f"{attribute.name} must be a whole number, 1 or more; got {value!r}."
        )


def _repair(_: object, __: Attribute[Any], value: int) -> None:
    check_repair(value)


def _on_error(_: object, __: Attribute[Any], value: object) -> None:
    if value not in ("return", "raise"):
        raise ConfigError(f"on_error must be 'return' or 'raise', got {value!r}.")


@frozen(kw_only=True)
class Settings:
    """How a run goes. Raises `ConfigError` for what makes no sense."""

    #: How often the model may be asked.
    max_rounds: int = field(default=10, validator=_at_least_one)
    #: How many calls of a round run at the same time.
    max_parallel: int = field(default=8, validator=_at_least_one)
    #: Asked before each call, one after the other.
    approve: Approve | None = None
    #: An exception of a tool's: tell the model, or raise it and end the run.
    on_error: OnError = field(default="return", validator=_on_error)
    #: For the tools: `ToolContext.data`.
    context: Any = field(default=None, repr=False)

    def tools_of(self, request: ChatRequest) -> dict[str, FunctionTool[..., Any]]:
        """The functions behind the tools of *request*. Raises `ConfigError`."""
        tools = {tool.name: as_tool(tool) for tool in request.tools}
        for tool in tools.values():
            if tool.approve is True and self.approve is None:
                raise ConfigError(
                    f"The tool {tool.name!r} wants its calls approved: pass approve=…."
                )
        return tools


@frozen
class Goal:
    """What the last answer is to be, and how often it may be asked for again."""

    expected: Expected[Any]
    repair: int = field(default=0, validator=_repair)


@define(eq=False)
class Progress(Reading):
    """What a run has come to; shared by a `RunStream` and its generator."""

    #: What was asked first.
    prompt: tuple[Message, ...] = ()
    requests: list[ChatRequest] = field(factory=list)
    responses: list[ChatResponse] = field(factory=list)
    messages: list[Message] = field(factory=list)
    #: The round under way; ``None`` before its first chunk.
    so_far: Accumulator | None = None
    problems: list[StructuredOutputError] = field(factory=list)
    result: RunResult | None = None

    def add(self, round_: _Round) -> None:
        """Take what came of a round."""
        response, results = round_.response, round_.results
        self.so_far = None
        self.responses.append(response)
        if response.message.content:
            # As it came: its order and its signatures are part of what its provider wants
            # back.
            self.messages.append(response.message)
        if results:
            self.messages.append(Message(Role.TOOL, results))

    def end(self, stop: StopReason, goal: Goal | None = None) -> None:
        """End the run. Raises `StructuredOutputError` if the last answer is not the *goal*."""
        if goal is None or stop == "max_rounds":
            self.result = RunResult(stop_reason=stop, **self._facts())
            return
        try:
            parsed = goal.expected.read(self.responses[-1])
        except StructuredOutputError as error:
            error.rounds = tuple(self.responses)
            raise
        self.result = TypedRunResult(parsed=parsed, stop_reason=stop, **self._facts())

    def mended(
        self, problem: StructuredOutputError, goal: Goal, asked: ChatRequest
    ) -> bool:
        """Tell the model of *problem*, if it may have another go, and if that is of use."""
        if len(self.problems) >= goal.repair:
            return False
        again = goal.expected.again(asked, problem)
        if again is None:
            return False
        self.problems.append(problem)
        self.messages.append(again.messages[-1])
        return True

    def partial(self) -> RunResult | None:
        """What there is so far."""
        if self.result is not None:
            return self.result
        facts = self._facts()
        if self.so_far is not None:
            facts["responses"] += (self.so_far.response(),)
        elif not self.responses:
            return None
        facts["requests"] = facts["requests"][: len(facts["responses"])]
        return RunResult(stop_reason="unfinished", **facts)

    def _facts(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "requests": tuple(self.requests),
            "responses": tuple(self.responses),
            "messages": tuple(self.messages),
        }


async def events(
    ask: Ask,
    request: ChatRequest,
    tools: dict[str, FunctionTool[..., Any]],
    settings: Settings,
    goal: Goal | None,
    progress: Progress,
) -> AsyncGenerator[RunEvent, None]:
    """
    Run *request* to its end, and keep in *progress* what comes of it.

    Raises `ToolLoopError` when the rounds are used up, `StructuredOutputError` if the last
    answer is not the *goal*, and whatever *ask* raises.
    """
    # The functions are ours: a cache or a recording shall not meet them.
    asked = evolve(request, tools=[tool.plain for tool in tools.values()])
    progress.prompt = request.messages
    progress.begin()
    try:
        while True:
            progress.requests.append(asked)
            so_far = Accumulator()
            add = so_far.add
            try:
                async with aclosing(ask(asked)) as chunks:
                    async for chunk in chunks:
                        add(chunk)
                        progress.so_far = so_far
                        yield chunk  # noqa: ASYNC119 -- closed by the chain
            except InvalidRequestError:
                if not asked.prefill or not progress.responses or progress.so_far:
                    raise
                # It paused, and this provider cannot be made to go on.
                progress.requests.pop()
                progress.end("paused", goal)
                break
            number = len(progress.responses) + 1
            round_ = _Round(number, _whole(so_far), tools, settings, asked.messages)
            async with aclosing(round_.play()) as played:
                async for event in played:
                    yield event  # noqa: ASYNC119 -- closed by the chain
            progress.add(round_)
            problem: StructuredOutputError | None = None
            if round_.stop is not None:
                try:
                    progress.end(round_.stop, goal)
                except StructuredOutputError as error:
                    problem = error
            last = number >= settings.max_rounds
            mended = (
                problem is not None
                and goal is not None
                and not last
                and progress.mended(problem, goal, asked)
            )
            yield RoundEnded(
                number, round_.response, round_.results, problem if mended else None
            )
            if problem is not None and not mended:
                raise problem
            if (result := progress.result) is not None:
                if result.stop_reason == "max_rounds":
                    raise _too_many(result, request)
                break
            asked = _next(asked, (*request.messages, *progress.messages))
    except ClosedElsewhere:
        progress.error = closed_elsewhere()
    except asyncio.CancelledError:
        reason = progress.reason
        if reason is None or not progress.interrupted():
            raise
        progress.error = reason
        raise reason from None
    except Exception as error:
        progress.error = error
        raise
    finally:
        progress.leave()
    if progress.error is not None:
        # To whoever has closed us; the error is for the reader, when it comes back.
        yield cast("RunEvent", None)
        raise progress.error


def _next(asked: ChatRequest, messages: tuple[Message, ...]) -> ChatRequest:
    # Who paused goes on from what it has said; else there is nothing to go on from.
    paused = messages[-1].role is Role.ASSISTANT
    choice = asked.tool_choice
    # What must call a tool each time would never end.
    required = choice is not None and choice.mode == "required" and not paused
    return evolve(
        asked,
        messages=messages,
        tool_choice=None if required else choice,
        prefill=paused,
    )


def _too_many(result: RunResult, request: ChatRequest) -> ToolLoopError:
    wanted = "more tools called" if result.response.message.tool_calls else "to go on"
    return ToolLoopError(
        f"The model wants {wanted} after {result.rounds} rounds. Raise max_rounds, or go "
        "on from error.result.conversation.",
        operation="chat",
        model=request.model or None,
        result=result,
    )


def _whole(so_far: Accumulator) -> ChatResponse:
    if not so_far.finished:
        raise StreamInterruptedError(
            "The stream ended without a ResponseEnd.", partial=so_far.response()
        )
    return so_far.response()


@define
class _Round:
    """An answer, the calls in it, and what becomes of them."""

    number: int
    response: ChatResponse
    tools: dict[str, FunctionTool[..., Any]]
    settings: Settings
    #: What was asked.
    messages: tuple[Message, ...]
    #: Why the run ends here, if it does.
    stop: StopReason | None = None
    calls: tuple[ToolCallPart, ...] = field(init=False)
    _found: list[ToolResultPart | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.calls = self.response.message.tool_calls
        self._found = [None] * len(self.calls)

    @property
    def results(self) -> tuple[ToolResultPart, ...]:
        """One for each call, in their order."""
        return tuple(result for result in self._found if result is not None)

    async def play(self) -> AsyncGenerator[RunEvent, None]:
        """See to it that every call has a result."""
        finish = self.response.finish_reason
        why = ""
        if not self.calls and finish is not FinishReason.PAUSED:
            self.stop = "done"
        elif not self.calls and not self.response.message.content:
            self.stop = "paused"
        elif finish in _BROKEN:
            self.stop = "interrupted"
            why = f"The call was not made: the answer ended with {finish}."
        elif self.number >= self.settings.max_rounds:
            self.stop = "max_rounds"
            why = "The call was not made: there were as many rounds as there may be."
        elif self.calls:
            async with aclosing(self._make()) as made:
                async for event in made:
                    yield event  # noqa: ASYNC119 -- closed by the chain
            return
        for index, call in enumerate(self.calls):
            yield self._never(index, call, why)

    async def _make(self) -> AsyncGenerator[RunEvent, None]:
        ready: dict[int, PendingCall] = {}
        for index, call in enumerate(self.calls):
            context = ToolContext(
                call, self.number, self.messages, self.settings.context
            )
            found = prepared(call, self.tools, context)
            if isinstance(found, PendingCall) and self.stop is None:
                verdict = await approved(found, self.settings.approve)
                if not isinstance(verdict, Deny):
                    ready[index] = verdict
                    continue
                self.stop = "denied" if verdict.stop else None
                yield self._never(index, call, f"Denied: {verdict.reason}")
            elif isinstance(found, PendingCall):
                yield self._never(index, call, "The call was not made: the run ended.")
            else:
                self._found[index] = found.result
                yield found
        if self.stop is not None:
            # Whoever says stop means those that were allowed before, too.
            for index, pending in ready.items():
                yield self._never(
                    index, pending.call, "The call was not made: the run ended."
                )
            return
        settings = self.settings
        making = make(
            list(ready.values()),
            limit=settings.max_parallel,
            on_error=settings.on_error,
        )
        async with aclosing(making) as made:
            async for event in made:
                if isinstance(event, ToolFinished):
                    self._settle(event)
                yield event  # noqa: ASYNC119 -- closed by the chain

    def _settle(self, event: ToolFinished) -> None:
        # By identity: a model may ask twice for the same.
        index = next(n for n, call in enumerate(self.calls) if call is event.call)
        self._found[index] = event.result

    def _never(self, index: int, call: ToolCallPart, why: str) -> ToolFinished:
        result = self._found[index] = failure(call, why)
        return ToolFinished(call, result, error=ToolError(why))
