"""`Client`: requests, dispatch, middleware, health, closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from aichat import (
    AuthenticationError,
    ChatRequest,
    Client,
    ClosedError,
    ConfigError,
    Deadlines,
    Handler,
    InvalidRequestError,
    StreamChunk,
    ToolLoopError,
    assistant,
    system,
    user,
)
from aichat.middleware import cache
from aichat.testing import FakeProvider, reply, tool_call


def fakes() -> tuple[FakeProvider, FakeProvider, Client]:
    a, b = FakeProvider(["from a"], name="a"), FakeProvider(["from b"], name="b")
    return a, b, Client({"a": a, "b": b}, model="a:first")


async def test_complete_is_the_fold_of_the_stream() -> None:
    """Both roads lead to the same answer. (S2)"""
    provider = FakeProvider([reply("Hello, world!")], repeat=True)
    client = Client({"fake": provider}, model="fake:m")
    streamed = await client.stream("Hi").response()
    assert await client.complete("Hi") == streamed
    assert streamed.text == "Hello, world!"


async def test_the_model_names_the_provider() -> None:
    """`provider:name`, and a bare name belongs to the default one. (G2)"""
    a, b, client = fakes()
    assert (await client.complete("Hi", model="b:second")).text == "from b"
    assert (await client.complete("Hi", model="third")).text == "from a"
    assert b.requests[0].model == "b:second"
    assert a.requests[0].model == "a:third"


async def test_the_default_model_is_used_when_none_is_named() -> None:
    """`Client(model=…)` is what a request without a model asks."""
    a, _, client = fakes()
    await client.complete("Hi")
    assert a.requests[0].model_name == "first"


async def test_the_first_colon_divides() -> None:
    """Model names may have colons of their own."""
    a, _, client = fakes()
    await client.complete("Hi", model="a:llama3:8b")
    assert a.requests[0].model_name == "llama3:8b"


async def test_no_model_anywhere() -> None:
    """It says how to name one, before anything is sent. (G4)"""
    client = Client({"fake": FakeProvider(["x"])})
    with pytest.raises(InvalidRequestError, match="No model is named"):
        client.stream("Hi")


async def test_an_unknown_provider_lists_the_known_ones() -> None:
    """The error names what there is. (G4)"""
    _, _, client = fakes()
    with pytest.raises(
        InvalidRequestError, match=r"no provider 'c' here\..* a:c:…; there are: a, b\."
    ):
        await client.complete("Hi", model="c:x")


def test_a_misspelt_option_is_named_with_its_neighbour() -> None:
    """Type checkers reject it as well; this is for those without one."""
    _, _, client = fakes()
    options: dict[str, Any] = {"temprature": 1}
    with pytest.raises(TypeError, match="Did you mean 'temperature'"):
        client.stream("Hi", **options)
    options = {"zzz": 1}
    with pytest.raises(TypeError, match=r"no option 'zzz'\. What only one provider"):
        client.stream("Hi", **options)


async def test_a_prompt_is_a_text_messages_or_a_request() -> None:
    """All three arrive as a `ChatRequest`; options change a copy of it."""
    provider = FakeProvider(["x"], repeat=True)
    client = Client({"fake": provider}, model="fake:m")
    request = ChatRequest("Hi", "fake:other", temperature=0.5)
    await client.complete("Hi")
    await client.complete([system("Be brief."), user("Hi")])
    await client.complete(user("Hi"))
    await client.complete(request)
    await client.complete(request, temperature=1)
    got = provider.requests
    assert [len(r.messages) for r in got] == [1, 2, 1, 1, 1]
    assert got[3] == request
    assert (got[4].model, got[4].temperature) == ("fake:other", 1)
    assert request.temperature == 0.5


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"timeout": 30}, Deadlines(connect=30, first_byte=30, idle=30)),
        ({"timeout": None}, Deadlines(connect=None, first_byte=None, idle=None)),
        ({"deadlines": 5}, Deadlines(connect=5, first_byte=5, idle=5)),
        ({"deadlines": Deadlines(total=9)}, Deadlines(total=9)),
        (
            {"timeout": 30, "deadlines": Deadlines(idle=7, total=9)},
            Deadlines(connect=30, first_byte=30, idle=7, total=9),
        ),
        (
            {"timeout": 30, "deadlines": 5},
            Deadlines(connect=5, first_byte=5, idle=5),
        ),
    ],
)
async def test_timeouts_and_deadlines(
    options: dict[str, Any], wanted: Deadlines
) -> None:
    """`timeout=30` alone means connect, first_byte and idle. (D1)"""
    _, _, client = fakes()
    assert client.stream("Hi", **options).request.deadlines == wanted


async def test_middleware_goes_around_the_provider_in_order() -> None:
    """The first of the list is outermost; `use` puts the last named one outermost."""
    order: list[str] = []

    def named(name: str) -> Any:
        async def middleware(
            request: ChatRequest, call_next: Handler
        ) -> AsyncGenerator[StreamChunk, None]:
            order.append(name)
            async for chunk in call_next(request):
                yield chunk

        return middleware

    client = Client(
        {"fake": FakeProvider(["x"], repeat=True)},
        model="fake:m",
        middleware=[named("1"), named("2")],
    )
    await client.complete("Hi")
    assert order == ["1", "2"]
    order.clear()
    await client.use(named("3"), named("4")).complete("Hi")
    assert order == ["4", "3", "1", "2"]


async def test_middleware_sees_the_full_address_and_may_change_it() -> None:
    """A changed model goes to its own provider."""

    async def elsewhere(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        assert request.model == "a:first"
        async for chunk in call_next(ChatRequest("Other", "b:x")):
            yield chunk

    a, b, _ = fakes()
    client = Client({"a": a, "b": b}, model="first", middleware=[elsewhere])
    assert (await client.complete("Hi")).text == "from b"
    assert a.requests == []


async def test_with_provider() -> None:
    """One provider under its own name."""
    client = Client.with_provider(FakeProvider(["x"], name="solo"), model="m")
    assert (await client.complete("Hi")).text == "x"


def test_a_client_without_providers() -> None:
    """It says so at once. (G4)"""
    with pytest.raises(ConfigError, match="at least one provider"):
        Client({})


class Clinic(FakeProvider):
    """A provider that knows how it is."""

    def __init__(self, error: AuthenticationError | None = None) -> None:
        super().__init__(["x"])
        self.error = error
        self.closed = 0

    async def health(self) -> bool:
        if self.error:
            raise self.error
        return True

    async def aclose(self) -> None:
        self.closed += 1


async def test_health_is_told_per_provider() -> None:
    """Well, ill, and unable to tell."""
    ill = AuthenticationError("Wrong key.")
    providers = {"well": Clinic(), "ill": Clinic(ill), "mute": FakeProvider(["x"])}
    health = await Client(providers, model="well:m").health()
    assert {name: h.ok for name, h in health.items()} == {
        "well": True,
        "ill": False,
        "mute": None,
    }
    assert health["ill"].error is ill
    assert health["well"].latency >= 0
    only = await Client(providers, model="well:m").health("ill")
    assert list(only) == ["ill"]
    with pytest.raises(InvalidRequestError, match="no provider 'nobody'"):
        await Client(providers, model="well:m").health("nobody")


async def test_closing_refuses_new_calls_and_is_idempotent() -> None:
    """Use after close is an error. (C4)"""
    clinic = Clinic()
    client = Client({"c": clinic}, model="c:m")
    early = client.stream("Hi")
    async with client:
        pass
    await client.aclose()
    assert clinic.closed >= 1
    assert "closed" in repr(client)
    with pytest.raises(ClosedError):
        await client.complete("Hi")
    with pytest.raises(ClosedError):
        await early.response()
    assert clinic.requests == []


async def test_closing_ends_calls_that_wait_in_a_middleware() -> None:
    """No provider knows of them, so no provider could tell them. (C4)"""

    async def patient(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        await asyncio.Event().wait()
        async for chunk in call_next(request):
            yield chunk

    client = Client({"f": FakeProvider([])}, model="f:m", middleware=[patient])
    calls = [asyncio.create_task(client.complete("Hi")) for _ in range(3)]
    await asyncio.sleep(0)
    cancelled = calls.pop()
    cancelled.cancel()
    await client.aclose()
    for call in calls:
        with pytest.raises(ClosedError):
            await call
        assert not call.cancelled()
        assert call.cancelling() == 0
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert client._under_way == set()


async def test_a_closed_client_has_no_answers_left() -> None:
    """Not even those that it knows without asking anybody. (C4)"""
    provider = FakeProvider([reply("Hello!")])
    client = Client({"f": provider}, model="f:m", middleware=[cache()])
    await client.complete("Hi")
    assert (await client.complete("Hi")).from_cache
    await client.aclose()
    with pytest.raises(ClosedError):
        await client.complete("Hi")


async def test_closing_leaves_a_consumer_at_its_work() -> None:
    """Who is not waiting for a chunk is not disturbed, and finds out with the next. (C4)"""
    client = Client({"f": FakeProvider([reply("Hello, world!")])}, model="f:m")
    stream = client.stream("Hi")
    await anext(stream)
    await client.aclose()
    await asyncio.sleep(0)
    assert (await stream.response()).text == "Hello, world!"
    assert client._under_way == set()


async def test_closing_ends_calls_of_other_loops() -> None:
    """Each in its own thread. (C4, C5)"""
    waiting, ended = threading.Event(), list[BaseException]()

    async def patient(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        waiting.set()
        await asyncio.Event().wait()
        async for chunk in call_next(request):
            yield chunk

    client = Client({"f": FakeProvider([])}, model="f:m", middleware=[patient])

    def elsewhere() -> None:
        try:
            asyncio.run(client.complete("Hi"))
        except ClosedError as error:
            ended.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert waiting.wait(5)
    # It may be on its way to the event still.
    while thread.is_alive():
        await client.aclose()
        thread.join(0.01)
    assert len(ended) == 1


async def test_a_request_is_checked_before_a_stream_exists() -> None:
    """What makes no sense fails at the call, not at the first pull. (G4)"""
    _, _, client = fakes()
    with pytest.raises(InvalidRequestError, match="Message 1 is the last one"):
        client.stream([user("Hi"), assistant("Well,")])
    with pytest.raises(InvalidRequestError, match="temperature must be 0 to 2"):
        client.stream("Hi", temperature=3)


def test_a_client_works_in_several_loops_one_after_the_other() -> None:
    """Nothing in it is bound to a loop. (C5)"""
    client = Client({"fake": FakeProvider(["one", "two"])}, model="fake:m")

    async def ask() -> str:
        return (await client.complete("Hi")).text

    assert anyio.run(ask) == "one"
    assert anyio.run(ask) == "two"


async def test_the_builder_sends_what_was_said() -> None:
    """Step by step comes out as the same request, and every step is a new builder."""
    provider = FakeProvider(["x"], repeat=True)
    client = Client({"fake": provider}, model="fake:m")
    base = client.request().system("Be brief.")
    asked = base.user("Hi").temperature(0.7).max_tokens(5).model("fake:other")
    response = await asked.complete()
    assert response.text == "x"
    assert provider.requests[0] == ChatRequest(
        [system("Be brief."), user("Hi")], "fake:other", temperature=0.7, max_tokens=5
    )
    assert (await base.user("Ho").do()).text == "x"
    assert len(provider.requests[1].messages) == 2
    assert [t async for t in asked.options(seed=1).stream().text()] == ["x"]
    assert provider.requests[2].seed == 1


def test_the_builder_puts_off_its_errors() -> None:
    """Nothing is checked before it is sent or built."""
    _, _, client = fakes()
    wrong = client.request().user("Hi").temperature(9)
    with pytest.raises(InvalidRequestError, match="temperature"):
        wrong.build()
    with pytest.raises(InvalidRequestError, match="no messages"):
        client.request().stream()


async def test_the_builder_asks_for_a_type() -> None:
    """In any place among the steps; then it sends what has the schema in it."""
    fake = FakeProvider(["3", '{"value": 3}'], repeat=True)
    client = Client({"fake": fake}, model="fake:m")
    asked = client.request().response_type(int, repair=1).user("How many?")
    response = await asked.temperature(0).complete()
    assert response.parsed == 3
    assert len(response.rounds) == 2
    first = fake.requests[0]
    assert first == asked.temperature(0).build()
    assert first.response_format is not None
    assert (await asked.do()).parsed == 3
    assert await asked.stream_object().parsed() == 3
    fake.requests.clear()
    assert (await asked.stream().response()).text == "3"
    assert fake.requests == [asked.build()]
    with pytest.raises(InvalidRequestError, match="repair must be"):
        client.request().user("Hi").response_type(int, repair=-1).build()


async def test_the_builder_calls_tools() -> None:
    """Functions as they are, and a value at the end."""

    def look() -> str:
        """Look."""
        return "Nothing."

    script = [reply(tool_calls=[tool_call("look")]), reply('{"value": 3}')]
    fake = FakeProvider(script, repeat=True)
    asked = Client({"fake": fake}, model="fake:m").request().user("Hi").tools(look)
    assert (await asked.run(max_rounds=2)).text == '{"value": 3}'
    assert (await asked.run_stream().result()).rounds == 2
    typed = asked.response_type(int)
    assert (await typed.run(max_rounds=2)).parsed == 3
    assert (await typed.run_stream().result()).parsed == 3
    assert [tool.name for tool in asked.build().tools] == ["look"]
    with pytest.raises(ToolLoopError):
        await typed.run(max_rounds=1)


def test_the_builder_knows_tools_and_results() -> None:
    """A whole tool turn can be said."""
    from aichat import Tool, ToolCallPart

    _, _, client = fakes()
    call = ToolCallPart("c1", "look", "{}")
    built = (
        client
        .request()
        .user("Look!")
        .assistant("Well: ", call)
        .tool_result(call, "Nothing there.", is_error=True)
        .tools(Tool("look"))
        .tools(Tool("hear"))
        .build()
    )
    assert [m.role for m in built.messages] == ["user", "assistant", "tool"]
    assert [t.name for t in built.tools] == ["look", "hear"]
