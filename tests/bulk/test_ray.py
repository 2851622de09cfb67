"""
`aichat.bulk.ray`: what a worker does with its batches, and the same on a cluster.

The first half needs Arrow and no Ray: an `Ask` is called as Ray would. The second half is a
real cluster, in a process of its own: see `ray_jobs`.
"""

from __future__ import annotations

import asyncio
import datetime
import gc
import os
import pickle
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from aichat import Client, ClientConfig, bulk
from aichat.bulk.ray import Ask, Carried, ask_dataset
from aichat.errors import (
    AuthenticationError,
    BadRequestError,
    ClosedError,
    ConfigError,
)
from aichat.middleware import Price
from aichat.testing import Simulator
from aichat.types import ChatRequest, dumps, loads
from tests.elsewhere import Elsewhere
from tests.redis_server import redis_server

from .makers import SlowProvider, client_of, rows, write

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra ray")

KEY = "sk-canary-1f7c0e55d2"


def lines(*values: Mapping[str, Any] | str) -> Any:
    """A batch as ``read_text`` makes it."""
    texts = [v if isinstance(v, str) else dumps(v).decode() for v in values]
    return pyarrow.table({"text": texts})


def prompts(count: int) -> list[dict[str, Any]]:
    return [{"id": f"q{i}", "prompt": f"q{i}"} for i in range(count)]


@contextmanager
def asking(provider: Any, **arguments: Any) -> Iterator[Ask]:
    """An `Ask` of *provider*, closed at the end."""
    ask = Ask(client=lambda: client_of(provider), **arguments)
    try:
        yield ask
    finally:
        ask.close()


def quick(**arguments: Any) -> SlowProvider:
    return SlowProvider(seconds=0, **arguments)


# -- without Ray -----------------------------------------------------------------------


async def test_a_batch_of_lines() -> None:
    """A row for each line, in their order, with the line that a file would have got."""
    with asking(quick()) as ask:
        table = await ask(lines(*prompts(20)))
    assert table.column_names == [
        *("id", "text", "input_tokens", "output_tokens", "cache_read_tokens"),
        *("reasoning_tokens", "cost", "error", "line"),
    ]
    found = table.to_pylist()
    assert [row["id"] for row in found] == [f"q{i}" for i in range(20)]
    assert found[3]["text"] == "You said: q3"
    assert (found[3]["input_tokens"], found[3]["output_tokens"]) == (10, 5)
    assert {row["error"] for row in found} == {None}
    assert loads(found[3]["line"])["response"]["message"]["role"] == "assistant"


async def test_the_same_as_a_file(tmp_path: Path) -> None:
    """Both forms of lines, bad ones and failures come out as `run_file` writes them."""

    def answer(request: ChatRequest, _: int) -> str | Exception:
        text = request.messages[-1].text
        return BadRequestError("No.", status=400) if text == "bad" else text.upper()

    body = {"model": "any", "messages": [{"role": "user", "content": "chat"}]}
    url = "/v1/chat/completions"
    asked: list[Mapping[str, Any] | str] = [
        {"id": "a", "prompt": "ours"},
        {"custom_id": "b", "method": "POST", "url": url, "body": body},
        {"id": "c", "prompt": "bad"},
        {"id": "d", "promt": "misspelt"},
        "not JSON",
    ]
    source = write(tmp_path / "in", asked)
    async with client_of(quick(answer=answer)) as client:
        await bulk.run_file(client, source, tmp_path / "out", failures=tmp_path / "bad")
    with asking(quick(answer=answer)) as ask:
        found = (await ask(lines(*asked))).to_pylist()
    written = [*rows(tmp_path / "out"), *rows(tmp_path / "bad")]
    assert sorted(_essence(loads(row["line"])) for row in found) == sorted(
        map(_essence, written)
    )
    assert [row["id"] for row in found] == ["a", "b", "c", "d", None]
    assert [row["error"] is None for row in found] == [True, True, False, False, False]
    assert loads(found[2]["error"]) == loads(found[2]["line"])["error"]


def _essence(line: dict[str, Any]) -> str:
    """What is in a line but for what is made up for it: names, times, numbers of lines."""
    line.pop("line", None)
    if error := line.get("error"):
        error["message"] = (
            error["message"].rpartition("Line ")[2].lstrip("0123456789: ")
        )
    elif "custom_id" in line:
        del line["id"], line["response"]["request_id"]
        del line["response"]["body"]["id"], line["response"]["body"]["created"]
    return dumps(line).decode()


@pytest.mark.parametrize("numpy", [False, True])
async def test_a_row_per_request(numpy: bool) -> None:
    """
    Columns are the fields of a request; a null is a field that is not there.

    Ray's batches are tables or arrays, with arrays in arrays.
    """
    provider = quick()
    batch: Any = pyarrow.Table.from_pylist([
        {"id": "a", "prompt": "Hi", "messages": None, "stop": ["x", "y"]},
        {
            "id": "b",
            "prompt": None,
            "messages": [
                {"role": "system", "content": "Be brief.", "name": None},
                {"role": "user", "content": "Ho", "name": "me"},
            ],
            "stop": None,
        },
    ])
    if numpy:
        batch = {
            name: batch.to_pandas()[name].to_numpy() for name in batch.column_names
        }
    with asking(provider) as ask:
        found = (await ask(batch)).to_pylist()
    assert [row["error"] for row in found] == [None, None]
    first, second = sorted(provider.requests, key=lambda r: len(r.messages))
    assert first.stop == ("x", "y")
    assert [message.text for message in second.messages] == ["Be brief.", "Ho"]
    assert [message.name for message in second.messages] == [None, "me"]


async def test_columns_that_are_no_json() -> None:
    """A date that was a text is an error of its row, which says how to read it as it was."""
    day = datetime.datetime(2026, 1, 1)
    table = pyarrow.table({"id": ["a", "b"], "prompt": [None, day], "seed": [1, None]})
    with asking(quick()) as ask:
        _, row = (await ask(table)).to_pylist()
    assert row["id"] == "b"
    assert "column 'prompt': a datetime has no form in JSON" in row["error"]
    assert "read_text" in row["error"]


async def test_numbers_that_are_missing() -> None:
    """What pandas has no number for is a field that is not there."""
    table = {
        "id": ["a", "b"],
        "prompt": ["Hi", "Ho"],
        "temperature": [0.5, float("nan")],
    }
    provider = quick()
    with asking(provider) as ask:
        await ask(pyarrow.table(table))
    found = {request.messages[0].text: request for request in provider.requests}
    assert (found["Hi"].temperature, found["Ho"].temperature) == (0.5, None)


async def test_a_single_column_that_holds_no_lines() -> None:
    """Who forgot the ids hears of ids, and not of JSON."""
    with asking(quick()) as ask:
        [row] = (await ask(pyarrow.table({"prompt": ["Hi"]}))).to_pylist()
        [empty] = (
            await ask(pyarrow.table({"line": pyarrow.array([None], "string")}))
        ).to_pylist()
    assert "id must be a text" in row["error"]
    assert row["id"] is None
    assert "id must be a text" in empty["error"]


async def test_columns_to_keep() -> None:
    """They go past the request, with their types, and stand beside its answer."""
    table = pyarrow.table({
        "id": ["a", "b"],
        "prompt": ["Hi", "Ho"],
        "grade": pyarrow.array([1, None], "int8"),
    })
    arrays = {name: table[name].to_numpy() for name in ("id", "prompt")}
    with asking(quick(), keep=["grade"]) as ask:
        found = await ask(table)
        with pytest.raises(ConfigError, match="there is no column grade"):
            await ask(arrays)
        with pytest.raises(ConfigError, match="no columns with requests"):
            await ask(table.select(["grade"]))
    assert found["grade"].to_pylist() == [1, None]
    assert found.schema.field("grade").type == "int8"
    with asking(quick(), keep=["prompt"]) as ask:
        found = await ask({**arrays, "line": arrays["id"]} | {"messages": arrays["id"]})
    assert found["prompt"].to_pylist() == ["Hi", "Ho"]


async def test_a_batch_of_another_kind() -> None:
    with asking(quick()) as ask, pytest.raises(ConfigError, match="batch_format"):
        await ask(object())


async def test_what_it_cost() -> None:
    """Dollars, as a number that can be summed up."""
    prices = {"slow:any": Price(input=Decimal(1), output=Decimal(2))}
    with asking(quick(), prices=prices) as ask:
        [row] = (await ask(lines(*prompts(1)))).to_pylist()
    assert row["cost"] == pytest.approx((10 * 1 + 5 * 2) / 10**6)
    assert loads(row["line"])["cost"]["total"] == "0.000020"


async def test_options_go_over_all_lines() -> None:
    provider = quick()
    with asking(provider, options={"max_tokens": 7}) as ask:
        await ask(lines(*prompts(2)))
    assert {request.max_tokens for request in provider.requests} == {7}


async def test_batches_share_the_engine() -> None:
    """
    Two batches at once have no more calls than one may have, and the second one begins
    where the first one leaves room.
    """
    provider = quick()
    provider.seconds = 0.001
    with asking(provider, concurrency=3) as ask:
        tables = await asyncio.gather(
            ask(lines(*prompts(20))), ask(lines({"id": "x", "prompt": "x"}))
        )
        await ask(lines({"id": "y", "prompt": "y"}))
    assert provider.most == 3
    assert [table.num_rows for table in tables] == [20, 1]


async def test_a_hopeless_error_fails_the_job() -> None:
    """What fails one request after the other is raised, and the rest is not sent."""
    provider = quick(answer=lambda *_: AuthenticationError("Wrong key.", status=401))
    with asking(provider, concurrency=2) as ask:
        with pytest.raises(AuthenticationError, match="Wrong key"):
            await ask(lines(*prompts(50)))
        sent = len(provider.requests)
        with pytest.raises(AuthenticationError, match="Wrong key"):
            await ask(lines(*prompts(50)))
    assert len(provider.requests) == sent <= 5


async def test_a_job_that_shall_finish() -> None:
    """The hopeless error is that of each row that is left; what was answered stays."""

    def answer(request: ChatRequest, _: int) -> str | Exception:
        text = request.messages[-1].text
        wrong = AuthenticationError("Wrong key.", status=401)
        return text if text in {"q0", "q1"} else wrong

    provider = quick(answer=answer)
    with asking(provider, concurrency=1, finish=True) as ask:
        found = (await ask(lines(*prompts(50)))).to_pylist()
        more = (await ask(lines(*prompts(5)))).to_pylist()
    assert [row["text"] for row in found[:2]] == ["q0", "q1"]
    errors = [loads(row["error"])["code"] for row in (*found[2:], *more)]
    assert set(errors) == {"authentication_failed"}
    assert len(errors) == 53
    assert len(provider.requests) == 5
    again = loads(more[0]["line"])
    assert (again["id"], again["prompt"]) == ("q0", "q0")


async def test_a_bug_of_the_engine_is_raised_even_then() -> None:
    """Only what a provider says is the error of a row."""
    ask = Ask(client=lambda: client_of(quick()), finish=True)
    await ask(lines(*prompts(1)))
    assert ask._desk is not None
    ask._desk._todo.put_nowait("no request")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        for _ in range(100):
            await ask(lines(*prompts(1)))
    ask.close()


# -- beginning and end -----------------------------------------------------------------


class Clients:
    """Makes clients, and knows which are closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __call__(self) -> Client:
        clients = self

        class Closing(SlowProvider):
            async def aclose(self) -> None:
                clients.closed += 1

        return client_of(Closing(seconds=0))


def _threads() -> int:
    return sum(thread.name == "aichat.bulk" for thread in threading.enumerate())


async def test_who_lets_go_closes_the_client() -> None:
    """As Ray does it when a worker ends: nothing is left, and nobody has called anything."""
    clients = Clients()
    ask = Ask(client=clients)
    assert _threads() == 0
    await ask(lines(*prompts(3)))
    assert _threads() == 1
    del ask
    gc.collect()
    assert clients.closed == 1
    assert _threads() == 0


async def test_closing_twice_and_asking_afterwards() -> None:
    ask = Ask(client=(clients := Clients()))
    ask.close()
    await ask(lines(*prompts(1)))
    ask.close()
    ask.close()
    assert clients.closed == 1
    with pytest.raises(ClosedError):
        await ask(lines(*prompts(1)))


@pytest.mark.parametrize("finish", [False, True])
async def test_closing_in_the_middle(finish: bool) -> None:
    """Who waits for a batch hears of it, also where errors are rows."""
    provider = SlowProvider(seconds=60)
    with asking(provider, finish=finish) as ask:
        waiting = asyncio.ensure_future(ask(lines(*prompts(3))))
        while provider.active < 3:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0)
        await asyncio.to_thread(ask.close)
        with pytest.raises(ClosedError):
            await waiting
    assert provider.active == 0


async def test_a_batch_that_is_cancelled() -> None:
    """What has not begun does not begin; the next batch has its turn."""
    provider = SlowProvider(seconds=0.01)
    with asking(provider, concurrency=1) as ask:
        waiting = asyncio.ensure_future(ask(lines(*prompts(50))))
        while not provider.active:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await ask(lines({"id": "x", "prompt": "x"}))
    assert len(provider.requests) <= 4


async def test_a_client_that_cannot_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is there to hear of it but the one who looks after threads."""
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)

    class Stuck(SlowProvider):
        async def aclose(self) -> None:
            raise OSError("stuck")

    with asking(Stuck(seconds=0)) as ask:
        await ask(lines(*prompts(1)))
    assert [str(each.exc_value) for each in seen] == ["stuck"]


async def test_no_client_can_be_made() -> None:
    """Each batch says so, the first one too."""
    ask = Ask({"provider": "openai", "settings": {"nonsense": "1"}})
    for _ in range(2):
        with pytest.raises(ConfigError, match="nonsense"):
            await ask(lines(*prompts(1)))
    ask.close()


# -- configuration ---------------------------------------------------------------------


async def test_a_configuration_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key comes from the environment of the worker, the rest from the job."""
    monkeypatch.setenv("AI_PROVIDER", "openai-chat")
    monkeypatch.setenv("AI_API_KEY", KEY)
    simulator = Simulator(api_keys=[KEY])
    with Elsewhere(simulator):
        ask = Ask({"base_url": simulator.base_url("openai-chat"), "model": "any"})
        found = (await ask(lines(*prompts(3)))).to_pylist()
        ask.close()
    assert [row["error"] for row in found] == [None] * 3
    assert simulator.request_count == 3


def test_a_key_is_carried_and_not_shown() -> None:
    """Ray shows the arguments of what it runs: as text, as a dict, as JSON."""
    pytest.importorskip("ray.data", reason="needs the extra ray")
    dataset: Any = Recorded()
    config = {"provider": "openai", "api_key": KEY, "headers": {"x-team": KEY}}
    ask_dataset(dataset, config)
    arguments = dataset.did[1][1]["fn_constructor_kwargs"]
    assert KEY not in repr(arguments)
    assert KEY not in str(arguments["config"])
    assert not isinstance(arguments["config"], Mapping)
    carried = pickle.loads(pickle.dumps(arguments["config"]))
    assert isinstance(carried, Carried)
    assert repr(carried) == "<provider, api_key, headers>"
    assert Ask(carried)._config is carried


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": {"provder": "openai"}}, "provder"),
        ({"config": {"max_retries": -1}}, "max_retries"),
        ({"config": ClientConfig(provider="openai", api_key=KEY)}, "Pass its fields"),
        ({"config": {}, "client": Client}, "give one of them"),
        ({"config": {"api_key": KEY}}, "in Ray's logs"),
        ({"config": {"redis_url": f"redis://:{KEY}@localhost"}}, "in Ray's logs"),
        ({"concurrency": 0}, "concurrency"),
        ({"patience": -1}, "patience"),
        ({"keep": "topic"}, "a list of columns"),
        ({"keep": ["text"]}, "text would be there twice"),
    ],
)
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    """They are found where the job is described, and hold no key."""
    with pytest.raises(ConfigError, match=message) as caught:
        Ask(**arguments)
    assert KEY not in str(caught.value)


def test_an_option_that_there_is_not() -> None:
    with pytest.raises(TypeError, match="'temprature'"):
        Ask(options={"temprature": 1})


class Recorded:
    """A dataset that keeps what is done with it."""

    def __init__(self) -> None:
        self.did: list[tuple[str, Any]] = []

    def repartition(self, **arguments: Any) -> Recorded:
        self.did.append(("repartition", arguments))
        return self

    def map_batches(self, what: Any, **arguments: Any) -> Recorded:
        self.did.append((what, arguments))
        return self


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not got it hears what to install."""
    monkeypatch.setitem(sys.modules, "ray.data", None)
    dataset: Any = Recorded()
    with pytest.raises(ConfigError, match=r"aichat\[ray\]"):
        ask_dataset(dataset)


def test_what_ray_is_asked_for() -> None:
    """Blocks as small as batches, and twice as many at a time as the ceiling needs."""
    pytest.importorskip("ray.data", reason="needs the extra ray")
    dataset: Any = Recorded()
    ask_dataset(
        dataset,
        {"provider": "openai"},
        workers=(2, 8),
        concurrency=40,
        remote={"num_cpus": 2, "runtime_env": {}},
        stop=["END"],
    )
    (_, blocks), (what, arguments) = dataset.did
    assert blocks == {"target_num_rows_per_block": 40}
    assert what is Ask
    assert (arguments["compute"].min_size, arguments["compute"].max_size) == (2, 8)
    assert arguments["num_cpus"] == 2
    made = Ask(**pickle.loads(pickle.dumps(arguments["fn_constructor_kwargs"])))
    assert made._options == {"stop": ["END"]}
    shared = {"redis_url": "redis://localhost"}
    for config, count in ((shared, 8), ({**shared, "redis_workers": 20}, 20)):
        dataset = Recorded()
        ask_dataset(dataset, config, workers=8)
        carried = dataset.did[1][1]["fn_constructor_kwargs"]["config"]
        assert carried._values["redis_workers"] == count
    for wrong in ({"workers": 0}, {"workers": (3, 2)}, {"batch_size": 0}):
        with pytest.raises(ConfigError):
            ask_dataset(dataset, **wrong)


# -- on a cluster ----------------------------------------------------------------------


class Cluster:
    """Ray in a process of its own; see `ray_jobs`."""

    def __init__(self, folder: str, errors: Path) -> None:
        self.folder = Path(folder)
        self.errors = errors
        environ = {
            **os.environ,
            "AI_PROVIDER": "openai-chat",
            "AI_MODEL": "any",
            "AI_API_KEY": KEY,
            # Ray writes a token into the home of whoever has none.
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            # What it tells those who look at jobs: their arguments, for one.
            "RAY_enable_export_api_write": "1",
        }
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bulk.ray_jobs", folder],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        self.result()

    def begin(self, **job: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(dumps(job) + b"\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"Ray has ended: {self.errors.read_text()[-2000:]}"
        found: dict[str, Any] = loads(line)
        return found

    def rows(self) -> list[dict[str, Any]]:
        found = self.result()
        assert "rows" in found, found
        rows: list[dict[str, Any]] = found["rows"]
        return rows

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                assert self._process.wait(30) == 0
            finally:
                self._process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="needs the extra ray")
    errors = tmp_path_factory.mktemp("ray") / "stderr"
    # Sockets are in it, whose paths may not be long.
    with TemporaryDirectory(prefix="ray") as folder:
        made = Cluster(folder, errors)
        try:
            yield made
        finally:
            made.close()


def _essentials(rows: list[dict[str, Any]]) -> dict[Any, Any]:
    return {
        row["id"]: (row["text"], row["input_tokens"], row["output_tokens"])
        for row in rows
    }


async def _in_a_file(
    simulator: Simulator, source: Path, target: Path
) -> dict[Any, Any]:
    """What `run_file` makes of the same lines."""
    async with Client.from_env(
        {"AI_API_KEY": KEY},
        provider="openai-chat",
        model="any",
        base_url=simulator.base_url("openai-chat"),
    ) as client:
        await bulk.run_file(client, source, target)
    found: dict[Any, Any] = {}
    for line in rows(target):
        parts = line["response"]["message"]["content"]
        usage = line["usage"]
        found[line["id"]] = (
            "".join(part["text"] for part in parts),
            *(usage["input_tokens"], usage["output_tokens"]),
        )
    return found


async def test_the_same_job_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """Two workers over real HTTP come to the same as one process; a bad line is a row."""
    source = write(tmp_path / "in", [*prompts(60), {"id": "bad", "promt": "?"}])
    simulator = Simulator()
    with Elsewhere(simulator):
        url = simulator.base_url("openai-chat")
        cluster.begin(input=str(source), config={"base_url": url}, concurrency=8)
        found = await asyncio.to_thread(cluster.rows)
        wanted = await _in_a_file(simulator, source, tmp_path / "out")
    assert len(found) == 61
    assert len(wanted) == 60
    assert _essentials(found) == {**wanted, "bad": (None, None, None)}
    assert sorted(row["id"] for row in found if row["error"]) == ["bad"]
    assert simulator.request_count == 120


async def test_a_worker_that_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    """
    All answers are there, once each. Both workers work, and another one takes the place of
    the killed one.

    What was in its unfinished batches is asked once more: two as a rule, of a ceiling each,
    and never more than the four that Ray gives a worker ahead of time.
    """
    concurrency = 8
    source = write(tmp_path / "in", prompts(80))
    simulator = Simulator(pace=0.005)
    with Elsewhere(simulator):
        cluster.begin(
            input=str(source),
            marked=simulator.base_url("openai-chat"),
            concurrency=concurrency,
        )
        killed = await asyncio.to_thread(_kill_one, simulator)
        found = await asyncio.to_thread(cluster.rows)
    ids = [row["id"] for row in found]
    assert sorted(ids) == sorted(f"q{i}" for i in range(80))
    assert [row["error"] for row in found] == [None] * 80
    workers = _workers(simulator)
    assert killed in workers
    assert len(workers) >= 2
    assert simulator.request_count <= 80 + 4 * concurrency


def _workers(simulator: Simulator) -> Counter[int]:
    """The processes that have asked, and how often."""
    return Counter(int(r.headers["x-worker"]) for r in tuple(simulator.requests))


def _kill_one(simulator: Simulator) -> int:
    """Kill a worker that has begun and is not done."""
    for _ in range(6000):
        for pid, count in _workers(simulator).items():
            if count >= 20:
                # What Ray calls its workers: it is none of anybody else's.
                assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(0.01)
    raise AssertionError("It does not get on.")


async def test_a_wrong_key_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """
    The job fails, and says with what. The key, though the job was given it, is in nothing
    that Ray has written or said.
    """
    source = write(tmp_path / "in", prompts(40))
    simulator = Simulator(api_keys=["another one"])
    with Elsewhere(simulator):
        url = simulator.base_url("openai-chat")
        config = {"base_url": url, "api_key": KEY, "headers": {"x-secret": KEY}}
        cluster.begin(input=str(source), config=config, workers=1)
        found = await asyncio.to_thread(cluster.result)
    assert "AuthenticationError" in found["error"]
    assert simulator.request_count < 10
    assert KEY not in found["error"]
    assert KEY not in cluster.errors.read_text()
    written = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert any("MapBatches" in path.read_text("utf-8", "replace") for path in written)
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []


async def test_a_quota_that_workers_share(cluster: Cluster, tmp_path: Path) -> None:
    """With a ``redis_url`` in the configuration the workers together stay below it."""  # L5
    source = write(tmp_path / "in", prompts(40))
    simulator = Simulator()
    with redis_server() as server, Elsewhere(simulator):
        config = {
            "base_url": simulator.base_url("openai-chat"),
            "redis_url": server.url,
            # Ten a second, one at a time.
            "requests_per_minute": 600,
        }
        cluster.begin(input=str(source), config=config, concurrency=4)
        took = await asyncio.to_thread(_first_to_last, simulator, 40)
        found = await asyncio.to_thread(cluster.rows)
    assert len(found) == 40
    assert [row["error"] for row in found] == [None] * 40
    # Less, if the first one was seen late.
    assert took >= 39 / 10 - 0.3


def _first_to_last(simulator: Simulator, count: int) -> float:
    """Seconds from the first request to the last of so many."""
    first = 0.0
    for _ in range(6000):
        if simulator.request_count and not first:
            first = time.monotonic()
        if simulator.request_count >= count:
            return time.monotonic() - first
        time.sleep(0.01)
    raise AssertionError("It does not get on.")
