"""Gemini in the simulator: what it refuses, what it says, and Google's own SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from aichat.testing import Simulator
from aichat.testing._sim_brain import Question
from aichat.testing._sim_dialect import Refused
from aichat.testing._sim_google import GOOGLE
from aichat.testing._sim_google_signature import sign

genai = pytest.importorskip("google.genai", reason="needs Google's SDK: aichat[dev]")
pydantic = pytest.importorskip("pydantic", reason="comes with the SDKs")
types = genai.types

# It makes a session of its own kind, which aiohttp would rather not see.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)

GEMINI = "gemini-3.8-flash"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: dict[str, Any] = {
    "functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": CITY}]
}
QUESTION = "How is the weather in Paris?"


def turn(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


HI = turn("user", {"text": "Hi"})


def call(name: str = "f", **facts: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, **facts}}


def result(name: str = "f", **facts: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {}, **facts}}


def signed(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "thoughtSignature": sign(part)}


def read(body: dict[str, Any], model: str = "simulator") -> Question:
    return GOOGLE.read({"model": model, "contents": [HI], **body}, {})


def config(**facts: Any) -> dict[str, Any]:
    return {"generationConfig": facts}


def declared(*tools: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": list(tools)}]}


# -- what it refuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"messages": []}, 'Unknown name "messages": Cannot find field'),
        (config(n=1), "Unknown name \"n\" at 'generation_config'"),
        ({"contents": [turn("assistant", {"text": "x"})]}, "valid role: user, model"),
        ({"contents": [turn("user")]}, "must not be empty"),
        ({"contents": [turn("user", {"thought": True})]}, "must have one initialized"),
        ({"contents": [turn("user", {"txt": "x"})]}, 'Unknown name "txt"'),
        ({"contents": [turn("user", {"text": "", "fileData": {}})]}, "already set"),
        ({"contents": [HI, turn("model", call(""))]}, "Name is empty"),
        ({"contents": [HI, turn("model", call(args="{}"))]}, "protobuf.Struct"),
        ({"contents": [HI, turn("model", call()), turn("user", result(response=[]))]}, "protobuf.Struct"),
        ({"contents": [HI, turn("model", call())]}, "immediately before a function"),
        ({"contents": [HI, turn("model", call()), HI]}, "equal to the number"),
        ({"contents": [HI, turn("model", call(), call()), turn("user", result())]}, "equal to the number"),
        ({"contents": [HI, turn("user", result())]}, "equal to the number"),
        ({"contents": [turn("model", call()), turn("user", result())]}, "comes immediately after a user"),
        ({"contents": [HI, turn("model", call()), turn("user", result("g"))]}, "does not answer"),
        (
            {"contents": [HI, turn("model", call(id="a")), turn("user", result(id="b"))]},
            "not those of the calls",
        ),
        (
            {"contents": [HI, turn("model", call(id="a")), turn("user", result())]},
            "not those of the calls",
        ),
        (config(candidateCount=2), "Multiple candidates"),
        (config(temperature=2.1), "in the range"),
        (config(maxOutputTokens=0), "must be positive"),
        (config(stopSequences=list("abcdef")), "at most 5"),
        (config(thinkingConfig={"thinkingBudget": 1, "thinkingLevel": "LOW"}), "only one of thinking"),
        (config(responseSchema={}, responseJsonSchema={}), "Only one of response_schema"),
        (config(responseJsonSchema=CITY), "only allowed with"),
        (config(responseMimeType="text/x.enum"), "allowed mimetypes"),
        (declared({"name": "1f"}), "Invalid function name"),
        (declared({"name": "f"}, {"name": "f"}), "Duplicate function"),
        (declared({"name": "f", "parameters": {}, "parametersJsonSchema": {}}), "Only one of parameters"),
        (declared({"name": "f", "strict": True}), 'Unknown name "strict"'),
        ({"toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}}, '"MAYBE"'),
        ({"toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["f"]}}}, "only when"),
    ],
)  # fmt: skip
def test_it_refuses(body: dict[str, Any], message: str) -> None:
    """
    The mistakes that the real one refuses, in its words.
    """
    with pytest.raises(Refused, match=message) as caught:
        read(body)

    assert caught.value.status == 400


def test_a_cache_that_is_not_there_is_refused() -> None:
    """
    Google does not say whether it is not there or not ours.
    """
    with pytest.raises(Refused, match="CachedContent not found") as caught:
        read({"cachedContent": "cachedContents/x"})

    assert caught.value.status == 403


def test_it_understands() -> None:
    """
    Either spelling of the names, schemas of either kind, and results by their meaning.
    """
    question = read({
        "system_instruction": {"parts": [{"text": "Be kind."}]},
        "contents": [
            {"parts": [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}, {"text": "Look"}]},
            turn("model", {"text": "Hm", "thought": True}, call("f", id="a"), call("g"), call("h")),
            turn(
                "user",
                result("f", id="a", response={"output": "18"}),
                result("g", response={"error": "no"}),
                result("h", response={"any": 1}),
            ),
        ],
        **declared(
            {
                "name": "f",
                "parameters": {
                    "type": "OBJECT",
                    "properties": {"a": {"type": "ARRAY", "items": {"type": "STRING", "nullable": True}}},
                    "required": ["a"],
                },
            },
            {"name": "g"},
        ),
        "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
    })  # fmt: skip

    assert question.prompt == "[image] Look"
    assert question.system == "Be kind."
    assert question.results == (("f", "18"), ("g", "no"), ("h", '{"any":1}'))
    (tool,) = question.tools
    items = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert tool.schema == {
        "type": "object",
        "properties": {"a": {"type": "array", "items": items}},
        "required": ["a"],
    }
    assert question.choice == "required"
    assert not question.reason


@pytest.mark.parametrize(
    ("mode", "choice"),
    [("none", "none"), ("AUTO", "auto"), ("VALIDATED", "auto"), ("ANY", "required")],
)
def test_calls_are_wanted_or_not(mode: str, choice: str) -> None:
    """
    In capitals or not.
    """
    body = {"toolConfig": {"functionCallingConfig": {"mode": mode}}}

    assert read(body).choice == choice


@pytest.mark.parametrize(
    ("model", "thinking", "thinks"),
    [
        (GEMINI, None, True),
        ("gemini-2.5-flash", None, False),
        ("gemini-2.5-flash", {"thinkingBudget": 100}, True),
        ("gemini-2.5-flash", {"thinkingBudget": 0}, False),
        ("gemini-4-argon", {"thinkingLevel": "LOW"}, True),
    ],
)
def test_newer_models_think_by_themselves(
    model: str, thinking: dict[str, Any] | None, thinks: bool
) -> None:
    """
    The older ones if they are asked to.
    """
    body = config(thinkingConfig=thinking) if thinking else {}

    assert read(body, model).reason is thinks


# -- thought signatures ----------------------------------------------------------------


def test_an_open_turn_wants_its_signatures() -> None:
    """
    S9: on the first call of each step since the user last said something.
    """
    first, second = call("f", args={"n": 1}), call("g")
    results = turn("user", result("f"), result("g"))
    step = turn("model", signed(first), second)
    bare = turn("model", first, second)
    placeholder = {"thoughtSignature": "skip_thought_signature_validator"}
    stood_in = turn("model", {**first, **placeholder}, second)

    read({"contents": [HI, step, results, step, results]}, GEMINI)
    read({"contents": [HI, stood_in, results]}, GEMINI)
    read({"contents": [HI, bare, results, turn("model", HI["parts"][0]), HI]}, GEMINI)
    read({"contents": [HI, bare, results]}, "gemini-2.5-pro")
    for contents in ([HI, bare, results], [HI, step, results, bare, results]):
        with pytest.raises(Refused, match=r"missing a thought_signature .* `f`"):
            read({"contents": contents}, GEMINI)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({**call(), "thoughtSignature": sign(call())[:-4]}, "Corrupted"),
        ({**call(), "thoughtSignature": "é"}, "Corrupted"),
        ({**call(), "thoughtSignature": sign({"text": ""})}, "not valid"),
        ({**call(), "thoughtSignature": sign(call(args={"a": 1}))}, "not valid"),
        ({"text": "x", "thoughtSignature": sign(call())}, "not valid"),
    ],
)
def test_a_signature_belongs_to_its_part(part: dict[str, Any], message: str) -> None:
    """
    S9: altered it is corrupted, and elsewhere it is not valid; in every model.
    """
    results = [turn("user", result())] if "functionCall" in part else []

    with pytest.raises(Refused, match=message):
        read({"contents": [HI, turn("model", part), *results]})


def test_a_signature_may_come_in_either_alphabet() -> None:
    """
    Google takes both of base64's.
    """
    part = call(args={"text": "?" * 20 + "~" * 20 + "é>>>???"})
    other = sign(part).replace("+", "-").replace("/", "_")
    assert other != sign(part)

    step = turn("model", {**part, "thoughtSignature": other})

    read({"contents": [HI, step, turn("user", result())]}, GEMINI)


# -- over the wire ---------------------------------------------------------------------


async def test_without_sse_it_is_one_array(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    Whose items are the same chunks; an error is its last one.
    """
    url = f"{sim.base_url('google')}/v1beta/models/{GEMINI}:streamGenerateContent"
    async with http.post(url, json={"contents": [HI]}) as response:
        chunks = json.loads(await response.text())
    async with http.post(url + "?alt=sse", json={"contents": [HI]}) as sse:
        events = (await sse.text()).split("\r\n\r\n")
    sim.fail_next("error_event", after=1, status=503)
    async with http.post(url, json={"contents": [HI]}) as failed:
        broken = json.loads(await failed.text())

    assert response.content_type == "application/json"
    texts = [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks]
    assert len(texts) == len(events) - 1
    assert "".join(texts).startswith("This is aichat's built-in simulator")
    assert texts[-1] == ""
    assert [list(item) for item in broken[1:]] == [["error"]]
    sim.fail_next("error_event", status=503)
    async with http.post(url, json={"contents": [HI]}) as failed:
        assert len(json.loads(await failed.text())) == 1


async def test_counting_takes_either_form(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """
    The short one knows nothing of instructions.
    """
    url = f"{sim.base_url('google')}/v1beta/models/{GEMINI}:countTokens"
    system = {"systemInstruction": {"parts": [{"text": "Be kind."}]}}
    whole = {"model": f"models/{GEMINI}", "contents": [HI], **system}

    async def count(body: dict[str, Any]) -> Any:
        async with http.post(url, json=body) as response:
            document = await response.json()
            return document.get("totalTokens") or document["error"]["message"]

    short = await count({"contents": [HI]})
    assert await count({"generateContentRequest": whole}) > short
    assert 'Unknown name "systemInstruction"' in await count({
        "contents": [HI],
        **system,
    })
    del whole["model"]
    assert "unexpected model" in await count({"generateContentRequest": whole})


# -- Google's SDK ----------------------------------------------------------------------


class Cake(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    name: str
    weight: int | None


@pytest.fixture
async def gemini(sim: Simulator) -> AsyncIterator[Any]:
    options = types.HttpOptions(base_url=sim.base_url("google"))
    client = genai.Client(api_key="any", http_options=options).aio
    yield client
    await client.aclose()


async def test_the_pieces_make_the_same_answer(gemini: Any) -> None:
    """
    With usage on each of them, which grows.
    """
    whole = await gemini.models.generate_content(model=GEMINI, contents="Hi")
    stream = await gemini.models.generate_content_stream(model=GEMINI, contents="Hi")
    chunks = [chunk async for chunk in stream]

    assert len(chunks) > 10
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert chunks[-1].candidates[0].finish_reason == "STOP"
    said = [chunk.usage_metadata.candidates_token_count for chunk in chunks]
    assert said == sorted(said)
    assert said[-1] == whole.usage_metadata.candidates_token_count
    assert whole.usage_metadata.thoughts_token_count > 0
    # The second time the prompt was known already.
    assert whole.usage_metadata.cached_content_token_count is None
    assert chunks[-1].usage_metadata.cached_content_token_count > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_it_calls_and_gets_results(gemini: Any, stream: bool) -> None:
    """
    The whole loop: the first call is signed, and the SDK sends it back so.
    """
    tool = {"name": "get_weather", "parameters_json_schema": CITY}
    other = {"name": "weather_history", "parameters_json_schema": CITY}
    request = {
        "model": GEMINI,
        "config": {
            "tools": [{"function_declarations": [tool, other]}],
            "thinking_config": {"include_thoughts": True},
            "automatic_function_calling": {"disable": True},
        },
    }
    question = types.Content(role="user", parts=[types.Part(text=QUESTION)])
    if stream:
        chunks = await gemini.models.generate_content_stream(
            contents=[question], **request
        )
        parts = [
            part async for chunk in chunks for part in chunk.candidates[0].content.parts
        ]
    else:
        done = await gemini.models.generate_content(contents=[question], **request)
        parts = done.candidates[0].content.parts
    calls = [part for part in parts if part.function_call]
    results = [
        types.Part(
            function_response=types.FunctionResponse(
                id=part.function_call.id,
                name=part.function_call.name,
                response={"output": "18 degrees"},
            )
        )
        for part in calls
    ]
    history = [
        question,
        types.Content(role="model", parts=parts),
        types.Content(role="user", parts=results),
    ]

    done = await gemini.models.generate_content(contents=history, **request)

    thoughts = "".join(part.text or "" for part in parts if part.thought)
    assert "There are 2 tools." in thoughts
    assert [part.function_call.args for part in calls] == [{"city": "Paris"}] * 2
    assert [bool(part.thought_signature) for part in calls] == [True, False]
    assert "- get_weather: 18 degrees\n- weather_history: 18" in done.text
    calls[0].thought_signature = None
    with pytest.raises(genai.errors.ClientError, match="missing a thought_signature"):
        await gemini.models.generate_content(contents=history, **request)


async def test_older_models_sign_nothing_and_have_no_ids(gemini: Any) -> None:
    """
    Unless they think; and an argument that is not there is not there.
    """
    tool = {"name": "buy_milk"}
    done = await gemini.models.generate_content(
        model="gemini-2.5-flash",
        contents="A joke!",
        config={
            "tools": [{"function_declarations": [tool]}],
            "tool_config": {"function_calling_config": {"mode": "ANY"}},
        },
    )

    (part,) = done.candidates[0].content.parts
    assert part.function_call.id is None
    assert part.function_call.args is None
    assert part.thought_signature is None


async def test_it_parses_json(gemini: Any) -> None:
    """
    What comes back is valid for the SDK's own model of it.
    """
    done = await gemini.models.generate_content(
        model=GEMINI,
        contents="A Cake of 5",
        config={"response_mime_type": "application/json", "response_schema": Cake},
    )

    assert isinstance(done.parsed, Cake)


@pytest.mark.parametrize(
    ("options", "finish"),
    [
        ({"max_output_tokens": 25}, "MAX_TOKENS"),
        ({"stop_sequences": ["simulator"]}, "STOP"),
    ],
)
async def test_it_stops_where_it_is_told(
    gemini: Any, options: dict[str, Any], finish: str
) -> None:
    """
    A stop sequence is an end as any other; thoughts count towards the limit.
    """
    done = await gemini.models.generate_content(
        model=GEMINI, contents="Hi", config=options
    )

    assert done.candidates[0].finish_reason == finish
    assert len(done.text) < 60


async def test_a_limit_may_leave_nothing_but_thoughts(gemini: Any) -> None:
    """
    No part at all; and a call that was cut is none.
    """
    config: dict[str, Any] = {"max_output_tokens": 5}
    silent = await gemini.models.generate_content(
        model=GEMINI, contents="Hi", config=config
    )
    config = {
        "max_output_tokens": 5,
        "thinking_config": {"thinking_budget": 0},
        "tools": [{"function_declarations": [{"name": "f", "parameters": CITY}]}],
        "tool_config": {"function_calling_config": {"mode": "ANY"}},
    }
    cut = await gemini.models.generate_content(
        model="gemini-2.5-flash", contents=QUESTION, config=config
    )

    for done in (silent, cut):
        assert done.candidates[0].content.parts is None
        assert done.candidates[0].finish_reason == "MAX_TOKENS"


async def test_models_are_listed(gemini: Any) -> None:
    """
    Page by page, and one by one.
    """
    pager = await gemini.models.list(config={"page_size": 2})

    assert [model.name async for model in pager] == [
        "models/simulator",
        "models/simulator-mini",
        "models/simulator-embedding",
    ]
    assert (await gemini.models.get(model=GEMINI)).input_token_limit == 1_000_000


async def test_tokens_are_counted(gemini: Any) -> None:
    """
    As many as the answer says.
    """
    counted = await gemini.models.count_tokens(model=GEMINI, contents="Hi there")
    answered = await gemini.models.generate_content(model=GEMINI, contents="Hi there")

    assert counted.total_tokens == answered.usage_metadata.prompt_token_count


async def test_errors_are_understood(sim: Simulator, gemini: Any) -> None:
    """
    S5: as a status, and within a stream.
    """
    sim.fail_next(status=429)
    with pytest.raises(genai.errors.ClientError, match="RESOURCE_EXHAUSTED"):
        await gemini.models.generate_content(model=GEMINI, contents="Hi")
    sim.fail_next("error_event", after=3, status=503)
    stream = await gemini.models.generate_content_stream(model=GEMINI, contents="Hi")
    with pytest.raises(genai.errors.ServerError, match="UNAVAILABLE"):
        [chunk async for chunk in stream]
