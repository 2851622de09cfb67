"""The simulator is a server: what it sends, records, and does wrong on request."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

import aichat.testing
from aichat.errors import ConfigError
from aichat.testing import Fault, Simulator

DIALECTS = [
    "openai-chat",
    "openai",
    "azure",
    "azure-responses",
    "anthropic",
    "google",
    "ollama",
]
#: The last thing that a complete stream holds.
ENDS = {
    "openai-chat": "data: [DONE]",
    "openai": '"type":"response.completed"',
    "azure": "data: [DONE]",
    "azure-responses": '"type":"response.completed"',
    "anthropic": '"type":"message_stop"',
    "google": '"finishReason":"STOP"',
    "ollama": '"done":true',
}
#: Where a document has what was said.
ANSWERS = {
    "openai-chat": "choices",
    "openai": "output",
    "azure": "choices",
    "azure-responses": "output",
    "anthropic": "content",
    "google": "candidates",
    "ollama": "message",
}
#: Google and Ollama say nothing of the kind.
REQUEST_IDS = {
    "openai-chat": "x-request-id",
    "openai": "x-request-id",
    "azure": "apim-request-id",
    "azure-responses": "apim-request-id",
    "anthropic": "request-id",
}


def chat(
    sim: Simulator,
    dialect: str,
    text: str = "Hello, simulator!",
    *,
    headers: Mapping[str, str] | None = None,
    stream: bool = False,
    **fields: Any,
) -> dict[str, Any]:
    """The arguments of a request, as each dialect wants it."""
    body: dict[str, Any] = {"model": "simulator", "stream": stream}
    match dialect:
        case "google":
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
            path = f"/v1beta/models/simulator:{method}"
            body = {"contents": [{"parts": [{"text": text}]}]}
        case "openai" | "azure-responses":
            path = "/responses" if dialect == "openai" else "/openai/v1/responses"
            body["input"] = text
        case _:
            path = {
                "openai-chat": "/chat/completions",
                "azure": "/openai/v1/chat/completions",
                "anthropic": "/v1/messages",
                "ollama": "/api/chat",
            }[dialect]
            body["messages"] = [{"role": "user", "content": text}]
    if dialect == "anthropic":
        body["max_tokens"] = 500
    return {
        "url": sim.base_url(dialect) + path,
        "json": {**body, **fields},
        "headers": {"anthropic-version": "2023-06-01", **(headers or {})},
    }


async def post(http: aiohttp.ClientSession, **request: Any) -> tuple[int, str]:
    async with http.post(**request) as response:
        return response.status, await response.text()


# -- answering -------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_comes_as_events(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str
) -> None:
    """
    With the content type, the headers and the end of the real thing.
    """
    async with http.post(**chat(sim, dialect, stream=True)) as response:
        text = await response.text()

    assert response.status == 200
    kind = "application/x-ndjson" if dialect == "ollama" else "text/event-stream"
    assert response.content_type == kind
    if dialect in REQUEST_IDS:
        assert REQUEST_IDS[dialect] in response.headers
        assert any("ratelimit" in name.lower() for name in response.headers)
    assert text.endswith("\n")
    assert ENDS[dialect] in text.rstrip().splitlines()[-1]
    assert text.count("event: ping\n") == (dialect == "anthropic")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_document_comes_whole(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str
) -> None:
    """
    Without ``stream`` the answer is one JSON document of a known length.
    """
    async with http.post(**chat(sim, dialect)) as response:
        data = await response.read()

    assert response.content_type == "application/json"
    assert "built-in simulator" in str(json.loads(data)[ANSWERS[dialect]])
    assert int(response.headers["content-length"]) == len(data)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_models_are_listed(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str
) -> None:
    """
    It is what a health check asks for.
    """
    path, names, name = {
        "anthropic": ("/v1/models", "data", "id"),
        "google": ("/v1beta/models", "models", "name"),
        "ollama": ("/api/tags", "models", "name"),
        "azure": ("/openai/v1/models", "data", "id"),
        "azure-responses": ("/openai/v1/models", "data", "id"),
    }.get(dialect, ("/models", "data", "id"))
    async with http.get(sim.base_url(dialect) + path) as response:
        document = await response.json()

    listed = [model[name] for model in document[names]]
    assert listed[0] in ("simulator", "models/simulator", "simulator:latest")


async def test_words_come_at_the_pace_that_was_set(http: aiohttp.ClientSession) -> None:
    """
    One pause after each word, and none after what is no word.
    """
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with Simulator(pace=0.25, sleep=sleep) as sim:
        await post(http, **chat(sim, "openai-chat", "Count to 3", stream=True))

    # This is aichat's built-in simulator: no model was asked. I count: 1, 2, 3.
    assert pauses == [0.25] * 14


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/elsewhere"), ("POST", "/models")]
)
async def test_what_is_not_there_is_not_found(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str, method: str, path: str
) -> None:
    """
    In the dialect's own words.
    """
    root = sim.base_url(dialect)
    async with http.request(method, root + path) as response:
        document = await response.json()

    assert response.status == 404
    assert f"Invalid URL ({method}" in str(document["error"])


async def test_outside_of_the_dialects_it_says_where_they_are(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    For people who open it in a browser.
    """
    async with http.get(sim.url) as response:
        document = await response.json()

    assert response.status == 404
    assert document["base_urls"] == {name: sim.base_url(name) for name in DIALECTS}
    assert sim.request_count == 0


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "as a JSON object"),
        (b"{oops", "as a JSON object"),
        (b"[1, 2]", "as a JSON object"),
        (b'{"model": "m", "max_tokens": 1, "messages": [7]}', ""),
        (
            b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[5]}]}',
            "impossible shape",
        ),
    ],
)
async def test_a_body_that_is_none_is_refused(
    sim: Simulator,
    http: aiohttp.ClientSession,
    dialect: str,
    body: bytes,
    message: str,
) -> None:
    """
    Whatever comes: the answer is a 400 and not a crash.
    """
    request = chat(sim, dialect)
    del request["json"]
    status, text = await post(http, data=body, **request)

    assert status == 400
    assert message in text


async def test_a_schema_that_makes_no_sense_is_refused(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    It is the request's fault.
    """
    form = {"type": "json_schema", "json_schema": {"schema": {"minimum": "low"}}}
    status, text = await post(http, **chat(sim, "openai-chat", response_format=form))

    assert status == 400
    assert "makes no sense" in text


async def test_too_large_a_body_is_refused(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    At the size where Anthropic refuses it.
    """
    request = chat(sim, "anthropic")
    del request["json"]
    large = io.BytesIO(b" " * (32 * 1024 * 1024 + 1))
    status, text = await post(http, data=large, **request)

    assert status == 413
    assert "request_too_large" in text


# -- keys ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "headers", "status"),
    [
        ("openai-chat", {"authorization": "Bearer good"}, 200),
        ("openai-chat", {"authorization": "Bearer bad"}, 401),
        ("openai-chat", {}, 401),
        ("anthropic", {"x-api-key": "good"}, 200),
        ("anthropic", {"authorization": "Bearer good"}, 200),
        ("anthropic", {"x-api-key": "bad", "authorization": "Bearer good"}, 401),
        ("anthropic", {}, 401),
        ("azure", {"api-key": "good"}, 200),
        ("azure", {"authorization": "Bearer good"}, 200),
        ("azure", {"api-key": "bad"}, 401),
        ("azure", {}, 401),
        ("google", {"x-goog-api-key": "good"}, 200),
        ("google", {"x-goog-api-key": "bad"}, 400),
        ("google", {}, 403),
        ("ollama", {"authorization": "Bearer good"}, 200),
        ("ollama", {}, 401),
    ],
)
async def test_keys_are_checked_if_they_are_given(
    http: aiohttp.ClientSession, dialect: str, headers: dict[str, str], status: int
) -> None:
    """
    Where each dialect has them, and without saying them again.
    """
    async with Simulator(api_keys=["good"]) as sim:
        got, text = await post(http, **chat(sim, dialect, headers=headers))

        assert got == status
        assert sim.requests[0].has_key == bool(headers)
        assert "good" not in repr(sim.requests)
        assert "bad" not in text + repr(sim.requests)


# -- records ---------------------------------------------------------------------------


async def test_requests_are_recorded_without_their_keys(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    X1: what was asked can be looked at, who asked cannot.
    """
    secret = {"authorization": "Bearer secret", "x-api-key": "secret", "x-mine": "yes"}
    await post(http, **chat(sim, "openai-chat", headers=secret))
    await post(http, **chat(sim, "anthropic"))

    first, second = sim.requests
    assert (first.dialect, first.method) == ("openai-chat", "POST")
    assert first.path == "/openai/v1/chat/completions"
    assert first.body["messages"][0]["content"] == "Hello, simulator!"
    assert first.headers["x-mine"] == "yes"
    assert not {"authorization", "x-api-key"} & set(first.headers)
    assert "secret" not in repr(first) + str(first.headers)
    assert (first.has_key, second.has_key) == (True, False)
    assert second.dialect == "anthropic"
    assert sim.request_count == 2


async def test_clear_begins_anew(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """
    As if nothing had been asked, and nothing was to fail.
    """
    await post(http, **chat(sim, "openai-chat"))
    sim.fail_next()
    sim.clear()

    assert (sim.requests, sim.request_count, sim.disconnects) == ([], 0, 0)
    status, text = await post(http, **chat(sim, "openai-chat"))
    assert status == 200
    assert json.loads(text)["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_only_the_latest_requests_are_kept(http: aiohttp.ClientSession) -> None:
    """
    A simulator that runs for days does not grow; it goes on counting.
    """
    async with Simulator(keep=2) as sim:
        for number in range(4):
            await post(http, **chat(sim, "openai-chat", str(number)))

        asked = [r.body["messages"][0]["content"] for r in sim.requests]
        assert asked == ["2", "3"]
        assert sim.request_count == 4


# -- clients that leave ----------------------------------------------------------------


class Gate:
    """Stands in for `sleep`: lets words through one by one, or all of them."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def sleep(self, _: float) -> None:
        self.reached.set()
        await self.open.wait()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_is_noticed(
    http: aiohttp.ClientSession, dialect: str, stream: bool
) -> None:
    """
    C1: so that a test can see whether a cancellation reaches the server.
    """
    gate = Gate()
    async with Simulator(sleep=gate.sleep) as sim:
        response = await http.post(**chat(sim, dialect, stream=stream))
        await gate.reached.wait()
        assert sim.active == 1

        response.close()
        await sim.idle()

        assert (sim.active, sim.disconnects) == (0, 1)


async def test_a_client_that_reads_on_has_not_left(
    http: aiohttp.ClientSession,
) -> None:
    """
    An answer that was read to its end is no disconnect.
    """
    gate = Gate()
    async with Simulator(sleep=gate.sleep) as sim:
        async with http.post(**chat(sim, "anthropic", stream=True)) as response:
            await gate.reached.wait()
            gate.open.set()
            await response.read()
        await sim.idle()

        assert (sim.active, sim.disconnects) == (0, 0)


async def test_many_are_served_at_once(http: aiohttp.ClientSession) -> None:
    """
    `idle` waits for the last of them.
    """
    gate = Gate()
    async with Simulator(sleep=gate.sleep) as sim:
        requests = [chat(sim, dialect, stream=True) for dialect in DIALECTS[:2]]
        one, two = [await http.post(**request) for request in requests]
        assert sim.active == 2

        one.close()
        gate.open.set()
        await two.read()
        await sim.idle()

        assert (sim.active, sim.disconnects) == (0, 1)


async def test_closing_hangs_up_on_everyone(http: aiohttp.ClientSession) -> None:
    """
    At once, and it is not the clients who left. Closing twice is harmless.
    """
    gate = Gate()
    sim = await Simulator(sleep=gate.sleep).start()
    request = chat(sim, "openai-chat", stream=True)
    async with http.post(**request) as response:
        await gate.reached.wait()
        await sim.aclose()
        with pytest.raises(aiohttp.ClientError):
            await response.read()

    await sim.aclose()
    assert (sim.active, sim.disconnects) == (0, 0)
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.post(**request)


# -- misfortune ------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_next_request_fails_as_told(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str
) -> None:
    """
    As often as told, with the headers that were given; and then no more.
    """
    sim.fail_next(status=429, times=2, headers={"retry-after": "1"})

    for _ in range(2):
        async with http.post(**chat(sim, dialect)) as response:
            document = await response.json()
        assert response.status == 429
        assert response.headers["retry-after"] == "1"
        assert any(
            word in str(document["error"])
            for word in ("requests", "rate_limit", "429", "RESOURCE", "told to fail")
        )
    assert (await post(http, **chat(sim, dialect)))[0] == 200
    assert sim.request_count == 3


@pytest.mark.parametrize(
    ("dialect", "facts", "error"),
    [
        ("openai-chat", {}, {"type": "service_unavailable_error", "code": "server_is_overloaded"}),
        ("openai-chat", {"status": 500}, {"type": "server_error", "code": None}),
        ("openai-chat", {"status": 504}, {"type": "server_error", "code": None}),
        ("openai-chat", {"status": 400}, {"type": "invalid_request_error", "code": None}),
        ("openai-chat", {"status": 404}, {"type": "invalid_request_error", "code": "model_not_found"}),
        (
            "openai-chat",
            {"status": 429, "code": "insufficient_quota", "message": "Pay!"},
            {"type": "insufficient_quota", "code": "insufficient_quota", "message": "Pay!"},
        ),
        ("anthropic", {}, {"type": "api_error"}),
        ("anthropic", {"status": 529}, {"type": "overloaded_error"}),
        ("anthropic", {"code": "overloaded_error"}, {"type": "overloaded_error"}),
        ("anthropic", {"status": 400, "message": "No."}, {"type": "invalid_request_error", "message": "No."}),
        (
            "anthropic",
            {"status": 429, "code": "enforced_spend_limit_reached"},
            {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}},
        ),
        ("openai", {}, {"type": "service_unavailable_error", "code": "server_is_overloaded"}),
        ("azure", {"status": 429}, {"code": "429"}),
        ("azure", {"status": 404}, {"code": "404"}),
        ("azure", {"status": 400, "message": "No."}, {"type": "invalid_request_error", "message": "No."}),
        (
            "azure",
            {"status": 400, "code": "content_filter"},
            {"code": "content_filter", "param": "prompt", "status": 400},
        ),
        ("google", {}, {"code": 503, "status": "UNAVAILABLE"}),
        ("google", {"status": 418}, {"code": 418, "status": "INVALID_ARGUMENT"}),
        ("google", {"status": 500}, {"code": 500, "status": "INTERNAL"}),
        ("google", {"status": 400, "code": "FAILED_PRECONDITION"}, {"code": 400, "status": "FAILED_PRECONDITION"}),
        (
            "google",
            {"status": 429, "code": "RequestsPerDay", "headers": {"retry-after": "3"}},
            {
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [{"quotaId": "RequestsPerDay"}],
                    },
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"},
                ],
            },
        ),
    ],
)  # fmt: skip
async def test_errors_have_the_shape_of_their_dialect(
    sim: Simulator,
    http: aiohttp.ClientSession,
    dialect: str,
    facts: dict[str, Any],
    error: dict[str, Any],
) -> None:
    """
    The status, and the provider's own words for it.
    """
    sim.fail_next(**facts)

    status, text = await post(http, **chat(sim, dialect))

    document = json.loads(text)
    assert status == facts.get("status", 503)
    assert document["error"] == {**document["error"], **error}
    if dialect == "anthropic":
        assert document["type"] == "error"
        assert document["request_id"].startswith("req_sim")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("after", [0, 3])
async def test_an_error_may_come_within_a_stream(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str, after: int
) -> None:
    """
    S5: after so many words there is an error event, and nothing follows it.
    """
    sim.fail_next("error_event", after=after, status=529, message="Enough.")

    status, text = await post(http, **chat(sim, dialect, stream=True))

    assert status == 200
    assert ':"Enough."' in text.rstrip().splitlines()[-1]
    assert ('" aichat\'s"' in text) == (after > 0)
    assert ENDS[dialect] not in text


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_that_is_no_stream_has_no_error_event(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str
) -> None:
    """
    It fails with the status that the event stands for.
    """
    sim.fail_next("error_event", status=500)

    assert (await post(http, **chat(sim, dialect)))[0] == 500


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_it_may_hang_up(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str, stream: bool
) -> None:
    """
    S4: what was said arrives, the end of the body does not; and nobody left but us.
    """
    sim.fail_next("hang_up", after=1)

    async with http.post(**chat(sim, dialect, stream=stream)) as response:
        first = await response.content.readany()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
    await sim.idle()

    assert first
    assert sim.disconnects == 0


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_may_end_too_soon(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str, stream: bool
) -> None:
    """
    S4: as HTTP it is complete, as an answer it is not.
    """
    sim.fail_next("truncate", after=1)

    status, text = await post(http, **chat(sim, dialect, stream=stream))

    assert status == 200
    assert text
    assert ENDS[dialect] not in text
    if not stream:
        with pytest.raises(ValueError, match="column"):
            json.loads(text)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_may_stall(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str
) -> None:
    """
    D1: after some words nothing comes any more, until the client has enough.
    """
    sim.fail_next("stall", after=2)

    async with http.post(**chat(sim, dialect, stream=True)) as response:
        await response.content.readany()
        assert sim.active == 1
    await sim.idle()

    assert sim.disconnects == 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_event_may_be_garbage(
    sim: Simulator, http: aiohttp.ClientSession, dialect: str
) -> None:
    """
    I2: one event is no JSON; the others are as ever.
    """
    sim.fail_next("garbage", after=2)

    _, text = await post(http, **chat(sim, dialect, stream=True))

    assert 'data: {"oops": \n\n' in text
    assert ENDS[dialect] in text


@pytest.mark.parametrize("stream", [True, False])
async def test_somebody_else_may_answer(
    sim: Simulator, http: aiohttp.ClientSession, stream: bool
) -> None:
    """
    S6: a proxy's page, or nothing at all, with status 200.
    """
    sim.fail_next("html")
    sim.fail_next("empty")

    async with http.post(**chat(sim, "anthropic", stream=stream)) as response:
        assert response.content_type == "text/html"
        assert "Bad Gateway" in await response.text()
    assert await post(http, **chat(sim, "anthropic", stream=stream)) == (200, "")


async def test_a_fault_can_come_with_the_request(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    For tests that run side by side: the header wins, and the queue waits.
    """
    sim.fail_next(status=500)
    header = {"x-aichat-fault": "status; status=418; code=teapot; message=I am one"}

    status, text = await post(http, **chat(sim, "openai-chat", headers=header))

    assert status == 418
    assert json.loads(text)["error"]["code"] == "teapot"
    assert json.loads(text)["error"]["message"] == "I am one"
    assert (await post(http, **chat(sim, "openai-chat")))[0] == 500


async def test_a_fault_that_there_is_not_is_refused(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    A misspelled fault shall not let a test pass.
    """
    header = {"x-aichat-fault": "hangup"}

    status, text = await post(http, **chat(sim, "openai-chat", headers=header))

    assert status == 400
    assert "There is no fault 'hangup'" in text
    with pytest.raises(ConfigError, match="There are: status, rate_limit"):
        sim.fail_next("hangup")  # type: ignore[arg-type]


def test_faults_can_be_written() -> None:
    """
    The header's form has everything that the value has.
    """
    fault = Fault.parse("status; status=429; retry-after=2; retry-after-ms=1500")

    assert fault == Fault(
        status=429, headers={"retry-after": "2", "retry-after-ms": "1500"}
    )
    assert Fault.parse("hang_up;after=3") == Fault("hang_up", after=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hang_up; after=soon", "no 'after=soon'"),
        ("hang_up; before=3", "no 'before=3'"),
        ("status; status=42", "200 to 599"),
    ],
)
def test_faults_can_be_misspelled(text: str, message: str) -> None:
    """
    And that is an error.
    """
    with pytest.raises(ConfigError, match=message):
        Fault.parse(text)


async def test_a_fault_is_a_value(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """
    It may be made once and used often.
    """
    sim.fail_next(Fault(status=502), times=2)

    for status in (502, 502, 200):
        assert (await post(http, **chat(sim, "anthropic")))[0] == status


# -- starting and stopping -------------------------------------------------------------


async def test_a_simulator_runs_once() -> None:
    """
    It can be started again after it has been closed.
    """
    sim = Simulator()
    assert repr(sim) == "<Simulator not started>"
    with pytest.raises(ConfigError, match="not running"):
        sim.base_url("anthropic")

    for _ in range(2):
        async with sim:
            assert repr(sim) == f"<Simulator at {sim.url}>"
            await sim.idle()
            with pytest.raises(ConfigError, match="running already"):
                await sim.start()


async def test_it_speaks_no_other_dialect(sim: Simulator) -> None:
    """
    The error says which ones there are.
    """
    with pytest.raises(ConfigError, match="'gemini', but openai-chat, openai"):
        sim.base_url("gemini")


async def test_a_port_that_is_taken_is_an_error() -> None:
    """
    And leaves nothing open.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await Simulator(port=taken.getsockname()[1]).start()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_it_may_listen_elsewhere(http: aiohttp.ClientSession) -> None:
    """
    An IPv6 address is put into brackets.
    """
    async with Simulator(host="::1") as sim:
        assert sim.url.startswith("http://[::1]:")
        assert (await post(http, **chat(sim, "openai-chat")))[0] == 200


def test_the_door_knows_its_names() -> None:
    """
    The simulator is imported when it is asked for, and only real names are there.
    """
    assert aichat.testing.Simulator is Simulator
    with pytest.raises(AttributeError, match="has no attribute 'Simulater'"):
        aichat.testing.Simulater  # type: ignore[attr-defined]  # noqa: B018
