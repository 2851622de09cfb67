"""`telemetry`: a span and measurements for each call, whatever becomes of it."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, Final

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from aichat import (
    ChatRequest,
    Client,
    ImagePart,
    Message,
    OpaquePart,
    ProviderState,
    RefusalPart,
    ResponseEnd,
    Role,
    StreamChunk,
    TextDelta,
    Tool,
    ToolCallPart,
    Usage,
    assistant,
    compose,
    tool_result,
    user,
)
from aichat.errors import (
    AIChatError,
    BadRequestError,
    ErrorCode,
    InvalidRequestError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from aichat.middleware._cache import cache
from aichat.middleware._fallback import fallback
from aichat.middleware._hedge import hedge
from aichat.middleware._retry import retry
from aichat.middleware._telemetry import telemetry
from aichat.providers import Capability
from aichat.testing import FakeProvider, Simulator, reply, tool_call
from aichat.testing._fake import Reply
from aichat.transport import CallEvent, RetryPolicy, tell
from aichat.transport._observation import observe

from ..simulated import KEY, TARGETS, Target
from .watching import EVERYBODYS, SDK

PROMPT, ANSWER = "the-secret-question", "the-secret answer of three"
USAGE: Final = Usage(
    input_tokens=100,
    output_tokens=50,
    cache_read_tokens=30,
    cache_write_tokens=20,
    reasoning_tokens=10,
)
CALL: Final = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "fake",
    "gen_ai.request.model": "m",
}


class Clock:
    """A quarter of a second passes whenever it is looked at."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


@pytest.fixture
def sdk() -> SDK:
    return SDK()


def client_of(sdk: SDK, *replies: Reply, **settings: Any) -> Client:
    return Client(
        {"fake": FakeProvider(replies)},
        model="fake:m",
        middleware=[sdk.telemetry(**settings)],
    )


# --- one call, exactly -------------------------------------------------------------------


async def test_the_span_of_an_answer(sdk: SDK) -> None:
    """Its name, kind and attributes: what was asked, who answered, what it took."""  # O1
    answer = reply(ANSWER, usage=USAGE, model="m-2026")
    client = client_of(sdk, answer, clock=Clock())
    await client.complete(
        PROMPT, temperature=0.5, top_p=0.9, top_k=4, max_tokens=99, stop=["x"], seed=7,
        presence_penalty=1, frequency_penalty=-1, response_format="json",
    )  # fmt: skip
    span = sdk.span
    assert (span.name, span.kind, span.parent) == ("chat m", SpanKind.CLIENT, None)
    assert span.status.status_code is StatusCode.UNSET
    assert sdk.events == []
    assert sdk.attributes == {
        **CALL,
        "gen_ai.output.type": "json",
        "gen_ai.request.frequency_penalty": -1,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.presence_penalty": 1,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_k": 4,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.model": "m-2026",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.cache_creation.input_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.reasoning.output_tokens": 10,
        "aichat.chunks": 4,
        "aichat.outcome": "success",
    }


async def test_what_is_measured_of_an_answer(sdk: SDK) -> None:
    """Each instrument, with its labels and its value, and no other."""  # O1
    await client_of(sdk, reply(ANSWER, usage=USAGE), clock=Clock()).complete(PROMPT)
    assert sdk.measured() == {
        "gen_ai.client.operation.duration": [(CALL, 1)],
        "gen_ai.client.token.usage": [
            ({**CALL, "gen_ai.token.type": "input"}, 1),
            ({**CALL, "gen_ai.token.type": "output"}, 1),
        ],
        "gen_ai.client.operation.time_to_first_chunk": [(CALL, 1)],
        "gen_ai.client.operation.time_per_output_chunk": [(CALL, 1)],
        "aichat.client.token.details": [
            ({**CALL, "aichat.token.detail": "cache_read"}, 30),
            ({**CALL, "aichat.token.detail": "cache_creation"}, 20),
            ({**CALL, "aichat.token.detail": "reasoning"}, 10),
        ],
        "aichat.client.active_requests": [(CALL, 0)],
        "aichat.client.requests": [({**CALL, "aichat.outcome": "success"}, 1)],
    } | {n: p for n, p in sdk.measured().items() if n.startswith(EVERYBODYS)}
    # It began at 0.25, said its first word at 0.5 and its last at 0.75, and was over at 1.
    assert sdk.sums("gen_ai.client.operation.duration") == {(): 0.75}
    assert sdk.sums("gen_ai.client.operation.time_to_first_chunk") == {(): 0.25}
    # The mean of the three chunks after the first.
    mean = sdk.sums("gen_ai.client.operation.time_per_output_chunk")[()]
    assert mean == pytest.approx(0.25 / 3)
    used = sdk.sums("gen_ai.client.token.usage", "gen_ai.token.type")
    assert used == {("input",): 100, ("output",): 50}


async def test_what_is_not_known_is_not_recorded(sdk: SDK) -> None:
    """No tokens without usage, no time per chunk with one chunk: unknown is not 0."""  # S8
    await client_of(sdk, reply("Hi")).complete(PROMPT)
    assert not {"gen_ai.usage.input_tokens", "aichat.attempts"} & set(sdk.attributes)
    assert "gen_ai.client.token.usage" not in sdk.measured()
    assert "gen_ai.client.operation.time_per_output_chunk" not in sdk.measured()


async def test_calls_under_way_are_counted(sdk: SDK) -> None:
    """Up with the first pull, down at the end, under the same labels."""  # O1
    stream = client_of(sdk, reply(ANSWER)).stream(PROMPT)
    assert sdk.points("aichat.client.active_requests") == {}
    await anext(stream)
    assert sdk.points("aichat.client.active_requests") == {(): 1}
    await stream.aclose()
    assert sdk.points("aichat.client.active_requests") == {(): 0}


async def test_tool_calls_end_in_the_convention_s_word(sdk: SDK) -> None:
    """The conventions have it in the singular."""
    call = tool_call("look", city="Paris")
    await client_of(sdk, reply(tool_calls=[call])).complete(PROMPT)
    assert sdk.attributes["gen_ai.response.finish_reasons"] == ("tool_call",)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("google", "gcp.gemini"),
        ("azure", "azure.ai.openai"),
        ("xai", "x_ai"),
        ("a", "a"),
    ],
)
async def test_providers_have_the_conventions_names(
    sdk: SDK, name: str, said: str
) -> None:
    """Where those have one; otherwise our own."""  # O1
    client = Client({name: FakeProvider(["Hi"])}, middleware=[sdk.telemetry()])
    await client.complete(PROMPT, model=f"{name}:m")
    assert sdk.attributes["gen_ai.provider.name"] == said


# --- how it may end ------------------------------------------------------------------------


async def test_an_error_before_output(sdk: SDK) -> None:
    """Its code is the error type of the span and of two instruments."""  # O1
    error = BadRequestError(f"You said {PROMPT}", status=400, request_id="req_1")
    with pytest.raises(BadRequestError):
        await client_of(sdk, error).complete(PROMPT)
    assert sdk.span.status.status_code is StatusCode.ERROR
    assert sdk.span.status.description == "invalid_input"
    about = {
        "error.type": "invalid_input",
        "aichat.error.class": "BadRequestError",
        "http.response.status_code": 400,
        "aichat.response.request_id": "req_1",
        "aichat.outcome": "error",
        "aichat.chunks": 0,
    }
    assert sdk.attributes.items() >= about.items()
    failed = {**CALL, "error.type": "invalid_input"}
    measured = sdk.measured()
    assert measured["gen_ai.client.operation.duration"] == [(failed, 1)]
    assert measured["aichat.client.errors"] == [(failed, 1)]
    assert sdk.points("aichat.client.requests", "aichat.outcome") == {("error",): 1}
    assert "gen_ai.client.operation.time_to_first_chunk" not in measured


async def test_an_error_after_output(sdk: SDK) -> None:
    """What had come until then counts."""  # O1
    chunks = [*reply(ANSWER, usage=USAGE)[:4], StreamInterruptedError("Cut.")]
    with pytest.raises(StreamInterruptedError):
        await client_of(sdk, chunks).complete(PROMPT)
    assert (
        sdk.attributes.items()
        >= {
            "error.type": "stream_interrupted",
            "aichat.chunks": 3,
        }.items()
    )
    # How fast the rest would have come nobody knows.
    assert "gen_ai.client.operation.time_per_output_chunk" not in sdk.measured()
    assert sdk.points("gen_ai.client.operation.time_to_first_chunk") == {(): 1}


async def test_a_deadline_says_which(sdk: SDK) -> None:
    """Six deadlines have one code."""
    error = AIChatError("Late.", phase="idle")
    with pytest.raises(AIChatError):
        await client_of(sdk, error).complete(PROMPT)
    assert sdk.attributes["aichat.error.phase"] == "idle"


async def test_an_error_that_is_not_ours(sdk: SDK) -> None:
    """It is one of the closed list all the same: a label is no place for any class."""
    with pytest.raises(ZeroDivisionError):
        await client_of(sdk, ZeroDivisionError(PROMPT)).complete(PROMPT)
    assert sdk.attributes["error.type"] == "_OTHER"
    assert sdk.attributes["aichat.error.class"] == "ZeroDivisionError"
    assert sdk.points("aichat.client.errors", "error.type") == {("_OTHER",): 1}


async def test_a_request_that_goes_nowhere(sdk: SDK) -> None:
    """What is refused before anything is sent has its span as well."""
    with pytest.raises(InvalidRequestError):
        await client_of(sdk).complete(PROMPT, model="nobody:m")
    assert sdk.attributes["error.type"] == "invalid_input"


async def test_a_stream_that_is_left(sdk: SDK) -> None:
    """No error: nobody did anything wrong."""
    async with client_of(sdk, reply(ANSWER)).stream(PROMPT) as stream:
        async for chunk in stream:
            if isinstance(chunk, TextDelta):
                break
    assert sdk.attributes.items() >= {"aichat.outcome": "left"}.items()
    assert sdk.span.status.status_code is StatusCode.UNSET
    assert "error.type" not in sdk.attributes


async def test_a_break_ends_the_span_at_once(sdk: SDK) -> None:
    """Without waiting for the garbage collector: nothing of ours is in a cycle."""  # C1
    gc.disable()
    try:
        async for chunk in client_of(sdk, reply(ANSWER)).stream(PROMPT):
            if isinstance(chunk, TextDelta):
                break
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sdk.attributes["aichat.outcome"] == "left"
    finally:
        gc.enable()


async def test_leaving_after_the_end_is_no_leaving(sdk: SDK) -> None:
    """Whoever stops at the last chunk has read it all."""
    async with client_of(sdk, reply(ANSWER)).stream(PROMPT) as stream:
        async for chunk in stream:
            if isinstance(chunk, ResponseEnd):
                break
    assert sdk.attributes["aichat.outcome"] == "success"


async def test_a_call_that_is_cancelled(sdk: SDK) -> None:
    """While it waits for its first word."""  # C2

    async def hang(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        await asyncio.Event().wait()
        yield TextDelta("never")

    handler = compose([sdk.telemetry()], hang)

    async def read() -> None:
        async for _ in handler(ChatRequest(PROMPT, "fake:m")):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert sdk.attributes["aichat.outcome"] == "cancelled"
    assert sdk.points("aichat.client.requests", "aichat.outcome") == {("cancelled",): 1}
    assert sdk.points("aichat.client.active_requests") == {(): 0}


async def test_the_program_is_ended(sdk: SDK) -> None:
    """Ctrl-C is no error of the provider's."""
    with pytest.raises(SystemExit):
        await client_of(sdk, SystemExit()).complete(PROMPT)
    assert sdk.attributes["aichat.outcome"] == "left"


async def test_a_stream_without_anything(sdk: SDK) -> None:
    """Whatever a provider of somebody else's yields, there is a span."""
    handler = compose([sdk.telemetry()], FakeProvider([[]]).stream)
    assert [c async for c in handler(ChatRequest(PROMPT, "fake:m"))] == []
    assert sdk.attributes["aichat.chunks"] == 0


# --- what goes on beneath --------------------------------------------------------------------


async def test_retries_are_events_and_counted(sdk: SDK) -> None:
    """With the wait, and why."""  # O1, O4
    policy = RetryPolicy(max_retries=2)

    async def no_sleep(_: float) -> None: ...

    again = retry(policy, sleep=no_sleep, rand=lambda: 0.5)
    client = Client(
        {"fake": FakeProvider([ServerError("Oops."), RateLimitError("Slow."), "Hi"])},
        middleware=[sdk.telemetry(), again],
    )
    await client.complete(PROMPT, model="fake:m")
    assert [
        (name, about["error.type"], about["aichat.attempt"])
        for name, about in sdk.events
    ] == [
        ("aichat.retry", "server_error", 2),
        ("aichat.retry", "rate_limit", 3),
    ]
    by_code = sdk.points("aichat.client.retries", "gen_ai.provider.name", "error.type")
    assert by_code == {("fake", "server_error"): 1, ("fake", "rate_limit"): 1}
    waits = sdk.points("aichat.client.wait.duration", "aichat.wait.reason")
    assert waits == {("backoff",): 2}
    assert "aichat.client.errors" not in sdk.measured()


async def test_the_cache_is_an_event_and_its_tokens_are_not_counted_again(
    sdk: SDK,
) -> None:
    """A hit costs nothing, and says nothing about the provider."""  # O1, X5
    client = Client(
        {"fake": FakeProvider([reply(ANSWER, usage=USAGE)])},
        model="fake:m",
        middleware=[sdk.telemetry(), cache()],
    )
    await client.complete(PROMPT)
    await client.complete(PROMPT)
    by_result = sdk.points("aichat.client.cache", "aichat.cache.result")
    assert by_result == {("miss",): 1, ("hit",): 1}
    first, second = sdk.spans
    assert [dict(e.attributes or {}) for e in second.events] == [
        {"aichat.cache.result": "hit"}
    ]
    assert (second.attributes or {})["aichat.response.from_cache"] is True
    assert "gen_ai.usage.input_tokens" in (first.attributes or {})
    assert "gen_ai.usage.input_tokens" not in (second.attributes or {})
    used = sdk.sums("gen_ai.client.token.usage", "gen_ai.token.type")
    assert used == {("input",): 100, ("output",): 50}
    assert sdk.points("gen_ai.client.operation.time_to_first_chunk") == {(): 1}
    assert sdk.points("gen_ai.client.operation.duration") == {(): 2}


async def test_a_fallback_is_measured_by_who_answers(sdk: SDK) -> None:
    """One span of the call that was made; tokens of the model that they are paid for."""
    client = Client(
        {
            "a": FakeProvider([ServerError("Down.")]),
            "b": FakeProvider([reply(usage=USAGE, text="Hi you")]),
        },
        middleware=[sdk.telemetry(), fallback("b:n")],
    )
    await client.complete(PROMPT, model="a:m")
    assert sdk.span.name == "chat m"
    about = {"aichat.model": "b:n", "error.type": "server_error"}
    assert sdk.events == [("aichat.reroute", about)]
    who = ("gen_ai.provider.name", "gen_ai.request.model")
    assert sdk.points("gen_ai.client.token.usage", *who) == {("b", "n"): 2}
    assert sdk.points("aichat.client.requests", *who) == {("b", "n"): 1}
    assert sdk.points("aichat.client.active_requests", *who) == {("a", "m"): 0}
    assert sdk.points("aichat.client.reroutes", who[0], "error.type") == {
        ("b", "server_error"): 1
    }


async def test_a_hedge_is_an_event_and_counted(sdk: SDK) -> None:
    """And the span is current in both attempts, which are tasks of their own."""  # B4, O2
    parents = list[int]()

    async def answer(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        parents.append(trace.get_current_span().get_span_context().span_id)
        if len(parents) == 1:
            await asyncio.Event().wait()
        for chunk in reply("Hi"):
            yield chunk

    handler = compose([sdk.telemetry(), hedge(0.0)], answer)
    async for _ in handler(ChatRequest(PROMPT, "fake:m")):
        pass
    assert sdk.events == [("aichat.hedge", {"aichat.model": "fake:m"})]
    assert sdk.points("aichat.client.hedges", "gen_ai.provider.name") == {("fake",): 1}
    context = sdk.span.get_span_context()
    assert context is not None
    assert parents == [context.span_id] * 2


# --- whose span it is --------------------------------------------------------------------------


async def test_a_wait_for_a_limit_is_an_event_and_measured(sdk: SDK) -> None:
    """And one for another call's answer is an event: how long that takes nobody knows."""  # L3
    waits: list[CallEvent] = [
        CallEvent(kind="waiting", provider="fake", reason="limiter", seconds=1.5),
        CallEvent(kind="waiting", provider="fake", reason="flight"),
    ]

    async def answer(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        for event in waits:
            tell(event)
        for chunk in reply("Hi"):
            yield chunk

    handler = compose([sdk.telemetry()], answer)
    async for _ in handler(ChatRequest(PROMPT, "fake:m")):
        pass
    limiter = {"aichat.wait.reason": "limiter", "aichat.wait.seconds": 1.5}
    assert sdk.events == [
        ("aichat.wait", {"aichat.attempt": 1, **limiter}),
        ("aichat.wait", {"aichat.attempt": 1, "aichat.wait.reason": "flight"}),
    ]
    waited = sdk.sums("aichat.client.wait.duration", "aichat.wait.reason")
    assert waited == {("limiter",): 1.5}


async def test_who_is_asked_need_not_be_at_an_address(sdk: SDK) -> None:
    """An attempt of a provider of somebody else's has no server to name."""

    async def answer(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        tell(CallEvent(kind="attempt", provider="fake", base_url="nowhere"))
        for chunk in reply("Hi"):
            yield chunk

    async for _ in compose([sdk.telemetry()], answer)(ChatRequest(PROMPT, "fake:m")):
        pass
    assert "server.address" not in sdk.attributes
    assert sdk.attributes["aichat.attempts"] == 1


async def test_too_many_servers(sdk: SDK) -> None:
    """They are bounded as well."""  # O1
    for number in range(60):

        async def answer(
            _: ChatRequest, url: str = f"http://h{number}"
        ) -> AsyncGenerator[StreamChunk, None]:
            tell(CallEvent(kind="attempt", provider="fake", base_url=url))
            for chunk in reply("Hi"):
                yield chunk

        async for _ in compose([sdk.telemetry()], answer)(
            ChatRequest(PROMPT, "fake:m")
        ):
            pass
    name = "gen_ai.client.operation.duration"
    servers = sdk.points(name, "server.address", "server.port")
    assert len(servers) == 51
    assert servers["other", ""] == 10


async def test_the_span_is_never_current_between_two_chunks(sdk: SDK) -> None:
    """The reproduction: spans that the consumer starts there are the consumer's own."""  # O2
    tracer = sdk.tracers.get_tracer("the application")
    client = client_of(sdk, reply(ANSWER, usage=USAGE, reasoning="Let me see."))
    with tracer.start_as_current_span("request") as outer:
        here = context.get_current()
        async for _ in client.stream(PROMPT):
            assert trace.get_current_span() is outer
            assert context.get_current() == here
            with tracer.start_as_current_span("render"):
                pass
        assert context.get_current() == here
    spans = {span.name: span for span in sdk.spans}
    top = spans["request"].get_span_context()
    assert top is not None
    for name in ("render", "chat m"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == top.span_id, name


async def test_the_span_is_current_while_the_answer_is_waited_for(sdk: SDK) -> None:
    """So that spans of HTTP nest under it; until there is output, and not later."""  # O2
    seen = list[str]()

    async def answer(_: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        for chunk in reply("Hello you"):
            span = trace.get_current_span()
            seen.append(span.name if isinstance(span, ReadableSpan) else "")
            yield chunk

    handler = compose([sdk.telemetry()], answer)
    async for _ in handler(ChatRequest(PROMPT, "fake:m")):
        assert trace.get_current_span() is trace.INVALID_SPAN
    assert seen == ["chat m", "chat m", "", ""]


async def test_streams_that_are_read_in_turn_do_not_mix(sdk: SDK) -> None:
    """Two spans open at once in one task, ended in the other order."""  # O2
    one, two = (client_of(sdk, reply(ANSWER)).stream(PROMPT) for _ in range(2))
    await anext(one)
    await anext(two)
    await one.aclose()
    assert trace.get_current_span() is trace.INVALID_SPAN
    await two.aclose()
    assert [s.parent for s in sdk.spans] == [None, None]


async def test_a_stream_that_another_task_goes_on_reading(sdk: SDK) -> None:
    """Nothing was taken into one context that would have to be put back from another."""
    stream = client_of(sdk, reply(ANSWER)).stream(PROMPT)
    await asyncio.create_task(_next(stream))
    await asyncio.create_task(_next(stream))
    await stream.response()
    assert sdk.attributes["aichat.outcome"] == "success"


async def _next(stream: AsyncIterator[StreamChunk]) -> StreamChunk:
    return await anext(stream)


# --- where it is --------------------------------------------------------------------------------


async def test_without_an_sdk_there_is_no_layer() -> None:
    """What comes out is the very generator of the next handler."""  # O3
    provider = FakeProvider(["Hi"])
    chunks = provider.stream(ChatRequest("Hi", "fake:m"))
    nothing = NoOpTracerProvider(), NoOpMeterProvider()
    silent = telemetry(tracer_provider=nothing[0], meter_provider=nothing[1])
    # This process has imported OpenTelemetry, and has set up nothing.
    for layer in (telemetry(), silent, telemetry(enabled=False)):
        assert layer(ChatRequest("Hi", "fake:m"), lambda _: chunks) is chunks
    await chunks.aclose()


async def test_one_of_the_two_providers_is_enough(sdk: SDK) -> None:
    """Only spans, or only metrics."""
    spans = telemetry(tracer_provider=sdk.tracers)
    client = Client({"fake": FakeProvider(["Hi"])}, middleware=[spans])
    await client.complete(PROMPT, model="fake:m")
    assert sdk.span.name == "chat m"
    assert sdk.measured() == {}
    metrics = telemetry(meter_provider=sdk.meters)
    client = Client({"fake": FakeProvider(["Hi"])}, middleware=[metrics])
    await client.complete(PROMPT, model="fake:m")
    assert len(sdk.spans) == 1
    assert sdk.points("aichat.client.requests") == {(): 1}


async def test_one_that_is_named_is_the_only_one(sdk: SDK) -> None:
    """In the middleware, or by `use`; two are two."""
    client = Client({"fake": FakeProvider(["Hi"] * 3)}, model="fake:m")
    watched = client.use(sdk.telemetry())
    await watched.complete(PROMPT)
    assert len(sdk.spans) == 1
    await watched.use(cache()).complete(PROMPT)
    assert len(sdk.spans) == 2
    await watched.use(cache(), sdk.telemetry()).complete(PROMPT)
    inner, outer = sdk.spans[2:]
    context = outer.get_span_context()
    assert inner.parent is not None
    assert context is not None
    assert inner.parent.span_id == context.span_id


async def test_a_span_that_is_not_sampled(sdk: SDK) -> None:
    """It costs nothing more, and the metrics go on."""
    dropped = telemetry(
        tracer_provider=TracerProvider(sampler=ALWAYS_OFF), meter_provider=sdk.meters
    )
    provider = FakeProvider([ServerError("Oops."), "Hi"])
    client = Client({"fake": provider}, middleware=[dropped, fallback("fake:n")])
    await client.complete(PROMPT, model="fake:m")
    assert sdk.spans == ()
    assert sdk.points("aichat.client.requests") == {(): 1}


class Broken(SpanProcessor):
    """Somebody else's, with a bug."""

    def __init__(self, when: str) -> None:
        self.when = when

    def on_start(
        self, span: Span, parent_context: context.Context | None = None
    ) -> None:
        if self.when == "start":
            raise ZeroDivisionError

    def on_end(self, span: ReadableSpan) -> None:
        if self.when == "end":
            raise ZeroDivisionError


@pytest.mark.parametrize("when", ["start", "end"])
async def test_a_broken_exporter_breaks_no_call(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever only watches must not be what breaks the call."""
    tracers = TracerProvider()
    tracers.add_span_processor(Broken(when))
    client = Client(
        {"fake": FakeProvider(["Hi"])},
        model="fake:m",
        middleware=[telemetry(tracer_provider=tracers)],
    )
    assert (await client.complete(PROMPT)).text == "Hi"
    assert "Telemetry raised" in caplog.text


def test_several_loops_and_threads(sdk: SDK) -> None:
    """One client, a loop after the other and a loop in each thread."""  # C5
    client = Client(
        {"fake": FakeProvider([reply(ANSWER)], repeat=True)},
        model="fake:m",
        middleware=[sdk.telemetry()],
    )

    def run() -> None:
        asyncio.run(client.stream(PROMPT).response())

    run()
    run()
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sdk.points("aichat.client.requests", "aichat.outcome") == {("success",): 6}
    assert len(sdk.spans) == 6


# --- labels -----------------------------------------------------------------------------------


async def test_the_labels_are_bounded(sdk: SDK) -> None:
    """Whoever lets users choose the model does not let them choose the memory."""  # O1
    client = Client(
        {"fake": FakeProvider(["Hi"], repeat=True)}, middleware=[sdk.telemetry()]
    )
    for number in range(150):
        await client.complete(PROMPT, model=f"fake:m{number}")
        with suppress(InvalidRequestError):
            await client.complete(PROMPT, model=f"nobody{number}:m")
    await client.complete(PROMPT, model="fake:" + "m" * 500)
    models = sdk.points("aichat.client.requests", "gen_ai.request.model")
    assert len(models) == 101
    # Those that came too late, and the one that is too long.
    assert models["other",] == 52
    providers = sdk.points("aichat.client.requests", "gen_ai.provider.name")
    assert len(providers) == 51


# --- content ----------------------------------------------------------------------------------


async def test_content_only_for_those_who_ask(sdk: SDK) -> None:
    """In the convention's form, and in spans only."""  # X1
    call = tool_call("look", "c1", city="Paris")
    tool = Tool("look", "Looks.", {"type": "object"})
    messages = [
        user(
            PROMPT,
            ImagePart(data=b"png!", media_type="image/png"),
            ImagePart(url="https://a.b/c"),
            ImagePart(file_id="f1"),
        ),
        assistant(call),
        tool_result(call, "Rain."),
    ]
    client = client_of(
        sdk, reply("Bad.", reasoning="Hm.", tool_calls=[call]), content=True
    )
    await client.complete(messages, tools=[tool])
    said = {
        n: json.loads(v)
        for n, v in sdk.attributes.items()
        if "messages" in n or "definitions" in n
    }
    assert said == {
        "gen_ai.input.messages": [
            {
                "role": "user",
                "parts": [
                    {"type": "text", "content": PROMPT},
                    {
                        "type": "blob",
                        "bytes": 4,
                        "modality": "image",
                        "mime_type": "image/png",
                    },
                    {
                        "type": "uri",
                        "uri": "https://a.b/c",
                        "modality": "image",
                        "mime_type": None,
                    },
                    {
                        "type": "file",
                        "file_id": "f1",
                        "modality": "image",
                        "mime_type": None,
                    },
                ],
            },
            {
                "role": "assistant",
                "parts": [
                    {
                        "type": "tool_call",
                        "id": "c1",
                        "name": "look",
                        "arguments": {"city": "Paris"},
                    }
                ],
            },
            {
                "role": "tool",
                "parts": [
                    {"type": "tool_call_response", "id": "c1", "response": "Rain."}
                ],
            },
        ],
        "gen_ai.output.messages": [
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "content": "Hm."},
                    {"type": "text", "content": "Bad."},
                    {
                        "type": "tool_call",
                        "id": "c1",
                        "name": "look",
                        "arguments": {"city": "Paris"},
                    },
                ],
                "finish_reason": "tool_call",
            }
        ],
        "gen_ai.tool.definitions": [
            {
                "type": "function",
                "name": "look",
                "description": "Looks.",
                "parameters": {"type": "object"},
            }
        ],
    }
    assert PROMPT not in repr(sdk.measured())


async def test_content_of_other_kinds(sdk: SDK) -> None:
    """Refusals, names, arguments that are no JSON, and parts that only their provider reads."""
    call = ToolCallPart("c1", "look", "{", invalid="cut off")
    opaque = OpaquePart("redacted", ProviderState("fake", {"x": 1}))
    messages = [
        user("Hi"),
        assistant(RefusalPart("No."), opaque, call),
        tool_result(call, "?"),
        Message(Role.USER, "Well?", name="Bob"),
    ]
    await client_of(sdk, "Hi", content=True).complete(messages)
    _, refused, _, named = json.loads(sdk.attributes["gen_ai.input.messages"])
    assert refused["parts"] == [
        {"type": "refusal", "content": "No."},
        {"type": "redacted"},
        {"type": "tool_call", "id": "c1", "name": "look", "arguments": "{"},
    ]
    assert named["name"] == "Bob"


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([*reply(ANSWER)[:3], ServerError(f"You said {PROMPT}.")], "error"),
        (reply(ANSWER), "length"),
    ],
    ids=["error", "left"],
)
async def test_content_of_an_answer_that_was_cut(
    sdk: SDK, replies: list[StreamChunk | BaseException], reason: str
) -> None:
    """As far as it got; then a provider's own words are content as well."""
    with suppress(ServerError):
        async with client_of(sdk, replies, content=True).stream(PROMPT) as stream:
            async for chunk in stream:
                if reason == "length" and chunk == TextDelta("the-secret"):
                    break
    (message,) = json.loads(sdk.attributes["gen_ai.output.messages"])
    assert message["finish_reason"] == reason
    said = sdk.span.status.description or ""
    assert (PROMPT in said) is (reason == "error")


@pytest.mark.parametrize(
    ("value", "span", "event"),
    [
        ("", False, False), ("NO_CONTENT", False, False), ("false", False, False),
        ("SPAN_ONLY", True, False), ("true", True, False), ("EVENT_ONLY", False, True),
        ("span_and_event", True, True),
    ],
)  # fmt: skip
async def test_the_convention_s_own_switch(
    sdk: SDK, value: str, span: bool, event: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All instrumentations of generative AI share it; what is said in code wins."""
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    monkeypatch.setenv(name, value)
    await client_of(sdk, "Hi").complete(PROMPT)
    assert ("gen_ai.input.messages" in sdk.attributes) is span
    assert len(sdk.written) == event
    other = SDK()
    await client_of(other, "Hi", content=not span).complete(PROMPT)
    assert ("gen_ai.input.messages" in other.attributes) is not span
    assert not other.written


async def test_a_switch_that_says_something_else(
    sdk: SDK, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is recorded, and it is said why; not what it says, which may be anything."""
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    monkeypatch.setenv(name, "yes, please")
    await client_of(sdk, "Hi").complete(PROMPT)
    assert "gen_ai.input.messages" not in sdk.attributes
    assert not sdk.written
    assert name in caplog.text
    assert "please" not in caplog.text


# --- every provider ---------------------------------------------------------------------------


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_keys=[KEY]) as simulator:
        yield simulator


@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_embeddings(target: Target, sim: Simulator, sdk: SDK) -> None:
    """A span and measurements as well, and no word of what was embedded."""  # O1
    target.needs(Capability.EMBEDDINGS)
    async with target.client(sim) as plain:
        client = plain.use(sdk.telemetry())
        await client.embed([PROMPT, "b"])
    assert sdk.span.name == f"embeddings {target.model}"
    assert sdk.attributes["gen_ai.operation.name"] == "embeddings"
    assert sdk.points("gen_ai.client.operation.duration", "gen_ai.operation.name") == {
        ("embeddings",): 1
    }
    assert all("traceparent" in request.headers for request in sim.requests)
    assert PROMPT not in f"{sdk.span.to_json()} {sdk.measured()}"


async def test_embeddings_that_fail(sim: Simulator, sdk: SDK) -> None:
    """With the same codes."""
    (target,) = (t for t in TARGETS if str(t) == "openai-gpt-6-sol")
    sim.fail_next("status", status=400)
    async with target.client(sim) as plain:
        with pytest.raises(BadRequestError):
            await plain.use(sdk.telemetry()).embed("a", dimensions=64)
    assert sdk.attributes["error.type"] == ErrorCode.INVALID_INPUT
    assert sdk.attributes["gen_ai.embeddings.dimension.count"] == 64


async def test_embeddings_unseen(sim: Simulator) -> None:
    """Without an SDK, and with one whose start fails: the vectors come."""
    (target,) = (t for t in TARGETS if str(t) == "openai-gpt-6-sol")
    tracers = TracerProvider()
    tracers.add_span_processor(Broken("start"))
    async with target.client(sim) as plain:
        for client in (plain, plain.use(telemetry(tracer_provider=tracers))):
            assert len((await client.embed("a")).vectors) == 1


async def test_no_trace_for_the_server_if_that_is_not_wanted(
    sim: Simulator, sdk: SDK
) -> None:
    """An off switch, and baggage is never sent: it may hold anything."""  # O2
    target = TARGETS[0]
    async with target.client(sim) as plain:
        token = context.attach(baggage.set_baggage("user", "alice"))
        try:
            await plain.use(sdk.telemetry()).complete(PROMPT)
            await plain.use(sdk.telemetry(propagate=False)).complete(PROMPT)
            with observe(headers={"TraceParent": "mine"}):
                await plain.use(sdk.telemetry()).complete(PROMPT)
        finally:
            context.detach(token)
    one, two, three = (request.headers for request in sim.requests)
    assert "traceparent" in one
    assert "traceparent" not in two
    assert three["traceparent"] == "mine"
    assert not any("baggage" in headers for headers in (one, two, three))


async def test_the_ids_of_the_application_are_in_the_span(sdk: SDK) -> None:
    """And nowhere in the metrics."""  # O5
    client = client_of(sdk, "Hi")
    with observe(operation="op", request_id="r-1", user_id="u-1", session_id="s-1"):
        await client.complete(PROMPT)
    assert (
        sdk.attributes.items()
        >= {
            "aichat.operation": "op",
            "aichat.request.id": "r-1",
            "user.id": "u-1",
            "session.id": "s-1",
            "gen_ai.conversation.id": "s-1",
        }.items()
    )
    assert not any(
        each in repr(sdk.measured()) for each in ("r-1", "u-1", "s-1", "op'")
    )
