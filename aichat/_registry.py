"""
Providers by name: built in, installed with another package, or registered by hand.

A provider is registered until somebody asks for it; then it is loaded, checked, and kept.
Installed packages add theirs with an entry point::

    [project.entry-points."aichat.providers"]
    example = "aichat_example:SPEC"
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pkgutil import resolve_name
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from attrs import field, frozen

from .errors import ConfigError
from .providers import Capability, Provider, ProviderSpec

if TYPE_CHECKING:
    from ._config import ClientConfig

__all__ = ["ProviderEntry", "ProviderFactory", "ProviderInfo", "Registry"]

_logger = logging.getLogger("aichat")

#: Another dialect is another line.
BUILT_IN: Final[Mapping[str, str]] = MappingProxyType({
    "anthropic": "aichat.providers.anthropic:SPEC",
    "azure": "aichat.providers.azure:SPEC",
    "azure-responses": "aichat.providers.azure:RESPONSES",
    "google": "aichat.providers.google:SPEC",
    "local": "aichat.providers.local:SPEC",
    "ollama": "aichat.providers.ollama:SPEC",
    "openai": "aichat.providers.openai:SPEC",
    "openai-chat": "aichat.providers.openai_chat:SPEC",
    "vertex": "aichat.providers.google:VERTEX",
})
#: And these are many at once.
COMPATIBLE: Final = "aichat.providers.compatible:SPECS"

GROUP: Final = "aichat.providers"


class ProviderFactory(Protocol):
    """Makes a provider that does not speak HTTP, or not through our transport."""

    def __call__(self, config: ClientConfig, /) -> Provider: ...


#: What stands behind a name.
ProviderEntry: TypeAlias = ProviderSpec | ProviderFactory


class Installed(Protocol):
    """The part of `importlib.metadata.EntryPoint` that is used here."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...
    def load(self) -> object: ...


@frozen(kw_only=True)
class ProviderInfo:
    """What there is to know about a provider before using it."""

    name: str
    title: str
    description: str = ""
    docs: str = ""
    capabilities: frozenset[Capability] = frozenset()
    #: What has to be set: ``api_key``, ``base_url``, or a setting of its own.
    required_settings: tuple[str, ...] = ()
    #: What may be set, with what applies otherwise.
    optional_settings: Mapping[str, str] = field(factory=dict, hash=False)
    #: Environment variables that may hold the key.
    api_key_env: tuple[str, ...] = ()
    #: Some of its models, newest first; not a complete list.
    models: tuple[str, ...] = ()
    #: The package that brought it; ``None`` for ours and for what was registered by hand.
    package: str | None = None
    #: Why it cannot be used, of one that could not be loaded.
    error: str | None = None


class Registry:
    """
    Finds providers by name. Every registry knows the built-in and the installed ones.

    Safe to use from many threads. *installed* is for tests: it stands in for the entry
    points of the installed packages.

    >>> "anthropic" in Registry()
    True
    """

    def __init__(
        self, *, installed: Callable[[], Iterable[Installed]] | None = None
    ) -> None:
        self._find_installed = installed or _entry_points
        # Guards the maps, and nothing is imported or called while it is held. What two
        # threads load at once is loaded twice, and one of them wins.
        self._lock = threading.Lock()
        self._registered: dict[str, ProviderEntry] = {}
        self._loaded: dict[str, ProviderEntry] = {}
        self._rows: Mapping[str, ProviderSpec] | None = None
        self._installed: Mapping[str, tuple[Installed, ...]] | None = None

    def __getitem__(self, name: str) -> ProviderEntry:
        """Return the spec or the factory of *name*, loaded if need be. Raises `ConfigError`."""
        with self._lock:
            entry = self._registered.get(name, self._loaded.get(name))
        if entry is not None:
            return entry
        entry = self._load(name)
        with self._lock:
            return self._loaded.setdefault(name, entry)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in BUILT_IN or name in self._names())

    def __iter__(self) -> Iterator[str]:
        """All names, sorted."""
        return iter(sorted(self._names()))

    def __len__(self) -> int:
        return len(self._names())

    def register(
        self, entry: ProviderEntry, *, name: str | None = None, replace: bool = False
    ) -> None:
        """
        Add a provider; a factory needs a *name*, a spec has one.

        *replace* allows to replace what was registered here before; nobody takes the name
        of a built-in or an installed provider. Raises `ConfigError`.
        """
        name = _check(entry, name)
        if name in BUILT_IN or name in self._compatible():
            raise ConfigError(
                f"The provider {name!r} is built in, and its name is taken. For another "
                f"{name} give the spec another name: evolve(spec, name='my-{name}')."
            )
        if theirs := self._from_packages().get(name):
            raise ConfigError(
                f"The provider {name!r} comes with {_packages(theirs)}, and its name is "
                "taken."
            )
        with self._lock:
            if name in self._registered and not replace:
                raise ConfigError(
                    f"A provider {name!r} is registered already. "
                    "Pass replace=True to replace it."
                )
            self._registered[name] = entry

    def describe(self, *names: str) -> tuple[ProviderInfo, ...]:
        """
        Tell what is known about *names*, or about every provider.

        It loads them. Raises `ConfigError` for a name that cannot be loaded; in the list
        of all such a provider has an `error` instead.
        """
        if names:
            return tuple(self._describe(name) for name in names)
        found: list[ProviderInfo] = []
        for name in self:
            try:
                found.append(self._describe(name))
            except ConfigError as error:
                package = _packages(self._from_packages().get(name, ()))
                found.append(
                    ProviderInfo(
                        name=name, title=name, package=package, error=error.message
                    )
                )
        return tuple(found)

    def _describe(self, name: str) -> ProviderInfo:
        entry = self[name]
        with self._lock:
            ours = name in self._registered or name in BUILT_IN
        theirs = () if ours else self._from_packages().get(name, ())
        return _info(name, entry, package=_packages(theirs) or None)

    def _names(self) -> frozenset[str]:
        compatible, installed = self._compatible(), self._from_packages()
        with self._lock:
            return frozenset({*BUILT_IN, *compatible, *installed, *self._registered})

    def _load(self, name: str) -> ProviderEntry:
        if name in BUILT_IN:
            spec: ProviderSpec = resolve_name(BUILT_IN[name])
            return spec
        if (row := self._compatible().get(name)) is not None:
            return row
        match self._from_packages().get(name, ()):
            case ():
                raise self._unknown(name)
            case (entry_point,):
                return _load_installed(entry_point)
            case several:
                raise ConfigError(
                    f"The provider {name!r} comes with several packages: "
                    f"{_packages(several)}. Uninstall all but one."
                )

    def _unknown(self, name: str) -> ConfigError:
        known = sorted(self._names())
        near = get_close_matches(name.lower(), known, n=3)
        hint = (
            f"Did you mean {' or '.join(near)}?"
            if near
            else f"There are: {', '.join(known)}."
        )
        return ConfigError(
            f"There is no provider {name!r}. {hint} Others come with packages or with "
            "Registry.register(); whatever speaks like OpenAI is 'openai-compatible' "
            "with a base_url."
        )

    def _compatible(self) -> Mapping[str, ProviderSpec]:
        """The vendors that imitate OpenAI, read when a name is none of the dialects'."""
        with self._lock:
            rows = self._rows
        if rows is None:
            rows = dict[str, ProviderSpec](resolve_name(COMPATIBLE))
            with self._lock:
                self._rows = rows
        return rows

    def _from_packages(self) -> Mapping[str, tuple[Installed, ...]]:
        with self._lock:
            installed = self._installed
        if installed is None:
            installed = self._sort_out(self._find_installed())
            with self._lock:
                self._installed = installed
        return installed

    def _sort_out(
        self, found: Iterable[Installed]
    ) -> Mapping[str, tuple[Installed, ...]]:
        by_name: dict[str, tuple[Installed, ...]] = {}
        for entry_point in found:
            name = entry_point.name
            # Installed packages may add names, but not take ours.
            if name in BUILT_IN or name in self._compatible():
                _logger.warning(
                    "The provider %r of %s is ignored: that name is built in.",
                    name,
                    _packages([entry_point]),
                )
            else:
                by_name[name] = (*by_name.get(name, ()), entry_point)
        return by_name


def _entry_points() -> Iterable[Installed]:
    return entry_points(group=GROUP)


def _check(entry: object, name: str | None) -> str:
    """Return the name under which *entry* may stand."""
    match entry:
        case ProviderSpec():
            if name not in (None, entry.name):
                raise ConfigError(
                    f"The spec is named {entry.name!r} and cannot stand under {name!r}: "
                    f"pass evolve(spec, name={name!r})."
                )
            return entry.name
        case _ if callable(entry):
            if not name or not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
                raise ConfigError(
                    f"The provider name {name!r} will not do: lower-case letters, "
                    "digits, '-', '_' and '.', and no colon."
                )
            return name
        case _:
            raise ConfigError(
                f"A {type(entry).__name__} is no provider: register a ProviderSpec, or a "
                "function from ClientConfig to a Provider."
            )


def _load_installed(entry_point: Installed) -> ProviderEntry:
    try:
        entry: object = entry_point.load()
        _check(entry, entry_point.name)
    except Exception as error:
        # Whatever a stranger's module raises while it is imported. Only those who ask for
        # it shall hear of it.
        raise ConfigError(
            f"The provider {entry_point.name!r} of {_packages([entry_point])} cannot be "
            f"loaded: {type(error).__name__}: {error}. Update that package, or uninstall "
            "it."
        ) from error
    loaded: ProviderEntry = entry  # type: ignore[assignment]  # `_check` has looked
    return loaded


def _packages(entry_points: Iterable[Installed]) -> str:
    """Name the packages for an error: those that they are installed from, or import."""
    names: list[str] = []
    for entry_point in entry_points:
        distribution = getattr(entry_point, "dist", None)
        module = entry_point.value.partition(":")[0]
        names.append(getattr(distribution, "name", None) or module)
    return ", ".join(names)


def _info(name: str, entry: ProviderEntry, *, package: str | None) -> ProviderInfo:
    if not isinstance(entry, ProviderSpec):
        words = (getattr(entry, "__doc__", None) or "").strip().splitlines()
        return ProviderInfo(
            name=name,
            title=name,
            description=words[0] if words else "",
            package=package,
        )
    settings: dict[str, str | None] = {"base_url": entry.base_url, **entry.settings}
    required = [setting for setting, value in settings.items() if value is None]
    return ProviderInfo(
        name=name,
        title=entry.title,
        description=entry.description,
        docs=entry.docs,
        capabilities=entry.capabilities,
        required_settings=(*(["api_key"] if entry.requires_key else []), *required),
        optional_settings={s: v for s, v in settings.items() if v is not None},
        api_key_env=entry.api_key_env,
        models=entry.models,
        package=package,
    )
