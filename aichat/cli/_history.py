"""What was typed before, for the arrow keys, kept in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self, final

__all__ = ["History", "history_file"]

#: Lines.
_LONGEST: Final = 1000


def history_file(environ: Mapping[str, str]) -> Path | None:
    """Where it is kept, by the XDG rules; ``None`` for somebody without a home."""
    if state := environ.get("XDG_STATE_HOME"):
        return Path(state, "aichat", "history")
    if home := environ.get("HOME") or environ.get("USERPROFILE"):
        return Path(home, ".local", "state", "aichat", "history")
    return None


@final
class History:
    """
    Lines that can be called back, edited and searched.

    Each is written down when it is entered, so that several conversations at the same time
    keep theirs. Nobody but the user may read the file. That it cannot be written is no
    reason not to talk.
    """

    def __init__(
        self, readline: Any, file: Path | None, *, words: Sequence[str] = ()
    ) -> None:
        """Keep lines in *readline*, the module, and in *file*; Tab completes *words*."""
        self._readline, self._file = readline, file
        #: Not every readline can add to a file.
        self._append = getattr(readline, "append_history_file", None)
        # What is answered to a question is none of it.
        if hasattr(readline, "set_auto_history"):
            readline.set_auto_history(False)
        if file is not None:
            self._open(file)
        readline.set_completer_delims(" ")
        readline.set_completer(lambda text, n: _nth(words, text, n))
        readline.parse_and_bind("tab: complete")

    @classmethod
    def of(
        cls, file: Path | None, *, words: Sequence[str] = ()
    ) -> Self | None:  # pragma: no cover -- in a process with a terminal
        """Make one for `input`, if there is a readline; there is none on Windows."""
        try:
            # Its import is what gives `input` the arrow keys.
            import readline
        except ImportError:
            return None
        return cls(readline, file, words=words)

    def add(self, line: str) -> None:
        """Remember *line*, unless it is the one before again."""
        readline = self._readline
        length = readline.get_current_history_length()
        if not line.strip() or (length and readline.get_history_item(length) == line):
            return
        readline.add_history(line)
        if self._file is not None and self._append is not None:
            with suppress(OSError):
                self._append(1, str(self._file))

    def _open(self, file: Path) -> None:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
            self._readline.read_history_file(str(file))
            if self._readline.get_current_history_length() > _LONGEST:
                self._readline.set_history_length(_LONGEST)
                self._readline.write_history_file(str(file))


def _nth(words: Sequence[str], text: str, n: int) -> str | None:
    """The *n*th of *words* that begin with *text*; readline asks until there is none."""
    found = [word for word in words if text and word.startswith(text)]
    return found[n] if n < len(found) else None
