"""Ollama's dialect in the simulator: what it refuses, what it says, and its own SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from aichat.testing import Simulator
from aichat.testing._sim_brain import Answer, Call, Question
from aichat.testing._sim_dialect import Exchange, Refused
from aichat.testing._sim_ollama import OLLAMA

ollama = pytest.importorskip("ollama", reason="needs Ollama's SDK: aichat[dev]")

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Looks outside.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def read(body: dict[str, Any]) -> Question:
    return OLLAMA.read({"model": "m", "messages": [HI], **body}, {})


def called(*names: str, arguments: Any = None) -> dict[str, Any]:
    calls = [{"function": {"name": n, "arguments": arguments or {}}} for n in names]
    return {"role": "assistant", "content": "", "tool_calls": calls}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": ""}, 400, "model is required"),
        ({"messages": []}, 400, "messages is missing"),
        ({"messages": None}, 400, "messages is missing"),
        ({"messages": [{**HI, "role": "developer"}]}, 400, "invalid role"),
        ({"messages": [{**HI, "content": [{"type": "text"}]}]}, 400, "cannot unmarshal"),
        ({"messages": [HI, called("f", arguments="{}")]}, 400, "unmarshal string"),
        ({"messages": [{**HI, "images": ["http://x"]}]}, 400, "illegal base64"),
        ({"messages": [{**HI, "images": [5]}]}, 400, "illegal base64"),
        ({"options": {"temperature": "hot"}}, 500, "must be of type float32"),
        ({"options": {"top_p": None}}, 500, "must be of type float32"),
        ({"options": {"num_ctx": 1.5}}, 500, "must be of type integer"),
        ({"options": {"seed": True}}, 500, "must be of type integer"),
        ({"options": {"stop": "END"}}, 500, "must be of type array"),
        ({"format": "yaml"}, 500, "invalid format"),
        ({"think": "hard"}, 400, "invalid think value"),
    ],
)  # fmt: skip
def test_it_refuses(body: dict[str, Any], status: int, message: str) -> None:
    """
    The mistakes that the real one refuses, in its words.
    """
    with pytest.raises(Refused, match=message) as caught:
        read(body)

    assert caught.value.status == status


def test_it_understands() -> None:
    """
    A long conversation is read for what was said last.
    """
    question = read({
        "messages": [
            {"role": "system", "content": "Be kind."},
            HI,
            {**HI, "content": "Look", "images": ["AAAA"]},
            called("f", "g"),
            {"role": "tool", "content": "18"},
            {"role": "tool", "tool_name": "other", "content": "19"},
        ],
        "tools": [TOOL, {"type": "function", "function": {"name": "f"}}],
        "options": {"num_predict": 5, "stop": ["END"], "no_such": 1},
        "think": "low",
    })

    assert question.prompt == "Look [image]"
    assert question.system == "Be kind."
    assert question.results == (("f", "18"), ("other", "19"))
    assert [tool.name for tool in question.tools] == ["get_weather", "f"]
    assert (question.max_tokens, question.stop) == (5, ("END",))
    assert question.reason
    assert len(question.segments) == 8


def test_it_understands_little_as_well() -> None:
    """
    No limit is none; results without calls and prompts without a user are odd, no more.
    """
    question = read({
        "messages": [{"role": "tool", "content": "18"}],
        "options": {"num_predict": -1},
        "format": "",
        "think": False,
    })

    assert question.prompt == ""
    assert question.results == (("tool", "18"),)
    assert question.max_tokens is None
    assert not question.json
    assert not question.reason


def test_what_was_cut_off_is_no_call() -> None:
    """
    A call is whole, or it is not there.
    """
    exchange = Exchange(
        body={"model": "m"},
        question=Question(prompt="", segments=()),
        answer=Answer(calls=(Call("f", '{"a"'), Call("g", "{}")), finish="length"),
        number=1,
        created=0,
    )

    document = OLLAMA.document(exchange)
    assert [c["function"]["name"] for c in document["message"]["tool_calls"]] == ["g"]
    assert document["done_reason"] == "length"
    # What is 0 is left out.
    assert "eval_count" not in document
    assert document["created_at"] == "1970-01-01T00:00:00.123456789Z"


async def test_it_streams_unless_it_is_told_not_to(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    Lines of JSON, the last of which says that it is done; or that one alone.
    """
    body = {"model": "m", "messages": [HI]}
    url = sim.base_url("ollama") + "/api/chat"
    async with http.post(url, json=body) as response:
        lines = [json.loads(line) for line in (await response.text()).splitlines()]
        assert response.content_type == "application/x-ndjson"
    async with http.post(url, json={**body, "stream": False}) as response:
        whole = await response.json()
        assert response.content_type == "application/json"

    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    said = "".join(line["message"]["content"] for line in lines)
    assert said == whole["message"]["content"]
    assert whole["done"]


async def test_errors_are_sentences(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    Without a code, before the answer and within it.
    """
    url = sim.base_url("ollama") + "/api/chat"
    async with http.post(url, json={"model": "m"}) as response:
        assert response.status == 400
        assert "messages is missing" in (await response.json())["error"]
    sim.fail_next("error_event", after=1, message="unexpected EOF")
    async with http.post(url, json={"model": "m", "messages": [HI]}) as response:
        last = (await response.text()).splitlines()[-1]
    assert json.loads(last) == {"error": "unexpected EOF"}


# -- its own SDK -----------------------------------------------------------------------


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[Any]:
    client = ollama.AsyncClient(host=sim.base_url("ollama"), trust_env=False)
    yield client
    await client._client.aclose()


async def test_the_sdk_chats(client: Any) -> None:
    """
    Pieces and document make the same text, with thoughts and figures.
    """
    asked = {"model": "simulator", "messages": [HI], "think": True}
    whole = await client.chat(**asked)
    stream = await client.chat(**asked, stream=True)
    pieces = [piece async for piece in stream]

    text = "".join(piece.message.content or "" for piece in pieces)
    thought = "".join(piece.message.thinking or "" for piece in pieces)
    assert text == whole.message.content
    assert thought == whole.message.thinking
    assert pieces[-1].done
    assert pieces[-1].done_reason == "stop"
    assert pieces[-1].eval_count == whole.eval_count


async def test_the_sdk_calls_tools(client: Any) -> None:
    """
    A loop, as its documentation has it.
    """
    asked = {"role": "user", "content": "How is the weather in Paris?"}
    answer = await client.chat("simulator", [asked], tools=[TOOL])
    [call] = answer.message.tool_calls
    assert call.function.name == "get_weather"
    assert call.function.arguments == {"city": "Paris"}

    result = {"role": "tool", "tool_name": "get_weather", "content": "rain"}
    done = await client.chat("simulator", [asked, answer.message, result], tools=[TOOL])
    assert "get_weather: rain" in done.message.content


async def test_the_sdk_gets_what_it_asks_for(client: Any) -> None:
    """
    A schema, and an end where there has to be one.
    """
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    answer = await client.chat(
        "simulator", [{**HI, "content": "Give me 7"}], format=schema
    )
    assert json.loads(answer.message.content) == {"n": 7}
    short = await client.chat("simulator", [HI], options={"num_predict": 3})
    assert short.done_reason == "length"
    assert short.eval_count == 3


async def test_the_sdk_lists_models(client: Any) -> None:
    """
    There is one.
    """
    [model] = (await client.list()).models
    assert model.model == "simulator:latest"


async def test_the_sdk_raises_errors(client: Any, sim: Simulator) -> None:
    """
    Those that come instead of an answer, and those within it.
    """
    with pytest.raises(ollama.ResponseError, match="must be of type") as caught:
        await client.chat("simulator", [HI], options={"temperature": "hot"})
    assert caught.value.status_code == 500
    sim.fail_next("error_event", after=2, message="unexpected EOF")
    stream = await client.chat("simulator", [HI], stream=True)
    with pytest.raises(ollama.ResponseError, match="unexpected EOF"):
        _ = [piece async for piece in stream]
