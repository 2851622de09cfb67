"""The examples run, without a key, and say what they are there to say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, web

from aichat import AIChatError, ChatResponse, Client, DeadlineError, Provider
from aichat.testing import FakeProvider

EXAMPLES: Final = Path(__file__).parent.parent / "examples"
#: Those that observe are tested with what they observe, and the web chat in a browser.
SCRIPTS: Final = (
    *sorted(path.name for path in EXAMPLES.glob("[!_]*.py")),
    "grpc_service/grpc_service.py",
    "own_provider/try_it.py",
)
#: What shows that the point was made.
SAID: Final[Mapping[str, tuple[str, ...]]] = {
    "fallback_and_hedging.py": (
        "Answered by anthropic.",
        "since openai-chat:simulated failed: provider_unavailable",
        " s instead of 60.",
    ),
    "grpc_service/grpc_service.py": (
        "You said: “Hello!”",
        "[stop, 54 tokens]",
        "[1 answer was left, and ended at the provider]",
        "[INVALID_ARGUMENT: invalid_input: There is no provider 'nobody' here.",
    ),
    "middleware.py": (
        "WARNING AI request retried",
        "Paris. -- your model [from the model]",
        "Paris. -- your model [from the cache]",
        "[the provider was asked 2 times]",
    ),
    "own_provider/try_it.py": (
        "Hello, Polly! Pretty Polly!",
        "[parrot, 4 crackers]",
        "model_unsupported: parrot:dodo [404]: There is no dodo left.",
    ),
    "queue_worker.py": (
        "job 0: 214 characters",
        "[1 answer was broken off]",
        "job 1: left for the next worker",
        "job 3: left for the next worker",
    ),
    "tools.py": (
        '- get_weather: {"city":"Paris","degrees":18.5,"sky":"clear"}',
        "[book_train: Denied: Nobody goes to Rome today.]",
    ),
    "typed_answers.py": (
        "Printer (calm)\n- Hotline",
        "{'subject': 'Scanner', 'mood': 'calm'}\n",
        "Ticket(subject='Scanner', mood='calm',",
    ),
    "web_service.py": (
        '401 {"error": "authentication_failed"}\n200 This is',
        '429 {"error":{"code":"rate_limit","message":"There are too many requests.',
    ),
}


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python, where whatever it warns about is an error."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AI_")}
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**inherited, "PYTHONUTF8": "1", **environ},
        check=False,
    )


def load(path: str, name: str) -> Any:
    """Import an example, which is no module of a package."""
    spec = spec_from_file_location(name, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_runs(script: str) -> None:
    """Each ends well within a minute, says what it should, and warns about nothing."""
    done = run(str(EXAMPLES / script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr
    for phrase in SAID.get(script, ()):
        assert phrase in done.stdout, done.stdout


def test_there_are_some() -> None:
    """Guards against a glob that finds nothing, and against claims about nobody."""
    assert {"basic.py", "streaming.py", *SAID} <= set(SCRIPTS)


# -- a provider in a package -------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """
    A path with the example package on it, as an installation would leave it.

    Its metadata is made of its own ``pyproject.toml``, without a builder, which would have
    to be fetched first.
    """
    folder = EXAMPLES / "own_provider"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    facts = (
        tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    )
    facts.mkdir()
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines: list[str] = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {at}" for name, at in points.items())]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    path = [str(tmp_path), str(folder), os.environ.get("PYTHONPATH")]
    return os.pathsep.join(filter(None, path))


def test_an_installed_provider_is_listed(installed: str) -> None:  # G3
    """Nobody has to register it: it is there by its name."""
    done = run("-m", "aichat", "providers", PYTHONPATH=installed)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("parrot ") for line in done.stdout.splitlines())

    done = run("-m", "aichat", "providers", "parrot", PYTHONPATH=installed)
    assert "parrot: Parrot\nSays what it heard." in done.stdout
    assert "aichat-parrot" in done.stdout
    assert "PARROT_API_KEY (not set)" in done.stdout


def test_an_installed_provider_answers(installed: str) -> None:
    """The same script, which then has nothing to register."""
    done = run(str(EXAMPLES / "own_provider" / "try_it.py"), PYTHONPATH=installed)
    assert done.returncode == 0, done.stderr
    assert "[parrot, 4 crackers]" in done.stdout


def test_without_it_there_is_no_parrot() -> None:
    """What the tests above see comes from the package."""
    done = run("-m", "aichat", "providers", "parrot")
    assert done.returncode != 0
    assert "There is no provider 'parrot'" in done.stderr


# -- a worker on a queue -----------------------------------------------------------------


async def test_a_job_that_cannot_be_delivered_goes_back() -> None:
    """A broken delivery is loud, and loses nothing."""
    example = load("queue_worker.py", "queue_worker")
    queue = asyncio.Queue[Any]()
    job = example.Job(1, "Hello?")
    queue.put_nowait(job)

    async def deliver(_: object, __: ChatResponse | AIChatError) -> None:
        raise OSError("Nobody takes it.")

    async with Client.with_provider(FakeProvider(["Hi!"]), model="any") as client:
        with pytest.raises(ExceptionGroup) as caught:
            await example.Workers(client, queue, deliver).run(asyncio.Event(), count=2)
    assert caught.group_contains(OSError, match="Nobody takes it")
    assert queue.get_nowait() == job


async def test_an_error_is_delivered_like_an_answer() -> None:
    """It has been retried where that helps; the queue would not make it better."""
    example = load("queue_worker.py", "queue_worker")
    queue = asyncio.Queue[Any]()
    queue.put_nowait(example.Job(1, "Hello?"))
    stop = asyncio.Event()
    delivered: list[object] = []

    async def deliver(_: object, answer: ChatResponse | AIChatError) -> None:
        delivered.append(answer)
        stop.set()

    broken = AIChatError("It broke.")
    async with Client.with_provider(FakeProvider([broken]), model="any") as client:
        await example.Workers(client, queue, deliver).run(stop)
    assert [str(each) for each in delivered] == ["fake:any: It broke."]
    assert queue.empty()


# -- a web service behind keys -----------------------------------------------------------


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example, which imports what lies beside it."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return load("web_service.py", "web_service")


@asynccontextmanager
async def serving(
    service: Any, provider: Provider, **keys: str
) -> AsyncIterator[Callable[..., Awaitable[tuple[int, str]]]]:
    """Serve *provider* to the owners of *keys*, and yield a way to ask."""
    owners = {service.fingerprint(key): owner for owner, key in keys.items()}
    async with (
        Client.with_provider(provider, model="any") as client,
        ClientSession() as session,
    ):
        runner = web.AppRunner(service.make_app(client, owners))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/ask"

        async def ask(shown: str, body: object = None) -> tuple[int, str]:
            headers = {"authorization": shown} if shown else {}
            body = {"prompt": "Hi"} if body is None else body
            async with session.post(url, json=body, headers=headers) as answer:
                return answer.status, await answer.text()

        try:
            yield ask
        finally:
            await runner.cleanup()


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer guessed", "Basic right", "Bearer \udcff", "right"]
)
async def test_no_key_no_answer(service: Any, shown: str) -> None:
    """Whatever is shown instead of a key, nothing is asked upstream."""
    provider = FakeProvider(["Hi!"], repeat=True)
    async with serving(service, provider, alice="right") as ask:
        assert (await ask(shown))[0] == 401
        assert provider.requests == []
        assert (await ask("Bearer right"))[0] == 200


async def test_each_key_has_its_own_limit(service: Any) -> None:  # L1
    """One who has had enough is told so at once, and the other does not notice."""
    provider = FakeProvider(["Hi!"], repeat=True)
    async with serving(service, provider, alice="a", bob="b") as ask:
        assert [(await ask("Bearer a"))[0] for _ in range(4)] == [200, 200, 200, 429]
        assert (await ask("bearer b"))[0] == 200
    assert [request.user for request in provider.requests] == [*["alice"] * 3, "bob"]


@pytest.mark.parametrize("body", [{}, [], "text", {"prompt": ""}])
async def test_no_prompt_no_answer(service: Any, body: object) -> None:
    """What makes no sense is refused before anything is asked."""
    provider = FakeProvider(["Hi!"], repeat=True)
    async with serving(service, provider, alice="a") as ask:
        assert (await ask("Bearer a", body))[0] == 400
    assert provider.requests == []


async def test_deadlines_that_are_none_of_the_limits(service: Any) -> None:
    """A model that is too slow is no limit that was reached."""
    slow = DeadlineError("Too slow.", phase="total")
    async with serving(service, FakeProvider([slow]), alice="a") as ask:
        status, text = await ask("Bearer a")
    assert status == 504
    assert "request_timeout" in text
