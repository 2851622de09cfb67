"""What all batches have in common: `aichat.providers._batching`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

import pytest
from attrs import evolve

from aichat import (
    AuthenticationError,
    BadRequestError,
    Batch,
    BatchRequest,
    BatchResult,
    BatchStatus,
    BatchSubmitter,
    ChatRequest,
    ClosedError,
    InvalidRequestError,
    ProtocolError,
    ServerError,
    StreamInterruptedError,
)
from aichat.providers import HTTPProvider, anthropic, ollama, openai_chat
from aichat.providers._batching import batches_of, count, seconds
from aichat.testing import FakeProvider
from aichat.transport import HTTPRequest, Transport
from aichat.types import Deadlines, dumps

from ..transport.toys import ScriptedAnswer, refusal
from .batch_desks import Answer, Desk, at, requests

SPEC = anthropic.SPEC
MODEL = "claude-haiku-4-5"
PATH = "/v1/messages/batches"
DONE = Batch(id="b1", status=BatchStatus.COMPLETED)


def line(id: str, text: str = "Hi.") -> bytes:
    """One good result."""
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    result = {"type": "succeeded", "message": message}
    return dumps({"custom_id": id, "result": result}) + b"\n"


def results_of(*answers: Answer) -> tuple[Desk, AsyncGenerator[BatchResult, None]]:
    """The results of a batch whose file is asked for, and answered with these."""
    desk = Desk({f"GET {PATH}/b1/results": [*answers]})
    return desk, batches(at(desk, SPEC)).results(DONE)


def batches(provider: HTTPProvider) -> Any:
    """The batches of *provider*, which has some."""
    assert provider.batches is not None
    return provider.batches


# --- before anything is sent ----------------------------------------------------------


async def refused(given: Iterable[BatchRequest], match: str, **limits: Any) -> None:
    """Hand in what must be refused (G4), and see that nothing was sent."""
    desk = Desk({})
    assert openai_chat.SPEC.batches is not None
    spec = evolve(openai_chat.SPEC, batches=evolve(openai_chat.SPEC.batches, **limits))
    with pytest.raises(InvalidRequestError, match=match) as caught:
        await batches(at(desk, spec)).submit(given)
    assert caught.value.operation in ("batch", "chat")
    assert caught.value.provider == "openai-chat"
    assert desk.requests == []


async def test_an_empty_batch() -> None:
    """It is nothing."""
    await refused([], "at least one request")


async def test_an_id_that_occurs_twice() -> None:
    """Nobody could tell their results apart."""
    await refused(requests("m", "a", "b", "a"), "the same id 'a'")


@pytest.mark.parametrize("id", ["two\nlines", "\x00"])
async def test_an_id_that_cannot_be(id: str) -> None:
    """It says what can."""
    await refused(requests("m", id), "any text without control characters")


async def test_too_many() -> None:
    """More than the provider takes at once."""
    await refused(
        requests("m", "a", "b", "c"), "3 requests are too many", max_requests=2
    )


async def test_too_large() -> None:
    """More bytes than it takes."""
    await refused(requests("m", "a", "b", "c"), "larger than 300 bytes", max_bytes=300)


def test_the_limits_of_each() -> None:
    """As they are documented."""
    assert openai_chat.SPEC.batches is not None
    assert openai_chat.SPEC.batches.max_requests == 50_000
    assert openai_chat.SPEC.batches.max_bytes == 200_000_000
    assert SPEC.batches is not None
    assert SPEC.batches.max_requests == 100_000
    assert SPEC.batches.max_bytes == 256_000_000


async def test_two_models() -> None:
    """OpenAI takes one at a time."""
    await refused(
        [*requests("m", "a"), *requests("other", "b")],
        "'a' is for m, and 'b' for other",
    )


@pytest.mark.parametrize(
    "option", [{"deadlines": Deadlines(total=3)}, {"max_retries": 2}]
)
async def test_options_of_a_single_call(option: Any) -> None:
    """There is no single call."""
    request = BatchRequest("a", ChatRequest("Hi", "m", **option))
    await refused([request], f"'a' has {next(iter(option))}")


async def test_a_request_that_cannot_be_encoded() -> None:
    """The error is the one of a chat, and says which request it is about."""
    request = ChatRequest("Hi", "gpt-4.1", response_format="json")
    await refused([BatchRequest("a", request)], r"^.*'a': .* needs the word JSON")


async def test_the_loop_goes_on_while_a_batch_is_encoded() -> None:
    """Others have their turn now and then. (event-loop lag)"""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    desk = Desk({f"POST {PATH}": {"id": "b1"}})
    other = asyncio.create_task(count_turns())
    await batches(at(desk, SPEC)).submit(requests(MODEL, *map(str, range(1000))))
    other.cancel()
    assert turns > 10


async def test_warnings_come_once() -> None:
    """What all requests could not have is said once, by the batch. (G5)"""
    desk = Desk({f"POST {PATH}": {"id": "b1"}})
    request = ChatRequest("Hi", MODEL, seed=1)
    batch = await batches(at(desk, SPEC)).submit([
        BatchRequest("a", request),
        BatchRequest("b", request),
    ])
    [warning] = batch.warnings
    assert "seed" in warning


async def test_a_long_upload_has_more_time() -> None:
    """Nothing comes back before all of it is sent."""
    provider = at(Desk({}), SPEC)
    patience = batches(provider)._patience(HTTPRequest("/", b"x" * 2**20))
    assert patience == Deadlines(first_byte=128)
    assert batches(provider)._patience(HTTPRequest("/", {"small": 1})) is None
    endless = Transport(name="x", send=Desk({}), deadlines=Deadlines(first_byte=None))
    provider = evolve(provider, transport=endless)
    assert batches(provider)._patience(HTTPRequest("/", b"x")) is None


@pytest.mark.parametrize("id", ["", "../x", "a b", "a?b", "a#b", "/a", "a//b", "a\n"])
async def test_an_id_that_leads_elsewhere(id: str) -> None:
    """It never becomes a URL. (X3)"""
    desk = Desk({})
    for method in ("get", "cancel"):
        with pytest.raises(InvalidRequestError, match="no id of a batch"):
            await getattr(batches(at(desk, SPEC)), method)(id)
    assert desk.requests == []


# --- results --------------------------------------------------------------------------


async def test_results_come_as_they_arrive() -> None:
    """The second one has not been sent yet when the first one is there."""
    answer = ScriptedAnswer(line("a"), float("inf"))
    _, results = results_of(answer)
    async with aclosing(results):
        assert (await anext(results)).id == "a"
        assert answer.reads == 1
    assert answer.aborted


async def test_nothing_is_kept() -> None:
    """Ten thousand long answers are in memory one by one. (I1)"""
    pieces = (line(str(n), "x" * 1000) for n in range(10_000))
    answer = Endless(pieces)
    _, results = results_of(answer)
    ahead = 0
    n = 0
    async for _ in results:
        n += 1
        ahead = max(ahead, answer.reads - n)
    assert n == 10_000
    assert ahead <= 1


class Endless(ScriptedAnswer):
    """An answer that makes its pieces when they are read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces = iter(pieces)

    async def read(self) -> bytes:
        self.reads += 1
        return next(self._pieces, b"")


async def test_a_download_that_breaks_goes_on() -> None:
    """Each result comes once, from whichever attempt, and whatever the order is then."""
    desk, results = results_of(
        ScriptedAnswer(line("a"), line("b"), StreamInterruptedError("Broken.")),
        ScriptedAnswer(line("b"), line("c"), line("d")[:30]),
        ScriptedAnswer(line("d"), line("c"), line("b"), line("a")),
    )
    assert [r.id async for r in results] == ["a", "b", "c", "d"]
    assert len(desk.requests) == 3


async def test_a_download_that_breaks_at_the_same_place() -> None:
    """An attempt that brings nothing new was the last one. (S4)"""
    broken: list[Answer] = [
        ScriptedAnswer(line("a"), StreamInterruptedError("Broken.")) for _ in range(3)
    ]
    desk, results = results_of(*broken)
    assert (await anext(results)).id == "a"
    with pytest.raises(StreamInterruptedError, match="Broken") as caught:
        await anext(results)
    assert len(desk.requests) == 2
    assert (caught.value.operation, caught.value.provider) == ("batch", "anthropic")


async def test_a_download_that_does_not_begin_is_retried() -> None:
    """As any other request. (R1)"""
    desk, results = results_of(refusal(500), ScriptedAnswer(line("a")))
    assert [r.id async for r in results] == ["a"]
    assert len(desk.requests) == 2


async def test_an_error_in_the_middle_that_is_final() -> None:
    """Closing the client ends it, and nothing is asked again. (C4)"""
    desk, results = results_of(ScriptedAnswer(line("a"), ClosedError("Closed.")))
    assert (await anext(results)).id == "a"
    with pytest.raises(ClosedError):
        await anext(results)
    assert len(desk.requests) == 1


async def test_a_line_that_is_no_json() -> None:
    """The others are not lost with it; at the end it is an error."""
    _, results = results_of(
        ScriptedAnswer(b"rubbish\n", line("a"), b"[1]\n", line("b"))
    )
    found: list[str] = []
    with pytest.raises(ProtocolError, match="2 results of the batch b1") as caught:
        async for result in results:
            found += [result.id]
    assert found == ["a", "b"]
    assert caught.value.context == {"unreadable": 2}


async def test_a_web_page_instead_of_results() -> None:
    """It is an error that says so. (S6)"""
    _, results = results_of(ScriptedAnswer(b"<html>\n<title>Log in</title>\n"))
    with pytest.raises(ProtocolError, match="web page"):
        await anext(results)


async def test_a_batch_that_failed_as_a_whole() -> None:
    """Even where the provider has no way to say so."""
    assert SPEC.batches is not None
    spec = evolve(SPEC, batches=evolve(SPEC.batches, results=lambda _: ()))
    failed = evolve(DONE, status=BatchStatus.FAILED)
    with pytest.raises(BadRequestError, match="b1 failed as a whole"):
        await anext(batches(at(Desk({}), spec)).results(failed))


async def test_no_results() -> None:
    """An empty file is one."""
    _, results = results_of(ScriptedAnswer())
    assert [r async for r in results] == []


async def test_an_answer_that_the_decoder_does_not_understand() -> None:
    """It is that one's error, and the next one comes. (I2)"""
    odd = b'{"custom_id":"a","result":{"type":"succeeded","message":{"content":3}}}\n'
    _, results = results_of(ScriptedAnswer(odd, line("b")))
    a, b = [r async for r in results]
    assert isinstance(a.error, ProtocolError)
    assert b.response is not None


async def test_a_decoder_that_stumbles() -> None:
    """Whatever it raises, callers get an `AIChatError`. (I2)"""

    class Clumsy:
        complete = finished = False

        def decode(self, _: Any, /) -> Any:
            raise NotImplementedError

        def document(self, _: Any, /) -> Any:
            raise KeyError("oops")

        def flush(self) -> Any:
            raise NotImplementedError

    desk = Desk({f"GET {PATH}/b1/results": ScriptedAnswer(line("a"))})
    provider = at(desk, evolve(SPEC, decoder=Clumsy))
    [result] = [r async for r in batches(provider).results(DONE)]
    assert isinstance(result.error, ProtocolError)
    assert result.error.context == {"cause": "KeyError"}


# --- errors ---------------------------------------------------------------------------


async def test_a_batch_that_is_not_there() -> None:
    """A 404 is about the batch, and not about a model."""
    body = b'{"error":{"type":"not_found_error","message":"No batch."}}'
    desk = Desk({
        f"GET {PATH}/b1": refusal(404, body),
        f"POST {PATH}/b1/cancel": refusal(404, body),
        f"GET {PATH}/b1/results": refusal(404, body),
    })
    here = batches(at(desk, SPEC))
    for call in (here.get("b1"), here.cancel("b1"), anext(here.results(DONE))):
        with pytest.raises(BadRequestError, match="No batch") as caught:
            await call
        assert caught.value.status == 404
        assert caught.value.operation == "batch"


async def test_a_wrong_key() -> None:
    """It is named like everywhere, and not shown. (X1)"""
    body = b'{"error":{"message":"Bad key sk-very-secret-key."}}'
    desk = Desk({f"GET {PATH}": refusal(401, body), f"POST {PATH}": refusal(401, body)})
    here = batches(at(desk, SPEC))
    for call in (anext(here.list()), here.submit(requests(MODEL, "a"))):
        with pytest.raises(AuthenticationError) as caught:
            await call
        assert "Bad key ***" in str(caught.value)
        assert caught.value.operation == "batch"


@pytest.mark.parametrize("answer", [[1], {}, {"id": 3}])
async def test_an_answer_that_is_no_batch(answer: Any) -> None:
    """It is no success. (S6)"""
    desk = Desk({f"GET {PATH}/b1": ScriptedAnswer(dumps(answer))})
    with pytest.raises(ProtocolError):
        await batches(at(desk, SPEC)).get("b1")


async def test_an_error_in_a_good_answer() -> None:
    """It is the error that it would have been. (S5)"""
    error = {"type": "error", "error": {"type": "authentication_error", "message": "x"}}
    desk = Desk({f"GET {PATH}/b1": error})
    with pytest.raises(AuthenticationError):
        await batches(at(desk, SPEC)).get("b1")


async def test_a_page_that_does_not_move_on() -> None:
    """A server that gives the same page for ever is left."""
    page = {"data": [{"id": "b1"}], "has_more": True}
    desk = Desk({f"GET {PATH}": page})
    assert len([b async for b in batches(at(desk, SPEC)).list()]) == 2


# --- who takes batches ----------------------------------------------------------------


class Own:
    """Somebody's own, without our transport."""

    name = "own"

    async def submit(self, requests: Iterable[BatchRequest], /) -> Batch:
        return DONE

    async def get(self, id: str, /) -> Batch:
        return DONE

    async def results(self, batch: Batch, /) -> AsyncGenerator[BatchResult, None]:
        yield BatchResult("a", error=ServerError("x"))

    async def cancel(self, id: str, /) -> Batch:
        return DONE

    async def list(self) -> AsyncGenerator[Batch, None]:
        yield DONE


def test_who_takes_batches() -> None:
    """A spec that has them, whoever has the methods, and nobody else."""
    desk = Desk({})
    assert isinstance(batches_of(at(desk, SPEC)), BatchSubmitter)
    own = Own()
    assert batches_of(own) is own
    assert batches_of(at(desk, ollama.SPEC)) is None
    assert at(desk, ollama.SPEC).batches is None
    assert batches_of(FakeProvider([])) is None


# --- small things ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1760000000, 1760000000.0),
        (1.5, 1.5),
        ("2026-10-01T10:00:00Z", 1790848800.0),
        ("2026-10-01T12:00:00.123456789+02:00", 1790848800.123456),
        ("yesterday", None),
        (True, None),
        (None, None),
    ],
)
def test_points_in_time(value: Any, wanted: float | None) -> None:
    """In every form that somebody uses."""
    assert seconds(value) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"), [(3, 3), ("3", 3), ("x", None), (True, None), (None, None)]
)
def test_numbers_of_things(value: Any, wanted: int | None) -> None:
    """In protobuf's JSON they are texts."""
    assert count(value) == wanted
