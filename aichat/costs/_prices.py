"""What tokens cost: prices of your own, and a table that others keep."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from threading import Lock
from typing import Any, Final, Literal, Protocol, TypeAlias, final

from attrs import Attribute, evolve, field, fields, frozen

from ..errors import ConfigError
from ._token_kinds import Counts

__all__ = ["FREE", "Found", "Money", "Price", "PriceBook", "PriceTable", "to_money"]

_log = logging.getLogger("aichat")

#: US dollars. A float is taken for the number that it is written as: 0.1 is a tenth.
Money: TypeAlias = Decimal | int | float | str

_MILLION: Final = Decimal(1_000_000)
_THOUSAND: Final = Decimal(1_000)
#: What has no price of its own costs what the first of these does that has one.
_RATES: Final[Mapping[str, tuple[str, ...]]] = {
    "input": ("input",),
    "cache_read": ("cache_read", "input"),
    "cache_write": ("cache_write", "input"),
    "cache_write_1h": ("cache_write_1h", "cache_write", "input"),
    "input_audio": ("input_audio", "input"),
    "input_image": ("input_image", "input"),
    "input_video": ("input_video", "input"),
    "cache_read_audio": ("cache_read_audio", "cache_read", "input_audio", "input"),
    "cache_read_image": ("cache_read_image", "cache_read", "input_image", "input"),
    "output": ("output",),
    "reasoning": ("reasoning", "output"),
    "citation": ("citation", "output"),
    "output_audio": ("output_audio", "output"),
    "output_image": ("output_image", "output"),
    "output_video": ("output_video", "output"),
}
#: Counted one by one, and priced by the thousand.
_PER_THOUSAND: Final = ("web_searches", "requests")
#: A table that is asked for more models than this has a user who makes them up.
_MOST_WARNINGS: Final = 1000


def to_money(value: Money) -> Decimal:
    """Read an amount exactly; raises `ConfigError` for what is none, or below 0."""
    try:
        amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        amount = Decimal("NaN")
    if isinstance(value, bool) or not (amount.is_finite() and amount >= 0):
        raise ConfigError(
            f"An amount of money must be a number, 0 or more; got {value!r}."
        )
    return amount


def _or_none(value: Money | None) -> Decimal | None:
    return None if value is None else to_money(value)


def _check_tiers(_: object, __: Attribute[Any], value: Mapping[Any, object]) -> None:
    for start, price in value.items():
        if type(start) is not int or start < 0 or not isinstance(price, Price):
            raise ConfigError(
                "above maps a number of tokens to a Price, as in {200_000: Price(…)}; "
                f"got {start!r}: {price!r}."
            )


def _to_tiers(value: Mapping[int, Price]) -> Mapping[int, Price]:
    return dict(sorted(value.items()))


@frozen
class Price:
    """
    What a model costs, in US dollars per million tokens.

    What is ``None`` costs as much as what it is a part of: cached input as much as input,
    reasoning as much as output. Raises `ConfigError`.

    >>> Price("3", "15", cache_read="0.30", cache_write="3.75").rate("cache_write_1h")
    Decimal('3.75')
    """

    input: Decimal = field(converter=to_money)
    output: Decimal = field(converter=to_money)
    cache_read: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    #: For as long as the provider does it by itself: five minutes, mostly.
    cache_write: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    cache_write_1h: Decimal | None = field(
        default=None, kw_only=True, converter=_or_none
    )
    input_audio: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    input_image: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    input_video: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    cache_read_audio: Decimal | None = field(
        default=None, kw_only=True, converter=_or_none
    )
    cache_read_image: Decimal | None = field(
        default=None, kw_only=True, converter=_or_none
    )
    reasoning: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    citation: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    output_audio: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    output_image: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    output_video: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    #: Per thousand, of those that the usage counts; ``None``: nothing.
    web_searches: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    #: Per thousand calls, on top of their tokens.
    requests: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    #: What a batch pays of all this, as in ``"0.5"``; ``None``: not known.
    batch: Decimal | None = field(default=None, kw_only=True, converter=_or_none)
    #: Prompts of more tokens than the key pay these prices, for all their tokens.
    above: Mapping[int, Price] = field(
        factory=dict,
        kw_only=True,
        converter=_to_tiers,
        validator=_check_tiers,
        hash=False,
    )

    def rate(self, kind: str) -> Decimal:
        """Dollars for one million tokens of *kind*, which is the name of a field."""
        for name in _RATES[kind]:
            rate: Decimal | None = getattr(self, name)
            if rate is not None:
                return rate
        raise AssertionError(kind)  # pragma: no cover -- input and output are there

    def for_prompt(self, tokens: int) -> Price:
        """The price for a prompt of so many *tokens*."""
        price = self
        for start, higher in self.above.items():
            if tokens > start:
                price = higher
        return price

    def charge(self, counts: Counts) -> dict[str, Decimal]:
        """What each kind of *counts* costs, in dollars."""
        return {kind: self._one(kind) * count for kind, count in counts.items()}

    def _one(self, kind: str) -> Decimal:
        if kind in _PER_THOUSAND:
            rate: Decimal | None = getattr(self, kind)
            return (rate or Decimal(0)) / _THOUSAND
        return self.rate(kind) / _MILLION

    def times(self, factor: Decimal) -> Price:
        """The same price, all of it multiplied by *factor*."""
        changes: dict[str, Any] = {}
        for attribute in fields(Price):
            value = getattr(self, attribute.name)
            if isinstance(value, Decimal) and attribute.name != "batch":
                changes[attribute.name] = value * factor
        above = {start: higher.times(factor) for start, higher in self.above.items()}
        return evolve(self, **changes, above=above)


#: For models that run at home.
FREE: Final = Price(0, 0)


@frozen
class Found:
    """A price, and where it was found."""

    price: Price
    #: ``"provider:model"`` as the table, or you, call it.
    name: str
    #: False if it is the usual price of what was asked for in an unusual way.
    exact: bool = True


class PriceTable(Protocol):
    """Knows what models cost."""

    def __call__(
        self, provider: str, model: str, *, at: float, context: Mapping[str, str]
    ) -> Found | None:
        """
        Return the price of *model* as it was *at* a time in seconds since the epoch.

        *context* says how it was asked for: ``service_tier``, ``speed``, ``processing``.
        """
        ...


@cache
def _installed_table() -> PriceTable:
    # Has the price and its names from here.
    from ._price_table import installed_table

    return installed_table()


@final
class PriceBook:
    """
    Knows what models cost: your *prices* first, then a *table*.

    *prices* go by ``"provider:model"``, or ``"provider:*"`` for all that a provider has::

        PriceBook({"ollama:*": FREE, "azure:our-gpt": Price("1.25", "10")})

    The table is the package genai-prices (``pip install 'aichat[cost]'``), a function of
    your own, or ``None``. Without the package the first look into it raises `ConfigError`.
    A model that nobody knows has no price, which is not 0, and is logged once.
    """

    def __init__(
        self,
        prices: Mapping[str, Price] | None = None,
        *,
        table: PriceTable | Literal["genai-prices"] | None = "genai-prices",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises `ConfigError`. *clock* is for answers that do not say when they were given."""
        self._prices = _checked(prices or {})
        if not (table is None or table == "genai-prices" or callable(table)):
            raise ConfigError(
                f"The table of a PriceBook is 'genai-prices', a function or None; got "
                f"{table!r}."
            )
        self._table = table
        self._clock = clock
        self._unknown: set[str] = set()
        self._lock = Lock()

    @classmethod
    def of(cls, prices: PriceBook | Mapping[str, Price] | None) -> PriceBook:
        """Make one of *prices*, unless it is one."""
        return prices if isinstance(prices, PriceBook) else cls(prices)

    def __repr__(self) -> str:
        return f"<PriceBook: {len(self._prices)} own prices, table {self._table!r}>"

    def load(self) -> PriceBook:
        """
        Look for the table now, which takes a second or two, and not within a call.

        Raises `ConfigError` if it is not installed.
        """
        self._find_table()
        return self

    def find(
        self,
        addresses: Iterable[str],
        *,
        at: float | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Found | None:
        """
        Return the price of one of *addresses*, ``"provider:model"``, that has one.

        They go from what was asked for to what answered. Yours are looked up in this order,
        as you know what you ask for, and the table's in the other one: what you call a
        deployment, the table may know as another model.

        *at* is in seconds since the epoch and now by default; *context* is as in
        `PriceTable`.
        """
        asked, context = tuple(dict.fromkeys(addresses)), context or {}
        found = self._own(asked, context)
        if found is None:
            found = self._listed(asked, self._clock() if at is None else at, context)
        if found is None:
            self._warn(asked)
        return found

    def _own(self, asked: tuple[str, ...], context: Mapping[str, str]) -> Found | None:
        everything = (f"{address.partition(':')[0]}:*" for address in asked)
        for name in (*asked, *everything):
            price = self._prices.get(name)
            if price is None:
                continue
            if context.get("processing") != "batch":
                return Found(price, name)
            if price.batch is None:
                return Found(price, name, exact=price == FREE)
            return Found(price.times(price.batch), name)
        return None

    def _listed(
        self, asked: tuple[str, ...], at: float, context: Mapping[str, str]
    ) -> Found | None:
        table = self._find_table()
        if table is None:
            return None
        for address in reversed(asked):
            provider, _, model = address.partition(":")
            found = table(provider, model, at=at, context=context)
            if found is not None:
                return found
        return None

    def _find_table(self) -> PriceTable | None:
        table = self._table
        return _installed_table() if isinstance(table, str) else table

    def _warn(self, asked: tuple[str, ...]) -> None:
        name = asked[0] if asked else "a model without a name"
        with self._lock:
            if name in self._unknown or len(self._unknown) >= _MOST_WARNINGS:
                return
            self._unknown.add(name)
        _log.warning(
            "No price is known for %s: what it costs cannot be told. Give it one, as in "
            "PriceBook({%r: Price(input, output)})",
            name,
            name,
        )


def _checked(prices: Mapping[str, Price]) -> Mapping[str, Price]:
    for name, price in prices.items():
        provider, colon, model = name.partition(":")
        if not (colon and provider and model):
            raise ConfigError(
                f"A price goes by 'provider:model' or 'provider:*', not {name!r}."
            )
        if not isinstance(price, Price):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
            raise ConfigError(
                f"The price of {name} must be a Price(input, output), got {price!r}."
            )
    return dict(prices)
