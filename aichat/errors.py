"""
What can go wrong, as a tree of exceptions.

::

    AIChatError                        code, operation, retryable, context
    ├── ConfigError                    config_invalid
    ├── InvalidRequestError            invalid_input     (ours, before anything is sent)
    ├── CircuitOpenError               circuit_open
    ├── SpendLimitError                spend_limit
    ├── ToolLoopError                  tool_loop         (result: how far it came)
    ├── ClosedError                    client_closed
    │   └── StreamClosedError          stream_closed
    └── ProviderError                  provider, model, status, request_id, …
        ├── BadRequestError            invalid_input
        │   ├── ConflictError          invalid_input            retryable (409)
        │   └── ContextLengthError     context_length_exceeded
        ├── AuthenticationError        authentication_failed
        ├── PermissionDeniedError      permission_denied
        ├── ModelNotFoundError         model_unsupported
        ├── ContentFilteredError       content_filtered
        ├── RateLimitError             rate_limit               retryable
        ├── QuotaExceededError         quota_exceeded
        ├── DeadlineError              request_timeout          retryable; phase
        ├── ProviderUnavailableError   provider_unavailable     retryable
        ├── TLSError                   tls_failed
        ├── ServerError                server_error             retryable
        ├── RedirectError              redirect_refused
        └── StreamError                stream_error
            ├── StreamInterruptedError stream_interrupted       retryable
            ├── ProtocolError          protocol_error
            └── ResponseTooLargeError  response_too_large

The class is what you catch, `code` is what you count. Every error survives `pickle` and
`copy`: workers send them home. No error ever holds a key, a header or message content.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from .tools import RunResult
    from .types import ChatResponse

__all__ = [
    "AIChatError",
    "AuthenticationError",
    "BadRequestError",
    "CircuitOpenError",
    "ClosedError",
    "ConfigError",
    "ConflictError",
    "ContentFilteredError",
    "ContextLengthError",
    "DeadlineError",
    "ErrorCode",
    "InvalidRequestError",
    "ModelNotFoundError",
    "PermissionDeniedError",
    "ProtocolError",
    "ProviderError",
    "ProviderUnavailableError",
    "QuotaExceededError",
    "RateLimitError",
    "RedirectError",
    "ResponseTooLargeError",
    "ServerError",
    "SpendLimitError",
    "StreamClosedError",
    "StreamError",
    "StreamInterruptedError",
    "TLSError",
    "ToolLoopError",
]

#: A provider's message may be a web page; this much of it is enough to act on.
MAX_MESSAGE = 2000


class ErrorCode(StrEnum):
    """The closed list of codes: the same for all providers, safe as a metric label."""

    CONFIG_INVALID = "config_invalid"
    INVALID_INPUT = "invalid_input"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    AUTHENTICATION_FAILED = "authentication_failed"
    PERMISSION_DENIED = "permission_denied"
    MODEL_UNSUPPORTED = "model_unsupported"
    CONTENT_FILTERED = "content_filtered"
    RATE_LIMIT = "rate_limit"
    QUOTA_EXCEEDED = "quota_exceeded"
    REQUEST_TIMEOUT = "request_timeout"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    TLS_FAILED = "tls_failed"
    SERVER_ERROR = "server_error"
    STREAM_INTERRUPTED = "stream_interrupted"
    STREAM_ERROR = "stream_error"
    PROTOCOL_ERROR = "protocol_error"
    RESPONSE_TOO_LARGE = "response_too_large"
    REDIRECT_REFUSED = "redirect_refused"
    CIRCUIT_OPEN = "circuit_open"
    SPEND_LIMIT = "spend_limit"
    TOOL_LOOP = "tool_loop"
    STREAM_CLOSED = "stream_closed"
    CLIENT_CLOSED = "client_closed"


class AIChatError(Exception):
    """
    Anything that aichat raises on purpose.

    Facts are keyword arguments and attributes. They are filled in on the way up by those
    who know them (`note`), and never overwritten.
    """

    #: Belongs to the class: what to count.
    code: ClassVar[ErrorCode] = ErrorCode.STREAM_ERROR
    #: Where `retryable` starts from.
    retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        operation: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        provider_code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        attempts: int | None = None,
        phase: str | None = None,
        partial: ChatResponse | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        if len(message) > MAX_MESSAGE:
            message = f"{message[:MAX_MESSAGE]}… ({len(message)} characters)"
        super().__init__(message)
        #: What happened, in a sentence; bounded in length.
        self.message = message
        #: What was being done: ``"chat"``, ``"embed"``, ``"health"`` …
        self.operation = operation
        #: Who was asked, and for which model.
        self.provider = provider
        self.model = model
        #: The HTTP status, if one arrived.
        self.status = status
        #: The provider's own word for it.
        self.provider_code = provider_code
        #: What to quote to the provider's support.
        self.request_id = request_id
        #: Seconds that the provider asks us to wait, or that a limit of our own would take.
        self.retry_after = retry_after
        #: Whether trying again may help. False once the transport has given up.
        self.retryable = self.retryable_by_default if retryable is None else retryable
        #: How many requests were sent for this call.
        self.attempts = attempts
        #: Which deadline passed, of a `DeadlineError`.
        self.phase = phase
        #: What had arrived before it broke.
        self.partial = partial
        #: More facts for a log line; never a secret, a header, or message content.
        self.context: dict[str, Any] = dict(context or {})

    def note(self, **facts: Any) -> Self:
        """Fill in *facts* that are not known yet; what is known stays."""
        for name, value in facts.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        return self

    def suggest(self, hint: str | None) -> Self:
        """Add to the message what may help, once."""
        if hint and hint not in self.message:
            self.message = f"{self.message} ({hint})"
            self.args = (self.message,)
        return self

    def given_up(self) -> Self:
        """Mark as final: whoever sees it next shall not try again."""
        self.retryable = False
        return self

    def __str__(self) -> str:
        who = ":".join(filter(None, (self.provider, self.model)))
        status = f"[{self.status}]" if self.status else ""
        where = " ".join(filter(None, (who, status)))
        return f"{where}: {self.message}" if where else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.__dict__))


def _rebuild(
    cls: type[AIChatError], message: str, facts: dict[str, Any]
) -> AIChatError:
    # Past `__init__`, which would cut a message that has been cut already, and which a
    # subclass elsewhere may have given other parameters.
    error = cls.__new__(cls, message)
    error.__dict__.update(facts)
    # What is noted of a copy is no fact about the original.
    error.context = dict(error.context)
    return error


class ConfigError(AIChatError):
    """The configuration is wrong. Raised before anything is sent."""

    code = ErrorCode.CONFIG_INVALID


class InvalidRequestError(AIChatError):
    """The request is wrong, and we noticed before sending it."""

    code = ErrorCode.INVALID_INPUT


class CircuitOpenError(AIChatError):
    """The provider kept failing and is left alone; `retry_after` says for how long."""

    code = ErrorCode.CIRCUIT_OPEN


class SpendLimitError(AIChatError):
    """The call would cost, or has cost, more than was allowed."""

    code = ErrorCode.SPEND_LIMIT


class ToolLoopError(AIChatError):
    """The model wants more tools called than a run has rounds for."""

    code = ErrorCode.TOOL_LOOP

    def __init__(
        self, message: str = "", *, result: RunResult | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        #: How far it came; its conversation can be gone on with.
        self.result = result


class ClosedError(AIChatError):
    """The client was closed."""

    code = ErrorCode.CLIENT_CLOSED


class StreamClosedError(ClosedError):
    """The stream was closed, or has been read already."""

    code = ErrorCode.STREAM_CLOSED


class ProviderError(AIChatError):
    """The provider, or the way to it, failed."""


class BadRequestError(ProviderError):
    """The provider refuses the request as it is: HTTP 400, 413, 422."""

    code = ErrorCode.INVALID_INPUT


class ConflictError(BadRequestError):
    """The provider asks to try again: HTTP 409, a lock."""

    retryable_by_default = True


class ContextLengthError(BadRequestError):
    """The prompt, or prompt and answer, do not fit the model's context window."""

    code = ErrorCode.CONTEXT_LENGTH_EXCEEDED


class AuthenticationError(ProviderError):
    """The key is missing, wrong or expired."""

    code = ErrorCode.AUTHENTICATION_FAILED


class PermissionDeniedError(ProviderError):
    """The key is right, but may not do this."""

    code = ErrorCode.PERMISSION_DENIED


class ModelNotFoundError(ProviderError):
    """The provider does not have this model, or the model cannot do this."""

    code = ErrorCode.MODEL_UNSUPPORTED


class ContentFilteredError(ProviderError):
    """A content filter refused with an error. (One that ends a stream is a finish reason.)"""

    code = ErrorCode.CONTENT_FILTERED


class RateLimitError(ProviderError):
    """Too much at once: waiting cures it, `retry_after` may say how long."""

    code = ErrorCode.RATE_LIMIT
    retryable_by_default = True


class QuotaExceededError(ProviderError):
    """The allowance or the balance is used up: waiting does not cure it."""

    code = ErrorCode.QUOTA_EXCEEDED


class DeadlineError(ProviderError):
    """It took too long; `phase` says what did: pool, connect, first_byte, idle, stall, total."""

    code = ErrorCode.REQUEST_TIMEOUT
    retryable_by_default = True


class ProviderUnavailableError(ProviderError):
    """Cannot resolve or connect, or the provider is overloaded: HTTP 502, 503, 504, 529."""

    code = ErrorCode.PROVIDER_UNAVAILABLE
    retryable_by_default = True


class TLSError(ProviderError):
    """The certificate or the handshake is bad."""

    code = ErrorCode.TLS_FAILED


class ServerError(ProviderError):
    """The provider broke: other HTTP 5xx."""

    code = ErrorCode.SERVER_ERROR
    retryable_by_default = True


class RedirectError(ProviderError):
    """The server points elsewhere, and keys do not go there."""

    code = ErrorCode.REDIRECT_REFUSED


class StreamError(ProviderError):
    """The answer broke in a way that nothing else here fits."""

    code = ErrorCode.STREAM_ERROR


class StreamInterruptedError(StreamError):
    """The answer ended without the dialect's end marker; `partial` holds what arrived."""

    code = ErrorCode.STREAM_INTERRUPTED
    retryable_by_default = True


class ProtocolError(StreamError):
    """The answer is not what the dialect promises: malformed JSON, a wrong shape, a web page."""

    code = ErrorCode.PROTOCOL_ERROR


class ResponseTooLargeError(StreamError):
    """The answer passed a ceiling; the message names it."""

    code = ErrorCode.RESPONSE_TOO_LARGE
