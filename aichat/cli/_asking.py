"""What `chat` and `complete` share: options, the prompt, and somebody to ask."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from .._client import Client
from .._config import ClientConfig
from .._registry import Registry
from ..errors import ConfigError
from ..types import Effort, Message, RequestOptions, system, user
from ._console import Console

__all__ = [
    "add_config",
    "add_options",
    "add_whom",
    "first_message",
    "names_a_provider",
    "opened",
    "opening",
    "request_options",
]

_NO_PROVIDER = (
    "No provider is configured: the built-in simulator answers. "
    "Set AI_PROVIDER and AI_API_KEY for a real one."
)
#: As which provider the simulator is asked, and which of its dialects that speaks.
_SIMULATED, _DIALECT = "openai-compatible", "openai-chat"
#: Seconds after each word that somebody reads: faster than one can, slower than a blink.
_READABLE = 0.02


def add_config(parser: ArgumentParser) -> None:
    """Take ``--config`` behind the command as well."""
    parser.add_argument("--config", metavar="FILE", default=SUPPRESS, help=SUPPRESS)


def add_options(parser: ArgumentParser) -> None:
    """Add whom to ask, and how."""
    add_config(parser)
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="what to ask")
    add_whom(parser)
    how = parser.add_argument_group("how to answer")
    how.add_argument(
        "-s", "--system", metavar="TEXT", help="what the model is told first"
    )
    how.add_argument("-t", "--temperature", type=float, metavar="0-2")
    how.add_argument("--max-tokens", type=int, metavar="N", help="reasoning included")
    how.add_argument(
        "--timeout",
        metavar="SECONDS",
        help="longest silence: 30, 90s or 2m; a long answer is no silence",
    )
    how.add_argument(
        "--reasoning",
        metavar="EFFORT",
        choices=[str(effort) for effort in Effort],
        help=f"how hard to think: {', '.join(Effort)}",
    )
    how.add_argument(
        "--show-reasoning", action="store_true", help="what it thinks, on stderr"
    )


def add_whom(parser: ArgumentParser) -> None:
    """Add whom to ask."""
    whom = parser.add_argument_group("whom to ask")
    whom.add_argument("-p", "--provider", metavar="NAME", help="instead of AI_PROVIDER")
    whom.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help="instead of AI_MODEL; 'provider:name' for another provider's",
    )
    whom.add_argument("--base-url", metavar="URL", help="instead of AI_BASE_URL")


def request_options(args: Namespace) -> RequestOptions:
    """The options of a request that were given."""
    options: RequestOptions = {
        "temperature": args.temperature,
        "max_tokens": args.max_tokens,
        "reasoning_effort": args.reasoning,
    }
    if args.show_reasoning:
        options["include_reasoning"] = True
    return options


def opening(args: Namespace) -> list[Message]:
    """What stands before the first question."""
    return [system(args.system)] if args.system else []


def first_message(args: Namespace, console: Console) -> Message | None:
    """The prompt, and below it what was piped in; ``None`` if there is neither."""
    said = " ".join(args.prompt)
    parts = [part for part in (said, console.piped()) if part.strip()]
    if not parts:
        if args.prompt or not console.interactive:
            raise ConfigError("The prompt is empty: say what to ask.")
        return None
    return user("\n\n".join(parts))


@asynccontextmanager
async def opened(
    args: Namespace,
    console: Console,
    *,
    simulated: bool = False,
    pace: float | None = None,
    **more: Any,
) -> AsyncGenerator[Client, None]:
    """
    Hold a client of the configured provider, or else of a simulator in this process.

    With *simulated* it is that one, whatever is configured. *pace* is its seconds after each
    word. *more* are settings of the client's, stronger than what is configured.
    """
    settings = {**_settings(args, console), **more}
    if not simulated and names_a_provider(args, console):
        config = ClientConfig.load(
            file=args.config, environ=console.environ, **settings
        )
        async with Client.from_config(config, environ=console.environ) as client:
            yield client
        return
    # Postponed: it brings a server.
    from ..testing import Simulator

    if not simulated:
        console.note(_NO_PROVIDER)
    if pace is None:
        pace = _READABLE if console.watched else 0
    async with Simulator(pace=pace) as simulator:
        settings["model"] = f"{_SIMULATED}:{settings.get('model') or 'simulated'}"
        # Of the environment, nothing: no key goes where it does not belong.
        config = ClientConfig.from_mapping({
            **settings,
            "provider": _SIMULATED,
            "base_url": simulator.base_url(_DIALECT),
            "api_key": "simulated",
        })
        async with Client.from_config(config, environ={}) as client:
            yield client


def _settings(args: Namespace, console: Console) -> dict[str, Any]:
    """What the arguments say about the client."""
    environ = console.environ
    provider, model = args.provider, args.model
    prefix, colon, _ = (model or environ.get("AI_MODEL") or "").partition(":")
    if provider and model and colon and prefix not in Registry():
        # `--provider ollama --model llama3:8b` leaves no doubt.
        model = f"{provider}:{model}"
    if colon and not (provider or args.config or environ.get("AI_PROVIDER")):
        provider = prefix
    settings = {
        "provider": provider,
        "model": model,
        "base_url": args.base_url,
        "timeout": args.timeout,
    }
    return {name: value for name, value in settings.items() if value is not None}


def names_a_provider(args: Namespace, console: Console) -> bool:
    """Whether somebody is to be asked other than the simulator."""
    # Who gives an address means somebody there, and will be asked who that is.
    environ = console.environ
    settings = _settings(args, console)
    return bool(
        args.config
        or settings.get("provider")
        or settings.get("base_url")
        or environ.get("AI_PROVIDER")
        or environ.get("AI_BASE_URL")
    )
