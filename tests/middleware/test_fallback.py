"""`fallback`: who answers, who is asked, and what is said about it."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator

import pytest

from aichat import (
    AIChatError,
    ChatRequest,
    Client,
    ClientConfig,
    ClosedError,
    ConfigError,
    DeadlineError,
    Deadlines,
    Handler,
    InvalidRequestError,
    Message,
    ProviderUnavailableError,
    RateLimitError,
    ResponseEnd,
    ResponseStart,
    ServerError,
    SpendLimitError,
    StreamChunk,
    StreamInterruptedError,
    TextDelta,
    UsageUpdate,
    assistant,
    compose,
    user,
)
from aichat.middleware._fallback import fallback
from aichat.providers import anthropic, openai
from aichat.testing import FakeProvider, Simulator, reply
from aichat.transport import listening
from aichat.types import (
    FinishReason,
    ProviderState,
    ReasoningPart,
    TextPart,
    Usage,
    fold,
)

from ..simulated import KEY
from ..transport.toys import now, virtual
from .models import Call, Models, saying, tasks

REQUEST = ChatRequest("Hi", "a:m")


async def test_the_first_one_answers() -> None:
    """Nobody else is asked, and nothing is said about it. (B2)"""
    models = Models({"a:m": saying("Hello")})
    call = Call(models, fallback("b:m"))
    chunks = await call.read(REQUEST)
    assert chunks == reply("Hello")
    assert models.asked == ["a:m"]
    assert models.requests[0] is REQUEST
    assert call.events == []


async def test_the_next_one_answers() -> None:
    """It is told to who listens, and the answer says so itself. (B2)"""
    models = Models({
        "a:m": [
            ResponseStart(id="never"),
            UsageUpdate(Usage(input_tokens=3)),
            ServerError("Oh."),
        ],
        "b:m": saying("Hello"),
    })
    call = Call(models, fallback("b:m"))
    response = fold(await call.read(REQUEST))
    assert response.text == "Hello"
    assert response.id is None
    assert response.usage.input_tokens is None
    assert response.warnings == ("Answered by b:m, since a:m failed: server_error.",)
    [event] = call.events
    assert (event.kind, event.provider, event.model) == ("rerouted", "b", "b:m")
    assert isinstance(event.error, ServerError)


async def test_a_stream_without_a_start_gets_one() -> None:
    """Whoever answers without an introduction is introduced. (B2, S1)"""
    models = Models({
        "a:m": [RateLimitError("Later.")],
        "b:m": [TextDelta("Hello"), ResponseEnd(FinishReason.STOP)],
    })
    chunks = await Call(models, fallback("b:m")).read(REQUEST)
    warning = "Answered by b:m, since a:m failed: rate_limit."
    assert chunks[0] == ResponseStart(warnings=(warning,), rerouted_to="b:m")


async def test_warnings_of_the_one_that_answers_stay() -> None:
    """Ours comes after its own. (B2, G5)"""
    start = ResponseStart(warnings=("No seed.",))
    models = Models({"a:m": [ServerError("Oh.")], "b:m": [start, *reply("Hi")[1:]]})
    response = fold(await Call(models, fallback("b:m")).read(REQUEST))
    assert response.warnings[0] == "No seed."
    assert len(response.warnings) == 2


async def test_no_answer_at_all_stays_none() -> None:
    """An empty stream is not made to look like the beginning of an answer. (S4)"""
    models = Models({"a:m": [ServerError("Oh.")], "b:m": []})
    handler = fallback("b:m")
    assert [c async for c in handler(REQUEST, models)] == []


async def test_all_fail() -> None:
    """The last error comes out, and tells of the others, also after its way home. (B2, R2)"""
    models = Models({
        "a:m": [RateLimitError("Later.", attempts=3)],
        "b:m": [ServerError("Oh.", attempts=2)],
        "c:m": [ProviderUnavailableError("Away.", attempts=1)],
    })
    call = Call(models, fallback("b:m", "c:m"))
    with pytest.raises(ProviderUnavailableError) as caught:
        await call.read(REQUEST)
    error: AIChatError = pickle.loads(pickle.dumps(caught.value))
    assert error.attempts == 6
    assert error.context["fallback"] == (("a:m", "rate_limit"), ("b:m", "server_error"))
    assert str(error) == (
        "Away. (Before that, a:m failed: rate_limit, b:m failed: server_error.)"
    )
    assert error.__context__ is None
    assert [event.model for event in call.events] == ["b:m", "c:m"]


async def test_nobody_knows_how_many_requests_there_were() -> None:
    """What is unknown is not 0."""
    models = Models({"a:m": [ServerError("Oh.")], "b:m": [ServerError("Oh.")]})
    with pytest.raises(ServerError) as caught:
        await Call(models, fallback("b:m")).read(REQUEST)
    assert caught.value.attempts is None


async def test_one_inside_another() -> None:
    """The facts of both are there, in the order of the asking."""
    models = Models({f"{n}:m": [ServerError("Oh.", attempts=1)] for n in "abcd"})
    with pytest.raises(ServerError) as caught:
        await Call(models, fallback("c:m"), fallback("b:m")).read(REQUEST)
    # b:m comes in for c:m as well.
    assert models.asked == ["a:m", "b:m", "c:m", "b:m"]
    assert caught.value.attempts == 4
    assert [name for name, _ in caught.value.context["fallback"]] == ["a:m", "c:m"]


async def test_no_fallback_after_the_first_word() -> None:
    """Once something has been said, the error is the caller's. (B2, R1)"""
    models = Models({
        "a:m": [ServerError("Oh.", attempts=1)],
        "b:m": [*reply("Hello")[:-1], StreamInterruptedError("Cut.", attempts=1)],
        "c:m": saying("Never."),
    })
    call = Call(models, fallback("b:m", "c:m"))
    with pytest.raises(StreamInterruptedError) as caught:
        await call.read(REQUEST)
    assert models.asked == ["a:m", "b:m"]
    assert TextDelta("Hello") in call.chunks
    assert caught.value.attempts == 2


@pytest.mark.parametrize(
    "error",
    [ClosedError("x"), SpendLimitError("x"), DeadlineError("x", phase="total")],
    ids=lambda error: type(error).__name__,
)
async def test_what_would_meet_every_model_alike(error: AIChatError) -> None:
    """The client is closed, the money is spent, the time is up. (B2, D3)"""
    models = Models({"a:m": [error], "b:m": saying("Never.")})
    with pytest.raises(type(error)):
        await Call(models, fallback("b:m")).read(REQUEST)
    assert models.asked == ["a:m"]


async def test_when_decides() -> None:
    """An error that is not worth another model comes out at once. (B2)"""
    models = Models({
        "a:m": [RateLimitError("Later.")],
        "b:m": [ServerError("Oh.")],
        "c:m": saying("Never."),
    })
    patient = fallback("b:m", "c:m", when=lambda e: isinstance(e, RateLimitError))
    with pytest.raises(ServerError) as caught:
        await Call(models, patient).read(REQUEST)
    assert models.asked == ["a:m", "b:m"]
    assert caught.value.context["fallback"] == (("a:m", "rate_limit"),)


async def test_what_is_no_error_of_ours_passes() -> None:
    """A bug is not cured by another model."""
    models = Models({"a:m": [LookupError("bug")], "b:m": saying("Never.")})
    with pytest.raises(LookupError):
        await Call(models, fallback("b:m")).read(REQUEST)
    assert models.asked == ["a:m"]


async def test_a_model_is_asked_once() -> None:
    """One that the request names already is not asked again. (R2)"""
    models = Models({"a:m": [ServerError("Oh.")], "b:m": [ServerError("Oh.")]})
    with pytest.raises(ServerError):
        await Call(models, fallback("a:m", "b:m")).read(ChatRequest("Hi", "b:m"))
    assert models.asked == ["b:m", "a:m"]


async def test_the_options_go_along() -> None:
    """Only the model changes. (B2)"""
    request = ChatRequest("Hi", "a:m", temperature=0.3, max_retries=1, user="u")
    models = Models({"a:m": [ServerError("Oh.")], "b:m": saying("Hi")})
    await Call(models, fallback("b:m")).read(request)
    second = models.requests[1]
    assert (second.temperature, second.max_retries, second.user) == (0.3, 1, "u")
    assert second.messages is request.messages


@virtual
async def test_the_failed_one_is_over_before_the_next_begins() -> None:
    """Its connection and permit are free for it. (B2, C1)"""
    models = Models({"a:m": [2.0, ServerError("Oh.")], "b:m": saying("Hi", after=1.0)})

    async def careless(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        async for chunk in call_next(request):
            yield chunk

    active: list[int] = []

    async def watched(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        active.append(models.active)
        async for chunk in call_next(request):
            yield chunk

    await Call(models, fallback("b:m"), watched, careless).read(REQUEST)
    assert active == [0, 0]
    assert models.at == [0.0, 2.0]
    assert models.left == [("a:m", 2.0), ("b:m", 3.0)]


@virtual
async def test_one_total_for_all() -> None:
    """The next model has what the one before has left of it. (D3)"""
    request = ChatRequest("Hi", "a:m", deadlines=Deadlines(total=10))
    models = Models({"a:m": [4.0, ServerError("Oh.")], "b:m": saying("Hi")})
    await Call(models, fallback("b:m")).read(request)
    totals = [r.deadlines.limit("total") for r in models.requests if r.deadlines]
    assert totals == [10.0, 6.0]


@virtual
async def test_nothing_is_left_of_the_total() -> None:
    """Nobody is asked for an answer that would come too late. (D3)"""
    request = ChatRequest("Hi", "a:m", deadlines=Deadlines(total=3))
    models = Models({"a:m": [3.0, ServerError("Oh.", attempts=1)], "b:m": []})
    with pytest.raises(DeadlineError) as caught:
        await Call(models, fallback("b:m")).read(request)
    assert caught.value.phase == "total"
    assert caught.value.context["fallback"] == (("a:m", "server_error"),)
    assert caught.value.attempts == 1
    assert (models.asked, now()) == (["a:m"], 3.0)


@virtual
async def test_leaving_at_every_chunk() -> None:
    """Wherever the consumer goes, nothing is left. (C1)"""
    for index in range(1, len(reply("one two three")) + 1):
        models = Models({
            "a:m": [ServerError("Oh.")],
            "b:m": saying("one two three", pace=1.0),
        })
        stream = compose([fallback("b:m")], models)(REQUEST)
        for _ in range(index):
            await anext(stream)
        await stream.aclose()
        assert (models.active, tasks()) == (0, 0)


@virtual
async def test_being_cancelled_while_either_is_asked() -> None:
    """The cancellation passes, and asks nobody else. (C2)"""
    for moment, asked in ((0.5, ["a:m"]), (1.5, ["a:m", "b:m"])):
        models = Models({
            "a:m": [1.0, ServerError("Oh.")],
            "b:m": saying("Hi", after=1.0),
            "c:m": saying("Never."),
        })
        reader = asyncio.create_task(Call(models, fallback("b:m", "c:m")).read(REQUEST))
        await asyncio.sleep(moment)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert models.asked == asked
        assert models.active == 0


@pytest.mark.parametrize(
    ("models", "why"),
    [
        ((), "at least one model"),
        (("a:m", "b:m", "a:m"), "names a:m more than once"),
        (("",), "got ''"),
        ((["a:m", "b:m"],), r"got \['a:m', 'b:m'\]"),
    ],
)
def test_models_that_make_no_sense(models: tuple[str, ...], why: str) -> None:
    """They are refused when it is made, and not when the first one fails. (G4)"""
    with pytest.raises(ConfigError, match=why):
        fallback(*models)


async def test_a_bare_name_belongs_to_the_default_provider() -> None:
    """The client completes it where it is asked."""
    fake = FakeProvider([ServerError("Oh."), "Hello"])
    async with Client(
        {"fake": fake}, model="fake:m", middleware=[fallback("n")]
    ) as client:
        response = await client.complete("Hi")
    assert [request.model for request in fake.requests] == ["fake:m", "fake:n"]
    assert response.warnings == ("Answered by n, since fake:m failed: server_error.",)


async def test_a_provider_that_is_not_there() -> None:
    """It fails like any other, although it never began. (B2)"""
    fake = FakeProvider([ServerError("Oh.")])
    async with Client({"fake": fake}, middleware=[fallback("nobody:n")]) as client:
        with pytest.raises(InvalidRequestError, match="no provider 'nobody'"):
            await client.complete("Hi", model="fake:m")
        first = FakeProvider(["Hello"], name="b")
        other = Client({"b": first}, middleware=[fallback("b:m")])
        assert (await other.complete("Hi", model="gone:m")).text == "Hello"


def conversation() -> tuple[Message, ...]:
    """One that Anthropic has signed."""
    signed = ReasoningPart(
        "I think.", provider_state=ProviderState("anthropic", {"signature": "c2ln"})
    )
    return user("Hi"), assistant(signed, TextPart("Hello.")), user("Go on.")


async def test_provider_bound_state_stays_with_its_provider() -> None:
    """The prompt is untouched; the next encoder leaves out what only the first knows. (B2, S9)"""
    models = Models({
        "anthropic:claude-opus-5": [ServerError("Oh.")],
        "openai:gpt-6-sol": saying("Hi"),
    })
    request = ChatRequest(conversation(), "anthropic:claude-opus-5", max_tokens=99)
    await Call(models, fallback("openai:gpt-6-sol")).read(request)
    first, second = models.requests
    assert second.messages == request.messages
    assert "c2ln" in str(anthropic.SPEC.encode_request(first).body)
    sent = str(openai.SPEC.encode_request(second).body)
    assert "c2ln" not in sent
    assert "Hello." in sent


async def test_over_the_wire() -> None:
    """A server that is down, and another dialect in its stead; a pool of one does. (B2, C1)"""
    async with Simulator() as sim:
        config = ClientConfig(
            provider="anthropic",
            model="claude-opus-5",
            api_key=KEY,
            base_url=sim.base_url("anthropic"),
            max_retries=1,
            retry_backoff=0.0,
            max_connections=1,
        )
        client = Client.from_config(
            config,
            middleware=[fallback("openai:gpt-6-sol")],
            environ={
                "OPENAI_API_KEY": KEY,
                "OPENAI_BASE_URL": sim.base_url("openai"),
            },
        )
        sim.fail_next("error_event", times=2)
        events: list[str] = []
        async with client:
            with listening(lambda event: events.append(event.kind)):
                response = await client.complete("Hi", max_tokens=100)
            assert response.text
            assert response.provider == "openai"
            assert [r.dialect for r in sim.requests] == ["anthropic"] * 2 + ["openai"]
            assert sim.requests[-1].has_key
            [warning] = response.warnings
            assert warning.startswith("Answered by openai:gpt-6-sol, since anthropic:")
            assert events[-2:] == ["rerouted", "attempt"]
