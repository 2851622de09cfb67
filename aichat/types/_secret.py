"""A key that cannot be shown by accident."""

from __future__ import annotations

from typing import Any, NoReturn, final

__all__ = ["Secret"]


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
