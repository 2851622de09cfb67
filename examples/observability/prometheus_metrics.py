"""
Metrics of calls in Prometheus' format, without OpenTelemetry.

    pip install prometheus-client
    python examples/observability/prometheus_metrics.py

It asks a simulator a few questions, one of which fails, and prints what Prometheus would
scrape. In a service, call ``prometheus_client.start_http_server(9464)`` instead.
"""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from aichat import Client, ProviderError, Usage
from aichat.middleware import metrics
from aichat.testing import Simulator

_LABELS = ("provider", "model")


class PrometheusCollector:
    """Counts calls, their tokens and their time; for any number of loops and threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "aichat_requests", "Calls begun.", _LABELS, registry=registry
        )
        self._chunks = Counter(
            "aichat_chunks", "Pieces of answers.", _LABELS, registry=registry
        )
        self._tokens = Counter(
            "aichat_tokens", "Tokens used.", (*_LABELS, "type"), registry=registry
        )
        self._duration = Histogram(
            "aichat_duration_seconds",
            "Calls ended, and how long they took.",
            (*_LABELS, "error"),
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=registry,
        )

    def record_request(self, provider: str, model: str) -> None:
        """A call has begun."""
        self._requests.labels(provider, model).inc()

    def record_chunk(self, provider: str, model: str, count: int) -> None:
        """So many more chunks have come. Leave this method out, and nobody counts them."""
        self._chunks.labels(provider, model).inc(count)

    def record_response(
        self,
        provider: str,
        model: str,
        duration: float,
        usage: Usage,
        error: str | None,
    ) -> None:
        """A call has ended."""
        self._duration.labels(provider, model, error or "").observe(duration)
        self._tokens.labels(provider, model, "input").inc(usage.input_tokens or 0)
        self._tokens.labels(provider, model, "output").inc(usage.output_tokens or 0)


async def main() -> None:
    registry = CollectorRegistry()
    collector = PrometheusCollector(registry)
    async with Simulator() as simulator:
        environ = {
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "none-needed",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
            "AI_MODEL": "simulated",
        }
        async with Client.from_env(environ, middleware=[metrics(collector)]) as client:
            for question in ("What is a counter?", "And what is a histogram?"):
                await client.complete(question)
        environ["AI_BASE_URL"] += "/nowhere"
        async with Client.from_env(environ, middleware=[metrics(collector)]) as client:
            try:
                await client.complete("Is anybody there?")
            except ProviderError as error:
                print(f"# One call failed, as it should: {error.code}")
    print(generate_latest(registry).decode())


if __name__ == "__main__":
    asyncio.run(main())
