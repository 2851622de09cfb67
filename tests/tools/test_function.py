"""`tool`: from a function to what the model is told, and back."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from aichat import ChatRequest, ConfigError, Tool
from aichat.schemas import ConversionError
from aichat.tools import FunctionTool, ToolContext, as_tool, tool
from aichat.types import ToolCallPart, from_json, to_json

CALL = ToolCallPart("call_1", "it")
CONTEXT = ToolContext(CALL, 1, (), "data")


def plain(a: int) -> int:
    """Double it."""
    return 2 * a


async def slow(a: int) -> int:
    return 2 * a


class Desk:
    """A desk."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, a: int) -> int:
        """Multiply."""
        return self.factor * a

    async def __call__(self, a: int) -> int:
        """Multiply, later."""
        return self.factor * a


class Silent:
    """It has a class, and no more words."""

    def __call__(self, a: int) -> int:
        return a


def test_a_plain_function() -> None:
    """It tells its name, its words and its parameters; and it is a `Tool`."""
    made = tool(plain)
    assert isinstance(made, FunctionTool)
    assert made.plain == Tool(
        "plain",
        "Double it.",
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    )
    assert type(made.plain) is Tool
    assert made(3) == 6


def test_with_options() -> None:
    """As a decorator; what is said wins over what is read."""

    @tool(name="double", description="Twice.", strict=True, timeout=3)
    def function(a: Annotated[int, "what"]) -> int:
        return plain(a)

    assert (function.name, function.description) == ("double", "Twice.")
    assert function.strict
    assert function.timeout == 3
    assert function(a=3) == 6


def test_a_request_takes_it_where_it_takes_tools() -> None:
    """As JSON it is the tool, without the function."""
    request = ChatRequest("Hi", "a:b", tools=[tool(plain)])
    again = from_json(ChatRequest, to_json(request))
    assert again.tools == (tool(plain).plain,)


@pytest.mark.parametrize(
    ("function", "name", "words"),
    [
        (Desk(3).times, "times", "Multiply."),
        (functools.partial(plain), "plain", "Double it."),
    ],
)
async def test_what_else_can_be_called(function: Any, name: str, words: str) -> None:
    """Bound methods and partials are functions like others."""
    made = as_tool(function)
    assert (made.name, made.description) == (name, words)
    assert [*made.parameters["properties"]] == ["a"]


async def test_an_object_that_can_be_called() -> None:
    """It has no name of its own, so it has to be given one."""
    made = tool(Desk(3), name="desk")
    assert made.description == "Multiply, later."
    assert await made.invoke({"a": 2}, CONTEXT) == 6
    assert tool(Silent(), name="silent").description == Silent.__doc__
    with pytest.raises(ConfigError, match="Pass another one"):
        tool(Desk(3))


async def test_arguments_are_read_strictly() -> None:
    """As `aichat.schemas.convert` does."""
    # S7
    made = tool(plain)
    assert made.read({"a": 3.0}) == {"a": 3}
    with pytest.raises(ConversionError, match="expected an integer, got a string"):
        made.read({"a": "3"})
    with pytest.raises(ConversionError, match="is not known"):
        made.read({"a": 3, "b": 1})


# --- where it runs ---------------------------------------------------------------------


def where() -> int:
    return threading.get_ident()


async def test_a_function_that_may_block() -> None:
    """It runs in a thread, unless it is asked not to."""
    here = threading.get_ident()
    assert await tool(where).invoke({}, CONTEXT) != here
    assert await tool(where, inline=True).invoke({}, CONTEXT) == here


async def test_an_async_function() -> None:
    """It runs here; and what returns something to await is awaited."""
    assert await tool(slow).invoke({"a": 2}, CONTEXT) == 4
    assert await tool(functools.partial(slow), name="p").invoke({"a": 2}, CONTEXT) == 4

    def later(a: int) -> Any:
        return slow(a)

    assert await tool(later).invoke({"a": 2}, CONTEXT) == 4


async def test_stop_iteration_comes_out() -> None:
    """As an exception that a future can hold."""

    def stops() -> None:
        next(iter(()))

    with pytest.raises(RuntimeError):
        await tool(stops).invoke({}, CONTEXT)


async def test_a_cancelled_thread_is_left_to_itself() -> None:
    """Nobody waits for it."""
    # C2
    begun, go_on = threading.Event(), threading.Event()

    def blocks() -> None:
        begun.set()
        go_on.wait()

    task = asyncio.create_task(tool(blocks).invoke({}, CONTEXT))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()


# --- what is filled in -----------------------------------------------------------------


async def test_the_context_is_no_parameter() -> None:
    """The model is not told of it; whatever it is called, and wherever it stands."""

    async def whoami(about: ToolContext[str], a: int, more: ToolContext) -> str:  # type: ignore[type-arg]
        assert about is more
        return f"{about.data} {about.call.id} {a}"

    made = tool(whoami)
    assert [*made.parameters["properties"]] == ["a"]
    assert await made.invoke({"a": 1}, CONTEXT) == "data call_1 1"
    with pytest.raises(ConversionError, match="about: is not known"):
        made.read({"a": 1, "about": {}})


# --- what cannot be sent ---------------------------------------------------------------


def untyped(a) -> None: ...  # type: ignore[no-untyped-def]
def stars(*a: int) -> None: ...
def keywords(**a: int) -> None: ...
def positional(a: int, /) -> None: ...
def unspeakable(größe: int) -> None: ...
def unformed(a: Iterator[object]) -> None: ...
def unresolved(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def lazy() -> Iterator[int]:
    yield 1


async def lazier() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (untyped, "untyped(a): the parameter has no type"),
        (Desk.times, "Desk.times(self): the parameter has no type"),
        (stars, "stars(a): *a takes anything"),
        (keywords, "keywords(a): **a takes anything"),
        (positional, "positional(a): the parameter is positional-only"),
        (unspeakable, "unspeakable(größe): providers take letters"),
        (unformed, "unformed(a): "),
        (unresolved, "unresolved: name 'Nowhere' is not defined"),
        (lazy, "lazy: a tool returns its result"),
        (lazier, "lazier: a tool returns its result"),
        (Silent, "Silent is a class"),
        (len, "len: this is written in C"),
        (lambda: 1, "'<lambda>' will not do"),
        (3, "A tool is a function, not 3."),
        (Tool("it"), "'it' is only a description"),
    ],
)
def test_what_cannot_be_a_tool(function: Any, message: str) -> None:
    """It is said when it is made, with the names of function and parameter."""
    with pytest.raises(ConfigError) as caught:
        as_tool(function)
    assert message in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, True, "3"])
def test_a_timeout_that_makes_no_sense(timeout: Any) -> None:
    """It is refused when it is made."""
    with pytest.raises(ConfigError, match="timeout must be more than 0 seconds"):
        tool(plain, timeout=timeout)


def test_what_it_returns_is_nobodys_business() -> None:
    """An annotation there need not even exist."""

    def function(a: int) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        return a

    assert tool(function)(1) == 1
