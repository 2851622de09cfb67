"""
Serves one GGUF file with llama.cpp, in a process of its own, until it is told to stop.

Of its own for two reasons. Loading a model holds Python's lock from beginning to end, so
that in the application's process every stream would stand still for as long as that takes,
in whatever thread it happens. And what goes wrong in there, a failed assertion or too little
memory, ends the process that it happens in.

`_local_engine` runs this file as a script: it imports nothing of aichat's. What to serve
comes as a line of JSON on standard input, where it is to be found goes out as another, and
the next line, or the end of the input, is the end: it cannot outlive whoever started it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from typing import Any, TextIO
from urllib.parse import urlsplit

__all__ = ["serve"]

#: Seconds between two looks whether it is ready, and for each of them.
_PAUSE, _PATIENCE = 0.05, 30.0
#: Errors only. They go to standard error, for who started us.
_VERBOSITY = 1


def serve(llama: Any, source: TextIO, out: TextIO) -> None:
    """Serve what the first line of *source* asks for, with the package *llama*."""
    asked = json.loads(source.readline())
    try:
        server = llama.Server(_params(llama, asked))
    except RuntimeError as error:
        _say(out, error=str(error))
        return
    _wait_until_healthy(server.listening_address)
    _say(out, url=server.listening_address)
    source.readline()
    # To let go of it is to stop it.
    del server


def _params(llama: Any, asked: dict[str, Any]) -> Any:
    params = llama.CommonParams()
    params.model.path = asked["path"]
    params.model_alias = {asked["name"]}
    params.api_keys = [asked["key"]]
    # Any port that is free, of the loopback interface.
    params.port = 0
    # The answers share the window, rather than have a part of it each.
    params.kv_unified = True
    params.verbosity = _VERBOSITY
    for name, value in asked["settings"].items():
        holder = params.cpuparams if name == "n_threads" else params
        setattr(holder, name, value)
    return params


def _wait_until_healthy(url: str) -> None:
    address = urlsplit(url).netloc
    while True:
        # Not by urllib: that would ask a proxy.
        connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        finally:
            connection.close()
        time.sleep(_PAUSE)


def _say(out: TextIO, **what: str) -> None:
    out.write(json.dumps(what) + "\n")
    out.flush()


def _main() -> None:  # pragma: no cover  # in a process of its own
    # Ctrl-C is for the application, which tells us when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints shall not get between our lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import xllamacpp

    serve(xllamacpp, sys.stdin, out)


if __name__ == "__main__":  # pragma: no cover  # in a process of its own
    _main()
