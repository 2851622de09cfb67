"""
The servers behind `local`: a process for each model, started when it is first asked for.

See `_local_server` for what runs in it, and why it is a process.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, final

from attrs import define, evolve, field, frozen

from ..errors import AIChatError, ClosedError, ConfigError, ProviderUnavailableError
from ..transport import HTTPRequest
from ..types import dumps, loads
from ._base import bearer

__all__ = ["SETTINGS", "LocalEngine", "check_model"]

#: The settings, with what applies otherwise; nothing: what llama.cpp thinks best.
SETTINGS: Final[Mapping[str, str]] = {
    # Tokens that fit, for all answers under way together; 0: as many as the model was
    # made for, which may need more memory than the model itself.
    "n_ctx": "8192",
    # Answers at the same time; others wait.
    "n_parallel": "4",
    "n_threads": "",
    # How much of the model goes to the graphics card; -1: whatever fits.
    "n_gpu_layers": "",
}

#: -P: the folder of the script has modules that are called like others.
_COMMAND: Final = (
    *(sys.executable, "-P"),
    str(Path(__file__).with_name("_local_server.py")),
)
_PACKAGE: Final = "xllamacpp"
_MAGIC: Final = b"GGUF"
#: Seconds that a server has for stopping, before it is ended.
_PATIENCE: Final = 5.0
#: A line of llama.cpp's log that tells of an error.
_ERROR_LINE: Final = re.compile(rb"^[\d.]+ E (.+)$", re.MULTILINE)


@final
class LocalEngine:
    """
    Starts a server for each model that is asked for; an `Engine`.

    What follows the settings is for tests: what to run, the package that it needs, and how
    many seconds it has for stopping before it is ended.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        command: Sequence[str] = _COMMAND,
        package: str = _PACKAGE,
        patience: float = _PATIENCE,
    ) -> None:
        self._settings = _numbers(settings)
        self._run = _Run(tuple(command), package, patience)
        # A port of the loopback interface is open to everybody on this machine, and to the
        # pages in their browsers. So it takes a key, which nobody but us knows.
        self._key = secrets.token_urlsafe(32)
        # Guards the map; nothing is waited for while it is held.
        self._lock = threading.Lock()
        self._servers: dict[tuple[int, str], _Server] = {}
        self._closed = False

    async def start(self, request: HTTPRequest) -> HTTPRequest:
        """Address *request* to the server of its model, once that is loaded."""
        name: str = request.body["model"]
        url = await self._url(name)
        # It hangs up after some requests without a word before; a new connection to
        # ourselves costs nothing.
        headers = {**request.headers, "connection": "close"}
        return bearer(evolve(request, base_url=f"{url}/v1", headers=headers), self._key)

    async def aclose(self) -> None:
        """Stop all servers, those that are still loading too."""
        with self._lock:
            self._closed = True
            servers = [*self._servers.values()]
            self._servers.clear()
        stopping = [asyncio.wrap_future(_in_thread(s.stop)) for s in servers]
        await asyncio.gather(*stopping)

    async def _url(self, name: str) -> str:
        server = self._server(name)
        try:
            return await asyncio.wrap_future(server.ready)
        except AIChatError as error:
            # Each of those who wait for it gets one of their own.
            failure = copy(error)
        raise failure

    def _server(self, name: str) -> _Server:
        path = os.path.realpath(os.path.expanduser(name))
        # After a fork the servers are still the parent's.
        key = (os.getpid(), path)
        with self._lock:
            if self._closed:
                raise ClosedError("The client is closed.")
            server = self._servers.get(key)
            if server is None or server.ended:
                asked = {
                    "path": path,
                    "name": name,
                    "key": self._key,
                    "settings": self._settings,
                }
                server = _Server(path, asked, self._run)
                self._servers[key] = server
                _in_thread(server.start, server.ready)
            return server


def check_model(path: str, package: str = _PACKAGE) -> None:
    """Raise `ConfigError` unless *path* is a GGUF file, and *package* is there to read it."""
    try:
        with open(path, "rb") as file:
            magic = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no file {path!r}. With the provider 'local' a model is the path of "
            "a GGUF file."
        ) from None
    except OSError as error:
        raise ConfigError(f"The model {path!r} cannot be read: {error}.") from None
    if magic != _MAGIC:
        raise ConfigError(f"{path!r} is not a GGUF file: it does not begin like one.")
    if find_spec(package) is None:
        raise ConfigError(
            "The provider 'local' needs llama.cpp: pip install 'aichat[local]'."
        )


@frozen
class _Run:
    """What all processes of an engine have in common."""

    command: tuple[str, ...]
    package: str
    patience: float


@final
@define(eq=False, repr=False)
class _Server:
    """One process. Its methods block: they are for threads."""

    path: str
    asked: Mapping[str, Any]
    run: _Run
    #: Its base URL, when it is ready.
    ready: Future[str] = field(factory=Future)
    _owner: int = field(factory=os.getpid)
    _lock: threading.Lock = field(factory=threading.Lock)
    _process: subprocess.Popen[bytes] | None = None
    #: Ends the process, once.
    _end: Callable[[], object] = lambda: None
    _stopped: bool = False

    @property
    def ended(self) -> bool:
        """Whether it will never answer, or no more."""
        if not self.ready.done():
            return False
        if self.ready.exception() is not None or self._process is None:
            return True
        return self._process.poll() is not None

    def start(self) -> str:
        """Start it, and return its base URL once the model is loaded."""
        check_model(self.path, self.run.package)
        with tempfile.TemporaryFile() as log:
            with self._lock:
                if self._stopped:
                    raise ClosedError("The client is closed.")
                process = self._process = self._launch(log)
                # Also when nobody closes the client, and at the end of the program.
                self._end = weakref.finalize(
                    self, _stop, process, self._owner, self.run.patience
                )
            line = _ask(process, self.asked)
            if (url := line.get("url")) is not None:
                return str(url)
            self._end()
            status = process.wait()
            if self._stopped:
                raise ClosedError("The client was closed while the model was loading.")
            raise self._failure(status, line.get("error"), log)

    def _failure(self, status: int, said: str | None, log: IO[bytes]) -> AIChatError:
        log.seek(0)
        written = log.read()
        told = _ERROR_LINE.search(written)
        why = told[1].decode("utf-8", "replace").strip() if told else said
        if said is not None:
            return ConfigError(f"llama.cpp cannot load {self.path!r}: {why}.")
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        why = why or written[-500:].decode("utf-8", "replace").strip()
        return ProviderUnavailableError(
            f"llama.cpp ended with {ended} while it loaded {self.path!r}. {why}".strip(),
            # It would take as long again, and end in the same way.
            retryable=False,
        )

    def stop(self) -> None:
        """Stop it, whatever it is doing."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None and not self.ready.done():
            # What loads does not listen.
            process.kill()
        self._end()

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        command, pipe = self.run.command, subprocess.PIPE
        try:
            return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log)
        except OSError as error:
            what = f"A process for {self.path!r} cannot be started: {error}."
        raise ProviderUnavailableError(what)


def _ask(process: subprocess.Popen[bytes], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Say what to serve, and wait for the answer; empty if there is none."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):  # it is gone: there will be no answer
        process.stdin.write(dumps(asked) + b"\n")
        process.stdin.flush()
    line = process.stdout.readline()
    answer: dict[str, Any] = loads(line) if line else {}
    return answer


def _stop(process: subprocess.Popen[bytes], owner: int, patience: float) -> None:
    if os.getpid() != owner:
        return
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):  # it is gone
        # The end of the input would do, if no fork of ours held the other end too.
        process.stdin.write(b"\n")
        process.stdin.flush()
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _numbers(settings: Mapping[str, str]) -> dict[str, int]:
    wrong = [
        f"settings: {name} must be a whole number, not {value!r}."
        for name, value in settings.items()
        if value and not re.fullmatch(r"-?\d+", value)
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return {name: int(value) for name, value in settings.items() if value}


def _in_thread(
    work: Callable[[], Any], result: Future[Any] | None = None
) -> Future[Any]:
    """Do *work* in a thread of its own, which ends with it."""
    future: Future[Any] = Future() if result is None else result
    # From now on nobody can cancel it who only waits for it.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            # Whatever it is: they shall not wait for ever.
            future.set_exception(error)

    threading.Thread(target=run, name="aichat-local", daemon=True).start()
    return future
