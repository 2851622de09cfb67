"""
Embeddings: what a text means, according to its hash.

Equal texts have equal vectors, and different ones have nothing to do with each other. Fewer
dimensions are the beginning of more, as they are with the real ones.
"""

from __future__ import annotations

import base64
import hashlib
import math
from array import array
from collections.abc import Mapping, Sequence
from sys import byteorder
from typing import Any, Final

from ._sim_brain import count_tokens
from ._sim_dialect import Endpoint, Refused, Reply, Visit

__all__ = [
    "GOOGLE_EMBEDDINGS",
    "OLLAMA_EMBEDDINGS",
    "OPENAI_EMBEDDINGS",
    "vector",
]

#: As many as the usual model of each vendor has.
_OPENAI: Final = 1536
_OPENAI_LARGE: Final = 3072
_GOOGLE: Final = 3072
_OLLAMA: Final = 768


def vector(text: str, dimensions: int) -> array[float]:
    """
    A unit vector for *text*, in the precision that goes over the wire.

    >>> vector("Hi", 3) == vector("Hi", 3) != vector("Ho", 3)
    True
    """
    # An output of any length, of which a shorter one is the beginning.
    data = hashlib.shake_256(text.encode(errors="replace")).digest(4 * dimensions)
    numbers = [
        int.from_bytes(data[at : at + 4], "big", signed=True)
        for at in range(0, len(data), 4)
    ]
    length = math.hypot(*numbers) or 1.0
    return array("f", (number / length for number in numbers))


# -- OpenAI ----------------------------------------------------------------------------


def _openai(visit: Visit) -> Reply:
    body = visit.object()
    model = body.get("model")
    if not model:
        raise Refused("you must provide a model parameter")
    texts = _texts(body.get("input"))
    usual = _OPENAI_LARGE if "large" in model else _OPENAI
    dimensions = _dimensions(body.get("dimensions"), "dimensions", usual)
    if body.get("dimensions") is not None and "ada" in model:
        raise Refused("This model does not support specifying dimensions.")
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise Refused(
            f"Invalid value: {form!r}. Supported values are: 'float' and 'base64'.",
            code="invalid_value",
            param="encoding_format",
        )
    encode = _in_base64 if form == "base64" else list
    used = sum(map(count_tokens, texts))
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": encode(vector(text, dimensions)),
            }
            for index, text in enumerate(texts)
        ],
        "model": model,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _texts(value: Any) -> Sequence[str]:
    """One text, several, or one or several lists of tokens."""
    match value:
        case str():
            texts = [value]
        case [int(), *_]:
            texts = [str(value)]
        case [*items]:
            texts = [item if isinstance(item, str) else str(item) for item in items]
        case _:
            texts = []
    if not texts or not all(texts) or len(texts) > 2048:
        raise Refused(
            "'$.input' is invalid. Please check the API reference: "
            "https://platform.openai.com/docs/api-reference.",
            param="input",
        )
    return texts


def _dimensions(value: Any, name: str, usual: int) -> int:
    if value is None:
        return usual
    if not isinstance(value, int) or not 1 <= value <= usual:
        raise Refused(
            f"Invalid value for '{name}': expected 1 to {usual}, but got {value}.",
            code="invalid_value",
            param=name,
        )
    return value


def _in_base64(numbers: array[float]) -> str:
    little = array("f", numbers)
    if byteorder == "big":  # pragma: no cover -- on such a machine it is covered
        little.byteswap()
    return base64.b64encode(little.tobytes()).decode()


OPENAI_EMBEDDINGS: Final = (Endpoint("POST", "/embeddings", _openai),)


# -- Google ----------------------------------------------------------------------------


def _google_one(visit: Visit) -> Reply:
    values = _google(visit.object(), "content")
    return {"embedding": {"values": values}}


def _google_batch(visit: Visit) -> Reply:
    requests = visit.object().get("requests")
    if not requests or len(requests) > 100:
        raise Refused(
            "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one "
            "batch, and at least one"
        )
    model = f"models/{visit.params['model']}"
    for index, request in enumerate(requests):
        if request.get("model") != model:
            raise Refused(
                f"* BatchEmbedContentsRequest.requests[{index}].model: unexpected model "
                f"name format, or another model than {model}"
            )
    return {
        "embeddings": [
            {"values": _google(request, f"requests[{index}].content")}
            for index, request in enumerate(requests)
        ]
    }


def _google(request: Mapping[str, Any], where: str) -> list[float]:
    parts = (request.get("content") or {}).get("parts") or ()
    text = "".join(part.get("text", "") for part in parts)
    if not text:
        raise Refused(f"* {where}: content is empty")
    # The newer form of it stands in an object of its own.
    config = request.get("embedContentConfig") or request
    wanted = config.get("outputDimensionality")
    size = _dimensions(wanted, "output_dimensionality", _GOOGLE)
    return list(vector(text, size))


GOOGLE_EMBEDDINGS: Final = (
    Endpoint("POST", "/models/{model}:embedContent", _google_one),
    Endpoint("POST", "/models/{model}:batchEmbedContents", _google_batch),
)


# -- Ollama ----------------------------------------------------------------------------


def _ollama(visit: Visit) -> Reply:
    body = visit.object()
    if not body.get("model"):
        raise Refused("model is required")
    value = body.get("input")
    texts = [value] if isinstance(value, str) else list(value or ())
    if not all(isinstance(text, str) for text in texts):
        raise Refused("invalid input type")
    # It says nothing about dimensions that it does not have.
    dimensions = min(body.get("dimensions") or _OLLAMA, _OLLAMA)
    used = sum(map(count_tokens, texts))
    return {
        "model": body["model"],
        "embeddings": [list(vector(text, dimensions)) for text in texts if text],
        "total_duration": 10_000_000 * (used + 1),
        "load_duration": 10_000_000,
        "prompt_eval_count": used,
    }


OLLAMA_EMBEDDINGS: Final = (Endpoint("POST", "/api/embed", _ollama),)
