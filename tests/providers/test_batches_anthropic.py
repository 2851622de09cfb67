"""Anthropic's batches: one body in, lines out."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from aichat import (
    AIChatError,
    BadRequestError,
    BatchStatus,
    ChatRequest,
    DeadlineError,
    FinishReason,
    InvalidRequestError,
    StreamError,
)
from aichat.providers import anthropic
from aichat.types import BatchRequest, loads

from .anthropic_sdk import _check
from .batch_desks import Desk, body_of, client, recorded

SPEC = anthropic.SPEC
MODEL = "anthropic:claude-haiku-4-5"
PATH = "/v1/messages/batches"

JOB: dict[str, Any] = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {
        "processing": 5,
        "succeeded": 0,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    },
    "created_at": "2026-10-01T10:00:00Z",
    "expires_at": "2026-10-02T10:00:00Z",
    "ended_at": None,
    "archived_at": None,
    "cancel_initiated_at": None,
    "results_url": None,
}


def ended(**counts: int) -> dict[str, Any]:
    """The job when it is over."""
    return {
        **JOB,
        "processing_status": "ended",
        "ended_at": "2026-10-01T11:00:00Z",
        "results_url": "https://elsewhere.example.com/results",
        "request_counts": {**JOB["request_counts"], "processing": 0, **counts},
    }


def collecting() -> Desk:
    """A desk where the batch is done."""
    return Desk({
        f"GET {PATH}/msgbatch_1": ended(succeeded=2, errored=1, canceled=1, expired=1),
        f"GET {PATH}/msgbatch_1/results": recorded("anthropic_results.jsonl"),
    })


async def test_all_requests_in_one_body() -> None:
    """Each is a plain message, without a stream; the SDK has a place for all of it."""
    desk = Desk({f"POST {PATH}": JOB})
    batch = await client(desk, SPEC).batches.submit(
        {"one": "Hi", "two": "Ho"}, model=MODEL, max_tokens=100
    )
    [request] = desk.requests
    body = body_of(request)
    assert [each["custom_id"] for each in body["requests"]] == ["one", "two"]
    for each in body["requests"]:
        assert "stream" not in each["params"]
        assert [
            *_check(MessageCreateParamsNonStreaming, each["params"], "params")
        ] == []
    assert batch.status is BatchStatus.RUNNING
    assert batch.counts.total == 5
    assert batch.expires_at == 1790935200.0
    MessageBatch.model_validate(JOB)


async def test_models_may_be_mixed() -> None:
    """Here they can; then the batch has none."""
    desk = Desk({f"POST {PATH}": JOB})
    batch = await client(desk, SPEC).batches.submit([
        BatchRequest("one", ChatRequest("Hi", "anthropic:claude-haiku-4-5")),
        BatchRequest("two", ChatRequest("Hi", "anthropic:claude-sonnet-4-5")),
    ])
    assert batch.model is None
    models = [each["params"]["model"] for each in body_of(desk.requests[0])["requests"]]
    assert models == ["claude-haiku-4-5", "claude-sonnet-4-5"]


async def test_betas_are_a_header_of_all() -> None:
    """They go along where all requests have the same, and are refused where they differ."""
    desk = Desk({f"POST {PATH}": JOB})
    batches = client(desk, SPEC).batches
    beta = {"anthropic": {"betas": ["some-beta"]}}
    await batches.submit({"one": "Hi"}, model=MODEL, provider_options=beta)
    assert desk.requests[0].headers["anthropic-beta"] == "some-beta"
    with pytest.raises(
        InvalidRequestError, match=r"'one' and 'two' .* different betas"
    ):
        await batches.submit([
            BatchRequest("one", ChatRequest("Hi", MODEL, provider_options=beta)),
            BatchRequest("two", ChatRequest("Hi", MODEL)),
        ])
    assert len(desk.requests) == 1


@pytest.mark.parametrize("name", ["speed", "fallbacks"])
async def test_what_a_batch_cannot_have(name: str) -> None:
    """It is refused before anything is sent. (G5)"""
    desk = Desk({})
    with pytest.raises(InvalidRequestError, match=f"'one': {name} in"):
        await client(desk, SPEC).batches.submit(
            {"one": "Hi"}, model=MODEL, provider_options={"anthropic": {name: "x"}}
        )
    assert desk.requests == []


@pytest.mark.parametrize("id", ["with space", "x" * 65, "ü"])
async def test_ids(id: str) -> None:
    """Letters, digits, _ and -."""
    with pytest.raises(InvalidRequestError, match="letters, digits, _ and -"):
        await client(Desk({}), SPEC).batches.submit({id: "Hi"}, model=MODEL)


async def test_results_in_any_order() -> None:
    """By id, and from our base URL, not from where the answer points with our key. (X2)"""
    for line in recorded("anthropic_results.jsonl").splitlines():
        MessageBatchIndividualResponse.model_validate(loads(line))
    desk = collecting()
    found = {r.id: r async for r in client(desk, SPEC).batches.results("msgbatch_1")}
    assert [*found] == ["two", "one", "four", "three", "five"]
    one, five = found["one"].response, found["five"].response
    assert one is not None
    assert five is not None
    assert (one.text, one.finish_reason) == ("Bonjour.", FinishReason.STOP)
    assert one.provider == "anthropic"
    assert one.usage.output_tokens == 4
    assert five.tool_calls[0].name == "weather"
    assert {r.base_url for r in desk.requests} == {"https://api.anthropic.com"}


@pytest.mark.parametrize(
    ("id", "kind", "code"),
    [
        ("two", BadRequestError, "invalid_request_error"),
        ("three", StreamError, "batch_cancelled"),
        ("four", DeadlineError, "batch_expired"),
    ],
)
async def test_what_is_no_answer(id: str, kind: type[AIChatError], code: str) -> None:
    """Errors, cancelled and expired requests say what they are."""
    batches = client(collecting(), SPEC).batches
    found = {r.id: r async for r in batches.results("msgbatch_1")}
    error = found[id].error
    assert type(error) is kind
    assert error.provider_code == code


async def test_the_request_id_of_an_error() -> None:
    """It stands in its body."""
    batches = client(collecting(), SPEC).batches
    found = {r.id: r async for r in batches.results("msgbatch_1")}
    assert (e := found["two"].error) is not None
    assert e.request_id == "req_011two"


@pytest.mark.parametrize(
    ("job", "status"),
    [
        (JOB, BatchStatus.RUNNING),
        ({**JOB, "processing_status": "new"}, BatchStatus.RUNNING),
        ({**JOB, "processing_status": "canceling"}, BatchStatus.CANCELLING),
        (ended(succeeded=5), BatchStatus.COMPLETED),
        (ended(errored=5), BatchStatus.COMPLETED),
        (ended(succeeded=4, canceled=1), BatchStatus.CANCELLED),
        (ended(succeeded=4, expired=1), BatchStatus.EXPIRED),
    ],
)
async def test_how_it_ended(job: dict[str, Any], status: BatchStatus) -> None:
    """It says only that it has; the counts say how."""
    desk = Desk({f"GET {PATH}/msgbatch_1": job})
    assert (await client(desk, SPEC).batches.get("msgbatch_1")).status is status


async def test_counts_that_nobody_gave() -> None:
    """They are unknown, and not zero."""
    desk = Desk({f"GET {PATH}/msgbatch_1": {"id": "msgbatch_1"}})
    counts = (await client(desk, SPEC).batches.get("msgbatch_1")).counts
    assert counts.total is None
    assert counts.succeeded is None


async def test_cancel_and_list() -> None:
    """Cancelling answers with the batch; the list has pages."""
    cancelling = {**JOB, "processing_status": "canceling"}
    desk = Desk({
        f"POST {PATH}/msgbatch_1/cancel": cancelling,
        f"GET {PATH}": [
            {"data": [JOB], "has_more": True},
            {"data": [], "has_more": False},
        ],
    })
    batches = client(desk, SPEC).batches
    assert (await batches.cancel("msgbatch_1")).status is BatchStatus.CANCELLING
    assert [b.id async for b in batches.list()] == ["msgbatch_1"]
    assert desk.requests[-1].query == {"limit": "100", "after_id": "msgbatch_1"}


async def test_a_kind_of_result_that_nobody_knows() -> None:
    """It is an error with its id, and the others come as well. (S10)"""
    lines = b'{"custom_id":"x","result":{"type":"new"}}\n{"custom_id":"y"}\n'
    desk = Desk({
        f"GET {PATH}/msgbatch_1": ended(),
        f"GET {PATH}/msgbatch_1/results": lines,
    })
    batches = client(desk, SPEC).batches
    found = [(r.id, r.error) async for r in batches.results("msgbatch_1")]
    assert [each for each, _ in found] == ["x", "y"]
    assert all(isinstance(error, StreamError) for _, error in found)
