"""Gemini's batches: an operation that comes back with its answers inside."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from google.genai import types as genai
from hypothesis import given, strategies as st

from aichat import (
    BadRequestError,
    BatchStatus,
    Capability,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
    ResponseTooLargeError,
    StreamInterruptedError,
    to_json,
)
from aichat.providers import _google_batches, google
from aichat.providers._google_batches import InlinedResponses
from aichat.types import dumps, loads

from ..transport.toys import ScriptedAnswer
from .batch_desks import Desk, body_of, client, recorded
from .google_sdk import complaints

SPEC = google.SPEC
MODEL = "google:gemini-2.5-flash"
JOB = "GET /v1beta/batches/abc123"

PENDING: dict[str, Any] = {
    "name": "batches/abc123",
    "metadata": {
        "model": "models/gemini-2.5-flash",
        "state": "BATCH_STATE_PENDING",
        "inputConfig": {"requests": {"requests": [{"request": "my prompt"}]}},
        "batchStats": {"requestCount": "2", "pendingRequestCount": "2"},
    },
}


async def test_all_requests_in_one_body() -> None:
    """Each with its key; the SDK has a place for what is asked."""
    desk = Desk({"POST /v1beta/models/gemini-2.5-flash:batchGenerateContent": PENDING})
    batch = await client(desk, SPEC).batches.submit(
        {"one": "Hi", "two": "Ho"}, model=MODEL, temperature=0.5
    )
    [request] = desk.requests
    body = body_of(request)
    assert request.query == {}
    assert [*body["batch"]] == ["displayName", "inputConfig"]
    inline = body["batch"]["inputConfig"]["requests"]["requests"]
    assert [each["metadata"] for each in inline] == [{"key": "one"}, {"key": "two"}]
    for each in inline:
        assert complaints(each["request"]) == []
    assert batch.id == "batches/abc123"
    assert batch.status is BatchStatus.PENDING
    # Zeros are left out in its JSON.
    assert (batch.counts.total, batch.counts.succeeded) == (2, 0)
    assert batch.model == "gemini-2.5-flash"
    # What was asked is not echoed into what is stored.
    assert b"my prompt" not in to_json(batch)


async def test_results_out_of_the_job() -> None:
    """Once each, although they stand in it twice, and whatever their text looks like."""
    desk = Desk({JOB: recorded("google_job.json")})
    found = [r async for r in client(desk, SPEC).batches.results("batches/abc123")]
    assert [r.id for r in found] == ["one", "two", "three"]
    one, two, three = found
    assert one.response is not None
    assert one.response.text == 'Braces } and \\" "inlinedResponses": [ are text.'
    assert one.response.provider == "google"
    assert one.response.usage.total_tokens == 11
    assert type(two.error) is RateLimitError
    assert two.error.provider_code == "RESOURCE_EXHAUSTED"
    # An answer without its end is no answer. (S4)
    assert type(three.error) is StreamInterruptedError
    assert three.error.partial is not None
    assert three.error.partial.text == "Cut"


async def test_what_it_says_of_a_batch() -> None:
    """Counts that are texts, nine digits of a second, and no answers in what is kept."""
    desk = Desk({JOB: recorded("google_job.json")})
    batch = await client(desk, SPEC).batches.get("abc123")
    assert (batch.counts.total, batch.counts.succeeded, batch.counts.failed) == (
        3,
        2,
        1,
    )
    assert batch.created_at == pytest.approx(1790848800.123456)
    assert batch.ended_at == 1790852400.0
    assert b"Resource has been" not in to_json(batch)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"metadata": {"state": "BATCH_STATE_PENDING"}}, BatchStatus.PENDING),
        ({"metadata": {"state": "JOB_STATE_QUEUED"}}, BatchStatus.PENDING),
        ({"metadata": {"state": "BATCH_STATE_RUNNING"}}, BatchStatus.RUNNING),
        ({"metadata": {"state": "JOB_STATE_CANCELLING"}}, BatchStatus.CANCELLING),
        ({"metadata": {"state": "JOB_STATE_SUCCEEDED"}}, BatchStatus.COMPLETED),
        (
            {"metadata": {"state": "JOB_STATE_PARTIALLY_SUCCEEDED"}},
            BatchStatus.COMPLETED,
        ),
        ({"metadata": {"state": "BATCH_STATE_FAILED"}}, BatchStatus.FAILED),
        ({"metadata": {"state": "BATCH_STATE_CANCELLED"}}, BatchStatus.CANCELLED),
        ({"metadata": {"state": "BATCH_STATE_EXPIRED"}}, BatchStatus.EXPIRED),
        ({"metadata": {"state": "NEW"}}, BatchStatus.RUNNING),
        ({"metadata": {}, "done": True}, BatchStatus.COMPLETED),
        (
            {"metadata": {}, "done": True, "error": {"code": 13}},
            BatchStatus.FAILED,
        ),
        # The batch itself instead of an operation.
        ({"state": "BATCH_STATE_RUNNING"}, BatchStatus.RUNNING),
    ],
)
async def test_states(more: dict[str, Any], status: BatchStatus) -> None:
    """Both families of words, and an operation that is over in a word that is new. (S10)"""
    desk = Desk({JOB: {"name": "batches/abc123", **more}})
    batch = await client(desk, SPEC).batches.get("abc123")
    assert batch.status is status
    assert batch.counts.succeeded is None


def test_the_sdk_knows_no_other_states() -> None:
    """Each of its states is one of ours, or goes on."""
    ours = _google_batches._STATUS
    theirs = {state.value.removeprefix("JOB_STATE_") for state in genai.JobState}
    goes_on = {"UNSPECIFIED", "RUNNING", "PAUSED", "UPDATING"}
    assert theirs - set(ours) == goes_on


async def test_a_job_of_a_file() -> None:
    """Its results are in a file as well, in lines."""
    job = done_job({"response": {"responsesFile": "files/out1"}})
    line = (
        b'{"key":"one","response":{"candidates":[{"content":{"parts":[{"text":"A"}]},'
    )
    line += (
        b'"finishReason":"STOP"}]}}\n{"key":"two","error":{"code":3,"message":"No."}}'
    )
    desk = Desk({JOB: job, "GET /v1beta/files/out1:download": line})
    found = [r async for r in client(desk, SPEC).batches.results("abc123")]
    assert [r.id for r in found] == ["one", "two"]
    assert found[0].response is not None
    assert found[0].response.text == "A"
    assert type(found[1].error) is BadRequestError
    assert desk.requests[-1].query == {"alt": "media"}


def done_job(more: dict[str, Any]) -> dict[str, Any]:
    """A job that is done."""
    return {
        "name": "batches/abc123",
        "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
        "done": True,
        **more,
    }


async def test_a_result_without_a_key() -> None:
    """Nobody knows whose it is: an error after the last of the others."""
    inner = [{"response": {}}, {"metadata": {"key": "b"}, "response": {}}]
    job = done_job({"response": {"inlinedResponses": {"inlinedResponses": inner}}})
    results = client(Desk({JOB: job}), SPEC).batches.results("abc123")
    assert (await anext(results)).id == "b"
    with pytest.raises(ProtocolError, match="1 results of the batch"):
        await anext(results)


async def test_a_result_that_is_nothing() -> None:
    """Neither an answer nor an error: then it is one."""
    inner = [{"metadata": {"key": "a"}}]
    job = done_job({"response": {"inlinedResponses": {"inlinedResponses": inner}}})
    result = await anext(client(Desk({JOB: job}), SPEC).batches.results("abc123"))
    assert result.response is None
    assert result.error is not None


async def test_a_job_that_failed() -> None:
    """Why stands in the operation."""
    error = {"code": 3, "message": "The model does not do this."}
    job = {**done_job({"error": error}), "metadata": {"state": "BATCH_STATE_FAILED"}}
    with pytest.raises(BadRequestError, match="does not do this"):
        [r async for r in client(Desk({JOB: job}), SPEC).batches.results("abc123")]


async def test_an_error_in_a_shape_of_its_own() -> None:
    """It is an error all the same."""
    job = {
        **done_job({"error": "Broken."}),
        "metadata": {"state": "BATCH_STATE_FAILED"},
    }
    with pytest.raises(BadRequestError, match="Broken"):
        [r async for r in client(Desk({JOB: job}), SPEC).batches.results("abc123")]


async def test_cancel_looks_what_came_of_it() -> None:
    """The answer to it is empty."""
    desk = Desk({
        "POST /v1beta/batches/abc123:cancel": {},
        JOB: done_job({"metadata": {"state": "BATCH_STATE_CANCELLED"}}),
    })
    batch = await client(desk, SPEC).batches.cancel("batches/abc123")
    assert batch.status is BatchStatus.CANCELLED


async def test_list_leaves_the_answers_out() -> None:
    """However much stands on a page."""
    page = b'{"operations":[%b],"nextPageToken":"more"}' % recorded("google_job.json")
    desk = Desk({"GET /v1beta/batches": [page, {"operations": [PENDING]}]})
    found = [b async for b in client(desk, SPEC).batches.list()]
    assert [b.status for b in found] == [BatchStatus.COMPLETED, BatchStatus.PENDING]
    assert [r.query for r in desk.requests] == [
        {"pageSize": "20"},
        {"pageSize": "20", "pageToken": "more"},
    ]


async def test_a_name_that_is_none() -> None:
    """It would lead elsewhere."""
    desk = Desk({})
    for name in ("batches/a/b", "tunedModels/x"):
        with pytest.raises(InvalidRequestError, match="no id of a batch"):
            await client(desk, SPEC).batches.get(name)
    assert desk.requests == []


async def test_a_job_that_breaks_off() -> None:
    """Half a job is none, and it is asked for again."""
    whole = recorded("google_job.json")
    desk = Desk({JOB: [whole[:900], whole]})
    batch = await client(desk, SPEC).batches.get("abc123")
    assert batch.status is BatchStatus.COMPLETED
    assert len(desk.requests) == 2


async def test_a_web_page() -> None:
    """It is no job. (S6)"""
    desk = Desk({JOB: ScriptedAnswer(b"<html>{no}</html>")})
    with pytest.raises(ProtocolError, match="not JSON"):
        await client(desk, SPEC).batches.get("abc123")


def test_vertex_has_none() -> None:
    """Its batches live in Cloud Storage."""
    assert google.VERTEX.batches is None
    assert Capability.BATCHES not in google.VERTEX.capabilities
    assert Capability.BATCHES in SPEC.capabilities


# --- taking the answers out -----------------------------------------------------------


def taken(data: bytes, *cuts: int, job: bool = False) -> list[bytes]:
    """What `InlinedResponses` makes of *data*, cut at *cuts*."""
    decoder = InlinedResponses(job=job)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces: list[bytes] = []
    for begin, end in pairwise(places):
        pieces += decoder.decode(data[begin:end])
    return [*pieces, *decoder.flush()]


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_it_does_not_matter_where_it_is_cut(cuts: list[int]) -> None:
    """Any split gives the same answers, and the same job. (S3)"""
    data = recorded("google_job.json")
    expected = loads(data)["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]
    assert [loads(piece) for piece in taken(data, *cuts)] == expected
    [job] = taken(data, *cuts, job=True)
    slim = loads(data)
    for holder in (slim["response"], slim["metadata"]["output"]):
        holder["inlinedResponses"]["inlinedResponses"] = []
    assert loads(job) == slim


def test_every_single_byte_at_a_time() -> None:
    """The hardest of all cuts. (S3)"""
    data = recorded("google_job.json")
    assert taken(data, *range(len(data))) == taken(data)


_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.just("inlinedResponses"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.just("other"), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), _VALUES, max_size=3), max_size=4),
    st.dictionaries(st.text(max_size=5), _VALUES, max_size=3),
)
def test_any_answers_in_any_job(
    items: list[dict[str, Any]], around: dict[str, Any]
) -> None:
    """What was put in comes out, and the rest stays as it is."""
    value = {**around, "z": {"inlinedResponses": {"inlinedResponses": items}}}
    try:
        data = dumps(value)
    except (TypeError, ValueError):
        return  # half of a surrogate pair
    assert [loads(item) for item in taken(data)] == [loads(dumps(i)) for i in items]
    [job] = taken(data, job=True)
    value["z"] = {"inlinedResponses": {"inlinedResponses": []}}
    assert loads(job) == loads(dumps(value))


def test_one_answer_that_never_ends() -> None:
    """It does not grow without bound. (I1)"""
    decoder = InlinedResponses()
    decoder.decode(b'{"inlinedResponses": [{"a": "')
    with pytest.raises(ResponseTooLargeError):
        for _ in range(40):
            decoder.decode(b"x" * 2**20)


def test_a_first_list_that_is_empty() -> None:
    """Then the second one is the one."""
    data = b'{"a":{"inlinedResponses":[]},"b":{"inlinedResponses":[{"x":1}]}}'
    assert taken(data) == [b'{"x":1}']
