"""``aichat bulk``: a file of requests, answered into another file."""

from __future__ import annotations

import asyncio
import signal
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import AIChatError, ConfigError
from ..types import dumps
from ._asking import add_config
from ._bulk_progress import Display, amount, lasting
from ._console import Console
from ._numbers import at_least, duration
from ._trouble import explain
from ._whom import add_whom, opened

if TYPE_CHECKING:
    from .._client import Client
    from ..bulk import Brake, Estimate, Progress, Summary
    from ._parser import Commands

__all__ = ["add"]

_FAILED, _WRONG, _NOT_YET, _INTERRUPTED = 1, 2, 3, 128 + 2
_FINISHING: Final = (
    "Finishing what is under way; Ctrl-C again drops it. Run the same again to go on."
)
_EPILOG: Final = """\
A line of INPUT is a request of ours or of OpenAI's batch format:
  {"id": "1", "prompt": "Name three rivers."}
  {"id": "2", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
  {"custom_id": "3", "method": "POST", "url": "/v1/chat/completions", "body": {...}}

What OUTPUT has an answer for is not asked again: after a crash or Ctrl-C run the same again.
So is what has failed; or give the file of failures as the input.

Each line of OUTPUT says which model was asked. Where INPUT asks another one now, nothing is
sent: name another OUTPUT, or say --any-model to keep the answers that there are.

exit status: 0 every line has its answer, 1 some have not, 2 wrong usage or input,
3 a batch is not done yet, 130 interrupted
"""


def add(commands: Commands) -> None:
    """Add the command."""
    from argparse import RawDescriptionHelpFormatter

    parser = commands.add_parser(
        "bulk",
        help="answer a file of requests into another file, through crashes",
        description="Thousands of requests from a file.",
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = verbs.add_parser(
        "run",
        help="answer every line",
        description="Answer every line of INPUT into OUTPUT, as many at a time as the "
        "provider bears. Real providers cost real money: see --dry-run and --max-cost.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_config(run)
    run.add_argument("input", metavar="INPUT", help="one request per line")
    run.add_argument(
        "-o", "--output", metavar="OUTPUT", required=True, help="one answer per line"
    )
    run.add_argument(
        "--failures",
        metavar="FILE",
        help="where lines that failed go; default: beside OUTPUT",
    )
    add_whom(run)
    run.add_argument(
        "--timeout",
        type=duration,
        metavar="SECONDS",
        help="longest silence: 30, 90s or 2m",
    )
    run.add_argument(
        "--any-model",
        action="store_true",
        help="take the answers in OUTPUT for good, whichever model gave them",
    )
    pace = run.add_argument_group("how fast")
    pace.add_argument(
        "--concurrency",
        type=at_least(1),
        default=64,
        metavar="N",
        help="at most so many at a time; default: %(default)s",
    )
    pace.add_argument(
        "--patience",
        type=at_least(0),
        default=5,
        metavar="N",
        help="put a line back so often for which there is no room; default: %(default)s",
    )
    ends = run.add_argument_group("when to stop")
    ends.add_argument(
        "--strict", action="store_true", help="send nothing if a line is no request"
    )
    ends.add_argument("--max-failures", type=at_least(0), metavar="N")
    ends.add_argument(
        "--max-cost",
        metavar="USD",
        help="with what OUTPUT has cost so far; needs aichat[cost]",
    )
    ends.add_argument(
        "--dry-run",
        action="store_true",
        help="send nothing; estimate tokens and cost of what is left",
    )
    ends.add_argument(
        "--expected-output",
        type=at_least(0),
        default=1000,
        metavar="N",
        help="tokens of an answer, for --dry-run; default: %(default)s",
    )
    batch = run.add_argument_group("the provider's own batches")
    batch.add_argument(
        "--provider-batch",
        action="store_true",
        help="hand all of it in, for less money and within a day, and collect it; run "
        "the same again to go on waiting",
    )
    batch.add_argument(
        "--no-wait", action="store_true", help="hand in, or look, and be done"
    )
    unsure = batch.add_mutually_exclusive_group()
    unsure.add_argument(
        "--adopt", metavar="ID", help="the batch that a killed run was handing in"
    )
    unsure.add_argument(
        "--resubmit", action="store_true", help="there is none: hand it in again"
    )
    run.add_argument(
        "--json", action="store_true", help="print what came of it as JSON"
    )
    run.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    _check(args)
    interrupted = _Interrupts(console)
    try:
        return asyncio.run(_go(args, console, interrupted))
    except asyncio.CancelledError:
        return _INTERRUPTED


def _check(args: Namespace) -> None:
    if args.provider_batch:
        if args.max_cost is not None or args.max_failures is not None:
            raise ConfigError(
                "--max-cost and --max-failures cannot stop what a provider does by "
                "itself: leave them out, or see --dry-run."
            )
    elif args.no_wait or args.adopt or args.resubmit:
        raise ConfigError("--no-wait, --adopt and --resubmit go with --provider-batch.")
    # Before anything is said about who answers.
    if not Path(args.input).is_file():
        raise ConfigError(f"There is no file {args.input}.")
    if args.max_cost is not None:
        _check_cost(args.max_cost)


def _check_cost(most: str) -> None:
    from ..costs import PriceBook, to_money

    try:
        to_money(most)
    except ConfigError:
        raise ConfigError(
            f"--max-cost must be an amount of US dollars, such as 5 or 0.50; got {most!r}."
        ) from None
    try:
        PriceBook().load()
    except ConfigError:
        raise ConfigError(
            "--max-cost needs to know prices: pip install 'aichat[cost]'."
        ) from None


class _Interrupts:
    """The first Ctrl-C finishes what is under way, the second one does not."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.any = False

    def install(self, brake: Brake | None) -> None:
        """Take signals in the running loop; without *brake* each one is the second."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            if brake is None or brake.pulled:
                task.cancel()
            else:
                brake.pull()
                with suppress(OSError):  # That nobody watches changes nothing.
                    self._console.note(_FINISHING)
            self.any = True

        # Elsewhere than in a main thread on Unix the first one ends it.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, interrupt)


async def _go(args: Namespace, console: Console, interrupts: _Interrupts) -> int:
    from .. import bulk

    # Lines may name theirs.
    async with opened(args, console, needs_model=False) as client:
        if args.dry_run:
            estimate = await bulk.estimate_file(
                client,
                args.input,
                args.output,
                expected_output=args.expected_output,
                any_model=args.any_model,
                batch=args.provider_batch,
            )
            _show_estimate(estimate, args, console)
            if estimate.bad:
                return _WRONG if args.strict else _FAILED
            return 0
        brake = None if args.provider_batch else bulk.Brake()
        interrupts.install(brake)
        display = Display(console)
        showing = asyncio.create_task(display.run())
        try:
            if brake is None:
                summary = await _as_batches(args, client, display)
            else:
                summary = await bulk.run_file(
                    client,
                    args.input,
                    args.output,
                    failures=args.failures,
                    concurrency=args.concurrency,
                    patience=args.patience,
                    strict=args.strict,
                    any_model=args.any_model,
                    max_failures=args.max_failures,
                    max_cost=args.max_cost,
                    brake=brake,
                    on_progress=display.see,
                )
        finally:
            showing.cancel()
            await asyncio.wait([showing])
            display.close()
    _show(summary, args, console)
    return _status(summary, interrupts, args)


async def _as_batches(args: Namespace, client: Client, display: Display) -> Summary:
    from .. import bulk

    return await bulk.run_file_as_batches(
        client,
        args.input,
        args.output,
        failures=args.failures,
        wait=not args.no_wait,
        strict=args.strict,
        any_model=args.any_model,
        unsure="resubmit" if args.resubmit else args.adopt,
        on_progress=display.see,
    )


def _status(summary: Summary, interrupts: _Interrupts, args: Namespace) -> int:
    if summary.ok:
        return 0
    if interrupts.any:
        return _INTERRUPTED
    if args.provider_batch and summary.stopped == "asked":
        return _NOT_YET
    return _FAILED


# -- what is shown ---------------------------------------------------------------------


def _show(summary: Summary, args: Namespace, console: Console) -> None:
    progress = summary.progress
    if args.json:
        console.line(dumps(_facts(summary)).decode())
    else:
        for line in _words(summary, progress, args):
            console.line(line)
    if isinstance(summary.error, AIChatError):
        console.note(explain(summary.error, console.environ))


def _words(summary: Summary, progress: Progress, args: Namespace) -> list[str]:
    before = f", {progress.before:,} of them before" if progress.before else ""
    answered = progress.before + progress.succeeded
    lines = [f"{answered:,} of {progress.total:,} answered{before}: {summary.output}"]
    if failed := progress.failed - progress.bad:
        lines.append(
            f"{failed:,} failed: {summary.failures} (run the same again to ask for them "
            "again)"
        )
    if progress.bad:
        what = "is no request" if progress.bad == 1 else "are no requests"
        lines.append(
            f"{progress.bad:,} {what}: {summary.failures} says why (mend the input)"
        )
    if progress.left:
        why = {
            "asked": "it was interrupted",
            "failures": "too many have failed",
            "spent": "what may be spent is used up",
            "error": "there is no point in going on",
            None: "",
        }[summary.stopped]
        if args.provider_batch:
            why = "the batch is not done"
        lines.append(f"{progress.left:,} are left, as {why}. Run the same again.")
    if progress.succeeded:
        tokens = (
            f"{progress.input_tokens:,} tokens in, {progress.output_tokens:,} out, "
        )
        each = progress.succeeded / progress.seconds if progress.seconds else 0.0
        lines.append(
            f"{tokens}{_cost(progress)}, {lasting(progress.seconds)}, {each:.1f}/s"
        )
    return lines


def _cost(progress: Progress) -> str:
    if progress.unpriced == progress.succeeded:
        return "cost unknown"
    words = f"${amount(progress.cost)}"
    if progress.unpriced:
        words += f" and {progress.unpriced:,} answers of unknown cost"
    if progress.cost_before:
        words += f" (${amount(progress.cost + progress.cost_before)} with those before)"
    return words


def _facts(summary: Summary) -> dict[str, Any]:
    progress = summary.progress
    return {
        "output": str(summary.output),
        "failures": None if summary.failures is None else str(summary.failures),
        "stopped": summary.stopped,
        "total": progress.total,
        "before": progress.before,
        "succeeded": progress.succeeded,
        "failed": progress.failed,
        "bad": progress.bad,
        "left": progress.left,
        "seconds": round(progress.seconds, 3),
        "input_tokens": progress.input_tokens,
        "output_tokens": progress.output_tokens,
        "cost": f"{progress.cost:f}",
        "cost_before": f"{progress.cost_before:f}",
        "unpriced": progress.unpriced,
    }


def _show_estimate(estimate: Estimate, args: Namespace, console: Console) -> None:
    if args.json:
        console.line(
            dumps({
                "lines": estimate.lines,
                "done": estimate.done,
                "bad": estimate.bad,
                "left": estimate.left,
                "input_tokens": estimate.input_tokens,
                "output_tokens": estimate.output_tokens,
                "input_cost": f"{estimate.input_cost:f}",
                "cost": f"{estimate.cost:f}",
                "unpriced": estimate.unpriced,
            }).decode()
        )
    else:
        done = f", {estimate.done:,} are answered already" if estimate.done else ""
        console.line(f"{estimate.left:,} of {estimate.lines:,} lines to ask{done}.")
        console.line(
            f"About {estimate.input_tokens:,} tokens in, and at most "
            f"{estimate.output_tokens:,} out if an answer has no more than "
            f"{args.expected_output:,}."
        )
        if estimate.unpriced < estimate.left:
            console.line(
                f"About ${amount(estimate.input_cost)} for the prompts, "
                f"${amount(estimate.cost)} with the answers."
            )
        if estimate.unpriced:
            console.line(f"The price of {estimate.unpriced:,} of them is not known.")
    if estimate.bad:
        lines = "line is no request" if estimate.bad == 1 else "lines are no requests"
        console.note(f"{estimate.bad:,} {lines}:")
        for mistake in estimate.mistakes:
            console.note(f"  {mistake}")
