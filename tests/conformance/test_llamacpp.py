"""
A real engine behind a real server, in two dialects: framing, finish reasons, usage, stop
sequences, grammars, hanging up.

What it says is gibberish, the same for the same question at temperature 0.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import nullcontext
from typing import Any
from urllib.request import urlopen

import pytest
import pytest_asyncio

from aichat import Client, ClientConfig, TextDelta, assistant, system, user
from aichat.errors import ContextLengthError
from aichat.testing import check_provider, check_stream
from aichat.types import ChatRequest, ChatResponse, FinishReason, fold, loads

from .tiny_model import CONTEXT, MODEL, SLOTS

#: Each way to speak to it, with the path below which it listens.
PROVIDERS = {
    "llamacpp": "/v1",
    "openai-compatible": "/v1",
    "openai-chat": "/v1",
    "anthropic": "",
}
CHAT = [name for name in PROVIDERS if name != "anthropic"]

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@pytest_asyncio.fixture(params=PROVIDERS)
async def client(
    request: pytest.FixtureRequest, llama: str
) -> AsyncGenerator[Client, None]:
    """A client that speaks to the server in one of the dialects."""
    name = request.param
    config = ClientConfig(
        provider=name,
        model=f"{name}:{MODEL}",
        base_url=llama + PROVIDERS[name],
        api_key="none",
        # The server hangs up after each stream without having said so; now and then the
        # next request is on its way by then.
        max_retries=2,
        retry_backoff=0.01,
    )
    async with Client.from_config(config, environ={}) as client:
        yield client


only_chat = pytest.mark.parametrize("client", CHAT, indirect=True)


async def _read(client: Client, prompt: Any, **options: Any) -> ChatResponse:
    """Stream an answer, hold it against the grammar, and fold it."""
    stream = client.stream(prompt, **options)
    chunks = [chunk async for chunk in check_stream(stream)]
    response = await stream.response()
    assert fold(chunks) == response
    return response


def _plausible(response: ChatResponse, *, most: int) -> None:
    usage = response.usage
    assert usage.complete
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    # Four characters of "<user>Hi" at least; and not more than the context holds.
    assert 4 <= usage.input_tokens <= CONTEXT
    assert 1 <= usage.output_tokens <= most
    assert 0 <= (usage.cache_read_tokens or 0) <= usage.input_tokens


async def test_the_token_limit_ends_the_answer(client: Client) -> None:
    """
    The finish reason is ``length``, and the usage says how many tokens that were.
    """
    response = await _read(client, "Hi", max_tokens=6, temperature=0)
    assert response.finish_reason is FinishReason.LENGTH
    assert response.usage.output_tokens == 6
    _plausible(response, most=6)
    assert response.text
    assert response.model == MODEL
    assert response.id


async def test_complete_is_the_folded_stream(client: Client) -> None:
    """
    The same question, asked in both ways, gets the same answer.
    """
    # S2
    stream = await _read(client, "Hi", max_tokens=40, temperature=0)
    whole = await client.complete("Hi", max_tokens=40, temperature=0)
    assert whole.text == stream.text
    assert whole.finish_reason == stream.finish_reason
    assert whole.usage.total_tokens == stream.usage.total_tokens


async def test_a_stop_sequence_ends_the_answer(client: Client) -> None:
    """
    The text ends before the stop sequence, and the finish reason is ``stop``.
    """
    spoken = (await client.complete("Hi", max_tokens=60, temperature=0)).text
    stop = re.findall("[a-z]{3,}", spoken)[2]
    response = await _read(client, "Hi", max_tokens=60, temperature=0, stop=stop)
    assert response.text == spoken[: spoken.index(stop)]
    assert response.finish_reason is FinishReason.STOP
    _plausible(response, most=59)


@only_chat
async def test_a_schema_is_kept(client: Client) -> None:
    """
    The answer is JSON that fits the schema: the grammar reached the sampler.
    """
    schema = {
        "type": "object",
        "properties": {
            "count": {"type": "integer"},
            "tags": {
                "type": "array",
                "items": {"enum": ["red", "green"]},
                "minItems": 2,
                "maxItems": 3,
            },
            "done": {"type": "boolean"},
        },
        "required": ["count", "tags", "done"],
        "additionalProperties": False,
    }
    response = await _read(client, "Hi", response_format=schema, max_tokens=900)
    assert response.finish_reason is FinishReason.STOP
    answer = loads(response.text)
    assert answer.keys() == {"count", "tags", "done"}
    assert isinstance(answer["count"], int)
    assert isinstance(answer["done"], bool)
    assert 2 <= len(answer["tags"]) <= 3
    assert {"red", "green"}.issuperset(answer["tags"])


async def test_every_message_counts(client: Client) -> None:
    """
    A system message and earlier turns reach the model: they cost, and change the answer.
    """
    turns = [
        system("You are terse."),
        user("Hi"),
        assistant("Hello to you."),
        user("Go on"),
    ]
    alone = await _read(client, "Go on", max_tokens=20, temperature=0)
    whole = await _read(client, turns, max_tokens=20, temperature=0)
    assert alone.usage.input_tokens is not None
    assert whole.usage.input_tokens is not None
    assert whole.usage.input_tokens > alone.usage.input_tokens + 10
    assert whole.text != alone.text


async def test_gibberish_survives(client: Client) -> None:
    """
    Bytes that are no UTF-8 arrive as replacement characters, between what is good.
    """
    # I2
    response = await _read(client, "Hi", max_tokens=400, temperature=0)
    assert REPLACEMENT in response.text
    assert response.text.replace(REPLACEMENT, "").strip()
    response.text.encode()


async def test_twenty_at_once(client: Client) -> None:
    """
    More streams than the server has slots: each of them gets its own answer, whole.
    """
    lengths = range(10, 30)
    assert len(lengths) > SLOTS
    answers = await asyncio.gather(
        *(_read(client, f"Hi {n}", max_tokens=n, temperature=0) for n in lengths)
    )
    assert [answer.usage.output_tokens for answer in answers] == [*lengths]
    assert {answer.finish_reason for answer in answers} == {FinishReason.LENGTH}
    assert len({answer.id for answer in answers}) == len(lengths)


@pytest.mark.parametrize("how", ["cancel", "break", "leave", "aclose"])
async def test_the_server_notices_who_goes(
    client: Client, llama: str, how: str
) -> None:
    """
    Every slot that is left in mid-stream is free at once, and the next answer is whole.
    """
    # C1
    speaking = [asyncio.Event() for _ in range(SLOTS)]
    go = asyncio.Event()

    async def read(spoken: asyncio.Event) -> None:
        # That is several seconds of talking.
        stream = client.stream("Hi", max_tokens=CONTEXT - 100, temperature=0)
        async with stream if how == "leave" else nullcontext():
            async for chunk in stream:
                if isinstance(chunk, TextDelta) and not spoken.is_set():
                    spoken.set()
                    if how != "cancel":
                        await go.wait()
                        break
        if how == "aclose":
            await stream.aclose()

    readers = [asyncio.create_task(read(spoken)) for spoken in speaking]
    for spoken in speaking:
        await spoken.wait()
    assert await asyncio.to_thread(_busy, llama) == SLOTS
    go.set()
    if how == "cancel":
        for reader in readers:
            reader.cancel()
    ended = await asyncio.gather(*readers, return_exceptions=True)
    wanted = asyncio.CancelledError if how == "cancel" else type(None)
    assert [type(end) for end in ended] == [wanted] * SLOTS

    async with asyncio.timeout(1):
        # Nobody is told when a slot becomes free.
        while await asyncio.to_thread(_busy, llama):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    response = await client.complete("Hi", max_tokens=6, temperature=0)
    assert response.finish_reason is FinishReason.LENGTH


def _busy(llama: str) -> int:
    """How many slots the server is working in."""
    with urlopen(f"{llama}/slots", timeout=5) as answer:
        return sum(slot["is_processing"] for slot in loads(answer.read()))


async def test_a_prompt_that_does_not_fit(client: Client) -> None:
    """
    The server's words for a full context are understood.
    """
    with pytest.raises(ContextLengthError) as caught:
        await client.complete("word " * 3 * CONTEXT, max_tokens=6)
    assert caught.value.status == 400
    assert not caught.value.retryable


async def test_it_keeps_to_the_contract(client: Client) -> None:
    """
    Left, cancelled and read to the end, it is a `Provider` like any other.
    """
    # S1, C1
    [(name, provider)] = client._providers.items()
    request = ChatRequest("Hi", f"{name}:{MODEL}", max_tokens=20, temperature=0)
    response = await check_provider(provider, request)
    assert response.finish_reason is FinishReason.LENGTH


@pytest_asyncio.fixture
async def responses(llama: str) -> AsyncGenerator[Client, None]:
    """
    The same server in a fourth dialect, OpenAI's Responses.

    It has fewer words there: an answer that ran into its limit is ``completed`` as well.
    """
    config = ClientConfig(
        provider="openai",
        model=MODEL,
        base_url=f"{llama}/v1",
        api_key="none",
        max_retries=2,
        retry_backoff=0.01,
    )
    async with Client.from_config(config, environ={}) as client:
        yield client


async def test_the_responses_dialect(responses: Client) -> None:
    """
    Streamed and whole agree, and twenty answers at once are twenty answers.
    """
    # S1, S2
    options: dict[str, Any] = {
        "max_tokens": 16,
        "temperature": 0,
        "on_unsupported": "ignore",
    }
    streamed = await _read(responses, "Hi", **options)
    whole = await responses.complete("Hi", **options)
    assert streamed.text == whole.text != ""
    assert streamed.finish_reason is FinishReason.STOP
    _plausible(whole, most=16)
    many = await asyncio.gather(
        *(_read(responses, f"Hi {n}", **options) for n in range(20))
    )
    assert all(response.text for response in many)
