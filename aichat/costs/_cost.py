"""What one call cost, and what several did together (O6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Final, Protocol, TypeAlias, runtime_checkable

from attrs import evolve, field, frozen

from ..types import (
    ChatRequest,
    ChatResponse,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    Usage,
    estimate_text_tokens,
    estimate_tokens,
)
from ..types._values import frozen_mapping
from ._prices import Found, Price, PriceBook
from ._token_kinds import INPUT_KINDS, OUTPUT_KINDS, count_kinds

__all__ = [
    "CallCost",
    "Exchanges",
    "Prices",
    "charge",
    "cost_of",
    "find_price",
    "total_cost",
]

#: Where prices come from: a book, or your own before the table's.
Prices: TypeAlias = PriceBook | Mapping[str, Price] | None

_ZERO: Final = Decimal(0)
#: Until the year 2200. What lies beyond is in another unit, or nonsense.
_LATEST: Final = 7_258_118_400


@frozen(kw_only=True)
class CallCost:
    """What one call cost, in *currency*."""

    #: By what was charged: ``input``, ``cache_read``, ``cache_write``, ``cache_write_1h``,
    #: ``output``, ``reasoning``, ``input_audio``, ``web_searches`` … No token is in two.
    by_kind: Mapping[str, Decimal] = field(
        factory=dict, converter=frozen_mapping, hash=False
    )
    #: Whose price it is: ``"provider:model"`` of the table, or the name of your own.
    priced_as: str
    #: Not everything was told: tokens are guessed from what arrived, or it is the usual
    #: price where there was an unusual one.
    estimated: bool = False
    currency: str = "USD"

    @property
    def total(self) -> Decimal:
        """All of it."""
        return sum(self.by_kind.values(), _ZERO)

    @property
    def input(self) -> Decimal:
        """What was sent, the provider's cache included."""
        return self._of(INPUT_KINDS)

    @property
    def output(self) -> Decimal:
        """What was generated, reasoning included."""
        return self._of(OUTPUT_KINDS)

    def _of(self, kinds: tuple[str, ...]) -> Decimal:
        return sum((self.by_kind.get(kind, _ZERO) for kind in kinds), _ZERO)


@runtime_checkable
class Exchanges(Protocol):
    """What took several calls: a `RunResult`, or a `TypedResponse` that was repaired."""

    @property
    def exchanges(self) -> Iterable[tuple[ChatRequest | None, ChatResponse]]:
        """Each request, if it is known, with its answer."""
        ...


def cost_of(
    response: ChatResponse | Exchanges,
    *,
    request: ChatRequest | None = None,
    prices: Prices = None,
    batch: bool = False,
) -> CallCost | None:
    """
    Tell what *response* cost; ``None`` if its price or its tokens are not known.

    Of what took several calls it is the sum, each call at the price of what answered it. One
    from aichat's own cache cost nothing. Of one that was cut, or whose provider does not
    count, the output is estimated from its text, and the prompt from *request*. Say *batch*
    if it comes from a batch. Searches of a provider's own are counted where its usage counts
    them.

    Needs ``pip install 'aichat[cost]'``, or a `PriceBook` that knows all *prices*:
    `ConfigError`. The first look into the price table loads it, which takes up to a second
    or two; ``PriceBook().load()`` does so when a program begins.

    >>> from aichat import assistant
    >>> usage = Usage(input_tokens=1000, output_tokens=200)
    >>> answer = ChatResponse(
    ...     message=assistant("Hi!"), usage=usage, provider="ours", model="m"
    ... )
    >>> cost = cost_of(answer, prices={"ours:m": Price("1.50", 6)})
    >>> print(f"{cost.total:.4f} {cost.currency}")
    0.0027 USD
    """
    if isinstance(response, Exchanges):
        return total_cost(
            _cost_of(answer, asked or request, prices, batch=batch)
            for asked, answer in response.exchanges
        )
    return _cost_of(response, request, prices, batch=batch)


def _cost_of(
    response: ChatResponse,
    request: ChatRequest | None,
    prices: Prices,
    *,
    batch: bool,
) -> CallCost | None:
    if response.from_cache:
        return CallCost(priced_as="cache")
    usage, guessed = _usage(response, request)
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    found = find_price(response, request, prices=prices, batch=batch)
    return None if found is None else charge(found, usage, guessed=guessed)


def find_price(
    response: ChatResponse,
    request: ChatRequest | None,
    *,
    prices: Prices = None,
    batch: bool = False,
) -> Found | None:
    """Find the price of what was asked for, and answered."""
    book = _usual_book() if prices is None else PriceBook.of(prices)
    at = response.created_at
    return book.find(
        _addresses(response, request),
        at=at if at is not None and 0 <= at < _LATEST else None,
        context=_context(response, batch=batch),
    )


def charge(found: Found, usage: Usage, *, guessed: bool) -> CallCost:
    """Multiply."""
    counts = count_kinds(usage)
    if found.price.requests is not None:
        counts["requests"] = 1
    price = found.price.for_prompt(usage.input_tokens or 0)
    return CallCost(
        by_kind=price.charge(counts),
        priced_as=found.name,
        estimated=guessed or not found.exact,
    )


def total_cost(costs: Iterable[CallCost | None]) -> CallCost | None:
    """
    Sum up *costs*; ``None`` if one of them is not known.

    `priced_as` names them all. Raises `ValueError` for several currencies.

    >>> ask = CallCost(by_kind={"input": Decimal(2)}, priced_as="a:m")
    >>> answer = CallCost(by_kind={"output": Decimal(3)}, priced_as="b:m", estimated=True)
    >>> total_cost([ask, answer])
    CallCost(by_kind=..., priced_as='a:m, b:m', estimated=True, currency='USD')
    """
    known: list[CallCost] = []
    for cost in costs:
        if cost is None:
            return None
        known.append(cost)
    currencies = {cost.currency for cost in known} or {"USD"}
    if len(currencies) > 1:
        raise ValueError(f"No sum of several currencies: {sorted(currencies)}.")
    by_kind: dict[str, Decimal] = {}
    for cost in known:
        for kind, amount in cost.by_kind.items():
            by_kind[kind] = by_kind.get(kind, _ZERO) + amount
    return CallCost(
        by_kind=by_kind,
        priced_as=", ".join(dict.fromkeys(cost.priced_as for cost in known)),
        estimated=any(cost.estimated for cost in known),
        currency=currencies.pop(),
    )


@cache
def _usual_book() -> PriceBook:
    return PriceBook()


def _usage(response: ChatResponse, request: ChatRequest | None) -> tuple[Usage, bool]:
    """The usage with what is missing in it, and whether anything was."""
    usage = response.usage
    sent, generated = usage.input_tokens, usage.output_tokens
    if sent is None and request is not None:
        sent = estimate_tokens(request)
    if generated is None or not usage.complete:
        generated = max(generated or 0, sum(map(_tokens, response.message.content)))
    if (sent, generated) == (usage.input_tokens, usage.output_tokens):
        return usage, not usage.complete
    return evolve(usage, input_tokens=sent, output_tokens=generated), True


def _tokens(part: object) -> int:
    match part:
        case TextPart(text=text) | ReasoningPart(text=text) | RefusalPart(text=text):
            return estimate_text_tokens(text)
        case ToolCallPart():
            return estimate_text_tokens(part.name + part.arguments)
        case _:
            return 0  # media, and what only its provider can read


def _addresses(response: ChatResponse, request: ChatRequest | None) -> list[str]:
    addresses = []
    provider = response.provider
    named = request.model if request is not None else ""
    # A `fallback`, or whoever is like it, has asked another one than was named.
    if asked := response.rerouted_to or named:
        first, colon, rest = asked.partition(":")
        asked_provider, model = (first, rest) if colon else ("", first)
        provider = provider or asked_provider
        # The client may know a provider by another name than its own.
        addresses = [f"{name}:{model}" for name in (asked_provider, provider) if name]
    if provider and response.model:
        addresses.append(f"{provider}:{response.model}")
    return addresses


#: What the providers say about how it was asked for, in the words of the price table.
_SAID: Final[Mapping[str, str]] = {
    "service_tier": "service_tier",
    "serviceTier": "service_tier",
    "speed": "speed",
}


def _context(response: ChatResponse, *, batch: bool) -> dict[str, str]:
    context: dict[str, str] = {}
    for facts in (response.usage.raw, response.metadata):
        for said, name in _SAID.items():
            value = facts.get(said)
            if isinstance(value, str):
                context[name] = value.lower()
    # Anthropic says so.
    if context.get("service_tier") == "batch":
        del context["service_tier"]
        batch = True
    return context | ({"processing": "batch"} if batch else {})
