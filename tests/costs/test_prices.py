"""Prices: your own, the table's, and whether they are multiplied as the table's package does."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from genai_prices import Usage as TheirUsage, calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings, strategies as st

from aichat.costs import (
    FREE,
    INPUT_KINDS,
    OUTPUT_KINDS,
    Found,
    Price,
    PriceBook,
    charge,
    count_kinds,
    to_money,
)
from aichat.costs._price_table import PROVIDERS, installed_table
from aichat.errors import ConfigError
from aichat.types import Usage

#: A moment at which all of it was known.
AT: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
_VENDORS: Final = sorted(set(PROVIDERS.values()) - {"huggingface_{route}"})
_NAMES: Final = {vendor: name for name, vendor in PROVIDERS.items()}
_MODELS: Final = [
    (_NAMES[provider.id], provider.id, model.id)
    for provider in get_snapshot().providers
    if provider.id in _VENDORS
    for model in provider.models
]


def small(value: int) -> st.SearchStrategy[int]:
    return st.integers(0, value)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage as it should be: parts within their wholes."""
    read, plain, audio = draw(small(300_000)), draw(small(100_000)), draw(small(1000))
    short, long = draw(small(5_000)), draw(small(5_000))
    thought, said, spoken = draw(small(5_000)), draw(small(5_000)), draw(small(1000))
    return Usage(
        input_tokens=read + plain + audio + short + long,
        cache_read_tokens=read,
        cache_write_tokens=short + long,
        output_tokens=thought + said + spoken,
        reasoning_tokens=thought,
        raw={
            "cache_creation": {"ephemeral_1h_input_tokens": long},
            "prompt_tokens_details": {"audio_tokens": audio},
            "completion_tokens_details": {"audio_tokens": spoken},
            "server_tool_use": {"web_search_requests": draw(small(3))},
        },
    )


#: Whatever a provider may say.
anything = st.one_of(st.none(), st.integers(-10, 100_000))


@st.composite
def nonsense(draw: st.DrawFn) -> Usage:
    counts: dict[str, Any] = {
        name: draw(anything)
        for name in (
            "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
            "reasoning_tokens",
        )
    }  # fmt: skip
    odd: st.SearchStrategy[Any] = st.one_of(
        anything, st.just("7"), st.booleans(), st.just([])
    )
    modality = st.sampled_from(["TEXT", "AUDIO", "IMAGE", "DOCUMENT", "VIDEO", 3])
    entries: st.SearchStrategy[Any] = st.one_of(
        odd,
        st.lists(
            st.one_of(st.fixed_dictionaries({"modality": modality, "tokenCount": odd})),
            max_size=3,
        ),
    )
    raw = {
        "cache_creation": draw(
            st.one_of(odd, st.fixed_dictionaries({"ephemeral_1h_input_tokens": odd}))
        ),
        "prompt_tokens_details": {"audio_tokens": draw(odd)},
        "completion_tokens_details": draw(odd),
        "citation_tokens": draw(odd),
        "promptTokensDetails": draw(entries),
        "cacheTokensDetails": draw(entries),
        "candidatesTokensDetails": draw(entries),
    }
    return Usage(**counts, raw=raw)


prices = st.builds(
    Price,
    *[st.integers(0, 100)] * 2,
    cache_read=st.one_of(st.none(), st.integers(0, 10)),
    cache_write=st.one_of(st.none(), st.integers(0, 10)),
    input_audio=st.one_of(st.none(), st.integers(0, 10)),
    reasoning=st.one_of(st.none(), st.integers(0, 10)),
)


@settings(deadline=None)
@given(usages(), st.sampled_from(_MODELS))
def test_every_model_of_the_table(usage: Usage, model: tuple[str, str, str]) -> None:
    """
    We multiply ourselves, and come to what the package comes to: for every model.
    """
    # O6
    name, vendor, called = model
    found = installed_table()(name, called, at=AT.timestamp(), context={})
    raw = usage.raw
    try:
        expected = calc_price(
            TheirUsage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                cache_write_1h_tokens=raw["cache_creation"][
                    "ephemeral_1h_input_tokens"
                ],
                cache_audio_read_tokens=0,
                input_audio_tokens=raw["prompt_tokens_details"]["audio_tokens"],
                output_audio_tokens=raw["completion_tokens_details"]["audio_tokens"],
                output_reasoning_tokens=usage.reasoning_tokens,
                web_searches=raw["server_tool_use"]["web_search_requests"],
            ),
            called,
            provider_id=vendor,
            genai_request_timestamp=AT,
        )
    except LookupError:
        # Some are not found under the name that stands in the table.
        assert found is None
        return
    if found is None:
        listed = vars(expected.model_price)
        assert not {k for k, v in listed.items() if v is not None} & {
            "input_mtok",
            "output_mtok",
        }
        return
    cost = charge(found, usage, guessed=False)
    assert cost.input == expected.input_price
    assert cost.output == expected.output_price
    assert cost.total == expected.total_price


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_table_knows_our_providers(name: str) -> None:
    """
    Whom we look up under a name there, is there.
    """
    known = {provider.id for provider in get_snapshot().providers}
    assert PROVIDERS[name].format(route="groq") in known


def test_a_tier_that_the_table_knows() -> None:
    """
    Flex and batch cost less, priority more; what there is no price for is marked.
    """
    # O6
    table, at = installed_table(), AT.timestamp()
    usual = table("openai", "gpt-5", at=at, context={"service_tier": "default"})
    flex = table("openai", "gpt-5", at=at, context={"service_tier": "flex"})
    fast = table("openai-chat", "gpt-5", at=at, context={"service_tier": "priority"})
    batch = table("openai", "gpt-5", at=at, context={"processing": "batch"})
    odd = table("openai", "gpt-5", at=at, context={"service_tier": "provisioned"})
    assert usual is not None
    assert flex is not None
    assert fast is not None
    assert batch is not None
    assert odd is not None
    assert flex.price.input < usual.price.input < fast.price.input
    assert batch.price.input * 2 == usual.price.input
    assert usual.exact
    assert flex.exact
    assert odd == Found(usual.price, "openai:gpt-5", exact=False)


def test_long_prompts_cost_more() -> None:
    """
    Above a threshold all tokens cost more, not only those beyond it.
    """
    found = installed_table()("google", "gemini-2.5-pro", at=AT.timestamp(), context={})
    assert found is not None
    short, long = found.price.for_prompt(200_000), found.price.for_prompt(200_001)
    assert short == found.price
    assert long.input > short.input
    usage = Usage(input_tokens=200_001, output_tokens=0)
    cost = charge(found, usage, guessed=False)
    assert cost.total == long.input * 200_001 / 1_000_000


def test_a_route_of_hugging_face() -> None:
    """
    Who answers there stands behind the last colon; without it nobody knows the price.
    """
    table, at = installed_table(), AT.timestamp()
    provider = next(p for p in get_snapshot().providers if p.id == "huggingface_groq")
    model = provider.models[0].id
    found = table("huggingface", f"{model}:groq", at=at, context={})
    assert found is not None
    assert found.name == f"huggingface_groq:{model}"
    assert table("huggingface", model, at=at, context={}) is None


@pytest.mark.parametrize(
    "address", ["ollama:llama3", "openai:no-such-model", "openai:", "nobody:gpt-5"]
)
def test_unknown_models_have_no_price(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Not known is not free; and it is said once.
    """
    # O6
    book = PriceBook()
    with caplog.at_level(logging.WARNING, "aichat"):
        assert book.find([address]) is None
        assert book.find([address]) is None
    [record] = caplog.records
    assert address in record.getMessage()


def test_those_who_make_up_models_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    After a thousand models without a price it is silent.
    """
    book = PriceBook(table=None)
    for number in range(1100):
        book.find([f"a:{number}"])
    book.find([])
    assert len(caplog.records) == 1000


def test_your_own_price_wins() -> None:
    """
    What you name costs what you say: by the name you asked for, then by who answered.
    """
    dear, cheap = Price(10, 10), Price(1, 1)
    book = PriceBook({"azure:ours": dear, "openai:gpt-5": cheap, "ollama:*": FREE})
    assert book.find(["azure:ours", "azure:gpt-5"]) == Found(dear, "azure:ours")
    assert book.find(["openai:gpt-5"]) == Found(cheap, "openai:gpt-5")
    assert book.find(["ollama:llama3:8b"]) == Found(FREE, "ollama:*")
    listed = book.find(["azure:gpt-4o", "azure:gpt-5"])
    assert listed is not None
    assert listed.name == "azure:gpt-5"


def test_a_batch_at_your_own_price() -> None:
    """
    A price says what a batch pays of it; if it does not, what a batch cost is a guess.
    """
    half = Price(2, 4, cache_read=1, batch="0.5", above={9: Price(4, 8)})
    book = PriceBook(
        {"a:half": half, "a:same": Price(2, 4), "a:free": FREE}, table=None
    )
    context = {"processing": "batch"}
    found = book.find(["a:half"], context=context)
    assert found == Found(
        Price(1, 2, cache_read="0.5", batch="0.5", above={9: Price(2, 4)}), "a:half"
    )
    assert book.find(["a:same"], context=context) == Found(
        Price(2, 4), "a:same", exact=False
    )
    assert book.find(["a:free"], context=context) == Found(FREE, "a:free")


def test_a_table_of_your_own() -> None:
    """
    Any function will do, and is told when the call was and how it was asked for.
    """
    asked: list[Any] = []

    def table(
        provider: str, model: str, *, at: float, context: Mapping[str, str]
    ) -> Found | None:
        asked.append((provider, model, at, context))
        return Found(FREE, "mine") if provider == "x" else None

    book = PriceBook(table=table, clock=lambda: 7.0)
    assert book.find(["x:m", "y:n:o"], context={"speed": "fast"}) == Found(FREE, "mine")
    assert book.find(["x:m"], at=3.0) is not None
    assert asked == [
        ("y", "n:o", 7.0, {"speed": "fast"}),
        ("x", "m", 7.0, {"speed": "fast"}),
        ("x", "m", 3.0, {}),
    ]


def test_without_the_package() -> None:
    """
    It is said what to install, and how to do without.
    """
    with pytest.raises(ConfigError, match=r"aichat\[cost\].*PriceBook"):
        installed_table("aichat_has_no_such_package")
    assert repr(PriceBook({"a:b": FREE}, table=None).load()) == (
        "<PriceBook: 1 own prices, table None>"
    )


@pytest.mark.parametrize(
    ("value", "amount"),
    [("0.10", "0.10"), (0.1, "0.1"), (3, "3"), (Decimal("1e-9"), "1E-9"), (0, "0")],
)
def test_money_is_exact(value: Any, amount: str) -> None:
    """
    A tenth is a tenth, also as a float.
    """
    assert str(to_money(value)) == amount


@pytest.mark.parametrize("value", [-1, "x", float("nan"), float("inf"), None, True, []])
def test_what_is_no_money(value: Any) -> None:
    """
    Is refused when it is named.
    """
    with pytest.raises(ConfigError, match="0 or more; got"):
        to_money(value)
    if value is not None:
        with pytest.raises(ConfigError):
            Price(1, 1, cache_read=value)


@pytest.mark.parametrize("above", [{-1: FREE}, {"1": FREE}, {5: 3}, {True: FREE}])
def test_tiers_that_are_none(above: Any) -> None:
    """
    A threshold is a number of tokens, and above it there is a price.
    """
    with pytest.raises(ConfigError, match="above maps a number of tokens to a Price"):
        Price(1, 1, above=above)


@pytest.mark.parametrize(
    "wrong",
    [{"gpt-5": FREE}, {"openai:": FREE}, {":x": FREE}, {"a:b": 3}],
)
def test_books_that_are_none(wrong: Any) -> None:
    """
    Prices go by an address, and are prices.
    """
    with pytest.raises(ConfigError, match=r"price"):
        PriceBook(wrong)


def test_a_table_that_is_none() -> None:
    """
    There is one by name.
    """
    wrong: Any = "litellm"
    with pytest.raises(ConfigError, match="'genai-prices', a function or None"):
        PriceBook(table=wrong)


# -- kinds -------------------------------------------------------------------------------


@given(nonsense(), prices)
def test_never_below_zero_and_never_twice(usage: Usage, price: Price) -> None:
    """
    Whatever a provider says: each token is in one kind, and no cost is negative.
    """
    # O6
    counts = count_kinds(usage)
    assert min(counts.values(), default=1) > 0
    sent = sum(counts.get(kind, 0) for kind in INPUT_KINDS)
    assert sent == max(usage.input_tokens or 0, 0)
    written = sum(counts.get(kind, 0) for kind in OUTPUT_KINDS)
    assert written - counts.get("citation", 0) == max(usage.output_tokens or 0, 0)
    cost = charge(Found(price, "x"), usage, guessed=False)
    assert min(cost.by_kind.values(), default=Decimal(0)) >= 0
    assert cost.input + cost.output + cost.by_kind.get("web_searches", 0) == cost.total


@given(usages(), prices, st.integers(0, 1000), st.integers(0, 1000))
def test_more_tokens_cost_no_less(
    usage: Usage, price: Price, read: int, written: int
) -> None:
    """
    One more token never makes a call cheaper.
    """
    # O6
    more = Usage(
        input_tokens=(usage.input_tokens or 0) + read,
        output_tokens=(usage.output_tokens or 0) + written,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        raw=usage.raw,
    )
    found = Found(price, "x")
    before = charge(found, usage, guessed=False).total
    after = charge(found, more, guessed=False).total
    assert after >= before


def test_more_cached_than_sent() -> None:
    """
    Azure's Grok says so. No more is cached than there is.
    """
    # O6
    usage = Usage(input_tokens=10, cache_read_tokens=64, output_tokens=1)
    assert count_kinds(usage) == {"cache_read": 10, "output": 1}


def test_gemini_counts_by_modality() -> None:
    """
    Audio, images and what of them was cached are in lists; a document counts as images.
    """
    usage = Usage(
        input_tokens=100,
        cache_read_tokens=30,
        output_tokens=20,
        raw={
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 40},
                {"modality": "AUDIO", "tokenCount": 30},
                {"modality": "IMAGE", "tokenCount": 10},
                {"modality": "DOCUMENT", "tokenCount": 20},
                "what?",
            ],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 15}],
        },
    )
    assert count_kinds(usage) == {
        "input": 20,
        "cache_read": 20,
        "input_audio": 20,
        "input_image": 30,
        "cache_read_audio": 10,
        "output": 5,
        "output_image": 15,
    }


def test_every_kind_has_a_rate() -> None:
    """
    What has no price of its own costs what it is a part of.
    """
    price = Price(1, 2, input_audio=3)
    rates = {
        kind: price.rate(kind) for kind in itertools.chain(INPUT_KINDS, OUTPUT_KINDS)
    }
    assert rates.pop("input_audio") == rates.pop("cache_read_audio") == 3
    assert {rates[kind] for kind in INPUT_KINDS if kind in rates} == {1}
    assert {rates[kind] for kind in OUTPUT_KINDS} == {2}
