"""What not every provider can do: finding out who can, and saying so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from ._connect import Directory
from .errors import ConfigError, InvalidRequestError
from .providers import (
    Embedder,
    ModelLister,
    Provider,
    ProviderSpec,
    embedder_of,
    lister_of,
)

__all__ = ["embedder_for", "lister_for"]

T = TypeVar("T")

#: Names in an error; more are a list that nobody reads.
_MOST_NAMES: Final = 12


def embedder_for(
    name: str, provider: Provider, among: Mapping[str, Provider]
) -> Embedder:
    """
    Who makes the embeddings of *provider*.

    Raises `InvalidRequestError` that names those *among* the providers who can.
    """
    found = embedder_of(provider)
    if found is None:
        raise _cannot(
            f"The provider {name!r} makes no embeddings.",
            "embed",
            _who(among, embedder_of, lambda spec: spec.embeddings is not None),
        )
    return found


def lister_for(
    name: str, provider: Provider, among: Mapping[str, Provider]
) -> ModelLister:
    """
    Who lists the models of *provider*.

    Raises `InvalidRequestError` that names those *among* the providers who can.
    """
    found = lister_of(provider)
    if found is None:
        raise _cannot(
            f"The provider {name!r} does not list its models.",
            "list_models",
            _who(among, lister_of, lambda spec: spec.listing is not None),
        )
    return found


def _cannot(message: str, operation: str, who: Iterable[str]) -> InvalidRequestError:
    names = sorted(who)
    if len(names) > _MOST_NAMES:
        names[_MOST_NAMES:] = ["…"]
    hint = f" These can: {', '.join(names)}." if names else " Nor does any other here."
    return InvalidRequestError(message + hint, operation=operation)


def _who(
    among: Mapping[str, Provider],
    find: Callable[[object], T | None],
    described: Callable[[ProviderSpec], bool],
) -> set[str]:
    """Those that are there, and those that could be made."""
    names = {name for name in among if find(among[name]) is not None}
    if not isinstance(among, Directory):
        return names
    for name in among.registry:
        try:
            entry = among.registry[name]
        except ConfigError:
            # One that cannot be loaded can do nothing.
            continue
        if isinstance(entry, ProviderSpec) and described(entry):
            names.add(name)
    return names
