"""The policy and the budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from aichat.errors import (
    AIChatError,
    AuthenticationError,
    ConfigError,
    RateLimitError,
    ServerError,
)
from aichat.transport import RetryBudget, RetryPolicy

POLICY = RetryPolicy(max_retries=4)


@pytest.mark.parametrize(
    ("attempt", "rand", "seconds"),
    [(1, 0.0, 0), (1, 0.5, 0.25), (1, 1.0, 0.5), (2, 1.0, 1), (3, 1.0, 2), (4, 1.0, 4)],
)
def test_waits_grow_and_are_jittered(attempt: int, rand: float, seconds: float) -> None:
    """Anything from nothing to the whole wait."""  # R3
    assert POLICY.delay(attempt, ServerError(), rand) == seconds


def test_waits_are_capped() -> None:
    """However often it failed."""  # R3
    policy = RetryPolicy(max_retries=10_000)
    assert policy.delay(9_999, ServerError(), 1.0) == 8


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [(0.0, 0.5), (3.0, 3.5), (60.0, 60.5), (60.1, None), (3600, None)],
)
def test_a_servers_hint_is_a_minimum_with_a_ceiling(
    hint: float, seconds: float | None
) -> None:
    """We come later than asked, never sooner; and not at all if it takes too long."""  # R3, R5
    assert POLICY.delay(1, RateLimitError(retry_after=hint), 1.0) == seconds


def test_the_reasons_for_giving_up() -> None:
    """In words, for the error."""  # R1, R2
    assert POLICY.refusal(4, ServerError()) is None
    assert POLICY.refusal(5, ServerError()) == "5 attempts made"
    assert RetryPolicy(max_retries=0).refusal(1, ServerError()) == "1 attempt made"
    assert "not help" in str(POLICY.refusal(1, AuthenticationError()))
    assert "3600 s" in str(POLICY.refusal(1, RateLimitError(retry_after=3600)))
    assert POLICY.delay(1, AuthenticationError(), 0.5) is None


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_every_wait_is_sane(attempt: int, rand: float) -> None:
    """No overflow, nothing below zero."""
    seconds = RetryPolicy(max_retries=10_000).delay(attempt, ServerError(), rand)
    assert seconds is not None
    assert 0 <= seconds <= 8


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "2", True, None])
@pytest.mark.parametrize("name", ["max_retries", "initial", "factor", "cap", "ceiling"])
def test_a_policy_is_checked_when_made(name: str, value: Any) -> None:
    """A typing error is found at the desk, not at three in the morning."""  # G1
    with pytest.raises(ConfigError, match=f"RetryPolicy.{name}"):
        RetryPolicy(**{name: value})


def test_a_budget_keeps_retries_to_a_fraction() -> None:
    """1,000 failing calls send 20 % more, and the reserve."""  # R4
    budget = RetryBudget(ratio=0.2, reserve=10)
    retries = 0
    for _ in range(1000):
        budget.earn()
        retries += budget.spend()
        retries += budget.spend()
    assert 200 <= retries <= 211


def test_good_times_do_not_pile_up_retries() -> None:
    """A day of good answers is no licence for a storm."""  # R4
    budget = RetryBudget(ratio=0.2, reserve=3)
    for _ in range(1000):
        budget.earn()
    assert budget.balance == 3
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]


def test_a_budget_without_a_reserve_earns_all_the_same() -> None:
    """The first retry needs five calls then."""
    budget = RetryBudget(ratio=0.2, reserve=0)
    assert not budget.spend()
    for _ in range(6):
        budget.earn()
    assert budget.spend()
    assert not budget.spend()


@pytest.mark.parametrize(
    ("attempt", "error", "said"),
    [
        (1, AuthenticationError("No."), None),
        (5, ServerError("No."), None),
        (1, ServerError("No.", retry_after=3600), "60 s is the most"),
    ],
)
def test_a_backoff_that_is_none_raises(
    attempt: int, error: AIChatError, said: str | None
) -> None:
    """The error itself, which says why only where that is not plain to see."""  # R2, R3
    with pytest.raises(type(error)) as caught:
        POLICY.backoff(attempt, error, rand=0.5)
    assert caught.value is error
    assert ("Not tried again" in str(error)) is (said is not None)
    assert said is None or said in error.context["gave_up"]


def test_a_backoff_that_would_pass_the_deadline_is_none() -> None:
    """0.25 s are too long when that is all there is."""  # D3
    assert POLICY.backoff(1, ServerError(), rand=0.5, left=0.26) == 0.25
    with pytest.raises(ServerError, match="total deadline would pass while waiting"):
        POLICY.backoff(1, ServerError(), rand=0.5, left=0.25)


def test_a_backoff_is_paid_for_last() -> None:
    """What fails for another reason costs no retry."""  # R4
    budget = RetryBudget(reserve=1)
    with pytest.raises(ServerError, match=r"Not tried again: because\."):
        POLICY.backoff(1, ServerError(), rand=0, objection="because", budget=budget)
    assert POLICY.backoff(1, ServerError(), rand=0, budget=budget) == 0
    with pytest.raises(ServerError, match="budget is used up"):
        POLICY.backoff(1, ServerError(), rand=0, budget=budget)
