"""What a stream has cost so far."""

from __future__ import annotations

from typing import final

from attrs import evolve

from ..types import (
    ChatRequest,
    ChatResponse,
    Message,
    ReasoningDelta,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    Role,
    StreamChunk,
    TextDelta,
    TextPart,
    ToolCallDelta,
    Usage,
    UsageUpdate,
)
from ._cost import CallCost, Prices, cost_of

__all__ = ["Reading"]


@final
class Reading:
    """What a stream has said about its cost, and as much of the rest as it may need."""

    __slots__ = ("_end", "_request", "_start", "_usage", "came", "texts")

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._start = ResponseStart()
        self._usage: Usage | None = None
        self._end: ResponseEnd | None = None
        #: Whether there was anything.
        self.came = False
        #: The pieces of the output. They are the chunks' own, so keeping them costs a
        #: pointer.
        self.texts: list[str] = []

    @property
    def usage(self) -> Usage:
        """The last one that was told."""
        return self._usage or Usage()

    @property
    def model(self) -> str:
        """Who answered, or was asked."""
        start, request = self._start, self._request
        if start.rerouted_to is not None:
            request = evolve(request, model=start.rerouted_to)
        provider = start.provider or request.provider_name or ""
        return f"{provider}:{start.model or request.model_name}"

    def note(self, chunk: StreamChunk) -> None:
        """Take one more chunk."""
        self.came = True
        match chunk:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                self.texts.append(chunk.text)
            case ToolCallDelta():
                self.texts.append((chunk.name or "") + chunk.arguments)
            case UsageUpdate(usage=usage):
                self._usage = usage
            case ResponseStart():
                self._start = chunk
            case ResponseEnd():
                self._end = chunk
            case _:
                pass  # costs nothing that we could know of

    def response(self) -> ChatResponse:
        """As much of the response as its cost needs."""
        usage, end, start = self._usage, self._end, self._start
        if usage is None:
            usage = Usage(complete=end is not None)
        elif end is None and usage.complete:
            usage = evolve(usage, complete=False)
        counted = usage.complete and usage.output_tokens is not None
        text = "" if counted else "".join(self.texts)
        return ChatResponse(
            message=Message(Role.ASSISTANT, (TextPart(text),) if text else ()),
            usage=usage,
            model=start.model,
            provider=start.provider,
            created_at=start.created_at,
            from_cache=start.from_cache,
            rerouted_to=start.rerouted_to,
            metadata=end.metadata if end is not None else {},
        )

    def cost(self, prices: Prices) -> CallCost | None:
        """What it has cost so far."""
        return cost_of(self.response(), request=self._request, prices=prices)
