"""`aichat.bulk.run_file_as_batches`, before the simulator's batches and a scripted provider."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from aichat import Client, ClientConfig, bulk
from aichat.errors import (
    BadRequestError,
    ConfigError,
    InvalidRequestError,
    ProviderUnavailableError,
    ServerError,
)
from aichat.middleware import Price
from aichat.testing import FakeProvider, Simulator, reply
from aichat.types import (
    Batch,
    BatchCounts,
    BatchRequest,
    BatchResult,
    BatchStatus,
    ChatRequest,
    Usage,
    fold,
    loads,
)

from .makers import ids, prompts, rows, write


class Clerk(FakeProvider):
    """Takes batches, and answers them when it is asked for the third time."""

    def __init__(self) -> None:
        super().__init__([], name="clerk")
        self.taken: dict[str, list[BatchRequest]] = {}
        self.looks: dict[str, int] = {}
        #: Raised instead of taking the next batch; and whether it is taken all the same.
        self.trouble: Exception | None = None
        self.takes_it = False
        self.ends: BatchStatus = BatchStatus.COMPLETED
        #: What fails, and what has no result.
        self.bad: set[str] = set()
        self.silent: set[str] = set()
        #: Raised after so many results.
        self.breaks_after: int | None = None
        self.why: Exception = ServerError("It broke.")
        self.patient = False

    async def submit(self, requests: Iterable[BatchRequest], /) -> Batch:
        trouble, self.trouble = self.trouble, None
        if trouble is None or self.takes_it:
            self.taken[f"b{len(self.taken)}"] = list(requests)
        if trouble is not None:
            raise trouble
        return self._batch(f"b{len(self.taken) - 1}")

    def _batch(self, id: str) -> Batch:
        done = self.looks.get(id, 0) >= 2
        return Batch(
            id=id,
            status=self.ends if done else BatchStatus.RUNNING,
            counts=BatchCounts(total=len(self.taken[id])),
            created_at=time.time(),
        )

    async def get(self, id: str, /) -> Batch:
        if not self.patient:
            self.looks[id] = self.looks.get(id, 0) + 1
        return self._batch(id)

    async def cancel(self, id: str, /) -> Batch:
        raise NotImplementedError

    async def list(self) -> AsyncGenerator[Batch, None]:
        for name in reversed(self.taken):
            yield self._batch(name)
        yield evolve(self._batch("b0"), id="old", created_at=0.0)

    async def results(self, batch: Batch, /) -> AsyncGenerator[BatchResult, None]:
        if self.ends is BatchStatus.FAILED:
            raise self.why
        for number, each in enumerate(self.taken[batch.id]):
            if number == self.breaks_after:
                self.breaks_after = None
                raise self.why
            if each.id in self.silent:
                continue
            if each.id in self.bad:
                yield BatchResult(each.id, error=BadRequestError("No."))
                continue
            usage = Usage(input_tokens=10, output_tokens=5)
            answer = fold(reply(f"You said: {each.id}", usage=usage))
            yield BatchResult(each.id, answer)


_PRICES = {"clerk:*": Price("1", "10", batch="0.5")}


async def _run(
    clerk: Clerk, source: Path, target: Path, **settings: Any
) -> bulk.Summary:
    client = Client({"clerk": clerk}, model="clerk:m")
    return await bulk.run_file_as_batches(
        client, source, target, poll=0.001, prices=_PRICES, **settings
    )


@pytest.mark.parametrize(
    ("dialect", "provider"), [("openai-chat", "openai-chat"), ("openai", "openai")]
)
async def test_all_of_it_before_the_simulator(
    tmp_path: Path, dialect: str, provider: str
) -> None:
    """Handed in once, collected in later calls, in the forms of the lines."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    chat = {"custom_id": "c", "url": "/v1/chat/completions", "body": body}
    source = write(
        tmp_path / "in",
        [{"id": "a", "prompt": "Hi"}, chat, {"id": "d", "prompt": "Hi", "model": "n"}],
    )
    target = tmp_path / "out"
    async with Simulator() as simulator:
        config = ClientConfig(
            provider=provider,
            api_key="any",
            base_url=simulator.base_url(dialect),
            model="m",
        )
        async with Client.from_config(config, environ={}) as client:
            summary = None
            for _ in range(6):
                summary = await bulk.run_file_as_batches(
                    client, source, target, wait=False
                )
                if summary.stopped is None:
                    break
                assert summary.stopped == "asked"
                assert loads((tmp_path / "out.job.json").read_bytes())["complete"]
    assert summary is not None
    assert summary.ok
    assert sorted(ids(target)) == ["a", "c", "d"]
    assert {row.get("custom_id") for row in rows(target)} == {None, "c"}
    assert not (tmp_path / "out.job.json").exists()
    handed = [r for r in simulator.requests if r.path.endswith("/batches")]
    assert len([r for r in handed if r.method == "POST"]) == 2  # one per model


async def test_failures(tmp_path: Path) -> None:
    """What failed, what has no result, what was no request: each with the line that it was."""
    clerk = Clerk()
    clerk.bad, clerk.silent = {"q1"}, {"q2"}
    lines = [{"id": f"q{i}", "prompt": f"q{i}"} for i in range(4)]
    source = write(tmp_path / "in", [*lines, "nonsense"])
    target = tmp_path / "out"
    seen: list[bulk.Progress] = []
    summary = await _run(clerk, source, target, on_progress=seen.append)
    assert summary.failures is not None
    assert (summary.progress.succeeded, summary.progress.failed) == (2, 3)
    # Half of what it costs one by one.
    assert summary.progress.cost == 2 * _PRICES["clerk:*"].input * 30 / 10**6
    failed = rows(summary.failures)
    assert [row.get("id") for row in failed] == ["q1", "q2", None]
    assert "No." in failed[0]["error"]["message"]
    assert "without a result" in failed[1]["error"]["message"]
    assert seen[-1].left == 0
    clerk.bad = clerk.silent = set()
    write(source, lines)
    summary = await _run(clerk, source, target)
    assert summary.ok
    assert [request.id for request in clerk.taken["b1"]] == ["q1", "q2"]


async def test_a_batch_that_is_refused_as_a_whole(tmp_path: Path) -> None:
    """Its lines fail with what it was refused for."""
    clerk = Clerk()
    clerk.ends, clerk.why = BatchStatus.FAILED, BadRequestError("Line 1 is bad.")
    source = prompts(tmp_path / "in", 3)
    summary = await _run(clerk, source, tmp_path / "out")
    assert summary.failures is not None
    assert [r["error"]["message"] for r in rows(summary.failures)] == [
        "Line 1 is bad."
    ] * 3


async def test_a_download_that_breaks(tmp_path: Path) -> None:
    """What came is kept; the next call fetches it again and writes only what is missing."""
    clerk = Clerk()
    clerk.breaks_after = 2
    source, target = prompts(tmp_path / "in", 5), tmp_path / "out"
    with pytest.raises(ServerError):
        await _run(clerk, source, target)
    assert len(ids(target)) == 2
    assert (await _run(clerk, source, target)).ok
    assert sorted(ids(target)) == [f"q{i}" for i in range(5)]
    assert len(clerk.taken) == 1


async def test_a_large_input_is_handed_in_piece_by_piece(tmp_path: Path) -> None:
    """Ten thousand at a time, the rest of each model at the end; and on where it ended."""
    clerk = Clerk()
    clerk.patient = True
    lines = [
        {"id": f"q{i}", "prompt": "x", "model": "b" if i % 5 == 0 else "a"}
        for i in range(13_000)
    ]
    source, target = write(tmp_path / "in", lines), tmp_path / "out"
    original, calls = clerk.submit, 0

    async def submit(requests: Iterable[BatchRequest], /) -> Batch:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ProviderUnavailableError("Overloaded.", status=429)
        return await original(requests)

    clerk.submit = submit  # type: ignore[method-assign]  # for one call
    with pytest.raises(ProviderUnavailableError):
        await _run(clerk, source, target, wait=False)
    assert "intent" not in loads((tmp_path / "out.job.json").read_bytes())
    summary = await _run(clerk, source, target, wait=False)
    assert summary.stopped == "asked"
    handed = [request.id for batch in clerk.taken.values() for request in batch]
    assert len(handed) == len(set(handed)) == 13_000
    assert [len(batch) for batch in clerk.taken.values()] == [8000, 2600, 2400]
    for batch in clerk.taken.values():
        assert len({request.request.model for request in batch}) == 1


@pytest.mark.parametrize("there", [True, False])
async def test_nobody_knows_whether_it_was_handed_in(
    tmp_path: Path, there: bool
) -> None:
    """Then somebody decides: nothing is handed in twice, and nothing is forgotten."""
    clerk = Clerk()
    clerk.trouble = ProviderUnavailableError("The connection broke.")
    clerk.takes_it = there
    source, target = prompts(tmp_path / "in", 3), tmp_path / "out"
    with pytest.raises(ProviderUnavailableError):
        await _run(clerk, source, target)
    expected = "It may be b0" if there else "None looks like it"
    clerk.taken.setdefault("b0", [BatchRequest("z", ChatRequest("z"))])
    with pytest.raises(ConfigError, match=f"lines 1 to 3.*{expected}"):
        await _run(clerk, source, target)
    before = len(clerk.taken)
    summary = await _run(clerk, source, target, unsure="b0" if there else "resubmit")
    assert summary.ok
    assert len(clerk.taken) - before == (0 if there else 1)


async def test_what_is_certain_leaves_no_doubt(tmp_path: Path) -> None:
    """A refusal before anything was sent, or by the provider, can be tried again at once."""
    clerk = Clerk()
    source, target = prompts(tmp_path / "in", 3), tmp_path / "out"
    for error in (InvalidRequestError("No."), BadRequestError("No.", status=400)):
        clerk.trouble = error
        with pytest.raises(type(error)):
            await _run(clerk, source, target)
    assert (await _run(clerk, source, target)).ok


async def test_job_files_that_will_not_do(tmp_path: Path) -> None:
    """Another input, or no job file."""
    clerk = Clerk()
    source, target = prompts(tmp_path / "in", 3), tmp_path / "out"
    await _run(clerk, source, target, wait=False)
    prompts(tmp_path / "in", 4)
    with pytest.raises(ConfigError, match="not what it was"):
        await _run(clerk, source, target)
    job = tmp_path / "notes"
    job.write_text("Dear diary")
    with pytest.raises(ConfigError, match="no job file"):
        await _run(clerk, source, target, job=job)
    assert job.read_text() == "Dear diary"


async def test_nothing_left_to_do(tmp_path: Path) -> None:
    """Nothing is handed in, and no job file stays."""
    clerk = Clerk()
    source, target = prompts(tmp_path / "in", 2), tmp_path / "out"
    assert (await _run(clerk, source, target)).ok
    assert (await _run(clerk, source, target)).ok
    assert len(clerk.taken) == 1
    assert not (tmp_path / "out.job.json").exists()
