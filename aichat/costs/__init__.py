"""
What answers cost: prices, the tokens that they are for, and their product.

Pure: `CostTracker` and `spend_limit`, which watch calls, are in `aichat.middleware`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from ._cost import (
        CallCost,
        Exchanges,
        Prices,
        charge,
        cost_of,
        find_price,
        total_cost,
    )
    from ._prices import FREE, Found, Money, Price, PriceBook, PriceTable, to_money
    from ._reading import Reading
    from ._token_kinds import INPUT_KINDS, OUTPUT_KINDS, Counts, count_kinds
else:
    # Who asks a model does not need to know what it costs.
    __getattr__ = lazily(
        __name__,
        {
            "_cost": "CallCost Exchanges Prices charge cost_of find_price total_cost",
            "_prices": "FREE Found Money Price PriceBook PriceTable to_money",
            "_reading": "Reading",
            "_token_kinds": "INPUT_KINDS OUTPUT_KINDS Counts count_kinds",
        },
    )

__all__ = [
    "FREE",
    "INPUT_KINDS",
    "OUTPUT_KINDS",
    "CallCost",
    "Counts",
    "Exchanges",
    "Found",
    "Money",
    "Price",
    "PriceBook",
    "PriceTable",
    "Prices",
    "Reading",
    "charge",
    "cost_of",
    "count_kinds",
    "find_price",
    "to_money",
    "total_cost",
]
