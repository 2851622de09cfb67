"""
Texts with variables in them.

Filling one in happens once and from left to right: what a variable holds is never looked at
again, so that no value can name another variable, or run anything.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from ..errors import ConfigError, InvalidRequestError

__all__ = ["SYNTAXES", "Syntax", "Text", "parse_text", "problem_with"]

#: How variables are written: ``$name`` and ``${name}``, or as Jinja has it.
Syntax: TypeAlias = Literal["dollar", "jinja"]
SYNTAXES: Final = ("dollar", "jinja")


@frozen
class Text:
    """A text, taken apart."""

    variables: frozenset[str]
    #: Fills it in; called with all of the variables.
    fill: Callable[[Mapping[str, Any]], str] = field(repr=False, eq=False)


def parse_text(source: str, syntax: Syntax) -> Text:
    """Take *source* apart. Raises `ConfigError` for what cannot be read."""
    return _parse_dollar(source) if syntax == "dollar" else _parse_jinja(source)


def problem_with(value: object, syntax: Syntax) -> str | None:
    """Why *value* cannot stand for a variable; ``None`` if it can."""
    kinds = (str, int, float, Decimal)
    if syntax == "jinja" or (isinstance(value, kinds) and not isinstance(value, bool)):
        # Jinja has its own words for lists, and for what is not there.
        return None
    return f"is a {type(value).__name__}; make it a text first"


def _parse_dollar(source: str) -> Text:
    template = string.Template(source)
    for found in template.pattern.finditer(source):
        if found["invalid"] is not None:
            line = source.count("\n", 0, found.start()) + 1
            what = source[found.start() : found.start() + 12].partition("\n")[0]
            raise ConfigError(
                f"Line {line} has a dollar sign without a name after it: {what!r}. "
                "Write $$ for the sign itself."
            )
    return Text(frozenset(template.get_identifiers()), template.substitute)


def _parse_jinja(source: str) -> Text:
    try:
        import jinja2
        from jinja2 import meta
    except ImportError:
        raise ConfigError(
            "Templates in Jinja need the extra jinja: pip install 'aichat[jinja]'."
        ) from None
    environment = _environment()
    try:
        tree = environment.parse(source)
        template = environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"Line {error.lineno} is no Jinja: {error.message}") from None
    if next(meta.find_referenced_templates(tree), ...) is not ...:
        raise ConfigError(
            "A prompt cannot include others: what is sent shall stand in one place."
        )

    def fill(values: Mapping[str, Any]) -> str:
        try:
            return str(template.render(values))
        except Exception as error:
            # Its text may quote what the variables hold.
            what = type(error).__name__
        raise InvalidRequestError(
            f"The template cannot be filled in ({what}): look at what its expressions do "
            "with the variables.",
            operation="prompt",
        )

    return Text(frozenset(meta.find_undeclared_variables(tree)), fill)


@cache
def _environment() -> Any:
    """Of the careful kind: templates may come from those who may not run code."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # It makes text for models: quoting for web pages would be wrong.
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
