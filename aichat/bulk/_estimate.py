"""What a file of requests would take, without asking anybody."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from decimal import Decimal
from pathlib import Path
from typing import Final, Unpack, final

from attrs import frozen

from .._client import Client
from ..costs import Found, PriceBook, charge
from ..types import ChatRequest, RequestOptions, Usage, estimate_tokens
from ._file import checked_paths, load_journal
from ._index import IdIndex
from ._journal import entries_of
from ._lines import BadLine, Line
from ._reader import Reader
from ._run import Prices, book_of

__all__ = ["Estimate", "estimate_file"]

_MOST_BAD: Final = 20


@final
@frozen(kw_only=True)
class Estimate:
    """What a run would do. Tokens are estimated, and so is what they cost."""

    lines: int
    #: Of them: answered already, and not asked again.
    done: int
    #: Of them: no requests.
    bad: int
    #: What is wrong with the first ones.
    mistakes: tuple[str, ...]
    input_tokens: int
    #: As many as each answer may have at most, or else as were expected.
    output_tokens: int
    #: In US dollars: the prompts alone, and all of it.
    input_cost: Decimal
    cost: Decimal
    #: Requests whose price nobody knows. They are not in the costs.
    unpriced: int

    @property
    def left(self) -> int:
        """Requests that would be asked."""
        return self.lines - self.done - self.bad


async def estimate_file(
    client: Client,
    input: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    /,
    *,
    expected_output: int = 1000,
    batch: bool = False,
    any_model: bool = False,
    prices: Prices = None,
    **options: Unpack[RequestOptions],
) -> Estimate:
    """
    Tell what `run_file` would do, its tokens and its cost. Sends nothing and writes nothing.

    What *output* has is not counted again. An answer is taken to have *expected_output*
    tokens, or the request's ``max_tokens`` if they are fewer. *batch* prices are those of
    the provider's own batches. Raises as `run_file` does.
    """
    source = Path(input)
    checked_paths(source)
    reader = Reader(client, source, options)
    with ExitStack() as stack:
        index = stack.enter_context(IdIndex())
        if output is not None:
            await load_journal(entries_of(Path(output)), index)
        survey = await reader.survey(index, strict=False, any_model=any_model)
        return await _sum(
            reader.todo(index),
            _Pricing(book_of(prices), batch),
            expected_output,
            survey.lines,
            survey.done,
        )


async def _sum(
    lines: AsyncGenerator[Line | BadLine, None],
    pricing: _Pricing,
    expected: int,
    total: int,
    done: int,
) -> Estimate:
    bad = read = written = unpriced = 0
    mistakes: list[str] = []
    input_cost = cost = Decimal(0)
    async with aclosing(lines):
        async for line in lines:
            if isinstance(line, BadLine):
                bad += 1
                if len(mistakes) < _MOST_BAD:
                    mistakes.append(line.error.message)
                continue
            request = line.request
            sent = estimate_tokens(request)
            answered = min(expected, request.max_tokens or expected)
            read, written = read + sent, written + answered
            found = pricing.of(request)
            if found is None:
                unpriced += 1
            else:
                input_cost += _price(found, sent, 0)
                cost += _price(found, sent, answered)
    return Estimate(
        lines=total,
        done=done,
        bad=bad,
        mistakes=tuple(mistakes),
        input_tokens=read,
        output_tokens=written,
        input_cost=input_cost,
        cost=cost,
        unpriced=unpriced,
    )


def _price(found: Found, read: int, written: int) -> Decimal:
    usage = Usage(input_tokens=read, output_tokens=written)
    return charge(found, usage, guessed=True).total


@final
class _Pricing:
    """Prices by model; the same ones come again and again."""

    _MOST: Final = 1000

    def __init__(self, book: PriceBook | None, batch: bool) -> None:
        self._book = book
        self._batch = batch
        self._found: dict[tuple[str, str | None], Found | None] = {}

    def of(self, request: ChatRequest) -> Found | None:
        """The price for *request*."""
        if self._book is None:
            return None
        key = (request.model, request.service_tier)
        if key not in self._found:
            if len(self._found) >= self._MOST:
                self._found.clear()
            context = {"processing": "batch"} if self._batch else {}
            if request.service_tier:
                context["service_tier"] = request.service_tier
            self._found[key] = self._book.find((request.model,), context=context)
        return self._found[key]
