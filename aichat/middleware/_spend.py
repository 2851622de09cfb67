"""Stop before it becomes expensive (O6)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal, final

from attrs import frozen

from ..costs import (
    Found,
    Money,
    Price,
    PriceBook,
    Reading,
    charge,
    find_price,
    to_money,
)
from ..errors import AIChatError, ConfigError, SpendLimitError
from ..types import (
    Accumulator,
    ChatRequest,
    ResponseStart,
    Secret,
    StreamChunk,
    TextDelta,
    Usage,
    UsageUpdate,
    estimate_text_tokens,
    estimate_tokens,
)
from ..types._values import is_number
from ._compose import Handler, Middleware, owning
from ._ledger import Budget, Hold, MemoryLedger, Refusal, SpendLedger

if TYPE_CHECKING:
    from ..redis import RedisState

__all__ = ["spend_limit"]

_log = logging.getLogger("aichat")

_ZERO: Final = Decimal(0)
#: So many chunks may come before we look at what they cost; after a long one we look at once.
_CHUNKS: Final = 32
_LONG: Final = 256
_NAME: Final = "spending"


def spend_limit(
    *,
    per_call: Money | None = None,
    total: Money | None = None,
    per: float | timedelta | None = None,
    key: Callable[[ChatRequest], str] | None = None,
    prices: PriceBook | Mapping[str, Price] | None = None,
    unpriced: Literal["refuse", "allow"] = "refuse",
    expected_output: int = 1000,
    ledger: SpendLedger | None = None,
    redis: str | Secret | RedisState | None = None,
    name: str = _NAME,
) -> Middleware:
    """
    Raise `SpendLimitError` before more is spent than this, in US dollars.

    *per_call* is for each call: one whose prompt alone costs more is not sent, and a stream
    is ended, with ``partial``, soon after it has passed it. *total* is for all calls
    together, or for those of each *key*: once, or within any *per* seconds. When it is used
    up nothing more is sent; the error's `retry_after` says when there is room again::

        spend_limit(per_call="0.10")
        spend_limit(total=10, per=timedelta(hours=1), key=lambda r: r.user or "nobody")

    For a call under way its prompt and *expected_output* tokens are put aside, or its
    *max_tokens* if they are less, and settled by what it has really cost. So calls at the
    same time overspend by no more than what each one's estimate is wrong by. A call that
    fails before it has said anything costs nothing. A model without a price is refused,
    unless *unpriced* is ``"allow"``.

    It sees what is called beneath it: inside a `cache` hits do not come by, inside a
    `fallback` each model is looked at alone. Limits with the same *ledger* share their
    books, and *ledger* may be one of several processes. *redis*, an address or a `RedisState`,
    stands for a `RedisLedger`: the *total* is that of all processes that use the same *name*
    and namespace. What it opens for an address the client closes. Loads the price table, which
    takes a second or two. Raises `ConfigError`.
    """
    limits = _Limits.checked(per_call, total, per, unpriced, expected_output)
    if key is not None and limits.budget is None:
        raise ConfigError("spend_limit(key=…) has a total for each key: set total.")
    book = PriceBook.of(prices).load()
    if redis is None:
        if name != _NAME:
            raise ConfigError("spend_limit: a name is for those that share redis.")
        return _limiting(
            limits, key, book, unpriced, MemoryLedger() if ledger is None else ledger
        )
    if ledger is not None:
        raise ConfigError("spend_limit takes either a ledger or redis.")
    if limits.budget is None:
        raise ConfigError("spend_limit(redis=…) shares a total: set total.")
    from ..redis._owned import Owned
    from ._redis_ledger import RedisLedger, check_budget

    check_budget(limits.budget)
    owned = Owned(redis)
    shared = RedisLedger(owned.state, name=name)

    async def aclose() -> None:
        try:
            await shared.aclose()
        finally:
            await owned.aclose()

    return owning(_limiting(limits, key, book, unpriced, shared), aclose)


def _limiting(
    limits: _Limits,
    key: Callable[[ChatRequest], str] | None,
    book: PriceBook,
    unpriced: str,
    books: SpendLedger,
) -> Middleware:
    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        tier = request.service_tier
        context = {"service_tier": tier} if tier else {}
        found = book.find((request.model,), context=context)
        if found is None and unpriced == "refuse":
            raise _refused(request, "unpriced", limits, _UNPRICED)
        estimate = _Estimate.of(request, found, limits)
        if limits.per_call is not None and estimate.least > limits.per_call:
            raise _refused(request, "call", limits, _TOO_LONG, estimate.least)
        guard = _Guard(request, book, found, limits, estimate)
        hold = None
        if limits.budget is not None:
            name = "" if key is None else key(request)
            hold = await _held(books, name, limits.budget, limits, estimate, request)
        failed = False
        try:
            chunks = call_next(request)
            text, take, keep = guard.texts.append, guard.take, guard.kept.append
            watched, unseen = limits.per_call is not None, 0
            async for chunk in chunks:
                # All that most chunks pay.
                if type(chunk) is TextDelta:
                    text(chunk.text)
                    long = len(chunk.text) > _LONG
                else:
                    long = take(chunk)
                if watched:
                    keep(chunk)
                    unseen += 1
                    if long or unseen == _CHUNKS:
                        unseen = 0
                        if guard.exceeded():
                            # At once, before anybody further out has a say.
                            await chunks.aclose()
                            raise guard.error()
                yield chunk
        except AIChatError:
            failed = True
            raise
        finally:
            if hold is not None:
                hold.settle(guard.spent(failed=failed))

    return middleware


_UNPRICED: Final = (
    "No price is known for this model, so that it was not sent. Give it one, as in "
    "prices={'provider:model': Price(input, output)}, or pass unpriced='allow'."
)
_TOO_LONG: Final = "The prompt alone would cost more than one call may."
_STOPPED: Final = "The answer was stopped, as it cost more than one call may."
_USED_UP: Final = "What may be spent is used up."


@frozen
class _Limits:
    per_call: Decimal | None
    budget: Budget | None
    expected_output: int

    @classmethod
    def checked(
        cls,
        per_call: Money | None,
        total: Money | None,
        per: float | timedelta | None,
        unpriced: str,
        expected_output: int,
    ) -> _Limits:
        if per_call is None and total is None:
            raise ConfigError(
                "spend_limit limits nothing: set per_call, total or both."
            )
        if per is not None and total is None:
            raise ConfigError("spend_limit(per=…) is the window of a total: set total.")
        seconds = per.total_seconds() if isinstance(per, timedelta) else per
        if seconds is not None and not (
            is_number(seconds) and isfinite(seconds) and seconds > 0
        ):
            raise ConfigError(
                f"spend_limit: per must be a timedelta or seconds above 0, got {per!r}."
            )
        if unpriced not in ("refuse", "allow"):
            raise ConfigError(
                f"spend_limit: unpriced must be 'refuse' or 'allow', got {unpriced!r}."
            )
        if type(expected_output) is not int or expected_output < 0:
            raise ConfigError(
                "spend_limit: expected_output must be a number of tokens, got "
                f"{expected_output!r}."
            )
        return cls(
            None if per_call is None else to_money(per_call),
            None if total is None else Budget(to_money(total), seconds),
            expected_output,
        )


@frozen
class _Estimate:
    """What is known before anything is sent."""

    tokens: int
    #: The prompt; *amount* has something for the answer in it.
    least: Decimal
    amount: Decimal

    @classmethod
    def of(
        cls, request: ChatRequest, found: Found | None, limits: _Limits
    ) -> _Estimate:
        if found is None:
            return cls(0, _ZERO, _ZERO)
        tokens = estimate_tokens(request)
        output = limits.expected_output
        if request.max_tokens is not None:
            output = min(output, request.max_tokens)
        least = _price(found, tokens, 0)
        amount = _price(found, tokens, output)
        if limits.per_call is not None:
            amount = max(least, min(amount, limits.per_call))
        return cls(tokens, least, amount)


def _price(found: Found, read: int, written: int) -> Decimal:
    usage = Usage(input_tokens=read, output_tokens=written)
    return charge(found, usage, guessed=True).total


async def _held(
    ledger: SpendLedger,
    key: str,
    budget: Budget,
    limits: _Limits,
    estimate: _Estimate,
    request: ChatRequest,
) -> Hold:
    held = await ledger.hold(key, budget, least=estimate.least, amount=estimate.amount)
    if not isinstance(held, Refusal):
        return held
    error = _refused(
        request,
        "total",
        limits,
        _USED_UP,
        estimate.least,
        spent=str(held.spent),
        held=str(held.held),
    )
    error.retry_after = held.retry_after
    raise error


def _refused(
    request: ChatRequest,
    scope: str,
    limits: _Limits,
    message: str,
    estimate: Decimal | None = None,
    **facts: Any,
) -> SpendLimitError:
    limit = limits.per_call
    if scope == "total" and limits.budget is not None:
        limit = limits.budget.limit
        facts["per"] = limits.budget.per
    known = {"limit": limit, "estimate": estimate}
    facts |= {name: str(value) for name, value in known.items() if value is not None}
    figures = ", ".join(
        f"{n} {facts[n]}" for n in ("limit", "spent", "held", "estimate") if n in facts
    )
    return SpendLimitError(
        f"{message} (US dollars: {figures})" if figures else message,
        operation="chat",
        provider=request.provider_name,
        model=request.model_name,
        attempts=0,
        context={"scope": scope, "currency": "USD", **facts},
    )


@final
class _Guard:
    """Watches what a running answer costs."""

    def __init__(
        self,
        request: ChatRequest,
        book: PriceBook,
        found: Found | None,
        limits: _Limits,
        estimate: _Estimate,
    ) -> None:
        self._request = request
        self._book = book
        self._found = found
        self._limits = limits
        self._estimate = estimate
        self._reading = Reading(request)
        #: The pieces of the output.
        self.texts = self._reading.texts
        #: For the partial response; filled only if there may be one.
        self.kept: list[StreamChunk] = []
        #: Output tokens that one call may have; ``None``: any number.
        self._allowed = self._most(estimate.tokens)
        #: How many texts have been looked at, and what they were.
        self._seen = 0
        self._tokens = 0

    def take(self, chunk: StreamChunk) -> bool:
        """Note a chunk that is not text; tell whether it was a long one."""
        known = len(self.texts)
        self._reading.note(chunk)
        match chunk:
            case UsageUpdate(usage=Usage(input_tokens=int(read))):
                self._allowed = self._most(read)
            case ResponseStart():
                self._begin(chunk)
            case _:
                pass  # it counts, if at all, by its text
        return any(len(text) > _LONG for text in self.texts[known:])

    def _begin(self, start: ResponseStart) -> None:
        if start.from_cache:
            self._found = None
        elif self._found is not None:
            # Another one may answer than was asked.
            response = self._reading.response()
            found = find_price(response, self._request, prices=self._book)
            self._found = found or self._found
        self._allowed = self._most(self._estimate.tokens)

    def _most(self, read: int) -> int | None:
        limit, found = self._limits.per_call, self._found
        if limit is None or found is None:
            return None
        rate = found.price.for_prompt(read).rate("output")
        left = max(limit - _price(found, read, 0), _ZERO)
        return int(left * 1_000_000 / rate) if rate else None

    def exceeded(self) -> bool:
        """Whether there is more output than there may be; asked now and then."""
        texts = self.texts
        if self._allowed is None or len(texts) == self._seen:
            # Only more of the answer says that it goes on.
            return False
        self._tokens += estimate_text_tokens("".join(texts[self._seen :]))
        self._seen = len(texts)
        told = self._reading.usage.output_tokens or 0
        return max(self._tokens, told) > self._allowed

    def error(self) -> SpendLimitError:
        """What to raise when it was exceeded."""
        error = _refused(
            self._request, "call", self._limits, _STOPPED, self.spent(failed=True)
        )
        error.attempts = None
        so_far = Accumulator()
        for chunk in self.kept:
            so_far.add(chunk)
        error.partial = so_far.response()
        return error

    def spent(self, *, failed: bool) -> Decimal:
        """What the call has cost in the end, as far as anybody knows."""
        reading = self._reading
        if not self.texts and (failed or not reading.came):
            # Who cancels a request that was sent pays for its prompt, if for anything.
            return _ZERO if failed else self._estimate.least
        try:
            cost = reading.cost(self._book)
        except Exception:
            # The answer is there, and must not be lost for that.
            _log.exception("What a call cost could not be told")
            cost = None
        return self._estimate.amount if cost is None else cost.total
