"""
What a user's type checker sees. Checked by mypy and pyright, never run.

A line that must be rejected carries an ignore, and both checkers complain about an ignore
that is not needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypedDict, assert_never, assert_type

import pydantic
from attrs import frozen as value

from aichat import (
    ChatRequest,
    ChatResponse,
    ChatStream,
    CitationDelta,
    Client,
    EmbeddingResponse,
    FinishReason,
    Handler,
    Health,
    MapResult,
    Middleware,
    ModelInfo,
    PartAdded,
    PartEnd,
    Provider,
    ReasoningDelta,
    RefusalDelta,
    RequestBuilder,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    TokenCount,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageUpdate,
)
from aichat.costs import CallCost, cost_of
from aichat.structured import ObjectStream, StructuredOutputError, TypedResponse
from aichat.testing import FakeProvider
from aichat.tools import RunResult, RunStream, TypedRunResult


async def streaming(client: Client) -> None:
    stream = client.stream("Hi", model="openai:gpt-5.4", temperature=0.2, timeout=30)
    assert_type(stream, ChatStream)
    async for chunk in stream:
        assert_type(chunk, StreamChunk)
    async for text in client.stream("Hi").text():
        assert_type(text, str)
    assert_type(await stream.response(), ChatResponse)


async def completing(client: Client) -> None:
    response = await client.complete("Hi", tools=[Tool("f")], response_format="json")
    assert_type(response, ChatResponse)
    assert_type(response.finish_reason, FinishReason | None)
    assert_type(response.usage, Usage)
    assert_type(response.tool_calls, tuple[ToolCallPart, ...])
    assert_type(await client.health(), dict[str, Health])
    assert_type(client.request().system("x").temperature(1), RequestBuilder)


async def beyond_chat(client: Client) -> None:
    embedded = await client.embed(["a", "b"], model="p:m", dimensions=3, timeout=30)
    assert_type(embedded, EmbeddingResponse)
    assert_type(embedded.vectors[0][0], float)
    assert_type(await client.count_tokens("Hi", tools=[Tool("f")]), TokenCount)
    assert_type(await client.list_models("openai"), list[ModelInfo])
    await client.embed("a", dimension=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.embed("a", input_type="search")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def misspelt(client: Client) -> None:
    client.stream("Hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.stream("Hi", temperature="hot")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stream("Hi", reasoning_effort="hard")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def frozen(request: ChatRequest, chunk: TextDelta) -> None:
    request.model = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    chunk.text = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def polite(
    request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    async for chunk in call_next(request):
        yield chunk


fits: Middleware = polite
fake: Provider = FakeProvider(["Hi"])


def every_case(chunk: StreamChunk) -> str:
    match chunk:
        case TextDelta(text) | ReasoningDelta(text) | RefusalDelta(text):
            return text
        case ToolCallDelta(index, id, name, arguments):
            return f"{index}{id}{name}{arguments}"
        case CitationDelta() | PartAdded() | PartEnd() | UsageUpdate():
            return ""
        case ResponseStart() | ResponseEnd():
            return ""
        case _:
            assert_never(chunk)


@value
class City:
    name: str


@dataclass
class Town:
    name: str


class Place(TypedDict):
    name: str


class Capital(pydantic.BaseModel):
    name: str


class Colour(Enum):
    RED = "red"


async def typed_answers(client: Client) -> None:
    city = await client.complete("Where?", response_type=City, temperature=0)
    assert_type(city, TypedResponse[City])
    assert_type(city.parsed, City)
    assert_type(city.usage, Usage)
    plain: ChatResponse = city
    assert_type(plain.text, str)
    assert_type((await client.complete("?", response_type=Town, repair=1)).parsed, Town)
    assert_type((await client.complete("?", response_type=Place)).parsed, Place)
    assert_type((await client.complete("?", response_type=Capital)).parsed, Capital)
    assert_type((await client.complete("?", response_type=Colour)).parsed, Colour)
    cities = await client.complete("?", response_type=list[City], schema_via="auto")
    assert_type(cities.parsed, list[City])
    # What is no class needs TypeForm (PEP 747), which not every checker knows yet.
    assert_type((await client.complete("?", response_type=City | Town)).parsed, Any)
    assert_type((await client.complete("?", response_type=Literal["a"])).parsed, Any)
    assert_type(
        (await client.complete("?", response_type={"type": "object"})).parsed, Any
    )
    await client.complete("?", repair=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await client.complete("?", response_type=City, temprature=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def growing_objects(client: Client) -> None:
    stream = client.stream_object("?", response_type=list[City], temperature=0)
    assert_type(stream, ObjectStream[list[City]])
    async with stream:
        async for partial in stream:
            assert_type(partial, Any)
    assert_type(await stream.parsed(), list[City])
    assert_type((await stream.response()).parsed, list[City])
    repaired = client.stream_object("?", response_type=City, repair=1)
    assert_type(repaired.repairs, tuple[StructuredOutputError, ...])
    client.stream_object("?")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def look(where: str) -> str:
    return where


async def running(client: Client) -> None:
    result = await client.run("?", tools=[look], max_rounds=3, temperature=0)
    assert_type(result, RunResult)
    assert_type(result.cost, CallCost | None)
    assert_type(cost_of(result), CallCost | None)
    stream = client.run_stream("?", tools=[look])
    assert_type(stream, RunStream[RunResult])
    plain: RunStream = stream
    assert_type(await plain.result(), RunResult)
    typed = await client.run("?", tools=[look], response_type=City, repair=1)
    assert_type(typed, TypedRunResult[City])
    assert_type(typed.parsed, City)
    towns = client.run_stream("?", response_type=list[Town], on_error="raise")
    assert_type((await towns.result()).parsed, list[Town])
    either = await client.run("?", response_type=City | Town)
    assert_type(either.parsed, Any)
    base: RunStream = towns
    assert_type(base.partial(), RunResult | None)
    await client.run("?", repair=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await client.run("?", max_round=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def many(client: Client) -> None:
    async for result in client.map(["a"]):
        assert_type(result, MapResult[ChatResponse])
        assert_type(result.response, ChatResponse)
    async for typed in client.map(["a"], response_type=City, ordered=True):
        assert_type(typed.response.parsed, City)
    assert_type(await client.complete_many(["a"]), list[ChatResponse])
    assert_type(
        await client.complete_many(["a"], errors="return"),
        list[MapResult[ChatResponse]],
    )
    cities = await client.complete_many(["a"], response_type=City, repair=1)
    assert_type(cities, list[TypedResponse[City]])
    found = await client.complete_many(["a"], response_type=City, errors="return")
    assert_type(found[0].response.parsed, City)
    as_before: list[MapResult] = [*found]
    assert_type(as_before[0].response, ChatResponse)


async def building(client: Client) -> None:
    asked = client.request().user("?").tools(look)
    assert_type(await asked.complete(), ChatResponse)
    assert_type(await asked.run(max_rounds=2), RunResult)
    typed = asked.response_type(City, repair=1).temperature(0)
    assert_type((await typed.complete()).parsed, City)
    assert_type(typed.stream_object(), ObjectStream[City])
    assert_type((await typed.run()).parsed, City)
    assert_type(asked.response_type(City | Town).stream_object(), ObjectStream[Any])
