"""An answer on the screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, final

from attrs import define, field

from .._client import Client
from .._stream import ChatStream
from ..types import (
    Accumulator,
    AudioPart,
    ChatRequest,
    ChatResponse,
    DocumentPart,
    FinishReason,
    ImagePart,
    Message,
    ReasoningDelta,
    ReasoningPart,
    RefusalPart,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    TextPart,
    ToolCallPart,
    assistant,
)
from ._asking import Order
from ._console import Console, one_line
from ._page import Page
from ._stats import Stopwatch
from ._tooling import shown_call

if TYPE_CHECKING:
    from ..tools import RunEvent, RunStream, ToolFinished

__all__ = ["Answering", "remarks", "show_rest", "to_go_on"]

#: A result is for the model; this much of it tells a person what happened.
_MOST_SHOWN: Final = 200


@final
@define(eq=False)
class Answering:
    """One question being answered: what is shown of it, and what is left to talk about."""

    _client: Client
    _order: Order
    _console: Console
    #: ``None``: nothing is shown before the end.
    _page: Page | None
    _watch: Stopwatch = field(factory=Stopwatch, init=False)
    #: One for each round.
    responses: list[ChatResponse] = field(factory=list, init=False)
    #: How many of them have been acted upon.
    _rounds: int = field(default=0, init=False)
    #: Whether something else than text was shown last; ``None``: nothing yet.
    _aside: bool | None = field(default=None, init=False)
    #: The ids of calls that were shown.
    _shown: set[str] = field(factory=set, init=False)
    _so_far: Accumulator = field(factory=Accumulator, init=False)
    _run: RunStream | None = field(default=None, init=False)
    _request: ChatRequest | None = field(default=None, init=False)

    async def show(
        self, messages: Iterable[Message], *, model: str | None = None
    ) -> ChatResponse:
        """
        Ask, write the answer as it comes, and return the last response.

        Raises `AIChatError`; what had come until then has been written.
        """
        stream = self._asked(messages, model)
        self._request = stream.request
        self._watch.start()
        try:
            async with stream:
                async for event in stream:
                    self._take(event)
        finally:
            if self._page is not None:
                self._page.settle()
        return self.responses[-1]

    def tell(self, *, calls: bool = True) -> None:
        """Write what else there is to know; with *calls* what the answer wants called."""
        calls = calls and not self._order.tools
        show_rest(self.responses, self._console, calls=calls)
        if self._order.show_stats and self._request is not None:
            self._console.remark(self._watch.told(self.responses, self._request))

    def check(self) -> None:
        """Raise `StructuredOutputError` if the answer has not the form that was ordered."""
        if self._order.expected is not None:
            self._order.expected.read(self.responses[-1])

    def said(self) -> list[Message]:
        """What has come, as the next request may hold it; also of what was stopped."""
        acted_upon = self._run.messages if self._run is not None else ()
        left = [*self.responses[self._rounds :], self._so_far.response()]
        return [*acted_upon, *(m for r in left if (m := to_go_on(r)) is not None)]

    def _asked(
        self, messages: Iterable[Message], model: str | None
    ) -> ChatStream | RunStream:
        order, client = self._order, self._client
        options = order.options.copy()
        if model is not None:
            options["model"] = model
        if not order.tools:
            return client.stream(messages, **options)
        run = self._run = client.run_stream(
            messages, **options, tools=order.tools, approve=order.approval
        )
        return run

    def _take(self, event: RunEvent) -> None:
        if isinstance(event, StreamChunk):
            self._take_chunk(event)
            return
        # Postponed: not everybody has tools.
        from ..tools import RoundEnded, ToolFinished, ToolStarted

        match event:
            case ToolStarted(call):
                self._show_call(call)
            case ToolFinished(call):
                self._show_call(call)
                self._console.remark(_shown_result(event))
            case RoundEnded():
                self._rounds += 1

    def _take_chunk(self, event: StreamChunk) -> None:
        console = self._console
        if isinstance(event, ResponseStart) and self.responses:
            self._watch.start()
        self._watch.note(event)
        self._so_far.add(event)
        page = self._page
        match event:
            case TextDelta(text) if page is not None:
                self._leave_room(aside=False)
                page.say(text)
            case ReasoningDelta(text) if (
                page is not None and self._order.show_reasoning
            ):
                page.settle()
                self._leave_room(aside=True)
                console.aside(text)
            case ResponseEnd():
                if page is not None:
                    page.settle()
                response = self._so_far.response()
                self.responses.append(response)
                self._so_far = Accumulator()
                if self._order.tools and response.message.tool_calls:
                    self._leave_room(aside=True)
            case _:
                pass  # Shown whole at the end, or not at all.

    def _show_call(self, call: ToolCallPart) -> None:
        self._leave_room(aside=True)
        if call.id not in self._shown | self._order.approval.shown:
            self._console.remark(shown_call(call.name, call.arguments))
        self._shown.add(call.id)

    def _leave_room(self, *, aside: bool) -> None:
        """Set what is the answer apart from what is not."""
        if self._aside is not None and self._aside is not aside:
            self._console.gap()
        self._aside = aside


def _shown_result(event: ToolFinished) -> str:
    text = one_line(event.result.text) or "(no text)"
    if len(text) > _MOST_SHOWN:
        text = f"{text[:_MOST_SHOWN]}…"
    if event.seconds is None:
        return f"← not called: {text.removeprefix('Denied: ')}"
    failed = "failed: " if event.result.is_error else ""
    return f"← {failed}{text} ({event.seconds:.2f} s)"


def to_go_on(response: ChatResponse) -> Message | None:
    """The answer as the next request may hold it; ``None`` if nothing was said."""
    if response.finish_reason in (None, FinishReason.ERROR) or (
        response.message.tool_calls
    ):
        # Half a thought has no signature, and a call would want a result.
        return assistant(response.text) if response.text else None
    return response.message if response.message.content else None


def show_rest(
    responses: Sequence[ChatResponse], console: Console, *, calls: bool = True
) -> None:
    """Write what the answer holds besides its text; with *calls* what it wants called."""
    console.fresh()
    for part in responses[-1].message.content if calls else ():
        if isinstance(part, ToolCallPart):
            why = f" (not usable: {part.invalid})" if part.invalid else ""
            console.line(one_line(f"{shown_call(part.name, part.arguments)}{why}"))
    told = (remark for response in responses for remark in remarks(response))
    # A warning comes again with every round.
    for remark in dict.fromkeys(told):
        console.note(remark)


def remarks(response: ChatResponse) -> Iterator[str]:
    """Everything about an answer that its reader should not miss, in lines."""
    for part in response.message.content:
        match part:
            case RefusalPart():
                yield f"(refused: {part.text})"
            case ImagePart() | AudioPart() | DocumentPart():
                kind = type(part).__name__.removesuffix("Part").lower()
                yield f"({kind}: it cannot be shown here, but `complete --json` has it)"
            case TextPart(citations=citations):
                sources = (" ".join(filter(None, (c.title, c.url))) for c in citations)
                yield from (
                    f"(source: {each})" for each in dict.fromkeys(sources) if each
                )
            case _:
                pass
    if all(isinstance(part, ReasoningPart) for part in response.message.content):
        yield "(the answer is empty)"
    for warning in response.warnings:
        yield f"Warning: {warning}"
    if reason := _ending(response):
        yield f"({reason})"


def _ending(response: ChatResponse) -> str | None:
    """Why it ended, unless that is the usual thing."""
    match response.finish_reason:
        case FinishReason.LENGTH:
            return "cut off at the token limit"
        case FinishReason.CONTENT_FILTER:
            return "stopped by a content filter"
        case FinishReason.PAUSED:
            return "paused: the model wants to be asked to go on"
        case FinishReason.ERROR:
            return f"the provider says that it failed: {response.raw_finish_reason}"
        case FinishReason.OTHER:
            return f"ended for a reason of the provider's: {response.raw_finish_reason}"
        case _:
            return None
