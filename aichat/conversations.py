"""
A conversation as a value: it grows, forks, is stored, and shrinks without coming apart.

What belongs together is a *turn*: a user message and everything up to the next one, the
answers, the calls, their results and the thoughts that providers want back. Turns are kept
or dropped as a whole, for half of one is what providers refuse.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NoReturn, TypeAlias, final, overload

from attrs import field, frozen

from .errors import InvalidRequestError
from .types import (
    ChatResponse,
    CountText,
    Message,
    Role,
    estimate_text_tokens,
    from_json,
    system,
    to_json,
    user,
)
from .types._estimate import estimate_messages

__all__ = ["Conversation", "Said", "Summarise"]

#: What a conversation grows by; a text is the user's, a response is its message.
Said: TypeAlias = str | Message | ChatResponse


def _to_message(said: object) -> Message:
    match said:
        case Message():
            return said
        case ChatResponse():
            return said.message
        case str():
            return user(said)
        case _:
            _refuse(
                f"A conversation holds messages, not a {type(said).__name__}: use "
                "system(), user(), assistant() or a response."
            )


def _to_messages(said: Said | Iterable[Said]) -> tuple[Message, ...]:
    if isinstance(said, (str, Message, ChatResponse)):
        return (_to_message(said),)
    return tuple(map(_to_message, said))


@final
@frozen(repr=False)
class Conversation(Sequence[Message]):
    """
    The messages of a conversation. Every method returns a new one.

    It goes wherever messages go::

        talk = Conversation([system("Be brief."), "Hi!"])
        talk = talk.append(await client.complete(talk))

    It may end with anything, an open tool call too; whether it can be sent is checked when
    it is.

    >>> Conversation("Hi!").append("Are you there?").last.text
    'Are you there?'
    """

    messages: tuple[Message, ...] = field(default=(), converter=_to_messages)

    # -- reading -----------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Conversation: ...
    def __getitem__(self, index: int | slice) -> Message | Conversation:
        found = self.messages[index]
        return found if isinstance(found, Message) else Conversation(found)

    def __repr__(self) -> str:
        # What was said is nobody's business in a log.
        return f"<Conversation of {len(self)} messages>"

    @property
    def last(self) -> Message:
        """The latest message. Raises `InvalidRequestError` where there is none."""
        if not self.messages:
            _refuse("The conversation is empty.")
        return self.messages[-1]

    @property
    def turns(self) -> tuple[Conversation, ...]:
        """
        What belongs together, in order: each user message with all up to the next one.

        The system messages at the beginning belong to no turn; later ones to the turn of the
        user message that follows them, or else to the last one.
        """
        return tuple(map(Conversation, _split(self.messages)[1]))

    def tokens(self, *, count: CountText = estimate_text_tokens) -> int:
        """
        Guess how many tokens it is; *count* is for the texts in it.

        Without tools and the like: `Client.count_tokens` knows those, and asks the provider.
        """
        return estimate_messages(self.messages, count)

    # -- growing -----------------------------------------------------------------------

    def append(self, *said: Said) -> Conversation:
        """Add messages, responses, or texts of the user's."""
        return Conversation((*self.messages, *said))

    def extend(self, said: Iterable[Said]) -> Conversation:
        """Add all of *said*."""
        return self.append(*said)

    def fork(self, at: int | None = None) -> Conversation:
        """
        Begin another branch, after the first *at* messages or after all of them.

        As in slices, ``fork(-1)`` leaves out the last message. The messages are shared, not
        copied. Raises `InvalidRequestError` for a place that there is not.
        """
        if at is None:
            return self
        if not -len(self) <= at <= len(self):
            _refuse(f"There are {len(self)} messages: no fork at {at}.")
        return self[:at]

    def with_system(self, prompt: str | Message | None) -> Conversation:
        """Put *prompt* in place of the system messages at the beginning, ``None`` for none."""
        head, _ = _split(self.messages)
        rest = self.messages[len(head) :]
        if prompt is None:
            return Conversation(rest)
        first = system(prompt) if isinstance(prompt, str) else prompt
        if _to_message(first).role is not Role.SYSTEM:
            _refuse(f"This is no system message but the {first.role}'s: use system().")
        return Conversation((first, *rest))

    # -- shrinking ---------------------------------------------------------------------

    def trim(
        self,
        max_tokens: int,
        *,
        keep_system: bool = True,
        keep_last: int = 1,
        count: CountText = estimate_text_tokens,
    ) -> Conversation:
        """
        Drop the oldest turns until it is *max_tokens* at most, by `tokens`.

        Turns go as a whole, so that calls keep their results, and thoughts their answers.
        The last *keep_last* turns stay, and with *keep_system* every system message, also
        those of dropped turns. Leave room for tools and the answer. Raises
        `InvalidRequestError` if what has to stay does not fit.
        """
        cut = _cut(self.messages, max_tokens, keep_system, keep_last, count)
        # The same value if nothing changes, as with the others.
        return Conversation(cut.system + cut.rest) if cut.dropped else self

    async def summarise(
        self,
        hook: Summarise,
        *,
        max_tokens: int,
        summary_tokens: int = 500,
        keep_last: int = 1,
        count: CountText = estimate_text_tokens,
    ) -> Conversation:
        """
        Like `trim`, but put what *hook* makes of the dropped turns in their place.

        *hook* gets the dropped messages and returns a message, or a text, which becomes a
        user message: what users said is not promoted to instructions. It is sent as it is.
        *summary_tokens* of the budget are kept free for it. *hook* is not called when
        everything fits. Raises `InvalidRequestError` as `trim` does, and if the result is
        larger than *max_tokens*::

            async def shorten(old: Conversation) -> str:
                answer = await client.complete(old.append("Summarise this in 100 words."))
                return f"What was said before, in short: {answer.text}"

            talk = await talk.summarise(shorten, max_tokens=8_000)
        """
        _check_whole("summary_tokens", summary_tokens)
        if self.tokens(count=count) <= max_tokens:
            return self
        room = max_tokens - summary_tokens
        if room < 1:
            _refuse(
                f"summary_tokens={summary_tokens} leave nothing of "
                f"max_tokens={max_tokens} for the rest."
            )
        cut = _cut(self.messages, room, True, keep_last, count)
        summary = _to_summary(await hook(Conversation(cut.dropped)))
        result = Conversation((*cut.system, summary, *cut.rest))
        size = result.tokens(count=count)
        if size > max_tokens:
            _refuse(
                f"With its summary the conversation is about {size} tokens, more than the "
                f"{max_tokens} allowed: ask for a shorter one, or raise summary_tokens."
            )
        return result

    # -- storing -----------------------------------------------------------------------

    def to_json(self) -> bytes:
        """Write it down; `from_json` reads it, in this version and in later ones."""
        return to_json(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Conversation:
        """Read what `to_json` wrote. Raises `ValueError` that lists what is wrong."""
        return from_json(cls, data)


#: Makes a summary of what is dropped; see `Conversation.summarise`.
Summarise: TypeAlias = Callable[[Conversation], Awaitable[str | Message]]

_Messages: TypeAlias = tuple[Message, ...]


def _split(messages: _Messages) -> tuple[_Messages, list[_Messages]]:
    """The system messages at the beginning, and the turns after them."""
    head = 0
    while head < len(messages) and messages[head].role is Role.SYSTEM:
        head += 1
    starts = []
    for index, message in enumerate(messages[head:], head):
        if message.role is not Role.USER:
            continue
        # What instructs the model just before a question belongs to the question.
        while index > head and messages[index - 1].role is Role.SYSTEM:
            index -= 1
        starts.append(index)
    if head < len(messages) and head not in starts:
        starts.insert(0, head)  # The assistant spoke first.
    cuts = pairwise([*starts, len(messages)])
    return messages[:head], [messages[start:end] for start, end in cuts]


@frozen
class _Cut:
    """Where a conversation is cut."""

    #: What is kept of the front.
    system: _Messages
    dropped: _Messages
    rest: _Messages


def _cut(
    messages: _Messages,
    max_tokens: int,
    keep_system: bool,
    keep_last: int,
    count: CountText,
) -> _Cut:
    _check_whole("max_tokens", max_tokens)
    _check_whole("keep_last", keep_last)
    head, turns = _split(messages)
    empty = estimate_messages((), count)
    total = estimate_messages(messages, count)
    system: list[Message] = []
    dropped: list[Message] = []
    at = 0
    for turn in (head, *turns[:-keep_last]):
        if total <= max_tokens:
            break
        stays = [m for m in turn if keep_system and m.role is Role.SYSTEM]
        goes = [m for m in turn if not (keep_system and m.role is Role.SYSTEM)]
        total -= estimate_messages(goes, count) - empty
        system += stays
        dropped += goes
        at += len(turn)
    if total > max_tokens:
        what = "the system messages and " if keep_system else ""
        turn_or_so = "turn" if keep_last == 1 else f"{keep_last} turns"
        _refuse(
            f"The conversation cannot be cut to {max_tokens} tokens: {what}the last "
            f"{turn_or_so} alone are about {total}."
        )
    return _Cut(tuple(system), tuple(dropped), messages[at:])


def _to_summary(made: object) -> Message:
    if isinstance(made, (str, Message)):
        message = _to_message(made)
        if message.text.strip() and not message.tool_calls:
            return message
    _refuse("A summary is a text that is not empty, or a message without tool calls.")


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        _refuse(f"{name} must be a whole number, 1 or more; got {value!r}.")


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="conversation")
