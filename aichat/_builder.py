"""A request, said step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, cast, overload

from attrs import evolve, field, frozen

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

if TYPE_CHECKING:
    from ._client import Client
    from ._stream import ChatStream
    from .structured import FormOptions, ObjectStream, TypedResponse
    from .tools import Callables, LoopOptions, RunResult, RunStream, TypedRunResult

__all__ = ["RequestBuilder", "TypedRequestBuilder"]

T = TypeVar("T")


@frozen
class RequestBuilder:
    """
    Builds a `ChatRequest` fluently. Every method returns a new builder.

    Nothing is checked before `build`, `stream`, `complete` or `run`::

        reply = await client.request().system("Be brief.").user("Hi").complete()
        city = await client.request().user("Rome?").response_type(City).complete()
    """

    _client: Client = field(repr=False, eq=False)
    _messages: tuple[Message, ...] = ()
    _options: dict[str, Any] = field(factory=dict)

    def system(self, *content: str | Part) -> Self:
        """Add a system message."""
        return self.message(system(*content))

    def user(self, *content: str | Part, name: str | None = None) -> Self:
        """Add a user message."""
        return self.message(user(*content, name=name))

    def assistant(self, *content: str | Part) -> Self:
        """Add an assistant message."""
        return self.message(assistant(*content))

    def tool_result(
        self,
        call: ToolCallPart | str,
        content: str | ResultPart,
        *,
        is_error: bool = False,
    ) -> Self:
        """Add the result of a tool call."""
        return self.message(tool_result(call, content, is_error=is_error))

    def message(self, *messages: Message) -> Self:
        """Add messages as they are."""
        return evolve(self, messages=(*self._messages, *messages))

    def model(self, model: str) -> Self:
        """Ask this model."""
        return self.options(model=model)

    def temperature(self, temperature: float | None) -> Self:
        """Set how freely the answer is drawn, 0 to 2."""
        return self.options(temperature=temperature)

    def max_tokens(self, max_tokens: int | None) -> Self:
        """Set how many tokens may be generated."""
        return self.options(max_tokens=max_tokens)

    def tools(self, *tools: Callables) -> Self:
        """Add tools that the model may call: functions, or descriptions of them."""
        return evolve(
            self,
            options={
                **self._options,
                "tools": (*self._options.get("tools", ()), *map(_as_tool, tools)),
            },
        )

    def options(self, **options: Unpack[RequestOptions]) -> Self:
        """Set any options of `ChatRequest`."""
        return evolve(self, options={**self._options, **options})

    @overload
    def response_type(
        self, kind: type[T], /, **options: Unpack[FormOptions]
    ) -> TypedRequestBuilder[T]: ...
    @overload
    def response_type(
        self, kind: object, /, **options: Unpack[FormOptions]
    ) -> TypedRequestBuilder[Any]: ...
    def response_type(
        self, kind: Any, /, **options: Unpack[FormOptions]
    ) -> TypedRequestBuilder[Any]:
        """Ask for answers that are a *kind*; *options* are as in `Client.complete`."""
        form = {"response_type": kind, **options}
        return TypedRequestBuilder(self._client, self._messages, self._options, form)

    def build(self) -> ChatRequest:
        """Make the request. Raises `InvalidRequestError` for whatever is wrong with it."""
        return self.stream().request

    def stream(self) -> ChatStream:
        """Send it, and get the answer chunk by chunk; see `Client.stream`."""
        return self._client.stream(self._messages, **self._options)

    async def complete(self) -> ChatResponse:
        """Send it, and await the whole answer; see `Client.complete`."""
        return await self.stream().response()

    async def do(self) -> ChatResponse:
        """As other builders call `complete`."""
        return await self.complete()

    def run_stream(self, **loop: Unpack[LoopOptions]) -> RunStream[RunResult]:
        """Send it, and call its tools; see `Client.run_stream`."""
        return self._client.run_stream(self._messages, **self._options, **loop)

    async def run(self, **loop: Unpack[LoopOptions]) -> RunResult:
        """Send it, call its tools, and await the last answer; see `Client.run`."""
        return await self.run_stream(**loop).result()


@frozen
class TypedRequestBuilder(RequestBuilder, Generic[T]):
    """A `RequestBuilder` of a request for a type: see `RequestBuilder.response_type`."""

    _form: dict[str, Any] = field(factory=dict)

    def stream(self) -> ChatStream:
        """Send it, and get the JSON chunk by chunk, as the model writes it."""
        return self._client.stream(self.build())

    def build(self) -> ChatRequest:
        """Make the request, with the schema in it. Raises `InvalidRequestError`."""
        return self.stream_object().request

    def stream_object(self) -> ObjectStream[T]:
        """Send it, and get the value while it grows; see `Client.stream_object`."""
        options = self._options | self._form
        return self._client.stream_object(self._messages, **options)

    async def complete(self) -> TypedResponse[T]:
        """Send it, and await the value; see `Client.complete`."""
        options = self._options | self._form
        return cast(
            "TypedResponse[T]", await self._client.complete(self._messages, **options)
        )

    async def do(self) -> TypedResponse[T]:
        """As other builders call `complete`."""
        return await self.complete()

    def run_stream(self, **loop: Unpack[LoopOptions]) -> RunStream[TypedRunResult[T]]:
        """Send it, and call its tools on the way to the value; see `Client.run_stream`."""
        options = self._options | self._form
        return cast(
            "RunStream[TypedRunResult[T]]",
            self._client.run_stream(self._messages, **options, **loop),
        )

    async def run(self, **loop: Unpack[LoopOptions]) -> TypedRunResult[T]:
        """Send it, call its tools, and await the value; see `Client.run`."""
        return await self.run_stream(**loop).result()


def _as_tool(tool: Callables) -> Tool:
    if isinstance(tool, Tool):
        return tool
    # Not everybody has tools.
    from .tools import as_tool

    return as_tool(tool)
