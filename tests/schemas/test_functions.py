"""Fifty signatures: their schemas, as people write them, and as providers take them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from aichat import ChatRequest, InvalidRequestError
from aichat.providers import ProviderSpec
from aichat.schemas import arguments_of
from aichat.testing import Simulator
from aichat.tools import tool

from ..simulated import TARGETS, Target, sim as sim
from .functions import ROWS, Row

SPECS = {target.provider: target.spec for target in TARGETS}

#: Whose rules a ``strict`` tool has to keep, where there are any.
ENFORCED_BY = {
    "anthropic": "anthropic",
    "azure": "openai",
    "azure-responses": "openai",
    "google": "",
    "ollama": "",
    "openai": "openai",
    "openai-chat": "openai",
    "openai-compatible": "",
    "vertex": "",
}


@pytest.fixture(params=ROWS, ids=str)
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


def test_there_are_fifty() -> None:
    """And each is a function of its own."""
    assert len({row.function for row in ROWS}) >= 50


def test_the_schema_is_what_a_person_would_write(row: Row) -> None:
    """Key by key, and in the order of the parameters."""
    made = arguments_of(row.function).schema
    assert made == row.schema
    assert [*made["properties"]] == [*row.properties]
    jsonschema.Draft202012Validator.check_schema(made)


def tool_of(row: Row, *, strict: bool) -> Any:
    return tool(row.function, name="roll_dice", strict=strict)


@pytest.mark.parametrize("provider", SPECS)
def test_every_provider_takes_it(row: Row, provider: str) -> None:
    """As a tool without ``strict``, whatever it says."""
    body = encoded(SPECS[provider], tool_of(row, strict=False), provider)
    assert "roll_dice" in body


@pytest.mark.parametrize("provider", SPECS)
def test_every_provider_takes_it_strictly(row: Row, provider: str) -> None:
    """
    Or says that it cannot enforce it, before anything is sent.

    That is so for objects with free keys, lists of anything and tuples of several kinds, and
    for nothing else.
    """
    # G5
    of = tool_of(row, strict=True)
    if ENFORCED_BY[provider] in row.loose.split():
        with pytest.raises(InvalidRequestError, match="cannot enforce"):
            encoded(SPECS[provider], of, provider)
    else:
        assert "roll_dice" in encoded(SPECS[provider], of, provider)


def encoded(spec: ProviderSpec, tool: Any, provider: str) -> str:
    target = next(t for t in TARGETS if t.provider == provider)
    request = ChatRequest("Hi", f"{provider}:{target.model}", tools=[tool])
    return str(spec.encode_request(request).body)


@pytest.mark.parametrize("target", TARGETS, ids=str)
async def test_what_comes_back_fits(target: Target, sim: Simulator) -> None:
    """
    Arguments made after the schema as each dialect sends it are arguments of the function.

    Where ``strict`` makes every property required, too.
    """
    # S7
    async with target.client(sim) as client:
        for row in ROWS:
            of = tool_of(row, strict=not row.loose)
            response = await client.complete(row.prompt, tools=[of])
            (call,) = response.tool_calls
            assert of.read(call.parse()).keys() >= set(row.required), row


def test_strict_is_closed_and_complete(row: Row) -> None:
    """What OpenAI gets says of every object that all is required and nothing else allowed."""
    if row.loose:
        pytest.skip("cannot be enforced")
    tools = SPECS["openai-chat"].encode_request(
        ChatRequest("Hi", "openai-chat:gpt-5.1", tools=[tool_of(row, strict=True)])
    )
    check_closed(tools.body["tools"][0]["function"]["parameters"])


def check_closed(node: Any) -> None:
    match node:
        case {"type": "object", "properties": dict(properties)}:
            assert node["additionalProperties"] is False
            assert set(node["required"]) == properties.keys()
        case _:
            pass
    if isinstance(node, dict):
        for inner in node.values():
            check_closed(inner)
    if isinstance(node, list):
        for inner in node:
            check_closed(inner)
