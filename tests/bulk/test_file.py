"""`aichat.bulk.run_file`: a file answered into a file."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aichat import Client, bulk
from aichat.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    InvalidRequestError,
    SpendLimitError,
)
from aichat.middleware import Price
from aichat.types import ChatRequest, ChatResponse, dumps, from_json, loads

from .makers import SlowProvider, client_of, ids, names, prompts, rows, write

_PRICES = {"slow:*": Price("1", "10")}
#: What one answer costs.
_EACH = Decimal("0.00006")


async def _run(
    provider: SlowProvider, source: Path, target: Path, **settings: Any
) -> bulk.Summary:
    return await bulk.run_file(client_of(provider), source, target, **settings)


async def test_every_line_has_its_answer(tmp_path: Path) -> None:
    """In either form, and with what it cost."""
    body = {"model": "any", "messages": [{"role": "user", "content": "b"}]}
    chat = {"custom_id": "b", "url": "/v1/chat/completions", "body": body}
    items = {"model": "slow:other", "input": "c"}
    responses = {"custom_id": "c", "url": "/v1/responses", "body": items}
    source = write(tmp_path / "in", [{"id": "a", "prompt": "a"}, chat, "", responses])
    target = tmp_path / "out"
    seen: list[bulk.Progress] = []
    summary = await _run(
        SlowProvider(seconds=0),
        source,
        target,
        prices=_PRICES,
        on_progress=seen.append,
        temperature=0,
    )
    assert summary.ok
    assert (summary.output, summary.failures, summary.stopped) == (target, None, None)
    found = {row.get("custom_id", row["id"]): row for row in rows(target)}
    assert set(found) == {"a", "b", "c"}
    ours = from_json(ChatResponse, dumps(found["a"]["response"]))
    assert ours.text == "You said: a"
    assert found["a"]["usage"]["output_tokens"] == 5
    assert Decimal(found["a"]["cost"]["total"]) == _EACH
    message = found["b"]["response"]["body"]["choices"][0]["message"]
    assert message["content"] == "You said: b"
    output = found["c"]["response"]["body"]["output"]
    assert output[0]["content"][0]["text"] == "You said: c"
    progress = summary.progress
    assert (progress.total, progress.succeeded, progress.left) == (3, 3, 0)
    assert (progress.input_tokens, progress.output_tokens) == (30, 15)
    assert progress.cost == 3 * _EACH
    assert [each.done for each in seen] == [1, 2, 3]
    assert seen[-1].eta == 0 or seen[-1].rate == 0


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_output_that_was_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever a crash leaves of it: in the end every answer is there, once."""
    place = tmp_path_factory.mktemp("bulk")
    source, target = prompts(place / "in", 12), place / "out"
    asyncio.run(_run(SlowProvider(seconds=0), source, target))
    whole = target.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    target.write_bytes(whole[:cut])
    kept = whole[: cut + 1].count(b"\n")
    provider = SlowProvider(seconds=0)
    summary = asyncio.run(_run(provider, source, target))
    assert summary.ok
    assert sum(provider.asked.values()) == 12 - kept
    assert summary.progress.before == kept
    assert Counter(ids(target)) == Counter({f"q{i}": 1 for i in range(12)})


async def test_failures_can_be_asked_again(tmp_path: Path) -> None:
    """By the same command, or as an input of their own; then they are gone."""

    def answer(request: ChatRequest, before: int) -> str | Exception:
        hard = request.messages[-1].text in ("q1", "q3")
        return BadRequestError("No.", status=400) if hard and before < 2 else "Yes."

    provider = SlowProvider(answer, seconds=0)
    lines = [{"id": f"q{i}", "prompt": f"q{i}"} for i in range(4)]
    source = write(tmp_path / "in.jsonl", [*lines, "nonsense"])
    target = tmp_path / "out.jsonl"
    summary = await _run(provider, source, target)
    assert not summary.ok
    assert summary.failures == tmp_path / "out.failures.jsonl"
    assert summary.progress.failed == 3
    failed = rows(summary.failures)
    assert sorted(row.get("id", "") for row in failed) == ["", "q1", "q3"]
    assert {row["error"]["code"] for row in failed} == {"invalid_input"}
    # As an input: what fails again goes elsewhere, and the input stays.
    again = await _run(provider, summary.failures, target)
    assert again.failures == tmp_path / "out.failures-again.jsonl"
    assert len(rows(summary.failures)) == 3
    # By the same command, when it goes well.
    summary = await _run(provider, source, target)
    assert summary.progress.before == 2
    assert summary.progress.failed == 1
    assert sorted(ids(target)) == ["q0", "q1", "q2", "q3"]
    write(source, lines)
    summary = await _run(provider, source, target)
    assert summary.ok
    assert not (tmp_path / "out.failures.jsonl").exists()
    assert set(provider.asked.values()) == {1, 3}


async def test_failures_do_not_overwrite_what_is_none(tmp_path: Path) -> None:
    """A torn one of ours is replaced, somebody's file is not."""
    source = prompts(tmp_path / "in", 1)
    other = tmp_path / "notes"
    for text in ("Dear diary", '{"id":"a"}\n'):
        other.write_text(text)
        with pytest.raises(ConfigError, match="holds no failures"):
            await _run(SlowProvider(), source, tmp_path / "out", failures=other)
        assert other.read_text() == text
    other.write_text('{"id":"a","pro')
    summary = await _run(
        SlowProvider(seconds=0), source, tmp_path / "out", failures=other
    )
    assert summary.ok


async def test_too_many_failures_end_it(tmp_path: Path) -> None:
    """Bad lines count, and what is under way is finished."""
    provider = SlowProvider(lambda *_: BadRequestError("No."), seconds=0)
    source, target = prompts(tmp_path / "in", 100), tmp_path / "out"
    summary = await _run(provider, source, target, max_failures=5)
    assert summary.stopped == "failures"
    assert 6 <= summary.progress.failed < 20
    assert summary.progress.left == 100 - summary.progress.failed
    source = write(tmp_path / "bad", ["nonsense"] * 50)
    summary = await _run(provider, source, target, max_failures=0)
    assert (summary.stopped, summary.progress.failed) == ("failures", 1)


async def test_strict(tmp_path: Path) -> None:
    """Nothing is sent, and all mistakes are told together."""
    lines = [{"id": "a", "prompt": "a"}, "nonsense", {"id": "b"}]
    source = write(tmp_path / "in", lines)
    provider = SlowProvider(seconds=0)
    with pytest.raises(
        InvalidRequestError, match=r"Line 2: not JSON.*Line 3: there is"
    ):
        await _run(provider, source, tmp_path / "out", strict=True)
    write(source, ["nonsense"] * 100)
    with pytest.raises(InvalidRequestError, match="and more"):
        await _run(provider, source, tmp_path / "out", strict=True)
    assert not provider.requests
    write(source, lines[:1])
    assert (await _run(provider, source, tmp_path / "out", strict=True)).ok


async def test_ids_that_occur_twice(tmp_path: Path) -> None:
    """Are refused with their lines, whatever the form, and also when one is done."""
    twice = {"custom_id": "a", "url": "/v1/responses", "body": {}}
    source = write(
        tmp_path / "in", [{"id": "a", "prompt": "a"}, {"id": "b", "prompt": "b"}]
    )
    provider = SlowProvider(seconds=0)
    await _run(provider, source, tmp_path / "out")
    write(source, [{"id": "a", "prompt": "a"}, {"id": "b", "prompt": "b"}, twice])
    for target in (tmp_path / "out", tmp_path / "new"):
        with pytest.raises(
            InvalidRequestError, match="line 3 has the id 'a' of line 1"
        ):
            await _run(provider, source, target)
    assert len(provider.requests) == 2


async def test_a_limit_on_what_it_may_cost(tmp_path: Path) -> None:
    """What earlier runs have spent counts."""
    source, target = prompts(tmp_path / "in", 100), tmp_path / "out"
    settings: dict[str, Any] = {"prices": _PRICES, "max_tokens": 5}
    summary = await _run(
        SlowProvider(seconds=0), source, target, max_cost=10 * _EACH, **settings
    )
    assert summary.stopped == "spent"
    assert isinstance(summary.error, SpendLimitError)
    first = summary.progress.succeeded
    assert 5 <= first <= 11
    summary = await _run(
        SlowProvider(seconds=0), source, target, max_cost=20 * _EACH, **settings
    )
    assert summary.progress.cost_before == first * _EACH
    assert 12 <= summary.progress.succeeded + first <= 21
    with pytest.raises(SpendLimitError, match="used up"):
        await _run(SlowProvider(), source, target, max_cost="0.0001", **settings)
    assert summary.progress.failed == 0


async def test_what_fails_everything_ends_it(tmp_path: Path) -> None:
    """With the error in the summary, and those that were tried among the failures."""
    source = prompts(tmp_path / "in", 100)
    provider = SlowProvider(lambda *_: AuthenticationError("Wrong key."), seconds=0)
    summary = await _run(provider, source, tmp_path / "out")
    assert summary.stopped == "error"
    assert isinstance(summary.error, AuthenticationError)
    assert summary.progress.left > 80


async def test_a_brake(tmp_path: Path) -> None:
    """What is under way is written; the next run does the rest, and nothing twice."""
    provider = SlowProvider(seconds=0.01)
    source, target = prompts(tmp_path / "in", 60), tmp_path / "out"
    brake = bulk.Brake()

    def enough(progress: bulk.Progress) -> None:
        if progress.done == 10:
            brake.pull()

    summary = await _run(
        provider, source, target, brake=brake, on_progress=enough, concurrency=8
    )
    assert summary.stopped == "asked"
    assert 10 <= summary.progress.succeeded <= 18
    assert sorted(ids(target)) == sorted(provider.answered)
    assert (await _run(provider, source, target)).ok
    assert set(provider.asked.values()) == {1}
    assert len(ids(target)) == 60


async def test_being_cancelled(tmp_path: Path) -> None:
    """What was answered is written, what was under way is dropped, and no task is left. (C1)"""
    provider = SlowProvider(seconds=0.02)
    source, target = prompts(tmp_path / "in", 60), tmp_path / "out"
    enough = asyncio.Event()

    def look(progress: bulk.Progress) -> None:
        if progress.done >= 10:
            enough.set()

    task = asyncio.create_task(_run(provider, source, target, on_progress=look))
    await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ids(target)) == sorted(provider.answered)
    assert provider.active == 0
    assert (await _run(provider, source, target)).ok
    assert set(provider.answered.values()) == {1}


async def test_files_that_will_not_do(tmp_path: Path) -> None:
    """Nothing is sent or written. (G4)"""
    source = prompts(tmp_path / "in", 1)
    provider = SlowProvider()
    with pytest.raises(ConfigError, match="no file"):
        await _run(provider, tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(ConfigError, match="twice"):
        await _run(provider, source, source)
    with pytest.raises(ConfigError, match="twice"):
        await _run(provider, source, tmp_path / "out", failures=tmp_path / "out")
    with pytest.raises(ConfigError, match="max_failures"):
        await _run(provider, source, tmp_path / "out", max_failures=-1)
    with pytest.raises(ConfigError, match="money"):
        await _run(provider, source, tmp_path / "out", max_cost="much")
    with pytest.raises(TypeError, match="temprature"):
        await _run(provider, source, tmp_path / "out", temprature=1)
    assert not (tmp_path / "out").exists()


async def test_an_input_that_changes_meanwhile(tmp_path: Path) -> None:
    """Nobody knows what its lines are any more."""
    source, target = prompts(tmp_path / "in", 2000), tmp_path / "out"

    changed: list[bool] = []

    def change(_: bulk.Progress) -> None:
        if not changed:
            changed.append(True)
            lines = source.read_bytes().splitlines(keepends=True)
            source.write_bytes(b"".join(reversed(lines)))

    with pytest.raises(ConfigError, match="changed"):
        await _run(SlowProvider(seconds=0), source, target, on_progress=change)


async def test_lines_that_the_options_make_bad(tmp_path: Path) -> None:
    """No model, or no such provider."""
    source = prompts(tmp_path / "in", 1)
    client = client_of(SlowProvider(), model="")
    summary = await bulk.run_file(client, source, tmp_path / "out")
    assert summary.failures is not None
    assert "No model" in rows(summary.failures)[0]["error"]["message"]
    write(source, [{"id": "a", "prompt": "a", "model": "slwo:any"}])
    with pytest.raises(InvalidRequestError, match="Did you mean 'slow'"):
        await bulk.run_file(client, source, tmp_path / "out", strict=True)


async def test_an_estimate(tmp_path: Path) -> None:
    """Of what is left, by what each answer may be at most; nothing is sent or written."""
    provider = SlowProvider(seconds=0)
    client = client_of(provider)
    lines: list[Any] = [{"id": f"q{i}", "prompt": "Hello there!"} for i in range(10)]
    source = write(
        tmp_path / "in",
        [
            *lines,
            {"id": "x", "prompt": "Hi", "model": "m", "max_tokens": 7},
            "nonsense",
        ],
    )
    target = tmp_path / "out"
    estimate = await bulk.estimate_file(client, source, target, prices=_PRICES)
    assert (estimate.lines, estimate.done, estimate.bad) == (12, 0, 1)
    assert (estimate.left, estimate.unpriced) == (11, 0)
    assert estimate.output_tokens == 10 * 1000 + 7
    assert estimate.cost - estimate.input_cost == 10 * Decimal("0.01") + Decimal(
        "0.00007"
    )
    assert "Line 12" in estimate.mistakes[0]
    assert not target.exists()
    assert not provider.requests
    await bulk.run_file(client, source, target, prices=_PRICES)
    torn = target.read_bytes()[:-20]
    target.write_bytes(torn)
    estimate = await bulk.estimate_file(
        client,
        source,
        target,
        prices={"slow:*": Price("1", "10", batch="0.5")},
        batch=True,
        expected_output=100,
        service_tier="flex",
    )
    assert (estimate.done, estimate.left) == (10, 1)
    assert target.read_bytes() == torn
    free = await bulk.estimate_file(client, source, prices={"none:*": Price(1, 1)})
    assert free.unpriced == 11


async def test_a_run_that_takes_its_time(tmp_path: Path) -> None:
    """What it has written is synced each second; all of it is there in the end."""
    source = prompts(tmp_path / "in", 10)
    provider = SlowProvider(seconds=0.25)
    summary = await _run(provider, source, tmp_path / "out", concurrency=2)
    assert summary.ok
    assert summary.progress.seconds > 1
    assert summary.progress.rate > 0


async def test_a_disk_that_is_full_ends_it(tmp_path: Path) -> None:
    """The error is the system's: no answer would be kept."""
    failures = tmp_path / "nowhere" / "failures"
    source = write(tmp_path / "in", ["nonsense"])
    with pytest.raises(OSError, match="No such file"):
        await _run(SlowProvider(), source, tmp_path / "out", failures=failures)


async def test_much_that_is_done_before(tmp_path: Path) -> None:
    """Others get their turn while it is read."""
    source, target = prompts(tmp_path / "in", 600), tmp_path / "out"
    await _run(SlowProvider(seconds=0), source, target)
    provider = SlowProvider(seconds=0)
    assert (await _run(provider, source, target)).progress.before == 600
    assert not provider.requests


_BODY = {"messages": [{"role": "user", "content": "Hi"}]}
_ASKED = [
    {"id": "a", "prompt": "Hi"},
    {"id": "b", "prompt": "Hi", "model": "any"},
    {"id": "c", "prompt": "Hi", "model": "slow:any"},
    {"custom_id": "d", "url": "/v1/chat/completions", "body": _BODY},
    {
        "custom_id": "e",
        "url": "/v1/chat/completions",
        "body": {**_BODY, "model": "any"},
    },
    {
        "custom_id": "f",
        "url": "/v1/responses",
        "body": {"model": "slow:any", "input": "Hi"},
    },
]


async def test_answers_say_who_was_asked(tmp_path: Path) -> None:
    """In every form, however the line named the model; the same again is no other."""
    source, target = write(tmp_path / "in", _ASKED), tmp_path / "out"
    provider = SlowProvider(seconds=0)
    assert (await _run(provider, source, target)).ok
    assert {row["model"] for row in rows(target)} == {"slow:any"}
    summary = await _run(provider, source, target)
    assert (summary.progress.before, len(provider.requests)) == (6, 6)


@pytest.mark.parametrize("line", _ASKED)
async def test_answers_of_another_model_are_not_taken_for_its_own(
    tmp_path: Path, line: dict[str, Any]
) -> None:
    """Nothing is sent or written, and the error says what to do."""
    line = loads(dumps(line).replace(b"any", b"first"))
    source, target = write(tmp_path / "in", [line]), tmp_path / "out"
    client = client_of(SlowProvider(seconds=0), "slow:first")
    await bulk.run_file(client, source, target)
    before = target.read_bytes()
    provider = SlowProvider(seconds=0)
    provider.name = "fast"
    clients = Client({"fast": provider, "slow": provider}, model="fast:other")
    told = (
        r"answers of slow:first to 1 line that would be asked of (\S+) now.*any_model"
    )
    for model in ("slow:second", "second"):
        with pytest.raises(ConfigError, match=told):
            await bulk.run_file(clients, source, target, model=model)
        with pytest.raises(ConfigError, match=told):
            await bulk.run_file_as_batches(clients, source, target, model=model)
        with pytest.raises(ConfigError, match=told):
            await bulk.estimate_file(clients, source, target, model=model)
    assert (provider.requests, target.read_bytes()) == ([], before)
    # They will do, if somebody says so.
    summary = await bulk.run_file(
        clients, source, target, model="slow:second", any_model=True
    )
    assert summary.ok
    assert (provider.requests, target.read_bytes()) == ([], before)


async def test_what_has_failed_may_be_asked_of_another_model(tmp_path: Path) -> None:
    """Into the same output: only lines that have an answer are compared."""

    def answer(request: ChatRequest, _: int) -> str | Exception:
        hard = request.messages[-1].text == "q1" and request.model_name == "any"
        return BadRequestError("No.", status=400) if hard else "Yes."

    provider = SlowProvider(answer, seconds=0)
    source, target = prompts(tmp_path / "in", 2), tmp_path / "out"
    summary = await _run(provider, source, target)
    assert summary.failures is not None
    summary = await _run(provider, summary.failures, target, model="slow:larger")
    assert summary.ok
    assert {row["id"]: row["model"] for row in rows(target)} == {
        "q0": "slow:any",
        "q1": "slow:larger",
    }


async def test_a_run_that_is_refused_leaves_no_output(tmp_path: Path) -> None:
    """Neither where ids occur twice nor where lines are no requests."""
    line = {"id": "a", "prompt": "Hi"}
    source, target = write(tmp_path / "in", [line, line]), tmp_path / "out"
    with pytest.raises(InvalidRequestError, match="occur once"):
        await _run(SlowProvider(), source, target)
    write(source, [line, "nonsense"])
    with pytest.raises(InvalidRequestError, match="not JSON"):
        await _run(SlowProvider(), source, target, strict=True)
    assert names(tmp_path) == ["in"]


async def test_lines_that_are_no_requests_are_counted_apart(tmp_path: Path) -> None:
    """Asking again cannot help them."""
    lines = [{"id": "a", "prompt": "a"}, "nonsense", {"id": "b"}]
    source = write(tmp_path / "in", lines)
    refuse = SlowProvider(lambda *_: BadRequestError("No.", status=400), seconds=0)
    progress = (await _run(refuse, source, tmp_path / "out")).progress
    assert (progress.failed, progress.bad) == (3, 2)
