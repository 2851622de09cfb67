"""``aichat providers``: who can be asked, and what that takes."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import asdict

from .._registry import ProviderInfo, Registry
from ..providers import ModelProfile, ProviderSpec
from ..types import dumps
from ._console import Console
from ._table import table

if TYPE_CHECKING:
    from ._parser import Commands

__all__ = ["add", "details", "model_rows", "rows"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "providers",
        help="who can be asked, and what that takes",
        description="List the providers, their keys' variables (never the keys) and what "
        "they can do. With a NAME, everything about that one.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--models",
        action="store_true",
        help="what its models accept, as far as we know",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    registry = Registry()
    infos = registry.describe(*args.names)
    width = shutil.get_terminal_size().columns if console.watched else None
    if args.models:
        profiles = [profile for info in infos for profile in _profiles(registry, info)]
        if args.json:
            console.line(dumps([_profile_as_json(p) for p in profiles]).decode())
        else:
            console.line(table(list(model_rows(profiles)), width=width))
    elif args.json:
        found = [_as_json(info, console.environ) for info in infos]
        console.line(dumps(found).decode())
    elif args.names:
        each = ("\n".join(details(info, console.environ)) for info in infos)
        console.line("\n\n".join(each))
    else:
        console.line(table(list(rows(infos, console.environ)), width=width))
    return 0


def rows(
    infos: tuple[ProviderInfo, ...], environ: Mapping[str, str]
) -> Iterator[list[str]]:
    """A line for each, below a head."""
    yield ["NAME", "TITLE", "KEY", "BASE URL", "CAPABILITIES"]
    for info in infos:
        yield [
            info.name,
            info.title,
            _keys(info, environ),
            _base_url(info),
            _capabilities(info) if info.error is None else f"unusable: {info.error}",
        ]


def model_rows(profiles: Iterable[ModelProfile]) -> Iterator[list[str]]:
    """A line for each, below a head."""
    yield [
        *("MODEL", "CONTEXT", "OUTPUT", "TAKES", "TOOLS", "JSON", "REASONING"),
        *("EFFORTS", "SAMPLING"),
    ]
    for profile in profiles:
        yield [
            f"{profile.provider}:{profile.model}",
            _tokens(profile.context_tokens),
            _tokens(profile.max_output_tokens),
            ",".join(sorted(profile.inputs)),
            _tools(profile),
            "schema" if profile.json_schema else "yes" if profile.json else "no",
            profile.reasoning.replace("_", " "),
            ",".join(profile.efforts) or "-",
            profile.sampling.replace("_", " "),
        ]


def details(info: ProviderInfo, environ: Mapping[str, str]) -> Iterator[str]:
    """Everything about one, in lines."""
    yield f"{info.name}: {info.title}"
    if info.description:
        yield info.description
    yield ""
    facts = {
        "key": _keys(info, environ),
        "base URL": _base_url(info),
        "required": ", ".join(info.required_settings) or "nothing",
        "optional": ", ".join(
            f"{name}={value}" if value else name
            for name, value in info.optional_settings.items()
        ),
        "capabilities": _capabilities(info),
        "models": ", ".join(info.models),
        "package": info.package or "",
        "docs": info.docs,
        "to use it": _to_use(info),
    }
    for name, fact in facts.items():
        if fact:
            yield f"  {name:<14}{fact}"


def _as_json(info: ProviderInfo, environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": info.name,
        "title": info.title,
        "description": info.description,
        "docs": info.docs,
        "base_url": info.optional_settings.get("base_url"),
        # Whether each is set; never to what.
        "api_key_env": {name: bool(environ.get(name)) for name in info.api_key_env},
        "required_settings": info.required_settings,
        "optional_settings": dict(info.optional_settings),
        "capabilities": sorted(info.capabilities),
        "models": info.models,
        "package": info.package,
        "error": info.error,
    }


def _profiles(registry: Registry, info: ProviderInfo) -> Iterator[ModelProfile]:
    """Of the models that the provider names; others may be as good."""
    entry = registry[info.name] if info.error is None else None
    if isinstance(entry, ProviderSpec):
        yield from map(entry.profile_of, info.models)


def _profile_as_json(profile: ModelProfile) -> dict[str, Any]:
    return {**asdict(profile, recurse=False), "inputs": sorted(profile.inputs)}


def _tokens(count: int | None) -> str:
    return "?" if count is None else f"{count:_}"


def _tools(profile: ModelProfile) -> str:
    if not profile.tools:
        return "no"
    return "yes" if profile.forced_tool_choice else "not forced"


def _keys(info: ProviderInfo, environ: Mapping[str, str]) -> str:
    """The variables that may hold the key, and whether they do."""
    names = info.api_key_env
    required = "api_key" in info.required_settings
    if environ.get("AI_PROVIDER") == info.name and environ.get("AI_API_KEY"):
        names = ("AI_API_KEY", *names)
    elif required and not names:
        names = ("AI_API_KEY",)
    missing = "not set" if required else "optional"
    told = [f"{name} ({'set' if environ.get(name) else missing})" for name in names]
    return ", ".join(told) or "none needed"


def _base_url(info: ProviderInfo) -> str:
    if "base_url" in info.required_settings:
        return "(set AI_BASE_URL)"
    return info.optional_settings.get("base_url", "")


def _capabilities(info: ProviderInfo) -> str:
    return ", ".join(sorted(info.capabilities))


def _to_use(info: ProviderInfo) -> str:
    """The variables to set."""
    variables = [f"AI_PROVIDER={info.name}"]
    if "api_key" in info.required_settings:
        variables.append(f"{next(iter(info.api_key_env), 'AI_API_KEY')}=…")
    for name in info.required_settings:
        if name == "base_url":
            variables.append("AI_BASE_URL=…")
        elif name != "api_key":
            variables.append(f"AI_SETTING_{name.upper()}=…")
    return " ".join(variables)
