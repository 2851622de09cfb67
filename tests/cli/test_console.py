"""`Console`, `remarks`, `explain`, `table`: the pieces that commands are made of."""

from __future__ import annotations

import io
import threading

import pytest

from aichat import (
    AIChatError,
    AudioPart,
    AuthenticationError,
    ChatResponse,
    CircuitOpenError,
    Citation,
    ConfigError,
    ContentFilteredError,
    ContextLengthError,
    DeadlineError,
    FinishReason,
    ImagePart,
    ModelNotFoundError,
    Part,
    PermissionDeniedError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    ReasoningPart,
    ServerError,
    StreamInterruptedError,
    TextPart,
    ToolCallPart,
    assistant,
)
from aichat.cli._answer import remarks, show_rest, to_go_on
from aichat.cli._console import Console
from aichat.cli._table import table
from aichat.cli._trouble import explain, status_of
from aichat.types import RefusalPart

from .conftest import Terminal


def console(
    stdout: io.StringIO | None = None,
    stderr: io.StringIO | None = None,
    **environ: str,
) -> Console:
    return Console(
        stdin=io.StringIO(),
        stdout=stdout or io.StringIO(),
        stderr=stderr or io.StringIO(),
        environ=environ,
    )


def test_an_aside_does_not_disturb_an_answer_in_a_file() -> None:
    """stdout holds what the model said, and nothing is put between."""
    out, err = io.StringIO(), io.StringIO()
    there = console(out, err)
    for _ in range(2):
        there.say("a ")
        there.aside("b ")
    there.fresh()
    assert (out.getvalue(), err.getvalue()) == ("a a \n", "b b \n")


def test_an_aside_on_the_same_screen_has_lines_of_its_own() -> None:
    """Dim, unless somebody wants no colours."""
    screen = Terminal()
    there = console(screen, screen)
    there.aside("thinking")
    there.say("")
    assert screen.getvalue() == "\x1b[2mthinking\x1b[0m"
    plain = Terminal()
    console(plain, plain, NO_COLOR="1").aside("thinking")
    assert plain.getvalue() == "thinking"


def test_two_terminals_share_a_screen() -> None:
    """Whoever writes second begins a new line."""
    out, err = Terminal(), Terminal()
    there = console(out, err)
    there.aside("thinking")
    there.say("answer")
    there.note("note")
    assert err.getvalue() == "\x1b[2mthinking\x1b[0m\nnote\n"
    assert out.getvalue() == "answer\n"


class Slow(io.StringIO):
    """A pipe from which nothing comes until somebody has been told."""

    def __init__(self, told: threading.Event) -> None:
        super().__init__("at last")
        self._told = told

    def read(self, size: int | None = -1, /) -> str:
        assert self._told.wait(10)
        return super().read(size)


class Telling(io.StringIO):
    def __init__(self, told: threading.Event) -> None:
        super().__init__()
        self._told = told

    def flush(self) -> None:
        self._told.set()


def test_who_waits_for_a_pipe_is_told_so() -> None:
    """A pipe that nobody closes would otherwise look like a model that does not answer."""
    told = threading.Event()
    err = Telling(told)
    there = Console(
        stdin=Slow(told), stdout=io.StringIO(), stderr=err, environ={}, patience=0.0
    )
    assert there.piped() == "at last"
    assert "standard input" in err.getvalue()


def _response(*content: Part, **facts: object) -> ChatResponse:
    message = assistant(*content)
    return ChatResponse(message=message, finish_reason=FinishReason.STOP, **facts)  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    ("response", "lines"),
    [
        (_response(TextPart("Hi")), []),
        (_response(), ["(the answer is empty)"]),
        (_response(ReasoningPart("Hm.")), ["(the answer is empty)"]),
        (_response(RefusalPart("No.")), ["(refused: No.)"]),
        (_response(TextPart("Hi"), warnings=("No.",)), ["Warning: No."]),
        (
            _response(ImagePart(url="https://example.com/a.png")),
            ["(image: it cannot be shown here, but `complete --json` has it)"],
        ),
        (
            _response(AudioPart(data=b"ID3", media_type="audio/mpeg")),
            ["(audio: it cannot be shown here, but `complete --json` has it)"],
        ),
        (
            _response(
                TextPart(
                    "Hi",
                    citations=[
                        Citation(url="https://a.example", title="A"),
                        Citation(url="https://a.example", title="A"),
                        Citation(cited_text="nowhere"),
                    ],
                )
            ),
            ["(source: A https://a.example)"],
        ),
    ],
)
def test_what_a_reader_should_not_miss(
    response: ChatResponse, lines: list[str]
) -> None:
    """Nothing that came is dropped without a word."""
    assert list(remarks(response)) == lines


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (FinishReason.LENGTH, "(cut off at the token limit)"),
        (FinishReason.CONTENT_FILTER, "(stopped by a content filter)"),
        (FinishReason.PAUSED, "(paused: the model wants to be asked to go on)"),
        (FinishReason.ERROR, "(the provider says that it failed: raw)"),
        (FinishReason.OTHER, "(ended for a reason of the provider's: raw)"),
    ],
)
def test_an_unusual_end_is_told(reason: FinishReason, line: str) -> None:
    """Every reason but the usual ones has its line."""
    response = ChatResponse(
        message=assistant("Hi"), finish_reason=reason, raw_finish_reason="raw"
    )
    assert list(remarks(response)) == [line]


def test_tool_calls_are_lines() -> None:
    """With their arguments, and why not to trust them. (S7)"""
    out = io.StringIO()
    calls = (
        ToolCallPart("1", "f", '{\n "a": 1}'),
        ToolCallPart("2", "g", "{", invalid="cut"),
    )
    show_rest([_response(*calls)], console(out))
    assert out.getvalue() == '→ f({ "a": 1})\n→ g({) (not usable: cut)\n'


def test_a_call_is_not_remembered_without_its_result() -> None:
    """A conversation that holds one could not go on. (G4)"""
    call = ToolCallPart("1", "f")
    assert to_go_on(_response(TextPart("Hi"), call)) == assistant("Hi")
    assert to_go_on(_response(call)) is None
    assert to_go_on(_response()) is None


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("No"), 2, "Error: No."),
        (AIChatError(), 1, "Error: AIChatError."),
        (ServerError("a\n\x1b[31mb", status=500), 1, "Error: [500]: a [31mb."),
        (
            AuthenticationError("No.", provider="nobody"),
            1,
            "Error: nobody: No. Check the key in AI_API_KEY.",
        ),
        (
            AuthenticationError("No.", provider="anthropic", request_id="r1"),
            1,
            "AI_API_KEY or ANTHROPIC_API_KEY. (request r1)",
        ),
        (PermissionDeniedError("No."), 1, "ask for access"),
        (ModelNotFoundError("No model.", provider="a"), 1, "`aichat providers a`"),
        (ModelNotFoundError("No m1.", provider="a", model="M1"), 1, "providers a`"),
        (
            ModelNotFoundError("Invalid URL", model="m1"),
            1,
            "address right (--base-url)?",
        ),
        (RateLimitError("No.", retry_after=2.4), 1, "Try again in 2 s."),
        (CircuitOpenError("No."), 1, "Try again later."),
        (QuotaExceededError("No."), 1, "plan and balance"),
        (ContextLengthError("No."), 1, "Shorten the prompt"),
        (ContentFilteredError("No."), 1, "Word it differently"),
        (DeadlineError("No."), 1, "--timeout"),
        (ProviderUnavailableError("No."), 1, "is the address right"),
        (StreamInterruptedError("No."), 1, "ask again"),
        (ServerError("x" * 1500), 1, "x…"),
    ],
)
def test_an_error_is_one_line_that_helps(
    error: AIChatError, status: int, line: str
) -> None:
    """What happened, and what to do about it."""
    told = explain(error, {})
    assert told.startswith("Error: ")
    assert line in told
    assert "\n" not in told
    assert len(told) < 1100
    assert status_of(error) == status


def test_a_table_is_aligned_and_cut() -> None:
    """Nothing trails, and a line fits."""
    rows = [["a", "bb"], ["ccc", ""]]
    assert table(rows) == "a    bb\nccc"
    assert table(rows, width=6) == "a    …\nccc"
