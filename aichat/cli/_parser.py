"""The parser of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from .._version import __version__
from . import _bench, _bulk, _chat, _complete, _health, _providers, _serve_fake

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["make_parser"]

_EPILOG = """\
examples:
  aichat chat "What is a monad?"              the answer, as it comes
  aichat chat                                 a conversation
  aichat chat --image cat.png "What is it?"
  aichat chat --tools mymodule:get_weather "Is it warm in Rome?"
  cat error.log | aichat complete "What is wrong here?"
  aichat complete --stats --json "Name three rivers."
  aichat providers anthropic                  what it needs, and what it can do
  aichat health                               is the key good?
  aichat bench --concurrency 8                how fast is it, and what does it bear?
  aichat serve-fake                           a server to develop against

configuration:
  AI_PROVIDER   whom to ask: openai, anthropic, ollama, ... (see: aichat providers)
  AI_API_KEY    the key; or the vendor's own variable, such as OPENAI_API_KEY
  AI_MODEL      the model; also --model
  AI_BASE_URL   another address; also --base-url
Without any, the built-in simulator answers.

exit status: 0 all is well, 1 it failed, 2 wrong usage or configuration, 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """Explains a mistake in one line."""

    def __init__(self, **settings: Any) -> None:
        # A shortened option would mean something else once there are more options.
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. Try: {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        # The usual message lists everything that there is and leaves the search to us.
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, _suggest(str(value), action.choices))


def _suggest(value: str, choices: Iterable[object]) -> str:
    known = [str(choice) for choice in choices]
    near = get_close_matches(value, known, n=1)
    if near:
        return f"there is no {value!r}; did you mean {near[0]!r}?"
    return f"there is no {value!r}; there are: {', '.join(known)}"


def make_parser() -> argparse.ArgumentParser:
    """Make the parser; what it returns has `run`, a function of it and the console."""
    parser = _Parser(
        prog="aichat",
        description="Talk to large language models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aichat {__version__}")
    parser.add_argument(
        "--config", metavar="FILE", help="read settings from this TOML or YAML file"
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    for module in (_chat, _complete, _bulk, _providers, _health, _bench, _serve_fake):
        module.add(commands)
    return parser
