"""The server and the contestants, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

__all__ = ["Server", "Worker"]

_ROOT: Final = Path(__file__).parent.parent


class _Process:
    """A Python module that runs until its input is closed."""

    def __init__(self, python: str, *command: str) -> None:
        # What it says beside its results is for nobody: litellm alone says thousands of lines.
        self._process = subprocess.Popen(
            [python, "-m", *command],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for whoever measures, and not for what is measured.
            start_new_session=True,
        )
        self._command = " ".join(command)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _hear(self) -> str:
        output: IO[str] | None = self._process.stdout
        line = output.readline() if output else ""
        if not line:
            raise RuntimeError(f"python -m {self._command} has ended")
        return line


class Server(_Process):
    """The provider that all of them ask."""

    def __init__(self) -> None:
        super().__init__(sys.executable, "benchmarks._server")
        self.url = f"http://127.0.0.1:{int(self._hear())}"


class Worker(_Process):
    """A contestant."""

    def __init__(self, python: str, module: str) -> None:
        super().__init__(python, "benchmarks._worker", module)
        #: Of what it is made of.
        self.versions: dict[str, str] = json.loads(self._hear())

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do *job*; the result has an ``error`` if it did not work."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._hear())
        return result
