"""What `chat` and `complete` share: options and the prompt."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ..errors import ConfigError
from ..types import (
    AnswerOptions,
    Effort,
    ImagePart,
    Message,
    json_schema,
    system,
    user,
)
from ._attachments import picture, wanted_form
from ._console import Console
from ._numbers import at_least, between, duration
from ._tooling import Approval, tools_of
from ._whom import add_whom

if TYPE_CHECKING:
    from ..structured import Expected
    from ..tools import FunctionTool

__all__ = [
    "Order",
    "add_config",
    "add_options",
    "first_message",
    "opening",
    "ordered",
]


def add_config(parser: ArgumentParser) -> None:
    """Take ``--config`` behind the command as well."""
    parser.add_argument("--config", metavar="FILE", default=SUPPRESS, help=SUPPRESS)


def add_options(parser: ArgumentParser) -> None:
    """Add what to ask, whom, and how."""
    add_config(parser)
    parser.add_argument(
        "prompt",
        nargs="*",
        metavar="PROMPT",
        help="what to ask; what is piped in comes below it, or where a - stands",
    )
    add_whom(parser)
    what = parser.add_argument_group("what to send with it")
    what.add_argument(
        "-s", "--system", metavar="TEXT", help="what the model is told first"
    )
    what.add_argument(
        "-i",
        "--image",
        metavar="FILE|URL",
        action="append",
        default=[],
        help="a picture; may be given several times",
    )
    how = parser.add_argument_group("how to answer")
    how.add_argument(
        "-t",
        "--temperature",
        type=between(0, 2),
        metavar="0-2",
        help="how freely to choose words",
    )
    how.add_argument(
        "--max-tokens",
        type=at_least(1),
        metavar="N",
        help="as many tokens at most, reasoning included",
    )
    how.add_argument(
        "--timeout",
        type=duration,
        metavar="SECONDS",
        help="longest silence: 30, 90s or 2m; a long answer is no silence",
    )
    how.add_argument(
        "--effort",
        metavar="EFFORT",
        choices=[str(effort) for effort in Effort],
        help=f"how hard to think: {', '.join(Effort)}",
    )
    how.add_argument(
        "--json-schema",
        metavar="FILE",
        help="answer with JSON after the JSON Schema in FILE; exit status 1 if it is not",
    )
    _add_tools(parser)
    shown = parser.add_argument_group("what to show, on stderr")
    shown.add_argument(
        "--reasoning", action="store_true", help="what the model thinks, dimmed"
    )
    shown.add_argument(
        "--stats",
        action="store_true",
        help="time to the first chunk, chunks per second, tokens and cost",
    )


def _add_tools(parser: ArgumentParser) -> None:
    tools = parser.add_argument_group("tools")
    tools.add_argument(
        "--tools",
        metavar="MODULE:FUNCTION",
        action="append",
        default=[],
        help="a Python function that the model may call, or a list of them; may be given "
        "several times. Modules are also looked for in the current folder",
    )
    approval = tools.add_mutually_exclusive_group()
    approval.add_argument(
        "--approve",
        metavar="WHEN",
        choices=["never", "ask", "always"],
        default="ask",
        help="whether a call may be made: never, ask (the default) or always",
    )
    approval.add_argument(
        "--yes-tools",
        dest="approve",
        action="store_const",
        const="always",
        help="the same as --approve always",
    )


@frozen(kw_only=True)
class Order:
    """How to ask, as it was ordered; checked before anything is sent."""

    options: AnswerOptions
    images: tuple[ImagePart, ...] = ()
    #: The form of the answer, if it shall have one.
    expected: Expected[Any] | None = None
    tools: tuple[FunctionTool[..., Any], ...] = ()
    approval: Approval
    show_reasoning: bool = False
    show_stats: bool = False


def ordered(args: Namespace, console: Console) -> Order:
    """Read what the arguments name, files and functions. Raises `ConfigError`."""
    options: AnswerOptions = {
        "temperature": args.temperature,
        "max_tokens": args.max_tokens,
        "reasoning_effort": args.effort,
    }
    if args.reasoning:
        options["include_reasoning"] = True
    expected = wanted_form(args.json_schema) if args.json_schema else None
    if expected is not None:
        options["response_format"] = json_schema(expected.schema)
    tools = tools_of(args.tools)
    approval = Approval(console, args.approve)
    approval.check(tools)
    return Order(
        options=options,
        images=tuple(map(picture, args.image)),
        expected=expected,
        tools=tools,
        approval=approval,
        show_reasoning=args.reasoning,
        show_stats=args.stats,
    )


def opening(args: Namespace) -> list[Message]:
    """What stands before the first question."""
    return [system(args.system)] if args.system else []


def first_message(
    args: Namespace, console: Console, images: Sequence[ImagePart] = ()
) -> Message | None:
    """
    The prompt, and what was piped in, below it or where a ``-`` stands in it.

    ``None`` if there is neither.
    """
    parts = [part for part in _prompt(args.prompt, console) if part.strip()]
    # Only where nobody can be asked is a picture a question.
    if not parts and not (images and not console.interactive):
        if args.prompt or not console.interactive:
            raise ConfigError("The prompt is empty: say what to ask.")
        return None
    # Models look at a picture better when the question comes after it.
    text = "\n\n".join(parts)
    return user(*images, *([text] if text else []))


def _prompt(words: Sequence[str], console: Console) -> list[str]:
    if "-" not in words:
        return [" ".join(words), console.piped()]
    at = words.index("-")
    return [" ".join(words[:at]), console.everything(), " ".join(words[at + 1 :])]
