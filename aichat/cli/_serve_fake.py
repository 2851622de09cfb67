"""``aichat serve-fake``: a server that answers like a provider, without a model."""

from __future__ import annotations

import asyncio
import math
from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ._console import Console
from ._numbers import between
from ._table import table

if TYPE_CHECKING:
    from ..testing import Fault
    from ._parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve-fake",
        help="run the simulator: a server to develop against",
        description="Run a server that speaks the providers' dialects without a model, "
        "until Ctrl-C. It takes any key.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port",
        type=_port,
        default=8080,
        help="default: %(default)s; 0 for a free one",
    )
    parser.add_argument(
        "--pace",
        type=between(0, math.inf, "number of seconds"),
        default=0.03,
        metavar="SECONDS",
        help="wait so long after each word; default: %(default)s",
    )
    parser.add_argument(
        "--fault",
        type=_fault,
        metavar="FAULT",
        help='what goes wrong with each request: rate_limit, "hang_up; after=3", …',
    )
    parser.add_argument(
        "--fault-rate",
        type=between(0, 1, "rate"),
        default=1.0,
        metavar="RATE",
        help="with how many of them, 0 to 1; default: %(default)s",
    )
    parser.set_defaults(run=_run)


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) < 65536:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is no port, 0 to 65535")


def _fault(text: str) -> Fault:
    from ..testing import Fault

    try:
        return Fault.parse(text)
    except ConfigError as error:
        raise ArgumentTypeError(error.message) from None


def _run(args: Namespace, console: Console) -> int:
    asyncio.run(_serve(args, console))
    return 0


async def _serve(args: Namespace, console: Console) -> None:
    # Postponed: it brings a server.
    from ..testing import Simulator

    async with Simulator(host=args.host, port=args.port, pace=args.pace) as simulator:
        if args.fault is not None:
            simulator.fail(args.fault, rate=args.fault_rate)
        urls = simulator.base_urls
        console.line("The simulator is running; Ctrl-C ends it.\n")
        console.line(table([["DIALECT", "BASE URL"], *map(list, urls.items())]))
        console.line("\nTo ask it, in another terminal:\n")
        for dialect, url in urls.items():
            console.line(
                f"  export AI_PROVIDER={dialect} AI_BASE_URL={url} "
                "AI_API_KEY=any AI_MODEL=simulated"
            )
        await asyncio.Event().wait()
