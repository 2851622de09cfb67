"""
What no test of behaviour finds in time: manners, read off the syntax tree (promises.md).

A generator that yields inside a timeout, a cancel scope, a task group or a lock hands all of
that to whoever pulls it; a task without an owner fails where nobody looks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

import aichat

SOURCE = Path(aichat.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

#: What a ``yield`` must not stand in. Closing what was opened is what a generator is for.
HELD = (
    "timeout", "timeout_at", "fail_after", "move_on_after", "CancelScope", "TaskGroup",
    "create_task_group", "Lock", "_lock", "lock", "Semaphore", "CapacityLimiter",
    "Condition", "during", "listening", "start_as_current_span", "use_span", "acquire",
    "limiter", "catch_warnings", "attach",
)  # fmt: skip

#: Where a ``yield`` may stand in one of those, and why.
MAY_HOLD: dict[str, str] = {}

#: Who may make a task, and who owns it.
MAY_MAKE_TASKS: dict[str, str] = {
    "_feed.py:spawn": "a feed owns it: closing the feed cancels and awaits it",
    "bulk/_desk.py:_live": "a worker's engine; cancelled and awaited in `finally`",
    "cli/_bulk.py:_go": "a display; cancelled and awaited in `finally`",
    "middleware/_hedge.py:run": "a race; before it returns the loser is over",
    "redis/_link.py:spawn": "a link: closing it waits for them, each bounded in time",
    "testing/_contract.py:_cancel": "to be cancelled, and awaited at once",
    "tools/_calls.py:make": "the generator: closing it cancels and awaits them",
}

#: Who may catch everything without raising it again, and why.
MAY_CATCH_ALL: dict[str, str] = {
    "_feed.py:aclose": "passed on to the tasks, and raised when they are over",
    "cli/_bulk.py:_run": "the end of the program: Ctrl-C becomes its exit status",
    "middleware/_hedge.py:_leave": "passed on to the losers, and raised when they are over",
    "providers/_local_engine.py:run": "a thread: it hands all to the future that is awaited",
    "tools/_calls.py:_leave": "passed on to the tools, and raised when they are over",
}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for file in FILES:
        name = file.relative_to(SOURCE).as_posix()
        yield name, ast.parse(file.read_text(), name)


def named(node: ast.AST) -> str:
    """The last name of ``a.b.c(…)``."""
    match node:
        case ast.Call():
            return named(node.func)
        case ast.Attribute():
            return node.attr
        case ast.Name():
            return node.id
        case _:
            return ""


def within(node: ast.AST) -> Iterator[ast.AST]:
    """Everything in *node* but the functions that are defined in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function):
            yield child
            yield from within(child)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def yields_while_holding(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """The function, line and name of each thing that is held over a ``yield``."""
    for function in functions(tree):
        decorators = {named(each) for each in function.decorator_list}
        if decorators & {"contextmanager", "asynccontextmanager", "fixture"}:
            continue  # who enters it leaves it, in the same task
        for node in within(function):
            if isinstance(node, ast.With | ast.AsyncWith) and any(
                isinstance(each, ast.Yield | ast.YieldFrom) for each in within(node)
            ):
                for item in node.items:
                    if named(item.context_expr) in HELD:
                        yield function.name, node.lineno, named(item.context_expr)


def groups(tree: ast.Module) -> set[str]:
    """The names of task groups: those own what is made in them, and await it."""
    return {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if named(item.context_expr) in {"TaskGroup", "create_task_group"}
        and isinstance(item.optional_vars, ast.Name)
    }


def makes_task(node: ast.AST, owners: set[str]) -> TypeGuard[ast.Call]:
    """Whether *node* is a call that makes a task, and not in one of *owners*."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and named(node.func.value) in owners:
        return False
    return named(node) in {"create_task", "ensure_future"}


def tasks_made(tree: ast.Module) -> Iterator[tuple[str, int]]:
    owners = groups(tree)
    for function in functions(tree):
        for node in within(function):
            if makes_task(node, owners):
                yield function.name, node.lineno


def tasks_dropped(tree: ast.Module) -> Iterator[int]:
    """Lines on which a task is made and nobody keeps it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and makes_task(node.value, groups(tree)):
            yield node.lineno


def catches_all(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Handlers that take a cancellation, and do not pass it on in every case."""
    for function in functions(tree):
        for node in within(function):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {
                named(each) if each is not None else "BaseException" for each in caught
            }
            if names & {"BaseException", "CancelledError", "GeneratorExit"} and not any(
                isinstance(each, ast.Raise) for each in within(node)
            ):
                yield function.name, node.lineno


def test_there_is_something_to_look_at() -> None:
    """All of it, in all folders."""
    assert len(FILES) > 50
    assert {"transport", "providers", "middleware", "testing"} <= {
        file.parent.name for file in FILES
    }


def test_nothing_is_yielded_with_full_hands() -> None:
    """No ``yield`` inside of a timeout, cancel scope, task group, lock or listener."""
    found = {
        f"{name}:{function}": f"line {line}, {what}"
        for name, tree in trees()
        for function, line, what in yields_while_holding(tree)
    }
    assert found.keys() == MAY_HOLD.keys(), found


def test_nobody_waits_with_wait_for() -> None:
    """`asyncio.wait_for` makes a task per call, and has lost results and cancellations."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.wait_for")
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "asyncio"
            and "wait_for" in {alias.name for alias in node.names}
        )
    ]
    assert found == []


def test_every_task_has_an_owner() -> None:
    """Who makes one is on the list, with a reason; and nobody drops it."""
    dropped = [
        f"{name}:{line}" for name, tree in trees() for line in tasks_dropped(tree)
    ]
    assert dropped == []
    makers = {
        f"{name}:{function}": line
        for name, tree in trees()
        for function, line in tasks_made(tree)
    }
    assert makers.keys() == MAY_MAKE_TASKS.keys(), makers


def test_a_cancellation_is_never_swallowed() -> None:
    """Who catches everything raises it again."""
    # C2
    found = {
        f"{name}:{function}": line
        for name, tree in trees()
        for function, line in catches_all(tree)
    }
    assert found.keys() == MAY_CATCH_ALL.keys(), found


BAD = """
async def holds(lock):
    async with asyncio.timeout(1), lock:
        for item in range(3):
            yield item

async def drops():
    asyncio.create_task(f())

async def keeps(loop):
    task = loop.create_task(f())
    async with asyncio.TaskGroup() as group:
        group.create_task(f())

async def swallows():
    try:
        await f()
    except (ValueError, asyncio.CancelledError):
        pass

async def passes():
    try:
        await f()
    except BaseException:
        clean()
        raise

async def innocent():
    async with asyncio.timeout(1):
        def inner():
            yield 1
    yield 2

@asynccontextmanager
async def scope():
    async with asyncio.timeout(1):
        yield
"""


@pytest.mark.parametrize(
    ("check", "found"),
    [
        (yields_while_holding, [("holds", 3, "timeout"), ("holds", 3, "lock")]),
        (tasks_made, [("drops", 8), ("keeps", 11)]),
        (tasks_dropped, [8]),
        (catches_all, [("swallows", 18)]),
    ],
)
def test_bad_manners_are_found(check: object, found: object) -> None:
    """So these tests can fail."""
    assert callable(check)
    assert list(check(ast.parse(BAD))) == found
