"""The parser of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from .._version import __version__
from . import _bench, _bulk, _chat, _complete, _health, _providers, _serve_fake

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["parse"]

_EPILOG = """\
examples:
  aichat chat "What is a monad?"              the answer, as it comes
  aichat chat                                 a conversation
  aichat chat --image cat.png "What is it?"
  aichat chat --tools mymodule:get_weather "Is it warm in Rome?"
  cat error.log | aichat complete "What is wrong here?"
  aichat complete --simulator "Hi"            without a model or a key
  aichat bulk run questions.jsonl -o answers.jsonl
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
Where none of these and no key is set, the built-in simulator answers a `chat`.

exit status: 0 all is well, 1 it failed, 2 wrong usage or configuration, 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """Explains a mistake in one line."""

    def __init__(self, **settings: Any) -> None:
        # A shortened option would mean something else once there are more options.
        super().__init__(allow_abbrev=False, **settings)
        # The last one to read something says what it makes no sense of.
        self.set_defaults(parser=self)

    @property
    def options(self) -> list[str]:
        """What begins with a dash, here and not below."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith((".", "?", "!")) else "."
        self.exit(2, f"{self.prog}: {message}{end} Try: {self.prog} --help\n")

    def refuse(self, rest: Sequence[str], argv: Sequence[str]) -> NoReturn:
        """Explain the first of what is left of *argv*."""
        words = [word for word in rest if word.startswith("-")]
        if not words:
            self.error(f"there is no place for {rest[0]!r}")
        option, _, _ = words[0].partition("=")
        if option in self.options:
            self._refuse_early(option, self.prog)
        longer = [known for known in self.options if known.startswith(option)]
        near = longer or get_close_matches(option, self.options, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        self.error(f"there is no option {option}{hint}")

    def _refuse_early(self, option: str, whose: str) -> NoReturn:
        self.error(f"{option} comes behind the command: {whose} {option}")

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


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read arguments; what it returns has `run`, a function of it and the console."""
    parser, commands = _make_parser()
    first = argv[0].partition("=")[0] if argv else ""
    if first.startswith("-") and first not in parser.options:
        # Its value would be taken for the command.
        knowing = {name for name, each in commands.items() if first in each.options}
        named = [name for name in argv if name in knowing] or sorted(knowing)
        if named:
            commands[named[0]].refuse([first], argv)
    found, rest = parser.parse_known_args(argv)
    if rest:
        found.parser.refuse(rest, argv)
    return found


def _make_parser() -> tuple[_Parser, dict[str, _Parser]]:
    """Make the parser, and those of the commands by their names."""
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
    return parser, commands.choices
