"""
Ollama's embeddings.

See: https://docs.ollama.com/api/embed
"""

from __future__ import annotations

from typing import Any, Final

from ..transport import HTTPRequest
from ..types import EmbeddingRequest, EmbeddingResponse, Usage
from ._asking import items_in, number_in, object_of
from ._embedding import EmbeddingsAPI
from ._ollama_fields import text_or_none
from ._unsupported import Unsupported

__all__ = ["EMBEDDINGS"]


def encode_embeddings(request: EmbeddingRequest) -> HTTPRequest:
    """
    Say *request* in Ollama's words.

    A text that is too long is an error, unless ``truncate`` in ``provider_options["ollama"]``
    says otherwise: left to itself the server would cut it without a word.
    """
    unsupported = Unsupported(request, f"Ollama's {request.model_name}")
    unsupported.sampling("user", request.user)
    why = "the models have words of their own for it, which belong into the text"
    unsupported.sampling("input_type", request.input_type, why)
    body = {
        "model": request.model_name,
        "input": list(request.inputs),
        "truncate": False,
        "dimensions": request.dimensions,
        **request.extras("ollama"),
    }
    body = {key: value for key, value in body.items() if value is not None}
    return HTTPRequest("/api/embed", body, warnings=unsupported.warnings)


def decode_embeddings(value: Any) -> EmbeddingResponse:
    """Read an answer."""
    answer = object_of(value, "list of embeddings")
    tokens = number_in(answer, "prompt_eval_count")
    names = ("prompt_eval_count", "total_duration", "load_duration")
    return EmbeddingResponse(
        vectors=tuple(items_in(answer, "embeddings")),
        model=text_or_none(answer.get("model")),
        usage=Usage(
            input_tokens=tokens,
            output_tokens=None if tokens is None else 0,
            raw={name: answer[name] for name in names if name in answer},
        ),
        raw=({key: item for key, item in answer.items() if key != "embeddings"},),
    )


EMBEDDINGS: Final = EmbeddingsAPI(
    encode=encode_embeddings,
    decode=decode_embeddings,
    # There is no limit; but as text, 256 long vectors are some 20 MB.
    max_inputs=256,
)
