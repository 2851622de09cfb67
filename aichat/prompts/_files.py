r"""
Prompts in files: Markdown with a heading for each role, or YAML, or TOML.

::

    ---
    model: openai:gpt-5.1
    temperature: 0.2
    examples:
      - {user: "Good morning", assistant: "Bonjour"}
    ---
    # system
    You translate into $language.

    # user
    $text

The part between the ``---`` is YAML (extra ``yaml``), between ``+++`` it is TOML, and it may
be missing. A heading is one of ``# system``, ``# user`` and ``# assistant``, alone in its line
and outside of code blocks; to have such a line in a text write ``\# user``. Without any
heading the text is a user message. Blank lines around a text are not part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from ..errors import ConfigError
from ..types import Message, Role, Tool, dumps, from_json, user
from ._template import PromptTemplate

__all__ = ["SUFFIXES", "parse_markdown", "read_prompt"]

SUFFIXES: Final = (".md", ".yaml", ".yml", ".toml")

_HEADING: Final = re.compile(r"#[ \t]*(system|user|assistant|tool)[ \t]*#*[ \t]*", re.I)
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_FRONT: Final = re.compile(
    r"\A(---|\+\+\+)[ \t]*\n(.*?)(?:^|\n)\1[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_OURS: Final = frozenset({"messages", "examples", "syntax", "tools"})


def read_prompt(
    path: str | Path, *, name: str = "", version: int | None = None
) -> PromptTemplate:
    """
    Read a prompt from a file, at once (it blocks: a thread may be kinder).

    The ending says what it is. Without *name* it is called like the file. Raises
    `ConfigError` that names the file.
    """
    path = Path(path)
    name = name or path.stem
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: the name must end in {', '.join(SUFFIXES)}.")
    try:
        source = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read: {why}.") from None
    try:
        if suffix == ".md":
            return parse_markdown(source, name=name, version=version)
        return _from_fields(_parse(source, suffix), name, version)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None


def parse_markdown(
    source: str, *, name: str = "", version: int | None = None
) -> PromptTemplate:
    """Read a prompt from Markdown, as `read_prompt` does. Raises `ConfigError`."""
    # As files are read; a text from a database may have other ends of lines.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    given: dict[str, Any] = {}
    if front := _FRONT.match(source):
        given = _parse(front[2], ".yaml" if front[1] == "---" else ".toml")
        source = source[front.end() :]
        if "messages" in given:
            _refuse("The messages stand below the options, not among them.")
    elif source.startswith(("---\n", "+++\n")):
        _refuse(f"The options have no end: a line {source[:3]} is missing.")
    return _from_fields({**given, "messages": _sections(source)}, name, version)


def _sections(source: str) -> list[Message]:
    """Cut at the headings that name a role."""
    found: list[tuple[str, list[str]]] = []
    preface: list[str] = []
    lines = preface
    fence = ""
    for number, line in enumerate(source.split("\n"), 1):
        if mark := _FENCE.fullmatch(line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        heading = None if fence else _HEADING.fullmatch(line)
        if heading is None:
            escaped = (
                not fence and line.startswith("\\") and _HEADING.fullmatch(line[1:])
            )
            lines.append(line[1:] if escaped else line)
            continue
        role = heading[1].lower()
        if role == "tool":
            _refuse(f"Line {number}: results of tools have no form here. Use YAML.")
        lines = []
        found.append((role, lines))
    if not found:
        return [user(_trimmed(preface))]
    if any(map(str.strip, preface)):
        _refuse("There is text before the first heading: whose is it?")
    return [Message(role, _trimmed(lines)) for role, lines in found]


def _trimmed(lines: list[str]) -> str:
    """Without the blank lines around it."""
    return re.sub(r"\A(?:[ \t]*\n)+|(?:\n[ \t]*)+\Z", "", "\n".join(lines))


def _from_fields(
    given: Mapping[str, Any], name: str, version: int | None
) -> PromptTemplate:
    options = {key: value for key, value in given.items() if key not in _OURS}
    if "tools" in given:
        options["tools"] = [
            _read(Tool, tool, f"tools[{index}]")
            for index, tool in enumerate(_list(given["tools"], "tools"))
        ]
    examples: list[Message] = []
    for index, each in enumerate(_list(given.get("examples", []), "examples")):
        if not isinstance(each, dict) or [*each] != ["user", "assistant"]:
            _refuse(f"examples[{index}] must be {{user: …, assistant: …}}.")
        examples += _messages(each, f"examples[{index}]")
    if "messages" not in given:
        _refuse("There are no messages.")
    messages: list[Message] = []
    for index, each in enumerate(_list(given["messages"], "messages")):
        messages += _messages(each, f"messages[{index}]")
    return PromptTemplate(
        messages,
        options=options,
        examples=examples,
        syntax=given.get("syntax", "dollar"),
        name=name,
        version=version,
    )


def _messages(given: object, where: str) -> list[Message]:
    """``{user: text}``, or several of those, or a message in the form of `to_json`."""
    match given:
        case Message():
            return [given]
        case {"role": _}:
            return [_read(Message, given, where)]
        case dict() if given and given.keys() <= {*Role} - {"tool"}:
            for role, text in given.items():
                if not isinstance(text, str):
                    kind = type(text).__name__
                    _refuse(f"{where}: what the {role} says is a {kind}, not a text.")
            return [Message(role, text) for role, text in given.items()]
        case _:
            _refuse(f"{where} must be a role and a text, such as {{user: …}}.")


def _read(kind: type[Any], given: object, where: str) -> Any:
    try:
        return from_json(kind, dumps(given))
    except (TypeError, ValueError) as error:
        _refuse(f"{where}: {error}")


def _list(given: object, what: str) -> list[Any]:
    if not isinstance(given, list):
        _refuse(f"{what} must be a list, not a {type(given).__name__}.")
    return given


def _parse(source: str, suffix: str) -> dict[str, Any]:
    given = _parse_toml(source) if suffix == ".toml" else _parse_yaml(source)
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        _refuse("The options must be names and values.")
    return given


def _parse_toml(source: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        _refuse(f"This is no TOML: {error}.")


def _parse_yaml(source: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            "YAML needs the extra yaml: pip install 'aichat[yaml]'. Options between lines "
            "of +++ are TOML, which needs nothing."
        ) from None
    try:
        return yaml.safe_load(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"Line {mark.line + 1}" if mark else "This"
        why = getattr(error, "problem", None) or "it cannot be parsed"
        _refuse(f"{line} is no YAML: {why}.")


def _refuse(message: str) -> NoReturn:
    raise ConfigError(message)
