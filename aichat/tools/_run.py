"""A run: what `Client.run_stream` returns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Mapping
from types import AsyncGeneratorType, TracebackType
from typing import Any, Self, cast, final

from attrs import fields

from ..errors import StreamClosedError
from ..types import AnswerOptions, ChatRequest, Message, TextDelta
from ._approval import Approve
from ._calls import OnError
from ._events import RunEvent
from ._function import Callables, as_tool
from ._loop import Ask, Progress, Settings, events
from ._outcome import RunResult

__all__ = ["RunOptions", "RunStream", "run", "split_options"]


class RunOptions(AnswerOptions, total=False):
    """The keyword arguments of `Client.run`: those of `Client.complete`, and of the loop."""

    tools: Iterable[Callables]
    max_rounds: int
    max_parallel: int
    approve: Approve | None
    on_error: OnError
    context: Any


def split_options(options: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Tell the options of the loop from those of its requests. Raises `ConfigError`."""
    names = {each.name for each in fields(Settings)}
    asked = {name: each for name, each in options.items() if name not in names}
    if "tools" in asked:
        asked["tools"] = [as_tool(each) for each in asked["tools"] or ()]
    return Settings(**{n: options[n] for n in names if n in options}), asked


@final
class RunStream:
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
    """

    __slots__ = ("__weakref__", "_events", "_record", "request")

    def __init__(
        self, ask: Ask, request: ChatRequest, settings: Settings | None = None
    ) -> None:
        """Run *request*, whose tools are `FunctionTool`s. Raises `ConfigError`."""
        settings = settings or Settings()
        #: The first one.
        self.request = request
        self._record = Progress()
        tools = settings.tools_of(request)
        # It must not refer to us: a cycle would put off its closing.
        self._events = cast(
            "AsyncGeneratorType[RunEvent, None]",
            events(ask, request, tools, settings, self._record),
        )

    def __aiter__(self) -> AsyncIterator[RunEvent]:
        if self._record.done:
            raise StreamClosedError(
                "This run has been read or closed. Its result() is still there; for "
                "another one, call run_stream() again."
            )
        return self._events

    def __anext__(self) -> Awaitable[RunEvent]:
        return self._events.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def text(self) -> AsyncGenerator[str, None]:
        """Yield only the visible text, of all rounds, and close the run at the end."""
        async with self:
            async for event in self:
                if isinstance(event, TextDelta):
                    yield event.text  # noqa: ASYNC119 -- holding the run is the point

    async def result(self) -> RunResult:
        """
        Read what is left and return what came of it.

        Raises the error that the run ended with, and `StreamClosedError` if it was left early.
        """
        record = self._record
        if not record.done:
            async with self:
                async for _ in self:
                    pass
        if record.error is not None:
            raise record.error
        if record.result is None:
            raise StreamClosedError("The run was closed before its end.")
        return record.result

    @property
    def messages(self) -> tuple[Message, ...]:
        """
        What the finished rounds have added to the conversation so far.

        Every call in it has its result, so that it can be gone on with when a later round
        fails.
        """
        return tuple(self._record.messages)

    async def aclose(self) -> None:
        """
        Cancel what is under way, and wait until it is over. Harmless after the end.

        Another task that reads it gets a `StreamClosedError`, at once if it is waiting for an
        event, and otherwise when it asks for the next one.
        """
        await self._record.close(self._events)


async def run(
    ask: Ask, request: ChatRequest, settings: Settings | None = None
) -> RunResult:
    """Run *request* to its end: the fold of `RunStream`."""
    return await RunStream(ask, request, settings).result()
