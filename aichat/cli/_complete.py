"""``aichat complete``: an answer for a program, or for a file."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..types import Message, to_json
from ._answer import Answering
from ._asking import Order, add_options, first_message, opening, ordered
from ._console import Console
from ._page import PlainPage
from ._whom import opened

if TYPE_CHECKING:
    from ._parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "complete",
        help="ask, and print the answer as it is; for pipes and programs",
        description="Ask, and print the answer as it is: to stdout as it comes, and "
        "everything about it to stderr. What is piped in is added to the prompt: "
        '`cat file | aichat complete "Summarise"`.',
    )
    add_options(parser)
    form = parser.add_argument_group("how to print it")
    form.add_argument(
        "--json",
        action="store_true",
        help="everything about it as JSON: a ChatResponse, once it is there",
    )
    form.add_argument(
        "--no-stream",
        action="store_true",
        help="once it is there, and nothing of one that breaks off",
    )
    parser.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    order = ordered(args, console)
    question = first_message(args, console, order.images)
    if question is None:
        raise ConfigError("There is no prompt: say what to ask, or pipe it in.")
    asyncio.run(_answer(args, console, order, question))
    return 0


async def _answer(
    args: Namespace, console: Console, order: Order, question: Message
) -> None:
    whole = args.json or args.no_stream
    async with opened(args, console) as client:
        page = None if whole else PlainPage(console)
        answering = Answering(client, order, console, page)
        response = await answering.show([*opening(args), question])
        if whole:
            answering.check()
        if args.json:
            console.line(to_json(response).decode())
        elif args.no_stream:
            if order.show_reasoning:
                console.aside(response.reasoning)
                console.fresh()
            console.say(response.text)
        answering.tell(calls=not args.json)
        answering.check()
