"""Usage and finish reasons: `aichat.providers._openai_chat_usage`."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.providers._openai_chat_usage import (
    merge_usage,
    normal_finish,
    normal_usage,
)
from aichat.types import FinishReason


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({}, (None, None, None, None, None), id="nothing"),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            (100, 50, 64, 8, 20),
            id="OpenAI",
        ),
        pytest.param(
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "prompt_tokens_details": None,
                "completion_tokens_details": None,
            },
            (5, 6, None, None, None),
            id="details null",
        ),
        pytest.param(
            {
                "prompt_tokens": 12,
                "completion_tokens": 1,
                "total_tokens": 303,
                "completion_tokens_details": {"reasoning_tokens": 290},
            },
            (12, 291, None, None, 290),
            id="xAI: reasoning apart",
        ),
        pytest.param(
            {
                "prompt_tokens": 12,
                "completion_tokens": 300,
                "total_tokens": 312,
                "completion_tokens_details": {"reasoning_tokens": 290},
            },
            (12, 300, None, None, 290),
            id="reasoning within",
        ),
        pytest.param(
            {
                "prompt_tokens": 61,
                "completion_tokens": 10,
                "total_tokens": 71,
                "completion_tokens_details": {"reasoning_tokens": 96},
            },
            (61, 106, None, None, 96),
            id="more reasoning than output",
        ),
        pytest.param(
            {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 20},
            (3, 4, None, None, None),
            id="a gap that nobody explains",
        ),
        pytest.param(
            {"total_tokens": 5, "reasoning_tokens": 5},
            (None, None, None, None, 5),
            id="only a total",
        ),
        pytest.param(
            {"prompt_tokens": 9, "prompt_cache_hit_tokens": 8},
            (9, None, 8, None, None),
            id="DeepSeek",
        ),
        pytest.param(
            {"num_cached_tokens": 3}, (None, None, 3, None, None), id="Mistral"
        ),
        pytest.param(
            {"prompt_token_details": {"cached_tokens": 2}},
            (None, None, 2, None, None),
            id="Mistral's misspelling",
        ),
        pytest.param({"cached_tokens": 4}, (None, None, 4, None, None), id="Moonshot"),
        pytest.param(
            {"completion_tokens": 9, "reasoning_tokens": 7},
            (None, 9, None, None, 7),
            id="Perplexity",
        ),
        pytest.param(
            {"prompt_tokens": 7.0, "completion_tokens": 1.5},
            (7, None, None, None, None),
            id="floats",
        ),
        pytest.param(
            {
                "prompt_tokens": -1,
                "completion_tokens": "3",
                "prompt_tokens_details": 7,
                "reasoning_tokens": True,
            },
            (None, None, None, None, None),
            id="nonsense",
        ),
    ],
)
def test_usage(raw: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    """
    Input has the cache in it and output the reasoning, wherever they are reported.
    """
    # S8
    usage = normal_usage(raw)
    assert expected == (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    assert usage.raw == raw


def test_the_last_snapshot_per_field() -> None:
    """
    Snapshots replace each other field by field, and are never added.
    """
    # S8
    first = {"prompt_tokens": 1, "completion_tokens": 2}
    last = {"prompt_tokens": None, "completion_tokens": 5}
    assert merge_usage(first, None, "?", last) == {
        "prompt_tokens": 1,
        "completion_tokens": 5,
    }


@pytest.mark.parametrize(
    ("raws", "reason"),
    [
        ("stop eos end_turn stop_sequence", FinishReason.STOP),
        (
            "length max_tokens model_length model_context_window_exceeded",
            FinishReason.LENGTH,
        ),
        ("tool_calls function_call tool_use", FinishReason.TOOL_CALLS),
        ("content_filter safety sensitive refusal", FinishReason.CONTENT_FILTER),
        (
            "error insufficient_system_resource network_error abort",
            FinishReason.ERROR,
        ),
        ("pondering STOP", FinishReason.OTHER),
    ],
)
def test_finish_reasons(raws: str, reason: FinishReason) -> None:
    """
    Everybody's words have one meaning each; unknown ones are other.
    """
    # S10
    for raw in raws.split():
        assert normal_finish(raw, calls=False, refused=False) is reason


@pytest.mark.parametrize(
    ("raw", "calls", "refused", "reason"),
    [
        ("stop", True, False, FinishReason.TOOL_CALLS),
        ("", True, False, FinishReason.TOOL_CALLS),
        (None, True, False, FinishReason.TOOL_CALLS),
        ("length", True, False, FinishReason.LENGTH),
        ("content_filter", True, False, FinishReason.CONTENT_FILTER),
        ("error", True, True, FinishReason.ERROR),
        ("pondering", True, False, FinishReason.OTHER),
        ("stop", False, True, FinishReason.CONTENT_FILTER),
        (None, False, True, FinishReason.CONTENT_FILTER),
        ("length", False, True, FinishReason.LENGTH),
        ("", False, False, FinishReason.STOP),
        (None, False, False, FinishReason.OTHER),
    ],
)
def test_which_reason_wins(
    raw: str | None, calls: bool, refused: bool, reason: FinishReason
) -> None:
    """
    Calls and refusals make a normal end what it is, and do not change any other.
    """
    assert normal_finish(raw, calls=calls, refused=refused) is reason
