"""
The event that holds what was said, for those who keep that apart from their traces (O1).

OpenTelemetry's events are log records with a name. Its API for them still has an underscore,
as everybody's who writes to it; the name and the attributes are of the conventions.

See: https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Final, TypeAlias

from .._version import __version__
from ..types import dumps, loads
from ._genai_content import Details
from ._instruments import SCHEMA

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.trace import Span

__all__ = ["EVENT", "Emit", "emitter_of"]

_log = logging.getLogger("aichat")

EVENT: Final = "gen_ai.client.inference.operation.details"

#: Writes the event, as a part of the trace of a span.
Emit: TypeAlias = "Callable[[Details, Span], None]"


def emitter_of(
    provider: LoggerProvider | None, *, record: Callable[..., object] | None = None
) -> Emit | None:
    """
    Write to *provider*, or the global one; ``None``, and a warning, if that cannot be.

    *record* is what the API has for one.
    """
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger_provider
    from opentelemetry.trace import set_span_in_context

    if "event_name" not in signature(record or LogRecord).parameters:
        _log.warning(
            "This opentelemetry-api has no events: what is said is not recorded in any. "
            "Install 1.35 or later."
        )
        return None
    writing = get_logger_provider() if provider is None else provider
    logger = writing.get_logger("aichat", __version__, schema_url=SCHEMA)

    def emit(details: Details, span: Span) -> None:
        logger.emit(
            LogRecord(
                event_name=EVENT,
                context=set_span_in_context(span),
                severity_number=SeverityNumber.INFO,
                # As they are in JSON: nothing else is to be expected to be understood.
                attributes=loads(dumps(details)),
            )
        )

    return emit
