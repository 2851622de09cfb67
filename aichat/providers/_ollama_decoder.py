"""
Lines of Ollama's chat API to chunks.

Every line is a message's next piece; the last one says ``"done": true``, why, and what it
took. An answer that is no stream is the same, in one line.

See: https://docs.ollama.com/api/chat
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import define, field

from ..errors import StreamInterruptedError
from ..types import (
    FinishReason,
    JSONError,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    UsageUpdate,
    loads,
    loads_exact,
)
from ._call_ids import new_call_id
from ._ollama_errors import line_error
from ._ollama_fields import epoch, list_in, text_or_none, wrong
from ._ollama_parts import Parts
from ._ollama_usage import FIGURES, count_tokens, durations

__all__ = ["OllamaDecoder"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}
#: A line of nothing but text has no other fields, nor has its message.
_PLAIN: Final = frozenset({"model", "created_at", "message", "done"})
_PLAIN_MESSAGE: Final = frozenset({"role", "content"})
#: What is known about the last line elsewhere; all else goes into the metadata.
_KNOWN: Final = _PLAIN | FIGURES | {"done_reason", "error", "logprobs"}


@define
class OllamaDecoder:
    """Turns Ollama's lines into chunks."""

    _new_id: Callable[[], str] = field(default=new_call_id, kw_only=True)

    _parts: Parts = field(init=False)
    _begun: bool = field(default=False, init=False)
    #: The line that ends the answer.
    _last: dict[str, Any] | None = field(default=None, init=False)
    #: Whether it has come: nothing follows it.
    finished: bool = field(default=False, init=False)
    _logprobs: list[Any] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._parts = Parts(self._new_id)

    @property
    def complete(self) -> bool:
        """Whether the line that says so has come."""
        return self._last is not None

    def decode(self, line: bytes, /) -> Iterable[StreamChunk]:
        """Everything that *line* says."""
        try:
            value = loads(line)
        except JSONError:
            value = _read_odd(line)
        return self._handle(_with_exact_calls(value, line))

    def run(self, lines: Sequence[bytes], at: int, chunks: list[StreamChunk], /) -> int:
        """Append what *lines* from *at* on say, as long as it is more of the same text."""
        part, begin = self._parts.text_part, at
        if part < 0:
            return 0
        for line in lines[at:]:
            try:
                value = loads(line)
                message = value["message"]
                text = message["content"]
                if (
                    value["done"] is not False
                    or not _PLAIN.issuperset(value)
                    or not _PLAIN_MESSAGE.issuperset(message)
                    or text.__class__ is not str
                    or not text
                ):
                    break
            except (LookupError, TypeError, ValueError):
                break
            chunks.append(TextDelta(text, part))
            at += 1
        return at - begin

    def document(self, value: Any, /) -> Iterable[StreamChunk]:
        """The chunks of a whole answer."""
        return self._handle(value)

    def flush(self) -> Iterable[StreamChunk]:
        """The end of the answer, if it has one."""
        last = self._last
        if last is None:
            # Also what the server does on purpose when a model repeats itself for ever.
            raise StreamInterruptedError('The stream ended without "done": true.')
        reason = text_or_none(last.get("done_reason"))
        # Older servers give no reason, and newer ones an empty one.
        finish = _FINISH.get(reason or "stop", FinishReason.OTHER)
        if finish is FinishReason.STOP and self._parts.called:
            finish = FinishReason.TOOL_CALLS
        metadata = {k: v for k, v in last.items() if k not in _KNOWN}
        if took := durations(last):
            metadata["durations"] = took
        if self._logprobs:
            metadata["logprobs"] = self._logprobs
        return (ResponseEnd(finish, reason, metadata=metadata),)

    def _handle(self, value: Any) -> Iterator[StreamChunk]:
        if self._last is not None:
            return
        if not isinstance(value, dict):
            raise wrong("a line is no object")
        # An error may come on any line, in place of a message.
        if value.get("error"):
            raise line_error(value)
        if "message" not in value and "done" not in value:
            return  # whatever they invent next
        if not self._begun:
            self._begun = True
            model = text_or_none(value.get("model"))
            yield ResponseStart(model=model, created_at=epoch(value.get("created_at")))
        message = value.get("message")
        if message is not None:
            if not isinstance(message, dict):
                raise wrong("message is no object")
            yield from self._parts.add(message)
        self._logprobs += list_in(value, "logprobs")
        if value.get("done") is True:
            self._last = value
            self.finished = True
            yield from self._parts.end()
            self._parts.text_part = -1  # nothing goes on
            usage = count_tokens(value)
            if usage is not None:
                yield UsageUpdate(usage)


def _read_odd(line: bytes) -> Any:
    """Read what is no JSON in UTF-8, if it is JSON but for its characters."""
    try:
        return loads(line.decode("utf-8", "replace"))
    except JSONError:
        raise wrong("a line is no JSON") from None


def _with_exact_calls(value: Any, line: bytes) -> Any:
    """Read *line* again if it holds arguments: their whole numbers may be of any size."""
    if not isinstance(value, dict):
        return value
    message = value.get("message")
    if not isinstance(message, dict) or not message.get("tool_calls"):
        return value
    try:
        return loads_exact(line.decode("utf-8", "replace"))
    except JSONError:
        return value  # nested deeper than that reads
