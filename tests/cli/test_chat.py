"""`aichat chat`: one answer, and conversations."""

from __future__ import annotations

import asyncio
import io

import pytest

from aichat.testing import Simulator

from .conftest import Serve, Terminal, press_ctrl_c, run


class Screen(io.StringIO):
    """Remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


def test_the_answer_comes_in_pieces() -> None:
    """Each is written when it arrives."""
    screen = Screen()
    outcome = run("chat", "Count to 30", stdout=screen)
    assert outcome.status == 0
    assert len(screen.writes) > 20
    assert outcome.out.endswith("29, 30.\n")


def test_a_prompt_from_a_pipe() -> None:
    """Nothing else is needed."""
    outcome = run("chat", stdin=io.StringIO("What is this?\n"))
    assert "What is this?" in outcome.out


def test_an_empty_pipe() -> None:
    """It is not taken for somebody who types."""
    outcome = run("chat", stdin=io.StringIO())
    assert outcome.status == 2
    assert outcome.err == "Error: The prompt is empty: say what to ask.\n"


def test_what_was_streamed_before_an_error_stays(serve: Serve) -> None:
    """The words are there, and the error is a line of its own. (S4)"""
    served = serve()
    served.simulator.fail_next("hang_up", after=3)
    outcome = run("chat", "Hi", environ=served.environ)
    assert outcome.status == 1
    assert outcome.out == "This is aichat's\n"
    assert outcome.err.startswith("Error: openai-chat:simulated")
    assert outcome.err.count("\n") == 1


def test_an_answer_that_was_cut_off_says_so() -> None:
    """Half an answer does not look like a whole one."""
    outcome = run("chat", "--max-tokens", "5", "Hi")
    assert outcome.status == 0
    assert outcome.err.splitlines()[1:] == ["(cut off at the token limit)"]


def test_reasoning_is_dim_and_on_stderr() -> None:
    """On one screen it ends its line before the answer begins."""
    argv = ["chat", "--effort", "low", "--reasoning", "Hi"]
    outcome = run(*argv, stdout=Terminal(), stderr=Terminal())
    assert outcome.status == 0
    thought = outcome.err.replace("\x1b[0m\x1b[2m", "").splitlines()[1:]
    # A blank line sets it apart.
    assert len(thought) == 2
    assert thought[0].startswith("\x1b[2mThe user wrote 1 word.")
    assert outcome.out.startswith("This is aichat's")


def test_a_conversation(serve: Serve) -> None:
    """It remembers, passes over empty lines, and ends with /exit."""
    served = serve()
    typed = Terminal("First.\n\nSecond.\n/exit\nThird.\n")
    outcome = run("chat", "-s", "Be brief.", environ=served.environ, stdin=typed)
    assert outcome.status == 0
    assert [len(r.body["messages"]) for r in served.simulator.requests] == [2, 4]
    roles = [m["role"] for m in served.simulator.requests[1].body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert outcome.out.count("This is aichat's built-in simulator") == 2
    assert "Ctrl-D ends the conversation" in outcome.err
    assert outcome.err.count("> ") == 4


def test_a_conversation_without_a_provider() -> None:
    """The simulator stays for all of it; Ctrl-D ends it."""
    outcome = run("chat", stdin=Terminal("One.\nTwo."))
    assert outcome.status == 0
    assert "“One.”" in outcome.out
    assert "“Two.”" in outcome.out
    assert outcome.err.count("No provider is configured") == 1


def test_a_conversation_survives_an_error(serve: Serve) -> None:
    """What failed is not remembered, and the next question is asked."""
    served = serve()
    served.simulator.fail_next(status=503)
    typed = Terminal("First.\nSecond.\n")
    outcome = run("chat", environ=served.environ, stdin=typed)
    assert outcome.status == 0
    assert "Error: openai-chat:simulated [503]" in outcome.err
    assert served.simulator.requests[1].body["messages"] == [
        {"role": "user", "content": "Second."}
    ]


def test_a_conversation_that_ends_with_an_error(serve: Serve) -> None:
    """The last answer's status is the command's, as in a shell."""
    served = serve(Simulator(api_keys=["another"]))
    outcome = run("chat", environ=served.environ, stdin=Terminal("First.\n/quit\n"))
    assert outcome.status == 1


def test_a_conversation_with_a_mistyped_command(serve: Serve) -> None:
    """That is no answer that has failed."""
    said = Terminal("First.\n/nope\n/exit\n")
    outcome = run("chat", environ=serve().environ, stdin=said)
    assert outcome.status == 0
    assert "There is no /nope" in outcome.err


def test_half_an_answer_is_remembered(serve: Serve) -> None:
    """Of what had arrived one can still talk."""
    served = serve()
    served.simulator.fail_next("hang_up", after=3)
    run("chat", environ=served.environ, stdin=Terminal("First.\nGo on.\n"))
    assert served.simulator.requests[1].body["messages"] == [
        {"role": "user", "content": "First."},
        {"role": "assistant", "content": "This is aichat's"},
        {"role": "user", "content": "Go on."},
    ]


class Impatient(io.StringIO):
    """Presses Ctrl-C when the answer has come to a certain word."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self._word = word

    def write(self, text: str) -> int:
        if self._word in text:
            press_ctrl_c()
        return super().write(text)


def test_ctrl_c_stops_an_answer_and_not_the_conversation(serve: Serve) -> None:
    """The server sees it, and what was said so far is remembered. (C1)"""
    served = serve(Simulator(pace=0.005))
    typed = Terminal("Count to 100000\nGo on.\n")
    screen = Impatient("7,")
    outcome = run("chat", environ=served.environ, stdin=typed, stdout=screen)
    assert outcome.status == 0
    assert "(stopped)" in outcome.err
    assert "You said: “Go on.”" in outcome.out
    _, second = served.simulator.requests
    said = second.body["messages"][1]["content"]
    assert said.startswith("This is aichat's")
    assert said.endswith("7,")
    assert served.left() == 1


@pytest.mark.parametrize("argv", [["chat", "Count to 100000"], ["complete", "Hi"]])
def test_ctrl_c_ends_the_command(serve: Serve, argv: list[str]) -> None:
    """Exit status 130, no traceback, and the connection is closed. (C1)"""

    keys = iter([press_ctrl_c])

    async def interrupt(_: float) -> None:
        for press in keys:
            press()
        await asyncio.Event().wait()

    served = serve(Simulator(sleep=interrupt))
    outcome = run(*argv, environ=served.environ)
    assert outcome.status == 130
    assert outcome.err == ""
    assert served.left() == 1


class Closing(Terminal):
    """Somebody presses Ctrl-C at the prompt."""

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]  # typeshed looks at the bytes' base
        raise KeyboardInterrupt


def test_ctrl_c_at_the_prompt_ends_the_conversation() -> None:
    """As everywhere: exit status 130. Once only drops what was typed."""
    outcome = run("chat", stdin=Closing())
    assert outcome.status == 130
    assert outcome.err.endswith(
        "> \n(Ctrl-D ends the conversation; so does Ctrl-C again.)\n> \n"
    )
