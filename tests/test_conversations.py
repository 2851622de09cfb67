"""A conversation as a value."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, strategies as st

from aichat import (
    Client,
    InvalidRequestError,
    Message,
    ProviderState,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    assistant,
    fold,
    system,
    tool_result,
    user,
)
from aichat.conversations import Conversation
from aichat.testing import FakeProvider, reply
from aichat.types import ChatRequest, ChatResponse, estimate_tokens
from aichat.types._conversation import check_conversation

from .types.strategies import calls, messages, states, words

# -- what can be sent, in turns ------------------------------------------------------------

some = words.filter(bool)
texts = st.builds(TextPart, some)


@st.composite
def turns(draw: st.DrawFn) -> list[Message]:
    """A question and all that came of it: rounds of tools, thoughts, perhaps an answer."""
    turn = [system(draw(some))] if draw(st.integers(0, 5)) == 0 else []
    turn.append(Message(Role.USER, [draw(texts)], name=draw(st.none() | some)))
    for number in range(draw(st.integers(0, 2))):
        made = [
            ToolCallPart(f"call_{number}_{index}", call.name, call.arguments)
            for index, call in enumerate(draw(st.lists(calls, min_size=1, max_size=2)))
        ]
        thought = ReasoningPart(draw(words), provider_state=draw(states))
        turn.append(Message(Role.ASSISTANT, [thought, *made]))
        turn += [tool_result(call, draw(some)) for call in made]
    turn.append(Message(Role.ASSISTANT, [draw(texts)], provider_state=draw(states)))
    return turn


@st.composite
def talks(draw: st.DrawFn) -> Conversation:
    """A conversation that can be sent."""
    head = [system(text) for text in draw(st.lists(some, max_size=2))]
    greeting = [assistant("Welcome.")] if draw(st.booleans()) else []
    some_turns = draw(st.lists(turns(), max_size=4))
    last = user(draw(some))
    return Conversation([*head, *greeting, *(m for t in some_turns for m in t), last])


def sendable(talk: Conversation) -> bool:
    """Whether providers will take it, as far as we know."""
    check_conversation(talk.messages, prefill=False)
    return True


#: Of four turns, with a pair of tools in the second.
CALL = ToolCallPart("call_1", "clock")
TALK = Conversation([
    system("Be brief."),
    "What is your name?",
    assistant("Ada."),
    user("What time is it?"),
    assistant(ReasoningPart("Hm.", provider_state=ProviderState("x", "s")), CALL),
    tool_result(CALL, "12:00"),
    assistant("Noon."),
    system("From now on, in French."),
    user("Again?"),
    assistant("Midi."),
    user("Merci."),
])


# -- growing -------------------------------------------------------------------------------


def test_it_grows_by_texts_messages_and_responses() -> None:
    """A text is the user's, a response is its message; the old one stays as it was."""
    empty = Conversation()
    response = fold(reply("Hello!"))
    talk = empty.append("Hi!").append(response, "Bye.").extend([assistant("Bye!")])
    assert [(m.role, m.text) for m in talk] == [
        (Role.USER, "Hi!"),
        (Role.ASSISTANT, "Hello!"),
        (Role.USER, "Bye."),
        (Role.ASSISTANT, "Bye!"),
    ]
    assert not empty
    assert talk.last.text == "Bye!"
    assert Conversation(response).last == response.message
    assert Conversation(user("Hi")) == Conversation("Hi")


def test_what_is_no_message_is_refused() -> None:
    """With a word on what to use."""
    with pytest.raises(InvalidRequestError, match="not a dict: use system"):
        Conversation([{"role": "user", "content": "Hi"}])  # type: ignore[list-item]


def test_it_is_a_sequence() -> None:
    """Length, index, slice, membership; the slice is a conversation."""
    assert len(TALK) == 11
    assert TALK[1].text == "What is your name?"
    assert isinstance(TALK[:2], Conversation)
    assert TALK[:2].messages == TALK.messages[:2]
    assert user("Merci.") in TALK
    assert next(reversed(TALK)) == TALK[-1]


def test_it_is_a_value() -> None:
    """Equal, hashable, copied and sent to other processes."""
    assert Conversation(TALK) == TALK
    assert len({TALK, Conversation(TALK)}) == 1
    assert pickle.loads(pickle.dumps(TALK)) == TALK


def test_its_repr_does_not_tell() -> None:
    """Message content goes into a log only when asked for."""
    assert repr(TALK) == "<Conversation of 11 messages>"


def test_the_last_of_nothing() -> None:
    """A clear error."""
    with pytest.raises(InvalidRequestError, match="is empty"):
        _ = Conversation().last


async def test_it_goes_where_messages_go() -> None:
    """Straight into a client, and back in with the answer."""
    provider = FakeProvider(["One.", "Two."])
    async with Client({"fake": provider}, model="fake:any") as client:
        talk = Conversation([system("Count."), "Go."])
        talk = talk.append(await client.complete(talk), "And?")
        response: ChatResponse = await client.complete(talk)
    assert response.text == "Two."
    assert provider.requests[1].messages == talk.messages


def test_a_fork_goes_its_own_way() -> None:
    """It shares what was said; what is said in one is not said in the other."""
    fork = TALK.fork(-1).append("De rien.")
    assert fork[:-1] == TALK[:-1]
    assert TALK.last.text == "Merci."
    assert fork[0] is TALK[0]
    assert TALK.fork() is TALK
    assert len(TALK.fork(0)) == 0
    for place in (12, -12):
        with pytest.raises(InvalidRequestError, match="no fork at"):
            TALK.fork(place)


def test_another_system_prompt() -> None:
    """It takes the place of the ones at the beginning, or none does."""
    assert Conversation("Hi").with_system("A").messages == (system("A"), user("Hi"))
    twice = Conversation([system("A"), system("B"), user("Hi")])
    assert twice.with_system(system("C")).messages == (system("C"), user("Hi"))
    assert twice.with_system(None).messages == (user("Hi"),)
    # Those in its midst are part of what was said.
    assert system("From now on, in French.") in TALK.with_system(None)
    with pytest.raises(InvalidRequestError, match="the user's: use system"):
        twice.with_system(user("C"))


def test_turns() -> None:
    """From one question to the next; an instruction before a question belongs to it."""
    assert [len(turn) for turn in TALK.turns] == [2, 4, 3, 1]
    assert [turn[0].role for turn in TALK.turns] == ["user", "user", "system", "user"]
    greeted = Conversation([assistant("Welcome."), user("Hi")])
    assert [len(turn) for turn in greeted.turns] == [1, 1]
    assert Conversation([system("A")]).turns == ()


# -- storing -------------------------------------------------------------------------------


@given(st.lists(messages, max_size=4))
def test_it_can_be_stored(some: list[Message]) -> None:
    """Whatever it holds, opaque state included."""
    # S9
    talk = Conversation(some)
    assert Conversation.from_json(talk.to_json()) == talk


def test_what_cannot_be_read() -> None:
    """All that is wrong, and where."""
    with pytest.raises(ValueError, match=r"no Conversation: .*messages"):
        Conversation.from_json(b'{"messages": [{"role": "king"}]}')


# -- shrinking -----------------------------------------------------------------------------


@given(talks())
def test_its_size_is_that_of_the_request(talk: Conversation) -> None:
    """One estimate, whether or not it can be sent already."""
    assert talk.tokens() == estimate_tokens(ChatRequest(talk))


@given(talks(), st.integers(1, 120), st.booleans(), st.integers(1, 3))
def test_what_is_left_can_be_sent(
    talk: Conversation, budget: int, keep_system: bool, keep_last: int
) -> None:
    """
    A suffix of whole turns within the budget, or an error.

    Before it come the system messages of what was dropped, if they are to be kept.
    """
    # G4, S9
    assert sendable(talk)
    stay = [m for t in talk.turns[-keep_last:] for m in t]
    try:
        trimmed = talk.trim(budget, keep_system=keep_system, keep_last=keep_last)
    except InvalidRequestError:
        front = talk[: len(talk) - len(stay)]
        kept = [m for m in front if keep_system and m.role is Role.SYSTEM]
        assert Conversation([*kept, *stay]).tokens() > budget
        return
    assert sendable(trimmed)
    assert trimmed.tokens() <= budget
    # The longest suffix that the rest of it ends with, from the end.
    suffix = 0
    while suffix < len(trimmed) and trimmed[-1 - suffix] is talk[-1 - suffix]:
        suffix += 1
    assert suffix >= len(stay)
    front = talk[: len(talk) - suffix]
    kept = [m for m in front if keep_system and m.role is Role.SYSTEM]
    assert list(trimmed[: len(trimmed) - suffix]) == kept
    # Nothing was dropped that could have stayed.
    assert (trimmed == talk) == (talk.tokens() <= budget)


def test_the_oldest_turns_go_first() -> None:
    """With their calls and results; instructions stay."""
    trimmed = TALK.trim(TALK.tokens() - 1)
    assert trimmed.messages == (TALK[0], *TALK[3:])
    trimmed = TALK.trim(TALK[7:].tokens() + 10)
    assert trimmed.messages == (TALK[0], *TALK[7:])
    trimmed = trimmed.trim(30)
    assert [m.text for m in trimmed] == [
        "Be brief.",
        "From now on, in French.",
        "Merci.",
    ]


def test_without_its_system_messages() -> None:
    """They are the oldest then, and go first."""
    assert TALK.trim(TALK.tokens() - 1, keep_system=False) == TALK[1:]


def test_what_fits_is_left_alone() -> None:
    """The same value."""
    assert TALK.trim(1000) is TALK
    assert TALK.trim(1000, keep_system=False) is TALK


def test_the_budget_is_too_small() -> None:
    """The error tells how much it would take."""
    with pytest.raises(InvalidRequestError, match="system messages and the last turn"):
        TALK.trim(10)
    with pytest.raises(InvalidRequestError, match="tokens: the last 2 turns alone"):
        TALK.trim(10, keep_last=2, keep_system=False)


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"keep_last": 0}, {"max_tokens": True}]
)
def test_numbers_that_make_no_sense(wrong: dict[str, int]) -> None:
    """Refused by name."""
    with pytest.raises(InvalidRequestError, match=next(iter(wrong))):
        TALK.trim(**{"max_tokens": 100, **wrong})  # type: ignore[arg-type]


def test_a_count_of_ones_own() -> None:
    """It is used for every text."""
    assert Conversation("one two").tokens(count=lambda text: 1000) == 1007
    assert TALK.trim(10_000, count=lambda text: 1000).messages[1:] == TALK[7:].messages


# -- summaries -----------------------------------------------------------------------------


async def test_a_summary_takes_the_place_of_what_was_dropped() -> None:
    """After the system messages, as the user's words, and in nobody's wrapping."""
    given: list[Conversation] = []

    async def hook(old: Conversation) -> str:
        given.append(old)
        return "We met."

    talk = await TALK.summarise(hook, max_tokens=60, summary_tokens=10)
    assert given == [Conversation(TALK[1:7])]
    assert talk.messages == (TALK[0], user("We met."), *TALK[7:])
    assert sendable(talk)
    # The next time it is among what is summarised.
    assert talk.turns[0].messages == (user("We met."),)


async def test_no_summary_of_what_fits() -> None:
    """Nobody is asked, and nothing changes."""

    async def hook(old: Conversation) -> str:
        raise AssertionError("not needed")

    assert await TALK.summarise(hook, max_tokens=TALK.tokens()) is TALK


async def test_a_summary_that_is_a_message() -> None:
    """Its role is its maker's choice."""

    async def hook(old: Conversation) -> Message:
        return assistant("As I said.")

    talk = await TALK.summarise(hook, max_tokens=60, summary_tokens=10)
    assert talk[1] == assistant("As I said.")


@pytest.mark.parametrize("made", ["", tool_result("1", "x"), assistant(CALL), None])
async def test_a_summary_that_will_not_do(made: object) -> None:
    """Nothing, or what would need an answer."""

    async def hook(old: Conversation) -> str:
        return made  # type: ignore[return-value]

    with pytest.raises(InvalidRequestError, match="A summary is a text"):
        await TALK.summarise(hook, max_tokens=60, summary_tokens=10)


async def test_a_summary_that_is_too_long() -> None:
    """The budget holds."""

    async def hook(old: Conversation) -> str:
        return "long " * 100

    with pytest.raises(InvalidRequestError, match="ask for a shorter one"):
        await TALK.summarise(hook, max_tokens=60, summary_tokens=10)


async def test_no_room_for_the_rest() -> None:
    """Said before anybody is asked."""

    async def hook(old: Conversation) -> str:
        raise AssertionError("too early")

    with pytest.raises(InvalidRequestError, match="leave nothing of max_tokens=60"):
        await TALK.summarise(hook, max_tokens=60)
    with pytest.raises(InvalidRequestError, match="cannot be cut to 2 tokens"):
        await TALK.summarise(hook, max_tokens=60, summary_tokens=58)


@given(talks(), st.integers(1, 200), st.integers(1, 40))
async def test_whatever_was_summarised_can_be_sent(
    talk: Conversation, budget: int, room: int
) -> None:
    """Within the budget, or an error."""

    async def hook(old: Conversation) -> str:
        assert old
        return "In short."

    try:
        short = await talk.summarise(hook, max_tokens=budget, summary_tokens=room)
    except InvalidRequestError:
        return
    assert sendable(short)
    assert short.tokens() <= budget
    assert short.last is talk.last
