"""Which ids there are and what became of them, on disk: there may be more than memory has room for."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Final, Self, final

__all__ = ["IdIndex"]

#: In kB. The rest of a large index is in a file without a name.
_CACHE: Final = 8192
_SCHEMA: Final = """
CREATE TABLE ids (
    id TEXT PRIMARY KEY, line INTEGER NOT NULL, form INTEGER NOT NULL,
    done INTEGER NOT NULL, error BLOB, model INTEGER
) WITHOUT ROWID
"""


@final
class IdIndex:
    """Ids with the line that they stand in, and whether they are done; a context manager."""

    def __init__(self) -> None:
        # "" is a database of its own on disk, which goes away with the connection.
        self._db = sqlite3.connect("", isolation_level=None)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE}"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.execute(_SCHEMA)
        self._db.execute("BEGIN")
        #: There are few of them.
        self._models: dict[str, int] = {}
        self._names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._db.close()

    def add_done(self, id: str, model: str | None = None) -> None:
        """Note an id that the output has, and which model was asked, if it says so."""
        if model is not None and model not in self._models:
            self._models[model] = len(self._names)
            self._names.append(model)
        number = None if model is None else self._models[model]
        self._db.execute(
            "INSERT OR IGNORE INTO ids VALUES (?, 0, 0, 1, NULL, ?)", (id, number)
        )

    def add(self, id: str, line: int, form: int) -> int:
        """
        Note an id of the input.

        Return 0 if it is still to be done, -1 if it is done, and for one that was there
        before, the line that it was in.
        """
        try:
            self._db.execute(
                "INSERT INTO ids VALUES (?, ?, ?, 0, NULL, NULL)", (id, line, form)
            )
        except sqlite3.IntegrityError:
            (before,) = self._db.execute(
                "SELECT line FROM ids WHERE id = ?", (id,)
            ).fetchone()
            if before:
                return int(before)
            self._db.execute("UPDATE ids SET line = ? WHERE id = ?", (line, id))
            return -1
        return 0

    def model_of(self, id: str) -> str | None:
        """Which model was asked for an id that is done; ``None`` if nobody says."""
        found = self._db.execute("SELECT model FROM ids WHERE id = ?", (id,)).fetchone()
        return None if found is None or found[0] is None else self._names[found[0]]

    def line_of(self, id: str) -> int | None:
        """The line that an id stands in if it is still to be done; else ``None``."""
        found = self._db.execute(
            "SELECT line FROM ids WHERE id = ? AND NOT done", (id,)
        ).fetchone()
        return None if found is None else int(found[0])

    def form_of(self, id: str) -> int | None:
        """How the line of an id is written; ``None`` for one that is not ours."""
        found = self._db.execute(
            "SELECT form FROM ids WHERE id = ? AND line", (id,)
        ).fetchone()
        return None if found is None else int(found[0])

    def finish(self, id: str) -> bool:
        """Note that an id is done; false if it was, or is none of ours."""
        found = self._db.execute(
            "UPDATE ids SET done = 1 WHERE id = ? AND NOT done", (id,)
        )
        return found.rowcount == 1

    def fail(self, id: str, error: bytes) -> None:
        """Note what an id failed with."""
        self._db.execute("UPDATE ids SET error = ? WHERE id = ?", (error, id))

    def error_of(self, id: str) -> bytes | None:
        """What an id failed with."""
        found = self._db.execute("SELECT error FROM ids WHERE id = ?", (id,)).fetchone()
        return None if found is None else found[0]
