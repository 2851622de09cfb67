"""
How a client is set up: arguments, a mapping, a file, the environment, in that order of strength.

Text becomes values in one cattrs converter, and everything that is wrong is reported at
once, by the name that the user wrote: ``AI_TIMEOUT`` from the environment, ``timeout`` from
a file.

typed-settings, which is made for this, does not fit: it reads ``os.environ`` and no other
mapping, its errors name the option instead of the variable and quote the value (which may
be the key), and it stops before a class's own checks as soon as one value does not convert.
What would be left of it is two calls, of tomllib and of yaml.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from attrs import field, fields, frozen, resolve_types

from ._config_checks import bad_key, complaints
from ._config_sources import (
    Said,
    in_environ,
    in_file,
    in_mapping,
    merge,
    misspelt,
    near,
)
from ._config_values import Duration, Limit, structure
from .errors import ConfigError
from .providers import APIKey, ProviderSpec
from .transport import check_base_url
from .types import Deadlines, Secret
from .types._secret import SecretValues

__all__ = [
    "ClientConfig",
    "misspelt_in",
    "resolve_base_url",
    "resolve_deadlines",
    "resolve_key",
    "said_in",
]

_logger = logging.getLogger("aichat.config")


def _to_key(
    value: APIKey | None,
) -> Secret | Callable[[], Awaitable[str]] | None:
    if isinstance(value, str):
        # Keys are copied, and read from files, with the line end behind them.
        return Secret(value.strip()) if value.strip() else None
    return value


def _to_secret(value: Secret | str | None) -> Secret | None:
    if isinstance(value, str):
        return Secret(value.strip()) if value.strip() else None
    return value


def _to_pairs(value: Mapping[str, str] | None) -> Mapping[str, str]:
    if value is None:
        return SecretValues({})
    # What is no mapping, whatever the types say, is left for the checks to refuse.
    return SecretValues(value) if isinstance(value, Mapping) else value  # type: ignore[redundant-expr]  # types can lie


def _to_rate(value: float | None) -> float | None:
    return value or None


@frozen(kw_only=True)
class ClientConfig:
    """
    Everything that a client can be told; checked when it is made.

    Each field is also a variable, ``AI_PROVIDER`` and so on; the three mappings are one
    variable per entry: ``AI_DEADLINE_TOTAL``, ``AI_HEADER_X_TEAM``, ``AI_SETTING_VERSION``.

    Raises `ConfigError` that lists all mistakes. It never shows the key: not in its
    ``repr``, nor by ``asdict`` or ``copy``; pickling it raises `TypeError`.
    """

    provider: str
    #: A text, a `Secret`, or an async function that fetches the key. Without one the
    #: vendor's own variable is looked up, such as ``OPENAI_API_KEY``.
    api_key: Secret | Callable[[], Awaitable[str]] | None = field(
        default=None, converter=_to_key
    )
    base_url: str | None = None
    #: For requests that name none. Also ``AI_DEFAULT_MODEL``.
    model: str | None = None

    # -- waiting ---------------------------------------------------------------------
    #: For connecting, for the first byte, and between bytes; never for the whole answer.
    timeout: Duration | None = None
    #: Finer than *timeout*, and stronger.
    deadlines: Deadlines | None = None

    # -- trying again ----------------------------------------------------------------
    max_retries: int = 2
    #: The longest first wait; the following ones grow from it.
    retry_backoff: Duration = 0.5
    circuit_breaker: bool = False
    #: How many failures in a row open it.
    circuit_breaker_threshold: int = 5
    #: How long it stays open before somebody may try.
    circuit_breaker_cooldown: Duration = 30.0
    #: Requests per second; ``None`` or 0 for no limit of ours.
    rate_limit: float | None = field(default=None, converter=_to_rate)
    #: The same in other words: one of the two.
    requests_per_minute: float | None = None
    #: How many of them may come at once.
    rate_burst: int = 1
    #: Input and output together. A call reserves what it will probably take.
    tokens_per_minute: float | None = None
    #: Apart, as Anthropic counts them.
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None

    # -- with other processes ----------------------------------------------------------
    #: ``redis://host:port/db``, with a password if there is one: the limits and the circuit
    #: breaker of above are those of all processes together. Needs the extra ``redis``.
    redis_url: Secret | None = field(default=None, converter=_to_secret)
    #: Who has the same one shares. One API key has one quota: give each its own.
    redis_namespace: str = "aichat"
    #: How many processes share, at least: each takes an even part of the limits if Redis is
    #: away, of this number or of those that were counted, whichever is more.
    redis_workers: int = 1

    # -- the wire --------------------------------------------------------------------
    headers: Mapping[str, str] = field(default=None, converter=_to_pairs, hash=False)
    #: The provider's own: an organization, an API version. See `ProviderSpec.settings`.
    settings: Mapping[str, str] = field(default=None, converter=_to_pairs, hash=False)
    #: Send the key over ``http://`` to hosts that are neither loopback nor private.
    allow_insecure_http: bool = False
    #: Take proxies and certificates from the environment.
    trust_env: bool = False
    #: Certificates to trust, PEM.
    ca_file: str | None = None
    #: ``None``: as many as there are streams.
    max_connections: int | None = None
    max_idle_connections: int = 100
    #: How long an idle connection is kept.
    keep_alive: Duration = 90.0

    def __attrs_post_init__(self) -> None:
        wrong = complaints({f.name: getattr(self, f.name) for f in fields(type(self))})
        if wrong:
            raise _mistakes([f"{name}: {what}" for name, what in wrong.items()])

    @classmethod
    def load(
        cls,
        *,
        file: str | os.PathLike[str] | None = None,
        mapping: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] = os.environ,
        **arguments: Any,
    ) -> Self:
        """
        Read everything there is: *arguments* before *mapping* before *file* before *environ*.

        ``None`` and an empty text count as not said. A source that names another provider
        than the one that is chosen keeps its key, address, model, headers and settings to
        itself: one vendor's key never goes to another.

        A file is TOML or YAML (which needs the extra ``yaml``), its entries at the top or
        under ``aichat``. Raises `ConfigError`.

        A variable that is nearly one of ours, such as ``AI_MAX_RETRY``, may be somebody
        else's: it is a warning in the log ``aichat.config``.
        """
        wrong: list[str] = []
        known = _kinds()
        for variable, ours in misspelt(environ, known).items():
            _logger.warning("%s is not read; did you mean %s?", variable, ours)
        sources = [
            in_mapping(arguments, known, wrong),
            in_mapping(mapping or {}, known, wrong),
            in_file(Path(file), known, wrong) if file is not None else {},
            in_environ(environ, known, wrong),
        ]
        return cls._made_of(merge(sources), wrong)

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] = os.environ, **arguments: Any
    ) -> Self:
        """Read the environment; *arguments* are stronger. Raises `ConfigError`."""
        return cls.load(environ=environ, **arguments)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], **arguments: Any) -> Self:
        """Read *mapping* and nothing else; see `load`. Raises `ConfigError`."""
        return cls.load(mapping=mapping, environ={}, **arguments)

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], **arguments: Any) -> Self:
        """Read a TOML or YAML file and nothing else; see `load`. Raises `ConfigError`."""
        return cls.load(file=file, environ={}, **arguments)

    @classmethod
    def _made_of(cls, said: Mapping[str, Said], wrong: list[str]) -> Self:
        values: dict[str, Any] = {}
        names: dict[str, str] = {}
        for path, one in said.items():
            name, _, key = path.partition(".")
            names.setdefault(name, one.name)
            try:
                if key:
                    kind = Limit if name == "deadlines" else str
                    values.setdefault(name, {})[key] = structure(one.value, kind)
                else:
                    kind = _kinds()[name]
                    values[name] = structure(one.value, kind) if kind else one.value
            except ValueError as error:
                wrong.append(f"{one.name}: {error}")
        if "deadlines" in values:
            values["deadlines"] = Deadlines(**values["deadlines"])
        if "provider" not in said:
            wrong.append(_NO_PROVIDER)
        wrong += [f"{names[name]}: {what}" for name, what in complaints(values).items()]
        if wrong:
            raise _mistakes(wrong)
        return cls(**values)

    @property
    def address(self) -> str | None:
        """
        `model` with its provider before it.

        A configured model belongs to the configured provider, whatever colons are in it:
        ``mistral:7b`` is a model of Ollama's, and no other provider's.
        """
        if self.model is None or self.model.startswith(f"{self.provider}:"):
            return self.model
        return f"{self.provider}:{self.model}"

    def settings_for(
        self, spec: ProviderSpec, environ: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, str]:
        """
        Complete `settings` with the variables and the defaults of *spec*.

        Raises `ConfigError` for those that it does not know, and those that are missing.
        """
        wrong = [
            f"settings: {spec.name} has no setting {name!r}{near(name, spec.settings)}"
            for name in self.settings
            if name not in spec.settings
        ]
        found: dict[str, str] = {}
        for name, default in spec.settings.items():
            variables = spec.settings_env.get(name, ())
            said = (text for v in variables if (text := environ.get(v, "").strip()))
            value = self.settings.get(name, next(said, default))
            if value is None:
                where = " or ".join((f"AI_SETTING_{name.upper()}", *variables))
                wrong.append(f"settings: {spec.name} needs {name!r}. Set {where}")
            else:
                found[name] = value
        if wrong:
            raise _mistakes(wrong)
        return found


def said_in(environ: Mapping[str, str]) -> list[str]:
    """The variables of ours that say something, whatever that is."""
    return [said.name for said in in_environ(environ, _kinds(), []).values()]


def misspelt_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that are nearly one of ours, and which one."""
    return misspelt(environ, _kinds())


# -- what the provider has to say ----------------------------------------------------


def resolve_key(
    config: ClientConfig, spec: ProviderSpec, environ: Mapping[str, str]
) -> APIKey | None:
    """
    Find the key for *spec*: the configured one, or else the vendor's own variable.

    ``AI_API_KEY`` counts if ``AI_PROVIDER`` says that it is this provider's. Raises
    `ConfigError` that names the variables to set if a key is needed and there is none.
    """
    key, variables = _find_key(config, spec, environ)
    if key is None and spec.requires_key:
        hint = f"Set {' or '.join(variables)}." if variables else "Pass api_key=…."
        raise ConfigError(f"There is no key for {spec.title}. {hint}")
    return key


def _find_key(
    config: ClientConfig, spec: ProviderSpec, environ: Mapping[str, str]
) -> tuple[APIKey | None, tuple[str, ...]]:
    """The key, if there is one, and the variables that may hold it."""
    variables = spec.api_key_env
    if environ.get("AI_PROVIDER", "").strip() == config.provider:
        variables = ("AI_API_KEY", *variables)
    if config.api_key is not None:
        return config.api_key, variables
    for variable in variables:
        if (key := _to_key(environ.get(variable))) is not None:
            if what := bad_key(key):
                raise ConfigError(f"{variable}: {what}")
            return key, variables
    return None, variables


def resolve_base_url(
    config: ClientConfig, spec: ProviderSpec, environ: Mapping[str, str]
) -> str:
    """
    Find the base URL for *spec*, without a slash at its end.

    Raises `ConfigError` if there is none, or if it would send a key unencrypted.
    """
    name, url = "base_url", config.base_url
    for variable in spec.base_url_env:
        if not url and environ.get(variable):
            name, url = variable, spec.base_url_of(environ[variable].strip())
    url = url or spec.base_url
    if not url:
        variables = " or ".join(("AI_BASE_URL", *spec.base_url_env))
        raise ConfigError(f"{spec.title} has no usual base URL. Set {variables}.")
    key, _ = _find_key(config, spec, environ)
    insecure = config.allow_insecure_http
    try:
        return check_base_url(url, with_key=key is not None, allow_insecure=insecure)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}") from None


def resolve_deadlines(config: ClientConfig, spec: ProviderSpec) -> Deadlines:
    """Put the configured deadlines over the timeout, and both over those of *spec*."""
    deadlines = config.deadlines or Deadlines()
    if config.timeout is not None:
        deadlines = deadlines.over(Deadlines.of(config.timeout))
    return deadlines.over(spec.deadlines)


def _mistakes(wrong: list[str]) -> ConfigError:
    if len(wrong) == 1:
        return ConfigError(
            wrong[0] if wrong[0].endswith((".", "?")) else f"{wrong[0]}."
        )
    listed = "\n".join(f"- {what}" for what in wrong)
    return ConfigError(f"The configuration has {len(wrong)} mistakes:\n{listed}")


_NO_PROVIDER: Final = (
    "There is no provider. Set AI_PROVIDER to openai, anthropic, groq or another one: "
    "`aichat providers` lists them"
)


@cache
def _kinds() -> Mapping[str, Any]:
    """The types of the fields; ``None`` for those that are secret, and what they are."""
    kinds = {f.name: f.type for f in fields(resolve_types(ClientConfig))}
    return MappingProxyType({**kinds, "api_key": None, "redis_url": None})
