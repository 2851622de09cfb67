"""OpenAI's form of server-sent events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import openai
import pytest
from aiohttp import web
from hypothesis import given
from openai.types.chat import ChatCompletionChunk

from aichat import (
    AudioPart,
    ChatResponse,
    Citation,
    CitationDelta,
    Client,
    ClientConfig,
    DocumentPart,
    FinishReason,
    ImagePart,
    OpaquePart,
    PartAdded,
    PartEnd,
    ProviderState,
    RateLimitError,
    RefusalDelta,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageUpdate,
    fold,
)
from aichat.testing import FakeProvider, reply, tool_call
from aichat.tools import ToolStarted
from aichat.types import loads
from aichat.web import to_openai_sse
from aichat.web.aiohttp import sse_response

from ..providers.openai_chat_streams import play
from ..types.strategies import streams
from .test_ours import played, whole


async def written(items: Iterable[Any], **options: Any) -> list[Any]:
    """The JSON of each event; the last one is as it is."""
    data = await whole(to_openai_sse(played(items), **options))
    events = [e.removeprefix("data: ") for e in data.decode().split("\n\n") if e]
    return [event if event == "[DONE]" else loads(event) for event in events]


END = ResponseEnd(FinishReason.STOP)


async def test_as_openai_writes_it() -> None:
    """The role first, then the words, then why it ended."""
    start = ResponseStart("resp_1", "gpt", created_at=12.5)
    events = await written([start, TextDelta("Hel"), TextDelta("lo"), PartEnd(0), END])
    head = {
        "id": "resp_1",
        "object": "chat.completion.chunk",
        "created": 12,
        "model": "gpt",
    }
    assert events == [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in [
            ({"role": "assistant", "content": ""}, None),
            ({"content": "Hel"}, None),
            ({"content": "lo"}, None),
            ({}, "stop"),
        ]
    ] + ["[DONE]"]


async def test_without_a_beginning() -> None:
    """It gets an id and a time; the name of the model is ours to choose."""
    events = await written([END], model="our-model", clock=lambda: 7.9)
    assert events[0]["id"].startswith("chatcmpl-")
    assert events[0]["id"] == events[1]["id"]
    assert (events[0]["created"], events[0]["model"]) == (7, "our-model")
    assert (await written([END]))[0]["model"] == ""


async def test_usage() -> None:
    """In the last chunk, or as clients ask for it; none where it is not known."""
    usage = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=3)
    told = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    chunks = [UsageUpdate(usage), END]
    last, done = (await written(chunks))[-2:]
    assert last["usage"] == told
    assert last["choices"]
    *_, before, last, done = await written(chunks, include_usage=True)
    assert "usage" not in before
    assert (last["choices"], last["usage"]) == ([], told)
    assert done == "[DONE]"
    assert "usage" not in (await written([UsageUpdate(Usage()), END]))[-2]


async def test_an_error() -> None:
    """In their shape, with our code, and without an end."""
    error = RateLimitError("Org acme is out.", retry_after=3)
    events = await written([TextDelta("Hi"), error])
    assert events[-1] == {
        "error": {
            "message": "There are too many requests. Try again later.",
            "type": "rate_limit",
            "param": None,
            "code": "rate_limit",
            "retry_after": 3,
        }
    }


async def test_a_run_is_refused() -> None:
    """Its rounds cannot be told apart, and its calls are made already."""
    (event,) = await written([ToolStarted(ToolCallPart("1", "f"))], details=True)
    assert "no words for a ToolStarted" in event["error"]["message"]


async def test_everything_that_it_has_words_for() -> None:
    """Our own decoder of that form reads the same answer."""
    call = tool_call("clock", "call_1", city="Rome")
    custom = ToolCallDelta(6, "call_2", "python", "print(1)", "custom")
    chunks: list[StreamChunk] = [
        *reply("Hello there", reasoning="Hm, well", tool_calls=[call])[:-1],
        ToolCallDelta(7, "call_3", "f"),
        custom,
        ToolCallDelta(7, arguments="{}"),
        ToolCallDelta(6, arguments="#", kind="custom"),
        CitationDelta(Citation("https://a.b", "A", "quoted", 1, 3), 1),
        CitationDelta(Citation(title="no address"), 1),
        RefusalDelta("No.", 9),
        PartAdded(ImagePart(data=b"\x89PNG\r\n\x1a\n"), 10),
        PartAdded(ImagePart(url="https://a.b/c.png"), 11),
        PartAdded(AudioPart(data=b"abc", transcript="Hi"), 12),
        PartAdded(DocumentPart(data=b"abc"), 13),
        PartAdded(OpaquePart("x", ProviderState("x", 1)), 14),
        UsageUpdate(Usage(input_tokens=1, output_tokens=2)),
        ResponseEnd(FinishReason.TOOL_CALLS),
    ]
    mine = fold(chunks)
    theirs = fold(play(await whole(to_openai_sse(played(chunks)))))
    assert theirs.text == mine.text
    assert theirs.reasoning == mine.reasoning
    assert theirs.refusal == mine.refusal
    assert [(c.id, c.name, c.arguments, c.kind) for c in theirs.tool_calls] == [
        (c.id, c.name, c.arguments, c.kind) for c in mine.tool_calls
    ]
    assert [c.url for c in theirs.citations] == ["https://a.b"]
    images = [p for p in theirs.message.content if isinstance(p, ImagePart)]
    assert [(p.data, p.url) for p in images] == [
        (b"\x89PNG\r\n\x1a\n", None),
        (None, "https://a.b/c.png"),
    ]
    (audio,) = [p for p in theirs.message.content if isinstance(p, AudioPart)]
    assert (audio.data, audio.transcript) == (b"abc", "Hi")
    assert theirs.usage.total_tokens == 3
    assert theirs.finish_reason is FinishReason.TOOL_CALLS


@given(streams())
async def test_any_stream_is_well_formed(chunks: list[StreamChunk]) -> None:
    """OpenAI's own types accept every event, and the text is all there."""
    *events, done = await written(chunks)
    assert done == "[DONE]"
    end = events[-1]["choices"][0]
    assert end["finish_reason"] == str(fold(chunks).finish_reason)
    for event in events:
        for choice in event["choices"]:
            if choice["finish_reason"] in {"paused", "error", "other"}:
                choice["finish_reason"] = "stop"
            for call in choice["delta"].get("tool_calls", ()):
                if call.get("type") == "custom":
                    call["type"] = "function"  # not in their type of a chunk
        ChatCompletionChunk.model_validate(event)
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    said = "".join(delta.get("content", "") for delta in deltas)
    # Parts may be interleaved here, and are not there.
    assert sorted(said) == sorted(fold(chunks).text)


async def test_with_real_clients() -> None:
    """OpenAI's SDK and aichat itself talk to a service that is made of aichat."""
    answers = [reply("Hello, world!", usage=Usage(input_tokens=1, output_tokens=2))]
    provider = FakeProvider([*answers * 2, RateLimitError("secret", retry_after=1)])
    client = Client({"fake": provider}, model="fake:any")

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        usage = body.get("stream_options", {}).get("include_usage", False)
        events = to_openai_sse(client.stream(prompt), model="ours", include_usage=usage)
        return await sse_response(request, events)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        text, tokens = "", 0
        async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as sdk:
            stream = await sdk.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "Hi"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in stream:
                if chunk.choices:
                    text += chunk.choices[0].delta.content or ""
                tokens = chunk.usage.total_tokens if chunk.usage else tokens
        assert (text, tokens) == ("Hello, world!", 3)
        config = ClientConfig(
            provider="openai-compatible", base_url=url, api_key="x", max_retries=0
        )
        async with Client.from_config(config, environ={}) as ours:
            response: ChatResponse = await ours.complete("Hi", model="m")
            assert (response.text, response.model) == ("Hello, world!", "ours")
            with pytest.raises(RateLimitError) as caught:
                await ours.complete("Hi", model="m")
            assert (caught.value.status, caught.value.retry_after) == (429, 1)
            assert "secret" not in str(caught.value)
    finally:
        await runner.cleanup()
    assert [r.messages[0].text for r in provider.requests] == ["Hi"] * 3
