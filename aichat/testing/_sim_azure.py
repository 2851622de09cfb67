"""
Azure OpenAI, from the server's side: OpenAI's dialects with what Azure adds to them.

See: https://learn.microsoft.com/azure/ai-foundry/openai/reference
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import evolve

from ..types import dumps, loads
from ._sim_dialect import (
    Endpoint,
    Event,
    Exchange,
    Manners,
    Refused,
    Reply,
    Speech,
    Visit,
    mount,
)
from ._sim_openai import OPENAI
from ._sim_openai_chat import OPENAI_CHAT

__all__ = ["ENDPOINTS", "MANNERS", "at_azure"]

_SAFE: Final[Mapping[str, Any]] = {
    name: {"filtered": False, "severity": "safe"}
    for name in ("hate", "self_harm", "sexual", "violence")
}
_PROMPT: Final = [
    {
        "prompt_index": 0,
        "content_filter_results": {
            **_SAFE,
            "jailbreak": {"filtered": False, "detected": False},
        },
    }
]
#: Comes before everything else, and says nothing about the answer.
_FIRST: Final[Mapping[str, Any]] = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": _PROMPT,
}


# -- what it adds to Chat Completions --------------------------------------------------


def _stream(exchange: Exchange) -> Iterator[Event]:
    yield Event(_event(_FIRST))
    for event in OPENAI_CHAT.stream(exchange):
        data = event.data.removeprefix(b"data: ")
        if data.startswith(b"[DONE]"):
            yield event
            continue
        chunk = loads(data)
        chunk.pop("obfuscation", None)
        for choice in chunk["choices"]:
            said = choice["delta"].get("content")
            choice["content_filter_results"] = _SAFE if said else {}
        yield Event(_event(chunk), word=event.word)


def _event(value: Any) -> bytes:
    return b"data: " + dumps(value) + b"\n\n"


def _document(exchange: Exchange) -> dict[str, Any]:
    document = OPENAI_CHAT.document(exchange)
    choices = [{**c, "content_filter_results": _SAFE} for c in document["choices"]]
    return {**document, "choices": choices, "prompt_filter_results": _PROMPT}


_CHAT: Final[Speech] = evolve(OPENAI_CHAT, stream=_stream, document=_document)
ENDPOINTS: Final = (Endpoint("POST", "/chat/completions", _CHAT.answer),)


# -- where it is -----------------------------------------------------------------------


def at_azure(
    endpoints: Iterable[Endpoint], *, of_deployments: bool = False
) -> tuple[Endpoint, ...]:
    """Put OpenAI's endpoints where Azure has them: the new places, and the old ones."""
    endpoints = tuple(endpoints)
    old = [evolve(each, answer=_dated(each.answer)) for each in endpoints]
    places = ["/openai/deployments/{model}"] if of_deployments else []
    return (*mount(endpoints, "/openai/v1"), *mount(old, *places, "/openai"))


def _dated(answer: Callable[[Visit], Reply]) -> Callable[[Visit], Reply]:
    """In the old places there is nothing without a version."""

    def dated(visit: Visit) -> Reply:
        if not visit.query.get("api-version"):
            raise Refused("Resource not found", status=404)
        if "model" in visit.params and isinstance(visit.body, dict):
            # The deployment is the model, whatever the body says.
            visit = evolve(visit, body={**visit.body, **visit.params})
        return answer(visit)

    return dated


# -- errors, headers, keys -------------------------------------------------------------


def _error(refused: Refused, request_id: str) -> dict[str, Any]:
    if refused.status in (401, 404, 429) and refused.code in (None, "unknown_url"):
        # Those come from the gateway, before OpenAI's code is asked.
        error = {"code": str(refused.status), "message": refused.message}
        return {"error": error}
    document = OPENAI.error(refused, request_id)
    if refused.code == "content_filter":
        inner = {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {
                **_SAFE,
                "hate": {"filtered": True, "severity": "high"},
            },
        }
        filtered = {"type": None, "param": "prompt", "status": refused.status}
        document["error"] |= {**filtered, "innererror": inner}
    return document


def _error_event(refused: Refused, request_id: str, said: int) -> bytes:
    return _event(_error(refused, request_id))


def _headers(number: int, request_id: str) -> dict[str, str]:
    return {
        "apim-request-id": request_id,
        "x-request-id": request_id,
        "x-ms-region": "Simulated",
        "x-ms-deployment-name": "simulator",
        "x-ratelimit-remaining-requests": str(999 - number % 100),
        "x-ratelimit-remaining-tokens": "99000",
    }


def _key(headers: Mapping[str, str]) -> str | None:
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("api-key") or bearer or None


def _unauthorized(key: str | None) -> Refused:
    return Refused(
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure "
        "to provide a valid key for an active subscription and use a correct regional "
        "API endpoint for your resource.",
        status=401,
    )


MANNERS: Final = Manners(
    error=_error,
    error_event=_error_event,
    headers=_headers,
    key=_key,
    unauthorized=_unauthorized,
)
