"""
Gemini's embeddings, at the Gemini API and at Vertex AI.

The Gemini API takes them by the hundred. Vertex AI has three ways: Gemini's models take one
text or several, and the older ones want ``:predict``.

See: https://ai.google.dev/api/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from ..transport import HTTPRequest
from ..types import EmbeddingRequest, EmbeddingResponse, Usage
from ._asking import items_in, number_in, object_of
from ._embedding import EmbeddingsAPI
from ._google_usage import usage_of
from ._unsupported import Unsupported

__all__ = ["EMBEDDINGS", "VERTEX_EMBEDDINGS"]

_TASKS: Final = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "question_answering": "QUESTION_ANSWERING",
    "fact_verification": "FACT_VERIFICATION",
    "code_query": "CODE_RETRIEVAL_QUERY",
}
#: From its second version on the model is told so in the text, in these words.
_WORDS: Final = {
    "query": "task: search result | query: {}",
    "document": "title: none | text: {}",
    "similarity": "task: sentence similarity | query: {}",
    "classification": "task: classification | query: {}",
    "clustering": "task: clustering | query: {}",
    "question_answering": "task: question answering | query: {}",
    "fact_verification": "task: fact checking | query: {}",
    "code_query": "task: code retrieval | query: {}",
}
_OLDER: Final = ("gemini-embedding-001", "gemini-embedding-exp")


def encode_embeddings(request: EmbeddingRequest) -> HTTPRequest:
    """
    Say *request* in Gemini's words.

    From ``gemini-embedding-2`` on, an *input_type* is said in the text itself. What stands in
    ``provider_options["google"]`` goes into the request of every text.
    """
    unsupported = Unsupported(request, f"Google's {request.model_name}")
    unsupported.sampling("user", request.user)
    task, template = _task(request)
    path = _path(request)
    common = _given({
        "model": path.removeprefix("/"),
        "taskType": task,
        "outputDimensionality": request.dimensions,
    })
    extras = request.extras("google")
    items = [
        {**common, "content": _content(template, text), **extras}
        for text in request.inputs
    ]
    return HTTPRequest(
        f"{path}:batchEmbedContents",
        {"requests": items},
        warnings=unsupported.warnings,
    )


def encode_at_vertex(request: EmbeddingRequest) -> HTTPRequest:
    """
    Say *request* in Vertex AI's words, as the model wants them.

    A text that is too long is an error, unless ``autoTruncate`` among the provider's options
    says otherwise: left to itself Vertex AI would cut it without a word.
    """
    unsupported = Unsupported(request, f"Vertex AI's {request.model_name}")
    unsupported.sampling("user", request.user)
    task, template = _task(request)
    extras = request.extras("google", "vertex")
    path = _path(request)
    size = {"outputDimensionality": request.dimensions}
    body: dict[str, Any]
    if "gemini" not in request.model_name:
        method = "predict"
        truncate = extras.pop("autoTruncate", False)
        texts = [template.format(text) for text in request.inputs]
        common = _given({"task_type": task, **extras})
        body = {
            "instances": [{"content": text, **common} for text in texts],
            "parameters": _given({"autoTruncate": truncate, **size}),
        }
    else:
        config = _given({"taskType": task, "autoTruncate": False, **size, **extras})
        items = [
            {"content": _content(template, text), "embedContentConfig": config}
            for text in request.inputs
        ]
        method = "embedContent" if len(items) == 1 else "batchEmbedContents"
        body = items[0] if len(items) == 1 else {"requests": items}
    return HTTPRequest(f"{path}:{method}", body, warnings=unsupported.warnings)


def decode_embeddings(value: Any) -> EmbeddingResponse:
    """Read any of the four kinds of answers."""
    answer = object_of(value, "list of embeddings")
    if "predictions" in answer:
        return _of_predictions(answer)
    one = answer.get("embedding")
    embeddings = items_in(answer, "embeddings") if one is None else [one]
    counts = answer.get("usageMetadata")
    usage = usage_of(counts if isinstance(counts, dict) else {}, final=True)
    if usage.input_tokens is not None:
        usage = evolve(usage, output_tokens=0)
    return EmbeddingResponse(
        vectors=tuple(_values(embedding) for embedding in embeddings),
        usage=usage,
        raw=(_without(answer, "embedding", "embeddings"),),
    )


def _of_predictions(answer: Mapping[str, Any]) -> EmbeddingResponse:
    predictions = items_in(answer, "predictions")
    counts = [number_in(p, "embeddings.statistics.token_count") for p in predictions]
    known = [count for count in counts if count is not None]
    complete = len(known) == len(counts)
    return EmbeddingResponse(
        vectors=tuple(
            _values(object_of(p, "list of predictions").get("embeddings"))
            for p in predictions
        ),
        usage=Usage(
            input_tokens=sum(known) if complete else None,
            output_tokens=0 if complete else None,
        ),
        raw=(_without(answer, "predictions"),),
    )


def _task(request: EmbeddingRequest) -> tuple[str | None, str]:
    """The field that says what it is for, and the text with a place for ours."""
    wanted, name = request.input_type, request.model_name
    if wanted is None:
        return None, "{}"
    says_so = "gemini-embedding" in name and not any(older in name for older in _OLDER)
    return (None, _WORDS[wanted]) if says_so else (_TASKS[wanted], "{}")


def _path(request: EmbeddingRequest) -> str:
    name = request.model_name
    return f"/{name}" if "/" in name else f"/models/{name}"


def _content(template: str, text: str) -> dict[str, Any]:
    return {"parts": [{"text": template.format(text)}]}


def _values(embedding: Any) -> list[float]:
    return items_in(object_of(embedding, "list of embeddings"), "values")


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


def _without(answer: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: item for key, item in answer.items() if key not in names}


EMBEDDINGS: Final = EmbeddingsAPI(
    encode=encode_embeddings, decode=decode_embeddings, max_inputs=100
)
#: ``:predict`` takes 250 texts, and 20,000 tokens.
VERTEX_EMBEDDINGS: Final = EmbeddingsAPI(
    encode=encode_at_vertex,
    decode=decode_embeddings,
    max_inputs=100,
    max_tokens=20_000,
)
