"""`Client.complete` with a *response_type*: rounds of repair, usage, deadlines."""

from __future__ import annotations

import pickle
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from attrs import fields

from aichat import (
    ChatRequest,
    ChatResponse,
    Client,
    Deadlines,
    Handler,
    InvalidRequestError,
    StreamChunk,
    system,
    user,
)
from aichat.errors import DeadlineError, ServerError
from aichat.structured import StructuredOutputError, TypedResponse
from aichat.testing import FakeProvider, reply, tool_call
from aichat.testing._fake import Reply
from aichat.types import Usage, to_json

from ..transport.toys import virtual
from .values import City

GOOD = '{"name": "Rome", "people": 3, "sights": []}'
BAD = '{"name": "Rome", "people": "three"}'
USAGE = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=2)


def asked(*replies: Reply) -> tuple[FakeProvider, Client]:
    provider = FakeProvider(replies)
    return provider, Client({"fake": provider}, model="fake:m")


async def test_the_value_is_in_the_response() -> None:
    """
    It is a `ChatResponse` in every other way.
    """
    _, client = asked(reply(GOOD, usage=USAGE), reply(GOOD, usage=USAGE))
    response = await client.complete("Rome?", response_type=City)
    plain = await client.complete("Rome?")
    assert response.parsed == City("Rome", 3)
    assert isinstance(response, ChatResponse)
    assert response.rounds == (plain,)
    for f in fields(ChatResponse):
        assert getattr(response, f.name) == getattr(plain, f.name)
    assert response.text == GOOD
    assert hash(response)


async def test_the_response_travels() -> None:
    """
    It can be pickled if its value can.
    """
    _, client = asked(GOOD)
    response = await client.complete("Rome?", response_type=City)
    assert pickle.loads(pickle.dumps(response)) == response


async def test_without_a_type_nothing_changes() -> None:
    """
    And what is said about a type is not swallowed.
    """
    provider, client = asked("Hi")
    assert type(await client.complete("Hi")) is ChatResponse
    assert provider.requests[0].response_format is None
    options: Any
    for options in ({"repair": 1}, {"schema_via": "auto"}, {"strict": False}):
        with pytest.raises(TypeError, match="response_type"):
            await client.complete("Hi", **options)


async def test_no_repair_unless_asked_for() -> None:
    """
    One request, one answer, one error.
    """
    provider, client = asked(BAD, GOOD)
    with pytest.raises(StructuredOutputError):
        await client.complete("Rome?", response_type=City)
    assert len(provider.requests) == 1


async def test_a_round_of_repair() -> None:
    """
    The model gets its answer back with what is wrong, and every token counts.
    """
    provider, client = asked(reply(BAD, usage=USAGE), reply(GOOD, usage=USAGE))
    response = await client.complete(
        [system("Be true."), user("Rome?")],
        response_type=City,
        repair=1,
        temperature=0.5,
    )
    assert response.parsed == City("Rome", 3)
    assert response.usage.input_tokens == 20
    assert response.usage.output_tokens == 10
    assert response.usage.cache_read_tokens == 4
    assert response.usage.reasoning_tokens is None
    assert [r.text for r in response.rounds] == [BAD, GOOD]
    first, second = provider.requests
    assert second.messages[:2] == first.messages
    assert second.messages[2].text == BAD
    assert "$.people" in second.messages[3].text
    assert second.response_format == first.response_format
    assert second.temperature == 0.5


async def test_what_one_round_does_not_report() -> None:
    """
    Is not known of all: no number is better than a wrong one.
    """
    broken = Usage(input_tokens=3, complete=False)
    _, client = asked(reply(BAD, usage=USAGE), reply(GOOD, usage=broken))
    response = await client.complete("Rome?", response_type=City, repair=1)
    assert response.usage == Usage(input_tokens=13, complete=False)


async def test_paths_as_the_model_sees_them() -> None:
    """
    It has put the list into an object, and looks for its mistakes there.
    """
    provider, client = asked('{"value": [1, "2"]}', '{"value": [1, 2]}')
    response = await client.complete("Count.", response_type=list[int], repair=1)
    assert response.parsed == [1, 2]
    assert "$.value[1]" in provider.requests[1].messages[-1].text


async def test_repair_ends() -> None:
    """
    After the last round the error tells of all of them.
    """
    provider, client = asked(*[reply(t, usage=USAGE) for t in (BAD, "Rome!", BAD)])
    with pytest.raises(StructuredOutputError) as caught:
        await client.complete("Rome?", response_type=City, repair=2)
    assert len(provider.requests) == 3
    assert [r.text for r in caught.value.rounds] == [BAD, "Rome!", BAD]
    assert caught.value.usage.total_tokens == 45
    assert "no JSON" in provider.requests[2].messages[-1].text


@pytest.mark.parametrize(
    "hopeless",
    [
        reply('{"name": "Ro', finish_reason="length"),
        reply(GOOD, finish_reason="content_filter"),
        reply(tool_calls=[tool_call("f")]),
        reply(""),
    ],
)
async def test_what_cannot_be_repaired(hopeless: Reply) -> None:
    """
    Cut off, filtered, elsewhere, silent: another round would end in the same way.
    """
    provider, client = asked(hopeless, GOOD)
    with pytest.raises(StructuredOutputError):
        await client.complete("Rome?", response_type=City, repair=3)
    assert len(provider.requests) == 1


async def test_a_failure_between_the_rounds() -> None:
    """
    Other errors are what they are.
    """
    _, client = asked(BAD, ServerError("down"))
    with pytest.raises(ServerError):
        await client.complete("Rome?", response_type=City, repair=1)


@virtual
async def test_all_rounds_share_the_total_deadline() -> None:
    """
    The second round has what the first one has left.
    """
    # D3
    import asyncio

    async def slow(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        await asyncio.sleep(4)
        async for chunk in call_next(request):
            yield chunk

    provider = FakeProvider([BAD, BAD, BAD])
    client = Client({"fake": provider}, model="fake:m", middleware=[slow])
    with pytest.raises(DeadlineError) as caught:
        await client.complete(
            "Rome?", response_type=City, repair=5, deadlines=Deadlines(total=10)
        )
    assert caught.value.phase == "total"
    totals = [r.deadlines.limit("total") for r in provider.requests if r.deadlines]
    assert totals == pytest.approx([10, 6, 2])


@pytest.mark.parametrize("repair", [-1, 1.5, True, "1", None])
async def test_a_number_of_rounds_that_is_none(repair: Any) -> None:
    """
    Refused before anything is sent.
    """
    provider, client = asked(GOOD)
    with pytest.raises(InvalidRequestError, match="repair"):
        await client.complete("Rome?", response_type=City, repair=repair)
    assert not provider.requests


async def test_a_way_that_there_is_not() -> None:
    """
    Refused before anything is sent.
    """
    provider, client = asked(GOOD)
    way: Any = "telepathy"
    with pytest.raises(InvalidRequestError, match="schema_via"):
        await client.complete("Rome?", response_type=City, schema_via=way)
    assert not provider.requests


async def test_by_words_with_repair() -> None:
    """
    A model that knows no schemas, and needs two attempts.
    """
    provider, client = asked("Rome is nice.", f"```json\n{GOOD}\n```")
    response = await client.complete(
        "Rome?", response_type=City, schema_via="prompt", repair=1
    )
    assert response.parsed == City("Rome", 3)
    assert [m.role for m in provider.requests[0].messages] == ["system", "user"]


async def test_a_request_of_ones_own() -> None:
    """
    A `ChatRequest` is taken as it is, and not changed.
    """
    provider, client = asked(GOOD)
    request = ChatRequest("Rome?", "fake:other", temperature=0)
    await client.complete(request, response_type=City)
    assert request.response_format is None
    assert provider.requests[0].model == "fake:other"
    assert provider.requests[0].temperature == 0


async def test_the_plain_answer_can_be_stored() -> None:
    """
    What `to_json` takes is in its rounds.
    """
    _, client = asked(GOOD)
    response = await client.complete("Rome?", response_type=City)
    assert isinstance(response, TypedResponse)
    assert b"Rome" in to_json(response.rounds[-1])
