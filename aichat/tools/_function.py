"""A function that the model may call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import (
    Any,
    Generic,
    ParamSpec,
    TypeAlias,
    TypeVar,
    cast,
    get_origin,
    overload,
)

import anyio.to_thread
from attrs import Attribute, field, frozen

from ..errors import ConfigError, InvalidRequestError
from ..schemas import Arguments, arguments_of
from ..types import Message, Tool, ToolCallPart
from ..types._values import is_number
from ._approval import Approve

__all__ = ["Callables", "FunctionTool", "ToolContext", "ToolError", "as_tool", "tool"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class ToolError(Exception):
    """
    What a tool raises to tell the model why it cannot do what was asked.

    The model reads the text as it is. It never ends the run, not with ``on_error="raise"``
    either: that is for what nobody expected.
    """


@frozen
class ToolContext(Generic[T]):
    """
    What a tool may want to know besides its arguments.

    A parameter of this type is filled in by the loop; the model never hears of it::

        @tool
        async def my_orders(context: ToolContext[Session], limit: int = 10) -> list[Order]:
            return await orders_of(context.data.user, limit)
    """

    call: ToolCallPart
    #: Counts the answers of the model in this run, from 1.
    round: int
    #: The conversation, up to the message that asks for this call.
    messages: tuple[Message, ...] = field(repr=False)
    #: Whatever was given to the run as ``context=…``.
    data: T = field(repr=False)


def _seconds(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and not (is_number(value) and cast("float", value) > 0):
        raise ConfigError(
            f"{attribute.name} must be more than 0 seconds, or None; got {value!r}."
        )


@frozen
class FunctionTool(Tool, Generic[P, R]):
    """
    A `Tool` with the function behind it. Made by `tool`; can be called as the function can.
    """

    function: Callable[P, R] = field(kw_only=True)
    #: Seconds that one call may take.
    timeout: float | None = field(default=None, kw_only=True, validator=_seconds)
    #: Whether a call has to be approved, or by whom; ``None`` leaves it to the run.
    approve: bool | Approve | None = field(default=None, kw_only=True)
    #: Whether a plain function runs in the event loop instead of a thread.
    inline: bool = field(default=False, kw_only=True)
    #: Its parameters.
    signature: Arguments = field(kw_only=True, repr=False, eq=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, as if it had never been decorated."""
        return self.function(*args, **kwargs)

    @property
    def plain(self) -> Tool:
        """The tool as the model sees it, without the function."""
        return Tool(
            self.name,
            self.description,
            self.parameters,
            strict=self.strict,
            cache=self.cache,
        )

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """
        Turn *arguments*, as JSON has them, into what the function takes.

        Raises `aichat.schemas.ConversionError`.
        """
        return self.signature.read(arguments)

    async def invoke(
        self, arguments: Mapping[str, Any], context: ToolContext[Any]
    ) -> Any:
        """
        Call the function with what `read` returned, and await what it returns.

        One that is not async runs in a thread; cancelled, it is left to itself, for threads
        cannot be stopped.
        """
        hidden = dict.fromkeys(self.signature.hidden, context)
        function: Callable[..., Any] = self.function
        call = functools.partial(function, **arguments, **hidden)
        if self.inline or _is_async(self.function):
            result: Any = call()
        else:
            result = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
        return await result if inspect.isawaitable(result) else result


#: What may be given as tools to a run.
Callables: TypeAlias = Tool | Callable[..., Any]


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
    timeout: float | None = None,
    approve: bool | Approve | None = None,
    inline: bool = False,
) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
    timeout: float | None = None,
    approve: bool | Approve | None = None,
    inline: bool = False,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
    timeout: float | None = None,
    approve: bool | Approve | None = None,
    inline: bool = False,
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """
    Make a tool of a function; with or without options, as a decorator or not.

    Name, description and schema come from its name, its docstring (Google, NumPy or Sphinx
    style) and its annotations: whatever `aichat.schemas.schema_of` knows, and
    ``Annotated[str, "what it is for"]``. A parameter annotated with `ToolContext` is hidden
    from the model.

    A function that is not async runs in a thread, so that it may block; *inline* runs it in
    the event loop. *timeout* is in seconds, for each call. *approve* ``True`` wants a run to
    have an ``approve`` hook, a hook of its own is asked instead, and ``False`` needs none.

    Raises `ConfigError`, which names function and parameter, for what cannot be sent.

    >>> @tool
    ... def add(a: int, b: int = 1) -> int:
    ...     '''Add two numbers.'''
    ...     return a + b
    >>> add.parameters["properties"]
    {'a': {'type': 'integer'}, 'b': {'type': 'integer', 'default': 1}}
    >>> add(2)
    3
    """

    def make(function: Callable[P, R]) -> FunctionTool[P, R]:
        called = name or str(getattr(_inner(function), "__name__", ""))
        _check(function, called)
        arguments = arguments_of(function, hide=_is_context)
        try:
            return FunctionTool(
                called,
                description or arguments.description,
                arguments.schema,
                strict=strict,
                function=function,
                timeout=timeout,
                approve=approve,
                inline=inline,
                signature=arguments,
            )
        except InvalidRequestError as error:
            raise ConfigError(
                f"{error.message} Pass another one: tool(function, name='…')."
            ) from None

    return make if function is None else make(function)


def as_tool(value: Callables) -> FunctionTool[..., Any]:
    """
    Make a `FunctionTool` of a function, or let it be one.

    Raises `ConfigError` for a plain `Tool`, behind which there is nothing to call.
    """
    if isinstance(value, FunctionTool):
        return value
    if isinstance(value, Tool):
        raise ConfigError(
            f"The tool {value.name!r} is only a description: there is no function to "
            "call. Pass the function, or call the tools yourself around complete()."
        )
    if not callable(value):
        raise ConfigError(f"A tool is a function, not {value!r}.")
    return tool(value)


def _check(function: Callable[..., Any], name: str) -> None:
    inner = _inner(function)
    if inspect.isasyncgenfunction(inner) or inspect.isgeneratorfunction(inner):
        raise ConfigError(
            f"{name}: a tool returns its result, and this one yields. Collect it first."
        )
    if isinstance(inner, type):
        raise ConfigError(f"{name} is a class: wrap it in a function.")


def _inner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_async(function: Any) -> bool:
    inner = _inner(function)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
        getattr(inner, "__call__", None)  # noqa: B004 -- of an object: what it calls
    )


def _is_context(hint: Any) -> bool:
    origin: Any = get_origin(hint)
    return hint is ToolContext or origin is ToolContext
