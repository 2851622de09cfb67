"""``aichat complete``: the whole answer, once it is there."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..types import ChatResponse, Message, to_json
from ._answer import remarks, show_rest
from ._asking import add_options, first_message, opened, opening, request_options
from ._console import Console

if TYPE_CHECKING:
    from ._parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "complete",
        help="ask, and print the whole answer",
        description="Ask, and print the whole answer once it is there. What is piped in "
        "is added to the prompt.",
    )
    add_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print everything about it, as JSON"
    )
    parser.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    question = first_message(args, console)
    if question is None:
        raise ConfigError("There is no prompt: say what to ask, or pipe it in.")
    response = asyncio.run(_ask(args, console, question))
    if args.json:
        console.line(to_json(response).decode())
        for remark in remarks(response):
            console.note(remark)
        return 0
    if args.show_reasoning:
        console.aside(response.reasoning)
        console.fresh()
    console.say(response.text)
    show_rest(response, console)
    return 0


async def _ask(args: Namespace, console: Console, question: Message) -> ChatResponse:
    async with opened(args, console) as client:
        return await client.complete(
            [*opening(args), question], **request_options(args)
        )
