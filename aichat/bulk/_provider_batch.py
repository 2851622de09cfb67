"""
A file of requests as batches of the provider's own: cheaper, and answered within a day.

What has been handed in stands in a job file beside the output. It is written before and after
each batch is handed in: a process that is killed in between leaves a batch that is there and
that nobody knows, or none, and no provider says which. So the next run says so, names the
batches that it may be, and lets somebody decide.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, Unpack, final

import anyio.to_thread
from attrs import define, evolve, field, frozen

from .._client import Client
from ..errors import (
    AIChatError,
    ConfigError,
    InvalidRequestError,
    StreamError,
)
from ..middleware import PriceBook
from ..types import (
    Batch,
    BatchRequest,
    BatchResult,
    BatchStatus,
    RequestOptions,
    dumps,
    from_json,
    loads,
    to_json,
)
from ._failures import Failures, failures_beside
from ._file import Summary, checked_paths, load_journal
from ._index import IdIndex
from ._journal import Journal
from ._lines import BadLine, Form, Line, as_output, error_facts
from ._progress import Progress, Tally
from ._reader import Reader
from ._run import Prices, book_of, priced

__all__ = ["BatchJob", "Unsure", "run_file_as_batches"]

#: What to do about a batch of which nobody knows whether it was handed in: take this one for
#: it, by its id, or hand it in once more.
Unsure: TypeAlias = str | Literal["resubmit"]

#: Of one batch. Providers take 50,000 and more; this is what is in memory at a time.
_REQUESTS: Final = 10_000
_BYTES: Final = 64 * 10**6
#: A batch that was made so many seconds earlier than we began to hand it in may be it, as
#: clocks differ.
_CLOCKS: Final = 300.0


@final
@frozen(kw_only=True)
class _Part:
    """All requests for one model, from one line to another, that were still to be done."""

    model: str
    requests: int
    #: The lines of the first and the last of them.
    first: int
    last: int
    #: When it was handed in, in seconds since the epoch.
    at: float

    @property
    def provider(self) -> str:
        return self.model.partition(":")[0]


@final
@frozen(kw_only=True)
class _Handed:
    """A part, and the batch that it has become."""

    part: _Part
    batch: Batch


@final
@frozen(kw_only=True)
class BatchJob:
    """What stands in a job file."""

    batches: tuple[_Handed, ...] = ()
    #: What is being handed in.
    intent: _Part | None = None
    #: Whether everything has been handed in.
    complete: bool = False
    #: Of the input, in bytes: another file is not gone on with.
    size: int = -1


async def run_file_as_batches(
    client: Client,
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    /,
    *,
    failures: str | os.PathLike[str] | None = None,
    job: str | os.PathLike[str] | None = None,
    wait: bool = True,
    poll: float = 30.0,
    strict: bool = False,
    any_model: bool = False,
    unsure: Unsure | None = None,
    prices: Prices = None,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Unpack[RequestOptions],
) -> Summary:
    """
    Hand *input* to the providers' own batches and collect the answers into *output*.

    Lines, *output*, *failures* and *any_model* are as with `run_file`. The *job* file, beside *output* by
    default, says what has been handed in: the same call again, also in another process, goes
    on from there and hands in nothing twice. Unless it is to *wait* it returns at once, with
    `Summary.stopped` ``"asked"`` while there is something to wait for. *poll* is in seconds.

    If a process was killed while it handed something in, that may be there or not: the next
    call raises `ConfigError` that names the batches it may be. Pass the id of the right one,
    or ``"resubmit"``, as *unsure*. Batches do not pass the client's middleware.
    """
    source, target = Path(input), Path(output)
    losses = failures_beside(target, source) if failures is None else Path(failures)
    place = target.with_name(f"{target.name}.job.json") if job is None else Path(job)
    checked_paths(source, target, losses, place)
    reader = Reader(client, source, options)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(target))
        index = stack.enter_context(IdIndex())
        spent = await load_journal(journal.entries(), index)
        survey = await reader.survey(index, strict=strict, any_model=any_model)
        run = _BatchRun(
            client,
            reader,
            index,
            journal,
            place,
            Tally(time.monotonic, survey.lines, survey.done, spent),
            book_of(prices),
            on_progress,
        )
        run.read_job()
        if run.job.intent is not None:
            await run.decide(run.job.intent, unsure)
        if not run.job.complete:
            await run.hand_in()
        waiting = not await run.all_done() and not wait
        lost = None
        if not waiting:
            await run.collect(poll)
            with Failures(losses) as kept:
                await run.settle(kept)
                lost = losses if kept.any else None
        return Summary(
            progress=run.tally.progress(),
            output=target,
            failures=lost,
            stopped="asked" if waiting else None,
        )


@final
@define(eq=False)
class _BatchRun:
    client: Client
    reader: Reader
    index: IdIndex
    journal: Journal
    place: Path
    tally: Tally
    book: PriceBook | None
    on_progress: Callable[[Progress], object] | None
    job: BatchJob = field(factory=BatchJob, init=False)
    #: What was refused as a whole, and why.
    refused: list[tuple[_Part, AIChatError]] = field(factory=list, init=False)

    # -- the job file ------------------------------------------------------------------

    def read_job(self) -> None:
        size = self.reader.path.stat().st_size
        try:
            text = self.place.read_bytes()
        except FileNotFoundError:
            self.job = BatchJob(size=size)
            return
        try:
            self.job = from_json(BatchJob, text)
        except ValueError:
            raise ConfigError(f"{self.place} is no job file of aichat's.") from None
        if self.job.size != size:
            raise ConfigError(
                f"{self.reader.path} is not what it was when {self.place} was begun. "
                "Collect that job first, with the file as it was, or name another output."
            )

    def write_job(self, job: BatchJob) -> None:
        """Replace the file as a whole, and be sure that it is on the disk."""
        self.job = job
        new = self.place.with_name(f"{self.place.name}.new")
        with new.open("wb") as file:
            file.write(to_json(job) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.place)

    # -- handing in --------------------------------------------------------------------

    async def hand_in(self) -> None:
        """Hand in what is neither done nor handed in."""
        handed: dict[str, int] = {}
        for each in self.job.batches:
            handed[each.part.model] = max(
                handed.get(each.part.model, 0), each.part.last
            )
        groups: defaultdict[str, list[Line]] = defaultdict(list)
        count = size = 0
        async with aclosing(self.reader.todo(self.index)) as lines:
            async for line in lines:
                # Bad ones are failures in the end.
                if isinstance(line, BadLine):
                    continue
                if line.number <= handed.get(line.request.model, 0):
                    continue
                groups[line.request.model].append(line)
                count, size = count + 1, size + len(line.raw)
                if count >= _REQUESTS or size >= _BYTES:
                    model = max(groups, key=lambda name: len(groups[name]))
                    group = groups.pop(model)
                    count -= len(group)
                    size -= sum(len(each.raw) for each in group)
                    await self.submit(model, group)
        for model, group in groups.items():
            await self.submit(model, group)
        if self.job.batches:
            self.write_job(evolve(self.job, complete=True))

    async def submit(self, model: str, lines: list[Line]) -> None:
        part = _Part(
            model=model,
            requests=len(lines),
            first=lines[0].number,
            last=lines[-1].number,
            at=time.time(),
        )
        self.write_job(evolve(self.job, intent=part))
        try:
            batch = await self.client.batches.submit([
                BatchRequest(line.id, line.request) for line in lines
            ])
        except AIChatError as error:
            if _was_not_handed_in(error):
                self.write_job(evolve(self.job, intent=None))
            raise
        self.take(part, batch)

    def take(self, part: _Part, batch: Batch) -> None:
        """*batch* is what *part* has become."""
        handed = _Handed(part=part, batch=batch)
        self.write_job(
            evolve(self.job, batches=(*self.job.batches, handed), intent=None)
        )

    async def decide(self, part: _Part, unsure: Unsure | None) -> None:
        """Settle whether *part* was handed in by who was killed meanwhile."""
        if unsure == "resubmit":
            self.write_job(evolve(self.job, intent=None))
            return
        if unsure is not None:
            batch = await self.client.batches.get(unsure, provider=part.provider)
            self.take(part, batch)
            return
        maybe = await self.candidates(part)
        found = f"It may be {', '.join(maybe)}" if maybe else "None looks like it"
        raise ConfigError(
            f"The last run ended while it handed in lines {part.first} to {part.last} "
            f"({part.requests} requests) to {part.provider}: that batch may be there or "
            f"not. {found}. Say which it is with unsure='ID' (--adopt ID), or that there "
            "is none with unsure='resubmit' (--resubmit).",
            operation="bulk",
        )

    async def candidates(self, part: _Part) -> list[str]:
        known = {each.batch.id for each in self.job.batches}
        found: list[str] = []
        async with aclosing(self.client.batches.list(part.provider)) as batches:
            async for batch in batches:
                made = batch.created_at
                if made is not None and made < part.at - _CLOCKS:
                    break  # the newest come first
                fits = batch.counts.total in (None, 0, part.requests)
                if fits and batch.id not in known:
                    found.append(batch.id)
        return found

    # -- collecting --------------------------------------------------------------------

    async def all_done(self) -> bool:
        """Look at each batch once."""
        looked: list[_Handed] = []
        for each in self.job.batches:
            batch = each.batch
            if not batch.done:
                batch = await self.client.batches.get(batch)
            looked.append(evolve(each, batch=batch))
        if self.job.batches:
            self.write_job(evolve(self.job, batches=tuple(looked)))
        return all(each.batch.done for each in looked)

    async def collect(self, poll: float) -> None:
        """Wait for each batch, and fetch what became of its requests."""
        for each in self.job.batches:
            batch = each.batch
            if not batch.done:
                batch = await self.client.batches.wait(batch, poll=poll)
            # Its status may be from the job file; where its results are is news.
            batch = await self.client.batches.get(batch)
            await self.fetch(batch, each.part)
            await anyio.to_thread.run_sync(self.journal.sync)

    async def fetch(self, batch: Batch, part: _Part) -> None:
        try:
            async with aclosing(self.client.batches.results(batch)) as results:
                async for result in results:
                    self.keep(result, part)
        except AIChatError as error:
            if batch.status is BatchStatus.COMPLETED:
                raise
            # One that was refused as a whole has no results, and says why.
            self.refused.append((part, error))

    def keep(self, result: BatchResult, part: _Part) -> None:
        response = result.response
        if response is None:
            error = result.error or StreamError("The batch has no answer to this.")
            self.index.fail(result.id, dumps(error_facts(error)))
            return
        form = self.index.form_of(result.id)
        if form is None or not self.index.finish(result.id):
            return  # there already, from a run that was interrupted
        # The request is in a file; whom it was for is known.
        asked = evolve(
            response,
            provider=response.provider or part.provider,
            model=response.model or part.model.partition(":")[2],
        )
        cost = priced(asked, self.book, batch=True)
        self.journal.append(
            as_output(result.id, Form(form), response, cost, model=part.model)
        )
        self.tally.succeed(response.usage, cost)
        self.tell()

    async def settle(self, failures: Failures) -> None:
        """Put what has no answer into *failures*, as the line that it was."""
        async with aclosing(self.reader.todo(self.index)) as lines:
            async for line in lines:
                failures.add(line.raw, self.why(line), line.number)
                self.tally.fail(bad=isinstance(line, BadLine))
                self.tell()
        self.place.unlink(missing_ok=True)

    def why(self, line: Line | BadLine) -> Mapping[str, Any]:
        if isinstance(line, BadLine):
            return error_facts(line.error)
        if (found := self.index.error_of(line.id)) is not None:
            facts: Mapping[str, Any] = loads(found)
            return facts
        for part, error in self.refused:
            within = part.first <= line.number <= part.last
            if within and part.model == line.request.model:
                return error_facts(error)
        error = StreamError("The batch has ended without a result for this request.")
        return error_facts(error)

    def tell(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.tally.progress())


def _was_not_handed_in(error: AIChatError) -> bool:
    """Whether it is certain that there is no batch."""
    if isinstance(error, (InvalidRequestError, ConfigError)):
        return True
    # 408 is a server that may have gone on without us.
    return error.status is not None and error.status < 500 and error.status != 408
