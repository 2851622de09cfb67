"""`aichat bench`: exact figures under a clock that jumps, and the command as it is run."""

from __future__ import annotations

import asyncio
import io
import math
import sys
from argparse import Namespace
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, strategies as st

from aichat import (
    AuthenticationError,
    ChatRequest,
    Client,
    ConfigError,
    FinishReason,
    RateLimitError,
    TextDelta,
    Usage,
)
from aichat.cli._bench import _load
from aichat.cli._bench_plot import check, columns, draw, ranked
from aichat.cli._bench_progress import Progress
from aichat.cli._bench_report import Subject, as_json, as_text
from aichat.cli._bench_run import Load, measure, warm_up
from aichat.cli._bench_tally import Answer, Distribution, Tally, Timeline
from aichat.cli._console import Console
from aichat.testing import Simulator
from aichat.types import (
    ReasoningDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    ToolCallDelta,
    UsageUpdate,
    loads,
)

from ..transport.toys import now, virtual
from .conftest import Outcome, Serve, Terminal, press_ctrl_c, run

_KEY = "sk-right-and-secret"

Step: TypeAlias = StreamChunk | float | Exception

END = ResponseEnd(FinishReason.STOP)


class Slow:
    """A provider that plays chunks, waits (numbers) and errors; the last script again."""

    name = "slow"

    def __init__(self, *scripts: list[Step]) -> None:
        self._scripts = list(scripts)
        self.at: list[float] = []
        self.active = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        self.at.append(round(now(), 6))
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        self.active += 1
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.active -= 1


def says(*waits: float, usage: Usage | None = None) -> list[Step]:
    """A word after each wait."""
    steps: list[Step] = [ResponseStart()]
    for wait in waits:
        steps += [wait, TextDelta("word ")]
    if usage is not None:
        steps.append(UsageUpdate(usage))
    return [*steps, END]


GOOD = says(0.2, 0.1, 0.1, usage=Usage(input_tokens=10, output_tokens=5))


async def measured(provider: Slow, rand: float = 0.5, **load: Any) -> Tally:
    tally = Tally()
    client = Client.with_provider(provider, model="slow:any")
    request = client.stream("Say it.").request
    load.setdefault("concurrency", 2)
    load.setdefault("requests", 4)
    wanted = Load(**load)
    await measure(client, request, wanted, tally, clock=now, rand=lambda: rand)
    return tally


def only(times: Distribution) -> list[float]:
    return [value for value, count in times for _ in range(count)]


# -- the figures -------------------------------------------------------------------------


@virtual
async def test_a_closed_loop() -> None:
    """Two at a time, the next when one has ended: each figure is what the script says."""
    tally = await measured(Slow(GOOD))
    assert (tally.begun, tally.ok, tally.failed, tally.active) == (4, 4, 0, 0)
    assert tally.most_active == 2
    assert tally.seconds == pytest.approx(0.8)
    assert only(tally.first_chunk) == [0.2] * 4
    assert only(tally.first_text) == [0.2] * 4
    assert only(tally.total) == [0.4] * 4
    assert only(tally.gap) == [0.1] * 8
    # After the first chunk: 2 of 3 chunks, and 4 of 5 tokens, in 0.2 s.
    assert only(tally.chunk_rate) == [10.0] * 4
    assert only(tally.token_rate) == [20.0] * 4
    assert (tally.input_tokens, tally.output_tokens, tally.estimated) == (40, 20, 0)
    assert sum(tally.chunks.amounts) == 12
    assert sum(tally.under_way.amounts) == 0


@virtual
async def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    """A server that is slow to take a request is not asked less: the wait is in its times."""
    provider = Slow(GOOD)
    tally = await measured(provider, requests=3, concurrency=1, rate=10.0)
    assert provider.at == [0.0, 0.4, 0.8]
    assert only(tally.delay) == [0.0, 0.3, 0.6]
    assert only(tally.first_chunk) == [0.2, 0.5, 0.8]
    assert only(tally.total) == [0.4, 0.7, 1.0]
    # What happens after the first chunk is not the wait's doing.
    assert only(tally.chunk_rate) == [10.0] * 3


@virtual
async def test_an_open_loop_does_not_wait_for_answers() -> None:
    """They come when they are due, however many are under way."""
    provider = Slow(GOOD)
    tally = await measured(provider, requests=4, concurrency=4, rate=20.0)
    assert provider.at == [0.0, 0.05, 0.1, 0.15]
    assert tally.most_active == 4
    assert only(tally.delay) == [0.0] * 4


@virtual
async def test_arrivals_at_random() -> None:
    """The steps between them are exponential: -ln(1 - rand) / rate."""
    provider = Slow(GOOD)
    await measured(
        provider,
        requests=3,
        concurrency=9,
        rate=10.0,
        at_random=True,
        rand=1 - 1 / math.e,
    )
    assert provider.at == [0.0, 0.1, 0.2]


@virtual
@pytest.mark.parametrize(
    ("load", "begun"),
    [
        ({}, [0.0, 0.0, 0.4, 0.4, 0.8, 0.8]),
        ({"rate": 2.0, "concurrency": 9}, [0.0, 0.5]),
    ],
)
async def test_a_duration(load: dict[str, Any], begun: list[float]) -> None:
    """After it none are begun; those under way come to their end."""
    provider = Slow(GOOD)
    tally = await measured(provider, requests=100, duration=1.0, **load)
    assert provider.at == begun
    assert tally.ok == len(begun)


@virtual
async def test_errors_are_counted_by_code() -> None:
    """The first of each kind is kept; answers that broke do not count as answers. (S3)"""
    provider = Slow(
        [RateLimitError("One.")],
        [0.1, RateLimitError("Two.")],
        [0.1, TextDelta("Half"), AuthenticationError("No.")],
        [TextDelta("?"), ResponseEnd(FinishReason.ERROR, "overheated")],
        GOOD,
    )
    tally = await measured(provider, requests=5, concurrency=1)
    assert (tally.ok, tally.failed) == (1, 4)
    assert {code: f.count for code, f in tally.failures.items()} == {
        "rate_limit": 2,
        "authentication_failed": 1,
        "finish_reason_error": 1,
    }
    assert "One." in str(tally.failures["rate_limit"].first)
    assert len(tally.first_chunk) == len(tally.total) == 1
    assert sum(tally.broken.amounts) == 4


@virtual
async def test_thinking_is_no_text_and_its_tokens_are_not_streamed() -> None:
    """The first chunk is a thought; the speed is that of what was said after it."""
    usage = Usage(input_tokens=1, output_tokens=105, reasoning_tokens=100)
    provider = Slow(
        [0.5, ReasoningDelta("Hm."), 0.5, TextDelta("a"), 0.2, TextDelta("b"),
         UsageUpdate(usage), END]
    )  # fmt: skip
    tally = await measured(provider, requests=1)
    assert only(tally.first_chunk) == [0.5]
    assert only(tally.first_text) == [1.0]
    # 4 of 5 tokens in 0.2 s.
    assert only(tally.token_rate) == [20.0]


@virtual
async def test_only_thinking() -> None:
    """No text, and no speed of it; still an answer."""
    usage = Usage(input_tokens=1, output_tokens=9, reasoning_tokens=9)
    provider = Slow([
        0.5,
        ReasoningDelta("Hm."),
        0.5,
        ReasoningDelta("."),
        UsageUpdate(usage),
        END,
    ])
    tally = await measured(provider, requests=1)
    assert tally.ok == 1
    assert only(tally.first_chunk) == [0.5]
    assert not len(tally.first_text)
    assert not len(tally.token_rate)
    assert only(tally.chunk_rate) == [2.0]


@virtual
async def test_an_answer_without_a_word() -> None:
    """It counts, and has no time to a first chunk."""
    tally = await measured(Slow([0.5, ResponseStart(), END]), requests=1)
    assert (tally.ok, len(tally.first_chunk), only(tally.total)) == (1, 0, [0.5])


@virtual
async def test_a_call_is_a_chunk_and_no_text() -> None:
    """Time to the first chunk and to the first text are two things."""
    provider = Slow([0.1, ToolCallDelta(0, "1", "f", "{}"), END])
    tally = await measured(provider, requests=1)
    assert only(tally.first_chunk) == [0.1]
    assert not len(tally.first_text)


@virtual
async def test_tokens_are_estimated_where_the_provider_tells_none() -> None:
    """And the report says of how many answers. (V3)"""
    provider = Slow(GOOD, says(0.1, 0.1))
    tally = await measured(provider, requests=2, concurrency=1)
    assert tally.estimated == 1
    # "Say it." with its message is 9 by our estimate, and "word word " is 2.
    assert (tally.input_tokens - 10, tally.output_tokens - 5) == (9, 2)
    lines = "\n".join(as_text(subject(), tally, str))
    assert "Tokens are estimated for 1 of 2 answers" in lines


@virtual
async def test_stopping_in_the_middle() -> None:
    """Streams under way are closed, and what there is stays. (C1)"""
    provider, tally = Slow(GOOD), Tally()
    client = Client.with_provider(provider, model="slow:any")
    request = client.stream("Say it.").request
    load = Load(requests=99, concurrency=2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.15):
            await measure(client, request, load, tally, clock=now)
    assert provider.active == tally.active == 0
    assert (tally.begun, tally.ok, tally.failed) == (6, 4, 0)
    assert tally.seconds == pytest.approx(1.15)
    # What had come of the last two is on the timeline.
    assert sum(tally.chunks.amounts) == 4 * 3 + 2 * 2
    assert "4 ok, 0 failed, 2 not finished, in 1.15 s" in "\n".join(
        as_text(subject(), tally, str)
    )


@virtual
async def test_warming_up() -> None:
    """What every request would meet is raised at once; a bad moment is not."""
    client = Client.with_provider(
        Slow([RateLimitError("Later.")], GOOD, [AuthenticationError("No.")]),
        model="slow:any",
    )
    request = client.stream("Say it.").request
    await warm_up(client, request, 2)
    with pytest.raises(AuthenticationError):
        await warm_up(client, request, 1)


# -- what is kept ------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 999), min_size=1, max_size=300),
    st.lists(st.integers(0, 100), min_size=1, max_size=5),
)
def test_percentiles_are_nearest_rank(values: list[int], percents: list[int]) -> None:
    """The least value that so many per cent do not exceed, and one that came."""
    times = Distribution()
    for value in values:
        times.add(value)
    ordered = sorted(values)
    expected = [
        next(
            v for v in ordered if 100 * sum(o <= v for o in ordered) >= p * len(values)
        )
        for p in percents
    ]
    assert times.percentiles(*percents) == expected
    assert times.mean == pytest.approx(sum(values) / len(values))


def test_a_million_values_take_the_room_of_a_thousand() -> None:
    """Three digits: 900 different values from one power of ten to the next."""
    times = Distribution()
    for number in range(100_000):
        times.add(0.001 + number * 0.009 / 100_000)
    assert len(times) == 100_000
    assert len(list(times)) <= 901


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=50))
def test_a_timeline_loses_nothing_and_does_not_grow(ats: list[float]) -> None:
    """However long it gets, everything is in it, at the step in which it came."""
    line = Timeline()
    for at in ats:
        line.add(at)
    assert sum(line.amounts) == len(ats)
    assert len(line.amounts) <= 1024
    for index, amount in enumerate(line.amounts):
        begin = index * line.step
        assert amount == sum(begin <= at < begin + line.step for at in ats)


# -- the report --------------------------------------------------------------------------


def subject(**load: Any) -> Subject:
    usual: dict[str, Any] = {"requests": 4, "concurrency": 2}
    return Subject(
        model="slow:any",
        load=Load(**{**usual, **load}),
        max_tokens=9,
        warmup=1,
        retries=0,
    )


@virtual
async def test_the_text() -> None:
    """Everything at a glance."""
    lines = "\n".join(as_text(subject(), await measured(Slow(GOOD)), str))
    assert (
        lines
        == """\
slow:any, 2 at a time

requests  4 ok, 0 failed, in 800 ms, 5 per second
at once   2 at most
tokens    40 in, 50 per second
          20 out, 25 per second
ended by  4 stop

TIME                COUNT     p50     p90     p95     p99     max
first chunk             4  200 ms  200 ms  200 ms  200 ms  200 ms
first text              4  200 ms  200 ms  200 ms  200 ms  200 ms
whole answer            4  400 ms  400 ms  400 ms  400 ms  400 ms
gap between chunks      8  100 ms  100 ms  100 ms  100 ms  100 ms

SPEED                  COUNT  p50  p10  p5  p1  min
chunks/s of an answer      4   10   10  10  10   10
tokens/s of an answer      4   20   20  20  20   20

Of the answers that came whole. Percentiles are nearest-rank, to three digits."""
    )


@virtual
async def test_the_text_of_an_open_loop() -> None:
    """It says how the requests came, from when times count, and how late they were sent."""
    provider = Slow(
        says(0.1, usage=Usage(input_tokens=9, output_tokens=1, cache_read_tokens=6))
    )
    load = {"requests": 3, "concurrency": 1, "rate": 10.0}
    lines = "\n".join(as_text(subject(**load), await measured(provider, **load), str))
    assert "slow:any, 10 per second, evenly, 1 at a time at most\n" in lines
    assert "27 in (18 from the provider's cache)" in lines
    assert "\nsent late by " in lines
    assert "Times count from when a request was due" in lines
    # A single chunk has no speed.
    assert "SPEED" not in lines
    free = subject(requests=3, concurrency=3, rate=0.5, at_random=True)
    assert next(as_text(free, Tally(), str)) == "slow:any, 0.5 per second, at random"


def test_a_provider_that_says_much() -> None:
    """An error is one line of bounded length."""
    tally = Tally()
    tally.begin(Answer(0.0, 0.0))
    tally.fail(RateLimitError("many\nwords " * 200), 0.5)
    lines = list(as_text(subject(), tally, str))
    (line,) = [line for line in lines if "rate_limit" in line]
    assert line.startswith("  1 x rate_limit: many words many")
    assert len(line) < 350
    assert line.endswith("…")


@virtual
async def test_the_json() -> None:
    """The same for programs, in seconds; nothing that came never stands as a number."""
    found = as_json(subject(), await measured(Slow(GOOD)), str)
    assert found["first_chunk"] == {
        "count": 4, "mean": pytest.approx(0.2), "min": 0.2, "p1": 0.2, "p5": 0.2,
        "p10": 0.2, "p50": 0.2, "p90": 0.2, "p95": 0.2, "p99": 0.2, "max": 0.2,
    }  # fmt: skip
    assert found["requests"] == {
        "begun": 4, "ok": 4, "failed": 0, "most_at_once": 2,
        "ok_per_second": pytest.approx(5),
    }  # fmt: skip
    assert found["load"]["duration"] is None
    assert found["counted_from"] == "sent"
    assert found["sent_late_by"] is None
    nothing = as_json(subject(rate=1.0, at_random=True, duration=9.0), Tally(), str)
    assert nothing["first_chunk"] is nothing["requests"]["ok_per_second"] is None
    assert nothing["load"]["arrivals"] == "random"
    assert nothing["load"]["duration"] == 9.0


# -- how far it is -----------------------------------------------------------------------


async def _watch(stderr: io.StringIO, seconds: float, **load: Any) -> str:
    console = Console(io.StringIO(), io.StringIO(), stderr, {})
    tally = Tally(begun=5, ok=2, active=2)
    tally.fail(RateLimitError("No."), 0.0)
    wanted = Load(requests=1000, concurrency=2, **load)
    progress = Progress(console, wanted, tally, clock=now)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await progress.run()
    progress.clear()
    return stderr.getvalue()


@virtual
async def test_progress_on_a_terminal() -> None:
    """One line that changes and then is gone."""
    assert await _watch(Terminal(), 0.3) == (
        "\r3 of 1,000 done, 1 failed, 2 under way, 0 s\x1b[K\r\x1b[K"
    )


@virtual
async def test_progress_in_a_log() -> None:
    """A plain line now and then."""
    assert await _watch(io.StringIO(), 25, duration=60.0) == (
        "3 done, 1 failed, 2 under way, 10 of 60 s\n"
        "3 done, 1 failed, 2 under way, 20 of 60 s\n"
    )


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@virtual
async def test_nobody_watches() -> None:
    """Which is no reason to stop."""
    assert await _watch(Gone(), 25) == ""


# -- the command -------------------------------------------------------------------------


def bench(*argv: str, **settings: Any) -> Outcome:
    return run("bench", *argv, **settings)


def test_without_a_provider_the_simulator_answers() -> None:
    """It says so, what will be sent, and that the figures are of both."""
    outcome = bench("--requests", "3", "--max-tokens", "5")
    assert outcome.status == 0
    notes = outcome.err.splitlines()
    assert notes[0].startswith("No provider is configured: the built-in simulator")
    assert notes[1] == (
        "simulator:simulated: 3 requests, 8 at a time and 1 to warm up; "
        "about 76 tokens in, at most 20 out."
    )
    assert "the figures are those of both" in notes[2]
    assert "requests  3 ok, 0 failed" in outcome.out
    assert "ended by  3 length" in outcome.out


def test_the_simulator_on_request(serve: Serve) -> None:
    """Whatever is configured, nobody else is asked."""
    served = serve()
    argv = ["--simulator", "0", "--requests", "2", "--warmup", "0", "--json", "-"]
    outcome = bench(*argv, environ=served.environ)
    assert outcome.status == 0
    assert loads(outcome.out)["model"] == "simulator:simulated"
    assert served.simulator.request_count == 0
    assert "No provider is configured" not in outcome.err


def test_what_is_sent(serve: Serve) -> None:
    """The prompt as often as was said, each once; neither it nor the key is shown. (X1)"""
    served = serve()
    argv = [
        "--prompt", "xyzzy-plugh", "--max-tokens", "7", "--requests", "4", "--warmup", "2",
        "--rate", "1000",
    ]  # fmt: skip
    outcome = bench(*argv, environ=served.environ)
    assert outcome.status == 0
    assert served.simulator.request_count == 6
    for request in served.simulator.requests:
        assert request.body["messages"] == [{"role": "user", "content": "xyzzy-plugh"}]
        assert 7 in request.body.values()
    for secret in ("xyzzy", _KEY):
        assert secret not in outcome.out + outcome.err


def test_a_prompt_from_a_file(serve: Serve, tmp_path: Path) -> None:
    """As it stands there."""
    served, file = serve(), tmp_path / "prompt.txt"
    file.write_text("naïve\n", encoding="utf-8")
    argv = ["--prompt-file", str(file), "--requests", "1", "--warmup", "0"]
    assert bench(*argv, environ=served.environ).status == 0
    assert served.simulator.requests[0].body["messages"][0]["content"] == "naïve\n"


def test_errors_under_load(serve: Serve) -> None:
    """They are not tried again, so that they count; the rest is measured."""
    served = serve()
    served.simulator.fail_next("overloaded", times=2)
    argv = ["--requests", "5", "--warmup", "0", "--max-tokens", "5"]
    outcome = bench(*argv, environ={**served.environ, "AI_MAX_RETRIES": "9"})
    assert outcome.status == 0
    assert served.simulator.request_count == 5
    assert "requests  3 ok, 2 failed" in outcome.out
    assert "  2 x provider_unavailable: openai-chat:simulated" in outcome.out


def test_retries_on_request(serve: Serve) -> None:
    """What they hide is then hidden."""
    served = serve()
    served.simulator.fail_next("overloaded")
    environ = {**served.environ, "AI_RETRY_BACKOFF": "0"}
    argv = ["--requests", "2", "--warmup", "0", "--max-tokens", "5", "--retries", "1"]
    outcome = bench(*argv, environ=environ)
    assert "requests  2 ok, 0 failed" in outcome.out
    assert served.simulator.request_count == 3
    assert "each up to 1 times again" in outcome.err


def test_total_failure(serve: Serve, tmp_path: Path) -> None:
    """Status 1, with a report and even a picture of it."""
    pytest.importorskip("matplotlib")
    served, picture = serve(), tmp_path / "b.svg"
    served.simulator.fail("overloaded", rate=1.0)
    argv = ["--requests", "2", "--plot", str(picture)]
    outcome = bench(*argv, environ=served.environ)
    assert outcome.status == 1
    assert "requests  0 ok, 2 failed" in outcome.out
    assert "TIME" not in outcome.out
    assert picture.read_text(encoding="utf-8").startswith("<?xml")


def test_a_wrong_key(serve: Serve) -> None:
    """The warm-up finds out, and nothing more is sent. (X1)"""
    served = serve(Simulator(api_keys=["another"]))
    outcome = bench(environ=served.environ)
    assert (outcome.status, outcome.out) == (1, "")
    assert "Check the key in AI_API_KEY." in outcome.err
    assert _KEY not in outcome.err
    assert served.simulator.request_count == 1


@pytest.mark.parametrize("warm", [False, True])
def test_ctrl_c(serve: Serve, warm: bool) -> None:
    """Measuring, it reports what there is; before that, there is nothing. (C1)"""
    paces = 0

    async def pace(_: float) -> None:
        nonlocal paces
        paces += 1
        if paces > (3 if warm else 60):
            press_ctrl_c()
            await asyncio.Event().wait()

    served = serve(Simulator(pace=1.0, sleep=pace))
    argv = ["--requests", "20", "--concurrency", "1", "--max-tokens", "10"]
    outcome = bench(*argv, environ=served.environ)
    assert outcome.status == 130
    if warm:
        assert outcome.out == ""
    else:
        assert "0 failed, 1 not finished" in outcome.out
        assert "TIME" in outcome.out
    assert served.left() == 1


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_a_picture(tmp_path: Path, suffix: str) -> None:
    """In the format that its name asks for; JSON beside it."""
    pytest.importorskip("matplotlib")
    picture, numbers = tmp_path / f"b{suffix}", tmp_path / "b.json"
    outcome = bench(
        "--simulator", "0", "--requests", "9", "--max-tokens", "20",
        "--plot", str(picture), "--json", str(numbers),
    )  # fmt: skip
    assert outcome.status == 0
    magic = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert picture.read_bytes().startswith(magic[suffix])
    assert loads(numbers.read_bytes())["requests"]["ok"] == 9
    assert "requests  9 ok" in outcome.out


@virtual
async def test_what_is_in_the_picture(tmp_path: Path) -> None:
    """The same measurement is the same file, whatever it holds."""
    pytest.importorskip("matplotlib")
    broken = Slow(GOOD, [0.3, RateLimitError("No.")], says(3.0, 3.0), says(0.0))
    for number, provider in enumerate((broken, Slow(GOOD), Slow(says(0.0)))):
        tally = await measured(provider, requests=5)
        first, second = tmp_path / f"{number}.svg", tmp_path / f"{number}-2.svg"
        draw(first, subject(), tally)
        draw(second, subject(), tally)
        assert first.read_bytes() == second.read_bytes()
    times = Distribution()
    for value in (1, 2, 2, 2, 3):
        times.add(value)
    depths, values = ranked(times)
    assert values == [1, 2, 2, 3]
    assert [1 - 10**-depth for depth in depths] == pytest.approx([0.1, 0.3, 0.7, 0.9])
    line = Timeline(step=0.5)
    for at in (0.1, 0.2, 1.1):
        line.add(at)
    # The last step has been cut short by the end.
    assert columns(line, 1.25) == ([0, 0.5, 1.0, 1.25], [4, 0, 4])
    assert columns(line, 9.0) == ([0, 0.5, 1.0, 1.5], [4, 0, 2])


def test_a_picture_needs_its_extra() -> None:
    """It says what to install, and that is asked before anything is sent. (G1)"""
    with pytest.raises(ConfigError, match=r"pip install 'aichat\[plot\]'"):
        check(Path("b.svg"), find=lambda name: None)


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--requests", "0"], "'0' is no whole number from 1 on"),
        (["--warmup", "-1"], "is no whole number from 0 on"),
        (["--duration", "soon"], "'soon' is no duration, such as 30s or 5m"),
        (["--duration", "0"], "'0' is no duration"),
        (["--rate", "inf"], "'inf' is no rate above 0"),
        (["--rate", "fast"], "'fast' is no rate above 0"),
        (["--simulator", "slow"], "'slow' is no number of seconds"),
        (["--simulator", "nan"], "'nan' is no number of seconds"),
        (["--prompt", "a", "--prompt-file", "b"], "not allowed with"),
        (["--prompt", " "], "The prompt is empty"),
        (["--prompt-file", "missing"], "missing cannot be read: No such file"),
        (["--prompt-file", sys.executable], "is not UTF-8 text"),
        (["--simulator", "--provider", "openai"], "asks nobody else"),
        (["--arrivals", "random"], "give one"),
        (["--requests", "10000"], "That is 10,001 requests: say --yes"),
        (["--rate", "1000", "--duration", "1m"], "That is 60,001 requests"),
        (["--plot", "b.jpg"], "must end in .svg, .png, .pdf"),
        (["--json", "missing/b.json"], "there is no such folder"),
        (["--provider", "openai", "-m", "m"], "Set OPENAI_API_KEY"),
        (["--provider", "opneai"], "Did you mean openai"),
        (["--provider", "ollama"], "No model is named: say --model"),
        (["--timeout", "soon", "--provider", "ollama"], "'soon' is no duration"),
    ],
)
def test_what_is_wrong_before_anything_is_sent(argv: list[str], hint: str) -> None:
    """Exit status 2, and one line that says what to do. (G1, G4)"""
    outcome = bench(*argv)
    assert (outcome.status, outcome.out) == (2, "")
    assert hint in outcome.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("said", "requests", "concurrency"),
    [
        ({}, 50, 8),
        ({"requests": 7, "concurrency": 3}, 7, 3),
        ({"duration": 30.0}, 9_999, 8),
        ({"duration": 30.0, "requests": 99}, 99, 8),
        ({"duration": 30.0, "rate": 2.5}, 75, 75),
        ({"rate": 2.5}, 50, 50),
        ({"requests": 20_000, "yes": True}, 20_000, 8),
    ],
)
def test_how_much_is_asked(
    said: dict[str, Any], requests: int, concurrency: int
) -> None:
    """Never more than was said or than 10,000 without a yes; an open loop has no queue."""
    usual: dict[str, Any] = {
        "requests": None, "duration": math.inf, "concurrency": None, "rate": None,
        "arrivals": "even", "warmup": 1, "yes": False,
    }  # fmt: skip
    load = _load(Namespace(**{**usual, **said}))
    assert (load.requests, load.concurrency) == (requests, concurrency)


def test_a_duration_is_kept(serve: Serve) -> None:
    """It is said before, and stands in the numbers."""
    served = serve()
    argv = ["--duration", "1m", "--requests", "2", "--json", "-", "--warmup", "0"]
    outcome = bench(*argv, environ=served.environ)
    assert "up to 2 requests in 60 s" in outcome.err
    assert loads(outcome.out)["load"]["duration"] == 60
