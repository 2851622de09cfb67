"""The servers behind `local`, with scripts of a few lines in the place of llama.cpp."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from aichat import (
    AIChatError,
    ChatRequest,
    Client,
    ClientConfig,
    ClosedError,
    ConfigError,
    Modality,
    ProviderSpec,
    ProviderUnavailableError,
    Registry,
)
from aichat.providers._local_engine import SETTINGS, LocalEngine, _stop, check_model
from aichat.providers._local_server import serve
from aichat.providers.local import SPEC
from aichat.transport import HTTPRequest
from aichat.types import dumps, loads

#: Answers at once, and runs until it is told to stop. What it was asked goes into the URL.
WILLING = """
import json, os, sys, urllib.parse
asked = json.loads(sys.stdin.readline())
what = urllib.parse.quote(json.dumps([os.getpid(), asked]), safe="")
print(json.dumps({"url": "http://127.0.0.1:9/" + what}), flush=True)
sys.stdin.readline()
"""
#: Loads until it is killed.
SLOW = "import sys, time; sys.stdin.readline(); time.sleep(600)"
#: Runs until it is killed.
STUBBORN = WILLING.replace("sys.stdin.readline()\n", "__import__('time').sleep(600)\n")
STUBBORN = STUBBORN.replace("json.loads(__import__('time').sleep(600))", "{}")


#: Says what is wrong; its log says it better.
LOGGING = """
import sys
sys.stderr.write("0.01 I all is well\\n0.02 E no such tensor\\n0.03 E goodbye\\n")
print('{"error": "failed"}')
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A file that looks like a model."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF and more")
    # As the system calls it.
    return str(path.resolve())


@asynccontextmanager
async def engine(
    script: str, *, patience: float = 5.0, **settings: str
) -> AsyncGenerator[LocalEngine, None]:
    """An engine that runs *script* for each model."""
    engine = LocalEngine(
        {**SETTINGS, **settings},
        command=[sys.executable, "-c", script],
        package="json",
        patience=patience,
    )
    try:
        yield engine
    finally:
        await engine.aclose()
        for thread in threading.enumerate():
            if thread.name == "aichat-local":
                thread.join()


def request(model: str) -> HTTPRequest:
    return HTTPRequest("/chat/completions", {"model": model}, headers={"x": "y"})


async def start(engine: LocalEngine, model: str) -> tuple[int, dict[str, Any]]:
    """The process that answers, and what it was asked."""
    wire = await engine.start(request(model))
    pid, asked = loads(unquote(wire.base_url.removesuffix("/v1").rpartition("/")[2]))
    assert wire.headers == {
        "x": "y",
        "connection": "close",
        "authorization": f"Bearer {asked['key']}",
    }
    return pid, asked


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- the engine -----------------------------------------------------------------------


async def test_a_model_is_served_by_a_process_until_the_end(model: str) -> None:
    """
    It is asked for the file, with a key and the settings, and is gone afterwards.
    """
    async with engine(WILLING, n_threads="2", n_ctx="") as local:
        pid, asked = await start(local, model)
        assert runs(pid)
        assert asked["path"] == asked["name"] == model
        assert asked["settings"] == {"n_parallel": 4, "n_threads": 2}
        assert len(asked["key"]) > 30
    assert not runs(pid)


async def test_one_process_for_a_file_whatever_it_is_called(
    model: str, tmp_path: Path
) -> None:
    """
    By another path, later or at the same time; another file has another one.
    """
    link, other = tmp_path / "link.gguf", tmp_path / "other.gguf"
    link.symlink_to(model)
    other.write_bytes(b"GGUF")
    async with engine(WILLING) as local:
        names = (model, str(link), str(other))
        first = await asyncio.gather(*(start(local, name) for name in names))
        again = await start(local, model)
        assert first[0] == first[1] == again
        assert first[0][0] != first[2][0]
        assert first[0][1]["key"] == first[2][1]["key"]


async def test_two_engines_have_two_keys(model: str) -> None:
    """
    Nobody knows anybody else's.
    """
    async with engine(WILLING) as one, engine(WILLING) as two:
        keys = {(await start(local, model))[1]["key"] for local in (one, two)}
    assert len(keys) == 2


async def test_one_that_has_died_is_started_again(model: str) -> None:
    """
    The next one who asks gets a new one.
    """
    async with engine(WILLING) as local:
        pid, _ = await start(local, model)
        [server] = local._servers.values()
        assert server._process is not None
        server._process.kill()
        await asyncio.to_thread(server._process.wait)
        again, _ = await start(local, model)
        assert again != pid


@pytest.mark.parametrize(
    ("script", "kind", "what"),
    [
        (
            LOGGING,
            ConfigError,
            "cannot load '{model}': no such tensor.",
        ),
        (
            'print(\'{"error": "failed"}\')',
            ConfigError,
            "cannot load '{model}': failed.",
        ),
        # It dies.
        (
            'raise SystemExit("out of memory")',
            ProviderUnavailableError,
            "ended with status 1 while it loaded '{model}'. out of memory",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            ProviderUnavailableError,
            "ended with signal 9 while it loaded '{model}'.",
        ),
    ],
)
async def test_a_model_that_does_not_load(
    model: str, script: str, kind: type[AIChatError], what: str
) -> None:
    """
    Everybody who waits for it hears why, and nobody tries the same again by himself.
    """
    async with engine(script) as local:
        waiting = [local.start(request(model)) for _ in range(2)]
        errors = await asyncio.gather(*waiting, return_exceptions=True)
    for error in errors:
        assert isinstance(error, kind)
        assert error.message.endswith(what.format(model=model))
        assert not error.retryable
    # Who finds out where it happened writes it into his own.
    assert errors[0] is not errors[1]


async def test_what_did_not_load_may_load_later(model: str, tmp_path: Path) -> None:
    """
    A failure is not kept.
    """
    missing = tmp_path / "late.gguf"
    async with engine(WILLING) as local:
        with pytest.raises(ConfigError, match="There is no file"):
            await start(local, str(missing))
        missing.write_bytes(b"GGUF")
        await start(local, str(missing))


async def test_a_program_that_cannot_be_started(model: str) -> None:
    """
    That is an error of ours like any other.
    """
    command = ["/there/is/no/such/program"]
    local = LocalEngine(SETTINGS, command=command, package="json")
    with pytest.raises(ProviderUnavailableError, match="cannot be started"):
        await local.start(request(model))
    await local.aclose()


async def test_closing_does_not_wait_for_a_model_that_loads(model: str) -> None:
    """
    The process is ended, and those who waited for it are told. Twice is as good as once.
    """
    # C4
    async with engine(SLOW) as local:
        waiting = asyncio.create_task(local.start(request(model)))
        # Until there is a process to end.
        while not [s for s in local._servers.values() if s._process]:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        [server] = local._servers.values()
        async with asyncio.timeout(3):
            await local.aclose()
            await local.aclose()
            with pytest.raises(ClosedError, match="while the model was loading"):
                await waiting
        assert server._process is not None
        assert server._process.returncode == -9
        with pytest.raises(ClosedError, match="The client is closed"):
            await local.start(request(model))


async def test_closing_before_there_is_a_process(model: str) -> None:
    """
    Then there will be none.
    """
    async with engine(WILLING) as local:
        server = local._server(model)
        server.ready.result()
        server.stop()
        # As if it had been stopped a moment earlier.
        with pytest.raises(ClosedError):
            server.start()


async def test_one_that_does_not_listen_is_ended(model: str) -> None:
    """
    After a while.
    """
    async with engine(STUBBORN, patience=0.05) as local:
        wire = await local.start(request(model))
        assert wire.base_url
        [server] = local._servers.values()
    assert server._process is not None
    assert server._process.returncode == -9


async def test_leaving_does_not_stop_the_loading(model: str) -> None:
    """
    Whoever is cancelled leaves the others their model.
    """
    # C2
    async with engine(WILLING) as local:
        leaving = asyncio.create_task(local.start(request(model)))
        staying = asyncio.create_task(start(local, model))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert runs((await staying)[0])


async def test_an_engine_that_nobody_closes(model: str) -> None:
    """
    Its processes end with it.
    """
    command = [sys.executable, "-c", WILLING]
    local = LocalEngine(SETTINGS, command=command, package="json")
    pid, _ = await start(local, model)
    for thread in threading.enumerate():
        if thread.name == "aichat-local":
            thread.join()
    del local
    gc.collect()
    assert not runs(pid)


def test_a_process_of_somebody_else_is_left_alone() -> None:
    """
    After a fork the servers are the parent's.
    """
    # C5
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", "import sys; sys.stdin.readline()"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        _stop(process, os.getpid() + 1, 5.0)
        assert process.poll() is None
        _stop(process, os.getpid(), 5.0)
        assert process.poll() == 0


# -- what is wrong before -------------------------------------------------------------


def test_a_file_is_looked_at_first(model: str, tmp_path: Path) -> None:
    """
    Whether it is there, can be read, is one of those, and whether we can read those.
    """
    text = tmp_path / "notes.gguf"
    text.write_text("GG")
    with pytest.raises(ConfigError, match=r"no file '/nope\.gguf'"):
        check_model("/nope.gguf")
    with pytest.raises(ConfigError, match="cannot be read"):
        check_model(str(tmp_path))
    with pytest.raises(ConfigError, match="not a GGUF file"):
        check_model(str(text))
    with pytest.raises(ConfigError, match=r"aichat\[local\]"):
        check_model(model, package="no_such_package")
    check_model(model, package="json")


def config(model: str, **more: Any) -> ClientConfig:
    return ClientConfig(provider="local", model=model, **more)


async def test_a_client_with_a_wrong_model(tmp_path: Path) -> None:
    """
    It says so when it is asked, once, with the model's name.
    """
    missing = str(tmp_path / "missing.gguf")
    async with Client.from_config(config(missing), environ={}) as client:
        with pytest.raises(ConfigError, match="There is no file") as caught:
            await client.complete("Hi")
    assert caught.value.attempts == 1
    assert (caught.value.provider, caught.value.model) == ("local", missing)


def test_a_client_with_wrong_settings() -> None:
    """
    They are checked when the client is made.
    """
    wrong = {"n_ctx": "many", "n_threads": "1.5"}
    with pytest.raises(ConfigError) as caught:
        Client.from_config(config("m", settings=wrong), environ={})
    assert "n_ctx must be a whole number" in caught.value.message
    assert "n_threads" in caught.value.message
    with pytest.raises(ConfigError, match="no setting 'ctx'"):
        Client.from_config(config("m", settings={"ctx": "5"}), environ={})


async def test_a_client_with_an_address(model: str) -> None:
    """
    There is another provider for servers that run already.
    """
    there = config(model, base_url="http://127.0.0.1:8080/v1")
    async with Client.from_config(there, environ={}) as client:
        with pytest.raises(ConfigError, match="llamacpp"):
            await client.complete("Hi")


def test_what_it_says_of_itself() -> None:
    """
    It needs nothing, and its settings are there to see.
    """
    # G3
    [info] = Registry(installed=lambda: ()).describe("local")
    assert info.required_settings == ()
    assert info.optional_settings.keys() == {"base_url", *SETTINGS}
    assert isinstance(SPEC, ProviderSpec)
    profile = SPEC.profile_of("some.gguf")
    assert profile.inputs == {Modality.TEXT}
    assert not profile.known
    wire = SPEC.encode_request(
        ChatRequest("Hi", "local:/a.gguf", provider_options={"local": {"min_p": 0.1}})
    )
    assert wire.body["min_p"] == 0.1


# -- the process ----------------------------------------------------------------------


class _Health(BaseHTTPRequestHandler):
    """Loading, for the first two times."""

    asked = 0

    def do_GET(self) -> None:
        _Health.asked += 1
        self.send_response(200 if _Health.asked > 2 else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def health() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def params() -> SimpleNamespace:
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace())


ASKED = {
    "path": "/m.gguf",
    "name": "m.gguf",
    "key": "secret",
    "settings": {"n_ctx": 512, "n_threads": 3},
}


def test_the_process_serves_until_it_is_told_to_stop() -> None:
    """
    It says where, once it is healthy.
    """
    given: list[SimpleNamespace] = []
    with health() as url:

        def make(asked: SimpleNamespace) -> SimpleNamespace:
            given.append(asked)
            return SimpleNamespace(listening_address=url)

        llama = SimpleNamespace(CommonParams=params, Server=make)
        source = io.StringIO(dumps(ASKED).decode() + "\n\nmore")
        out = io.StringIO()
        serve(llama, source, out)
    assert loads(out.getvalue()) == {"url": url}
    assert source.read() == "more"
    assert _Health.asked == 3
    [asked] = given
    assert asked.model.path == "/m.gguf"
    assert (asked.model_alias, asked.api_keys) == ({"m.gguf"}, ["secret"])
    assert (asked.n_ctx, asked.cpuparams.n_threads, asked.port) == (512, 3, 0)


def test_the_process_says_what_it_cannot_load() -> None:
    """
    And ends.
    """

    def make(_: object) -> None:
        raise RuntimeError("Failed to init server.")

    llama = SimpleNamespace(CommonParams=params, Server=make)
    out = io.StringIO()
    serve(llama, io.StringIO(dumps(ASKED).decode() + "\n"), out)
    assert loads(out.getvalue()) == {"error": "Failed to init server."}
