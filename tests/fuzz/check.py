"""What has to hold, whatever a server sends."""

from __future__ import annotations

import contextlib
import copy
import math
import pickle
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from aichat import tool_result, user
from aichat.errors import AIChatError, ErrorCode
from aichat.testing import check_stream
from aichat.transport import Pipeline, provider_error
from aichat.types import (
    Accumulator,
    ChatRequest,
    ChatResponse,
    FinishReason,
    Message,
    ResponseEnd,
    StreamChunk,
    dumps,
    fold,
    from_json,
    loads,
    parse_arguments,
    to_json,
)

from .targets import Target

__all__ = ["Broken", "check_answer", "check_error_body", "check_stored"]

#: `errors.MAX_MESSAGE`, what `AIChatError` adds to it, and who it is about.
_LONGEST_MESSAGE: Final = 2600
_LONGEST_FACT: Final = 1000


class Broken(Exception):
    """A promise is broken; the first word says which."""


@frozen
class _Read:
    """What came of one answer."""

    chunks: list[StreamChunk]
    error: AIChatError | None

    @property
    def response(self) -> ChatResponse:
        so_far = Accumulator()
        for chunk in self.chunks:
            so_far.add(chunk)
        return so_far.response()


def check_answer(
    target: Target,
    data: bytes,
    pieces: Sequence[bytes] | None = None,
    *,
    thorough: bool = True,
) -> None:
    """
    Read *data* as an answer, and raise `Broken` if anything is not as promised.

    *pieces* is the same, cut; *thorough* adds what takes longer than the reading.
    """
    whole = _read(target, (data,))
    _check_read(target, whole, thorough=thorough)
    if pieces is not None and len(pieces) > 1:
        cut = _read(target, pieces)
        _check_cut(whole, cut)


def _read(target: Target, pieces: Iterable[bytes]) -> _Read:
    pipeline = Pipeline(target.dialect())
    chunks: list[StreamChunk] = []
    for piece in pieces:
        if pipeline.over:
            break
        chunks += pipeline.feed(piece)
    if not pipeline.over:
        chunks += pipeline.end()
    return _Read(chunks, pipeline.error)


def _check_read(target: Target, read: _Read, *, thorough: bool) -> None:
    chunks, error = read.chunks, read.error
    if error is not None:
        check_error(error)
        if any(isinstance(chunk, ResponseEnd) for chunk in chunks):
            raise Broken("grammar: an error after the end")
        # Up to the error it was a stream like any other.
        chunks = [*chunks, ResponseEnd(FinishReason.ERROR)]
    try:
        check_stream(chunks)
    except AssertionError as wrong:
        raise Broken(f"grammar: {wrong}") from wrong
    response = fold(chunks)
    for call in response.message.tool_calls:
        if call.invalid is None and call.kind == "function":
            parse_arguments(call.arguments)
    if thorough:
        _check_value(ChatResponse, response)
        _check_sent_back(target, response.message)


def _check_cut(whole: _Read, cut: _Read) -> None:
    before, after = type(whole.error), type(cut.error)
    if before is not after:
        raise Broken(f"cut: {before.__name__} becomes {after.__name__}")
    if whole.error is not None and str(whole.error) != str(cut.error):
        raise Broken(f"cut: {whole.error} becomes {cut.error}")
    if whole.response != cut.response:
        raise Broken(f"cut: {whole.response} becomes {cut.response}")


def _check_value(kind: type[Any], value: Any) -> None:
    try:
        text = to_json(value)
        again = from_json(kind, text)
    except Exception as wrong:
        raise Broken(f"json: {type(wrong).__name__}: {wrong}") from wrong
    if again != value:
        raise Broken(f"json: {value!r} becomes {again!r}")


def _check_sent_back(target: Target, message: Message) -> None:
    if not message.content:
        return
    answers = [tool_result(call, "done") for call in message.tool_calls]
    try:
        request = ChatRequest(
            [user("hi"), message, *(answers or [user("go on")])],
            "some-model",
            on_unsupported="ignore",
        )
        body = target.spec.encode_request(request).body
        dumps(body)
    except AIChatError:
        return
    except Exception as wrong:
        raise Broken(f"sent back: {type(wrong).__name__}: {wrong}") from wrong


# --- errors --------------------------------------------------------------------------


def check_error(error: AIChatError) -> None:
    """Raise `Broken` unless *error* is one that we would have said ourselves."""
    if "where" in error.context:
        raise Broken(
            f"blunder: {error.context['cause']} at {error.context['where']}: "
            f"{error.__cause__}"
        )
    if error.__cause__ is not None or error.__context__ is not None:
        raise Broken(f"chained: {error.__cause__!r} {error.__context__!r}")
    _check_bounds(error)
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        if type(again) is not type(error) or vars(again).keys() != vars(error).keys():
            raise Broken(f"pickle: {error!r} becomes {again!r}")


def _check_bounds(error: AIChatError) -> None:
    if not isinstance(error.code, ErrorCode):
        raise Broken(f"error: the code is {error.code!r}")
    if len(str(error)) > _LONGEST_MESSAGE:
        raise Broken(f"error: the message has {len(str(error))} characters")
    try:
        str(error).encode()
    except UnicodeEncodeError as wrong:
        raise Broken(f"error: the message cannot be written: {wrong}") from wrong
    for name in ("provider_code", "request_id"):
        text: Any = getattr(error, name)
        if text is not None and (type(text) is not str or len(text) > _LONGEST_FACT):
            raise Broken(f"error: {name} is {str(text)[:100]!r}… ({type(text)})")
    for key, value in error.context.items():
        if len(repr(value)) > 4 * _LONGEST_FACT:
            raise Broken(f"error: context[{key!r}] has {len(repr(value))} characters")
    status: Any = error.status
    if status is not None and type(status) is not int:
        raise Broken(f"error: the status is {status!r}")
    hint: Any = error.retry_after
    if hint is not None and not (isinstance(hint, float) and 0 <= hint < math.inf):
        raise Broken(f"error: retry_after is {hint!r}")


def check_error_body(
    target: Target, data: bytes, status: int, headers: Mapping[str, str]
) -> None:
    """Read *data* as the body of an error, and as the JSON of one."""
    payloads: list[Any] = [data, data.decode("utf-8", "replace")]
    with contextlib.suppress(ValueError):
        payloads.append(loads(data))
    for payload in payloads:
        try:
            error = provider_error(
                payload, status=status, headers=headers, codes=target.spec.error_codes
            )
        except Exception as wrong:
            raise Broken(f"provider_error: {type(wrong).__name__}: {wrong}") from wrong
        check_error(error)


# --- what we wrote ourselves ---------------------------------------------------------


def check_stored(kind: Any, data: bytes) -> None:
    """Read *data* as something that `to_json` wrote: a value, or `ValueError`."""
    try:
        value = from_json(kind, data)
    except ValueError:
        return
    except AIChatError:
        return
    except Exception as wrong:
        raise Broken(f"from_json: {type(wrong).__name__}: {wrong}") from wrong
    _check_value(kind, value)
