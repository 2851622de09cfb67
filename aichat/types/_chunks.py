"""
The items of a normalised stream.

Every provider speaks one grammar (`aichat.testing.check_stream` verifies it)::

    stream = [ResponseStart]
             (TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta | CitationDelta
              | PartAdded | PartEnd | UsageUpdate)*
             ResponseEnd

*index* says which part of the message a chunk adds to. Parts come out in the order in
which they first appear. A stream that stops without `ResponseEnd` raises
`StreamInterruptedError`: a short answer and a broken connection never look alike.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import field

from ._messages import AudioPart, Citation, DocumentPart, ImagePart, OpaquePart
from ._usage import FinishReason, Usage
from ._values import JSONObject, ProviderState, chunk

__all__ = [
    "CitationDelta",
    "PartAdded",
    "PartEnd",
    "ReasoningDelta",
    "RefusalDelta",
    "ResponseEnd",
    "ResponseStart",
    "StreamChunk",
    "TextDelta",
    "ToolCallDelta",
    "UsageUpdate",
    "Whole",
]


#: A part that is never built up from deltas.
Whole: TypeAlias = ImagePart | AudioPart | DocumentPart | OpaquePart


@chunk
class ResponseStart:
    """The provider has begun to answer."""

    #: The provider's id of the response, if it gives one.
    id: str | None = None
    #: The model as the provider names it.
    model: str | None = None
    provider: str | None = None
    #: Seconds since the epoch, if the provider says.
    created_at: float | None = None
    #: What to quote to the provider's support.
    request_id: str | None = None
    #: What the request asked for and this provider cannot do.
    warnings: tuple[str, ...] = ()
    #: Nobody was asked for this call: the answer is one that was given before.
    from_cache: bool = False
    #: Who was asked, ``"provider:model"``, if it was not whom the request names: the work of
    #: a `fallback` and its like.
    rerouted_to: str | None = None


@chunk
class TextDelta:
    """Some more visible text."""

    text: str
    index: int = 0


@chunk
class ReasoningDelta:
    """Some more of what the model thinks, or of its summary."""

    text: str
    index: int = 0


@chunk
class RefusalDelta:
    """Some more of why the model does not answer."""

    text: str
    index: int = 0


@chunk
class ToolCallDelta:
    """A piece of a tool call; *id* and *name* come with the first piece."""

    index: int
    id: str | None = None
    name: str | None = None
    #: A fragment of the arguments' JSON text.
    arguments: str = ""
    kind: Literal["function", "custom"] = "function"


@chunk
class CitationDelta:
    """A source of the text part *index*."""

    citation: Citation
    index: int = 0


@chunk
class PartAdded:
    """A part that came whole."""

    part: Whole
    index: int = 0


@chunk
class PartEnd:
    """Part *index* is complete, and this is what its provider wants back with it."""

    index: int
    provider_state: ProviderState | None = None


@chunk
class UsageUpdate:
    """The tokens so far: a snapshot that replaces the one before, never a summand."""

    usage: Usage


@chunk
class ResponseEnd:
    """The provider has ended its answer properly. Always the last chunk."""

    finish_reason: FinishReason
    #: The provider's own word.
    raw_finish_reason: str | None = None
    #: The stop sequence that was met, where the provider tells.
    stop_sequence: str | None = None
    #: What the provider wants back with the whole message.
    provider_state: ProviderState | None = None
    #: More facts of the provider's, such as a system fingerprint.
    metadata: JSONObject = field(factory=dict, hash=False)


StreamChunk: TypeAlias = (
    ResponseStart
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallDelta
    | CitationDelta
    | PartAdded
    | PartEnd
    | UsageUpdate
    | ResponseEnd
)
