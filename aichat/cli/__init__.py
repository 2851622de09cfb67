"""
The command line: ``python -m aichat``, or ``aichat`` where it is installed.

Each command is a module with `add`, which adds its parser, and a function that runs it.
"""

from __future__ import annotations

import io
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TextIO

from ..errors import AIChatError
from ._console import Console, check_text
from ._parser import parse
from ._trouble import explain, status_of
from ._warnings import warnings_shown

__all__ = ["main"]

#: What a shell reports for a program that SIGINT, or a pipe without a reader, has ended.
_INTERRUPTED, _NO_READER = 128 + 2, 128 + 13
_FAILED = 1


def main(
    argv: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """
    Run a command and return its exit status; nothing but a bug raises.

    The streams and the environment are the process's own unless they are given.
    """
    console = Console(
        # A process may be started without them.
        stdin=stdin or sys.stdin or io.StringIO(),
        stdout=stdout or _lenient(sys.stdout) or io.StringIO(),
        stderr=stderr or _lenient(sys.stderr) or io.StringIO(),
        environ=environ,
    )
    try:
        return _run(argv, console)
    except BrokenPipeError:
        _let_go_of(console)
        return _NO_READER


def _run(argv: Sequence[str] | None, console: Console) -> int:
    try:
        args = _parse(argv, console)
        if isinstance(args, int):
            return args
        with warnings_shown(console):
            status: int = args.run(args, console)
        console.fresh()
    except KeyboardInterrupt:
        console.fresh()
        return _INTERRUPTED
    except AIChatError as error:
        console.note(explain(error, console.environ))
        return status_of(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        console.note(f"Error: {error.strerror or error}")
        return _FAILED
    return status


def _parse(argv: Sequence[str] | None, console: Console) -> Namespace | int:
    """Read the arguments, or return the status with which that has ended: ``--help`` does."""
    argv = sys.argv[1:] if argv is None else argv
    for argument in argv:
        check_text(argument, "An argument")
    with redirect_stdout(console.stdout), redirect_stderr(console.stderr):
        try:
            return parse(argv)
        except SystemExit as end:
            return int(end.code or 0)


def _lenient(stream: TextIO | None) -> TextIO | None:
    """Rather a question mark than a traceback, where the terminal lacks a letter."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream


def _let_go_of(console: Console) -> None:
    """Have the interpreter not complain at its exit about what nobody reads."""
    if console.stdout is sys.stdout:  # pragma: no cover -- seen in a process of its own
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.dup2(nowhere, sys.stderr.fileno())
