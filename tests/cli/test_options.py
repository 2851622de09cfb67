"""What `chat` and `complete` take besides a prompt, and what they tell of an answer."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest

from aichat import (
    ChatRequest,
    ChatResponse,
    ConfigError,
    FinishReason,
    ResponseEnd,
    ResponseStart,
    TextDelta,
    Usage,
    assistant,
)
from aichat.cli._stats import Stopwatch, _cost, _money
from aichat.testing import Simulator

from .conftest import Serve, Terminal, run

_PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
_SCHEMA = """
{"type": "object", "properties": {"city": {"type": "string"}, "size": {"type": "integer"}},
 "required": ["city", "size"], "additionalProperties": false}
"""


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (["-"], "piped\n"),
        (["Summarise:", "-"], "Summarise:\n\npiped\n"),
        (["Before", "it", "-", "after", "it."], "Before it\n\npiped\n\n\nafter it."),
        (["Summarise"], "Summarise\n\npiped\n"),
    ],
)
def test_where_the_pipe_goes(serve: Serve, words: list[str], sent: str) -> None:
    """Below the prompt, or where a dash stands."""
    served = serve()
    piped = io.StringIO("piped\n")
    outcome = run("complete", *words, environ=served.environ, stdin=piped)
    assert outcome.status == 0
    assert served.simulator.requests[0].body["messages"][0]["content"] == sent


def test_a_dash_at_a_terminal(serve: Serve) -> None:
    """One types, and ends it with Ctrl-D."""
    served = serve()
    outcome = run("complete", "-", environ=served.environ, stdin=Terminal("typed\n"))
    assert outcome.status == 0
    assert served.simulator.requests[0].body["messages"][0]["content"] == "typed\n"


class Pieces(io.StringIO):
    """Counts the writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def test_complete_streams_unless_told_otherwise(serve: Serve) -> None:
    """The same text, in pieces or at once."""
    served = serve()
    pieces, whole = Pieces(), Pieces()
    run("complete", "Hi", environ=served.environ, stdout=pieces)
    run("complete", "--no-stream", "Hi", environ=served.environ, stdout=whole)
    assert pieces.getvalue() == whole.getvalue()
    assert pieces.writes > 10
    assert whole.writes == 2  # with the end of the line


@pytest.mark.parametrize("option", ["--no-stream", "--json"])
def test_nothing_of_an_answer_that_breaks_off(serve: Serve, option: str) -> None:
    """Who waits for the whole gets the whole, or an error. (S4)"""
    served = serve()
    served.simulator.fail_next("hang_up", after=3)
    outcome = run("complete", option, "Hi", environ=served.environ)
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1


def test_reasoning_of_a_whole_answer() -> None:
    """It comes before the answer, on stderr."""
    outcome = run(
        *("complete", "--simulator", "--no-stream"),
        *("--effort", "low", "--reasoning", "Hi"),
    )
    assert "The user wrote 1 word." in outcome.err
    assert outcome.out.startswith("This is aichat's")


# -- pictures --------------------------------------------------------------------------


def test_pictures(serve: Serve, tmp_path: Path) -> None:
    """Files and addresses, in their order, before the question."""
    served = serve()
    (tmp_path / "a.png").write_bytes(_PNG)
    # Its first bytes are of no kind that we know: its name tells.
    (tmp_path / "b.svg").write_bytes(b"<svg/>")
    argv = ["-i", str(tmp_path / "a.png"), "-i", "https://example.com/c.png"]
    argv += ["--image", str(tmp_path / "b.svg")]
    outcome = run("complete", *argv, "What is it?", environ=served.environ)
    assert (outcome.status, outcome.err) == (0, "")
    parts = served.simulator.requests[0].body["messages"][0]["content"]
    kinds = [part.get("image_url", {}).get("url", "")[:19] for part in parts]
    assert kinds == [
        "data:image/png;base",
        "https://example.com",
        "data:image/svg+xml;",
        "",
    ]


def test_a_picture_without_words(serve: Serve, tmp_path: Path) -> None:
    """Where nobody can be asked, it is the question."""
    served = serve()
    (tmp_path / "a.png").write_bytes(_PNG)
    argv = ["complete", "-i", str(tmp_path / "a.png")]
    outcome = run(*argv, environ=served.environ, stdin=io.StringIO())
    assert outcome.status == 0
    (part,) = served.simulator.requests[0].body["messages"][0]["content"]
    assert part["type"] == "image_url"
    assert "There is no prompt" in run(*argv).err


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.pdf", b"%PDF-1.7", "a.pdf is application/pdf, not a picture"),
        ("a.zzz", b"?", "a.zzz is something unknown, not a picture"),
        ("a.png", None, "a.png cannot be read: No such file or directory."),
    ],
)
def test_a_picture_that_is_none(
    tmp_path: Path, name: str, data: bytes | None, told: str
) -> None:
    """Exit status 2 before anything is sent. (G1)"""
    if data is not None:
        (tmp_path / name).write_bytes(data)
    outcome = run("complete", "-i", str(tmp_path / name), "Hi")
    assert outcome.status == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


# -- the form of the answer ------------------------------------------------------------


def test_json_after_a_schema(serve: Serve, tmp_path: Path) -> None:
    """It is sent, and the answer follows it."""
    served = serve()
    file = tmp_path / "schema.json"
    file.write_text(_SCHEMA)
    argv = ["complete", "--json-schema", str(file), "Rome"]
    outcome = run(*argv, environ=served.environ)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith('{"city":')
    assert served.simulator.requests[0].body["response_format"]["type"] == "json_schema"
    # Not as Markdown.
    shown = run(
        "chat",
        *argv[1:],
        environ={**served.environ, "TERM": "xterm"},
        stdout=Terminal(),
    )
    assert shown.out == outcome.out


@pytest.mark.parametrize("option", [(), ("--no-stream",), ("--json",)])
def test_json_that_is_cut_off(
    serve: Serve, tmp_path: Path, option: tuple[str, ...]
) -> None:
    """Exit status 1, and why it cannot be used. (S7)"""
    file = tmp_path / "schema.json"
    file.write_text(_SCHEMA)
    argv = [
        "complete",
        *option,
        "--json-schema",
        str(file),
        "--max-tokens",
        "2",
        "Rome",
    ]
    outcome = run(*argv, environ=serve().environ)
    assert outcome.status == 1
    assert "It ran into a token limit" in outcome.err
    assert bool(outcome.out) is not bool(option)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON:"),
        ("[]", "is no JSON Schema of an object"),
        ('{"type": "array"}', "is no JSON Schema of an object"),
        ('{"type": "object", "properties": 7}', "properties"),
    ],
)
def test_a_schema_that_is_none(tmp_path: Path, text: str, told: str) -> None:
    """Exit status 2 before anything is sent. (G1)"""
    file = tmp_path / "schema.json"
    file.write_text(text)
    outcome = run("complete", "--json-schema", str(file), "Hi")
    assert outcome.status == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


# -- figures ---------------------------------------------------------------------------


def test_stats_are_one_line_on_stderr(serve: Serve) -> None:
    """After the answer, and not in it."""
    served = serve(Simulator(pace=0.001))
    outcome = run("chat", "--stats", "Hi", environ=served.environ)
    (line,) = outcome.err.splitlines()
    assert line.startswith("first chunk 0.")
    assert " chunks/s · " in line
    assert " · tokens: 2 in (0 cached), " in line
    assert line.endswith(" · cost unknown")
    assert "chunks/s" not in outcome.out


def _answer(**facts: object) -> ChatResponse:
    return ChatResponse(
        message=assistant("Hi"), finish_reason=FinishReason.STOP, **facts  # type: ignore[arg-type]  # a test's shorthand
    )  # fmt: skip


def test_figures_of_two_rounds() -> None:
    """The time in which tools are called is no time in which chunks could have come."""
    times = iter([0.0, 0.5, 1.0, 1.5, 1.5, 10.0, 10.5, 11.0, 11.0])
    watch = Stopwatch(lambda: next(times))
    watch.start()
    for _ in range(3):
        watch.note(TextDelta("a"))
    watch.note(ResponseEnd(FinishReason.TOOL_CALLS))
    watch.start()
    for _ in range(2):
        watch.note(TextDelta("a"))
    watch.note(ResponseEnd(FinishReason.STOP))
    usage = Usage(
        input_tokens=10, output_tokens=5, cache_read_tokens=4, reasoning_tokens=1
    )
    answers = [_answer(usage=usage), _answer(usage=usage, from_cache=True)]
    assert watch.told(answers, ChatRequest("Hi", "none:any")) == (
        "first chunk 0.50 s · 2.0 chunks/s · 11.00 s in all · "
        "tokens: 20 in (8 cached), 10 out (2 reasoning) · cost unknown"
    )


def test_what_nobody_knows_is_called_so() -> None:
    """Nothing is taken for 0. (V3)"""
    watch = Stopwatch(lambda: 0.0)
    watch.start()
    watch.note(ResponseStart())
    told = watch.told([_answer(usage=Usage(complete=False))], ChatRequest("Hi", "a:b"))
    assert told == (
        "first chunk unknown · unknown chunks/s · 0.00 s in all · tokens: unknown in "
        "(unknown cached), unknown out (unknown reasoning), incomplete · cost unknown"
    )


def test_a_cost_that_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """In dollars; about, where tokens are guessed; advice to programmers is kept back."""
    pytest.importorskip("genai_prices", reason="the extra `cost` is not installed")
    request = ChatRequest("Hi", "openai:gpt-4.1-mini")
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    facts = {"provider": "openai", "model": "gpt-4.1-mini"}
    told = _cost([_answer(usage=usage, **facts)], request)
    assert told.startswith("$")
    assert Decimal(told[1:]) > 0
    assert (
        _cost([_answer(usage=Usage(input_tokens=10), **facts)], request)[:7]
        == "about $"
    )
    assert _cost([_answer(from_cache=True)], request) == "$0.00"


def test_a_cost_without_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""

    def no_table(*_: object, **__: object) -> None:
        raise ConfigError("No table.")

    monkeypatch.setattr("aichat.costs.cost_of", no_table)
    told = _cost([_answer()], ChatRequest("Hi", "openai:any"))
    assert told == "unknown (pip install 'aichat[cost]' brings prices)"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0.00"),
        ("12.3456", "12.35"),
        ("0.0123", "0.012"),
        ("0.00000456", "0.0000046"),
    ],
)
def test_money(amount: str, shown: str) -> None:
    """Two digits that say something."""
    assert _money(Decimal(amount)) == shown
