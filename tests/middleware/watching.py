"""An OpenTelemetry SDK that keeps what it is told, and shows it in a form fit for comparing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aichat.middleware._telemetry import Telemetry, telemetry

#: What these are of is the whole process: other tests have a part in them.
EVERYBODYS = ("aichat.client.circuits.", "aichat.client.redis.")
#: A data point: its labels that tell it apart, and its count, or what it sums up to.
Points = dict[tuple[str, ...], float]


class SDK:
    """All three providers, for one test."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader])
        self._written = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self.loggers = LoggerProvider()
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self._written))

    def telemetry(self, **settings: Any) -> Telemetry:
        return telemetry(
            tracer_provider=self.tracers,
            meter_provider=self.meters,
            logger_provider=self.loggers,
            **settings,
        )

    @property
    def written(self) -> Sequence[ReadableLogRecord]:
        """The events that stand apart from spans."""
        return self._written.get_finished_logs()

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        """The only one."""
        (span,) = self.spans
        return span

    @property
    def attributes(self) -> Mapping[str, Any]:
        return dict(self.span.attributes or {})

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(e.name, dict(e.attributes or {})) for e in self.span.events]

    def metrics(self) -> dict[str, Metric]:
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def measured(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """Labels and values by the name of the instrument; a histogram's value is its count."""
        return {
            name: [
                (dict(point.attributes or {}), value_of(point))
                for point in metric.data.data_points
            ]
            for name, metric in self.metrics().items()
        }

    def points(self, name: str, *labels: str) -> Points:
        """The values of an instrument, by these of its *labels*."""
        found: Points = {}
        for attributes, value in self.measured().get(name, []):
            key = tuple(str(attributes.get(label, "")) for label in labels)
            found[key] = found.get(key, 0) + value
        return found

    def sums(self, name: str, *labels: str) -> Points:
        """What a histogram sums up to, by these of its *labels*."""
        metric = self.metrics().get(name)
        points = metric.data.data_points if metric is not None else ()
        return {
            tuple(str((p.attributes or {}).get(label, "")) for label in labels): p.sum
            for p in points
            if isinstance(p, HistogramDataPoint)
        }


def value_of(point: Any) -> float:
    if isinstance(point, HistogramDataPoint):
        return point.count
    assert isinstance(point, NumberDataPoint)
    return point.value
