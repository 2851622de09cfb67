"""Functions of the user's as tools, and the question whether one may be called."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

from attrs import define, field

from ..errors import ConfigError
from ._console import Console, one_line

if TYPE_CHECKING:
    from ..tools import FunctionTool, PendingCall, Verdict

__all__ = ["Approval", "When", "shown_call", "tools_of"]

When: TypeAlias = Literal["never", "ask", "always"]

_QUESTION = "Call it? [y]es, [n]o, [a]lways this one: "


def tools_of(names: Sequence[str]) -> tuple[FunctionTool[..., Any], ...]:
    """
    Import ``module:function`` each, from here or from what is installed.

    It may also be a list of functions. Raises `ConfigError`.
    """
    # As `python -m` does, and the installed command does not.
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return tuple(tool for name in names for tool in _tools(name))


def _tools(name: str) -> Iterator[FunctionTool[..., Any]]:
    # Postponed: not everybody has tools.
    from ..tools import as_tool

    found = _found(name)
    each: Any
    for each in found if isinstance(found, (list, tuple)) else [found]:
        try:
            yield as_tool(each)
        except ConfigError as error:
            raise ConfigError(f"--tools {name}: {error.message}") from None


def _found(name: str) -> Any:
    path, colon, attributes = name.partition(":")
    if not (path and colon and attributes):
        raise ConfigError(f"--tools {name}: say module:function.")
    try:
        found: Any = importlib.import_module(path)
    except Exception as error:
        # It is somebody else's code: anything may happen.
        raise ConfigError(
            f"--tools {name}: {path} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            near = get_close_matches(attribute, dir(found), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"--tools {name}: there is no {attribute} in {path}.{hint}"
            ) from None
    return found


def shown_call(name: str, arguments: str) -> str:
    """A call in one line."""
    return one_line(f"→ {name}({arguments})")


@final
@define(eq=False)
class Approval:
    """Asks whoever sits there before a function of theirs is called."""

    _console: Console
    _when: When
    #: The ids of calls that were shown to somebody who was asked.
    shown: set[str] = field(factory=set, init=False)
    _always: set[str] = field(factory=set, init=False)

    def check(self, tools: Iterable[FunctionTool[..., Any]]) -> None:
        """Raise `ConfigError` if somebody has to be asked and nobody is there."""
        wants = [tool.name for tool in tools if tool.approve is not False]
        if wants and self._when == "ask" and not self._console.interactive:
            raise ConfigError(
                f"Nobody can be asked before {', '.join(wants)} is called, since standard "
                "input is no terminal: pass --approve always, or never."
            )

    async def __call__(self, pending: PendingCall) -> Verdict:
        """Tell whether to make the call."""
        from ..tools import Deny

        if self._when == "always" or pending.name in self._always:
            return True
        if self._when == "never":
            return Deny("The user does not allow any calls.")
        self.shown.add(pending.call.id)
        # All of it: one should know what one allows.
        self._console.note(shown_call(pending.name, pending.call.arguments))
        try:
            return self._asked(pending.name)
        except EOFError:
            return False
        except KeyboardInterrupt:
            # As if it had come a moment later: it stops the answer.
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
            return Deny(stop=True)  # pragma: no cover -- it was cancelled

    def _asked(self, name: str) -> bool:
        # Nothing else goes on meanwhile, which blocking the loop ensures: what is written
        # would be in the way of the question.
        while True:
            with _ctrl_c_raises():
                answer = self._console.ask(_QUESTION).strip().lower()
            match answer:
                case "y" | "yes":
                    return True
                case "a" | "always":
                    self._always.add(name)
                    return True
                case "n" | "no":
                    return False
                case _:
                    pass  # Neither: ask again.


@contextmanager
def _ctrl_c_raises() -> Iterator[None]:
    """Let Ctrl-C end the waiting for a line, which the loop's own handler would not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
