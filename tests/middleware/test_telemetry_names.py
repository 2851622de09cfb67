"""Names, units and buckets: the conventions', one table, and the README."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.semconv._incubating.attributes import (
    gen_ai_attributes,
    http_attributes,
    session_attributes,
    user_attributes,
)
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes

from aichat import (
    ChatRequest,
    Client,
    EmbeddingRequest,
    FinishReason,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    Tool,
    Usage,
)
from aichat.costs import Price, PriceBook
from aichat.errors import RateLimitError, ServerError
from aichat.middleware import _genai as genai
from aichat.middleware._cache import cache
from aichat.middleware._fallback import fallback
from aichat.middleware._genai_content import input_content, output_content
from aichat.middleware._hedge import hedge
from aichat.middleware._instruments import INSTRUMENTS, SCHEMA
from aichat.middleware._retry import retry
from aichat.redis import RedisLimiter, RedisState
from aichat.testing import FakeProvider, reply
from aichat.testing._fake import Reply
from aichat.transport import CircuitBreaker, RateLimit, RetryPolicy
from aichat.transport._breaker import _openings, circuits_open, circuits_opened
from aichat.transport._observation import Observation
from aichat.types import fold

from .watching import SDK

README: Final = Path(__file__).parents[2] / "README.md"


def constants(*modules: ModuleType) -> set[str]:
    """All names that these modules know."""
    return {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }


PUBLISHED: Final = constants(
    gen_ai_attributes,
    http_attributes,
    session_attributes,
    user_attributes,
    error_attributes,
    server_attributes,
)


def test_attributes_are_the_published_ones() -> None:
    """Every attribute has a name of the current package, or begins with ``aichat.``."""  # O1
    tool = Tool("t", "T.", {})
    request = ChatRequest(
        "Hi",
        "a:m",
        max_tokens=1,
        temperature=1,
        top_p=1,
        top_k=1,
        seed=1,
        stop="x",
        presence_penalty=1,
        frequency_penalty=1,
        response_format="json",
        tools=[tool],
    )
    start = ResponseStart("1", "m", "a", request_id="r", from_cache=True)
    usage = Usage(
        input_tokens=1,
        output_tokens=1,
        cache_read_tokens=1,
        cache_write_tokens=1,
        reasoning_tokens=1,
    )
    here = Observation(operation="a", request_id="b", user_id="c", session_id="d")
    used = {
        *genai.about_chat(request),
        *genai.about_embedding(EmbeddingRequest("a", dimensions=1)),
        *genai.about_observation(here),
        *genai.about_answer(start, ResponseEnd(FinishReason.STOP)),
        *genai.about_usage(usage),
        *input_content(request),
        *output_content(fold(reply("Hi")), "stop"),
        *(label for row in INSTRUMENTS for label in row.labels),
    }
    assert {name for name in used if not name.startswith("aichat.")} <= PUBLISHED
    assert len(used) > 30


def test_providers_are_called_as_published() -> None:
    """The names that are not ours are the conventions'."""  # O1
    known = {value.value for value in gen_ai_attributes.GenAiProviderNameValues}
    assert set(genai._PROVIDERS.values()) <= known
    # One that the conventions know by our own name needs no row.
    assert not {n for n, said in genai._PROVIDERS.items() if n == said}


def test_operations_are_called_as_published() -> None:
    """Ours are two of the conventions'."""  # O1
    known = {value.value for value in gen_ai_attributes.GenAiOperationNameValues}
    assert {"chat", "embeddings"} <= known
    assert {v.value for v in gen_ai_attributes.GenAiTokenTypeValues} == {
        "input",
        "output",
    }


@pytest.mark.parametrize(
    "row", [r for r in INSTRUMENTS if r.name.startswith("gen_ai.")], ids=str
)
def test_instruments_are_the_published_ones(row: object) -> None:
    """The package makes the same instrument: name, kind and unit."""  # O1
    row = next(r for r in INSTRUMENTS if r is row)
    assert row.name in constants(gen_ai_metrics)
    maker = getattr(gen_ai_metrics, f"create_{row.name.replace('.', '_')}")
    theirs = SDK()
    maker(theirs.meters.get_meter("theirs")).record(1)
    metric = theirs.metrics()[row.name]
    (point,) = metric.data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert row.kind == "histogram"
    assert metric.unit == row.unit


def test_buckets_are_those_of_the_conventions() -> None:
    """As their text has them; the package's constants do not hold them."""  # O1
    seconds = (
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96,
        81.92,
    )  # fmt: skip
    tokens = (
        1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216,
        67108864,
    )  # fmt: skip
    for row in INSTRUMENTS:
        if row.kind == "histogram":
            assert row.buckets == (tokens if row.unit == "{token}" else seconds)
        else:
            assert row.buckets == ()


def test_the_schema_is_one_that_is_published() -> None:
    """Who reads it can find out what the names mean."""
    assert re.fullmatch(r"https://opentelemetry\.io/schemas/1\.\d+\.0", SCHEMA)


async def everything(sdk: SDK) -> tuple[CircuitBreaker, RedisState]:
    """Calls in which each instrument has something to say; what comes back is to be kept."""
    usage = Usage(input_tokens=9, output_tokens=5, reasoning_tokens=3)
    down = [ServerError("Down.")] * 4
    first: list[Reply] = [RateLimitError("Slow."), reply("Hi you", usage=usage), *down]
    second: list[Reply] = [reply("Hi"), *down]
    breaker = CircuitBreaker(1)
    passage = breaker.enter("everything")
    passage.ended(ServerError("Down."))

    async def no_sleep(_: float) -> None: ...

    client = Client(
        {"a": FakeProvider(first), "b": FakeProvider(second)},
        model="a:m",
        middleware=[
            sdk.telemetry(prices=PriceBook({"a:*": Price(1, 2)}, table=None)),
            cache(),
            fallback("b:n"),
            retry(RetryPolicy(max_retries=1), sleep=no_sleep),
        ],
    )
    for prompt in ("one", "one", "two"):
        await client.complete(prompt)
    with pytest.raises(ServerError):
        await client.complete("three")
    await Client(
        {"a": Slow()}, model="a:m", middleware=[sdk.telemetry(), hedge(0.0)]
    ).complete("four")
    # Nobody listens there. Whoever asks for this closes it.
    state = RedisState("redis://127.0.0.1:1")
    await RedisLimiter(state, RateLimit.per_second(1e9), "everything").reserve()
    return breaker, state


class Slow:
    """A provider whose first answer never begins."""

    name = "a"
    asked = 0

    async def stream(self, _: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        self.asked += 1
        if self.asked == 1:
            await asyncio.Event().wait()
        for chunk in reply("Hi"):
            yield chunk


async def test_what_comes_out_is_what_the_table_says() -> None:
    """Every instrument, its unit, description and buckets; and no label beside its own."""  # O1
    sdk = SDK()
    breaker, state = await everything(sdk)
    rows = {row.name: row for row in INSTRUMENTS}
    metrics = sdk.metrics()
    assert breaker.is_open("everything")
    assert state.degraded
    await state.aclose()
    assert metrics.keys() == rows.keys()
    for name, metric in metrics.items():
        row = rows[name]
        assert (metric.unit, metric.description) == (row.unit, row.description)
        for point in metric.data.data_points:
            assert set(point.attributes or {}) <= set(row.labels), name
            if isinstance(point, HistogramDataPoint):
                assert tuple(point.explicit_bounds) == row.buckets


async def test_circuits_are_observed() -> None:
    """Which are open now, and how often they have opened; of any breaker in the process."""  # O1, B1
    sdk = SDK()
    gc.collect()  # breakers of other tests
    now = [0.0]
    breaker = CircuitBreaker(1, 10.0, clock=lambda: now[0])
    name, label = "aichat.client.circuits", "aichat.circuit"
    # Other tests may have used up the names that are counted apart.
    before = sum(circuits_opened().values())

    async def measured() -> tuple[float, float]:
        await Client(
            {"a": FakeProvider(["Hi"])}, middleware=[sdk.telemetry()]
        ).complete("Hi", model="a:m")
        state = sdk.points(f"{name}.open", label).get(("toy",), -1)
        return state, sum(sdk.points(f"{name}.opened").values()) - before

    breaker.enter("toy").ended(None)
    assert await measured() == (0, 0)
    breaker.enter("toy").ended(ServerError("Down."))
    assert await measured() == (1, 1)
    now[0] = 20.0
    breaker.enter("toy").ended(ServerError("Still down."))
    assert await measured() == (1, 2)
    now[0] = 40.0
    breaker.enter("toy").ended(None)
    assert await measured() == (0, 2)
    del breaker
    assert "toy" not in circuits_open()


def test_circuits_are_bounded() -> None:
    """Whoever makes one for each user does not make as many labels."""  # O1
    breaker = CircuitBreaker(1)
    before = circuits_opened()
    try:
        for number in range(300):
            breaker.enter(f"user {number}").ended(ServerError("Down."))
        assert len(circuits_open()) <= 101
        assert len(circuits_opened()) <= 101
        assert circuits_opened()["other"] >= 200
    finally:
        # Other tests count as well.
        _openings.clear()
        _openings.update(before)


def test_the_readme_has_the_same_table() -> None:
    """What it says of each instrument is what the table in the code says."""  # O1
    found = re.findall(
        r"^\| `((?:gen_ai|aichat)\.client\.[^`]+)` \| (.+) \|$",
        README.read_text(),
        re.M,
    )
    rows = {row.name: row for row in INSTRUMENTS}
    assert [name for name, _ in found] == list(rows)
    for name, rest in found:
        row = rows[name]
        labels = ", ".join(f"`{label}`" for label in row.labels)
        assert rest == f"{row.kind} | `{row.unit}` | {row.description} | {labels}", name


_ALONE: Final = """
import asyncio, sys
import aichat
from aichat.testing import FakeProvider
provider = FakeProvider(["Hi"] * 3)
client = aichat.Client({"fake": provider}, model="fake:m")
asyncio.run(client.stream("Hi").response())
assert not [name for name in sys.modules if name.startswith("opentelemetry")], "imported"
request = aichat.ChatRequest("Hi", "fake:m")
assert client._handler(request).ag_code is FakeProvider.stream.__code__, "wrapped"
assert client._telemetry.watch(request) is None, "watched"
"""

_GLOBAL: Final = """
import asyncio
import aichat
from aichat.testing import FakeProvider
client = aichat.Client({"fake": FakeProvider(["Hi"] * 3)}, model="fake:m")
asyncio.run(client.stream("Hi").response())
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
tracers = TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider([reader]))
asyncio.run(client.stream("Hi").response())
(span,) = spans.get_finished_spans()
assert span.name == "chat m", span
assert span.instrumentation_scope.name == "aichat"
assert reader.get_metrics_data().resource_metrics
"""


@pytest.mark.parametrize("script", [_ALONE, _GLOBAL], ids=["without", "global"])
def test_on_by_default_and_only_where_there_is_an_sdk(script: str) -> None:
    """Nothing is imported or wrapped without one; one that is set up later is found."""  # O3
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_variable_asks_for_an_sdk_as_well() -> None:
    """OpenTelemetry's own way of setting one up without code."""  # O3
    script = """
import asyncio, os, sys
import aichat
from aichat.testing import FakeProvider
os.environ["OTEL_PYTHON_TRACER_PROVIDER"] = "sdk_tracer_provider"
client = aichat.Client({"fake": FakeProvider(["Hi"])}, model="fake:m")
asyncio.run(client.stream("Hi").response())
assert "opentelemetry.sdk.trace" in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
