"""What a client of ours is told about an error: what it can act on, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .. import errors
from ..errors import AIChatError, ErrorCode, ProviderError, StreamError

__all__ = ["error_body", "facts", "http_status", "rebuild"]

_UNKNOWN: Final = "Something went wrong on the server."

#: The words, and the status where there is still one to send. A key that is wrong is ours,
#: and not the client's: it gets no 401.
_SAID: Final[Mapping[ErrorCode, tuple[int, str]]] = {
    ErrorCode.CONFIG_INVALID: (500, "The server is not set up properly."),
    ErrorCode.INVALID_INPUT: (400, "The request cannot be answered as it is."),
    ErrorCode.CONTEXT_LENGTH_EXCEEDED: (400, "The conversation is too long."),
    ErrorCode.AUTHENTICATION_FAILED: (502, "The server has no access to the model."),
    ErrorCode.PERMISSION_DENIED: (502, "The server has no access to the model."),
    ErrorCode.MODEL_UNSUPPORTED: (404, "There is no such model, or it cannot do this."),
    ErrorCode.CONTENT_FILTERED: (400, "A content filter refused to answer this."),
    ErrorCode.RATE_LIMIT: (429, "There are too many requests. Try again later."),
    ErrorCode.QUOTA_EXCEEDED: (503, "The server has used up its allowance."),
    ErrorCode.REQUEST_TIMEOUT: (504, "The model took too long to answer."),
    ErrorCode.PROVIDER_UNAVAILABLE: (
        503,
        "The model is not available. Try again later.",
    ),
    ErrorCode.CIRCUIT_OPEN: (503, "The model is not available. Try again later."),
    ErrorCode.SPEND_LIMIT: (402, "This would cost more than is allowed."),
    ErrorCode.STREAM_CLOSED: (503, "The answer was stopped."),
    ErrorCode.CLIENT_CLOSED: (503, "The server is shutting down."),
    ErrorCode.TOOL_LOOP: (500, "The model called tools without coming to an answer."),
    ErrorCode.STREAM_INTERRUPTED: (502, "The answer broke off."),
    ErrorCode.STREAM_ERROR: (502, "The answer broke off."),
    ErrorCode.SERVER_ERROR: (502, "The model failed."),
    ErrorCode.TLS_FAILED: (502, "The model cannot be reached."),
    ErrorCode.REDIRECT_REFUSED: (502, "The model cannot be reached."),
    ErrorCode.PROTOCOL_ERROR: (502, "The model gave an answer that makes no sense."),
    ErrorCode.RESPONSE_TOO_LARGE: (502, "The answer is too large."),
}


def http_status(error: BaseException) -> int:
    """
    Return the status that tells *error* to a client of ours.

    >>> http_status(errors.RateLimitError("Slow down."))
    429
    """
    if not isinstance(error, AIChatError):
        return 500
    return _said(error)[0]


def _code(error: AIChatError) -> ErrorCode:
    # A limit or a queue of ours, and not the model: whoever comes later may be served.
    return ErrorCode.RATE_LIMIT if error.phase == "pool" else error.code


def _said(error: AIChatError) -> tuple[int, str]:
    return _SAID.get(_code(error), (500, _UNKNOWN))


def error_body(error: BaseException, *, details: bool = False) -> dict[str, Any]:
    """
    Return what a client is told, as JSON.

    The code, a sentence of ours about it, and how long to wait. With *details* also what the
    error says itself, who was asked and for what: for clients whom that concerns.
    """
    return {"error": facts(error, details)}


def facts(error: BaseException, details: bool) -> dict[str, Any]:
    if not isinstance(error, AIChatError):
        # Not ours: nobody knows what its text holds.
        return {"code": str(ErrorCode.SERVER_ERROR), "message": _UNKNOWN}
    told = {
        "code": str(_code(error)),
        "message": _said(error)[1],
        "retry_after": error.retry_after,
    }
    if details:
        told |= {
            "message": error.message,
            "provider": error.provider,
            "model": error.model,
            "status": error.status,
            "provider_code": error.provider_code,
            "request_id": error.request_id,
            "phase": error.phase,
        }
    return {name: fact for name, fact in told.items() if fact is not None}


def rebuild(told: Mapping[str, Any]) -> AIChatError:
    """Make the error that *told* is about; a code that we do not know is a `StreamError`."""
    cls = _CLASSES.get(told.get("code", ""), StreamError)
    error = cls(str(told.get("message") or _UNKNOWN))
    for name, kinds in _FACTS.items():
        if isinstance(fact := told.get(name), kinds):
            setattr(error, name, fact)
    return error


_FACTS: Final[Mapping[str, tuple[type, ...]]] = {
    "retry_after": (int, float),
    "provider": (str,),
    "model": (str,),
    "status": (int,),
    "provider_code": (str,),
    "request_id": (str,),
    "phase": (str,),
}


def _classes() -> dict[str, type[AIChatError]]:
    named = [getattr(errors, name) for name in errors.__all__]
    found: dict[str, type[AIChatError]] = {}
    for cls in named:
        if not (isinstance(cls, type) and issubclass(cls, AIChatError)):
            continue
        # Several have one code: the widest, and of those whoever was asked has raised it.
        known = found.get(cls.code)
        if (
            known is None
            or issubclass(known, cls)
            or (issubclass(cls, ProviderError) and not issubclass(known, ProviderError))
        ):
            found[cls.code] = cls
    return found


_CLASSES: Final = _classes()
