"""OpenAI's Responses in the simulator: what it refuses, what it keeps, and OpenAI's SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from aichat.testing import Simulator
from aichat.testing._sim_brain import Answer, Call, Question
from aichat.testing._sim_dialect import Exchange, Refused
from aichat.testing._sim_responses import RESPONSES
from aichat.testing._sim_seal import seal

openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: aichat[dev]")
pydantic = pytest.importorskip("pydantic", reason="comes with the SDKs")

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
SQL = {"type": "custom", "name": "run_sql"}
SEALED = "gAAAA" + seal('["Hm."]')
THOUGHT: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_sim00000001",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": SEALED,
}
THINKING: dict[str, Any] = {
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
}


def call(**facts: Any) -> dict[str, Any]:
    usual = {"call_id": "c", "name": "f", "arguments": "{}"}
    return {"type": "function_call", **usual, **facts}


def output(**facts: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": "c", "output": "18", **facts}


def spoken(kind: str = "output_text", **facts: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": kind, "text": "Ho"}], **facts}


def read(body: dict[str, Any]) -> Question:
    return RESPONSES.read({"model": "m", "input": [HI], **body}, {})


# -- what it refuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"model": ""}, "model", "Missing required parameter: 'model'"),
        ({"input": ""}, "input", "One of 'input'"),
        ({"input": []}, "input", "One of 'input'"),
        ({"input": None}, "input", "One of 'input'"),
        ({"stop": "x"}, "stop", "Unknown parameter: 'stop'"),
        ({"response_format": {}}, "response_format", "has moved to 'text.format'"),
        ({"max_tokens": 5}, "max_tokens", "has moved to 'max_output_tokens'"),
        ({"background": True}, "background", "no 'background'"),
        ({"max_output_tokens": 15}, "max_output_tokens", "value >= 16, but got 15"),
        ({"max_output_tokens": "x"}, "max_output_tokens", "value >= 16"),
        ({"temperature": 3}, "temperature", "between 0 and 2"),
        ({"temperature": -1}, "temperature", "between 0 and 2"),
        ({"include": ["everything"]}, "include[0]", "'everything'"),
        ({"stream_options": {}}, "stream_options", "'stream' is enabled"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "'robot'"),
        ({"input": [{"role": "user"}]}, "input[0].content", "Missing required"),
        ({"input": [HI, spoken("input_text")]}, "input[1].content[0]", "'refusal'"),
        (
            {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "input[0].content[0]",
            "Invalid value: 'text'",
        ),
        ({"input": [call()]}, "input", "No tool output found for function call c"),
        ({"input": [output()]}, "input", "No tool call found for function call output"),
        (
            {"input": [call(), output(type="custom_tool_call_output")]},
            "input",
            "No tool call found for custom tool call output with call_id c",
        ),
        ({"input": [output(), call()]}, "input", "No tool call found"),
        ({"input": [call(), output(), output()]}, "input", "No tool call found"),
        ({"input": [call(arguments="{"), output()]}, "input[0].arguments", "JSON object"),
        ({"input": [call(arguments=[]), output()]}, "input[0].arguments", "JSON object"),
        ({"input": [call(arguments="[]"), output()]}, "input[0].arguments", "JSON object"),
        ({"input": [{"type": "function_call"}]}, "input[0].call_id", "Missing"),
        ({"input": [{"type": "custom_tool_call", "call_id": "c"}]}, "input[0].name", "Missing"),
        ({"input": [{"type": "reasoning"}]}, "input[0].summary", "Missing"),
        ({"input": [call(), output(output=5)]}, "input[1].output", "Missing"),
        ({"input": [call(), output(call_id="")]}, "input[1].call_id", "Missing"),
        ({"input": [HI, THOUGHT]}, "input", "without its required following item"),
        ({"input": [HI, THOUGHT, HI]}, "input", "without its required following item"),
        (
            {"input": [HI, call(id="fc_sim00000001t0"), output()]},
            "input",
            "without its required 'reasoning' item: 'rs_sim00000001'",
        ),
        (
            {"input": [HI, THOUGHT, call(id="fc_sim00000002t0"), output()]},
            "input",
            "without its required 'reasoning' item: 'rs_sim00000002'",
        ),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "Missing"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x"}}},
            "text.format.schema",
            "Missing",
        ),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type", "'yaml'"),
        (
            {"text": {"format": {"type": "json_object"}}, "instructions": "JSON!"},
            "input",
            "the word 'json'",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[].name", "Missing"),
        ({"tools": [{"name": "f"}]}, "tools[].type", "Missing"),
        ({"tool_choice": "required"}, "tool_choice", "'tools' parameter"),
        ({"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice", "'maybe'"),
    ],
)  # fmt: skip
def test_it_refuses(body: dict[str, Any], param: str, message: str) -> None:
    """
    The mistakes that the real one refuses, and it says in which parameter.
    """
    with pytest.raises(Refused, match=message.replace("[", r"\[")) as caught:
        read(body)

    assert caught.value.status == 400
    assert caught.value.param == param


@pytest.mark.parametrize(
    "change",
    [
        {"encrypted_content": SEALED[:-8] + "AAAA" + SEALED[-4:]},
        {"encrypted_content": SEALED[:-1]},
        {"encrypted_content": "é"},
        {"encrypted_content": ""},
        {"summary": [{"type": "summary_text", "text": "Hm!"}]},
    ],
)
def test_a_thought_that_was_altered_is_refused(change: dict[str, Any]) -> None:
    """
    S9: byte for byte, or not at all; without its summary it is as good.
    """
    turn = [HI, THOUGHT, spoken(), HI]
    read({"input": turn})
    read({"input": [HI, {**THOUGHT, "summary": []}, spoken(), HI]})

    turn[1] = {**THOUGHT, **change}
    with pytest.raises(Refused, match="could not be verified") as caught:
        read({"input": turn})

    assert caught.value.code == "invalid_encrypted_content"


def test_it_understands() -> None:
    """
    A long conversation is read for what was said last, and ids may be left out.
    """
    question = read({
        "instructions": "Be brief.",
        "input": [
            {"role": "developer", "content": "Be kind."},
            HI,
            {**THOUGHT, "id": None},
            spoken(id="msg_sim00000001t0"),
            {"role": "user", "content": [{"type": "input_image", "image_url": "x"}]},
            {"type": "web_search_call", "id": "ws_1"},
            call(id="fc_sim00000001t0"),
            {"type": "custom_tool_call", "call_id": "d", "name": "sql", "input": "1"},
            output(output=[{"type": "input_text", "text": "18"}]),
            {"type": "custom_tool_call_output", "call_id": "d", "output": "one"},
        ],
        "tools": [TOOL, SQL, {"type": "web_search"}],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "get_weather"}],
        },
        "reasoning": {"effort": "none"},
    })

    assert question.prompt == "[image]"
    assert question.system == "Be brief.\nBe kind."
    assert question.results == (("f", "18"), ("sql", "one"))
    assert [tool.name for tool in question.tools] == ["get_weather"]
    assert question.choice == "auto"
    assert not question.reason
    assert question.tokens > 20


def test_a_thought_without_anything_is_not_found() -> None:
    """
    Neither an id to look for, nor the thought itself.
    """
    with pytest.raises(Refused, match="not persisted") as caught:
        read({"input": [HI, {"type": "reasoning", "summary": []}, spoken()]})

    assert caught.value.status == 404


def test_json_without_a_schema_is_understood() -> None:
    """
    If the input speaks of it.
    """
    form = {"text": {"format": {"type": "json_object"}}}
    question = read({"input": [{"role": "user", "content": "In JSON!"}], **form})

    assert question.json
    assert question.schema is None


@pytest.mark.parametrize(
    "choice", ["none", "required", {"type": "function", "name": "x"}]
)
def test_tools_are_chosen(choice: Any) -> None:
    """
    By a word, or by the name of one.
    """
    question = read({"tools": [TOOL, {**TOOL, "name": "x"}], "tool_choice": choice})

    assert question.choice == ("none" if choice == "none" else "required")
    assert len(question.tools) == (1 if isinstance(choice, dict) else 2)


def test_an_empty_answer_is_a_message() -> None:
    """
    Without a word, but it is there.
    """
    exchange = Exchange(
        body={"model": "m"},
        question=Question(prompt="", segments=()),
        answer=Answer(),
        number=1,
        created=1,
    )

    (item,) = RESPONSES.document(exchange)["output"]

    assert item["content"][0]["text"] == ""


@pytest.mark.parametrize("custom", [True, False])
def test_a_call_that_was_cut_is_incomplete(custom: bool) -> None:
    """
    And so is the response, which says why.
    """
    exchange = Exchange(
        body={"model": "m"},
        question=Question(prompt="", segments=()),
        answer=Answer(calls=(Call("f", '{"a', custom=custom),), finish="length"),
        number=1,
        created=1,
    )

    document = RESPONSES.document(exchange)
    *_, last = RESPONSES.stream(exchange)

    assert document["status"] == document["output"][0]["status"] == "incomplete"
    assert document["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last.data.startswith(b"event: response.incomplete\n")


# -- OpenAI's SDK ----------------------------------------------------------------------


class Cake(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    name: str
    kind: Literal["soup", "cake"]


@pytest.fixture
async def gpt(sim: Simulator) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(
        base_url=sim.base_url("openai"), api_key="any", max_retries=0
    ) as client:
        yield client


async def test_the_pieces_make_the_same_response(gpt: Any) -> None:
    """
    The SDK puts them together by itself, and has what the document has.
    """
    whole = await gpt.responses.create(model="simulator", input="Hi")
    async with gpt.responses.stream(model="simulator", input="Hi") as stream:
        texts = [
            e.delta async for e in stream if e.type == "response.output_text.delta"
        ]
        streamed = await stream.get_final_response()

    assert len(texts) > 10
    assert "".join(texts) == whole.output_text == streamed.output_text
    assert whole.status == streamed.status == "completed"
    assert whole.usage.output_tokens == streamed.usage.output_tokens
    assert whole.usage.input_tokens_details.cached_tokens == 0
    # The second time the prompt was known already.
    assert streamed.usage.input_tokens_details.cached_tokens > 0


async def test_events_come_in_their_order(gpt: Any) -> None:
    """
    Numbered, everything opened before it is filled, and closed before the next.
    """
    stream = await gpt.responses.create(
        model="simulator",
        input="The weather in Paris?",
        tools=[TOOL],
        stream=True,
        stream_options={"include_obfuscation": False},
        **THINKING,
    )
    events = [event async for event in stream]

    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds: list[str] = []
    for event in events:
        kind = event.type.removeprefix("response.")
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
    part = [
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        *part * 3,
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    added = next(e for e in events if e.type == "response.output_item.added")
    done = next(e for e in events if e.type == "response.output_item.done")
    # At first there is less of it.
    assert len(added.item.encrypted_content) < len(done.item.encrypted_content)
    assert not any(getattr(event, "obfuscation", None) for event in events)
    assert events[0].response.output == []
    assert events[0].response.usage is None


@pytest.mark.parametrize("stream", [True, False])
async def test_it_calls_and_gets_results(gpt: Any, stream: bool) -> None:
    """
    The whole loop, without the server keeping anything, with the thought coming back.
    """
    request = {"model": "simulator", "tools": [TOOL], **THINKING}
    question = {"role": "user", "content": "The weather in Paris?"}
    if stream:
        async with gpt.responses.stream(input=[question], **request) as events:
            asked = await events.get_final_response()
    else:
        asked = await gpt.responses.create(input=[question], **request)
    thought, message, called = asked.output
    items = [item.model_dump(exclude_none=True) for item in asked.output]
    for item in items:
        item.pop("parsed_arguments", None)

    result = output(call_id=called.call_id, output="18 degrees")
    done = await gpt.responses.create(input=[question, *items, result], **request)

    assert thought.summary[0].text == "The user wrote 4 words."
    assert thought.encrypted_content.startswith("gAAAA")
    assert message.phase == "commentary"
    assert json.loads(called.arguments) == {"city": "Paris"}
    assert "- get_weather: 18 degrees" in done.output_text
    assert done.output[-1].phase == "final_answer"
    assert asked.usage.output_tokens_details.reasoning_tokens > 0
    items[0]["encrypted_content"] = items[0]["encrypted_content"].swapcase()
    with pytest.raises(openai.BadRequestError) as caught:
        await gpt.responses.create(input=[question, *items, result], **request)
    assert caught.value.code == "invalid_encrypted_content"


async def test_a_thought_may_be_kept_to_itself(gpt: Any) -> None:
    """
    Without a summary and without its content, if nobody asks for them.
    """
    request = {"model": "simulator", "input": "Hi", "reasoning": {"effort": "low"}}
    async with gpt.responses.stream(**request) as stream:
        done = await stream.get_final_response()

    thought, message = done.output
    assert (thought.type, thought.summary) == ("reasoning", [])
    assert thought.encrypted_content is None
    assert message.phase == "final_answer"


async def test_a_custom_tool_gets_free_text(gpt: Any) -> None:
    """
    Piece by piece, as everything else.
    """
    request = {"model": "simulator", "input": "run this sql", "tools": [SQL]}
    stream = await gpt.responses.create(stream=True, tool_choice="required", **request)
    events = [event async for event in stream]

    kind = "response.custom_tool_call_input"
    said = "".join(e.delta for e in events if e.type == f"{kind}.delta")
    assert said == "run this sql"
    assert next(e.input for e in events if e.type == f"{kind}.done") == said
    (item,) = events[-1].response.output
    assert (item.type, item.input) == ("custom_tool_call", said)


async def test_it_parses_json(gpt: Any) -> None:
    """
    What comes back is valid for the SDK's own model of it.
    """
    done = await gpt.responses.parse(
        model="simulator", input="A cake from Rome", text_format=Cake
    )

    assert done.output_parsed.kind == "cake"


async def test_it_stops_where_it_is_told(gpt: Any) -> None:
    """
    And says so without a finish reason.
    """
    done = await gpt.responses.create(
        model="simulator", input="Hi", max_output_tokens=16
    )

    assert (done.status, done.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert done.usage.output_tokens == 16


async def test_what_was_kept_can_be_gone_on_from(gpt: Any) -> None:
    """
    By the id of the response, or by those of its items.
    """
    await gpt.responses.create(model="simulator", input="Something else")
    first = await gpt.responses.create(
        model="simulator", input="The weather in Paris?", tools=[TOOL], **{
            **THINKING, "include": [], "store": True,
        }
    )  # fmt: skip
    thought, message, called = first.output
    result = output(call_id=called.call_id)

    done = await gpt.responses.create(
        model="simulator", input=[result], previous_response_id=first.id
    )
    references = [
        {"type": "reasoning", "id": thought.id, "summary": []},
        *({"type": "item_reference", "id": item.id} for item in (message, called)),
    ]
    again = await gpt.responses.create(
        model="simulator", input=[HI, *references, result]
    )

    assert thought.encrypted_content is None
    assert "- get_weather: 18" in done.output_text
    assert done.previous_response_id == first.id
    assert again.output_text == done.output_text
    assert (await gpt.responses.retrieve(first.id)).output == first.output
    kept = [item async for item in gpt.responses.input_items.list(done.id, limit=2)]
    assert [item.type for item in kept] == [
        "function_call_output",
        "function_call",
        "message",
        "reasoning",
        "message",
    ]


async def test_what_was_not_kept_cannot(gpt: Any) -> None:
    """
    Neither because it was not wanted, nor after it has been deleted.
    """
    first = await gpt.responses.create(model="simulator", input="Hi", store=False)
    second = await gpt.responses.create(model="simulator", input="Hi")
    await gpt.responses.delete(second.id)

    for response in (first, second):
        with pytest.raises(openai.BadRequestError) as caught:
            await gpt.responses.create(
                model="m", input="x", previous_response_id=response.id
            )
        assert caught.value.code == "previous_response_not_found"
        for looked_for in (gpt.responses.retrieve, gpt.responses.delete):
            with pytest.raises(openai.NotFoundError, match="not found"):
                await looked_for(response.id)
    for kind in ("item_reference", "reasoning"):
        item = {"type": kind, "id": first.output[0].id, "summary": []}
        with pytest.raises(openai.NotFoundError, match="not persisted"):
            await gpt.responses.create(model="m", input=[HI, item, spoken()])


async def test_it_counts_tokens(gpt: Any) -> None:
    """
    As many as the answer says.
    """
    request = {"model": "simulator", "input": "Hi", "instructions": "Be kind."}
    answered = await gpt.responses.create(**request)
    counted = await gpt.responses.input_tokens.count(**request)

    assert counted.input_tokens == answered.usage.input_tokens


async def test_errors_in_a_stream_are_understood(sim: Simulator, gpt: Any) -> None:
    """
    S5: after some words; it has a number as any other event.
    """
    sim.fail_next("error_event", after=3, code="insufficient_quota")
    stream = await gpt.responses.create(model="simulator", input="Hi", stream=True)

    with pytest.raises(openai.APIError, match="told to fail") as caught:
        [event async for event in stream]

    assert caught.value.code == "insufficient_quota"
