"""OpenAI's manners: its errors, headers and keys, and how its lists are paged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..types import dumps
from ._sim_dialect import Manners, Refused

__all__ = ["OPENAI"]

_TYPES: Final[Mapping[int, str]] = {
    429: "requests",
    500: "server_error",
    502: "server_error",
    503: "service_unavailable_error",
}
_CODES: Final[Mapping[int, str]] = {
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    503: "server_is_overloaded",
}


def _error(refused: Refused, _: str) -> dict[str, Any]:
    kind = _TYPES.get(
        refused.status,
        "server_error" if refused.status >= 500 else "invalid_request_error",
    )
    code = refused.code or _CODES.get(refused.status)
    if code == "insufficient_quota":
        kind = code
    return {
        "error": {
            "message": refused.message,
            "type": kind,
            "param": refused.param,
            "code": code,
        }
    }


def _error_event(refused: Refused, request_id: str, said: int) -> bytes:
    return b"data: " + dumps(_error(refused, request_id)) + b"\n\n"


def _headers(number: int, request_id: str) -> dict[str, str]:
    return {
        "x-request-id": request_id,
        "openai-organization": "aichat-simulator",
        "openai-processing-ms": "1",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": str(9999 - number % 100),
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-limit-tokens": "2000000",
        "x-ratelimit-remaining-tokens": "1999000",
        "x-ratelimit-reset-tokens": "30ms",
    }


def _key(headers: Mapping[str, str]) -> str | None:
    return headers.get("authorization", "").removeprefix("Bearer ") or None


def _unauthorized(key: str | None) -> Refused:
    if key is None:
        message = "You didn't provide an API key. Use 'Authorization: Bearer YOUR_KEY'."
        return Refused(message, status=401)
    return Refused("Incorrect API key provided.", status=401, code="invalid_api_key")


OPENAI: Final = Manners(
    error=_error,
    error_event=_error_event,
    headers=_headers,
    key=_key,
    unauthorized=_unauthorized,
)
