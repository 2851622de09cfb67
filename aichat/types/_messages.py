"""
Messages and the parts that they are made of.

The order of parts is part of the meaning: providers refuse a conversation whose thoughts
and tool calls come back rearranged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from attrs import field, frozen

from ..errors import InvalidRequestError
from ._codec import loads_exact
from ._values import JSONObject, ProviderState, frozen_mapping

__all__ = [
    "AudioPart",
    "CacheHint",
    "Citation",
    "Content",
    "DocumentPart",
    "ImagePart",
    "Message",
    "OpaquePart",
    "Part",
    "ReasoningPart",
    "RefusalPart",
    "ResultPart",
    "Role",
    "TextPart",
    "ToolCallPart",
    "ToolResultPart",
    "assistant",
    "parse_arguments",
    "system",
    "tool_result",
    "user",
]


class Role(StrEnum):
    """Whose turn a message is."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


def _to_role(value: Role | str) -> Role:
    try:
        return Role(value)
    except ValueError:
        roles = ", ".join(Role)
        _refuse(f"A role is one of {roles}; got {value!r}.")


@frozen
class CacheHint:
    """
    Ask the provider to keep everything up to here for the next request.

    *ttl* is ``"short"`` (minutes) or ``"long"`` (an hour and more); ``None`` leaves it to
    the provider. Best effort, never an error.
    """

    ttl: Literal["short", "long"] | None = None


@frozen
class Citation:
    """Where a piece of text comes from."""

    url: str | None = None
    title: str | None = None
    #: The words that are quoted from the source.
    cited_text: str | None = None
    #: Which characters of the part's text lean on it, if the provider says so.
    start: int | None = None
    end: int | None = None
    #: The provider's own form.
    provider_state: ProviderState | None = None


def _to_citations(value: Iterable[Citation]) -> tuple[Citation, ...]:
    return tuple(value)


@frozen
class TextPart:
    """Visible text."""

    text: str
    citations: tuple[Citation, ...] = field(
        default=(), kw_only=True, converter=_to_citations
    )
    cache: CacheHint | None = field(default=None, kw_only=True)
    provider_state: ProviderState | None = field(default=None, kw_only=True)


@frozen
class ReasoningPart:
    """What the model thought, or its summary; often only a `provider_state`."""

    text: str
    provider_state: ProviderState | None = field(default=None, kw_only=True)


@frozen
class RefusalPart:
    """The model's words for why it does not answer."""

    text: str
    provider_state: ProviderState | None = field(default=None, kw_only=True)


@frozen(kw_only=True)
class _Media:
    """Bytes, a URL or a file that the provider holds: exactly one of them."""

    data: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    #: The id of a file that was uploaded to the provider before.
    file_id: str | None = None
    #: As in ``image/png``; guessed from the first bytes where they tell.
    media_type: str | None = field(default=None)
    cache: CacheHint | None = None
    provider_state: ProviderState | None = None

    def __attrs_post_init__(self) -> None:
        given = [n for n in ("data", "url", "file_id") if getattr(self, n) is not None]
        if len(given) != 1:
            name = type(self).__name__
            got = " and ".join(given) if given else "none"
            _refuse(f"{name} needs exactly one of data, url and file_id, got {got}.")
        if self.data is not None and self.media_type is None:
            object.__setattr__(self, "media_type", sniff_media_type(self.data))

    def require_media_type(self) -> str:
        """The media type; raises `InvalidRequestError` where nobody knows it."""
        if self.media_type is None:
            name = type(self).__name__
            _refuse(f"{name} holds bytes of an unknown kind: pass media_type=….")
        return self.media_type


@frozen(kw_only=True)
class ImagePart(_Media):
    """A picture."""

    #: How closely to look: ``"low"``, ``"high"``, ``"original"``, ``"auto"``.
    detail: Literal["auto", "low", "high", "original"] | None = None

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> ImagePart:
        """Read a picture from disk, at once (it blocks: a thread may be kinder)."""
        return cls(data=Path(path).read_bytes(), **options)


@frozen(kw_only=True)
class AudioPart(_Media):
    """A recording."""

    #: What is said in it, if known.
    transcript: str | None = None


@frozen(kw_only=True)
class DocumentPart(_Media):
    """A PDF, or another document."""

    name: str | None = None

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> DocumentPart:
        """Read a document from disk, at once (it blocks: a thread may be kinder)."""
        path = Path(path)
        options.setdefault("name", path.name)
        return cls(data=path.read_bytes(), **options)


@frozen
class ToolCallPart:
    """The model wants a function of ours called."""

    id: str
    name: str
    #: The arguments as the model wrote them: JSON text, or anything that it took for it.
    arguments: str = "{}"
    #: Why the call must not be executed; ``None`` for a good one.
    invalid: str | None = field(default=None, kw_only=True)
    #: A ``custom`` tool takes free text instead of JSON.
    kind: Literal["function", "custom"] = field(default="function", kw_only=True)
    provider_state: ProviderState | None = field(default=None, kw_only=True)

    def parse(self) -> dict[str, Any]:
        """
        Return the arguments as an object, strictly; nothing is ever repaired.

        Raises `InvalidRequestError` for a call that is `invalid`.
        """
        if self.invalid is not None:
            _refuse(
                f"The call of {self.name!r} has no usable arguments: {self.invalid}"
            )
        return parse_arguments(self.arguments)


def parse_arguments(text: str) -> dict[str, Any]:
    """
    Read the arguments of a tool call; no text at all means none.

    Raises `ValueError` for what is not one JSON object (RFC 8259: no NaN, nothing after it).
    Whole numbers of any size stay whole, which is why this is not orjson.
    """
    if not text.strip():
        return {}
    value = loads_exact(text)
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object but {type(value).__name__}")
    return value


#: What a tool may answer with.
ResultPart: TypeAlias = TextPart | ImagePart | DocumentPart


def _to_result(
    value: str | ResultPart | Iterable[str | ResultPart],
) -> tuple[ResultPart, ...]:
    if isinstance(value, str):
        value = TextPart(value)
    parts = [value] if isinstance(value, (TextPart, _Media)) else value
    return tuple(TextPart(p) if isinstance(p, str) else p for p in parts)


@frozen
class ToolResultPart:
    """What came of a tool call."""

    #: The `ToolCallPart.id` that it answers.
    call_id: str
    content: tuple[ResultPart, ...] = field(converter=_to_result)
    #: The function's name; looked up in the conversation if it is not given.
    name: str | None = field(default=None, kw_only=True)
    is_error: bool = field(default=False, kw_only=True)
    cache: CacheHint | None = field(default=None, kw_only=True)
    provider_state: ProviderState | None = field(default=None, kw_only=True)

    @property
    def text(self) -> str:
        """Its text, without pictures and documents."""
        return "".join(p.text for p in self.content if isinstance(p, TextPart))


@frozen
class OpaquePart:
    """Something that only its provider understands, such as the trace of a tool of its own."""

    #: The provider's word for it.
    kind: str
    provider_state: ProviderState


Part: TypeAlias = (
    TextPart
    | ReasoningPart
    | RefusalPart
    | ImagePart
    | AudioPart
    | DocumentPart
    | ToolCallPart
    | ToolResultPart
    | OpaquePart
)
#: What may be given as the content of a message.
Content: TypeAlias = str | Part | Iterable[str | Part]


def _to_content(value: Content) -> tuple[Part, ...]:
    if isinstance(value, str):
        return (TextPart(value),) if value else ()
    if isinstance(value, Part):
        return (value,)
    if isinstance(value, Mapping):
        _refuse("A message holds text and parts such as TextPart(…), not a mapping.")
    if not isinstance(value, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
        value = [value]
    parts = tuple(TextPart(p) if isinstance(p, str) else p for p in value)
    for part in parts:
        if not isinstance(part, Part):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
            _refuse(
                "A message holds text and parts such as TextPart(…), not a "
                f"{type(part).__name__}."
            )
    return parts


@frozen
class Message:
    """
    One turn of a conversation.

    >>> user("What is this?", ImagePart(url="https://example.com/cat.png")).text
    'What is this?'
    """

    role: Role = field(converter=_to_role)
    content: tuple[Part, ...] = field(default=(), converter=_to_content)
    #: Who speaks, where several share a role. Not every provider knows it.
    name: str | None = field(default=None, kw_only=True)
    #: The application's own notes; never sent.
    metadata: JSONObject = field(
        factory=dict, kw_only=True, converter=frozen_mapping, hash=False
    )
    provider_state: ProviderState | None = field(default=None, kw_only=True)

    @property
    def text(self) -> str:
        """All visible text, joined."""
        return "".join(p.text for p in self.content if isinstance(p, TextPart))

    @property
    def reasoning(self) -> str:
        """All reasoning, joined."""
        return "".join(p.text for p in self.content if isinstance(p, ReasoningPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """Every tool call, the invalid ones too: each of them wants a result."""
        return tuple(p for p in self.content if isinstance(p, ToolCallPart))


def system(*content: str | Part) -> Message:
    """Make a system message."""
    return Message(Role.SYSTEM, content)


def user(*content: str | Part, name: str | None = None) -> Message:
    """Make a user message, of text and other parts."""
    return Message(Role.USER, content, name=name)


def assistant(*content: str | Part) -> Message:
    """Make an assistant message, as if the model had said it."""
    return Message(Role.ASSISTANT, content)


def tool_result(
    call: ToolCallPart | str,
    content: str | ResultPart | Iterable[str | ResultPart],
    *,
    is_error: bool = False,
) -> Message:
    """Answer a tool call, given itself or its id."""
    call_id, name = (call, None) if isinstance(call, str) else (call.id, call.name)
    part = ToolResultPart(call_id, content, name=name, is_error=is_error)
    return Message(Role.TOOL, part)


_MAGIC: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF-": "application/pdf",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
}


def sniff_media_type(data: bytes) -> str | None:
    """The media type that the first bytes tell, if they do."""
    if data[:4] == b"RIFF":
        kinds = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
        return kinds.get(bytes(data[8:12]))
    return next(
        (kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None
    )


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="chat")
