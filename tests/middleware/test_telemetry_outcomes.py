"""Whatever may become of a call, at every provider: the span and the data points, exactly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import pytest
from attrs import field, frozen
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from aichat import Client, TextDelta
from aichat.middleware._cache import cache
from aichat.middleware._compose import Middleware
from aichat.middleware._fallback import fallback
from aichat.middleware._genai import provider_name
from aichat.middleware._hedge import hedge
from aichat.middleware._instruments import INSTRUMENTS
from aichat.testing import Simulator

from ..simulated import KEY, TARGETS, Target
from .watching import SDK

PROMPT: Final = "the-secret-question"

#: What is recorded of an answer from a provider, and of less.
_ANSWERED: Final = {
    "gen_ai.client.operation.duration": 1,
    "gen_ai.client.operation.time_to_first_chunk": 1,
    "gen_ai.client.operation.time_per_output_chunk": 1,
    "gen_ai.client.token.usage": 2,
}
_UNANSWERED: Final = {"gen_ai.client.operation.duration": 1}
_BEGUN: Final = {**_UNANSWERED, "gen_ai.client.operation.time_to_first_chunk": 1}


async def cancel(client: Client, sim: Simulator) -> None:
    """While it waits for its first word."""
    task = asyncio.create_task(client.complete(PROMPT, max_tokens=500))
    async with asyncio.timeout(10):
        while not sim.active:  # noqa: ASYNC110 -- it has no event for that
            await asyncio.sleep(0.001)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def leave(client: Client, _: Simulator) -> None:
    """At the first word. The next ones do not come."""
    async with client.stream(PROMPT, max_tokens=500) as stream:
        async for chunk in stream:
            if isinstance(chunk, TextDelta):
                break


async def ask(client: Client, _: Simulator) -> None:
    """Once."""
    await client.complete(PROMPT, max_tokens=500)


async def ask_twice(client: Client, sim: Simulator) -> None:
    """The same."""
    await ask(client, sim)
    await ask(client, sim)


@frozen
class Row:
    """What happens, and what is to be seen of it."""

    happens: Callable[[Client, Simulator], Awaitable[None]]
    #: Of each call.
    outcomes: tuple[str, ...]
    #: Requests as the last span counts them; None if they come from nowhere.
    attempts: int | None
    #: The last span's events: each with those of its attributes that are not times.
    events: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    #: Data points of instruments beside those that every call has, by their labels.
    points: Mapping[str, Mapping[tuple[str, ...], int]] = field(factory=dict)
    #: How often each histogram has something recorded.
    counts: Mapping[str, int] = field(factory=lambda: _ANSWERED)
    #: What the client has beneath its telemetry, given another model that may be asked.
    layers: Callable[[str], tuple[Middleware, ...]] = lambda _: ()
    #: What the simulator does first.
    fault: Mapping[str, Any] | None = None
    retries: int = 0


_BECAUSE: Final = "provider_unavailable"
ROWS: Final[Mapping[str, Row]] = {
    "cancel": Row(
        cancel,
        ("cancelled",),
        1,
        counts=_UNANSWERED,
        fault={"kind": "slow_start", "seconds": 60},
    ),
    "break": Row(
        leave, ("left",), 1, counts=_BEGUN, fault={"kind": "stall", "after": 2}
    ),
    "cache hit": Row(
        ask_twice,
        ("success", "success"),
        None,
        (("aichat.cache", {"aichat.cache.result": "hit"}),),
        {"aichat.client.cache": {("miss",): 1, ("hit",): 1}},
        {**_ANSWERED, "gen_ai.client.operation.duration": 2},
        lambda _: (cache(),),
    ),
    "fallback": Row(
        ask,
        ("success",),
        2,
        (("aichat.reroute", {"error.type": _BECAUSE}),),
        {"aichat.client.reroutes": {(_BECAUSE,): 1}},
        layers=lambda model: (fallback(model),),
        fault={"status": 503},
    ),
    "hedge": Row(
        ask,
        ("success",),
        2,
        (("aichat.hedge", {}),),
        {"aichat.client.hedges": {(): 1}},
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
                {
                    "aichat.attempt": attempt,
                    "aichat.wait.reason": "backoff",
                    "error.type": _BECAUSE,
                },
            )
            for attempt in (2, 3)
        ),
        {"aichat.client.retries": {(_BECAUSE,): 2}},
        {**_ANSWERED, "aichat.client.wait.duration": 2},
        fault={"status": 503, "times": 2},
        retries=2,
    ),
}
#: Whose answers begin with the tokens of the prompt.
_TELL_EARLY: Final = {"anthropic", "google", "vertex"}
#: By which labels the points of a `Row` are told apart, besides the provider.
_APART: Final[Mapping[str, tuple[str, ...]]] = {
    "aichat.client.cache": ("aichat.cache.result",),
    "aichat.client.reroutes": ("error.type",),
    "aichat.client.hedges": (),
    "aichat.client.retries": ("error.type",),
}
_LABELS: Final = {row.name: set(row.labels) for row in INSTRUMENTS}
_HISTOGRAMS: Final = {row.name for row in INSTRUMENTS if row.kind == "histogram"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_keys=[KEY]) as simulator:
        yield simulator


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_what_is_seen_of(target: Target, row: Row, sim: Simulator) -> None:
    """The span's name, status, attributes and events, and each data point."""  # O1, X1
    sdk = SDK()
    layers = row.layers(f"{target.provider}:{other_model(target)}")
    if row.fault is not None:
        sim.fail_next(**row.fault)
    async with target.client(sim, max_retries=row.retries) as plain:
        await row.happens(plain.use(*layers, sdk.telemetry()), sim)

    assert tuple(about(span)["aichat.outcome"] for span in sdk.spans) == row.outcomes
    for span in sdk.spans:
        check_span(span, target)
    last = sdk.spans[-1]
    assert about(last).get("aichat.attempts") == row.attempts
    assert about(last).get("gen_ai.response.finish_reasons", ("stop",)) == ("stop",)
    check_events(last, row, target)
    check_points(sdk, row, target)
    everything = " ".join(span.to_json() for span in sdk.spans) + str(sdk.measured())
    assert KEY not in everything
    assert PROMPT not in everything


def about(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def check_span(span: ReadableSpan, target: Target) -> None:
    """What all of them have: nobody did anything wrong that came out."""
    assert (span.name, span.kind) == (f"chat {target.model}", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert about(span).items() >= call_of(target).items()
    assert "error.type" not in about(span)


def other_model(target: Target) -> str:
    return f"{target.model}-b"


def call_of(target: Target) -> dict[str, str]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider_name(target.provider),
        "gen_ai.request.model": target.model,
    }


def check_events(span: ReadableSpan, row: Row, target: Target) -> None:
    seen = [(event.name, dict(event.attributes or {})) for event in span.events]
    assert [name for name, _ in seen] == [name for name, _ in row.events]
    for (name, attributes), (_, wanted) in zip(seen, row.events, strict=True):
        if name in {"aichat.reroute", "aichat.hedge"}:
            asked = other_model(target) if name == "aichat.reroute" else target.model
            assert attributes.pop("aichat.model") == f"{target.provider}:{asked}"
        # Without a pause, as the client of these tests has it.
        assert attributes.pop("aichat.wait.seconds", 0.0) == 0.0
        assert attributes == wanted


def check_points(sdk: SDK, row: Row, target: Target) -> None:
    measured, call = sdk.measured(), call_of(target)
    by_outcome = {(o,): row.outcomes.count(o) for o in row.outcomes}
    assert sdk.points("aichat.client.requests", "aichat.outcome") == by_outcome
    assert measured["aichat.client.active_requests"] == [(call, 0)]
    counts = {
        name: sum(int(value) for _, value in points)
        for name, points in measured.items()
        if name in _HISTOGRAMS
    }
    early = {"gen_ai.client.token.usage": 1} if row.happens is leave else {}
    assert counts == {**row.counts, **(early if target.provider in _TELL_EARLY else {})}
    assert "aichat.client.errors" not in measured
    for name, labels in _APART.items():
        assert sdk.points(name, *labels) == row.points.get(name, {}), name
    check_labels(measured, target, rerouted="aichat.client.reroutes" in row.points)


def check_labels(
    measured: Mapping[str, list[tuple[dict[str, Any], float]]],
    target: Target,
    *,
    rerouted: bool,
) -> None:
    """Only those of the table, and of the call: a rerouted one counts for who answered."""
    for name, points in measured.items():
        call = call_of(target)
        # Who is asked at first is who is active, until the end.
        if rerouted and name != "aichat.client.active_requests":
            call = {**call, "gen_ai.request.model": other_model(target)}
        for labels, _ in points:
            assert set(labels) <= _LABELS[name]
            shared = labels.keys() & call.keys()
            assert {n: labels[n] for n in shared} == {n: call[n] for n in shared}
