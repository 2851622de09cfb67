"""A key that cannot be shown by accident."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, final

__all__ = ["Secret", "SecretValues", "is_secret"]

_SECRET = re.compile(r"auth|key|token|secret|cookie|credential|password", re.I)


def is_secret(name: str) -> bool:
    """Whether what is called *name*, a header or a setting, holds what nobody may see."""
    return _SECRET.search(name) is not None


@final
class Secret:
    """
    Holds a text that no ``repr``, format, log line, copy to JSON or pickle reveals.

    >>> Secret("sk-123")
    Secret('***')
    >>> Secret("sk-123").reveal()
    'sk-123'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself. Only those who put it into a header should ask."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A Secret is not pickled: read the key from the environment or a secret "
            "manager where it is needed."
        )


@final
class SecretValues(Mapping[str, str]):
    """
    A mapping whose values may be as secret as a key: some headers are. Shows its keys only.

    No ``dict``, so that ``attrs.asdict`` does not take it apart.

    >>> SecretValues({"x-team-key": "abc"})
    <x-team-key>
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._values == dict(other)

    __hash__ = None  # type: ignore[assignment]  # as a dict

    def __repr__(self) -> str:
        return f"<{', '.join(self._values)}>"

    def __copy__(self) -> SecretValues:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> SecretValues:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        secret = [name for name in self._values if is_secret(name)]
        if secret:
            raise TypeError(
                f"{', '.join(secret)} may hold a key, and keys are not pickled: set it "
                "where it is needed."
            )
        return SecretValues, (self._values,)
