"""Whom a command asks: who is configured, or the simulator if that is what somebody wants."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import Any

from attrs import evolve

from .._client import Client
from .._config import ClientConfig, misspelt_in, said_in
from .._registry import Registry
from ..errors import ConfigError
from ..providers import ProviderSpec
from ._console import Console

__all__ = ["add_whom", "check_provider", "is_simulated", "opened"]

_NOBODY = (
    "No provider is configured: the built-in simulator answers, and no model. "
    "Set AI_PROVIDER and AI_API_KEY for a real one."
)
_REFUSED = (
    "No provider is configured. Set AI_PROVIDER and its key, or name one with --provider: "
    "`aichat providers` lists them. To try it without one: --simulator."
)
#: By this name it stands in what is written. Of its dialects, and of the providers, it is:
_SIMULATOR, _DIALECT, _LIKE = "simulator", "openai-chat", "openai-compatible"
#: Seconds after each word that somebody reads: faster than one can, slower than a blink.
_READABLE = 0.02
#: How a vendor's variable ends that says nothing but whom to ask. Other programs have tokens,
#: too: GITHUB_TOKEN is one of them.
_KEY = "_API_KEY"


def add_whom(parser: ArgumentParser, *, simulator: bool = True) -> None:
    """Add whom to ask; *simulator* is not for who has such an option of its own."""
    whom = parser.add_argument_group("whom to ask")
    whom.add_argument("-p", "--provider", metavar="NAME", help="instead of AI_PROVIDER")
    whom.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help="instead of AI_MODEL; 'provider:name' for another provider's",
    )
    whom.add_argument("--base-url", metavar="URL", help="instead of AI_BASE_URL")
    if simulator:
        whom.add_argument(
            "--simulator",
            action="store_true",
            default=None,
            help="nobody: the built-in simulator answers, without a model or a key",
        )


@asynccontextmanager
async def opened(
    args: Namespace,
    console: Console,
    *,
    unasked: bool = False,
    needs_model: bool = True,
    pace: float | None = None,
    **more: Any,
) -> AsyncGenerator[Client, None]:
    """
    Hold a client of whom the arguments and the environment name.

    That is the simulator if somebody says so, or *unasked* where there is no sign at all of
    anybody else. *pace* is its seconds after each word. *more* are settings of the client's,
    stronger than what is configured. Raises `ConfigError`.
    """
    settings = {**_settings(args, console), **more}
    if not is_simulated(args, console, unasked=unasked):
        config = ClientConfig.load(
            file=args.config, environ=console.environ, **settings
        )
        check_provider(config.provider)
        async with Client.from_config(config, environ=console.environ) as client:
            if needs_model and config.model is None:
                raise ConfigError(
                    "No model is named: say --model NAME, or set AI_MODEL. "
                    f"`aichat providers {config.provider}` shows some."
                )
            yield client
        return
    # Postponed: it brings a server.
    from ..testing import Simulator

    if args.simulator is None:
        console.note(_NOBODY)
    if pace is None:
        pace = _READABLE if console.watched else 0
    registry = Registry()
    spec = registry[_LIKE]
    assert isinstance(spec, ProviderSpec)
    registry.register(evolve(spec, name=_SIMULATOR, title="The simulator"))
    async with Simulator(pace=pace) as simulator:
        settings["model"] = f"{_SIMULATOR}:{settings.get('model') or 'simulated'}"
        # Of the environment, nothing: no key goes where it does not belong.
        config = ClientConfig.from_mapping({
            **settings,
            "provider": _SIMULATOR,
            "base_url": simulator.base_url(_DIALECT),
            "api_key": "simulated",
        })
        async with Client.from_config(config, environ={}, registry=registry) as client:
            yield client


def is_simulated(args: Namespace, console: Console, *, unasked: bool = False) -> bool:
    """
    Whether the simulator is to answer; *unasked* also if nobody says so, and nobody is named.

    Raises `ConfigError` where it would have to be guessed: what looks like an answer must
    not come from the simulator by mistake.
    """
    if args.simulator is not None:
        if args.provider or args.base_url or args.config:
            raise ConfigError("--simulator asks nobody else: leave out whom to ask.")
        return True
    if _names_a_provider(args, console):
        return False
    if signs := _signs(console.environ):
        raise ConfigError(signs)
    if not unasked:
        raise ConfigError(_REFUSED)
    return True


def check_provider(name: str) -> None:
    """Raise `ConfigError`, in words for a command line, if there is no provider *name*."""
    known = list(Registry())
    if name in known:
        return
    near = get_close_matches(name.lower(), known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"There is no provider {name!r}. {hint}`aichat providers` lists them; whatever "
        "speaks like OpenAI is openai-compatible, with --base-url."
    )


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


def _names_a_provider(args: Namespace, console: Console) -> bool:
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


def _signs(environ: Mapping[str, str]) -> str:
    """What says that somebody is to be asked, where nothing says who; empty if there is none."""
    misspelt = misspelt_in(environ)
    keys = _keys(environ)
    found = sorted({*said_in(environ), *misspelt, *keys})
    if not found:
        return ""
    names = list(dict.fromkeys(name for those in keys.values() for name in those))
    meant = " ".join(
        f"({variable} is not read; did you mean {ours}?)"
        for variable, ours in misspelt.items()
    )
    are = "is" if len(found) == 1 else "are"
    whom = f": {_listed(names, 'or')}" if names else "; `aichat providers` lists them"
    return (
        f"{_listed(found, 'and')} {are} set, but not whom to ask. {meant} Set AI_PROVIDER, "
        f"or say --provider{whom}. To try it without one: --simulator."
    )


def _keys(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """The vendors' key variables that are set, with the providers that read each."""
    maybe = {name for name, value in environ.items() if name.endswith(_KEY) and value}
    if not maybe:
        return {}  # Knowing all providers takes a moment.
    found: dict[str, list[str]] = {}
    for info in Registry().describe():
        for variable in maybe & {*info.api_key_env}:
            found.setdefault(variable, []).append(info.name)
    return found


def _listed(names: Collection[str], last: str) -> str:
    *most, final = names
    return f"{', '.join(most)} {last} {final}" if most else final
