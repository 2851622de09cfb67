"""A request, said step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, Unpack

from attrs import evolve, field, frozen

from ._stream import ChatStream
from .types import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
    RequestOptions,
    ResultPart,
    Tool,
    ToolCallPart,
    assistant,
    system,
    tool_result,
    user,
)

__all__ = ["RequestBuilder"]

_Send: TypeAlias = Callable[..., ChatStream]


@frozen
class RequestBuilder:
    """
    Builds a `ChatRequest` fluently. Every method returns a new builder.

    Nothing is checked before `build`, `stream` or `complete`::

        reply = await client.request().system("Be brief.").user("Hi").complete()
    """

    _send: _Send = field(repr=False, eq=False)
    _messages: tuple[Message, ...] = ()
    _options: dict[str, Any] = field(factory=dict)

    def system(self, *content: str | Part) -> RequestBuilder:
        """Add a system message."""
        return self.message(system(*content))

    def user(self, *content: str | Part, name: str | None = None) -> RequestBuilder:
        """Add a user message."""
        return self.message(user(*content, name=name))

    def assistant(self, *content: str | Part) -> RequestBuilder:
        """Add an assistant message."""
        return self.message(assistant(*content))

    def tool_result(
        self,
        call: ToolCallPart | str,
        content: str | ResultPart,
        *,
        is_error: bool = False,
    ) -> RequestBuilder:
        """Add the result of a tool call."""
        return self.message(tool_result(call, content, is_error=is_error))

    def message(self, *messages: Message) -> RequestBuilder:
        """Add messages as they are."""
        return evolve(self, messages=(*self._messages, *messages))

    def model(self, model: str) -> RequestBuilder:
        """Ask this model."""
        return self.options(model=model)

    def temperature(self, temperature: float | None) -> RequestBuilder:
        """Set how freely the answer is drawn, 0 to 2."""
        return self.options(temperature=temperature)

    def max_tokens(self, max_tokens: int | None) -> RequestBuilder:
        """Set how many tokens may be generated."""
        return self.options(max_tokens=max_tokens)

    def tools(self, *tools: Tool) -> RequestBuilder:
        """Add tools that the model may call."""
        return self.options(tools=(*self._options.get("tools", ()), *tools))

    def options(self, **options: Unpack[RequestOptions]) -> RequestBuilder:
        """Set any options of `ChatRequest`."""
        return evolve(self, options={**self._options, **options})

    def build(self) -> ChatRequest:
        """Make the request. Raises `InvalidRequestError` for whatever is wrong with it."""
        return self.stream().request

    def stream(self) -> ChatStream:
        """Send it, and get the answer chunk by chunk; see `Client.stream`."""
        return self._send(self._messages, **self._options)

    async def complete(self) -> ChatResponse:
        """Send it, and await the whole answer; see `Client.complete`."""
        return await self.stream().response()

    #: As other builders call it.
    do = complete
