"""
Whatever may become of a call, at every provider: its span and its data points, all of them.

What is to be seen is worked out from what the reader got: nothing else may be there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from attrs import field, frozen
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from aichat import (
    AIChatError,
    ChatResponse,
    Client,
    ResponseEnd,
    ResponseStart,
    TextDelta,
    UsageUpdate,
)
from aichat.middleware._cache import cache
from aichat.middleware._compose import Middleware
from aichat.middleware._fallback import fallback
from aichat.middleware._genai import provider_name
from aichat.middleware._hedge import hedge
from aichat.middleware._instruments import INSTRUMENTS
from aichat.testing import Simulator

from ..simulated import KEY, TARGETS, Target
from .watching import EVERYBODYS, SDK

PROMPT: Final = "the-secret-question"


@frozen
class Heard:
    """What the reader got of a call."""

    outcome: str
    response: ChatResponse | None = None
    #: Of output.
    chunks: int = 0
    error: AIChatError | None = None


async def ask(client: Client, _: Simulator) -> list[Heard]:
    """Once."""
    chunks = 0
    stream = client.stream(PROMPT, max_tokens=500)
    try:
        async for chunk in stream:
            chunks += not isinstance(chunk, (ResponseStart, UsageUpdate, ResponseEnd))
    except AIChatError as error:
        return [Heard("error", error.partial, chunks, error)]
    return [Heard("success", await stream.response(), chunks)]


async def ask_twice(client: Client, sim: Simulator) -> list[Heard]:
    """The same."""
    return [*await ask(client, sim), *await ask(client, sim)]


async def cancel(client: Client, sim: Simulator) -> list[Heard]:
    """While it waits for its first word."""
    task = asyncio.create_task(client.complete(PROMPT, max_tokens=500))
    async with asyncio.timeout(10):
        while not sim.active:  # noqa: ASYNC110 -- it has no event for that
            await asyncio.sleep(0.001)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return [Heard("cancelled")]


async def leave(client: Client, _: Simulator) -> list[Heard]:
    """At the first word. The next ones do not come."""
    chunks = 0
    async with client.stream(PROMPT, max_tokens=500) as stream:
        async for chunk in stream:
            chunks += not isinstance(chunk, (ResponseStart, UsageUpdate))
            if isinstance(chunk, TextDelta):
                break
    return [Heard("left", stream.partial(), chunks)]


@frozen
class Row:
    """What happens, and what is to be seen of it."""

    happens: Callable[[Client, Simulator], Awaitable[list[Heard]]]
    outcomes: tuple[str, ...]
    #: Requests that a span counts, and the simulator; the last call may need none.
    attempts: int = 1
    #: The last span's events: each with those of its attributes that are not times.
    events: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    #: Data points beside those that every call has: instrument, labels, how much.
    points: tuple[tuple[str, Mapping[str, str], int], ...] = ()
    #: What the client has beneath its telemetry, given another model that may be asked.
    layers: Callable[[str], tuple[Middleware, ...]] = lambda _: ()
    #: What the simulator does first.
    fault: Mapping[str, Any] | None = field(default=None, hash=False)
    retries: int = 0
    #: Whether the other model answers.
    rerouted: bool = False


_BECAUSE: Final = {"error.type": "provider_unavailable"}
ROWS: Final[Mapping[str, Row]] = {
    "success": Row(ask, ("success",)),
    "error before output": Row(ask, ("error",), fault={"status": 503}),
    "error after output": Row(ask, ("error",), fault={"kind": "hang_up", "after": 3}),
    "cancel": Row(cancel, ("cancelled",), fault={"kind": "slow_start", "seconds": 60}),
    "break": Row(leave, ("left",), fault={"kind": "stall", "after": 2}),
    "cache hit": Row(
        ask_twice,
        ("success", "success"),
        events=(("aichat.cache", {"aichat.cache.result": "hit"}),),
        points=(
            ("aichat.client.cache", {"aichat.cache.result": "miss"}, 1),
            ("aichat.client.cache", {"aichat.cache.result": "hit"}, 1),
        ),
        layers=lambda _: (cache(),),
    ),
    "fallback": Row(
        ask,
        ("success",),
        2,
        (("aichat.reroute", _BECAUSE),),
        (("aichat.client.reroutes", _BECAUSE, 1),),
        layers=lambda model: (fallback(model),),
        fault={"status": 503},
        rerouted=True,
    ),
    "hedge": Row(
        ask,
        ("success",),
        2,
        (("aichat.hedge", {}),),
        (("aichat.client.hedges", {}, 1),),
        layers=lambda _: (hedge(0.0, budget=1.0),),
        fault={"kind": "slow_start", "seconds": 60},
    ),
    "retry": Row(
        ask,
        ("success",),
        3,
        tuple(
            (
                "aichat.retry",
                {"aichat.attempt": n, "aichat.wait.reason": "backoff", **_BECAUSE},
            )
            for n in (2, 3)
        ),
        (
            ("aichat.client.retries", _BECAUSE, 2),
            ("aichat.client.wait.duration", {"aichat.wait.reason": "backoff"}, 2),
        ),
        fault={"status": 503, "times": 2},
        retries=2,
    ),
}
_LABELS: Final = {row.name: set(row.labels) for row in INSTRUMENTS}

#: Instrument and labels, and how much; a histogram's is how often.
Points = Counter[tuple[str, frozenset[tuple[str, Any]]]]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_keys=[KEY]) as simulator:
        yield simulator


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_what_is_seen_of(target: Target, row: Row, sim: Simulator) -> None:
    """The span's name, status, attributes and events, and each data point; and no other."""  # O1, O2, X1
    sdk = SDK()
    layers = row.layers(f"{target.provider}:{other_model(target)}")
    if row.fault is not None:
        sim.fail_next(**row.fault)
    async with target.client(sim, max_retries=row.retries) as plain:
        heard = await row.happens(plain.use(*layers, sdk.telemetry()), sim)

    assert tuple(call.outcome for call in heard) == row.outcomes
    assert len(sim.requests) == row.attempts
    for span, call in zip(sdk.spans, heard, strict=True):
        check_span(span, call, target, row, sim)
    check_events(sdk.spans[-1], row, target)
    wanted = points_of(heard, target, row, sim)
    assert dict(measured(sdk)) == dict(wanted)  # 0 is not nothing
    for name, labels in wanted:
        assert {label for label, _ in labels} <= _LABELS[name]
    check_sums(sdk, heard)
    check_trace(sdk, sim)
    everything = " ".join(span.to_json() for span in sdk.spans) + str(sdk.measured())
    assert KEY not in everything
    assert PROMPT not in everything


def other_model(target: Target) -> str:
    return f"{target.model}-b"


def call_of(target: Target, model: str = "") -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider_name(target.provider),
        "gen_ai.request.model": model or target.model,
    }


def server_of(target: Target, sim: Simulator) -> dict[str, Any]:
    parts = urlsplit(sim.base_url(target.dialect))
    return {"server.address": parts.hostname, "server.port": parts.port}


def is_asked(call: Heard) -> bool:
    """Whether anybody was, and not only the cache."""
    return call.response is None or not call.response.from_cache


# --- spans ----------------------------------------------------------------------------------


def check_span(
    span: ReadableSpan, call: Heard, target: Target, row: Row, sim: Simulator
) -> None:
    assert (span.name, span.kind) == (f"chat {target.model}", SpanKind.CLIENT)
    assert span.status.status_code is (
        StatusCode.ERROR if call.error is not None else StatusCode.UNSET
    )
    assert span.status.description == (call.error and str(call.error.code))
    about: dict[str, Any] = dict(span.attributes or {})
    if call.chunks:
        assert about.pop("gen_ai.response.time_to_first_chunk") > 0
    assert about == {
        **call_of(target),
        "gen_ai.request.max_tokens": 500,
        "gen_ai.request.stream": True,
        "aichat.outcome": call.outcome,
        "aichat.chunks": call.chunks,
        **(server_of(target, sim) if is_asked(call) else {}),
        **({"aichat.attempts": row.attempts} if is_asked(call) else {}),
        **answer_of(call),
        **error_of(call.error),
    }


def answer_of(call: Heard) -> dict[str, Any]:
    response = call.response
    if response is None:
        return {}
    reason = response.finish_reason
    about: dict[str, Any] = {
        "gen_ai.response.id": response.id,
        "gen_ai.response.model": response.model,
        "gen_ai.response.finish_reasons": (str(reason),) if reason else None,
        "aichat.response.provider": response.provider,
        "aichat.response.request_id": response.request_id,
    }
    if response.from_cache:
        about["aichat.response.from_cache"] = True
    else:
        usage = response.usage
        about |= {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        }
    return {name: value for name, value in about.items() if value is not None}


def error_of(error: AIChatError | None) -> dict[str, Any]:
    if error is None:
        return {}
    about: dict[str, Any] = {
        "error.type": str(error.code),
        "aichat.error.class": type(error).__name__,
        "http.response.status_code": error.status,
        "aichat.response.request_id": error.request_id,
    }
    return {name: value for name, value in about.items() if value is not None}


def check_events(span: ReadableSpan, row: Row, target: Target) -> None:
    seen = [(event.name, dict(event.attributes or {})) for event in span.events]
    for name, attributes in seen:
        if name in {"aichat.reroute", "aichat.hedge"}:
            asked = other_model(target) if name == "aichat.reroute" else target.model
            assert attributes.pop("aichat.model") == f"{target.provider}:{asked}"
        # Without a pause, as the client of these tests has it.
        assert attributes.pop("aichat.wait.seconds", 0.0) == 0.0
    assert seen == [(name, dict(wanted)) for name, wanted in row.events]


def check_trace(sdk: SDK, sim: Simulator) -> None:
    """Every request says which span it belongs to."""
    known = set[str]()
    for span in sdk.spans:
        context = span.get_span_context()
        assert context is not None
        known.add(f"00-{context.trace_id:032x}-{context.span_id:016x}")
    for request in sim.requests:
        assert request.headers["traceparent"].rpartition("-")[0] in known


# --- data points ------------------------------------------------------------------------------


def measured(sdk: SDK) -> Points:
    """All but what is of the whole process: circuits, and the shared state."""
    return Counter({
        (name, frozenset(labels.items())): int(value)
        for name, points in sdk.measured().items()
        if not name.startswith(EVERYBODYS)
        for labels, value in points
    })


def points_of(heard: list[Heard], target: Target, row: Row, sim: Simulator) -> Points:
    found: Points = Counter()

    def add(name: str, labels: Mapping[str, Any], count: int = 1) -> None:
        found[name, frozenset(labels.items())] += count

    # Who is asked at first is who is active, until the end.
    add("aichat.client.active_requests", call_of(target), 0)
    for call in heard:
        who = call_of(target, other_model(target) if row.rerouted else "")
        add("aichat.client.requests", {**who, "aichat.outcome": call.outcome})
        failed = {"error.type": str(call.error.code)} if call.error else {}
        if failed:
            add("aichat.client.errors", {**who, **failed})
        labels = dict(who)
        if call.response is not None and call.response.model is not None:
            labels["gen_ai.response.model"] = call.response.model
        if is_asked(call):
            labels |= server_of(target, sim)
        add("gen_ai.client.operation.duration", {**labels, **failed})
        if not is_asked(call):
            continue
        for kind, value in tokens_of(call, "gen_ai.token.type"):
            if value is not None:
                add("gen_ai.client.token.usage", {**labels, **kind})
        for detail, value in details_of(call):
            if value:
                add("aichat.client.token.details", {**labels, **detail}, value)
        if call.chunks:
            add("gen_ai.client.operation.time_to_first_chunk", labels)
        if call.chunks > 1 and call.outcome == "success":
            add("gen_ai.client.operation.time_per_output_chunk", labels)
    for name, more, count in row.points:
        provider = {"gen_ai.provider.name": provider_name(target.provider)}
        add(name, {**provider, **more}, count)
    return found


def tokens_of(call: Heard, label: str) -> list[tuple[dict[str, str], int | None]]:
    if call.response is None:
        return []
    usage = call.response.usage
    return [
        ({label: "input"}, usage.input_tokens),
        ({label: "output"}, usage.output_tokens),
    ]


def details_of(call: Heard) -> list[tuple[dict[str, str], int | None]]:
    if call.response is None:
        return []
    label, usage = "aichat.token.detail", call.response.usage
    return [
        ({label: "cache_read"}, usage.cache_read_tokens),
        ({label: "cache_creation"}, usage.cache_write_tokens),
        ({label: "reasoning"}, usage.reasoning_tokens),
    ]


def check_sums(sdk: SDK, heard: list[Heard]) -> None:
    """The tokens are those that the reader was told of."""
    sums: Counter[tuple[str, ...]] = Counter()
    for call in heard:
        for name, value in tokens_of(call, "type"):
            if value is not None and is_asked(call):
                sums[(name["type"],)] += value
    assert sdk.sums("gen_ai.client.token.usage", "gen_ai.token.type") == sums
