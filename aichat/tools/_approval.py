"""Asking somebody before a tool is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import field, frozen

from ..errors import ConfigError
from ..types import ToolCallPart

if TYPE_CHECKING:
    from ._function import FunctionTool, ToolContext

__all__ = ["Allow", "Approve", "Deny", "PendingCall", "Verdict", "checked"]


@frozen
class PendingCall:
    """A call that is about to be made; its arguments are valid."""

    call: ToolCallPart
    tool: FunctionTool[..., Any]
    #: As the function will get them.
    arguments: Mapping[str, Any] = field(repr=False)
    context: ToolContext[Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name


@frozen
class Allow:
    """
    Make the call; with *arguments*, as JSON has them, instead of the model's.

    The model is not told of the change; the tool's result may do so.
    """

    arguments: Mapping[str, Any] | None = field(default=None, repr=False)


@frozen
class Deny:
    """Do not make the call. The model reads the *reason*; with *stop* the run ends here."""

    reason: str = "The user does not allow it."
    stop: bool = False


#: ``True`` is `Allow()` and ``False`` is `Deny()`.
Verdict: TypeAlias = bool | Allow | Deny
#: Asked before each call. Anything but a verdict is an error: to forget the ``return`` must
#: not approve.
Approve: TypeAlias = Callable[[PendingCall], Awaitable[Verdict]]


def checked(verdict: object) -> Allow | Deny:
    """*verdict* as one of the two. Raises `ConfigError` for anything else."""
    match verdict:
        case Allow() | Deny():
            return verdict
        case True:
            return Allow()
        case False:
            return Deny()
        case _:
            raise ConfigError(
                "approve must return True, False, Allow(…) or Deny(…), not "
                f"{type(verdict).__name__}."
            )
