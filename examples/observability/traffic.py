"""
Traces and metrics of everything that may become of a call, for ``dashboard.json``.

    pip install opentelemetry-sdk
    python examples/observability/traffic.py

The simulator answers, and fails on purpose: it takes three seconds, or *--seconds*, and no
key. Spans and measurements go to ``telemetry.jsonl``, or *--to* another file, as JSON lines;
or to a collector, by HTTP, where ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set, after
``pip install opentelemetry-exporter-otlp-proto-http``. Have the collector's Prometheus
exporter scraped, import the dashboard into Grafana, and choose the data source.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TextIO

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
)

from aichat import AIChatError, Client, ClientConfig, TextDelta
from aichat.middleware import Price, PriceBook, cache, fallback, hedge, telemetry
from aichat.testing import Simulator

DIALECTS: Final = ("openai", "openai-chat", "anthropic", "google", "ollama")
#: Made up, as the models are. For real ones, ``PriceBook()`` knows what they cost.
PRICES: Final = PriceBook(
    {f"{dialect}:*": Price("1.25", 10) for dialect in DIALECTS}, table=None
)
#: Tries once, and leaves a model alone that has failed twice.
CAREFUL: Final[Mapping[str, Any]] = {
    "model": "down",
    "max_retries": 0,
    "circuit_breaker": True,
    "circuit_breaker_threshold": 2,
}


# --- where it goes ------------------------------------------------------------------------


@contextmanager
def recording(to: Path) -> Iterator[str]:
    """Set OpenTelemetry up, as an application does at its start; say where it all goes."""
    if endpoint := os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        with providers(*collector_exporters()):
            yield endpoint
        return
    with to.open("w", encoding="utf-8") as file, providers(*file_exporters(file)):
        yield str(to)


def file_exporters(file: TextIO) -> tuple[SpanExporter, MetricExporter]:
    """One line of JSON for each span, and for each state of all metrics."""
    return (
        ConsoleSpanExporter(out=file, formatter=lambda s: s.to_json(indent=None) + "\n"),
        ConsoleMetricExporter(out=file, formatter=lambda m: m.to_json(indent=None) + "\n"),
    )  # fmt: skip


def collector_exporters() -> tuple[SpanExporter, MetricExporter]:
    """They read the rest of the ``OTEL_EXPORTER_OTLP_…`` variables themselves."""
    package = "opentelemetry.exporter.otlp.proto.http"
    try:
        spans = import_module(f"{package}.trace_exporter").OTLPSpanExporter()
        measurements = import_module(f"{package}.metric_exporter").OTLPMetricExporter()
    except ImportError as error:
        raise SystemExit(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but there is nothing that could send to "
            "it: pip install opentelemetry-exporter-otlp-proto-http, or unset it."
        ) from error
    return spans, measurements


@contextmanager
def providers(spans: SpanExporter, measurements: MetricExporter) -> Iterator[None]:
    """Make them the global ones, which every client uses by itself."""
    service = Resource.create({"service.name": "aichat-traffic"})
    tracing = TracerProvider(resource=service)
    tracing.add_span_processor(BatchSpanProcessor(spans))
    reader = PeriodicExportingMetricReader(measurements, export_interval_millis=5000)
    measuring = MeterProvider([reader], resource=service)
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(measuring)
    try:
        yield
    finally:
        tracing.shutdown()
        measuring.shutdown()


# --- what happens -------------------------------------------------------------------------


class Traffic:
    """Calls of every kind, and a count of how they went."""

    def __init__(self, simulator: Simulator) -> None:
        self.went = Counter[str]()
        # Every client has one that does not know any prices; this one takes its place.
        self._watch = telemetry(prices=PRICES)
        self.rounds = 0
        self._simulator = simulator

    @asynccontextmanager
    async def client(self, dialect: str, **settings: Any) -> AsyncIterator[Client]:
        """One that asks the simulator; its fallbacks do as well."""
        config = ClientConfig(
            provider=dialect,
            api_key="none-needed",
            base_url=self._simulator.base_url(dialect),
            **{"model": "simulated", "retry_backoff": 0.02, **settings},
        )
        others = {
            "ANTHROPIC_API_KEY": "none-needed",
            "ANTHROPIC_BASE_URL": self._simulator.base_url("anthropic"),
        }
        async with Client.from_config(config, environ=others) as client:
            yield client

    async def ask(self, client: Client, question: str = "How are you?") -> None:
        """Ask, and count what becomes of it."""
        try:
            await client.use(self._watch).complete(question)
            self.went["answered"] += 1
        except AIChatError as error:
            self.went[str(error.code)] += 1

    async def go_on_until(self, end: float) -> None:
        """Let each thing happen once, and again until it is *end* by the monotonic clock."""
        async with self.client("ollama", **CAREFUL) as careful:
            while not self.rounds or time.monotonic() < end:
                self.rounds += 1
                for dialect in DIALECTS:
                    async with self.client(dialect) as client:
                        await self._ups_and_downs(client)
                async with self.client("openai-chat") as client:
                    await self._others_help(client)
                    await self._nobody_waits(client)
                await self._limits(careful)

    async def _ups_and_downs(self, client: Client) -> None:
        """Answers, one of them from the cache; a retry, and errors before and after output."""
        fail = self._simulator.fail_next
        remembering = client.use(cache())
        for _ in range(2):
            await self.ask(remembering, f"What is the square of {self.rounds}?")
        fail("overloaded")
        await self.ask(client)
        fail("context_length")
        await self.ask(client)
        fail("hang_up", after=3)
        await self.ask(client)

    async def _others_help(self, client: Client) -> None:
        """A fallback to another provider, and a hedge against a slow start."""
        fail = self._simulator.fail_next
        fail("quota")
        await self.ask(client.use(fallback("anthropic:simulated")))
        fail("slow_start", seconds=1)
        await self.ask(client.use(hedge(0.05, budget=1.0)))

    async def _nobody_waits(self, client: Client) -> None:
        """One who leaves in the middle of an answer, and one who is cancelled before it."""
        client = client.use(self._watch)
        async with client.stream("Tell me a story.") as stream:
            async for chunk in stream:
                if isinstance(chunk, TextDelta):
                    break
        self.went["left"] += 1
        self._simulator.fail_next("slow_start", seconds=1)
        asked = asyncio.create_task(client.complete("And another one."))
        await asyncio.sleep(0.2)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        self.went["cancelled"] += 1

    async def _limits(self, careful: Client) -> None:
        """Waits for a limit of ours, and a provider that is left alone after two failures."""
        async with self.client("openai-chat", rate_limit=20.0) as client:
            await asyncio.gather(*(self.ask(client) for _ in range(3)))
        for _ in range(3):
            await self.ask(careful)


async def run(seconds: float) -> None:
    """Go on for so many *seconds*, or for one round if that takes longer."""
    async with Simulator(pace=0.001) as simulator:
        # The careful client's only model is always down.
        simulator.fail(
            "overloaded", when=lambda request: request.body.get("model") == "down"
        )
        traffic = Traffic(simulator)
        await traffic.go_on_until(time.monotonic() + seconds)
    print(
        *(f"{count} {what}" for what, count in sorted(traffic.went.items())), sep=", "
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Make traffic, and watch it.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--to", type=Path, default=Path("telemetry.jsonl"))
    asked = parser.parse_args()
    with recording(asked.to) as where:
        asyncio.run(run(asked.seconds))
    print(f"Spans and metrics went to {where}.")


if __name__ == "__main__":
    main()
