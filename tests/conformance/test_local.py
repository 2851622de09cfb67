"""
A GGUF file on this machine, through the provider ``local``: a real engine, in a process that
comes with the first question and goes with the client.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from aichat import (
    ChatRequest,
    Client,
    ClientConfig,
    ConfigError,
    FinishReason,
    HTTPProvider,
    TextDelta,
    fold,
)
from aichat.errors import ContextLengthError
from aichat.providers._local_engine import LocalEngine
from aichat.testing import check_provider, check_stream
from aichat.transport import HTTPRequest
from aichat.types import loads

from .tiny_model import CONTEXT, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a model of half a megabyte that talks gibberish."""
    missing = [name for name in ("gguf", "numpy", "xllamacpp") if not find_spec(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: pip install 'aichat[dev]'")
    path = tmp_path_factory.mktemp("local") / "tiny.gguf"
    write_model(path)
    return str(path)


def config(model: str, **more: Any) -> ClientConfig:
    settings = {"n_ctx": str(2 * CONTEXT), "n_parallel": "2", "n_threads": "1"}
    # No second attempt: nothing is lost on the way to ourselves.
    return ClientConfig(
        provider="local", model=model, settings=settings, max_retries=0, **more
    )


@pytest.fixture
async def client(model: str) -> AsyncGenerator[Client, None]:
    async with Client.from_config(config(model), environ={}) as client:
        yield client


def engine_of(client: Client) -> LocalEngine:
    provider = client._providers["local"]
    assert isinstance(provider, HTTPProvider)
    assert isinstance(provider.engine, LocalEngine)
    return provider.engine


async def test_it_streams_and_completes_the_same(client: Client, model: str) -> None:
    """
    The first question starts the engine; the stream keeps to the grammar.
    """
    # S1, S2
    stream = client.stream("Hi", max_tokens=40, temperature=0)
    chunks = [chunk async for chunk in check_stream(stream)]
    response = await stream.response()
    assert fold(chunks) == response
    assert sum(isinstance(chunk, TextDelta) for chunk in chunks) > 3
    whole = await client.complete("Hi", max_tokens=40, temperature=0)
    assert whole.text == response.text
    assert (whole.model, whole.provider) == (model, "local")
    assert whole.warnings == ()


async def test_the_token_limit_ends_the_answer(client: Client) -> None:
    """
    The finish reason is ``length``, and the usage says how many tokens that were.
    """
    response = await client.complete("Hi", max_tokens=6)
    assert response.finish_reason is FinishReason.LENGTH
    assert response.usage.output_tokens == 6


async def test_a_schema_is_kept(client: Client) -> None:
    """
    The answer is JSON that fits the schema.
    """
    schema = {
        "type": "object",
        "properties": {"done": {"type": "boolean"}, "tag": {"enum": ["red", "green"]}},
        "required": ["done", "tag"],
        "additionalProperties": False,
    }
    response = await client.complete("Hi", response_format=schema, max_tokens=500)
    assert response.finish_reason is FinishReason.STOP
    answer = loads(response.text)
    assert answer.keys() == {"done", "tag"}
    assert answer["done"] in (True, False)
    assert answer["tag"] in ("red", "green")


async def test_several_streams_at_once(client: Client) -> None:
    """
    Asked before the model is loaded, and more of them than it has room for: one engine, and
    each gets its own answer.
    """
    lengths = range(10, 16)
    answers = await asyncio.gather(
        *(client.complete(f"Hi {n}", max_tokens=n) for n in lengths)
    )
    assert [answer.usage.output_tokens for answer in answers] == [*lengths]
    assert len({answer.id for answer in answers}) == len(lengths)
    assert len(engine_of(client)._servers) == 1


async def test_many_questions_one_after_the_other(client: Client) -> None:
    """
    The server hangs up after a hundred requests, without a word; nobody notices.
    """
    for _ in range(110):
        response = await client.complete("Hi", max_tokens=1)
        assert response.usage.output_tokens == 1


async def test_it_keeps_to_the_contract(client: Client, model: str) -> None:
    """
    Left, cancelled and read to the end, it is a `Provider` like any other.
    """
    # S1, C1
    request = ChatRequest("Hi", f"local:{model}", max_tokens=20, temperature=0)
    response = await check_provider(client._providers["local"], request)
    assert response.finish_reason is FinishReason.LENGTH


async def test_a_prompt_that_does_not_fit(client: Client) -> None:
    """
    The server's words for a full context are understood.
    """
    with pytest.raises(ContextLengthError):
        await client.complete("word " * 3 * CONTEXT, max_tokens=6)


async def test_nothing_is_left_and_it_can_be_done_again(model: str) -> None:
    """
    The process is gone when the client is closed; the next client starts another one.
    """
    # C4
    for _ in range(2):
        async with Client.from_config(config(model), environ={}) as client:
            await client.complete("Hi", max_tokens=2)
            [server] = engine_of(client)._servers.values()
            assert server._process is not None
            assert server._process.poll() is None
        assert server._process.returncode == 0
    for thread in threading.enumerate():
        if thread.name == "aichat-local":
            thread.join(5)
            assert not thread.is_alive()


async def test_nobody_else_gets_an_answer(client: Client, model: str) -> None:
    """
    The port is open to everybody on this machine, but not the model.
    """
    # X1
    await client.complete("Hi", max_tokens=2)
    wire = await engine_of(client).start(HTTPRequest("/", {"model": model}))
    port = int(wire.base_url.removesuffix("/v1").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-length: 2\r\n\r\n{}"
    )
    answer = await reader.read(100)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 401 ")
    key = wire.headers["authorization"].removeprefix("Bearer ")
    assert key not in repr((client, client._providers["local"], wire))


@pytest.fixture
def broken(tmp_path: Path, model: str) -> str:
    """The path of half a model."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(Path(model).read_bytes()[:5000])
    return str(path)


async def test_a_file_that_is_broken(broken: str) -> None:
    """
    The error says what llama.cpp found.
    """
    async with Client.from_config(config(broken), environ={}) as client:
        with pytest.raises(ConfigError, match=r"cannot load .*broken\.gguf': \w+"):
            await client.complete("Hi")


async def test_another_providers_client_asks_it(model: str) -> None:
    """
    By the model's address, with the default settings.
    """
    other = ClientConfig(provider="openai", api_key="sk-test", model="gpt-5.4")
    async with Client.from_config(other, environ={}) as client:
        response = await client.complete("Hi", model=f"local:{model}", max_tokens=3)
        assert response.usage.output_tokens == 3
        assert not client.capabilities(f"local:{model}").known
