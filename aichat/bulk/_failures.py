"""The file of what has failed in a run: its lines as they were, each with its error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, final

from ..errors import ConfigError
from ..types import JSONError, loads
from ._lines import as_failure

__all__ = ["Failures", "failures_beside"]


def failures_beside(output: Path, input: Path) -> Path:
    """Where failures go by default; another place if they are the *input*."""
    found = output.with_name(f"{output.stem}.failures.jsonl")
    if found.exists() and input.exists() and found.samefile(input):
        return output.with_name(f"{output.stem}.failures-again.jsonl")
    return found


@final
class Failures:
    """
    A file that is made with the first failure; a context manager.

    What an earlier run has left there goes: this run asks for it again.
    """

    def __init__(self, path: Path) -> None:
        """Raises `ConfigError` for a file that holds something else."""
        self.path = path
        self._file: IO[bytes] | None = None
        if path.exists():
            with path.open("rb") as file:
                first = file.readline()
            if first.strip() and not _is_failure(first):
                raise ConfigError(
                    f"{path} exists, and holds no failures. Name another file for them."
                )
            path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return self._file is not None

    def add(
        self, raw: bytes, error: Mapping[str, Any], number: int | None = None
    ) -> None:
        """Add a line, at once; *error* is what `error_facts` has made."""
        if self._file is None:
            self._file = self.path.open("ab")
        self._file.write(as_failure(raw, error, number))
        self._file.flush()


def _is_failure(line: bytes) -> bool:
    try:
        value = loads(line)
    except JSONError:
        # Torn, by a run that was killed, or not ours.
        return line.startswith((b'{"id":', b'{"custom_id":', b'{"line":'))
    return isinstance(value, dict) and "error" in value
