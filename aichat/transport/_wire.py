"""What goes over the wire, as values; and the shape of everything that decodes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from attrs import field, frozen

from ..types import StreamChunk

__all__ = ["ChatDecoder", "Decoder", "HTTPRequest", "HTTPResponse", "Phase", "Send"]

#: What a call may be waiting for; `Deadlines` has a limit for each.
Phase: TypeAlias = Literal["pool", "connect", "first_byte", "idle", "stall", "total"]

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


@frozen
class HTTPRequest:
    """
    One request. It knows neither its host nor a key until the last moment.

    Its ``repr`` shows neither headers nor body, so that it may stand in a traceback.
    """

    #: Relative to *base_url*: ``"/chat/completions"``.
    path: str
    #: Anything that JSON can hold, or bytes; ``None`` for no body.
    body: Any = field(default=None, repr=False, hash=False)
    method: str = field(default="POST", kw_only=True)
    headers: Mapping[str, str] = field(
        factory=dict, kw_only=True, repr=False, hash=False
    )
    query: Mapping[str, str] = field(factory=dict, kw_only=True, repr=False, hash=False)
    #: Without a slash at its end.
    base_url: str = field(default="", kw_only=True)
    #: What was asked for and could not be expressed; it ends up in `ChatResponse.warnings`.
    warnings: tuple[str, ...] = field(default=(), kw_only=True)
    #: Whether it may be sent again when nobody knows what became of it. Not where each one
    #: that arrives makes something that costs: a job of thousands of requests.
    repeatable: bool = field(default=True, kw_only=True)


class HTTPResponse(Protocol):
    """An answer whose body has not been read yet."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, looked up without regard to case."""
        ...

    async def read(self) -> bytes:
        """
        Whatever has arrived, or ``b""`` at the end of the body.

        Raises `StreamInterruptedError` if the connection breaks before that.
        """
        ...

    def abort(self, error: Exception | None = None) -> None:
        """
        Drop the connection at once. Whoever waits in `read` gets *error*.

        Harmless after the end of the body, when the connection is back in the pool.
        """
        ...


#: One trip: from a request to an answer whose headers have come. The second argument is told
#: which phase begins, *pool*, *connect* and *first_byte*; who has no such phases ignores it.
Send: TypeAlias = Callable[
    [HTTPRequest, Callable[[Phase], None]], Awaitable[HTTPResponse]
]


class Decoder(Protocol[In_contra, Out_co]):
    """Turns pieces into other pieces, without any I/O."""

    def decode(self, piece: In_contra, /) -> Iterable[Out_co]:
        """Everything that *piece* completes."""
        ...

    def flush(self) -> Iterable[Out_co]:
        """What is left at the end of the input."""
        ...


class ChatDecoder(Decoder[In_contra, StreamChunk], Protocol[In_contra]):
    """
    Events of one dialect to chunks.

    `decode` raises a `ProviderError` for an event that is an error, and `ProtocolError` for
    one that is no JSON or has an impossible shape. `flush` yields the `ResponseEnd`, or
    raises `StreamInterruptedError` if the dialect's end marker has not been seen.

    It may have one more method, ``run(events, at, chunks) -> int``, for what comes once per
    token: append to *chunks* what the events from *at* on bring, as long as they are just
    more of the same, and return how many that were; 0 is always right. The next one goes to
    `decode`, which knows everything.
    """

    @property
    def complete(self) -> bool:
        """Whether the answer has its end marker: `flush` would not raise."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the dialect's very last event has been seen: nothing worth reading follows."""
        ...

    def document(self, value: Any, /) -> Iterable[StreamChunk]:
        """
        The chunks of an answer that came as one JSON *value* instead of a stream.

        `flush` follows it. Raises like `decode`.
        """
        ...
