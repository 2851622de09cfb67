"""Batches in the simulator: files, states that advance, results in any order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aichat.testing import Simulator
from aichat.testing._sim_dialect import Refused, Visit
from aichat.testing._sim_faults import perform_or_fail
from aichat.testing._sim_openai_files import FormField, read_form

FAULT = "x-aichat-fault: status; status=429; message=Slower!"


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_a_request_in_a_batch_can_ask_for_a_fault() -> None:
    """
    Anywhere in it, since it has no headers; a misspelled one is no success.
    """
    with pytest.raises(Refused, match="Slower!") as caught:
        perform_or_fail(Visit(), "/chat", {"messages": said(f"Hi! {FAULT}")})
    assert caught.value.status == 429
    with pytest.raises(Refused, match="no fault 'slo'"):
        perform_or_fail(Visit(), "/chat", {"input": "x-aichat-fault: slo"})
    # Nobody is there to ask.
    with pytest.raises(Refused, match="POST /chat"):
        perform_or_fail(Visit(), "/chat", {"input": "Hi"})


# -- forms -----------------------------------------------------------------------------


def test_a_form_is_read() -> None:
    """
    Byte for byte, whatever is in it.
    """
    data = b"\r\n\0\xff\r\n--not the end\r\n"
    form = (
        b'preamble\r\n--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch'
        b'\r\n--B\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n--B--\r\n"
    )

    assert read_form(form, 'multipart/form-data; boundary="B"') == {
        "purpose": FormField(b"batch"),
        "file": FormField(data, "a.jsonl"),
    }
    assert read_form(b"--B--", "multipart/form-data; boundary=B") == {}


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data"])
def test_what_is_no_form_is_refused(kind: str) -> None:
    """
    There is no telling where its parts end.
    """
    with pytest.raises(Refused, match="multipart/form-data"):
        read_form(b"{}", kind)


# -- OpenAI ----------------------------------------------------------------------------

openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: aichat[dev]")
anthropic = pytest.importorskip(
    "anthropic", reason="needs Anthropic's SDK: aichat[dev]"
)
CHAT = "/v1/chat/completions"


@pytest.fixture(params=["openai", "azure"])
async def gpt(request: Any, sim: Simulator) -> AsyncIterator[Any]:
    common = {"api_key": "any", "max_retries": 0}
    if request.param == "openai":
        client = openai.AsyncOpenAI(base_url=sim.base_url("openai"), **common)
    else:
        client = openai.AsyncAzureOpenAI(
            azure_endpoint=sim.base_url("azure"), api_version="2024-10-21", **common
        )
    async with client:
        yield client


def line(custom_id: str, text: str = "Hi", url: str = CHAT, **body: Any) -> bytes:
    body = {"model": "simulator", **body}
    body["input" if url != CHAT else "messages"] = text if url != CHAT else said(text)
    facts = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return json.dumps(facts).encode() + b"\n"


async def submit(gpt: Any, *lines: bytes, url: str = CHAT) -> Any:
    file = await gpt.files.create(
        file=("requests.jsonl", b"".join(lines)), purpose="batch"
    )
    return await gpt.batches.create(
        input_file_id=file.id, endpoint=url, completion_window="24h"
    )


async def lines_of(gpt: Any, file_id: str) -> list[dict[str, Any]]:
    content = (await gpt.files.content(file_id)).read()
    return [json.loads(line) for line in content.splitlines()]


async def test_a_batch_runs_through_its_states(gpt: Any) -> None:
    """
    One at each look; its results are those of single requests, in another order.
    """
    asked = [line("a", "One"), line("b", "Two"), line("c", FAULT), line("d", n=5)]
    batch = await submit(gpt, *asked)
    states, counts = [batch.status], []
    for _ in range(4):
        batch = await gpt.batches.retrieve(batch.id)
        states.append(batch.status)
        counts.append((batch.request_counts.completed, batch.request_counts.failed))

    good = await lines_of(gpt, batch.output_file_id)
    bad = await lines_of(gpt, batch.error_file_id)

    assert states == [
        "validating",
        "in_progress",
        "finalizing",
        "completed",
        "completed",
    ]
    assert counts == [(2, 0), (2, 2), (2, 2), (2, 2)]
    assert [result["custom_id"] for result in good] == ["b", "a"]
    text = good[0]["response"]["body"]["choices"][0]["message"]["content"]
    assert "You said: “Two”" in text
    errors = {r["custom_id"]: r["response"] for r in bad}
    assert errors["c"]["status_code"] == 429
    assert errors["c"]["body"]["error"]["message"] == "Slower!"
    assert errors["d"]["status_code"] == 400
    assert errors["d"]["body"]["error"]["param"] == "n"


@pytest.mark.parametrize("url", ["/v1/responses", "/v1/embeddings"])
async def test_other_requests_can_be_in_a_batch(gpt: Any, url: str) -> None:
    """
    Whatever has the same place.
    """
    batch = await submit(gpt, line("a", url=url), url=url)
    for _ in range(3):
        batch = await gpt.batches.retrieve(batch.id)
    (result,) = await lines_of(gpt, batch.output_file_id)

    assert result["response"]["status_code"] == 200
    assert result["response"]["body"]["object"] in ("response", "list")
    assert batch.error_file_id is None


async def test_a_batch_may_fail_altogether(gpt: Any) -> None:
    """
    Then there is no output file.
    """
    batch = await submit(gpt, line("a", FAULT))
    for _ in range(3):
        batch = await gpt.batches.retrieve(batch.id)

    assert batch.status == "completed"
    assert batch.output_file_id is None
    assert len(await lines_of(gpt, batch.error_file_id)) == 1


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        ([b"\n"], ["empty_file"]),
        ([b"{oops\n"], ["invalid_json_line"]),
        ([line("a"), line("a")], ["duplicate_custom_id"]),
        ([line("a"), line("b", url="/v1/embeddings")], ["mismatched_endpoint"]),
        ([line("a"), line("b", model="other")], ["mismatched_model"]),
        ([line("a", stream=True)], ["unsupported_parameter"]),
        (
            [b'{"url": "/v1/chat/completions"}\n'],
            [
                "missing_required_parameter",
                "invalid_method",
                "missing_required_parameter",
            ],
        ),
    ],
)
async def test_a_file_is_checked_first(
    gpt: Any, lines: list[bytes], codes: list[str]
) -> None:
    """
    Every mistake with its line; nothing has been asked then.
    """
    batch = await submit(gpt, *lines)

    batch = await gpt.batches.retrieve(batch.id)

    assert batch.status == "failed"
    assert [error.code for error in batch.errors.data] == codes
    assert batch.request_counts.total == 0


@pytest.mark.parametrize(("looks", "answered"), [(0, 0), (1, 1)])
async def test_a_batch_can_be_cancelled(gpt: Any, looks: int, answered: int) -> None:
    """
    What was answered by then is there; and what is over cannot be cancelled.
    """
    batch = await submit(gpt, line("a"), line("b"))
    for _ in range(looks):
        await gpt.batches.retrieve(batch.id)
    cancelling = await gpt.batches.cancel(batch.id)
    batch = await gpt.batches.retrieve(batch.id)

    assert (cancelling.status, batch.status) == ("cancelling", "cancelled")
    assert batch.request_counts.completed == answered
    if answered:
        (result,) = await lines_of(gpt, batch.output_file_id)
        assert result["custom_id"] == "a"
    else:
        assert batch.output_file_id is None
    with pytest.raises(openai.ConflictError, match="status 'cancelled'"):
        await gpt.batches.cancel(batch.id)


async def test_batches_are_listed(gpt: Any) -> None:
    """
    The latest first, page by page.
    """
    ids = [(await submit(gpt, line("a"))).id for _ in range(3)]

    assert [batch.id async for batch in gpt.batches.list(limit=2)] == ids[::-1]


async def test_files_come_back_as_they_were(gpt: Any) -> None:
    """
    They can be listed, and deleted.
    """
    data = b"\0\xff\r\n" * 5
    file = await gpt.files.create(file=("é.bin", data), purpose="user_data")
    other = await gpt.files.create(file=("b.jsonl", b"{}"), purpose="batch")

    assert (file.bytes, file.purpose) == (len(data), "user_data")
    assert (await gpt.files.content(file.id)).read() == data
    assert (await gpt.files.retrieve(file.id)).filename == file.filename
    listed = [f.id async for f in gpt.files.list()]
    assert listed == [file.id, other.id]
    assert [f.id async for f in gpt.files.list(purpose="batch")] == [other.id]
    with pytest.raises(openai.BadRequestError, match="another purpose"):
        await gpt.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h"
        )
    assert (await gpt.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError, match="No such File"):
        await gpt.files.content(file.id)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"endpoint": "/v1/videos"}, "/v1/embeddings"),
        ({"completion_window": "1h"}, "'24h'"),
    ],
)
async def test_a_batch_may_be_refused(
    gpt: Any, request_: dict[str, Any], message: str
) -> None:
    """
    At once, if it is the batch itself that is wrong.
    """
    usual = {"input_file_id": "x", "endpoint": CHAT, "completion_window": "24h"}

    with pytest.raises(openai.BadRequestError, match=message):
        await gpt.batches.create(**{**usual, **request_})
    with pytest.raises(openai.NotFoundError, match="No such File"):
        await gpt.batches.create(**usual)
    with pytest.raises(openai.NotFoundError, match="No batch found"):
        await gpt.batches.retrieve("batch_x")


@pytest.mark.parametrize(
    ("file", "purpose", "message"),
    [
        (("", b"x"), "batch", "'file' is a required property"),
        (("a", b"x"), "fun", "is not one of"),
        (("a", b""), "batch", "empty"),
    ],
)
async def test_a_file_may_be_refused(
    gpt: Any, file: tuple[str, bytes], purpose: str, message: str
) -> None:
    """
    It has a name, a purpose and something in it.
    """
    with pytest.raises(openai.BadRequestError, match=message):
        await gpt.files.create(file=file, purpose=purpose)


# -- Anthropic -------------------------------------------------------------------------


@pytest.fixture
async def claude(sim: Simulator) -> AsyncIterator[Any]:
    async with anthropic.AsyncAnthropic(
        base_url=sim.base_url("anthropic"), api_key="any", max_retries=0
    ) as client:
        yield client.messages.batches


def wanted(custom_id: str, text: str = "Hi", **params: Any) -> dict[str, Any]:
    body = {"model": "simulator", "max_tokens": 500, "messages": said(text)}
    return {"custom_id": custom_id, "params": {**body, **params}}


async def test_anthropic_answers_in_any_order(claude: Any) -> None:
    """
    Counted at the end, each with its own fate.
    """
    batch = await claude.create(
        requests=[
            wanted("a", "One"),
            wanted("b", FAULT),
            wanted("c", max_tokens=0),
            wanted("d", stream=True),
        ]
    )
    # The SDK looks for itself, and that is the first time.
    with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
        await claude.results(batch.id)
    done = await claude.retrieve(batch.id)
    results = {r.custom_id: r.result async for r in await claude.results(batch.id)}

    assert batch.processing_status == "in_progress"
    assert batch.request_counts.processing == 4
    assert done.processing_status == "ended"
    assert done.request_counts.succeeded == 1
    assert done.request_counts.errored == 3
    assert done.request_counts.processing == 0
    assert done.results_url.endswith(
        f"/anthropic/v1/messages/batches/{batch.id}/results"
    )
    assert list(results) == ["d", "c", "b", "a"]
    assert "You said: “One”" in results["a"].message.content[0].text
    assert results["a"].message.usage.service_tier == "batch"
    assert results["b"].error.error.type == "rate_limit_error"
    assert results["c"].error.error.type == "invalid_request_error"
    assert "stream: Extra inputs" in results["d"].error.error.message


@pytest.mark.parametrize(("looks", "succeeded"), [(0, 0), (1, 1)])
async def test_anthropic_can_be_cancelled(
    claude: Any, looks: int, succeeded: int
) -> None:
    """
    What was answered by then is there; then it can be deleted.
    """
    batch = await claude.create(requests=[wanted("a"), wanted("b")])
    for _ in range(looks):
        await claude.retrieve(batch.id)
    cancelling = await claude.cancel(batch.id)
    with pytest.raises(anthropic.BadRequestError, match="before it has ended"):
        await claude.delete(batch.id)
    done = await claude.retrieve(batch.id)

    assert cancelling.processing_status == "canceling"
    assert cancelling.cancel_initiated_at is not None
    assert done.processing_status == (await claude.retrieve(batch.id)).processing_status
    assert done.request_counts.succeeded == succeeded
    assert done.request_counts.canceled == 2 - succeeded
    with pytest.raises(anthropic.BadRequestError, match="has ended"):
        await claude.cancel(batch.id)
    assert (await claude.delete(batch.id)).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError, match="not found"):
        await claude.retrieve(batch.id)


async def test_anthropic_lists_batches(claude: Any) -> None:
    """
    The latest first; a single request is done at the first look.
    """
    ids = [(await claude.create(requests=[wanted("a")])).id for _ in range(3)]

    assert [batch.id async for batch in claude.list(limit=2)] == ids[::-1]
    assert (await claude.retrieve(ids[0])).processing_status == "ended"


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "at least 1 item"),
        ([wanted("a b")], "should match pattern"),
        ([wanted("a"), wanted("a")], "duplicate custom_id"),
        ([{"custom_id": "a", "params": None}], "Field required"),
    ],
)
async def test_anthropic_may_refuse_a_batch(
    claude: Any, requests: list[dict[str, Any]], message: str
) -> None:
    """
    At once, if it is the batch itself that is wrong.
    """
    with pytest.raises(anthropic.BadRequestError, match=message):
        await claude.create(requests=requests)


async def test_anthropic_has_no_results_before_the_end(
    sim: Simulator, claude: Any, http: Any
) -> None:
    """
    And none without a version at all.
    """
    batch = await claude.create(requests=[wanted("a")])
    url = f"{sim.base_url('anthropic')}/v1/messages/batches"

    async with http.get(f"{url}/{batch.id}/results") as response:
        assert response.status == 404
    async with http.post(url, json={"requests": [wanted("a")]}) as response:
        assert response.status == 400


# -- Google ----------------------------------------------------------------------------


@pytest.fixture
async def gemini(sim: Simulator) -> AsyncIterator[Any]:
    genai = pytest.importorskip(
        "google.genai", reason="needs Google's SDK: aichat[dev]"
    )
    options = genai.types.HttpOptions(base_url=sim.base_url("google"))
    client = genai.Client(api_key="any", http_options=options).aio
    yield client.batches
    await client.aclose()


google = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)


def inline(text: str, **facts: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **facts}


@google
async def test_google_answers_in_order(gemini: Any) -> None:
    """
    One state further at each look; an error stands where an answer would.
    """
    job = await gemini.create(
        model="simulator",
        src=[inline("One", metadata={"key": "a"}), inline(FAULT), inline("Two")],
        config={"display_name": "mine"},
    )
    states = [job.state.value]
    for _ in range(3):
        job = await gemini.get(name=job.name)
        states.append(job.state.value)

    one, bad, two = job.dest.inlined_responses
    assert [state.removeprefix("JOB_STATE_") for state in states] == [
        "PENDING",
        "RUNNING",
        "SUCCEEDED",
        "SUCCEEDED",
    ]
    assert job.display_name == "mine"
    assert one.metadata == {"key": "a"}
    assert "You said: “One”" in one.response.text
    assert "You said: “Two”" in two.response.text
    assert (bad.error.code, bad.error.message) == (8, "Slower!")


@google
async def test_google_can_be_cancelled(gemini: Any) -> None:
    """
    Before it has succeeded; then it can be deleted.
    """
    jobs = [await gemini.create(model="m", src=[inline("Hi")]) for _ in range(2)]
    await gemini.cancel(name=jobs[0].name)
    cancelled = await gemini.get(name=jobs[0].name)
    for _ in range(2):
        await gemini.get(name=jobs[1].name)

    assert cancelled.state == "JOB_STATE_CANCELLED"
    assert cancelled.dest is None
    pager = await gemini.list(config={"page_size": 1})
    assert [job.name async for job in pager] == [job.name for job in jobs[::-1]]
    with pytest.raises(Exception, match="cannot be cancelled"):
        await gemini.cancel(name=jobs[1].name)
    await gemini.delete(name=jobs[0].name)
    with pytest.raises(Exception, match="is not found"):
        await gemini.get(name=jobs[0].name)


@google
async def test_google_may_refuse_a_batch(gemini: Any) -> None:
    """
    The simulator has no files of Google's, and nothing to do for nothing.
    """
    with pytest.raises(Exception, match="send inline requests"):
        await gemini.create(model="m", src="files/x")
    with pytest.raises(Exception, match="requests are missing"):
        await gemini.create(model="m", src=[])
