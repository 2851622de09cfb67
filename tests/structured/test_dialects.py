"""Typed answers and growing objects, before every dialect of the simulator."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from typing import Any

import jsonschema
import pytest

from aichat import Client, FinishReason, InvalidRequestError
from aichat.structured import Expected, StructuredOutputError, TypedResponse
from aichat.testing import Simulator

from ..simulated import TARGETS, Target, client as client, sim as sim
from .values import KINDS, City, Country

#: The simulator makes its values of the names and numbers in it.
PROMPT = "What of Paris and Rome, with 2100000 people?"


@pytest.fixture(params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    if not found.profile.json_schema:
        pytest.skip(f"{found} takes no JSON Schema")
    return found


async def test_every_kind(client: Client) -> None:
    """
    The schema of every kind of type is taken, followed, and read into the type.
    """
    for kind, _, _ in KINDS:
        expected = Expected[Any](kind)
        response = await client.complete(PROMPT, response_type=kind)
        assert isinstance(response, TypedResponse), kind
        jsonschema.validate(json.loads(response.text), expected.schema)
        assert response.parsed == expected.read(response), kind


async def test_a_value_of_the_type(client: Client) -> None:
    """
    It is one, with what the model said in it, and the response has everything else.
    """
    response = await client.complete(PROMPT, response_type=City)
    assert response.parsed.name == "Paris"
    assert response.parsed.people == 2_100_000
    assert response.finish_reason is FinishReason.STOP
    assert response.usage.output_tokens


async def test_an_object_grows(client: Client) -> None:
    """
    Each step is a beginning of the next one, and the last one is the answer.
    """
    async with client.stream_object(PROMPT, response_type=Country) as stream:
        steps = [copy.deepcopy(partial) async for partial in stream]
        whole = await stream.parsed()
        response = await stream.response()
    assert len(steps) > 5
    assert steps[-1] == json.loads(response.text)
    assert list(steps[-1]) == ["name", "capital", "colours", "kind"]
    for before, after in pairwise(steps):
        assert before != after
        assert list(after)[: len(before)] == list(before)
    assert whole == (await client.complete(PROMPT, response_type=Country)).parsed


async def test_a_list_grows(client: Client) -> None:
    """
    What had to be wrapped for the dialect is not seen wrapped.
    """
    stream = client.stream_object(PROMPT, response_type=list[City])
    partials = [copy.deepcopy(partial) async for partial in stream]
    assert all(isinstance(partial, list) for partial in partials)
    cities = await stream.parsed()
    assert [city["name"] for city in partials[-1]] == [city.name for city in cities]


async def test_an_answer_that_was_cut_off(client: Client) -> None:
    """
    It says so, and holds what there was.
    """
    with pytest.raises(StructuredOutputError) as caught:
        await client.complete(PROMPT, response_type=list[Country], max_tokens=40)
    assert caught.value.reason == "cut_off"
    assert caught.value.partial is not None
    assert caught.value.partial.finish_reason is FinishReason.LENGTH
    stream = client.stream_object(PROMPT, response_type=list[Country], max_tokens=40)
    with pytest.raises(StructuredOutputError) as caught:
        async for _ in stream:
            pass
    assert caught.value.reason == "cut_off"
    assert stream.partial() is not None


async def test_leaving_early(client: Client, sim: Simulator) -> None:
    """
    The connection is free for the next one, and the stream says that it was closed.
    """
    # C1
    async with client.stream_object(PROMPT, response_type=list[Country]) as stream:
        async for _ in stream:
            break
    assert (await client.complete(PROMPT, response_type=City)).parsed.name == "Paris"


@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_a_schema_in_words(target: Target, sim: Simulator) -> None:
    """
    On request the schema is in the prompt, which every model takes; the simulator, told in
    words, does not understand it, and that is an error.
    """
    async with target.client(sim) as client:
        with pytest.raises(StructuredOutputError) as caught:
            await client.complete(PROMPT, response_type=City, schema_via="prompt")
        assert caught.value.reason == "not_json"
        assert "JSON Schema" in str(sim.requests[-1].body)


@pytest.mark.parametrize(
    "target", [Target("anthropic", "anthropic", "claude-3-haiku-20240307")], ids=str
)
async def test_models_without_schemas_refuse(target: Target, sim: Simulator) -> None:
    """
    Nothing is sent to a model that does not know schemas, unless it may be said in words.
    """
    # G5
    assert not target.profile.json_schema
    async with target.client(sim) as client:
        with pytest.raises(InvalidRequestError, match="schema"):
            await client.complete(PROMPT, response_type=City)
        with pytest.raises(InvalidRequestError, match="schema"):
            await client.stream_object(PROMPT, response_type=City).parsed()
        assert not sim.requests
        with pytest.raises(StructuredOutputError):
            await client.complete(PROMPT, response_type=City, schema_via="auto")
        assert len(sim.requests) == 1


async def test_automatic_is_native_where_it_can_be(
    client: Client, sim: Simulator
) -> None:
    """
    A model that knows schemas gets it as one.
    """
    await client.complete(PROMPT, response_type=City, schema_via="auto")
    await client.complete(PROMPT, response_type=City)
    assert sim.requests[-1].body == sim.requests[-2].body
