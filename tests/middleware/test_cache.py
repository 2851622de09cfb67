"""`cache`: what is answered again, what is never kept, and whose it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given

from aichat import (
    ChatRequest,
    ChatResponse,
    Client,
    Deadlines,
    FinishReason,
    Handler,
    Message,
    Role,
    StreamChunk,
    Usage,
)
from aichat.errors import (
    AIChatError,
    ConfigError,
    DeadlineError,
    RateLimitError,
    StreamInterruptedError,
)
from aichat.middleware._cache import cache, is_kept
from aichat.middleware._stores import MemoryCache
from aichat.testing import FakeProvider, check_stream, reply, tool_call
from aichat.types import (
    ResponseEnd,
    ResponseStart,
    TextDelta,
    ToolCallPart,
    ToolResultPart,
    UsageUpdate,
    fold,
    unfold,
)

from ..transport.toys import now, virtual
from ..types.strategies import responses
from .cache_toys import ASK, Model, answer, around, told

HELLO = reply("Hello, world!", usage=Usage(input_tokens=2, output_tokens=3))


async def test_the_second_call_is_answered_by_the_first() -> None:
    """
    The same parts, the same usage, one request; and it says where it is from.  # X5
    """
    model = Model(HELLO)
    handler = around(model, cache())
    first, second = await answer(handler), await answer(handler)
    assert model.asked == 1
    assert not first.from_cache
    assert second == evolve(first, from_cache=True)
    assert second.usage == Usage(input_tokens=2, output_tokens=3)


async def test_a_client_with_a_cache() -> None:
    """As users have it: streams and whole answers share what is kept."""  # X5
    provider = FakeProvider(["Hello, world!"])
    async with Client(
        {"fake": provider}, model="fake:m", middleware=[cache()]
    ) as client:
        async with client.stream("Hi") as stream:
            assert [c async for c in stream.text()] == ["Hello,", " world!"]
        again = await client.complete("Hi")
    assert again.text == "Hello, world!"
    assert again.from_cache
    assert len(provider.requests) == 1


async def test_it_says_what_it_knew() -> None:
    """Whoever listens hears of a miss and of a hit."""  # O1
    handler = around(Model(), cache())
    assert await told(handler) == ["cache:miss"]
    assert await told(handler) == ["cache:hit"]


async def test_another_question_is_asked() -> None:
    model = Model(reply("one"), reply("two"))
    handler = around(model, cache())
    other = evolve(ASK, temperature=0.5)
    assert [(await answer(handler, q)).text for q in (ASK, other)] == ["one", "two"]
    assert [(await answer(handler, q)).text for q in (ASK, other)] == ["one", "two"]
    assert model.asked == 2


async def test_nothing_is_read_when_the_middleware_is_not_pulled() -> None:
    """A stream that nobody reads asks nobody."""
    model = Model()
    stream = around(model, cache())(ASK)
    await stream.aclose()
    assert model.asked == 0


async def test_when_says_what_is_cached() -> None:
    model = Model()
    handler = around(model, cache(when=lambda request: request.temperature == 0))
    for _ in range(2):
        await answer(handler)
    assert model.asked == 2
    for _ in range(2):
        await answer(handler, evolve(ASK, temperature=0))
    assert model.asked == 3


async def test_what_has_no_key_is_passed_on() -> None:
    """And is never mistaken for anything else."""  # X5
    model = Model()
    handler = around(model, cache())
    odd = evolve(ASK, provider_options={"fake": {"x": object()}})
    for _ in range(2):
        assert not (await answer(handler, odd)).from_cache
    assert model.asked == 2


async def test_the_ttl_is_handed_to_the_store() -> None:
    """On a clock that is turned by hand."""  # X5
    clock = [0.0]
    store = MemoryCache(clock=lambda: clock[0])
    model = Model()
    handler = around(model, cache(store, namespace="n", ttl=10))
    await answer(handler)
    clock[0] = 9.9
    assert (await answer(handler)).from_cache
    clock[0] = 10.0
    assert not (await answer(handler)).from_cache
    assert model.asked == 2


# -- whose it is ------------------------------------------------------------------------


async def test_answers_never_cross_namespaces() -> None:
    """
    Two tenants over one store.  # X5
    """
    store = MemoryCache()
    texts = []
    for tenant in ("a", "b", "a", "b"):
        handler = around(Model(reply(tenant)), cache(store, namespace=tenant))
        texts.append((await answer(handler)).text)
    assert texts == ["a", "b", "a", "b"]
    assert len(store) == 2


async def test_clients_of_one_namespace_share() -> None:
    store = MemoryCache()
    await answer(around(Model(), cache(store, namespace="n")))
    other = Model(reply("never said"))
    assert (await answer(around(other, cache(store, namespace="n")))).text == "Hello!"
    assert other.asked == 0


async def test_a_namespace_may_come_from_the_request() -> None:
    """One client for many tenants."""  # X5
    model = Model(reply("for a"), reply("for b"))
    handler = around(model, cache(namespace=lambda request: request.metadata["t"]))
    for tenant in ("a", "b", "a", "b"):
        got = await answer(handler, evolve(ASK, metadata={"t": tenant}))
        assert got.text == f"for {tenant}"
    assert model.asked == 2


@pytest.mark.parametrize("nothing", ["", None, 7])
async def test_a_namespace_that_is_none_is_an_error(nothing: Any) -> None:
    """
    A tenant that is missing is not a tenant of its own.  # X5
    """
    model = Model()
    handler = around(model, cache(namespace=lambda request: nothing))
    with pytest.raises(ConfigError, match="namespace"):
        await answer(handler)
    assert model.asked == 0


class Tale:
    """No store at all."""


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"store": MemoryCache()}, "needs a namespace"),
        ({"namespace": ""}, "not empty"),
        ({"namespace": 7}, "not empty"),
        ({"ttl": 0}, "ttl"),
        ({"patience": -1}, "patience"),
        ({"patience": None}, "patience"),
        ({"patience": float("nan")}, "patience"),
        ({"store": Tale(), "namespace": "n"}, "methods get and set"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings: dict[str, Any], hint: str
) -> None:
    """When it is made, saying what to do."""
    with pytest.raises(ConfigError, match=hint):
        cache(**settings)


# -- what is kept -----------------------------------------------------------------------


def whole(finish: FinishReason = FinishReason.STOP, *parts: Any) -> ChatResponse:
    return ChatResponse(
        message=Message(Role.ASSISTANT, parts or "Hello!"), finish_reason=finish
    )


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        (whole(), True),
        (whole(FinishReason.LENGTH), True),
        (whole(FinishReason.TOOL_CALLS, ToolCallPart("c", "f", "{}")), True),
        (whole(FinishReason.CONTENT_FILTER), False),
        (whole(FinishReason.PAUSED), False),
        (whole(FinishReason.ERROR), False),
        (whole(FinishReason.OTHER), False),
        (evolve(whole(), message=Message(Role.ASSISTANT)), False),
        (
            whole(FinishReason.TOOL_CALLS, ToolCallPart("c", "f", "{", invalid="cut")),
            False,
        ),
        (evolve(whole(), finish_reason=None), False),
    ],
)
async def test_only_answers_that_will_do_again_are_kept(
    response: ChatResponse, kept: bool
) -> None:
    """
    Nothing filtered, failed, paused, unknown, empty or cut off in a call.  # X5
    """
    assert is_kept(response) == kept
    if response.finish_reason is None:
        return
    store = MemoryCache()
    model = Model(list(unfold(response)))
    handler = around(model, cache(store, namespace="n"))
    assert (await answer(handler)).finish_reason == response.finish_reason
    await answer(handler)
    assert (len(store), model.asked) == ((1, 1) if kept else (0, 2))


@given(responses)
async def test_a_replay_is_a_stream_like_any_other(response: ChatResponse) -> None:
    """
    It keeps to the grammar and folds to what was kept.  # S1, S2, X5
    """
    model = Model(list(unfold(response)))
    handler = around(model, cache())
    first = [chunk async for chunk in handler(ASK)]
    again = [chunk async for chunk in handler(ASK)]
    assert fold(first) == response
    if model.asked == 1:
        assert fold(check_stream(again)) == evolve(response, from_cache=True)
    else:
        assert not is_kept(response)
        assert again == first


CALL = reply("Let me see.", tool_calls=[tool_call("look", "c1", at="it")])


@pytest.mark.parametrize("cut", range(len(CALL)))
async def test_an_answer_that_is_left_is_not_kept(cut: int) -> None:
    """
    Wherever its consumer leaves it before the end.  # X5, C1
    """
    store = MemoryCache()
    model = Model(CALL)
    handler = around(model, cache(store, namespace="n"))
    async with aclosing(handler(ASK)) as chunks:
        for _ in range(cut):
            await anext(chunks)
    assert model.active == 0
    assert len(store) == 0
    assert fold(CALL) == await answer(handler)
    assert model.asked == (2 if cut else 1)


@pytest.mark.parametrize("cut", range(len(CALL)))
async def test_an_answer_that_breaks_is_not_kept(cut: int) -> None:
    """
    An error after any chunk passes as it is, and the next call asks again.  # X5
    """
    store = MemoryCache()
    error = StreamInterruptedError("cut", request_id="r")
    model = Model([*CALL[:cut], error], CALL)
    handler = around(model, cache(store, namespace="n"))
    with pytest.raises(StreamInterruptedError) as raised:
        await answer(handler)
    assert raised.value.request_id == "r"
    assert len(store) == 0
    assert not (await answer(handler)).from_cache
    assert model.asked == 2


@pytest.mark.parametrize("cut", range(len(CALL)))
async def test_an_answer_that_just_stops_is_not_kept(cut: int) -> None:
    """
    Without a ResponseEnd it is not whole, whoever lets that pass.  # X5, S4
    """
    store = MemoryCache()
    handler = around(Model(CALL[:cut]), cache(store, namespace="n"))
    assert [chunk async for chunk in handler(ASK)] == CALL[:cut]
    assert len(store) == 0


@virtual
async def test_a_call_that_is_cancelled_leaves_nothing() -> None:
    """At every chunk, and while nothing has come yet."""  # X5, C2
    for cut in range(len(CALL) + 1):
        store = MemoryCache()
        model = Model([*CALL[:cut], 60.0, *CALL[cut:]])
        handler = around(model, cache(store, namespace="n"))
        task = asyncio.create_task(answer(handler))
        await asyncio.sleep(30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (len(store), model.active) == (0, 0)


async def test_an_objection_at_the_very_end_counts() -> None:
    """
    A middleware below sees the whole answer and does not like it: it is not kept, and its
    end is not handed on.
    """

    async def strict(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        async for chunk in call_next(request):
            yield chunk
        raise AIChatError("That will not do.")

    store = MemoryCache()
    handler = around(around(Model(), strict), cache(store, namespace="n"))
    stream, came = handler(ASK), list[StreamChunk]()
    with pytest.raises(AIChatError, match="will not do"):
        while True:
            came.append(await anext(stream))
    assert not any(isinstance(chunk, ResponseEnd) for chunk in came)
    assert len(store) == 0


async def test_a_stream_that_breaks_the_grammar_passes_and_is_not_kept() -> None:
    """What it is, nobody knows; it is not ours to mend."""
    odd: list[StreamChunk] = [*HELLO, TextDelta("more"), *HELLO[-1:]]
    store = MemoryCache()
    handler = around(Model(odd), cache(store, namespace="n"))
    assert [chunk async for chunk in handler(ASK)] == odd
    assert len(store) == 0


async def test_it_is_kept_before_its_end_is_handed_on() -> None:
    """
    Who stops reading at the ResponseEnd has had the whole answer.  # X5
    """
    store = MemoryCache()
    async with aclosing(around(Model(), cache(store, namespace="n"))(ASK)) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, ResponseEnd):
                break
            assert len(store) == 0
    assert len(store) == 1


# -- stores that fail -------------------------------------------------------------------


class Flaky:
    """Does as it is told, or raises."""

    def __init__(self) -> None:
        self.inner = MemoryCache()
        self.get_error: Exception | None = None
        self.set_error: Exception | None = None
        self.delay = 0.0

    async def get(self, key: str) -> ChatResponse | None:
        await asyncio.sleep(self.delay)
        if self.get_error is not None:
            raise self.get_error
        return await self.inner.get(key)

    async def set(self, key: str, response: ChatResponse, ttl: float | None) -> None:
        await asyncio.sleep(self.delay)
        if self.set_error is not None:
            raise self.set_error
        await self.inner.set(key, response, ttl)


async def test_a_store_that_fails_costs_a_line_and_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Said once, and once more when it works again. An error that may quote an answer is
    named and not quoted.  # X5, X1
    """
    caplog.set_level(logging.INFO, "aichat")
    store, model = Flaky(), Model()
    handler = around(model, cache(store, namespace="n"))
    store.get_error = ConnectionError("nobody")
    store.set_error = TypeError("cannot write 'Hello!'")
    for _ in range(3):
        assert (await answer(handler)).text == "Hello!"
    assert model.asked == 3
    assert [record.getMessage() for record in caplog.records] == [
        "The cache's store cannot be read, and is done without (ConnectionError: nobody)",
        "The cache's store cannot be written, and is done without (TypeError)",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    caplog.clear()
    store.get_error = store.set_error = None
    for _ in range(2):
        await answer(handler)
    assert model.asked == 4
    assert [record.getMessage() for record in caplog.records] == [
        "The cache's store can be read again",
        "The cache's store can be written again",
    ]


@virtual
async def test_a_store_that_hangs_costs_five_seconds() -> None:
    """It is there to save time."""  # X5
    store, model = Flaky(), Model()
    store.delay = 3600.0
    assert (await answer(around(model, cache(store, namespace="n")))).text == "Hello!"
    assert now() == pytest.approx(10)
    assert model.asked == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        evolve(whole(), finish_reason=None),
        whole(FinishReason.STOP, ToolResultPart("c", "done")),
        whole(FinishReason.CONTENT_FILTER),
        "Hello!",
    ],
)
async def test_a_store_that_tells_tales_is_not_believed(nonsense: Any) -> None:
    """What no stream ends in is no answer."""  # X5

    class Tales(Flaky):
        async def get(self, key: str) -> ChatResponse | None:
            return nonsense  # type: ignore[no-any-return]  # that is the point

    response = await answer(around(Model(), cache(Tales(), namespace="n")))
    assert response.text == "Hello!"
    assert not response.from_cache


@virtual
async def test_cancelling_is_not_a_failure_of_the_store() -> None:
    """It passes, and the next call leads."""  # C2
    store, model = Flaky(), Model()
    store.delay = 2.0
    handler = around(model, cache(store, namespace="n"))
    task = asyncio.create_task(answer(handler))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.asked == 0
    assert (await answer(handler)).text == "Hello!"


@virtual
async def test_the_total_deadline_covers_the_store() -> None:
    """What the look into the store took is not there for the model."""  # D3
    store, model = Flaky(), Model()
    store.delay = 2.0
    handler = around(model, cache(store, namespace="n"))
    await answer(handler, evolve(ASK, deadlines=Deadlines(total=5)))
    limits = model.requests[0].deadlines
    assert limits is not None
    assert limits.limit("total") == pytest.approx(3)
    other = evolve(ASK, model="fake:n", deadlines=Deadlines(total=1))
    with pytest.raises(DeadlineError) as raised:
        await answer(handler, other)
    assert raised.value.phase == "total"
    assert model.asked == 1


async def test_errors_are_the_callers_own() -> None:
    """Nothing is changed on their way."""
    error = RateLimitError("slow down", retry_after=3)

    async def refuse(request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        yield ResponseStart()
        yield UsageUpdate(Usage())
        raise error

    with pytest.raises(RateLimitError) as raised:
        await answer(around(refuse, cache()))
    assert raised.value is error


async def test_answers_stay_apart_where_middleware_is_stacked() -> None:
    """A small cache before a large one: what the inner one knows, the outer one keeps."""
    large = MemoryCache()
    model = Model()
    inner = around(model, cache(large, namespace="n"))
    assert not (await answer(around(inner, cache()))).from_cache
    outer = around(inner, cache())
    assert (await answer(outer)).from_cache
    large.clear()
    assert (await answer(outer)).from_cache
    assert model.asked == 1


async def test_nothing_is_left_behind_by_a_consumer_that_fails() -> None:
    """Its exception passes unchanged, and nothing is kept."""  # C1
    store, model = MemoryCache(), Model()
    with suppress(LookupError):
        async with aclosing(around(model, cache(store, namespace="n"))(ASK)) as chunks:
            async for _ in chunks:
                raise LookupError
    assert (len(store), model.active) == (0, 0)
