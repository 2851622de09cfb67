"""OpenAI's batches: files up, files down."""

from __future__ import annotations

import email.parser
import email.policy
from collections.abc import Mapping
from typing import Any

import pytest
from openai.types import Batch as SDKBatch
from openai.types.batch_create_params import BatchCreateParams
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
)
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
)

from aichat import (
    AIChatError,
    BadRequestError,
    Batch,
    BatchStatus,
    ContextLengthError,
    DeadlineError,
    FinishReason,
    InvalidRequestError,
    ProviderUnavailableError,
    RateLimitError,
    StreamInterruptedError,
    from_json,
    to_json,
)
from aichat.providers import Capability, ProviderSpec, azure, openai, openai_chat
from aichat.providers.compatible import SPECS
from aichat.transport import HTTPRequest
from aichat.types import loads

from ..transport.toys import ScriptedAnswer, refusal
from .batch_desks import Desk, at, client, recorded
from .openai_sdk import complaints

CHAT = openai_chat.SPEC
MODEL = "openai-chat:gpt-4.1-mini"

JOB: dict[str, Any] = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "errors": None,
    "input_file_id": "file-in",
    "completion_window": "24h",
    "status": "validating",
    "output_file_id": None,
    "error_file_id": None,
    "created_at": 1760000000,
    "expires_at": 1760086400,
    "request_counts": {"total": 0, "completed": 0, "failed": 0},
    "metadata": None,
}
DONE: dict[str, Any] = {
    **JOB,
    "status": "completed",
    "output_file_id": "file-out",
    "error_file_id": "file-err",
    "completed_at": 1760003600,
    "model": "gpt-4.1-mini-2025-04-14",
    "request_counts": {"total": 6, "completed": 3, "failed": 3},
}
OUTPUT = "GET /files/file-out/content"
ERRORS = "GET /files/file-err/content"


def collecting(**more: Any) -> Desk:
    """A desk where the batch is done."""
    return Desk({
        "GET /batches/batch_1": DONE,
        OUTPUT: recorded("openai_chat_output.jsonl"),
        ERRORS: recorded("openai_chat_errors.jsonl"),
        **more,
    })


def submitting(**more: Any) -> Desk:
    """A desk that takes a batch."""
    return Desk({
        "POST /files": {"id": "file-in", "object": "file"},
        "POST /batches": JOB,
        "DELETE /files/file-in": {"id": "file-in", "deleted": True},
        **{place.replace("_", " /"): answer for place, answer in more.items()},
    })


def form_of(request: HTTPRequest) -> dict[str, tuple[str | None, bytes]]:
    """The fields of a form, as somebody else reads them: file name and content."""
    head = f"content-type: {request.headers['content-type']}\r\n\r\n"
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(head.encode() + request.body)
    fields: dict[str, tuple[str | None, bytes]] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(content, bytes)
        fields[name] = (part.get_filename(), content)
    return fields


def lines_of(request: HTTPRequest) -> list[dict[str, Any]]:
    """The lines of the file in a form."""
    _, content = form_of(request)["file"]
    return [loads(line) for line in content.splitlines()]


async def test_a_file_and_a_job() -> None:
    """The requests go up as lines of a file, and the job names it."""
    desk = submitting()
    batch = await client(desk, CHAT).batches.submit(
        {"one": "Hi", "two": "Ho"}, model=MODEL, temperature=0.5
    )
    assert desk.places == ["POST /files", "POST /batches"]
    assert form_of(desk.requests[0])["purpose"] == (None, b"batch")
    assert form_of(desk.requests[0])["file"][0] == "batch.jsonl"
    assert desk.requests[1].body == {
        "input_file_id": "file-in",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    assert complaints(desk.requests[1].body, BatchCreateParams) == []
    assert batch == Batch(
        id="batch_1",
        provider="openai-chat",
        status=BatchStatus.PENDING,
        counts=batch.counts,
        model="gpt-4.1-mini",
        created_at=1760000000.0,
        expires_at=1760086400.0,
        raw=JOB,
    )
    assert all(
        r.headers["authorization"] == "Bearer sk-very-secret-key" for r in desk.requests
    )


@pytest.mark.parametrize(
    ("spec", "url", "params"),
    [
        (CHAT, "/v1/chat/completions", CompletionCreateParamsNonStreaming),
        (openai.SPEC, "/v1/responses", ResponseCreateParamsNonStreaming),
    ],
)
async def test_a_line_is_a_request_without_a_stream(
    spec: ProviderSpec, url: str, params: Any
) -> None:
    """The SDK's types of the plain call take what stands in it."""
    desk = submitting()
    await client(desk, spec).batches.submit({"one": "Hi"}, model="gpt-4.1-mini")
    [line] = lines_of(desk.requests[0])
    assert {k: line[k] for k in ("custom_id", "method", "url")} == {
        "custom_id": "one",
        "method": "POST",
        "url": url,
    }
    assert complaints(line["body"], params) == []
    assert "stream" not in line["body"]
    assert "stream_options" not in line["body"]
    assert desk.requests[1].body["endpoint"] == url


@pytest.mark.parametrize(
    ("version", "path", "url"),
    [
        ("", "/openai/v1", "/v1/chat/completions"),
        ("preview", "/openai/v1", "/v1/chat/completions"),
        ("2024-10-21", "/openai", "/chat/completions"),
    ],
)
async def test_at_azure(version: str, path: str, url: str) -> None:
    """The same at another address; dated versions know no /v1."""
    desk = Desk({f"POST {path}/files": {"id": "f"}, f"POST {path}/batches": JOB})
    provider = client(desk, azure.SPEC, api_version=version)
    await provider.batches.submit({"one": "Hi"}, model="my-deployment")
    assert [line["url"] for line in lines_of(desk.requests[0])] == [url]
    assert desk.requests[1].body["endpoint"] == url


async def test_results_of_both_files_by_id() -> None:
    """What succeeded and what failed, in the files' order, decoded as if they had come alone."""
    desk = collecting()
    found = {r.id: r async for r in client(desk, CHAT).batches.results("batch_1")}
    assert [*found] == ["two", "one", "three", "four", "five", "six"]
    one = found["one"].response
    assert one is not None
    assert (one.text, one.finish_reason) == ("Bonjour.", FinishReason.STOP)
    assert (one.provider, one.request_id) == ("openai-chat", "req_one")
    assert one.usage.total_tokens == 11
    assert found["one"].error is None
    two = found["two"].response
    assert two is not None
    assert two.tool_calls[0].arguments.endswith("12345678901234567890123}")


async def test_another_process_collects() -> None:
    """A batch that was stored when it was done is not even asked about again."""
    stored = to_json(await client(collecting(), CHAT).batches.get("batch_1"))
    desk = collecting()
    batch = from_json(Batch, stored)
    found = [r.id async for r in client(desk, CHAT).batches.results(batch)]
    assert sorted(found) == ["five", "four", "one", "six", "three", "two"]
    assert desk.places == [OUTPUT, ERRORS]


async def test_a_call_that_was_cut_is_not_executed() -> None:
    """A batch has the rules of a stream. (S7)"""
    found = {
        r.id: r async for r in client(collecting(), CHAT).batches.results("batch_1")
    }
    three = found["three"].response
    assert three is not None
    assert three.tool_calls == ()
    assert (
        three.invalid_tool_calls[0].invalid == "cut off: the answer ended with length"
    )


@pytest.mark.parametrize(
    ("id", "kind", "status", "code"),
    [
        ("four", ContextLengthError, 400, "context_length_exceeded"),
        ("five", DeadlineError, None, "batch_expired"),
        ("six", RateLimitError, 429, "rate_limit_exceeded"),
    ],
)
async def test_what_a_request_failed_with(
    id: str, kind: type[AIChatError], status: int | None, code: str
) -> None:
    """The same typed error as if it had been sent alone. (S5)"""
    found = {
        r.id: r async for r in client(collecting(), CHAT).batches.results("batch_1")
    }
    error = found[id].error
    assert found[id].response is None
    assert type(error) is kind
    assert (error.status, error.provider_code) == (status, code)
    assert (error.operation, error.provider) == ("batch", "openai-chat")
    assert error.request_id == (f"req_{id}" if status else None)


async def test_results_of_the_responses_api() -> None:
    """Its answers are folded by its own decoder."""
    desk = collecting(**{
        "GET /batches/batch_1": {**DONE, "error_file_id": None},
        OUTPUT: recorded("openai_responses_output.jsonl"),
    })
    found = [
        r.response async for r in client(desk, openai.SPEC).batches.results("batch_1")
    ]
    assert [r and (r.text, r.finish_reason) for r in found] == [
        ("Bonjour.", FinishReason.STOP),
        ("Bon", FinishReason.LENGTH),
    ]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("validating", BatchStatus.PENDING),
        ("in_progress", BatchStatus.RUNNING),
        ("finalizing", BatchStatus.RUNNING),
        ("something new", BatchStatus.RUNNING),
        ("cancelling", BatchStatus.CANCELLING),
        ("completed", BatchStatus.COMPLETED),
        ("failed", BatchStatus.FAILED),
        ("expired", BatchStatus.EXPIRED),
        ("cancelled", BatchStatus.CANCELLED),
    ],
)
async def test_what_it_says_of_a_batch(said: str, status: BatchStatus) -> None:
    """Its words as ours; a word that nobody knows is of a batch that goes on. (S10)"""
    desk = Desk({"GET /batches/batch_1": {**JOB, "status": said}})
    batch = await client(desk, CHAT).batches.get("batch_1")
    assert batch.status is status


async def test_counts_and_times() -> None:
    """Whatever it says about them; the SDK reads the same job."""
    SDKBatch.model_validate(DONE, strict=True)
    batch = await client(collecting(), CHAT).batches.get("batch_1")
    counts = batch.counts
    assert (counts.total, counts.succeeded, counts.failed) == (6, 3, 3)
    assert (counts.cancelled, counts.expired) == (None, None)
    assert batch.ended_at == 1760003600.0
    assert batch.model == "gpt-4.1-mini-2025-04-14"


@pytest.mark.parametrize("status", ["expired", "cancelled"])
async def test_what_was_answered_by_then(status: str) -> None:
    """A batch that was cut short delivers what there is."""
    desk = collecting(**{
        "GET /batches/batch_1": {**DONE, "status": status, "error_file_id": None}
    })
    found = [r.id async for r in client(desk, CHAT).batches.results("batch_1")]
    assert found == ["two", "one", "three"]


async def test_all_failed() -> None:
    """Then there is no output file at all."""
    desk = collecting(**{"GET /batches/batch_1": {**DONE, "output_file_id": None}})
    found = [r.id async for r in client(desk, CHAT).batches.results("batch_1")]
    assert found == ["four", "five", "six"]


async def test_a_file_that_was_refused() -> None:
    """The batch has failed as a whole, and the error says where and why."""
    wrong = {"code": "invalid_json_line", "line": 2, "message": "Bad.", "param": None}
    job = {**JOB, "status": "failed", "errors": {"object": "list", "data": [wrong] * 3}}
    desk = Desk({"GET /batches/batch_1": job})
    with pytest.raises(
        BadRequestError, match=r"Line 2: Bad\. \(And 2 more\.\)"
    ) as caught:
        [r async for r in client(desk, CHAT).batches.results("batch_1")]
    assert caught.value.provider_code == "invalid_json_line"


async def test_a_batch_that_failed_without_a_word() -> None:
    """It is an error all the same."""
    desk = Desk({"GET /batches/batch_1": {**JOB, "status": "failed"}})
    with pytest.raises(BadRequestError, match="failed as a whole"):
        [r async for r in client(desk, CHAT).batches.results("batch_1")]


async def test_cancel() -> None:
    """It answers with the batch, which may take its time."""
    desk = Desk({"POST /batches/batch_1/cancel": {**JOB, "status": "cancelling"}})
    batch = await client(desk, CHAT).batches.cancel("batch_1")
    assert batch.status is BatchStatus.CANCELLING
    assert not batch.done


async def test_list_goes_through_all_pages() -> None:
    """The last id of a page is where the next one begins."""
    first = {"data": [{**JOB, "id": "a"}, {**JOB, "id": "b"}], "has_more": True}
    last = {"data": [{**JOB, "id": "c"}], "has_more": False}
    desk = Desk({"GET /batches": [first, last]})
    found = [batch.id async for batch in client(desk, CHAT).batches.list()]
    assert found == ["a", "b", "c"]
    assert [r.query for r in desk.requests] == [
        {"limit": "100"},
        {"limit": "100", "after": "b"},
    ]


async def test_no_batches_at_all() -> None:
    """An empty list is the end of it."""
    desk = Desk({"GET /batches": {"data": [], "has_more": True}})
    assert [b async for b in client(desk, CHAT).batches.list()] == []


# --- failures -------------------------------------------------------------------------


async def test_the_file_of_a_job_that_was_refused_is_deleted() -> None:
    """Nobody needs it, and somebody would pay for it."""
    no = refusal(400, b'{"error":{"message":"No.","code":"nope"}}')
    desk = submitting(POST_batches=no)
    with pytest.raises(BadRequestError, match="No"):
        await client(desk, CHAT).batches.submit({"one": "Hi"}, model=MODEL)
    assert desk.places == ["POST /files", "POST /batches", "DELETE /files/file-in"]


async def test_a_file_that_cannot_be_deleted() -> None:
    """The error is still the one that matters."""
    desk = submitting(
        POST_batches=refusal(403, b'{"error":{"message":"Not you."}}'),
        **{"DELETE_files/file-in": refusal(404)},
    )
    with pytest.raises(AIChatError, match="Not you"):
        await client(desk, CHAT).batches.submit({"one": "Hi"}, model=MODEL)


@pytest.mark.parametrize(
    "outcome",
    [
        ProviderUnavailableError("The connection broke before an answer."),
        refusal(500, b"{}"),
        ScriptedAnswer(StreamInterruptedError("In the middle.")),
    ],
)
async def test_a_job_is_not_made_twice(outcome: Any) -> None:
    """When nobody knows whether it was, it is not sent again, and its file stays. (R1)"""
    desk = submitting(POST_batches=outcome)
    with pytest.raises(AIChatError, match="may have arrived") as caught:
        await client(desk, CHAT).batches.submit({"one": "Hi"}, model=MODEL)
    assert desk.places == ["POST /files", "POST /batches"]
    assert caught.value.attempts == 1


@pytest.mark.parametrize("status", [409, 429, 503])
async def test_a_job_that_was_turned_away_is_sent_again(status: int) -> None:
    """A server that is too busy has not taken it. (R1)"""
    desk = submitting(POST_batches=[refusal(status, b"{}"), JOB])
    batch = await client(desk, CHAT).batches.submit({"one": "Hi"}, model=MODEL)
    assert batch.id == "batch_1"


async def test_a_job_that_never_left_is_sent_again() -> None:
    """Without a connection nothing has arrived. (R1)"""
    desk = submitting(POST_batches=[ProviderUnavailableError("No connection."), JOB])
    desk.phase = "connect"
    batch = await client(desk, CHAT).batches.submit({"one": "Hi"}, model=MODEL)
    assert batch.id == "batch_1"


async def test_an_upload_may_be_sent_again() -> None:
    """A second file costs nothing."""
    desk = submitting(POST_files=[refusal(500, b"{}"), {"id": "file-in"}])
    await client(desk, CHAT).batches.submit({"one": "Hi"}, model=MODEL)
    assert desk.places == ["POST /files", "POST /files", "POST /batches"]
    assert desk.requests[0].body == desk.requests[1].body


async def test_an_upload_without_an_id() -> None:
    """What it answers is no file."""
    desk = submitting(POST_files={"object": "file"})
    with pytest.raises(AIChatError, match="There is no 'id'"):
        await client(desk, CHAT).batches.submit({"one": "Hi"}, model=MODEL)


@pytest.mark.parametrize(
    ("spec", "extras"),
    [
        (CHAT, {"openai-chat": {"stream_options": {"include_obfuscation": False}}}),
        (openai.SPEC, {"openai": {"stream_options": {"include_obfuscation": False}}}),
        (CHAT, {"openai-chat": {"stream": False}}),
    ],
)
async def test_what_is_for_streams(
    spec: ProviderSpec, extras: Mapping[str, Any]
) -> None:
    """It is refused before anything is sent. (G5)"""
    desk = Desk({})
    with pytest.raises(InvalidRequestError, match=r"'one': stream\w* in provider_"):
        await client(desk, spec).batches.submit(
            {"one": "Hi"}, model="gpt-4.1-mini", provider_options=extras
        )
    assert desk.requests == []


async def test_a_strange_line_is_an_error_of_its_own() -> None:
    """Neither an answer nor an error."""
    line = b'{"custom_id":"one","response":null,"error":null}\n'
    desk = collecting(**{OUTPUT: line})
    batches = client(desk, CHAT).batches
    first = await anext(batches.results("batch_1"))
    assert first.id == "one"
    assert first.error is not None


async def test_no_prompt_and_no_key_in_what_is_kept() -> None:
    """A batch can be printed and stored. (X1)"""
    batch = await client(submitting(), CHAT).batches.submit(
        {"one": "my prompt"}, model=MODEL
    )
    assert "my prompt" not in repr(batch) + str(batch.raw)
    assert "secret" not in repr(batch) + str(batch.raw)
    assert "secret" not in repr(at(submitting(), CHAT).batches)


def test_who_has_batches() -> None:
    """The capability says what the spec has, for all that speak one of the dialects."""
    for spec in (CHAT, openai.SPEC, azure.SPEC, azure.RESPONSES):
        assert spec.batches is not None
    for spec in (CHAT, openai.SPEC, azure.SPEC, azure.RESPONSES, *SPECS.values()):
        assert (Capability.BATCHES in spec.capabilities) == (spec.batches is not None)
