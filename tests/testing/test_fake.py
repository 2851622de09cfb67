"""FakeProvider plays its script, and nothing but its script."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from aichat.errors import ConfigError, RateLimitError
from aichat.testing import FakeProvider, check_provider, check_stream, reply, tool_call
from aichat.testing._fake import Reply
from aichat.types import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    Message,
    Role,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    Usage,
    assistant,
    collect,
    fold,
    tool_result,
    user,
)

HELLO = ChatRequest("Hello?", "fake:some-model")


async def ask(provider: FakeProvider, request: ChatRequest = HELLO) -> ChatResponse:
    async with aclosing(check_stream(provider.stream(request))) as stream:
        return await collect(stream)


async def test_a_text_is_streamed_word_by_word() -> None:
    """
    The pieces are words, and put together they are the text.
    """
    chunks = [chunk async for chunk in FakeProvider(["One  two\nthree "]).stream(HELLO)]

    assert [c.text for c in chunks if isinstance(c, TextDelta)] == [
        "One",
        "  two",
        "\nthree",
        " ",
    ]
    assert fold(chunks).text == "One  two\nthree "
    assert fold(chunks).model == "some-model"


async def test_replies_are_played_in_order_and_the_requests_kept() -> None:
    """
    Request n gets reply n, and the provider remembers what it was asked.
    """
    provider = FakeProvider(["first", "second"])
    other = ChatRequest("And now?", "fake:other")

    answers = [(await ask(provider)).text, (await ask(provider, other)).text]

    assert answers == ["first", "second"]
    assert provider.requests == [HELLO, other]


async def test_a_script_that_has_run_out_says_so() -> None:
    """
    One request more than replies is a mistake in the test, and a clear one.
    """
    provider = FakeProvider(["only one"])
    await ask(provider)

    with pytest.raises(ConfigError, match=r"run out.*repeat=True"):
        await ask(provider)


async def test_repeat_begins_the_script_anew() -> None:
    """
    With repeat=True there is always a reply.
    """
    provider = FakeProvider(["a", "b"], repeat=True)

    assert [(await ask(provider)).text for _ in range(5)] == ["a", "b", "a", "b", "a"]


async def test_an_exception_is_raised_instead_of_an_answer() -> None:
    """
    It comes with the facts that a provider adds, and without spoiling the one in the script.
    """
    error = RateLimitError("Slow down.", retry_after=2)
    provider = FakeProvider([error], repeat=True)

    for _ in range(2):
        with pytest.raises(RateLimitError) as caught:
            await ask(provider)
        assert caught.value.retry_after == 2
        assert caught.value.provider == "fake"
        assert caught.value.model == "some-model"
        assert caught.value.retryable
        caught.value.given_up()
    assert error.provider is None


@pytest.mark.parametrize("item", [TimeoutError, TimeoutError("Nobody there.")])
async def test_any_exception_will_do(item: Reply) -> None:
    """
    Not only our own: an application may want to see how it copes with a bug.
    """
    with pytest.raises(TimeoutError):
        await ask(FakeProvider([item]))


async def test_an_exception_among_chunks_is_raised_at_that_point() -> None:
    """
    What stands before it has been said.
    """
    said: list[StreamChunk] = []
    provider = FakeProvider([[TextDelta("Hel"), RateLimitError("Enough.")]])

    async def read() -> None:
        async for chunk in provider.stream(HELLO):
            said.append(chunk)  # noqa: PERF401 -- what was said before the error counts

    with pytest.raises(RateLimitError, match="Enough"):
        await read()

    assert said == [TextDelta("Hel")]


async def test_a_function_answers_from_the_request() -> None:
    """
    It may return any other kind of reply, also another function.
    """

    def echo(request: ChatRequest) -> Reply:
        return lambda _: f"You said: {request.messages[-1].text}"

    assert (await ask(FakeProvider([echo]))).text == "You said: Hello?"


async def test_a_response_is_unfolded() -> None:
    """
    What was saved from a real provider comes back as it was.
    """
    response = ChatResponse(
        message=Message(Role.ASSISTANT, ["Hi", tool_call("f", x=1)]),
        finish_reason=FinishReason.TOOL_CALLS,
        usage=Usage(input_tokens=3, output_tokens=4),
        id="abc",
    )

    assert await ask(FakeProvider([response])) == response


async def test_leaving_early_is_noticed() -> None:
    """
    `active` counts the streams that are neither ended nor closed, so that a test can see
    whether its application closes what it opens.
    """
    provider = FakeProvider(["a long answer"])
    stream = provider.stream(HELLO)
    assert provider.active == 0

    await anext(stream)
    assert provider.active == 1

    await stream.aclose()
    assert provider.active == 0


def chunks_once() -> Iterator[StreamChunk]:
    yield from reply("once")


@pytest.mark.parametrize(
    ("replies", "options", "message"),
    [
        ("Hi", {}, "list of replies"),
        (reply("Hi"), {}, "list of replies"),
        ([ChatResponse(message=assistant("Hi"))], {}, "Reply 1 is a partial"),
        ([chunks_once()], {"repeat": True}, "plays only once"),
        ([], {"repeat": True}, "nothing to repeat"),
    ],
)
def test_a_script_that_cannot_work_is_refused(
    replies: Any, options: dict[str, Any], message: str
) -> None:
    """
    The mistakes that are easily made are found when the fake is made.
    """
    with pytest.raises(ConfigError, match=message):
        FakeProvider(replies, **options)


async def test_an_iterator_plays_once() -> None:
    """
    Without repeat, an iterator of chunks is as good as a list.
    """
    assert (await ask(FakeProvider([chunks_once()]))).text == "once"


async def test_a_reply_of_another_kind_is_refused() -> None:
    """
    Also when it comes out of a function, which nobody could check before.
    """
    wrong: Any = 42
    with pytest.raises(ConfigError, match="cannot reply with int"):
        await ask(FakeProvider([lambda _: wrong]))


def test_reply_holds_reasoning_text_and_calls_in_order() -> None:
    """
    The chunks keep to the grammar, and the calls are a reason to stop.
    """
    usage = Usage(input_tokens=9, output_tokens=9, reasoning_tokens=2)
    call = tool_call("get_weather", city="Paris", days=3)

    response = fold(
        check_stream(
            reply(
                "Let me look.",
                reasoning="Hm, weather.",
                tool_calls=[call, tool_call("now")],
                usage=usage,
                model="m",
            )
        )
    )

    assert response.reasoning == "Hm, weather."
    assert response.text == "Let me look."
    assert response.tool_calls[0] == call
    assert response.tool_calls[1].parse() == {}
    assert response.finish_reason is FinishReason.TOOL_CALLS
    assert response.usage == usage
    assert response.model == "m"


def test_reply_may_end_for_any_reason() -> None:
    """
    A finish reason that is given wins.
    """
    response = fold(reply("Once upon a", finish_reason="length"))

    assert response.finish_reason is FinishReason.LENGTH


def test_reply_without_words_brings_each_part_whole() -> None:
    """
    One chunk per part, for tests that count chunks.
    """
    call = tool_call("search", query="a question that is long enough to be cut")

    whole = reply("a b c", tool_calls=[call], words=False)
    pieces = reply("a b c", tool_calls=[call])

    assert len(whole) == 4
    assert len([c for c in pieces if isinstance(c, ToolCallDelta)]) > 2
    assert fold(whole).message == fold(pieces).message


def test_an_empty_reply_ends_at_once() -> None:
    """
    Models do that, and applications should cope with it.
    """
    assert fold(check_stream(reply())).message.content == ()


def test_tool_calls_have_ids_of_their_own() -> None:
    """
    Two calls of one function differ; an id that is given is kept, and so is an argument
    that is called id.
    """
    one, two = tool_call("f"), tool_call("f")
    given = tool_call("f", "call_x", id=7)

    assert one.id != two.id
    assert given.id == "call_x"
    assert given.parse() == {"id": 7}
    ChatRequest([user("?"), assistant(one, two), *map(tool_answer, (one, two))])


def tool_answer(call: Any) -> Message:
    return tool_result(call, "done")


async def test_the_fake_keeps_the_contract() -> None:
    """
    S1: it is a provider like any other.
    """
    response = await check_provider(FakeProvider(["Hello!"], repeat=True), HELLO)

    assert response.text == "Hello!"


async def test_it_fits_where_a_provider_is_wanted() -> None:
    """
    The stream is an async generator, which its consumer closes.
    """
    assert isinstance(FakeProvider(["x"]).stream(HELLO), AsyncGenerator)
    assert repr(FakeProvider(["x"])) == "<FakeProvider 'fake': 1 replies, 0 requests>"


def test_the_fake_does_not_import_aiohttp() -> None:
    """
    Tests that need no server do not wait for one to be imported.
    """
    code = "import sys, aichat.testing; sys.exit('aiohttp' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
