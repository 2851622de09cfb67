"""A provider's error, in whichever shape it comes."""

from __future__ import annotations

import base64
import html
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from aichat import errors as e
from aichat.errors import AIChatError, ClosedError, ErrorCode, ProviderError
from aichat.transport import provider_error, redact
from aichat.transport._errors import page_text, request_id, scrub

SHAPES: list[tuple[str, Any, str, str | None]] = [
    # what, body, the message that must come out, the provider's word
    ("openai", {"error": {"message": "No.", "type": "t", "code": None}}, "No.", "t"),
    (
        "openai-code",
        {"error": {"message": "No.", "type": "t", "code": "c"}},
        "No.",
        "c",
    ),
    (
        "anthropic",
        {"type": "error", "error": {"type": "t", "message": "No."}},
        "No.",
        "t",
    ),
    ("array", [{"error": {"message": "No.", "code": 400}}], "No.", "400"),
    ("text", {"error": "No."}, "No.", None),
    ("xai", {"code": "c", "error": "No."}, "No.", "c"),
    ("fastapi", {"detail": "No."}, "No.", None),
    ("list", {"detail": [{"loc": ["body", 0], "msg": "No."}]}, "body.0: No.", None),
    ("errors", {"errors": [{"message": "No."}]}, "No.", None),
    ("error-texts", {"errors": ["No.", "Never."]}, "No.; Never.", None),
    ("flat", {"object": "error", "message": "No.", "type": "t"}, "No.", "t"),
    (
        "mistral",
        {"object": "error", "message": {"detail": [{"msg": "No."}]}},
        "No.",
        None,
    ),
    ("nest", {"statusCode": 400, "message": "No."}, "No.", None),
    ("responses", {"type": "error", "code": "c", "message": "No."}, "No.", "c"),
    (
        "failed",
        {
            "type": "response.failed",
            "response": {"error": {"code": "c", "message": "No."}},
        },
        "No.",
        "c",
    ),
    ("ollama", {"error": '{"error":{"message":"No.","code":7}}'}, "No.", None),
    ("not-quite", {"error": "{No."}, "{No.", None),
    ("odd", {"what": "No."}, '{"what":"No."}', None),
    ("plain", "No.", "No.", None),
    ("bytes", b'{"error":"No."}', "No.", None),
    ("event", b'event: error\ndata: {"error":"No."}\n\n', "No.", None),
    ("cut", b'{"error": {"mess', '{"error": {"mess', None),
    (
        "page",
        "<html><title>502 Bad\n Gateway</title>…",
        "A web page: 502 Bad Gateway.",
        None,
    ),
    ("words", "<p>Not <b>here</b>", "A web page: Not here.", None),
    ("empty", b"", "The server answered HTTP 400 without saying why.", None),
    ("null", None, "The server answered HTTP 400 without saying why.", None),
    ("number", 5, "5", None),
    ("broken", b"\xff\xfe", "\ufffd\ufffd", None),
]


@pytest.mark.parametrize(
    ("body", "message", "word"), [s[1:] for s in SHAPES], ids=[s[0] for s in SHAPES]
)
def test_every_known_shape_is_read(body: Any, message: str, word: str | None) -> None:
    """The provider's sentence and its word come out, however they are wrapped."""
    error = provider_error(body, status=400)
    assert (error.message, error.provider_code) == (message, word)
    assert type(error) is e.BadRequestError
    assert error.status == 400


STATUSES: dict[int, type[ProviderError]] = {
    307: e.RedirectError,
    400: e.BadRequestError,
    401: e.AuthenticationError,
    402: e.QuotaExceededError,
    403: e.PermissionDeniedError,
    404: e.ModelNotFoundError,
    408: e.DeadlineError,
    409: e.ConflictError,
    413: e.BadRequestError,
    422: e.BadRequestError,
    429: e.RateLimitError,
    500: e.ServerError,
    502: e.ProviderUnavailableError,
    503: e.ProviderUnavailableError,
    504: e.DeadlineError,
    529: e.ProviderUnavailableError,
    599: e.ServerError,
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_alone(status: int) -> None:
    """Where there are no words, the status decides, and what may be retried with it."""  # E
    error = provider_error(b"", status=status)
    assert type(error) is STATUSES[status]
    assert error.retryable is (status in (408, 409, 429) or status >= 500)


WORDED: list[tuple[int | None, dict[str, Any], ErrorCode]] = [
    (400, {"code": "context_length_exceeded"}, ErrorCode.CONTEXT_LENGTH_EXCEEDED),
    (400, {"message": "prompt is too long: 9 > 8"}, ErrorCode.CONTEXT_LENGTH_EXCEEDED),
    (
        400,
        {"message": "maximum context length is 8"},
        ErrorCode.CONTEXT_LENGTH_EXCEEDED,
    ),
    (
        500,
        {"message": "exceeds the available context size"},
        ErrorCode.CONTEXT_LENGTH_EXCEEDED,
    ),
    (429, {"message": "reduce the length of the messages"}, ErrorCode.RATE_LIMIT),
    (
        400,
        {
            "message": "Invalid 'user': maximum context length",
            "code": "string_above_max_length",
        },
        ErrorCode.INVALID_INPUT,
    ),
    (
        429,
        {"message": "Request too large for gpt", "code": "rate_limit_exceeded"},
        ErrorCode.INVALID_INPUT,
    ),
    (429, {"code": "insufficient_quota"}, ErrorCode.QUOTA_EXCEEDED),
    (429, {"code": "project_spend_limit_exceeded"}, ErrorCode.QUOTA_EXCEEDED),
    (
        429,
        {
            "details": {"error_code": "enforced_spend_limit_reached"},
            "type": "rate_limit_error",
        },
        ErrorCode.QUOTA_EXCEEDED,
    ),
    (400, {"message": "Your credit balance is too low"}, ErrorCode.QUOTA_EXCEEDED),
    (
        400,
        {"message": "API key not valid. Please pass"},
        ErrorCode.AUTHENTICATION_FAILED,
    ),
    (
        400,
        {"details": [{"reason": "API_KEY_INVALID"}]},
        ErrorCode.AUTHENTICATION_FAILED,
    ),
    (
        401,
        {"message": "You must be a member of an organization"},
        ErrorCode.PERMISSION_DENIED,
    ),
    (400, {"message": "User location is not supported"}, ErrorCode.PERMISSION_DENIED),
    (400, {"code": "content_filter"}, ErrorCode.CONTENT_FILTERED),
    (
        400,
        {"innererror": {"code": "ResponsibleAIPolicyViolation"}},
        ErrorCode.CONTENT_FILTERED,
    ),
    (403, {"metadata": {"reasons": ["violence"]}}, ErrorCode.CONTENT_FILTERED),
    (
        400,
        {"message": "Output blocked by content filtering policy"},
        ErrorCode.CONTENT_FILTERED,
    ),
    (400, {"message": "Model not found: x"}, ErrorCode.MODEL_UNSUPPORTED),
    (400, {"code": "unsupported_parameter"}, ErrorCode.MODEL_UNSUPPORTED),
    (429, {"code": "resource_unavailable"}, ErrorCode.PROVIDER_UNAVAILABLE),
    (400, {"type": "overloaded_error"}, ErrorCode.PROVIDER_UNAVAILABLE),
    # In a stream: a number counts as a status, then the vaguer words do.
    (None, {"code": 429}, ErrorCode.RATE_LIMIT),
    (None, {"code": "503"}, ErrorCode.PROVIDER_UNAVAILABLE),
    (None, {"type": "server_error"}, ErrorCode.SERVER_ERROR),
    (None, {"type": "invalid_request_error"}, ErrorCode.INVALID_INPUT),
    (None, {"status": "UNAVAILABLE"}, ErrorCode.PROVIDER_UNAVAILABLE),
    (None, {"code": True, "type": "whatever"}, ErrorCode.STREAM_ERROR),
    (None, {}, ErrorCode.STREAM_ERROR),
]


@pytest.mark.parametrize(("status", "error", "code"), WORDED)
def test_words_say_more_than_a_status(
    status: int | None, error: dict[str, Any], code: ErrorCode
) -> None:
    """Codes first, wording next, the status last."""  # E, S5
    assert provider_error({"error": error}, status=status).code == code


def test_an_unknown_error_in_a_stream_is_not_retried() -> None:
    """Nobody knows what it is, so nobody knows that trying again would help."""  # S5
    error = provider_error({"error": {"type": "brand_new"}})
    assert type(error) is e.StreamError
    assert not error.retryable
    assert error.status is None
    assert provider_error(None).message.startswith("The provider sent an error")


def test_googles_daily_quota_is_no_matter_of_waiting() -> None:
    """A 429 is either, and the quota's name tells."""  # R1
    violations = {"violations": [{"quotaId": "RequestsPerDayPerModel"}, "?"]}
    day = {"error": {"code": 429, "details": ["?", violations]}}
    assert type(provider_error(day, status=429)) is e.QuotaExceededError
    minute = json.loads(json.dumps(day).replace("PerDay", "PerMinute"))
    assert type(provider_error(minute, status=429)) is e.RateLimitError


def test_the_vendors_table_comes_first() -> None:
    """A vendor knows its own words best, in any case of letters."""
    codes: dict[str, type[AIChatError]] = {"overloaded_error": e.QuotaExceededError}
    error = provider_error(
        {"error": {"type": "Overloaded_Error"}}, status=529, codes=codes
    )
    assert type(error) is e.QuotaExceededError
    other = provider_error({"error": {"type": "x"}}, status=529, codes=codes)
    assert type(other) is e.ProviderUnavailableError


def test_a_table_that_names_no_provider_error_is_survived() -> None:
    """Whatever a third party's table says, the caller gets a `ProviderError`."""
    codes: dict[str, type[AIChatError]] = {"c": ClosedError}
    error = provider_error(
        {"error": {"code": "c", "message": "No."}}, status=400, codes=codes
    )
    assert (type(error), error.message, error.status) == (e.StreamError, "No.", 400)


def test_headers_say_when_whether_and_which() -> None:
    """The wait, the override and the id are kept."""  # R3
    error = provider_error(
        {"error": {"message": "No."}, "request_id": "body"},
        status=500,
        headers={"retry-after": "3", "x-should-retry": "false", "request-id": "r"},
    )
    assert (error.retry_after, error.retryable, error.request_id) == (3, False, "r")
    error = provider_error({"error": "No.", "request_id": "body"}, status=400)
    assert error.request_id == "body"


def test_a_429_may_only_say_it_in_words() -> None:
    """OpenAI writes the wait into the sentence."""  # R3
    body = {"error": {"message": "Please try again in 1m3s."}}
    assert provider_error(body, status=429).retry_after == 63
    assert provider_error(body, status=400).retry_after is None


def test_a_machine_that_is_too_small_stays_too_small() -> None:
    """Ollama says 500; trying again would only load the model again."""
    error = provider_error({"error": "model requires more system memory"}, status=500)
    assert (type(error), error.retryable) == (e.ServerError, False)


def test_what_the_provider_behind_a_router_said() -> None:
    """OpenRouter's own sentence says nothing; the one inside does."""
    raw = '{"error":{"message":"Too hot."}}'
    body = {"error": {"message": "Provider returned error", "metadata": {"raw": raw}}}
    assert (
        provider_error(body, status=400).message == "Provider returned error: Too hot."
    )
    body["error"]["metadata"] = {"raw": "Provider returned error"}
    assert provider_error(body, status=400).message == "Provider returned error"


def test_cf_ray_is_the_last_resort() -> None:
    """It names a request at Cloudflare, not at the provider."""
    assert request_id({"cf-ray": "a", "x-request-id": "b"}) == "b"
    assert request_id({"cf-ray": "a"}) == "a"
    assert request_id({}) is None


def test_a_long_body_is_cut() -> None:
    """An error is read by people."""  # I1
    assert len(provider_error("x" * 10_000, status=500).message) == 501
    long = {"error": {"message": "x" * 10_000}}
    assert len(provider_error(long, status=500).message) < 2100


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"<title>Sign in</title>", "Sign in."),
        (b"<HTML><Title x=1>A &amp; B.</title>", "A & B."),
        (b"<script>var x = 1;</script><p>Hello</p>", "Hello."),
        (b"<p></p>", "(without words)."),
    ],
)
def test_a_page_in_a_sentence(page: bytes, words: str) -> None:
    """Of a web page the title is what helps."""
    assert page_text(page) == words


def test_a_page_made_of_brackets_takes_no_time() -> None:
    """A hostile page must not make a regular expression walk for ever."""  # I1
    assert page_text(b"<" * 1_000_000)
    assert page_text(b"<title" * 200_000)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([
                    "error",
                    "errors",
                    "message",
                    "detail",
                    "details",
                    "code",
                    "type",
                    "status",
                    "metadata",
                    "raw",
                    "innererror",
                    "violations",
                    "loc",
                    "msg",
                    "request_id",
                    "reason",
                    "reasons",
                ]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from([None, 400, 429, 500]),
)
def test_no_body_breaks_it(body: Any, status: int | None) -> None:
    """Whatever an error looks like, it becomes one of ours."""  # I2
    error = provider_error(body, status=status)
    assert isinstance(error, ProviderError)
    assert len(error.message) < 2500
    assert error.provider_code is None or isinstance(error.provider_code, str)


def test_secrets_are_cut_out() -> None:
    """A server that echoes the key does not get it into a log."""  # X1
    assert redact("key sk-1234 is bad", ["sk-1234"]) == "key *** is bad"
    assert redact("GET /v1?key=abc&x=1", ()) == "GET /v1?key=***&x=1"
    assert redact("?api_key=abc", ()) == "?api_key=***"


def test_an_error_is_scrubbed_everywhere() -> None:
    """Message, repr, codes and context."""  # X1
    error = provider_error(
        {"error": {"message": "sk-1234!", "code": "sk-1234"}}, status=401
    )
    error.context = {"a": ["sk-1234", {"b": ("sk-1234",)}, 5]}
    scrub(error, ("sk-1234",))
    told = f"{error!r} {error} {error.provider_code} {error.context}"
    assert "1234" not in told
    assert error.message == "***!"
    assert error.context["a"][2] == 5


_HARD = "sk-'x'\\\"<a>&/%2F+=="


@pytest.mark.parametrize(
    "text",
    [
        _HARD,
        repr(_HARD),
        json.dumps(_HARD),
        json.dumps(json.dumps({"a/b": _HARD}))[:-4],
        quote(_HARD),
        quote(_HARD, safe=""),
        html.escape(_HARD),
        base64.b64encode(_HARD.encode()).decode(),
        base64.urlsafe_b64encode(_HARD.encode()).decode(),
        f"it ends with {_HARD[:12]}",
        f"{_HARD}{_HARD} {_HARD[:14]}…",
    ],
)
def test_a_key_is_found_however_it_is_written(text: str) -> None:
    """Also where a shortened message ends in the middle of it."""  # X1
    shown = redact(text, (_HARD,))
    assert "***" in shown
    assert "'x'" not in shown
    assert _HARD[:10] not in shown


def test_what_is_no_key_stays() -> None:
    """The few letters that all keys begin with give nothing away."""  # X1
    text = "Keys begin with sk-ant-."
    assert redact(text, ("sk-ant-api03-0123456789",)) == text


def test_a_key_in_the_name_of_a_fact() -> None:
    """Facts are looked through with their names."""  # X1
    error = provider_error({"error": "no"}, status=400)
    error.context["k sk-0123456789"] = {"sk-0123456789": ["sk-0123456789"]}
    scrub(error, ("sk-0123456789",))
    assert error.context == {"k ***": {"***": ["***"]}}
