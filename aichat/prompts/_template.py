"""A prompt with variables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, final

from attrs import evolve, field, fields, frozen

from ..errors import AIChatError, ConfigError, InvalidRequestError
from ..types import ChatRequest, Message, Role, TextPart, assistant, user
from ..types._values import JSONObject, frozen_mapping
from ._syntax import SYNTAXES, Syntax, Text, parse_text, problem_with

__all__ = ["PromptTemplate"]

_OPTIONS = frozenset(f.name for f in fields(ChatRequest)) - {"messages"}


def _to_messages(value: str | Message | Iterable[Message]) -> tuple[Message, ...]:
    if isinstance(value, str):
        value = user(value)
    return (value,) if isinstance(value, Message) else tuple(value)


def _to_examples(
    value: Iterable[Message | tuple[str, str]],
) -> tuple[Message, ...]:
    examples: list[Message] = []
    for each in value:
        if isinstance(each, Message):
            examples.append(each)
            continue
        try:
            asked, answered = each
            examples += (user(asked), assistant(answered))
        except (TypeError, ValueError):
            raise ConfigError(
                "An example is a question and an answer, or a message; got a "
                f"{type(each).__name__}."
            ) from None
    return tuple(examples)


@final
@frozen
class PromptTemplate:
    """
    Messages whose texts have variables in them, with the options that belong to them.

    Variables are written ``$name`` or ``${name}``, and ``$$`` is a dollar sign. With
    ``syntax="jinja"`` (extra ``jinja``) they are Jinja's, in its sandbox.

    >>> greeting = PromptTemplate("Greet $name in $language.")
    >>> greeting.render(name="Ada", language="French")[0].text
    'Greet Ada in French.'

    Variables go into the texts of messages, and nowhere else: no value can add a message or
    change its role. What it is made of is checked when it is made: raises `ConfigError`.
    """

    messages: tuple[Message, ...] = field(converter=_to_messages)
    #: Fields of `ChatRequest`, such as a model and a temperature.
    options: JSONObject = field(
        factory=dict, kw_only=True, converter=frozen_mapping, hash=False
    )
    #: Shown to the model between the system messages and the rest; pairs of a question and
    #: an answer, or messages. They have no variables: a ``$`` is a ``$``.
    examples: tuple[Message, ...] = field(
        default=(), kw_only=True, converter=_to_examples
    )
    syntax: Syntax = field(default="dollar", kw_only=True)
    name: str = field(default="", kw_only=True)
    version: int | None = field(default=None, kw_only=True)
    #: Of each text part, in order.
    _texts: tuple[Text, ...] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.syntax not in SYNTAXES:
            self._wrong(f"syntax must be 'dollar' or 'jinja', not {self.syntax!r}.")
        for message in (*self.messages, *self.examples):
            if not isinstance(message, Message):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
                self._wrong(f"it holds a {type(message).__name__}, not a Message.")
        try:
            texts = tuple(
                parse_text(part.text, self.syntax)
                for message in self.messages
                for part in message.content
                if isinstance(part, TextPart)
            )
        except ConfigError as error:
            self._wrong(error.message)
        object.__setattr__(self, "_texts", texts)
        for option in self.options:
            if option not in _OPTIONS:
                close = difflib.get_close_matches(option, _OPTIONS, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                self._wrong(f"there is no option {option!r}.{hint}")
        # Instructions alone are for somebody else's conversation.
        alone = {message.role for message in self.messages} == {Role.SYSTEM}
        asked = (*self.messages, user("?")) if alone else self.messages
        try:
            # Whether they are a request is known before anything is filled in.
            ChatRequest(self._arranged(asked), **self.options)
        except (AIChatError, TypeError, ValueError) as error:
            self._wrong(str(error))

    @property
    def variables(self) -> frozenset[str]:
        """What has to be filled in."""
        return frozenset[str]().union(*(text.variables for text in self._texts))

    def render(self, /, **variables: Any) -> tuple[Message, ...]:
        """
        Fill in *variables*, and return exactly the messages that are to be sent.

        Raises `InvalidRequestError` that names all that are missing, unknown or of a kind
        that is no text; with ``$name``, a text or a number is.
        """
        self._check(variables)
        texts = iter(self._texts)
        return self._arranged(
            evolve(
                message,
                content=[
                    evolve(part, text=next(texts).fill(variables))
                    if isinstance(part, TextPart)
                    else part
                    for part in message.content
                ],
            )
            for message in self.messages
        )

    def request(self, /, **variables: Any) -> ChatRequest:
        """
        Fill in *variables*, and return a request with the options of this prompt.

        ::

            await client.complete(prompt.request(name="Ada"), temperature=0)
        """
        return ChatRequest(self.render(**variables), **self.options)

    def with_examples(self, *examples: Message | tuple[str, str]) -> PromptTemplate:
        """Add examples, such as ``("2 + 2", "4")``."""
        return evolve(self, examples=(*self.examples, *examples))

    def with_options(self, **options: Any) -> PromptTemplate:
        """Set options of `ChatRequest`."""
        return evolve(self, options={**self.options, **options})

    def __str__(self) -> str:
        version = f"@{self.version}" if self.version is not None else ""
        return f"{self.name or 'a prompt'}{version}"

    def _arranged(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """Put the examples after the system messages that come first."""
        messages = tuple(messages)
        at = 0
        while at < len(messages) and messages[at].role is Role.SYSTEM:
            at += 1
        return (*messages[:at], *self.examples, *messages[at:])

    def _check(self, variables: Mapping[str, Any]) -> None:
        known = self.variables
        wrong = []
        if missing := sorted(known - variables.keys()):
            wrong.append(f"missing {', '.join(missing)}")
        if unknown := sorted(variables.keys() - known):
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            wrong.append(f"unknown {', '.join(unknown)} ({has})")
        problems = (
            (name, problem_with(variables[name], self.syntax))
            for name in sorted(known & variables.keys())
        )
        wrong += (f"{name} {problem}" for name, problem in problems if problem)
        if wrong:
            raise InvalidRequestError(
                f"The variables of {self} are not right: {'; '.join(wrong)}.",
                operation="prompt",
            )

    def _wrong(self, what: str) -> NoReturn:
        name = f" {self.name!r}" if self.name else ""
        raise ConfigError(f"The prompt{name} will not do: {what}")
