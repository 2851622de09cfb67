"""Azure OpenAI in the simulator: its addresses, what it adds, and OpenAI's SDK for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from aichat.testing import Simulator

openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: aichat[dev]")

VERSION = "2024-10-21"
SAID = [{"role": "user", "content": "Hi"}]


@pytest.fixture
async def azure(sim: Simulator) -> AsyncIterator[Any]:
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=sim.base_url("azure"),
        api_key="any",
        api_version=VERSION,
        max_retries=0,
    ) as client:
        yield client


async def test_the_deployment_is_the_model(sim: Simulator, azure: Any) -> None:
    """
    The SDK puts it into the path, with the version behind it.
    """
    done = await azure.chat.completions.create(model="my-deployment", messages=SAID)

    assert done.model == "my-deployment"
    assert "You said: “Hi”" in done.choices[0].message.content
    received = sim.requests[0]
    assert received.dialect == "azure"
    assert received.path == "/azure/openai/deployments/my-deployment/chat/completions"
    assert received.query == {"api-version": VERSION}
    assert received.has_key
    assert "api-key" not in received.headers


async def test_the_path_counts_more_than_the_body(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    Whatever the body says.
    """
    place = f"{sim.base_url('azure')}/openai/deployments/mine"
    body = {"model": "another", "messages": SAID}
    async with http.post(
        f"{place}/chat/completions?api-version=x", json=body
    ) as response:
        assert (await response.json())["model"] == "mine"
    body = {"input": "Hi"}
    async with http.post(f"{place}/embeddings?api-version=x", json=body) as response:
        assert (await response.json())["model"] == "mine"


async def test_without_a_version_there_is_nothing(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    In the old places; the new one needs none.
    """
    root = f"{sim.base_url('azure')}/openai"
    body = {"model": "x", "messages": SAID}
    async with http.post(
        f"{root}/deployments/x/chat/completions", json=body
    ) as response:
        assert response.status == 404
        assert (await response.json())["error"] == {
            "code": "404",
            "message": "Resource not found",
        }
    async with http.post(f"{root}/v1/chat/completions", json=body) as response:
        assert response.status == 200
        assert response.headers["x-ms-region"] == "Simulated"


async def test_the_first_chunk_is_about_the_prompt(azure: Any) -> None:
    """
    It says nothing about the answer; the others say what the filter thinks.
    """
    stream = await azure.chat.completions.create(model="m", messages=SAID, stream=True)
    first, *chunks = [chunk.model_dump() async for chunk in stream]

    assert (first["choices"], first["id"], first["model"]) == ([], "", "")
    assert first["prompt_filter_results"][0]["prompt_index"] == 0
    choices = [chunk["choices"][0] for chunk in chunks]
    assert all("content_filter_results" in choice for choice in choices)
    assert not any(chunk.get("obfuscation") for chunk in chunks)
    text = "".join(choice["delta"]["content"] or "" for choice in choices)
    assert "You said: “Hi”" in text
    assert choices[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [True, False])
async def test_responses_are_there_too(
    sim: Simulator, azure: Any, stream: bool
) -> None:
    """
    Beside the deployments, with the model in the body.
    """
    if stream:
        async with azure.responses.stream(model="mine", input="Hi") as events:
            done = await events.get_final_response()
    else:
        done = await azure.responses.create(model="mine", input="Hi")

    assert done.model == "mine"
    assert "You said: “Hi”" in done.output_text
    assert sim.requests[0].dialect == "azure-responses"
    assert sim.requests[0].path == "/azure/openai/responses"


async def test_the_newer_place_is_openais_own(sim: Simulator) -> None:
    """
    OpenAI's plain client does, with Azure's key or a token as a bearer.
    """
    base_url = f"{sim.base_url('azure')}/openai/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="token") as client:
        done = await client.chat.completions.create(model="mine", messages=SAID)
        embedded = await client.embeddings.create(model="mine", input="Hi")

    assert done.model == embedded.model == "mine"
    assert sim.requests[0].query == {}


async def test_a_prompt_may_be_filtered(sim: Simulator, azure: Any) -> None:
    """
    As a 400 that says by what.
    """
    sim.fail_next(status=400, code="content_filter")

    with pytest.raises(openai.BadRequestError) as caught:
        await azure.chat.completions.create(model="m", messages=SAID)

    assert caught.value.code == "content_filter"
    assert "ResponsibleAIPolicyViolation" in json.dumps(caught.value.body)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, "AuthenticationError"), (429, "RateLimitError")],
)
async def test_the_gateway_has_numbers_for_codes(
    sim: Simulator, azure: Any, status: int, error: str
) -> None:
    """
    As text, and no types.
    """
    sim.fail_next(status=status)

    with pytest.raises(getattr(openai, error)) as caught:
        await azure.chat.completions.create(model="m", messages=SAID)

    assert caught.value.code == str(status)
    assert caught.value.type is None


async def test_errors_in_a_stream_are_understood(sim: Simulator, azure: Any) -> None:
    """
    S5: after some words.
    """
    sim.fail_next("error_event", after=2, status=500)
    stream = await azure.chat.completions.create(model="m", messages=SAID, stream=True)

    with pytest.raises(openai.APIError, match="told to fail"):
        [chunk async for chunk in stream]
