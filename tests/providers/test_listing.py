"""Lists of models: every dialect's pages, and what stands on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from aichat import (
    AuthenticationError,
    Client,
    ClosedError,
    InvalidRequestError,
    ModelInfo,
    ModelLister,
    ProtocolError,
    ProviderSpec,
    ResponseTooLargeError,
)
from aichat.providers import Provider, compatible
from aichat.providers.anthropic import SPEC as ANTHROPIC
from aichat.providers.azure import SPEC as AZURE
from aichat.providers.google import SPEC as GOOGLE, VERTEX
from aichat.providers.ollama import SPEC as OLLAMA
from aichat.providers.openai import SPEC as OPENAI
from aichat.testing import FakeProvider

from .scripted import KEY, answer, provider, requests


async def models(spec: ProviderSpec, *pages: Any) -> list[ModelInfo]:
    """The models of a provider that answers with *pages*."""
    asked = provider(spec, *map(answer, pages))
    found = await Client.with_provider(asked).list_models()
    assert len(requests(asked)) == len(pages)
    return found


async def test_openai_says_little() -> None:
    """Names and dates."""
    raw = {"id": "gpt-5.4", "object": "model", "created": 1_700_000_000}
    asked = provider(OPENAI, answer({"object": "list", "data": [raw]}))
    (found,) = await Client.with_provider(asked).list_models("openai")
    assert found == ModelInfo(
        "gpt-5.4", provider="openai", created_at=1_700_000_000.0, raw=raw
    )
    assert found.address == "openai:gpt-5.4"
    (request,) = requests(asked)
    assert (request.method, request.path, request.body) == ("GET", "/models", None)
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("vendor", "page", "wanted"),
    [
        (
            "openrouter",
            {
                "data": [
                    {
                        "id": "openai/gpt-6-sol",
                        "name": "OpenAI: GPT-6 Sol",
                        "created": 5,
                        "context_length": 400_000,
                        "top_provider": {"max_completion_tokens": 128_000},
                    }
                ]
            },
            ("openai/gpt-6-sol", "OpenAI: GPT-6 Sol", 5.0, 400_000, 128_000),
        ),
        (
            "together",
            [
                {
                    "id": "a/b",
                    "display_name": "B",
                    "created": 0,
                    "context_length": 8192,
                }
            ],
            ("a/b", "B", None, 8192, None),
        ),
        (
            "groq",
            {
                "data": [
                    {
                        "id": "x",
                        "context_window": 131_072,
                        "max_completion_tokens": 65_536,
                    }
                ]
            },
            ("x", None, None, 131_072, 65_536),
        ),
        (
            "mistral",
            {"data": [{"id": "x", "name": "x", "max_context_length": 32_768}]},
            ("x", None, None, 32_768, None),
        ),
        (
            "vllm",
            {"data": [{"id": "x", "max_model_len": 4096}]},
            ("x", None, None, 4096, None),
        ),
        (
            "llamacpp",
            {"data": [{"id": "x", "meta": {"n_ctx_train": 2048}}]},
            ("x", None, None, 2048, None),
        ),
        (
            "deepinfra",
            {"data": [{"id": "x", "metadata": {"context_length": 9, "max_tokens": 3}}]},
            ("x", None, None, 9, 3),
        ),
    ],
)
async def test_vendors_say_more(vendor: str, page: Any, wanted: Any) -> None:
    """Each under names of its own."""
    (found,) = await models(compatible.SPECS[vendor], page)
    assert (
        found.id,
        found.title,
        found.created_at,
        found.context_length,
        found.max_output_tokens,
    ) == wanted
    assert found.provider == vendor


async def test_anthropic_page_by_page() -> None:
    """Until there is no more; each model once."""

    def model(name: str, **more: Any) -> dict[str, Any]:
        return {"type": "model", "id": name, "display_name": name.title(), **more}

    first = {
        "data": [
            model("claude-b", created_at="2026-02-01T00:00:00Z", max_input_tokens=10),
            model("claude-a", created_at="1970-01-01T00:00:00Z", max_tokens=5),
        ],
        "has_more": True,
        "last_id": "claude-a",
    }
    last = {
        "data": [model("claude-a"), model("c", created_at="2026-01-01"), model("d")],
        "has_more": False,
        "last_id": "d",
    }
    asked = provider(ANTHROPIC, answer(first), answer(last))
    found = await Client.with_provider(asked).list_models()
    assert [m.id for m in found] == ["claude-b", "claude-a", "c", "d"]
    assert [m.title for m in found[:2]] == ["Claude-B", "Claude-A"]
    assert found[0].created_at == 1_769_904_000
    assert [m.created_at for m in found[1:]] == [None, 1_767_225_600, None]
    assert (found[0].context_length, found[1].max_output_tokens) == (10, 5)
    assert [(r.path, r.query) for r in requests(asked)] == [
        ("/v1/models", {"limit": "1000"}),
        ("/v1/models", {"limit": "1000", "after_id": "claude-a"}),
    ]


async def test_gemini_page_by_page() -> None:
    """Names lose what stands before them in a path; empty fields are missing."""
    model = {
        "name": "models/gemini-2.5-flash",
        "displayName": "Gemini 2.5 Flash",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": "65536",
    }
    asked = provider(
        GOOGLE,
        answer({"models": [model], "nextPageToken": "t/2"}),
        answer({"models": [{"name": "tunedModels/x"}], "nextPageToken": "t/3"}),
        answer({}),
    )
    found = await Client.with_provider(asked).list_models()
    assert found[0] == ModelInfo(
        "gemini-2.5-flash",
        title="Gemini 2.5 Flash",
        provider="google",
        context_length=1_048_576,
        max_output_tokens=65_536,
        raw=model,
    )
    assert [m.id for m in found] == ["gemini-2.5-flash", "tunedModels/x"]
    assert [r.query for r in requests(asked)] == [
        {"pageSize": "1000"},
        {"pageSize": "1000", "pageToken": "t/2"},
        {"pageSize": "1000", "pageToken": "t/3"},
    ]


async def test_ollama_lists_what_is_installed() -> None:
    """Newer servers say how much fits; the first ones had another name for the name."""
    found = await models(
        OLLAMA,
        {
            "models": [
                {"model": "qwen3:8b", "details": {"context_length": 40_960}},
                {"name": "llama3"},
            ]
        },
    )
    assert [(m.id, m.context_length) for m in found] == [
        ("qwen3:8b", 40_960),
        ("llama3", None),
    ]


@pytest.mark.parametrize(
    ("spec", "page"),
    [
        (OPENAI, None),
        (OPENAI, {"data": 1}),
        (OPENAI, {"data": [1]}),
        (OPENAI, {"data": [{"id": ""}]}),
        (ANTHROPIC, {"data": [{}]}),
        (ANTHROPIC, []),
        (GOOGLE, {"models": [{"name": 1}]}),
        (GOOGLE, {"models": 1}),
        (OLLAMA, {"models": [{}]}),
        (OLLAMA, {}),
    ],
)
async def test_an_answer_of_another_shape(spec: ProviderSpec, page: Any) -> None:
    """A typed error with a name on it. (I2)"""
    with pytest.raises(ProtocolError) as caught:
        await models(spec, page)
    assert caught.value.operation == "list_models"
    assert caught.value.provider == spec.name


async def test_a_page_that_follows_itself() -> None:
    """It would never end. (I1)"""
    page = {"models": [{"name": "models/a"}], "nextPageToken": "t"}
    with pytest.raises(ProtocolError, match="the same again"):
        await models(GOOGLE, page, page)


async def test_pages_without_end() -> None:
    """There is a ceiling, and the error names it. (I1)"""
    pages = [{"nextPageToken": f"t{n}"} for n in range(100)]
    with pytest.raises(ResponseTooLargeError, match="more than 100 pages"):
        await models(GOOGLE, *pages)


async def test_errors_of_the_provider() -> None:
    """The same classes as for a chat."""
    refused = answer({"error": {"message": "No."}}, status=401)
    with pytest.raises(AuthenticationError) as caught:
        await Client.with_provider(provider(OPENAI, refused)).list_models()
    assert caught.value.operation == "list_models"
    assert caught.value.model is None


class Own:
    """A provider that knows its models."""

    name = "own"

    def stream(self, request: Any, /) -> Any:
        raise NotImplementedError

    async def list_models(self) -> Sequence[ModelInfo]:
        return (ModelInfo("m"),)


async def test_a_provider_of_ones_own() -> None:
    """Whoever has a `list_models` is one; the default provider is asked by default."""
    own: Provider = Own()
    assert isinstance(own, ModelLister)
    client = Client({"x": FakeProvider([]), "own": own}, model="own:m")
    assert await client.list_models() == [ModelInfo("m")]


@pytest.mark.parametrize("spec", [AZURE, VERTEX, compatible.SPECS["perplexity"]])
async def test_a_provider_that_cannot(spec: ProviderSpec) -> None:
    """It is said, with the names of those who can. (G4)"""
    client = Client({"a": provider(spec), "own": Own()})
    with pytest.raises(InvalidRequestError) as caught:
        await client.list_models("a")
    assert caught.value.operation == "list_models"
    assert str(caught.value) == (
        "The provider 'a' does not list its models. These can: own."
    )


async def test_a_closed_client() -> None:
    """Use after closing is an error. (C4)"""
    client = Client({"own": Own()})
    await client.aclose()
    with pytest.raises(ClosedError) as caught:
        await client.list_models()
    assert caught.value.operation == "list_models"
