"""What people hand to a client who have used another SDK before, and what they mean by it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Any, Final, ParamSpec

from .errors import ConfigError

__all__ = [
    "check_names",
    "check_provider",
    "check_providers",
    "checked_middleware",
    "explained",
]

P = ParamSpec("P")

_HOW: Final = (
    "Client takes providers: Client({'name': provider}). To make one from a name and a key: "
    "Client.from_env(provider='openai', api_key=…), or Client.from_config(…); of a provider "
    "that you have: Client.with_provider(provider)"
)
#: What it is called elsewhere, and what to do here.
_ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType({
    "stream": "To get the answer as it comes, use client.stream().",
    **dict.fromkeys(
        ("system", "system_prompt", "system_instruction", "instructions"),
        "It is a message: [system('…'), user('…')], or "
        "client.request().system('…').user('…').",
    ),
    **dict.fromkeys(
        ("messages", "prompt", "contents", "input"),
        "What is asked comes first, without a name: complete('Hi'), complete([user('Hi')]).",
    ),
    **dict.fromkeys(
        ("max_completion_tokens", "max_output_tokens", "max_tokens_to_sample"),
        "Use max_tokens.",
    ),
    **dict.fromkeys(
        ("stop_sequences", "stop_sequence"),
        "Use stop.",
    ),
    **dict.fromkeys(
        ("output_type", "response_model", "response_schema", "output_schema"),
        "Use response_type.",
    ),
    **dict.fromkeys(
        ("api_key", "base_url", "api_base", "provider", "headers", "extra_headers"),
        "That belongs to the client: see ClientConfig, and Client.from_env(api_key=…).",
    ),
    "num_retries": "Use max_retries.",
    "functions": "Use tools.",
})


def explained(init: Callable[P, None]) -> Callable[P, None]:
    """Say how to make a client to whoever calls *init* as that of another SDK."""

    @wraps(init)
    def make(*args: P.args, **settings: P.kwargs) -> None:
        try:
            init(*args, **settings)
        except TypeError:
            try:
                inspect.signature(init).bind(*args, **settings)
            except TypeError as error:
                # It names arguments, and shows none.
                raise TypeError(f"{error}. {_HOW}.") from None
            raise

    return make


def check_providers(providers: object) -> None:
    """Raise `ConfigError`, which shows no value: it may be a key."""
    if not isinstance(providers, Mapping):
        raise ConfigError(f"This is a {type(providers).__name__}. {_HOW}.")
    for name, provider in providers.items():
        if not isinstance(name, str) or not name or ":" in name:
            raise ConfigError(
                "The name of a provider is a text without a colon; this is "
                f"{'one with a colon' if isinstance(name, str) and name else 'none'}. "
                f"{_HOW}."
            )
        check_provider(provider, f"The provider {name!r}")


def check_provider(provider: object, what: str) -> None:
    """Raise `ConfigError` for what cannot stream."""
    if isinstance(provider, type) or not callable(getattr(provider, "stream", None)):
        raise ConfigError(
            f"{what} is {_kind_of(provider)}, and not an object that streams. {_HOW}."
        )


def checked_middleware(layers: object) -> tuple[Any, ...]:
    """Raise `ConfigError` for what is no function of a request and the next handler."""
    if callable(layers) or not isinstance(layers, Iterable):
        raise ConfigError(
            f"middleware must be a list of functions, got {_kind_of(layers)}: "
            "middleware=[…]."
        )
    found = tuple(layers)
    for number, layer in enumerate(found):
        if not callable(layer) or isinstance(layer, type) or not _takes_two(layer):
            made = (
                f" Call it: {layer.__name__}(…)." if hasattr(layer, "__name__") else ""
            )
            raise ConfigError(
                f"middleware[{number}] is {_kind_of(layer)}, and must be a function of "
                f"(request, call_next).{made}"
            )
    return found


def _takes_two(layer: Callable[..., object]) -> bool:
    if not inspect.isfunction(layer):
        return True  # What else can be called may not tell.
    try:
        inspect.signature(layer).bind(None, None)
    except TypeError:
        return False
    return True


def check_names(options: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise `TypeError` for an option that is not among *names*."""
    for name in options:
        if name not in names:
            raise TypeError(f"There is no option {name!r}. {_advice(name, names)}")


def _advice(name: str, names: Collection[str]) -> str:
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    close: Sequence[str] = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return (
        f"{hint}What only one provider knows goes into "
        "provider_options={'provider': {…}}."
    )


def _kind_of(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {value.__name__}"
    return f"a {type(value).__name__}"
