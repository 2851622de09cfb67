"""Which trace this is part of, for log lines (O4)."""

from __future__ import annotations

__all__ = ["trace_ids"]


def trace_ids() -> dict[str, str]:
    """
    The ids of OpenTelemetry's current span, in hexadecimal; empty if there is none.

    Imports OpenTelemetry when first asked: importing aichat is fast without it.
    """
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }
