"""What calls cost, one by one and together (O6)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from functools import cache
from threading import Lock
from typing import Final, TypeAlias, final

from attrs import define, evolve, field, frozen

from ..types import (
    ChatRequest,
    ChatResponse,
    Message,
    ReasoningDelta,
    ReasoningPart,
    RefusalDelta,
    RefusalPart,
    ResponseEnd,
    ResponseStart,
    Role,
    StreamChunk,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageUpdate,
    estimate_text_tokens,
    estimate_tokens,
)
from ..types._values import frozen_mapping
from ._compose import Handler
from ._prices import Found, Price, PriceBook
from ._token_kinds import INPUT_KINDS, OUTPUT_KINDS, count_kinds

__all__ = ["CallCost", "CostTracker", "OnCost", "Reading", "Spent", "cost_of"]

_log = logging.getLogger("aichat")

#: Where prices come from: a book, or your own before the table's.
Prices: TypeAlias = PriceBook | Mapping[str, Price] | None

_ZERO: Final = Decimal(0)
#: Until the year 2200. What lies beyond is in another unit, or nonsense.
_LATEST: Final = 7_258_118_400
#: Models that are summed up apart; the others together.
_MODELS: Final = 1000
_OTHERS: Final = "(others)"


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


def cost_of(
    response: ChatResponse,
    *,
    request: ChatRequest | None = None,
    prices: Prices = None,
    batch: bool = False,
) -> CallCost | None:
    """
    Tell what *response* cost; ``None`` if its price or its tokens are not known.

    One from aichat's own cache cost nothing. Of one that was cut, or whose provider does not
    count, the output is estimated from its text, and the prompt from *request*. Say *batch*
    if it comes from a batch. Searches of a provider's own are counted where its usage counts
    them.

    Needs ``pip install 'aichat[cost]'``, or a `PriceBook` that knows all *prices*:
    `ConfigError`.
    """
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
    if request is not None:
        asked_provider = request.provider_name
        provider = provider or asked_provider
        # The client may know a provider by another name than its own.
        addresses = [
            f"{name}:{request.model_name}"
            for name in (asked_provider, provider)
            if name
        ]
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


@final
class Reading:
    """What a stream has said about its cost, and as much of the rest as it may need."""

    __slots__ = ("_end", "_request", "_start", "_usage", "came", "texts")

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._start = ResponseStart()
        self._usage: Usage | None = None
        self._end: ResponseEnd | None = None
        #: Whether there was anything.
        self.came = False
        #: The pieces of the output. They are the chunks' own, so keeping them costs a
        #: pointer.
        self.texts: list[str] = []

    @property
    def usage(self) -> Usage:
        """The last one that was told."""
        return self._usage or Usage()

    @property
    def model(self) -> str:
        """Who answered, or was asked."""
        start, request = self._start, self._request
        provider = start.provider or request.provider_name or ""
        return f"{provider}:{start.model or request.model_name}"

    def note(self, chunk: StreamChunk) -> None:
        """Take one more chunk."""
        self.came = True
        match chunk:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                self.texts.append(chunk.text)
            case ToolCallDelta():
                self.texts.append((chunk.name or "") + chunk.arguments)
            case UsageUpdate(usage=usage):
                self._usage = usage
            case ResponseStart():
                self._start = chunk
            case ResponseEnd():
                self._end = chunk
            case _:
                pass  # costs nothing that we could know of

    def response(self) -> ChatResponse:
        """As much of the response as its cost needs."""
        usage, end, start = self._usage, self._end, self._start
        if usage is None:
            usage = Usage(complete=end is not None)
        elif end is None and usage.complete:
            usage = evolve(usage, complete=False)
        counted = usage.complete and usage.output_tokens is not None
        text = "" if counted else "".join(self.texts)
        return ChatResponse(
            message=Message(Role.ASSISTANT, (TextPart(text),) if text else ()),
            usage=usage,
            model=start.model,
            provider=start.provider,
            created_at=start.created_at,
            from_cache=start.from_cache,
            metadata=end.metadata if end is not None else {},
        )

    def cost(self, prices: Prices) -> CallCost | None:
        """What it has cost so far."""
        return cost_of(self.response(), request=self._request, prices=prices)


@frozen(kw_only=True)
class Spent:
    """What several calls cost together, in US dollars."""

    #: Those that were answered, or began to be.
    calls: int = 0
    total: Decimal = _ZERO
    #: Of the total: what is estimated.
    estimated: Decimal = _ZERO
    #: Of the calls: those whose cost nobody knows. They are not in the total.
    unpriced: int = 0

    def plus(self, cost: CallCost | None) -> Spent:
        """With one more call."""
        if cost is None:
            return evolve(self, calls=self.calls + 1, unpriced=self.unpriced + 1)
        total = cost.total
        return Spent(
            calls=self.calls + 1,
            total=self.total + total,
            estimated=self.estimated + (total if cost.estimated else _ZERO),
            unpriced=self.unpriced,
        )


#: Is told of every call when it has ended; must not block.
OnCost: TypeAlias = Callable[[ChatRequest, CallCost | None], object]


@define(eq=False)
class _Tally:
    owner: CostTracker
    spent: Spent = field(factory=Spent)


_tallies: Final = ContextVar[tuple[_Tally, ...]]("aichat_tallies", default=())


@final
class CostTracker:
    """
    A middleware that sums up what calls cost; for all loops and threads.

    ::

        costs = CostTracker()
        client = client.use(costs)
        ...
        costs.spent.total, costs.by_model

    Innermost it sees every model that was asked, also those that a hedge left behind;
    outermost it sees what was answered. What the transport tried in vain is not counted:
    providers do not charge for it. Streams that were cut or left are estimated.
    """

    def __init__(self, prices: Prices = None, *, on_cost: OnCost | None = None) -> None:
        """
        Price by *prices* and tell *on_cost* of each call, with ``None`` if nobody knows.

        Loads the price table, which takes a second or two. Raises `ConfigError` if there is
        none.
        """
        self._book = PriceBook.of(prices).load()
        self._on_cost = on_cost
        self._spent = Spent()
        self._by_model: dict[str, Spent] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        spent = self._spent
        return f"<CostTracker: {spent.total} USD, {spent.calls} calls>"

    @property
    def spent(self) -> Spent:
        """All calls so far."""
        return self._spent

    @property
    def by_model(self) -> Mapping[str, Spent]:
        """The same by who answered, ``"provider:model"``."""
        with self._lock:
            return dict(self._by_model)

    @contextmanager
    def within(self) -> Generator[Callable[[], Spent], None, None]:
        """
        Sum up apart what is begun within, in this task and in those that it starts.

        ::

            with costs.within() as spent:
                await answer(question)
            print(spent().total)

        A call counts when it has ended, which may be later.
        """
        tally = _Tally(self)
        token = _tallies.set((*_tallies.get(), tally))
        try:
            yield lambda: tally.spent
        finally:
            _tallies.reset(token)

    def cost_of(
        self,
        response: ChatResponse,
        *,
        request: ChatRequest | None = None,
        batch: bool = False,
    ) -> CallCost | None:
        """What *response* cost, by the same prices; counts for nothing."""
        return cost_of(response, request=request, prices=self._book, batch=batch)

    async def __call__(
        self, request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        """Pass the answer on, and count it when it ends."""
        tallies = tuple(t for t in _tallies.get() if t.owner is self)
        reading = Reading(request)
        keep, note = reading.texts.append, reading.note
        try:
            async for chunk in call_next(request):
                # The only thing that most chunks pay.
                if type(chunk) is TextDelta:
                    keep(chunk.text)
                else:
                    note(chunk)
                yield chunk
        finally:
            if reading.came or reading.texts:
                self._count(request, reading, tallies)

    def _count(
        self, request: ChatRequest, reading: Reading, tallies: tuple[_Tally, ...]
    ) -> None:
        try:
            cost = reading.cost(self._book)
        except Exception:
            # Whoever only watches must not be what breaks the call.
            _log.exception("What a call cost could not be told")
            cost = None
        with self._lock:
            self._spent = self._spent.plus(cost)
            for tally in tallies:
                tally.spent = tally.spent.plus(cost)
            models, model = self._by_model, reading.model
            if model not in models and len(models) >= _MODELS:
                model = _OTHERS
            models[model] = models.get(model, Spent()).plus(cost)
        if self._on_cost is not None:
            try:
                self._on_cost(request, cost)
            except Exception:
                _log.exception("A cost callback raised")
