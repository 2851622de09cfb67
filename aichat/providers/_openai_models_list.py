"""
Lists of models, as OpenAI and those who imitate it give them.

OpenAI says little more than the names. Others add how much fits, each under a name of its
own.

See: https://platform.openai.com/docs/api-reference/models
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..errors import ProtocolError
from ..transport import HTTPRequest
from ..types import ModelInfo
from ._asking import items_in, number_in, object_of
from ._listing import ListingAPI

__all__ = ["LISTING", "decode_models"]

#: Mostly OpenRouter, Groq, Mistral, vLLM, DeepInfra, and llama.cpp's window and training.
_CONTEXT: Final = (
    "context_length",
    "context_window",
    "max_context_length",
    "max_model_len",
    "metadata.context_length",
    "meta.n_ctx",
    "meta.n_ctx_train",
)
_OUTPUT: Final = (
    "max_completion_tokens",
    "max_output_tokens",
    "top_provider.max_completion_tokens",
    "metadata.max_tokens",
)


def decode_models(value: Any) -> Iterator[ModelInfo]:
    """Read a list of models, in an object or, as Together has it, by itself."""
    items = (
        value
        if isinstance(value, list)
        else items_in(object_of(value, "list of models"), "data")
    )
    for item in items:
        model = object_of(item, "list of models")
        name = model.get("id")
        if not isinstance(name, str) or not name:
            raise ProtocolError("There is a model without an id.")
        titles = (model.get("display_name"), model.get("name"))
        created = number_in(model, "created")
        yield ModelInfo(
            name,
            # What is only the id once more says nothing.
            title=next((t for t in titles if isinstance(t, str) and t != name), None),
            # Some say 0 for lack of a better date.
            created_at=float(created) if created else None,
            context_length=number_in(model, *_CONTEXT),
            max_output_tokens=number_in(model, *_OUTPUT),
            raw=model,
        )


LISTING: Final = ListingAPI(
    request=HTTPRequest("/models", method="GET"), decode=decode_models
)
