"""
What recorded answers of every provider cost, by us and by the price table's own package.

The package reads the provider's own numbers and multiplies; we read them in another place,
for another purpose, and multiply ourselves. Both come to the same cent.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import pytest_asyncio
from genai_prices import Usage as TheirUsage, calc_price, extract_usage
from genai_prices.types import PriceCalculation

from aichat.costs import PriceBook, cost_of
from aichat.costs._price_table import PROVIDERS
from aichat.middleware import CostTracker
from aichat.transport import Pool
from aichat.types import ChatResponse

from .corpus import MISSING, cases, kit
from .play import Player
from .test_corpus import APIS

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

#: What the package calls our dialects; where it has no such reading, it has one for all.
_FLAVORS: Final = {
    "openai-responses": "responses",
    "openai-chat": "chat",
} | dict.fromkeys(("azure-chat", "openai-compatible"), "chat")
#: Cached tokens that the package does not read: ``num_cached_tokens`` of Mistral and
#: ``cached_tokens`` of Moonshot. We charge them as what they are.
_UNREAD: Final = ("num_cached_tokens", "cached_tokens")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def answers() -> list[tuple[Any, str, ChatResponse]]:
    """All recorded answers that came to their end: case, provider, response."""
    found, pool, every = [], Pool(), cases(*APIS)
    async with kit().ReplayServer(every, seed=0) as server:
        for case in every:
            player = Player.of(case, server.base_url(case), pool)
            outcome = await player.complete()
            if outcome.error is None:
                found.append((case, player.spec.name, outcome.response))
    await pool.aclose()
    return found


def theirs(case: Any, vendor: str, response: ChatResponse) -> PriceCalculation | None:
    """What the package says; ``None`` if it does not know the model."""
    at = response.created_at
    when = None if at is None else datetime.fromtimestamp(at, UTC)
    gemini = case.api == "gemini-generate"
    data = {
        "modelVersion" if gemini else "model": response.model,
        "usageMetadata" if gemini else "usage": dict(response.usage.raw),
    }
    for flavor in (_FLAVORS.get(case.api, "default"), "default"):
        try:
            extracted = extract_usage(data, provider_id=vendor, api_flavor=flavor)
        except LookupError:
            return None
        except ValueError:
            continue  # not read so, or not at all
        return extracted.calc_price(genai_request_timestamp=when)
    usage = response.usage
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    try:
        return calc_price(
            TheirUsage(input_tokens=read, output_tokens=written),
            response.model or "",
            provider_id=vendor,
            genai_request_timestamp=when,
        )
    except LookupError:
        return None


async def test_they_agree(answers: list[tuple[Any, str, ChatResponse]]) -> None:
    """
    To the last digit: input, output and all of it, for every provider that the table knows.
    """
    # O6
    book = PriceBook()
    agreed: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    differences = []
    for case, provider, response in answers:
        vendor = PROVIDERS.get(provider)
        if vendor is None or "{" in vendor or response.usage.input_tokens is None:
            continue
        expected = theirs(case, vendor, response)
        ours = cost_of(response, prices=book)
        if expected is None or not expected.model_price._comparable_values():
            if ours is not None and expected is not None:
                differences.append(f"{case.id}: {ours} is made up")
            continue
        if any(response.usage.raw.get(name) for name in _UNREAD):
            continue
        assert ours is not None, case.id
        said = (ours.input, ours.output, ours.total)
        wanted = (expected.input_price, expected.output_price, expected.total_price)
        if said != wanted:
            differences.append(f"{case.id}: {said} instead of {wanted}")
        agreed[provider] += 1
        kinds.update(ours.by_kind)
    assert not differences, "\n  ".join(["", *differences])
    assert agreed.keys() >= {
        "anthropic", "azure", "cerebras", "deepseek", "google", "groq", "mistral",
        "moonshotai", "openai", "openai-chat", "openrouter", "perplexity", "together",
        "xai",
    }  # fmt: skip
    assert kinds.keys() >= {"input", "output", "cache_read", "cache_write", "reasoning"}
    assert agreed.total() > 500, agreed


async def test_cached_tokens_that_the_package_does_not_read(
    answers: list[tuple[Any, str, ChatResponse]],
) -> None:
    """
    They make it cheaper than the package says, and by no more than the whole input.
    """
    # O6
    book, cheaper = PriceBook(), 0
    for case, provider, response in answers:
        vendor, usage = PROVIDERS.get(provider), response.usage
        if vendor is None or "{" in vendor or not usage.cache_read_tokens:
            continue
        if not any(usage.raw.get(name) for name in _UNREAD):
            continue
        expected, ours = theirs(case, vendor, response), cost_of(response, prices=book)
        assert expected is not None
        assert ours is not None
        cheaper += (
            expected.total_price - expected.input_price
            < ours.total
            < (expected.total_price)
        )
    assert cheaper


async def test_nobody_is_charged_for_what_has_no_price(
    answers: list[tuple[Any, str, ChatResponse]],
) -> None:
    """
    No price is not a price of 0; and no cost is below 0, whatever the providers count.
    """
    # O6
    costs = CostTracker()
    for _, provider, response in answers:
        cost = costs.cost_of(response)
        if provider not in PROVIDERS:
            assert cost is None
        if cost is not None:
            assert min(cost.by_kind.values(), default=0) >= 0
            assert cost.total == sum(cost.by_kind.values())
