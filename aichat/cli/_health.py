"""``aichat health``: are the providers there, and is the key good?"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import TYPE_CHECKING

import anyio

from .._client import Client, Health
from .._config import ClientConfig
from .._registry import Registry
from ..errors import AIChatError, ConfigError
from ._asking import add_config
from ._console import Console
from ._table import table
from ._trouble import explain
from ._whom import check_provider

if TYPE_CHECKING:
    from ._parser import Commands

__all__ = ["add"]

_NOBODY = (
    "No provider is configured, and no key is set: there is nobody to ask. "
    "Set AI_PROVIDER and AI_API_KEY, or name a provider: `aichat health NAME`"
)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "health",
        help="are the providers there, and are the keys good?",
        description="Ask providers whether they are there and take the key. Without a "
        "NAME: the configured one, or else all whose key is set.",
    )
    add_config(parser)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    names = list(dict.fromkeys(args.names)) or _usual(args, console)
    for name in names:
        check_provider(name)
    found = asyncio.run(_ask(names, args, console))
    head = ["PROVIDER", "STATE", "LATENCY", "ERROR"]
    rows = [_row(name, found[name]) for name in names]
    console.line(table([head, *rows]))
    for name in names:
        if error := found[name].error:
            what = explain(error, console.environ).removeprefix("Error: ")
            console.line(f"{name}: {what.removeprefix(f'{name}: ')}")
    return 1 if any(health.ok is False for health in found.values()) else 0


def _usual(args: Namespace, console: Console) -> list[str]:
    """The configured provider, or else all whose key is there."""
    environ = console.environ
    if args.config or environ.get("AI_PROVIDER"):
        return [ClientConfig.load(file=args.config, environ=environ).provider]
    with_key = [
        info.name
        for info in Registry().describe()
        if any(environ.get(name) for name in info.api_key_env)
    ]
    if not with_key:
        raise ConfigError(_NOBODY)
    return with_key


async def _ask(
    names: list[str], args: Namespace, console: Console
) -> dict[str, Health]:
    found: dict[str, Health] = {}

    async def ask(name: str) -> None:
        # Each in a client of its own: one that lacks its key is no obstacle to the others.
        try:
            config = ClientConfig.load(
                file=args.config, environ=console.environ, provider=name
            )
            async with Client.from_config(config, environ=console.environ) as client:
                found.update(await client.health(name))
        except AIChatError as error:
            found[name] = Health(ok=False, latency=0.0, error=error)

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(ask, name)
    return found


def _row(name: str, health: Health) -> list[str]:
    state = {True: "ok", False: "failed", None: "unknown"}[health.ok]
    latency = f"{health.latency * 1000:.0f} ms" if health.latency else "-"
    return [name, state, latency, str(health.error.code) if health.error else ""]
