"""Whatever is stacked, in any order: attempts do not multiply, and everything is closed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import permutations
from typing import Final, TypeAlias

import pytest
from attrs import evolve
from hypothesis import given, settings, strategies as st

from aichat import ChatRequest, Handler, Middleware, RetryPolicy, StreamChunk, compose
from aichat.errors import AIChatError, ServerError
from aichat.middleware._circuit_breaker import circuit_breaker
from aichat.middleware._logging import logging
from aichat.middleware._retry import retry
from aichat.testing import FakeProvider, check_stream, reply
from aichat.transport import CircuitBreaker, Transport
from aichat.types import ResponseStart

from ..transport.toys import (
    ASK,
    TOY,
    ScriptedAnswer,
    VirtualLoop,
    refusal,
    sse,
    virtual,
)

FIRST, SECOND = "a:m", "b:m"
REQUEST = ChatRequest("Hi", FIRST)


class Quiet:
    """A logger without a voice."""

    def debug(self, msg: str, /, *, extra: object) -> None:
        pass

    info = warning = error = debug


def no_wait(seconds: float) -> asyncio.Future[None]:
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def again(retries: int) -> Middleware:
    return retry(RetryPolicy(max_retries=retries), budget=None, sleep=no_wait)


def log() -> Middleware:
    return logging(Quiet())


def breaker() -> Middleware:
    return circuit_breaker(threshold=10**6)


async def other_model(
    request: ChatRequest, call_next: Handler
) -> AsyncGenerator[StreamChunk, None]:
    """A fallback as one writes it in a minute; it does not close, count or tell anything."""
    for model in (FIRST, SECOND):
        spoken = False
        try:
            async for chunk in call_next(evolve(request, model=model)):
                spoken = spoken or not isinstance(chunk, ResponseStart)
                yield chunk
            return
        except AIChatError:
            if spoken or model == SECOND:
                raise


class Bottom:
    """
    Two models, by a transport or without one, and how often each was asked.

    *retries* are those of the transports; ``None`` stands for a provider without one.
    """

    def __init__(
        self,
        answer: Callable[[], ScriptedAnswer],
        *retries: int | None,
    ) -> None:
        self.sent: Counter[str] = Counter()
        self.answers: list[ScriptedAnswer] = []
        self._answer = answer
        self._transports = {
            model: None if n is None else self._transport(model, n)
            for model, n in zip((FIRST, SECOND), retries, strict=True)
        }

    def _transport(self, model: str, retries: int) -> Transport:
        async def send(*_: object) -> ScriptedAnswer:
            self.sent[model] += 1
            self.answers.append(self._answer())
            return self.answers[-1]

        return Transport(
            name=model,
            send=send,
            retry=RetryPolicy(max_retries=retries),
            budget=None,
            breaker=CircuitBreaker(10**6),
            sleep=no_wait,
        )

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[StreamChunk, None]:
        transport = self._transports[request.model]
        if transport is None:
            self.sent[request.model] += 1
            raise ServerError("down")
        reads = transport.stream(ASK, TOY, max_retries=request.max_retries)
        async with aclosing(reads):
            async for chunks in reads:
                for chunk in chunks:
                    yield chunk  # noqa: ASYNC119 -- closed by the chain


# --- R2 -----------------------------------------------------------------------------------

Layer: TypeAlias = int | str  # of a retry; or which other one

_OTHERS: Final[dict[str, Callable[[], Middleware]]] = {
    "fallback": lambda: other_model,
    "log": log,
    "breaker": breaker,
}


def stack(layers: list[Layer]) -> list[Middleware]:
    return [again(n) if isinstance(n, int) else _OTHERS[n]() for n in layers]


async def sent(
    layers: list[Layer], bottom: Bottom, max_retries: int | None
) -> AIChatError:
    """The error of a call that fails whatever is done."""
    request = evolve(REQUEST, max_retries=max_retries)
    with pytest.raises(AIChatError) as caught:
        async for _ in check_stream(compose(stack(layers), bottom)(request)):
            pass
    return caught.value


def down() -> ScriptedAnswer:
    return refusal(500)


@given(
    retries=st.lists(st.integers(0, 3), max_size=3),
    others=st.sets(st.sampled_from(sorted(_OTHERS))),
    transports=st.tuples(*[st.none() | st.integers(0, 3)] * 2),
    max_retries=st.none() | st.integers(0, 3),
    data=st.data(),
)
@settings(deadline=None)
def test_attempts_do_not_multiply(
    retries: list[int],
    others: set[str],
    transports: tuple[int | None, ...],
    max_retries: int | None,
    data: st.DataObject,
) -> None:
    """No model gets more requests than the most patient of all layers allows, and one."""  # R2
    every: list[Layer] = [*retries, *others]
    layers = data.draw(st.permutations(every))
    bottom = Bottom(down, *transports)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        error = runner.run(sent(layers, bottom, max_retries))
    patience = [own for own in transports if own is not None] + retries
    most = max(patience, default=0) if max_retries is None else max_retries
    assert max(bottom.sent.values()) <= most + 1
    if "fallback" in others:
        return
    # Nobody is robbed of a retry either: the innermost that has any makes them all.
    own = transports[0]
    inwards = [n for n in layers if isinstance(n, int)] + [
        n for n in [own] if n is not None
    ]
    if max_retries is not None:
        inwards = [max_retries for _ in inwards]
    retried = next((n for n in reversed(inwards) if n), 0)
    assert bottom.sent == {FIRST: retried + 1}
    assert error.attempts == (retried + 1 if inwards else None)
    assert error.retryable is (retried == 0)


@pytest.mark.parametrize("own", [0, 2], ids=["switched off", "two"])
@pytest.mark.parametrize(
    "layers",
    [
        [2],
        [2, 2],
        [2, "fallback"],
        ["fallback", 2],
        [2, "fallback", 2],
        [2, "log", "breaker", 2],
    ],
    ids=str,
)
@virtual
async def test_over_a_transport(layers: list[Layer], own: int) -> None:
    """
    Three requests per model, whether the transport retries or leaves it to those above.

    One that was told not to try again leaves its error as retryable as it is, so the sum is
    what the innermost `retry` allows.
    """  # R2
    bottom = Bottom(down, own, own)
    error = await sent(layers, bottom, None)
    both = "fallback" in layers
    assert bottom.sent == ({FIRST: 3, SECOND: 3} if both else {FIRST: 3})
    assert not error.retryable
    if not both:
        assert error.attempts == 3


@virtual
async def test_a_fallback_that_hides_who_has_given_up() -> None:
    """
    The first model's transport gave up after three; the second one's error may be retried.

    Trying again asks both, so what the first one got counts.
    """  # R2
    for patience, first, second in [(1, 3, 1), (2, 3, 1), (3, 4, 2), (5, 6, 4)]:
        bottom = Bottom(down, 2, 0)
        await sent([patience, "fallback"], bottom, None)
        assert bottom.sent == {FIRST: first, SECOND: second}


@pytest.mark.parametrize("max_retries", [0, 1, 4])
@virtual
async def test_the_requests_own_number_bounds_everything(max_retries: int) -> None:
    """Over every policy, in every order."""  # R2
    every: list[Layer] = [2, 3, "log", "breaker"]
    for layers in permutations(every):
        for own in (None, 0, 2):
            bottom = Bottom(down, own, own)
            await sent(list(layers), bottom, max_retries)
            assert bottom.sent == {FIRST: max_retries + 1}


# --- nothing leaks ------------------------------------------------------------------------

LAYERS: Final[dict[str, Callable[[], Middleware]]] = {
    "retry": lambda: again(2),
    **_OTHERS,
}
ORDERS = list(permutations(LAYERS))
WORDS = reply("a b c d")

Stream: TypeAlias = AsyncGenerator[StreamChunk, None]


async def _aclose(stream: Stream, count: int) -> None:
    for _ in range(count):
        await anext(stream)
    await stream.aclose()


async def _break(stream: Stream, count: int) -> None:
    async with aclosing(stream):
        async for _ in stream:
            count -= 1
            if count <= 0:
                break


async def _raise(stream: Stream, count: int) -> None:
    with pytest.raises(LookupError):
        async with aclosing(stream):
            async for _ in stream:
                count -= 1
                if count <= 0:
                    raise LookupError


async def _cancel(stream: Stream, count: int) -> None:
    async def read(left: int) -> None:
        async with aclosing(stream):
            async for _ in stream:
                left -= 1
                if left <= 0:
                    await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(read(count))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


LEAVING = [_aclose, _break, _raise, _cancel]


def alone() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@virtual
async def test_a_stream_is_what_it_was(order: tuple[str, ...]) -> None:
    """Every order hands on what came, after two failures that nobody sees."""  # S1
    provider = FakeProvider([ServerError(), [ResponseStart(), ServerError()], WORDS])
    layers = [LAYERS[name]() for name in order]
    stream = check_stream(compose(layers, provider.stream)(REQUEST))
    assert [chunk async for chunk in stream] == WORDS
    assert provider.active == 0


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@virtual
async def test_left_at_any_chunk(order: tuple[str, ...]) -> None:
    """However it is left, everything beneath is closed at once."""  # C1
    for leave in LEAVING:
        for count in range(1, len(WORDS) + 1):
            provider = FakeProvider([ServerError(), WORDS])
            layers = [LAYERS[name]() for name in order]
            await leave(compose(layers, provider.stream)(REQUEST), count)
            assert provider.active == 0
            assert alone()


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@virtual
async def test_left_at_any_chunk_of_a_transport(order: tuple[str, ...]) -> None:
    """The connection of every attempt is given up."""  # C1
    pieces = [sse({"id": "1"}, {"text": "a"}), *[sse({"text": "b"})] * 3]
    end = sse({"finish": 1}, "[DONE]")
    for leave in LEAVING:
        for count in range(1, 7):
            script = iter([refusal(500), ScriptedAnswer(*pieces, end)])
            bottom = Bottom(script.__next__, 1, 1)
            layers = [LAYERS[name]() for name in order]
            await leave(compose(layers, bottom)(REQUEST), count)
            assert len(bottom.answers) == 2
            assert all(answer.aborted for answer in bottom.answers)
            assert alone()


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@virtual
async def test_cancelled_while_nothing_has_come(order: tuple[str, ...]) -> None:
    """Before the first byte of the second attempt."""  # C1, C2
    script = iter([refusal(500), ScriptedAnswer(float("inf"))])
    bottom = Bottom(script.__next__, 1, 1)
    layers = [LAYERS[name]() for name in order]
    stream = compose(layers, bottom)(REQUEST)
    await _cancel(stream, 1)
    assert [answer.aborted for answer in bottom.answers] == [True, True]
    assert alone()
