"""``aichat bulk run``."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from aichat import bulk
from aichat.cli._bulk_progress import Display, amount, lasting, words
from aichat.cli._console import Console
from aichat.costs import PriceBook
from aichat.errors import ConfigError
from aichat.testing import Simulator
from aichat.types import loads
from tests.cli.conftest import Serve, Terminal, press_ctrl_c, run, serve as serve
from tests.transport.toys import virtual

from .makers import ids, names, prompts, rows, write


def test_a_file_answered_and_answered_again(serve: Serve, tmp_path: Path) -> None:
    """0 when every line has its answer; the second time nothing is asked."""
    served = serve()
    source, target = prompts(tmp_path / "in", 5), tmp_path / "out"
    outcome = run("bulk", "run", str(source), "-o", str(target), environ=served.environ)
    assert outcome.status == 0, outcome.err
    assert f"5 of 5 answered: {target}" in outcome.out
    assert "cost unknown" in outcome.out
    assert sorted(ids(target)) == [f"q{i}" for i in range(5)]
    outcome = run(
        *("bulk", "run", str(source), "-o", str(target), "--json"),
        environ=served.environ,
    )
    assert outcome.status == 0
    facts = loads(outcome.out)
    assert (facts["before"], facts["succeeded"], facts["left"]) == (5, 0, 0)
    assert served.simulator.request_count == 5


def test_failures_are_told(serve: Serve, tmp_path: Path) -> None:
    """1, where they are, and how to ask again."""
    served = serve()
    lines = [{"id": "a", "prompt": "a"}, "nonsense"]
    source, target = write(tmp_path / "in", lines), tmp_path / "out.jsonl"
    outcome = run("bulk", "run", str(source), "-o", str(target), environ=served.environ)
    assert outcome.status == 1
    assert "1 is no request: " in outcome.out
    assert "says why (mend the input)" in outcome.out
    assert "failed:" not in outcome.out
    assert len(rows(tmp_path / "out.failures.jsonl")) == 1
    outcome = run(
        *("bulk", "run", str(source), "-o", str(tmp_path / "new"), "--max-failures=0"),
        environ=served.environ,
    )
    assert outcome.status == 1
    outcome = run(
        *("bulk", "run", str(source), "-o", str(target), "--strict"),
        environ=served.environ,
    )
    assert outcome.status == 2
    assert "Line 2: not JSON" in outcome.err


def test_a_key_that_is_wrong(serve: Serve, tmp_path: Path) -> None:
    """It ends with what to do about it, after a few lines."""
    served = serve(Simulator(api_keys=["another"]))
    source, target = prompts(tmp_path / "in", 50), tmp_path / "out"
    outcome = run("bulk", "run", str(source), "-o", str(target), environ=served.environ)
    assert outcome.status == 1
    assert "there is no point in going on" in outcome.out
    assert "Check the key in" in outcome.err
    assert served.simulator.request_count < 20


def test_rate_limits_are_no_failures(serve: Serve, tmp_path: Path) -> None:
    """Every fourth request is refused; every line has its answer."""
    simulator = Simulator()
    simulator.fail("rate_limit", rate=0.25, seconds=0.01)
    served = serve(simulator)
    source, target = prompts(tmp_path / "in", 60), tmp_path / "out"
    outcome = run(
        *("bulk", "run", str(source), "-o", str(target), "--patience", "20"),
        environ=served.environ,
    )
    assert outcome.status == 0, outcome.out + outcome.err
    assert len(ids(target)) == 60


def test_what_the_client_does_about_limits_is_seen(
    serve: Serve, tmp_path: Path
) -> None:
    """Its retries and its own limiter: nothing fails, and nothing is asked more often."""
    simulator = Simulator()
    simulator.fail("rate_limit", on=(5, 9), seconds=0.01)
    served = serve(simulator)
    source, target = prompts(tmp_path / "in", 30), tmp_path / "out"
    environ = {
        **served.environ,
        "AI_MAX_RETRIES": "3",
        "AI_RATE_LIMIT": "3000",
    }
    outcome = run(
        *("bulk", "run", str(source), "-o", str(target), "--patience=0"),
        environ=environ,
    )
    assert outcome.status == 0, outcome.out + outcome.err
    assert simulator.request_count == 32


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c(serve: Serve, tmp_path: Path, presses: int) -> None:
    """130; once it finishes what is under way, twice it does not."""
    served = serve(Simulator(pace=0.01))
    source, target = prompts(tmp_path / "in", 200), tmp_path / "out"

    def press() -> None:
        while not (target.exists() and target.read_bytes().count(b"\n") > 5):
            time.sleep(0.01)
        for _ in range(presses):
            press_ctrl_c()
            time.sleep(0.05)

    thread = threading.Thread(target=press)
    thread.start()
    outcome = run(
        *("bulk", "run", str(source), "-o", str(target), "--concurrency=5"),
        environ=served.environ,
    )
    thread.join()
    assert outcome.status == 130
    assert "Finishing what is under way" in outcome.err
    assert ("it was interrupted" in outcome.out) == (presses == 1)
    assert 5 < len(ids(target)) < 100


def test_a_dry_run(serve: Serve, tmp_path: Path) -> None:
    """Nothing is sent or written."""
    served = serve()
    lines = [
        *(
            {"id": f"q{i}", "prompt": "Hi", "model": "openai:gpt-4.1-mini"}
            for i in "ab"
        ),
        {"id": "c", "prompt": "Hi"},
        "nonsense",
    ]
    source, target = write(tmp_path / "in", lines), tmp_path / "out"
    environ = {**served.environ, "OPENAI_API_KEY": "any"}
    command = ("bulk", "run", str(source), "-o", str(target), "--dry-run")
    outcome = run(*command, environ=environ)
    assert outcome.status == 1, outcome.err
    assert "3 of 4 lines to ask" in outcome.out
    assert "1 line is no request:" in outcome.err
    assert "About $" in outcome.out
    assert "The price of 1 of them is not known" in outcome.out
    assert "Line 4: not JSON" in outcome.err
    outcome = run(*command, "--json", "--strict", environ=environ)
    assert outcome.status == 2
    assert loads(outcome.out)["left"] == 3
    assert not target.exists()
    assert served.simulator.request_count == 0
    write(source, lines[:-1])
    assert run(*command, environ=environ).status == 0


def test_what_may_be_spent_is_used_up(serve: Serve, tmp_path: Path) -> None:
    """It says so, and what is left."""
    simulator = Simulator()
    served = serve(simulator)
    lines = [
        {"id": f"q{i}", "prompt": "Hi", "model": "gpt-4.1-mini", "max_tokens": 20}
        for i in range(50)
    ]
    source, target = write(tmp_path / "in", lines), tmp_path / "out"
    environ = {
        **served.environ,
        "AI_PROVIDER": "openai",
        "AI_BASE_URL": simulator.base_url("openai"),
    }
    outcome = run(
        *("bulk", "run", str(source), "-o", str(target), "--max-cost", "0.0004"),
        environ=environ,
    )
    assert outcome.status == 1, outcome.err
    assert "what may be spent is used up" in outcome.out
    assert 0 < len(ids(target)) < 50
    outcome = run(
        *("bulk", "run", str(source), "-o", str(target), "--max-cost", "1"),
        environ=environ,
    )
    assert outcome.status == 0
    assert "with those before" in outcome.out


@pytest.mark.parametrize(
    "more",
    [
        ("--no-wait",),
        ("--provider-batch", "--max-cost", "1"),
        ("--provider-batch", "--adopt", "x", "--resubmit"),
        ("--concurrency", "0"),
        ("--max-failures", "some"),
        ("--max-cost", "some"),
        ("--timeout", "soon"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, more: tuple[str, ...]) -> None:
    """2, and nothing is done."""
    source = prompts(tmp_path / "in", 1)
    argv = ("bulk", "run", str(source), "-o", str(tmp_path / "out"), "--simulator")
    outcome = run(*argv, *more)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": "sk-1"}])
def test_the_simulator_never_answers_a_job_by_mistake(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Without a provider nothing is done, and it says how to try it."""
    source, target = prompts(tmp_path / "in", 1), tmp_path / "out"
    outcome = run("bulk", "run", str(source), "-o", str(target), environ=environ)
    assert (outcome.status, outcome.out) == (2, "")
    assert "Set AI_PROVIDER" in outcome.err
    assert "--simulator" in outcome.err
    assert names(tmp_path) == ["in"]


def test_what_the_simulator_has_answered_is_not_taken_for_answers(
    serve: Serve, tmp_path: Path
) -> None:
    """The output says whose they are; a provider does not go on from there."""
    served = serve()
    source, target = prompts(tmp_path / "in", 2), tmp_path / "out"
    command = ("bulk", "run", str(source), "-o", str(target))
    assert run(*command, "--simulator", environ=served.environ).status == 0
    assert {row["model"] for row in rows(target)} == {"simulator:simulated"}
    before = target.read_bytes()
    for more in ((), ("--dry-run",), ("--provider-batch",)):
        outcome = run(*command, *more, environ=served.environ)
        assert (outcome.status, outcome.out) == (2, "")
        assert "answers of simulator:simulated to 2 lines" in outcome.err
        assert "openai-chat:simulated now" in outcome.err
        assert "--any-model" in outcome.err
    assert (served.simulator.request_count, target.read_bytes()) == (0, before)
    outcome = run(*command, "--any-model", environ=served.environ)
    assert outcome.status == 0
    assert "2 of 2 answered, 2 of them before" in outcome.out


def test_lines_may_name_their_models(serve: Serve, tmp_path: Path) -> None:
    """Then the command line need not."""
    served = serve()
    source = write(tmp_path / "in", [{"id": "a", "prompt": "a", "model": "m"}])
    environ = {name: v for name, v in served.environ.items() if name != "AI_MODEL"}
    target = tmp_path / "out"
    outcome = run("bulk", "run", str(source), "-o", str(target), environ=environ)
    assert outcome.status == 0, outcome.err
    assert rows(target)[0]["model"] == "openai-chat:m"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """That is the first thing to know, and the only one."""
    outcome = run("bulk", "run", str(tmp_path / "in"), "-o", str(tmp_path / "out"))
    assert outcome.status == 2
    assert outcome.err == f"Error: There is no file {tmp_path / 'in'}.\n"


def test_a_limit_without_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install, in words for a command line."""

    def no_table(_: PriceBook) -> None:
        raise ConfigError("No table.")

    monkeypatch.setattr(PriceBook, "load", no_table)
    source, target = prompts(tmp_path / "in", 1), tmp_path / "out"
    argv = ("bulk", "run", str(source), "-o", str(target), "--simulator")
    outcome = run(*argv, "--max-cost", "1")
    assert outcome.status == 2
    assert outcome.err == (
        "Error: --max-cost needs to know prices: pip install 'aichat[cost]'.\n"
    )
    assert not target.exists()


def test_the_providers_own_batches(serve: Serve, tmp_path: Path) -> None:
    """3 while there is something to wait for."""
    served = serve()
    source, target = prompts(tmp_path / "in", 3), tmp_path / "out"
    statuses = []
    for _ in range(6):
        outcome = run(
            *("bulk", "run", str(source), "-o", str(target)),
            *("--provider-batch", "--no-wait"),
            environ=served.environ,
        )
        statuses.append(outcome.status)
        if outcome.status != 3:
            break
        assert "3 are left, as the batch is not done" in outcome.out
    assert statuses[0] == 3
    assert statuses[-1] == 0
    assert len(ids(target)) == 3


# -- how far it is ---------------------------------------------------------------------

_PROGRESS = bulk.Progress(
    total=1000,
    before=100,
    succeeded=390,
    failed=10,
    running=16,
    limit=16,
    seconds=40,
    rate=10,
    input_tokens=4000,
    output_tokens=2000,
    cost=Decimal("1.239"),
    cost_before=Decimal(0),
    unpriced=0,
)


def test_how_far_it_is_in_words() -> None:
    """Rate, time left, tokens and cost."""
    assert words(_PROGRESS) == (
        "500 of 1,000, 10 failed, 16 of 16 at once, 10.0/s, 50 s left, 6,000 tokens, $1.24"
    )
    assert lasting(3.14159) == "3.1 s"
    assert lasting(125) == "2 min 5 s"
    assert lasting(7322) == "2 h 2 min"
    assert [amount(Decimal(m)) for m in ("0", "12.3456", "0.000123")] == [
        "0.00",
        "12.35",
        "0.00012",
    ]


async def _shown(stderr: io.StringIO, *, bar: bool = True) -> str:
    console = Console(io.StringIO(), io.StringIO(), stderr, {})
    display = Display(console, bar=bar)
    task = asyncio.create_task(display.run())
    await asyncio.sleep(15)
    display.see(_PROGRESS)
    await asyncio.sleep(30)
    task.cancel()
    await asyncio.wait([task])
    display.close()
    return stderr.getvalue()


@virtual
async def test_lines_where_nobody_watches() -> None:
    """One when there is news, and no escape sequences."""
    assert await _shown(io.StringIO()) == f"{words(_PROGRESS)}\n"


@virtual
async def test_a_line_that_changes_on_a_terminal() -> None:
    """Where rich is not installed; nothing of it stays."""
    shown = await _shown(Terminal(), bar=False)
    assert shown == f"\r{words(_PROGRESS)}\x1b[K\r\x1b[K"


@virtual
async def test_a_bar_on_a_terminal() -> None:
    """With rich."""
    pytest.importorskip("rich")
    shown = await _shown(Terminal())
    assert "10.0/s" in shown


@virtual
async def test_nobody_watches_any_more() -> None:
    """That is no reason to stop."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    assert await _shown(Gone()) == ""
