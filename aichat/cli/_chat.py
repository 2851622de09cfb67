"""``aichat chat``: an answer as it comes, or a conversation."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from attrs import define, field

from .._client import Client
from .._stream import ChatStream
from ..errors import AIChatError
from ..types import (
    ChatResponse,
    FinishReason,
    Message,
    RequestOptions,
    assistant,
    user,
)
from ._answer import show_stream
from ._asking import add_options, first_message, opened, opening, request_options
from ._console import Console
from ._trouble import explain, status_of

if TYPE_CHECKING:
    from ._parser import Commands

__all__ = ["add"]

_HOW = "(/exit or Ctrl-D ends the conversation, Ctrl-C stops an answer.)"
_PROMPT = "> "


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "chat",
        help="ask, and watch the answer come; without a prompt, a conversation",
        description="Ask, and watch the answer come. Without a prompt, and with nothing "
        f"piped in, have a conversation. {_HOW}",
    )
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    question = first_message(args, console)
    if question is None:
        return _converse(args, console)
    asyncio.run(_answer(args, console, question))
    return 0


async def _answer(args: Namespace, console: Console, question: Message) -> None:
    async with opened(args, console) as client:
        stream = client.stream([*opening(args), question], **request_options(args))
        await show_stream(stream, console, show_reasoning=args.show_reasoning)


def _converse(args: Namespace, console: Console) -> int:
    # The loop runs for one answer at a time. In between nothing stands between the
    # keyboard and `input`: Ctrl-C does there what it always does.
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        client = runner.run(stack.enter_async_context(opened(args, console)))
        try:
            console.note(_HOW)
            conversation = _Conversation(
                runner=runner,
                client=client,
                console=console,
                options=request_options(args),
                show_reasoning=args.show_reasoning,
                messages=opening(args),
            )
            return conversation.run()
        finally:
            runner.run(stack.aclose())


@define(kw_only=True)
class _Conversation:
    runner: asyncio.Runner
    client: Client
    console: Console
    options: RequestOptions
    show_reasoning: bool
    #: What was said, and answered, so far.
    messages: list[Message] = field(factory=list)

    def run(self) -> int:
        """Take turns until somebody has had enough; the last turn's status is ours."""
        status = 0
        while True:
            try:
                text = self.console.ask(_PROMPT)
            except EOFError:
                return status
            match text.strip():
                case "":
                    pass
                case "/exit" | "/quit":
                    return status
                case _:
                    status = self._turn(text)

    def _turn(self, text: str) -> int:
        """Have *text* answered, and say with which status that has ended."""
        question = user(text)
        try:
            stream = self.client.stream([*self.messages, question], **self.options)
        except AIChatError as error:
            return self._failed(error)
        try:
            self.runner.run(self._show(stream))
        except KeyboardInterrupt:
            self.console.note("(stopped)")
            return 0
        except AIChatError as error:
            return self._failed(error)
        finally:
            # Of an answer that was stopped or broke off, one can still talk.
            if (answer := _to_go_on(stream.partial())) is not None:
                self.messages += [question, answer]
        return 0

    async def _show(self, stream: ChatStream) -> None:
        await show_stream(stream, self.console, show_reasoning=self.show_reasoning)

    def _failed(self, error: AIChatError) -> int:
        self.console.note(explain(error, self.console.environ))
        return status_of(error)


def _to_go_on(response: ChatResponse) -> Message | None:
    """The answer as the next request may hold it; ``None`` if nothing was said."""
    if response.finish_reason in (None, FinishReason.ERROR) or (
        response.message.tool_calls
    ):
        # Half a thought has no signature, and a call would want a result.
        return assistant(response.text) if response.text else None
    return response.message if response.message.content else None
