"""
Where a configuration comes from: arguments, mappings, files, the environment.

What is said is kept with the name under which somebody said it, so that a mistake can be
called by it. Entries of tables have a path: ``deadlines.total``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from attrs import asdict, field, fields, frozen

from .errors import ConfigError
from .types import Deadlines, Secret, Unset

__all__ = [
    "TABLES",
    "Said",
    "in_environ",
    "in_file",
    "in_mapping",
    "merge",
    "misspelt",
    "near",
]


@frozen
class Said:
    """A value as it was said, and the name under which whoever said it knows it."""

    name: str
    value: Any = field(repr=False)


#: The fields that are tables, and what each entry's variable begins with.
TABLES: Final[Mapping[str, str]] = MappingProxyType({
    "deadlines": "AI_DEADLINE_",
    "headers": "AI_HEADER_",
    "settings": "AI_SETTING_",
})
_ALIASES: Final[Mapping[str, str]] = MappingProxyType({"AI_DEFAULT_MODEL": "model"})
#: What nobody may see, and so never as it was written.
_SECRETS: Final = frozenset({"api_key", "redis_url"})
_PHASES: Final = tuple(f.name for f in fields(Deadlines))
#: What belongs to a provider and does not go to another one.
_ITS_OWN: Final = frozenset({"api_key", "base_url", "model", "headers", "settings"})


def in_environ(
    environ: Mapping[str, str], known: Iterable[str], wrong: list[str]
) -> dict[str, Said]:
    """Collect the variables of the *known* fields; what makes no sense goes to *wrong*."""
    variables = {f"AI_{name.upper()}": name for name in known if name not in TABLES}
    said: dict[str, Said] = {}
    for variable, name in {**variables, **_ALIASES}.items():
        _say(said, name, variable, environ.get(variable))
    for name, prefix in TABLES.items():
        for variable in sorted(v for v in environ if v.startswith(prefix)):
            key = variable.removeprefix(prefix).lower()
            if name == "headers":
                key = key.replace("_", "-")
            _say_entry(said, name, key, variable, environ[variable], wrong)
    return said


def misspelt(environ: Mapping[str, str], known: Iterable[str]) -> dict[str, str]:
    """
    Find variables that nobody reads, and the one of ours that each may be meant to be.

    Others may begin with ``AI_`` as well: only what is nearly one of ours counts.
    """
    ours = {f"AI_{name.upper()}" for name in known if name not in TABLES} | {*_ALIASES}
    ours |= {f"{TABLES['deadlines']}{phase.upper()}" for phase in _PHASES}
    tables = tuple(TABLES.values())
    found: dict[str, str] = {}
    for variable in sorted(v for v in environ if v.startswith("AI_")):
        if variable in ours or variable.startswith(tables) or not environ[variable]:
            continue
        for prefix in tables:
            if variable.startswith(f"{prefix[:-1]}S_"):
                found[variable] = prefix + variable[len(prefix) + 1 :]
        # What they all have would make everything alike.
        names = {name.removeprefix("AI_"): name for name in ours}
        near = get_close_matches(variable.removeprefix("AI_"), names, n=1, cutoff=0.8)
        if near:
            found[variable] = names[near[0]]
    return found


def in_mapping(
    mapping: Mapping[str, Any], known: Iterable[str], wrong: list[str], where: str = ""
) -> dict[str, Said]:
    """Collect what *mapping* says of the *known* fields; the rest goes to *wrong*."""
    said: dict[str, Said] = {}
    for written, value in mapping.items():
        name = str(written).replace("-", "_")
        if name not in known:
            wrong.append(
                f"{where}{written}: there is no such setting{near(name, known)}"
            )
        elif name not in TABLES or value is None:
            _say(said, name, f"{where}{written}", value)
        else:
            _say_table(said, name, f"{where}{written}", value, wrong)
    return said


def in_file(
    file: str | Path, known: Iterable[str], wrong: list[str]
) -> dict[str, Said]:
    """Collect what *file* says, at its top or under ``aichat``. Raises `ConfigError`."""
    return in_mapping(_read_file(Path(file)), known, wrong, f"{file}: ")


def merge(sources: Iterable[Mapping[str, Said]]) -> dict[str, Said]:
    """
    Put the stronger *sources*, which come first, over the weaker ones.

    One that names another provider than the strongest keeps what belongs to it: the key
    of one vendor must not go to another.
    """
    sources = list(sources)
    providers = [s["provider"].value for s in sources if "provider" in s]
    merged: dict[str, Said] = {}
    for source in sources:
        stranger = "provider" in source and source["provider"].value != providers[0]
        for path, one in source.items():
            if not (stranger and path.partition(".")[0] in _ITS_OWN):
                merged.setdefault(path, one)
    return merged


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the one of *known* that *name* may have been meant to be."""
    found = get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _say(said: dict[str, Said], path: str, written: str, value: Any) -> None:
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "" or path in said:
        return
    if path in _SECRETS and isinstance(value, str):
        value = Secret(value)
    said[path] = Said(written, value)


def _say_table(
    said: dict[str, Said], name: str, written: str, value: Any, wrong: list[str]
) -> None:
    if isinstance(value, Deadlines):
        limits = asdict(value, filter=lambda _, limit: not isinstance(limit, Unset))
        value = {phase: "none" if s is None else s for phase, s in limits.items()}
    if not isinstance(value, Mapping):
        wrong.append(f"{written}: must be a table of names and values")
        return
    for key, one in value.items():
        _say_entry(said, name, str(key), f"{written}.{key}", one, wrong)


def _say_entry(
    said: dict[str, Said],
    table: str,
    key: str,
    written: str,
    value: Any,
    wrong: list[str],
) -> None:
    if table == "deadlines" and key not in _PHASES:
        wrong.append(f"{written}: there is no such deadline, only {', '.join(_PHASES)}")
    else:
        _say(said, f"{table}.{key}", written, value)


def _read_file(file: Path) -> Mapping[str, Any]:
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{file} cannot be read: {why}.") from None
    match file.suffix.lower():
        case ".toml":
            document = _parse_toml(content, file)
        case ".yaml" | ".yml":
            document = _parse_yaml(content, file)
        case _:
            raise ConfigError(f"{file}: the name must end in .toml, .yaml or .yml.")
    if document is None:
        return {}
    section = document.get("aichat", document) if isinstance(document, dict) else None
    if not isinstance(section, dict):
        raise ConfigError(f"{file} holds no table of names and values.")
    return section


def _parse_toml(content: str, file: Path) -> Any:
    import tomllib

    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is no TOML: {error}.") from None


def _parse_yaml(content: str, file: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            f"Reading {file} needs the extra yaml: pip install 'aichat[yaml]'."
        ) from None
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        # Not its text, which quotes the line: the key may stand in it.
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or "cannot be parsed"
        raise ConfigError(f"{file}{line} is no YAML: {why}.") from None
