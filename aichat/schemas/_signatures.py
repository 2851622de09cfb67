"""The parameters of a function, as an object in JSON."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from attrs import frozen

from ..errors import ConfigError
from ._definitions import Definitions
from ._docstrings import documentation
from ._fields import Field
from ._problems import ConversionError, Problem
from ._reading import Reader, property_of
from ._records import Record
from ._shape import FAILED

__all__ = ["Arguments", "arguments_of"]

#: What providers take for the name of a property; Anthropic is the strictest.
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


@frozen
class Arguments:
    """What a function takes."""

    _record: Record
    #: The docstring, without what it says of the parameters.
    description: str | None
    #: The parameters that are nobody else's business, as `arguments_of` was told.
    hidden: tuple[str, ...]
    #: The JSON Schema of the others: an object.
    schema: Mapping[str, Any]

    def read(self, value: Any) -> dict[str, Any]:
        """Turn a JSON object into keyword arguments. Raises `ConversionError`."""
        problems: list[Problem] = []
        found = self._record.read(value, "$", problems)
        if found is FAILED:
            raise ConversionError(problems)
        return dict(found)


def arguments_of(
    function: Callable[..., Any], *, hide: Callable[[Any], bool] = lambda _: False
) -> Arguments:
    """
    Read the signature and the docstring of *function*.

    Parameters whose type *hide* picks are left out. Raises `ConfigError`, which names function
    and parameter, for what cannot be sent: a parameter without a type, ``*args``.
    """
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    words = documentation(inspect.getdoc(_documented(function)))
    reader = Reader(name)
    record = Record("", dict)
    hints = _hints(function, name)
    hidden: list[str] = []
    properties = []
    for parameter in inspect.signature(function).parameters.values():
        where = f"{name}({parameter.name})"
        _check(parameter, where)
        if parameter.name not in hints:
            raise ConfigError(
                f"{where}: the parameter has no type, so nobody can be told what to send. "
                "Annotate it."
            )
        hint = hints[parameter.name]
        if hide(_bare(hint)):
            hidden.append(parameter.name)
            continue
        if not _NAME.fullmatch(parameter.name):
            raise ConfigError(
                f"{where}: providers take letters (a to z), digits and _ in the name of a "
                "parameter, 64 at most."
            )
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        each = Field(parameter.name, hint, required, default)
        shape = reader.read(hint, where)
        properties.append(property_of(each, shape, words.parameters.get(each.name)))
    record.properties = properties
    definitions = Definitions()
    schema = definitions.assemble(record.body(definitions))
    return Arguments(record, words.text, tuple(hidden), schema)


def _documented(function: Callable[..., Any]) -> Any:
    if isinstance(function, functools.partial):
        return _documented(function.func)
    if inspect.isroutine(function):
        return function
    # An object that can be called: the method says more than the class.
    method = type(function).__call__
    return method if getattr(method, "__doc__", None) else type(function)


def _check(parameter: inspect.Parameter, where: str) -> None:
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL | inspect.Parameter.VAR_KEYWORD as kind:
            stars = "*" if kind is inspect.Parameter.VAR_POSITIONAL else "**"
            raise ConfigError(
                f"{where}: {stars}{parameter.name} takes anything, which no schema can say. Name the "
                "parameters, or take one that is a list or a dict."
            )
        case inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"{where}: the parameter is positional-only, and arguments are sent by "
                "name. Remove the / from the signature."
            )
        case _:
            pass


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """The types of the parameters; what it returns is nobody's business here."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    inner = inspect.unwrap(inner)
    inner = getattr(inner, "__func__", inner)
    if not isinstance(inner, types.FunctionType):
        raise ConfigError(
            f"{name}: this is written in C, and has no annotations. Wrap it in a function."
        )

    def stand_in() -> None: ...

    stand_in.__annotations__ = {
        key: hint for key, hint in inner.__annotations__.items() if key != "return"
    }
    try:
        return get_type_hints(stand_in, globalns=inner.__globals__, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{name}: {error}. Annotations have to be resolvable at run time: define or "
            "import it at the top of the module."
        ) from None


def _bare(hint: Any) -> Any:
    origin: Any = get_origin(hint)
    return _bare(get_args(hint)[0]) if origin is Annotated else hint
