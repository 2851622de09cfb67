"""A real engine that is held to a grammar: whatever it says, it has to fit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import attrs
import jsonschema
import pydantic
import pytest

from aichat import Client, ClientConfig
from aichat.structured import Expected

from ..conformance.conftest import llama as llama
from ..conformance.tiny_model import MODEL
from .values import Colour


@attrs.frozen
class Item:
    """
    Bounded, since gibberish does not end by itself, and in letters: of a text that is no
    UTF-8 the server itself says that it does not fit its grammar.
    """

    name: Annotated[str, pydantic.Field(pattern="^[a-z]{1,8}$")]
    count: Annotated[int, pydantic.Field(ge=0, le=99)]
    colour: Colour
    sure: bool
    size: Literal["s", "m", "l"] | None


class Point(pydantic.BaseModel):
    kind: Literal["point"]
    at: Annotated[list[bool], pydantic.Field(min_length=2, max_length=3)]


KINDS: tuple[Any, ...] = (
    Item,
    Annotated[list[Item], pydantic.Field(min_length=1, max_length=2)],
    Colour,
    Literal["yes", "no"],
    Point,
    Point | bool,
    {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "maxItems": 4},
)


@pytest.fixture(params=["llamacpp", "openai-compatible", "openai-chat"])
async def client(request: pytest.FixtureRequest, llama: str) -> AsyncIterator[Client]:
    """
    In Chat Completions: the server has other dialects, and drops the schema there.
    """
    config = ClientConfig(
        provider=request.param,
        model=f"{request.param}:{MODEL}",
        base_url=f"{llama}/v1",
        api_key="none",
        # It hangs up after each stream without having said so.
        max_retries=2,
        retry_backoff=0.01,
    )
    async with Client.from_config(config, environ={}) as client:
        yield client


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_what_it_says_fits(client: Client, kind: Any) -> None:
    """
    Gibberish in the shape of the type: valid by its schema, and read into it.
    """
    expected = Expected[Any](kind)
    for seed in range(3):
        response = await client.complete(
            "Hi", response_type=kind, max_tokens=900, seed=seed
        )
        jsonschema.validate(json.loads(response.text), expected.schema)
        assert response.parsed == expected.read(response)


async def test_it_grows(client: Client) -> None:
    """
    Token by token, the last step being the whole answer.
    """
    stream = client.stream_object("Hi", response_type=Item, max_tokens=900)
    steps = [repr(partial) async for partial in stream]
    assert len(steps) > 3
    assert steps[-1] == repr(json.loads((await stream.response()).text))
    assert isinstance(await stream.parsed(), Item)
