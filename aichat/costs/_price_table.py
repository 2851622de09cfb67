"""
The price table of the package genai-prices.

See: https://github.com/pydantic/genai-prices
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from ..errors import ConfigError
from ._prices import Found, Price, PriceTable

__all__ = ["PROVIDERS", "installed_table"]

#: The table's names of our providers, where it knows them. Those who sell other people's
#: models at a price of their own, or for whom you pay with your own machine, it does not.
PROVIDERS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "azure": "azure",
    "azure-responses": "azure",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google": "google",
    "groq": "groq",
    # Of many that answer; which one stands behind the model's last colon.
    "huggingface": "huggingface_{route}",
    "mistral": "mistral",
    "moonshotai": "moonshotai",
    "openai": "openai",
    "openai-chat": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "vertex": "google",
    "xai": "x-ai",
    "zai": "zai",
}
#: Our fields and the table's.
_FIELDS: Final[Mapping[str, str]] = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "input_image": "input_image_mtok",
    "input_video": "input_video_mtok",
    "cache_read_audio": "cache_audio_read_mtok",
    "cache_read_image": "cache_image_read_mtok",
    "reasoning": "output_reasoning_mtok",
    "citation": "output_citation_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
    "output_video": "output_video_mtok",
    "web_searches": "web_searches_kcount",
    "requests": "requests_kcount",
}
#: Ways to ask that cost what everybody pays.
_USUAL: Final = {"", "auto", "default", "on_demand", "standard", "standard_only"}
#: Prices change with the day, and for some providers with the hour.
_MINUTE: Final = 60
#: Models that are looked up once per minute; looking takes 0.3 ms.
_MOST_PRICES: Final = 1000


def installed_table(package: str = "genai_prices") -> PriceTable:
    """
    Load the package, which takes a second or two.

    Raises `ConfigError` if it is not installed.
    """
    try:
        module = import_module(package)
    except ImportError as error:
        raise ConfigError(
            "What a call costs is looked up in the package genai-prices: pip install "
            "'aichat[cost]'. Without it, name all prices yourself: "
            "PriceBook({'provider:model': Price(…)}, table=None)."
        ) from error
    none = module.Usage()
    find = _finder(module.calc_price, none)
    # The first look reads the whole table.
    find("openai", "gpt-5", 0, ())

    def table(
        provider: str, model: str, *, at: float, context: Mapping[str, str]
    ) -> Found | None:
        vendor = PROVIDERS.get(provider)
        if vendor is None or not model:
            return None
        if "{route}" in vendor:
            model, _, route = model.rpartition(":")
            vendor = vendor.format(route=route)
        asked = tuple(sorted((k, v) for k, v in context.items() if v not in _USUAL))
        return find(vendor, model, int(at // _MINUTE), asked)

    return table


def _finder(
    calc_price: Callable[..., Any], none: object
) -> Callable[..., Found | None]:
    def look(vendor: str, model: str, minute: int, **context: str) -> Any:
        try:
            return calc_price(
                none,
                model,
                provider_id=vendor,
                genai_request_timestamp=datetime.fromtimestamp(minute * _MINUTE, UTC),
                price_context=context,
            )
        except LookupError:
            return None

    @lru_cache(maxsize=_MOST_PRICES)
    def find(
        vendor: str, model: str, minute: int, context: tuple[tuple[str, str], ...]
    ) -> Found | None:
        found = look(vendor, model, minute, **dict(context))
        if found is None:
            return None
        price = _read(found.model_price)
        if price is None:
            return None
        name = f"{found.provider.id}:{found.model.id}"
        if not context:
            return Found(price, name)
        usual = look(vendor, model, minute)
        # One that is the same as the usual one is what the table says where it knows none.
        same = usual is not None and found.model_price == usual.model_price
        return Found(price, name, exact=not same)

    return find


def _read(listed: Any) -> Price | None:
    """Put a price of the table's into our terms; ``None`` if tokens have none."""
    rates = {
        ours: rate
        for ours, theirs in _FIELDS.items()
        if (rate := getattr(listed, theirs, None)) is not None
    }
    if not rates.keys() & {"input", "output"}:
        return None
    starts = {
        tier.start
        for rate in rates.values()
        if not isinstance(rate, Decimal)
        for tier in rate.tiers
    }
    above = {start: _at(rates, start + 1) for start in sorted(starts)}
    return _at(rates, 0, above)


def _at(
    rates: Mapping[str, Any], tokens: int, above: Mapping[int, Price] | None = None
) -> Price:
    chosen = {name: _tier(rate, tokens) for name, rate in rates.items()}
    free = {"input": Decimal(0), "output": Decimal(0)}
    return Price(**(free | chosen), above=above or {})


def _tier(rate: Any, tokens: int) -> Decimal:
    if isinstance(rate, Decimal):
        return rate
    price: Decimal = rate.base
    for tier in rate.tiers:
        if tokens > tier.start:
            price = tier.price
    return price
