"""
A file of answers that survives the process and may be shared by several.

SQLite is the storage. (`diskcache` is SQLite too, but it has had no release since 2023, and
reads its values with pickle, so that whoever can write the file runs code in the process
that reads it: CVE-2025-69872, without a fix. Ours are JSON.)
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import anyio.to_thread
from attrs import define, field

from .._closing import AsyncClosing
from ..errors import ClosedError, ConfigError
from ..types import ChatResponse, from_json, to_json
from ._stores import check_positive, check_ttl

if TYPE_CHECKING:
    import sqlite3

__all__ = ["DiskCache"]

_log = logging.getLogger("aichat")

#: An empty file is half as large.
_LEAST_BYTES: Final = 64 * 1024
#: Marks a file as ours: "aich".
_APPLICATION: Final = 0x61696368
#: The shape of the table. A cache may forget: another one is begun anew.
_FORM: Final = 1
_TABLE: Final = """
CREATE TABLE answers (key TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL, expires REAL)
"""
_INDEX: Final = "CREATE INDEX by_expiry ON answers (expires) WHERE expires IS NOT NULL"
#: Of all answers, how many make room at a time.
_SHARE: Final = 20
#: Seconds to wait for another process that writes.
_BUSY: Final = 1.0

#: Closing any handle of a file lets go of all locks that this process has on it
#: (sqlite.org/howtocorrupt.html), so files are made one at a time.
_making = threading.Lock()


@final
class DiskCache(AsyncClosing):
    """
    Keep answers in the file *path*; the ones that were stored first go first.

    *max_bytes* is for the file, *ttl* in seconds, ``None`` for no end. Several processes,
    loops and threads may share it, on one machine. Nothing touches the disk before the first
    use, and then it happens in a thread. The file is readable by its owner only, since it
    holds what was said; it is not encrypted.

    Whoever makes one closes it::

        async with DiskCache("answers.db") as store:
            client = Client.from_env(middleware=[cache(store, namespace="me")])

    `get` and `set` raise `OSError` for a file that cannot be used; nothing is ever deleted
    that is not ours.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 2**30,
        ttl: float | None = 7 * 86400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises `ConfigError`. *clock* is for tests."""
        self._path = _to_path(path)
        check_positive("DiskCache", max_bytes=max_bytes)
        if max_bytes < _LEAST_BYTES:
            raise ConfigError(
                f"DiskCache: max_bytes must be {_LEAST_BYTES} or more, got {max_bytes}."
            )
        check_ttl("DiskCache", ttl)
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._desk = _Desk()
        self._inherited: list[_Desk] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<DiskCache {str(self._path)!r}{' (closed)' if self._closed else ''}>"

    async def get(self, key: str) -> ChatResponse | None:
        """Return what was kept under *key*, unless it is too old or damaged."""
        return await anyio.to_thread.run_sync(self._get, key)

    async def set(self, key: str, response: ChatResponse, ttl: float | None) -> None:
        """Keep *response*, unless it alone is larger than all that may be kept."""
        ttl = self._ttl if ttl is None else ttl
        await anyio.to_thread.run_sync(self._set, key, response, ttl)

    async def aclose(self) -> None:
        """Close the file. Harmless when done twice; using it afterwards is an error."""
        self._closed = True
        await anyio.to_thread.run_sync(self._close)

    # --- in a thread -------------------------------------------------------------------

    def _get(self, key: str) -> ChatResponse | None:
        with self._database() as database:
            row = database.execute(
                "SELECT CAST(body AS BLOB), expires FROM answers WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                return None
            body, expires = row
            if expires is not None and expires <= self._clock():
                return None
            try:
                return from_json(ChatResponse, body)
            except (ValueError, TypeError):
                _log.warning("%r holds a damaged answer, which is dropped", self)
                database.execute("DELETE FROM answers WHERE key = ?", (key,))
                return None

    def _set(self, key: str, response: ChatResponse, ttl: float | None) -> None:
        body = to_json(response)
        now = self._clock()
        with self._database() as database:
            # Takes the lock at once: two who read first and then want to write block
            # each other.
            database.execute("BEGIN IMMEDIATE")
            database.execute("DELETE FROM answers WHERE key = ?", (key,))
            database.execute("DELETE FROM answers WHERE expires <= ?", (now,))
            if self._make_room(database, len(body)):
                database.execute(
                    "INSERT INTO answers VALUES (?, ?, ?)",
                    (key, body, None if ttl is None else now + ttl),
                )

    def _make_room(self, database: sqlite3.Connection, size: int) -> bool:
        """Drop the oldest until there are *size* bytes; tell whether there are."""
        page = _value(database, "PRAGMA page_size")
        # What does not fit a page takes pages of its own.
        need = math.ceil(size / page) + 2
        limit = self._max_bytes // page
        if need > limit:
            return False
        while True:
            pages = _value(database, "PRAGMA page_count")
            free = _value(database, "PRAGMA freelist_count")
            if pages - free + need <= limit:
                return True
            answers = _value(database, "SELECT count(*) FROM answers")
            if not answers:
                return False
            database.execute(
                "DELETE FROM answers WHERE rowid IN "
                "(SELECT rowid FROM answers ORDER BY rowid LIMIT ?)",
                (math.ceil(answers / _SHARE),),
            )

    def _close(self) -> None:
        desk = self._desk
        with desk.lock:
            database, desk.database = desk.database, None
            if database is not None and desk.process == os.getpid():
                database.close()

    @contextmanager
    def _database(self) -> Generator[sqlite3.Connection, None, None]:
        """
        The open file, for one transaction.

        Raises `ClosedError`, and `OSError` for whatever SQLite does not like.
        """
        import sqlite3  # takes its time, and few need it

        desk = self._desk
        if desk.process != os.getpid():
            # A connection must not cross a fork, nor be closed on the other side of one
            # (sqlite.org/howtocorrupt.html), and its lock may be held by nobody now.
            self._inherited.append(desk)
            desk = self._desk = _Desk()
        with desk.lock:
            if self._closed:
                raise ClosedError("This cache is closed.")
            try:
                if desk.database is None:
                    desk.database = _open(self._path)
                with desk.database as database:
                    yield database
            except sqlite3.Error as error:
                # Opened again next time: by then somebody may have put it right.
                if desk.database is not None:
                    desk.database.close()
                    desk.database = None
                raise OSError(
                    f"The cache {str(self._path)!r} cannot be used: {error}. If it is "
                    "damaged, delete it."
                ) from error


def _to_path(path: object) -> Path:
    if isinstance(path, (str, os.PathLike)) and path not in ("", ":memory:"):
        return Path(path)
    raise ConfigError(f"DiskCache: path must name a file, got {path!r}.")


@define(eq=False)
class _Desk:
    """What one process has of a `DiskCache`."""

    process: int = field(factory=os.getpid)
    lock: threading.Lock = field(factory=threading.Lock)
    database: sqlite3.Connection | None = None


def _open(path: Path) -> sqlite3.Connection:
    import sqlite3

    with _making:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite would let everybody read it. Its other files take after this one.
            path.touch(mode=0o600)
        database = sqlite3.connect(
            path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
    try:
        if not _is_ours(database) and _is_anothers(database):
            raise OSError(f"{str(path)!r} is a database of something else.")
        _set_up(database)
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            if name.exists() and name.stat().st_mode & 0o077:
                name.chmod(0o600)
    except BaseException:
        database.close()
        raise
    return database


def _set_up(database: sqlite3.Connection) -> None:
    # Readers and a writer do not wait for each other, and a crash costs the last answers at
    # most.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    if _is_ours(database):
        return
    with database:
        database.execute("BEGIN IMMEDIATE")
        # Another process may have been quicker.
        if not _is_ours(database):
            database.execute("DROP TABLE IF EXISTS answers")
            database.execute(_TABLE)
            database.execute(_INDEX)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_FORM}")


def _is_anothers(database: sqlite3.Connection) -> bool:
    # In this order: another process may be about to make it ours, table and mark at once.
    tables = _value(database, "SELECT count(*) FROM sqlite_master")
    return tables > 0 and _value(database, "PRAGMA application_id") != _APPLICATION


def _is_ours(database: sqlite3.Connection) -> bool:
    marks = [
        _value(database, f"PRAGMA {n}") for n in ("application_id", "user_version")
    ]
    return marks == [_APPLICATION, _FORM]


def _value(database: sqlite3.Connection, query: str) -> int:
    (value,) = database.execute(query).fetchone()
    return int(value)
