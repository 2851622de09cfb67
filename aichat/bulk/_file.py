"""A whole file of requests, through crashes and interruptions."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, Unpack, final

import anyio.lowlevel
import anyio.to_thread
from attrs import define, field, frozen

from .._client import Client
from ..costs import Money, to_money
from ..errors import AIChatError, ConfigError, SpendLimitError
from ..middleware import PriceBook, spend_limit
from ..types import RequestOptions
from ._brake import Brake
from ._failures import Failures, failures_beside
from ._gate import Gate
from ._index import IdIndex
from ._journal import Entry, Journal
from ._lines import BadLine, Line, as_output, error_facts
from ._progress import Progress, Tally
from ._reader import Reader
from ._run import BulkResult, Prices, book_of, run_each

__all__ = ["Stopped", "Summary", "checked_paths", "load_journal", "run_file"]

#: Why a run ended before its last line.
Stopped: TypeAlias = Literal["asked", "failures", "spent", "error"]

#: Seconds between two looks at the disk: what a power failure may cost.
_SYNC: Final = 1.0
_AT_ONCE: Final = 256


@final
@frozen(kw_only=True)
class Summary:
    """What a run has come to."""

    progress: Progress
    output: Path
    #: ``None`` if there are none.
    failures: Path | None
    #: ``None``: it has seen every line.
    stopped: Stopped | None = None
    #: What ended it, where it was an error.
    error: AIChatError | None = None

    @property
    def ok(self) -> bool:
        """Whether every line has its answer."""
        return self.progress.left == 0 and self.progress.failed == 0


async def run_file(
    client: Client,
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    /,
    *,
    failures: str | os.PathLike[str] | None = None,
    concurrency: int = 64,
    patience: int = 5,
    strict: bool = False,
    any_model: bool = False,
    max_failures: int | None = None,
    max_cost: Money | None = None,
    prices: Prices = None,
    brake: Brake | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Unpack[RequestOptions],
) -> Summary:
    """
    Answer every line of *input* into *output*, and go on where an earlier run has ended.

    Lines are ours or OpenAI's; see `aichat.bulk`. *output* gets one line per answer, as they
    come, and is the journal as well: what it has an answer for is not asked again, however
    the last run ended. What was under way when a process was killed is asked once more, as
    nobody knows what came of it: *concurrency* requests at most. What fails goes to
    *failures*, beside *output* by default, which may be the *input* of another run; running
    the same again asks for it, too. Answers of another model than a line asks now are not
    taken for its own: that is an error, unless *any_model* will do. Memory does not grow with
    the number of lines.

    Bad lines are failures, or when *strict* nothing is sent if there are any. It ends early
    when *brake* is pulled, after *max_failures*, when the answers in *output* and the next one
    would cost more than *max_cost* US dollars, and when one request after the other fails
    with the same for all; what is under way is finished. Cancelling it ends that, too.

    Raises `ConfigError` for files that will not do and `InvalidRequestError` for ids that
    occur twice, before anything is sent::

        summary = await bulk.run_file(client, "questions.jsonl", "answers.jsonl")
        print(summary.progress.succeeded, summary.failures)
    """
    source, target = Path(input), Path(output)
    losses = failures_beside(target, source) if failures is None else Path(failures)
    checked_paths(source, target, losses)
    if max_failures is not None and (type(max_failures) is not int or max_failures < 0):
        raise ConfigError(
            f"max_failures must be a whole number, 0 or more; got {max_failures!r}."
        )
    limit = None if max_cost is None else to_money(max_cost)
    reader = Reader(client, source, options)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(target))
        index = stack.enter_context(IdIndex())
        spent = await load_journal(journal.entries(), index)
        survey = await reader.survey(index, strict=strict, any_model=any_model)
        tally = Tally(time.monotonic, survey.lines, survey.done, spent)
        book = book_of(prices)
        if limit is not None:
            client = _limited(client, limit, spent, book)
        run = _FileRun(
            journal, index, reader, tally, losses, max_failures, brake, on_progress
        )
        run.failures = stack.enter_context(Failures(losses))
        await run.all(client, concurrency, patience, book)
        return run.summary()


def checked_paths(source: Path, *targets: Path) -> None:
    """Raise `ConfigError` unless these are different files, and the first one is there."""
    if not source.is_file():
        raise ConfigError(f"There is no file {source}.")
    paths = [source, *targets]
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise ConfigError(
                f"{paths[index]} is named twice: input, output and failures must be "
                "different files."
            )


async def load_journal(entries: Iterator[Entry], index: IdIndex) -> Decimal:
    """Note in *index* what is done, and return what it has cost."""
    spent = Decimal(0)
    for seen, (name, cost, model) in enumerate(entries):
        if seen % _AT_ONCE == _AT_ONCE - 1:
            await anyio.lowlevel.checkpoint()
        index.add_done(name, model)
        spent += cost or 0
    return spent


def _limited(
    client: Client, limit: Decimal, spent: Decimal, book: PriceBook | None
) -> Client:
    if spent >= limit:
        raise SpendLimitError(
            f"What may be spent is used up: the answers so far have cost {spent:f} of "
            f"{limit:f} US dollars.",
            operation="bulk",
            context={"scope": "total", "limit": str(limit), "spent": str(spent)},
        )
    return client.use(spend_limit(total=limit - spent, prices=book))


@final
@define(eq=False)
class _FileRun:
    """One run over a file."""

    journal: Journal
    index: IdIndex
    reader: Reader
    tally: Tally
    losses: Path
    max_failures: int | None
    asked: Brake | None
    on_progress: Callable[[Progress], object] | None
    failures: Failures = field(init=False)
    #: For whoever asks, and for us.
    brake: Brake = field(factory=Brake, init=False)
    too_many: bool = field(default=False, init=False)
    error: AIChatError | None = field(default=None, init=False)
    gate: Gate | None = field(default=None, init=False)

    async def all(
        self, client: Client, concurrency: int, patience: int, book: PriceBook | None
    ) -> None:
        async with AsyncExitStack() as closing:
            if self.asked is not None:
                self.asked.then(self.brake.pull)
                closing.callback(self.asked.forget, self.brake.pull)
            results = await closing.enter_async_context(
                run_each(
                    client,
                    self.lines(),
                    concurrency=concurrency,
                    patience=patience,
                    book=book,
                    brake=self.brake,
                    on_limit=self.watch,
                    on_result=self.keep,
                )
            )
            synced = time.monotonic()
            try:
                async for _ in results:
                    if time.monotonic() - synced >= _SYNC:
                        await anyio.to_thread.run_sync(self.journal.sync)
                        synced = time.monotonic()
            except AIChatError as error:
                if isinstance(error, ConfigError) and error.operation == "bulk":
                    raise
                self.error = error

    async def lines(self) -> AsyncGenerator[Line, None]:
        """Yield the requests that are still to be asked, and put aside what is none."""
        async with aclosing(self.reader.todo(self.index)) as found:
            async for line in found:
                if isinstance(line, Line):
                    yield line  # noqa: ASYNC119 -- closed by the chain
                    continue
                self.lose(line, line.error)
                if self.brake.pulled:
                    return

    def keep(self, result: BulkResult[Line]) -> None:
        """
        Write a result down, in the task that got it and before it does anything else.

        What is paid for must not be lost to whoever is cancelled or killed next.
        """
        line, response = result.asked, result.response
        if response is None:
            assert result.error is not None
            self.lose(line, result.error)
            return
        model = line.request.model
        self.journal.append(
            as_output(line.id, line.form, response, result.cost, model=model)
        )
        self.tally.succeed(response.usage, result.cost)
        self.tell()

    def lose(self, line: Line | BadLine, error: Exception) -> None:
        self.failures.add(line.raw, error_facts(error), line.number)
        self.tally.fail(bad=isinstance(line, BadLine))
        self.tell()
        if self.max_failures is not None and self.tally.failed > self.max_failures:
            self.too_many = True
            self.brake.pull()

    def watch(self, gate: Gate) -> None:
        self.gate = gate

    def tell(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.progress())

    def progress(self) -> Progress:
        gate = self.gate
        if gate is None:
            return self.tally.progress()
        return self.tally.progress(gate.active, int(gate.limit))

    def summary(self) -> Summary:
        progress = self.tally.progress()
        return Summary(
            progress=progress,
            output=self.journal.path,
            failures=self.losses if self.failures.any else None,
            stopped=self.why() if progress.left or self.error else None,
            error=self.error,
        )

    def why(self) -> Stopped | None:
        if self.error is not None:
            facts: dict[str, Any] = self.error.context
            used_up = facts.get("scope") == "total"
            return "spent" if used_up else "error"
        if self.too_many:
            return "failures"
        return "asked" if self.brake.pulled else None
