"""`client.batches`: hand in, wait, collect, maybe elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Any

import pytest
from attrs import evolve

from aichat import (
    AuthenticationError,
    Batch,
    BatchCounts,
    BatchRequest,
    BatchResult,
    BatchStatus,
    ChatRequest,
    CircuitOpenError,
    Client,
    ClosedError,
    DeadlineError,
    InvalidRequestError,
    ServerError,
    fold,
    from_json,
    to_json,
    user,
)
from aichat._batches import Batches
from aichat.testing import FakeProvider, reply
from aichat.types import Prompt


class Slow(FakeProvider):
    """A provider of batches that says what the script says when it is asked."""

    def __init__(self, *states: BatchStatus | Exception, name: str = "slow") -> None:
        super().__init__([], name=name)
        self.states = [*states]
        self.jobs: dict[str, list[BatchRequest]] = {}
        self.closed = 0

    def _batch(self, id: str, status: BatchStatus) -> Batch:
        return Batch(id=id, provider=self.name, status=status)

    async def submit(self, requests: Iterable[BatchRequest], /) -> Batch:
        name = f"job-{len(self.jobs)}"
        self.jobs[name] = [*requests]
        batch = self._batch(name, BatchStatus.PENDING)
        return evolve(batch, warnings=("No seed.",), model="m")

    async def get(self, id: str, /) -> Batch:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        return self._batch(id, state)

    async def results(self, batch: Batch, /) -> AsyncGenerator[BatchResult, None]:
        try:
            for request in reversed(self.jobs[batch.id]):
                text = f"Re: {request.request.messages[-1].text}"
                yield BatchResult(request.id, fold(reply(text)))
        finally:
            self.closed += 1

    async def cancel(self, id: str, /) -> Batch:
        return self._batch(id, BatchStatus.CANCELLING)

    async def list(self) -> AsyncGenerator[Batch, None]:
        for name in reversed(self.jobs):
            yield self._batch(name, BatchStatus.RUNNING)


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def batches(self, client: Client) -> Batches:
        """The batches of *client*, in this time."""
        return evolve(
            client.batches, sleep=self.sleep, clock=lambda: self.now, rand=lambda: 0.5
        )


def slow(*states: BatchStatus | Exception) -> tuple[Slow, Client]:
    provider = Slow(*(states or (BatchStatus.COMPLETED,)))
    return provider, Client(
        {"slow": provider, "plain": FakeProvider([])}, model="slow:m"
    )


async def test_from_question_to_answer() -> None:
    """Submit, wait, and collect by id; the order is the provider's."""
    _, client = slow(BatchStatus.RUNNING, BatchStatus.COMPLETED)
    batches = Clock().batches(client)
    batch = await batches.submit({"a": "1", "b": "2"})
    assert (batch.status, batch.provider) == (BatchStatus.PENDING, "slow")
    batch = await batches.wait(batch)
    assert batch.status is BatchStatus.COMPLETED
    found = {r.id: r.response and r.response.text async for r in batches.results(batch)}
    assert found == {"b": "Re: 2", "a": "Re: 1"}
    assert [*found] == ["b", "a"]


async def test_prompts_messages_and_requests() -> None:
    """Whatever can be asked alone; options go over all of it."""
    provider, client = slow()
    whole = ChatRequest("3", "slow:other", top_p=0.5)
    prompts: dict[str, Prompt] = {"a": "1", "b": [user("2")], "c": whole}
    await client.batches.submit(prompts, temperature=0.1)
    await client.batches.submit(BatchRequest(each, whole) for each in ("x", "y"))
    first, second = provider.jobs.values()
    assert [r.id for r in first] == ["a", "b", "c"]
    assert [r.request.model for r in first] == ["slow:m", "slow:m", "slow:other"]
    assert {r.request.temperature for r in first} == {0.1}
    assert [r.request for r in second] == [whole, whole]


async def test_very_many() -> None:
    """None is lost on the way."""
    provider, client = slow()
    await client.batches.submit({str(n): "Hi" for n in range(1000)})
    assert len(provider.jobs["job-0"]) == 1000


async def test_another_process_collects() -> None:
    """A batch is written down; somebody else reads it, and goes on."""
    provider, client = slow(BatchStatus.RUNNING, BatchStatus.EXPIRED)
    text = to_json(await client.batches.submit({"a": "1"}))
    del client
    other = Clock().batches(Client({"slow": provider}))
    batch = await other.wait(from_json(Batch, text))
    assert batch.status is BatchStatus.EXPIRED
    # What only the first one knew is still there.
    assert (batch.warnings, batch.model) == (("No seed.",), "m")
    assert [r.id async for r in other.results(batch)] == ["a"]


async def test_results_by_id_alone() -> None:
    """Who has only the id asks how far it is first."""
    provider, client = slow()
    await client.batches.submit({"a": "1"})
    assert [r.id async for r in client.batches.results("job-0")] == ["a"]
    found = client.batches.results("job-0", provider="slow")
    assert [r.id async for r in found] == ["a"]
    assert provider.closed == 2


async def test_results_of_a_batch_that_has_gone_on() -> None:
    """What we knew of it is old: it is asked again."""
    _, client = slow(BatchStatus.COMPLETED)
    batch = await client.batches.submit({"a": "1"})
    assert not batch.done
    assert [r.id async for r in client.batches.results(batch)] == ["a"]


async def test_results_too_early() -> None:
    """It says what to do."""
    _, client = slow(BatchStatus.RUNNING)
    batch = await client.batches.submit({"a": "1"})
    with pytest.raises(InvalidRequestError, match=r"still running: .*batches\.wait"):
        [r async for r in client.batches.results(batch)]


async def test_leaving_the_results_early() -> None:
    """Closing ours closes the provider's. (C1)"""
    provider, client = slow()
    batch = await client.batches.submit({"a": "1", "b": "2"})
    results = client.batches.results(batch)
    await anext(results)
    assert provider.closed == 0
    await results.aclose()
    assert provider.closed == 1


async def test_cancel_and_list() -> None:
    """By batch or by id."""
    _, client = slow()
    batch = await client.batches.submit({"a": "1"})
    assert (await client.batches.cancel(batch)).status is BatchStatus.CANCELLING
    assert (await client.batches.cancel("job-0")).provider == "slow"
    assert [b.id async for b in client.batches.list()] == ["job-0"]
    assert [b.provider async for b in client.batches.list("slow")] == ["slow"]


async def test_the_name_is_the_clients() -> None:
    """Not what the provider calls itself: by that it would not be found again."""
    provider = Slow(BatchStatus.COMPLETED, name="itself")
    client = Client({"mine": provider}, model="mine:m")
    batch = await client.batches.submit({"a": "1"})
    assert batch.provider == "mine"
    assert (await client.batches.get(batch)).provider == "mine"
    assert [b.provider async for b in client.batches.list()] == ["mine"]


# --- waiting --------------------------------------------------------------------------


async def test_it_looks_more_and_more_rarely() -> None:
    """With jitter, and never more rarely than every five minutes or so."""
    clock = Clock()
    _, client = slow(*[BatchStatus.RUNNING] * 14, BatchStatus.COMPLETED)
    await clock.batches(client).wait("job-0", poll=10)
    assert clock.slept[:4] == [10, 15, 22.5, 33.75]
    assert clock.slept[-1] == 300


@pytest.mark.parametrize(("rand", "seconds"), [(0.0, 7.5), (1.0, 12.5)])
async def test_a_quarter_more_or_less(rand: float, seconds: float) -> None:
    """Those who were submitted together are not asked for together. (R5)"""
    clock = Clock()
    _, client = slow(BatchStatus.RUNNING, BatchStatus.COMPLETED)
    batches = evolve(clock.batches(client), rand=lambda: rand)
    await batches.wait("job-0", poll=10)
    assert clock.slept == [seconds]


async def test_who_wants_to_look_rarely_may() -> None:
    """A longer poll than five minutes stays as it is."""
    clock = Clock()
    _, client = slow(*[BatchStatus.RUNNING] * 3, BatchStatus.COMPLETED)
    await clock.batches(client).wait("job-0", poll=3600)
    assert clock.slept == [3600, 3600, 3600]


async def test_the_deadline_of_waiting() -> None:
    """It looks once more at the end of it; the batch goes on. (D4)"""
    clock = Clock()
    provider, client = slow(BatchStatus.RUNNING)
    with pytest.raises(DeadlineError, match="job-0 was not done within 60 s") as caught:
        await clock.batches(client).wait("job-0", poll=10, deadline=60)
    assert clock.now == 60
    assert (caught.value.phase, caught.value.provider) == ("total", "slow")
    assert not caught.value.retryable
    provider.states = [BatchStatus.COMPLETED]
    assert (await client.batches.get("job-0")).done


@pytest.mark.parametrize("error", [ServerError("x"), CircuitOpenError("x")])
async def test_it_survives_a_bad_hour(error: Exception) -> None:
    """A provider that is away for a while does not end the waiting."""
    _, client = slow(
        *[error] * 9, BatchStatus.RUNNING, *[error] * 9, BatchStatus.FAILED
    )
    batch = await Clock().batches(client).wait("job-0")
    assert batch.status is BatchStatus.FAILED


async def test_it_does_not_survive_everything() -> None:
    """Ten failures in a row, or one that will not pass."""
    clock = Clock()
    _, client = slow(ServerError("Down."))
    with pytest.raises(ServerError):
        await clock.batches(client).wait("job-0")
    assert len(clock.slept) == 9
    _, client = slow(AuthenticationError("Wrong key."))
    with pytest.raises(AuthenticationError):
        await Clock().batches(client).wait("job-0")


# --- what cannot be -------------------------------------------------------------------


async def test_two_providers() -> None:
    """A batch belongs to one. (G4)"""
    _, client = slow()
    with pytest.raises(InvalidRequestError, match="these are for plain, slow"):
        await client.batches.submit([
            BatchRequest("a", ChatRequest("Hi", "slow:m")),
            BatchRequest("b", ChatRequest("Hi", "plain:m")),
        ])


async def test_none_at_all() -> None:
    """An empty batch is nothing. (G4)"""
    _, client = slow()
    with pytest.raises(InvalidRequestError, match="at least one"):
        await client.batches.submit({})
    with pytest.raises(InvalidRequestError, match="at least one"):
        await client.batches.submit([])


async def test_a_provider_without_batches() -> None:
    """It says so."""
    _, client = slow()
    with pytest.raises(InvalidRequestError, match="'plain' does not take batches"):
        await client.batches.submit({"a": "Hi"}, model="plain:m")


async def test_an_unknown_provider() -> None:
    """The same error as for a chat."""
    _, client = slow()
    with pytest.raises(InvalidRequestError, match="no provider 'nope'"):
        await client.batches.get("x", provider="nope")


@pytest.mark.parametrize("id", ["", 3])
def test_an_id_that_is_no_text(id: Any) -> None:
    """It is refused when the request is made. (G4)"""
    with pytest.raises(InvalidRequestError, match="must be a text"):
        BatchRequest(id, ChatRequest("Hi", "m"))


async def test_after_closing() -> None:
    """A closed client takes none. (C4)"""
    _, client = slow()
    await client.aclose()
    with pytest.raises(ClosedError):
        await client.batches.submit({"a": "Hi"})


# --- values ---------------------------------------------------------------------------


def test_a_batch_survives_json() -> None:
    """All of it."""
    batch = Batch(
        id="b",
        provider="p",
        status=BatchStatus.CANCELLED,
        counts=BatchCounts(total=3, succeeded=1, failed=0, cancelled=2),
        model="m",
        created_at=1.5,
        ended_at=2.0,
        expires_at=3.0,
        warnings=("w",),
        raw={"deep": [{"er": None}]},
    )
    assert from_json(Batch, to_json(batch)) == batch
    request = BatchRequest("a", ChatRequest("Hi", "m", temperature=0.5))
    assert from_json(BatchRequest, to_json(request)) == request


@pytest.mark.parametrize("status", BatchStatus)
def test_when_it_is_done(status: BatchStatus) -> None:
    """When nothing changes any more."""
    going_on = {BatchStatus.PENDING, BatchStatus.RUNNING, BatchStatus.CANCELLING}
    assert Batch(id="b", status=status).done == (status not in going_on)
