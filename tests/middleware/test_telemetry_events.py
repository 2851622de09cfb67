"""What is said, in an event of its own and not in the span."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from aichat import (
    ChatRequest,
    Client,
    ConfigError,
    ServerError,
    StreamChunk,
    TextDelta,
    Tool,
    Usage,
    system,
    user,
)
from aichat.middleware._cache import cache
from aichat.middleware._compose import compose
from aichat.middleware._telemetry import telemetry
from aichat.middleware._watched_event import EVENT, emitter_of
from aichat.testing import FakeProvider, reply
from aichat.testing._fake import Reply
from aichat.transport import CallEvent, tell
from aichat.transport._observation import observe

from .watching import SDK

PROMPT, ANSWER = "the-secret-question", "the-secret answer"


@pytest.fixture
def sdk() -> SDK:
    return SDK()


def client_of(sdk: SDK, *replies: Reply, **settings: Any) -> Client:
    settings = {"content": "event", **settings}
    return Client(
        {"fake": FakeProvider(replies)},
        model="fake:m",
        middleware=[sdk.telemetry(**settings)],
    )


def attributes(sdk: SDK) -> Mapping[str, Any]:
    """Of the only one."""
    (written,) = sdk.written
    return dict(written.log_record.attributes or {})


async def test_an_answer_is_an_event(sdk: SDK) -> None:
    """The convention's name and attributes, with their structure; part of the trace."""  # O1
    usage = Usage(input_tokens=3, output_tokens=2)
    tool = Tool("look", "Looks.", {"type": "object"})
    with observe(session_id="s-1"):
        await client_of(sdk, reply(ANSWER, usage=usage)).complete(
            [system("Be brief."), user(PROMPT)], tools=[tool], max_tokens=5
        )
    (written,) = sdk.written
    record, span = written.log_record, sdk.span.get_span_context()
    assert span is not None
    assert record.event_name == EVENT
    assert record.severity_number is SeverityNumber.INFO
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert written.instrumentation_scope is not None
    assert written.instrumentation_scope.name == "aichat"
    assert attributes(sdk) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "m",
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.stream": True,
        "gen_ai.conversation.id": "s-1",
        "session.id": "s-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.input.messages": (
            {
                "role": "system",
                "parts": ({"type": "text", "content": "Be brief."},),
            },
            {"role": "user", "parts": ({"type": "text", "content": PROMPT},)},
        ),
        "gen_ai.tool.definitions": (
            {
                "type": "function",
                "name": "look",
                "description": "Looks.",
                "parameters": {"type": "object"},
            },
        ),
        "gen_ai.output.messages": (
            {
                "role": "assistant",
                "parts": ({"type": "text", "content": ANSWER},),
                "finish_reason": "stop",
            },
        ),
    }


async def test_the_span_holds_nothing_of_it(sdk: SDK) -> None:
    """That is what an event of its own is for."""  # X1
    failing = client_of(sdk, reply(ANSWER), ServerError(f"{PROMPT} is too hard."))
    await failing.complete(PROMPT)
    with pytest.raises(ServerError):
        await failing.complete(PROMPT)
    seen = " ".join(span.to_json() for span in sdk.spans) + str(sdk.measured())
    assert "secret" not in seen
    assert len(sdk.written) == 2


async def test_both(sdk: SDK) -> None:
    """In the span as JSON, in the event with its structure."""
    await client_of(sdk, ANSWER, content="both").complete(PROMPT)
    assert isinstance(sdk.attributes["gen_ai.input.messages"], str)
    assert isinstance(attributes(sdk)["gen_ai.input.messages"], tuple)


async def test_who_was_asked_is_in_it(sdk: SDK) -> None:
    """An event stands for itself: nobody has to look for its span."""

    async def answer(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        tell(CallEvent(kind="attempt", base_url="https://a.b/v1"))
        for chunk in reply(ANSWER):
            yield chunk

    handler = compose([sdk.telemetry(content="event")], answer)
    async for _ in handler(ChatRequest(PROMPT, "fake:m")):
        pass
    found = attributes(sdk)
    assert (found["server.address"], found["server.port"]) == ("a.b", 443)


async def test_an_answer_that_was_cut(sdk: SDK) -> None:
    """What there was of it, and why there is no more."""
    half: Reply = [TextDelta("Half an"), ServerError("Gone.")]
    with pytest.raises(ServerError):
        await client_of(sdk, half).complete(PROMPT)
    found = attributes(sdk)
    assert found["error.type"] == "server_error"
    (message,) = found["gen_ai.output.messages"]
    assert message["finish_reason"] == "error"
    assert message["parts"][0]["content"] == "Half an"


async def test_a_failure_before_any_answer(sdk: SDK) -> None:
    """What was asked, and no answer."""
    with pytest.raises(ServerError):
        await client_of(sdk, ServerError("Down.")).complete(PROMPT)
    found = attributes(sdk)
    assert "gen_ai.output.messages" not in found
    assert found["gen_ai.input.messages"][0]["parts"][0]["content"] == PROMPT


async def test_an_answer_from_the_cache(sdk: SDK) -> None:
    """It is said again; its tokens are not."""
    usage = Usage(input_tokens=3, output_tokens=2)
    fake = FakeProvider([reply(ANSWER, usage=usage)])
    client = Client(
        {"fake": fake},
        model="fake:m",
        middleware=[sdk.telemetry(content="event"), cache()],
    )
    for _ in range(2):
        await client.complete(PROMPT)
    first, again = (dict(w.log_record.attributes or {}) for w in sdk.written)
    assert again["gen_ai.output.messages"] == first["gen_ai.output.messages"]
    assert "gen_ai.usage.input_tokens" in first
    assert "gen_ai.usage.input_tokens" not in again


async def test_a_trace_that_is_not_sampled(sdk: SDK) -> None:
    """Events are kept apart from traces, and whether they are kept is theirs to say."""
    dropped = telemetry(
        tracer_provider=TracerProvider(sampler=ALWAYS_OFF),
        meter_provider=sdk.meters,
        logger_provider=sdk.loggers,
        content="event",
    )
    client = Client({"fake": FakeProvider([ANSWER])}, middleware=[dropped])
    await client.complete(PROMPT, model="fake:m")
    assert attributes(sdk)["gen_ai.output.messages"]


_GLOBAL: Final = """
import asyncio
import aichat
from aichat.testing import FakeProvider
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter, SimpleLogRecordProcessor,
)
from opentelemetry.sdk.trace import TracerProvider
written, loggers = InMemoryLogRecordExporter(), LoggerProvider()
loggers.add_log_record_processor(SimpleLogRecordProcessor(written))
_logs.set_logger_provider(loggers)
trace.set_tracer_provider(TracerProvider())
client = aichat.Client({"fake": FakeProvider(["Hi"])}, model="fake:m")
asyncio.run(client.stream("Hi").response())
(event,) = written.get_finished_logs()
assert event.log_record.attributes["gen_ai.output.messages"], event
"""


def test_the_global_provider_is_the_usual_one() -> None:
    """As with traces and metrics, an application sets it up once."""
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    done = subprocess.run(
        [sys.executable, "-c", _GLOBAL],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, name: "EVENT_ONLY"},
    )
    assert done.returncode == 0, done.stderr


class Old:
    """A log record as the API had it before 1.35."""

    def __init__(self, body: object = None) -> None: ...


def test_an_api_without_events(sdk: SDK, caplog: pytest.LogCaptureFixture) -> None:
    """It is said what is missing, and that is all that happens."""
    assert emitter_of(sdk.loggers, record=Old) is None
    assert "1.35" in caplog.text


def test_a_place_that_there_is_not(sdk: SDK) -> None:
    """Said when the layer is made, and not when nothing is found."""
    with pytest.raises(ConfigError, match="'event', 'both'"):
        sdk.telemetry(content="log")


async def test_content_that_has_no_text(sdk: SDK) -> None:
    """Whatever cannot be written down breaks no call."""
    request = ChatRequest(PROMPT, "fake:m", tools=[Tool("t", "T.", {"x": (1, 2)})])
    await client_of(sdk, ANSWER).complete(request)
    (tool,) = attributes(sdk)["gen_ai.tool.definitions"]
    assert tool["parameters"] == {"x": (1, 2)}
