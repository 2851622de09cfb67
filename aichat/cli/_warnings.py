"""What the library logs, as far as it is for whoever runs a command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ._console import Console

__all__ = ["warnings_shown"]

_CONFIG = "aichat.config"


@contextmanager
def warnings_shown(console: Console) -> Iterator[None]:
    """Write to the *console*, each of them once, and keep advice to programmers off it."""
    logger, handler = logging.getLogger("aichat"), _Notes(console)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Notes(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console
        self._said = set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        ours = record.name == _CONFIG or record.levelno >= logging.ERROR
        if ours and said not in self._said:
            self._said.add(said)
            with suppress(OSError):  # Nobody reads any more.
                self._console.note(f"Warning: {said}")
