"""
One small async API over the large language models.

A request goes down once, as a value; chunks come up once, as values; the answer is their
fold::

    from aichat import Client

    async with Client.from_env() as client:
        async with client.stream("Tell me a story.") as stream:
            async for text in stream.text():
                print(text, end="", flush=True)

        response = await client.complete("What is the capital of France?")
        print(response.text, response.usage.total_tokens)
"""

from typing import TYPE_CHECKING

from ._client import (
    Client,
    Health,
)
from ._lazy import lazily
from ._stream import ChatStream
from ._version import __version__
from .errors import (
    AIChatError,
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ClosedError,
    ConfigError,
    ConflictError,
    ContentFilteredError,
    ContextLengthError,
    DeadlineError,
    ErrorCode,
    InvalidRequestError,
    ModelNotFoundError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    RedirectError,
    ResponseTooLargeError,
    ServerError,
    SpendLimitError,
    StreamClosedError,
    StreamError,
    StreamInterruptedError,
    TLSError,
)
from .middleware import (
    Handler,
    Middleware,
    compose,
)
from .types import (
    Accumulator,
    AudioPart,
    CacheHint,
    ChatRequest,
    ChatResponse,
    Citation,
    CitationDelta,
    Deadlines,
    DocumentPart,
    Effort,
    FinishReason,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    PartAdded,
    PartEnd,
    ProviderState,
    ReasoningDelta,
    ReasoningPart,
    RefusalDelta,
    RefusalPart,
    RequestOptions,
    ResponseEnd,
    ResponseFormat,
    ResponseStart,
    Role,
    StreamChunk,
    TextDelta,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
    UsageUpdate,
    assistant,
    collect,
    fold,
    json_schema,
    system,
    tool_result,
    unfold,
    user,
)

if TYPE_CHECKING:
    from ._builder import RequestBuilder
    from ._config import ClientConfig
    from ._connect import connect
    from ._registry import Registry
    from .providers import (
        BatchSubmitter,
        Capability,
        Embedder,
        HealthChecker,
        HTTPProvider,
        Modality,
        ModelLister,
        ModelProfile,
        Provider,
        ProviderSpec,
        TokenCounter,
    )
    from .transport import (
        RateLimit,
        RetryPolicy,
    )
    from .types import (
        Batch,
        BatchCounts,
        BatchRequest,
        BatchResult,
        BatchStatus,
        EmbeddingRequest,
        EmbeddingResponse,
        ModelInfo,
        Secret,
        TokenCount,
        from_json,
        to_json,
    )
else:
    # What asks a model needs none of these before it is made, and they are half the time
    # that an import takes.
    __getattr__ = lazily(
        __name__,
        {
            "_builder": "RequestBuilder",
            "_config": "ClientConfig",
            "_connect": "connect",
            "_registry": "Registry",
            "providers": "BatchSubmitter Capability Embedder HealthChecker HTTPProvider Modality ModelLister ModelProfile Provider ProviderSpec TokenCounter",
            "transport": "RateLimit RetryPolicy",
            "types": "Batch BatchCounts BatchRequest BatchResult BatchStatus EmbeddingRequest EmbeddingResponse ModelInfo Secret TokenCount from_json to_json",
        },
    )

__all__ = [
    "AIChatError",
    "Accumulator",
    "AudioPart",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchCounts",
    "BatchRequest",
    "BatchResult",
    "BatchStatus",
    "BatchSubmitter",
    "CacheHint",
    "Capability",
    "ChatRequest",
    "ChatResponse",
    "ChatStream",
    "CircuitOpenError",
    "Citation",
    "CitationDelta",
    "Client",
    "ClientConfig",
    "ClosedError",
    "ConfigError",
    "ConflictError",
    "ContentFilteredError",
    "ContextLengthError",
    "DeadlineError",
    "Deadlines",
    "DocumentPart",
    "Effort",
    "Embedder",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "ErrorCode",
    "FinishReason",
    "HTTPProvider",
    "Handler",
    "Health",
    "HealthChecker",
    "ImagePart",
    "InvalidRequestError",
    "Message",
    "Middleware",
    "Modality",
    "ModelInfo",
    "ModelLister",
    "ModelNotFoundError",
    "ModelProfile",
    "OpaquePart",
    "Part",
    "PartAdded",
    "PartEnd",
    "PermissionDeniedError",
    "ProtocolError",
    "Provider",
    "ProviderError",
    "ProviderSpec",
    "ProviderState",
    "ProviderUnavailableError",
    "QuotaExceededError",
    "RateLimit",
    "RateLimitError",
    "ReasoningDelta",
    "ReasoningPart",
    "RedirectError",
    "RefusalDelta",
    "RefusalPart",
    "Registry",
    "RequestBuilder",
    "RequestOptions",
    "ResponseEnd",
    "ResponseFormat",
    "ResponseStart",
    "ResponseTooLargeError",
    "RetryPolicy",
    "Role",
    "Secret",
    "ServerError",
    "SpendLimitError",
    "StreamChunk",
    "StreamClosedError",
    "StreamError",
    "StreamInterruptedError",
    "TLSError",
    "TextDelta",
    "TextPart",
    "TokenCount",
    "TokenCounter",
    "Tool",
    "ToolCallDelta",
    "ToolCallPart",
    "ToolChoice",
    "ToolResultPart",
    "Usage",
    "UsageUpdate",
    "__version__",
    "assistant",
    "collect",
    "compose",
    "connect",
    "fold",
    "from_json",
    "json_schema",
    "system",
    "to_json",
    "tool_result",
    "unfold",
    "user",
]


def __dir__() -> list[str]:
    return sorted(__all__)
