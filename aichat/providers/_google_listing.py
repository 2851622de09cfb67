"""
The models of the Gemini API, with what fits into them.

See: https://ai.google.dev/api/models
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..errors import ProtocolError
from ..transport import HTTPRequest
from ..types import ModelInfo
from ._asking import items_in, number_in, object_of
from ._listing import ListingAPI

__all__ = ["LISTING"]


def decode_models(value: Any) -> Iterator[ModelInfo]:
    """The models on a page, those for embeddings, images and speech among them."""
    page = object_of(value, "list of models")
    # What is empty is left out (protobuf's JSON).
    for item in items_in(page, "models") if "models" in page else ():
        model = object_of(item, "list of models")
        name = model.get("name")
        if not isinstance(name, str) or not name:
            raise ProtocolError("There is a model without a name.")
        title = model.get("displayName")
        yield ModelInfo(
            name.removeprefix("models/"),
            title=title if isinstance(title, str) and title else None,
            context_length=number_in(model, "inputTokenLimit"),
            max_output_tokens=number_in(model, "outputTokenLimit"),
            raw=model,
        )


def following(value: Any) -> dict[str, str] | None:
    """Where the next page begins."""
    token = object_of(value, "list of models").get("nextPageToken")
    return {"pageToken": str(token)} if token else None


LISTING: Final = ListingAPI(
    request=HTTPRequest("/models", method="GET", query={"pageSize": "1000"}),
    decode=decode_models,
    following=following,
)
