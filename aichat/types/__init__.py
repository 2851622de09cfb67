"""Plain values: messages, requests, chunks, responses. No I/O, no vendor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from ._chat import (
    ChatRequest as ChatRequest,
    ChatResponse as ChatResponse,
    Prompt as Prompt,
)
from ._chunks import (
    CitationDelta as CitationDelta,
    PartAdded as PartAdded,
    PartEnd as PartEnd,
    ReasoningDelta as ReasoningDelta,
    RefusalDelta as RefusalDelta,
    ResponseEnd as ResponseEnd,
    ResponseStart as ResponseStart,
    StreamChunk as StreamChunk,
    TextDelta as TextDelta,
    ToolCallDelta as ToolCallDelta,
    UsageUpdate as UsageUpdate,
    Whole as Whole,
)
from ._codec import (
    JSONError as JSONError,
    dumps as dumps,
    loads as loads,
    loads_exact as loads_exact,
)
from ._deadlines import (
    DEFAULT_DEADLINES as DEFAULT_DEADLINES,
    Deadlines as Deadlines,
    Seconds as Seconds,
)
from ._fold import (
    Accumulator as Accumulator,
    collect as collect,
    fold as fold,
    unfold as unfold,
)
from ._messages import (
    AudioPart as AudioPart,
    CacheHint as CacheHint,
    Citation as Citation,
    Content as Content,
    DocumentPart as DocumentPart,
    ImagePart as ImagePart,
    Message as Message,
    OpaquePart as OpaquePart,
    Part as Part,
    ReasoningPart as ReasoningPart,
    RefusalPart as RefusalPart,
    ResultPart as ResultPart,
    Role as Role,
    TextPart as TextPart,
    ToolCallPart as ToolCallPart,
    ToolResultPart as ToolResultPart,
    assistant as assistant,
    parse_arguments as parse_arguments,
    system as system,
    tool_result as tool_result,
    user as user,
)
from ._options import (
    AnswerOptions as AnswerOptions,
    Effort as Effort,
    OnUnsupported as OnUnsupported,
    RequestOptions as RequestOptions,
    ResponseFormat as ResponseFormat,
    Tool as Tool,
    ToolChoice as ToolChoice,
    json_schema as json_schema,
)
from ._usage import (
    FinishReason as FinishReason,
    Usage as Usage,
    total_usage as total_usage,
)
from ._values import (
    UNSET as UNSET,
    ProviderState as ProviderState,
    Unset as Unset,
)

if TYPE_CHECKING:
    from ._batch import (
        Batch as Batch,
        BatchCounts as BatchCounts,
        BatchRequest as BatchRequest,
        BatchResult as BatchResult,
        BatchStatus as BatchStatus,
    )
    from ._embedding import (
        EmbeddingOptions as EmbeddingOptions,
        EmbeddingRequest as EmbeddingRequest,
        EmbeddingResponse as EmbeddingResponse,
        InputType as InputType,
        Vector as Vector,
    )
    from ._estimate import (
        CountText as CountText,
        estimate_text_tokens as estimate_text_tokens,
        estimate_tokens as estimate_tokens,
    )
    from ._json import (
        from_json as from_json,
        json_converter as json_converter,
        to_json as to_json,
    )
    from ._models import ModelInfo as ModelInfo, TokenCount as TokenCount
    from ._secret import Secret as Secret
else:
    __getattr__ = lazily(
        __name__,
        {
            "_batch": "Batch BatchCounts BatchRequest BatchResult BatchStatus",
            "_embedding": "EmbeddingOptions EmbeddingRequest EmbeddingResponse InputType Vector",
            "_estimate": "CountText estimate_text_tokens estimate_tokens",
            "_json": "from_json json_converter to_json",
            "_models": "ModelInfo TokenCount",
            "_secret": "Secret",
        },
    )
