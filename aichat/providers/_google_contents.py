"""
Our messages to Gemini's contents: turns of parts, the instructions apart.

There are two roles, and they alternate. The results of all calls of a turn come together,
in the order of the calls. What the model signed goes back on the part that it signed, and
to nobody else. Names of files and speakers have no place there.

See: https://ai.google.dev/gemini-api/docs/function-calling
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, assert_never
from urllib.parse import urlsplit

from attrs import define, field

from ..errors import InvalidRequestError
from ..types import (
    AudioPart,
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    parse_arguments,
)
from ._google_models import Gemini, same_family
from ._unsupported import Unsupported

__all__ = ["Conversation"]

_Part: TypeAlias = dict[str, Any]
_Turn: TypeAlias = tuple[Literal["user", "model"], list[_Part]]
_Media: TypeAlias = ImagePart | AudioPart | DocumentPart

#: What stands in for a signature that we do not have. Google documents it for calls that
#: the model did not make itself.
_PLACEHOLDER: Final = "skip_thought_signature_validator"
#: What the result of a tool may hold.
_IN_RESULTS: Final = {
    "application/pdf",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/plain",
}
#: Text, to Gemini, only under another name.
_TEXTS: Final = {"application/json", "application/x-yaml", "application/yaml"}
_SUFFIXES: Final = {
    "aac": "audio/aac",
    "csv": "text/csv",
    "flac": "audio/flac",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "md": "text/markdown",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
}
_DATA_URL: Final = re.compile(r"data:([^;,]*)[^,]*;base64,(.*)", re.DOTALL)
_FILE_ID: Final = re.compile(r"files/[^/]+")
_FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"
#: URLs that every model takes: uploaded files, buckets, videos.
_HOME: Final = re.compile(
    r"gs://|https://(generativelanguage\.googleapis\.com|(www\.)?youtube\.com|youtu\.be)/"
)
_YOUTUBE: Final = re.compile(r"https://((www\.)?youtube\.com|youtu\.be)/")


@define
class Conversation:
    """Builds ``systemInstruction`` and ``contents`` of one request."""

    _request: ChatRequest
    _model: Gemini
    _unsupported: Unsupported
    #: Whose states are to go back.
    _provider: str
    _turns: list[_Turn] = field(factory=list, init=False)
    #: The calls of the latest model turn, in their order.
    _calls: list[ToolCallPart] = field(factory=list, init=False)
    _reworded: bool = field(default=False, init=False)

    def encode(self) -> dict[str, Any]:
        """Return the two fields; ``systemInstruction`` only if there is something to say."""
        messages = self._request.messages
        roles = [message.role for message in messages]
        start = next(n for n, role in enumerate(roles) if role is not Role.SYSTEM)
        system = [p for m in messages[:start] for p in self._parts(m)]
        if system and not self._model.instructions:
            self._unsupported.adjusted(
                "The system message went as the user's: this model takes no other."
            )
            self._turn("user", system)
            system = []
        results: list[ToolResultPart] = []
        for message in messages[start:]:
            if message.role is Role.TOOL:
                results += (p for p in message.content if isinstance(p, ToolResultPart))
                continue
            self._results(results)
            results = []
            self._add(message)
        self._results(results)
        self._check()
        self._stand_in()
        contents = [{"role": role, "parts": parts} for role, parts in self._turns]
        if not system:
            return {"contents": contents}
        return {"systemInstruction": {"parts": system}, "contents": contents}

    def _add(self, message: Message) -> None:
        if message.name is not None:
            self._unsupported.sampling("the name of a participant", message.name)
        parts = self._parts(message)
        match message.role:
            case Role.USER:
                self._turn("user", parts)
            case Role.ASSISTANT:
                self._calls = list(message.tool_calls)
                self._turn("model", parts)
            case _:
                self._reword(parts)

    def _turn(self, role: Literal["user", "model"], parts: list[_Part]) -> None:
        if not parts:
            return
        if self._turns and self._turns[-1][0] == role:
            self._turns[-1][1].extend(parts)
        else:
            self._turns.append((role, parts))

    def _reword(self, parts: list[_Part]) -> None:
        for part in parts:
            part["text"] = f"<system>\n{part['text']}\n</system>"
        self._turn("user", parts)
        if parts and not self._reworded:
            self._reworded = True
            self._unsupported.adjusted(
                "System messages after the first other message went as the user's, in "
                "<system> tags: there, Gemini takes no other."
            )

    def _check(self) -> None:
        what = None
        match self._turns:
            case []:
                what = "There is nothing but empty text"
            case [("model", parts), *_] if any("functionCall" in p for p in parts):
                what = "The conversation begins with a tool call of the assistant's"
            case [*_, ("model", _)] if not self._request.prefill:
                what = "Nothing but empty text follows the assistant's last message"
        if what is not None:
            raise InvalidRequestError(
                f"{what}: Gemini wants a user message there.", operation="chat"
            )

    def _stand_in(self) -> None:
        """
        Put a placeholder where the model wants a signature that we do not have.

        It does so on the first call of each of its turns, since the user last spoke.
        """
        if not self._model.wants_signatures:
            return
        for role, parts in reversed(self._turns):
            if role == "user" and not any("functionResponse" in p for p in parts):
                return
            first = next((part for part in parts if "functionCall" in part), None)
            if first is not None:
                first.setdefault("thoughtSignature", _PLACEHOLDER)

    # -- parts -----------------------------------------------------------------------

    def _parts(self, message: Message) -> list[_Part]:
        said = message.role is Role.ASSISTANT
        return [p for part in message.content for p in self._part(part, said=said)]

    def _part(self, part: Part, *, said: bool) -> list[_Part]:
        """What *part* is there, mostly one; *said* by the assistant or not."""
        match part:
            case TextPart():
                state = self._ours(part.provider_state)
                # Empty text is refused, unless it is signed.
                return [{"text": part.text, **state}] if part.text or state else []
            case RefusalPart():
                return [{"text": part.text}] if part.text else []
            case ReasoningPart():
                state = self._ours(part.provider_state)
                thought = {"text": part.text, "thought": True, **state}
                # Without a signature nobody wants it back.
                return [thought] if state else []
            case OpaquePart():
                state = self._ours(part.provider_state)
                return [] if state.get("thought") and _unsigned(state) else _some(state)
            case ToolCallPart():
                return [self._call(part)]
            case ToolResultPart():  # pragma: no cover - `_results` has them all
                raise AssertionError
            case AudioPart(transcript=str(words)) if said and not part.provider_state:
                self._unsupported.adjusted("Of what was spoken, the words were sent.")
                return [{"text": words}] if words else []
            case ImagePart() | AudioPart() | DocumentPart():
                media = self._media(part)
                return [{**m, **self._ours(part.provider_state)} for m in _some(media)]
            case _:
                assert_never(part)

    def _call(self, part: ToolCallPart) -> _Part:
        if not part.name:
            raise InvalidRequestError(
                "A tool call without a name cannot be sent.", operation="chat"
            )
        try:
            args: Any = parse_arguments(part.arguments)
        except ValueError:
            # A custom tool takes free text.
            key = "input" if part.kind == "custom" else "INVALID_JSON"
            args = {key: part.arguments}
        state = self._ours(part.provider_state)
        call = {"name": part.name, "args": args}
        if "id" in state:
            call["id"] = state.pop("id")
        return {"functionCall": call, **state}

    # -- results ---------------------------------------------------------------------

    def _results(self, results: Sequence[ToolResultPart]) -> None:
        """Add all results of a turn: in the order of the calls, what is beside them last."""
        by_id = {result.call_id: result for result in results}
        beside: list[_Part] = []
        parts = [
            self._result(call, by_id[call.id], beside)
            for call in self._calls
            if call.id in by_id
        ]
        self._turn("user", parts + beside)

    def _result(
        self, call: ToolCallPart, result: ToolResultPart, beside: list[_Part]
    ) -> _Part:
        key = "error" if result.is_error else "output"
        response: _Part = {
            "name": result.name or call.name,
            "response": {key: result.text},
        }
        # Only an id that came from there is known there.
        known = self._ours(call.provider_state)
        if "id" in known:
            response["id"] = known["id"]
        inside: list[_Part] = []
        for part in result.content:
            if not isinstance(part, TextPart):
                for media in _some(self._media(part)):
                    fits = self._model.media_results and _kind(media) in _IN_RESULTS
                    (inside if fits else beside).append(media)
        if inside:
            response["parts"] = inside
        return {"functionResponse": response}

    # -- media -----------------------------------------------------------------------

    def _media(self, part: _Media) -> _Part:
        """Nothing, if it cannot be sent and the user does not mind."""
        if isinstance(part, ImagePart) and part.detail not in (None, "auto"):
            why = "set mediaResolution in provider_options"
            self._unsupported.sampling("the detail of an image", part.detail, why)
        if part.file_id is not None:
            # It is the URI that is wanted; an upload answers with both.
            at_home = _FILE_ID.fullmatch(part.file_id) is not None
            return self._link(_FILES * at_home + part.file_id, part)
        if part.data is not None:
            return _inline(part.data, part.require_media_type())
        assert part.url is not None
        whole = _DATA_URL.fullmatch(part.url)
        if whole is None:
            return self._link(part.url, part)
        try:
            data = base64.b64decode(whole[2], validate=True)
        except binascii.Error:
            raise InvalidRequestError(
                "A data: URL holds no valid base64.", operation="chat"
            ) from None
        return _inline(data, whole[1] or part.require_media_type())

    def _link(self, url: str, part: _Media) -> _Part:
        at_home = _HOME.match(url) is not None or part.file_id is not None
        if not (self._model.fetches or at_home or self._provider == "vertex"):
            why = "this model fetches nothing; send the bytes, or upload a file"
            self._unsupported.meaning("a URL", url, why)
            return {}
        suffix = urlsplit(url).path.rpartition(".")[2].lower()
        kind = part.media_type or _SUFFIXES.get(suffix)
        if kind is None and self._provider == "vertex" and not _YOUTUBE.match(url):
            raise InvalidRequestError(
                "Vertex AI wants to know what is behind a URL: pass media_type=….",
                operation="chat",
            )
        return {"fileData": {"fileUri": url} | ({"mimeType": kind} if kind else {})}

    def _ours(self, state: ProviderState | None) -> _Part:
        """A copy of what is to go back to this provider and model; others' is not for it."""
        if (
            state is None
            or state.provider != self._provider
            or not isinstance(state.payload, dict)
            or not same_family(state.model, self._request.model_name)
        ):
            return {}
        return dict(state.payload)


def _inline(data: bytes, kind: str) -> _Part:
    text = base64.b64encode(data).decode("ascii")
    kind = "text/plain" if kind in _TEXTS else kind
    return {"inlineData": {"mimeType": kind, "data": text}}


def _kind(media: _Part) -> str | None:
    source = media.get("inlineData") or media["fileData"]
    kind: str | None = source.get("mimeType")
    return kind


def _unsigned(part: _Part) -> bool:
    return "thoughtSignature" not in part


def _some(part: _Part) -> list[_Part]:
    return [part] if part else []
