"""
Gemini's generateContent, from the server's side.

See: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..types import dumps, loads
from ._sim_brain import Answer, count_tokens, pieces
from ._sim_dialect import (
    Endpoint,
    Event,
    Exchange,
    Manners,
    Refused,
    Reply,
    Speech,
    Streamed,
    Visit,
)
from ._sim_google_input import camel, read
from ._sim_google_signature import sign, signed_by_default

__all__ = ["ENDPOINTS", "GOOGLE", "MANNERS"]

_FINISH: Final[Mapping[str, str]] = {"length": "MAX_TOKENS"}

Part = dict[str, Any]


# -- writing an answer -----------------------------------------------------------------


def _document(exchange: Exchange) -> dict[str, Any]:
    answer = exchange.answer
    parts: list[Part] = []
    if answer.reasoning and _shows_thoughts(exchange):
        parts.append({"text": answer.reasoning, "thought": True})
    calls = _calls(exchange)
    if answer.text:
        part: Part = {"text": answer.text}
        if answer.reasoning and not calls:
            part["thoughtSignature"] = sign(part)
        parts.append(part)
    parts += calls
    usage = _usage(answer, answer.output_tokens - answer.reasoning_tokens)
    return _chunk(exchange, parts, usage, _finish(answer))


def _chunks(exchange: Exchange) -> Iterator[tuple[dict[str, Any], bool]]:
    """The pieces of the answer, and whether something is said with each."""
    answer = exchange.answer
    early = {"promptTokenCount": answer.input_tokens}
    early["totalTokenCount"] = answer.input_tokens
    if _shows_thoughts(exchange):
        for piece in pieces(answer.reasoning):
            part: Part = {"text": piece, "thought": True}
            yield _chunk(exchange, [part], early), True
    visible = answer.output_tokens - answer.reasoning_tokens
    spoken, length = count_tokens(answer.text), 0
    for piece in pieces(answer.text):
        length += len(piece)
        usage = _usage(answer, spoken * length // len(answer.text))
        yield _chunk(exchange, [{"text": piece}], usage), True
    calls = _calls(exchange)
    usage = _usage(answer, visible)
    for call in calls[:-1]:
        yield _chunk(exchange, [call], usage), True
    last: list[Part] = calls[-1:]
    if not last and answer.reasoning and answer.text:
        # The signature of a text comes after it.
        last = [{"text": "", "thoughtSignature": sign({"text": ""})}]
    yield _chunk(exchange, last, usage, _finish(answer)), bool(calls)


def _chunk(
    exchange: Exchange,
    parts: list[Part],
    usage: Mapping[str, Any],
    finish: str | None = None,
) -> dict[str, Any]:
    content: dict[str, Any] = {"role": "model"}
    if parts:
        content["parts"] = parts
    candidate: dict[str, Any] = {"content": content, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": exchange.model.removeprefix("models/"),
        "responseId": f"sim{exchange.number:08d}",
    }


def _shows_thoughts(exchange: Exchange) -> bool:
    config = camel(exchange.body).get("generationConfig") or {}
    return bool((config.get("thinkingConfig") or {}).get("includeThoughts"))


def _calls(exchange: Exchange) -> list[Part]:
    """The calls, whole; one that was cut is none. The first one is signed."""
    parts: list[Part] = []
    for index, call in enumerate(exchange.answer.calls):
        try:
            args = loads(call.arguments)
        except ValueError:
            continue
        function: dict[str, Any] = {"name": call.name}
        if signed_by_default(exchange.model):
            # The older ones have no ids.
            function["id"] = f"sim{exchange.number:08d}x{index}"
        # What is empty is left out.
        part: Part = {"functionCall": function | ({"args": args} if args else {})}
        if exchange.answer.reasoning and not parts:
            part["thoughtSignature"] = sign(part)
        parts.append(part)
    return parts


def _finish(answer: Answer) -> str:
    # It does not say whether it is for a call, or for a stop sequence.
    return _FINISH.get(answer.finish, "STOP")


def _usage(answer: Answer, said: int) -> dict[str, Any]:
    usage = {
        "promptTokenCount": answer.input_tokens,
        "cachedContentTokenCount": answer.cache_read_tokens,
        "candidatesTokenCount": said,
        "thoughtsTokenCount": answer.reasoning_tokens,
        "totalTokenCount": answer.input_tokens + said + answer.reasoning_tokens,
    }
    # What is 0 is left out.
    counts: dict[str, Any] = {name: count for name, count in usage.items() if count}
    details = [{"modality": "TEXT", "tokenCount": answer.input_tokens}]
    return counts | {"promptTokensDetails": details}


def _stream(exchange: Exchange) -> Iterator[Event]:
    for chunk, word in _chunks(exchange):
        yield Event(_event(chunk), word=word)


def _event(value: Any) -> bytes:
    return b"data: " + dumps(value) + b"\r\n\r\n"


def _array(exchange: Exchange) -> Iterator[Event]:
    """One JSON array, that takes its time."""
    before = b"["
    for chunk, word in _chunks(exchange):
        yield Event(before + dumps(chunk), word=word)
        before = b",\r\n"
    yield Event(b"]")


# -- what can be asked -----------------------------------------------------------------


def _generate(visit: Visit) -> Reply:
    return _document(GOOGLE.hear(visit))


def _generate_stream(visit: Visit) -> Reply:
    exchange = GOOGLE.hear(visit)
    if visit.query.get("alt") == "sse":
        return Streamed(events=_stream(exchange))
    return Streamed(
        events=_array(exchange),
        content_type="application/json",
        error_event=_error_item,
    )


def _count(visit: Visit) -> Reply:
    body = visit.object()
    whole = body.get("generateContentRequest")
    for name in ("systemInstruction", "tools", "generationConfig"):
        if name in body:
            raise Refused(
                f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
            )
    if whole is not None and not whole.get("model"):
        raise Refused("* CountTokensRequest.model: unexpected model name format")
    asked = {**(whole or body), "model": visit.params["model"]}
    tokens = read(asked, visit.headers).tokens
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    return {"totalTokens": tokens, "promptTokensDetails": details}


# -- errors, headers, keys -------------------------------------------------------------

_STATUSES: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE: Final = "type.googleapis.com/google.rpc."


def _error(refused: Refused, request_id: str) -> dict[str, Any]:
    usual = "INTERNAL" if refused.status >= 500 else "INVALID_ARGUMENT"
    error: dict[str, Any] = {
        "code": refused.status,
        "message": refused.message,
        "status": _STATUSES.get(refused.status, usual),
    }
    if refused.code in (*_STATUSES.values(), "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        error["status"] = refused.code
    elif details := list(_details(refused)):
        error["details"] = details
    return {"error": error}


def _details(refused: Refused) -> Iterator[dict[str, Any]]:
    code = refused.code
    if code and "Per" in code:
        yield {"@type": f"{_TYPE}QuotaFailure", "violations": [{"quotaId": code}]}
    elif code:
        info = {"reason": code, "domain": "googleapis.com"}
        yield {"@type": f"{_TYPE}ErrorInfo", **info}
    wait = refused.headers.get("retry-after", "")
    if wait.isdecimal():
        yield {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wait}s"}


def _error_event(refused: Refused, request_id: str, said: int) -> bytes:
    return _event(_error(refused, request_id))


def _error_item(refused: Refused, request_id: str, said: int) -> bytes:
    """An error within an array, which ends there."""
    return (b"," if said else b"[") + dumps(_error(refused, request_id)) + b"]"


def _headers(number: int, request_id: str) -> dict[str, str]:
    # No id, and nothing about limits.
    return {
        "server-timing": "gfet4t7; dur=1",
        "x-gemini-service-tier": "standard",
    }


def _key(headers: Mapping[str, str]) -> str | None:
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("x-goog-api-key") or bearer or None


def _unauthorized(key: str | None) -> Refused:
    if key is None:
        return Refused(
            "Method doesn't allow unregistered callers (callers without established "
            "identity). Please use API Key or other form of API consumer identity to "
            "call this API.",
            status=403,
        )
    message = "API key not valid. Please pass a valid API key."
    return Refused(message, status=400, code="API_KEY_INVALID")


MANNERS: Final = Manners(
    error=_error,
    error_event=_error_event,
    headers=_headers,
    key=_key,
    unauthorized=_unauthorized,
)
GOOGLE: Final = Speech(read=read, stream=_stream, document=_document)
ENDPOINTS: Final = (
    Endpoint("POST", "/models/{model}:generateContent", _generate),
    Endpoint("POST", "/models/{model}:streamGenerateContent", _generate_stream),
    Endpoint("POST", "/models/{model}:countTokens", _count),
)
