"""
A provider's error, in whichever shape it comes, as one of our own.

What the provider says in a word decides: first the vendor's own table, then the words that
everybody has taken from OpenAI, Anthropic and Google. Then the wording, where wording is
all there is: context length, balance, key, model. Then the HTTP status. Inside a stream
there is no status; a numeric code counts as one, and what nobody knows is a `StreamError`.
"""

from __future__ import annotations

import html
import re
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any
from urllib.parse import quote

from attrs import define, field

from ..errors import (
    AIChatError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ContentFilteredError,
    ContextLengthError,
    DeadlineError,
    ModelNotFoundError,
    PermissionDeniedError,
    ProviderError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
    RedirectError,
    ServerError,
    StreamError,
)
from ..types import JSONError, dumps, loads
from ._hints import retry_after, should_retry, wording_hint

__all__ = ["page_text", "provider_error", "redact", "request_id", "scrub"]

#: This much of a body that nobody understands goes into the message.
_EXCERPT = 500
#: This much of a message is read and kept; an event may be as large as its ceiling.
_LONGEST = 2000
#: And this much of a code, an id or a name.
_LONGEST_WORD = 200
#: A message is not deeper in there, not even in what a gateway wraps around an error.
_DEEPEST = 10
#: So much of a key gives it away; many begin with a few letters that everybody knows.
_HEAD = 10
#: How many of the ``details`` of an error are looked at.
_MOST = 20

# Precise words: whoever uses one means it, whatever the status says.
_WORDS: Mapping[str, type[ProviderError]] = {
    "api_key_invalid": AuthenticationError,
    "invalid_api_key": AuthenticationError,
    "invalid_authentication": AuthenticationError,
    "authentication_error": AuthenticationError,
    "unauthenticated": AuthenticationError,
    "access_token_expired": AuthenticationError,
    "ip_not_authorized": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "permission_denied": PermissionDeniedError,
    "insufficient_permissions": PermissionDeniedError,
    "unsupported_country_region_territory": PermissionDeniedError,
    "organization_on_hold": PermissionDeniedError,
    "insufficient_quota": QuotaExceededError,
    "billing_error": QuotaExceededError,
    "billing_not_active": QuotaExceededError,
    "billing_hard_limit_reached": QuotaExceededError,
    "credit_balance_exhausted": QuotaExceededError,
    "organization_usage_limit_exceeded": QuotaExceededError,
    "context_length_exceeded": ContextLengthError,
    "exceed_context_size_error": ContextLengthError,
    "too_many_prompt_tokens": ContextLengthError,
    "content_filter": ContentFilteredError,
    "content_policy_violation": ContentFilteredError,
    "image_content_policy_violation": ContentFilteredError,
    "responsibleaipolicyviolation": ContentFilteredError,
    "invalid_prompt": ContentFilteredError,
    "bio_policy": ContentFilteredError,
    "cyber_policy_violation": ContentFilteredError,
    "misalignment_policy_violation": ContentFilteredError,
    "model_not_found": ModelNotFoundError,
    "invalid_model": ModelNotFoundError,
    "deploymentnotfound": ModelNotFoundError,
    "unsupported_parameter": ModelNotFoundError,
    "unsupported_value": ModelNotFoundError,
    "not_supported_error": ModelNotFoundError,
    "rate_limit_error": RateLimitError,
    "rate_limit_exceeded": RateLimitError,
    "ratelimitreached": RateLimitError,
    "ramp_limit_exceeded": RateLimitError,
    "slow_down": RateLimitError,
    "timeout_error": DeadlineError,
    "overloaded_error": ProviderUnavailableError,
    "server_is_overloaded": ProviderUnavailableError,
    "resource_unavailable": ProviderUnavailableError,
}
# Spend limits have many names: organization_, project_, enforced_, contract_ …
_SPEND_LIMIT = re.compile(r"\w*spend_limit_(?:exceeded|reached)")

# Vague words: they decide where there is no status, which is inside a stream.
_VAGUE: Mapping[str, type[ProviderError]] = {
    "invalid_request_error": BadRequestError,
    "invalid_argument": BadRequestError,
    "failed_precondition": BadRequestError,
    "request_too_large": BadRequestError,
    "not_found_error": ModelNotFoundError,
    "not_found": ModelNotFoundError,
    "resource_exhausted": RateLimitError,
    "rate_limit": RateLimitError,
    "conflict_error": ConflictError,
    "aborted": ConflictError,
    "deadline_exceeded": DeadlineError,
    "timeout": DeadlineError,
    "unavailable": ProviderUnavailableError,
    "service_unavailable": ProviderUnavailableError,
    "service_unavailable_error": ProviderUnavailableError,
    "overloaded": ProviderUnavailableError,
    "internal": ServerError,
    "internal_error": ServerError,
    "internal_server_error": ServerError,
    "server_error": ServerError,
    "api_error": ServerError,
}

_STATUS: Mapping[int, type[ProviderError]] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: DeadlineError,
    409: ConflictError,
    429: RateLimitError,
    499: StreamError,  # a proxy's word for: whoever was before me hung up
    502: ProviderUnavailableError,
    503: ProviderUnavailableError,
    504: DeadlineError,
    529: ProviderUnavailableError,
}

# A single request that is over the limit per minute never fits, however long we wait.
_TOO_LARGE = re.compile(r"request too large for")
_CONTEXT = re.compile(
    r"maximum context length|max(imum)? context l|context window|context_length_exceeded"
    r"|model's context length|prompt is too long|prompt too long|exceed context limit"
    r"|available context size|(longer than|exceeds) the context length"
    r"|maximum number of tokens allowed"
    r"|reduce the length of the messages|input tokens exceed the configured limit"
    r"|max_new_tokens` must be|current length is .* while limit is"
)
_NOT_CONTEXT = re.compile(r"string_above_max_length|invalid 'user'")
_BALANCE = re.compile(
    r"insufficient balance|insufficient credits|credit balance is too low"
    r"|specified (workspace )?api usage limits|insufficient_quota"
    r"|(hourly|session|weekly|monthly) usage limit"
)
_FILTER = re.compile(
    r"content management policy|blocked by content filtering policy"
    r"|responsibleaipolicyviolation|content_policy_violation|safety system"
)
_KEY = re.compile(
    r"(incorrect|invalid) (x-)?api[ -]key|api[ -]key (is )?(not valid|invalid|expired)"
)
_MEMBER = re.compile(r"must be a member of an organization")
_PLACE = re.compile(r"(user )?location is not supported")
_MODEL = re.compile(
    r"model not found|model \S+ (does not exist|not found)|not a valid model"
    r"|invalid model|unknown model"
)
_FEATURE = re.compile(
    r"not (supported|enabled) (with|for|on|by) this model|does not support"
    r"|is deprecated for this model"
)
# What a 500 says about the request, or about a machine that stays as small as it is.
_HOPELESS = re.compile(
    r"requires more system memory|failed to parse grammar|invalid format:"
    r"|option \S+ must be of type"
)

_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-ms-request-id",
    "mistral-correlation-id",
    "x-litellm-call-id",
    "cf-ray",
)


def provider_error(
    payload: Any,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    codes: Mapping[str, type[AIChatError]] | None = None,
) -> ProviderError:
    """
    Make the error that *payload* speaks of, without raising it.

    *payload* is the body as JSON, text or bytes, or an event inside a stream, and then
    there is no *status*. *codes* maps the vendor's own words, in lower case, to classes.
    """
    headers = headers or {}
    facts = _read(payload)
    number = status if status is not None and status >= 300 else facts.number
    cls = _classify(facts, number, codes or {})
    hint = retry_after(headers, status=number, body=facts.body, now=time.time())
    if hint is None and number == 429:
        hint = wording_hint(facts.message)
    retryable = should_retry(headers)
    if retryable is None and _HOPELESS.search(facts.message.lower()):
        retryable = False
    error = cls(
        facts.message or _without_words(number),
        status=number,
        provider_code=facts.provider_code,
        request_id=request_id(headers) or facts.request_id,
        retry_after=hint,
        retryable=retryable,
        context=facts.context,
    )
    # The table may hold any of our classes; all but a few are a `ProviderError`.
    return error if isinstance(error, ProviderError) else _wrapped(error)


def request_id(headers: Mapping[str, str]) -> str | None:
    """What to quote to the provider's support, from the *headers* of an answer."""
    found = (v for name in _REQUEST_IDS if (v := headers.get(name)))
    return next((value[:_LONGEST_WORD] for value in found), None)


def redact(text: str, secrets: Iterable[str]) -> str:
    """
    Cut *secrets* out of *text*, and whatever stands in a ``key=`` of a URL.

    Also as JSON, URLs and HTML write them, in base64, and where the text ends in the middle
    of one: it may have been shortened.
    """
    for secret in secrets:
        for form in _forms(secret):
            text = _without(text, form)
    return re.sub(r"(?i)([?&](?:api[_-]?)?key=)[^&\s\"']+", r"\1***", text)


def _forms(secret: str) -> Iterable[str]:
    """How *secret* may be written where a server or a proxy quotes it."""
    in_json = dumps(secret).decode()[1:-1]
    raw = secret.encode("utf-8", "replace")
    forms = [secret, in_json, in_json.replace("/", r"\/"), repr(secret)[1:-1]]
    forms.append(dumps(in_json).decode()[1:-1])  # gateways put JSON into JSON
    forms += (quote(secret, safe=""), quote(secret), html.escape(secret))
    forms += (b64encode(raw).decode(), urlsafe_b64encode(raw).decode().rstrip("="))
    return dict.fromkeys(forms)


def _without(text: str, secret: str) -> str:
    """*text* without *secret*, and without its beginning, as much as there is of it."""
    head = secret[:_HEAD]
    at = text.find(head)
    while at >= 0:
        same = takewhile(
            lambda pair: pair[0] == pair[1], zip(secret, text[at:], strict=False)
        )
        end = at + len(list(same))
        text = f"{text[:at]}***{text[end:]}"
        at = text.find(head, at + 3)
    return text


def scrub(error: AIChatError, secrets: tuple[str, ...]) -> AIChatError:
    """Cut *secrets* out of everything that *error* says."""
    error.message = redact(error.message, secrets)
    error.args = (error.message,)
    for name in ("provider_code", "request_id"):
        if value := getattr(error, name):
            setattr(error, name, redact(value, secrets))
    error.context = _redacted(error.context, secrets)
    return error


def _redacted(value: Any, secrets: tuple[str, ...]) -> Any:
    match value:
        case str():
            return redact(value, secrets)
        case dict():
            return {redact(k, secrets): _redacted(v, secrets) for k, v in value.items()}
        case list() | tuple():
            return [_redacted(v, secrets) for v in value]
        case _:
            return value


def page_text(page: bytes) -> str:
    """The title of a web page, or its first words, as a sentence."""
    text = page[:65536].decode("utf-8", "replace")
    title = re.search(r"<title[^<>]*>([^<]*)", text, re.I)
    if title is None:
        text = re.sub(r"<(script|style)\b[^<>]*>[^<]*", " ", text, flags=re.I)
    words = " ".join(
        html.unescape(title[1] if title else re.sub(r"<[^<>]*>", " ", text)).split()
    )
    return f"{words[:200].rstrip('.')}." if words else "(without words)."


# --- reading -------------------------------------------------------------------------


@define
class _Facts:
    """What a body says, whatever its shape."""

    message: str = ""
    #: code, type, status and reasons, most telling first.
    words: list[str] = field(factory=list)
    #: An HTTP status that the body names.
    number: int | None = None
    request_id: str | None = None
    #: The parsed body, for the hints.
    body: Any = None
    #: Quotas that were passed, by name.
    quotas: list[str] = field(factory=list)
    context: dict[str, Any] = field(factory=dict)

    @property
    def provider_code(self) -> str | None:
        return self.words[0] if self.words else None


def _read(payload: Any) -> _Facts:
    body = _parsed(payload)
    facts = _Facts(body=body)
    if isinstance(body, str):
        facts.message = _text(body, _EXCERPT)
        return facts
    if isinstance(body, list):
        body = next((item for item in body if isinstance(item, dict)), None)
    if not isinstance(body, dict):
        facts.message = "" if body is None else _excerpt(body)
        return facts
    inner = _inner(body)
    facts.message = _message(inner) or _message(body)
    for source in (inner, body) if inner is not body else (inner,):
        _words_of(source, facts)
    _google(inner, facts)
    _upstream(inner, facts)
    if isinstance(found := body.get("request_id"), str):
        facts.request_id = found[:_LONGEST_WORD]
    if not facts.message:
        facts.message = _excerpt(body)
    return facts


def _excerpt(body: Any) -> str:
    """The beginning of *body*, written down as it came."""
    try:
        return _text(dumps(body).decode(), _EXCERPT)
    except (TypeError, ValueError):
        return ""  # not from JSON


def _parsed(payload: Any) -> Any:
    """JSON as it is; text that holds JSON as that; other text as text."""
    if isinstance(payload, (bytes, bytearray)):
        payload = bytes(payload).decode("utf-8", "replace")
    if not isinstance(payload, str):
        return payload
    text = payload.strip()
    # An error status may still come as a stream of one event.
    for line in text.splitlines()[:8]:
        if line.startswith("data:"):
            text = line.removeprefix("data:").strip()
            break
    if text[:1] in ("{", "["):
        try:
            return loads(text)
        except JSONError:
            pass  # cut off, or not JSON after all
    return text


def _inner(body: dict[str, Any]) -> dict[str, Any]:
    """The object that describes the error, which may be *body* itself."""
    match body:
        case {"error": dict(error)}:
            return error
        case {"errors": [dict(error), *_]}:
            return error
        case {"type": "response.failed", "response": {"error": dict(error)}}:
            return error
        case _:
            return body


def _message(value: Any, depth: int = 0) -> str:
    """The sentence in *value*, wherever it stands."""
    if depth > _DEEPEST:
        return ""
    match value:
        case str():
            # Ollama hands the JSON of the server inside on as a string.
            if value.lstrip()[:1] == "{" and isinstance(nested := _parsed(value), dict):
                return _message(_inner(nested), depth + 1) or _text(value)
            return _text(value)
        case list():
            found = (_message(item, depth + 1) for item in value[:5])
            return _text("; ".join(filter(None, found)))
        case dict():
            for name in (
                "message",
                "detail",
                "error",
                "errors",
                "msg",
                "title",
                "reason",
            ):
                if text := _message(value.get(name), depth + 1):
                    where = value.get("loc")
                    if name == "msg" and isinstance(where, list):
                        steps = (
                            str(s) for s in where[:_MOST] if isinstance(s, (str, int))
                        )
                        return _text(f"{'.'.join(steps)}: {text}")
                    return text
        case _:
            pass
    return ""


def _text(value: str, longest: int = _LONGEST) -> str:
    """Text as it is; of a web page its title, or its words."""
    value = value.strip()
    if value[:1] != "<":
        return value if len(value) <= longest else f"{value[:longest]}…"
    return f"A web page: {page_text(value.encode())}"


def _words_of(source: dict[str, Any], facts: _Facts) -> None:
    # Anthropic's details are more telling than its type; Azure's inner error is less so.
    found = (source.get("details"), source, source.get("innererror"))
    holders = [holder for holder in found if isinstance(holder, dict)]
    for holder in holders:
        for name in ("error_code", "code", "type", "status", "raw_status_code"):
            word = holder.get(name)
            if isinstance(word, bool) or not isinstance(word, (str, int)) or word == "":
                continue
            text = str(word)[:_LONGEST_WORD]
            if word not in ("error", "response.failed") and text not in facts.words:
                facts.words.append(text)
    numbers = (source.get(n) for n in ("code", "status", "status_code", "statusCode"))
    for number in numbers:
        if facts.number is None and (status := _status(number)):
            facts.number = status


def _status(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[345]\d\d", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 300 <= value <= 599 else None


def _google(error: dict[str, Any], facts: _Facts) -> None:
    """Reasons and quotas in the ``details`` of a Google error."""
    details = error.get("details")
    for detail in details[:_MOST] if isinstance(details, list) else ():
        match detail:
            case {"reason": str(reason)}:
                facts.words.append(reason[:_LONGEST_WORD])
            case {"violations": list(violations)}:
                facts.quotas += [
                    quota[:_LONGEST_WORD]
                    for v in violations[:_MOST]
                    if isinstance(v, dict)
                    and isinstance(quota := v.get("quotaId"), str)
                ]
            case _:
                pass
    if facts.quotas:
        facts.context["quotas"] = facts.quotas[:10]


def _upstream(error: dict[str, Any], facts: _Facts) -> None:
    """What OpenRouter tells of the provider behind it."""
    match error.get("metadata"):
        case {"raw": str(raw) | dict(raw)} if text := _message(_parsed(raw)):
            if text not in facts.message:
                facts.message = _text(f"{facts.message}: {text}")
        case {"reasons": [*_]}:
            facts.words.append("content_filter")
        case _:
            pass


# --- deciding ------------------------------------------------------------------------


def _classify(
    facts: _Facts, status: int | None, codes: Mapping[str, type[AIChatError]]
) -> type[AIChatError]:
    words = [word.lower() for word in facts.words]
    if codes:
        table = {word.lower(): cls for word, cls in codes.items()}
        for word in words:
            if word in table:
                return table[word]
    message = facts.message.lower()
    if _TOO_LARGE.search(message):
        return BadRequestError
    for word in words:
        if word in _WORDS:
            return _WORDS[word]
        if _SPEND_LIMIT.fullmatch(word):
            return QuotaExceededError
    if status is not None and 300 <= status < 400:
        return RedirectError
    # A day's allowance is no matter of waiting; Gemini says so in the quota's name.
    if status == 429 and any("perday" in quota.lower() for quota in facts.quotas):
        return QuotaExceededError
    if cls := _by_wording(message, status):
        return cls
    if status is None:
        return next((_VAGUE[word] for word in words if word in _VAGUE), StreamError)
    if cls := _STATUS.get(status):
        return cls
    return ServerError if status >= 500 else BadRequestError


def _by_wording(message: str, status: int | None) -> type[ProviderError] | None:
    """The class that a *message* makes clear where nothing else does."""
    for pattern, cls in _wordings(status):
        if pattern.search(message):
            return None if _NOT_CONTEXT.search(message) else cls
    return None


def _wordings(
    status: int | None,
) -> Iterator[tuple[re.Pattern[str], type[ProviderError]]]:
    if status != 429:
        yield _CONTEXT, ContextLengthError
    yield _BALANCE, QuotaExceededError
    if status in (400, 403, None):
        yield _FILTER, ContentFilteredError
    if status in (400, 401, 403):
        yield _MEMBER, PermissionDeniedError
        yield _PLACE, PermissionDeniedError
    # A sentence is weaker than a status that says something by itself.
    if status in (400, 422, None):
        yield _KEY, AuthenticationError
        yield _MODEL, ModelNotFoundError
        yield _FEATURE, ModelNotFoundError
    if status == 500:
        yield _HOPELESS, ServerError


def _without_words(status: int | None) -> str:
    if status is None:
        return "The provider sent an error without saying which."
    if 300 <= status < 400:
        return f"The server answered HTTP {status} and points elsewhere."
    return f"The server answered HTTP {status} without saying why."


def _wrapped(error: AIChatError) -> ProviderError:
    """A vendor's table named a class that is no `ProviderError`: keep what it says."""
    kept = StreamError(error.message, context=error.context)
    return kept.note(status=error.status, provider_code=error.provider_code)
