"""Embeddings: every dialect's requests and answers, sharing out, joining, failing."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from google.genai import types as google_types
from openai.types import EmbeddingCreateParams

from aichat import (
    AuthenticationError,
    Capability,
    Client,
    ClientConfig,
    ClosedError,
    DeadlineError,
    Deadlines,
    Embedder,
    EmbeddingRequest,
    EmbeddingResponse,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    ProviderError,
    ProviderSpec,
    RateLimitError,
    Registry,
    RetryPolicy,
    ServerError,
    Usage,
)
from aichat.providers import Provider, compatible, embedder_of
from aichat.providers._asking import Asking
from aichat.providers._openai_embeddings import (
    EmbeddingQuirks,
    embeddings_api,
    little_endian,
)
from aichat.providers.anthropic import SPEC as ANTHROPIC
from aichat.providers.azure import RESPONSES as AZURE_RESPONSES, SPEC as AZURE
from aichat.providers.google import SPEC as GOOGLE, VERTEX
from aichat.providers.ollama import SPEC as OLLAMA
from aichat.providers.openai import SPEC as OPENAI
from aichat.providers.openai_chat import SPEC as OPENAI_CHAT
from aichat.testing import FakeProvider
from aichat.transport import HTTPRequest, Limiter, RateLimit
from aichat.types import Vector

from ..transport.toys import now, virtual
from .openai_sdk import complaints
from .scripted import KEY, answer, bodies, provider, requests

COMPATIBLE = compatible.SPECS["openai-compatible"]


def data(*vectors: Sequence[float], **more: Any) -> dict[str, Any]:
    """OpenAI's answer with *vectors*."""
    items = [
        {"object": "embedding", "index": n, "embedding": list(v)}
        for n, v in enumerate(vectors)
    ]
    tokens = {"prompt_tokens": len(vectors), "total_tokens": len(vectors)}
    return {"object": "list", "data": items, "model": "m-1", "usage": tokens} | more


def b64(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def lists(vectors: Sequence[Vector]) -> list[list[float]]:
    return [list(vector) for vector in vectors]


def encoded(spec: ProviderSpec, request: EmbeddingRequest) -> Any:
    assert spec.embeddings is not None
    return spec.embeddings.encode(request)


def decoded(spec: ProviderSpec, value: Any) -> EmbeddingResponse:
    assert spec.embeddings is not None
    return spec.embeddings.decode(value)


async def embed(
    spec: ProviderSpec, value: Any, texts: str | list[str] = "Hi", **options: Any
) -> EmbeddingResponse:
    """Embed *texts* with a provider that answers *value*."""
    client = Client.with_provider(provider(spec, answer(value)))
    return await client.embed(texts, model=f"{spec.name}:m", **options)


# --- OpenAI's ---------------------------------------------------------------------------


def test_openai_is_asked_for_base64() -> None:
    """A quarter of the size, and by the SDK's own types."""
    request = EmbeddingRequest(
        ["a", "b"], "openai:text-embedding-3-small", dimensions=256, user="u-1"
    )
    wire = encoded(OPENAI, request)
    assert (wire.method, wire.path) == ("POST", "/embeddings")
    assert wire.body == {
        "model": "text-embedding-3-small",
        "input": ["a", "b"],
        "dimensions": 256,
        "encoding_format": "base64",
        "user": "u-1",
    }
    assert complaints(wire.body, EmbeddingCreateParams) == []
    assert wire.warnings == ()


async def test_base64_is_little_endian() -> None:
    """Whatever this machine is."""
    value = data([]) | {"data": [{"index": 0, "embedding": b64(1.0, -2.5)}]}
    response = await embed(OPENAI, value)
    assert lists(response.vectors) == [[1.0, -2.5]]
    assert response.model == "m-1"
    assert response.provider == "openai"
    assert response.usage.input_tokens == response.usage.total_tokens == 1
    assert response.usage.raw == {"prompt_tokens": 1, "total_tokens": 1}
    assert response.raw[0]["object"] == "list"
    assert "data" not in response.raw[0]


def test_base64_on_a_big_endian_machine() -> None:
    """Where the bytes of a number are the other way round."""
    data = struct.pack("<2f", 1.0, -2.5)
    assert list(little_endian(data, "little")) == [1.0, -2.5]
    backwards = struct.pack(">2f", 1.0, -2.5)
    assert list(little_endian(backwards, "big")) == [1.0, -2.5]


async def test_a_list_in_place_of_base64() -> None:
    """Gateways forget what was asked for."""
    assert lists((await embed(OPENAI, data([0.5, 1.5]))).vectors) == [[0.5, 1.5]]


async def test_the_order_is_that_of_the_texts() -> None:
    """And not that of the answer."""
    value = data([1.0], [2.0], [3.0])
    value["data"].reverse()
    response = await embed(OPENAI, value, ["a", "b", "c"])
    assert lists(response.vectors) == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("index", [0, None])
async def test_a_server_that_numbers_nothing(index: int | None) -> None:
    """Then they are in order."""
    value = data([1.0], [2.0])
    for item in value["data"]:
        item["index"] = index
    assert lists((await embed(COMPATIBLE, value, ["a", "b"])).vectors) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "The answer is no list of embeddings"),
        ([1], "The answer is no list of embeddings"),
        ({}, "no list of data"),
        ({"data": [7]}, "no list of embeddings"),
        ({"data": [{"embedding": None}]}, "neither a list nor a text"),
        ({"data": [{"embedding": []}]}, "holds what is no number"),
        ({"data": [{"embedding": [1.0, None]}]}, "shape that nobody understands"),
        ({"data": [{"embedding": [1e300]}]}, "holds what is no number"),
        ({"data": [{"embedding": b64(float("nan"))}]}, "holds what is no number"),
        ({"data": [{"embedding": b64(float("-inf"), 1)}]}, "holds what is no number"),
        ({"data": [{"embedding": "…"}]}, "no base64 of numbers"),
        ({"data": [{"embedding": "AAAA"}]}, "no base64 of numbers"),
        ({"data": []}, "There are 0 vectors for 1 texts"),
        (data([1.0], [2.0]), "There are 2 vectors for 1 texts"),
    ],
)
async def test_an_answer_of_another_shape(value: Any, complaint: str) -> None:
    """A typed error with a name on it, and never half an answer. (I2)"""
    with pytest.raises(ProtocolError, match=complaint) as caught:
        await embed(OPENAI, value)
    assert caught.value.operation == "embed"
    assert (caught.value.provider, caught.value.model) == ("openai", "m")


async def test_indices_with_a_gap() -> None:
    """Nobody knows whose vector that is."""
    value = data([1.0], [2.0])
    value["data"][1]["index"] = 2
    with pytest.raises(ProtocolError, match="no embedding of the text 1"):
        await embed(OPENAI, value, ["a", "b"])


async def test_vectors_of_different_lengths() -> None:
    """They could not be compared."""
    with pytest.raises(ProtocolError, match="different lengths"):
        await embed(OPENAI, data([1.0], [2.0, 3.0]), ["a", "b"])


async def test_usage_that_nobody_reports() -> None:
    """LM Studio and TEI count nothing; that is not 0. (S8)"""
    value = data([1.0])
    del value["usage"], value["model"]
    response = await embed(COMPATIBLE, value)
    assert response.usage == Usage()
    assert response.model is None


def test_unknown_servers_are_asked_for_nothing_special() -> None:
    """Some refuse encoding_format."""
    assert encoded(COMPATIBLE, EmbeddingRequest("a", "m")).body == {
        "model": "m",
        "input": ["a"],
    }


def test_vendors_have_their_own_names() -> None:
    """Mistral's for the length; and it takes no user."""
    request = EmbeddingRequest("a", "mistral:mistral-embed", dimensions=8, user="u")
    wire = encoded(compatible.SPECS["mistral"], request)
    assert wire.body == {
        "model": "mistral-embed",
        "input": ["a"],
        "output_dimension": 8,
    }
    assert wire.warnings == ("Mistral does not take user; it was left out.",)


def test_a_length_that_cannot_be_chosen() -> None:
    """Vectors of another length are of no use. (G5)"""
    api = embeddings_api("old", "Old", EmbeddingQuirks(dimensions=None))
    with pytest.raises(InvalidRequestError, match="Old does not take dimensions") as e:
        api.encode(EmbeddingRequest("a", "old:m", dimensions=8))
    assert e.value.operation == "embed"
    assert api.encode(EmbeddingRequest("a", "old:m")).body["input"] == ["a"]


@pytest.mark.parametrize("policy", [None, "ignore", "raise"])
def test_an_input_type_where_there_is_none(policy: Any) -> None:
    """It is said, unless it shall not be. (G5)"""
    request = EmbeddingRequest("a", "m", input_type="query", on_unsupported=policy)
    if policy == "raise":
        with pytest.raises(InvalidRequestError, match="does not take input_type"):
            encoded(OPENAI, request)
        return
    warnings = encoded(OPENAI, request).warnings
    assert bool(warnings) is (policy is None)


def test_options_of_the_provider_go_over_the_rest() -> None:
    """Those of the dialect and those of the vendor; ``None`` takes out."""
    options = {"openai": {"encoding_format": None, "a": 1}, "azure": {"a": 2}}
    request = EmbeddingRequest("x", "azure:m", provider_options=options)
    assert encoded(AZURE, request).body == {"model": "m", "input": ["x"], "a": 2}


@pytest.mark.parametrize(
    ("version", "url"),
    [
        ("", "/openai/v1/embeddings"),
        ("2024-10-21", "/openai/deployments/m/embeddings"),
    ],
)
@pytest.mark.parametrize("spec", [AZURE, AZURE_RESPONSES])
async def test_azure(spec: ProviderSpec, version: str, url: str) -> None:
    """The dialect of OpenAI at another address, with another key."""
    azure = provider(spec, answer(data([1.0])), settings={"api_version": version})
    await Client.with_provider(azure).embed("Hi", model=f"{spec.name}:m")
    (request,) = requests(azure)
    assert request.path == url
    assert request.headers["api-key"] == KEY
    assert request.body["encoding_format"] == "base64"


# --- Gemini's ---------------------------------------------------------------------------


def gemini(*vectors: Sequence[float], **more: Any) -> dict[str, Any]:
    return {"embeddings": [{"values": list(v)} for v in vectors]} | more


def test_gemini_takes_many_at_once() -> None:
    """The model is said in each of them."""
    request = EmbeddingRequest(
        ["a", "b"],
        "google:gemini-embedding-001",
        dimensions=768,
        input_type="document",
        provider_options={"google": {"title": "T"}},
    )
    wire = encoded(GOOGLE, request)
    assert wire.path == "/models/gemini-embedding-001:batchEmbedContents"
    items = wire.body["requests"]
    assert [item["content"]["parts"][0]["text"] for item in items] == ["a", "b"]
    for item in items:
        del item["content"]
        assert item == {
            "model": "models/gemini-embedding-001",
            "taskType": "RETRIEVAL_DOCUMENT",
            "outputDimensionality": 768,
            "title": "T",
        }
        config = {key: item[key] for key in ("taskType", "outputDimensionality")}
        google_types.EmbedContentConfig.model_validate(config)


@pytest.mark.parametrize(
    ("input_type", "text"),
    [
        (None, "{x}"),
        ("query", "task: search result | query: {x}"),
        ("document", "title: none | text: {x}"),
    ],
)
def test_newer_models_are_told_in_the_text(input_type: Any, text: str) -> None:
    """gemini-embedding-2 has no task types."""
    request = EmbeddingRequest("{x}", "gemini-embedding-2", input_type=input_type)
    for spec, place in ((GOOGLE, "requests"), (VERTEX, None)):
        body = encoded(spec, request).body
        item = body[place][0] if place else body
        assert item["content"] == {"parts": [{"text": text}]}
        assert "taskType" not in repr(item)


def test_gemini_knows_no_user() -> None:
    """Which is said. (G5)"""
    for spec in (GOOGLE, VERTEX):
        wire = encoded(spec, EmbeddingRequest("a", "m", user="u"))
        assert len(wire.warnings) == 1


async def test_gemini_counts_since_its_second_version() -> None:
    """Before that nobody knows what it was."""
    response = await embed(GOOGLE, gemini([1.0], [2.0]), ["a", "b"])
    assert lists(response.vectors) == [[1.0], [2.0]]
    assert response.usage == Usage()
    counts = {"promptTokenCount": 4}
    response = await embed(GOOGLE, gemini([1.0], usageMetadata=counts))
    assert response.usage.input_tokens == response.usage.total_tokens == 4
    assert response.usage.raw == counts
    assert response.raw == ({"usageMetadata": counts},)


@pytest.mark.parametrize(
    "value", [{}, gemini([]), {"embeddings": [{}]}, {"embeddings": 1}]
)
async def test_gemini_with_another_shape(value: Any) -> None:
    """A typed error. (I2)"""
    with pytest.raises(ProtocolError):
        await embed(GOOGLE, value)


def test_vertex_one_text_of_a_newer_model() -> None:
    """Nothing is cut off without a word."""
    request = EmbeddingRequest("a", "gemini-embedding-001", input_type="query")
    wire = encoded(VERTEX, request)
    assert wire.path == "/models/gemini-embedding-001:embedContent"
    assert wire.body == {
        "content": {"parts": [{"text": "a"}]},
        "embedContentConfig": {"taskType": "RETRIEVAL_QUERY", "autoTruncate": False},
    }
    google_types.EmbedContentConfig.model_validate(wire.body["embedContentConfig"])


def test_vertex_several_texts_of_a_newer_model() -> None:
    """As Google's own SDK asks for them."""
    wire = encoded(VERTEX, EmbeddingRequest(["a", "b"], "gemini-embedding-2"))
    assert wire.path == "/models/gemini-embedding-2:batchEmbedContents"
    assert [set(item) for item in wire.body["requests"]] == [
        {"content", "embedContentConfig"}
    ] * 2


def test_vertex_older_models_predict() -> None:
    """With names that have a line below."""
    request = EmbeddingRequest(
        "a",
        "text-embedding-005",
        dimensions=64,
        input_type="similarity",
        provider_options={"vertex": {"autoTruncate": True, "title": "T"}},
    )
    wire = encoded(VERTEX, request)
    assert wire.path == "/models/text-embedding-005:predict"
    assert wire.body == {
        "instances": [
            {"content": "a", "task_type": "SEMANTIC_SIMILARITY", "title": "T"}
        ],
        "parameters": {"autoTruncate": True, "outputDimensionality": 64},
    }


@pytest.mark.parametrize(("counts", "total"), [((2, 3), 5), ((2, None), None)])
async def test_vertex_answers_of_all_kinds(
    counts: tuple[int | None, ...], total: int | None
) -> None:
    """Predictions, one embedding, several."""
    predictions = [
        {"embeddings": {"values": [float(n)], "statistics": {"token_count": count}}}
        for n, count in enumerate(counts)
    ]
    response = decoded(VERTEX, {"predictions": predictions})
    assert lists(response.vectors) == [[0.0], [1.0]]
    assert response.usage.input_tokens == response.usage.total_tokens == total
    one = decoded(VERTEX, {"embedding": {"values": [1.0]}, "truncated": False})
    assert lists(one.vectors) == [[1.0]]
    assert one.raw == ({"truncated": False},)
    assert lists(decoded(VERTEX, gemini([1.0])).vectors) == [[1.0]]


async def test_vertex_address() -> None:
    """Project, region, publisher, and a token."""
    settings = {"project": "p", "location": "europe-west1"}
    vertex = provider(VERTEX, answer(gemini([1.0])), settings=settings)
    await Client.with_provider(vertex).embed("Hi", model="vertex:gemini-embedding-001")
    (request,) = requests(vertex)
    assert request.path == (
        "/v1/projects/p/locations/europe-west1/publishers/google/models/"
        "gemini-embedding-001:embedContent"
    )
    assert request.headers["authorization"] == f"Bearer {KEY}"


# --- Ollama's ---------------------------------------------------------------------------


async def test_ollama() -> None:
    """Too long a text is an error there as well; settings reach it."""
    value = {"model": "nomic", "embeddings": [[1.0, 2.0]], "prompt_eval_count": 3}
    ollama = provider(OLLAMA, answer(value), settings={"keep_alive": "10m"})
    response = await Client.with_provider(ollama).embed(
        "Hi",
        model="ollama:nomic",
        dimensions=2,
        user="u",
        input_type="query",
        provider_options={"ollama": {"options": {"num_ctx": 8}}},
    )
    (request,) = requests(ollama)
    assert request.path == "/api/embed"
    assert request.body == {
        "model": "nomic",
        "input": ["Hi"],
        "truncate": False,
        "dimensions": 2,
        "options": {"num_ctx": 8},
        "keep_alive": "10m",
    }
    assert lists(response.vectors) == [[1.0, 2.0]]
    assert response.model == "nomic"
    assert response.usage == Usage(
        input_tokens=3, output_tokens=0, raw={"prompt_eval_count": 3}
    )
    assert len(response.warnings) == 2


async def test_ollama_with_another_shape() -> None:
    """A typed error. (I2)"""
    with pytest.raises(ProtocolError, match="nobody understands"):
        await embed(OLLAMA, {"embeddings": [None]})
    response = await embed(OLLAMA, {"embeddings": [[1.0]]})
    assert response.usage == Usage()


# --- sharing out and joining ------------------------------------------------------------


async def test_more_texts_than_one_request_takes() -> None:
    """They are shared out and joined, in order, with their usage. (S8)"""
    alibaba = compatible.SPECS["alibaba"]
    texts = [str(n) for n in range(25)]
    pieces = [texts[0:10], texts[10:20], texts[20:25]]
    answers = [answer(data(*[[float(t)] for t in piece])) for piece in pieces]
    asked = provider(alibaba, *answers)
    response = await Client.with_provider(asked).embed(
        texts, model="alibaba:m", input_type="query"
    )
    assert [body["input"] for body in bodies(asked)] == pieces
    assert lists(response.vectors) == [[float(n)] for n in range(25)]
    assert response.usage == Usage(input_tokens=25, output_tokens=0)
    assert len(response.raw) == 3
    assert len(response.warnings) == 1


async def test_unknown_usage_of_a_part() -> None:
    """Then the sum is unknown. (S8)"""
    texts = ["x"] * 11
    first = answer(data(*[[1.0]] * 10))
    asked = provider(
        compatible.SPECS["alibaba"], first, answer(data([1.0], usage=None))
    )
    response = await Client.with_provider(asked).embed(texts, model="alibaba:m")
    assert response.usage == Usage()


async def test_more_tokens_than_one_request_takes() -> None:
    """OpenAI counts them over all texts of a request."""
    texts = ["word " * 150_000, "word " * 60_000, "word " * 60_000, "a"]
    asked = provider(OPENAI, answer(data([1.0])), answer(data([2.0], [3.0], [4.0])))
    response = await Client.with_provider(asked).embed(texts, model="openai:m")
    assert [len(body["input"]) for body in bodies(asked)] == [1, 3]
    assert lists(response.vectors) == [[1.0], [2.0], [3.0], [4.0]]


async def test_a_text_too_long_for_any_request() -> None:
    """It goes alone, and the provider says what it thinks of it."""
    texts = ["a", "word " * 300_000, "b"]
    asked = provider(OPENAI, *[answer(data([1.0])) for _ in texts])
    await Client.with_provider(asked).embed(texts, model="openai:m")
    assert [len(body["input"]) for body in bodies(asked)] == [1, 1, 1]


async def test_the_failure_of_a_part_is_that_of_all() -> None:
    """Half of the vectors would be taken for all of them."""
    broken = answer({"error": {"message": "No.", "code": "x"}}, status=500)
    asked = provider(compatible.SPECS["alibaba"], answer(data(*[[1.0]] * 10)), broken)
    client = Client.with_provider(asked)
    with pytest.raises(ServerError):
        await client.embed(["x"] * 11, model="alibaba:m", max_retries=0)


async def test_nothing_is_sent_if_a_part_cannot_be() -> None:
    """Or it would be paid for and thrown away. (G4)"""
    asked = provider(compatible.SPECS["alibaba"])
    with pytest.raises(InvalidRequestError):
        await Client.with_provider(asked).embed(
            ["x"] * 11, model="alibaba:m", user="u", on_unsupported="raise"
        )
    assert requests(asked) == []


@virtual
async def test_one_total_deadline_for_all_parts() -> None:
    """It holds for the call, and not for each of its requests. (D3)"""
    slow = [[4.0, answer(data(*[[1.0]] * 10))] for _ in range(3)]
    asked = provider(compatible.SPECS["alibaba"], *slow)  # type: ignore[arg-type]  # waits
    with pytest.raises(DeadlineError) as caught:
        await Client.with_provider(asked).embed(
            ["x"] * 30, model="alibaba:m", deadlines=Deadlines(total=10)
        )
    assert caught.value.phase == "total"
    assert caught.value.operation == "embed"
    assert now() == pytest.approx(10)
    assert len(requests(asked)) == 3


@virtual
async def test_a_total_deadline_that_has_passed_sends_nothing_more() -> None:
    """There is no point in it. (D3)"""
    asked = provider(OPENAI)
    asking = Asking(asked, "embed", deadlines=Deadlines(total=1))
    await asyncio.sleep(2)
    with pytest.raises(DeadlineError, match="longer than 1 seconds") as caught:
        await asking.fetch(HTTPRequest("/embeddings", {}))
    assert not caught.value.retryable
    assert requests(asked) == []


# --- errors -----------------------------------------------------------------------------


@virtual
async def test_retries_as_in_a_chat() -> None:
    """The provider's word for how long is obeyed. (R1, R3)"""
    limited = answer({"error": {"message": "Slow down."}}, status=429, retry_after="7")
    asked = provider(OPENAI, limited, answer(data([1.0])))
    response = await Client.with_provider(asked).embed("Hi", model="openai:m")
    assert lists(response.vectors) == [[1.0]]
    assert now() >= 7


@virtual
async def test_a_rate_limit_inside_a_good_answer() -> None:
    """It is retried like its HTTP form. (S5)"""
    limited = answer({"error": {"message": "Slow down.", "code": 429}})
    asked = provider(OPENAI, limited, answer(data([1.0])))
    response = await Client.with_provider(asked).embed("Hi", model="openai:m")
    assert lists(response.vectors) == [[1.0]]


@virtual
async def test_giving_up() -> None:
    """The error says how often it was tried. (R2)"""
    limited = [answer({"error": {"message": "No."}}, status=429) for _ in range(3)]
    asked = provider(OPENAI, *limited, retry=RetryPolicy(max_retries=9))
    client = Client.with_provider(asked)
    with pytest.raises(RateLimitError) as caught:
        await client.embed("Hi", model="openai:m", max_retries=2)
    assert caught.value.attempts == 3
    assert (caught.value.operation, caught.value.model) == ("embed", "m")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_api_key", AuthenticationError),
        (404, "model_not_found", ModelNotFoundError),
        # Some answer 200 to everything (S5).
        (200, "model_not_found", ModelNotFoundError),
    ],
)
async def test_errors_of_the_provider(
    status: int, code: str, kind: type[ProviderError]
) -> None:
    """The same classes as for a chat, and no key in them. (X1)"""
    error = {"error": {"message": f"No, {KEY}!", "code": code}}
    asked = provider(OPENAI, answer(error, status=status))
    with pytest.raises(kind) as caught:
        await Client.with_provider(asked).embed("Hi", model="openai:m")
    assert caught.value.operation == "embed"
    assert KEY not in str(caught.value)


# --- the client -------------------------------------------------------------------------


class Own:
    """A provider that does not speak HTTP."""

    name = "own"

    def __init__(self) -> None:
        self.requests: list[EmbeddingRequest] = []

    def stream(self, request: Any, /) -> Any:
        raise NotImplementedError

    async def embed(self, request: EmbeddingRequest, /) -> EmbeddingResponse:
        self.requests.append(request)
        return EmbeddingResponse(vectors=([1.0] for _ in request.inputs))


async def test_a_provider_of_ones_own() -> None:
    """Whoever has an `embed` is one."""
    own: Provider = Own()
    assert isinstance(own, Embedder)
    client = Client({"own": own}, model="own:m")
    assert len((await client.embed(["a", "b"])).vectors) == 2
    request = EmbeddingRequest("a", "own:n")
    await client.embed(request, dimensions=3, timeout=4)
    assert isinstance(own, Own)
    assert [r.model for r in own.requests] == ["own:m", "own:n"]
    assert own.requests[1].dimensions == 3
    assert own.requests[1].deadlines == Deadlines.of(4)


async def test_a_provider_that_cannot() -> None:
    """It is said, with the names of those who can. (G4)"""
    others: dict[str, Provider] = {
        "a": provider(ANTHROPIC),
        "o": provider(OPENAI),
        "own": Own(),
    }
    client = Client(others)
    with pytest.raises(InvalidRequestError) as caught:
        await client.embed("Hi", model="a:claude")
    assert caught.value.operation == "embed"
    assert str(caught.value) == (
        "The provider 'a' makes no embeddings. These can: o, own."
    )
    lonely = Client.with_provider(FakeProvider(["x"]))
    with pytest.raises(InvalidRequestError, match="Nor does any other here"):
        await lonely.embed("Hi", model="fake:m")


async def test_a_configured_client_names_all_that_there_are() -> None:
    """Those that it could make as well."""
    client = Client.from_config(
        ClientConfig(provider="anthropic", api_key="k"), environ={}
    )
    async with client:
        with pytest.raises(InvalidRequestError, match=r"can: alibaba, .*google.*, …\."):
            await client.embed("Hi", model="anthropic:claude")


class Broken:
    """An installed package that cannot be imported."""

    name = "broken"
    value = "no_such_package:SPEC"

    def load(self) -> object:
        raise ImportError("no_such_package")


async def test_a_package_that_cannot_be_loaded_can_do_nothing() -> None:
    """It is no reason for another error than the one that is meant."""
    client = Client.from_config(
        ClientConfig(provider="anthropic", api_key="k"),
        registry=Registry(installed=lambda: [Broken()]),
        environ={},
    )
    async with client:
        with pytest.raises(InvalidRequestError, match="makes no embeddings"):
            await client.embed("Hi", model="anthropic:claude")


async def test_no_model_anywhere() -> None:
    """It says how to name one. (G4)"""
    with pytest.raises(InvalidRequestError, match="No model is named") as caught:
        await Client({"own": Own()}).embed("Hi")
    assert caught.value.operation == "embed"


async def test_an_unknown_provider() -> None:
    """As for a chat. (G4)"""
    with pytest.raises(InvalidRequestError, match="no provider 'c' here") as caught:
        await Client({"own": Own()}).embed("Hi", model="c:m")
    assert caught.value.operation == "embed"


async def test_a_misspelt_option() -> None:
    """Type checkers reject it as well."""
    options: dict[str, Any] = {"dimension": 3}
    with pytest.raises(TypeError, match="Did you mean 'dimensions'"):
        await Client({"own": Own()}).embed("Hi", model="own:m", **options)


async def test_a_closed_client() -> None:
    """Use after closing is an error. (C4)"""
    client = Client({"own": Own()}, model="own:m")
    await client.aclose()
    with pytest.raises(ClosedError) as caught:
        await client.embed("Hi")
    assert caught.value.operation == "embed"


ALL = [
    *compatible.ROWS,
    *(OPENAI, OPENAI_CHAT, AZURE, AZURE_RESPONSES, ANTHROPIC, GOOGLE, VERTEX, OLLAMA),
]


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_capabilities_tell_the_truth(spec: ProviderSpec) -> None:
    """What a spec says that it can do, its provider does, and nothing else. (G3)"""
    made = provider(spec)
    for capability, there in (
        (Capability.EMBEDDINGS, embedder_of(made) is not None),
        (Capability.TOKEN_COUNTING, made.token_counter is not None),
    ):
        assert (capability in spec.capabilities) is there


@virtual
async def test_what_is_read_counts_for_the_limit_on_tokens() -> None:
    """An embedding has no answer in tokens, and is paid by what it reads. (L1, L2)"""
    limit = RateLimit.per_minute(tokens=60)
    asked = provider(OPENAI, answer(data([1.0])), answer(data([1.0])))
    limiter = Limiter(limit)
    asked = evolve(asked, transport=evolve(asked.transport, limiter=limiter))
    client = Client.with_provider(asked)
    text = "word " * 40
    took = limit.expect_texts([text]).input_tokens
    assert 30 < took < 60
    await client.embed(text, model="openai:m")
    await client.embed(text, model="openai:m")
    # A token a second comes back.
    assert now() == pytest.approx(2 * took - 60, abs=0.01)
