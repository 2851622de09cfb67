"""When to come back, by headers and bodies."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from aichat.transport._hints import (
    allowance_left,
    allowance_reset,
    reset_seconds,
    retry_after,
    should_retry,
    wording_hint,
)

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:10 GMT"}, 0),
        ({"retry-after-ms": "900"}, 0.9),
        ({"retry-after-ms": "900", "retry-after": "7"}, 0.9),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        # Nonsense is ignored.
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Tue, 99 Nov 99999 22:13:30 GMT"}, None),
    ],
)
def test_the_header_that_asks_to_wait(
    headers: dict[str, str], seconds: float | None
) -> None:
    """Seconds, milliseconds and HTTP dates; what is none of them says nothing."""  # R3
    assert retry_after(headers, status=503, now=NOW) == seconds


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("34.4s", 34.4), ("0s", 0), ("1m2s", 62), ("soon", None), ("", None), (5, None)],
)
def test_googles_retry_info(delay: Any, seconds: float | None) -> None:
    """The error's details say how long, as a protobuf duration."""  # R3
    error = {"code": 429, "details": ["?", {"retryDelay": delay}]}
    assert retry_after({}, status=429, body={"error": error}, now=NOW) == seconds
    assert retry_after({}, status=429, body=[{"error": error}], now=NOW) == seconds


@pytest.mark.parametrize("body", [None, [], {}, "?", {"error": "?"}, {"error": {}}])
def test_a_body_without_details_says_nothing(body: Any) -> None:
    """Bodies come in all shapes."""
    assert retry_after({}, status=429, body=body, now=NOW) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("1s", 1),
        ("12ms", 0.012),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("250us", 0.00025),
        ("\u00b5s", None),
        ("3\u00b5s", 3e-6),
        ("59.997s", 59.997),
        ("17", 17),
        ("1700000030", 30),
        ("1700000030000", 30),
        ("1699999000", 0),
        ("2023-11-14T22:13:50Z", 30),
        ("2023-11-14T22:13:50.5+00:00", 30.5),
        ("2023-11-14T22:13:50", 30),
        ("-1", None),
        ("1s?", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_a_reset_header(value: str | None, seconds: float | None) -> None:
    """Everybody writes it in another way."""  # R3
    found = reset_seconds(value, now=NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # Nothing is used up.
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "9s"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"}, 9),
        ({"X-RateLimit-Remaining": "0", "x-ratelimit-remaining": "0"}, None),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "9s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "11",
            },
            11,
        ),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:50Z",
                "anthropic-ratelimit-requests-limit": "50",
            },
            30,
        ),
    ],
)
def test_what_is_used_up_and_until_when(
    headers: dict[str, str], seconds: float | None
) -> None:
    """All that is used up has to be filled again."""  # L4
    assert allowance_reset(headers, now=NOW) == seconds
    # It is a reason to wait after a 429, and no other error.
    assert retry_after(headers, status=429, now=NOW) == seconds
    assert retry_after(headers, status=500, now=NOW) is None


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({}, {}),
        (
            {
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-limit-tokens": "150000",
            },
            {"requests": 59, "tokens": 149_984},
        ),
        (
            {
                "Anthropic-Ratelimit-Requests-Remaining": "49",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-tokens-remaining": "48000",
                "anthropic-ratelimit-input-tokens-remaining": "40000",
                "anthropic-ratelimit-output-tokens-remaining": "8000",
                "anthropic-ratelimit-output-tokens-reset": "2023-11-14T22:13:50Z",
            },
            {
                "requests": 49,
                "tokens": 48_000,
                "input_tokens": 40_000,
                "output_tokens": 8_000,
            },
        ),
        # OpenRouter's, and Mistral's; of two that mean the same the smaller one.
        ({"x-ratelimit-remaining": "7"}, {"requests": 7}),
        (
            {
                "x-ratelimit-remaining-req-minute": "9",
                "x-ratelimit-remaining": "5",
                "x-ratelimit-remaining-tokens-minute": "80",
            },
            {"requests": 5, "tokens": 80},
        ),
        # Limits of something else, and nonsense.
        ({"x-ratelimit-remaining-project-tokens": "5"}, {}),
        ({"anthropic-ratelimit-unified-5h-remaining": "0.5"}, {}),
        ({"x-ratelimit-remaining-tokens": "-1"}, {}),
        ({"x-ratelimit-remaining-tokens": "lots"}, {}),
        ({"x-ratelimit-remaining-tokens": "nan"}, {}),
        ({"x-ratelimit-remaining-tokens": ""}, {}),
    ],
)
def test_what_is_left(headers: dict[str, str], left: dict[str, float]) -> None:
    """As far as the server says it, of what can be counted."""  # L4
    # As aiohttp's headers, which are looked up without regard to case.
    found = allowance_left(CIMultiDict(headers))
    assert found == left


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Limit reached. Please try again in 6m0s.", 360),
        ("Please try again in 120ms. Visit …", 0.12),
        ("Please retry after 5s", 5),
        ("Please retry after 7 seconds.", 7),
        ("Please try again in a while.", None),
        ("Please try again later.", None),
    ],
)
def test_a_sentence_that_says_how_long(message: str, seconds: float | None) -> None:
    """OpenAI's wording, where no header came along."""
    assert wording_hint(message) == seconds


def test_should_retry_is_true_false_or_nothing() -> None:
    """Anything else is no answer."""  # R3
    assert should_retry({"x-should-retry": "true"}) is True
    assert should_retry({"x-should-retry": "False "}) is False
    assert should_retry({"x-should-retry": "maybe"}) is None
    assert should_retry({}) is None
