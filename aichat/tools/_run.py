"""A run: what `Client.run_stream` returns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, Generic, TypedDict, cast, final, overload

from attrs import fields
from typing_extensions import TypeVar

from .._leaving import ReadOnce
from ..errors import ConfigError, StreamClosedError
from ..structured import Expected, FormOptions
from ..types import AnswerOptions, ChatRequest, Message, TextDelta
from ._approval import Approve
from ._calls import OnError
from ._events import RunEvent
from ._function import Callables, as_tool
from ._loop import Ask, Goal, Progress, Settings, events
from ._outcome import RunResult, TypedRunResult

__all__ = [
    "LoopOptions",
    "RunOptions",
    "RunStream",
    "TypedRunOptions",
    "run",
    "split_options",
]

T = TypeVar("T")
#: What a run comes to.
R_co = TypeVar("R_co", bound=RunResult, default=RunResult, covariant=True)


class LoopOptions(TypedDict, total=False):
    """How a run goes: see `Settings`."""

    max_rounds: int
    max_parallel: int
    approve: Approve | None
    on_error: OnError
    context: Any


class RunOptions(AnswerOptions, LoopOptions, total=False):
    """The keyword arguments of `Client.run`: those of `Client.complete`, and of the loop."""

    tools: Iterable[Callables]


class TypedRunOptions(RunOptions, FormOptions, total=False):
    """The keyword arguments of `Client.run` with a *response_type*."""


def split_options(options: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Tell the options of the loop from those of its requests. Raises `ConfigError`."""
    names = {each.name for each in fields(Settings)}
    asked = {name: each for name, each in options.items() if name not in names}
    if "tools" in asked:
        tools = () if asked["tools"] is None else asked["tools"]
        if callable(tools) or not isinstance(tools, Iterable):
            raise ConfigError(
                f"tools must be a list of functions; got a {type(tools).__name__}: "
                "tools=[…]."
            )
        asked["tools"] = [as_tool(each) for each in tools]
    return Settings(**{n: options[n] for n in names if n in options}), asked


@final
class RunStream(ReadOnce[RunEvent, Progress], Generic[R_co]):
    """
    A run, event by event: the chunks of every answer, and what is done between them.

    Nothing is sent before the first pull. It is an async iterator and a context manager, and
    can be read once; leaving it cancels whatever is under way, tools too::

        async with client.run_stream("Is it warm in Rome?", tools=[weather]) as run:
            async for event in run:
                match event:
                    case TextDelta(text):
                        print(text, end="")
                    case ToolStarted(call):
                        print(f"[{call.name}]")
        print((await run.result()).usage)

    Of a run with a *response_type* the result has the value, ``parsed``. An answer that does not
    fit is asked for again within the run: its `RoundEnded` says what the ``problem`` was.
    """

    __slots__ = ("request",)

    _read = (
        "This run has been read or closed. Its result() is still there; for another one, "
        "call run_stream() again."
    )

    @overload
    def __init__(
        self: RunStream[RunResult],
        ask: Ask,
        request: ChatRequest,
        settings: Settings | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: RunStream[TypedRunResult[T]],
        ask: Ask,
        request: ChatRequest,
        settings: Settings | None = None,
        *,
        expected: Expected[T],
        repair: int = 0,
    ) -> None: ...
    def __init__(
        self,
        ask: Ask,
        request: ChatRequest,
        settings: Settings | None = None,
        *,
        expected: Expected[Any] | None = None,
        repair: int = 0,
    ) -> None:
        """
        Run *request*, whose tools are `FunctionTool`s, and which asks for what is *expected*.

        Raises `ConfigError`, and `InvalidRequestError` for a *repair* that is no number.
        """
        settings = settings or Settings()
        goal = None if expected is None else Goal(expected, repair)
        #: The first one.
        self.request = request
        record = Progress()
        tools = settings.tools_of(request)
        super().__init__(events(ask, request, tools, settings, goal, record), record)

    async def text(self) -> AsyncGenerator[str, None]:
        """Yield only the visible text, of all rounds, and close the run at the end."""
        async with self:
            async for event in self:
                if isinstance(event, TextDelta):
                    yield event.text  # noqa: ASYNC119 -- holding the run is the point

    async def result(self) -> R_co:
        """
        Read what is left and return what came of it.

        Raises the error that the run ended with, and `StreamClosedError` if it was left early.
        """
        await self._drain()
        if self._record.result is None:
            raise StreamClosedError("The run was closed before its end.")
        # It is the one that the goal makes it.
        return cast("R_co", self._record.result)

    def partial(self) -> RunResult | None:
        """
        What there is so far, with what it took and cost; ``None`` before the first chunk.

        The answer under way, or that failed, is the last of its ``responses``. Its
        `stop_reason` is ``"unfinished"`` before the end.
        """
        return self._record.partial()

    @property
    def messages(self) -> tuple[Message, ...]:
        """
        What the finished rounds have added to the conversation so far.

        Every call in it has its result, so that it can be gone on with when a later round
        fails.
        """
        return tuple(self._record.messages)


async def run(
    ask: Ask, request: ChatRequest, settings: Settings | None = None
) -> RunResult:
    """Run *request* to its end: the fold of `RunStream`."""
    return await RunStream(ask, request, settings).result()
