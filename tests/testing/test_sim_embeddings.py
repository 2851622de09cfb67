"""Embeddings of the simulator: the same text is the same vector, in every dialect."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from aichat.testing import Simulator
from aichat.testing._sim_dialect import Endpoint, Refused, Visit
from aichat.testing._sim_embeddings import (
    GOOGLE_EMBEDDINGS,
    OLLAMA_EMBEDDINGS,
    OPENAI_EMBEDDINGS,
    vector,
)


@given(st.text(), st.integers(1, 100))
def test_a_vector_is_a_unit(text: str, dimensions: int) -> None:
    """
    Always the same one, whatever the text.
    """
    first = vector(text, dimensions)

    assert first == vector(text, dimensions)
    assert len(first) == dimensions
    assert math.isclose(math.hypot(*first), 1, rel_tol=1e-5)


def test_fewer_dimensions_are_the_beginning_of_more() -> None:
    """
    Made a unit again.
    """
    short, long = vector("Hi", 10), vector("Hi", 1000)[:10]
    length = math.hypot(*long)

    assert list(short) == pytest.approx([number / length for number in long], rel=1e-5)


def test_what_is_said_differently_is_something_else() -> None:
    """
    It is a hash and not a meaning.
    """
    one, two = vector("Hello", 500), vector("Hello!", 500)

    assert abs(sum(a * b for a, b in zip(one, two, strict=True))) < 0.3


def ask(endpoint: Endpoint, body: dict[str, Any]) -> Any:
    return endpoint.answer(Visit(body=body, params={"model": "simulator"}))


(OPENAI,) = OPENAI_EMBEDDINGS
GOOGLE, GOOGLE_BATCH = GOOGLE_EMBEDDINGS
(OLLAMA,) = OLLAMA_EMBEDDINGS
CONTENT = {"parts": [{"text": "Hi"}]}


@pytest.mark.parametrize(
    ("endpoint", "body", "message"),
    [
        (OPENAI, {"input": "Hi"}, "provide a model"),
        (OPENAI, {"model": "m"}, "input' is invalid"),
        (OPENAI, {"model": "m", "input": ""}, "input' is invalid"),
        (OPENAI, {"model": "m", "input": ["a", ""]}, "input' is invalid"),
        (OPENAI, {"model": "m", "input": ["a"] * 2049}, "input' is invalid"),
        (OPENAI, {"model": "m", "input": "a", "dimensions": 1537}, "1 to 1536"),
        (OPENAI, {"model": "m", "input": "a", "dimensions": "5"}, "1 to 1536"),
        (
            OPENAI,
            {"model": "text-embedding-ada-002", "input": "a", "dimensions": 5},
            "does not support specifying dimensions",
        ),
        (
            OPENAI,
            {"model": "m", "input": "a", "encoding_format": "hex"},
            "'float' and 'base64'",
        ),
        (GOOGLE, {}, "content is empty"),
        (GOOGLE, {"content": CONTENT, "outputDimensionality": 0}, "1 to 3072"),
        (GOOGLE_BATCH, {"requests": []}, "at least one"),
        (GOOGLE_BATCH, {"requests": [{"content": CONTENT}]}, "unexpected model"),
        (OLLAMA, {"input": "Hi"}, "model is required"),
        (OLLAMA, {"model": "m", "input": [5]}, "invalid input type"),
    ],
)
def test_it_refuses(endpoint: Endpoint, body: dict[str, Any], message: str) -> None:
    """
    The mistakes that the real ones refuse.
    """
    with pytest.raises(Refused, match=message):
        ask(endpoint, body)


def test_tokens_are_as_good_as_text() -> None:
    """
    One list of them, or several.
    """
    one = ask(OPENAI, {"model": "m", "input": [1, 2, 3]})
    two = ask(OPENAI, {"model": "m", "input": [[1, 2, 3], [4]]})

    assert one["data"][0] == two["data"][0]
    assert len(two["data"]) == 2


def test_ollama_answers_what_there_is() -> None:
    """
    Nothing for nothing, and as many dimensions as it has.
    """
    assert ask(OLLAMA, {"model": "m", "input": []})["embeddings"] == []
    (found,) = ask(OLLAMA, {"model": "m", "input": "Hi", "dimensions": 9999})[
        "embeddings"
    ]
    assert found == list(vector("Hi", 768))


def test_google_takes_either_form_of_its_options() -> None:
    """
    The older models have them beside the content.
    """
    older = ask(GOOGLE, {"content": CONTENT, "outputDimensionality": 5})
    options = {"embedContentConfig": {"outputDimensionality": 5}}
    newer = ask(GOOGLE, {"content": CONTENT, **options})

    assert older == newer == {"embedding": {"values": list(vector("Hi", 5))}}


# -- the SDKs --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}])
async def test_openai_embeds(sim: Simulator, options: dict[str, Any]) -> None:
    """
    The SDK asks for base64 if it is not told otherwise; the numbers are the same.
    """
    openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: aichat[dev]")
    base_url = sim.base_url("openai")
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any") as client:
        done = await client.embeddings.create(
            model="m", input=["Hi", "Ho", "Hi"], dimensions=7, **options
        )
        large = await client.embeddings.create(model="m-large", input="Hi", **options)

    assert [item.index for item in done.data] == [0, 1, 2]
    assert done.data[0].embedding == done.data[2].embedding == list(vector("Hi", 7))
    assert done.data[1].embedding == list(vector("Ho", 7))
    assert done.usage.prompt_tokens == done.usage.total_tokens == 3
    assert len(large.data[0].embedding) == 3072


async def test_azure_embeds(sim: Simulator) -> None:
    """
    The same vectors at another address.
    """
    openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: aichat[dev]")
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=sim.base_url("azure"), api_key="any", api_version="2024-10-21"
    ) as client:
        done = await client.embeddings.create(model="mine", input="Hi")

    assert done.data[0].embedding == list(vector("Hi", 1536))
    assert sim.requests[0].path == "/azure/openai/deployments/mine/embeddings"


@pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)
@pytest.mark.parametrize("model", ["gemini-embedding-001", "gemini-embedding-2"])
async def test_google_embeds(sim: Simulator, model: str) -> None:
    """
    The SDK sends its two generations of models two kinds of requests.
    """
    genai = pytest.importorskip(
        "google.genai", reason="needs Google's SDK: aichat[dev]"
    )
    options = genai.types.HttpOptions(base_url=sim.base_url("google"))
    async with genai.Client(api_key="any", http_options=options).aio as client:
        done = await client.models.embed_content(
            model=model, contents="Hi", config={"output_dimensionality": 5}
        )

    assert [e.values for e in done.embeddings] == [list(vector("Hi", 5))]


async def test_ollama_embeds(sim: Simulator) -> None:
    """
    In the order of the texts.
    """
    ollama = pytest.importorskip("ollama", reason="needs Ollama's SDK: aichat[dev]")
    client = ollama.AsyncClient(host=sim.base_url("ollama"))

    done = await client.embed(model="m", input=["Hi", "Ho"], dimensions=4)
    await client.close()

    assert done.embeddings == [list(vector("Hi", 4)), list(vector("Ho", 4))]
