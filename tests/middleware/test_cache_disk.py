"""`DiskCache`: a file that outlives the process, and may be anything by the time we look."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from aichat import ChatResponse, Client, FinishReason, Message, Role
from aichat.errors import ClosedError, ConfigError
from aichat.middleware._cache import cache
from aichat.middleware._disk_cache import DiskCache
from aichat.middleware._stores import CacheStore
from aichat.testing import FakeProvider
from aichat.types import to_json

from ..types.strategies import responses
from .cache_toys import Model, answer, around

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


def response(text: str = "Hello!") -> ChatResponse:
    message = Message(Role.ASSISTANT, text)
    return ChatResponse(message=message, finish_reason=FinishReason.STOP)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.db"


def rows(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT * FROM answers").fetchall()


def looks(path: Path) -> tuple[int, bytes]:
    """Its mode and what is in it."""
    return path.stat().st_mode, path.read_bytes() if path.is_file() else b""


def remove(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        Path(f"{path}{name}").unlink(missing_ok=True)


def meddle(path: Path, query: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(query, values)


async def test_what_was_set_is_there(path: Path) -> None:
    async with DiskCache(path) as store:
        assert isinstance(store, CacheStore)
        assert await store.get("k") is None
        await store.set("k", response(), None)
        assert await store.get("k") == response()
        await store.set("k", response("Ho!"), None)
        assert await store.get("k") == response("Ho!")


@given(responses)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_answers_come_back_equal_in_every_part(
    path: Path, stored: ChatResponse
) -> None:
    """Through JSON and back."""
    store = DiskCache(path)
    store._set("k", stored, None)
    assert store._get("k") == stored
    store._close()


async def test_values_are_json(path: Path) -> None:
    """
    Never pickles: whoever can write the file must not run code in who reads it.
    """
    async with DiskCache(path) as store:
        await store.set("k", response(), None)
        ((key, body, _),) = rows(path)
        assert (key, body) == ("k", to_json(response()))
        evil = pickle.dumps(response())
        meddle(path, "UPDATE answers SET body = ?", evil)
        assert await store.get("k") is None


def test_nothing_happens_before_it_is_used(path: Path) -> None:
    store = DiskCache(path)
    assert not path.exists()
    assert repr(store) == f"<DiskCache {str(path)!r}>"


async def test_it_survives(path: Path) -> None:
    """Another object, another client, later."""  # X5
    for expected in (False, True):
        provider = FakeProvider(["Hello!"])
        async with (
            DiskCache(path) as store,
            Client(
                {"fake": provider}, middleware=[cache(store, namespace="n")]
            ) as client,
        ):
            got = await client.complete("Hi", model="fake:m")
        assert (got.text, got.from_cache) == ("Hello!", expected)


_PROCESS = """
import anyio, sys
from aichat import ChatResponse, FinishReason, Message, Role
from aichat.middleware._disk_cache import DiskCache

async def main(path, name):
    async with DiskCache(path) as store:
        for number in range(20):
            message = Message(Role.ASSISTANT, f"{name}-{number}")
            response = ChatResponse(message=message, finish_reason=FinishReason.STOP)
            await store.set(f"{name}-{number}", response, None)
            found = await store.get(f"{name}-{number}")
            assert found == response, found

anyio.run(main, *sys.argv[1:])
"""


async def test_several_processes_share_it(path: Path) -> None:
    """
    All begin at once, with no file, and nobody's answers are lost.  # X5
    """
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROCESS, str(path), name),
            stderr=asyncio.subprocess.PIPE,
        )
        for name in "abc"
    ]
    for process in running:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    async with DiskCache(path) as store:
        for name in "abc":
            for number in range(20):
                found = await store.get(f"{name}-{number}")
                assert found is not None
                assert found.text == f"{name}-{number}"


async def test_threads_with_loops_of_their_own_share_it(path: Path) -> None:
    """One object for all of them."""  # C5
    store = DiskCache(path)
    failures: list[BaseException] = []

    async def work(name: str) -> None:
        for number in range(10):
            await store.set(f"{name}-{number}", response(name), None)
            found = await store.get(f"{name}-{number}")
            assert found == response(name)

    def thread(name: str) -> None:
        try:
            asyncio.run(work(name))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(n,)) for n in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures
    await store.aclose()
    assert len(rows(path)) == 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_opens_a_connection_of_its_own(path: Path) -> None:
    """
    One that crossed a fork would damage the file, and its lock may be held for ever.  # C5
    """
    store = DiskCache(path)
    store._set("k", response(), None)
    mine = store._desk
    with mine.lock:
        child = os.fork()
        if child == 0:
            right = store._get("k") == response() and store._desk is not mine
            os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert store._get("k") == response()
    store._close()


async def test_answers_grow_old(path: Path) -> None:
    """A ttl that is given wins over the store's, and what is too old makes room."""
    clock = [1000.0]
    async with DiskCache(path, ttl=10, clock=lambda: clock[0]) as store:
        await store.set("a", response(), None)
        await store.set("b", response(), 5)
        clock[0] = 1005.0
        assert await store.get("a") is not None
        assert await store.get("b") is None
        clock[0] = 1010.0
        assert await store.get("a") is None
        await store.set("c", response(), None)
        assert [key for key, _, _ in rows(path)] == ["c"]


async def test_without_ttl_they_do_not(path: Path) -> None:
    clock = [1000.0]
    async with DiskCache(path, ttl=None, clock=lambda: clock[0]) as store:
        await store.set("a", response(), None)
        clock[0] = 1e12
        assert await store.get("a") is not None


async def test_the_file_does_not_outgrow_its_size(path: Path) -> None:
    """What was stored first goes first."""  # I1
    limit = 512 * 1024
    async with DiskCache(path, max_bytes=limit) as store:
        for number in range(60):
            await store.set(f"k{number}", response("x" * 20_000), None)
        names = [key for key, _, _ in rows(path)]
    assert len(looks(path)[1]) <= limit
    assert len(names) >= 15
    assert names == [f"k{number}" for number in range(60 - len(names), 60)]


async def test_one_that_is_too_large_pushes_nobody_out(path: Path) -> None:
    """But what it was to replace is gone: it would be wrong by now."""  # I1
    async with DiskCache(path, max_bytes=128 * 1024) as store:
        await store.set("a", response(), None)
        await store.set("b", response(), None)
        await store.set("b", response("x" * 200_000), None)
        assert await store.get("a") is not None
        assert await store.get("b") is None


async def test_one_that_would_not_even_fit_alone(path: Path) -> None:
    """The file has needs of its own; no endless search for room."""  # I1
    async with DiskCache(path, max_bytes=64 * 1024) as store:
        await store.set("a", response(), None)
        await store.set("b", response("x" * 50_000), None)
        assert await store.get("b") is None


# -- who may read it -------------------------------------------------------------------


def modes(path: Path) -> dict[str, int]:
    return {
        name: stat.S_IMODE(Path(f"{path}{name}").stat().st_mode)
        for name in ("", "-wal", "-shm")
    }


@posix
async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """
    It holds what was said: the file, its log, and the folder that was made for it.  # X1
    """
    path = tmp_path / "new" / "answers.db"
    async with DiskCache(path) as store:
        await store.set("k", response(), None)
        assert modes(path) == {"": 0o600, "-wal": 0o600, "-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@posix
async def test_a_file_that_all_may_read_is_closed_to_them(path: Path) -> None:
    """Before anything is written."""  # X1
    os.close(os.open(path, os.O_CREAT))
    os.chmod(path, 0o644)
    async with DiskCache(path) as store:
        await store.set("k", response(), None)
        assert modes(path) == {"": 0o600, "-wal": 0o600, "-shm": 0o600}


# -- what may have become of it -----------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b"{}", '{"message":1}', 7, b'{"message":{}}']
)
async def test_a_damaged_answer_is_a_miss(
    path: Path, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    """And a line in the log, once: it is dropped. What it says is not quoted."""  # I2, X5
    async with DiskCache(path) as store:
        await store.set("k", response(), None)
        meddle(path, "UPDATE answers SET body = ?", body)
        assert await store.get("k") is None
        assert await store.get("k") is None
        assert [r.getMessage() for r in caplog.records] == [
            f"{store!r} holds a damaged answer, which is dropped"
        ]
        await store.set("k", response(), None)
        assert await store.get("k") == response()


def _garbage(path: Path) -> None:
    path.write_bytes(b"This is my diary, and no database at all. " * 200)


def _somebody_elses(path: Path) -> None:
    meddle(path, "CREATE TABLE diary (day, words)")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [_garbage, _somebody_elses, _folder])
async def test_a_file_that_is_not_ours_is_left_as_it_is(
    path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """
    The call goes on without a cache, and a line says why.  # X5, I2
    """
    make(path)
    before = looks(path)
    model = Model()
    async with DiskCache(path) as store:
        with pytest.raises(OSError, match=r"answers\.db"):
            await store.get("k")
        handler = around(model, cache(store, namespace="n"))
        for _ in range(2):
            assert (await answer(handler)).text == "Hello!"
    assert model.asked == 2
    assert looks(path) == before
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(lines) == 2  # one for reading, one for writing
    assert all(str(path) in line for line in lines)


async def test_a_file_that_broke_can_be_deleted_while_we_run(path: Path) -> None:
    """Its next use begins anew."""  # X5
    async with DiskCache(path) as store:
        await store.set("k", response(), None)
        meddle(path, "DROP TABLE answers")
        with pytest.raises(OSError, match="delete it"):
            await store.get("k")
        remove(path)
        await store.set("k", response(), None)
        assert await store.get("k") == response()


async def test_a_file_of_another_form_is_begun_anew(path: Path) -> None:
    """A cache may forget."""
    async with DiskCache(path) as store:
        await store.set("k", response(), None)
    meddle(path, "PRAGMA user_version = 99")
    async with DiskCache(path) as store:
        assert await store.get("k") is None
        await store.set("k", response(), None)
        assert await store.get("k") == response()


async def test_a_file_that_somebody_holds_is_waited_for_and_then_done_without(
    path: Path,
) -> None:
    """Reading goes on meanwhile."""  # X5
    async with DiskCache(path) as store:
        await store.set("k", response(), None)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OSError, match="locked"):
                await store.set("k", response("Ho!"), None)
            assert await store.get("k") == response()
            other.execute("ROLLBACK")
        await store.set("k", response("Ho!"), None)
        assert await store.get("k") == response("Ho!")


async def test_use_after_close_is_an_error(path: Path) -> None:
    """Closing twice is none."""
    store = DiskCache(path)
    await store.set("k", response(), None)
    await store.aclose()
    await store.aclose()
    with pytest.raises(ClosedError):
        await store.get("k")
    assert repr(store) == f"<DiskCache {str(path)!r} (closed)>"
    model = Model()
    assert (await answer(around(model, cache(store, namespace="n")))).text == "Hello!"


@pytest.mark.parametrize(
    ("given_", "hint"),
    [
        ({"path": ""}, "path"),
        ({"path": ":memory:"}, "path"),
        ({"path": None}, "path"),
        ({"path": b"answers.db"}, "path"),
        ({"max_bytes": 1000}, "65536 or more"),
        ({"max_bytes": 1e9}, "max_bytes"),
        ({"ttl": -1}, "ttl"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    given_: dict[str, Any], hint: str
) -> None:
    """By name, when it is made."""
    with pytest.raises(ConfigError, match=hint):
        DiskCache(**({"path": "answers.db"} | given_))


def test_sqlite_is_imported_when_it_is_used() -> None:
    """Few need it, and it takes its time."""
    program = (
        "import sys, aichat.middleware._disk_cache; print('sqlite3' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"
