"""
Parrot's chat API, as a provider for aichat.

Two pure functions and a description. Retries, deadlines, limits, keys, connections and
cancellation are aichat's business, and there is no socket in here.

A request and its answer::

    POST /v1/squawk      {"bird": "polly", "heard": ["Hello!"]}

    data: {"says": "Hello!"}
    data: {"asleep": true, "crackers": 3}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from aichat import (
    ChatRequest,
    FinishReason,
    ModelNotFoundError,
    ProtocolError,
    ProviderSpec,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    StreamInterruptedError,
    TextDelta,
    Usage,
    UsageUpdate,
)
from aichat.transport import HTTPRequest, ServerSentEvent, SSEDecoder
from aichat.types import loads

__all__ = ["SPEC"]


def encode_request(request: ChatRequest) -> HTTPRequest:
    """Say it in Parrot's words."""
    heard = [message.text for message in request.messages]
    body = {"bird": request.model_name, "heard": heard, **request.extras("parrot")}
    return HTTPRequest("/squawk", body)


@define
class ParrotDecoder:
    """Turns Parrot's events into chunks."""

    #: The answer has its end marker.
    complete: bool = field(default=False, init=False)
    #: Nothing worth reading follows.
    finished: bool = field(default=False, init=False)

    def decode(self, event: ServerSentEvent, /) -> Iterator[StreamChunk]:
        """Read one event. What is none raises."""
        try:
            value = loads(event.raw)
        except ValueError as error:
            raise ProtocolError("Parrot sent an event that is no JSON.") from error
        return self.document(value)

    def document(self, value: Any, /) -> Iterator[StreamChunk]:
        """Read an event's value, or a whole answer of a parrot that does not stream."""
        match value:
            case {"says": str(text)}:
                yield TextDelta(text)
            case {"asleep": True, **rest}:
                if isinstance(crackers := rest.get("crackers"), int):
                    yield UsageUpdate(Usage(output_tokens=crackers))
                self.complete = self.finished = True
            case {"hatched": str(id)}:
                yield ResponseStart(id)
            case _:
                pass  # whatever they invent next

    def flush(self) -> Iterator[StreamChunk]:
        """End the answer. One without its end was cut off, and says so."""
        if not self.complete:
            raise StreamInterruptedError("The parrot flew away.")
        yield ResponseEnd(FinishReason.STOP)


SPEC = ProviderSpec(
    name="parrot",
    title="Parrot",
    description="Says what it heard.",
    docs="https://parrot.example/docs",
    base_url="https://api.parrot.example/v1",
    base_url_env=("PARROT_BASE_URL",),
    api_key_env=("PARROT_API_KEY",),
    encode_request=encode_request,
    framing=SSEDecoder,
    decoder=ParrotDecoder,
    error_codes={"no_such_bird": ModelNotFoundError},
    models=("polly", "ara"),
)
