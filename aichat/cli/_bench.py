"""``aichat bench``: how fast a provider is, and how it bears a load."""

from __future__ import annotations

import asyncio
import math
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .._client import Client
from ..errors import AIChatError, ConfigError
from ..types import ChatRequest, dumps, estimate_tokens
from ._asking import add_config
from ._bench_progress import Progress
from ._bench_report import Subject, as_json, as_text, manner, seconds
from ._bench_run import Load, measure, warm_up
from ._bench_tally import Tally
from ._console import Console, check_text
from ._numbers import above, at_least, between, duration
from ._trouble import explain
from ._whom import add_whom, is_simulated, opened

if TYPE_CHECKING:
    from ._parser import Commands

__all__ = ["add"]

#: Every model can do it, and goes on until it is cut off.
_PROMPT: Final = "Count to 1000, in digits, separated by commas."
_REQUESTS: Final = 50
_CONCURRENCY: Final = 8
#: More may cost more than whoever mistyped a number would like.
_MANY: Final = 10_000
#: Seconds after each word of the simulator: as fast as a fast model.
_PACE: Final = 0.01
_FAILED, _INTERRUPTED = 1, 128 + 2
_SHARED: Final = (
    "The simulator runs in this process: the figures are those of both together."
)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="measure a provider: time to the first chunk, speed, errors under load",
        description="Send one prompt many times and measure the answers: time to the "
        "first chunk, tokens per second, gaps, errors. Ctrl-C ends it and reports what "
        "there is. Real providers cost real money.",
    )
    add_config(parser)
    add_whom(parser, simulator=False)
    parser.add_argument(
        "--timeout",
        type=duration,
        metavar="SECONDS",
        help="longest silence: 30, 90s or 2m",
    )
    parser.add_argument(
        "--simulator",
        type=between(0, math.inf, "number of seconds"),
        nargs="?",
        const=_PACE,
        metavar="PACE",
        help="measure the built-in simulator, which waits so many seconds after each "
        f"word; default: {_PACE}",
    )
    what = parser.add_argument_group("what to ask")
    prompt = what.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="default: count to 1000")
    prompt.add_argument("--prompt-file", metavar="FILE", help="UTF-8 text")
    what.add_argument(
        "--max-tokens",
        type=at_least(1),
        default=200,
        metavar="N",
        help="of each answer, reasoning included; default: %(default)s",
    )
    load = parser.add_argument_group("how much")
    load.add_argument(
        "--requests",
        type=at_least(1),
        metavar="N",
        help=f"default: {_REQUESTS}, or as many as fit into the duration",
    )
    load.add_argument(
        "--duration",
        type=duration,
        default=math.inf,
        metavar="TIME",
        help="begin no more after it: 30s, 5m",
    )
    load.add_argument(
        "--concurrency",
        type=at_least(1),
        metavar="N",
        help=f"so many at a time; default: {_CONCURRENCY}, or no limit with --rate",
    )
    load.add_argument(
        "--rate",
        type=above(0, "rate"),
        metavar="R",
        help="so many per second, whether or not others have ended; times count from "
        "when a request was due",
    )
    load.add_argument(
        "--arrivals",
        choices=["even", "random"],
        default="even",
        help="with --rate: in equal steps, or at random as users come; default: even",
    )
    load.add_argument(
        "--warmup",
        type=at_least(0),
        default=1,
        metavar="N",
        help="requests before, which do not count; default: %(default)s",
    )
    load.add_argument(
        "--retries",
        type=at_least(0),
        default=0,
        metavar="N",
        help="so many for each request; default: none, so that every error counts",
    )
    load.add_argument(
        "--yes", action="store_true", help=f"more than {_MANY:,} requests? Yes"
    )
    told = parser.add_argument_group("what to tell")
    told.add_argument(
        "--json", metavar="FILE", help="write everything as JSON; - for stdout"
    )
    told.add_argument(
        "--plot",
        metavar="FILE",
        help="draw it: .svg, .png or .pdf; needs the extra plot",
    )
    parser.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    simulated = is_simulated(args, console, unasked=True)
    load, prompt = _load(args), _prompt(args)
    _check_outputs(args)
    tally = Tally()
    subjects: list[Subject] = []
    interrupted = False
    try:
        asyncio.run(
            _bench(args, console, simulated, prompt, load, tally, subjects.append)
        )
    except KeyboardInterrupt:
        if not tally.begun:
            raise
        interrupted = True
    (subject,) = subjects
    _tell(args, console, subject, tally)
    if interrupted:
        return _INTERRUPTED
    return 0 if tally.ok else _FAILED


def _load(args: Namespace) -> Load:
    """How much to ask. Raises `ConfigError` for what somebody may not have meant."""
    timed = args.duration < math.inf
    if args.requests is not None:
        requests = args.requests
    elif not timed:
        requests = _REQUESTS
    elif args.rate is None:
        requests = _MANY - args.warmup
    else:
        requests = math.ceil(args.rate * args.duration)
    if args.arrivals == "random" and args.rate is None:
        raise ConfigError("--arrivals says how those of a --rate come: give one.")
    if requests + args.warmup > _MANY and not args.yes:
        raise ConfigError(
            f"That is {requests + args.warmup:,} requests: say --yes if you mean it."
        )
    usual = _CONCURRENCY if args.rate is None else requests
    return Load(
        requests=requests,
        concurrency=args.concurrency or usual,
        duration=args.duration,
        rate=args.rate,
        at_random=args.arrivals == "random",
    )


def _prompt(args: Namespace) -> str:
    if args.prompt_file is None:
        prompt = _PROMPT if args.prompt is None else args.prompt
    else:
        try:
            prompt = Path(args.prompt_file).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{args.prompt_file} cannot be read: {error.strerror}."
            ) from None
        except UnicodeDecodeError:
            raise ConfigError(f"{args.prompt_file} is not UTF-8 text.") from None
    if not prompt.strip():
        raise ConfigError("The prompt is empty: say what to ask.")
    return check_text(prompt, "The prompt")


def _check_outputs(args: Namespace) -> None:
    """Find out now what would be a pity to find out at the end."""
    for name in (args.json, args.plot):
        if name is not None and name != "-" and not Path(name).parent.is_dir():
            raise ConfigError(f"{name} cannot be written: there is no such folder.")
    if args.plot is not None:
        from . import _bench_plot

        _bench_plot.check(Path(args.plot))


async def _bench(
    args: Namespace,
    console: Console,
    simulated: bool,
    prompt: str,
    load: Load,
    tally: Tally,
    told: Callable[[Subject], None],
) -> None:
    async with opened(
        args,
        console,
        unasked=True,
        pace=_PACE if args.simulator is None else args.simulator,
        max_retries=args.retries,
    ) as client:
        # Checked once, with what the configuration says of the model.
        request = client.stream(prompt, max_tokens=args.max_tokens).request
        subject = Subject(
            model=request.model,
            load=load,
            max_tokens=args.max_tokens,
            warmup=args.warmup,
            retries=args.retries,
        )
        told(subject)
        console.note(cost(subject, estimate_tokens(request)))
        if simulated:
            console.note(_SHARED)
        await warm_up(client, request, args.warmup)
        await _measure(client, request, load, tally, console)


def cost(subject: Subject, prompt_tokens: int) -> str:
    """What it may cost, before anything is sent."""
    load = subject.load
    most = (load.requests + subject.warmup) * (subject.retries + 1)
    timed = load.duration < math.inf
    count = f"up to {load.requests:,}" if timed else f"{load.requests:,}"
    limit = f" in {seconds(load.duration)}" if timed else ""
    warmup = f" and {subject.warmup} to warm up" if subject.warmup else ""
    again = f", each up to {subject.retries} times again" if subject.retries else ""
    return (
        f"{subject.model}: {count} requests{limit}, {manner(load)}"
        f"{warmup}{again}; about {most * prompt_tokens:,} tokens in, "
        f"at most {most * subject.max_tokens:,} out."
    )


async def _measure(
    client: Client, request: ChatRequest, load: Load, tally: Tally, console: Console
) -> None:
    progress = Progress(console, load, tally)
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(progress.run())
        try:
            await measure(client, request, load, tally)
        finally:
            ticking.cancel()
            progress.clear()


def _tell(args: Namespace, console: Console, subject: Subject, tally: Tally) -> None:
    def advice(error: AIChatError) -> str:
        return explain(error, console.environ).removeprefix("Error: ")

    if args.json != "-":
        for line in as_text(subject, tally, advice):
            console.line(line)
    if args.json is not None:
        document = dumps(as_json(subject, tally, advice)).decode()
        if args.json == "-":
            console.line(document)
        else:
            Path(args.json).write_text(f"{document}\n", encoding="utf-8")
    if args.plot is not None:
        from . import _bench_plot

        _bench_plot.draw(Path(args.plot), subject, tally)
