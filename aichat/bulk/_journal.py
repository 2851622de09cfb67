"""
The output file, which is the journal as well: what stands in it is done.

A result is one line, written whole with one call before the next is looked at, so that a
process that is killed leaves whole lines, and at most one torn one at the end, which the next
run takes away. What the operating system has taken survives the process; what a power failure
spares is what was synced: every second in which results come, and at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, final

from ..errors import ConfigError
from ..types import JSONError, loads

try:
    import fcntl
except ImportError:  # pragma: no cover -- Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Entry", "Journal", "entries_of"]

#: How our lines begin. What begins otherwise is somebody's file, and not to be cut.
_BEGINNING: Final = b'{"id":"'
_PIECE: Final = 2**20


class Entry(NamedTuple):
    """What a line of the output says."""

    id: str
    #: What it cost, if that is known.
    cost: Decimal | None
    #: The model that was asked, with its provider; ``None`` in a line that does not say.
    model: str | None


@final
class Journal:
    """An output file that one run at a time writes; a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigError` if another run has it, or if it is something else."""
        self.path = path
        #: Whether there was none before.
        self._new = not path.exists()
        # Read and written, and never truncated by opening it.
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._unsynced = False
        try:
            self._lock()
            self._end = self._mend()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.sync()
            if error is not None and self._new and not self._end:
                # The run was refused: it leaves nothing behind.
                with suppress(OSError):  # Windows lets nobody remove an open file.
                    self.path.unlink()
        finally:
            os.close(self._fd)

    # -- what is there -----------------------------------------------------------------

    def entries(self) -> Iterator[Entry]:
        """What is done. Raises `ConfigError` for a line that no run has written."""
        return entries_of(self.path)

    def _mend(self) -> int:
        """Take away a torn line, or end the last one; return the size."""
        size = os.fstat(self._fd).st_size
        start, tail = self._tail(size)
        if not tail:
            return size
        if _is_whole(tail):
            # All of it but the line feed: the answer is there, and paid for.
            os.write(self._fd, b"\n")
            return size + 1
        # A power failure may leave zeros.
        head = tail.rstrip(b"\0")[: len(_BEGINNING)]
        if not _BEGINNING.startswith(head):
            raise ConfigError(
                f"{self.path} ends in the middle of a line that aichat has not written: "
                "it is not the output of a run. Choose another file."
            )
        os.ftruncate(self._fd, start)
        return start

    def _tail(self, size: int) -> tuple[int, bytes]:
        """What stands behind the last line feed, and where."""
        tail, start = b"", size
        while start:
            begin = max(0, start - _PIECE)
            piece = _read_at(self._fd, begin, start - begin)
            cut = piece.rfind(b"\n")
            if cut >= 0:
                return begin + cut + 1, piece[cut + 1 :] + tail
            tail, start = piece + tail, begin
        return 0, tail

    def _lock(self) -> None:
        if fcntl is None:  # pragma: no cover -- Windows
            return
        try:
            # It ends with the process, however that ends.
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _taken(self.path) from None
        # Who had it until now may have removed it: what is written here would be nowhere.
        if not _is_at(self.path, self._fd):
            raise _taken(self.path)

    # -- what comes --------------------------------------------------------------------

    def append(self, line: bytes) -> None:
        """
        Write a whole line.

        Raises `OSError`, when the disk is full, without leaving half of it behind.
        """
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BaseException:
            os.ftruncate(self._fd, self._end)
            raise
        self._end += len(line)
        self._unsynced = True

    def sync(self) -> None:
        """Wait until it is on the disk; from a thread, if you like."""
        if self._unsynced:
            self._unsynced = False
            os.fsync(self._fd)


def _taken(path: Path) -> ConfigError:
    return ConfigError(f"Another run is writing {path}. Wait for it, or end it.")


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def entries_of(path: Path) -> Iterator[Entry]:
    """
    What is done by the runs whose output is *path*, if it is there; changes nothing.

    Raises `ConfigError` for a line that no run has written.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if raw.endswith(b"\n") and raw.strip():
                yield _entry(raw, f"{path}, line {number}")
            elif _is_whole(raw):
                yield _entry(raw, str(path))


def _read_at(fd: int, start: int, length: int) -> bytes:
    os.lseek(fd, start, os.SEEK_SET)
    pieces: list[bytes] = []
    while length and (piece := os.read(fd, length)):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _is_whole(tail: bytes) -> bool:
    try:
        _entry(tail, "")
    except ConfigError:
        return False
    return True


def _entry(raw: bytes, where: str) -> Entry:
    try:
        value: Any = loads(raw)
    except JSONError:
        value = None
    if isinstance(value, dict) and "response" in value:
        name = value.get("custom_id", value.get("id"))
        if isinstance(name, str):
            model = value.get("model")
            return Entry(
                name,
                _cost(value.get("cost")),
                model if isinstance(model, str) else None,
            )
    raise ConfigError(
        f"{where}: this is not a result that aichat has written. If the file is the "
        "output of a run, take the line away; else choose another file."
    )


def _cost(value: Any) -> Decimal | None:
    try:
        return Decimal(value["total"])
    except (InvalidOperation, KeyError, TypeError):
        return None
