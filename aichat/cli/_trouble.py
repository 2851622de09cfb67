"""An error as one line that says what to do, and as an exit status."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from .._registry import Registry
from ..errors import (
    AIChatError,
    AuthenticationError,
    CircuitOpenError,
    ConfigError,
    ContentFilteredError,
    ContextLengthError,
    DeadlineError,
    InvalidRequestError,
    ModelNotFoundError,
    PermissionDeniedError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    StreamInterruptedError,
)
from ._console import one_line

__all__ = ["explain", "status_of"]

_FAILED, _USAGE = 1, 2
#: A list of mistakes comes whole; a provider's web page need not.
_LONGEST = 1000


def status_of(error: AIChatError) -> int:
    """2 for what was wrong before anything was sent, else 1."""
    return _USAGE if isinstance(error, (ConfigError, InvalidRequestError)) else _FAILED


def explain(error: AIChatError, environ: Mapping[str, str]) -> str:
    """Tell what happened and, if we know, what to do about it."""
    what = one_line(str(error)) or type(error).__name__
    if len(what) > _LONGEST:
        what = f"{what[:_LONGEST]}…"
    if not what.endswith((".", "!", "?", "…")):
        what += "."
    advice = _advice(error, environ)
    request = f"(request {error.request_id})" if error.request_id else ""
    return one_line(f"Error: {what} {advice} {request}")


def _advice(error: AIChatError, environ: Mapping[str, str]) -> str:
    match error:
        case AuthenticationError():
            return f"Check the key in {_where_the_key_is(error.provider, environ)}."
        case PermissionDeniedError():
            return (
                "The key is good but may not do this: ask for access, or use another."
            )
        case ModelNotFoundError() if not _speaks_of_a_model(error):
            # A server that knows no such path says 404, too.
            return "Is the address right (--base-url)? If so, name another --model."
        case ModelNotFoundError():
            return f"Name another --model; `aichat providers {error.provider or ''}` shows some."
        case RateLimitError() | CircuitOpenError() if error.retry_after:
            return f"Try again in {error.retry_after:.0f} s."
        case RateLimitError() | CircuitOpenError():
            return "Try again later."
        case QuotaExceededError():
            return "Waiting does not help: look at the account's plan and balance."
        case ContextLengthError():
            return "Shorten the prompt, or use a model with a larger context."
        case ContentFilteredError():
            return "Word it differently."
        case DeadlineError():
            return "Try again, or give it more time with --timeout."
        case ProviderUnavailableError():
            return "Try again later; is the address right, and the server running?"
        case StreamInterruptedError():
            return "The answer is incomplete: ask again."
        case _:
            return ""


def _speaks_of_a_model(error: AIChatError) -> bool:
    said = error.message.casefold()
    return "model" in said or bool(error.model and error.model.casefold() in said)


def _where_the_key_is(provider: str | None, environ: Mapping[str, str]) -> str:
    names = ["AI_API_KEY"]
    if provider:
        with suppress(ConfigError):  # A provider that is in no registry.
            (info,) = Registry().describe(provider)
            names.extend(info.api_key_env)
    found = [name for name in names if environ.get(name)]
    return " or ".join(found or names)
