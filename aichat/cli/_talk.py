"""A conversation: turns, and what can be done between them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, TypeAlias, final

from attrs import define, field

from .._client import Client
from ..conversations import Conversation
from ..errors import AIChatError, ConfigError
from ..types import (
    ChatRequest,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    user,
)
from ._answer import Answering
from ._asking import Order
from ._attachments import picture, read
from ._console import Console, one_line
from ._history import History
from ._page import Page
from ._tooling import shown_call
from ._trouble import explain, status_of

__all__ = ["COMMANDS", "HOW", "Talk"]

HOW = "(/help shows what else there is; Ctrl-C stops an answer, Ctrl-D ends the conversation.)"
_PROMPT = "> "
_AGAIN = "(Ctrl-D ends the conversation; so does Ctrl-C again.)"
#: What looks like a command: `/etc/passwd` does not, and neither does what is indented.
_COMMAND: Final = re.compile(r"/([a-z]+)(?:\s+(.*?))?\s*", re.DOTALL)

#: What each takes, and what it does.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "help": ("", "show this"),
    "history": ("", "show what was said so far"),
    "retry": ("", "ask the last question again"),
    "clear": ("", "forget what was said, but not the system prompt"),
    "system": ("[TEXT]", "show or change what the model is told first (-: nothing)"),
    "model": ("[NAME]", "show or change who answers"),
    "image": ("FILE|URL", "send a picture with the next question"),
    "save": ("FILE", "write the conversation to a file"),
    "load": ("FILE", "go on with one that was saved"),
    "exit": ("", "end the conversation, as Ctrl-D and /quit do"),
}


class _Enough(Exception):
    """Somebody wants to go."""


@final
@define(kw_only=True, eq=False)
class Talk:
    """Takes turns until somebody has had enough."""

    runner: asyncio.Runner
    client: Client
    console: Console
    order: Order
    page: Page
    history: History | None = None
    #: Of both sides, as far as there is an answer.
    said: Conversation = field(factory=Conversation)
    #: Those that go with the next question.
    images: tuple[ImagePart, ...] = ()
    model: str | None = None
    #: A question that has got no answer.
    _unanswered: Message | None = field(default=None, init=False)
    #: Files that may be written again without a question.
    _known_files: set[Path] = field(factory=set, init=False)
    #: How the last turn has ended.
    _status: int = field(default=0, init=False)

    def run(self) -> int:
        """Take turns; the last one's status is ours."""
        while (line := self._read()) is not None:
            if not line.strip():
                continue
            if self.history is not None:  # pragma: no cover -- at a terminal
                self.history.add(line)
            try:
                if (command := _COMMAND.fullmatch(line)) is None:
                    self._turn(user(*self.images, line))
                else:
                    self._do(command[1], command[2] or "")
            except _Enough:
                break
            except AIChatError as error:
                self.console.note(explain(error, self.console.environ))
        return self._status

    def _read(self) -> str | None:
        """What somebody types; ``None`` if it is the end."""
        tired = False
        while True:
            try:
                return self.console.ask(_PROMPT)
            except EOFError:
                return None
            except KeyboardInterrupt:
                # Once drops what was typed.
                if tired:
                    raise
                tired = True
                self.console.note(_AGAIN)

    # -- turns -------------------------------------------------------------------------

    def _turn(self, question: Message) -> None:
        """Have *question* answered. Raises `AIChatError`."""
        self._status, self._unanswered = 0, question
        answering = Answering(self.client, self.order, self.console, self.page)
        self.console.gap()
        try:
            self.runner.run(self._answer(answering, question))
        except AIChatError as error:
            # What is wrong with a command is no answer that failed.
            self._status = status_of(error)
            raise
        except KeyboardInterrupt:
            self.console.note("(stopped)")
        finally:
            # Of an answer that was stopped or broke off, one can still talk.
            if answer := answering.said():
                self.said = self.said.append(question, *answer)
                self._unanswered = None
                self.images = ()
        self.console.gap()

    async def _answer(self, answering: Answering, question: Message) -> None:
        await answering.show([*self.said, question], model=self.model)
        answering.tell()
        answering.check()

    # -- commands ----------------------------------------------------------------------

    def _do(self, name: str, rest: str) -> None:
        does: Mapping[str, _Does] = {
            "help": self._help,
            "history": self._show_all,
            "retry": self._retry,
            "clear": self._clear,
            "system": self._system,
            "model": self._model,
            "image": self._image,
            "save": self._save,
            "load": self._load,
            "exit": _leave,
            "quit": _leave,
        }
        if name not in does:
            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean /{near[0]}?" if near else "/help shows what there is."
            raise ConfigError(
                f"There is no /{name}. {hint} To say it to the model, begin with a blank."
            )
        takes, _ = COMMANDS.get(name, ("", ""))
        if rest and not takes:
            raise ConfigError(f"/{name} takes nothing behind it.")
        if not rest and takes and not takes.startswith("["):
            raise ConfigError(f"Say which: /{name} {takes}.")
        does[name](rest)

    def _help(self, _: str) -> None:
        for name, (takes, what) in COMMANDS.items():
            self.console.line(f"  {f'/{name} {takes}':<18}{what}")

    def _show_all(self, _: str) -> None:
        if not self.said:
            self.console.note("(Nothing was said yet.)")
        for at, message in enumerate(self.said):
            if at and message.role is Role.USER:
                self.console.gap()
            for part in message.content:
                if shown := _shown(message.role, part):
                    self.console.line(shown)

    def _retry(self, _: str) -> None:
        if self._unanswered is not None:
            self._turn(self._unanswered)
            return
        asked = [at for at, m in enumerate(self.said) if m.role is Role.USER]
        if not asked:
            raise ConfigError("There is no question yet that could be asked again.")
        before, question = self.said, self.said[asked[-1]]
        self.said = before.fork(asked[-1])
        try:
            self._turn(question)
        finally:
            if self._unanswered is not None:
                self.said = before  # Rather the old answer than none.

    def _clear(self, _: str) -> None:
        first = [m for m in self.said[:1] if m.role is Role.SYSTEM]
        self.said, self._unanswered = Conversation(first), None
        self.console.note("(Forgotten.)")

    def _system(self, text: str) -> None:
        if text:
            self.said = self.said.with_system(None if text == "-" else text)
        told = [m.text for m in self.said[:1] if m.role is Role.SYSTEM]
        self.console.note(f"(system: {told[0]})" if told else "(no system prompt)")

    def _model(self, name: str) -> None:
        if name:
            self.client.capabilities(name)  # refuses a provider that there is not
            self.model = name
        # As it will be asked.
        stream = self.client.stream(ChatRequest("?", self.model or ""))
        self.console.note(f"(model: {stream.request.model})")

    def _image(self, source: str) -> None:
        self.images += (picture(source),)
        count = len(self.images)
        what = "a picture goes" if count == 1 else f"{count} pictures go"
        self.console.note(f"({what} with the next question)")

    def _save(self, name: str) -> None:
        file = Path(name).expanduser()
        if file.exists() and file.resolve() not in self._known_files:
            answer = self._answer_to(f"{name} exists. Write over it? [y]es, [n]o: ")
            if answer not in ("y", "yes"):
                self.console.note("(not saved)")
                return
        try:
            _write(file, self.said.to_json())
        except OSError as error:
            raise ConfigError(f"{name} cannot be written: {error.strerror}.") from None
        self._known_files.add(file.resolve())
        self.console.note(f"(saved: {_count(self.said)}, in {name})")

    def _load(self, name: str) -> None:
        try:
            self.said = Conversation.from_json(read(name))
        except ValueError as error:
            raise ConfigError(f"{name} holds no conversation: {error}") from None
        self._unanswered = None
        self._known_files.add(Path(name).expanduser().resolve())
        self.console.note(f"(loaded: {_count(self.said)}; /history shows them)")

    def _answer_to(self, question: str) -> str:
        with suppress(EOFError, KeyboardInterrupt):
            return self.console.ask(question).strip().lower()
        return ""


_Does: TypeAlias = Callable[[str], None]


def _leave(_: str) -> None:
    raise _Enough


def _count(said: Conversation) -> str:
    return f"{len(said)} message{'' if len(said) == 1 else 's'}"


def _shown(role: Role, part: Part) -> str | None:
    """*part* as it is shown to somebody who looks back."""
    match part:
        case TextPart(text) if role is Role.USER:
            return f"> {text}"
        case TextPart(text) if role is Role.SYSTEM:
            return f"(system: {text})"
        case TextPart(text):
            return text
        case ReasoningPart():
            return None
        case ToolCallPart():
            return shown_call(part.name, part.arguments)
        case ToolResultPart():
            return one_line(f"← {part.text}")
        case _:
            return f"({type(part).__name__.removesuffix('Part').lower()})"


def _write(file: Path, data: bytes) -> None:
    """Write all of it or nothing: half a conversation cannot be loaded."""
    with NamedTemporaryFile(dir=file.parent, prefix=".aichat-", delete=False) as new:
        try:
            new.write(data)
            new.close()
            Path(new.name).replace(file)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise
