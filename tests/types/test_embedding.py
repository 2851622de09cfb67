"""Requests for embeddings, and what comes of them."""

from __future__ import annotations

import copy
import pickle
from array import array
from typing import Any

import pytest
from attrs import evolve

from aichat import (
    Deadlines,
    EmbeddingRequest,
    EmbeddingResponse,
    InvalidRequestError,
    ModelInfo,
    TokenCount,
    Usage,
    from_json,
    to_json,
)


def test_one_text_is_a_list_of_one() -> None:
    """A text is no sequence of letters."""
    assert EmbeddingRequest("Hello").inputs == ("Hello",)
    assert EmbeddingRequest(t for t in ("a", "b")).inputs == ("a", "b")


def test_the_model_is_an_address() -> None:
    """Provider and name, divided by the first colon."""
    request = EmbeddingRequest("Hi", "ollama:nomic:v1.5")
    assert (request.provider_name, request.model_name) == ("ollama", "nomic:v1.5")
    bare = EmbeddingRequest("Hi", "nomic")
    assert (bare.provider_name, bare.model_name) == (None, "nomic")


def test_extras_of_several_names_are_merged() -> None:
    """The later name wins."""
    options = {"openai": {"a": 1, "b": 1}, "mistral": {"b": 2}, "other": {"c": 3}}
    request = EmbeddingRequest("Hi", provider_options=options)
    assert request.extras("openai", "mistral") == {"a": 1, "b": 2}


def test_a_number_of_seconds_becomes_deadlines() -> None:
    """As in chat requests."""
    request = EmbeddingRequest("Hi", deadlines=5)
    assert request.deadlines == Deadlines.of(5)


@pytest.mark.parametrize(
    ("inputs", "options", "complaint"),
    [
        ([], {}, "nothing to embed"),
        (["a", ""], {}, r"inputs\[1\] is empty"),
        (["a", 3], {}, r"inputs\[1\] must be a text, got int"),
        ("a", {"dimensions": 0}, "dimensions must be a whole number, 1 or more, got 0"),
        ("a", {"dimensions": True}, "dimensions must be a whole number"),
        ("a", {"max_retries": -1}, "max_retries must be a whole number, 0 or more"),
        ("a", {"input_type": "search"}, "input_type must be one of 'query'"),
        ("a", {"on_unsupported": "no"}, "on_unsupported must be"),
        ("a", {"provider_options": {"openai": 1}}, r"provider_options\['openai'\]"),
    ],
)
def test_what_makes_no_sense_is_refused(
    inputs: Any, options: dict[str, Any], complaint: str
) -> None:
    """One clear error before anything is sent. (G4)"""
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        EmbeddingRequest(inputs, **options)
    assert caught.value.operation == "embed"


def test_vectors_are_compact() -> None:
    """Four bytes a number, whatever they came as."""
    response = EmbeddingResponse(vectors=[[0.5, -1], (2.0, 3.0)])
    assert all(isinstance(vector, array) for vector in response.vectors)
    assert [list(vector) for vector in response.vectors] == [[0.5, -1], [2, 3]]
    assert memoryview(response.vectors[0]).nbytes == 8  # type: ignore[arg-type]  # an array
    assert response.dimensions == 2


def test_a_single_vector_has_a_name() -> None:
    """And it is not the first of several."""
    one = EmbeddingResponse(vectors=([1.0],))
    assert list(one.vector) == [1.0]
    with pytest.raises(ValueError, match="There are 2 vectors"):
        _ = EmbeddingResponse(vectors=([1.0], [2.0])).vector
    assert EmbeddingResponse(vectors=()).dimensions == 0


def test_a_response_does_not_print_its_numbers() -> None:
    """Nobody reads 3,072 of them."""
    response = EmbeddingResponse(vectors=([0.125] * 3,), model="m")
    assert "0.125" not in repr(response)


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_response_can_be_copied(again: Any) -> None:
    """Workers send them home."""
    response = EmbeddingResponse(vectors=([0.1, 0.2],), usage=Usage(input_tokens=2))
    assert again(response) == response
    assert evolve(response, model="m").vectors == response.vectors


@pytest.mark.parametrize(
    "value",
    [
        EmbeddingRequest(["a", "b"], "p:m", dimensions=3, input_type="query"),
        EmbeddingResponse(
            vectors=([0.1, -2.5e-8], [3.0, 4.0]),
            model="m",
            usage=Usage(input_tokens=3, output_tokens=0),
            raw=({"model": "m"},),
        ),
        TokenCount(12, estimated=True),
        ModelInfo("m", title="M", created_at=1.5, raw={"id": "m"}),
    ],
)
def test_there_and_back(value: Any) -> None:
    """As JSON, for caches and files."""
    assert from_json(type(value), to_json(value)) == value


def test_the_address_of_a_model() -> None:
    """What a list of models says can be passed on."""
    assert ModelInfo("gpt-5.4", provider="openai").address == "openai:gpt-5.4"
    assert ModelInfo("gpt-5.4").address == "gpt-5.4"
