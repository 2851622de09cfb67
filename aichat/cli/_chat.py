"""``aichat chat``: an answer as it comes, or a conversation."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ..conversations import Conversation
from ..types import Message
from ._answer import Answering
from ._asking import Order, add_options, first_message, opening, ordered
from ._console import Console
from ._history import History, history_file
from ._page import page_for
from ._talk import COMMANDS, HOW, Talk
from ._whom import opened

if TYPE_CHECKING:
    from ._parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "chat",
        help="ask, and watch the answer come; without a prompt, a conversation",
        description="Ask, and watch the answer come, as Markdown takes shape (with rich: "
        "pip install 'aichat[cli]'). Without a prompt, and with nothing piped in, have a "
        f"conversation. {HOW}",
    )
    add_options(parser)
    screen = parser.add_argument_group("the screen")
    screen.add_argument(
        "--plain", action="store_true", help="show Markdown as it was written"
    )
    screen.add_argument(
        "--no-history",
        action="store_true",
        help="do not keep what is typed for the next time",
    )
    parser.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    order = ordered(args, console)
    question = first_message(args, console, order.images)
    if question is None:
        return _converse(args, console, order)
    asyncio.run(_answer(args, console, order, question))
    return 0


async def _answer(
    args: Namespace, console: Console, order: Order, question: Message
) -> None:
    async with opened(args, console, unasked=True) as client:
        page = page_for(console, plain=args.plain or order.expected is not None)
        answering = Answering(client, order, console, page)
        await answering.show([*opening(args), question])
        answering.tell()
        answering.check()


def _converse(args: Namespace, console: Console, order: Order) -> int:
    # The loop runs for one answer at a time. In between nothing stands between the
    # keyboard and `input`: Ctrl-C does there what it always does.
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        asked = opened(args, console, unasked=True)
        client = runner.run(stack.enter_async_context(asked))
        try:
            console.note(HOW)
            return Talk(
                runner=runner,
                client=client,
                console=console,
                order=order,
                page=page_for(console, plain=args.plain or order.expected is not None),
                history=_history(args, console),
                said=Conversation(opening(args)),
                images=order.images,
            ).run()
        finally:
            runner.run(stack.aclose())


def _history(args: Namespace, console: Console) -> History | None:
    if not (console.stdin is sys.stdin and console.interactive):
        return None
    file = (  # pragma: no cover -- in a process with a terminal
        None if args.no_history else history_file(console.environ)
    )
    return History.of(  # pragma: no cover
        file, words=[f"/{name}" for name in COMMANDS]
    )
